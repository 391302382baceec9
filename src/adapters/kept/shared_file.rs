//! Small TOML files that several processes change: under a lock, and replaced by rename.
//!
//! They hold what was seen, not what was said: any of them may be deleted at any time, and a damaged one counts as none.
//! Who cannot get the lock in time leaves the file as it is. Only the user may read them.

use std::io::{Read, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::adapters::os;

/// How often the lock is tried, and the time between: whoever holds it needs a millisecond or two.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);
/// What is larger, in bytes, was not written here.
const MOST: u64 = 16 << 20;

/// Reads a file; what is missing or damaged is empty.
pub fn load<T: Default + DeserializeOwned>(path: &Path) -> T {
    let text = || {
        let mut text = String::new();
        let read = os::open_file(path).ok()?.take(MOST + 1).read_to_string(&mut text).ok()?;
        (read as u64 <= MOST).then_some(text)
    };
    text().map(|text| read(&text)).unwrap_or_default()
}

/// Reads a file's text; what is damaged is empty.
pub fn read<T: Default + DeserializeOwned>(text: &str) -> T {
    toml::from_str(text).unwrap_or_default()
}

/// Returns the text of a file.
///
/// # Errors
/// Where TOML cannot say it.
pub fn text<T: Serialize>(file: &T) -> std::io::Result<String> {
    toml::to_string(file).map_err(std::io::Error::other)
}

/// Changes a file. A failure is only logged: it must not fail a fetch.
pub fn change<T: Default + Serialize + DeserializeOwned>(path: &Path, change: impl FnOnce(&mut T)) {
    if let Err(err) = try_change(path, change) {
        tracing::debug!(%err, path = %path.display(), "cannot change a state file");
    }
}

fn try_change<T: Default + Serialize + DeserializeOwned>(
    path: &Path,
    change: impl FnOnce(&mut T),
) -> std::io::Result<()> {
    let dir = path.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
    os::make_private_folder(dir)?;
    let lock = os::open_lock(&dir.join("lock"))?;
    let mut tries = 0;
    while let Err(err) = lock.try_lock() {
        tries += 1;
        if tries == LOCK_TRIES {
            return Err(err.into());
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    let mut file = load(path);
    change(&mut file);
    let text = text(&file)?;
    let mut new = tempfile::Builder::new().prefix("new.").tempfile_in(dir)?; // mode 0600
    new.write_all(text.as_bytes())?;
    new.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_files_count_as_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        let fifo = |name: &str| {
            let made = std::process::Command::new("mkfifo").arg(path(name)).status();
            assert!(made.is_ok_and(|status| status.success()));
        };
        type Numbers = std::collections::BTreeMap<String, u64>;
        fifo("state.toml");
        std::fs::create_dir(path("folder.toml")).expect("a folder");
        std::fs::File::create(path("large.toml")).and_then(|file| file.set_len(MOST + 1)).expect("a file");
        for name in ["state.toml", "folder.toml", "large.toml", "none.toml"] {
            assert_eq!(load::<Numbers>(&path(name)), Numbers::new(), "{name}");
        }
        // What can be replaced is; a folder stays.
        let one = |numbers: &mut Numbers| {
            numbers.insert("a".into(), 1);
        };
        for (name, len) in [("state.toml", 1), ("folder.toml", 0), ("large.toml", 1)] {
            change(&path(name), one);
            assert_eq!(load::<Numbers>(&path(name)).len(), len, "{name}");
        }
        // Whoever cannot lock leaves the file as it is.
        std::fs::remove_file(path("lock")).expect("a lock");
        fifo("lock");
        change(&path("none.toml"), one);
        assert!(!path("none.toml").exists());
    }
}
