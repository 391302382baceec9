//! What mirrors gave of a history that is asked for to a depth, until canonical has said where it ends.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use gix::ObjectId;

use crate::adapters::git::odb::Odb;
use crate::adapters::git::repo::Repo;
use crate::adapters::seed::Part;
use crate::adapters::seed::keep::Keep;
use crate::adapters::seed::quarantine::Quarantine;
use crate::decide::scope::Filter;
use crate::values::{Error, Kind, Result};
use crate::wire::ShallowInfo;

/// All that is wanted, proved, if history ends where it is thought to.
pub struct Held {
    /// What canonical is told is here, each after its ancestors.
    pub haves: Vec<ObjectId>,
    /// How where history ends is thought to change.
    pub(super) changes: ShallowInfo,
    /// Where it has ended before.
    pub(super) before: Vec<ObjectId>,
    pub(super) tips: Vec<ObjectId>,
    pub(super) filter: Option<Filter>,
    /// The file that says where history ends.
    pub(super) file: PathBuf,
    pub(super) quarantine: Quarantine,
    pub(super) repo: Repo,
    pub(super) keep: Keep,
    pub(super) sync: bool,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("tips", &self.tips.len()).field("changes", &self.changes).finish_non_exhaustive()
    }
}

impl Held {
    /// Moves all in, where history ends as canonical has `said`, or what is here is whole if it does. Returns whether that
    /// is so: otherwise canonical has to send everything.
    pub fn settle(self, said: &ShallowInfo) -> bool {
        let settled = self.try_settle(said);
        tracing::debug!(?settled, ?said, "canonical has said where history ends");
        settled.unwrap_or(false)
    }

    fn try_settle(mut self, said: &ShallowInfo) -> Result<bool> {
        if *said != self.changes {
            write_ends(&self.file, &said.after(&self.before))?;
            let tips: Vec<ObjectId> = self.tips.iter().chain(&said.unshallow).copied().collect();
            let part = Part {
                tips: &tips,
                tags: &[],
                shallow: Some(&self.file),
                filter: self.filter.as_ref(),
                beyond_refs: false,
            };
            let judged = self.quarantine.judge(&self.repo, &part, &Default::default(), &Odb::open(&self.repo)?)?;
            if judged.stay.is_some() {
                return Ok(false); // more than that, tags among it
            }
        }
        if self.filter.is_none() {
            self.keep.guard(&self.repo, false);
        }
        self.quarantine.ends = said.shallow.iter().copied().collect();
        self.quarantine.accept(&self.repo, &self.keep, self.sync)?;
        Ok(true)
    }
}

/// Writes where history ends into a file in the form of `.git/shallow`, which is not there where it ends nowhere.
pub(super) fn write_ends(file: &Path, ends: &BTreeSet<ObjectId>) -> Result<()> {
    let text: String = ends.iter().map(|id| format!("{id}\n")).collect();
    let written = match std::fs::remove_file(file) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => Err(err),
        _ if ends.is_empty() => Ok(()),
        _ => std::fs::write(file, text),
    };
    written.map_err(Error::doing(Kind::Local, format!("cannot write {}", file.display())))
}
