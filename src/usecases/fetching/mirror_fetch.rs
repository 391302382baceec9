//! `git mirror-fetch`: `git fetch` with the helper, mirrors first, and the clean-up walk afterwards.

use std::ffi::OsString;

use gix::ObjectId;

use crate::adapters::git::config::{self, Config};
use crate::adapters::git::litter::Litter;
use crate::adapters::git::refspec;
use crate::adapters::git::remotes::{default_remote, remote_url};
use crate::adapters::git::repo::Repo;
use crate::adapters::git::run::{self, Part};
use crate::adapters::net::channel::Family;
use crate::adapters::os::Ended;
use crate::adapters::process;
use crate::adapters::seed::keep::Keep;
use crate::usecases::fetching::list_in_ref;
use crate::usecases::fetching::remote::Remote;
use crate::usecases::fetching::seeding::Seeder;
use crate::usecases::fetching::steps::{self, Begun, Steps};
use crate::values::report::counted;
use crate::values::url::redact;
use crate::values::{Error, Event, GitUrl, Kind, Report, Result, Transport};

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// `--mirror-url`: mirrors for this run.
    pub mirror_urls: Vec<String>,
    /// `--prefer-mirror[=<host>]`, `--no-use-mirror`: as `remote.<n>.preferMirror`.
    pub prefer: Vec<String>,
    /// `--mirror-only`: fill `refs/mirror/*`, and leave canonical alone.
    pub mirror_only: bool,
    /// `--seed`: fill `refs/mirror/*`, then fetch.
    pub seed: bool,
    /// `--mirrors-from-ref`: read the list that the owner keeps in the repository.
    pub from_ref: bool,
    /// Everything else: `git fetch`'s own.
    pub fetch: Vec<OsString>,
}

impl Order {
    fn has(&self, options: &[&str]) -> bool {
        self.fetch.iter().any(|argument| options.iter().any(|option| argument == option))
    }
}

/// The options of git-fetch(1) (2.47) whose value may be the next argument.
const WITH_VALUE: [&str; 14] = [
    "--upload-pack",
    "--depth",
    "--deepen",
    "--shallow-since",
    "--shallow-exclude",
    "--refmap",
    "--server-option",
    "--negotiation-tip",
    "--filter",
    "--jobs",
    "--bundle-uri",
    "-o",
    "-j",
    "--recurse-submodules-default",
];

/// Carries the order out; returns how it ended: as `git fetch` did.
///
/// # Errors
/// [`Kind::Usage`] and [`Kind::Config`] for what cannot be understood, [`Kind::Local`] where git cannot be started.
pub fn run(order: &Order, report: &dyn Report) -> Result<Ended> {
    let at = match steps::begin()? {
        Begun::Here(at) => at,
        Begun::Elsewhere(ended) => return Ok(ended),
    };
    if Repo::discover().is_none() {
        return process::foreground(process::git(["fetch"]).args(&order.fetch)).map(Ended::Exit); // git says what is wrong
    }
    report.event(Event::Settings {
        verbosity: i32::from(!order.has(&["-q", "--quiet"])),
        progress: order.has(&["--progress"]),
    });
    // Both for this process and for those that it starts.
    let env = environment(&order.mirror_urls, &order.prefer, order.from_ref);
    let config = Config::load()?.with_run(&order.mirror_urls, &order.prefer);
    let remotes = remotes(&config, &order.fetch);
    if Part::of_this_process() == Some(Part::Fill) {
        let _run = run::join();
        return fill_all(order, &config, &remotes, report);
    }
    let steps = Steps::new(&at, report)?;
    Run { order, env, config, steps, report }.fetch(&remotes)
}

/// A run under way.
struct Run<'a> {
    order: &'a Order,
    env: Vec<(&'static str, String)>,
    config: Config,
    steps: Steps<'a>,
    report: &'a dyn Report,
}

impl Run<'_> {
    fn fetch(&mut self, remotes: &[String]) -> Result<Ended> {
        if self.order.mirror_only || self.order.seed {
            let mut worst = Ended::Exit(0);
            for remote in remotes {
                match self.fill(remote, self.order.mirror_only)? {
                    Ended::Exit(0) => {}
                    Ended::Exit(code) => worst = Ended::Exit(code),
                    signal => return Ok(signal),
                }
            }
            if self.order.mirror_only {
                return Ok(self.steps.told().unwrap_or(worst));
            }
        }
        let enabling = enabling(&self.config, remotes);
        let litter = Repo::discover().as_ref().map(Litter::before);
        let fetch = || {
            let mut git = process::git(["fetch"]);
            git.args(&self.order.fetch).envs(self.env.iter().cloned()).envs(enabling.iter().cloned());
            git.env_remove(run::ENV_PART);
            Ok(git)
        };
        let (ended, said) = self.steps.run(fetch, |_| true)?;
        if self.steps.interrupted() || matches!(ended, Ended::Signal(_)) {
            litter.inspect(Litter::sweep);
        }
        let Ended::Exit(code) = ended else { return Ok(ended) };
        if code == 0
            && let Some(repo) = Repo::discover()
            && let Err(err) = repo.mirror_refs().and_then(|refs| repo.tidy(&refs, &[]))
        {
            tracing::debug!(%err, "cannot tidy refs/mirror");
        }
        for remote in &said.unreached {
            if let signal @ Ended::Signal(_) = self.fill(remote, false)? {
                return Ok(signal);
            }
            let url = redact(&remote_url(&self.config, remote).unwrap_or_else(|_| remote.clone()));
            let text = format!("canonical {url} could not be reached; your refs stay as they are");
            self.report.event(Event::Warning(text));
        }
        Ok(self.steps.told().unwrap_or(ended))
    }

    /// Fills `refs/mirror/<host>/*` for one remote. Where that fails, it has been said: as an error if it is `needed`.
    fn fill(&mut self, remote: &str, needed: bool) -> Result<Ended> {
        let order = self.order;
        let step = || {
            let mut fill = process::this_program()?;
            fill.arg(if needed { "--mirror-only" } else { "--seed" });
            let shared = |a: &&OsString| ["-q", "--quiet", "--progress"].iter().any(|option| *a == option);
            fill.args(order.fetch.iter().filter(shared));
            fill.args(["--", remote]).envs(self.env.iter().cloned()).env(run::ENV_PART, Part::Fill.word());
            Ok(fill)
        };
        let (ended, _) = self.steps.run(step, |_| true)?;
        Ok(ended)
    }
}

/// Returns the environment that carries an order to the helper.
pub(super) fn environment(urls: &[String], prefer: &[String], from_ref: bool) -> Vec<(&'static str, String)> {
    let mut env = Vec::new();
    if !urls.is_empty() {
        env.push((config::ENV_URLS, urls.join("\n")));
    }
    if !prefer.is_empty() {
        env.push((config::ENV_PREFER, prefer.join("\n")));
    }
    if from_ref {
        env.push((list_in_ref::ENV, "true".to_owned()));
    }
    env
}

/// Returns the remotes, or URLs, that `git fetch` with these arguments fetches from.
fn remotes(config: &Config, args: &[OsString]) -> Vec<String> {
    let (mut all, mut multiple, mut named) = (false, false, Vec::new());
    let args: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--" => named.extend(args.by_ref()),
            "--all" => all = true,
            "--multiple" => multiple = true,
            option if WITH_VALUE.contains(&option) => drop(args.next()),
            option if option.starts_with('-') && option.len() > 1 => {}
            _ => named.push(arg),
        }
    }
    let groups = |name: &str| -> Vec<String> {
        let members: Vec<String> =
            config.all(&format!("remotes.{name}")).flat_map(|list| list.split_whitespace().map(Into::into)).collect();
        if members.is_empty() { vec![name.to_owned()] } else { members }
    };
    match (all, named.split_first()) {
        (true, _) => config.remotes().into_iter().map(Into::into).collect(),
        (_, None) if config.bool("fetch.all").unwrap_or(false) => {
            config.remotes().into_iter().map(Into::into).collect()
        }
        (_, None) => vec![default_remote(config)],
        (_, Some(_)) if multiple => named.iter().flat_map(|name| groups(name)).collect(),
        (_, Some((first, _))) => groups(first),
    }
}

/// Returns configuration, as `GIT_CONFIG_COUNT` takes it, that puts the helper in front of each remote that has no helper
/// of its own: canonical may list mirrors where none is known yet.
fn enabling(config: &Config, remotes: &[String]) -> Vec<(String, OsString)> {
    let mut entries = Vec::new();
    for remote in remotes {
        let configured = config.all(&format!("remote.{remote}.url")).next().is_some();
        let Ok(url) = remote_url(config, remote).or_else(|_| Ok::<_, Error>(config.rewritten(remote))) else {
            continue;
        };
        let taken = config.get(&format!("remote.{remote}.vcs")).is_some();
        let unwanted = config.preference(remote).wanted == Some(false);
        let Ok(parsed) = GitUrl::parse(&url) else { continue };
        let bundle = parsed.transport == Transport::Local && std::path::Path::new(&parsed.path).is_file();
        // One that is not UTF-8 has been read as something else: git knows it, the helper would not.
        let unread = remote.contains(char::REPLACEMENT_CHARACTER) || url.contains(char::REPLACEMENT_CHARACTER);
        if taken || unwanted || bundle || unread {
            continue;
        }
        entries.push((format!("remote.{remote}.vcs"), "mirror".to_owned()));
        if !configured {
            entries.push((format!("remote.{remote}.url"), url));
        }
    }
    let before: usize = std::env::var("GIT_CONFIG_COUNT").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut env = Vec::new();
    for (at, (key, value)) in entries.iter().enumerate() {
        env.push((format!("GIT_CONFIG_KEY_{}", before + at), key.into()));
        env.push((format!("GIT_CONFIG_VALUE_{}", before + at), value.into()));
    }
    if !entries.is_empty() {
        env.push(("GIT_CONFIG_COUNT".to_owned(), (before + entries.len()).to_string().into()));
    }
    env
}

/// Fills `refs/mirror/<host>/*` for these remotes. Without `--mirror-only`, a failure is no more than a warning.
fn fill_all(order: &Order, config: &Config, remotes: &[String], report: &dyn Report) -> Result<Ended> {
    for remote in remotes {
        match fill(config, remote, report) {
            Err(err) if order.mirror_only => return Err(err),
            Err(err) => report.event(Event::Warning(err.message)),
            Ok(()) => {}
        }
    }
    Ok(Ended::Exit(0))
}

/// Fills `refs/mirror/<host>/*` from the first mirror of `remote` that gives what its fetch refspecs name.
fn fill(config: &Config, remote: &str, report: &dyn Report) -> Result<()> {
    let repo = Repo::discover().ok_or_else(|| Error::new(Kind::Local, "not a git repository"))?;
    let url = remote_url(config, remote).unwrap_or_else(|_| config.rewritten(remote));
    let url = GitUrl::parse(&url)?;
    let key = format!("remote.{remote}.fetch");
    let mut sources: Vec<&str> = config.all(&key).map(refspec::source_of).collect();
    if sources.is_empty() {
        sources = vec!["refs/heads/*", "refs/tags/*"];
    }
    let from = Remote { name: remote, url: &url, config, family: Family::Any, report };
    let keep = Keep::for_this_process();
    let seeder = Seeder::alone(&repo, from, &keep);
    let haves: Vec<ObjectId> = repo.recent_tips(256)?;
    let (who, space, refs) = seeder.fill(&sources, &haves)?;
    let place = format!("refs/mirror/{}/", space.name());
    report.event(Event::Note(if refs == 0 {
        format!("mirror: {who} has nothing that is not here already")
    } else {
        format!("mirror: what {who} gave is in {place} ({}), unverified by canonical; see `git log --oneline --glob='{place}*'`", counted(refs, "ref"))
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(Into::into).collect()
    }

    #[test]
    fn finds_what_git_fetch_would_use() {
        let config = Config::parse(b"remote.origin.url\na\0remote.up.url\nb\0remotes.both\norigin up\0");
        for (line, want) in [
            ("origin main", vec!["origin"]),
            ("--depth 1 up", vec!["up"]),
            ("--depth=1 -j 4 -q up", vec!["up"]),
            ("--all", vec!["origin", "up"]),
            ("both", vec!["origin", "up"]),
            ("--multiple origin both", vec!["origin", "origin", "up"]),
            ("https://h/a x", vec!["https://h/a"]),
        ] {
            assert_eq!(remotes(&config, &args(line)), want, "{line}");
        }
    }
}
