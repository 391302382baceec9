//! Channels: a pair of byte streams to a git service, by whatever transport the URL names.
//!
//! The canonical server's channel behaves as git's own: it shares our terminal and stderr, waits as long as git would,
//! and fails with git's words. A mirror's channel keeps its stderr to itself, and is killed when it is dropped. Unless the
//! user allows it, it asks nobody anything; then it also runs in a process group of its own.

mod git;
mod http;
mod local;
mod ssh;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub use super::resolve::Family;
pub use http::{HttpHelper, proxy};

use crate::adapters::git::config::Config;
use crate::adapters::net::guard::Guard;
use crate::adapters::os;
use crate::adapters::process;
use crate::values::{Error, GitUrl, Kind, Report, Result, SafeText, Transport};

/// A service of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// `git-upload-pack`: fetch.
    UploadPack,
    /// `git-receive-pack`: push.
    ReceivePack,
    /// `git-upload-archive`: archive.
    UploadArchive,
}

impl Service {
    /// Returns the service that a helper's `connect` command names.
    pub fn parse(name: &str) -> Option<Self> {
        [Service::UploadPack, Service::ReceivePack, Service::UploadArchive].into_iter().find(|s| s.name() == name)
    }

    /// Returns its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Service::UploadPack => "git-upload-pack",
            Service::ReceivePack => "git-receive-pack",
            Service::UploadArchive => "git-upload-archive",
        }
    }

    /// Returns `GIT_PROTOCOL` for it where `version` is wanted: v2 is only for fetching (`git_connect` in `connect.c`).
    fn protocol(self, version: u8) -> Option<&'static str> {
        match version {
            0 => None,
            1 => Some("version=1"),
            _ => (self == Service::UploadPack).then_some("version=2"),
        }
    }
}

/// Whose channel it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The server whose refs are the truth.
    Canonical,
    /// The same server, on a connection that git would not have opened: it is told all that canonical is told, but asks
    /// nobody anything, and can be ended as a mirror's.
    Beside,
    /// A mirror.
    Mirror {
        /// Whether a server named it, and not the user.
        learned: bool,
        /// Whether a person may be asked for a password (`mirror.prompt`).
        prompt: bool,
    },
}

impl Role {
    /// Whoever asks on the terminal has to be in its foreground process group, which is git's.
    fn own_group(self) -> bool {
        matches!(self, Role::Mirror { prompt: false, .. } | Role::Beside)
    }
}

/// How to open a channel.
#[derive(Clone)]
pub struct Opening<'a> {
    /// Whose it is.
    pub role: Role,
    /// The service.
    pub service: Service,
    /// The program on the other side, where it is not the service's name (`--upload-pack`).
    pub program: Option<&'a str>,
    /// The protocol version to ask for: `protocol.version` for canonical, 2 for mirrors.
    pub version: u8,
    /// Addresses.
    pub family: Family,
    /// When there has to be a connection over `git://` or ssh, and what a guard needs has to be known; `None` leaves it to
    /// the system.
    pub connect_by: Option<Instant>,
    /// Who says which addresses a mirror that a server has named may be reached at; `None` lets whoever connects look its
    /// name up.
    pub guard: Option<&'a Guard>,
    /// The configuration in force.
    pub config: &'a Config,
    /// Who is told how a connection is made.
    pub report: &'a dyn Report,
}

/// An open channel.
pub struct Channel {
    /// From the other side.
    pub reader: Box<dyn Read + Send>,
    /// To the other side; closed by [`Channel::finish`].
    pub writer: Option<Box<dyn Write + Send>>,
    end: End,
    stderr: Option<Stderr>,
}

/// What ends a channel.
enum End {
    /// A child, and whose.
    Child(Offspring, Role),
    /// A connection.
    Tcp(TcpStream),
    /// It has ended.
    None,
}

impl Channel {
    /// Opens a channel. Over HTTP that is for mirrors only; canonical has its own way in: [`HttpHelper`].
    ///
    /// # Errors
    /// [`Kind::Channel`] where the other side cannot be reached, [`Kind::Local`] where a program cannot be started.
    pub fn open(url: &GitUrl, opening: &Opening) -> Result<Self> {
        tracing::debug!(url = url.redacted(), role = ?opening.role, service = opening.service.name(), "open");
        match url.transport {
            Transport::Http => HttpHelper::for_a_mirror(url, opening)?.into_lazy_channel(opening.service),
            Transport::Ssh => Self::spawned(ssh::command(url, opening)?, opening.role),
            Transport::Git => git::open(url, opening),
            Transport::Local => Self::spawned(local::command(url, opening), opening.role),
        }
    }

    fn spawned(mut command: Command, role: Role) -> Result<Self> {
        let mut child = start(&mut command, role)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::new(Kind::Local, "a child was started without pipes"));
        };
        let stderr = Stderr::of(&mut child);
        Ok(Channel {
            reader: Box::new(stdout),
            writer: Some(Box::new(stdin)),
            end: End::Child(child.into(), role),
            stderr,
        })
    }

    fn tcp(stream: TcpStream) -> Result<Self> {
        let clone = || stream.try_clone().map_err(Error::doing(Kind::Local, "cannot duplicate a socket"));
        Ok(Channel {
            reader: Box::new(clone()?),
            writer: Some(Box::new(TcpWriter(clone()?))),
            end: End::Tcp(stream),
            stderr: None,
        })
    }

    /// Returns what can end this channel from another thread.
    pub fn killer(&self) -> Killer {
        match &self.end {
            // git's own connection waits for as long as plain git's would.
            End::Child(_, Role::Canonical) | End::None => Killer::None,
            End::Child(child, role) => {
                Killer::Child { id: child.child.id(), group: role.own_group(), ours: Arc::clone(&child.ours) }
            }
            End::Tcp(stream) => stream.try_clone().map_or(Killer::None, Killer::Tcp),
        }
    }

    /// Returns the last thing that a mirror's child said on its stderr, in one line.
    pub fn said(&self) -> Option<String> {
        self.stderr.as_ref().and_then(Stderr::last_line).map(http::plainly)
    }

    /// Closes our side, waits for the other, and returns the exit code of the child (0 for a connection).
    pub fn finish(mut self) -> i32 {
        self.writer = None;
        match std::mem::replace(&mut self.end, End::None) {
            End::Child(child, _) => child.wait().map_or(1, os::exit_code),
            End::Tcp(_) | End::None => 0,
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let killer = self.killer();
        if let End::Child(child, role) = std::mem::replace(&mut self.end, End::None) {
            match role {
                Role::Canonical => os::kill(child.child.id()),
                Role::Beside | Role::Mirror { .. } => killer.kill(),
            }
            child.wait();
        }
    }
}

/// A child, and whether its id is still its own: once it has been waited for, another process may get that.
struct Offspring {
    child: Child,
    ours: Arc<Mutex<bool>>,
}

impl From<Child> for Offspring {
    fn from(child: Child) -> Self {
        Offspring { child, ours: Arc::new(Mutex::new(true)) }
    }
}

impl Offspring {
    /// Waits for it; whoever holds a [`Killer`] may end it meanwhile, and not any more afterwards.
    fn wait(mut self) -> Option<std::process::ExitStatus> {
        os::wait_dead(self.child.id());
        let mut ours = self.ours.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *ours = false;
        self.child.wait().ok()
    }
}

/// Ends a channel from another thread.
#[derive(Debug)]
pub enum Killer {
    /// Kills a process, or the process group that it leads, as long as that is ours.
    Child {
        /// Its process id.
        id: u32,
        /// Whether it leads a group.
        group: bool,
        /// Whether it has not been waited for.
        ours: Arc<Mutex<bool>>,
    },
    /// Shuts the connection down.
    Tcp(TcpStream),
    /// Nothing to end.
    None,
}

impl Killer {
    /// Ends the channel: reads and writes on it fail from now on.
    pub fn kill(&self) {
        match self {
            Killer::Child { id, group, ours } => {
                let ours = ours.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                match (*ours, group) {
                    (false, _) => {}
                    (true, true) => os::kill_group(*id),
                    (true, false) => os::kill(*id),
                }
            }
            Killer::Tcp(stream) => drop(stream.shutdown(std::net::Shutdown::Both)),
            Killer::None => {}
        }
    }
}

/// Closes the writing half of a connection when dropped, as closing a pipe would.
struct TcpWriter(TcpStream);

impl Write for TcpWriter {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Drop for TcpWriter {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Write);
    }
}

/// Starts a child that serves a channel.
fn start(command: &mut Command, role: Role) -> Result<Child> {
    if role != Role::Canonical {
        command.stderr(Stdio::piped());
    }
    if role.own_group() {
        os::own_group(command);
        // Nobody is asked for a password: set but empty, git's variable keeps it from core.askPass and SSH_ASKPASS as well.
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_ASKPASS", "").env("SSH_ASKPASS_REQUIRE", "never");
    }
    process::start(command)
}

/// Collects the end of what a child says on stderr.
struct Stderr(Arc<Mutex<Vec<u8>>>, Mutex<Option<std::thread::JoinHandle<()>>>);

impl Stderr {
    fn of(child: &mut Child) -> Option<Self> {
        let mut from = child.stderr.take()?;
        let kept = Arc::new(Mutex::new(Vec::new()));
        let thread = std::thread::spawn({
            let kept = Arc::clone(&kept);
            move || {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = from.read(&mut buffer) {
                    if let Ok(mut kept) = kept.lock() {
                        process::keep_last(&mut kept, &buffer[..n]);
                    }
                }
            }
        });
        Some(Stderr(kept, Mutex::new(Some(thread))))
    }

    /// Waits a moment for the child to have said it all.
    fn last_line(&self) -> Option<String> {
        let thread = self.1.lock().ok()?.take();
        if let Some(thread) = thread {
            for _ in 0..20 {
                if thread.is_finished() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let kept = self.0.lock().ok()?;
        let text = String::from_utf8_lossy(&kept);
        let clean = |line: &str| SafeText::new(&crate::values::url::redact(line)).to_string();
        let lines: Vec<String> = text.lines().map(clean).filter(|line| !line.trim().is_empty()).collect();
        let line = lines.iter().find(|l| l.starts_with("fatal:") || l.starts_with("remote:")).or(lines.last())?;
        Some(line.trim_start_matches("fatal: ").to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killer_leaves_alone_what_is_not_ours_any_more() {
        for (group, finish) in [(true, true), (true, false), (false, true), (false, false)] {
            let role = Role::Mirror { learned: false, prompt: !group };
            let channel = Channel::spawned(process::shell("cat", [""; 0]), role).expect("a channel");
            let killer = channel.killer();
            let Killer::Child { id, ours, .. } = &killer else { panic!("no child") };
            let (id, ours) = (*id, Arc::clone(ours));
            if finish {
                assert_eq!(channel.finish(), 0);
            } else {
                drop(channel);
            }
            assert!(!*ours.lock().expect("a flag"), "{group} {finish}");
            // Whoever gets that id now is none of our business.
            let mut other = process::shell("sleep 5; :", [""; 0]);
            os::own_group(&mut other);
            let mut other = process::start(&mut other).expect("a process");
            let misled = Killer::Child { id: other.id(), group, ours };
            misled.kill();
            std::thread::sleep(Duration::from_millis(20));
            assert!(other.try_wait().expect("a status").is_none(), "{id} {group} {finish}");
            os::kill_group(other.id());
            other.wait().expect("a status");
        }
    }

    #[test]
    fn a_killer_ends_what_is_waited_for() {
        let role = Role::Mirror { learned: false, prompt: false };
        let channel = Channel::spawned(process::shell("sleep 60; :", [""; 0]), role).expect("a channel");
        let killer = channel.killer();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                killer.kill();
            });
            assert_eq!(channel.finish(), 128 + 9);
        });
    }
}
