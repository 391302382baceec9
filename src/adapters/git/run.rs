//! What the processes of one run of `git mirror-fetch` or `git mirror clone` tell it, and what it tells them.
//!
//! `GIT_MIRROR_RUN` names a file of that run, to which they append lines, with their process id before each:
//! `in <git directory>`, `asking <mirror>`, `idle`, `unreached <remote>`, `over <object> <ref>`. They hold a lock on it
//! for as long as they live.
//! `GIT_MIRROR_SKIP` lists mirrors to leave alone, by their names below `refs/mirror/`.
//! `GIT_MIRROR_PART` says which part of a run a `git mirror-fetch` is that another one has started.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::adapters::git::repo::{MirrorRef, Repo};
use crate::adapters::os;
use crate::values::RefSpace;

/// Names the file of a run.
pub const ENV_RUN: &str = "GIT_MIRROR_RUN";
/// Lists mirrors to leave alone, a line each.
pub const ENV_SKIP: &str = "GIT_MIRROR_SKIP";
/// Says which part of a run this process is.
pub const ENV_PART: &str = "GIT_MIRROR_PART";

/// A part of a run that is a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The whole, at the terminal, which it gives back in the end.
    Front,
    /// Filling `refs/mirror/`.
    Fill,
}

impl Part {
    /// Returns the part that this process is.
    pub fn of_this_process() -> Option<Self> {
        let word = std::env::var(ENV_PART).ok()?;
        [Part::Front, Part::Fill].into_iter().find(|part| part.word() == word)
    }

    /// Returns what [`ENV_PART`] holds.
    pub fn word(self) -> &'static str {
        match self {
            Part::Front => "front",
            Part::Fill => "fill",
        }
    }
}

/// Returns whether this process belongs to a run.
pub fn is_inside() -> bool {
    std::env::var_os(ENV_RUN).is_some()
}

/// Tells the run, if there is one, that this process lives, for as long as what is returned does.
pub fn join() -> Option<File> {
    let file = File::open(std::env::var_os(ENV_RUN)?).ok()?;
    file.lock_shared().ok()?;
    Some(file)
}

/// Waits until nobody who has joined the run lives any more; at most `limit`.
pub fn wait_all_gone(file: &Path, limit: Duration) {
    let Ok(file) = File::open(file) else { return };
    let until = Instant::now() + limit;
    while file.try_lock().is_err() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Appends a line to the run's file, where there is a run. Does not return once a signal has come: a mirror that is being
/// cut off for that reason is still being asked.
pub fn note(line: &str) {
    os::go_on_unless_ending();
    let Some(path) = std::env::var_os(ENV_RUN) else { return };
    let file = File::options().append(true).open(path);
    let line = format!("{} {line}\n", std::process::id());
    if let Err(err) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
        tracing::debug!(%err, line, "cannot note it for git mirror-fetch");
    }
}

/// Tells the run, where there is one, in which repository this process is at work.
pub fn note_place(repo: &Repo) {
    place_of(repo).iter().for_each(|place| note(place));
}

fn place_of(repo: &Repo) -> Option<String> {
    let place = repo.common_dir.to_str().filter(|place| !place.contains('\n'));
    place.map(|place| format!("in {place}"))
}

/// Leaves refs of `repo` to the run, where there is one: it deletes them once git has ended. Returns whether it will.
pub fn leave_to_it(repo: &Repo, refs: &[&MirrorRef]) -> bool {
    let (Some(path), Some(place)) = (std::env::var_os(ENV_RUN), place_of(repo)) else { return false };
    os::go_on_unless_ending();
    let process = std::process::id();
    let mut lines = format!("{process} {place}\n");
    refs.iter().for_each(|r| lines.push_str(&format!("{process} over {} {}\n", r.oid, r.name)));
    // No file, no run: it has ended, and what it started goes on without it.
    let file = File::options().append(true).open(path);
    file.and_then(|mut file| file.write_all(lines.as_bytes())).is_ok()
}

/// Returns whether the run wants a mirror left alone.
pub fn is_skipped(space: &RefSpace) -> bool {
    std::env::var(ENV_SKIP).is_ok_and(|list| list.lines().any(|name| name == space.name()))
}

/// Returns whether the run wants any mirror left alone.
pub fn skips_any() -> bool {
    std::env::var(ENV_SKIP).is_ok_and(|list| !list.is_empty())
}

/// What a run's file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The mirrors that were being asked when it ended.
    pub asking: Vec<String>,
    /// The remotes whose canonical server could not be reached.
    pub unreached: Vec<String>,
    /// The git directories that were at work in, the first one first.
    pub places: Vec<PathBuf>,
    /// Refs that are to be deleted once git has ended, each with its git directory.
    pub over: Vec<(PathBuf, MirrorRef)>,
}

impl Said {
    /// Reads the lines of a run's file.
    pub fn parse(text: &str) -> Self {
        let (mut unreached, mut places, mut over) = (Vec::new(), Vec::new(), Vec::new());
        let mut asking = BTreeMap::new();
        let mut place: BTreeMap<&str, PathBuf> = BTreeMap::new();
        for (process, said) in text.lines().filter_map(|line| line.split_once(' ')) {
            match said.split_once(' ') {
                Some(("asking", mirror)) => drop(asking.insert(process, mirror.to_owned())),
                Some(("unreached", remote)) => unreached.push(remote.to_owned()),
                Some(("in", path)) => {
                    place.insert(process, path.into());
                    places.push(path.into());
                }
                Some(("over", rest)) => {
                    let named = rest.split_once(' ').and_then(|(oid, name)| Some((oid.parse().ok()?, name.to_owned())));
                    if let (Some(place), Some((oid, name))) = (place.get(process), named) {
                        over.push((place.clone(), MirrorRef { name, oid, commit: None }));
                    }
                }
                _ => drop(asking.remove(process)),
            }
        }
        let mut asking: Vec<String> = asking.into_values().collect();
        asking.sort();
        asking.dedup();
        Said { asking, unreached, places, over }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_helpers_said() {
        let said = Said::parse(
            "1 asking a\n1 idle\n2 unreached origin\n2 asking b\n3 asking c\n4 asking c\n1 asking d\n1 idle\n",
        );
        assert_eq!((said.asking, said.unreached), (vec!["b".into(), "c".into()], vec!["origin".to_owned()]));
        assert_eq!(Said::parse("1 asking a\n1 idle\n"), Said::default());
    }

    #[test]
    fn reads_what_is_to_be_deleted() {
        let id = "1".repeat(40);
        let said = Said::parse(&format!(
            "1 in /a b/.git\n2 over {id} refs/mirror/h/x\n1 asking h\n1 over {id} refs/mirror/h/x\n1 over bad refs/y\n1 idle\n"
        ));
        let over: Vec<_> = said.over.iter().map(|(place, r)| (place.to_str(), r.name.as_str())).collect();
        assert_eq!(over, [(Some("/a b/.git"), "refs/mirror/h/x")]);
        assert_eq!((said.places, said.asking), (vec![PathBuf::from("/a b/.git")], vec![]));
    }
}
