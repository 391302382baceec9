//! Judging what is in a quarantine: whether it is complete, whether there is anything besides, and whether what a mirror
//! has on its own account is well-formed (docs/architecture.md, "Seeding, step by step", 4).
//!
//! It only looks: what is done with a quarantine is for others to say.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Mutex;

use gix::ObjectId;

use super::closed::{self, Alone};
use super::contents::Contents;
use super::quarantine::Quarantine;
use super::screen::Screened;
use crate::adapters::git::odb::Odb;
use crate::adapters::git::repo::Repo;
use crate::adapters::process;
use crate::values::{Error, Kind, Result};

impl Quarantine {
    /// Proves that all of `tips` are complete, and that the packs hold what those reach and is not in the repository, whose
    /// objects are `before`, and nothing else: in memory where one pack holds everything, by [`Repo::prove_each`]
    /// otherwise. Packs whose indexes are in `judged` have been proved. `screened` takes what is unusual in the others.
    ///
    /// What a pack holds besides would stay in the repository, where a tag may be made of it that git would not have
    /// made, and where it may be malformed, so that `git gc` fails. What was here is exempt: gix adds the bases of deltas, and a
    /// server need not know what is here.
    ///
    /// # Errors
    /// [`Kind::Proof`] where an object is missing or damaged, or nothing leads to it.
    pub fn prove(
        &self,
        repo: &Repo,
        tips: &[ObjectId],
        vouched: &[ObjectId],
        before: &Odb,
        judged: &[PathBuf],
        screened: Option<&mut Screened>,
    ) -> Result<()> {
        let beside = |id: ObjectId| Error::new(Kind::Proof, format!("it sent what nobody asked for, such as {id}"));
        let all = self.indexes()?;
        if let ([index], []) = (all.as_slice(), judged) {
            let unusual = screened.is_some().then(Mutex::default);
            match closed::alone(index, tips, repo.hash, unusual.as_ref()) {
                Ok(Alone::Whole) => {
                    let unusual = unusual.and_then(|unusual| unusual.into_inner().ok());
                    screened.zip(unusual).into_iter().for_each(|(screened, unusual)| *screened = unusual);
                    return Ok(());
                }
                // As the pack is closed, what the tips reach is in it.
                Ok(Alone::Beside(id)) if !before.has(&id) => return Err(beside(id)),
                Ok(alone) => tracing::debug!(?alone, "the pack is not proved in memory"),
                Err(err) => tracing::debug!(%err, "the pack cannot be proved in memory"),
            }
        }
        let (done, new): (Vec<_>, Vec<_>) = all.into_iter().partition(|index| judged.contains(index));
        let (done, mut contents) = (Contents::of(&done, repo.hash)?, Contents::of(&new, repo.hash)?);
        repo.prove_each(tips, vouched, Some(self.path()), |id| contents.mark(&id))?;
        if let Some(id) = contents.unmarked().find(|id| !before.has(id) && !done.holds(id)) {
            return Err(beside(id));
        }
        screened.map_or(Ok(()), |screened| self.screen(repo, &new, screened))
    }

    /// Has `screened` take what is unusual in packs that git has walked: it has seen how deep folders are nested.
    fn screen(&self, repo: &Repo, indexes: &[PathBuf], screened: &mut Screened) -> Result<()> {
        let damaged = || Error::doing(Kind::Proof, "what it sent cannot be read");
        let all = Odb::at(self.path(), repo.hash)?;
        for index in indexes {
            let unusual = Mutex::default();
            let open = closed::screen(index, repo.hash, &unusual).map_err(damaged())?;
            // git takes an object for what the first link to it says.
            if let Some((id, kind)) = open.iter().find(|(id, kind)| all.kind(id).is_some_and(|found| found != **kind)) {
                return Err(Error::new(Kind::Proof, format!("{id} is no {kind}, as it says")));
            }
            screened.doubts.append(&mut unusual.into_inner().unwrap_or_default().doubts);
        }
        Ok(())
    }

    /// Returns whether what `own` reach, and `canonical`, which is complete, does not, passes git's own checks, as far as it
    /// is among what was `screened`. What canonical reaches is canonical's business: plain git would take that as it is.
    ///
    /// # Errors
    /// [`Kind::Proof`] where git cannot walk it.
    pub fn is_sound(&self, repo: &Repo, screened: &Screened, own: &[ObjectId], canonical: &[ObjectId]) -> Result<bool> {
        if screened.deep {
            repo.prove(own, canonical, Some(self.path()))?;
        }
        if screened.doubts.is_empty() || self.passes_checks(repo, &screened.doubts)? {
            return Ok(true);
        }
        let mut theirs = HashSet::new();
        let doubts: HashSet<&ObjectId> = screened.doubts.iter().collect();
        repo.prove_each(own, canonical, Some(self.path()), |id| {
            if doubts.contains(&id) {
                theirs.insert(id);
            }
        })?;
        let theirs: Vec<ObjectId> = theirs.into_iter().collect();
        Ok(theirs.is_empty() || (theirs.len() < doubts.len() && self.passes_checks(repo, &theirs)?))
    }

    /// Returns whether git's own checks say that these objects are well-formed.
    fn passes_checks(&self, repo: &Repo, ids: &[ObjectId]) -> Result<bool> {
        let dir = self.path().join("check");
        std::fs::create_dir_all(&dir).map_err(Error::doing(Kind::Local, format!("cannot make {}", dir.display())))?;
        let mut pack = repo.git(["pack-objects", "-q", "--window=0"]);
        self.repo_sees(repo, pack.arg(dir.join("pack")));
        let input: String = ids.iter().map(|id| format!("{id}\n")).collect();
        let name = process::output(&mut pack, input.as_bytes())?;
        let file = format!("pack-{}.pack", String::from_utf8_lossy(&name).trim());
        let mut check = repo.git(["index-pack", "--strict", "-o"]);
        self.repo_sees(repo, check.arg(dir.join("checked.idx")).arg(dir.join(file)));
        let checked = process::output(&mut check, b"");
        let _ = std::fs::remove_dir_all(&dir);
        Ok(checked.inspect_err(|err| tracing::debug!(%err, "git's checks fail")).is_ok())
    }

    fn repo_sees(&self, repo: &Repo, command: &mut std::process::Command) {
        command.env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_NO_LAZY_FETCH", "1");
        repo.with_quarantine(command, self.path());
    }
}
