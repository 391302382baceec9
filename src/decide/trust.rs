//! Which of the mirrors that a server names a client may learn (gitprotocol-mirror(5), "Security considerations").
//!
//! A learned URL is used later without anybody looking at it, so it must be one that reads the same to every program:
//! what git, curl and ssh may take apart differently is refused, and so is what leads less safely, or to places that
//! only the client can reach. No reason given here repeats what the server wrote.

use core::net::IpAddr;

use super::host::{address_of, is_forbidden_address, is_private_address, is_private_host};
use crate::values::mirror_list::{MirrorEntry, MirrorList};
use crate::values::url::redact;
use crate::values::url_key::key;
use crate::values::{Error, GitUrl, Kind};

/// The most mirrors that are looked at in one answer.
pub const MAX_MIRRORS: usize = 64;
/// The most bytes of a URL.
pub const MAX_URL: usize = 4096;
/// The most characters of a refused text that are shown.
const MAX_SHOWN: usize = 200;
/// What a learned URL may use at all.
const SCHEMES: [&str; 4] = ["https", "http", "ssh", "git"];

/// Why nobody may be sent to such an address.
const FORBIDDEN: &str =
    "it is on a link-local address, or on one that gives a machine's secrets to whoever asks from it";

/// Why a mirror that is not public is not asked.
pub const PRIVATE: &str = "it is on a private address, and the server that lists it is on a public one";

/// Judges the addresses that the name of a learned mirror leads to: all of them, as any may be the one that is used.
/// `private_is_fine` is asked where one is private.
///
/// # Errors
/// [`Kind::Config`] with the reason, as [`Trust::judge`] gives it; those of `private_is_fine`.
pub fn judge_addresses(
    found: &[IpAddr],
    private_is_fine: impl FnOnce() -> crate::values::Result<bool>,
) -> crate::values::Result<()> {
    if found.iter().any(|address| is_forbidden_address(*address)) {
        return Err(Error::new(Kind::Config, FORBIDDEN));
    }
    if found.iter().any(|address| is_private_address(*address)) && !private_is_fine()? {
        return Err(Error::new(Kind::Config, PRIVATE));
    }
    Ok(())
}

/// Returns whether a server is on a private address, by its name and by the addresses that this has; none where it could
/// not be looked up. One public address makes it public: whoever answers for a public name may add any other to it.
pub fn is_private_server(host: &str, found: &[IpAddr]) -> bool {
    if found.is_empty() { is_private_host(host) } else { found.iter().all(|address| is_private_address(*address)) }
}

/// What a client knows when it judges a server's mirrors.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// The server that names them.
    pub canonical: &'a GitUrl,
    /// Whether that server is on a private address, as [`is_private_server`] says.
    pub canonical_is_private: bool,
    /// The values of `mirror.allowProtocol`, each one or more schemes with spaces, commas or colons between.
    pub allowed: &'a [String],
    /// Whether the user allows mirrors on private addresses whoever names them.
    pub allow_private: bool,
}

/// A mirror that may be learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// Where it is.
    pub url: GitUrl,
    /// What the server says of it.
    pub entry: MirrorEntry,
}

/// A mirror that may not be learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its URL for people: no credential, nothing that a terminal obeys, not long.
    pub shown: String,
    /// Why; one line without a full stop.
    pub reason: String,
}

impl Trust<'_> {
    /// Returns the URL, where a client may learn it.
    ///
    /// # Errors
    /// Why it may not, as a sentence without a full stop about "it".
    pub fn judge(&self, url: &str) -> Result<GitUrl, String> {
        if url.len() > MAX_URL {
            return Err(format!("it is longer than {MAX_URL} bytes"));
        }
        if !url.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
            return Err("it holds a control character, a space, a backslash or a letter that is not ASCII".into());
        }
        let written = url.split_once("://").map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
        let Some((scheme, rest)) = written.filter(|(scheme, _)| SCHEMES.contains(&scheme.as_str())) else {
            return Err("only https://, http://, ssh:// and git:// may be learned".into());
        };
        self.judge_scheme(&scheme)?;
        if percent_encoding::percent_decode_str(url).any(|byte| byte.is_ascii_control()) {
            return Err("it holds an encoded control character".into());
        }
        let authority = Authority::of(rest)?;
        match authority.user {
            Some(user) if user.contains(':') => return Err("it holds a password".into()),
            Some(_) if scheme != "ssh" => return Err("it holds a user name, which may be a token".into()),
            Some(user) if !is_plain_name(user, "._-+") => return Err("its user name is no plain one".into()),
            _ => {}
        }
        // `parse` refuses a leading `-` where a program could read an option.
        let parsed = GitUrl::parse(url).map_err(|_| "git would not use it".to_owned())?;
        let hosts = [authority.host, &parsed.host];
        if hosts.into_iter().filter_map(address_of).any(is_forbidden_address) {
            return Err(FORBIDDEN.into());
        }
        let private = hosts.into_iter().any(is_private_host);
        if private && !self.canonical_is_private && !self.allow_private {
            return Err("it is on a private host, and the server that lists it is on a public one".into());
        }
        Ok(parsed)
    }

    fn judge_scheme(&self, scheme: &str) -> Result<(), String> {
        let mut allowed = self.allowed.iter().flat_map(|value| value.split([' ', ',', ':'])).filter(|s| !s.is_empty());
        if allowed.clone().next().is_some() {
            let named = allowed.any(|allowed| allowed.eq_ignore_ascii_case(scheme));
            return if named { Ok(()) } else { Err(format!("mirror.allowProtocol does not name '{scheme}'")) };
        }
        let confidential = matches!(self.canonical.scheme.as_str(), "https" | "ssh" | "ftps");
        if confidential && matches!(scheme, "http" | "git") {
            let by = &self.canonical.scheme;
            return Err(format!(
                "{scheme}:// is not encrypted, and the server that lists it is reached by {by}:// \
                 (mirror.allowProtocol can allow it)"
            ));
        }
        Ok(())
    }

    /// Returns the mirrors of an answer that may be learned, in its order, and those that may not. Of those that mean
    /// the same the first counts. After [`MAX_MIRRORS`] none is looked at; the last refusal says how many those are.
    pub fn accept(&self, list: &MirrorList) -> (Vec<Accepted>, Vec<Refused>) {
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        let mut seen = std::collections::HashSet::new();
        for entry in list.mirrors.iter().take(MAX_MIRRORS) {
            match self.judge(&entry.url) {
                Ok(url) if key(url.raw()) == key(self.canonical.raw()) => {
                    refused.push(Refused { shown: shown(&entry.url), reason: "it is the server that lists it".into() });
                }
                Ok(url) => {
                    if seen.insert(key(url.raw())) {
                        accepted.push(Accepted { url, entry: entry.clone() });
                    }
                }
                Err(reason) => refused.push(Refused { shown: shown(&entry.url), reason }),
            }
        }
        let over = list.mirrors.len().saturating_sub(MAX_MIRRORS);
        if over > 0 {
            let reason = format!("an answer may list {MAX_MIRRORS}");
            refused.push(Refused { shown: format!("{over} more"), reason });
        }
        (accepted, refused)
    }
}

/// `[<user>@]<host>[:<port>]`, in a form that has one reading.
struct Authority<'a> {
    user: Option<&'a str>,
    /// Without brackets.
    host: &'a str,
}

impl<'a> Authority<'a> {
    /// Reads what is between `://` and the path.
    fn of(rest: &'a str) -> Result<Self, String> {
        let text = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, text) = text.rsplit_once('@').map_or((None, text), |(user, text)| (Some(user), text));
        let bad = || Err("its host is not plainly written".to_owned());
        let (host, port) = match text.strip_prefix('[') {
            Some(inner) => {
                let Some((host, after)) = inner.split_once(']') else { return bad() };
                if host.parse::<core::net::Ipv6Addr>().is_err() || !(after.is_empty() || after.starts_with(':')) {
                    return bad();
                }
                (host, after.strip_prefix(':'))
            }
            None => {
                let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
                let label = |label: &str| is_plain_name(label, "-_") && label.len() <= 63;
                if host.len() > 253 || !host.strip_suffix('.').unwrap_or(host).split('.').all(label) {
                    return bad();
                }
                (host, port)
            }
        };
        let number = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|n| n > 0);
        if port.is_some_and(|port| !number(port)) {
            return Err("its port is no number from 1 to 65535".into());
        }
        Ok(Authority { user, host })
    }
}

/// Whether `text` is letters, digits and `others`, not nothing, and not begun by `-`.
fn is_plain_name(text: &str, others: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    !text.is_empty() && !text.starts_with('-') && text.chars().all(plain)
}

/// Returns a server's text for people: what may be a credential is hidden, what is not printable ASCII is escaped, and
/// the end of a long one is cut off.
pub fn shown(url: &str) -> String {
    let (start, rest) = url.split_once("://").unwrap_or(("", url));
    // Where what is before a `@` cannot be told from a path, all of it is hidden.
    let clear = !rest.contains('@') || (is_plain_name(start, "+.-") && Authority::of(rest).is_ok());
    let hidden = if clear {
        redact(url)
    } else {
        let scheme = if is_plain_name(start, "+.-") { format!("{start}://") } else { String::new() };
        format!("{scheme}***@{}", rest.rsplit('@').next().unwrap_or_default())
    };
    let escape =
        |c: char| if c == ' ' || c.is_ascii_graphic() { String::from(c) } else { c.escape_default().to_string() };
    let mut line: String = hidden.chars().map(escape).collect();
    if line.len() > MAX_SHOWN {
        // ASCII only: bytes are characters.
        line.truncate(MAX_SHOWN - 1);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(canonical: &str, allowed: &[&str], allow_private: bool, url: &str) -> Result<GitUrl, String> {
        let canonical = GitUrl::parse(canonical).expect("a URL");
        let allowed: Vec<String> = allowed.iter().map(|a| (*a).to_owned()).collect();
        let canonical_is_private = is_private_host(&canonical.host);
        Trust { canonical: &canonical, canonical_is_private, allowed: &allowed, allow_private }.judge(url)
    }

    fn reason(url: &str) -> Option<String> {
        judged("https://canon.example/a", &[], false, url).err()
    }

    #[test]
    fn safe_ones() {
        for url in [
            "https://m.example/a",
            "HTTPS://M.example:8443/a%20b/c.git",
            "https://m.example",
            "https://m.example/a@b",
            "https://[2001:db8::1]:8443/a",
            "https://203.0.113.7/a",
            "https://xn--bcher-kva.example/%C3%A9",
            "ssh://git@m.example:2222/~user/a",
            "ssh://m.example./a",
            "https://m.example/-a",
        ] {
            assert_eq!(reason(url), None, "{url}");
        }
    }

    #[test]
    fn hostile_ones() {
        let only = "only https://";
        let long = format!("https://m.example/{}", "a".repeat(MAX_URL));
        for (url, why) in [
            ("", only),
            ("ext::sh -c x", "space"),
            ("ext::sh", only),
            ("ext::https://m.example/a", only),
            ("mirror::https://m.example/a", only),
            ("file:///etc", only),
            ("/srv/a", only),
            ("../a", only),
            ("-x", only),
            ("git@m.example:a", only),
            ("m.example:/a", only),
            ("ftp://m.example/a", only),
            ("git+ssh://m.example/a", only),
            ("ssh://-oProxyCommand=x/a", "host"),
            ("ssh://%2doProxyCommand=x/a", "host"),
            ("ssh://-x@m.example/a", "user name"),
            ("ssh://%2dx@m.example/a", "user name"),
            ("ssh://[-x@::1]/a", "host"),
            ("ssh://[::1]x/a", "host"),
            ("ssh://[m.example:22]/a", "host"),
            ("ssh://m.example", "git would not"),
            ("ssh://m.example/a\nb", "control"),
            ("https://m.example/a\0", "control"),
            ("https://m.example/\u{1b}[2J", "control"),
            ("https://m.example/\u{202e}a", "ASCII"),
            ("https://m\u{e9}.example/a", "ASCII"),
            ("https://m.example/a b", "space"),
            ("https://m.example\\@canon.example/a", "backslash"),
            ("https://m.example/a%0d%0aHost:x", "encoded control"),
            ("ssh://m.example/a%00", "encoded control"),
            ("https://u:secret@m.example/a", "password"),
            ("https://u:@m.example/a", "password"),
            ("https://token@m.example/a", "user name"),
            ("https://@m.example/a", "user name"),
            ("https://a@b@m.example/a", "user name"),
            ("https://a:b@c@m.example/a", "password"),
            ("ssh://git:secret@m.example/a", "password"),
            ("ssh://git%3asecret@m.example/a", "user name"),
            ("ssh://@m.example/a", "user name"),
            ("https:///u:secret@m.example/a", "host"),
            ("https://m.example:0/a", "port"),
            ("https://m.example:+1/a", "port"),
            ("https://m.example:65536/a", "port"),
            ("https://m.example:/a", "port"),
            ("https://m..example/a", "host"),
            ("https://m,example/a", "host"),
            ("https://[fe80::1%25eth0]/a", "host"),
            (&long, "4096"),
        ] {
            let got = reason(url).unwrap_or_else(|| panic!("{url:?} is accepted"));
            assert!(got.contains(why), "{url:?}: {got}");
            assert!(!got.contains("secret"), "{url:?}: {got}");
        }
    }

    #[test]
    fn protocols() {
        for (canonical, allowed, url, fine) in [
            ("https://c.example/a", &[][..], "http://m.example/a", false),
            ("ssh://c.example/a", &[], "git://m.example/a", false),
            ("c.example:a", &[], "git://m.example/a", false),
            ("https://c.example/a", &["http"], "http://m.example/a", true),
            ("https://c.example/a", &["https, HTTP"], "http://m.example/a", true),
            ("https://c.example/a", &["git:ssh"], "https://m.example/a", false),
            ("https://c.example/a", &["ssh", "https"], "http://m.example/a", false),
            ("https://c.example/a", &["ext", "file"], "file:///etc", false),
            ("https://c.example/a", &[""], "ssh://m.example/a", true),
            ("http://c.example/a", &[], "http://m.example/a", true),
            ("git://c.example/a", &[], "http://m.example/a", true),
            ("git://c.example/a", &[], "https://m.example/a", true),
            ("/srv/a", &[], "git://m.example/a", true),
        ] {
            assert_eq!(judged(canonical, allowed, false, url).is_ok(), fine, "{canonical} {allowed:?} {url}");
        }
    }

    #[test]
    fn hosts_that_nobody_may_name() {
        for url in [
            "https://169.254.169.254/latest",
            "https://169.254.169.254./a",
            "https://2852039166/a",
            "ssh://0xa9fea9fe/a",
            "ssh://git@[fd00:ec2::254]/a",
            "https://[fe80::1]/a",
            "https://[::ffff:169.254.169.254]/a",
            "https://[64:ff9b::a9fe:a9fe]/a",
            "https://100.100.100.200/a",
        ] {
            for (canonical, allow) in
                [("https://canon.example/a", true), ("https://10.1.1.1/a", false), ("/srv/a", true)]
            {
                let reason = judged(canonical, &[], allow, url).err();
                assert!(reason.is_some_and(|why| why.contains("link-local")), "{canonical} {url}");
            }
        }
    }

    #[test]
    fn addresses_are_judged_all() {
        let judge = |found: &str, private_is_fine: bool| {
            let found: Vec<IpAddr> = found.split_whitespace().map(|ip| ip.parse().expect("an address")).collect();
            judge_addresses(&found, || Ok(private_is_fine)).is_ok()
        };
        assert!(judge("8.8.8.8 2a00::1", false) && judge("8.8.8.8 10.0.0.1", true) && judge("", false));
        assert!(!judge("8.8.8.8 10.0.0.1", false) && !judge("8.8.8.8 ::ffff:127.0.0.1", false));
        assert!(!judge("8.8.8.8 169.254.169.254", true) && !judge("8.8.8.8 64:ff9b::a9fe:a9fe", true));
    }

    #[test]
    fn a_server_is_private_by_all_its_addresses() {
        let private = |host: &str, found: &str| {
            let found: Vec<IpAddr> = found.split_whitespace().map(|ip| ip.parse().expect("an address")).collect();
            is_private_server(host, &found)
        };
        assert!(private("git.example", "10.0.0.1 ::1") && private("git.corp", "") && private("git", "192.168.1.1"));
        assert!(!private("git.example", "10.0.0.1 8.8.8.8") && !private("git.example", "8.8.8.8 169.254.169.254"));
        assert!(!private("git.example", "") && !private("git.corp", "8.8.8.8"));
    }

    #[test]
    fn private_hosts() {
        let private = [
            "https://localhost/a",
            "https://m.localhost:8443/a",
            "https://m/a",
            "https://m.internal/a",
            "https://127.1/a",
            "https://0x7f.1/a",
            "https://2130706433/a",
            "https://017700000001/a",
            "ssh://git@127.1:22/a",
            "ssh://2130706433/a",
            "https://10.0.0.1/a",
            "https://[::1]/a",
            "https://[::ffff:127.0.0.1]/a",
            "https://0x08.8.8.8/a",
        ];
        for url in private {
            assert!(reason(url).is_some_and(|why| why.contains("private")), "{url}");
            for (canonical, allow) in [("https://canon.example/a", true), ("https://10.1.1.1/a", false)] {
                assert_eq!(judged(canonical, &[], allow, url).err(), None, "{canonical} {url}");
            }
        }
        assert!(judged("/srv/a", &[], false, "http://127.0.0.1:8080/a").is_ok());
    }

    #[test]
    fn accepts_a_list() {
        let canonical = GitUrl::parse("https://canon.example/a.git").expect("a URL");
        let trust = Trust { canonical: &canonical, canonical_is_private: false, allowed: &[], allow_private: false };
        let list = |urls: &[String]| MirrorList {
            mirrors: urls.iter().map(|url| MirrorEntry { url: url.clone(), ..MirrorEntry::default() }).collect(),
            ..MirrorList::default()
        };
        let urls = ["https://b/x", "https://b.example/a", "https://B.example:443/a.git/", "https://canon.example/a"];
        let (accepted, refused) = trust.accept(&list(&urls.map(str::to_owned)));
        assert_eq!(accepted.iter().map(|a| a.url.raw()).collect::<Vec<_>>(), ["https://b.example/a"]);
        assert_eq!(accepted[0].entry.url, "https://b.example/a");
        assert_eq!(refused.iter().map(|r| &*r.shown).collect::<Vec<_>>(), ["https://b/x", "https://canon.example/a"]);

        let many: Vec<String> = (0..10_000).map(|n| format!("https://m{n}.example/a")).collect();
        let (accepted, refused) = trust.accept(&list(&many));
        assert_eq!((accepted.len(), refused.len()), (MAX_MIRRORS, 1));
        assert_eq!(refused[0].shown, "9936 more");
        let bad = vec!["ext::x".to_owned(); 10_000];
        assert_eq!(trust.accept(&list(&bad)).1.len(), MAX_MIRRORS + 1);
    }

    #[test]
    fn shows_nothing_harmful() {
        for (url, want) in [
            ("https://u:secret@h/a", "https://u:***@h/a"),
            ("https://secret@h/a", "https://***@h/a"),
            ("https:///u:secret@h/a", "https://***@h/a"),
            ("https://u:secret/x@h/a", "https://***@h/a"),
            ("https://h/a@b", "https://h/a@b"),
            ("ssh://git@h/a", "ssh://git@h/a"),
            ("u:secret@h/a", "***@h/a"),
            ("ext::sh -c 'x https://u:secret@h/'", "***@h/'"),
            ("https://h/\0\n\u{1b}[2J\u{202e}", "https://h/\\u{0}\\n\\u{1b}[2J\\u{202e}"),
        ] {
            assert_eq!(shown(url), want, "{url:?}");
        }
        let long = shown(&format!("https://h/{}", "\u{1b}".repeat(5000)));
        assert_eq!(long.chars().count(), MAX_SHOWN);
        assert!(long.ends_with('…') && long.chars().all(|c| !c.is_control()));
    }
}
