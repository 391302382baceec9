//! Taking over what a mirror sent: receiving it, proving it, moving it in with the tags that follow it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gix::ObjectId;

use super::conversation::Conversation;
use super::gift::{Came, Gift, Part, Refusal};
use super::{Seeder, Wanted};
use crate::adapters::git::config::Config;
use crate::adapters::git::odb::Odb;
use crate::adapters::net::watch::Watch;
use crate::adapters::seed::quarantine::Quarantine;
use crate::adapters::seed::{Contents, Indexing, Numbers, Partial, Screened, strict_option};
use crate::decide::plan::{self, Manner};
use crate::values::{Event, Result};

/// Most packs that one mirror's own history is moved in by.
const MOST_PARTS: usize = 32;

impl Seeder<'_> {
    /// Proves what is in a quarantine, and moves it into the repository, with the tags that follow it.
    pub(super) fn take_over(&self, with: Conversation, came: Came) -> std::result::Result<Gift, Refusal> {
        let Conversation { session, watch, wanted, theirs } = with;
        let Came { quarantine, mut request, space, objects, proved } = came;
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

        let (asked, own): (Vec<ObjectId>, Vec<ObjectId>) =
            request.wants.iter().partition(|id| wanted.wants.contains(id));
        let targets = if own.is_empty() { Vec::new() } else { plan::tag_targets(wanted.canonical, came_in) };
        let unsure = match targets.as_slice() {
            [] => Vec::new(),
            targets => {
                let (commits, others): (Vec<_>, Vec<_>) = targets.iter().partition(|id| inside.is_commit(id));
                let mut unsure = self.repo.unreached(&commits, &asked, Some(quarantine.path()))?;
                unsure.extend(self.repo.unnamed(&others, &asked, Some(quarantine.path()))?);
                unsure
            }
        };
        let mut total = objects;
        let (mut tags, mut tags_left) = (Vec::new(), Vec::new());
        if wanted.include_tag {
            let follow = plan::tags_to_follow(wanted.canonical, came_in, |id| inside.has(id));
            let (shown, missing): (Vec<_>, Vec<_>) =
                follow.into_iter().partition(|id| theirs.refs.iter().any(|r| r.oid == *id));
            let (later, left): (Vec<_>, Vec<_>) = missing.into_iter().partition(|tag| is_of(wanted, tag, &unsure));
            tags_left = left;
            match self.add(&quarantine, &shown, &request.wants, || {
                self.fetching(watch, (&quarantine, false), &mut Vec::new(), |indexing| {
                    session.fetch(&shown, &request.wants, &inside, indexing)
                })
            }) {
                Some(count) => {
                    total += count;
                    tags = shown;
                }
                None => tags_left.extend(shown), // canonical has them
            }
            watch.pause(true);
            // `git fetch` follows those by itself. `git clone` takes what is there, and canonical's pack is not to bring what
            // may have to go.
            if wanted.clone
                && let Some(count) =
                    self.add(&quarantine, &later, &unsure, || self.fetch_tags(&quarantine, &later, &unsure))
            {
                total += count;
                tags.extend(later);
            }
        }

        self.keep.guard(self.repo, false);
        let sync = is_synced(self.remote.config, total);
        let unsure = if unsure.is_empty() {
            quarantine.accept(self.repo, self.keep, sync)?;
            Vec::new()
        } else {
            let (later, at_once): (Vec<_>, Vec<_>) = tags.into_iter().partition(|tag| is_of(wanted, tag, &unsure));
            let at_once = [asked, at_once].concat();
            self.accept_apart(&quarantine, sync, at_once, &unsure, &[later, own].concat(), wanted)?
        };
        let refs = plan::refs_to_write(&space, &request);
        if let Err(err) = self.repo.update_refs(refs.iter().map(|(name, oid)| (name.as_str(), oid))) {
            // They only serve a later fetch, should this one be interrupted.
            tracing::debug!(%err, "cannot write refs/mirror");
        }
        let ask = Duration::ZERO; // whoever opened the connection knows
        Ok(Gift { tips: request.wants, tags_left, unsure, bytes: watch.bytes(), ask, moved, before: Vec::new() })
    }

    /// Has `fetch` add tags to a quarantine, and proves them; returns how many objects came. Where that fails, the quarantine
    /// is as it was.
    fn add(
        &self,
        quarantine: &Quarantine,
        tags: &[ObjectId],
        vouched: &[ObjectId],
        fetch: impl FnOnce() -> Result<u64>,
    ) -> Option<u64> {
        if tags.is_empty() {
            return Some(0);
        }
        let judged = quarantine.indexes().ok()?;
        let odb = Odb::open(self.repo).ok()?;
        let got = fetch().and_then(|n| quarantine.prove(self.repo, tags, vouched, &odb, &judged, None).map(|()| n));
        got.inspect_err(|err| {
            tracing::debug!(%err, "tags that follow do not come");
            if let Err(err) = quarantine.drop_all_but(&judged) {
                tracing::debug!(%err, "what is left of them stays in the quarantine");
            }
        })
        .ok()
    }

    /// Moves what is in a quarantine into the repository in several packs: what `known` reach; then, for each of `targets`,
    /// which come after their ancestors, what it adds with the tags that name it; then the rest of what `own` reach. A git
    /// that has listed the packs does not see another one in time, so that what may have to go has to be apart from now on.
    fn accept_apart(
        &self,
        quarantine: &Quarantine,
        sync: bool,
        mut known: Vec<ObjectId>,
        targets: &[ObjectId],
        own: &[ObjectId],
        wanted: &Wanted,
    ) -> Result<Vec<Part>> {
        let accept = |tips: &[ObjectId], known: &[ObjectId], target: Option<ObjectId>| -> Result<Vec<Part>> {
            let indexes = quarantine.accept_part(self.repo, self.keep, sync, tips, known)?;
            Ok(indexes.into_iter().map(|index| Part { index, target }).collect())
        };
        accept(&known, &[], None)?;
        let mut parts = Vec::new();
        let (one_by_one, last) = targets.split_at(targets.len().min(MOST_PARTS));
        for target in one_by_one {
            let mut tips = vec![*target];
            tips.extend(own.iter().filter(|id| is_of(wanted, id, &[*target])));
            parts.extend(accept(&tips, &known, Some(*target))?);
            known.extend(tips);
        }
        if let Some(target) = last.first() {
            parts.extend(accept(last, &known, Some(*target))?);
            known.extend(last);
        }
        parts.extend(accept(own, &known, None)?);
        Ok(parts)
    }

    /// Has `fetch` fetch something into a quarantine, a `part` of a history or the whole, and tells how far it is; what breaks
    /// off goes to `partials`.
    pub(super) fn fetching(
        &self,
        watch: &Watch,
        (quarantine, part): (&Quarantine, bool),
        partials: &mut Vec<Partial>,
        fetch: impl FnOnce(&Indexing) -> Result<u64>,
    ) -> Result<u64> {
        let numbers = Arc::new(Numbers::default());
        let indexing = Indexing {
            repo: self.repo,
            quarantine,
            numbers: Arc::clone(&numbers),
            strict: strict_option(self.remote.config, part),
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
                    let resolved = count(&numbers.before) + count(&numbers.resolved);
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
pub(super) fn is_synced(config: &Config, objects: u64) -> bool {
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

/// Returns whether canonical's annotated tag `tag` names one of `targets`.
fn is_of(wanted: &Wanted, tag: &ObjectId, targets: &[ObjectId]) -> bool {
    let peeled = wanted.canonical.refs.iter().find(|r| r.oid == *tag).and_then(|r| r.peeled);
    peeled.is_some_and(|target| targets.contains(&target))
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
