//! `pack-*.keep` beside each pack from a mirror, for as long as no ref may reach what is in it.
//!
//! git keeps its own new packs so until it has written its refs (`git index-pack --keep`, `fetch-pack.c`). The helper has
//! ended by then, so a process of its own, the guard, waits for the git that asked, and takes the marks away: see
//! [`Keep::guard`]. What a killed guard left, the next run finds by [`sweep`]. Only marks whose first word is ours are ever
//! touched.
//!
//! A mark may have more lines, `shallow <id>`: there is a part of a history in the pack, which is of use only if git has taken
//! note that history ends there. Where it has not, as it was killed, the pack goes before its mark
//! ([`super::quarantine::drop_what_leads_nowhere`]): `git fsck` would find commits without parents.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use gix::ObjectId;

use crate::adapters::git::repo::Repo;
use crate::adapters::os::{self, Process};
use crate::adapters::process;

/// The name under which a program of ours is the guard.
pub const GUARD: &str = "git-mirror-guard";
/// The guard also deletes what is superfluous below `refs/mirror/`.
pub const TIDY: &str = "tidy";

/// The first word of a mark.
const WORD: &str = "git-mirror-fetch";
/// A mark whose process cannot be looked at, as it is on another machine, counts for so long; no guard waits longer.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// A pack may be on its way for so long before its index is there.
const MOVING: Duration = Duration::from_secs(600);
/// Most bytes of a mark: 20,000 commits at which history ends.
const MOST: u64 = 1 << 20;

/// For whom packs are kept.
#[derive(Debug, Clone)]
pub struct Keep {
    holder: Option<Process>,
    guarded: Arc<AtomicBool>,
}

impl Keep {
    /// Keeps packs until the git on the other side of our stdin has ended: by then it has written its refs.
    pub fn for_the_git_that_asks() -> Self {
        Keep { holder: Process::at_the_other_end(), guarded: Arc::default() }
    }

    /// Keeps packs until this process has ended: it writes the refs itself.
    pub fn for_this_process() -> Self {
        Keep { holder: Process::this(), guarded: Arc::default() }
    }

    /// Returns what a mark of it says.
    pub fn mark(&self) -> String {
        mark_of(self.holder)
    }

    /// Has a guard take the marks away once it is time to, and then, with `tidy`, delete the refs below `refs/mirror/`
    /// that have become superfluous. Where it cannot be told when that time is, [`sweep`] has to do.
    ///
    /// It has no pipe, terminal or file of ours, is not in our session or folder, and ends within [`LONGEST`].
    pub fn guard(&self, repo: &Repo, tidy: bool) {
        let (Some(holder), Some(this)) = (self.holder, Process::this()) else { return };
        if self.guarded.swap(true, Relaxed) && !tidy {
            return;
        }
        let started = (|| {
            let mut command = process::this_program()?;
            os::name(&mut command, GUARD.as_ref());
            command.arg(&repo.objects);
            command.args([
                holder.id.to_string(),
                holder.began.to_string(),
                this.id.to_string(),
                this.began.to_string(),
            ]);
            command.args(tidy.then_some(TIDY)).env("GIT_DIR", repo.git_dir());
            process::start_alone(&mut command)
        })();
        if let Err(err) = started {
            tracing::debug!(%err, "no guard; the next run takes the marks away");
        }
    }
}

fn mark_of(holder: Option<Process>) -> String {
    match (holder, os::process_space()) {
        (Some(Process { id, began }), Some(space)) => format!("{WORD} {id} {began} {space}\n"),
        _ => format!("{WORD}\n"),
    }
}

/// Takes away the marks that are there for `holder`, which has ended; nobody works for it any more.
pub fn release(objects: &Path, holder: Process) {
    let mark = mark_of(Some(holder));
    for keep in marks(objects).filter(|keep| read(keep).is_some_and(|text| text.starts_with(&mark))) {
        remove(&keep);
    }
}

/// Takes away the marks that nobody needs any more.
pub fn sweep(objects: &Path) {
    for keep in over(objects) {
        tracing::info!(keep = %keep.display(), "remove a mark that a killed process left");
        remove(&keep);
    }
}

/// Returns the marks that nobody needs any more and beside which there is a part of a history of whose end git has taken no
/// note.
pub(super) fn leading_nowhere(objects: &Path) -> Vec<PathBuf> {
    over(objects).into_iter().filter(|keep| leads_nowhere(keep)).collect()
}

/// Returns the marks that nobody needs any more.
fn over(objects: &Path) -> Vec<PathBuf> {
    let here = os::process_space();
    let mut gone = Vec::new();
    for keep in marks(objects) {
        let Some(text) = read(&keep) else { continue };
        let mut words = text.split_whitespace();
        if words.next() != Some(WORD) {
            continue;
        }
        let is_older = |than: Duration| {
            let modified = std::fs::metadata(&keep).and_then(|found| found.modified());
            modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > than))
        };
        let id = words.next().and_then(|word| word.parse().ok());
        let began = words.next().and_then(|word| word.parse().ok());
        let over = match (id, began) {
            (Some(id), Some(began)) if words.next() == here.as_deref() => !Process { id, began }.lives(),
            _ => false,
        };
        let whole = keep.with_extension("idx").exists();
        if (over && (whole || is_older(MOVING))) || is_older(LONGEST) {
            gone.push(keep);
        }
    }
    gone
}

/// Takes a mark away, last, with a pack that never got its index.
pub(super) fn remove(keep: &Path) {
    let whole = keep.with_extension("idx").exists();
    let rest = ["pack", "rev"].iter().filter(|_| !whole).map(|extension| keep.with_extension(extension));
    for file in rest.chain([keep.to_owned()]) {
        match std::fs::remove_file(&file) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
                tracing::debug!(%err, file = %file.display(), "cannot remove it");
            }
            _ => {}
        }
    }
}

/// Returns whether there is a part of a history in the pack, and git has taken no note of where it ends.
fn leads_nowhere(keep: &Path) -> bool {
    let text = read(keep).unwrap_or_default();
    let mut ends = text.lines().filter_map(|line| line.strip_prefix("shallow ")).peekable();
    let repository = keep.ancestors().nth(3); // of <repository>/objects/pack/<mark>
    let (Some(_), Some(repository)) = (ends.peek(), repository) else { return false };
    let known = std::fs::read_to_string(repository.join("shallow")).unwrap_or_default();
    let known: HashSet<&str> = known.lines().collect();
    ends.any(|id| !known.contains(id))
}

fn marks(objects: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(objects.join("pack")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|extension| extension == "keep"))
}

fn read(keep: &Path) -> Option<String> {
    let mut text = String::new();
    let file: File = os::open_file(keep).ok()?;
    file.take(MOST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Writes the mark beside a pack that is still in a quarantine, of a history that ends at `ends`, where it is a part of one.
///
/// # Errors
/// Those of the file system.
pub(super) fn put(keep: &Keep, path: &Path, ends: &[ObjectId]) -> std::io::Result<()> {
    let ends: String = ends.iter().map(|id| format!("shallow {id}\n")).collect();
    std::fs::write(path, keep.mark() + &ends)
}

/// What a guard is to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Orders {
    /// The object directory.
    pub objects: PathBuf,
    /// For whom its packs are kept.
    pub git: Process,
    /// Who moves them in.
    pub helper: Process,
    /// Whether refs are to be tidied.
    pub tidy: bool,
}

/// Returns a guard's orders, from the arguments that [`Keep::guard`] gave it.
pub fn orders(args: &[OsString]) -> Option<Orders> {
    let number = |at: usize| args.get(at)?.to_str()?.parse::<u64>().ok();
    let process = |at: usize| Some(Process { id: u32::try_from(number(at)?).ok()?, began: number(at + 1)? });
    let tidy = args.get(5).is_some_and(|word| word == TIDY);
    Some(Orders { objects: args.first()?.into(), git: process(1)?, helper: process(3)?, tidy })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_what_nobody_needs() {
        let dir = tempfile::tempdir().expect("a folder");
        let repo = Repo::bare(dir.path(), gix::hash::Kind::Sha1);
        let packs = repo.objects.join("pack");
        std::fs::create_dir_all(&packs).expect("a folder");
        let Some(this) = Process::this() else { return };
        let put = |name: &str, text: &str, files: &[&str]| {
            std::fs::write(packs.join(format!("pack-{name}.keep")), text).expect("a file");
            files.iter().for_each(|end| std::fs::write(packs.join(format!("pack-{name}.{end}")), "").expect("a file"));
        };
        let all = &["pack", "idx", "rev"];
        let dead = mark_of(Some(Process { began: this.began + 1, ..this }));
        put("mine", &mark_of(Some(this)), all);
        put("dead", &dead, all);
        put("moving", &dead, &["pack"]);
        put("far", "git-mirror-fetch 1 1 elsewhere/1/1\n", all);
        put("users", "", all);
        put("gits", "fetch-pack 1 on somewhere\n", all);
        put("odd", "git-mirror-fetch x\n", all);
        let left = |name: &str| packs.join(format!("pack-{name}.keep")).exists();
        let old = |name: &str, age: Duration| {
            let file = File::options().write(true).open(packs.join(format!("pack-{name}.keep"))).expect("a file");
            file.set_modified(std::time::SystemTime::now() - age).expect("a time");
        };
        sweep(&repo.objects);
        let names = ["mine", "dead", "moving", "far", "users", "gits", "odd"];
        assert_eq!(names.map(left), [true, false, true, true, true, true, true]);
        assert!(packs.join("pack-dead.idx").exists());

        names.iter().filter(|name| left(name)).for_each(|name| old(name, MOVING * 2));
        sweep(&repo.objects);
        assert_eq!(names.map(left), [true, false, false, true, true, true, true]);
        assert!(!packs.join("pack-moving.pack").exists());

        names.iter().filter(|name| left(name)).for_each(|name| old(name, LONGEST * 2));
        sweep(&repo.objects);
        assert_eq!(names.map(left), [false, false, false, false, true, true, false]);

        put("mine", &mark_of(Some(this)), all);
        put("dead", &dead, all);
        release(&repo.objects, this);
        assert!(!left("mine") && left("dead") && packs.join("pack-mine.pack").exists());
    }

    #[test]
    fn what_leads_nowhere_is_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let packs = dir.path().join("objects/pack");
        std::fs::create_dir_all(&packs).expect("a folder");
        let end = ObjectId::from_hex(&[b'a'; 40]).expect("hex");
        for (known, ends, stays) in
            [("", vec![], true), ("", vec![end], false), (&*format!("{end}\n"), vec![end], true)]
        {
            std::fs::write(dir.path().join("shallow"), known).expect("a file");
            let mark = packs.join("pack-1.keep");
            ["idx", "pack", "rev"].iter().for_each(|end| std::fs::write(mark.with_extension(end), "").expect("a file"));
            put(&Keep::for_this_process(), &mark, &ends).expect("a mark");
            assert_eq!(leads_nowhere(&mark), !stays, "{known}");
            assert!(leading_nowhere(&dir.path().join("objects")).is_empty(), "this process lives");
        }
    }

    #[test]
    fn orders_are_read() {
        let args = |words: &str| words.split(' ').map(Into::into).collect::<Vec<OsString>>();
        let (git, helper) = (Process { id: 1, began: 2 }, Process { id: 3, began: 4 });
        let all = |tidy| Some(Orders { objects: "/o".into(), git, helper, tidy });
        assert_eq!(orders(&args("/o 1 2 3 4")), all(false));
        assert_eq!(orders(&args("/o 1 2 3 4 tidy")), all(true));
        assert_eq!(orders(&args("/o 1 2 3")), None);
    }
}
