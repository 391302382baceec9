//! A folder in the place of git's own programs (`GIT_EXEC_PATH` in git(1)): they are all there, but for those that speak
//! HTTP, which are ours. So every git that any tool starts goes to mirrors, and no URL and no repository changes for it.
//!
//! It is named after what it was made from, and never changed: a job that began with it may still use it when git, or this
//! program, has become another one.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use crate::adapters::os;
use crate::adapters::process;
use crate::values::{Error, Kind, Result};

/// The programs that are ours there. `git-remote-ftp` is not: no mirror speaks that.
const OURS: [&str; 2] = ["git-remote-http", "git-remote-https"];
/// The file that says where git's own folder is, in its first line, and what else the folder was made from.
const MARK: &str = ".git-mirror-exec-path";
/// The program that is started by those names.
const PROGRAM: &str = "git-remote-mirror";
/// git's own variable.
const ENV: &str = "GIT_EXEC_PATH";

/// Returns the folder, in `data` or else where this user's data is kept, and makes it where it is missing.
///
/// # Errors
/// [`Kind::Config`] where nobody says where to; [`Kind::Local`] where it cannot be made, or a program is missing.
pub fn folder(data: Option<PathBuf>) -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let users = || set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")));
    let no_place = || {
        let err = Error::new(Kind::Config, "neither HOME nor XDG_DATA_HOME is set");
        err.hint("`git mirror exec-path <folder>` makes it below that folder")
    };
    let data = match data {
        Some(data) => {
            std::path::absolute(&data).map_err(Error::doing(Kind::Local, "cannot tell the current folder"))?
        }
        None => users().ok_or_else(no_place)?.join("git-mirror-fetch").join("exec-path"),
    };
    let gits = gits_own()?;
    let program = program()?;
    let text = description(&gits, &program)?;
    let folder = data.join(name_of(&text));
    if std::fs::read_to_string(folder.join(MARK)).is_ok_and(|found| found == text) {
        return Ok(folder);
    }
    let doing = || format!("cannot make {}", folder.display());
    let make = || -> std::io::Result<()> {
        std::fs::create_dir_all(&data)?;
        let new = tempfile::Builder::new().prefix("new.").tempdir_in(&data)?;
        os::make_passable(new.path())?;
        for entry in std::fs::read_dir(&gits)? {
            let name = entry?.file_name();
            let ours = OURS.iter().any(|ours| name == *ours);
            let target = if ours { program.clone() } else { gits.join(&name) };
            os::link(&target, &new.path().join(&name))?;
        }
        std::fs::write(new.path().join(MARK), &text)?;
        match std::fs::rename(new.path(), &folder) {
            Ok(()) => drop(new.keep()),
            Err(_) if folder.join(MARK).exists() => {} // somebody else was quicker
            Err(err) => return Err(err),
        }
        Ok(())
    };
    make().map_err(Error::doing(Kind::Local, doing()))?;
    Ok(folder)
}

/// Returns what the folder is made from.
fn description(gits: &Path, program: &Path) -> Result<String> {
    let stamp = |path: &Path| {
        let modified = std::fs::metadata(path).and_then(|found| found.modified()).ok();
        modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |time| time.as_secs())
    };
    let version = process::output(&mut process::git(["version"]), b"")?;
    let version = String::from_utf8_lossy(&version).trim().to_owned();
    let text = |path: &Path| {
        let text = path.to_str().filter(|text| !text.contains('\n')).map(str::to_owned);
        text.ok_or_else(|| Error::new(Kind::Local, format!("{}: this path is not UTF-8", path.display())))
    };
    let (gits_text, program_text) = (text(gits)?, text(program)?);
    Ok(format!("{gits_text}\n{program_text}\n{version}\n{} {}\n", stamp(gits), stamp(&gits.join(OURS[1]))))
}

fn name_of(text: &str) -> String {
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(text.as_bytes());
    hasher.try_finalize().map_or_else(|_| "git".into(), |id| id.to_hex_with_len(16).to_string())
}

/// Returns git's own folder of programs.
fn gits_own() -> Result<PathBuf> {
    if let Some(own) = own(&std::env::var_os(ENV).unwrap_or_default()) {
        return Ok(own);
    }
    said_by(&mut process::git(["--exec-path"]))
}

fn said_by(git: &mut Command) -> Result<PathBuf> {
    let text = process::output(git, b"")?;
    Ok(String::from_utf8_lossy(&text).trim_end_matches('\n').into())
}

/// Returns the folder of git's own programs that `folder` stands in for, where it is one of ours.
fn own(folder: &OsStr) -> Option<PathBuf> {
    let text = std::fs::read_to_string(Path::new(folder).join(MARK)).ok()?;
    text.lines().next().map(PathBuf::from)
}

/// Returns the program that speaks for mirrors: it stands beside this one.
fn program() -> Result<PathBuf> {
    let this = std::env::current_exe().map_err(Error::doing(Kind::Local, "cannot find this program"))?;
    let beside = this.with_file_name(PROGRAM);
    if beside.is_file() {
        return Ok(beside);
    }
    let err = Error::new(Kind::Local, format!("there is no {}", beside.display()));
    Err(err.hint("install git-mirror, git-mirror-fetch and git-remote-mirror together"))
}

/// Returns this program as the command that goes on in its place, where git has started it under a name of its own: with
/// git's own programs where it looks for them, so that it does not come upon itself. `args` are its arguments.
///
/// # Errors
/// [`Kind::Local`] where those cannot be found.
pub fn in_place_of_git(args: impl Iterator<Item = OsString>) -> Result<Option<Command>> {
    let mut args = args;
    let name = PathBuf::from(args.next().unwrap_or_default());
    if !name.file_name().is_some_and(|name| OURS.iter().any(|ours| name == *ours)) {
        return Ok(None);
    }
    let folder = std::env::var_os(ENV).unwrap_or_default();
    let gits = match own(&folder) {
        Some(gits) => gits,
        None => said_by(process::git(["--exec-path"]).env_remove(ENV))?,
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = std::env::split_paths(&path).filter(|dir| own(dir.as_os_str()).is_none());
    let path = std::env::join_paths([gits.clone()].into_iter().chain(others));
    let path = path.map_err(Error::doing(Kind::Local, "cannot set PATH"))?;
    let mut command = process::this_program()?;
    os::name(&mut command, PROGRAM.as_ref());
    command.arg("--in-place-of-git").args(args).env(ENV, gits).env("PATH", path);
    Ok(Some(command))
}
