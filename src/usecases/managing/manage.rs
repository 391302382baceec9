//! `git mirror add|remove|prefer`: changing which mirrors a repository has.
//!
//! All writing goes through `git config`, which keeps comments and order and is atomic.

use crate::adapters::git::config::{self, Config};
use crate::adapters::git::remotes::{Lower, remote_url};
use crate::decide::selector;
use crate::values::url_key::same_resource;
use crate::values::{Error, GitUrl, Kind, Listed, Result, Transport, url};

/// What is odd about a mirror that was added all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Odd {
    /// It is canonical itself.
    IsCanonical,
    /// There is nothing at this path now.
    Missing,
}

/// Returns what is odd about a mirror.
pub fn odd(mirror: &GitUrl, canonical: &GitUrl) -> Option<Odd> {
    if same_resource(mirror.raw(), canonical.raw()) {
        Some(Odd::IsCanonical)
    } else {
        is_missing(mirror).then_some(Odd::Missing)
    }
}

/// Adds mirrors to a remote; returns those about which something is odd. A path is kept as it is from the root, as git runs in other
/// folders than this.
///
/// # Errors
/// [`Kind::Usage`] for a remote that is not configured, a URL that cannot be used, or one that is there already.
pub fn add(config: &Config, remote: &str, urls: &[String]) -> Result<Vec<(String, Odd)>> {
    let canonical = GitUrl::parse(&remote_url(config, remote)?)?;
    let key = format!("remote.{remote}.mirrorUrl");
    let lower = key.to_lowercase_variable();
    let mut known: Vec<String> = config.all(&lower).map(Into::into).collect();
    let before = known.len();
    let mut found = Vec::new();
    for text in urls {
        let url = GitUrl::parse(&config.rewritten(text))?;
        let shown = url::redact(text);
        let written = if url.transport == Transport::Local { from_root(text, &url)? } else { text.clone() };
        if known.contains(&written) {
            return Err(Error::new(Kind::Usage, format!("'{shown}' is a mirror of '{remote}' already")));
        }
        let rewritten = GitUrl::parse(&config.rewritten(&written))?;
        found.extend(odd(&rewritten, &canonical).map(|odd| (shown, odd)));
        known.push(written);
    }
    known[before..].iter().try_for_each(|url| config::write(&["--add", &key, url]))?;
    Ok(found)
}

/// Returns a path as it is from the root; other spellings of one as they are.
///
/// # Errors
/// [`Kind::Usage`] for a mere word that is nothing here: a host is more often meant than a path.
fn from_root(text: &str, url: &GitUrl) -> Result<String> {
    let is_spelled_so = text == url.path && !text.starts_with('/');
    if is_spelled_so && !text.contains('/') && is_missing(url) {
        let err = Error::new(Kind::Usage, format!("'{text}' has no scheme and no slash, and there is no such path"));
        return Err(err.hint(format!("a URL is meant, such as https://{text}/project.git or {text}:project.git")));
    }
    let path = std::path::Path::new(text);
    match is_spelled_so.then(|| path.canonicalize().ok()).flatten().as_deref().map(std::path::Path::to_str) {
        Some(Some(path)) => Ok(path.to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// Returns whether a URL is a path at which there is nothing.
fn is_missing(url: &GitUrl) -> bool {
    let at = |end: &str| std::path::Path::new(&format!("{}{end}", url.path)).exists();
    url.transport == Transport::Local && !url.path.starts_with('~') && !at("") && !at(".git")
}

/// Returns the hosts, or paths, of a remote's mirrors: what `remove` and `prefer` take.
///
/// # Errors
/// [`Kind::Usage`] for a remote that is not configured.
pub fn names(config: &Config, remote: &str) -> Result<Vec<String>> {
    let url = remote_url(config, remote)?;
    let mut names: Vec<String> = Vec::new();
    for listed in config.mirrors(remote, &url) {
        let Listed::Usable(mirror) = listed else { continue };
        let name = mirror.url.shown_host();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes a mirror, named by URL or host, from what the user configured for a remote.
///
/// # Errors
/// [`Kind::Usage`] where there is no such mirror, or where something else names it.
pub fn remove(config: &Config, remote: &str, name: &str) -> Result<()> {
    remote_url(config, remote)?;
    let key = format!("remote.{remote}.mirrorUrl");
    let lower = key.to_lowercase_variable();
    let named: Vec<&str> = config.all(&lower).filter(|value| is_named(config, value, name)).collect();
    if named.is_empty() {
        let err = Error::new(Kind::Usage, format!("'{remote}' has no mirrorUrl '{}'", url::redact(name)));
        return Err(err.hint(format!("`git mirror list {remote}` shows the mirrors and where they come from")));
    }
    named.iter().try_for_each(|value| config::write(&["--fixed-value", "--unset-all", &key, value]))
}

/// What to prefer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prefer {
    /// These mirrors, by URL or host, in order.
    Named(Vec<String>),
    /// Mirrors before canonical, those that the server listed as well.
    Always,
    /// No mirror at all.
    Never,
    /// As if nothing had been said.
    Unset,
}

/// Sets `remote.<name>.preferMirror`.
///
/// # Errors
/// [`Kind::Usage`] for a remote that is not configured, or a name that no mirror of it has.
pub fn prefer(config: &Config, remote: &str, what: &Prefer) -> Result<()> {
    let url = remote_url(config, remote)?;
    let key = format!("remote.{remote}.preferMirror");
    let values = match what {
        Prefer::Named(names) => {
            let mirrors = config.mirrors(remote, &url);
            let known = |name: &str| {
                mirrors.iter().any(|l| matches!(l, Listed::Usable(m) if selector::is_named(m, &config.rewritten(name))))
            };
            if let Some(name) = names.iter().find(|name| !known(name)) {
                let err = Error::new(Kind::Usage, format!("'{remote}' has no mirror '{}'", url::redact(name)));
                return Err(err.hint(format!("`git mirror list {remote}` shows the mirrors")));
            }
            names.clone()
        }
        Prefer::Always => vec!["true".into()],
        Prefer::Never => vec!["false".into()],
        Prefer::Unset => vec![],
    };
    if !config::local(&key).is_empty() {
        config::write(&["--unset-all", &key])?;
    }
    values.iter().try_for_each(|value| config::write(&["--add", &key, value]))
}

fn is_named(config: &Config, value: &str, name: &str) -> bool {
    let path = std::fs::canonicalize(name).ok(); // as `add` writes it
    value == name
        || path.is_some_and(|path| path.to_str() == Some(value))
        || GitUrl::parse(&config.rewritten(value))
            .is_ok_and(|url| selector::is_named(&crate::values::Mirror::configured(url), name))
}
