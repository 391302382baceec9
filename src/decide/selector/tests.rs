use super::*;
use crate::decide::facts::{Backoff, Failure, Figure};
use crate::values::GitUrl;

const NOW: u64 = 1_800_000_000;

fn mirror(url: &str, origin: Origin) -> Mirror {
    Mirror { url: GitUrl::parse(url).expect("a URL"), origin }
}

fn host(connect_ms: f64, rate: f64) -> Host {
    let figure = |value: f64| (value > 0.0).then_some(Figure { value, time: NOW });
    Host { connect: figure(connect_ms), rate: figure(rate), ..Host::default() }
}

fn candidate(mirror: &Mirror, host: Host) -> Candidate<'_> {
    Candidate { mirror, host, copy: Copy::default(), km: None }
}

fn question(wanted: Option<bool>, first: &[&str]) -> Question {
    let first = first.iter().map(|name| (*name).to_owned()).collect();
    Question {
        preference: Preference { wanted, first, insists: false },
        must_pay: true,
        now: NOW,
        ..Question::default()
    }
}

fn order(candidates: &[Candidate], question: &Question) -> Vec<String> {
    let choice = choose(candidates, question);
    choice.order.iter().map(|place| candidates[place.at].mirror.url.host.clone()).collect()
}

#[test]
fn tiers_come_first() {
    let mirrors = [
        mirror("https://a/x", Origin::Remote),
        mirror("https://b/x", Origin::Base),
        mirror("https://c/x", Origin::Listed),
        mirror("https://d/x", Origin::CommandLine),
    ];
    let all: Vec<_> = mirrors.iter().map(|m| candidate(m, Host::default())).collect();
    assert_eq!(order(&all, &question(None, &[])), ["d", "a", "b"]);
    assert_eq!(order(&all, &question(Some(true), &[])), ["d", "a", "b", "c"]);
    assert_eq!(order(&all, &question(Some(true), &["B", "https://c/x"])), ["d", "b", "c", "a"]);
    assert!(order(&all, &question(Some(false), &["a"])).is_empty());
    let choice = choose(&all, &question(None, &[]));
    assert_eq!(choice.excluded, [Place { at: 2, reason: Reason::NotAsked }]);
}

#[test]
fn then_the_cheapest() {
    let mirrors: Vec<_> = ["a", "b", "c", "d"].map(|h| mirror(&format!("git://{h}/x"), Origin::Remote)).into();
    let figures = [host(2.0, 20e3), host(80.0, 0.0), host(20.0, 5e6), host(20.0, 4.9e6)];
    let all: Vec<_> = mirrors.iter().zip(figures).map(|(m, h)| candidate(m, h)).collect();
    // The nearest is overloaded; b is far; c and d are as good as equal, and stay in order.
    assert_eq!(order(&all, &question(None, &[])), ["c", "d", "b", "a"]);
    let swapped: Vec<_> = [3, 2, 1, 0].map(|at| all[at].clone()).into();
    assert_eq!(order(&swapped, &question(None, &[])), ["d", "c", "b", "a"]);
}

#[test]
fn one_that_does_well_is_kept() {
    let mirrors: Vec<_> = ["a", "b", "c"].map(|h| mirror(&format!("git://{h}/x"), Origin::Remote)).into();
    let asked = Question { work: Work { clone: false, bytes: Some(5e6) }, ..question(None, &[]) };
    let first = |figures: [Host; 3]| {
        let all: Vec<_> = mirrors.iter().zip(figures).map(|(m, h)| candidate(m, h)).collect();
        order(&all, &asked).remove(0)
    };
    // a is overloaded; b and c are unknown but for their distance, and b is nearer.
    assert_eq!(first([host(2.0, 20e3), host(20.0, 0.0), host(50.0, 0.0)]), "b");
    // b does what it can: c, which is farther, is not tried.
    assert_eq!(first([host(2.0, 20e3), host(20.0, 12e6), host(50.0, 0.0)]), "b");
    // b is a disappointment, too.
    assert_eq!(first([host(2.0, 20e3), host(20.0, 500e3), host(50.0, 0.0)]), "c");
    // One that is much nearer is tried.
    assert_eq!(first([host(200.0, 2e6), host(2.0, 0.0), host(150.0, 0.0)]), "b");
}

#[test]
fn distance_counts_where_nothing_is_measured() {
    let mirrors: Vec<_> = ["a", "b", "c"].map(|h| mirror(&format!("git://{h}/x"), Origin::Remote)).into();
    let km = [Some(9000.0), Some(300.0), None];
    let all: Vec<_> = mirrors.iter().zip(km).map(|(m, km)| Candidate { km, ..candidate(m, Host::default()) }).collect();
    assert_eq!(order(&all, &question(None, &[])), ["b", "c", "a"]);
}

#[test]
fn failures_exclude_for_a_while() {
    let mirrors: Vec<_> = ["a", "b", "c"].map(|h| mirror(&format!("git://{h}/x"), Origin::Remote)).into();
    let mut all: Vec<_> = mirrors.iter().map(|m| candidate(m, Host::default())).collect();
    all[0].host.fail(Failure::Trouble, "no answer", NOW);
    all[1].copy.backoff.fail(Failure::NotFound, "not found", NOW - 10);
    let choice = choose(&all, &question(None, &[]));
    let reasons: Vec<_> = choice.excluded.iter().map(|p| p.reason.to_string()).collect();
    assert_eq!(reasons, ["left alone for 60 s: no answer", "left alone for 50 s: not found"]);
    assert_eq!(order(&all, &Question { now: NOW + 60, ..question(None, &[]) }), ["b", "c", "a"]);
    // Preferred is not enough; named for this run is.
    assert_eq!(order(&all, &question(None, &["a"])), ["c"]);
    let mut insists = question(None, &["a"]);
    insists.preference.insists = true;
    assert_eq!(order(&all, &insists), ["a", "c"]);
}

#[test]
fn a_mirror_must_pay() {
    let mirrors = [mirror("git://a/x", Origin::Remote), mirror("git://b/x", Origin::Remote)];
    let slow = Host { ask: Some(Figure { value: 300.0, time: NOW }), ..host(100.0, 1e5) };
    let all = [candidate(&mirrors[0], slow), candidate(&mirrors[1], Host::default())];
    let canonical = Host { answer: Some(Figure { value: 150.0, time: NOW }), ..host(0.0, 1e6) };
    let small = Work { clone: false, bytes: Some(2000.0) };
    let asked = |must_pay, work| Question { canonical: canonical.clone(), must_pay, work, ..question(None, &[]) };
    // What is not known is tried; what is known to be slower is not.
    let choice = choose(&all, &asked(true, small));
    assert_eq!(choice.order.iter().map(|p| p.at).collect::<Vec<_>>(), [1]);
    assert!(matches!(choice.excluded[0].reason, Reason::DoesNotPay(mirror, canonical) if mirror > canonical));
    assert_eq!(order(&all, &asked(false, small)).len(), 2);
    // Nothing is known of canonical.
    assert_eq!(order(&all, &Question { work: small, must_pay: true, ..question(None, &[]) }).len(), 2);
    // Whoever prefers it by name gets it.
    let mut named = asked(true, small);
    named.preference.first = vec!["a".into()];
    assert_eq!(order(&all, &named), ["a", "b"]);
    // A mirror on a better link pays where much travels.
    let fast = [candidate(&mirrors[0], Host { ask: Some(Figure { value: 300.0, time: NOW }), ..host(100.0, 1e7) })];
    assert!(order(&fast, &asked(true, small)).is_empty());
    assert_eq!(order(&fast, &asked(true, Work { clone: true, bytes: None })), ["a"]);
}

#[test]
fn listed_near_equals_share_the_load() {
    let mirrors: Vec<_> = (0..4).map(|n| mirror(&format!("git://m{n}/x"), Origin::Listed)).collect();
    let all: Vec<_> = mirrors.iter().map(|m| candidate(m, host(10.0, 1e6))).collect();
    let mut firsts = std::collections::BTreeMap::new();
    for seed in 0..400 {
        let asked = Question { seed, ..question(Some(true), &[]) };
        let first = order(&all, &asked);
        assert_eq!(first, order(&all, &asked), "the same input gives the same order");
        *firsts.entry(first[0].clone()).or_insert(0) += 1;
    }
    // Before any of them has served us, the server's order counts.
    let new: Vec<_> = mirrors.iter().map(|m| candidate(m, host(10.0, 0.0))).collect();
    assert_eq!(order(&new, &Question { seed: 7, ..question(Some(true), &[]) }), ["m0", "m1", "m2", "m3"]);
    assert!(firsts.len() == 4 && firsts.values().all(|n| (60..140).contains(n)), "{firsts:?}");
}

/// A generator of test cases; any seed will do.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % sides
    }
}

/// Whatever is known, each candidate is in the order or excluded, once; tiers are kept; what is excluded has a reason
/// that holds.
#[test]
fn properties() {
    let mut dice = Dice(1);
    for round in 0..2000 {
        let origins = [Origin::CommandLine, Origin::Remote, Origin::Base, Origin::Listed];
        let mirrors: Vec<_> =
            (0..dice.roll(8)).map(|n| mirror(&format!("git://m{n}/x"), origins[dice.roll(4) as usize])).collect();
        let mut all: Vec<_> =
            mirrors.iter().map(|m| candidate(m, host(dice.roll(300) as f64, dice.roll(3) as f64 * 1e5))).collect();
        for candidate in &mut all {
            for _ in 0..dice.roll(3) {
                let failure = [Failure::Trouble, Failure::NotFound, Failure::Corrupt][dice.roll(3) as usize];
                candidate.host.fail(failure, "x", NOW - dice.roll(200));
            }
            candidate.copy.lag = [None, Some(0.0), Some(1.0), Some(f64::NAN)][dice.roll(4) as usize];
            candidate.km = [None, Some(10.0), Some(f64::NAN)][dice.roll(3) as usize];
        }
        let mut asked = question([None, Some(true), Some(false)][dice.roll(3) as usize], &["m1", "m3"]);
        asked.preference.insists = dice.roll(2) == 0;
        asked.canonical = host(0.0, dice.roll(3) as f64 * 1e6);
        asked.canonical.answer = Some(Figure { value: dice.roll(200) as f64 + 1.0, time: NOW });
        asked.seed = dice.roll(u64::MAX);
        let choice = choose(&all, &asked);
        assert_eq!(choice, choose(&all, &asked), "round {round}");
        let mut seen: Vec<usize> = choice.order.iter().chain(&choice.excluded).map(|p| p.at).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..all.len()).collect::<Vec<_>>(), "round {round}");
        let tiers: Vec<_> = choice.order.iter().map(|p| tier(all[p.at].mirror, &asked.preference)).collect();
        assert!(tiers.is_sorted(), "round {round}");
        for place in &choice.order {
            let left = |backoff: &Backoff| backoff.left(NOW).is_some();
            let wished = matches!(place.reason, Reason::Named | Reason::Preferred(_));
            assert!(wished || !left(&all[place.at].host.backoff), "round {round}");
        }
    }
}
