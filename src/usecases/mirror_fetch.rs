//! `git mirror-fetch`: `git fetch` with the helper, mirrors first, and the clean-up walk afterwards.

use std::ffi::OsString;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use gix::ObjectId;

use crate::adapters::channel::Family;
use crate::adapters::config::{self, Config};
use crate::adapters::repo::Repo;
use crate::adapters::run::{self, Said};
use crate::adapters::{os, process, refspec};
use crate::usecases::manage::{default_remote, remote_url};
use crate::usecases::publishing;
use crate::usecases::seeding::Seeder;
use crate::values::{Error, Event, GitUrl, Kind, Report, Result, Transport};

/// Two interrupts within this time end the run, whatever is going on.
const DOUBLE: Duration = Duration::from_secs(1);

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
    pub fetch: Vec<String>,
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

/// Carries the order out; returns the exit code: git's own.
///
/// # Errors
/// [`Kind::Usage`] and [`Kind::Config`] for what cannot be understood, [`Kind::Local`] where git cannot be started.
pub fn run(order: &Order, report: &dyn Report) -> Result<i32> {
    if Repo::discover().is_none() {
        return process::foreground(process::git(["fetch"]).args(&order.fetch)); // git says what is wrong
    }
    // Both for this process and for those that it starts.
    let env = environment(order);
    let config = Config::load()?.with_run(&order.mirror_urls, &order.prefer);
    let remotes = remotes(&config, &order.fetch);
    if order.mirror_only || order.seed {
        let quiet = order.fetch.iter().any(|a| a == "-q" || a == "--quiet");
        let progress = order.fetch.iter().any(|a| a == "--progress");
        report.event(Event::Settings { verbosity: i32::from(!quiet), progress });
        let mut filled = Ok(());
        for remote in &remotes {
            if let Err(err) = fill(&config, remote, report) {
                filled = Err(err);
            }
        }
        if order.mirror_only {
            return filled.map(|()| 0);
        }
        if let Err(err) = filled {
            report.event(Event::Warning(err.message));
        }
    }
    let enabling = enabling(&config, &remotes);
    let (code, said) = fetch(order, &env, &enabling, report)?;
    let Some(repo) = Repo::discover() else { return Ok(code) };
    if code == 0
        && let Err(err) = repo.mirror_refs().and_then(|refs| repo.tidy(&refs, &[]))
    {
        tracing::debug!(%err, "cannot tidy refs/mirror");
    }
    for remote in &said.unreached {
        if let Err(err) = fill(&config, remote, report) {
            report.event(Event::Warning(err.message));
        }
        let url = crate::values::url::redact(&remote_url(&config, remote).unwrap_or_else(|_| remote.clone()));
        report.event(Event::Warning(format!("canonical {url} could not be reached; your refs stay as they are")));
    }
    Ok(code)
}

/// Runs `git fetch`; where Ctrl-C ends it while a mirror is being asked, once more without that mirror.
fn fetch(
    order: &Order,
    env: &[(&'static str, String)],
    enabling: &[(String, OsString)],
    report: &dyn Report,
) -> Result<(i32, Said)> {
    let interrupted = os::on_interrupt();
    let mut skipped: Vec<String> = Vec::new();
    loop {
        let file = tempfile::NamedTempFile::new().map_err(Error::doing(Kind::Local, "cannot make a temporary file"))?;
        let mut git = process::git(["fetch"]);
        git.args(&order.fetch).envs(env.iter().cloned()).envs(enabling.iter().cloned());
        git.env(run::ENV_RUN, file.path()).env(run::ENV_SKIP, skipped.join("\n"));
        let began = Instant::now();
        let code = process::foreground(&mut git)?;
        let said = Said::parse(&std::fs::read_to_string(file.path()).unwrap_or_default());
        match said.asking {
            // A second one right after the first means it.
            Some(mirror) if interrupted.swap(false, Relaxed) && (skipped.is_empty() || began.elapsed() > DOUBLE) => {
                report.event(Event::Left { mirror: mirror.clone(), reason: "interrupted; once more to stop".into() });
                skipped.push(mirror);
            }
            _ => return Ok((code, said)),
        }
    }
}

/// Returns the environment that carries the order to the helper.
fn environment(order: &Order) -> Vec<(&'static str, String)> {
    let mut env = Vec::new();
    if !order.mirror_urls.is_empty() {
        env.push((config::ENV_URLS, order.mirror_urls.join("\n")));
    }
    if !order.prefer.is_empty() {
        env.push((config::ENV_PREFER, order.prefer.join("\n")));
    }
    if order.from_ref {
        env.push((publishing::ENV, "true".to_owned()));
    }
    env
}

/// Returns the remotes, or URLs, that `git fetch` with these arguments fetches from.
fn remotes(config: &Config, args: &[String]) -> Vec<String> {
    let (mut all, mut multiple, mut named) = (false, false, Vec::new());
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
        if taken || unwanted || bundle {
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
    let seeder =
        Seeder { repo: &repo, config, remote, url: &url, family: Family::Any, report, early: Default::default() };
    let haves: Vec<ObjectId> = repo.recent_tips(256)?;
    let (who, space, refs) = seeder.fill(&sources, &haves)?;
    let place = format!("refs/mirror/{}/", space.name());
    report.event(Event::Note(if refs == 0 {
        format!("mirror: {who} has nothing that is not here already")
    } else {
        format!("mirror: what {who} gave is in {place} ({refs} refs), unverified by canonical; see `git log --oneline --glob='{place}*'`")
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<String> {
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
