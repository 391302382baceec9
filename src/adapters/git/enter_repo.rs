//! Which repository a client means.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The largest file that is read for the folder that it names, in bytes (git's limit for a gitfile).
const MOST_BYTES: u64 = 1 << 20;

/// What git tries behind a path, in its order.
const ENDS: [&str; 4] = ["/.git", "", ".git/.git", ".git"];

/// A repository that may be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The git directory.
    pub dir: PathBuf,
    /// Its name below the folder that is served, however it was asked for.
    pub name: String,
}

/// Finds the repository that `path`, from a URL and decoded, names below `root`, which holds no symbolic link; `None`
/// where there is none that may be served. As `git daemon --base-path` does, `.git` is appended where that helps
/// (`enter_repo` in git's `path.c`).
///
/// Symbolic links are the operator's, and lead anywhere. A file that names a folder may be one that was checked out, so
/// what it names has to be below `root`. Reads files: not for an async worker.
pub fn find(root: &Path, path: &[u8], export_all: bool) -> Option<Repository> {
    let start = path.iter().position(|byte| *byte != b'/')?;
    let end = path.iter().rposition(|byte| *byte != b'/')? + 1;
    let name = OsStr::from_bytes(&path[start..end]);
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    let odd = name.as_bytes().iter().any(|byte| matches!(byte, b'\0' | b'\\'));
    if !plain || odd || name.as_bytes().starts_with(b"-") {
        return None;
    }
    let below = |dir: &Path| std::fs::canonicalize(dir).is_ok_and(|dir| dir.starts_with(root));
    let (dir, named_by_file) = entered(&root.join(name), &ENDS)?;
    if named_by_file && !below(&dir) {
        return None;
    }
    if let Some(common) = common_dir_file(&dir)
        && !below(&dir.join(common))
    {
        return None;
    }
    let exported = export_all || dir.join("git-daemon-export-ok").exists();
    exported.then(|| Repository { name: name_of(&dir, root).unwrap_or_else(|| name.to_string_lossy().into()), dir })
}

/// Returns the name of a git directory below `root`.
fn name_of(dir: &Path, root: &Path) -> Option<String> {
    let below = dir.strip_prefix(root).ok()?;
    let below: PathBuf = below.components().collect();
    let below = if below.ends_with(".git") { below.parent()? } else { &below };
    let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    plain.then(|| below.to_string_lossy().into_owned())
}

/// Returns the git directory that `git upload-pack <path>` would serve (`enter_repo` in git's `path.c`); `None` also for
/// what only git can tell, as `~user`.
pub fn at(path: &Path, strict: bool) -> Option<PathBuf> {
    entered(path, if strict { &[""] } else { &ENDS }).map(|(dir, _)| dir)
}

/// Returns the directory that all worktrees share (gitrepository-layout(5), `commondir`).
pub fn common_dir(git_dir: &Path) -> PathBuf {
    common_dir_file(git_dir).map_or_else(|| git_dir.to_owned(), |common| git_dir.join(common))
}

fn common_dir_file(git_dir: &Path) -> Option<PathBuf> {
    let text = small_file(&git_dir.join("commondir"))?;
    Some(OsStr::from_bytes(text.trim_ascii_end()).into())
}

/// Returns the git directory that `path` means, and whether a file names it.
fn entered(path: &Path, ends: &[&str]) -> Option<(PathBuf, bool)> {
    ends.iter().find_map(|end| {
        let mut text = path.as_os_str().to_owned();
        text.push(end);
        git_dir(text.into())
    })
}

/// Returns the git directory that `path` is, or that the file `path` points to (gitrepository-layout(5)).
fn git_dir(path: PathBuf) -> Option<(PathBuf, bool)> {
    if path.is_file() {
        let text = small_file(&path)?;
        let to = text.strip_prefix(b"gitdir: ")?.trim_ascii_end();
        return Some((path.parent()?.join(OsStr::from_bytes(to)), true)).filter(|(dir, _)| dir.is_dir());
    }
    let is_one = path.join("HEAD").symlink_metadata().is_ok()
        && (path.join("objects").is_dir() && path.join("refs").is_dir() || path.join("commondir").is_file());
    is_one.then_some((path, false))
}

/// Returns what a file holds that names a folder; `None` for one that is larger than git reads (`read_gitfile_gently` in
/// `setup.c`), or no regular file.
fn small_file(path: &Path) -> Option<Vec<u8>> {
    // Looked at before it is opened: opening a pipe waits for its other end.
    let found = std::fs::metadata(path).ok().filter(|found| found.is_file() && found.len() <= MOST_BYTES)?;
    let mut text = Vec::with_capacity(usize::try_from(found.len()).ok()?);
    std::fs::File::open(path).ok()?.take(MOST_BYTES + 1).read_to_end(&mut text).ok()?;
    (text.len() as u64 <= MOST_BYTES).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_only_what_is_below_and_exported() {
        let root = tempfile::tempdir().expect("a folder");
        for dir in ["a.git", "b/.git", "team/c"] {
            for part in ["objects", "refs"] {
                std::fs::create_dir_all(root.path().join(dir).join(part)).expect("mkdir");
            }
            std::fs::write(root.path().join(dir).join("HEAD"), "ref: refs/heads/main\n").expect("write");
        }
        std::fs::write(root.path().join("b/.git/git-daemon-export-ok"), "").expect("write");
        std::fs::write(root.path().join("d.git"), "gitdir: team/c\n").expect("write");
        let canonical = root.path().canonicalize().expect("a path");
        let at = |path: &str, all| find(&canonical, path.as_bytes(), all).map(|r| r.name);
        for good in ["/a.git", "/a", "a/", "/b", "/b/.git", "/team/c", "/d"] {
            assert!(at(good, true).is_some(), "{good}");
        }
        for bad in ["", "/", "/team", "/../x", "/a.git/../a.git", "/a\0", "/-a", "/./a", "/none"] {
            assert_eq!(at(bad, true), None, "{bad}");
        }
        assert_eq!((at("/b", false), at("/a", false)), (Some("b".into()), None));
    }

    #[test]
    fn follows_files_only_within_the_folder_and_reads_little_of_them() {
        let outer = tempfile::tempdir().expect("a folder");
        let outer = outer.path().canonicalize().expect("a path");
        let root = outer.join("srv");
        for dir in ["srv/a.git", "secret.git"] {
            for part in ["objects", "refs"] {
                std::fs::create_dir_all(outer.join(dir).join(part)).expect("mkdir");
            }
            std::fs::write(outer.join(dir).join("HEAD"), "ref: refs/heads/main\n").expect("write");
        }
        let write = |name: &str, text: &[u8]| std::fs::write(root.join(name), text).expect("write");
        write("in.git", b"gitdir: a.git\n");
        write("out.git", b"gitdir: ../secret.git\n");
        write("far.git", format!("gitdir: {}\n", outer.join("secret.git").display()).as_bytes());
        let mut large = b"gitdir: a.git".to_vec();
        large.resize(MOST_BYTES as usize + 1, b'\n');
        write("large.git", &large);
        std::fs::create_dir(root.join("tree.git")).expect("mkdir");
        write("tree.git/HEAD", b"ref: refs/heads/main\n");
        write("tree.git/commondir", b"../../secret.git\n");
        std::os::unix::fs::symlink("../secret.git", root.join("link.git")).expect("a link");
        std::fs::create_dir(root.join("b")).expect("mkdir");
        let odd = root.join(OsStr::from_bytes(b"b/\xff \xe9.git"));
        std::os::unix::fs::symlink("../a.git", odd).expect("a link");

        let found = |name: &[u8]| find(&root, name, true).is_some();
        let cases: [(&[u8], bool); 7] = [
            (b"in", true),
            (b"link", true),
            (b"b/\xff \xe9", true),
            (b"out", false),
            (b"far", false),
            (b"large", false),
            (b"tree", false),
        ];
        for (name, want) in cases {
            assert_eq!(found(name), want, "{}", name.escape_ascii());
        }
    }
}
