//! Seeding: wanted objects from mirrors into the local store, proved, before canonical is asked
//! (docs/architecture.md, "Seeding, step by step").
//!
//! Whatever goes wrong with a mirror is an event and the next mirror. Nothing here returns an error to the fetch that
//! it serves: the worst outcome is that canonical sends everything itself.

mod asking_one;
mod connecting;
mod fill;
mod gift;
mod offering;
mod salvage;
mod taking;

pub use connecting::Early;
pub use gift::Part;

use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::panic::AssertUnwindSafe;

use gix::ObjectId;

use self::offering::Offers;
use crate::adapters::git::odb::Odb;
use crate::adapters::git::repo::Repo;
use crate::adapters::git::run;
use crate::adapters::kept::hosts::Hosts;
use crate::adapters::kept::state;
use crate::adapters::net::watch::Clock;
use crate::adapters::seed::keep::Keep;
use crate::adapters::seed::quarantine;
use crate::decide::cost::Work;
use crate::decide::patience::{Came, Patience, Whom};
use crate::usecases::fetching::choosing::Chooser;
use crate::usecases::fetching::learning::Learner;
use crate::usecases::fetching::observing::{Observed, Outcome};
use crate::usecases::fetching::remote::Remote;
use crate::values::{Error, Event, Kind, Mirror, RefSpace, Result};
use crate::wire::RefList;

/// What a mirror is measured by where there is no canonical server, in bytes a second: one that is slow is better than none.
const ALONE: f64 = 20e3;

/// With so many mirrors tried, canonical is not asked for more.
const MOST_TRIED: usize = 256;

/// What to seed.
pub struct Wanted<'a> {
    /// The ids that git wants.
    pub wants: &'a [ObjectId],
    /// Commits that are here and that a mirror may know.
    pub haves: &'a [ObjectId],
    /// Whether annotated tags shall come with what they point to.
    pub include_tag: bool,
    /// Whether nothing is here yet.
    pub clone: bool,
    /// Canonical's refs.
    pub canonical: &'a RefList,
}

/// What seeding came to.
#[derive(Debug, Default)]
pub struct Seeded {
    /// Whether everything that is wanted is here and proved.
    pub complete: bool,
    /// Commits that are here and proved: for canonical's `have` lines.
    pub haves: Vec<ObjectId>,
    /// Those of the wanted ids that are here and proved, and that canonical has named: it need not send them.
    pub here: HashSet<ObjectId>,
    /// Annotated tags that canonical must still send.
    pub tags: Vec<ObjectId>,
    /// The tips that mirrors have and git did not want, proved.
    pub own: Vec<ObjectId>,
    /// What of it may have to go once canonical has answered.
    pub unsure: Vec<Part>,
    /// Who gave how many bytes.
    pub from: Vec<(String, u64)>,
    /// What was seen of the mirrors.
    pub observed: Vec<Observed>,
    /// Bytes that canonical gave to complete what a mirror broke off.
    pub from_canonical: u64,
    /// Whether there was something below `refs/mirror/` before: only these refs keep what they name.
    pub resumed: bool,
}

impl Seeded {
    fn take(&mut self, gift: gift::Gift, left: &mut Vec<ObjectId>, tips: &mut Vec<ObjectId>) {
        let proved: HashSet<&ObjectId> = gift.tips.iter().collect();
        left.retain(|id| !proved.contains(id));
        tips.extend(gift.tips);
        self.unsure.extend(gift.unsure);
        self.tags.extend(gift.tags_left);
        self.from.extend(gift.before);
    }
}

/// Seeds one repository for one remote.
pub struct Seeder<'a> {
    repo: &'a Repo,
    remote: Remote<'a>,
    /// For whom what is moved in is kept.
    keep: &'a Keep,
    /// A connection that has been begun.
    early: Cell<Option<Early>>,
    /// What all mirrors together may cost.
    clock: Clock,
}

impl<'a> Seeder<'a> {
    /// Returns one for one fetch.
    pub fn new(repo: &'a Repo, remote: Remote<'a>, keep: &'a Keep, early: Option<Early>) -> Self {
        let canonical = Hosts::load().get(remote.url).at(state::now()).rate;
        let must_pay = remote.config.bool("mirror.mustpay").unwrap_or(true);
        let clock = Patience::new(connecting::patience(remote.config), canonical.map(|rate| rate.value), must_pay);
        Seeder { repo, remote, keep, early: early.into(), clock: Clock::new(clock) }
    }

    /// Returns one that [fills](Self::fill): no canonical server serves in the place of a mirror that is left.
    pub fn alone(repo: &'a Repo, remote: Remote<'a>, keep: &'a Keep) -> Self {
        let clock = Patience::new(connecting::patience(remote.config), Some(ALONE), true);
        Seeder { repo, remote, keep, early: None.into(), clock: Clock::new(clock) }
    }
}

impl Seeder<'_> {
    fn chooser(&self) -> Chooser<'_> {
        Chooser { repo: Some(self.repo), remote: self.remote }
    }

    /// Seeds what is wanted from one mirror after the other until nothing is missing.
    pub fn seed(&self, wanted: &Wanted) -> Seeded {
        match self.try_seed(wanted) {
            Ok(seeded) => seeded,
            Err(err) => {
                self.remote.report.event(Event::Warning(format!("no mirror was used: {err}")));
                Seeded::default()
            }
        }
    }

    fn try_seed(&self, wanted: &Wanted) -> Result<Seeded> {
        let mut seeded = Seeded::default();
        if Repo::is_partial(self.remote.config) {
            return Ok(seeded);
        }
        if self.remote.config.mirrors(self.remote.name, self.remote.url.raw()).is_empty() || wanted.wants.is_empty() {
            return Ok(seeded);
        }
        if wanted.haves.is_empty() && self.repo.has_refs()? {
            // `--refetch` or `fetch.negotiationAlgorithm=noop`: git wants it all anew, from canonical.
            return Ok(seeded);
        }
        let mirrors = self.chooser().order(self.work(wanted));
        if mirrors.is_empty() {
            return Ok(seeded);
        }
        quarantine::sweep(&self.repo.objects);
        seeded.resumed = self.repo.has_mirror_refs();
        let mut left = self.not_here_yet(wanted.wants)?;
        let missing: HashSet<ObjectId> = left.iter().copied().collect();
        let mut tips: Vec<ObjectId> = wanted.wants.iter().filter(|id| !missing.contains(*id)).copied().collect();
        let offers = Offers::new(self.repo, wanted.haves)?;
        let mut tried = HashSet::new();
        let mut saved = None; // of a transfer that broke off
        let mut mirrors = VecDeque::from(mirrors);
        let mut said = String::new();
        while !left.is_empty() {
            if let Some(over) = self.clock.over(Whom::Mirror) {
                if said != over.message {
                    self.remote.report.event(Event::Warning(over.message));
                }
                break;
            }
            let Some((mirror, space)) = mirrors.pop_front() else {
                // Where one could give something, canonical has little left to send.
                mirrors = if seeded.from.is_empty() { self.more_mirrors(&tried).into() } else { VecDeque::new() };
                if mirrors.is_empty() {
                    break;
                }
                continue;
            };
            tried.insert(mirror.url.raw().to_owned());
            let who = mirror.url.shown_host();
            self.remote.report.event(Event::Asking { mirror: who.clone() });
            run::note(&format!("asking {}", space.name()));
            let offers = offers.extended(self.repo, &tips)?;
            let still = Wanted { wants: &left, haves: &offers, ..*wanted };
            // What a mirror sends may find a fault in a library; that must not end the fetch.
            let asked = AssertUnwindSafe(|| self.ask(&mirror, &space, &still, &mut saved));
            let gift = std::panic::catch_unwind(asked).unwrap_or_else(|_| {
                self.clock.settle(Came::Refused);
                Err(Error::new(Kind::Protocol, "what it sent could not be handled"))
            });
            run::note("idle");
            self.remote.report.event(Event::ProgressEnd);
            match gift {
                Ok(gift) => {
                    state::note(self.repo, &space, "ok", gift.bytes);
                    let lacked = still.wants.iter().filter(|id| !gift.tips.contains(id)).count();
                    let lacked = lacked as f64 / still.wants.len() as f64;
                    let outcome = Outcome::Gave { ask: gift.ask, moved: gift.moved, lacked };
                    seeded.observed.push(Observed { url: mirror.url, space, outcome });
                    let bytes = gift.bytes;
                    seeded.take(gift, &mut left, &mut tips);
                    seeded.from.push((who, bytes));
                }
                Err(err) => {
                    let outcome = Outcome::of(&err);
                    said.clone_from(&err.message);
                    self.leave(who, &space, err);
                    seeded.observed.extend(outcome.map(|outcome| Observed { url: mirror.url, space, outcome }));
                }
            }
        }
        if let Some(saved) = saved.filter(|_| !left.is_empty()) {
            let offers = offers.extended(self.repo, &tips)?;
            let still = Wanted { wants: &left, haves: &offers, ..*wanted };
            let asked = AssertUnwindSafe(|| self.complete_by_canonical(&still, saved));
            if let Some(gift) = std::panic::catch_unwind(asked).unwrap_or_default() {
                seeded.from_canonical = gift.bytes;
                seeded.take(gift, &mut left, &mut tips);
            }
        }
        let odb = Odb::open(self.repo)?;
        seeded.tags.retain(|tag| !odb.has(tag));
        // An id that canonical did not name must be asked of it, wherever it came from: it may not be one of its own.
        let named: HashSet<&ObjectId> = wanted.canonical.refs.iter().map(|r| &r.oid).collect();
        let vouched = wanted.wants.iter().all(|id| named.contains(id));
        let asked: HashSet<&ObjectId> = wanted.wants.iter().collect();
        seeded.own = tips.iter().filter(|id| !asked.contains(id)).copied().collect();
        seeded.complete = left.is_empty() && seeded.tags.is_empty() && vouched;
        if !seeded.complete {
            seeded.haves = offers.to_canonical(self.repo, &odb, &tips, &named, wanted.wants.len());
            let left: HashSet<ObjectId> = left.into_iter().collect();
            let here = wanted.wants.iter().filter(|id| named.contains(*id) && !left.contains(*id));
            seeded.here = here.copied().collect();
        }
        Ok(seeded)
    }

    /// Returns what is to be fetched, as far as that can be told.
    fn work(&self, wanted: &Wanted) -> Work {
        let clone = wanted.haves.is_empty();
        let usual = state::usual(self.repo, self.remote.name).filter(|_| !clone);
        Work { clone, bytes: usual.map(|bytes| bytes * wanted.wants.len() as f64) }
    }

    /// Returns mirrors that canonical names beyond those that were tried, where it has more and they may be used.
    fn more_mirrors(&self, tried: &HashSet<String>) -> Vec<(Mirror, RefSpace)> {
        if self.remote.config.preference(self.remote.name).wanted != Some(true) || tried.len() >= MOST_TRIED {
            return Vec::new();
        }
        let learner = Learner { repo: self.repo, remote: self.remote };
        let config = learner.ask_for_more().then(|| self.repo.config()).and_then(Result::ok);
        let config = config.map(|config| config.with_run(&[], &["true".into()])); // as it is for this run
        let more = config.map(|config| {
            let remote = Remote { config: &config, ..self.remote };
            Chooser { repo: Some(self.repo), remote }.order(Work::default())
        });
        let more = more.unwrap_or_default();
        more.into_iter().filter(|(mirror, _)| !tried.contains(mirror.url.raw())).collect()
    }

    /// Returns those of `wants` that are not here and proved. What an earlier fetch brought in before it was killed is
    /// found here, kept from now on, and not fetched again.
    fn not_here_yet(&self, wants: &[ObjectId]) -> Result<Vec<ObjectId>> {
        let odb = Odb::open(self.repo)?;
        let (here, mut left): (Vec<_>, Vec<_>) = wants.iter().partition(|id| odb.has(id));
        if !here.is_empty() {
            self.keep.guard(self.repo, false);
            let kept = || quarantine::keep_unreached(self.repo, self.keep, &here);
            if let Err(err) = self.repo.prove(&here, &[], None).and_then(|()| kept()) {
                tracing::debug!(%err, "what is here cannot be used");
                left.extend(here);
            }
        }
        Ok(left)
    }

    fn leave(&self, who: String, space: &RefSpace, err: Error) {
        state::note(self.repo, space, &err.message, 0);
        self.remote.report.event(match err.kind {
            Kind::Nothing => Event::Detail(format!("mirror: {who}: {}", err.message)),
            _ => Event::Left { mirror: who, reason: err.message },
        });
    }
}
