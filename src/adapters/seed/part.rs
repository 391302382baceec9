//! Judging what is in a quarantine that holds a part of a history (docs/architecture.md, "Parts of a history").
//!
//! It is to hold what the tips reach up to where history ends, but for what a filter leaves out, and nothing else.

use std::collections::HashSet;
use std::path::Path;

use gix::ObjectId;

use super::closed::Links;
use super::contents::Contents;
use super::quarantine::Quarantine;
use crate::adapters::git::odb::Odb;
use crate::adapters::git::repo::Repo;
use crate::adapters::git::walk::{Bounds, Found};
use crate::decide::scope::Filter;
use crate::values::{Error, Kind, Result};

/// Which part of a history is to be here.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// From where on: commits, or other objects.
    pub tips: &'a [ObjectId],
    /// Annotated tags, each with what it finally names: where that is reached, the tag belongs to it.
    pub tags: &'a [(ObjectId, ObjectId)],
    /// The file with the commits whose parents are elsewhere, where it is not the repository's own.
    pub shallow: Option<&'a Path>,
    /// What was left out.
    pub filter: Option<&'a Filter>,
    /// Whether what refs outside `refs/mirror/` reach need not be looked at.
    pub beyond_refs: bool,
}

/// What a quarantine holds.
#[derive(Debug, Default)]
pub struct Judged {
    /// What is to stay, where there is more than that.
    pub stay: Option<Vec<ObjectId>>,
    /// Those of what was looked out for that are reached.
    pub reached: HashSet<ObjectId>,
}

impl Quarantine {
    /// Proves that all of `part` is here, in this quarantine or in the repository, whose objects are `before`. Tells which of
    /// `interest` the walk comes upon.
    ///
    /// # Errors
    /// [`Kind::Proof`] where something is missing or damaged.
    pub fn judge(&self, repo: &Repo, part: &Part, interest: &HashSet<ObjectId>, before: &Odb) -> Result<Judged> {
        let indexes = self.indexes()?;
        let inside = Odb::at(self.path(), repo.hash)?;
        let whole = part.shallow.is_none_or(|shallow| !shallow.exists()) && !part.beyond_refs;
        if whole && part.filter.is_some_and(Filter::is_without_files) {
            let mut links = Links::new(repo.hash);
            let followed = indexes.iter().try_for_each(|index| links.add(index));
            let tags = part.tags.iter().map(|(tag, _)| tag).filter(|tag| links.holds(tag));
            let tips: Vec<ObjectId> = part.tips.iter().chain(tags).copied().collect();
            if followed.is_ok() && links.are_whole_but_for_files(&tips) {
                let reached = interest.iter().filter(|id| links.holds(id)).copied().collect();
                return Ok(Judged { stay: None, reached });
            }
            tracing::debug!(?followed, "what is left of a filter is not proved in memory");
        }
        let mut contents = Contents::of(&indexes, repo.hash)?;
        let mut reached = HashSet::new();
        let mut missing = None;
        let bounds = Bounds { shallow: part.shallow, beyond_refs: part.beyond_refs, ..Bounds::default() };
        part.tips.iter().for_each(|tip| contents.mark(tip));
        if let Some(tip) = part.tips.iter().find(|tip| !inside.has(tip)) {
            missing = Some(*tip);
        }
        let files_alone = part.tips.iter().all(|tip| inside.kind(tip) == Some(gix::objs::Kind::Blob));
        if !files_alone && missing.is_none() {
            let most = part.filter.and_then(Filter::most);
            let by_file = part.filter.is_some_and(Filter::is_by_file);
            let bounds = Bounds { filter: most.as_deref(), holes: part.filter.is_some(), ..bounds };
            repo.walk(part.tips, bounds, self.path(), |found| match found {
                Found::Here(id) => {
                    contents.mark(&id);
                    if interest.contains(&id) {
                        reached.insert(id);
                    }
                }
                Found::Missing(id) if !by_file => missing = Some(id),
                Found::Missing(_) => {}
            })?;
            if by_file && missing.is_none() {
                let least = part.filter.and_then(Filter::least);
                let bounds = Bounds { filter: least.as_deref(), holes: true, ..bounds };
                repo.walk(part.tips, bounds, self.path(), |found| {
                    if let Found::Missing(id) = found {
                        missing = Some(id);
                    }
                })?;
            }
        }
        if let Some(id) = missing {
            return Err(Error::new(Kind::Proof, format!("it left out {id}, which it was asked for")));
        }
        for (tag, target) in part.tags.iter().filter(|(_, target)| reached.contains(target)) {
            let chain = inside.tags_from(tag);
            // Whoever has it whole has it; a part of it is of no use.
            if chain.last().is_some_and(|last| inside.peel(last) == *target) {
                chain.iter().for_each(|id| contents.mark(id));
            }
        }
        let beside = contents.unmarked().any(|id| !before.has(&id));
        let stay = beside.then(|| contents.marked().filter(|id| !before.has(id)).collect());
        Ok(Judged { stay, reached })
    }

    /// Returns another quarantine with these objects of this one, in one pack.
    ///
    /// # Errors
    /// [`Kind::Local`] where git fails.
    pub fn with_only(&self, repo: &Repo, ids: &[ObjectId]) -> Result<Quarantine> {
        let other = Quarantine::create(repo)?;
        repo.pack_these(ids, Some(self.path()), &other.packs().join("pack"))?;
        Ok(other)
    }
}
