//! The local repository, through git's own plumbing: proofs, `refs/mirror/*`, and what is reachable.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use gix::ObjectId;
use gix::bstr::ByteSlice;

use crate::adapters::git::blame::blame;
use crate::adapters::git::config::Config;
use crate::adapters::process::{self, output};
use crate::values::{Result, refspace};

/// Tells what a git of ours starts that it is within a run of ours.
pub const ENV_WITHIN: &str = "GIT_MIRROR_WITHIN";
/// How many ancestors of a tip are offered one by one to a server that may not know it.
const OLDER: usize = 256;
/// Most bytes of `FETCH_HEAD` that are read.
const MOST_FETCHED: u64 = 16 << 20;

/// A repository, and how git is told which one is meant: no command depends on the folder that this process is in, and
/// only those of a repository that was discovered see what its environment says of that one.
#[derive(Debug, Clone)]
pub struct Repo {
    /// The git directory: of a linked worktree, its own.
    git_dir: PathBuf,
    /// What `git rev-parse --git-common-dir` names: shared by all worktrees.
    pub common_dir: PathBuf,
    /// The object directory.
    pub objects: PathBuf,
    /// The hash of its object names.
    pub hash: gix::hash::Kind,
    /// Whether the process's environment (`-c`, `GIT_OBJECT_DIRECTORY`, ...) is meant for it.
    ambient: bool,
}

impl Repo {
    /// Finds the repository that `GIT_DIR` or the current directory is in; `None` where there is none.
    pub fn discover() -> Option<Self> {
        Self::look(process::git(None::<&str>), true)
    }

    /// Returns the repository with this git directory, whatever the environment says of another one; `None` where it is
    /// none.
    pub fn at(git_dir: &Path) -> Option<Self> {
        Self::look(addressed(git_dir, false), false)
    }

    /// Returns a repository that needs no look: a bare one, or one that is being made.
    pub fn bare(git_dir: &Path, hash: gix::hash::Kind) -> Self {
        Repo {
            git_dir: git_dir.into(),
            common_dir: git_dir.into(),
            objects: git_dir.join("objects"),
            hash,
            ambient: false,
        }
    }

    fn look(mut git: Command, ambient: bool) -> Option<Self> {
        git.args(["rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir", "--git-path", "objects"]);
        let text = output(git.arg("--show-object-format"), b"").ok()?;
        let text = String::from_utf8(text).ok()?;
        let mut lines = text.lines();
        Some(Repo {
            git_dir: lines.next()?.into(),
            common_dir: lines.next()?.into(),
            objects: lines.next()?.into(),
            hash: match lines.next()? {
                "sha256" => gix::hash::Kind::Sha256,
                _ => gix::hash::Kind::Sha1,
            },
            ambient,
        })
    }

    /// Returns the git directory.
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Returns `git` with `args`, for this repository, not yet started.
    pub fn git<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = addressed(&self.git_dir, self.ambient);
        command.args(args);
        command
    }

    /// As [`Repo::git`], for a command that may take `seconds` of CPU time, and is then ended by the system (`ulimit` in sh(1)).
    pub fn git_within<S: AsRef<std::ffi::OsStr>>(&self, seconds: u64, args: impl IntoIterator<Item = S>) -> Command {
        let limited = process::shell(format!("ulimit -t {seconds} && exec git"), args);
        address(limited, &self.git_dir, self.ambient)
    }

    /// Returns the configuration that is in force in it.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::values::Kind::Config) where git cannot read it.
    pub fn config(&self) -> Result<Config> {
        Config::read(&mut self.git(["config", "--list", "-z"]))
    }

    /// Runs `git config <args>` in it, as [`super::config::write`] does.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::values::Kind::Config) with git's own message.
    pub fn write_config(&self, args: &[&str]) -> Result<()> {
        super::config::write_by(|| self.git(["config"]), args)
    }

    /// Returns whether this is a partial clone: there git fetches what is missing, and a hole proves nothing.
    pub fn is_partial(config: &Config) -> bool {
        config.get("extensions.partialclone").is_some()
            || config
                .subsections("remote", "promisor")
                .any(|(_, v)| crate::adapters::git::config::bool_of(v).unwrap_or(true))
    }

    /// Returns whether a ref exists outside `refs/mirror/`.
    ///
    /// # Errors
    /// [`Kind::Local`](crate::values::Kind::Local) where git fails.
    pub fn has_refs(&self) -> Result<bool> {
        Ok(!self.tips()?.is_empty()) // no object is looked at: it may be one that a partial clone lacks
    }

    /// Returns what the latest `count` refs outside `refs/mirror/` name, newest first: what to offer to a server where
    /// git offered nothing.
    ///
    /// # Errors
    /// [`Kind::Local`](crate::values::Kind::Local) where git fails.
    pub fn recent_tips(&self, count: usize) -> Result<Vec<ObjectId>> {
        let out =
            output(&mut self.git(["for-each-ref", "--sort=-creatordate", "--format=%(objectname) %(refname)"]), b"")?;
        Ok(real_refs(&String::from_utf8_lossy(&out)).take(count).collect())
    }

    /// Proves that everything that `tips` reach is present, but for what `vouched` reach: commits of which git says that
    /// it has them, complete. Where there are none, all refs outside `refs/mirror/` vouch. `quarantine` is an object
    /// directory that is looked at as well.
    ///
    /// This is what git itself checks after a fetch (`check_connected` in its `connected.c`).
    ///
    /// # Errors
    /// [`Kind::Proof`](crate::values::Kind::Proof) where an object is missing or damaged, and others as [`blame`] tells them apart.
    pub fn prove(&self, tips: &[ObjectId], vouched: &[ObjectId], quarantine: Option<&Path>) -> Result<()> {
        let (mut command, input) = self.proof(tips, vouched, quarantine);
        output(command.arg("--quiet"), &input).map(|_| ()).map_err(blame)
    }

    /// As [`Repo::prove`], and hands to `reached` what `tips` reach beyond what is vouched for.
    ///
    /// # Errors
    /// As [`Repo::prove`].
    pub fn prove_each(
        &self,
        tips: &[ObjectId],
        vouched: &[ObjectId],
        quarantine: Option<&Path>,
        mut reached: impl FnMut(ObjectId),
    ) -> Result<()> {
        let (mut command, input) = self.proof(tips, vouched, quarantine);
        let hex = self.hash.len_in_hex();
        process::each_line(&mut command, &input, |line| {
            // The name of a file may follow.
            line.get(..hex).and_then(|id| ObjectId::from_hex(id).ok()).into_iter().for_each(&mut reached);
        })
        .map_err(blame)
    }

    fn proof(&self, tips: &[ObjectId], vouched: &[ObjectId], quarantine: Option<&Path>) -> (Command, Vec<u8>) {
        let mut command = self.git(["rev-list", "--objects", "--stdin"]);
        command.env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_NO_LAZY_FETCH", "1");
        if vouched.is_empty() {
            command.args(["--not", "--exclude=refs/mirror/*", "--all"]);
            // Seen from a quarantine this repository is an alternate itself: its refs would be read a second time.
            if quarantine.is_none() || self.objects.join("info/alternates").exists() {
                command.arg("--alternate-refs");
            }
        }
        if let Some(quarantine) = quarantine {
            self.with_quarantine(&mut command, quarantine);
        }
        let mut input = lines(tips.iter());
        input.extend(vouched.iter().flat_map(|id| format!("^{id}\n").into_bytes()));
        (command, input)
    }

    /// Packs what `tips` reach and neither `known` nor a ref outside `refs/mirror/` does into `<base>-<hash>.pack`, with its
    /// index. There is no such pack where that is nothing. `quarantine` is an object directory that is looked at as well.
    ///
    /// # Errors
    /// [`Kind::Local`](crate::values::Kind::Local) where an object is missing.
    pub fn pack_unreached(
        &self,
        tips: &[ObjectId],
        known: &[ObjectId],
        quarantine: Option<&Path>,
        base: &Path,
    ) -> Result<()> {
        let mut input = lines(tips.iter());
        let known = known.iter().copied().chain(self.tips()?);
        input.extend(known.flat_map(|id| format!("^{id}\n").into_bytes()));
        self.pack(&["--revs"], &input, quarantine, base)
    }

    /// Packs the objects `ids`, as [`Repo::pack_unreached`] does.
    ///
    /// # Errors
    /// [`Kind::Local`](crate::values::Kind::Local) where one is missing.
    pub fn pack_these(&self, ids: &[ObjectId], quarantine: Option<&Path>, base: &Path) -> Result<()> {
        self.pack(&[], &lines(ids.iter()), quarantine, base)
    }

    fn pack(&self, how: &[&str], input: &[u8], quarantine: Option<&Path>, base: &Path) -> Result<()> {
        // Deltas that are there are used again; none is looked for.
        let args = ["pack-objects", "-q", "--non-empty", "--delta-base-offset", "--window=0"];
        let mut command = self.git(args);
        command.args(how).arg(base).env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_NO_LAZY_FETCH", "1");
        if let Some(quarantine) = quarantine {
            self.with_quarantine(&mut command, quarantine);
        }
        output(&mut command, input).map(drop)
    }

    /// Returns loose objects that were written at `since` or later.
    pub fn loose_since(&self, since: std::time::SystemTime) -> Vec<ObjectId> {
        let mut found = Vec::new();
        let folders = std::fs::read_dir(&self.objects).into_iter().flatten().flatten();
        for folder in folders.filter(|folder| folder.file_name().len() == 2) {
            for file in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                let mut hex = folder.file_name().to_string_lossy().into_owned();
                hex.push_str(&file.file_name().to_string_lossy());
                let new = || file.metadata().and_then(|m| m.modified()).is_ok_and(|modified| modified >= since);
                found.extend(ObjectId::from_hex(hex.as_bytes()).ok().filter(|_| new()));
            }
        }
        found
    }

    /// Has `command` read and write `quarantine`, with this repository's objects behind it.
    pub fn with_quarantine(&self, command: &mut Command, quarantine: &Path) {
        let mut behind = vec![self.objects.clone()];
        if let Some(more) = std::env::var_os("GIT_ALTERNATE_OBJECT_DIRECTORIES") {
            behind.extend(std::env::split_paths(&more));
        }
        // git reads quotes in this list (environment variable in git(1)); a path with a colon needs them.
        let quoted = behind.iter().map(|path| {
            let text = path.to_string_lossy();
            if text.contains([':', '"', '\n']) {
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
            } else {
                text.into_owned()
            }
        });
        command
            .env("GIT_OBJECT_DIRECTORY", quarantine)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", quoted.collect::<Vec<_>>().join(":"));
    }

    /// Returns those of `commits` that neither `from` nor a ref outside `refs/mirror/` reaches, each after its ancestors.
    ///
    /// # Errors
    /// [`Kind::Local`](crate::values::Kind::Local) where git fails.
    pub fn unreached(
        &self,
        commits: &[ObjectId],
        from: &[ObjectId],
        quarantine: Option<&Path>,
    ) -> Result<Vec<ObjectId>> {
        let mut command = self.git(["rev-list", "--topo-order", "--reverse", "--stdin"]);
        command.args(["--not", "--exclude=refs/mirror/*", "--all"]);
        if let Some(quarantine) = quarantine {
            self.with_quarantine(&mut command, quarantine);
        }
        let mut input = lines(commits.iter());
        input.extend(from.iter().flat_map(|id| format!("^{id}\n").into_bytes()));
        let out = output(&mut command, &input)?;
        let commits: HashSet<&ObjectId> = commits.iter().collect();
        Ok(oids(&out).filter(|id| commits.contains(id)).collect())
    }

    /// Returns those of the tags, trees and files `ids`, which are new here, that `from` does not reach. Walks all that `from`
    /// adds to the refs outside `refs/mirror/`.
    ///
    /// # Errors
    /// [`Kind::Proof`](crate::values::Kind::Proof) where git fails.
    pub fn unnamed(&self, ids: &[ObjectId], from: &[ObjectId], quarantine: Option<&Path>) -> Result<Vec<ObjectId>> {
        let mut left: HashSet<ObjectId> = ids.iter().copied().collect();
        if !left.is_empty() && !from.is_empty() {
            self.prove_each(from, &[], quarantine, |id| {
                left.remove(&id);
            })?;
        }
        Ok(ids.iter().filter(|id| left.contains(*id)).copied().collect())
    }

    /// Returns ancestors of `tips` that `known` do not reach, the latest first: the first `OLDER` of them, then each that
    /// is twice as far: commits that a server which does not know the tips may know. git's own negotiation gives up
    /// after as many (`MAX_IN_VAIN` in its `fetch-pack.c`).
    pub fn older(&self, tips: &[ObjectId], known: &[ObjectId]) -> Vec<ObjectId> {
        if tips.is_empty() {
            return Vec::new();
        }
        let mut input = lines(tips.iter());
        input.extend(known.iter().flat_map(|id| format!("^{id}\n").into_bytes()));
        let out = output(&mut self.git(["rev-list", "--max-count=32769", "--stdin"]), &input).unwrap_or_default();
        let all: Vec<ObjectId> = oids(&out).collect();
        let far = (0..).map(|power| OLDER << power).map_while(|at| all.get(at));
        all.iter().take(OLDER).chain(far).copied().collect()
    }

    /// Returns what refs outside `refs/mirror/` name, in the order of their names.
    ///
    /// # Errors
    /// [`Kind::Local`](crate::values::Kind::Local) where git fails.
    pub fn tips(&self) -> Result<Vec<ObjectId>> {
        let out = output(&mut self.git(["for-each-ref", "--format=%(objectname) %(refname)"]), b"")?;
        Ok(real_refs(&String::from_utf8_lossy(&out)).collect())
    }

    /// Returns the full names that at most `most` branches have at the remote `name`, by `refs/remotes/<name>/*`, those with the
    /// latest commits first.
    ///
    /// # Errors
    /// [`Kind::Local`](crate::values::Kind::Local) where git fails.
    pub fn tracked_branches(&self, name: &str, most: usize) -> Result<Vec<String>> {
        let count = format!("--count={most}");
        let args = ["for-each-ref", "--sort=-committerdate", &count, "--format=%(refname:lstrip=3)"];
        let out = output(self.git(args).arg(format!("refs/remotes/{name}/")), b"")?;
        Ok(String::from_utf8_lossy(&out).lines().map(|name| format!("refs/heads/{name}")).collect())
    }

    /// Creates or moves refs, all or none, without reflogs.
    ///
    /// # Errors
    /// [`Kind::Local`](crate::values::Kind::Local) where git refuses.
    pub fn update_refs<'a>(&self, refs: impl IntoIterator<Item = (&'a str, &'a ObjectId)>) -> Result<()> {
        let input: String = refs.into_iter().map(|(name, oid)| format!("update {name} {oid}\n")).collect();
        let args = ["-c", "core.logAllRefUpdates=false", "update-ref", "--stdin"];
        output(&mut self.git(args), input.as_bytes()).map(|_| ())
    }

    /// Returns `(name, object, peeled to a commit where it is one)` of all refs below `refs/mirror/`.
    ///
    /// # Errors
    /// [`Kind::Local`](crate::values::Kind::Local) where git fails.
    pub fn mirror_refs(&self) -> Result<Vec<MirrorRef>> {
        let format = "--format=%(refname) %(objectname) %(objecttype) %(*objectname) %(*objecttype)";
        let out = output(&mut self.git(["for-each-ref", format, refspace::PREFIX]), b"")?;
        Ok(String::from_utf8_lossy(&out)
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ');
                let (name, oid, kind) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
                let peeled = words.next().filter(|w| !w.is_empty()).and_then(|w| w.parse().ok());
                let commit = match (kind, peeled, words.next()) {
                    ("commit", ..) => Some(oid),
                    ("tag", Some(peeled), Some("commit")) => Some(peeled),
                    _ => None,
                };
                Some(MirrorRef { name: name.to_owned(), oid, commit })
            })
            .collect())
    }

    /// Returns whether there may be a ref below `refs/mirror/`: where git keeps refs in files, without asking git.
    pub fn has_mirror_refs(&self) -> bool {
        if self.common_dir.join("reftable").exists() {
            return self.mirror_refs().map_or(true, |refs| !refs.is_empty());
        }
        if self.common_dir.join("refs/mirror").exists() {
            return true;
        }
        let name = format!(" {}", refspace::PREFIX);
        let packed = std::fs::read(self.common_dir.join("packed-refs")).unwrap_or_default();
        packed.split(|byte| *byte == b'\n').any(|line| line.get(40..).is_some_and(|l| l.contains_str(&name)))
    }

    /// Deletes those of `refs` that are [`Repo::superfluous`].
    ///
    /// # Errors
    /// [`Kind::Local`](crate::values::Kind::Local) where git fails; then nothing is deleted.
    pub fn tidy(&self, refs: &[MirrorRef], from: &[ObjectId]) -> Result<()> {
        self.delete(&self.superfluous(refs, from)?)
    }

    /// Returns those of `refs`, which [`Repo::mirror_refs`] gave, that `from` or a ref elsewhere reaches.
    ///
    /// This is the clean-up walk of docs/architecture.md ("Seeding, step by step", 10): the mirror's refs interesting, the
    /// real ones uninteresting.
    ///
    /// # Errors
    /// [`Kind::Local`](crate::values::Kind::Local) where git fails.
    pub fn superfluous<'r>(&self, refs: &'r [MirrorRef], from: &[ObjectId]) -> Result<Vec<&'r MirrorRef>> {
        // Most are named by canonical itself; only the others are worth a walk.
        let named: HashSet<&ObjectId> = from.iter().collect();
        let commits: Vec<ObjectId> = refs.iter().filter_map(|r| r.commit).filter(|id| !named.contains(id)).collect();
        let unreached: HashSet<_> = match commits.as_slice() {
            [] => Default::default(),
            commits => self.unreached(commits, from, None)?.into_iter().collect(),
        };
        let stays = |r: &&MirrorRef| r.commit.is_some_and(|commit| unreached.contains(&commit));
        Ok(refs.iter().filter(|r| !stays(r)).collect())
    }

    /// Deletes refs, all or none, that are still as they were read.
    ///
    /// # Errors
    /// [`Kind::Local`](crate::values::Kind::Local) where git fails; then nothing is deleted.
    pub fn delete(&self, refs: &[&MirrorRef]) -> Result<()> {
        if refs.is_empty() {
            return Ok(());
        }
        let input: String = refs.iter().map(|r| format!("delete {} {}\n", r.name, r.oid)).collect();
        output(&mut self.git(["update-ref", "--stdin"]), input.as_bytes())?;
        self.remove_empty_dirs();
        Ok(())
    }

    /// Returns what the last fetch in this worktree named, as `FETCH_HEAD` has it.
    pub fn fetched_last(&self) -> Vec<ObjectId> {
        let mut text = Vec::new();
        let file = crate::adapters::os::open_file(&self.git_dir.join("FETCH_HEAD"));
        let _ = file.and_then(|file| file.take(MOST_FETCHED).read_to_end(&mut text));
        let first = |line: &[u8]| ObjectId::from_hex(line.split(|byte| *byte == b'\t').next()?).ok();
        text.split(|byte| *byte == b'\n').filter_map(first).collect()
    }

    /// Returns the short name of the current branch, born or not; `None` where HEAD is detached.
    pub fn current_branch(&self) -> Option<String> {
        let out = output(&mut self.git(["symbolic-ref", "-q", "--short", "HEAD"]), b"").ok()?;
        Some(String::from_utf8_lossy(&out).trim_end().to_owned())
    }

    /// git leaves empty directories behind deleted refs; they are noise to whoever looks at `refs/mirror`.
    fn remove_empty_dirs(&self) {
        fn sweep(dir: &Path) {
            let Ok(entries) = std::fs::read_dir(dir) else { return };
            for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
                sweep(&entry.path());
            }
            let _ = std::fs::remove_dir(dir); // refused where something is in it
        }
        sweep(&self.common_dir.join("refs/mirror"));
    }
}

/// Returns `git` for the repository with this git directory. What the environment says of a repository is kept where it is
/// `ambient`.
fn addressed(git_dir: &Path, ambient: bool) -> Command {
    address(process::git(None::<&str>), git_dir, ambient)
}

fn address(mut command: Command, git_dir: &Path, ambient: bool) -> Command {
    if !ambient {
        process::without_local_env(&mut command);
    }
    // Nothing is fetched in the midst of a fetch. What a git before 2.45 begins all the same, the helper refuses.
    command.env("GIT_DIR", git_dir).env("GIT_NO_LAZY_FETCH", "1").env(ENV_WITHIN, "1");
    command
}

/// A ref below `refs/mirror/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorRef {
    /// The full name.
    pub name: String,
    /// What it names.
    pub oid: ObjectId,
    /// The commit that it finally names, where it does.
    pub commit: Option<ObjectId>,
}

/// Reads lines of `<id> <refname>`; returns the ids of those that are not below `refs/mirror/`.
fn real_refs(text: &str) -> impl Iterator<Item = ObjectId> {
    let real = text.lines().filter_map(|line| line.split_once(' ')).filter(|(_, n)| !n.starts_with(refspace::PREFIX));
    real.filter_map(|(hex, _)| hex.parse().ok())
}

pub(super) fn lines<'a>(ids: impl Iterator<Item = &'a ObjectId>) -> Vec<u8> {
    ids.flat_map(|id| format!("{id}\n").into_bytes()).collect()
}

fn oids(text: &[u8]) -> impl Iterator<Item = ObjectId> {
    text.split(|byte| *byte == b'\n').filter_map(|hex| ObjectId::from_hex(hex).ok())
}
