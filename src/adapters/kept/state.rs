//! What happened with each mirror last time, and which mirror list is known: `<common dir>/mirror-fetch/state.toml`.
//!
//! Not configuration (see `shared_file`). No URL is stored, only the name in `refs/mirror/`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::adapters::git::repo::Repo;
use crate::adapters::kept::shared_file::{self, Change};
use crate::decide::facts::{Copy, Figure};
use crate::values::{RefSpace, SafeText};

/// What came of a mirror when it was last asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// When, in seconds since 1970.
    pub time: u64,
    /// `ok`, or why it was left.
    pub result: SafeText,
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
    /// Where it sees this machine: `<latitude>,<longitude>`.
    #[serde(default)]
    pub here: Option<String>,
    /// Where it says that its mirrors are, by host.
    #[serde(default)]
    pub places: BTreeMap<String, String>,
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
    #[serde(default)]
    copy: BTreeMap<String, Copy>,
    /// Bytes for each changed ref, by remote.
    #[serde(default)]
    usual: BTreeMap<String, Figure>,
}

/// Returns a state file's text as it would be written again; nothing is left of one that is damaged.
///
/// # Errors
/// Where TOML cannot say what was read.
pub fn rewritten(text: &str) -> std::io::Result<String> {
    shared_file::text(&shared_file::read::<File>(text))
}

fn path(repo: &Repo) -> PathBuf {
    repo.common_dir.join("mirror-fetch").join("state.toml")
}

fn load(repo: &Repo) -> File {
    shared_file::load(&path(repo))
}

/// Returns what came of the mirrors, by their name spaces.
pub fn last(repo: &Repo) -> BTreeMap<String, Last> {
    load(repo).mirror
}

/// Notes what came of a mirror.
pub fn note(repo: &Repo, space: &RefSpace, result: &str, bytes: u64) {
    let last = Last { time: now(), result: SafeText::new(result), bytes };
    change(repo, |file| {
        file.mirror.insert(space.name().to_owned(), last);
    });
}

/// Returns what is known of the copies of this repository that mirrors have, by their name spaces.
pub fn copies(repo: &Repo) -> BTreeMap<String, Copy> {
    load(repo).copy
}

/// Returns how many bytes a fetch from a remote moves for each ref that has changed, where that is known.
pub fn usual(repo: &Repo, remote: &str) -> Option<f64> {
    load(repo).usual.get(remote).map(|figure| figure.value)
}

/// Notes what a fetch has shown of mirrors' copies, and the bytes that it moved for each changed ref.
pub fn note_fetch(repo: &Repo, remote: &str, copies: Vec<(RefSpace, Change<Copy>)>, per_ref: Option<f64>) {
    if copies.is_empty() && per_ref.is_none() {
        return;
    }
    change(repo, |file| {
        for (space, change) in copies {
            change(file.copy.entry(space.name().to_owned()).or_default());
        }
        if let Some(bytes) = per_ref {
            let mut figure = file.usual.get(remote).copied();
            Figure::sample(&mut figure, bytes, now());
            figure.map(|figure| file.usual.insert(remote.to_owned(), figure));
        }
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

fn change(repo: &Repo, change: impl FnOnce(&mut File)) {
    shared_file::change(&path(repo), change);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::GitUrl;

    #[test]
    fn keeps_the_last_result_and_survives_damage() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = Repo::bare(dir.path(), gix::hash::Kind::Sha1);
        let space = RefSpace::of(&GitUrl::parse("https://h/a").expect("a URL"));
        let last = |repo: &Repo| super::last(repo).remove(space.name());
        assert_eq!(last(&repo), None);
        note(&repo, &space, "silent", 1);
        note(&repo, &space, "ok", 2);
        let got = last(&repo).expect("noted");
        assert_eq!((&*got.result, got.bytes), ("ok", 2));
        std::fs::write(path(&repo), "damaged = [").expect("write");
        let last = |repo: &Repo| super::last(repo).remove(space.name());
        assert_eq!(last(&repo), None);
        note(&repo, &space, "ok", 3);
        assert_eq!(last(&repo).map(|l| l.bytes), Some(3));
    }
}
