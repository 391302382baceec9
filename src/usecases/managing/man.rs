//! `git mirror install-man`: the man pages travel in the program, as `cargo install` installs nothing else.

use std::path::PathBuf;

use crate::values::{Error, Kind, Result};

/// The pages: file name and roff text, made from `docs/*.adoc` by `docs/make-man`.
pub const PAGES: [(&str, &str); 5] = [
    ("git-mirror.1", include_str!("../../../docs/man/git-mirror.1")),
    ("git-mirror-fetch.1", include_str!("../../../docs/man/git-mirror-fetch.1")),
    ("git-remote-mirror.1", include_str!("../../../docs/man/git-remote-mirror.1")),
    ("gitprotocol-mirror.5", include_str!("../../../docs/man/gitprotocol-mirror.5")),
    ("git-mirror-server.7", include_str!("../../../docs/man/git-mirror-server.7")),
];

/// Writes the pages below `dir`, or below the user's own folder for man pages, each to the folder of its section
/// (`man1`, `man5`, `man7`); returns the folder.
///
/// # Errors
/// [`Kind::Local`] where a file cannot be written.
pub fn install(dir: Option<PathBuf>) -> Result<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let Some(dir) = dir.or_else(|| data.or_else(home).map(|d| d.join("man"))) else {
        return Err(Error::new(Kind::Local, "HOME is not set").hint("name a folder"));
    };
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
    Ok(dir)
}
