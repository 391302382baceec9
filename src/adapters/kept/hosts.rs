//! What this user's fetches have measured of hosts: `$XDG_CACHE_HOME/git-mirror-fetch/hosts.toml`, or `hosts.toml` in the folder
//! that `GIT_MIRROR_STATE` or `mirror.stateDirectory` names, which jobs on many machines may share.
//!
//! Kept for all repositories, by scheme, host and port; of paths on this machine, by path. No user name, no password and
//! no repository's name is stored.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::adapters::git::config::Config;
use crate::adapters::kept::shared_file;
use crate::adapters::kept::state::now;
use crate::adapters::os;
use crate::decide::facts::{DAY, Host, OfHost};
use crate::values::{GitUrl, Transport};

/// A host that was not used for so long, in seconds, is forgotten.
const FORGOTTEN: u64 = 30 * DAY;
/// How long it is waited for what another process is about to find out of a host, and how often it is looked.
const OTHERS_TRIAL: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(30);
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
    pub fn load(config: &Config) -> Self {
        path(config).map(|path| shared_file::load(&path)).unwrap_or_default()
    }

    /// Returns what is known of a URL's host.
    pub fn get(&self, url: &GitUrl) -> Host {
        self.host.get(&key(url)).cloned().unwrap_or_default()
    }
}

/// Keeps what was seen of the hosts of some URLs, all at once.
pub(super) fn note(config: &Config, now: u64, facts: &[(&GitUrl, &OfHost)]) {
    let Some(path) = path(config).filter(|_| !facts.is_empty()) else { return };
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

/// Begins the first request of a URL's host, unless another process makes one that has not come to anything: then it is
/// left alone, so that of many jobs that begin at once one finds out whether it hangs. Waits a little for that one.
pub fn begin_trial(config: &Config, url: &GitUrl) -> bool {
    let Some(path) = path(config) else { return true };
    let until = Instant::now() + OTHERS_TRIAL;
    let by = os::process_name();
    loop {
        let mut begun = true; // where nothing can be kept, nobody waits for anybody
        shared_file::change(&path, |hosts: &mut Hosts| {
            let host = hosts.host.entry(key(url)).or_default();
            begun = host.begin_trial(&by, os::may_live, now());
        });
        if begun || Instant::now() >= until {
            return begun;
        }
        std::thread::sleep(PAUSE);
    }
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

fn path(config: &Config) -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let named = set("GIT_MIRROR_STATE").or_else(|| config.path("mirror.statedirectory"));
    if let Some(dir) = named.filter(|dir| dir.is_absolute()) {
        return Some(dir.join("hosts.toml"));
    }
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
