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

pub use http::HttpHelper;

use crate::adapters::git::config::Config;
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

/// Which addresses may be used (`git fetch -4`, `-6`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// Both.
    #[default]
    Any,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Returns whether an address is one of these.
    pub fn has(self, address: &std::net::SocketAddr) -> bool {
        match self {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        }
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
    /// When there has to be a connection over `git://` or ssh; `None` leaves it to the system.
    pub connect_by: Option<Instant>,
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
    Child(Child, Role),
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
            Transport::Http => {
                HttpHelper::start(url.raw(), url, opening.role, opening.config)?.into_lazy_channel(opening.service)
            }
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
        Ok(Channel { reader: Box::new(stdout), writer: Some(Box::new(stdin)), end: End::Child(child, role), stderr })
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
            End::Child(child, role) if role.own_group() => Killer::Group(child.id()),
            End::Child(child, _) => Killer::Process(child.id()),
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
            End::Child(mut child, _) => child.wait().map_or(1, os::exit_code),
            End::Tcp(_) | End::None => 0,
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        if let End::Child(child, role) = &mut self.end {
            if role.own_group() {
                os::kill_group(child.id());
            } else {
                os::kill(child.id());
            }
            let _ = child.wait();
        }
    }
}

/// Ends a channel from another thread.
#[derive(Debug)]
pub enum Killer {
    /// Kills the process group of that leader.
    Group(u32),
    /// Kills that process.
    Process(u32),
    /// Shuts the connection down.
    Tcp(TcpStream),
    /// Nothing to end.
    None,
}

impl Killer {
    /// Ends the channel: reads and writes on it fail from now on.
    pub fn kill(&self) {
        match self {
            Killer::Group(leader) => os::kill_group(*leader),
            Killer::Process(id) => os::kill(*id),
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
