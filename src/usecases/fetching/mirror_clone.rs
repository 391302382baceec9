//! `git mirror clone`: `git clone` with the helper, mirrors first, and a remote that is switched on afterwards.
//!
//! What is cloned, and where, is git's business alone. The settings of the new remote are handed to `git clone` as its own
//! `--config`: they are in force before it fetches, and stay.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::adapters::git::config::Config;
use crate::adapters::git::repo::Repo;
use crate::adapters::git::run::{self, Said};
use crate::adapters::os::Ended;
use crate::adapters::process;
use crate::usecases::fetching::clone_arguments::CloneArguments;
use crate::usecases::fetching::mirror_fetch::environment;
use crate::usecases::fetching::steps::{self, Begun, Steps};
use crate::values::{Event, GitUrl, Report, Result, Transport};

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// `--mirror-url`: mirrors for this run, which the new repository keeps.
    pub mirror_urls: Vec<String>,
    /// `--prefer-mirror[=<host>]`: as `remote.<n>.preferMirror`, for this run.
    pub prefer: Vec<String>,
    /// `--no-use-mirror`: plain `git clone`.
    pub plain: bool,
    /// `--mirrors-from-ref`: read the list that the owner keeps in the repository.
    pub from_ref: bool,
    /// Everything else: `git clone`'s own.
    pub clone: Vec<OsString>,
}

/// Carries the order out; returns how it ended: as `git clone` did.
///
/// # Errors
/// [`Kind::Config`](crate::values::Kind::Config) for what cannot be understood,
/// [`Kind::Local`](crate::values::Kind::Local) where git cannot be started.
pub fn run(order: &Order, report: &dyn Report) -> Result<Ended> {
    let at = match steps::begin()? {
        Begun::Here(at) => at,
        Begun::Elsewhere(ended) => return Ok(ended),
    };
    let args = CloneArguments::read(&order.clone);
    report.event(Event::Settings { verbosity: i32::from(!args.quiet), progress: args.progress });
    let config = Config::outside()?;
    let urls = order.mirror_urls.iter().map(|url| absolute(&config, url)).collect::<Result<Vec<_>>>()?;
    let (settings, env) = if order.plain {
        // The helper may be switched on for all repositories.
        (Vec::new(), environment(&[], &["false".into()], false))
    } else {
        (switched_on(&config, &args, &urls), environment(&urls, &order.prefer, order.from_ref))
    };
    let mut steps = Steps::new(&at, report)?;
    let clone = || {
        let mut git = process::git(["clone"]);
        git.args(settings.iter().flat_map(|setting| ["-c", setting.as_str()])).args(&order.clone);
        git.envs(env.iter().cloned()).env_remove(run::ENV_PART);
        Ok(git)
    };
    let (ended, _) = steps.run(clone, is_undone)?;
    Ok(steps.told().unwrap_or(ended))
}

/// Returns whether a `git clone` that was ended has removed what it had made, so that it can be run again. Once it has
/// fetched everything it does not: then mirrors are asked for submodules.
fn is_undone(said: &Said) -> bool {
    said.places.first().is_none_or(|place| Repo::at(place).is_none())
}

/// Returns the configuration of the new repository that puts the helper in front of its remote, each `<key>=<value>`;
/// none where that cannot be: for a bundle, for another helper's URL.
fn switched_on(config: &Config, args: &CloneArguments, mirrors: &[String]) -> Vec<String> {
    let name = remote_name(config, args);
    let Some(repository) = args.repository.as_deref().and_then(OsStr::to_str) else { return Vec::new() };
    let helped = repository.strip_prefix("mirror::").unwrap_or(repository);
    let is_ours = GitUrl::parse(&config.rewritten(helped)).is_ok() && !is_bundle(Path::new(repository));
    // git splits what it is given at the first "=".
    let is_sayable = !name.contains(['=', char::REPLACEMENT_CHARACTER]);
    let taken = config.get(&format!("remote.{name}.vcs")).is_some_and(|vcs| vcs != "mirror");
    if !is_ours || !is_sayable || taken {
        return Vec::new();
    }
    let urls = mirrors.iter().map(|url| format!("remote.{name}.mirrorUrl={url}"));
    std::iter::once(format!("remote.{name}.vcs=mirror")).chain(urls).collect()
}

/// Returns the name of the remote that `git clone` will make: what `--origin` says, or `clone.defaultRemoteName` of the
/// new repository as its options and its template make it (`cmd_clone` in git's `builtin/clone.c`).
fn remote_name(config: &Config, args: &CloneArguments) -> String {
    const KEY: &str = "clone.defaultRemoteName";
    let own = || args.configured(KEY).map(str::to_owned);
    let of_template = || {
        let ambient = || std::env::var_os("GIT_TEMPLATE_DIR");
        let configured = || config.get("init.templatedir").map(Into::into);
        let folder = PathBuf::from(args.template.clone().or_else(ambient).or_else(configured)?);
        let file = folder.join("config");
        file.is_file().then(|| Config::of_file(&file).ok()?.get(&KEY.to_ascii_lowercase()).map(str::to_owned))?
    };
    let usual = || config.get(&KEY.to_ascii_lowercase()).map(str::to_owned);
    args.origin.clone().or_else(own).or_else(of_template).or_else(usual).unwrap_or_else(|| "origin".into())
}

/// Returns the URL of a mirror as it can be kept: a path is one from the root.
fn absolute(config: &Config, url: &str) -> Result<String> {
    let parsed = GitUrl::parse(&config.rewritten(url))?;
    let relative = parsed.transport == Transport::Local && parsed.raw() == url && Path::new(url).is_relative();
    let folder = std::env::current_dir().ok().filter(|_| relative && !url.contains("://"));
    Ok(folder.map_or_else(|| url.to_owned(), |folder| folder.join(url).to_string_lossy().into_owned()))
}

/// Returns whether `git clone` would read this as a bundle (gitformat-bundle(5)).
fn is_bundle(path: &Path) -> bool {
    let mut with_end = path.as_os_str().to_owned();
    with_end.push(".bundle");
    let begins_as_one = |path: &Path| {
        let mut start = [0; 3];
        std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"# v"
    };
    !path.is_dir() && [path, Path::new(&with_end)].into_iter().any(|path| path.is_file() && begins_as_one(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> CloneArguments {
        CloneArguments::read(&line.split_whitespace().map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn switches_the_new_remote_on() {
        let none = Config::default();
        let named = Config::parse(b"clone.defaultremotename\nup\0");
        let other = Config::parse(b"remote.origin.vcs\nhg\0");
        for (config, line, want) in [
            (&none, "https://h/a", "remote.origin.vcs=mirror remote.origin.mirrorUrl=m"),
            (&none, "-o x https://h/a d", "remote.x.vcs=mirror remote.x.mirrorUrl=m"),
            (&named, "https://h/a", "remote.up.vcs=mirror remote.up.mirrorUrl=m"),
            (&named, "-c clone.defaultRemoteName=y h:a", "remote.y.vcs=mirror remote.y.mirrorUrl=m"),
            (&named, "-o x -c clone.defaultRemoteName=y h:a", "remote.x.vcs=mirror remote.x.mirrorUrl=m"),
            (&none, "mirror::https://h/a", "remote.origin.vcs=mirror remote.origin.mirrorUrl=m"),
            (&none, "hg::https://h/a", ""),
            (&none, "-o a=b https://h/a", ""),
            (&other, "https://h/a", ""),
            (&none, "", ""),
        ] {
            assert_eq!(switched_on(config, &args(line), &["m".into()]).join(" "), want, "{line}");
        }
    }
}
