//! What all repositories of a server share: where mirror lists are, and what has been read of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::adapters::kept::geoip::DatabaseCache;
use crate::adapters::list_file::{FILE_NAME, ListCache, Loaded};
use crate::values::{Error, Kind};

/// Where lists are, and what has been read of them.
pub struct Site {
    /// The list of all repositories that have none of their own.
    pub list: Option<PathBuf>,
    /// The folder that the names of repositories begin in.
    pub base: Option<PathBuf>,
    lists: ListCache,
    pub(super) databases: DatabaseCache,
    pub(super) log: Box<dyn Fn(&str) + Send + Sync>,
}

impl Site {
    /// Returns a site; `log` is told of damaged lists.
    pub fn new(list: Option<PathBuf>, base: Option<PathBuf>, log: Box<dyn Fn(&str) + Send + Sync>) -> Self {
        Site { list, base, lists: ListCache::default(), databases: DatabaseCache::default(), log }
    }

    /// Returns the list of a repository: its own, or the site's. One that is damaged is logged, and nothing is
    /// advertised: the owner has said that the other one is not to be used.
    pub(super) fn list(&self, common_dir: &Path, name: &str) -> Option<Arc<Loaded>> {
        let own = common_dir.join(FILE_NAME);
        for path in [Some(&own), self.list.as_ref()].into_iter().flatten() {
            match self.lists.get(path, name) {
                Ok(None) => {}
                Ok(list) => return list,
                Err(err) => {
                    (self.log)(&format!("no mirrors are advertised: {err}"));
                    return None;
                }
            }
        }
        None
    }

    /// Has what went wrong here logged; what a client did wrong it is told itself.
    pub fn note(&self, err: &Error) {
        if err.kind != Kind::Protocol {
            (self.log)(&err.to_string());
        }
    }

    /// Returns what `{repo}` stands for in the site's list.
    pub(super) fn name<'a>(&self, dir: &'a Path) -> std::borrow::Cow<'a, str> {
        let below = self.base.as_deref().and_then(|base| dir.strip_prefix(base).ok());
        let name = below.unwrap_or(dir);
        name.parent().filter(|_| name.ends_with(".git")).unwrap_or(name).to_string_lossy()
    }
}
