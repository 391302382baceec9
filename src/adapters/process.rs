//! The one place that starts processes.
//!
//! Every `git` started here for its output runs under `LC_ALL=C`; what is printed for people is left alone.

use std::ffi::OsStr;
use std::io::{BufRead, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::adapters::os::{self, Ended, Steering, terminal};
use crate::values::{Error, Kind, Result, SafeText};

/// The environment variables that belong to one repository (`git rev-parse --local-env-vars`, git 2.47): a process
/// that serves another repository must not see them.
const LOCAL_ENV: [&str; 16] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
    "GIT_INTERNAL_SUPER_PREFIX",
];

/// Most bytes that a command may say on its stdout: what git says of a million refs fits.
const MOST_OUTPUT: usize = 128 << 20;
/// What is kept of a command's stderr, in bytes: its end.
const KEPT: usize = 4096;

/// Returns `git` with `args`, not yet started.
pub fn git<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new("git");
    command.args(args);
    command
}

/// Takes from `command` what belongs to one repository: it serves another one.
pub fn without_local_env(command: &mut Command) -> &mut Command {
    for name in LOCAL_ENV {
        command.env_remove(name);
    }
    command
}

/// Returns `program` with `args` through the shell, in git's manner: `sh -c '<program> "$@"' <program> <args>`.
pub fn shell<S: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = S>) -> Command {
    let program = program.as_ref();
    let mut line = program.to_owned();
    line.push(" \"$@\"");
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).arg(program).args(args);
    command
}

/// Starts `command`; its stdin and stdout are pipes.
///
/// # Errors
/// [`Kind::Local`], naming the program.
pub fn start(command: &mut Command) -> Result<Child> {
    // Neither the environment nor an argument as it is: both may hold a password.
    let line: Vec<String> = words(command).collect();
    tracing::debug!(?line, "start");
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Error::doing(Kind::Local, format!("cannot run {program}")))
}

/// Starts `command`, which nobody waits for, with nothing on its stdin, stdout and stderr.
///
/// # Errors
/// [`Kind::Local`], naming the program.
pub fn start_alone(command: &mut Command) -> Result<()> {
    let line = shown(command);
    tracing::debug!(line, "start");
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    started.map(drop).map_err(Error::doing(Kind::Local, format!("cannot run `{line}`")))
}

/// Runs `command` with `input`, and returns its stdout, of at most `MOST_OUTPUT` bytes.
///
/// # Errors
/// [`Kind::Local`] with the last line of its stderr where it fails, or where it says more.
pub fn output(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let line = shown(command);
    let mut child = start(command.env("LC_ALL", "C").stderr(Stdio::piped()))?;
    let stdin = child.stdin.take();
    let (out, err) = std::thread::scope(|scope| {
        // A child that exits early closes its stdin; its own message says why, so a failed write says nothing.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        let stderr = child.stderr.take();
        let err = scope.spawn(move || last_of(stderr));
        let out = read_at_most(child.stdout.take(), MOST_OUTPUT);
        if out.is_none() {
            let _ = child.kill();
        }
        (out, err.join().unwrap_or_default())
    });
    let status = child.wait().map_err(Error::doing(Kind::Local, format!("cannot wait for `{line}`")))?;
    tracing::debug!(command = line, code = ?status.code(), "ended");
    match out {
        None => Err(Error::new(Kind::Local, format!("`{line}` says more than {MOST_OUTPUT} bytes"))),
        Some(out) if status.success() => Ok(out),
        Some(_) => Err(failed(&line, &err)),
    }
}

/// Runs `command` with `input`, and hands each line of its stdout to `each` as it comes: however many there are, none is
/// kept.
///
/// # Errors
/// As [`output`].
pub fn each_line(command: &mut Command, input: &[u8], mut each: impl FnMut(&[u8])) -> Result<()> {
    let line = shown(command);
    let mut child = start(command.env("LC_ALL", "C").stderr(Stdio::piped()))?;
    let stdin = child.stdin.take();
    let err = std::thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        let stderr = child.stderr.take();
        let err = scope.spawn(move || last_of(stderr));
        if let Some(stdout) = child.stdout.take() {
            let mut stdout = std::io::BufReader::with_capacity(64 * 1024, stdout);
            let mut text = Vec::new();
            while stdout.read_until(b'\n', &mut text).is_ok_and(|n| n > 0) {
                each(text.strip_suffix(b"\n").unwrap_or(&text));
                text.clear();
            }
        }
        err.join().unwrap_or_default()
    });
    let status = child.wait().map_err(Error::doing(Kind::Local, format!("cannot wait for `{line}`")))?;
    tracing::debug!(command = line, code = ?status.code(), "ended");
    if status.success() { Ok(()) } else { Err(failed(&line, &err)) }
}

fn failed(line: &str, stderr: &[u8]) -> Error {
    let text = String::from_utf8_lossy(stderr);
    let said = text.trim().lines().last().unwrap_or("no message");
    Error::new(Kind::Local, format!("`{line}` failed: {}", SafeText::new(said)))
}

/// Runs `command` with a file as its stdin, and passes its stdout over.
///
/// # Errors
/// As [`output`].
pub fn output_from(command: &mut Command, input: std::fs::File) -> Result<()> {
    let line = shown(command);
    let doing = || Error::doing(Kind::Local, format!("cannot run `{line}`"));
    let command = command.env("LC_ALL", "C").stdin(input).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(doing())?;
    let err = last_of(child.stderr.take());
    let status = child.wait().map_err(doing())?;
    if status.success() { Ok(()) } else { Err(failed(&line, &err)) }
}

/// How a command that was [`fed`] did.
#[derive(Debug)]
pub enum Fed {
    /// It took all, and was content.
    Well,
    /// What it was to be fed could not be read to its end; it was killed.
    Cut(std::io::Error),
    /// It failed, with this as the end of its stderr; `None` where a signal ended it.
    Failed(Option<i32>, Error),
}

/// Runs `command` with all that `input` gives as its stdin, and passes its stdout over.
///
/// # Errors
/// [`Kind::Local`] where it cannot be started or waited for.
pub fn fed(command: &mut Command, input: &mut dyn Read) -> Result<Fed> {
    let line = shown(command);
    let mut child = start(command.env("LC_ALL", "C").stderr(Stdio::piped()))?;
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    // Whoever says much while it is fed would wait for us as we wait for it.
    let (cut, err) = std::thread::scope(|scope| {
        scope.spawn(move || stdout.map(|mut stdout| std::io::copy(&mut stdout, &mut std::io::sink())));
        let err = scope.spawn(move || last_of(stderr));
        let cut = stdin.as_mut().and_then(|stdin| feed(input, stdin).err());
        if cut.is_some() {
            let _ = child.kill();
        }
        drop(stdin);
        (cut, err.join().unwrap_or_default())
    });
    let status = child.wait().map_err(Error::doing(Kind::Local, format!("cannot wait for `{line}`")))?;
    tracing::debug!(command = line, code = ?status.code(), ?cut, "ended");
    Ok(match cut {
        Some(cut) => Fed::Cut(cut),
        None if status.success() => Fed::Well,
        None => Fed::Failed(status.code(), failed(&line, &err)),
    })
}

/// Copies until the input ends, or the child takes no more: then it says itself why.
///
/// # Errors
/// That of the input.
fn feed(input: &mut dyn Read, child: &mut impl Write) -> std::io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        match input.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(n) if child.write_all(&piece[..n]).is_err() => return Ok(()),
            Ok(_) => {}
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
}

/// Most bytes of [`answer`].
const MOST_ANSWERED: u64 = 64 << 10;
/// How long a process that has said all is left to end, before it is looked at again.
const PAUSE: Duration = Duration::from_millis(1);

/// Runs `command` without a stdin or stderr, and returns the first 64 KiB that it says; nothing where it fails, or cannot
/// be started. By `until` it is killed, with all that it has started.
///
/// # Errors
/// [`Kind::Timeout`].
pub fn answer(command: &mut Command, until: Option<Instant>) -> Result<Option<Vec<u8>>> {
    let line = shown(command);
    os::own_group(command);
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(mut child) = started else { return Ok(None) };
    let (tell, told) = mpsc::channel();
    let stdout = child.stdout.take();
    std::thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(stdout) = stdout {
            let _ = stdout.take(MOST_ANSWERED).read_to_end(&mut said);
        }
        tell.send(said)
    });
    let left = || until.map(|until| until.saturating_duration_since(Instant::now()));
    let said = match left() {
        Some(left) => told.recv_timeout(left).ok(),
        None => told.recv().ok(),
    };
    let status = loop {
        match child.try_wait() {
            Ok(None) if said.is_some() && left().is_none_or(|left| !left.is_zero()) => std::thread::sleep(PAUSE),
            // Not reaped yet, so its group is its own.
            Ok(None) => {
                os::kill_group(child.id());
                let _ = child.wait();
                break None;
            }
            Ok(Some(status)) => break Some(status),
            Err(_) => return Ok(None),
        }
    };
    match (said, status) {
        (Some(said), Some(status)) => Ok(status.success().then_some(said)),
        _ => Err(Error::new(Kind::Timeout, format!("`{line}`: no answer in time"))),
    }
}

/// Runs `command` on the caller's own stdin, stdout and stderr, and returns its exit code.
///
/// # Errors
/// [`Kind::Local`] where it cannot be started.
pub fn foreground(command: &mut Command) -> Result<i32> {
    let line = shown(command);
    let status = command.status().map_err(Error::doing(Kind::Local, format!("cannot run `{line}`")))?;
    Ok(os::exit_code(status))
}

/// Runs `command` on the caller's own stdin, stdout and stderr. Each signal that comes is told to `tell`, and passed on.
///
/// # Errors
/// [`Kind::Local`] where it cannot be started.
pub fn steered(command: &mut Command, steering: &mut Steering, tell: impl FnMut(i32)) -> Result<Ended> {
    let line = shown(command);
    let mut child = command.spawn().map_err(Error::doing(Kind::Local, format!("cannot run `{line}`")))?;
    steering.wait(&mut child, tell).map_err(Error::doing(Kind::Local, format!("cannot wait for `{line}`")))
}

/// Runs `command` on the caller's own stdin, stdout and stderr, and as the one that has the terminal.
///
/// # Errors
/// [`Kind::Local`] where it cannot be started.
pub fn in_front(command: &mut Command) -> Result<Ended> {
    let doing = || Error::doing(Kind::Local, "cannot work at the terminal");
    let mut front = terminal::Front::new().map_err(doing())?;
    os::own_group(command);
    let child = command.spawn().map_err(doing())?;
    front.wait(&child).map_err(doing())
}

/// Returns this program with the name under which it was started, and no arguments.
///
/// # Errors
/// [`Kind::Local`] where its file cannot be found.
pub fn this_program() -> Result<Command> {
    let file = std::env::current_exe().map_err(Error::doing(Kind::Local, "cannot find this program"))?;
    // An upgrade may have put another file in its place: proc(5) still leads to this one.
    let mut command = Command::new(if file.exists() { file } else { "/proc/self/exe".into() });
    os::name(&mut command, &std::env::args_os().next().unwrap_or_default());
    Ok(command)
}

/// Returns all that comes, or nothing where that is more than `most` bytes.
fn read_at_most(from: Option<impl Read>, most: usize) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    if let Some(from) = from {
        let _ = from.take(most as u64 + 1).read_to_end(&mut all);
    }
    Some(all).filter(|all| all.len() <= most)
}

/// Reads to the end, and returns the last `KEPT` bytes.
pub fn last_of(from: Option<impl Read>) -> Vec<u8> {
    let mut last = Vec::new();
    let Some(mut from) = from else { return last };
    let mut piece = [0; 4096];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return last,
            Ok(n) => keep_last(&mut last, &piece[..n]),
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return last,
        }
    }
}

/// Appends, and drops what is more than `KEPT` bytes before it.
pub fn keep_last(last: &mut Vec<u8>, more: &[u8]) {
    last.extend_from_slice(more);
    let over = last.len().saturating_sub(KEPT);
    last.drain(..over);
}

fn shown(command: &Command) -> String {
    words(command).take(4).collect::<Vec<_>>().join(" ")
}

fn words(command: &Command) -> impl Iterator<Item = String> {
    let all = std::iter::once(command.get_program()).chain(command.get_args());
    all.map(|word| crate::values::url::redact(&word.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_time() {
        let said = |line: &str, until| answer(&mut shell(line, [""; 0]), until).map_err(|err| err.kind);
        let soon = || Some(Instant::now() + Duration::from_millis(200));
        assert_eq!(said("echo x;", None), Ok(Some(b"x\n".to_vec())));
        assert_eq!(said("echo x; exit 1;", soon()), Ok(None));
        let began = Instant::now();
        assert_eq!(said("sleep 60 & sleep 60;", soon()), Err(Kind::Timeout));
        assert!(said("exec yes;", soon()).is_ok_and(|said| said.is_none_or(|said| said.len() <= 64 << 10)));
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn gives_output_and_says_what_failed() {
        assert_eq!(output(&mut shell("cat", [""; 0]), b"x\n").expect("cat"), b"x\n");
        let err = output(&mut shell("echo first >&2; echo why >&2; exit 3; :", [""; 0]), b"").expect_err("exit 3");
        assert_eq!(err.kind, Kind::Local);
        assert!(err.message.ends_with("why"), "{err}");
    }

    #[test]
    fn keeps_the_end_of_what_is_said_only() {
        assert_eq!(read_at_most(Some(std::io::repeat(b'x').take(9)), 8), None);
        assert_eq!(read_at_most(Some(std::io::repeat(b'x').take(8)), 8).map(|all| all.len()), Some(8));
        let err = output(&mut shell("yes 0123456789 | head -n 900000 >&2; echo why >&2; exit 1; :", [""; 0]), b"");
        assert!(err.expect_err("exit 1").message.ends_with("failed: why"));
    }

    #[test]
    fn listens_while_it_feeds() {
        // More than a pipe holds, each way, before it reads a byte.
        let mut talker = shell("head -c 300000 /dev/zero | tee /dev/stderr; cat >/dev/null; :", [""; 0]);
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(fed(&mut talker, &mut std::io::repeat(b'x').take(1 << 20))));
        let told = told.recv_timeout(std::time::Duration::from_secs(20)).expect("it waits for ever");
        assert!(matches!(told, Ok(Fed::Well)), "{told:?}");
    }

    /// Ends in an error, as a connection that breaks does.
    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::UnexpectedEof.into())
        }
    }

    #[test]
    fn tells_whose_fault_it_is() {
        let fed = |line: &str, input: &mut dyn Read| fed(&mut shell(line, [""; 0]), input).expect("a shell");
        assert!(matches!(fed("cat; :", &mut Broken), Fed::Cut(_)));
        assert!(matches!(fed("cat; exit 3; :", &mut &b"x"[..]), Fed::Failed(Some(3), _)));
        assert!(matches!(fed("kill -9 $$; :", &mut &b"x"[..]), Fed::Failed(None, _)));
        let missing = super::fed(&mut Command::new("/nowhere/git"), &mut &b"x"[..]);
        assert_eq!(missing.expect_err("it is not there").kind, Kind::Local);
    }
}
