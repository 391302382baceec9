//! Where a mirror's refs are kept locally: `refs/mirror/<host>/`.
//!
//! `<host>` is the mirror's host, `host_port` with a port that is not the scheme's own, `localhost` for a path; whatever
//! git-check-ref-format(1) forbids becomes `-`. Two mirrors on one host get distinct names: later ones carry a hash
//! of their URL.

use super::{GitUrl, Mirror, Origin, Transport};

/// The common prefix of all mirror refs.
pub const PREFIX: &str = "refs/mirror/";

/// The local name space of one mirror.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefSpace(String);

impl RefSpace {
    /// Returns the name space for `url`, with no regard to other mirrors.
    pub fn of(url: &GitUrl) -> Self {
        if url.transport == Transport::Local {
            return RefSpace("localhost".into());
        }
        let mut host = safe_component(&url.host.to_ascii_lowercase());
        if let Some(port) = url.foreign_port() {
            host.push_str(&format!("_{port}"));
        }
        RefSpace(host)
    }

    /// Returns a name space for each of `mirrors`, in their order, all distinct. The first mirror of a host has the
    /// plain name; each later one has 8 hexadecimal digits of its URL's hash behind it. Mirrors of the command line
    /// count as last, so that they change no other's name.
    pub fn of_all(mirrors: &[Mirror]) -> Vec<Self> {
        let mut taken = std::collections::BTreeSet::new();
        let mut order: Vec<usize> = (0..mirrors.len()).collect();
        order.sort_by_key(|at| mirrors[*at].origin == Origin::CommandLine);
        let mut names = vec![RefSpace(String::new()); mirrors.len()];
        for at in order {
            let url = &mirrors[at].url;
            let plain = Self::of(url);
            names[at] = if taken.contains(&plain) {
                RefSpace(format!("{}-{:08x}", plain.0, fnv1a(url.raw().as_bytes())))
            } else {
                plain
            };
            taken.insert(names[at].clone());
        }
        names
    }

    /// Returns `<host>` as it stands in ref names.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Returns the local name of the mirror's ref `theirs`: `refs/heads/main` becomes
    /// `refs/mirror/<host>/heads/main`; `None` for what is no ref below `refs/` (`HEAD`).
    pub fn local_name(&self, theirs: &str) -> Option<String> {
        theirs.strip_prefix("refs/").map(|rest| format!("{PREFIX}{}/{rest}", self.0))
    }
}

/// 32-bit FNV-1a: short, stable across releases and machines, no secret.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn safe_component(host: &str) -> String {
    let mut out: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '-' }).collect();
    while out.contains("..") {
        out = out.replace("..", ".-");
    }
    if out.is_empty() || out.starts_with('.') || out.starts_with('-') {
        out.insert(0, 'h');
    }
    if out.ends_with('.') || out.ends_with(".lock") {
        out.push('-');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(url: &str) -> String {
        RefSpace::of(&GitUrl::parse(url).expect("a URL")).name().to_owned()
    }

    #[test]
    fn names_hosts() {
        for (url, want) in [
            ("https://Mirror.Example/a", "mirror.example"),
            ("https://h:443/a", "h"),
            ("https://h:8443/a", "h_8443"),
            ("git://[2001:db8::1]:9999/a", "2001-db8--1_9999"),
            ("git://[::1]/a", "h--1"),
            ("git@h.example:dir/a", "h.example"),
            ("/srv/a", "localhost"),
            ("file:///srv/a", "localhost"),
            ("git://h..x.lock/a", "h.-x.lock-"),
        ] {
            assert_eq!(name(url), want, "{url}");
        }
    }

    #[test]
    fn two_mirrors_on_one_host_differ() {
        let mirrors: Vec<_> =
            ["/srv/a", "/srv/b", "https://h/a"].map(|u| Mirror::configured(GitUrl::parse(u).expect("a URL"))).into();
        let names = RefSpace::of_all(&mirrors);
        assert_eq!(names[0].name(), "localhost");
        assert!(names[1].name().starts_with("localhost-"), "{names:?}");
        assert_eq!(names[2].name(), "h");
        assert_eq!(names[0].local_name("refs/heads/a/b").as_deref(), Some("refs/mirror/localhost/heads/a/b"));
        assert_eq!(names[0].local_name("HEAD"), None);
    }
}
