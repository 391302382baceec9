//! The steps of `git mirror-fetch` and `git mirror clone`, each a process of its own. A Ctrl-C leaves the mirror that is
//! being asked, and the step runs once more without it; a second one soon after, or one while no mirror is asked, ends the
//! run.
//!
//! A process that is killed leaves nothing of what a mirror sent but what is proved: so nothing has to be told apart
//! here, and what was proved is not fetched again. `git clone` removes all that it has made, that as well.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use gix::ObjectId;

use crate::adapters::git::repo::Repo;
use crate::adapters::git::run::{self, Part, Said};
use crate::adapters::os::terminal::{self, Borrowed, Place};
use crate::adapters::os::{self, Ended, Steering};
use crate::adapters::process;
use crate::values::{Error, Event, Kind, Report, Result};

/// Two interrupts within this time end the run, whatever is going on.
const DOUBLE: Duration = Duration::from_secs(2);

/// How long to wait for helpers that git has not waited for.
const LAST_GONE: Duration = Duration::from_secs(10);

/// Where a run is carried out.
pub enum Begun {
    /// Here.
    Here(AtTerminal),
    /// In a process group of its own, which has ended.
    Elsewhere(Ended),
}

/// How this process stands towards its terminal. Dropping it gives back what was borrowed.
pub struct AtTerminal {
    borrowed: Option<Borrowed>,
    leading: bool,
}

/// Begins a run: where Ctrl-C would end somebody else as well, this program once more, with the same arguments, in a
/// process group of its own.
///
/// # Errors
/// [`Kind::Local`] where it cannot be started.
pub fn begin() -> Result<Begun> {
    let part = Part::of_this_process();
    let place = if run::is_inside() { Place::Elsewhere } else { terminal::place() };
    if part.is_none() && place == Place::Among {
        let mut again = process::this_program()?;
        again.args(std::env::args_os().skip(1)).env(run::ENV_PART, Part::Front.word());
        return process::in_front(&mut again).map(Begun::Elsewhere);
    }
    let borrowed = if part == Some(Part::Front) { terminal::borrow() } else { None };
    Ok(Begun::Here(AtTerminal { borrowed, leading: place == Place::Leading }))
}

/// Runs steps.
pub struct Steps<'a> {
    steering: Steering,
    leaving: bool,
    skipped: Vec<String>,
    pressed: Option<Instant>,
    report: &'a dyn Report,
}

impl<'a> Steps<'a> {
    /// Returns them. Unless the terminal is this process's own, an interrupt ends the run, as it ends git.
    ///
    /// # Errors
    /// [`Kind::Local`] where signals cannot be watched.
    pub fn new(at: &AtTerminal, report: &'a dyn Report) -> Result<Self> {
        let leaving = at.borrowed.is_some() || at.leading;
        let steering = Steering::new().map_err(Error::doing(Kind::Local, "cannot watch signals"))?;
        Ok(Steps { steering, leaving, skipped: Vec::new(), pressed: None, report })
    }

    /// Runs what `command` returns, as often as mirrors are left, and `again` has nothing against it. Returns how the last
    /// one ended and what it said; as ended by a signal if one has come that shall end the run.
    ///
    /// # Errors
    /// [`Kind::Local`] where it cannot be started.
    pub fn run(
        &mut self,
        command: impl Fn() -> Result<Command>,
        again: impl Fn(&Said) -> bool,
    ) -> Result<(Ended, Said)> {
        loop {
            let file =
                tempfile::NamedTempFile::new().map_err(Error::doing(Kind::Local, "cannot make a temporary file"))?;
            let mut command = command()?;
            command.env(run::ENV_RUN, file.path()).env(run::ENV_SKIP, self.skipped.join("\n"));
            let (mut left, mut told) = (false, None);
            let (leaving, pressed) = (self.leaving, &mut self.pressed);
            let ended = process::steered(&mut command, &mut self.steering, |signal| {
                let now = Instant::now();
                let again = signal == os::INTERRUPT && pressed.replace(now).is_some_and(|last| now - last <= DOUBLE);
                if leaving && signal == os::INTERRUPT && !again {
                    left = true;
                } else {
                    told = Some(signal);
                }
            })?;
            run::wait_all_gone(file.path(), LAST_GONE);
            let said = Said::parse(&std::fs::read_to_string(file.path()).unwrap_or_default());
            delete(&said);
            if let Some(signal) = told {
                return Ok((Ended::Signal(signal), said));
            }
            if !left || said.asking.is_empty() || !again(&said) {
                return Ok((ended, said));
            }
            for mirror in said.asking {
                let reason = "interrupted; Ctrl-C again within 2 seconds ends the fetch".into();
                self.report.event(Event::Left { mirror: mirror.clone(), reason });
                self.skipped.push(mirror);
            }
        }
    }

    /// Returns whether Ctrl-C was pressed.
    pub fn interrupted(&self) -> bool {
        self.pressed.is_some()
    }

    /// Returns a signal that has come since, and shall end the run.
    pub fn told(&mut self) -> Option<Ended> {
        self.steering.pending().last().map(Ended::Signal)
    }
}

/// Deletes the refs that helpers have left until git has ended, unless they name something else by now.
fn delete(said: &Said) {
    let mut left: BTreeMap<&Path, HashSet<(&str, ObjectId)>> = BTreeMap::new();
    for (place, mirror_ref) in &said.over {
        left.entry(place).or_default().insert((&mirror_ref.name, mirror_ref.oid));
    }
    for (place, left) in left {
        let Some(repo) = Repo::at(place) else { continue }; // `git clone` removes it where it fails
        let deleted = repo.mirror_refs().and_then(|refs| {
            repo.delete(&refs.iter().filter(|r| left.contains(&(r.name.as_str(), r.oid))).collect::<Vec<_>>())
        });
        if let Err(err) = deleted {
            tracing::debug!(%err, "cannot tidy refs/mirror");
        }
    }
}
