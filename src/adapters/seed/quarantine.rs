//! An object directory beside the real one, for objects that are not proved yet.
//!
//! It is `<objects>/mirror-quarantine-XXXXXX`. It holds a lock while it is in use; one whose lock is free was left by a
//! process that was killed, and is removed by the next. Its name does not begin with `tmp_`, as `git prune --expire=now`
//! beside the fetch would remove it while it is in use.
//!
//! What leaves it is a pack with a mark beside it ([`keep`]), never loose objects: no `git gc`, `git repack`
//! or `git prune` beside the fetch takes it, from the moment it is there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use gix::ObjectId;

use super::contents::Contents;
use super::keep::{self, Keep};
use crate::adapters::git::repo::Repo;
use crate::adapters::os::{self, OnSignal, Process};
use crate::values::{Error, Kind, Result};

const PREFIX: &str = "mirror-quarantine-";
/// The lock of a quarantine, and its name while it is not held yet.
const LOCK: &str = "lock";
const UNNAMED: &str = "lock.new";
/// A quarantine without a lock is as old as this only if it was left.
const MAKING: Duration = Duration::from_secs(60);

/// A quarantine. Dropping it removes it with all that is in it.
pub struct Quarantine {
    dir: tempfile::TempDir,
    /// Where the history ends that is in it, if git has yet to take note of that.
    pub ends: Vec<ObjectId>,
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
        let lock = hold(dir.path()).map_err(Error::doing(Kind::Local, doing()))?;
        std::fs::create_dir(dir.path().join("pack")).map_err(Error::doing(Kind::Local, doing()))?;
        std::fs::create_dir(dir.path().join("info")).map_err(Error::doing(Kind::Local, doing()))?;
        let alternates = format!("{}\n", repo.objects.display());
        std::fs::write(dir.path().join("info/alternates"), alternates).map_err(Error::doing(Kind::Local, doing()))?;
        let path = dir.path().to_owned();
        let on_signal = OnSignal::run(move || drop(std::fs::remove_dir_all(&path)));
        Ok(Quarantine { dir, ends: Vec::new(), _lock: lock, _on_signal: on_signal })
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the directory for packs.
    pub fn packs(&self) -> PathBuf {
        self.dir.path().join("pack")
    }

    /// Has the packs go in as packs whose objects may lead to some that are not there, as the server that was asked for
    /// `text`, lines of `<id> <ref>`, has promised them (partial-clone.txt in git's documentation; `create_promisor_file` in
    /// its `fetch-pack.c`). Nothing prunes them, so that they need not be kept.
    ///
    /// # Errors
    /// [`Kind::Local`] where that cannot be written.
    pub fn promise(&self, text: &str) -> Result<()> {
        for pack in self.files("pack")? {
            let file = pack.with_extension("promisor");
            let doing = format!("cannot write {}", file.display());
            std::fs::write(file, text).map_err(Error::doing(Kind::Local, doing))?;
        }
        Ok(())
    }

    /// Moves all packs into the repository, to be kept as `keep` says. Files get mode 0444 and are synced where `sync` says
    /// so. Returns the paths of their indexes there.
    ///
    /// # Errors
    /// [`Kind::Local`] where a file cannot be moved; no index is then in place without its pack.
    pub fn accept(&self, repo: &Repo, keep: &Keep, sync: bool) -> Result<Vec<PathBuf>> {
        let to = repo.objects.join("pack");
        let mut placed = Vec::new();
        std::fs::create_dir_all(&to).map_err(Error::doing(Kind::Local, format!("cannot make {}", to.display())))?;
        for pack in self.files("pack")? {
            let name = to.join(format!("{}.keep", own_name(&pack, keep, repo.hash)));
            let mark = pack.with_extension("keep");
            let doing = format!("cannot write {}", mark.display());
            if !pack.with_extension("promisor").exists() {
                keep::put(keep, &mark, &self.ends).map_err(Error::doing(Kind::Local, doing))?;
            }
            // The mark first, and the index last: a pack is there for git once its index is.
            for extension in ["keep", "promisor", "pack", "rev", "idx"] {
                let file = pack.with_extension(extension);
                if (matches!(extension, "pack" | "idx") || file.exists())
                    && let Err(err) = place(&file, &name.with_extension(extension), sync)
                {
                    keep::remove(&name);
                    return Err(err);
                }
            }
            placed.push(name.with_extension("idx"));
        }
        if sync && let Ok(dir) = File::open(&to) {
            let _ = dir.sync_all();
        }
        Ok(placed)
    }

    /// Moves what `tips` reach and `known` do not into the repository, as [`Quarantine::accept`] does; nothing else.
    ///
    /// # Errors
    /// As for [`Quarantine::accept`].
    pub fn accept_part(
        &self,
        repo: &Repo,
        keep: &Keep,
        sync: bool,
        tips: &[ObjectId],
        known: &[ObjectId],
    ) -> Result<Vec<PathBuf>> {
        let part = Quarantine::create(repo)?;
        repo.pack_unreached(tips, known, Some(self.path()), &part.packs().join("pack"))?;
        part.accept(repo, keep, sync)
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

/// Locks a quarantine that is being made. The lock gets its name once it is held: nobody takes it for one that was left.
fn hold(dir: &Path) -> std::io::Result<File> {
    let lock = File::create(dir.join(UNNAMED))?;
    lock.lock()?;
    std::fs::rename(dir.join(UNNAMED), dir.join(LOCK))?;
    Ok(lock)
}

/// Returns a name that no other pack has, not even one that holds the same: a `git repack` that has begun already would
/// delete it together with that one, and another fetch would end its being kept.
fn own_name(pack: &Path, keep: &Keep, hash: gix::hash::Kind) -> String {
    let mut hasher = gix::hash::hasher(hash);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    hasher.update(pack.as_os_str().as_encoded_bytes());
    hasher.update(format!("{} {} {}", keep.mark(), std::process::id(), now.as_nanos()).as_bytes());
    let name = hasher.try_finalize().map_or_else(|_| now.as_nanos().to_string(), |id| id.to_string());
    format!("pack-{name}")
}

fn place(file: &Path, target: &Path, sync: bool) -> Result<()> {
    let doing = format!("cannot move {} to {}", file.display(), target.display());
    (|| {
        let mut permissions = std::fs::metadata(file)?.permissions();
        os::make_world_readable(&mut permissions);
        std::fs::set_permissions(file, permissions)?;
        if sync {
            File::open(file)?.sync_all()?;
        }
        std::fs::rename(file, target)
    })()
    .map_err(Error::doing(Kind::Local, doing))
}

/// Has what `tips` reach and no ref outside `refs/mirror/` does kept, though it is here already, unpacked or not: a pack of
/// its own comes of it.
///
/// # Errors
/// [`Kind::Local`] where something is missing, or cannot be written.
pub fn keep_unreached(repo: &Repo, keep: &Keep, tips: &[ObjectId]) -> Result<()> {
    let quarantine = Quarantine::create(repo)?;
    repo.pack_unreached(tips, &[], None, &quarantine.packs().join("pack"))?;
    quarantine.accept(repo, keep, false).map(drop)
}

/// Has what `tips` reach and no ref outside `refs/mirror/` does, of what the packs with these `indexes` hold, kept in a pack
/// of its own; what else is in them goes.
///
/// # Errors
/// As for [`keep_unreached`]; then all stays.
pub fn drop_but(repo: &Repo, keep: &Keep, indexes: &[PathBuf], tips: &[ObjectId]) -> Result<()> {
    let mut contents = Contents::of(indexes, repo.hash)?;
    repo.prove_each(tips, &[], None, |id| contents.mark(&id))?;
    let stay: Vec<ObjectId> = contents.marked().collect();
    drop(contents);
    let quarantine = Quarantine::create(repo)?;
    if !stay.is_empty() {
        repo.pack_these(&stay, None, &quarantine.packs().join("pack"))?;
        quarantine.accept(repo, keep, false)?;
    }
    for index in indexes {
        // The index first: without one, git does not see a pack.
        for extension in ["idx", "rev", "pack"] {
            let _ = std::fs::remove_file(index.with_extension(extension));
        }
        keep::remove(&index.with_extension("keep"));
    }
    Ok(())
}

/// Drops the packs with a part of a history of whose end git has taken no note, as it failed or was killed, once nobody needs
/// them any more. What is needed otherwise stays, in a pack of its own: a `git gc` beside may have taken it that it is kept here.
///
/// # Errors
/// As for [`keep_unreached`]; then all stays.
pub fn drop_what_leads_nowhere(repo: &Repo) -> Result<()> {
    let marks = keep::leading_nowhere(&repo.objects);
    if marks.is_empty() {
        return Ok(());
    }
    let indexes: Vec<PathBuf> =
        marks.iter().map(|mark| mark.with_extension("idx")).filter(|idx| idx.exists()).collect();
    let mut contents = Contents::of(&indexes, repo.hash)?;
    repo.each_needed(|id| contents.mark(&id))?;
    let stay: Vec<ObjectId> = contents.marked().collect();
    drop(contents);
    if !stay.is_empty() {
        let quarantine = Quarantine::create(repo)?;
        repo.pack_these(&stay, None, &quarantine.packs().join("pack"))?;
        quarantine.accept(repo, &Keep::for_this_process(), false)?;
        // It is reached: nothing prunes it.
        Process::this().into_iter().for_each(|this| keep::release(&repo.objects, this));
    }
    for mark in marks {
        // The index first: without one, git does not see a pack.
        for extension in ["idx", "rev", "pack"] {
            let _ = std::fs::remove_file(mark.with_extension(extension));
        }
        keep::remove(&mark);
    }
    Ok(())
}

/// Has loose objects kept that were written at `since` or later.
///
/// # Errors
/// As for [`keep_unreached`].
pub fn keep_loose(repo: &Repo, keep: &Keep, since: SystemTime) -> Result<()> {
    let loose = repo.loose_since(since);
    if loose.is_empty() {
        return Ok(());
    }
    let quarantine = Quarantine::create(repo)?;
    repo.pack_these(&loose, None, &quarantine.packs().join("pack"))?;
    quarantine.accept(repo, keep, false).map(drop)
}

/// Removes what killed processes left.
pub fn sweep(objects: &Path) {
    let Ok(entries) = std::fs::read_dir(objects) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let lock = entry.path().join(LOCK);
        let stale = match os::open_file(&lock) {
            Ok(lock) => lock.try_lock().is_ok(),
            // Killed before it had a lock, or making it right now: only an old one is known to be stale.
            Err(_) => entry
                .metadata()
                .and_then(|m| m.modified())
                .is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > MAKING)),
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

    fn repo(dir: &Path) -> Repo {
        let repo = Repo::bare(dir, gix::hash::Kind::Sha1);
        std::fs::create_dir(&repo.objects).expect("a folder");
        repo
    }

    #[test]
    fn leaves_nothing_and_sweeps_what_is_stale() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = repo(dir.path());
        let live = Quarantine::create(&repo).expect("a quarantine");
        let dead = repo.objects.join(format!("{PREFIX}dead"));
        std::fs::create_dir(&dead).expect("a folder");
        std::fs::write(dead.join("lock"), "").expect("a file");
        sweep(&repo.objects);
        assert!(live.path().exists() && !dead.exists());
        drop(live);
        assert_eq!(std::fs::read_dir(&repo.objects).expect("a folder").count(), 0);
    }

    #[test]
    fn is_not_swept_while_it_is_made() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = repo(dir.path());
        let made = repo.objects.join(format!("{PREFIX}made"));
        let is_there = || {
            sweep(&repo.objects);
            made.exists()
        };
        std::fs::create_dir(&made).expect("a folder");
        assert!(is_there(), "no lock yet");
        File::create(made.join(UNNAMED)).expect("a file");
        assert!(is_there(), "not held yet");
        let lock = hold(&made).expect("a lock");
        assert!(is_there() && made.join(LOCK).exists(), "in use");
        drop(lock);
        assert!(!is_there(), "left");
    }

    #[test]
    fn what_is_moved_in_is_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = repo(dir.path());
        let keep = Keep::for_this_process();
        for _ in 0..2 {
            let quarantine = Quarantine::create(&repo).expect("a quarantine");
            for end in ["pack", "idx", "rev"] {
                std::fs::write(quarantine.packs().join(format!("pack-1.{end}")), end).expect("a file");
            }
            quarantine.accept(&repo, &keep, true).expect("moved in");
        }
        let packs = repo.objects.join("pack");
        let names = |end: &str| {
            let entries = std::fs::read_dir(&packs).expect("a folder").flatten().map(|e| e.path());
            entries.filter(|path| path.extension().is_some_and(|e| e == end)).collect::<Vec<_>>()
        };
        assert_eq!(["keep", "pack", "idx", "rev"].map(|end| names(end).len()), [2; 4], "the same content twice");
        for pack in names("keep") {
            assert_eq!(std::fs::read_to_string(&pack).expect("a mark"), keep.mark());
            assert_eq!(std::fs::read_to_string(pack.with_extension("idx")).expect("an index"), "idx");
        }
    }
}
