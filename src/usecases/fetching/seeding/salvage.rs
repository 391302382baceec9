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

use super::connecting::limits;
use super::gift::{Came, Gift, Refusal};
use super::{Seeder, Wanted};
use crate::adapters::git::odb::Odb;
use crate::adapters::net::watch::Watch;
use crate::adapters::seed::quarantine::Quarantine;
use crate::adapters::seed::{Links, Partial, Session};
use crate::decide::plan::{self, Manner};
use crate::usecases::fetching::asking;
use crate::values::{Error, Event, Kind, RefSpace, Result};
use crate::wire::RefList;

/// Most objects that are wanted by id in one request: each costs 50 bytes. They are not split up, as a server finds
/// deltas among the objects of one request only.
const MOST_BY_ID: usize = 150_000;
/// Each round leads a level of folders deeper, where the server takes `filter`; where it does not, one is all.
const MOST_ROUNDS: usize = 100;
/// A mirror is asked again while each time it gives at least this part of the objects that there were to be.
const LEAST_PART: u64 = 50;
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
    /// Objects that are here, and those that there were to be in the first pack.
    objects: u64,
    total: u64,
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
        let objects = partials.iter().map(|partial| u64::from(partial.objects)).sum();
        Some(Salvage {
            quarantine,
            request,
            space: space.clone(),
            partials,
            links: Links::new(hash),
            indexed: HashSet::new(),
            objects,
            total,
            from: Vec::new(),
        })
    }

    /// Returns how many objects are here.
    pub(super) fn objects(&self) -> u64 {
        self.objects
    }

    /// Notes who has been asked since there were `before` objects.
    pub(super) fn note(&mut self, who: String, bytes: u64, before: u64) {
        if self.objects > before {
            self.from.push((who, bytes));
        }
    }

    /// Returns whether the mirror whose connection has broken shall be asked once more: where it has given a good part
    /// since there were `before` objects. One that ended its answer too early, in good order, is broken itself.
    pub(super) fn is_worth_asking_again(&self, before: u64) -> bool {
        let cut = self.partials.last().is_some_and(|partial| partial.cut);
        cut && self.objects > before && (self.objects - before).saturating_mul(LEAST_PART) >= self.total
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
            partial.restore(&self.quarantine, odb, hash)?;
        }
        for index in self.quarantine.indexes()? {
            if self.indexed.insert(index.clone()) {
                self.links.add(&index).map_err(Error::doing(Kind::Proof, "what is kept cannot be read"))?;
            }
        }
        Ok(())
    }
}

impl Seeder<'_> {
    /// Has canonical give what is missing in `salvage`. Returns `None` where that is not worth it or does not succeed:
    /// then canonical sends everything, as git asks for it.
    pub(super) fn complete_by_canonical(&self, wanted: &Wanted, salvage: Salvage) -> Option<Gift> {
        let named: HashSet<&ObjectId> = wanted.canonical.refs.iter().map(|r| &r.oid).collect();
        let bytes: u64 = salvage.from.iter().map(|(_, bytes)| bytes).sum();
        if bytes < WORTH_A_CONNECTION || !salvage.request.wants.iter().all(|id| named.contains(id)) {
            return None;
        }
        let who = self.remote.url.shown_host();
        self.remote.report.event(Event::Detail(format!("mirror: asking {who} for what mirrors broke off")));
        self.remote.report.event(Event::Source(format!("canonical {who}")));
        let gift = self.ask_canonical(wanted, salvage);
        self.remote.report.event(Event::ProgressEnd);
        gift.inspect_err(|err| tracing::debug!(%err, "canonical does not complete what is kept")).ok()
    }

    fn ask_canonical(&self, wanted: &Wanted, salvage: Salvage) -> Result<Gift> {
        let no_use = || Error::new(Kind::Nothing, "it cannot be asked for single objects");
        let mut channel = asking::open_canonical(&self.remote)?.ok_or_else(no_use)?;
        let watch = Watch::over(&mut channel, limits(self.remote.config), Instant::now());
        let mut session = Session::open(channel, &self.remote.url.shown_host())?;
        session.adopt(self.repo.hash, &[])?;
        match self.complete(&mut session, &watch, wanted, wanted.canonical, salvage, &mut None) {
            Ok(gift) => Ok(gift),
            Err(Refusal::Final(err)) => Err(err),
            Err(Refusal::Again(_)) => Err(no_use()),
        }
    }

    /// Fetches what is missing in `salvage`, proves, and takes over. What breaks off in its turn is kept in `saved`.
    pub(super) fn complete(
        &self,
        session: &mut Session,
        watch: &Watch,
        wanted: &Wanted,
        theirs: &RefList,
        mut salvage: Salvage,
        saved: &mut Option<Salvage>,
    ) -> std::result::Result<Gift, Refusal> {
        watch.pause(true);
        match self.fetch_missing(session, watch, wanted.haves, &mut salvage) {
            Ok(proved) => {
                let Salvage { quarantine, request, space, objects, from, .. } = salvage;
                let came = Came { quarantine, request, objects, proved };
                let gift = self.take_over(session, watch, &space, wanted, theirs, came)?;
                Ok(Gift { before: from, ..gift })
            }
            Err(err) if !salvage.partials.is_empty() => {
                *saved = Some(salvage);
                Err(err.into())
            }
            Err(err) => {
                // Refused, too much, or with a hole: as if nothing had come.
                tracing::debug!(%err, "what was kept is of no use");
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
            tracing::debug!(blobs = blobs.len(), others = others.len(), here = salvage.objects, "what is missing");
            let filter = session.takes_filter();
            let little = !filter && !others.is_empty() && salvage.objects.saturating_mul(LEAST_SHARE) < salvage.total;
            // Trees lead to what is here already, so that the server is told to leave that out, where it can be; files
            // last, together, for the sake of deltas among them.
            let exactly = filter && !others.is_empty();
            let wants = if exactly { others } else { [others, blobs].concat() };
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
            let Salvage { quarantine, partials, .. } = salvage;
            watch.pause(false);
            let got = self.fetching(watch, quarantine, partials, |indexing| {
                session.fetch_by_id(&wants, haves, exactly, &inside, indexing)
            });
            watch.pause(true);
            salvage.objects += match &got {
                Ok(objects) => *objects,
                Err(_) => salvage.partials.iter().map(|partial| u64::from(partial.objects)).sum(),
            };
            got?;
            last = wants.into_iter().collect();
        }
        Err(Error::new(Kind::Proof, "it does not give what is missing"))
    }
}
