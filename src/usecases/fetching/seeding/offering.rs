//! What mirrors and canonical are told is here, so that nobody sends it again.
//!
//! Only what is complete may be offered: what git itself offers, what refs name, and what mirrors gave and was proved.

use std::collections::HashSet;

use gix::ObjectId;

use crate::adapters::git::odb::Odb;
use crate::adapters::git::repo::Repo;
use crate::values::Result;

/// Most commits that are offered beyond git's own `have` lines and, to canonical, one for each of its `want` lines.
const MORE_HAVES: usize = 256;
/// Most refs whose dates are looked at: of more, those that come first.
const MOST_DATED: usize = 4096;

/// Commits that are here with all that they reach.
pub(super) struct Offers {
    /// git's own `have` lines.
    gits: Vec<ObjectId>,
    /// What other refs name, the latest first.
    refs: Vec<ObjectId>,
}

impl Offers {
    /// Returns what can be offered beside `gits`, git's own `have` lines.
    pub(super) fn new(repo: &Repo, gits: &[ObjectId]) -> Result<Self> {
        let mut refs = Vec::new();
        // However few these are: of what canonical names git says nothing but its latest commits, and it says no more than 16
        // at first (`mark_complete_and_common_ref`, `INITIAL_FLUSH` in its `fetch-pack.c`). A mirror need not know those.
        if !gits.is_empty() {
            let mut known: HashSet<ObjectId> = gits.iter().copied().collect();
            let tips: Vec<ObjectId> =
                repo.tips()?.into_iter().filter(|id| known.insert(*id)).take(MOST_DATED).collect();
            refs = latest_first(&Odb::open(repo)?, &tips);
            refs.truncate(MORE_HAVES);
        }
        Ok(Offers { gits: gits.to_vec(), refs })
    }

    /// Returns what to offer to a mirror when `proved` is here as well.
    pub(super) fn extended(&self, repo: &Repo, proved: &[ObjectId]) -> Result<Vec<ObjectId>> {
        let mut all = [self.gits.as_slice(), &self.refs].concat();
        if !proved.is_empty() {
            let mut proved = latest_first(&Odb::open(repo)?, proved);
            proved.truncate(MORE_HAVES);
            all.splice(0..0, proved);
        }
        let mut seen = HashSet::new();
        all.retain(|id| seen.insert(*id));
        Ok(all)
    }

    /// Returns commits for canonical's `have` lines: ancestors of what it did not name, as it may not know the tip of a
    /// mirror that has diverged; the proved tips, the latest first, at most one for each of git's `want` lines and
    /// [`MORE_HAVES`]; and what else is here. Nothing where nothing is proved: then git's own request is as it should be.
    pub(super) fn to_canonical(
        &self,
        repo: &Repo,
        odb: &Odb,
        proved: &[ObjectId],
        named: &HashSet<&ObjectId>,
        wants: usize,
    ) -> Vec<ObjectId> {
        if proved.is_empty() {
            return Vec::new();
        }
        let (known, unnamed): (Vec<ObjectId>, Vec<ObjectId>) = proved.iter().partition(|id| named.contains(id));
        let (known, unnamed) = (latest_first(odb, &known), latest_first(odb, &unnamed));
        let mut tips = latest_first(odb, proved);
        tips.truncate(wants + MORE_HAVES);
        let mut seen = HashSet::new();
        let all = repo.older(&unnamed, &known).into_iter().chain(tips).chain(self.refs.iter().copied());
        all.filter(|id| seen.insert(*id)).collect()
    }
}

/// Returns the commits that `ids` finally name, the latest first, each once. Nothing but commits: git looks an
/// acknowledged id up as a commit, and dies of a tag.
fn latest_first(odb: &Odb, ids: &[ObjectId]) -> Vec<ObjectId> {
    let dated = |id: &ObjectId| {
        let commit = odb.peel(id);
        odb.commit_time(&commit).map(|time| (time, commit))
    };
    let mut dated: Vec<(i64, ObjectId)> = ids.iter().filter_map(dated).collect();
    dated.sort_by(|a, b| b.cmp(a));
    dated.dedup();
    dated.into_iter().map(|(_, id)| id).collect()
}
