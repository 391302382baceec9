//! Which mirror of which remote is meant: where its refs are kept, `refs/mirror/<host>/`, and under which key what came
//! of it.
//!
//! `<host>` is the mirror's host, `host_port` with a port that is not the scheme's own, `localhost` for a path; whatever
//! git-check-ref-format(1) forbids becomes `-`. Of several mirrors on one host, be they of one remote or of many, the first
//! has that name, and later ones carry a hash of their remote and URL. The key is such a hash alone, so that it stays when
//! another remote comes or goes. Neither is made of a password or a token.

use std::collections::BTreeSet;

use super::stable_hash::stable_hash;
use super::url_key::without_credentials;
use super::{GitUrl, Mirror, Origin, Transport};

/// The common prefix of all mirror refs.
pub const PREFIX: &str = "refs/mirror/";

/// One mirror of one remote.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefSpace {
    name: String,
    key: String,
}

impl RefSpace {
    /// Returns the name space of the mirror at `url` of `remote`, with no regard to other mirrors.
    pub fn of(remote: &str, url: &GitUrl) -> Self {
        RefSpace { name: host_name(url), key: format!("{:016x}", hash(remote, url)) }
    }

    /// Returns a name space for each mirror of each remote, in their order, all distinct. Remotes come with their names,
    /// or their URLs. Mirrors of the command line count as last, so that they change no other's name.
    pub fn of_all(remotes: &[(&str, Vec<Mirror>)]) -> Vec<Vec<Self>> {
        let mut taken = BTreeSet::new();
        let mut spaces: Vec<Vec<Self>> = Vec::with_capacity(remotes.len());
        let each = |(remote, mirrors): &(&str, Vec<Mirror>)| mirrors.iter().map(|m| Self::of(remote, &m.url)).collect();
        spaces.extend(remotes.iter().map(each));
        for last in [false, true] {
            let all = remotes.iter().zip(&mut spaces).flat_map(|((_, mirrors), spaces)| mirrors.iter().zip(spaces));
            for (_, space) in all.filter(|(mirror, _)| (mirror.origin == Origin::CommandLine) == last) {
                // Of the whole hash, as much as is needed.
                let digits = [0, 8, 16].into_iter().map(|digits| space.named(digits));
                let free = digits.chain((1..).map(|n| format!("{}-{n}", space.named(16)))).find(|n| !taken.contains(n));
                space.name = free.unwrap_or_default();
                taken.insert(space.name.clone());
            }
        }
        spaces
    }

    fn named(&self, digits: usize) -> String {
        if digits == 0 { self.name.clone() } else { format!("{}-{}", self.name, &self.key[..digits]) }
    }

    /// Returns what stands for this mirror of this remote in files: 16 hexadecimal digits.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns `<host>` as it stands in ref names.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the local name of the mirror's ref `theirs`: `refs/heads/main` becomes
    /// `refs/mirror/<host>/heads/main`; `None` for what is no ref below `refs/` (`HEAD`).
    pub fn local_name(&self, theirs: &str) -> Option<String> {
        theirs.strip_prefix("refs/").map(|rest| format!("{PREFIX}{}/{rest}", self.name))
    }
}

/// Returns whether `text` is one that [`RefSpace::key`] gives.
pub fn is_key(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn hash(remote: &str, url: &GitUrl) -> u64 {
    // Where there is no remote, its name is a URL.
    let remote = if remote.contains(':') { without_credentials(remote) } else { remote.to_owned() };
    stable_hash([remote.as_bytes(), without_credentials(url.raw()).as_bytes()])
}

/// Returns `<host>` as the first mirror of a host has it.
fn host_name(url: &GitUrl) -> String {
    if url.transport == Transport::Local {
        return "localhost".into();
    }
    let mut host = safe_component(&url.host.to_ascii_lowercase());
    if let Some(port) = url.foreign_port() {
        host.push_str(&format!("_{port}"));
    }
    host
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
        RefSpace::of("o", &GitUrl::parse(url).expect("a URL")).name().to_owned()
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

    fn mirrors(urls: &[&str]) -> Vec<Mirror> {
        urls.iter().map(|url| Mirror::configured(GitUrl::parse(url).expect("a URL"))).collect()
    }

    fn names(remotes: &[(&str, Vec<Mirror>)]) -> Vec<Vec<String>> {
        let names = |spaces: &Vec<RefSpace>| spaces.iter().map(|space| space.name().to_owned()).collect();
        RefSpace::of_all(remotes).iter().map(names).collect()
    }

    #[test]
    fn two_mirrors_on_one_host_differ() {
        let spaces = RefSpace::of_all(&[("o", mirrors(&["/srv/a", "/srv/b", "https://h/a"]))]);
        let names = &spaces[0];
        assert_eq!(names[0].name(), "localhost");
        assert!(names[1].name().starts_with("localhost-"), "{names:?}");
        assert_eq!(names[2].name(), "h");
        assert_eq!(names[0].local_name("refs/heads/a/b").as_deref(), Some("refs/mirror/localhost/heads/a/b"));
        assert_eq!(names[0].local_name("HEAD"), None);
    }

    #[test]
    fn two_remotes_on_one_host_differ() {
        let (a, b) = (mirrors(&["https://office/a", "https://x/a"]), mirrors(&["https://office/b"]));
        let both = names(&[("origin", a.clone()), ("other", b.clone())]);
        assert_eq!(both[0], ["office", "x"]);
        assert!(both[1][0].starts_with("office-") && both[1][0].len() == "office-12345678".len(), "{both:?}");
        // Alone, each has the plain name; the key is the same, wherever it stands.
        assert_eq!(names(&[("other", b.clone())])[0], ["office"]);
        let key = |all: &[(&str, Vec<Mirror>)], at: usize| RefSpace::of_all(all)[at][0].key().to_owned();
        assert_eq!(key(&[("origin", a.clone()), ("other", b.clone())], 1), key(&[("other", b.clone())], 0));
        assert_ne!(key(&[("other", b.clone())], 0), key(&[("another", b.clone())], 0));
        assert!(is_key(&key(&[("o", b)], 0)) && !is_key("localhost") && !is_key("0123456789ABCDEF"));
        // One mirror under two remotes is two.
        let twice = names(&[("origin", a.clone()), ("other", a)]);
        assert!(twice[0].iter().all(|name| !twice[1].contains(name)), "{twice:?}");
        // Who is named for one run comes last, in whatever remote.
        let run = vec![Mirror { origin: Origin::CommandLine, ..mirrors(&["https://h/run"])[0].clone() }];
        let all = names(&[("a", run.clone()), ("b", mirrors(&["https://h/b"])), ("c", run)]);
        assert_eq!(all[1], ["h"]);
        assert!(all[0][0].starts_with("h-") && all[2][0].starts_with("h-") && all[0] != all[2], "{all:?}");
    }

    #[test]
    fn no_secret_is_in_a_key() {
        let key = |remote: &str, url: &str| RefSpace::of(remote, &GitUrl::parse(url).expect("a URL")).key;
        assert_eq!(key("o", "https://u:secret@h/a"), key("o", "https://v:other@h/a"));
        assert_eq!(key("https://token@c/a", "https://h/a"), key("https://c/a", "https://h/a"));
        assert_ne!(key("https://c/a", "https://h/a"), key("https://c/b", "https://h/a"));
        // Files hold it: it may never change.
        assert_eq!(key("origin", "https://h.example/a.git"), "5558f688845a5fc2");
    }

    #[test]
    fn names_stay_distinct_where_hosts_look_like_hashes() {
        let b = mirrors(&["https://h/b"]);
        let hashed = names(&[("o", mirrors(&["https://h/a"])), ("p", b.clone())])[1][0].clone();
        let all = [("o", mirrors(&["https://h/a", &format!("https://{hashed}/a")])), ("p", b)];
        let names = names(&all).concat();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 3, "{names:?}");
    }
}
