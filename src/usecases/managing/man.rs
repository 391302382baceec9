//! `git mirror install-man`: the man pages travel in the program, as `cargo install` installs nothing else.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::adapters::process;
use crate::values::{Error, Kind, Result};

/// The pages: file name and roff text, made from `docs/*.adoc` by `docs/make-man`.
pub const PAGES: [(&str, &str); 6] = [
    ("git-mirror.1", include_str!("../../../docs/man/git-mirror.1")),
    ("git-mirror-fetch.1", include_str!("../../../docs/man/git-mirror-fetch.1")),
    ("git-remote-mirror.1", include_str!("../../../docs/man/git-remote-mirror.1")),
    ("gitprotocol-mirror.5", include_str!("../../../docs/man/gitprotocol-mirror.5")),
    ("git-mirror-ci.7", include_str!("../../../docs/man/git-mirror-ci.7")),
    ("git-mirror-server.7", include_str!("../../../docs/man/git-mirror-server.7")),
];

/// Where the pages are.
#[derive(Debug)]
pub struct Installed {
    /// The folder that holds `man1`, `man5` and `man7`.
    pub dir: PathBuf,
    /// Whether man finds them.
    pub found: Found,
}

/// Whether man finds a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It does.
    There,
    /// It does not, or finds another one.
    Elsewhere,
    /// There is no man to ask.
    NoMan,
}

/// Writes the pages below `dir`, each to the folder of its section (`man1`, `man5`, `man7`). Where no folder is named, to
/// the first that can be written to, of those where man looks.
///
/// # Errors
/// [`Kind::Local`] where a file cannot be written.
pub fn install(dir: Option<PathBuf>) -> Result<Installed> {
    let dirs = dir.map_or_else(folders, |dir| vec![dir]);
    let mut last = Error::new(Kind::Local, "HOME is not set").hint("name a folder");
    for dir in dirs {
        match write(&dir) {
            Ok(()) => return Ok(Installed { found: found(&dir), dir }),
            Err(err) => last = err,
        }
    }
    Err(last)
}

/// Returns where pages may go, the best first: where man looks for those of a program in `PATH`, beside the folder that
/// this one is in (manpath(5), "SEARCH PATH"; `has_mandir` in man-db's `manp.c`: the first of these that exists), and the
/// user's own folder.
fn folders() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path).find(|dir| dir.join("git-mirror").is_file());
    let beside = program.filter(|dir| dir.is_absolute()).map(|bin| {
        let near = |name: &str| bin.parent().unwrap_or(&bin).join(name);
        let looked_at = [near("man"), bin.join("man"), near("share/man"), bin.join("share/man")];
        looked_at.into_iter().find(|dir| dir.is_dir()).unwrap_or_else(|| near("share/man"))
    });
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    beside.into_iter().chain(data.or_else(home).map(|data| data.join("man"))).collect()
}

fn write(dir: &Path) -> Result<()> {
    for (name, text) in PAGES {
        let section = dir.join(format!("man{}", name.rsplit('.').next().unwrap_or_default()));
        let write = || {
            std::fs::create_dir_all(&section)?;
            let mut file = tempfile::Builder::new().prefix(".").tempfile_in(&section)?;
            std::io::Write::write_all(&mut file, text.as_bytes())?;
            let mut permissions = file.as_file().metadata()?.permissions();
            crate::adapters::os::make_readable(&mut permissions);
            file.as_file().set_permissions(permissions)?;
            file.persist(section.join(name)).map_err(|err| err.error)
        };
        write().map_err(Error::doing(Kind::Local, format!("cannot write to {}", section.display())))?;
    }
    Ok(())
}

/// Asks man where it finds a page.
fn found(dir: &Path) -> Found {
    let mut man = Command::new("man");
    let Ok(child) = process::start(man.args(["-w", "git-mirror"]).stderr(Stdio::null())) else {
        return Found::NoMan;
    };
    let Ok(out) = child.wait_with_output() else { return Found::NoMan };
    let real = |path: &Path| path.canonicalize().ok();
    let page = PathBuf::from(String::from_utf8_lossy(&out.stdout).trim_end());
    let ours = real(&dir.join("man1").join("git-mirror.1"));
    if ours.is_some() && real(&page) == ours { Found::There } else { Found::Elsewhere }
}
