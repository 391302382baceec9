//! What a partial clone lacks and git fetches when it needs it: where a mirror does not have all of it, which of it it has.

use std::collections::{BTreeSet, HashSet};

use gix::ObjectId;

use super::Seeder;
use crate::adapters::git::odb::Odb;
use crate::adapters::net::watch::Watch;
use crate::adapters::seed::quarantine::Quarantine;
use crate::adapters::seed::{Links, Session};
use crate::values::{Error, Kind, Result};
use crate::wire::{Deepen, RefLine, Scope};

/// Most branches of a mirror that are looked into.
const MOST_BRANCHES: usize = 16;

impl Seeder<'_> {
    /// Returns those of `wants` that the latest commits of a mirror hold: a server that lacks one object sends none. It sends
    /// their trees for that, which go again.
    pub(super) fn found_in_trees(
        &self,
        session: &mut Session,
        watch: &Watch,
        wants: &[ObjectId],
    ) -> Result<Vec<ObjectId>> {
        let tracked = self.repo.tracked_branches(self.remote.name, MOST_BRANCHES)?;
        let names: BTreeSet<&str> = tracked.iter().map(String::as_str).chain(["HEAD"]).collect();
        let theirs = session.ls_refs(&names, false, |r: &RefLine| names.contains(r.name))?;
        let tips: BTreeSet<ObjectId> = theirs.refs.iter().map(|r| r.oid).collect();
        let tips: Vec<ObjectId> = tips.into_iter().collect();
        if tips.is_empty() {
            return Ok(Vec::new());
        }
        let trees = Quarantine::create(self.repo)?;
        let inside = Odb::at(trees.path(), self.repo.hash)?;
        let filter = Some("blob:none".into());
        let scope = Scope { deepen: vec![Deepen::To(1)], filter, ..Scope::default() };
        let file = trees.path().join("shallow");
        self.fetching(watch, (&trees, true), &mut Vec::new(), |indexing| {
            session.fetch_part((&tips, &[]), (&scope, false), &file, &inside, indexing).map(|(objects, _)| objects)
        })?;
        let mut links = Links::new(self.repo.hash);
        for index in trees.indexes()? {
            links.add(&index).map_err(Error::doing(Kind::Proof, "its trees cannot be read"))?;
        }
        let led_to: HashSet<&ObjectId> = links.open().map(|(id, _)| id).collect();
        Ok(wants.iter().filter(|id| led_to.contains(id) || links.holds(id)).copied().collect())
    }
}
