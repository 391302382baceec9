//! `git mirror install-man`: the man pages travel in the program, as `cargo install` installs nothing else.

use std::path::PathBuf;

use crate::values::{Error, Kind, Result};

/// The pages: file name and roff text, made from `docs/*.adoc` by `docs/make-man`.
pub const PAGES: [(&str, &str); 3] = [
    ("git-mirror.1", include_str!("../../docs/man/git-mirror.1")),
    ("git-mirror-fetch.1", include_str!("../../docs/man/git-mirror-fetch.1")),
    ("git-remote-mirror.1", include_str!("../../docs/man/git-remote-mirror.1")),
];

/// Writes the pages below `dir`, or below the user's own folder for man pages; returns the folder.
///
/// # Errors
/// [`Kind::Local`] where a file cannot be written.
pub fn install(dir: Option<PathBuf>) -> Result<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let dir = match dir.or_else(|| data.or_else(home).map(|d| d.join("man"))) {
        Some(dir) => dir.join("man1"),
        None => return Err(Error::new(Kind::Local, "HOME is not set").hint("name a folder")),
    };
    let doing = |dir: &PathBuf| format!("cannot write to {}", dir.display());
    std::fs::create_dir_all(&dir).map_err(Error::doing(Kind::Local, doing(&dir)))?;
    for (name, text) in PAGES {
        let write = || {
            let mut file = tempfile::Builder::new().prefix(".").tempfile_in(&dir)?;
            std::io::Write::write_all(&mut file, text.as_bytes())?;
            let mut permissions = file.as_file().metadata()?.permissions();
            crate::adapters::os::make_readable(&mut permissions);
            file.as_file().set_permissions(permissions)?;
            file.persist(dir.join(name)).map_err(|err| err.error)
        };
        write().map_err(Error::doing(Kind::Local, doing(&dir)))?;
    }
    Ok(dir)
}
