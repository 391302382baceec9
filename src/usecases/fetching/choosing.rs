//! Which mirrors to ask for one remote, in which order: what is known is gathered here, and `decide::selector` decides.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::adapters::git::config::Config;
use crate::adapters::git::remotes;
use crate::adapters::git::repo::Repo;
use crate::adapters::git::run;
use crate::adapters::kept::geoip::Database;
use crate::adapters::kept::hosts::Hosts;
use crate::adapters::kept::ledger::{Fact, Ledger};
use crate::adapters::kept::state;
use crate::adapters::net::guard::Guard;
use crate::adapters::net::probe::{self, Patience, Probed, Target};
use crate::decide::cost::Work;
use crate::decide::facts::{Copy, Host, OfHost};
use crate::decide::policy::distance_km;
use crate::decide::selector::{self, Candidate, Choice, Question};
use crate::usecases::fetching::remote::Remote;
use crate::values::mirror_list::Location;
use crate::values::{Error, Event, GitUrl, Listed, Mirror, Origin, RefSpace, Report, Transport};

/// Most mirrors that are probed for one fetch: of more, those that are nearest by what is known.
const MOST_PROBED: usize = 16;

/// Chooses for one remote.
#[derive(Clone, Copy)]
pub struct Chooser<'a> {
    /// The repository, where there is one.
    pub repo: Option<&'a Repo>,
    /// The remote.
    pub remote: Remote<'a>,
}

/// Mirrors in an order.
#[derive(Debug)]
pub struct Order {
    /// Those to ask, the first one first.
    pub mirrors: Vec<(Mirror, RefSpace)>,
    /// The others, each with why, in a word.
    pub others: Vec<(String, &'static str)>,
}

/// A mirror, and what is known of it.
#[derive(Debug, Clone)]
pub struct Known {
    /// The mirror.
    pub mirror: Mirror,
    /// Where its refs are kept.
    pub space: RefSpace,
    /// What is known of its host.
    pub host: Host,
    /// What is known of this repository there.
    pub copy: Copy,
    /// How far away it is, in kilometres.
    pub km: Option<f64>,
}

/// What was decided, and on what grounds.
pub struct Decision {
    /// All mirrors that can be used, as they are configured.
    pub known: Vec<Known>,
    /// Which to try; indices into `known`.
    pub choice: Choice,
    /// Entries that cannot be mirrors, and why.
    pub refused: Vec<(String, String)>,
}

impl<'a> Chooser<'a> {
    /// Returns what is known of each mirror, and the entries that cannot be one.
    fn known(&self, hosts: &Hosts, now: u64) -> (Vec<Known>, Vec<(String, String)>) {
        let (mut usable, mut refused) = (Vec::new(), Vec::new());
        for listed in self.remote.config.mirrors(self.remote.name, self.remote.url.raw()) {
            match listed {
                Listed::Usable(mirror) => usable.push(mirror),
                Listed::Refused { url, why } => refused.push((url, why)),
            }
        }
        let spaces = self.spaces(&usable);
        let copies = self.repo.map(state::copies).unwrap_or_default();
        let places = Places::load(self);
        let known = usable.into_iter().zip(spaces).map(|(mirror, space)| Known {
            host: hosts.get(&mirror.url).at(now),
            copy: copies.get(space.key()).cloned().unwrap_or_default(),
            km: places.as_ref().and_then(|places| places.distance(&mirror.url)),
            mirror,
            space,
        });
        (known.filter(|known| !run::is_skipped(&known.space)).collect(), refused)
    }

    /// Returns the name spaces of this remote's mirrors, distinct from those of all other remotes: those that are
    /// configured come in their order, then what is fetched by URL.
    fn spaces(&self, mirrors: &[Mirror]) -> Vec<RefSpace> {
        let Remote { name, config, .. } = self.remote;
        let mut names = config.remotes();
        if !names.contains(&name) {
            names.push(name);
        }
        let of = |remote: &str| -> Vec<Mirror> {
            let url = remotes::remote_url(config, remote).unwrap_or_default();
            let usable = |listed| if let Listed::Usable(mirror) = listed { Some(mirror) } else { None };
            config.mirrors(remote, &url).into_iter().filter_map(usable).collect()
        };
        let all: Vec<(&str, Vec<Mirror>)> =
            names.iter().map(|other| (*other, if *other == name { mirrors.to_vec() } else { of(other) })).collect();
        let at = names.iter().position(|other| *other == name).unwrap_or_default();
        RefSpace::of_all(&all).swap_remove(at)
    }

    /// Decides which mirrors to ask. With `probing`, where there is a choice, and no fresh figure to decide by, the
    /// mirrors' hosts are probed.
    pub fn decide(&self, work: Work, probing: bool) -> Decision {
        let began = Instant::now();
        let (hosts, now) = (Hosts::load(self.remote.config), state::now());
        let (mut known, refused) = self.known(&hosts, now);
        let question = Question {
            preference: self.remote.config.preference(self.remote.name),
            work,
            canonical: hosts.get(self.remote.url).at(now),
            must_pay: self.remote.config.bool("mirror.mustpay").unwrap_or(true),
            now,
            seed: u64::from(hosts.seed),
        };
        let mut choice = choose(&known, &question);
        tracing::debug!(mirrors = known.len(), took = ?began.elapsed(), "chose");
        let unprobed = if probing { self.unprobed(&known, &choice, now) } else { Vec::new() };
        if !unprobed.is_empty() {
            let nearest = choice.order.iter().filter_map(|place| connect_time(&known[place.at])).min();
            self.probe(&mut known, &unprobed, Patience::Nearest(nearest));
            choice = choose(&known, &question);
        }
        Decision { known, choice, refused }
    }

    /// Returns which mirrors to probe: those that share the first place but for what is not known.
    fn unprobed(&self, known: &[Known], choice: &Choice, now: u64) -> Vec<usize> {
        let preference = self.remote.config.preference(self.remote.name);
        let places = choice.order.iter().map(|place| place.at);
        let Some(first) = places.clone().next() else { return Vec::new() };
        let tier = |at: usize| selector::tier(&known[at].mirror, &preference);
        let rivals: Vec<usize> = places.filter(|at| tier(*at) == tier(first)).take(MOST_PROBED).collect();
        let possible = |at: &usize| {
            !known[*at].host.is_probed(now) && probe::is_possible(&known[*at].mirror.url, self.remote.config)
        };
        if rivals.len() < 2 { Vec::new() } else { rivals.into_iter().filter(possible).collect() }
    }

    /// Measures connect times, and keeps them. Returns what came of each.
    pub fn probe(&self, known: &mut [Known], which: &[usize], patience: Patience) -> Vec<Probed> {
        let guard = Arc::new(Guard::new(self.remote.url, self.remote.config));
        let target = |Mirror { url, origin }: &Mirror| Target {
            url: url.clone(),
            guard: (*origin == Origin::Listed).then(|| Arc::clone(&guard)),
        };
        let targets: Vec<Target> = which.iter().map(|at| target(&known[*at].mirror)).collect();
        tracing::debug!(count = targets.len(), "probe");
        let probed = probe::connect_times(targets, self.remote.family, patience);
        let now = state::now();
        let mut facts = Vec::new();
        for (at, outcome) in which.iter().zip(&probed) {
            let (Probed::Connected(time) | Probed::Slower(time)) = outcome else { continue };
            let seen = OfHost::Connected(*time);
            known[*at].host.see(&seen, now);
            facts.push(Fact::Host(known[*at].mirror.url.clone(), seen));
        }
        Ledger { repo: self.repo, remote: self.remote.name, config: self.remote.config }.note(&facts);
        probed
    }

    /// Probes all mirrors, and returns what is known of them then, with what came of it; nothing where one cannot be
    /// probed.
    pub fn probe_all(&self) -> Vec<(Known, Option<Probed>)> {
        let (mut known, _) = self.known(&Hosts::load(self.remote.config), state::now());
        let possible = |at: &usize| probe::is_possible(&known[*at].mirror.url, self.remote.config);
        let which: Vec<usize> = (0..known.len()).filter(possible).collect();
        let mut probed: Vec<Option<Probed>> = vec![None; known.len()];
        for (at, outcome) in which.iter().zip(self.probe(&mut known, &which, Patience::All)) {
            probed[*at] = Some(outcome);
        }
        known.into_iter().zip(probed).collect()
    }

    /// Decides, and says why.
    pub fn order(&self, work: Work) -> Order {
        let Decision { known, choice, refused } = self.decide(work, true);
        warn_of_settings(self.remote.config, self.remote.report);
        let mut others = Vec::new();
        for (url, why) in refused {
            self.remote.report.event(Event::Warning(format!("mirror '{url}' is not used: {why}")));
            others.push((url, "refused"));
        }
        let who = |at: usize| known[at].mirror.url.shown_host();
        for place in &choice.excluded {
            let text = format!("mirror: {} is not asked: {}", who(place.at), place.reason);
            self.remote.report.event(Event::Detail(text));
            others.push((who(place.at), place.reason.word()));
        }
        if let (Some(first), true) = (choice.order.first(), known.len() > 1) {
            self.remote.report.event(Event::Detail(format!("mirror: {} goes first: {}", who(first.at), first.reason)));
        }
        let known = |at: usize| (known[at].mirror.clone(), known[at].space.clone());
        Order { mirrors: choice.order.iter().map(|place| known(place.at)).collect(), others }
    }
}

/// Tells of settings that cannot be read.
pub fn warn_of_settings(config: &Config, report: &dyn Report) {
    config.unreadable().into_iter().for_each(|fault| report.event(Event::Warning(fault)));
}

/// Returns how long a connection takes, where that is known.
fn connect_time(known: &Known) -> Option<Duration> {
    if known.mirror.url.transport == Transport::Local {
        return Some(Duration::ZERO);
    }
    known.host.connect.map(|figure| Duration::from_secs_f64((figure.value / 1000.0).clamp(0.0, 60.0)))
}

fn choose(known: &[Known], question: &Question) -> Choice {
    let candidates: Vec<Candidate> = known
        .iter()
        .map(|known| Candidate {
            mirror: &known.mirror,
            host: known.host.clone(),
            copy: known.copy.clone(),
            km: known.km,
        })
        .collect();
    selector::choose(&candidates, question)
}

/// Where this machine and the mirrors are. Nobody is asked for it: it is configured, was said by canonical, or stands in
/// a database that is here.
struct Places {
    here: Location,
    said: std::collections::BTreeMap<String, String>,
    database: Option<Database>,
}

impl Places {
    /// Returns nothing where it is not known where this machine is.
    fn load(chooser: &Chooser) -> Option<Self> {
        let known = chooser.repo.and_then(|repo| state::known_list(repo, chooser.remote.name)).unwrap_or_default();
        let configured = chooser.remote.config.get("mirror.location").map(str::parse::<Location>);
        let warn = |err: &Error| chooser.remote.report.event(Event::Warning(format!("mirror.location: {err}")));
        let configured = configured.and_then(|place| place.inspect_err(warn).ok());
        let here = configured.or_else(|| known.here.as_deref().and_then(|place| place.parse().ok()))?;
        let database = chooser.remote.config.get("mirror.geoipdatabase").filter(|path| !path.is_empty());
        let warn = |err: &Error| chooser.remote.report.event(Event::Warning(format!("mirror.geoipDatabase: {err}")));
        let database = database.and_then(|path| Database::open(Path::new(path)).inspect_err(warn).ok());
        Some(Places { here, said: known.places, database })
    }

    fn distance(&self, url: &GitUrl) -> Option<f64> {
        let said = || self.said.get(&url.shown_host())?.parse().ok();
        let looked_up = || self.database.as_ref()?.location(url.host.parse().ok()?);
        distance_km(self.here, looked_up().or_else(said)?)
    }
}
