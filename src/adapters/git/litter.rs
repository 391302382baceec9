//! What git leaves in the object store when a signal ends it: `git index-pack` does not remove its `tmp_pack_XXXXXX`.
//!
//! Only what has come since, and what no process has open: another git may be at work in the same repository.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::adapters::git::repo::Repo;
use crate::adapters::os;

/// The temporary files that were there before.
pub struct Litter {
    packs: PathBuf,
    before: HashSet<PathBuf>,
}

impl Litter {
    /// Looks at what is there.
    pub fn before(repo: &Repo) -> Self {
        let packs = repo.objects.join("pack");
        Litter { before: temporary(&packs), packs }
    }

    /// Removes what has come since, where the system can tell that nobody uses it.
    pub fn sweep(&self) {
        let new: Vec<PathBuf> = temporary(&self.packs).difference(&self.before).cloned().collect();
        if new.is_empty() {
            return;
        }
        let Some(open) = os::open_files() else { return };
        for file in new.iter().filter(|file| os::is_mine(file)) {
            if file.canonicalize().is_ok_and(|file| !open.contains(&file)) {
                tracing::debug!(file = %file.display(), "remove what a killed git left");
                let _ = std::fs::remove_file(file);
            }
        }
    }
}

fn temporary(packs: &std::path::Path) -> HashSet<PathBuf> {
    let entries = std::fs::read_dir(packs).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("tmp_")).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_what_is_older_or_in_use() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = Repo::bare(dir.path(), gix::hash::Kind::Sha1);
        let packs = repo.objects.join("pack");
        std::fs::create_dir_all(&packs).expect("a folder");
        let file = |name: &str| std::fs::File::create(packs.join(name)).expect("a file");
        file("tmp_pack_old");
        let litter = Litter::before(&repo);
        file("tmp_pack_new");
        let _open = file("tmp_pack_open");
        file("pack-1.pack");
        litter.sweep();
        let left = |name: &str| packs.join(name).exists();
        assert!(left("tmp_pack_old") && left("tmp_pack_open") && left("pack-1.pack"));
        assert_eq!(left("tmp_pack_new"), os::open_files().is_none());
    }
}
