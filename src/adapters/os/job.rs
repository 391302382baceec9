//! Waiting for a child, while signals go to it first: whoever ends this process ends the child, and waits for it.

use std::io::Error;
use std::process::{Child, ExitStatus};

use signal_hook::consts::{SIGCHLD, SIGINT};
use signal_hook::iterator::Signals;

use super::{ending_signals, exit_code, send};

/// What Ctrl-C sends.
pub const INTERRUPT: i32 = SIGINT;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        status.signal().map_or_else(|| Ended::Exit(exit_code(status)), Ended::Signal)
    }
}

/// The signals that would end this process, from now on taken by whoever waits.
pub struct Steering(Signals);

impl Steering {
    /// Takes them.
    ///
    /// # Errors
    /// Those of sigaction(2) and pipe(2).
    pub fn new() -> Result<Self, Error> {
        Signals::new(ending_signals().chain([SIGCHLD])).map(Steering)
    }

    /// Waits for `child`. Each signal that comes in the meantime is told to `tell`, and passed on.
    ///
    /// # Errors
    /// Those of waitpid(2).
    pub fn wait(&mut self, child: &mut Child, mut tell: impl FnMut(i32)) -> Result<Ended, Error> {
        loop {
            if let Some(status) = child.try_wait()? {
                self.pending().for_each(tell);
                return Ok(status.into());
            }
            for signal in self.0.wait().filter(|signal| *signal != SIGCHLD) {
                tell(signal);
                send(child.id(), signal);
            }
        }
    }

    /// Returns the signals that have come since.
    pub fn pending(&mut self) -> impl Iterator<Item = i32> {
        self.0.pending().filter(|signal| *signal != SIGCHLD)
    }
}

/// Ends this process by `signal`, as if nobody had taken it. Returns an exit code for it where that fails.
pub fn end_by(signal: i32) -> i32 {
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    128 + signal
}
