//! Where a mirror that a server has named may be reached. Its name is looked up once, what comes is judged
//! (`decide::trust`), and whoever connects gets these addresses and no name to look up again: DNS may answer otherwise the
//! next time.
//!
//! Never lets a name through that cannot be looked up, but where a proxy of the user's does that: then this machine
//! connects to the proxy alone, and what only this machine can reach is out of reach.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::resolve::{self, Family};
use super::ssh_program::Program;
use crate::adapters::git::config::Config;
use crate::decide::host::is_private_host;
use crate::decide::trust::{PRIVATE, is_private_server, judge_addresses};
use crate::values::{Error, GitUrl, Kind, Result, Transport};

/// How long a look-up may take where a proxy will do its own: without an answer by then, the proxy is believed.
const BEHIND_A_PROXY: Duration = Duration::from_secs(2);
/// Most addresses of one name that are tried, as each has its share of the time.
const MOST: usize = 8;

/// Guards against what one server has named.
#[derive(Debug)]
pub struct Guard {
    canonical: GitUrl,
    config: Config,
    is_private: OnceLock<bool>,
}

impl Guard {
    /// Returns the guard against the mirrors that `canonical` names.
    pub fn new(canonical: &GitUrl, config: &Config) -> Self {
        Guard { canonical: canonical.clone(), config: config.clone(), is_private: OnceLock::new() }
    }

    /// Returns whether the server that names them is on a private address, as [`is_private_server`] says. It is looked up
    /// once, which ends by `until`.
    ///
    /// # Errors
    /// [`Kind::Timeout`].
    pub fn canonical_is_private(&self, until: Option<Instant>) -> Result<bool> {
        if let Some(known) = self.is_private.get() {
            return Ok(*known);
        }
        let url = &self.canonical;
        let private = url.transport == Transport::Local || {
            // What the user's ssh calls by that name.
            let settings = match url.transport {
                Transport::Ssh => Program::in_force(&self.config).settings(url, until)?,
                _ => None,
            };
            let host = settings.map_or_else(|| url.host.clone(), |settings| settings.host);
            let found = match look_up(&host, url.effective_port().unwrap_or(0), until) {
                Err(err) if err.kind == Kind::Timeout => return Err(err),
                found => found.unwrap_or_default(), // a proxy may know more
            };
            is_private_server(&host, &found.iter().map(SocketAddr::ip).collect::<Vec<_>>())
        };
        Ok(*self.is_private.get_or_init(|| private))
    }

    /// Judges a mirror by its name alone.
    ///
    /// # Errors
    /// [`Kind::Config`] with the reason.
    pub fn judge_name(&self, url: &GitUrl, until: Option<Instant>) -> Result<()> {
        if is_private_host(&url.host) && !self.private_is_fine(until)? {
            return Err(Error::new(Kind::Config, PRIVATE));
        }
        Ok(())
    }

    /// Returns the addresses of `host` that may be connected to, of all those of `family`; never none.
    ///
    /// # Errors
    /// [`Kind::Config`] where one of them may not be; [`Kind::Channel`] where it has none, [`Kind::Timeout`] where that is
    /// not known by `until`.
    pub fn addresses(&self, host: &str, port: u16, family: Family, until: Option<Instant>) -> Result<Vec<SocketAddr>> {
        let mut found = look_up(host, port, until)?;
        self.judge(&found, until)?;
        found.retain(|address| family.has(address));
        found.truncate(MOST);
        if found.is_empty() {
            return Err(Error::new(Kind::Channel, format!("{host} has no address that may be used")));
        }
        Ok(found)
    }

    /// Returns the addresses of `host` where a proxy of the user's can look it up as well: none where this machine cannot.
    ///
    /// # Errors
    /// [`Kind::Config`] where one of them may not be connected to; [`Kind::Timeout`] where that is not known by `until`.
    pub fn addresses_behind_a_proxy(&self, host: &str, port: u16, until: Option<Instant>) -> Result<Vec<SocketAddr>> {
        let soon = Instant::now() + BEHIND_A_PROXY;
        let found = look_up(host, port, Some(until.map_or(soon, |until| until.min(soon)))).unwrap_or_default();
        self.judge(&found, until)?;
        Ok(found)
    }

    fn judge(&self, found: &[SocketAddr], until: Option<Instant>) -> Result<()> {
        let all: Vec<_> = found.iter().map(SocketAddr::ip).collect();
        judge_addresses(&all, || self.private_is_fine(until))
    }

    fn private_is_fine(&self, until: Option<Instant>) -> Result<bool> {
        Ok(self.config.bool("mirror.allowprivate").unwrap_or(false) || self.canonical_is_private(until)?)
    }
}

fn look_up(host: &str, port: u16, until: Option<Instant>) -> Result<Vec<SocketAddr>> {
    resolve::addresses(host, port, until).map_err(|err| match err.kind() {
        std::io::ErrorKind::TimedOut => Error::new(Kind::Timeout, format!("unable to look up {host} in time")),
        _ => Error::new(Kind::Channel, format!("unable to look up {host} ({err})")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(canonical: &str, config: &str) -> Guard {
        Guard::new(&GitUrl::parse(canonical).expect("a URL"), &Config::parse(config.as_bytes()))
    }

    fn kind(guard: &Guard, host: &str) -> Option<Kind> {
        guard.addresses(host, 1, Family::Any, None).err().map(|err| err.kind)
    }

    #[test]
    fn lets_through_what_is_public_or_as_private_as_canonical() {
        let public = guard("git://192.0.2.1/a", "");
        assert_eq!(kind(&public, "8.8.8.8"), None);
        for host in ["127.0.0.1", "127.1", "2130706433", "0177.0.0.1", "0", "::", "::1", "::ffff:127.0.0.1", "10.1.1.1"]
        {
            assert_eq!(kind(&public, host), Some(Kind::Config), "{host}");
        }
        let private = guard("git://10.1.1.1/a", "");
        assert_eq!(kind(&private, "10.2.2.2"), None);
        assert_eq!(kind(&guard("git://192.0.2.1/a", "mirror.allowprivate\ntrue\0"), "10.2.2.2"), None);
        assert_eq!(kind(&guard("/srv/a", ""), "10.2.2.2"), None);
        for host in ["169.254.169.254", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254", "2852039166"] {
            for guard in [&public, &private, &guard("git://192.0.2.1/a", "mirror.allowprivate\ntrue\0")] {
                assert_eq!(kind(guard, host), Some(Kind::Config), "{host}");
            }
        }
    }

    #[test]
    fn refuses_what_cannot_be_looked_up() {
        let guard = guard("/srv/a", "");
        assert_eq!(kind(&guard, "no such name"), Some(Kind::Channel));
        let got = guard.addresses_behind_a_proxy("no such name", 1, None).expect("the proxy's business");
        assert!(got.is_empty());
        let only = guard.addresses("127.0.0.1", 1, Family::V6, None).expect_err("no IPv6 address");
        assert_eq!(only.kind, Kind::Channel);
    }
}
