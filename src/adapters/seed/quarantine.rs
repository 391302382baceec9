//! An object directory beside the real one, for objects that are not proved yet.
//!
//! It is `<objects>/tmp_objdir-mirror-XXXXXX`: git-prune(1) knows that prefix and removes an old one. It holds a lock
//! while it is in use; one whose lock is free was left by a process that was killed, and is removed by the next.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use gix::ObjectId;

use super::closed::Alone;
use super::contents::Contents;
use super::screen::Screened;
use crate::adapters::git::odb::Odb;
use crate::adapters::git::repo::Repo;
use crate::adapters::os::OnSignal;
use crate::adapters::process;
use crate::values::{Error, Kind, Result};

const PREFIX: &str = "tmp_objdir-mirror-";

/// A quarantine. Dropping it removes it with all that is in it.
pub struct Quarantine {
    dir: tempfile::TempDir,
    _lock: File,
    _on_signal: OnSignal,
}

impl Quarantine {
    /// Makes one beside the objects of `repo`, which can be seen from it.
    ///
    /// # Errors
    /// [`Kind::Local`] where that cannot be written to.
    pub fn create(repo: &Repo) -> Result<Self> {
        let doing = || format!("cannot make a quarantine in {}", repo.objects.display());
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&repo.objects)
            .map_err(Error::doing(Kind::Local, doing()))?;
        let lock = File::create(dir.path().join("lock")).map_err(Error::doing(Kind::Local, doing()))?;
        lock.lock().map_err(Error::doing(Kind::Local, doing()))?;
        std::fs::create_dir(dir.path().join("pack")).map_err(Error::doing(Kind::Local, doing()))?;
        std::fs::create_dir(dir.path().join("info")).map_err(Error::doing(Kind::Local, doing()))?;
        let alternates = format!("{}\n", repo.objects.display());
        std::fs::write(dir.path().join("info/alternates"), alternates).map_err(Error::doing(Kind::Local, doing()))?;
        let path = dir.path().to_owned();
        let on_signal = OnSignal::run(move || drop(std::fs::remove_dir_all(&path)));
        Ok(Quarantine { dir, _lock: lock, _on_signal: on_signal })
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the directory for packs.
    pub fn packs(&self) -> PathBuf {
        self.dir.path().join("pack")
    }

    /// Moves all packs into the repository, or unpacks one of fewer than `unpack_below` objects there, as git does with
    /// small fetches. Files get mode 0444 and are synced where `sync` says so.
    ///
    /// # Errors
    /// [`Kind::Local`] where a file cannot be moved; no index is then in place without its pack.
    pub fn accept(&self, repo: &Repo, objects: u64, unpack_below: u64, sync: bool) -> Result<()> {
        let to = repo.objects.join("pack");
        std::fs::create_dir_all(&to).map_err(Error::doing(Kind::Local, format!("cannot make {}", to.display())))?;
        for pack in self.files("pack")? {
            if objects < unpack_below {
                unpack(repo, &pack)?;
                continue;
            }
            // The index last: a pack is there for git once its index is.
            for file in [pack.clone(), pack.with_extension("rev"), pack.with_extension("idx")] {
                if file.exists() {
                    place(&file, &to, sync)?;
                }
            }
        }
        if sync && let Ok(dir) = File::open(&to) {
            let _ = dir.sync_all();
        }
        Ok(())
    }

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
            match super::closed::alone(index, tips, repo.hash, unusual.as_ref()) {
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
        repo.prove_each(tips, vouched, self.path(), |id| contents.mark(&id))?;
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
            let open = super::closed::screen(index, repo.hash, &unusual).map_err(damaged())?;
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
        repo.prove_each(own, canonical, self.path(), |id| {
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

    /// Removes the packs whose indexes are not in `judged`, and what is left of one that broke off.
    ///
    /// # Errors
    /// [`Kind::Local`] where one cannot be removed.
    pub fn drop_all_but(&self, judged: &[PathBuf]) -> Result<()> {
        let kept = |path: &Path| judged.iter().any(|index| index.with_extension("") == path.with_extension(""));
        let dir = self.packs();
        let doing = || format!("cannot clean {}", dir.display());
        for entry in std::fs::read_dir(&dir).map_err(Error::doing(Kind::Local, doing()))?.flatten() {
            if !kept(&entry.path()) {
                std::fs::remove_file(entry.path()).map_err(Error::doing(Kind::Local, doing()))?;
            }
        }
        Ok(())
    }

    /// Returns the paths of the indexes of its packs.
    ///
    /// # Errors
    /// [`Kind::Local`] where it cannot be read.
    pub fn indexes(&self) -> Result<Vec<PathBuf>> {
        self.files("idx")
    }

    fn files(&self, extension: &str) -> Result<Vec<PathBuf>> {
        let dir = self.packs();
        let entries =
            std::fs::read_dir(&dir).map_err(Error::doing(Kind::Local, format!("cannot read {}", dir.display())))?;
        let paths = entries.flatten().map(|entry| entry.path());
        Ok(paths.filter(|path| path.extension().is_some_and(|e| e == extension)).collect())
    }
}

fn place(file: &Path, to: &Path, sync: bool) -> Result<()> {
    let doing = format!("cannot move {} to {}", file.display(), to.display());
    let target = to.join(file.file_name().unwrap_or_default());
    (|| {
        let mut permissions = std::fs::metadata(file)?.permissions();
        crate::adapters::os::make_world_readable(&mut permissions);
        std::fs::set_permissions(file, permissions)?;
        if sync {
            File::open(file)?.sync_all()?;
        }
        std::fs::rename(file, &target)
    })()
    .map_err(Error::doing(Kind::Local, doing))
}

fn unpack(repo: &Repo, pack: &Path) -> Result<()> {
    let file = File::open(pack).map_err(Error::doing(Kind::Local, format!("cannot open {}", pack.display())))?;
    process::output_from(&mut repo.git(["unpack-objects", "-q"]), file).map(|_| ())
}

/// Removes what killed processes left.
pub fn sweep(repo: &Repo) {
    let Ok(entries) = std::fs::read_dir(&repo.objects) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let lock = entry.path().join("lock");
        let stale = match File::open(&lock) {
            Ok(lock) => lock.try_lock().is_ok(),
            // Killed before it had a lock, or making it right now: only an old one is known to be stale.
            Err(_) => entry
                .metadata()
                .and_then(|m| m.modified())
                .is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > std::time::Duration::from_secs(60))),
        };
        if stale {
            tracing::info!(dir = %entry.path().display(), "remove a quarantine that a killed process left");
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_nothing_and_sweeps_what_is_stale() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = Repo::bare(dir.path(), gix::hash::Kind::Sha1);
        std::fs::create_dir(&repo.objects).expect("a folder");
        let live = Quarantine::create(&repo).expect("a quarantine");
        let dead = repo.objects.join(format!("{PREFIX}dead"));
        std::fs::create_dir(&dead).expect("a folder");
        std::fs::write(dead.join("lock"), "").expect("a file");
        sweep(&repo);
        assert!(live.path().exists() && !dead.exists());
        drop(live);
        assert_eq!(std::fs::read_dir(&repo.objects).expect("a folder").count(), 0);
    }
}
