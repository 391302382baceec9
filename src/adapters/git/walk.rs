//! Walks over a part of a history: what a depth and a filter leave of it.

use std::path::Path;

use gix::ObjectId;

use crate::adapters::git::blame::blame;
use crate::adapters::git::repo::{Repo, lines};
use crate::adapters::process;
use crate::values::Result;

/// Where a walk ends.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds<'a> {
    /// The file with the commits whose parents are elsewhere, in the form of `.git/shallow`, where it is not that one;
    /// there need not be one at this path.
    pub shallow: Option<&'a Path>,
    /// What is left out, for `--filter`.
    pub filter: Option<&'a str>,
    /// Whether objects may be missing that are not left out.
    pub holes: bool,
    /// Whether what refs outside `refs/mirror/` reach is left out.
    pub beyond_refs: bool,
}

/// What a walk comes upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// An object.
    Here(ObjectId),
    /// One that is not here.
    Missing(ObjectId),
}

impl Repo {
    /// Hands to `each` what refs, reflogs and the index lead to.
    ///
    /// # Errors
    /// As [`Repo::prove`].
    pub fn each_needed(&self, mut each: impl FnMut(ObjectId)) -> Result<()> {
        let mut command =
            self.git(["rev-list", "--objects", "--no-object-names", "--all", "--reflog", "--indexed-objects"]);
        command.env("GIT_NO_REPLACE_OBJECTS", "1");
        process::each_line(&mut command, b"", |line| ObjectId::from_hex(line).into_iter().for_each(&mut each))
            .map_err(blame)
    }

    /// Walks from `tips` on as far as `bounds` say. `quarantine` is an object directory that is looked at as well. Fetches
    /// nothing, in a partial clone either.
    ///
    /// # Errors
    /// As [`Repo::prove`]; where a file is missing without `bounds.holes`, as well.
    pub fn walk(
        &self,
        tips: &[ObjectId],
        bounds: Bounds,
        quarantine: &Path,
        mut each: impl FnMut(Found),
    ) -> Result<()> {
        let mut command = self.git(["rev-list", "--objects", "--no-object-names", "--stdin"]);
        command.env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_NO_LAZY_FETCH", "1");
        if let Some(shallow) = bounds.shallow {
            command.env("GIT_SHALLOW_FILE", shallow);
        }
        if let Some(filter) = bounds.filter {
            command.arg(format!("--filter={filter}"));
        }
        if bounds.holes {
            command.arg("--missing=print");
        }
        if bounds.beyond_refs {
            command.args(["--not", "--exclude=refs/mirror/*", "--all"]);
        }
        self.with_quarantine(&mut command, quarantine);
        process::each_line(&mut command, &lines(tips.iter()), |line| {
            let (is_here, hex) = line.strip_prefix(b"?").map_or((true, line), |hex| (false, hex));
            if let Ok(id) = ObjectId::from_hex(hex) {
                each(if is_here { Found::Here(id) } else { Found::Missing(id) });
            }
        })
        .map_err(blame)
    }
}
