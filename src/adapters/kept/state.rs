//! What happened with each mirror last time, and which mirror list is known: `<common dir>/mirror-fetch/state.toml`.
//!
//! Not configuration (see `shared_file`). No URL is stored: mirrors go by [`RefSpace::key`], remotes by their names, or by
//! a hash where they have none.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::adapters::git::repo::Repo;
use crate::adapters::kept::shared_file;
use crate::decide::facts::{Copy, Figure, OfCopy};
use crate::values::refspace::is_key;
use crate::values::{GitUrl, RefSpace, SafeText};

/// What came of asking a mirror. In the file, and in JSON, it is a text: `ok`, or the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "SafeText", into = "SafeText")]
pub enum Ending {
    /// It gave something.
    Gave,
    /// It was left, and why.
    Left(SafeText),
}

impl From<SafeText> for Ending {
    fn from(text: SafeText) -> Self {
        if &*text == "ok" { Ending::Gave } else { Ending::Left(text) }
    }
}

impl From<Ending> for SafeText {
    fn from(came: Ending) -> Self {
        match came {
            Ending::Gave => SafeText::new("ok"),
            Ending::Left(why) => why,
        }
    }
}

/// What came of a mirror when it was last asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// When, in seconds since 1970.
    pub time: u64,
    /// How it ended.
    pub result: Ending,
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

/// Returns what came of the mirrors, by [`RefSpace::key`].
pub fn last(repo: &Repo) -> BTreeMap<String, Last> {
    load(repo).mirror
}

/// Notes what came of a mirror.
pub fn note(repo: &Repo, space: &RefSpace, result: Ending, bytes: u64) {
    let last = Last { time: now(), result, bytes };
    change(repo, |file| {
        file.mirror.insert(space.key().to_owned(), last);
    });
}

/// Returns what is known of the copies of this repository that mirrors have, by [`RefSpace::key`].
pub fn copies(repo: &Repo) -> BTreeMap<String, Copy> {
    load(repo).copy
}

/// Returns how many bytes a fetch from a remote moves for each ref that has changed, where that is known.
pub fn usual(repo: &Repo, remote: &str) -> Option<f64> {
    load(repo).usual.get(&*named(remote)).map(|figure| figure.value)
}

/// Notes what a fetch has shown of mirrors' copies, and the bytes that it moved for each changed ref.
pub(super) fn note_fetch(repo: &Repo, remote: &str, copies: &[(&RefSpace, &OfCopy)], per_ref: Option<f64>) {
    if copies.is_empty() && per_ref.is_none() {
        return;
    }
    change(repo, |file| {
        for (space, seen) in copies {
            file.copy.entry(space.key().to_owned()).or_default().see(seen, now());
        }
        if let Some(bytes) = per_ref {
            let mut figure = file.usual.get(&*named(remote)).copied();
            Figure::sample(&mut figure, bytes, now());
            figure.map(|figure| file.usual.insert(named(remote).into_owned(), figure));
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
    shared_file::change(&path(repo), |file: &mut File| {
        change(file);
        // What was kept by host, or by URL, is of no use.
        file.mirror.retain(|key, _| is_key(key));
        file.copy.retain(|key, _| is_key(key));
        file.usual.retain(|name, _| !name.contains(':'));
    });
}

/// Returns what a remote goes by: what is fetched by URL may hold a password.
fn named(remote: &str) -> Cow<'_, str> {
    match GitUrl::parse(remote) {
        Ok(url) if remote.contains(':') => RefSpace::of("", &url).key().to_owned().into(),
        _ => remote.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(why: &str) -> Ending {
        Ending::Left(SafeText::new(why))
    }

    #[test]
    fn results_are_texts_in_files() {
        let file: File = shared_file::read(
            "[mirror.a]\ntime = 1\nresult = \"ok\"\nbytes = 2\n[mirror.b]\ntime = 1\nresult = \"silent\"\nbytes = 0\n",
        );
        let results: Vec<&Ending> = file.mirror.values().map(|last| &last.result).collect();
        assert_eq!(results, [&Ending::Gave, &left("silent")]);
        let text = shared_file::text(&file).expect("a text");
        assert!(text.contains("\"ok\"") && text.contains("\"silent\""), "{text}");
    }

    #[test]
    fn keeps_the_last_result_and_survives_damage() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = Repo::bare(dir.path(), gix::hash::Kind::Sha1);
        let space = RefSpace::of("origin", &GitUrl::parse("https://h/a").expect("a URL"));
        let last = |repo: &Repo| super::last(repo).remove(space.key());
        assert_eq!(last(&repo), None);
        note(&repo, &space, left("silent"), 1);
        note(&repo, &space, Ending::Gave, 2);
        let got = last(&repo).expect("noted");
        assert_eq!((got.result, got.bytes), (Ending::Gave, 2));
        std::fs::write(path(&repo), "damaged = [").expect("write");
        let last = |repo: &Repo| super::last(repo).remove(space.key());
        assert_eq!(last(&repo), None);
        note(&repo, &space, Ending::Gave, 3);
        assert_eq!(last(&repo).map(|l| l.bytes), Some(3));
    }

    #[test]
    fn mirrors_of_two_remotes_are_two_and_old_files_are_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = Repo::bare(dir.path(), gix::hash::Kind::Sha1);
        let space = |remote: &str, url: &str| RefSpace::of(remote, &GitUrl::parse(url).expect("a URL"));
        let old = "[mirror.h]\ntime = 1\nresult = \"ok\"\nbytes = 2\n[copy.h.backoff]\nfailures = 1\nuntil = 2\nwhy = \"x\"\n\
                   [usual.origin]\nvalue = 5.0\ntime = 1\n[usual.\"https://u:secret@h/a\"]\nvalue = 5.0\ntime = 1\n";
        std::fs::create_dir_all(path(&repo).parent().expect("a folder")).expect("make it");
        std::fs::write(path(&repo), old).expect("write");
        assert_eq!(usual(&repo, "origin"), Some(5.0));
        note(&repo, &space("one", "https://h/a"), left("not found"), 0);
        note(&repo, &space("two", "https://h/b"), Ending::Gave, 7);
        let all = last(&repo);
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!(all.get(space("two", "https://h/b").key()).map(|last| last.bytes), Some(7));
        note_fetch(&repo, "https://u:secret@h/a", &[], Some(10.0));
        assert_eq!(usual(&repo, "https://u:secret@h/a"), Some(10.0));
        let text = std::fs::read_to_string(path(&repo)).expect("read");
        assert!(!text.contains("secret") && !text.contains("[copy.h"), "{text}");
        assert!(text.contains("[usual.origin]"), "{text}");
    }
}
