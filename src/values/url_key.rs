//! Which URLs mean the same repository, and what of a URL other hosts may see.
//!
//! Source: `url_normalize` in git's `urlmatch.c`, `enter_repo` in `path.c` (`.git` may be left out), and
//! `parse_connect_url` in `connect.c` (paths below a home).

use super::{GitUrl, Transport};
use core::net::Ipv6Addr;

/// Returns whether two URLs mean the same repository, as far as their text tells. `http` and `https` differ.
pub fn same_resource(a: &str, b: &str) -> bool {
    key(a) == key(b)
}

/// Returns a text that is equal for URLs that mean the same repository. For comparing only: where `url` is none, it is
/// `url` itself.
///
/// - Scheme and host are in lower case, the scheme's own port is left out, and an IPv6 address has its short form.
/// - User and password count for nothing, but where a path begins in the home of the user who logs in:
///   `alice@h:a` is `ssh://h/~alice/a`, and `h:a` is `ssh://h/~/a`, which neither `ssh://h/a` nor `h:/a` is.
/// - `/a`, `/a/`, `/a.git` and `/a.git/` are equal; so is `/a/.git`, but over HTTP.
/// - What need not be percent-encoded is not, what must be is. Over HTTP an encoded delimiter (`%2F`) stays one; over
///   ssh and `git://`, where git itself decodes the URL, it is the same as the plain one.
/// - `.` and `..` are resolved over HTTP, as the client does; elsewhere a path may lead through symbolic links.
/// - `file:///a` is `/a`; `git+ssh://` and `ssh+git://` are `ssh://`; a `mirror::` in front is not looked at.
pub fn key(url: &str) -> String {
    let url = plain(url);
    let Ok(parsed) = GitUrl::parse(url) else { return url.to_owned() };
    let over_http = parsed.transport == Transport::Http;
    let user = parsed.userinfo.as_deref().map(|info| info.split(':').next().unwrap_or_default());
    let path = match parsed.transport {
        Transport::Ssh => path_below_root(&parsed.path, user),
        Transport::Git => path_below_root(&parsed.path, None),
        Transport::Http | Transport::Local => parsed.path.clone(),
    };
    // The query is the client's to send on; it is no part of the path over the other transports.
    let query = url.find(['?', '#']).filter(|_| over_http).map_or("", |at| &url[at..]);
    let path = spelled(without_suffixes(&path, over_http), over_http);
    format!("{}://{}{path}{}", parsed.scheme, authority(&parsed), spelled(query, true))
}

/// Returns `url` as it may be sent to other hosts: without user and password over HTTP and `git://`, and without
/// password over ssh, where the user is part of the address. A `mirror::` in front is left out too.
pub fn without_credentials(url: &str) -> String {
    let url = plain(url);
    let Ok(parsed) = GitUrl::parse(url) else {
        // No URL that anything could use: whatever may be a password goes.
        let Some(at) = url.rfind('@') else { return url.to_owned() };
        let is_scheme = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        let end = url.find("://").filter(|end| *end < at && is_scheme(&url[..*end]));
        let scheme = end.map_or("", |end| &url[..end + 3]);
        return format!("{scheme}{}", &url[at + 1..]);
    };
    let user = match (parsed.transport, parsed.userinfo.as_deref()) {
        (Transport::Http, _) => return without_userinfo(url),
        (Transport::Local, _) | (_, None) => return url.to_owned(),
        (Transport::Ssh, Some(info)) => match info.split_once(':') {
            None => return url.to_owned(),
            Some((user, _)) => Some(user),
        },
        (Transport::Git, Some(_)) => None,
    };
    let at = user.map(|user| format!("{}@", spelled(user, false))).unwrap_or_default();
    let path = spelled(&path_below_root(&parsed.path, None), false);
    format!("{}://{at}{}{path}", parsed.scheme, authority(&parsed))
}

/// Returns what is behind `prefix` in `url`, where that holds no part of a user or password: for another host to see.
pub fn rest_behind(url: &str, prefix: &str) -> Option<String> {
    let shown = without_credentials(url);
    let rest = shown.strip_prefix(prefix).or_else(|| url.strip_prefix(prefix).filter(|rest| shown.ends_with(rest)));
    rest.map(Into::into)
}

fn plain(url: &str) -> &str {
    url.strip_prefix("mirror::").unwrap_or(url)
}

fn without_userinfo(url: &str) -> String {
    let Ok(mut parsed) = url::Url::parse(url) else { return String::new() };
    if parsed.username().is_empty() && parsed.password().is_none() && !url.contains('@') {
        return url.to_owned();
    }
    // Both refuse a URL without a host only; that has no user either.
    let _ = parsed.set_password(None);
    let _ = parsed.set_username("");
    parsed.into()
}

/// `host` or `host:port`, a port only where it is not the scheme's own.
fn authority(url: &GitUrl) -> String {
    let host = match url.host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) if url.host.contains(':') => format!("[{}]", url.host),
        Err(_) => url.host.to_ascii_lowercase(),
    };
    url.foreign_port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
}

/// Returns the path as an `ssh://` URL spells it: what is below a home begins with `/~`.
fn path_below_root(path: &str, user: Option<&str>) -> String {
    let home = user.unwrap_or_default();
    if path.starts_with('/') {
        path.to_owned()
    } else if let Some(rest) = path.strip_prefix("~/") {
        format!("/~{home}/{rest}")
    } else if path.starts_with('~') {
        format!("/{path}")
    } else {
        format!("/~{home}/{path}")
    }
}

fn without_suffixes(path: &str, over_http: bool) -> &str {
    let path = path.trim_end_matches('/');
    match path.strip_suffix(".git") {
        Some("") => path,
        Some(stem) if !stem.ends_with('/') => stem,
        Some(stem) if !over_http => stem.trim_end_matches('/'),
        _ => path,
    }
}

/// Percent-encodes what is neither unreserved nor a delimiter (RFC 3986, 2.2 and 2.3). With `encoded`, `text` is
/// encoded already: unreserved characters are decoded, and the rest keeps its `%XX`, in capitals.
fn spelled(text: &str, encoded: bool) -> String {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let escape = match after {
            [high, low, tail @ ..] if encoded && first == b'%' => hex(*high).zip(hex(*low)).map(|pair| (pair, tail)),
            _ => None,
        };
        let (byte, plain) = match escape {
            Some(((high, low), tail)) => {
                rest = tail;
                let byte = high * 16 + low;
                (byte, unreserved(byte))
            }
            None => (first, unreserved(first) || b":/?#[]@!$&'()*+,;=".contains(&first)),
        };
        if plain {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal() {
        for (a, b) in [
            ("https://H.Example/a", "HTTPS://h.example:443/a.git/"),
            ("https://h/a", "https://h/a/"),
            ("https://h/a/", "https://h/a.git"),
            ("http://h:80/a", "http://h/a"),
            ("https://u:p@h/a", "https://h/a"),
            ("https://token@h/a", "https://other@h/a"),
            ("https://h/%7euser/%61", "https://h/~user/a"),
            ("https://h/a%2fb", "https://h/a%2Fb"),
            ("https://h/a b", "https://h/a%20b"),
            ("https://h/\u{e9}", "https://h/%C3%A9"),
            ("https://h/x/../a", "https://h/./a"),
            ("https://h/a?r=%7e", "https://h/a.git?r=~"),
            ("ssh://h/a", "ssh://git@h:22/a.git"),
            ("ssh://git@h/a", "git+ssh://h/a"),
            ("h:/a", "ssh://h/a"),
            ("git@h:/a.git", "ssh://h/a"),
            ("h:a", "ssh://h/~/a.git"),
            ("h:~/a", "h:a"),
            ("git@h:a", "ssh://git@h/~/a"),
            ("alice@h:a", "ssh://h/~alice/a"),
            ("alice@h:a", "bob@h:~alice/a"),
            ("[h:2222]:/a", "ssh://h:2222/a"),
            ("ssh://h/a%2Fb", "ssh://h/a/b"),
            ("ssh://h/a b", "ssh://h/a%20b"),
            ("ssh://[2001:DB8:0::1]/a", "ssh://[2001:db8::1]:22/a"),
            ("git://h:9418/a", "git://H/a.git"),
            ("git://h/~u/a", "git://h/%7Eu/a/"),
            ("/srv/a", "file:///srv/a.git"),
            ("/srv/a/.git", "/srv/a"),
            ("mirror::https://h/a", "https://h/a"),
        ] {
            assert!(same_resource(a, b), "{a} {b}: {} {}", key(a), key(b));
        }
    }

    #[test]
    fn different() {
        for (a, b) in [
            ("http://h/a", "https://h/a"),
            ("https://h/a", "https://h/A"),
            ("https://h/a", "https://h:8443/a"),
            ("https://h/a", "https://h2/a"),
            ("https://h/a/b", "https://h/a%2Fb"),
            ("https://h/a%2Fb", "https://h/a%252Fb"),
            ("https://h/a/.git", "https://h/a"),
            ("https://h/a?r=1", "https://h/a?r=2"),
            ("https://h/a.git.git", "https://h/a"),
            ("ssh://h/a", "h:a"),
            ("alice@h:a", "bob@h:a"),
            ("git@h:a", "h:a"),
            ("ssh://h/a", "git://h/a"),
            ("h:/a%20b", "h:/a b"),
            ("foo://h/a", "foo://H/a"),
            ("/srv/a", "/srv/b"),
        ] {
            assert!(!same_resource(a, b), "{a} {b}: {}", key(a));
        }
    }

    #[test]
    fn the_rest_of_a_url_holds_no_credentials() {
        for (url, prefix, rest) in [
            ("https://h/a/b", "https://h/a/", Some("b")),
            ("https://u:secret@h/a", "https://", Some("h/a")),
            ("https://u:secret@h/a", "https://h/", Some("a")),
            ("https://u:secret@h/a", "https://u:secret@h/", Some("a")),
            ("https://u:secret@h/a", "https://u:", None),
            ("https://secret@h/a", "", Some("https://h/a")),
            ("git@h:a", "git@h:", Some("a")),
            ("/srv/a", "/srv/", Some("a")),
            ("https://h/a", "https://i/", None),
        ] {
            assert_eq!(rest_behind(url, prefix).as_deref(), rest, "{url} {prefix}");
        }
    }

    #[test]
    fn strips_credentials() {
        for (url, sent) in [
            ("https://h/a@b", "https://h/a@b"),
            ("[u:secret@h://\0@z/a", "z/a"),
            ("https://h/a.git", "https://h/a.git"),
            ("https://u:secret@h:8443/a?x=1", "https://h:8443/a?x=1"),
            ("https://secret@h/a", "https://h/a"),
            ("https:///u:secret@h/a", "https://h/a"),
            ("https://u:secret/x@h/a", "https://h/a"),
            ("mirror::https://u:secret@h/a", "https://h/a"),
            ("ssh://git@h/a", "ssh://git@h/a"),
            ("ssh://git:secret@h:2222/a%20b", "ssh://git@h:2222/a%20b"),
            ("ssh://git:secret%40h/a", "ssh://git@h/a"),
            ("ssh://git%3Asecret@h/~/a", "ssh://git@h/~/a"),
            ("ssh://[git:secret@::1]:22/~u/a", "ssh://git@[::1]/~u/a"),
            ("git@h:a", "git@h:a"),
            ("[git:secret@h:2222]:a", "ssh://git@h:2222/~/a"),
            ("git://u:secret@h/a", "git://h/a"),
            ("foo://u:secret@h/a", "foo://h/a"),
            ("/srv/a@b", "/srv/a@b"),
        ] {
            assert_eq!(without_credentials(url), sent, "{url}");
        }
    }
}
