//! Seeding a part of a history: what a depth or a filter leaves of it (docs/architecture.md, "Parts of a history").
//!
//! What mirrors give is gathered in one quarantine, and what they lack is fetched there from canonical, on a connection of
//! its own. Then exactly what is wanted is kept of it: nothing of a mirror's own stays. Under a filter that is moved in. Where
//! a depth is asked for, it is held until canonical has said where history ends.

use std::collections::{BTreeSet, HashSet};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gix::ObjectId;

use super::held::{Held, write_ends};
use super::offering::Offers;
use super::taking::is_synced;
use super::{Left, Mirrors, Rest, Seeded, Seeder, Wanted};
use crate::adapters::git::odb::Odb;
use crate::adapters::git::repo::Repo;
use crate::adapters::kept::state::{self, Ending};
use crate::adapters::net::watch::Watch;
use crate::adapters::seed::quarantine::{self, Quarantine};
use crate::adapters::seed::{Judged, MAX_PREFIXES, Part, Session, room};
use crate::decide::patience::{Came, Whom};
use crate::decide::plan::{self, Manner};
use crate::decide::scope::Filter;
use crate::usecases::fetching::observing::{Observed, Outcome};
use crate::values::{Error, Event, Kind, Mirror, RefSpace, Result};
use crate::wire::{Deepen, RefLine, Scope, ShallowInfo};

/// The file in a quarantine that says where history ends.
const SHALLOW: &str = "shallow";
/// The word for `fetch.negotiationAlgorithm` with which git fetches what a partial clone lacks (`promisor-remote.c`).
const NO_NEGOTIATION: &str = "noop";

/// What is gathered, and what for.
pub(super) struct Gathered<'a> {
    pub(super) wanted: &'a Wanted<'a>,
    pub(super) filter: Option<Filter>,
    /// Whether objects are wanted that a partial clone lacks.
    pub(super) lazy: bool,
    pub(super) quarantine: Quarantine,
    /// The wanted ids that have not come.
    pub(super) left: Vec<ObjectId>,
    /// What mirrors gave in the place of those: their own ids.
    own: Vec<ObjectId>,
    /// Objects that came.
    objects: u64,
    /// What is to stay of it, and whether that is known.
    judged: Option<Judged>,
}

/// What one server gave.
pub(super) struct Gave {
    bytes: u64,
    moved: (u64, Duration),
    ask: Duration,
    lacked: f64,
}

impl<'a> Gathered<'a> {
    fn begin(repo: &Repo, wanted: &'a Wanted<'a>, filter: Option<Filter>, lazy: bool) -> Result<Self> {
        let quarantine = Quarantine::create(repo)?;
        let gathered = Gathered {
            wanted,
            filter,
            lazy,
            quarantine,
            left: wanted.wants.to_vec(),
            own: Vec::new(),
            objects: 0,
            judged: None,
        };
        gathered.ends_at(&wanted.scope.shallow.iter().copied().collect())?;
        Ok(gathered)
    }

    pub(super) fn deepens(&self) -> bool {
        !self.wanted.scope.deepen.is_empty()
    }

    /// Returns those of the wanted ids that have come.
    fn given(&self) -> Vec<ObjectId> {
        let left: HashSet<&ObjectId> = self.left.iter().collect();
        self.wanted.wants.iter().filter(|id| !left.contains(id)).copied().collect()
    }

    pub(super) fn shallow_file(&self) -> PathBuf {
        self.quarantine.path().join(SHALLOW)
    }

    /// Writes where history ends.
    fn ends_at(&self, ends: &BTreeSet<ObjectId>) -> Result<()> {
        write_ends(&self.shallow_file(), ends)
    }

    /// Returns where history ends, as it is now.
    fn ends(&self) -> BTreeSet<ObjectId> {
        let text = std::fs::read(self.shallow_file()).unwrap_or_default();
        text.split(|byte| *byte == b'\n').filter_map(|hex| ObjectId::from_hex(hex).ok()).collect()
    }

    /// Returns how what is here changes where history ends; `ends` as it is now, and `reached` as far as that is reached.
    fn changes(&self, ends: &BTreeSet<ObjectId>, reached: &HashSet<ObjectId>) -> ShallowInfo {
        let before: BTreeSet<ObjectId> = self.wanted.scope.shallow.iter().copied().collect();
        ShallowInfo {
            shallow: ends.difference(&before).filter(|id| reached.contains(*id)).copied().collect(),
            unshallow: before.difference(ends).copied().collect(),
        }
    }

    /// Proves that all that `tips` reach is here, and what history that ended here before goes on with.
    fn judge(&self, repo: &Repo, tips: &[ObjectId]) -> Result<Judged> {
        let before = Odb::open(repo)?;
        let ends = self.ends();
        let tags = self.tags();
        let went_on = self.wanted.scope.shallow.iter().filter(|id| self.deepens() && !ends.contains(*id));
        let tips: Vec<ObjectId> = tips.iter().chain(went_on).copied().collect();
        let interest = ends.iter().chain(tags.iter().map(|(_, target)| target)).copied().collect();
        let file = self.shallow_file();
        let part = Part {
            tips: &tips,
            tags: &tags,
            shallow: self.deepens().then_some(&file),
            filter: self.filter.as_ref(),
            beyond_refs: !self.deepens() && !self.wanted.haves.is_empty(),
        };
        self.quarantine.judge(repo, &part, &interest, &before)
    }

    /// Returns canonical's annotated tags that may come with what they name, each with that.
    fn tags(&self) -> Vec<(ObjectId, ObjectId)> {
        let tags = self.wanted.canonical.refs.iter().filter(|r| r.name.starts_with("refs/tags/"));
        tags.filter(|_| self.wanted.include_tag).filter_map(|tag| Some((tag.oid, tag.peeled?))).collect()
    }
}

impl Seeder<'_> {
    /// Seeds a part of a history, or objects that a partial clone lacks.
    pub(super) fn try_seed_part(&self, wanted: &Wanted) -> Result<Seeded> {
        let filter = match wanted.scope.filter.as_deref().map(Filter::parse) {
            Some(None) => return Ok(self.passed("filter", "nobody here knows what this filter leaves out")),
            filter => filter.flatten(),
        };
        let lazy = self.is_lazy(wanted);
        let mirrors = match self.mirrors_for(wanted, lazy)? {
            Mirrors::Passed(seeded) => return Ok(*seeded),
            Mirrors::Ask(mirrors) => mirrors,
        };
        if self.needs_nothing(wanted)? {
            return Ok(Seeded { satisfied: true, passed: Some("nothing-missing"), ..Seeded::default() });
        }
        quarantine::sweep(&self.repo.objects);
        room::fits(&self.repo.objects, self.work(wanted).bytes.map_or(0, |bytes| bytes as u64))?;
        let (resumed, promised) = (self.repo.has_mirror_refs(), filter.is_some());
        let mut gathered = Gathered::begin(self.repo, wanted, filter, lazy)?;
        let mut seeded = Seeded { resumed, promised, lazy, ..Seeded::default() };
        self.gather(&mut gathered, &mut seeded, mirrors);
        seeded.not_asked = self.not_asked.take();
        seeded.left_alone = self.left_alone.take();
        if seeded.from.is_empty() {
            return Ok(seeded);
        }
        if !gathered.left.is_empty() && !lazy {
            match self.complete_part(&mut gathered) {
                Ok(bytes) => seeded.from_canonical = bytes,
                Err(err) => tracing::debug!(%err, "canonical does not complete what mirrors gave"),
            }
        }
        match self.settle(gathered, &mut seeded.from_canonical) {
            Ok(left) => {
                seeded.satisfied = !matches!(&left, Left::Rest(rest) if rest.here.is_empty());
                seeded.left = left;
            }
            Err(err) => {
                self.remote.report.event(Event::Detail(format!("mirror: what came is of no use: {}", err.message)));
                seeded.from.clear();
            }
        }
        Ok(seeded)
    }

    /// Returns whether git fetches what a partial clone lacks, of its own accord: it names objects, and says nothing of what
    /// it has (`fetch_objects` in git's `promisor-remote.c`).
    fn is_lazy(&self, wanted: &Wanted) -> bool {
        let Wanted { scope, haves, canonical, .. } = wanted;
        let quiet = scope.filter.is_some() && scope.deepen.is_empty() && haves.is_empty() && canonical.refs.is_empty();
        let noop = self.remote.config.get("fetch.negotiationalgorithm") == Some(NO_NEGOTIATION);
        quiet && noop && Repo::is_partial(self.remote.config)
    }

    /// Returns whether all that is asked for is here: the last commits of what has been fetched with that depth.
    fn needs_nothing(&self, wanted: &Wanted) -> Result<bool> {
        if wanted.scope.deepen != [Deepen::To(1)] {
            return Ok(false);
        }
        let odb = Odb::open(self.repo)?;
        Ok(wanted.wants.iter().all(|id| odb.has(id)))
    }

    fn gather(&self, gathered: &mut Gathered, seeded: &mut Seeded, mirrors: Vec<(Mirror, RefSpace)>) {
        for (mirror, space) in mirrors {
            if gathered.left.is_empty() {
                return;
            }
            if let Some(over) = self.clock.over(Whom::Mirror) {
                return self.remote.report.event(Event::Warning(over.message));
            }
            let asked = self.known_to_ask(&mirror, &space, || {
                let asked = AssertUnwindSafe(|| self.ask_for_part(&mirror, gathered));
                std::panic::catch_unwind(asked)
                    .unwrap_or_else(|_| Err(Error::new(Kind::Protocol, "what it sent could not be handled")))
            });
            self.clock.settle(if asked.is_ok() { Came::Proved } else { Came::Refused });
            match asked {
                Ok(Gave { bytes, moved, ask, lacked }) => {
                    state::note(self.repo, &space, Ending::Gave, bytes);
                    seeded.from.push((mirror.url.shown_host(), bytes));
                    let outcome = Outcome::Gave { ask, moved, lacked };
                    seeded.observed.push(Observed { url: mirror.url, space, outcome });
                }
                Err(err) => {
                    let (full, outcome) = (err.kind == Kind::NoRoom, Outcome::of(&err));
                    self.leave(mirror.url.shown_host(), &space, err);
                    seeded.observed.extend(outcome.map(|outcome| Observed { url: mirror.url, space, outcome }));
                    if full {
                        return;
                    }
                }
            }
        }
    }

    /// Asks a mirror for what is left, by id; where it does not have that, for what it has under the same names.
    fn ask_for_part(&self, mirror: &Mirror, gathered: &mut Gathered) -> Result<Gave> {
        let gave = self.ask_in_manner(mirror, gathered, Manner::Usual);
        match gave {
            Err(err) if err.kind == Kind::Protocol && self.clock.over(Whom::Mirror).is_none() => {
                tracing::debug!(%err, "a mirror lacks some of what is wanted");
                self.ask_in_manner(mirror, gathered, Manner::Shown)
            }
            gave => gave,
        }
    }

    fn ask_in_manner(&self, mirror: &Mirror, gathered: &mut Gathered, manner: Manner) -> Result<Gave> {
        let began = Instant::now();
        let (mut session, watch) = self.open(mirror)?;
        let explained = |err: Error| watch.verdict().unwrap_or(err);
        let scope = gathered.wanted.scope;
        let unable = |what: &str| Error::new(Kind::Unable, format!("it does not serve {what}"));
        if scope.filter.is_some() && !session.takes_filter() {
            return Err(unable("with a filter (uploadpack.allowFilter)"));
        }
        let whole = scope.deepen.is_empty() && scope.shallow.is_empty();
        if !whole && !session.takes_depth() {
            return Err(unable("a part of a history"));
        }
        watch.pause(false);
        let wants = self.wants_of(&mut session, &watch, gathered, manner).map_err(explained)?;
        if wants.is_empty() {
            return Err(Error::new(Kind::Nothing, "it has nothing of what is wanted"));
        }
        let ends = gathered.ends();
        let judged = gathered.quarantine.indexes()?;
        let offers = Offers::new(self.repo, gathered.wanted.haves)?.extended(self.repo, &[])?;
        let got = self.fetch_part(&mut session, &watch, gathered, (&wants, &offers), scope).map_err(explained);
        let asked: usize = gathered.left.len();
        let came = got.and_then(|objects| {
            if objects == 0 {
                gathered.quarantine.drop_all_but(&judged)?;
            }
            watch.pause(true);
            self.remote.report.event(Event::Proving);
            gathered.judge(self.repo, &wants).map(|judged| (objects, judged))
        });
        let (objects, found) = came.inspect_err(|_| {
            let undone = gathered.quarantine.drop_all_but(&judged).and_then(|()| gathered.ends_at(&ends));
            tracing::debug!(?undone, "what a mirror sent is dropped");
        })?;
        gathered.objects += objects;
        let given: HashSet<&ObjectId> = wants.iter().collect();
        let asked_for: HashSet<&ObjectId> = gathered.wanted.wants.iter().collect();
        gathered.left.retain(|id| !given.contains(id));
        gathered.own.extend(wants.iter().filter(|id| !asked_for.contains(id)));
        // One that gives all in good order has been judged for good.
        gathered.judged = (judged.is_empty() && gathered.left.is_empty() && gathered.own.is_empty()).then_some(found);
        let lacked = gathered.left.len() as f64 / asked.max(1) as f64;
        Ok(Gave { bytes: watch.bytes(), moved: watch.moved(), ask: began.elapsed(), lacked })
    }

    /// Returns what to want of a mirror.
    fn wants_of(
        &self,
        session: &mut Session,
        watch: &Watch,
        gathered: &Gathered,
        manner: Manner,
    ) -> Result<Vec<ObjectId>> {
        let Gathered { wanted, left, .. } = gathered;
        let named = plan::names_of(wanted.canonical, left);
        if named.is_empty() && manner == Manner::Usual {
            return Ok(left.clone()); // no need to list anything
        }
        if gathered.lazy {
            return self.found_in_trees(session, watch, left);
        }
        if named.is_empty() {
            // Something that is likely to be near.
            let head = session.ls_refs(&BTreeSet::from(["HEAD"]), false, |r| r.name == "HEAD")?;
            return Ok(head.refs.iter().map(|r| r.oid).collect());
        }
        let names: BTreeSet<&str> = named.iter().map(|r| r.name.as_str()).collect();
        let widely = wanted.clone && wanted.canonical.refs.len() <= MAX_PREFIXES;
        let wants: HashSet<&ObjectId> = left.iter().collect();
        let matters = |r: &RefLine| names.contains(r.name) || wants.contains(&r.oid);
        let theirs = session.ls_refs(&names, widely, matters)?;
        watch.pause(true);
        // Where history is to go on, what is here counts for nothing.
        let odb = Odb::open(self.repo)?;
        let known = |id: &ObjectId| !gathered.deepens() && odb.has(id);
        Ok(plan::request(left, &named, &theirs, manner, known).wants)
    }

    fn fetch_part(
        &self,
        session: &mut Session,
        watch: &Watch,
        gathered: &Gathered,
        (wants, haves): (&[ObjectId], &[ObjectId]),
        scope: &Scope,
    ) -> Result<u64> {
        let inside = Odb::at(gathered.quarantine.path(), self.repo.hash)?;
        let (file, include_tag) = (gathered.shallow_file(), gathered.wanted.include_tag);
        self.fetching(watch, (&gathered.quarantine, true), &mut Vec::new(), |indexing| {
            let got = session.fetch_part((wants, haves), (scope, include_tag), &file, &inside, indexing);
            got.map(|(objects, _)| objects)
        })
    }

    /// Has canonical send into the quarantine what mirrors lack; returns how many bytes it sent.
    fn complete_part(&self, gathered: &mut Gathered) -> Result<u64> {
        if let Some(over) = self.clock.over(Whom::Completion) {
            return Err(over);
        }
        let who = self.remote.url.shown_host();
        self.remote.report.event(Event::Source(format!("canonical {who}")));
        let (mut session, watch) = self.open_canonical()?;
        let inside = Odb::at(gathered.quarantine.path(), self.repo.hash)?;
        let wanted = gathered.wanted;
        let given: Vec<ObjectId> = [gathered.given(), gathered.own.clone()].concat();
        let given: Vec<ObjectId> = given.iter().map(|id| inside.peel(id)).filter(|id| inside.is_commit(id)).collect();
        let mut haves = given;
        haves.extend(Offers::new(self.repo, wanted.haves)?.extended(self.repo, &[])?);
        let mut scope = wanted.scope.clone();
        if scope.deepen.contains(&Deepen::Relative) {
            scope.deepen.clear(); // it would count from where history ends by now
        }
        let wants = if gathered.deepens() { wanted.wants.to_vec() } else { gathered.left.clone() };
        watch.pause(false);
        let got = self.fetch_part(&mut session, &watch, gathered, (&wants, &haves), &scope);
        watch.pause(true);
        self.clock.settle(if got.is_ok() { Came::Proved } else { Came::Refused });
        self.remote.report.event(Event::ProgressEnd);
        gathered.objects += got?;
        gathered.left.clear();
        gathered.judged = None;
        Ok(watch.bytes())
    }

    /// Returns canonical's annotated tags that belong to what has come and have not, each with what it finally names.
    fn missing_tags(&self, gathered: &Gathered, judged: &Judged) -> Result<Vec<(ObjectId, ObjectId)>> {
        let (odb, inside) = (Odb::open(self.repo)?, Odb::at(gathered.quarantine.path(), self.repo.hash)?);
        let follows = |tag: &(ObjectId, ObjectId)| judged.reached.contains(&tag.1) && !odb.has(&tag.1);
        Ok(gathered.tags().into_iter().filter(follows).filter(|(tag, _)| !inside.has(tag)).collect())
    }

    /// Has canonical send tags into the quarantine, whose targets are there; returns how many bytes it sent. Git's own request
    /// must not want them: canonical would have history begin there, too.
    fn complete_tags(&self, gathered: &mut Gathered, tags: &[(ObjectId, ObjectId)]) -> Result<u64> {
        let (mut session, watch) = self.open_canonical()?;
        let (wants, targets): (Vec<ObjectId>, Vec<ObjectId>) = tags.iter().copied().unzip();
        watch.pause(false);
        let got = self.fetch_part(&mut session, &watch, gathered, (&wants, &targets), &Scope::default());
        watch.pause(true);
        self.clock.settle(if got.is_ok() { Came::Proved } else { Came::Refused });
        self.remote.report.event(Event::ProgressEnd);
        gathered.objects += got?;
        Ok(watch.bytes())
    }

    /// Keeps what is wanted of what has come, and nothing else; returns what is left for canonical.
    fn settle(&self, mut gathered: Gathered, from_canonical: &mut u64) -> Result<Left> {
        let wanted = gathered.wanted;
        let given = gathered.given();
        if given.is_empty() || (gathered.deepens() && !gathered.left.is_empty()) {
            return Ok(Left::default());
        }
        let mut judged = match gathered.judged.take() {
            Some(judged) => judged,
            None => gathered.judge(self.repo, &given)?,
        };
        if gathered.deepens() {
            let missing = self.missing_tags(&gathered, &judged)?;
            if !missing.is_empty() {
                *from_canonical += self.complete_tags(&mut gathered, &missing)?;
                judged = gathered.judge(self.repo, &given)?;
            }
        }
        let ends = gathered.ends();
        let changes = gathered.changes(&ends, &judged.reached);
        let tags: Vec<ObjectId> = self.missing_tags(&gathered, &judged)?.into_iter().map(|(tag, _)| tag).collect();
        if let Some(stay) = &judged.stay {
            let only = gathered.quarantine.with_only(self.repo, stay)?;
            write_ends(&only.path().join(SHALLOW), &ends)?;
            gathered.quarantine = only;
        }
        if gathered.filter.is_some() {
            let ids: HashSet<&ObjectId> = given.iter().collect();
            let named = wanted.canonical.refs.iter().filter(|r| ids.contains(&r.oid));
            let known: HashSet<&ObjectId> = named.clone().map(|r| &r.oid).collect();
            let others = given.iter().filter(|id| !known.contains(id)).map(|id| format!("{id} {id}\n"));
            let lines = named.map(|r| format!("{} {}\n", r.oid, r.name)).chain(others);
            gathered.quarantine.promise(&lines.collect::<String>())?;
        }
        let sync = is_synced(self.remote.config, gathered.objects);
        if gathered.deepens() {
            let inside = Odb::at(gathered.quarantine.path(), self.repo.hash)?;
            let tips: Vec<ObjectId> = given.iter().map(|id| inside.peel(id)).collect();
            let went_on = changes.unshallow.iter().flat_map(|id| inside.parents(id)).filter(|id| inside.has(id));
            let mut haves: Vec<ObjectId> = went_on.chain(tips).filter(|id| inside.is_commit(id)).collect();
            haves.sort_by_key(|id| inside.commit_time(id));
            haves.dedup();
            return Ok(Left::Held(Box::new(Held {
                haves,
                changes,
                before: wanted.scope.shallow.clone(),
                tips: given,
                filter: gathered.filter,
                file: gathered.quarantine.path().join(SHALLOW),
                quarantine: gathered.quarantine,
                repo: self.repo.clone(),
                keep: self.keep.clone(),
                sync,
            })));
        }
        if gathered.filter.is_none() {
            self.keep.guard(self.repo, false);
        }
        let offers = Offers::new(self.repo, wanted.haves)?;
        gathered.quarantine.accept(self.repo, self.keep, sync)?;
        let named: HashSet<&ObjectId> = wanted.canonical.refs.iter().map(|r| &r.oid).collect();
        // What a partial clone lacks has been promised by what canonical sent before.
        let is_theirs = |id: &ObjectId| gathered.lazy || named.contains(id);
        if gathered.left.is_empty() && tags.is_empty() && given.iter().all(is_theirs) {
            return Ok(Left::Nothing);
        }
        let odb = Odb::open(self.repo)?;
        let proved = if gathered.lazy { Vec::new() } else { given.clone() };
        let haves = offers.to_canonical(self.repo, &odb, &proved, &named, wanted.wants.len());
        Ok(Left::Rest(Rest { here: given.into_iter().filter(is_theirs).collect(), haves, tags }))
    }
}
