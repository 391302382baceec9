//! What depends on the operating system: signals, process groups, the terminal, poll. Nothing else in the crate does.
//!
//! Written for Linux and other Unix systems; a port to Windows replaces this file and those in `os/`.

mod job;
pub mod memory;
mod processes;
pub mod tcp;
pub mod terminal;

pub use job::{Ended, INTERRUPT, Steering, end_by};
pub use processes::{Process, may_live, process_name, process_space, stand_alone};

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::values::{Error, Kind, Result};

/// Makes `command` the leader of a process group of its own, so that [`kill_group`] reaches what it starts, and a
/// Ctrl-C at the terminal does not.
pub fn own_group(command: &mut Command) {
    command.process_group(0);
}

/// Kills a process group that [`own_group`] made, by the process id of its leader.
pub fn kill_group(leader: u32) {
    if let Some(pid) = pid(leader) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Asks a process to end, as `kill <pid>` does.
pub fn terminate(id: u32) {
    if let Some(pid) = pid(id) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// Keeps a process, and what it starts from now on, from having more than so many bytes of memory of its own (getrlimit(2),
/// `RLIMIT_DATA`). Only Linux lets one do that to another process.
pub fn limit_memory(id: u32, bytes: u64) {
    #[cfg(target_os = "linux")]
    if let Some(pid) = pid(id) {
        use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
        let allowed = getrlimit(Resource::Data);
        let least = |limit: Option<u64>| Some(limit.map_or(bytes, |limit| limit.min(bytes)));
        let new = Rlimit { current: least(allowed.current), maximum: allowed.maximum };
        if let Err(err) = prlimit(Some(pid), Resource::Data, new) {
            tracing::debug!(%err, "no limit on a child's memory");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (id, bytes);
}

/// Has `command` see `name` as the name of its program.
pub fn name(command: &mut Command, name: &std::ffi::OsStr) {
    command.arg0(name);
}

/// Puts `command` in the place of this process. Returns only where that fails.
///
/// # Errors
/// [`Kind::Local`], naming the program.
pub fn replace_by(command: &mut Command) -> Result<i32> {
    let program = command.get_program().to_string_lossy().into_owned();
    Err(Error::new(Kind::Local, format!("cannot run {program}: {}", command.exec())))
}

/// Returns the address of the other side where stdin is a socket.
pub fn peer_of_stdin() -> Option<core::net::IpAddr> {
    let peer = rustix::net::getpeername(std::io::stdin()).ok()??;
    core::net::SocketAddr::try_from(peer).ok().map(|address| address.ip().to_canonical())
}

/// Ends a connection whose other side takes nothing of what it is sent for `limit` (tcp(7), `TCP_USER_TIMEOUT`).
pub fn limit_unsent(socket: &impl AsFd, limit: Duration) {
    let ms = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
    if let Err(err) = rustix::net::sockopt::set_tcp_user_timeout(socket, ms) {
        tracing::debug!(%err, "no limit on unsent data");
    }
}

/// Stdin, on which a read fails that has waited for too long.
pub struct PatientStdin(Option<Duration>);

/// Returns stdin; a read that waits longer than `limit` fails. Nothing is read ahead.
pub fn stdin(limit: Option<Duration>) -> PatientStdin {
    PatientStdin(limit)
}

impl Read for PatientStdin {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let stdin = std::io::stdin();
        if let Some(limit) = self.0 {
            let timeout = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
            let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
            if poll(&mut fds, Some(&timeout))? == 0 {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
        }
        Ok(rustix::io::read(&stdin, out)?)
    }
}

/// Lets this process have as many files open as it may; returns how many that are.
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(err) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%err, "no more files");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Kills one process.
pub fn kill(id: u32) {
    if let Some(pid) = pid(id) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Waits until a child has ended, and leaves its id to it: `wait` still has to be called, and will not have to wait.
pub fn wait_dead(id: u32) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let Some(pid) = pid(id) else { return };
    let dead = || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    while dead().is_err_and(|err| err == rustix::io::Errno::INTR) {}
}

/// Has a file that grows beyond a limit (`ulimit -f`) be an error, as a full disk is, and children be waited for, though
/// whoever started this process has SIGCHLD ignored. Children get the default for both.
pub fn take_signals_of_the_system() {
    use signal_hook::consts::{SIGCHLD, SIGXFSZ};
    for signal in [SIGCHLD, SIGXFSZ] {
        if let Err(err) = signal_hook::flag::register(signal, std::sync::Arc::default()) {
            tracing::debug!(%err, signal, "cannot take a signal");
        }
    }
}

/// Sends a signal, by its number, to a process.
fn send(id: u32, signal: i32) {
    if let (Some(pid), Some(signal)) = (pid(id), Signal::from_named_raw(signal)) {
        let _ = kill_process(pid, signal);
    }
}

fn pid(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

/// Returns the exit code of a shell for `status`: 128 + signal for a process that a signal ended.
pub fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Makes a file readable for everyone and writable for nobody, as git's packs are.
pub fn make_world_readable(permissions: &mut std::fs::Permissions) {
    use std::os::unix::fs::PermissionsExt;
    permissions.set_mode(0o444);
}

/// Makes a file readable for everyone and writable for its owner.
pub fn make_readable(permissions: &mut std::fs::Permissions) {
    use std::os::unix::fs::PermissionsExt;
    permissions.set_mode(0o644);
}

/// Makes a folder, and those above it, where they are missing; only the user may look into it.
pub fn make_private_folder(dir: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Appends `text` to a file in one piece, and makes the file where it is missing. A pipe, a folder or a device of this name is
/// an error, and nothing to wait for.
///
/// # Errors
/// Those of the file system, and [`std::io::ErrorKind::InvalidInput`] for what is no file.
pub fn append(path: &std::path::Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = open_file_by(std::fs::File::options().append(true).create(true), path)?;
    std::io::Write::write_all(&mut file, text)
}

/// Sends `text` to a socket of this machine, one that takes streams or one that takes datagrams, within `limit`.
///
/// # Errors
/// Those of the socket, and [`std::io::ErrorKind::TimedOut`].
pub fn tell_socket(path: &std::path::Path, text: &[u8], limit: Duration) -> std::io::Result<()> {
    use std::os::unix::net::{UnixDatagram, UnixStream};
    let (tell, told) = std::sync::mpsc::channel();
    let (path, text) = (path.to_owned(), text.to_owned());
    // To connect may take as long as nobody accepts.
    std::thread::spawn(move || {
        let sent = match UnixStream::connect(&path) {
            Ok(mut stream) => std::io::Write::write_all(&mut stream, &text),
            Err(_) => UnixDatagram::unbound().and_then(|socket| socket.send_to(&text, &path)).map(|_| ()),
        };
        tell.send(sent)
    });
    told.recv_timeout(limit).unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// Makes a symbolic link `at` that leads to `target`.
///
/// # Errors
/// Those of symlink(2).
pub fn link(target: &std::path::Path, at: &std::path::Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, at)
}

/// Lets everybody look into a folder.
///
/// # Errors
/// Those of chmod(2).
pub fn make_passable(dir: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))
}

/// Opens a file for reading. A pipe, a folder or a device of this name is an error, and nothing to wait for.
///
/// # Errors
/// Those of open(2), and [`std::io::ErrorKind::InvalidInput`] for what is no file.
pub fn open_file(path: &std::path::Path) -> std::io::Result<std::fs::File> {
    open_file_by(std::fs::File::options().read(true), path)
}

/// Opens a file that is there to be locked, and makes it where it is missing. As [`open_file`] otherwise.
///
/// # Errors
/// As for [`open_file`].
pub fn open_lock(path: &std::path::Path) -> std::io::Result<std::fs::File> {
    open_file_by(std::fs::File::options().read(true).write(true).create(true), path)
}

fn open_file_by(options: &mut std::fs::OpenOptions, path: &std::path::Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    // Whoever opens a FIFO waits for its other side, but for this flag (open(2)).
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = options.custom_flags(nonblock).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::ErrorKind::InvalidInput.into()) }
}

/// A file system's room, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// In all.
    pub size: u64,
    /// Free for this user.
    pub free: u64,
}

/// Returns the room of the file system that `path` is on; `None` where it cannot be told.
pub fn room(path: &std::path::Path) -> Option<Room> {
    let found = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    // Some network and FUSE file systems say nothing of their size.
    (found.f_blocks > 0).then(|| Room { size: bytes(found.f_blocks), free: bytes(found.f_bavail) })
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStamp {
    /// In bytes.
    pub length: u64,
    /// When its content was last written: seconds since 1970, and nanoseconds.
    pub modified: (i64, i64),
    changed: (i64, i64),
    device: u64,
    inode: u64,
}

/// Returns the stamp of what `path` leads to; nothing where that is missing or cannot be looked at.
pub fn file_stamp(path: &std::path::Path) -> Option<FileStamp> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(path).ok()?;
    Some(FileStamp {
        length: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
        device: found.dev(),
        inode: found.ino(),
    })
}

/// Returns how much memory this process has for itself, in bytes: mapped files do not count. `None` where the system does
/// not tell (`statm` in proc(5), in pages).
pub fn own_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = text.split(' ').skip(1).map_while(|word| word.parse::<u64>().ok());
    let (resident, shared) = (pages.next()?, pages.next()?);
    Some(resident.saturating_sub(shared).saturating_mul(rustix::param::page_size() as u64))
}

/// Returns the files that processes of this user have open; `None` where the system does not tell (proc(5)).
pub fn open_files() -> Option<std::collections::HashSet<std::path::PathBuf>> {
    std::fs::read_link("/proc/self/fd/0").ok()?;
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let files = processes.filter_map(|process| std::fs::read_dir(process.path().join("fd")).ok());
    Some(files.flatten().flatten().filter_map(|file| std::fs::read_link(file.path()).ok()).collect())
}

/// Returns whether a file is this user's.
pub fn is_mine(file: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(file).is_ok_and(|found| found.uid() == rustix::process::geteuid().as_raw())
}

/// Waits until nobody holds the reading end of the pipe `writer` any more; at most `limit`. Returns whether that is so.
///
/// Source: poll(2), POLLERR: "also set for a file descriptor referring to the write end of a pipe when the read end
/// has been closed".
pub fn wait_reader_gone(writer: &impl AsFd, limit: Duration) -> bool {
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(writer, PollFlags::empty())];
        let timeout = Timespec { tv_sec: left.as_secs().min(3600) as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => {}
            Ok(_) => return fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
        if left.is_zero() {
            return false;
        }
    }
}

/// Has the process end, as others do, when it writes into a pipe that nobody reads any more (128 + SIGPIPE). Not for one
/// that has something to clean up.
pub fn end_on_broken_pipe() {
    let always = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    if let Err(err) = signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGPIPE, 141, always) {
        tracing::debug!(%err, "cannot watch SIGPIPE");
    }
}

/// Ends this process, once nobody holds the reading end of a pipe any more, as long as it is kept.
pub struct NoReaderNoWork(std::sync::Arc<AtomicBool>);

impl NoReaderNoWork {
    /// Has the process end, with all undone that is to be undone, `grace` after the reader of `writer` has gone.
    pub fn watch(writer: &impl AsFd, grace: Duration) -> Self {
        let over = std::sync::Arc::new(AtomicBool::new(false));
        if let Ok(writer) = writer.as_fd().try_clone_to_owned() {
            let over = std::sync::Arc::clone(&over);
            std::thread::spawn(move || {
                let mut gone = None;
                while !over.load(Relaxed) {
                    if gone.is_none() && wait_reader_gone(&writer, Duration::from_millis(200)) {
                        gone = Some(Instant::now());
                    }
                    if gone.is_some_and(|since| since.elapsed() > grace) {
                        end(1);
                    }
                    if gone.is_some() {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                }
            });
        }
        NoReaderNoWork(over)
    }
}

impl Drop for NoReaderNoWork {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Returns the signals that end a process, as people and shells send them. SIGHUP is none where nobody has taken it yet
/// and it is ignored, as nohup(1) has it; only proc(5) tells.
fn ending_signals() -> impl Iterator<Item = i32> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let hangup = Some(SIGHUP).filter(|signal| ignored >> (signal - 1) & 1 == 0);
    [SIGINT, SIGTERM, SIGQUIT].into_iter().chain(hangup)
}

type Cleanup = Box<dyn Fn() + Send>;
static CLEANUPS: Mutex<Vec<(u64, Cleanup)>> = Mutex::new(Vec::new());

/// Something that is undone when a signal ends the process. Dropping it calls the undoing off.
pub struct OnSignal(u64);

/// Undoes all that is to be undone, and ends the process with `code`.
pub fn end(code: i32) -> ! {
    undo();
    std::process::exit(code)
}

/// Set once undoing has begun: what then fails, fails for that reason.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Returns only where the process is not about to end: nobody shall act on what fails as it is being undone.
pub fn go_on_unless_ending() {
    while ENDING.load(Relaxed) {
        std::thread::park();
    }
}

fn undo() {
    ENDING.store(true, Relaxed);
    if let Ok(cleanups) = CLEANUPS.lock() {
        cleanups.iter().rev().for_each(|(_, cleanup)| cleanup());
    }
}

impl OnSignal {
    /// Has `cleanup` run when a signal ends the process that can be taken.
    pub fn run(cleanup: impl Fn() + Send + 'static) -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(watch_signals);
        let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if let Ok(mut cleanups) = CLEANUPS.lock() {
            cleanups.push((id, Box::new(cleanup)));
        }
        OnSignal(id)
    }
}

impl Drop for OnSignal {
    fn drop(&mut self) {
        if let Ok(mut cleanups) = CLEANUPS.lock() {
            cleanups.retain(|(id, _)| *id != self.0);
        }
    }
}

fn watch_signals() {
    let Ok(mut signals) = signal_hook::iterator::Signals::new(ending_signals()) else { return };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            undo();
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_a_closed_reader() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        assert!(!wait_reader_gone(&writer, Duration::from_millis(10)));
        drop(reader);
        assert!(wait_reader_gone(&writer, Duration::from_secs(5)));
    }
}
