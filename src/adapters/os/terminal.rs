//! The terminal's foreground process group: whom Ctrl-C reaches.
//!
//! `git mirror-fetch` is started by git, which dies of a Ctrl-C whatever its child makes of it (`execv_dashed_external`
//! in git's `git.c`, `cleanup_children` in its `run-command.c`). So on a terminal the work is done in a process group of
//! its own, which has the terminal while it works, as a shell does it with its jobs. The process that git started stays
//! where it is, and does what a shell does: it stops and goes on with its job.
//!
//! Source: "Implementing a Job Control Shell" in the manual of the GNU C library; tcsetpgrp(3); setpgid(2).

use std::fs::File;
use std::io::Error;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, getpgid, getpgrp, getpid, getppid, kill_current_process_group, kill_process_group,
    waitpid,
};
use rustix::termios::{tcgetpgrp, tcsetpgrp};
use signal_hook::consts::{SIGCHLD, SIGCONT, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Ended, ending_signals, send};

/// How long the group waits for the terminal.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where this process stands towards its terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It has none, is in the background, or is part of a pipeline, whose other commands may need the terminal.
    Elsewhere,
    /// It leads the group in the foreground.
    Leading,
    /// It is in the group in the foreground, which somebody else leads.
    Among,
}

/// Returns where this process stands.
pub fn place() -> Place {
    let Some(terminal) = terminal() else { return Place::Elsewhere };
    let in_front = tcgetpgrp(&terminal).is_ok_and(|group| group == getpgrp());
    if !in_front || is_pipe(std::io::stdin()) || is_pipe(std::io::stdout()) || is_pipe(std::io::stderr()) {
        Place::Elsewhere
    } else if getpgrp() == getpid() {
        Place::Leading
    } else {
        Place::Among
    }
}

/// Returns how wide the terminal is that stderr shows on, in columns; 80 where that is not known (`term_columns` in git's
/// `pager.c`).
pub fn columns() -> usize {
    let set = std::env::var_os("COLUMNS").and_then(|columns| columns.to_str()?.parse().ok());
    let seen = || rustix::termios::tcgetwinsize(std::io::stderr()).ok().map(|size| usize::from(size.ws_col));
    set.or_else(seen).filter(|columns| *columns > 0).unwrap_or(80)
}

fn terminal() -> Option<File> {
    File::open("/dev/tty").ok()
}

fn is_pipe(stream: impl AsFd) -> bool {
    let kind = || Some(File::from(stream.as_fd().try_clone_to_owned().ok()?).metadata().ok()?.file_type());
    kind().is_some_and(|kind| kind.is_fifo() || kind.is_socket())
}

/// Stays behind in the group that the shell knows, while a job in a group of its own works at the terminal.
pub struct Front(Signals);

impl Front {
    /// Takes the signals that would end this process, before the job is started.
    ///
    /// # Errors
    /// Those of sigaction(2) and pipe(2).
    pub fn new() -> Result<Self, Error> {
        Signals::new(ending_signals().chain([SIGCHLD, SIGCONT])).map(Front)
    }

    /// Gives the terminal to `job`, which leads a group and must call [`borrow`], and waits for it. A signal to this
    /// process ends the job; what stops the job stops this process's group; a key that ended it ends that group.
    ///
    /// # Errors
    /// Those of waitpid(2).
    pub fn wait(&mut self, job: &Child) -> Result<Ended, Error> {
        let leader = super::pid(job.id()).ok_or(std::io::ErrorKind::NotFound)?;
        let mut told = None;
        go_on(leader);
        loop {
            if let Some((_, status)) = waitpid(Some(leader), WaitOptions::NOHANG | WaitOptions::UNTRACED)? {
                if status.stopped() {
                    // Here the shell takes over. A group that no shell watches cannot stop: this must not spin.
                    let _ = kill_current_process_group(Signal::TSTP);
                    std::thread::sleep(Duration::from_millis(20));
                    go_on(leader);
                    continue;
                }
                let ended = Ended::from(ExitStatus::from_raw(status.as_raw()));
                return Ok(told.map_or_else(|| ended_by_key(ended), Ended::Signal));
            }
            for signal in self.0.wait() {
                match signal {
                    SIGCHLD => {}
                    SIGCONT => go_on(leader),
                    _ => {
                        told.get_or_insert(signal);
                        // To the job, SIGINT is no more than a Ctrl-C.
                        send(job.id(), if signal == SIGINT { SIGTERM } else { signal });
                        let _ = kill_process_group(leader, Signal::CONT);
                    }
                }
            }
        }
    }
}

/// Lets the job go on, with the terminal if that is this group's to give.
fn go_on(job: Pid) {
    if let Some(terminal) = terminal()
        && tcgetpgrp(&terminal).is_ok_and(|group| group == getpgrp())
        && let Err(err) = tcsetpgrp(&terminal, job)
    {
        tracing::debug!(%err, "cannot give the terminal away");
    }
    let _ = kill_process_group(job, Signal::CONT);
}

/// A key that ends the job is meant for all who were in the foreground with us: a script's shell, too.
fn ended_by_key(ended: Ended) -> Ended {
    match ended {
        Ended::Signal(SIGINT) => drop(kill_current_process_group(Signal::INT)),
        Ended::Signal(SIGQUIT) => drop(kill_current_process_group(Signal::QUIT)),
        _ => {}
    }
    ended
}

/// The terminal, in the hands of a process that [`Front`] waits for. Dropping it gives it back.
pub struct Borrowed(File);

/// Waits until this process's group has the terminal. `None` where it does not get it.
pub fn borrow() -> Option<Borrowed> {
    let terminal = terminal()?;
    let until = Instant::now() + PATIENCE;
    while tcgetpgrp(&terminal).ok()? != getpgrp() {
        if Instant::now() > until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Some(Borrowed(terminal))
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let owner = getppid().and_then(|parent| getpgid(Some(parent)).ok());
        // Not from the background: that would stop us.
        if let Some(owner) = owner
            && tcgetpgrp(&self.0).is_ok_and(|group| group == getpgrp())
            && let Err(err) = tcsetpgrp(&self.0, owner)
        {
            tracing::debug!(%err, "cannot give the terminal back");
        }
    }
}
