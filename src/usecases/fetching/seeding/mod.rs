//! Seeding: wanted objects from mirrors into the local store, proved, before canonical is asked
//! (docs/architecture.md, "Seeding, step by step").
//!
//! Whatever goes wrong with a mirror is an event and the next mirror. Nothing here returns an error to the fetch that
//! it serves: the worst outcome is that canonical sends everything itself.

mod asking_one;
mod connecting;
mod fill;
mod gift;
mod salvage;
mod taking;

pub use connecting::Early;

use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::panic::AssertUnwindSafe;

use gix::ObjectId;

use crate::adapters::git::odb::Odb;
use crate::adapters::git::repo::Repo;
use crate::adapters::git::run;
use crate::adapters::kept::state;
use crate::adapters::seed::quarantine::{self};
use crate::decide::cost::Work;
use crate::usecases::fetching::choosing::Chooser;
use crate::usecases::fetching::learning::Learner;
use crate::usecases::fetching::observing::{Observed, Outcome};
use crate::usecases::fetching::remote::Remote;
use crate::values::{Error, Event, Kind, Mirror, RefSpace, Result};
use crate::wire::RefList;

/// Commits that are added to git's own `have` lines, beyond one for each of its `want` lines.
const MORE_HAVES: usize = 256;
/// Tips that canonical did not name, of whose ancestors some are added.
const MOST_UNNAMED: usize = 8;

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
    /// Canonical's refs.
    pub canonical: &'a RefList,
    /// Whether those are canonical's, and not the mirror's own for want of canonical.
    pub by_canonical: bool,
}

impl Wanted<'_> {
    /// Returns what canonical has named, or git has asked canonical for: what that reaches is canonical's business,
    /// malformed or not.
    fn of_canonical(&self) -> HashSet<ObjectId> {
        let ids = self.wants.iter().copied().chain(self.canonical.refs.iter().map(|r| r.oid));
        ids.filter(|_| self.by_canonical).collect()
    }
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
    /// Who gave how many bytes.
    pub from: Vec<(String, u64)>,
    /// What was seen of the mirrors.
    pub observed: Vec<Observed>,
    /// Bytes that canonical gave to complete what a mirror broke off.
    pub from_canonical: u64,
}

impl Seeded {
    fn take(&mut self, gift: gift::Gift, left: &mut Vec<ObjectId>, tips: &mut Vec<ObjectId>) {
        let proved: HashSet<&ObjectId> = gift.tips.iter().collect();
        left.retain(|id| !proved.contains(id));
        tips.extend(gift.tips);
        self.tags.extend(gift.tags_left);
        self.from.extend(gift.before);
    }
}

/// Seeds one repository for one remote.
pub struct Seeder<'a> {
    /// The repository.
    pub repo: &'a Repo,
    /// The remote.
    pub remote: Remote<'a>,
    /// A connection that has been begun.
    pub early: Cell<Option<Early>>,
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
        quarantine::sweep(self.repo);
        let mut left = self.not_here_yet(wanted.wants)?;
        let missing: HashSet<ObjectId> = left.iter().copied().collect();
        let mut tips: Vec<ObjectId> = wanted.wants.iter().filter(|id| !missing.contains(*id)).copied().collect();
        let mut tried = HashSet::new();
        let mut saved = None; // of a transfer that broke off
        let mut mirrors = VecDeque::from(mirrors);
        while !left.is_empty() {
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
            let still = Wanted { wants: &left, ..*wanted };
            // What a mirror sends may find a fault in a library; that must not end the fetch.
            let asked = AssertUnwindSafe(|| self.ask(&mirror, &space, &still, &mut saved));
            let gift = std::panic::catch_unwind(asked)
                .unwrap_or_else(|_| Err(Error::new(Kind::Protocol, "what it sent could not be handled")));
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
                    self.leave(who, &space, err);
                    seeded.observed.extend(outcome.map(|outcome| Observed { url: mirror.url, space, outcome }));
                }
            }
        }
        if let Some(saved) = saved.filter(|_| !left.is_empty()) {
            let still = Wanted { wants: &left, ..*wanted };
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
        seeded.complete = left.is_empty() && seeded.tags.is_empty() && vouched;
        if !seeded.complete {
            seeded.haves = self.haves(&odb, &tips, &named, wanted.wants.len());
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
    /// found here, and not fetched again.
    fn not_here_yet(&self, wants: &[ObjectId]) -> Result<Vec<ObjectId>> {
        let odb = Odb::open(self.repo)?;
        let (here, mut left): (Vec<_>, Vec<_>) = wants.iter().partition(|id| odb.has(id));
        if !here.is_empty() && self.repo.prove(&here, &[], None).is_err() {
            left.extend(here);
        }
        Ok(left)
    }

    /// Returns commits for canonical's `have` lines: the proved tips, the latest first, and some ancestors of those that
    /// canonical did not name, as it may not know the tip of a mirror that has diverged. In all at most one for each of
    /// git's `want` lines and [`MORE_HAVES`]: what git asks for in one request, canonical can be told in it.
    fn haves(&self, odb: &Odb, tips: &[ObjectId], named: &HashSet<&ObjectId>, wants: usize) -> Vec<ObjectId> {
        // Commits only: git looks an acknowledged id up as a commit, and dies of a tag.
        let dated = |tip: &ObjectId| odb.commit_time(&odb.peel(tip)).map(|time| (time, odb.peel(tip)));
        let latest_first = |tips: &mut dyn Iterator<Item = &ObjectId>| {
            let mut dated: Vec<(i64, ObjectId)> = tips.filter_map(dated).collect();
            dated.sort_by(|a, b| b.cmp(a));
            dated.into_iter().map(|(_, id)| id).collect::<Vec<_>>()
        };
        let unnamed = latest_first(&mut tips.iter().filter(|id| !named.contains(id)));
        let older = unnamed.iter().take(MOST_UNNAMED).flat_map(|tip| self.repo.older(tip));
        let mut seen = HashSet::new();
        let all = latest_first(&mut tips.iter());
        older.chain(all).filter(|id| seen.insert(*id)).take(wants + MORE_HAVES).collect()
    }

    fn leave(&self, who: String, space: &RefSpace, err: Error) {
        state::note(self.repo, space, &err.message, 0);
        self.remote.report.event(match err.kind {
            Kind::Nothing => Event::Detail(format!("mirror: {who}: {}", err.message)),
            _ => Event::Left { mirror: who, reason: err.message },
        });
    }
}
