//! What this user's fetches have measured of hosts: `$XDG_CACHE_HOME/git-mirror-fetch/hosts.toml`.
//!
//! Kept for all repositories, by scheme, host and port; of paths on this machine, by path. No user name, no password and
//! no repository's name is stored.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::adapters::kept::shared_file;
use crate::decide::facts::{DAY, Host, OfHost};
use crate::values::{GitUrl, Transport};

/// A host that was not used for so long, in seconds, is forgotten.
const FORGOTTEN: u64 = 30 * DAY;
/// Most hosts that are kept: the ones used last.
const MOST: usize = 10_000;

/// The file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Hosts {
    /// Another number for each user, so that clients spread over mirrors that are as good as each other.
    #[serde(default)]
    pub seed: u32,
    #[serde(default)]
    host: BTreeMap<String, Host>,
}

impl Hosts {
    /// Reads what is known.
    pub fn load() -> Self {
        path().map(|path| shared_file::load(&path)).unwrap_or_default()
    }

    /// Returns what is known of a URL's host.
    pub fn get(&self, url: &GitUrl) -> Host {
        self.host.get(&key(url)).cloned().unwrap_or_default()
    }
}

/// Keeps what was seen of the hosts of some URLs, all at once.
pub(super) fn note(now: u64, facts: &[(&GitUrl, &OfHost)]) {
    let Some(path) = path().filter(|_| !facts.is_empty()) else { return };
    shared_file::change(&path, |hosts: &mut Hosts| {
        if hosts.seed == 0 {
            hosts.seed = random();
        }
        for (url, seen) in facts {
            hosts.host.entry(key(url)).or_default().see(seen, now);
        }
        hosts.host.retain(|_, host| now.abs_diff(host.used) < FORGOTTEN);
        while hosts.host.len() > MOST {
            let oldest = hosts.host.iter().min_by_key(|(_, host)| host.used).map(|(key, _)| key.clone());
            oldest.map(|key| hosts.host.remove(&key));
        }
    });
}

/// Returns the name under which a URL's host is kept.
fn key(url: &GitUrl) -> String {
    let host = url.host.to_ascii_lowercase();
    match url.transport {
        Transport::Local => format!("file://{}", url.path),
        _ if host.contains(':') => format!("{}://[{host}]:{}", url.scheme, url.effective_port().unwrap_or(0)),
        _ => format!("{}://{host}:{}", url.scheme, url.effective_port().unwrap_or(0)),
    }
}

fn path() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("git-mirror-fetch").join("hosts.toml"))
}

/// Returns a number that is not 0 and that nobody else is likely to have: the standard library seeds its maps so.
fn random() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    (std::hash::RandomState::new().build_hasher().finish() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hosts() {
        for (url, want) in [
            ("https://user:secret@H.example/a/b", "https://h.example:443"),
            ("git://[::1]/a", "git://[::1]:9418"),
            ("alice@h:a", "ssh://h:22"),
            ("file:///srv/a", "file:///srv/a"),
        ] {
            assert_eq!(key(&GitUrl::parse(url).expect("a URL")), want);
        }
    }
}
