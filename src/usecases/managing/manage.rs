//! `git mirror add|remove|prefer|enable|disable`: changing which mirrors a repository has.
//!
//! All writing goes through `git config`, which keeps comments and order and is atomic.

use std::path::PathBuf;

use crate::adapters::git::config::{self, Config};
use crate::adapters::git::remotes::{Lower, default_remote, remote_url};
use crate::decide::selector;
use crate::values::{Error, GitUrl, Kind, Listed, Result, url};

/// Adds mirrors to a remote.
///
/// # Errors
/// [`Kind::Usage`] for a remote that is not configured, a URL that cannot be used, or one that is there already.
pub fn add(config: &Config, remote: &str, urls: &[String]) -> Result<()> {
    remote_url(config, remote)?;
    let key = format!("remote.{remote}.mirrorUrl");
    for url in urls {
        GitUrl::parse(&config.rewritten(url))?;
        if config.all(&key.to_lowercase_variable()).any(|known| known == url) {
            let shown = url::redact(url);
            return Err(Error::new(Kind::Usage, format!("'{shown}' is a mirror of '{remote}' already")));
        }
    }
    urls.iter().try_for_each(|url| config::write(&["--add", &key, url]))
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
    if config.get(&key.to_lowercase_variable()).is_some() {
        config::write(&["--unset-all", &key])?;
    }
    values.iter().try_for_each(|value| config::write(&["--add", &key, value]))
}

/// Switches the helper on (`vcs = mirror`) or off for remotes of this repository; for the default remote where none is
/// named. Returns their names.
///
/// # Errors
/// [`Kind::Usage`] for a remote that is not configured, or that has another helper.
pub fn switch(config: &Config, on: bool, remotes: &[String]) -> Result<Vec<String>> {
    let remotes = if remotes.is_empty() { vec![default_remote(config)] } else { remotes.to_vec() };
    for remote in &remotes {
        remote_url(config, remote)?;
        let key = format!("remote.{remote}.vcs");
        match (config.get(&key), on) {
            (Some(other), _) if other != "mirror" => {
                return Err(Error::new(Kind::Usage, format!("'{remote}' uses the remote helper '{other}'")));
            }
            (None, true) => config::write(&[&key, "mirror"])?,
            (Some(_), false) => config::write(&["--unset", &key]).map_err(|err| {
                err.hint("it may be switched on for all your repositories: `git mirror disable --global`")
            })?,
            _ => {}
        }
    }
    Ok(remotes)
}

const GLOBAL_SECTION: &str = "includeIf.hasconfig:remote.*.url:";

/// Switches the helper on or off for the remote `origin` of all repositories of this user that have a remote with a
/// URL that begins with one of `prefixes` (any URL where none is named).
///
/// A plain `remote.origin.vcs` in the global configuration would make a remote of that name appear in repositories
/// that have none; `includeIf "hasconfig:…"` (git-config(1)) limits that to repositories that have such a remote.
///
/// # Errors
/// [`Kind::Config`] where the configuration cannot be written.
pub fn switch_global(on: bool, prefixes: &[String]) -> Result<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let dir = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| home.map(|h| h.join(".config")));
    let Some(dir) = dir else { return Err(Error::new(Kind::Config, "neither HOME nor XDG_CONFIG_HOME is set")) };
    let file = dir.join("git").join("mirror.config");
    let shown = file.display().to_string();
    let config = Config::load()?;
    let ours: Vec<String> = config
        .under(&GLOBAL_SECTION.to_lowercase_section())
        .filter(|(_, value)| *value == shown)
        .filter_map(|(rest, _)| Some(format!("{GLOBAL_SECTION}{}.path", rest.strip_suffix(".path")?)))
        .collect();
    for key in &ours {
        config::write(&["--global", "--fixed-value", "--unset-all", key, &shown])?;
    }
    let doing = |what: &str| format!("cannot {what} {shown}");
    if !on {
        return match std::fs::remove_file(&file) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::new(Kind::Config, format!("{}: {err}", doing("remove"))))
            }
            _ => Ok(file),
        };
    }
    std::fs::create_dir_all(dir.join("git")).map_err(Error::doing(Kind::Config, doing("make the folder of")))?;
    config::write(&["--file", &shown, "remote.origin.vcs", "mirror"])?;
    // Submodules' URLs do not come from the user; the helper checks the scheme behind it by git's own rules.
    config::write(&["--file", &shown, "protocol.mirror.allow", "always"])?;
    for pattern in patterns(prefixes) {
        config::write(&["--global", "--add", &format!("{GLOBAL_SECTION}{pattern}.path"), &shown])?;
    }
    Ok(file)
}

/// Returns patterns for URLs that begin with one of `prefixes`: `**` stands for several parts of a path only behind `/`
/// (gitignore(5)).
fn patterns(prefixes: &[String]) -> Vec<String> {
    let of = |prefix: &String| match prefix.ends_with('/') || prefix.is_empty() {
        true => vec![format!("{prefix}**")],
        false => vec![format!("{prefix}*"), format!("{prefix}*/**")],
    };
    if prefixes.is_empty() { vec!["**".into()] } else { prefixes.iter().flat_map(of).collect() }
}

fn is_named(config: &Config, value: &str, name: &str) -> bool {
    value == name
        || GitUrl::parse(&config.rewritten(value))
            .is_ok_and(|url| selector::is_named(&crate::values::Mirror::configured(url), name))
}
