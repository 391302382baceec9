//! Questions to the object store that need no process: is an object here, and what kind is it.

use gix::ObjectId;
use gix::objs::{Exists, FindHeader};

use crate::adapters::git::repo::Repo;
use crate::values::{Error, Kind, Result};

/// An open object store, alternates included.
pub struct Odb(pub gix::odb::Handle);

impl Odb {
    /// Opens the store of `repo`.
    ///
    /// # Errors
    /// [`Kind::Local`] where it cannot be read.
    pub fn open(repo: &Repo) -> Result<Self> {
        Self::at(&repo.objects, repo.hash)
    }

    /// Opens the store at an object directory.
    ///
    /// # Errors
    /// [`Kind::Local`] where it cannot be read.
    pub fn at(objects: &std::path::Path, hash: gix::hash::Kind) -> Result<Self> {
        let doing = format!("cannot open the object store at {}", objects.display());
        gix::odb::at(objects, hash).map(Odb).map_err(Error::doing(Kind::Local, doing))
    }

    /// Returns whether the object is here. Says nothing of what it reaches.
    pub fn has(&self, id: &ObjectId) -> bool {
        self.0.exists(id)
    }

    /// Returns what kind of object it is; `None` where it is not here.
    pub fn kind(&self, id: &ObjectId) -> Option<gix::objs::Kind> {
        self.0.try_header(id).ok().flatten().map(|header| header.kind)
    }

    /// Returns whether the object is here and a commit.
    pub fn is_commit(&self, id: &ObjectId) -> bool {
        self.kind(id) == Some(gix::objs::Kind::Commit)
    }

    /// Returns when a commit was committed, in seconds since 1970; `None` for what is not here or no commit.
    pub fn commit_time(&self, id: &ObjectId) -> Option<i64> {
        use gix::objs::FindExt;
        let mut buffer = Vec::new();
        let commit = self.0.find_commit(id, &mut buffer).ok()?;
        commit.committer().ok().map(|who| who.seconds())
    }

    /// Returns the parents of a commit; none for what is not here or no commit.
    pub fn parents(&self, id: &ObjectId) -> Vec<ObjectId> {
        use gix::objs::FindExt;
        let mut buffer = Vec::new();
        self.0.find_commit(id, &mut buffer).map_or_else(|_| Vec::new(), |commit| commit.parents().collect())
    }

    /// Returns the tags from `id` on to what they finally point to; none for anything else.
    pub fn tags_from(&self, id: &ObjectId) -> Vec<ObjectId> {
        use gix::objs::FindExt;
        let (mut id, mut tags, mut buffer) = (*id, Vec::new(), Vec::new());
        while tags.len() < 16
            && let Ok(tag) = self.0.find_tag(&id, &mut buffer)
        {
            tags.push(id);
            id = tag.target();
        }
        tags
    }

    /// Returns `id`, or what it finally points to where it is an annotated tag.
    pub fn peel(&self, id: &ObjectId) -> ObjectId {
        use gix::objs::Find;
        let (mut id, mut buffer) = (*id, Vec::new());
        for _ in 0..16 {
            match self.0.try_find(&id, &mut buffer) {
                Ok(Some(object)) if object.kind == gix::objs::Kind::Tag => {
                    let target = gix::objs::TagRefIter::from_bytes(object.data, id.kind()).target_id();
                    match target {
                        Ok(target) => id = target,
                        Err(_) => return id,
                    }
                }
                _ => return id,
            }
        }
        id
    }
}
