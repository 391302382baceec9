//! What was read from files, kept by long-lived servers until the file changes.
//!
//! Usually a file is looked at once a second at most. One that cannot be read counts as missing until it changes again; why is
//! said once, so that a log is not flooded. Holds no more than 10,000 files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::adapters::os::{self, FileStamp};
use crate::values::Result;

/// How long what is known of a file is believed without a look.
const BELIEVED: Duration = Duration::from_secs(1);

/// How many files are remembered; then all are forgotten and read anew.
const MOST_FILES: usize = 10_000;

/// The contents of files, as values of one kind.
#[derive(Debug)]
pub struct FileCache<T> {
    believed: Duration,
    kept: Mutex<HashMap<PathBuf, Slot<T>>>,
}

/// What is known of one file; nothing before it was read. Locked while it is read.
type Slot<T> = Arc<Mutex<Option<Kept<T>>>>;

#[derive(Debug)]
struct Kept<T> {
    looked: Instant,
    stamp: Option<FileStamp>,
    value: Option<Arc<T>>,
}

impl<T> Default for FileCache<T> {
    fn default() -> Self {
        FileCache { believed: BELIEVED, kept: Mutex::default() }
    }
}

impl<T> FileCache<T> {
    /// Returns a cache that looks at a file whenever it is asked.
    pub fn wary() -> Self {
        FileCache { believed: Duration::ZERO, kept: Mutex::default() }
    }

    /// Returns what `path` holds, as `read` reads it: nothing where the file is missing, or is known to be damaged.
    ///
    /// `is_current` says of a kept value whether what it was made of beside the file is unchanged.
    ///
    /// # Errors
    /// Those of `read`, once for each state of the file.
    pub fn get(
        &self,
        path: &Path,
        is_current: impl FnOnce(&T) -> bool,
        read: impl FnOnce() -> Result<Option<T>>,
    ) -> Result<Option<Arc<T>>> {
        self.get_at(Instant::now(), path, is_current, read)
    }

    fn get_at(
        &self,
        now: Instant,
        path: &Path,
        is_current: impl FnOnce(&T) -> bool,
        read: impl FnOnce() -> Result<Option<T>>,
    ) -> Result<Option<Arc<T>>> {
        // One lock a file: who wants another one does not wait while this one is read.
        let slot = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= MOST_FILES && !kept.contains_key(path) {
                kept.clear();
            }
            Arc::clone(kept.entry(path.to_owned()).or_default())
        };
        let mut kept = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.as_mut() {
            if now.saturating_duration_since(known.looked) < self.believed {
                return Ok(known.value.clone());
            }
            if known.stamp == os::file_stamp(path) && known.value.as_deref().is_none_or(is_current) {
                known.looked = now;
                return Ok(known.value.clone());
            }
        }
        // Taken first: a change while the file is read shows at the next look.
        let stamp = os::file_stamp(path);
        let (value, outcome) = match read() {
            Ok(value) => (value.map(Arc::new), Ok(())),
            Err(err) => (None, Err(err)),
        };
        *kept = Some(Kept { looked: now, stamp, value: value.clone() });
        outcome.map(|()| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{Error, Kind};

    #[test]
    fn reads_again_when_the_file_changes() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("f");
        let cache = FileCache::<String>::default();
        let start = Instant::now();
        let get = |after: u64, current: bool| {
            let read = || match std::fs::read_to_string(&path) {
                Ok(text) if text == "bad" => Err(Error::new(Kind::Config, "bad")),
                Ok(text) => Ok(Some(text)),
                Err(_) => Ok(None),
            };
            let found = cache.get_at(start + Duration::from_millis(after), &path, |_| current, read);
            found.map(|found| found.map(|text| text.as_str().to_owned())).map_err(|err| err.message)
        };
        let write = |text: &str| std::fs::write(&path, text).expect("a file");
        let some = |text: &str| Ok(Some(text.to_owned()));

        assert_eq!(get(0, true), Ok(None));
        write("one");
        assert_eq!(get(900, true), Ok(None), "not looked at within a second");
        assert_eq!(get(1000, true), some("one"));
        write("three");
        assert_eq!(get(1900, true), some("one"));
        assert_eq!(get(2000, true), some("three"));
        write("bad");
        assert_eq!(get(3000, true), Err("bad".to_owned()));
        assert_eq!(get(3500, true), Ok(None));
        assert_eq!(get(9000, true), Ok(None), "said once");
        // Of the same length, and put there by rename.
        std::fs::write(dir.path().join("new"), "bet").expect("a file");
        std::fs::rename(dir.path().join("new"), &path).expect("a rename");
        assert_eq!(get(10_000, true), some("bet"));
        std::fs::remove_file(&path).expect("a file");
        assert_eq!(get(11_000, true), Ok(None));
    }

    #[test]
    fn asks_whether_the_value_is_current() {
        let dir = tempfile::tempdir().expect("a folder");
        let cache = FileCache::<u32>::default();
        let start = Instant::now();
        let mut reads = 0;
        for (after, current) in [(0, true), (1, false), (2, true), (3, false)] {
            let read = || {
                reads += 1;
                Ok(Some(reads))
            };
            let now = start + Duration::from_secs(after);
            cache.get_at(now, dir.path(), |_| current, read).expect("a value");
        }
        assert_eq!(reads, 3);
    }

    #[test]
    fn reading_one_file_keeps_nobody_from_another() {
        let dir = tempfile::tempdir().expect("a folder");
        let cache = FileCache::<u32>::default();
        let (slow, quick) = (dir.path().join("slow"), dir.path().join("quick"));
        let (begun, wait_for_begin) = std::sync::mpsc::channel();
        let (end, wait_for_end) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let cache = &cache;
            scope.spawn(move || {
                let read = || {
                    let _ = begun.send(());
                    let _ = wait_for_end.recv_timeout(Duration::from_secs(20));
                    Ok(Some(1))
                };
                cache.get(&slow, |_| true, read).expect("a value");
            });
            wait_for_begin.recv().expect("it reads");
            let (done, wait_until_done) = std::sync::mpsc::channel();
            scope.spawn(move || {
                let _ = done.send(cache.get(&quick, |_| true, || Ok(Some(2))).expect("a value"));
            });
            let got = wait_until_done.recv_timeout(Duration::from_secs(10));
            let _ = end.send(());
            assert_eq!(got.expect("nobody waits").as_deref(), Some(&2));
        });
    }
}
