//! `git mirror list|probe|forgive`: how the mirrors of a repository stand.

use crate::adapters::git::config::Config;
use crate::adapters::git::remotes::remote_url;
use crate::adapters::git::repo::Repo;
use crate::adapters::kept::hosts::Hosts;
use crate::adapters::kept::ledger::{Fact, Ledger};
use crate::adapters::kept::state::now;
use crate::adapters::kept::state::{self, Last};
use crate::adapters::net::channel::Family;
use crate::adapters::net::probe::Probed;
use crate::decide::cost::Work;
use crate::decide::facts::{Backoff, Host, OfCopy, OfHost};
use crate::usecases::fetching::choosing::{Chooser, Decision, Known, warn_of_settings};
use crate::usecases::fetching::remote::Remote;
use crate::usecases::managing::manage::{Odd, odd};
use crate::usecases::managing::switch::Standing;
use crate::values::{GitUrl, Report, Result};

/// A remote, and its mirrors.
#[derive(Debug, Clone)]
pub struct Mirrors {
    /// How they stand.
    pub standing: Standing,
    /// Canonical's URL, redacted.
    pub url: String,
    /// Canonical's host, or its path, for people.
    pub host: String,
    /// What is known of canonical's host.
    pub canonical: Host,
    /// The mirrors: those that would be asked, in order; then the others.
    pub rows: Vec<Row>,
}

/// One mirror.
#[derive(Debug, Clone)]
pub struct Row {
    /// The mirror's URL, redacted.
    pub url: String,
    /// What is known of it; nothing where it cannot be used at all.
    pub known: Option<Known>,
    /// As which it would be asked now, from 1; nothing where it would not be.
    pub rank: Option<usize>,
    /// Why.
    pub reason: String,
    /// What came of it last time.
    pub last: Option<Last>,
    /// What is odd about it.
    pub odd: Option<Odd>,
}

/// Calls `each` with a chooser for each of `remotes`, or for all where none is named.
fn for_each(config: &Config, remotes: &[String], report: &dyn Report, mut each: impl FnMut(&Chooser)) -> Result<()> {
    warn_of_settings(config, report);
    let repo = Repo::discover();
    let all: Vec<String> = config.remotes().into_iter().map(Into::into).collect();
    for remote in if remotes.is_empty() { &all } else { remotes } {
        let Ok(url) = GitUrl::parse(&remote_url(config, remote)?) else { continue };
        each(&Chooser {
            repo: repo.as_ref(),
            remote: Remote { name: remote, url: &url, config, family: Family::Any, report },
        });
    }
    Ok(())
}

/// Returns how the mirrors of `remotes`, or of all, stand.
///
/// # Errors
/// [`crate::values::Kind::Usage`] for a remote that is not configured.
pub fn list(config: &Config, remotes: &[String], report: &dyn Report) -> Result<Vec<Mirrors>> {
    let mut all = Vec::new();
    let hosts = Hosts::load(config);
    for_each(config, remotes, report, |chooser| {
        let Ok(standing) = Standing::of(config, chooser.remote.name) else { return };
        let canonical = chooser.remote.url;
        all.push(Mirrors {
            standing,
            url: canonical.redacted(),
            host: canonical.shown_host(),
            canonical: hosts.get(canonical).at(now()),
            rows: rows(chooser),
        });
    })?;
    Ok(all)
}

fn rows(chooser: &Chooser) -> Vec<Row> {
    let usual = chooser.repo.and_then(|repo| state::usual(repo, chooser.remote.name));
    let Decision { known, choice, refused } = chooser.decide(Work { clone: false, bytes: usual }, false);
    let mut lasts = chooser.repo.map(state::last).unwrap_or_default();
    let mut row = |at: usize, rank: Option<usize>, reason: String| {
        let known = known[at].clone();
        let last = lasts.remove(known.space.key());
        let url = known.mirror.url.redacted();
        let odd = odd(&known.mirror.url, chooser.remote.url);
        Row { url, known: Some(known), rank, reason, last, odd }
    };
    let ranked = choice.order.iter().zip(1..);
    let mut rows: Vec<Row> = ranked.map(|(place, rank)| row(place.at, Some(rank), place.reason.to_string())).collect();
    rows.extend(choice.excluded.iter().map(|place| row(place.at, None, place.reason.to_string())));
    rows.extend(refused.into_iter().map(|(url, why)| {
        let reason = format!("not used: {why}");
        Row { url, known: None, rank: None, reason, last: None, odd: None }
    }));
    rows
}

/// Measures the time of a connection to each mirror of `remotes`, or of all. Returns remote, mirror and outcome; no
/// outcome where there is none to be had: for a path, or behind a proxy.
///
/// # Errors
/// As [`list`].
pub fn probe(config: &Config, remotes: &[String], report: &dyn Report) -> Result<Vec<(String, Known, Option<Probed>)>> {
    let mut all = Vec::new();
    for_each(config, remotes, report, |chooser| {
        let probed = chooser.probe_all().into_iter();
        all.extend(probed.map(|(known, outcome)| (chooser.remote.name.to_owned(), known, outcome)));
    })?;
    Ok(all)
}

/// Forgets the failures of the mirrors of `remotes`, or of all. Returns those that had any.
///
/// # Errors
/// As [`list`].
pub fn forgive(config: &Config, remotes: &[String], report: &dyn Report) -> Result<Vec<(String, Known)>> {
    let mut forgiven = Vec::new();
    for_each(config, remotes, report, |chooser| {
        let blamed = |known: &Known| known.host.bad > 0 || known.copy.backoff != Backoff::default();
        let known: Vec<Known> = chooser.decide(Work::default(), false).known.into_iter().filter(blamed).collect();
        let facts = known.iter().flat_map(|Known { mirror, space, .. }| {
            [Fact::Host(mirror.url.clone(), OfHost::Forgiven), Fact::Copy(space.clone(), OfCopy::Forgiven)]
        });
        Ledger { repo: chooser.repo, remote: chooser.remote.name, config }.note(&facts.collect::<Vec<_>>());
        forgiven.extend(known.into_iter().map(|known| (chooser.remote.name.to_owned(), known)));
    })?;
    Ok(forgiven)
}
