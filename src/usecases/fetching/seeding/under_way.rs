//! A seeding while it is under way, and what it comes to: what is here, and what is left for canonical to send.

use std::collections::HashSet;

use gix::ObjectId;

use super::Wanted;
use super::gift::{Gift, Part};
use super::held::Held;
use super::offering::Offers;
use super::salvage::Salvage;
use crate::adapters::git::odb::Odb;
use crate::adapters::git::repo::Repo;
use crate::usecases::fetching::observing::{Observed, Outcome};
use crate::values::{Mirror, RefSpace, Result};

/// What seeding came to.
#[derive(Debug, Default)]
pub struct Seeded {
    /// What canonical has to send yet.
    pub left: Left,
    /// The tips that mirrors have and git did not want, proved.
    pub own: Vec<ObjectId>,
    /// What of it may have to go once canonical has answered.
    pub unsure: Vec<Part>,
    /// Who gave how many bytes.
    pub from: Vec<(String, u64)>,
    /// What was seen of the mirrors.
    pub observed: Vec<Observed>,
    /// Bytes that canonical gave to complete what a mirror broke off.
    pub from_canonical: u64,
    /// Mirrors that were left, each with why, in a word.
    pub left_alone: Vec<(String, &'static str)>,
    /// Mirrors that were not asked, likewise.
    pub not_asked: Vec<(String, &'static str)>,
    /// Why no mirror was asked at all, in a word.
    pub passed: Option<&'static str>,
    /// Whether nothing is left that canonical would have to send in bulk.
    pub satisfied: bool,
    /// Whether a filter was asked for: what comes is promised, and nothing prunes it.
    pub promised: bool,
    /// Whether git wanted what a partial clone lacks, of its own accord.
    pub lazy: bool,
    /// Whether there was something below `refs/mirror/` before: only these refs keep what they name.
    pub resumed: bool,
}

/// What is left for canonical to send.
#[derive(Debug)]
pub enum Left {
    /// Nothing: all that is wanted is here, proved, and named by canonical.
    Nothing,
    /// What git asks for, less what is here.
    Rest(Rest),
    /// Nothing, if history ends where it is thought to, which canonical has to say.
    Held(Box<Held>),
}

impl Default for Left {
    /// Returns all that git asks for.
    fn default() -> Self {
        Left::Rest(Rest::default())
    }
}

/// How canonical is asked for the rest of what git asks for.
#[derive(Debug, Default)]
pub struct Rest {
    /// Those of the wanted ids that are here and proved, and that canonical has named: it need not send them.
    pub here: HashSet<ObjectId>,
    /// Commits that are here and proved: for `have` lines.
    pub haves: Vec<ObjectId>,
    /// Annotated tags that must still come.
    pub tags: Vec<ObjectId>,
}

/// A seeding that is under way.
pub(super) struct UnderWay<'a> {
    pub wanted: &'a Wanted<'a>,
    /// The wanted ids that are not here yet.
    pub left: Vec<ObjectId>,
    /// What the mirror that was asked last has broken off.
    pub saved: Option<Salvage>,
    pub seeded: Seeded,
    offers: Offers,
    /// What is here and proved: of the wanted ids, and of what mirrors have on their own account.
    tips: Vec<ObjectId>,
    /// Annotated tags that mirrors did not give.
    tags: Vec<ObjectId>,
}

impl<'a> UnderWay<'a> {
    /// Returns one that begins with `left` missing of what is `wanted`.
    ///
    /// # Errors
    /// Where the repository cannot be read.
    pub fn begin(repo: &Repo, wanted: &'a Wanted, left: Vec<ObjectId>, resumed: bool) -> Result<Self> {
        let missing: HashSet<&ObjectId> = left.iter().collect();
        let tips = wanted.wants.iter().filter(|id| !missing.contains(id)).copied().collect();
        let offers = Offers::new(repo, wanted.haves)?;
        let seeded = Seeded { resumed, ..Seeded::default() };
        Ok(UnderWay { wanted, left, saved: None, seeded, offers, tips, tags: Vec::new() })
    }

    /// Returns what the next mirror is told is here.
    ///
    /// # Errors
    /// Where the repository cannot be read.
    pub fn offers(&self, repo: &Repo) -> Result<Vec<ObjectId>> {
        self.offers.extended(repo, &self.tips)
    }

    /// Takes what a mirror gave.
    pub fn take_from(&mut self, mirror: Mirror, space: RefSpace, gift: Gift) {
        let lacked = self.left.iter().filter(|id| !gift.tips.contains(id)).count() as f64 / self.left.len() as f64;
        let outcome = Outcome::Gave { ask: gift.ask, moved: gift.moved, lacked };
        let (who, bytes) = (mirror.url.shown_host(), gift.bytes);
        self.seeded.observed.push(Observed { url: mirror.url, space, outcome });
        self.take(gift);
        self.seeded.from.push((who, bytes));
    }

    /// Takes a gift, whoever gave it.
    pub fn take(&mut self, gift: Gift) {
        let proved: HashSet<&ObjectId> = gift.tips.iter().collect();
        self.left.retain(|id| !proved.contains(id));
        self.tips.extend(gift.tips);
        self.tags.extend(gift.tags_left);
        self.seeded.unsure.extend(gift.unsure);
        self.seeded.from.extend(gift.before);
    }

    /// Returns what it came to.
    ///
    /// # Errors
    /// Where the repository cannot be read.
    pub fn end(self, repo: &Repo) -> Result<Seeded> {
        let UnderWay { wanted, left, mut seeded, offers, tips, mut tags, .. } = self;
        let odb = Odb::open(repo)?;
        tags.retain(|tag| !odb.has(tag));
        let asked: HashSet<&ObjectId> = wanted.wants.iter().collect();
        seeded.own = tips.iter().filter(|id| !asked.contains(id)).copied().collect();
        // An id that canonical did not name must be asked of it, wherever it came from: it may not be one of its own.
        let named: HashSet<&ObjectId> = wanted.canonical.refs.iter().map(|r| &r.oid).collect();
        let vouched = wanted.wants.iter().all(|id| named.contains(id));
        seeded.satisfied = left.is_empty();
        seeded.left = if left.is_empty() && tags.is_empty() && vouched {
            Left::Nothing
        } else {
            let haves = offers.to_canonical(repo, &odb, &tips, &named, wanted.wants.len());
            let left: HashSet<ObjectId> = left.into_iter().collect();
            let here = wanted.wants.iter().filter(|id| named.contains(*id) && !left.contains(*id));
            Left::Rest(Rest { here: here.copied().collect(), haves, tags })
        };
        Ok(seeded)
    }
}
