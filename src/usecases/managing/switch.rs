//! `git mirror enable|disable`: whether plain git uses mirrors for a remote, how that stands, and changing it.
//!
//! The switch is git's own, `remote.<name>.vcs`. What is switched on elsewhere (for all repositories, or by a URL that
//! begins with `mirror::`) cannot be taken back by a repository, as git has no value that means "none": there
//! `remote.<name>.preferMirror = false` has the helper pass everything through.

use crate::adapters::git::config::{self, Config};
use crate::adapters::git::remotes::{default_remote, raw_url, remote_url};
use crate::values::{Error, Kind, Listed, Origin, Result};

/// The helper's name, as `remote.<name>.vcs` has it.
const HELPER: &str = "mirror";

/// What has git use the helper for a remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Switch {
    /// `remote.<name>.vcs` in this repository's configuration.
    Here,
    /// `remote.<name>.vcs` from elsewhere: the global configuration, the environment, `-c`.
    Elsewhere,
    /// Its URL, which begins with `mirror::` as it is or by `url.<base>.insteadOf`.
    Url,
    /// Nothing.
    Off,
    /// It uses another helper, of this name.
    Other(String),
}

/// How the mirrors of a remote stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The remote.
    pub remote: String,
    /// What has git use them.
    pub switch: Switch,
    /// Whether `preferMirror` says that no mirror shall be used.
    pub unwanted: bool,
    /// Whether mirrors that the server lists may be used.
    pub listed_wanted: bool,
    /// How many mirrors you have named.
    pub own: usize,
    /// How many more the server has listed.
    pub listed: usize,
}

impl Standing {
    /// Returns how the mirrors of `remote` stand.
    ///
    /// # Errors
    /// [`Kind::Usage`] where it is not configured.
    pub fn of(config: &Config, remote: &str) -> Result<Self> {
        let url = remote_url(config, remote)?;
        let usable = config.mirrors(remote, &url);
        let usable = usable.iter().filter_map(|listed| match listed {
            Listed::Usable(mirror) => Some(mirror.origin),
            Listed::Refused { .. } => None,
        });
        let (listed, own): (Vec<Origin>, Vec<Origin>) = usable.partition(|origin| *origin == Origin::Listed);
        let wanted = config.preference(remote).wanted;
        Ok(Standing {
            remote: remote.to_owned(),
            switch: switch_of(config, remote)?,
            unwanted: wanted == Some(false),
            listed_wanted: wanted == Some(true),
            own: own.len(),
            listed: listed.len(),
        })
    }

    /// Returns whether plain `git fetch` goes to mirrors, where there are any.
    pub fn is_on(&self) -> bool {
        !self.unwanted && matches!(self.switch, Switch::Here | Switch::Elsewhere | Switch::Url)
    }
}

fn switch_of(config: &Config, remote: &str) -> Result<Switch> {
    let key = format!("remote.{remote}.vcs");
    Ok(match config.get(&key) {
        Some(HELPER) if config::local(&key).last().is_some_and(|value| value == HELPER) => Switch::Here,
        Some(HELPER) => Switch::Elsewhere,
        Some(other) => Switch::Other(other.to_owned()),
        None if raw_url(config, remote)?.starts_with("mirror::") => Switch::Url,
        None => Switch::Off,
    })
}

/// Switches mirrors on or off for remotes of this repository; for the default remote where none is named. Returns their
/// names.
///
/// # Errors
/// [`Kind::Usage`] for a remote that is not configured, or that has another helper.
pub fn switch(config: &Config, on: bool, remotes: &[String]) -> Result<Vec<String>> {
    let remotes = if remotes.is_empty() { vec![default_remote(config)] } else { remotes.to_vec() };
    for remote in &remotes {
        if let Switch::Other(helper) = switch_of(config, remote)? {
            return Err(Error::new(Kind::Usage, format!("'{remote}' uses the remote helper '{helper}'")));
        }
    }
    for remote in &remotes {
        let key = format!("remote.{remote}.vcs");
        let prefer = format!("remote.{remote}.preferMirror");
        if on {
            if switch_of(config, remote)? == Switch::Off {
                config::write(&[&key, HELPER])?;
            }
            // What `disable` writes where something else has switched it on, and `prefer --never`.
            if config::local(&prefer).last().is_some_and(|value| config::bool_of(value) == Some(false)) {
                drop_false(&prefer)?;
            }
        } else {
            if switch_of(config, remote)? == Switch::Here {
                config::write(&["--unset-all", &key])?;
            }
            let rest = Standing::of(&Config::load()?, remote)?;
            if rest.is_on() {
                config::write(&["--add", &prefer, "false"])?;
            }
        }
    }
    Ok(remotes)
}

/// Takes every value that says no out of this repository's `preferMirror`; names of mirrors stay.
fn drop_false(key: &str) -> Result<()> {
    let values = config::local(key);
    let says_no = |value: &&String| config::bool_of(value) == Some(false);
    let mut gone: Vec<&String> = values.iter().filter(says_no).collect();
    gone.dedup();
    gone.iter().try_for_each(|value| config::write(&["--local", "--fixed-value", "--unset-all", key, value]))
}
