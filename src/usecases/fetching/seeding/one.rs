//! One mirror: asking it, proving what it sends, taking that over.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gix::ObjectId;

use super::connecting::{connect, explained, limits};
use super::salvage::Salvage;
use super::{Seeder, Wanted};
use crate::adapters::git::odb::Odb;
use crate::adapters::net::watch::Watch;
use crate::adapters::seed::quarantine::Quarantine;
use crate::adapters::seed::{Indexing, Numbers, Partial, Session, strict_option};
use crate::decide::plan::{self, Manner};
use crate::usecases::fetching::learning;
use crate::values::{Error, Event, GitUrl, Kind, Mirror, Origin, RefSpace, Result, Transport, url_key};
use crate::wire::RefList;

/// Of a fetch of fewer bytes all the time counts as asking: the bytes are not what it takes.
const SMALL: u64 = 64 * 1024;
/// The work on this machine for a small fetch.
const HERE: Duration = Duration::from_millis(20);

/// What one mirror gave.
pub(super) struct Gift {
    pub tips: Vec<ObjectId>,
    pub tags_left: Vec<ObjectId>,
    pub bytes: u64,
    /// How long asking took, but for the bytes.
    pub ask: Duration,
    /// Bytes of objects, and how long they took.
    pub moved: (u64, Duration),
    /// Who gave how much of it before, and broke off.
    pub before: Vec<(String, u64)>,
}

/// What is in a quarantine.
pub(super) struct Came {
    pub quarantine: Quarantine,
    pub request: plan::Request,
    pub objects: u64,
    /// Whether it is known to be complete.
    pub proved: bool,
}

/// Why a mirror's gift was not taken.
pub(super) enum Refusal {
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

impl Seeder<'_> {
    /// Fetches from one mirror, proves, and takes over what it gave. Where it breaks off, what came is kept in `saved`, and
    /// used by whoever is asked next.
    pub(super) fn ask(
        &self,
        mirror: &Mirror,
        space: &RefSpace,
        wanted: &Wanted,
        saved: &mut Option<Salvage>,
    ) -> Result<Gift> {
        let mut manner = Manner::Usual;
        let mut of_no_use = false;
        loop {
            let began = Instant::now();
            let (mut session, watch) = self.open(mirror)?;
            let before = saved.as_ref().map_or(0, Salvage::objects);
            match self.why(&watch, self.ask_on(&mut session, &watch, space, wanted, manner, saved)) {
                Ok(gift) => {
                    // Of a large one, asking takes as long again as the connection has, and the rest is done here.
                    let small = gift.moved.0 < SMALL;
                    let ask = if small { began.elapsed() } else { watch.opened() * 2 + HERE };
                    return Ok(Gift { ask, ..gift });
                }
                Err(Refusal::Again(next)) => {
                    manner = next;
                    of_no_use |= before > 0;
                }
                Err(Refusal::Final(err)) => {
                    let again = saved.as_mut().is_some_and(|saved| {
                        saved.note(mirror.url.shown_host(), watch.bytes(), before);
                        !of_no_use && err.kind == Kind::Channel && saved.is_worth_asking_again(before)
                    });
                    if !again {
                        return Err(err);
                    }
                    let who = mirror.url.shown_host();
                    self.report.event(Event::Detail(format!("mirror: {who}: {}; asking for the rest", err.message)));
                }
            }
        }
    }

    /// As [`explained`].
    pub(super) fn why<T>(
        &self,
        watch: &Watch,
        result: std::result::Result<T, Refusal>,
    ) -> std::result::Result<T, Refusal> {
        result.map_err(|refusal| match watch.verdict() {
            Some(verdict) => Refusal::Final(Error::new(Kind::Timeout, verdict)),
            None => refusal,
        })
    }

    pub(super) fn open(&self, mirror: &Mirror) -> Result<(Session, Watch)> {
        let connect_by = Instant::now().checked_add(limits(self.config).connect);
        let guarded = mirror.origin == Origin::Listed && !learning::allows_private(self.config);
        if guarded && learning::is_private_by(&mirror.url, connect_by)? && !learning::is_private(self.url) {
            let why = "it is on a private address, and the server that lists it is on a public one";
            return Err(Error::new(Kind::Config, why));
        }
        let early = self.early.take().and_then(|early| early.take(mirror));
        let (mut session, watch) = match early {
            Some(made) => made?,
            None => connect(mirror, self.config, self.family, self.report, |_| ())?,
        };
        watch.pause(false);
        explained(&watch, session.adopt(self.repo.hash, &self.names(mirror)))?;
        Ok((session, watch))
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

    pub(super) fn ask_on(
        &self,
        session: &mut Session,
        watch: &Watch,
        space: &RefSpace,
        wanted: &Wanted,
        manner: Manner,
        saved: &mut Option<Salvage>,
    ) -> std::result::Result<Gift, Refusal> {
        let odb = Odb::open(self.repo)?;
        let named = plan::names_of(wanted.canonical, wanted.wants);
        let tags = wanted.canonical.refs.iter().filter(|r| wanted.include_tag && r.peeled.is_some());
        let names = named.iter().copied().chain(tags).map(|r| r.name.as_str());
        watch.pause(false);
        let theirs = session.ls_refs(names)?;
        watch.pause(true); // what takes time now is ours, until it is asked again
        if let Some(salvage) = saved.take_if(|saved| saved.fits(space, &theirs)) {
            return self.complete(session, watch, wanted, &theirs, salvage, saved);
        }
        let request = plan::request(wanted.wants, &named, &theirs, manner, |id| odb.has(id));
        if request.wants.is_empty() {
            return Err(Error::new(Kind::Nothing, "it has nothing that is new here").into());
        }
        tracing::debug!(?request, ?manner, "ask a mirror");
        let quarantine = Quarantine::create(self.repo)?;
        let mut partials = Vec::new();
        let got = self.fetching(watch, &quarantine, &mut partials, |indexing| {
            session.fetch(&request.wants, wanted.haves, &odb, indexing)
        });
        let objects = match got {
            Err(err) if !partials.is_empty() => {
                *saved = Salvage::of(quarantine, request, space, partials, self.repo.hash);
                return Err(err.into());
            }
            Err(err) if err.kind == Kind::Protocol && manner == Manner::Usual && watch.verdict().is_none() => {
                let rest = request.unadvertised.len() < request.wants.len();
                let refused = rest && !request.unadvertised.is_empty();
                return Err(if refused { Refusal::Again(Manner::Shown) } else { err.into() });
            }
            other => other?,
        };
        let came = Came { quarantine, request, objects, proved: false };
        self.take_over(session, watch, space, wanted, &theirs, manner, came)
    }

    /// Proves what is in a quarantine, and moves it into the repository, with the tags that follow it.
    #[expect(clippy::too_many_arguments)]
    pub(super) fn take_over(
        &self,
        session: &mut Session,
        watch: &Watch,
        space: &RefSpace,
        wanted: &Wanted,
        theirs: &RefList,
        manner: Manner,
        came: Came,
    ) -> std::result::Result<Gift, Refusal> {
        let Came { quarantine, mut request, objects, proved } = came;
        let odb = Odb::open(self.repo)?;
        let moved = watch.moved();
        let inside = Odb::at(quarantine.path(), self.repo.hash)?;
        let came_in = |id: &ObjectId| inside.has(id) && !odb.has(id);
        request.wants.extend(
            wanted.wants.iter().filter(|id| !request.wants.contains(id) && inside.has(id)).copied().collect::<Vec<_>>(),
        );
        watch.pause(true);
        self.report.event(Event::Proving);
        if !proved {
            quarantine.prove(self.repo, &request.wants, wanted.haves)?;
        }
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
                let got = self.fetching(watch, &quarantine, &mut Vec::new(), |indexing| {
                    session.fetch(&theirs, &request.wants, &inside, indexing)
                });
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
        let ask = Duration::ZERO; // whoever opened the connection knows
        Ok(Gift { tips: request.wants, tags_left, bytes: watch.bytes(), ask, moved, before: Vec::new() })
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

    /// Has `fetch` fetch something, and tells how far it is; what breaks off goes to `partials`.
    pub(super) fn fetching(
        &self,
        watch: &Watch,
        quarantine: &Quarantine,
        partials: &mut Vec<Partial>,
        fetch: impl FnOnce(&Indexing) -> Result<u64>,
    ) -> Result<u64> {
        let numbers = Arc::new(Numbers::default());
        let indexing = Indexing {
            repo: self.repo,
            quarantine,
            numbers: Arc::clone(&numbers),
            strict: strict_option(self.config),
            partial: RefCell::default(),
        };
        let ended = AtomicBool::new(false);
        let meter = watch.meter();
        let began = Instant::now();
        watch.pause(false);
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
            watch.mark();
            watch.judge_by(Some(Arc::clone(&numbers.bytes)));
            let got = fetch(&indexing);
            watch.judge_by(None);
            ended.store(true, Relaxed);
            shown.thread().unpark();
            partials.extend(indexing.partial.take());
            got
        })
    }
}
