//! Room on the disk: a seed must not take what git will need to complete the fetch.
//!
//! Where a seed does not fit it is dropped, and the fetch is plain git's. Where it just fits, git could not write its
//! refs, or the rest; so some room has to remain: for an index, for what canonical adds, and as no two servers pack alike.

use std::io::{BufRead, Error as IoError, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::adapters::os;
use crate::values::{Error, Kind, Result};

/// How many bytes come between two looks.
const STEP: u64 = 256 << 10;
/// What has to remain at least, in bytes; of a small file system, a tenth.
const REST: u64 = 16 << 20;
/// What has to remain of what came, as a share of it.
const SHARE: u64 = 4;

/// Returns whether `bytes` may come into the object directory `objects`, which is also so where that cannot be told.
///
/// # Errors
/// [`Kind::NoRoom`] where too little would remain.
pub fn fits(objects: &Path, bytes: u64) -> Result<()> {
    let Some(room) = os::room(objects) else { return Ok(()) };
    if room.free < bytes.saturating_add(rest(room.size, bytes)) { Err(short(room.free)) } else { Ok(()) }
}

/// Returns what has to remain of a file system of `size` bytes once `bytes` have come.
fn rest(size: u64, bytes: u64) -> u64 {
    REST.min(size / 10).saturating_add(bytes / SHARE)
}

fn short(free: u64) -> Error {
    Error::new(Kind::NoRoom, format!("only {} MiB are free on the disk, and git needs the rest of them", free >> 20))
}

/// A stream that fails as soon as too little room is left for git.
pub(super) struct Roomy<'a> {
    inner: &'a mut dyn BufRead,
    dir: PathBuf,
    came: u64,
    /// When to look again.
    next: u64,
    short: Option<Error>,
}

impl<'a> Roomy<'a> {
    /// Returns `inner`, whose bytes go to `dir`.
    pub(super) fn new(inner: &'a mut dyn BufRead, dir: &Path) -> Self {
        Roomy { inner, dir: dir.to_owned(), came: 0, next: 0, short: None }
    }

    /// Returns what made it fail, if that was too little room.
    pub(super) fn short(self) -> Option<Error> {
        self.short
    }

    fn look(&mut self) -> std::io::Result<()> {
        if self.came >= self.next {
            self.next = self.came + STEP;
            let room = os::room(&self.dir);
            self.short = room.filter(|room| room.free < rest(room.size, self.came)).map(|room| short(room.free));
        }
        if self.short.is_some() { Err(IoError::from(ErrorKind::StorageFull)) } else { Ok(()) }
    }
}

impl Read for Roomy<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.look()?;
        let n = self.inner.read(buf)?;
        self.came += n as u64;
        Ok(n)
    }
}

impl BufRead for Roomy<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.look()?;
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.came += amount as u64;
        self.inner.consume(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_to_remain() {
        assert_eq!(rest(1 << 40, 0), REST);
        assert_eq!(rest(100, 0), 10);
        assert_eq!(rest(1 << 40, 400), REST + 100);
        let dir = tempfile::tempdir().expect("a folder");
        assert!(fits(dir.path(), 0).is_ok());
        assert_eq!(fits(dir.path(), u64::MAX).map_err(|err| err.kind), Err(Kind::NoRoom));
        assert!(fits(Path::new("/nowhere/at/all"), u64::MAX).is_ok());
    }

    #[test]
    fn all_comes_where_there_is_room() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut bytes = std::io::Cursor::new(vec![7; 3 << 20]);
        let mut roomy = Roomy::new(&mut bytes, dir.path());
        let mut all = Vec::new();
        roomy.read_to_end(&mut all).expect("all");
        assert!(all.len() == 3 << 20 && roomy.short().is_none());
    }
}
