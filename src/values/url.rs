//! URLs as git understands them, and which transport each means.
//!
//! Source: `parse_connect_url`, `host_end`, `get_host_and_port` in git's `connect.c` (2.47), and gitprotocol-common(7).
//! A URL keeps its text; nothing here rewrites it. What is shown to people goes through [`GitUrl::redacted`].

use super::{Error, Kind, Result};

/// How a URL is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `http://`, `https://`, `ftp://`, `ftps://`: by git's own `git remote-<scheme>`.
    Http,
    /// `ssh://` and `host:path`.
    Ssh,
    /// `git://`.
    Git,
    /// `file://` and plain paths.
    Local,
}

/// A parsed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitUrl {
    raw: String,
    /// How it is reached.
    pub transport: Transport,
    /// The scheme in lower case, as `protocol.<scheme>.allow` names it: `https`, `ssh`, `git`, `file`, ….
    pub scheme: String,
    /// `user` or `user:password`, undecoded for HTTP, decoded otherwise.
    pub userinfo: Option<String>,
    /// The host without brackets; empty for [`Transport::Local`].
    pub host: String,
    /// The port, where one is written.
    pub port: Option<u16>,
    /// The path as the other side gets it.
    pub path: String,
}

impl GitUrl {
    /// Parses `raw` the way git does.
    ///
    /// # Errors
    /// [`Kind::Usage`] for an empty URL, another helper's URL (`x::…`), an unknown scheme, one without a path, or a
    /// host or path that begins with `-` and would read as an option (git blocks those too).
    pub fn parse(raw: &str) -> Result<Self> {
        let bad = |why: &str| Error::new(Kind::Usage, format!("cannot use '{}' as a URL: {why}", redact(raw)));
        if raw.is_empty() {
            return Err(bad("it is empty"));
        }
        if let Some((helper, _)) = raw
            .split_once("::")
            .filter(|(h, _)| !h.is_empty() && h.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
        {
            return Err(bad(&format!("git-remote-mirror cannot speak to the remote helper '{helper}'")));
        }
        let Some((scheme, rest)) = split_scheme(raw) else {
            return Self::parse_scp_or_path(raw).map_err(|why| bad(&why));
        };
        let scheme = scheme.to_ascii_lowercase();
        let parsed = match scheme.as_str() {
            "http" | "https" | "ftp" | "ftps" => Self::parse_http(raw, &scheme),
            "ssh" | "git+ssh" | "ssh+git" => Self::parse_hosted(raw, "ssh", Transport::Ssh, &decode(rest)),
            "git" => Self::parse_hosted(raw, "git", Transport::Git, &decode(rest)),
            "file" => Ok(Self::local(raw, "file", &decode(rest))),
            other => Err(format!("protocol '{other}' is not supported")),
        };
        parsed.and_then(Self::safe).map_err(|why| bad(&why))
    }

    fn parse_scp_or_path(raw: &str) -> std::result::Result<Self, String> {
        let colon = raw.find(':');
        let slash = raw.find('/');
        let local = match (colon, slash) {
            (None, _) => true,
            (Some(c), Some(s)) => s < c,
            (Some(_), None) => false,
        };
        if local {
            return Self::local(raw, "file", raw).safe();
        }
        // `[host:port]:path`, `user@[::1]:path`, `host:path`
        let open = raw.find("@[").map_or(0, |at| at + 1);
        let after_host =
            if raw[open..].starts_with('[') { raw[open..].find(']').map_or(0, |close| open + close + 1) } else { 0 };
        let colon = raw[after_host..].find(':').map(|i| after_host + i).ok_or("no path specified")?;
        let path = &raw[colon + 1..];
        if path.is_empty() {
            return Err("no path specified".into());
        }
        let path = if path.starts_with("/~") { &path[1..] } else { path };
        Self::hosted(raw, "ssh", Transport::Ssh, &raw[..colon], path).safe()
    }

    fn parse_hosted(raw: &str, scheme: &str, transport: Transport, rest: &str) -> std::result::Result<Self, String> {
        let open = rest.find("@[").map_or(0, |at| at + 1);
        let after_host =
            if rest[open..].starts_with('[') { rest[open..].find(']').map_or(0, |close| open + close + 1) } else { 0 };
        let slash = rest[after_host..].find('/').map(|i| after_host + i).ok_or("no path specified")?;
        let path = &rest[slash..];
        let path = if path.starts_with("/~") { &path[1..] } else { path };
        Ok(Self::hosted(raw, scheme, transport, &rest[..slash], path))
    }

    fn hosted(raw: &str, scheme: &str, transport: Transport, authority: &str, path: &str) -> Self {
        // Old notations, still read by git: `[user@host:port]`, `[user@::1]:port`.
        let inside = authority.strip_prefix('[').and_then(|a| a.split_once(']'));
        let (userinfo, rest) = match inside.and_then(|(inside, after)| Some((inside.rsplit_once('@')?, after))) {
            Some(((user, host), after)) => (Some(user), format!("[{host}]{after}")),
            None => match authority.rsplit_once('@') {
                Some((user, host)) => (Some(user), host.to_owned()),
                None => (None, authority.to_owned()),
            },
        };
        let userinfo = userinfo.map(str::to_owned);
        let (host, port) = host_and_port_of(&rest);
        GitUrl {
            raw: raw.to_owned(),
            transport,
            scheme: scheme.to_owned(),
            userinfo,
            host,
            port,
            path: path.to_owned(),
        }
    }

    fn parse_http(raw: &str, scheme: &str) -> std::result::Result<Self, String> {
        let url = url::Url::parse(raw).map_err(|err| err.to_string())?;
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let userinfo = match (url.username(), url.password()) {
            ("", None) => None,
            (user, None) => Some(user.to_owned()),
            (user, Some(password)) => Some(format!("{user}:{password}")),
        };
        Ok(GitUrl {
            raw: raw.to_owned(),
            transport: Transport::Http,
            scheme: scheme.to_owned(),
            userinfo,
            host,
            port: url.port(),
            path: url.path().to_owned(),
        })
    }

    fn local(raw: &str, scheme: &str, path: &str) -> Self {
        GitUrl {
            raw: raw.to_owned(),
            transport: Transport::Local,
            scheme: scheme.to_owned(),
            userinfo: None,
            host: String::new(),
            port: None,
            path: path.to_owned(),
        }
    }

    fn safe(self) -> std::result::Result<Self, String> {
        let parts = [&self.raw, &self.host, &self.path];
        if self.transport == Transport::Git && parts.iter().any(|part| part.contains('\n')) {
            return Err("newline is forbidden in git:// hosts and repo paths".into());
        }
        if parts.iter().any(|part| part.contains('\0')) {
            return Err("it holds a NUL".into());
        }
        if self.transport != Transport::Http && self.path.starts_with('-') {
            return Err(format!("strange pathname '{}' blocked", self.path));
        }
        if self.host.starts_with('-') || self.userinfo.as_deref().is_some_and(|user| user.starts_with('-')) {
            return Err(format!("strange hostname '{}' blocked", self.host));
        }
        Ok(self)
    }

    /// Returns the URL as it was written. May hold a password: for git's eyes only.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Returns the URL for people: a password is replaced by `***`, and a lone user name of an HTTP URL (often a
    /// token) as well.
    pub fn redacted(&self) -> String {
        redact(&self.raw)
    }

    /// Returns the port that is used, where the transport has one.
    pub fn effective_port(&self) -> Option<u16> {
        self.port.or(self.usual_port())
    }

    fn usual_port(&self) -> Option<u16> {
        match self.scheme.as_str() {
            "https" => Some(443),
            "http" => Some(80),
            "ftp" => Some(21),
            "ftps" => Some(990),
            "ssh" => Some(22),
            "git" => Some(9418),
            _ => None,
        }
    }

    /// Returns host and port for people: `host`, `host:port` where the port is not the scheme's own, or the path of a
    /// local repository.
    pub fn shown_host(&self) -> String {
        if self.transport == Transport::Local {
            return self.path.clone();
        }
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.foreign_port() {
            Some(port) => format!("{host}:{port}"),
            None => host,
        }
    }

    /// Returns the port, unless it is the one that the scheme has anyway.
    pub fn foreign_port(&self) -> Option<u16> {
        self.port.filter(|port| Some(*port) != self.usual_port())
    }
}

/// Returns `text` with what may be a credential in a URL, or in any of the URLs in a message, replaced by `***`. Works on
/// what is no URL at all, too.
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let scheme = before[..at].rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        let over_http = scheme.to_ascii_lowercase().starts_with("http");
        // HTTP clients read `https:///u:p@h/` as `https://u:p@h/`.
        let after = if over_http { after.trim_start_matches('/') } else { after };
        // Of a message, a URL is a word; a text that is a URL may be a bad one, with spaces.
        let word = if out.is_empty() && scheme.len() == at { after.len() } else { end_of_word(after) };
        out.push_str(before);
        rest = match userinfo_end(&after[..word]) {
            None => after,
            Some(end) => {
                match after[..end].split_once(':') {
                    Some((user, _)) => out.push_str(&format!("{user}:***")),
                    None if over_http => out.push_str("***"),
                    None => out.push_str(&after[..end]),
                }
                &after[end..]
            }
        };
    }
    out + rest
}

fn end_of_word(text: &str) -> usize {
    text.find(char::is_whitespace).unwrap_or(text.len())
}

/// Returns where the user and password end in what follows a `://`.
fn userinfo_end(word: &str) -> Option<usize> {
    let authority = &word[..word.find(['/', '?', '#']).unwrap_or(word.len())];
    authority.rfind('@').or_else(|| {
        // No port: a password with a character in it that should have been encoded.
        let (_, port) = authority.split_once(':').filter(|_| !authority.starts_with('['))?;
        if port.bytes().all(|b| b.is_ascii_digit()) { None } else { word.rfind('@') }
    })
}

fn split_scheme(raw: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = raw.split_once("://")?;
    let known = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    known.then_some((scheme, rest))
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn host_and_port_of(text: &str) -> (String, Option<u16>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        if rest.is_empty() && host.matches(':').count() == 1 {
            return host_and_port_of(host);
        }
        return (host.to_owned(), rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match text.rsplit_once(':') {
        Some((host, "")) => (host.to_owned(), None),
        Some((host, port)) if !host.contains(':') => match port.parse() {
            Ok(number) => (host.to_owned(), Some(number)),
            Err(_) => (text.to_owned(), None),
        },
        _ => (text.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(raw: &str) -> (Transport, Option<String>, String, Option<u16>, String) {
        let url = GitUrl::parse(raw).unwrap_or_else(|err| panic!("{raw}: {err}"));
        (url.transport, url.userinfo, url.host, url.port, url.path)
    }

    #[test]
    fn reads_what_git_reads() {
        use Transport::{Git, Http, Local, Ssh};
        let some = |s: &str| Some(s.to_owned());
        for (raw, want) in [
            ("https://h.example/a.git", (Http, None, "h.example".into(), None, "/a.git".into())),
            ("https://u:p@h:8443/a", (Http, some("u:p"), "h".into(), Some(8443), "/a".into())),
            ("http://[::1]:8080/a", (Http, None, "::1".into(), Some(8080), "/a".into())),
            ("ssh://git@h:2222/a", (Ssh, some("git"), "h".into(), Some(2222), "/a".into())),
            ("ssh://[::1]:22/a", (Ssh, None, "::1".into(), Some(22), "/a".into())),
            ("ssh://git@[::1]/~u/a", (Ssh, some("git"), "::1".into(), None, "~u/a".into())),
            ("git@h:dir/a", (Ssh, some("git"), "h".into(), None, "dir/a".into())),
            ("h:/abs", (Ssh, None, "h".into(), None, "/abs".into())),
            ("[h:2222]:a", (Ssh, None, "h".into(), Some(2222), "a".into())),
            ("[::1]:a", (Ssh, None, "::1".into(), None, "a".into())),
            // As ssh itself takes it apart.
            ("[a:b@c@h:22]:a", (Ssh, some("a:b@c"), "h".into(), Some(22), "a".into())),
            ("[git@h:2222]:a", (Ssh, some("git"), "h".into(), Some(2222), "a".into())),
            ("ssh://[git@::1]:22/a", (Ssh, some("git"), "::1".into(), Some(22), "/a".into())),
            ("ssh://[git@h:22]/a", (Ssh, some("git"), "h".into(), Some(22), "/a".into())),
            ("git://h/a%20b", (Git, None, "h".into(), None, "/a b".into())),
            ("git://h:9999/a", (Git, None, "h".into(), Some(9999), "/a".into())),
            ("/srv/a b.git", (Local, None, String::new(), None, "/srv/a b.git".into())),
            ("./a:b", (Local, None, String::new(), None, "./a:b".into())),
            ("file:///srv/a%20b", (Local, None, String::new(), None, "/srv/a b".into())),
            (".", (Local, None, String::new(), None, ".".into())),
        ] {
            assert_eq!(parts(raw), want, "{raw}");
        }
    }

    #[test]
    fn refuses_what_could_harm() {
        for raw in [
            "",
            "ext::sh -c x",
            "foo://h/a",
            "ssh://h",
            "-h:path",
            "ssh://-oProxyCommand=x/a",
            "host:",
            "-path",
            "ssh://-x@h/a",
            "git://h/a\nhost=x",
            "s3::h",
        ] {
            assert!(GitUrl::parse(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn shows_no_secret() {
        for (raw, shown) in [
            ("https://u:secret@h/a", "https://u:***@h/a"),
            ("https://token@h/a", "https://***@h/a"),
            ("https:///u:secret@h/a", "https://u:***@h/a"),
            ("ssh://git@h/a", "ssh://git@h/a"),
            ("ssh://git:secret@h/a", "ssh://git:***@h/a"),
            ("https://h/a@b", "https://h/a@b"),
            ("https://h:80/a@b", "https://h:80/a@b"),
            ("https://u:secret/x@h/a", "https://u:***@h/a"),
            ("https://u:sec ret@h/a", "https://u:***@h/a"),
            ("git@h:a", "git@h:a"),
            ("key=https://u:secret@h/a", "key=https://u:***@h/a"),
            (
                "no '://' to 'https://u:secret@h/', 'http://secret@i/'",
                "no '://' to 'https://u:***@h/', 'http://***@i/'",
            ),
        ] {
            assert_eq!(redact(raw), shown);
        }
        let err = GitUrl::parse("foo://u:secret@h/a").expect_err("unknown scheme").to_string();
        assert!(!err.contains("secret"), "{err}");
    }
}
