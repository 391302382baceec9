//! After a mirror has broken off: the rest, by id, from it, from the next mirror, or from canonical.
//!
//! git's protocol has no words for "I have these trees", only for complete history; but a server of v2 gives any object
//! that is wanted by its id. So what came is kept in the quarantine, unproved, and what its links lead to and is not
//! there is wanted. When nothing is missing any more, all of it is proved and taken over as any other gift; before that
//! nothing of it leaves the quarantine.

use std::collections::HashSet;
use std::time::Instant;

use gix::ObjectId;
use gix::objs::Kind as Object;

use super::connecting::{explained, limits, time_to_connect};
use super::conversation::Conversation;
use super::gift::{self, Gift, Refusal};
use super::{Seeder, Wanted};
use crate::adapters::git::odb::Odb;
use crate::adapters::net::channel::Role;
use crate::adapters::net::watch::Watch;
use crate::adapters::seed::quarantine::Quarantine;
use crate::adapters::seed::{Extent, Links, Partial, Session};
use crate::decide::patience::{Came, Whom};
use crate::decide::plan::{self, Manner};
use crate::usecases::fetching::asking;
use crate::values::{Error, Event, Kind, RefSpace, Result};
use crate::wire::RefList;

/// Most objects that are wanted by id in one request: each costs 50 bytes. They are not split up, as a server finds
/// deltas among the objects of one request only.
const MOST_BY_ID: usize = 150_000;
/// Each round leads a level of folders deeper, where the server takes `filter`; where it does not, one is all.
const MOST_ROUNDS: usize = 100;
/// A mirror is asked again while each time it gives at least this part of the objects that there were to be, and of those
/// that it was asked for.
const LEAST_PART: u64 = 50;
/// How often somebody is asked in one fetch for what is missing.
const MOST_ASKED: u32 = 20;
/// What may come a second time beyond what is new, in bytes: trees come with all that they lead to.
const MOST_AGAIN: u64 = 64 << 20;
/// From a server that does not take `filter`, trees come with all that they lead to: most of it comes a second time, if
/// not at least this part of the objects is here.
const LEAST_SHARE: u64 = 4;
/// Canonical is asked on a connection of its own, which may mean another log-in: for so many bytes of mirrors' at least.
const WORTH_A_CONNECTION: u64 = 1 << 20;

/// What mirrors have given of a pack that is not whole.
pub(super) struct Salvage {
    quarantine: Quarantine,
    request: plan::Request,
    /// Where the refs of the mirror that was asked first belong.
    space: RefSpace,
    partials: Vec<Partial>,
    links: Links,
    indexed: HashSet<std::path::PathBuf>,
    /// Objects that came, those that are here, and those that there were to be in the first pack.
    came: u64,
    here: u64,
    total: u64,
    /// As they were when stock was last taken: objects that came, and those that were here.
    noted: (u64, u64),
    /// What has been asked for since then, and whether the connection broke.
    asked_for: HashSet<ObjectId>,
    cut: bool,
    /// How often stock was taken, and the bytes of objects that were new, and that came again.
    times: u32,
    new: u64,
    again: u64,
    /// Who gave how many bytes.
    from: Vec<(String, u64)>,
}

impl Salvage {
    /// Returns what is to be kept, where a fetch into `quarantine` has left something.
    pub(super) fn of(
        quarantine: Quarantine,
        request: plan::Request,
        space: &RefSpace,
        partials: Vec<Partial>,
        hash: gix::hash::Kind,
    ) -> Option<Self> {
        let total = u64::from(partials.first()?.total);
        let asked_for = request.wants.iter().copied().collect();
        Some(Salvage {
            quarantine,
            request,
            space: space.clone(),
            partials,
            links: Links::new(hash),
            indexed: HashSet::new(),
            came: 0,
            here: 0,
            total,
            noted: (0, 0),
            asked_for,
            cut: false,
            times: 0,
            new: 0,
            again: 0,
            from: Vec::new(),
        })
    }

    /// Takes stock of what `who` has given in so many bytes since this was last done: returns the share of it that is
    /// new, and whether `who`, whose connection has broken, shall be asked once more. That is so where a good part came of
    /// what was asked for and missing; one that ended its answer too early, in good order, is broken itself.
    fn take_stock(&mut self, who: &str, bytes: u64, odb: &Odb, hash: gix::hash::Kind) -> Result<(f64, bool)> {
        self.index(odb, hash)?;
        let (came, new) = (self.came - self.noted.0, self.here - self.noted.1);
        self.noted = (self.came, self.here);
        let asked_for = std::mem::take(&mut self.asked_for);
        let found = asked_for.iter().filter(|id| self.links.holds(id)).count() as u64;
        let share = if came == 0 { 0.0 } else { new as f64 / came as f64 };
        let new_bytes = (bytes as f64 * share) as u64;
        self.new += new_bytes;
        self.again += bytes - new_bytes.min(bytes);
        self.times += 1;
        if new > 0 {
            self.from.push((who.to_owned(), bytes));
        }
        let is_part = |part: u64, whole: u64| part > 0 && part.saturating_mul(LEAST_PART) >= whole;
        let goes_on = is_part(found, asked_for.len() as u64) && is_part(new, self.total.max(self.here));
        let bounded = self.times < MOST_ASKED && self.again <= self.new.saturating_add(MOST_AGAIN);
        tracing::debug!(who, came, new, found, asked = asked_for.len(), self.times, "what broke off");
        Ok((share, std::mem::take(&mut self.cut) && goes_on && bounded))
    }

    /// Returns whether a mirror that shows `theirs` is likely to have all that is missing.
    pub(super) fn fits(&self, space: &RefSpace, theirs: &RefList) -> bool {
        let shown: HashSet<&ObjectId> = theirs.refs.iter().map(|r| &r.oid).collect();
        self.space.name() == space.name() || self.request.wants.iter().all(|id| shown.contains(id))
    }

    /// Returns the files that are missing, and the other objects.
    fn missing(&self, odb: &Odb) -> (Vec<ObjectId>, Vec<ObjectId>) {
        // What is in the repository already counts as complete; the proof will tell.
        let missing = self.links.open().filter(|(id, _)| !odb.has(id));
        let (blobs, others): (Vec<_>, Vec<_>) = missing.partition(|(_, kind)| *kind == Object::Blob);
        let tips = self.request.wants.iter().filter(|id| !self.links.holds(id) && !odb.has(id));
        let others: HashSet<ObjectId> = others.into_iter().map(|(id, _)| id).chain(tips).copied().collect();
        (blobs.into_iter().map(|(id, _)| *id).collect(), others.into_iter().collect())
    }

    /// Returns whether what is here is what was asked for, whole, and nothing else: then it is proved.
    fn is_whole(&self) -> bool {
        self.links.are_whole(&self.request.wants)
    }

    /// Follows the links of packs that are new in the quarantine.
    fn index(&mut self, odb: &Odb, hash: gix::hash::Kind) -> Result<()> {
        for partial in self.partials.drain(..) {
            self.cut = partial.cut;
            partial.restore(&self.quarantine, odb, hash)?;
        }
        for index in self.quarantine.indexes()? {
            if self.indexed.insert(index.clone()) {
                let unread = Error::doing(Kind::Unproved, "what is kept cannot be read");
                let file = gix::odb::pack::index::File::at(&index, hash).map_err(unread)?;
                self.came += u64::from(file.num_objects());
                self.here += file.iter().filter(|entry| !self.links.holds(&entry.oid)).count() as u64;
                self.links.add(&index).map_err(Error::doing(Kind::Unproved, "what is kept cannot be read"))?;
            }
        }
        Ok(())
    }
}

impl Seeder<'_> {
    /// Takes stock of what is `saved` after `who` has broken off; returns whether it shall be asked once more.
    pub(super) fn take_stock(&self, saved: &mut Option<Salvage>, who: &str, bytes: u64) -> bool {
        let stock = saved
            .as_mut()
            .filter(|saved| !saved.partials.is_empty())
            .map(|saved| Odb::open(self.repo).and_then(|odb| saved.take_stock(who, bytes, &odb, self.repo.hash)));
        match stock {
            Some(Ok((share, again))) => {
                self.clock.settle(Came::Kept(share));
                return again;
            }
            Some(Err(err)) => {
                tracing::debug!(%err, "what was kept is of no use");
                *saved = None;
                self.clock.settle(Came::Refused);
                self.clock.drop_kept();
            }
            None => self.clock.settle(Came::Refused),
        }
        false
    }

    /// Has canonical give what is missing in `salvage`. Returns `None` where that is not worth it or does not succeed:
    /// then canonical sends everything, as git asks for it.
    pub(super) fn complete_by_canonical(&self, wanted: &Wanted, salvage: Salvage) -> Option<Gift> {
        let named: HashSet<&ObjectId> = wanted.canonical.refs.iter().map(|r| &r.oid).collect();
        let bytes: u64 = salvage.from.iter().map(|(_, bytes)| bytes).sum();
        if self.clock.over(Whom::Completion).is_some() {
            return None;
        }
        if bytes < WORTH_A_CONNECTION || !salvage.request.wants.iter().all(|id| named.contains(id)) {
            return None;
        }
        let who = self.remote.url.shown_host();
        self.remote.report.event(Event::Detail(format!("mirror: asking {who} for what mirrors broke off")));
        self.remote.report.event(Event::Source(format!("canonical {who}")));
        let gift = self.ask_canonical(wanted, salvage);
        self.clock.settle(if gift.is_ok() { Came::Proved } else { Came::Refused });
        self.remote.report.event(Event::ProgressEnd);
        gift.inspect_err(|err| tracing::debug!(%err, "canonical does not complete what is kept")).ok()
    }

    /// Opens a connection to canonical beside git's own.
    pub(super) fn open_canonical(&self) -> Result<(Session, Watch)> {
        let no_use = || Error::new(Kind::Nothing, "it cannot be asked for single objects");
        let began = Instant::now();
        let limits = limits(self.remote.config);
        let connect_by = began.checked_add(time_to_connect(&limits, Some(&self.clock), Whom::Completion));
        let open = || asking::open_canonical(&self.remote, Role::Beside, connect_by);
        let mut channel = self.clock.waiting(open)?.ok_or_else(no_use)?;
        let watch = Watch::over(&mut channel, limits, began, Some((self.clock.clone(), Whom::Completion)));
        let mut session = explained(&watch, Session::open(channel, &self.remote.url.shown_host()))?;
        explained(&watch, session.adopt(self.repo.hash, &[]))?;
        Ok((session, watch))
    }

    /// Fetches `tags` from canonical into a quarantine, on a connection of its own: all that `haves` reach is there.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) fn fetch_tags(&self, quarantine: &Quarantine, tags: &[ObjectId], haves: &[ObjectId]) -> Result<u64> {
        let (mut session, watch) = self.open_canonical()?;
        let inside = Odb::at(quarantine.path(), self.repo.hash)?;
        self.fetching(&watch, (quarantine, false), &mut Vec::new(), |indexing| {
            session.fetch(tags, haves, &inside, indexing)
        })
    }

    fn ask_canonical(&self, wanted: &Wanted, salvage: Salvage) -> Result<Gift> {
        let no_use = || Error::new(Kind::Nothing, "it cannot be asked for single objects");
        let (mut session, watch) = self.open_canonical()?;
        let with = Conversation { session: &mut session, watch: &watch, wanted, theirs: wanted.canonical };
        match self.complete(with, salvage, &mut None) {
            Ok(gift) => Ok(gift),
            Err(Refusal::Final(err)) => Err(err),
            Err(Refusal::Again(_)) => Err(no_use()),
        }
    }

    /// Fetches what is missing in `salvage`, proves, and takes over. What breaks off in its turn is kept in `saved`.
    pub(super) fn complete(
        &self,
        with: Conversation,
        mut salvage: Salvage,
        saved: &mut Option<Salvage>,
    ) -> std::result::Result<Gift, Refusal> {
        let watch = with.watch;
        watch.pause(true);
        match self.fetch_missing(with.session, watch, with.wanted.haves, &mut salvage) {
            Ok(proved) => {
                let Salvage { quarantine, request, space, here, from, .. } = salvage;
                let gift = self.take_over(with, gift::Came { quarantine, request, space, objects: here, proved })?;
                Ok(Gift { before: from, ..gift })
            }
            // Where somebody was only too slow, or the connection broke, somebody else may give the rest.
            Err(err) if !salvage.partials.is_empty() || err.kind == Kind::Channel || watch.verdict().is_some() => {
                *saved = Some(salvage);
                Err(err.into())
            }
            Err(err) => {
                // Refused, too much, or with a hole: as if nothing had come.
                tracing::debug!(%err, "what was kept is of no use");
                self.clock.drop_kept();
                Err(Refusal::Again(Manner::Usual))
            }
        }
    }

    /// Fetches until nothing is missing; returns whether the quarantine is whole by itself, which is a proof.
    fn fetch_missing(
        &self,
        session: &mut Session,
        watch: &Watch,
        haves: &[ObjectId],
        salvage: &mut Salvage,
    ) -> Result<bool> {
        let odb = Odb::open(self.repo)?;
        let mut last: HashSet<ObjectId> = HashSet::new();
        for _ in 0..MOST_ROUNDS {
            self.remote.report.event(Event::Proving);
            salvage.index(&odb, self.repo.hash)?;
            let (blobs, others) = salvage.missing(&odb);
            tracing::debug!(blobs = blobs.len(), others = others.len(), salvage.here, "what is missing");
            let filter = session.takes_filter();
            let little = !filter && !others.is_empty() && salvage.here.saturating_mul(LEAST_SHARE) < salvage.total;
            // Trees lead to what is here already, so that the server is told to leave that out, where it can be; files
            // last, together, for the sake of deltas among them.
            let (wants, extent) = if filter && !others.is_empty() {
                (others, Extent::Alone)
            } else {
                ([others, blobs].concat(), Extent::Reached)
            };
            if wants.is_empty() {
                return Ok(salvage.is_whole());
            }
            if little || wants.len() > MOST_BY_ID {
                return Err(Error::new(Kind::Nothing, "too much is missing"));
            }
            if wants.iter().all(|id| last.contains(id)) && wants.len() == last.len() {
                break;
            }
            let inside = Odb::at(salvage.quarantine.path(), self.repo.hash)?;
            let Salvage { quarantine, partials, asked_for, .. } = salvage;
            asked_for.extend(&wants);
            watch.pause(false);
            let got = self.fetching(watch, (quarantine, false), partials, |indexing| {
                session.fetch_by_id(&wants, haves, extent, &inside, indexing)
            });
            watch.pause(true);
            got?;
            last = wants.into_iter().collect();
        }
        Err(Error::new(Kind::Protocol, "it does not give what is missing"))
    }
}
