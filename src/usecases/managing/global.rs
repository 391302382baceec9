//! `git mirror enable --global` and `--system`: the switch for all repositories of a user, or of all users.
//!
//! A plain `remote.origin.vcs` in the global configuration would make a remote of that name appear in repositories that
//! have none; `includeIf "hasconfig:remote.*.url:<pattern>"` (git-config(1)) limits that to repositories that have such a
//! remote. A pattern is one of wildmatch with `WM_PATHNAME` (`include_by_remote_url` in git's `config.c`): `*` stops at
//! a slash, and `**` stands for several parts of a path only between slashes (gitignore(5)).

use std::path::PathBuf;

use crate::adapters::git::config::{self, Config};
use crate::adapters::git::remotes::Lower;
use crate::adapters::process;
use crate::values::{Error, Kind, Result, url};

const SECTION: &str = "includeIf.hasconfig:remote.*.url:";

/// Submodules' URLs do not come from the user; the helper checks the scheme behind `mirror::` by git's own rules.
const MARK: &str = "protocol.mirror.allow";

/// Whose repositories are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// This user's.
    Global,
    /// Everybody's on this machine.
    System,
}

impl Level {
    /// Returns the option by which `git config` means its configuration.
    fn option(self) -> &'static str {
        match self {
            Level::Global => "--global",
            Level::System => "--system",
        }
    }

    /// Returns the file that is included.
    fn file(self) -> Result<PathBuf> {
        if self == Level::System {
            return system_file();
        }
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let dir = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| home.map(|h| h.join(".config")));
        let none = || Error::new(Kind::Config, "neither HOME nor XDG_CONFIG_HOME is set");
        Ok(dir.ok_or_else(none)?.join("git").join("mirror.config"))
    }
}

/// Returns the file beside the configuration of the system, wherever this git has that.
fn system_file() -> Result<PathBuf> {
    // A key that `enable` writes in any case has git say in which file that is.
    config::write(&["--system", MARK, "always"])?;
    let mut git = process::git(["config", "--system", "--show-origin", "-z", "--get", MARK]);
    let text = process::output(&mut git, b"").map_err(|err| Error { kind: Kind::Config, ..err })?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let origin = text.split('\0').next().and_then(|origin| origin.strip_prefix("file:"));
    let unknown = || Error::new(Kind::Config, "git does not say where the configuration of the system is");
    let file = std::path::absolute(origin.ok_or_else(unknown)?);
    let file = file.map_err(Error::doing(Kind::Config, "cannot tell the current folder"))?;
    Ok(file.with_file_name("git-mirror.config"))
}

/// Switches the helper on or off for the remote `origin` of all repositories at a level that have a remote with a URL
/// that begins with one of `prefixes` (any URL where none is named), whatever user and password are in it. Returns the
/// file that is included.
///
/// # Errors
/// [`Kind::Usage`] for a prefix that is no URL; [`Kind::Config`] where the configuration cannot be written.
pub fn switch(level: Level, on: bool, prefixes: &[String]) -> Result<PathBuf> {
    let patterns = patterns(prefixes)?;
    let file = level.file()?;
    let Some(shown) = file.to_str() else {
        return Err(Error::new(Kind::Config, format!("{}: this path is not UTF-8", file.display())));
    };
    let config = Config::load()?;
    let ours: Vec<String> = config
        .under(&SECTION.to_lowercase_section())
        .filter(|(_, value)| *value == shown)
        .filter_map(|(rest, _)| Some(format!("{SECTION}{}.path", rest.strip_suffix(".path")?)))
        .collect();
    for key in &ours {
        config::write(&[level.option(), "--fixed-value", "--unset-all", key, shown])?;
    }
    let doing = |what: &str| format!("cannot {what} {shown}");
    if !on {
        if level == Level::System {
            config::write(&[level.option(), "--unset-all", MARK])?;
        }
        return match std::fs::remove_file(&file) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::new(Kind::Config, format!("{}: {err}", doing("remove"))))
            }
            _ => Ok(file),
        };
    }
    let dir = file.parent().unwrap_or(&file);
    std::fs::create_dir_all(dir).map_err(Error::doing(Kind::Config, doing("make the folder of")))?;
    config::write(&["--file", shown, "remote.origin.vcs", "mirror"])?;
    config::write(&["--file", shown, MARK, "always"])?;
    for pattern in patterns {
        config::write(&[level.option(), "--add", &format!("{SECTION}{pattern}.path"), shown])?;
    }
    Ok(file)
}

/// Returns patterns for URLs that begin with one of `prefixes`, with whatever user and password where it names none.
fn patterns(prefixes: &[String]) -> Result<Vec<String>> {
    if prefixes.is_empty() {
        return Ok(vec!["**".into()]);
    }
    let mut patterns = Vec::new();
    for prefix in prefixes {
        for start in starts(prefix)? {
            match start.ends_with('/') {
                true => patterns.push(format!("{start}**")),
                false => patterns.extend([format!("{start}*"), format!("{start}*/**")]),
            }
        }
    }
    Ok(patterns)
}

/// Returns the beginnings of patterns that a prefix stands for.
fn starts(prefix: &str) -> Result<Vec<String>> {
    let refused = |why: &str| {
        let err = Error::new(Kind::Usage, format!("'{}' is no beginning of a URL: {why}", url::redact(prefix)));
        Err(err.hint("as https://git.example.com/, ssh://git@git.example.com/, git@git.example.com: or /srv/git/"))
    };
    let literal: String = prefix.chars().flat_map(escaped).collect();
    if prefix.starts_with('/') {
        return Ok(vec![literal]);
    }
    if let Some((scheme, rest)) = literal.split_once("://") {
        let known = ["https", "http", "ssh", "git", "file", "git+ssh", "ssh+git", "ftp", "ftps"];
        if !known.contains(&scheme) {
            return refused(&format!("'{scheme}' is no transport of git"));
        }
        let authority = rest.split('/').next().unwrap_or_default();
        if scheme == "file" {
            return if rest.starts_with('/') { Ok(vec![literal]) } else { refused("a path begins with a slash") };
        }
        if authority.is_empty() {
            return refused("it names no host");
        }
        // A host is whole: `https://h` does not mean `https://h.example.org/`.
        let rest = if authority.len() == rest.len() { format!("{rest}/") } else { rest.to_owned() };
        let plain = format!("{scheme}://{rest}");
        return Ok(if authority.contains('@') { vec![plain] } else { vec![plain, format!("{scheme}://*@{rest}")] });
    }
    // As git tells `host:path` from a path: by a colon before any slash.
    match literal.split_once(':') {
        Some((host, _)) if host.contains('/') => refused("it has no scheme"),
        Some((_, rest)) if rest.starts_with(':') => refused("the prefix of a remote helper does not count"),
        Some(("", _)) => refused("it names no host"),
        Some((host, _)) if host.contains('@') => Ok(vec![literal.clone()]),
        Some(_) => Ok(vec![literal.clone(), format!("*@{literal}")]),
        None => refused("it has neither a scheme nor `host:`"),
    }
}

/// Takes from a character what it means in a pattern.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let special = matches!(c, '*' | '?' | '[' | ']' | '\\');
    special.then_some('\\').into_iter().chain([c])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(prefix: &str) -> Option<String> {
        patterns(&[prefix.to_owned()]).ok().map(|patterns| patterns.join(" "))
    }

    #[test]
    fn makes_patterns_of_urls() {
        for (prefix, want) in [
            ("https://h/", "https://h/** https://*@h/**"),
            ("https://h", "https://h/** https://*@h/**"),
            ("https://h:8443/a/", "https://h:8443/a/** https://*@h:8443/a/**"),
            ("https://h/a", "https://h/a* https://h/a*/** https://*@h/a* https://*@h/a*/**"),
            ("ssh://git@h/", "ssh://git@h/**"),
            ("git@h:", "git@h:* git@h:*/**"),
            ("h:a/", "h:a/** *@h:a/**"),
            ("/srv/git/", "/srv/git/**"),
            ("file:///srv/", "file:///srv/**"),
            ("https://h/a[b]*?/", r"https://h/a\[b\]\*\?/** https://*@h/a\[b\]\*\?/**"),
        ] {
            assert_eq!(of(prefix).as_deref(), Some(want), "{prefix}");
        }
        assert_eq!(patterns(&[]).ok(), Some(vec!["**".to_owned()]));
    }

    #[test]
    fn takes_nothing_but_urls() {
        for prefix in [
            "github.com",
            "github.com/",
            "origin",
            "",
            "srv/git/",
            "./a:b",
            "foo://h/",
            "https:///a",
            "file://a/",
            "mirror::https://h/",
            ":a",
            "~/git/",
        ] {
            assert_eq!(of(prefix), None, "{prefix}");
        }
        let err = patterns(&["u:secret".into(), "foo://u:secret@h/".into()]).expect_err("no transport").to_string();
        assert!(!err.contains("secret@"), "{err}");
    }
}
