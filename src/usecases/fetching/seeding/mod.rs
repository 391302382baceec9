//! Seeding: wanted objects from mirrors into the local store, proved, before canonical is asked
//! (docs/architecture.md, "Seeding, step by step").
//!
//! Whatever goes wrong with a mirror is an event and the next mirror. Nothing here returns an error to the fetch that
//! it serves: the worst outcome is that canonical sends everything itself.

mod asking_one;
mod connecting;
mod conversation;
mod fill;
mod gift;
mod held;
mod lazy;
mod offering;
mod salvage;
mod scoped;
mod taking;
mod under_way;

pub use connecting::Early;
pub use gift::Part;
pub use held::Held;
pub use under_way::{Left, Rest, Seeded};

use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::panic::AssertUnwindSafe;

use gix::ObjectId;

use self::gift::Gift;
use self::salvage::Salvage;
use self::under_way::UnderWay;
use crate::adapters::git::odb::Odb;
use crate::adapters::git::repo::Repo;
use crate::adapters::git::run;
use crate::adapters::kept::hosts::Hosts;
use crate::adapters::kept::state::{self, Ending};
use crate::adapters::net::watch::Clock;
use crate::adapters::seed::keep::Keep;
use crate::adapters::seed::{quarantine, room};
use crate::decide::cost::Work;
use crate::decide::patience::{Came, Patience, Whom};
use crate::usecases::fetching::choosing::{Chooser, Order};
use crate::usecases::fetching::learning::Learner;
use crate::usecases::fetching::observing::{Observed, Outcome};
use crate::usecases::fetching::remote::Remote;
use crate::values::{Error, Event, Kind, Mirror, RefSpace, Result, SafeText};
use crate::wire::{RefList, Scope};

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
    /// Which part is wanted of what they reach.
    pub scope: &'a Scope,
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
    /// Mirrors that are not asked, and that were left, each with why, in a word.
    not_asked: Cell<Vec<(String, &'static str)>>,
    left_alone: Cell<Vec<(String, &'static str)>>,
}

/// Whom to ask.
enum Mirrors {
    /// These, in their order.
    Ask(Vec<(Mirror, RefSpace)>),
    /// Nobody.
    Passed(Box<Seeded>),
}

impl<'a> Seeder<'a> {
    /// Returns one for one fetch.
    pub fn new(repo: &'a Repo, remote: Remote<'a>, keep: &'a Keep, early: Option<Early>) -> Self {
        let canonical = Hosts::load(remote.config).get(remote.url).at(state::now()).rate;
        let must_pay = remote.config.bool("mirror.mustpay").unwrap_or(true);
        let clock = Patience::new(connecting::patience(remote.config), canonical.map(|rate| rate.value), must_pay);
        Self::with(repo, remote, keep, early, Clock::new(clock))
    }

    /// Returns one that [fills](Self::fill): no canonical server serves in the place of a mirror that is left.
    pub fn alone(repo: &'a Repo, remote: Remote<'a>, keep: &'a Keep) -> Self {
        let clock = Patience::new(connecting::patience(remote.config), Some(ALONE), true);
        Self::with(repo, remote, keep, None, Clock::new(clock))
    }

    fn with(repo: &'a Repo, remote: Remote<'a>, keep: &'a Keep, early: Option<Early>, clock: Clock) -> Self {
        let (not_asked, left_alone) = (Cell::default(), Cell::default());
        Seeder { repo, remote, keep, early: early.into(), clock, not_asked, left_alone }
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
        if wanted.scope.is_part() {
            return self.try_seed_part(wanted);
        }
        let mirrors = match self.mirrors_for(wanted, false)? {
            Mirrors::Passed(seeded) => return Ok(*seeded),
            Mirrors::Ask(mirrors) => mirrors,
        };
        quarantine::sweep(&self.repo.objects);
        room::fits(&self.repo.objects, self.work(wanted).bytes.map_or(0, |bytes| bytes as u64))?;
        let resumed = self.repo.has_mirror_refs();
        let left = self.not_here_yet(wanted.wants)?;
        let mut seeding = UnderWay::begin(self.repo, wanted, left, resumed)?;
        self.ask_one_after_the_other(&mut seeding, mirrors)?;
        self.complete_what_broke_off(&mut seeding)?;
        let mut seeded = seeding.end(self.repo)?;
        seeded.not_asked = self.not_asked.take();
        seeded.left_alone = self.left_alone.take();
        Ok(seeded)
    }

    /// Returns the mirrors to ask, in their order; none where nothing is to be seeded. `lazy` tells that git wants what a
    /// partial clone lacks.
    fn mirrors_for(&self, wanted: &Wanted, lazy: bool) -> Result<Mirrors> {
        let Remote { name, url, config, .. } = self.remote;
        if config.mirrors(name, url.raw()).is_empty() {
            return Ok(Mirrors::Passed(Box::new(self.passed("no-mirror", "none is known"))));
        }
        if wanted.scope.filter.is_none() && Repo::is_partial(config) {
            return Ok(Mirrors::Passed(Box::new(self.passed("no-filter", "what a partial clone has may have holes"))));
        }
        if !lazy && wanted.haves.is_empty() && self.repo.has_refs()? {
            // `--refetch` or `fetch.negotiationAlgorithm=noop`.
            return Ok(Mirrors::Passed(Box::new(self.passed("refetch", "git wants all anew, from canonical"))));
        }
        let Order { mirrors, others } = self.chooser().order(self.work(wanted));
        if mirrors.is_empty() {
            let mut passed = Seeded { not_asked: others, ..Seeded::default() };
            passed.passed = Some("none-left");
            return Ok(Mirrors::Passed(Box::new(passed)));
        }
        self.not_asked.set(others);
        Ok(Mirrors::Ask(mirrors))
    }

    /// Says that no mirror is asked, and why: to people, and in a word.
    fn passed(&self, word: &'static str, why: &str) -> Seeded {
        self.remote.report.event(Event::Detail(format!("mirror: no mirror is asked: {why}")));
        Seeded { passed: Some(word), ..Seeded::default() }
    }

    /// Asks mirrors until nothing is missing, nobody is left, or they have cost enough.
    fn ask_one_after_the_other(&self, seeding: &mut UnderWay, mirrors: Vec<(Mirror, RefSpace)>) -> Result<()> {
        let mut mirrors = VecDeque::from(mirrors);
        let mut tried = HashSet::new();
        let mut said = String::new();
        while !seeding.left.is_empty() {
            if let Some(over) = self.clock.over(Whom::Mirror) {
                if said != over.message {
                    self.remote.report.event(Event::Warning(over.message));
                }
                break;
            }
            let Some((mirror, space)) = mirrors.pop_front() else {
                if !seeding.seeded.from.is_empty() {
                    break; // where one could give something, canonical has little left to send
                }
                mirrors = self.more_mirrors(&tried).into();
                if mirrors.is_empty() {
                    break;
                }
                continue;
            };
            tried.insert(mirror.url.raw().to_owned());
            let offers = seeding.offers(self.repo)?;
            let still = Wanted { wants: &seeding.left, haves: &offers, ..*seeding.wanted };
            match self.ask_unharmed(&mirror, &space, &still, &mut seeding.saved) {
                Ok(gift) => {
                    state::note(self.repo, &space, Ending::Gave, gift.bytes);
                    seeding.take_from(mirror, space, gift);
                }
                Err(err) => {
                    let full = err.kind == Kind::NoRoom;
                    let outcome = Outcome::of(&err);
                    said.clone_from(&err.message);
                    self.leave(mirror.url.shown_host(), &space, err);
                    let observed = outcome.map(|outcome| Observed { url: mirror.url, space, outcome });
                    seeding.seeded.observed.extend(observed);
                    if full {
                        break; // nobody else's seed fits either
                    }
                }
            }
        }
        Ok(())
    }

    /// As [`Self::ask`]. What a mirror sends may find a fault in a library; that must not end the fetch.
    fn ask_unharmed(
        &self,
        mirror: &Mirror,
        space: &RefSpace,
        wanted: &Wanted,
        saved: &mut Option<Salvage>,
    ) -> Result<Gift> {
        self.known_to_ask(mirror, space, || {
            let asked = AssertUnwindSafe(|| self.ask(mirror, space, wanted, saved));
            std::panic::catch_unwind(asked).unwrap_or_else(|_| {
                self.clock.settle(Came::Refused);
                Err(Error::new(Kind::Protocol, "what it sent could not be handled"))
            })
        })
    }

    /// Has `ask` ask a mirror, and lets the run and whoever watches know while it does.
    fn known_to_ask<T>(&self, mirror: &Mirror, space: &RefSpace, ask: impl FnOnce() -> T) -> T {
        self.remote.report.event(Event::Asking { mirror: mirror.url.shown_host() });
        run::note(&format!("asking {}", space.name()));
        let came = ask();
        run::note("idle");
        self.remote.report.event(Event::ProgressEnd);
        came
    }

    /// Has canonical complete what a mirror broke off, where no other mirror has.
    fn complete_what_broke_off(&self, seeding: &mut UnderWay) -> Result<()> {
        let Some(saved) = seeding.saved.take().filter(|_| !seeding.left.is_empty()) else { return Ok(()) };
        let offers = seeding.offers(self.repo)?;
        let still = Wanted { wants: &seeding.left, haves: &offers, ..*seeding.wanted };
        let asked = AssertUnwindSafe(|| self.complete_by_canonical(&still, saved));
        if let Some(gift) = std::panic::catch_unwind(asked).unwrap_or_default() {
            seeding.seeded.from_canonical = gift.bytes;
            seeding.take(gift);
        }
        Ok(())
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
            Chooser { repo: Some(self.repo), remote }.order(Work::default()).mirrors
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
        let mut left = self.left_alone.take();
        left.push((who.clone(), err.kind.word()));
        self.left_alone.set(left);
        state::note(self.repo, space, Ending::Left(SafeText::new(&err.message)), 0);
        self.remote.report.event(match err.kind {
            Kind::Nothing | Kind::Unable => Event::Detail(format!("mirror: {who}: {}", err.message)),
            _ => Event::Left { mirror: who, reason: err.message },
        });
    }
}
