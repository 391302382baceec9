//! What happened with each mirror last time, and which mirror list is known: `<common dir>/mirror-fetch/state.toml`.
//!
//! Not configuration: it may be deleted at any time, and a damaged file counts as none. It is replaced by rename, under
//! a lock; who cannot get the lock in time leaves the file as it is. No URL is stored, only the name in `refs/mirror/`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::repo::Repo;
use crate::values::RefSpace;

/// How often the lock is tried, and the time between: whoever holds it needs a millisecond or two.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// What came of a mirror when it was last asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// When, in seconds since 1970.
    pub time: u64,
    /// `ok`, or why it was left.
    pub result: String,
    /// Bytes that it gave.
    pub bytes: u64,
}

/// What is known of the mirror list of a remote's canonical server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownList {
    /// When the server was last asked, in seconds since 1970.
    pub time: u64,
    /// The `id` that it advertised then.
    pub id: Option<String>,
    /// A hash of its URL and of what the user allows: a list is known for one server only.
    pub server: String,
    /// How many mirrors it has named so far.
    #[serde(default)]
    pub count: u32,
    /// Whether `preferMirror` was written here, and not by the user.
    #[serde(default)]
    pub preferred: bool,
}

impl KnownList {
    /// Returns the `id` of a list that is kept in the repository, as the object `oid`.
    pub fn from_ref(oid: &str) -> String {
        format!("ref:{oid}")
    }

    /// Returns whether the list is one that is kept in the repository.
    pub fn is_from_ref(&self) -> bool {
        self.id.as_deref().is_some_and(|id| id.starts_with("ref:"))
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct File {
    #[serde(default)]
    mirror: BTreeMap<String, Last>,
    #[serde(default)]
    list: BTreeMap<String, KnownList>,
}

fn path(repo: &Repo) -> PathBuf {
    repo.common_dir.join("mirror-fetch").join("state.toml")
}

fn load(repo: &Repo) -> File {
    std::fs::read_to_string(path(repo)).ok().and_then(|text| toml::from_str(&text).ok()).unwrap_or_default()
}

/// Returns what came of the mirror with that name space.
pub fn last(repo: &Repo, space: &RefSpace) -> Option<Last> {
    load(repo).mirror.remove(space.name())
}

/// Notes what came of a mirror.
pub fn note(repo: &Repo, space: &RefSpace, result: &str, bytes: u64) {
    let last = Last { time: now(), result: result.to_owned(), bytes };
    change(repo, |file| {
        file.mirror.insert(space.name().to_owned(), last);
    });
}

/// Returns what is known of the mirror list of a remote's server.
pub fn known_list(repo: &Repo, remote: &str) -> Option<KnownList> {
    load(repo).list.remove(remote)
}

/// Notes what is known of the mirror list of a remote's server; `None` forgets it.
pub fn note_list(repo: &Repo, remote: &str, known: Option<KnownList>) {
    change(repo, |file| match known {
        Some(known) => drop(file.list.insert(remote.to_owned(), known)),
        None => drop(file.list.remove(remote)),
    });
}

/// Returns the time in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Changes the file. A failure is only logged: it must not fail a fetch.
fn change(repo: &Repo, change: impl FnOnce(&mut File)) {
    if let Err(err) = try_change(repo, change) {
        tracing::debug!(%err, "cannot change the state file");
    }
}

fn try_change(repo: &Repo, change: impl FnOnce(&mut File)) -> std::io::Result<()> {
    let path = path(repo);
    let dir = path.parent().unwrap_or(&repo.common_dir);
    std::fs::create_dir_all(dir)?;
    let lock = std::fs::File::create(dir.join("lock"))?;
    let mut tries = 0;
    while let Err(err) = lock.try_lock() {
        tries += 1;
        if tries == LOCK_TRIES {
            return Err(err.into());
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    let mut file = load(repo);
    change(&mut file);
    let text = toml::to_string(&file).map_err(std::io::Error::other)?;
    let mut new = tempfile::Builder::new().prefix("state.").tempfile_in(dir)?;
    new.write_all(text.as_bytes())?;
    new.persist(&path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::GitUrl;

    #[test]
    fn keeps_the_last_result_and_survives_damage() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = Repo { common_dir: dir.path().into(), objects: dir.path().into(), hash: gix::hash::Kind::Sha1 };
        let space = RefSpace::of(&GitUrl::parse("https://h/a").expect("a URL"));
        assert_eq!(last(&repo, &space), None);
        note(&repo, &space, "silent", 1);
        note(&repo, &space, "ok", 2);
        let got = last(&repo, &space).expect("noted");
        assert_eq!((got.result.as_str(), got.bytes), ("ok", 2));
        std::fs::write(path(&repo), "damaged = [").expect("write");
        assert_eq!(last(&repo, &space), None);
        note(&repo, &space, "ok", 3);
        assert_eq!(last(&repo, &space).map(|l| l.bytes), Some(3));
    }
}
