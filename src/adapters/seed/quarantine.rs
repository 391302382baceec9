//! An object directory beside the real one, for objects that are not proved yet.
//!
//! It is `<objects>/tmp_objdir-mirror-XXXXXX`: git-prune(1) knows that prefix and removes an old one. It holds a lock
//! while it is in use; one whose lock is free was left by a process that was killed, and is removed by the next.

use std::fs::File;
use std::path::{Path, PathBuf};

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

    /// Proves that all of `tips` are complete: in memory where one pack holds everything, by
    /// [`Repo::prove`] otherwise.
    ///
    /// # Errors
    /// [`Kind::Proof`] where an object is missing or damaged.
    pub fn prove(&self, repo: &Repo, tips: &[gix::ObjectId], vouched: &[gix::ObjectId]) -> Result<()> {
        if let [index] = self.files("idx")?.as_slice() {
            match super::closed::is_closed(index, tips, repo.hash) {
                Ok(true) => return Ok(()),
                Ok(false) => tracing::debug!("the pack leads to objects outside it"),
                Err(err) => tracing::debug!(%err, "the pack cannot be proved in memory"),
            }
        }
        repo.prove(tips, vouched, Some(self.path()))
    }

    /// Returns the paths of the indexes of its packs.
    ///
    /// # Errors
    /// [`Kind::Local`] where it cannot be read.
    pub fn indexes(&self) -> Result<Vec<PathBuf>> {
        self.files("idx")
    }

    /// Removes all packs but those with these indexes.
    ///
    /// # Errors
    /// [`Kind::Local`] where one cannot be removed.
    pub fn keep_only(&self, indexes: &[PathBuf]) -> Result<()> {
        for file in self.files("idx")?.into_iter().chain(self.files("pack")?).chain(self.files("rev")?) {
            if !indexes.contains(&file.with_extension("idx")) {
                let doing = Error::doing(Kind::Local, format!("cannot remove {}", file.display()));
                std::fs::remove_file(&file).map_err(doing)?;
            }
        }
        Ok(())
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
    process::output_from(&mut repo.git(["unpack-objects", "-q"]), file)
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
