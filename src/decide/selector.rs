//! In which order mirrors are tried, whether at all, and why (docs/architecture.md, "Choosing").
//!
//! Pure: the clock, randomness and all that is known are arguments, and the same arguments give the same order.

use std::fmt;

use super::cost::{self, Subject, Work};
use super::facts::{Copy, Host};
use crate::values::{Mirror, Origin, SafeText};

/// Mirrors whose expected costs differ by less than this factor are near equals.
const NEAR: f64 = 1.25;
/// Costs below this, in seconds, are all the same.
const QUICK: f64 = 0.04;
/// One that was never asked is tried in the place of one that was, if it promises to take less than this part of its time …
const PROMISING: f64 = 0.75;
/// … and that is longer than this, in seconds: there is little to gain below.
const SOON: f64 = 0.1;

/// What the user, or for a learned preference the server, prefers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preference {
    /// Whether to go mirror-first; `None` where nothing says so.
    pub wanted: Option<bool>,
    /// URLs or hosts that go first, in order.
    pub first: Vec<String>,
    /// Whether that was said for this run: then mirrors are used, be they worth it or not.
    pub insists: bool,
}

/// One mirror, and all that is known of it.
#[derive(Debug, Clone)]
pub struct Candidate<'a> {
    /// The mirror.
    pub mirror: &'a Mirror,
    /// What is known of its host.
    pub host: Host,
    /// What is known of this repository there.
    pub copy: Copy,
    /// How far away it is, in kilometres.
    pub km: Option<f64>,
}

impl Candidate<'_> {
    fn subject(&self) -> Subject<'_> {
        Subject { url: &self.mirror.url, host: &self.host, copy: &self.copy, km: self.km }
    }

    /// Returns whether anything is known of how near or how fast it is.
    pub fn is_known(&self) -> bool {
        self.host.connect.is_some() || self.km.is_some() || self.is_measured()
    }

    /// Returns whether it has been fetched from.
    fn is_measured(&self) -> bool {
        self.host.ask.or(self.host.rate).is_some()
    }
}

/// What is to be decided on.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// What is preferred.
    pub preference: Preference,
    /// What is to be fetched.
    pub work: Work,
    /// What is known of canonical's host.
    pub canonical: Host,
    /// Whether a mirror has to be worth it; otherwise every mirror is used that can be.
    pub must_pay: bool,
    /// Seconds since 1970.
    pub now: u64,
    /// Another number for each client, so that near equals share the load.
    pub seed: u64,
}

/// Why a mirror is where it is in the order, or why it is not in it.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// Named for this run.
    Named,
    /// Preferred, as the so-manieth.
    Preferred(usize),
    /// By its expected cost, in seconds, for what the figures say.
    Cost(f64),
    /// Nothing is known: as it stands in the configuration or in the server's list.
    Listed,
    /// No mirror shall be used.
    Off,
    /// The server lists it, and nobody said that such mirrors shall be used.
    NotAsked,
    /// It failed: for so many seconds it is left alone.
    BackedOff(u64, SafeText),
    /// It is expected to take so many seconds, canonical so many.
    DoesNotPay(f64, f64),
}

impl Reason {
    /// Returns it in a word, for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Reason::Named => "named",
            Reason::Preferred(_) => "preferred",
            Reason::Cost(_) => "cost",
            Reason::Listed => "listed",
            Reason::Off => "off",
            Reason::NotAsked => "not-preferred",
            Reason::BackedOff(..) => "backed-off",
            Reason::DoesNotPay(..) => "does-not-pay",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Named => write!(f, "named for this run"),
            Reason::Preferred(at) => write!(f, "preferred, number {}", at + 1),
            Reason::Cost(seconds) => write!(f, "expected to take {seconds:.2} s"),
            Reason::Listed => write!(f, "nothing is known of it, so as it is listed"),
            Reason::Off => write!(f, "no mirror shall be used (preferMirror)"),
            Reason::NotAsked => write!(f, "the server lists it, and preferMirror is not set"),
            Reason::BackedOff(left, why) => write!(f, "left alone for {}: {why}", duration(*left)),
            Reason::DoesNotPay(mirror, canonical) => {
                write!(f, "canonical is expected to be as quick: {canonical:.2} s, not {mirror:.2} s")
            }
        }
    }
}

/// Returns seconds in words.
pub fn duration(seconds: u64) -> String {
    match seconds {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86400),
    }
}

/// A mirror's place. `at` is its index among the candidates.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// Which candidate.
    pub at: usize,
    /// Why there.
    pub reason: Reason,
}

/// What was decided.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    /// The mirrors to try, in order.
    pub order: Vec<Place>,
    /// Those that are not tried.
    pub excluded: Vec<Place>,
}

/// Returns which of the candidates to try, in which order.
///
/// Tiers first: named for this run, preferred, configured, listed by the server. Within a tier by expected cost; near
/// equals as they are configured or listed, or, of those that the server lists and that have served us, by chance.
pub fn choose(candidates: &[Candidate], question: &Question) -> Choice {
    let mut choice = Choice::default();
    let mut rated: Vec<Rated> = Vec::with_capacity(candidates.len());
    let from_canonical = cost::from_canonical(&question.canonical, &question.work);
    for (at, candidate) in candidates.iter().enumerate() {
        let tier = tier(candidate.mirror, &question.preference);
        if let Some(reason) = exclusion(candidate, &tier, question) {
            choice.excluded.push(Place { at, reason });
            continue;
        }
        let cost = cost::by_mirror(&candidate.subject(), &question.work, from_canonical);
        let pays = from_canonical.is_none_or(|canonical| cost <= canonical) || !candidate.is_known();
        if let (false, true, Some(canonical)) = (pays, question.must_pay && !tier.is_wish(question), from_canonical) {
            choice.excluded.push(Place { at, reason: Reason::DoesNotPay(cost, canonical) });
            continue;
        }
        let hoped = cost::hoped(&candidate.subject(), &question.work);
        rated.push(Rated { at, tier, cost, hoped });
    }
    let known = best_known(candidates, &rated);
    let mut ranked: Vec<_> = rated
        .iter()
        .map(|Rated { at, tier, cost, hoped }| {
            let candidate = &candidates[*at];
            // One that is known is not left for one that promises little more, unless the server puts that first.
            let rival = known.iter().find(|best| best.tier == *tier && !candidate.is_measured());
            let rival = rival.filter(|best| *tier != Tier::Listed || best.at < *at);
            let cost = match rival {
                Some(best) if best.cost < SOON || *hoped > best.cost * PROMISING => cost.max(best.cost * NEAR * NEAR),
                _ => *cost,
            };
            let reason = match tier {
                Tier::Named => Reason::Named,
                Tier::Preferred(number) => Reason::Preferred(*number),
                _ if candidate.is_known() => Reason::Cost(cost),
                _ => Reason::Listed,
            };
            // Those that are named for this run are tried as they are named.
            let step = if *tier == Tier::Named { 0 } else { ((cost.max(QUICK) / QUICK).ln() / NEAR.ln()) as u64 };
            let shared = *tier == Tier::Listed && candidate.is_measured();
            let spread = if shared { mix(question.seed ^ hash(candidate.mirror.url.raw())) } else { 0 };
            // Where nothing but the distance is known, it counts to the last.
            let hundreds =
                candidate.km.filter(|_| candidate.host.connect.is_none()).map_or(0, |km| (km / 100.0) as u64);
            ((*tier, step, spread, hundreds, *at), Place { at: *at, reason })
        })
        .collect();
    ranked.sort_unstable_by_key(|(key, _)| *key);
    choice.order = ranked.into_iter().map(|(_, place)| place).collect();
    choice
}

/// A candidate with its expected cost, and with what it would be if it did as well as its distance allows; in seconds.
#[derive(Clone, Copy)]
struct Rated {
    at: usize,
    tier: Tier,
    cost: f64,
    hoped: f64,
}

/// Returns the best of each tier among those that have been fetched from.
fn best_known(candidates: &[Candidate], rated: &[Rated]) -> Vec<Rated> {
    let mut best: Vec<Rated> = Vec::new();
    for one in rated.iter().filter(|one| candidates[one.at].is_measured()) {
        match best.iter_mut().find(|best| best.tier == one.tier) {
            Some(best) if one.cost < best.cost => *best = *one,
            Some(_) => {}
            None => best.push(*one),
        }
    }
    best
}

/// What comes before what, whatever it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Named for this run.
    Named,
    /// Preferred, as the so-manieth.
    Preferred(usize),
    /// Configured by the user.
    Configured,
    /// Listed by the server.
    Listed,
}

impl Tier {
    /// Whether the user wishes for this very mirror.
    fn is_wish(self, question: &Question) -> bool {
        matches!(self, Tier::Named | Tier::Preferred(_)) || question.preference.insists
    }
}

/// Returns the tier of a mirror.
pub fn tier(mirror: &Mirror, preference: &Preference) -> Tier {
    let preferred = || preference.first.iter().position(|name| is_named(mirror, name));
    match mirror.origin {
        Origin::CommandLine => Tier::Named,
        origin => match (preferred(), origin) {
            (Some(at), _) => Tier::Preferred(at),
            (None, Origin::Listed) => Tier::Listed,
            (None, _) => Tier::Configured,
        },
    }
}

fn exclusion(candidate: &Candidate, tier: &Tier, question: &Question) -> Option<Reason> {
    let wanted = question.preference.wanted;
    if wanted == Some(false) {
        return Some(Reason::Off);
    }
    if candidate.mirror.origin == Origin::Listed && wanted.is_none() {
        return Some(Reason::NotAsked);
    }
    let asked_for = *tier == Tier::Named || question.preference.insists && matches!(tier, Tier::Preferred(_));
    [&candidate.host.backoff, &candidate.copy.backoff]
        .into_iter()
        .filter(|_| !asked_for)
        .filter_map(|backoff| Some((backoff.left(question.now)?, backoff)))
        .max_by_key(|(left, _)| *left)
        .map(|(left, backoff)| Reason::BackedOff(left, backoff.why.clone()))
}

/// Returns whether `name`, a URL or a host with or without its port, means `mirror`.
pub fn is_named(mirror: &Mirror, name: &str) -> bool {
    mirror.url.raw() == name || mirror.url.host.eq_ignore_ascii_case(name) || mirror.url.shown_host() == name
}

/// 64-bit FNV-1a: stable across releases and machines.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Spreads what differs in a few bits over all of them (splitmix64).
fn mix(seed: u64) -> u64 {
    let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
