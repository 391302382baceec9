//! What fetches show of mirrors and of canonical: every one is a measurement.

use std::time::Duration;

use crate::adapters::kept::ledger::{Fact, Ledger};
use crate::decide::facts::{Failure, OfCopy, OfHost};
use crate::usecases::fetching::choosing::Chooser;
use crate::values::{Error, GitUrl, Kind, RefSpace};

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
            Kind::Config | Kind::Usage | Kind::Local | Kind::Told | Kind::Spent | Kind::NoRoom | Kind::Unable => {
                return None;
            }
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
        let facts = facts(observed, canonical, online, wants, self.remote.url);
        Ledger { repo: self.repo, remote: self.remote.name, config: self.remote.config }.note(&facts);
    }
}

/// Returns what a fetch has shown, as [`Chooser::keep`] says; `url` is canonical's.
fn facts(observed: Vec<Observed>, canonical: Canonical, online: bool, wants: Option<usize>, url: &GitUrl) -> Vec<Fact> {
    let mut total = canonical.moved.0;
    let mut facts = vec![Fact::Host(url.clone(), OfHost::Answered(canonical.answer, canonical.moved))];
    for Observed { url, space, outcome } in observed {
        match outcome {
            Outcome::Gave { ask, moved, lacked } => {
                total += moved.0;
                facts.push(Fact::Host(url, OfHost::Gave(ask, moved)));
                facts.push(Fact::Copy(space, OfCopy::Lacked(lacked)));
            }
            Outcome::HadNothing => {
                facts.push(Fact::Host(url, OfHost::HadNothing));
                facts.push(Fact::Copy(space, OfCopy::Lacked(1.0)));
            }
            Outcome::Failed(..) if !online => {}
            Outcome::Failed(Failure::NotFound, why) => facts.push(Fact::Copy(space, OfCopy::NotFound(why))),
            Outcome::Failed(failure, why) => facts.push(Fact::Host(url, OfHost::Failed(failure, why))),
        }
    }
    let per_ref = wants.filter(|wants| *wants > 0 && total > 0).map(|wants| total as f64 / wants as f64);
    facts.extend(per_ref.map(Fact::Usual));
    facts
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
            (Kind::Unable, None),
        ] {
            assert_eq!(failure(kind), want, "{kind:?}");
        }
    }

    #[test]
    fn blames_nobody_where_nobody_could_be_reached() {
        let url = |text: &str| GitUrl::parse(text).expect("a URL");
        let space = || RefSpace::of("o", &url("https://m/a"));
        let seen = |outcome, online| {
            let observed = vec![Observed { url: url("https://m/a"), space: space(), outcome }];
            let canonical = Canonical { moved: (30, Duration::ZERO), ..Canonical::default() };
            facts(observed, canonical, online, Some(2), &url("https://c/a")).split_off(1)
        };
        let gave = Outcome::Gave { ask: Duration::from_secs(1), moved: (10, Duration::ZERO), lacked: 0.5 };
        let (ask, usual) = (Duration::from_secs(1), Fact::Usual(15.0));
        let host = |seen| Fact::Host(url("https://m/a"), seen);
        let copy = |seen| Fact::Copy(space(), seen);
        assert_eq!(
            seen(gave, true),
            [host(OfHost::Gave(ask, (10, Duration::ZERO))), copy(OfCopy::Lacked(0.5)), Fact::Usual(20.0)]
        );
        let nothing = [host(OfHost::HadNothing), copy(OfCopy::Lacked(1.0)), usual.clone()];
        assert_eq!(seen(Outcome::HadNothing, true), nothing);
        let failed = |failure| Outcome::Failed(failure, "why".into());
        let (not_found, trouble) = (OfCopy::NotFound("why".into()), OfHost::Failed(Failure::Trouble, "why".into()));
        assert_eq!(seen(failed(Failure::NotFound), true), [copy(not_found), usual.clone()]);
        assert_eq!(seen(failed(Failure::Trouble), true), [host(trouble), usual.clone()]);
        assert_eq!(seen(failed(Failure::Trouble), false), [usual]);
    }
}
