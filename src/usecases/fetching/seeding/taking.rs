//! Taking over what a mirror sent: receiving it, proving it, moving it in with the tags that follow it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gix::ObjectId;

use super::gift::{Came, Gift, Refusal};
use super::{Seeder, Wanted};
use crate::adapters::git::config::Config;
use crate::adapters::git::odb::Odb;
use crate::adapters::net::watch::Watch;
use crate::adapters::seed::quarantine::Quarantine;
use crate::adapters::seed::{Indexing, Numbers, Partial, Session, strict_option};
use crate::decide::plan::{self, Manner};
use crate::values::{Event, RefSpace, Result};
use crate::wire::RefList;

impl Seeder<'_> {
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
        self.remote.report.event(Event::Proving);
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

        self.keep.guard(self.repo, false);
        quarantine.accept(self.repo, self.keep, is_synced(self.remote.config, total))?;
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

/// Returns whether a pack of `objects` is synced. Where git would have unpacked it, that is as `core.fsync` has it for loose
/// objects, which by default are not.
fn is_synced(config: &Config, objects: u64) -> bool {
    let unpack_below = ["fetch.unpacklimit", "transfer.unpacklimit"].iter().find_map(|key| config.number(key));
    let small = objects < unpack_below.unwrap_or(100);
    let Some(value) = config.get("core.fsync") else { return !small };
    let mut words = value.split(',').map(str::trim);
    if small {
        let with_loose = ["loose-object", "objects", "committed", "added", "all"];
        return words.clone().any(|word| with_loose.contains(&word)) && !words.any(|word| word == "-loose-object");
    }
    !words.any(|word| word == "none" || word == "-pack")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_synced() {
        for (value, small, large) in [
            (None, false, true),
            (Some("all"), true, true),
            (Some("none"), false, false),
            (Some("committed,-loose-object"), false, true),
            (Some("-pack, objects"), true, false),
        ] {
            let text = value.map_or_else(String::new, |value| format!("core.fsync\n{value}\0"));
            let config = Config::parse(text.as_bytes());
            assert_eq!((is_synced(&config, 99), is_synced(&config, 100)), (small, large), "{value:?}");
        }
    }
}
