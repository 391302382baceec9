//! What fetches show of mirrors and of canonical: every one is a measurement.

use std::time::Duration;

use crate::adapters::kept::hosts;
use crate::adapters::kept::shared_file::Change;
use crate::adapters::kept::state;
use crate::decide::facts::{Copy, Failure, Figure, Host};
use crate::usecases::fetching::choosing::Chooser;
use crate::values::{Error, GitUrl, Kind, RefSpace};

/// Less than this, in bytes, says nothing of a link's rate.
const TELLING: u64 = 64 * 1024;

/// What came of asking one mirror.
#[derive(Debug)]
pub enum Outcome {
    /// It gave something.
    Gave {
        /// How long asking took, but for the bytes.
        ask: Duration,
        /// Bytes of objects, and how long they took.
        moved: (u64, Duration),
        /// The share of what was wanted that it lacked.
        lacked: f64,
    },
    /// It had nothing that was wanted.
    HadNothing,
    /// It failed.
    Failed(Failure, String),
}

impl Outcome {
    /// Returns what an error says of a mirror; nothing where it is not the mirror's.
    pub fn of(err: &Error) -> Option<Self> {
        let failure = match err.kind {
            Kind::Nothing => return Some(Outcome::HadNothing),
            Kind::Config | Kind::Usage | Kind::Local | Kind::Told | Kind::Spent => return None,
            Kind::Proof => Failure::Corrupt,
            Kind::NotFound => Failure::NotFound,
            Kind::Channel | Kind::Protocol | Kind::Timeout | Kind::Unproved => Failure::Trouble,
        };
        Some(Outcome::Failed(failure, err.message.clone()))
    }
}

/// What was seen of one mirror.
#[derive(Debug)]
pub struct Observed {
    /// The mirror's URL.
    pub url: GitUrl,
    /// Where its refs are kept.
    pub space: RefSpace,
    /// What came of it.
    pub outcome: Outcome,
}

/// What was seen of canonical.
#[derive(Debug, Default, Clone, Copy)]
pub struct Canonical {
    /// How long its answers took to begin.
    pub answer: Option<Duration>,
    /// Bytes of objects, and how long they took.
    pub moved: (u64, Duration),
}

impl Chooser<'_> {
    /// Keeps what a fetch has shown. Mirrors are blamed only where somebody else could be reached (`online`): when
    /// everything fails at once, it is not theirs. `wants` is how many objects were asked for where it was no clone.
    pub fn keep(&self, observed: Vec<Observed>, canonical: Canonical, online: bool, wants: Option<usize>) {
        let now = state::now();
        let mut total = canonical.moved.0;
        let mut changes: Vec<(GitUrl, Change<Host>)> = Vec::new();
        let mut copies: Vec<(RefSpace, Change<Copy>)> = Vec::new();
        for Observed { url, space, outcome } in observed {
            match outcome {
                Outcome::Gave { ask, moved, lacked } => {
                    total += moved.0;
                    changes.push((
                        url,
                        Box::new(move |host| {
                            host.succeed(now);
                            sample(&mut host.ask, Some(ask), now);
                            rate(host, moved, now);
                        }),
                    ));
                    copies.push((space, Box::new(move |copy| taken(copy, lacked))));
                }
                Outcome::HadNothing => {
                    changes.push((url, Box::new(move |host| host.succeed(now)))); // it has answered
                    copies.push((space, Box::new(move |copy| taken(copy, 1.0))));
                }
                Outcome::Failed(..) if !online => {}
                Outcome::Failed(Failure::NotFound, why) => {
                    copies.push((space, Box::new(move |copy| copy.backoff.fail(Failure::NotFound, &why, now))));
                }
                Outcome::Failed(failure, why) => {
                    changes.push((url, Box::new(move |host| host.fail(failure, &why, now))));
                }
            }
        }
        changes.push((
            self.remote.url.clone(),
            Box::new(move |host| {
                sample(&mut host.answer, canonical.answer, now);
                rate(host, canonical.moved, now);
            }),
        ));
        hosts::note(now, changes);
        let Some(repo) = self.repo else { return };
        let per_ref = wants.filter(|wants| *wants > 0 && total > 0).map(|wants| total as f64 / wants as f64);
        state::note_fetch(repo, self.remote.name, copies, per_ref);
    }
}

fn taken(copy: &mut Copy, lacked: f64) {
    copy.lacked(lacked);
    copy.backoff = Default::default();
}

fn sample(figure: &mut Option<Figure>, time: Option<Duration>, now: u64) {
    if let Some(time) = time {
        Figure::sample(figure, time.as_secs_f64() * 1000.0, now);
    }
}

fn rate(host: &mut Host, (bytes, time): (u64, Duration), now: u64) {
    if bytes >= TELLING {
        Figure::sample(&mut host.rate, bytes as f64 / time.as_secs_f64().max(1e-3), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_whose_fault_it_is() {
        let failure = |kind| match Outcome::of(&Error::new(kind, "of whatever words")) {
            Some(Outcome::Failed(failure, _)) => Some(failure),
            _ => None,
        };
        for (kind, want) in [
            (Kind::Timeout, Some(Failure::Trouble)),
            (Kind::Channel, Some(Failure::Trouble)),
            (Kind::Protocol, Some(Failure::Trouble)),
            (Kind::Unproved, Some(Failure::Trouble)),
            (Kind::NotFound, Some(Failure::NotFound)),
            (Kind::Proof, Some(Failure::Corrupt)),
            (Kind::Nothing, None),
            (Kind::Local, None),
            (Kind::Spent, None),
        ] {
            assert_eq!(failure(kind), want, "{kind:?}");
        }
    }
}
