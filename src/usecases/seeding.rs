//! Seeding: wanted objects from mirrors into the local store, proved, before canonical is asked (DESIGN 4).
//!
//! Whatever goes wrong with a mirror is an event and the next mirror. Nothing here returns an error to the fetch that
//! it serves: the worst outcome is that canonical sends everything itself.

use std::collections::{HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gix::ObjectId;

use crate::adapters::channel::{Channel, Family, Opening, Role, Service};
use crate::adapters::config::Config;
use crate::adapters::odb::Odb;
use crate::adapters::repo::Repo;
use crate::adapters::seed::quarantine::{self, Quarantine};
use crate::adapters::seed::{Indexing, Numbers, Session, strict_option};
use crate::adapters::watch::Watch;
use crate::adapters::{refspec, run, state};
use crate::decide::limits::Limits;
use crate::decide::plan::{self, Manner};
use crate::decide::selector;
use crate::usecases::learning::{self, Learner};
use crate::values::{Error, Event, GitUrl, Kind, Listed, Mirror, Origin, RefSpace, Report, Result, Transport, url_key};
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
}

/// Seeds one repository for one remote.
pub struct Seeder<'a> {
    /// The repository.
    pub repo: &'a Repo,
    /// The configuration in force.
    pub config: &'a Config,
    /// The remote's name.
    pub remote: &'a str,
    /// The remote's URL, as git gave it.
    pub url: &'a GitUrl,
    /// Which addresses may be used.
    pub family: Family,
    /// Who is told.
    pub report: &'a dyn Report,
}

/// What one mirror gave.
struct Gift {
    tips: Vec<ObjectId>,
    tags_left: Vec<ObjectId>,
    bytes: u64,
}

impl Seeder<'_> {
    /// Returns the mirrors to try, in order, each with its name space; tells of those that cannot be used.
    pub fn mirrors(&self) -> Vec<(Mirror, RefSpace)> {
        let mut usable = Vec::new();
        for listed in self.config.mirrors(self.remote, self.url.raw()) {
            match listed {
                Listed::Usable(mirror) => usable.push(mirror),
                Listed::Refused(url, why) => {
                    self.report.event(Event::Warning(format!("mirror '{url}' is not used: {why}")));
                }
            }
        }
        let spaces: Vec<_> = RefSpace::of_all(&usable);
        let preference = self.config.preference(self.remote);
        selector::order(usable.clone(), preference.wanted, &preference.first)
            .into_iter()
            .filter_map(|mirror| {
                let at = usable.iter().position(|m| *m == mirror)?;
                Some((mirror, spaces[at].clone()))
            })
            .filter(|(_, space)| !run::is_skipped(space))
            .collect()
    }

    /// Seeds what is wanted from one mirror after the other until nothing is missing.
    pub fn seed(&self, wanted: &Wanted) -> Seeded {
        match self.try_seed(wanted) {
            Ok(seeded) => seeded,
            Err(err) => {
                self.report.event(Event::Warning(format!("no mirror was used: {err}")));
                Seeded::default()
            }
        }
    }

    fn try_seed(&self, wanted: &Wanted) -> Result<Seeded> {
        let mut seeded = Seeded::default();
        if Repo::is_partial(self.config) {
            return Ok(seeded);
        }
        let mirrors = self.mirrors();
        if mirrors.is_empty() || wanted.wants.is_empty() {
            return Ok(seeded);
        }
        if wanted.haves.is_empty() && self.repo.has_refs()? {
            // `--refetch` or `fetch.negotiationAlgorithm=noop`: git wants it all anew, from canonical.
            return Ok(seeded);
        }
        quarantine::sweep(self.repo);
        let mut left = self.not_here_yet(wanted.wants)?;
        let missing: HashSet<ObjectId> = left.iter().copied().collect();
        let mut tips: Vec<ObjectId> = wanted.wants.iter().filter(|id| !missing.contains(*id)).copied().collect();
        let mut tried = HashSet::new();
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
            self.report.event(Event::Asking { mirror: who.clone() });
            run::note(&format!("asking {}", space.name()));
            let still = Wanted { wants: &left, ..*wanted };
            // What a mirror sends may find a fault in a library; that must not end the fetch.
            let asked = AssertUnwindSafe(|| self.ask(&mirror, &space, &still, Manner::Usual));
            let gift = std::panic::catch_unwind(asked)
                .unwrap_or_else(|_| Err(Error::new(Kind::Protocol, "what it sent could not be handled")));
            run::note("idle");
            self.report.event(Event::ProgressEnd);
            match gift {
                Ok(gift) => {
                    state::note(self.repo, &space, "ok", gift.bytes);
                    seeded.from.push((who, gift.bytes));
                    let proved: HashSet<&ObjectId> = gift.tips.iter().collect();
                    left.retain(|id| !proved.contains(id));
                    tips.extend(gift.tips);
                    seeded.tags.extend(gift.tags_left);
                }
                Err(err) => self.leave(who, &space, err),
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

    /// Returns mirrors that canonical names beyond those that were tried, where it has more and they may be used.
    fn more_mirrors(&self, tried: &HashSet<String>) -> Vec<(Mirror, RefSpace)> {
        if self.config.preference(self.remote).wanted != Some(true) || tried.len() >= MOST_TRIED {
            return Vec::new();
        }
        let Self { repo, config, remote, url, family, report } = *self;
        let learner = Learner { repo, config, remote, url, report };
        let config = learner.ask_for_more(family).then(Config::load).and_then(Result::ok);
        let config = config.map(|config| config.with_run(&[], &["true".into()])); // as it is for this run
        let more = config.map(|config| Seeder { config: &config, ..*self }.mirrors()).unwrap_or_default();
        more.into_iter().filter(|(mirror, _)| !tried.contains(mirror.url.raw())).collect()
    }

    /// Fills `refs/mirror/<host>/*` with what `sources`, the left sides of refspecs, name on the first mirror that gives
    /// it; canonical has no say. Returns who that was, where its refs are, and how many are there.
    ///
    /// # Errors
    /// [`Kind::Config`] where no mirror is known, [`Kind::Channel`] where none gives anything.
    pub fn fill(&self, sources: &[&str], haves: &[ObjectId]) -> Result<(String, RefSpace, usize)> {
        let mirrors = self.mirrors();
        if mirrors.is_empty() {
            let err = Error::new(Kind::Config, format!("no mirror of '{}' is known that may be used", self.remote));
            return Err(err.hint(format!("`git mirror add {} <url>` adds one", self.remote)));
        }
        quarantine::sweep(self.repo);
        for (mirror, space) in mirrors {
            let who = mirror.url.shown_host();
            self.report.event(Event::Asking { mirror: who.clone() });
            let refs = self.fill_from(&mirror, &space, sources, haves);
            self.report.event(Event::ProgressEnd);
            match refs {
                Ok(refs) => return Ok((who, space, refs)),
                Err(err) => self.leave(who, &space, err),
            }
        }
        Err(Error::new(Kind::Channel, format!("no mirror of '{}' could be used", self.remote)))
    }

    fn fill_from(&self, mirror: &Mirror, space: &RefSpace, sources: &[&str], haves: &[ObjectId]) -> Result<usize> {
        let (mut session, watch) = self.open(mirror)?;
        let prefixes = sources.iter().map(|source| source.split('*').next().unwrap_or_default());
        let mut theirs = session.ls_refs(prefixes)?;
        theirs.refs.retain(|r| sources.iter().any(|source| refspec::matches(source, &r.name)));
        let odb = Odb::open(self.repo)?;
        let mut wants: Vec<ObjectId> = theirs.refs.iter().map(|r| r.oid).filter(|oid| !odb.has(oid)).collect();
        wants.sort();
        wants.dedup();
        if wants.is_empty() {
            return Ok(0);
        }
        let wanted = Wanted { wants: &wants, haves, include_tag: false, canonical: &theirs };
        match self.why(&watch, self.ask_on(&mut session, &watch, space, &wanted, Manner::Usual)) {
            Ok(gift) => {
                state::note(self.repo, space, "ok", gift.bytes);
                let place = format!("{}{}/", crate::values::refspace::PREFIX, space.name());
                Ok(self.repo.mirror_refs()?.iter().filter(|r| r.name.starts_with(&place)).count())
            }
            Err(Refusal::Final(err)) => Err(err),
            Err(Refusal::Again(_)) => Err(Error::new(Kind::Protocol, "it does not give what it shows")),
        }
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

    /// Fetches from one mirror, proves, and takes over what it gave.
    fn ask(&self, mirror: &Mirror, space: &RefSpace, wanted: &Wanted, manner: Manner) -> Result<Gift> {
        let (mut session, watch) = self.open(mirror)?;
        match self.why(&watch, self.ask_on(&mut session, &watch, space, wanted, manner)) {
            Ok(gift) => Ok(gift),
            Err(Refusal::Final(err)) => Err(err),
            Err(Refusal::Again(manner)) => {
                drop((session, watch));
                self.ask(mirror, space, wanted, manner)
            }
        }
    }

    fn leave(&self, who: String, space: &RefSpace, err: Error) {
        state::note(self.repo, space, &err.message, 0);
        self.report.event(match err.kind {
            Kind::Nothing => Event::Detail(format!("mirror: {who}: {}", err.message)),
            _ => Event::Left { mirror: who, reason: err.message },
        });
    }

    /// Puts the watcher's verdict in the place of the broken pipe that it caused.
    fn why<T>(&self, watch: &Watch, result: std::result::Result<T, Refusal>) -> std::result::Result<T, Refusal> {
        result.map_err(|refusal| match watch.verdict() {
            Some(verdict) => Refusal::Final(Error::new(Kind::Timeout, verdict)),
            None => refusal,
        })
    }

    fn open(&self, mirror: &Mirror) -> Result<(Session, Watch)> {
        let learned = mirror.origin == Origin::Listed && !learning::allows_private(self.config);
        if learned && learning::is_private(&mirror.url) && !learning::is_private(self.url) {
            let why = "it is on a private address, and the server that lists it is on a public one";
            return Err(Error::new(Kind::Config, why));
        }
        let limits = self.limits();
        let mut channel = Channel::open(
            &mirror.url,
            &Opening {
                role: Role::Mirror,
                service: Service::UploadPack,
                program: None,
                version: 2,
                family: self.family,
                connect_timeout: Some(limits.connect),
                config: self.config,
                report: self.report,
            },
        )?;
        let watch = Watch::over(&mut channel, limits);
        let session = Session::open(channel, &mirror.url.shown_host(), self.repo.hash).and_then(|mut session| {
            session.stand_in(&self.names(mirror))?;
            Ok(session)
        });
        match self.why(&watch, session.map_err(Refusal::Final)) {
            Ok(session) => Ok((session, watch)),
            Err(Refusal::Final(err)) => Err(err),
            Err(Refusal::Again(_)) => Err(Error::new(Kind::Protocol, "it cannot be asked")),
        }
    }

    /// Returns the URLs under which a mirror may know canonical, without credentials; paths for mirrors here only.
    fn names(&self, mirror: &Mirror) -> Vec<String> {
        let key = format!("remote.{}.url", self.remote);
        let mut names = vec![self.url.raw().to_owned()];
        names.extend(self.config.all(&key).map(|url| url.strip_prefix("mirror::").unwrap_or(url).to_owned()));
        let here = mirror.url.transport == Transport::Local;
        let may_know = |url: &&String| GitUrl::parse(url).is_ok_and(|u| here || u.transport != Transport::Local);
        let mut seen = HashSet::new();
        let names = names.iter().filter(may_know).map(|url| url_key::without_credentials(url));
        names.filter(|url| seen.insert(url.clone())).collect()
    }

    fn ask_on(
        &self,
        session: &mut Session,
        watch: &Watch,
        space: &RefSpace,
        wanted: &Wanted,
        manner: Manner,
    ) -> std::result::Result<Gift, Refusal> {
        let odb = Odb::open(self.repo)?;
        let named = plan::names_of(wanted.canonical, wanted.wants);
        let tags = wanted.canonical.refs.iter().filter(|r| wanted.include_tag && r.peeled.is_some());
        let names = named.iter().copied().chain(tags).map(|r| r.name.as_str());
        let theirs = session.ls_refs(names)?;
        let mut request = plan::request(wanted.wants, &named, &theirs, manner, |id| odb.has(id));
        if request.wants.is_empty() {
            return Err(Error::new(Kind::Nothing, "it has nothing that is new here").into());
        }
        tracing::debug!(?request, ?manner, "ask a mirror");
        let quarantine = Quarantine::create(self.repo)?;
        let objects = match self.fetch(session, watch, &request.wants, wanted.haves, &odb, &quarantine) {
            Err(err) if err.kind == Kind::Protocol && manner == Manner::Usual && watch.verdict().is_none() => {
                let rest = request.unadvertised.len() < request.wants.len();
                let refused = rest && !request.unadvertised.is_empty();
                return Err(if refused { Refusal::Again(Manner::Shown) } else { err.into() });
            }
            other => other?,
        };

        let inside = Odb::at(quarantine.path(), self.repo.hash)?;
        let came_in = |id: &ObjectId| inside.has(id) && !odb.has(id);
        request.wants.extend(
            wanted.wants.iter().filter(|id| !request.wants.contains(id) && inside.has(id)).copied().collect::<Vec<_>>(),
        );
        watch.pause(true);
        self.report.event(Event::Proving);
        quarantine.prove(self.repo, &request.wants, wanted.haves)?;
        if manner != Manner::Exact && self.brings_stray_tags(wanted, &request, &inside, &quarantine, came_in)? {
            return Err(Refusal::Again(Manner::Exact));
        }

        let mut total = objects;
        let mut tags_left = Vec::new();
        if wanted.include_tag {
            let follow = plan::tags_to_follow(wanted.canonical, came_in, |id| inside.has(id));
            let (theirs, missing): (Vec<_>, Vec<_>) =
                follow.into_iter().partition(|id| theirs.refs.iter().any(|r| r.oid == *id));
            tags_left = missing;
            if !theirs.is_empty() {
                watch.pause(false);
                let got = self.fetch(session, watch, &theirs, &request.wants, &inside, &quarantine);
                watch.pause(true);
                match got.and_then(|n| self.repo.prove(&theirs, &request.wants, Some(quarantine.path())).map(|()| n)) {
                    Ok(n) => total += n,
                    Err(err) => {
                        tracing::debug!(%err, "a mirror does not give its tags");
                        return Err(err.into());
                    }
                }
            }
        }

        let unpack_below = ["fetch.unpacklimit", "transfer.unpacklimit"].iter().find_map(|k| self.config.number(k));
        let sync = !self.config.get("core.fsync").is_some_and(|v| v.split(',').any(|c| c == "none" || c == "-pack"));
        quarantine.accept(self.repo, total, unpack_below.unwrap_or(100), sync)?;
        let refs = plan::refs_to_write(space, &request);
        if let Err(err) = self.repo.update_refs(refs.iter().map(|(name, oid)| (name.as_str(), oid))) {
            // They only serve a later fetch, should this one be interrupted.
            tracing::debug!(%err, "cannot write refs/mirror");
        }
        Ok(Gift { tips: request.wants, tags_left, bytes: watch.bytes() })
    }

    /// Returns whether the mirror brought in something that a tag of canonical names and that git's own request does
    /// not reach: git would create that tag, as it follows tags by what is in the store.
    fn brings_stray_tags(
        &self,
        wanted: &Wanted,
        request: &plan::Request,
        inside: &Odb,
        quarantine: &Quarantine,
        came_in: impl Fn(&ObjectId) -> bool,
    ) -> Result<bool> {
        let targets = plan::tag_targets(wanted.canonical, came_in);
        if targets.is_empty() {
            return Ok(false);
        }
        let ahead = |name: &str| {
            wanted.canonical.refs.iter().any(|r| r.name == name && wanted.wants.contains(&r.oid) && inside.has(&r.oid))
        };
        let stale = request.names.iter().filter(|(name, _)| !ahead(name)).map(|(_, oid)| *oid);
        let reach: Vec<ObjectId> = wanted.wants.iter().filter(|id| inside.has(id)).copied().chain(stale).collect();
        Ok(!self.repo.unreached(&targets, &reach, Some(quarantine.path()))?.is_empty())
    }

    fn fetch(
        &self,
        session: &mut Session,
        watch: &Watch,
        wants: &[ObjectId],
        haves: &[ObjectId],
        odb: &Odb,
        quarantine: &Quarantine,
    ) -> Result<u64> {
        let numbers = Arc::new(Numbers::default());
        let indexing =
            Indexing { repo: self.repo, quarantine, numbers: Arc::clone(&numbers), strict: strict_option(self.config) };
        let ended = AtomicBool::new(false);
        let meter = watch.meter();
        let began = Instant::now();
        std::thread::scope(|scope| {
            let shown = scope.spawn(|| {
                while !ended.load(Relaxed) {
                    std::thread::park_timeout(Duration::from_millis(100));
                    let count = |number: &AtomicUsize| number.load(Relaxed) as u64;
                    let (received, total) = (count(&numbers.received), count(&numbers.total));
                    let resolved = count(&numbers.resolved);
                    if resolved > 0 {
                        // The whole pack is here: the mirror owes us nothing while we work.
                        watch.touch();
                        self.report.event(Event::Resolving { objects: resolved, total });
                    } else if total > 0 {
                        let (bytes, _) = meter();
                        self.report.event(Event::Receiving {
                            objects: received,
                            total,
                            bytes,
                            elapsed: began.elapsed(),
                        });
                    }
                }
            });
            let got = session.fetch(wants, haves, odb, &indexing);
            ended.store(true, Relaxed);
            shown.thread().unpark();
            got
        })
    }

    fn limits(&self) -> Limits {
        let seconds = |key: &str, default: Duration| self.config.number(key).map_or(default, Duration::from_secs);
        let default = Limits::default();
        Limits {
            connect: seconds("mirror.connecttimeout", default.connect),
            first_byte: seconds("mirror.responsetimeout", default.first_byte),
            idle: seconds("mirror.idletimeout", default.idle),
            low_speed: self.config.number("mirror.lowspeedlimit").unwrap_or(default.low_speed),
            low_time: seconds("mirror.lowspeedtime", default.low_time),
        }
    }
}

/// Why a mirror's gift was not taken.
enum Refusal {
    /// It is of no use.
    Final(Error),
    /// It may be of use if it is asked in another manner.
    Again(Manner),
}

impl From<Error> for Refusal {
    fn from(err: Error) -> Self {
        Refusal::Final(err)
    }
}
