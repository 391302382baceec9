//! Taking over what a mirror sent: receiving it, proving it, moving it in with the tags that follow it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gix::ObjectId;

use super::gift::{Came, Gift, Refusal};
use super::{Seeder, Wanted};
use crate::adapters::git::odb::Odb;
use crate::adapters::net::watch::Watch;
use crate::adapters::seed::quarantine::Quarantine;
use crate::adapters::seed::{Contents, Indexing, Numbers, Partial, Screened, Session, strict_option};
use crate::decide::plan::{self, Manner};
use crate::values::{Event, RefSpace, Result};
use crate::wire::RefList;

impl Seeder<'_> {
    /// Proves what is in a quarantine, and moves it into the repository, with the tags that follow it.
    pub(super) fn take_over(
        &self,
        session: &mut Session,
        watch: &Watch,
        space: &RefSpace,
        wanted: &Wanted,
        theirs: &RefList,
        came: Came,
    ) -> std::result::Result<Gift, Refusal> {
        let Came { quarantine, mut request, objects, proved } = came;
        let odb = Odb::open(self.repo)?;
        let moved = watch.moved();
        let inside = Odb::at(quarantine.path(), self.repo.hash)?;
        let judged = quarantine.indexes()?;
        let contents = Contents::of(&judged, self.repo.hash)?;
        let came_in = |id: &ObjectId| contents.holds(id) && !odb.has(id);
        // Of those that are only in the repository nobody knows whether they are whole: a killed git may have left them.
        let asked: HashSet<ObjectId> = request.wants.iter().copied().collect();
        let more = wanted.wants.iter().filter(|id| !asked.contains(*id) && contents.holds(id));
        watch.pause(true);
        self.remote.report.event(Event::Proving);
        request.wants.extend(more);
        let of_canonical = wanted.of_canonical();
        let (named, own): (Vec<ObjectId>, Vec<_>) = request.wants.iter().partition(|id| of_canonical.contains(*id));
        let mut screened = (!own.is_empty()).then(Screened::default);
        if !proved || screened.is_some() {
            quarantine.prove(self.repo, &request.wants, wanted.haves, &odb, &[], screened.as_mut())?;
        }
        if let Some(screened) = screened {
            let more = of_canonical.iter().filter(|id| contents.holds(id));
            let named: Vec<ObjectId> = named.iter().chain(more).copied().collect();
            if !quarantine.is_sound(self.repo, &screened, &own, &named)? {
                tracing::debug!("what a mirror has on its own account is malformed");
                return Err(Refusal::Again(Manner::Exact));
            }
        }
        if self.brings_stray_tags(wanted, &request, &contents, &quarantine, came_in)? {
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
                let got = got.and_then(|n| {
                    quarantine.prove(self.repo, &theirs, &request.wants, &odb, &judged, None).map(|()| n)
                });
                match got {
                    Ok(n) => total += n,
                    Err(err) => {
                        // What is proved stays so; canonical has its tags.
                        tracing::debug!(%err, "a mirror does not give its tags");
                        quarantine.drop_all_but(&judged)?;
                        tags_left.extend(theirs);
                    }
                }
            }
        }

        let unpack_below =
            ["fetch.unpacklimit", "transfer.unpacklimit"].iter().find_map(|k| self.remote.config.number(k));
        let sync =
            !self.remote.config.get("core.fsync").is_some_and(|v| v.split(',').any(|c| c == "none" || c == "-pack"));
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
    /// not reach: git would create that tag, as it follows tags by what is in the store. What came in is what `request`
    /// reaches, so that only a mirror's own ids can lead to it.
    fn brings_stray_tags(
        &self,
        wanted: &Wanted,
        request: &plan::Request,
        contents: &Contents,
        quarantine: &Quarantine,
        came_in: impl Fn(&ObjectId) -> bool,
    ) -> Result<bool> {
        let wants: HashSet<&ObjectId> = wanted.wants.iter().collect();
        if request.wants.iter().all(|id| wants.contains(id)) {
            return Ok(false);
        }
        let targets = plan::tag_targets(wanted.canonical, came_in);
        if targets.is_empty() {
            return Ok(false);
        }
        let here = |id: &ObjectId| wants.contains(id) && contents.holds(id);
        let ahead = |name: &str| wanted.canonical.refs.iter().any(|r| r.name == name && here(&r.oid));
        let stale = request.names.iter().filter(|(name, _)| !ahead(name)).map(|(_, oid)| *oid);
        let reach: Vec<ObjectId> = wanted.wants.iter().filter(|id| here(id)).copied().chain(stale).collect();
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
            strict: strict_option(self.remote.config),
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
                        self.remote.report.event(Event::Resolving { objects: resolved, total });
                    } else if total > 0 {
                        let (bytes, _) = meter();
                        self.remote.report.event(Event::Receiving {
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
