//! The URLs of a list file: which ones a server may hand out, and `{repo}` in them.
//!
//! Clients refuse more than this does, by what they know of the canonical server; whatever is refused here, every client
//! would refuse, or it would tell the world a secret.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::values::{GitUrl, Transport};
use crate::wire::mirror_command::MAX_URL;

/// What stands for the repository's name.
pub const REPO: &str = "{repo}";

/// What the path of a URL does not hold as it is (RFC 3986, 3.3); what is not ASCII is encoded anyway.
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Checks a URL that may hold `{repo}`.
///
/// # Errors
/// What is wrong with it, in a few words, without a password.
pub fn check(text: &str) -> Result<(), String> {
    if let (Some(place), Some(scheme)) = (text.find(REPO), text.find("://")) {
        let path = text[scheme + 3..].find('/').map(|at| scheme + 3 + at);
        if path.is_none_or(|path| place < path) {
            return Err(format!("{REPO} may stand in the path only"));
        }
    }
    check_whole(&text.replace(REPO, "a/b"))
}

/// Checks a URL as it is handed out.
fn check_whole(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("expected a URL, got nothing".into());
    }
    if text.len() > MAX_URL {
        return Err(format!("a URL has at most {MAX_URL} bytes, this one has {}", text.len()));
    }
    if let Some(odd) = text.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(format!("'{}' may not stand in a URL: percent-encode it", odd.escape_default()));
    }
    if let Some(odd) = text.chars().find(|c| "\"<>\\^`{|}#".contains(*c)) {
        let why = if matches!(odd, '{' | '}') { "only {repo} is replaced" } else { "percent-encode it" };
        return Err(format!("'{odd}' may not stand in a URL: {why}"));
    }
    if text.starts_with('-') {
        return Err("a URL may not begin with '-'".into());
    }
    let schemes = "https://, http://, ssh:// or git://";
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(match GitUrl::parse(text) {
            Ok(url) if url.transport == Transport::Ssh => {
                format!("expected a URL with {schemes}: write ssh://<host>/<path>")
            }
            _ => format!("expected a URL with {schemes}"),
        });
    };
    if !["https", "http", "ssh", "git"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(format!("expected a URL with {schemes}"));
    }
    let url = GitUrl::parse(text).map_err(|err| err.message)?;
    // The `url` crate finds a host behind more slashes, git does not.
    if url.host.is_empty() || rest.starts_with('/') {
        return Err("the URL names no host".into());
    }
    match (url.transport, url.userinfo.as_deref()) {
        (_, None) => Ok(()),
        (Transport::Ssh, Some(user)) if !user.contains(':') => Ok(()),
        (Transport::Ssh, _) => Err("the URL holds a password, and the list is public".into()),
        _ => Err("the URL holds a user name or password, and the list is public".into()),
    }
}

/// Returns `template` with the name of a repository for `{repo}`, percent-encoded, without slashes at its ends.
///
/// The name stays as it is, with or without `.git`; but `{repo}.git` does not double a `.git`.
///
/// # Errors
/// What is wrong, in a few words: a name that is empty or has a `.` or `..` in its path, or a URL that gets too long.
pub fn with_repo(template: &str, name: &str) -> Result<String, String> {
    let name = name.trim_matches('/');
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!("'{}' is no name of a repository", name.escape_debug()));
    }
    let name = utf8_percent_encode(name, NOT_IN_PATH).to_string();
    let stem = name.strip_suffix(".git").unwrap_or(&name);
    let mut parts = template.split(REPO);
    let mut url = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let adds_suffix = part.strip_prefix(".git").is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        url.push_str(if adds_suffix { stem } else { &name });
        url.push_str(part);
    }
    if url.len() > MAX_URL { Err(format!("a URL has at most {MAX_URL} bytes")) } else { Ok(url) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_can_be_handed_out() {
        for url in [
            "https://eu.example.net/project.git",
            "HTTP://eu.example.net:8080/a%20b",
            "git://[2001:db8::1]/a",
            "ssh://git@eu.example.net:2222/~x/a",
            "https://eu.example.net/{repo}",
            "https://eu.example.net/git?repo=a",
            "https://eu.example.net",
        ] {
            assert_eq!(check(url), Ok(()), "{url}");
        }
        assert_eq!(check(&format!("https://h/{}", "x".repeat(4086))), Ok(()));
    }

    #[test]
    fn refuses_the_rest() {
        for (url, why) in [
            ("", "nothing"),
            ("eu.example.net:a/b", "ssh://<host>/<path>"),
            ("git@eu.example.net:a", "ssh://<host>/<path>"),
            ("/srv/git/a", "https://"),
            ("file:///srv/git/a", "https://"),
            ("ext::sh -c x", "percent-encode"),
            ("ext::sh", "https://"),
            ("mirror::https://h/a", "https://"),
            ("ftp://h/a", "https://"),
            ("git+ssh://h/a", "https://"),
            ("-https://h/a", "begin with '-'"),
            ("ssh://-oProxyCommand=x/a", "blocked"),
            ("https://user:hunter2@h/a", "public"),
            ("https://hunter2@h/a", "public"),
            ("git://u@h/a", "public"),
            ("ssh://git:hunter2@h/a", "password"),
            ("ssh://git%3Ahunter2@h/a", "password"),
            ("https:///a", "no host"),
            ("https://", "host"),
            ("ssh:///a", "no host"),
            ("git://h", "path"),
            ("https://h/a b", "percent-encode"),
            ("https://h/a\nb", "'\\n' may not"),
            ("https://h/\u{202e}a", "'\\u{202e}' may not"),
            ("https://h/a#b", "'#'"),
            ("https://h/{name}", "only {repo}"),
            ("https://{repo}.example.net/a", "path only"),
            ("https://{repo}", "path"),
            ("https:\\\\h\\a", "'\\'"),
        ] {
            let found = check(url).expect_err(url);
            assert!(found.contains(why) && !found.contains("hunter2"), "{url}: {found}");
        }
        assert!(check(&format!("https://h/{}", "x".repeat(4087))).is_err());
    }

    #[test]
    fn puts_the_name_in() {
        for (template, name, want) in [
            ("https://h/{repo}", "a", "https://h/a"),
            ("https://h/{repo}", "/team/a.git/", "https://h/team/a.git"),
            ("https://h/{repo}.git", "a", "https://h/a.git"),
            ("https://h/{repo}.git", "a.git", "https://h/a.git"),
            ("https://h/{repo}.git/", "a.git", "https://h/a.git/"),
            ("https://h/{repo}.github", "a.git", "https://h/a.git.github"),
            ("https://h/{repo}", "a b?#%{repo}ä\n", "https://h/a%20b%3F%23%25%7Brepo%7D%C3%A4%0A"),
            ("https://h/{repo}/{repo}", "a", "https://h/a/a"),
            ("https://h/fixed", "a", "https://h/fixed"),
        ] {
            assert_eq!(with_repo(template, name).as_deref(), Ok(want));
        }
        for name in ["", "/", "..", "a/../b", "a//b", "./a"] {
            assert!(with_repo("https://h/{repo}", name).is_err(), "{name}");
        }
        assert!(with_repo("https://h/{repo}", &"x".repeat(5000)).is_err());
    }
}
