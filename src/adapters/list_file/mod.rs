//! The list of mirrors that a server hands out: `mirrors.toml`, per repository or, with `{repo}` in its URLs, per site.
//!
//! Whoever serves keeps serving where the list is damaged: that is an error to log, and nothing to advertise.

mod check;
mod fields;
mod urls;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use check::{Checked, MOST_MIRRORS, Problem, check};

use crate::adapters::kept::file_cache::FileCache;
use crate::adapters::os::{self, FileStamp};
use crate::decide::policy::Listing;
use crate::values::{Error, Kind, Result};

/// What the list of a repository is called, in its common git directory.
pub const FILE_NAME: &str = "mirrors.toml";

/// The largest file that is read, in bytes.
pub const MOST_BYTES: u64 = 1024 * 1024;

/// What the `id` begins with: raised when the same file leads to another answer than before.
const ID_VERSION: &[u8] = b"1";

/// A list as it was read.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it says.
    pub listing: Listing,
    /// 16 hexadecimal digits that change whenever the file or the GeoIP database does; the same in all processes.
    pub id: String,
    /// The GeoIP database, which may be missing.
    pub geoip_database: Option<PathBuf>,
    /// The list file.
    pub path: PathBuf,
    database_stamp: Option<FileStamp>,
}

impl Loaded {
    /// Returns the list with the name of a repository for `{repo}`, which may begin with a slash.
    ///
    /// # Errors
    /// [`Kind::Config`] where the name gives no URL.
    pub fn with_repo(mut self, repo: &str) -> Result<Self> {
        let listing = &mut self.listing;
        let entries = listing.mirrors.iter_mut().map(|mirror| &mut mirror.entry.url);
        for url in listing.canonical.iter_mut().chain(entries).filter(|url| url.contains(urls::REPO)) {
            *url = urls::with_repo(url, repo)
                .map_err(|why| Error::new(Kind::Config, format!("{}: {why}", self.path.display())))?;
        }
        Ok(self)
    }

    fn has_repo(&self) -> bool {
        let entries = self.listing.mirrors.iter().map(|mirror| &mirror.entry.url);
        self.listing.canonical.iter().chain(entries).any(|url| url.contains(urls::REPO))
    }

    fn is_current(&self) -> bool {
        self.database_stamp == self.geoip_database.as_deref().and_then(os::file_stamp)
    }
}

/// Reads the list at `path`; nothing where there is no such file. `{repo}` stays as it is, see [`Loaded::with_repo`].
///
/// # Errors
/// [`Kind::Local`] for a file that cannot be read, [`Kind::Config`] for one that is too large, no text or has something
/// wrong; then the message is the first problem.
pub fn load(path: &Path) -> Result<Option<Loaded>> {
    let Some(text) = read(path)? else { return Ok(None) };
    let checked = check(&text, &path.display().to_string(), None).map_err(|problems| damaged(path, &problems))?;
    let geoip_database = checked.geoip_database.map(|database| beside(path, &database));
    let database_stamp = geoip_database.as_deref().and_then(os::file_stamp);
    let id = id(&text, database_stamp.as_ref())?;
    Ok(Some(Loaded { listing: checked.listing, id, geoip_database, path: path.to_owned(), database_stamp }))
}

/// Returns the text of the list at `path`; nothing where there is no such file.
///
/// # Errors
/// Those of [`load`] that are not about what the text says.
pub fn read(path: &Path) -> Result<Option<String>> {
    let local = || Error::doing(Kind::Local, format!("cannot read {}", path.display()));
    let bad = |why: String| Error::new(Kind::Config, format!("{}: {why}", path.display()));
    // Looked at before it is opened: opening a pipe waits for its other end.
    match std::fs::metadata(path) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(local()(err)),
        Ok(found) if !found.is_file() => return Err(bad("it is no regular file".into())),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(local())?;
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(local())?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(bad(format!("it has more than {MOST_BYTES} bytes")));
    }
    String::from_utf8(bytes).map(Some).map_err(|err| {
        let good = &err.as_bytes()[..err.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        Error::new(Kind::Config, format!("{}:{line}: it is no UTF-8", path.display()))
    })
}

/// Returns the path of a database that a list names: relative ones begin in the list's folder.
pub fn beside(list: &Path, database: &Path) -> PathBuf {
    list.parent().unwrap_or(Path::new("")).join(database)
}

fn damaged(path: &Path, problems: &[Problem]) -> Error {
    let first = problems.first().map(Problem::to_string).unwrap_or_default();
    let others = match problems.len() {
        0 | 1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    Error::new(Kind::Config, first + &others)
        .hint(format!("'git mirror check-config {}' shows all that is wrong", path.display()))
}

fn id(text: &str, database: Option<&FileStamp>) -> Result<String> {
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(ID_VERSION);
    if let Some(stamp) = database {
        let (seconds, nanoseconds) = stamp.modified;
        hasher.update(format!("{} {seconds}.{nanoseconds}", stamp.length).as_bytes());
    }
    hasher.update(b"\n");
    hasher.update(text.as_bytes());
    let hash = hasher.try_finalize().map_err(Error::doing(Kind::Local, "cannot hash the list of mirrors"))?;
    Ok(hash.to_hex_with_len(16).to_string())
}

/// The lists of a server, read again when they or their databases change.
#[derive(Debug, Default)]
pub struct ListCache {
    files: FileCache<Loaded>,
}

impl ListCache {
    /// Returns the list at `path` for the repository `repo`: nothing where there is none, or where it is damaged.
    ///
    /// # Errors
    /// Those of [`load`], once for each state of the file, and those of [`Loaded::with_repo`].
    pub fn get(&self, path: &Path, repo: &str) -> Result<Option<Arc<Loaded>>> {
        let Some(loaded) = self.files.get(path, Loaded::is_current, || load(path))? else { return Ok(None) };
        if !loaded.has_repo() {
            return Ok(Some(loaded));
        }
        Loaded::clone(&loaded).with_repo(repo).map(|loaded| Some(Arc::new(loaded)))
    }
}

#[cfg(test)]
mod tests;
