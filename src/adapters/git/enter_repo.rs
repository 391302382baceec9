//! Which repository a client means.

use std::path::{Component, Path, PathBuf};

/// What git tries behind a path, in its order.
const ENDS: [&str; 4] = ["/.git", "", ".git/.git", ".git"];

/// A repository that may be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// The git directory.
    pub dir: PathBuf,
    /// Its name below the folder that is served: what `{repo}` stands for.
    pub name: String,
}

/// Finds the repository that `path`, from a URL and decoded, names below `root`; `None` where there is none that may be
/// served. As `git daemon --base-path` does, `.git` is appended where that helps (`enter_repo` in git's `path.c`).
pub fn find(root: &Path, path: &str, export_all: bool) -> Option<Repository> {
    let name = path.trim_matches('/');
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || name.contains(['\0', '\\']) || name.starts_with('-') {
        return None;
    }
    let dir = at(&root.join(name), false)?;
    (export_all || dir.join("git-daemon-export-ok").exists()).then(|| Repository { dir, name: name.to_owned() })
}

/// Returns the git directory that `git upload-pack <path>` would serve (`enter_repo` in git's `path.c`); `None` also for
/// what only git can tell, as `~user`.
pub fn at(path: &Path, strict: bool) -> Option<PathBuf> {
    let ends: &[&str] = if strict { &[""] } else { &ENDS };
    let text = path.to_str()?;
    ends.iter().find_map(|end| git_dir(format!("{text}{end}").into()))
}

/// Returns the git directory that `path` is, or that the file `path` points to (gitrepository-layout(5)).
fn git_dir(path: PathBuf) -> Option<PathBuf> {
    if path.is_file() {
        let text = std::fs::read_to_string(&path).ok()?;
        let to = text.strip_prefix("gitdir: ")?.trim_end();
        return Some(path.parent()?.join(to)).filter(|dir| dir.is_dir());
    }
    let is_one = path.join("HEAD").symlink_metadata().is_ok()
        && (path.join("objects").is_dir() && path.join("refs").is_dir() || path.join("commondir").is_file());
    is_one.then_some(path)
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
        let at = |path: &str, all| find(root.path(), path, all).map(|r| r.name);
        for good in ["/a.git", "/a", "a/", "/b", "/b/.git", "/team/c", "/d"] {
            assert!(at(good, true).is_some(), "{good}");
        }
        for bad in ["", "/", "/team", "/../x", "/a.git/../a.git", "/a\0", "/-a", "/./a", "/none"] {
            assert_eq!(at(bad, true), None, "{bad}");
        }
        assert_eq!((at("/b", false), at("/a", false)), (Some("b".into()), None));
    }
}
