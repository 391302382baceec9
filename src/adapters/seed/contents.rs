//! What the packs of a quarantine hold, by their indexes alone: never what the repository behind it holds.

use std::path::PathBuf;

use gix::ObjectId;
use gix::odb::pack::index;

use crate::values::{Error, Kind, Result};

/// The names of the objects in some packs, and which of them were marked.
pub struct Contents(Vec<(index::File, Vec<bool>)>);

impl Contents {
    /// Reads these indexes.
    ///
    /// # Errors
    /// [`Kind::Local`] where one cannot be read.
    pub fn of(indexes: &[PathBuf], hash: gix::hash::Kind) -> Result<Self> {
        let read = |path: &PathBuf| {
            index::File::at(path, hash).map(|index| (vec![false; index.num_objects() as usize], index))
        };
        let all: gix::Result<Vec<_>> =
            indexes.iter().map(|path| read(path).map(|(marks, index)| (index, marks))).collect();
        all.map(Contents).map_err(Error::doing(Kind::Local, "cannot read the index of a pack"))
    }

    /// Returns whether a pack holds the object.
    pub fn holds(&self, id: &ObjectId) -> bool {
        self.0.iter().any(|(index, _)| index.lookup(id).is_some())
    }

    /// Marks an object, in each pack that holds it.
    pub fn mark(&mut self, id: &ObjectId) {
        for (index, marks) in &mut self.0 {
            let at = index.lookup(id).and_then(|at| marks.get_mut(at as usize));
            at.into_iter().for_each(|mark| *mark = true);
        }
    }

    /// Returns the objects that were not marked.
    pub fn unmarked(&self) -> impl Iterator<Item = ObjectId> {
        self.0.iter().flat_map(|(index, marks)| {
            let objects = marks.iter().enumerate().filter(|(_, mark)| !**mark);
            objects.map(|(at, _)| index.oid_at_index(u32::try_from(at).unwrap_or(u32::MAX)).to_owned())
        })
    }
}
