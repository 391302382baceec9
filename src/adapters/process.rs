//! The one place that starts processes.
//!
//! Every `git` started here for its output runs under `LC_ALL=C`; what is printed for people is left alone.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use crate::adapters::os::{self, Ended, Steering, terminal};
use crate::values::{Error, Kind, Result, SafeText};

/// The environment variables that belong to one repository (`git rev-parse --local-env-vars`, git 2.47): a process
/// that serves another repository must not see them.
pub const LOCAL_ENV: [&str; 16] = [
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

/// Returns `git` with `args`, not yet started.
pub fn git<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new("git");
    command.args(args);
    command
}

/// Returns `program` with `args` through the shell, in git's manner: `sh -c '<program> "$@"' <program> <args>`.
pub fn shell<S: AsRef<std::ffi::OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{program} \"$@\"")).arg(program).args(args);
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

/// Runs `command` with `input`, and returns its stdout.
///
/// # Errors
/// [`Kind::Local`] with the last line of its stderr where it fails.
pub fn output(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let line = shown(command);
    let mut child = start(command.env("LC_ALL", "C").stderr(Stdio::piped()))?;
    let stdin = child.stdin.take();
    let (out, err) = std::thread::scope(|scope| {
        // A child that exits early closes its stdin; its own message says why, so a failed write says nothing.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
        let stderr = child.stderr.take();
        let err = scope.spawn(move || read_all(stderr));
        (read_all(child.stdout.take()), err.join().unwrap_or_default())
    });
    let status = child.wait().map_err(Error::doing(Kind::Local, format!("cannot wait for `{line}`")))?;
    tracing::debug!(command = line, code = ?status.code(), "ended");
    if status.success() {
        return Ok(out);
    }
    Err(failed(&line, &err))
}

fn failed(line: &str, stderr: &[u8]) -> Error {
    let text = String::from_utf8_lossy(stderr);
    let said = text.trim().lines().last().unwrap_or("no message");
    Error::new(Kind::Local, format!("`{line}` failed: {}", SafeText::new(said)))
}

/// Runs `command` with a file as its stdin, and returns its stdout.
///
/// # Errors
/// As [`output`].
pub fn output_from(command: &mut Command, input: std::fs::File) -> Result<Vec<u8>> {
    let line = shown(command);
    let out = command
        .env("LC_ALL", "C")
        .stdin(input)
        .output()
        .map_err(Error::doing(Kind::Local, format!("cannot run `{line}`")))?;
    if out.status.success() { Ok(out.stdout) } else { Err(failed(&line, &out.stderr)) }
}

/// Runs `command` with all that `input` gives as its stdin, and passes its output over.
///
/// # Errors
/// As [`output`], and where `input` fails: the command is then killed.
pub fn fed(command: &mut Command, input: &mut dyn Read) -> Result<()> {
    let line = shown(command);
    let mut child = start(command.env("LC_ALL", "C").stderr(Stdio::piped()))?;
    let copied = match child.stdin.take() {
        Some(mut stdin) => std::io::copy(input, &mut stdin),
        None => Ok(0),
    };
    if copied.as_ref().is_err_and(|err| err.kind() != std::io::ErrorKind::BrokenPipe) {
        let _ = child.kill();
    }
    let out = child.wait_with_output().map_err(Error::doing(Kind::Local, format!("cannot wait for `{line}`")))?;
    match (copied, out.status.success()) {
        (Ok(_), true) => Ok(()),
        (Err(err), _) if out.stderr.is_empty() => Err(Error::new(Kind::Local, format!("`{line}`: {err}"))),
        _ => Err(failed(&line, &out.stderr)),
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

fn read_all(from: Option<impl Read>) -> Vec<u8> {
    let mut all = Vec::new();
    if let Some(mut from) = from {
        let _ = from.read_to_end(&mut all);
    }
    all
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
    fn gives_output_and_says_what_failed() {
        assert_eq!(output(&mut shell("cat", [""; 0]), b"x\n").expect("cat"), b"x\n");
        let err = output(&mut shell("echo first >&2; echo why >&2; exit 3; :", [""; 0]), b"").expect_err("exit 3");
        assert_eq!(err.kind, Kind::Local);
        assert!(err.message.ends_with("why"), "{err}");
    }
}
