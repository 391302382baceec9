//! What a fetch is expected to cost, in seconds: from a mirror, and from canonical over the connection that is open.
//!
//! A mirror that was never measured is thought of as well connected as its distance allows, so that it is tried before
//! one that is known to be slow.

use super::facts::{Copy, Host};
use crate::values::{GitUrl, Transport};

/// What is thought to travel in a clone of unknown size, in bytes.
const CLONE: f64 = 64e6;
/// What is thought to travel in a fetch of unknown size, in bytes.
const INCREMENT: f64 = 256e3;
/// The round trip to a host of which nothing is known, in seconds.
const SOMEWHERE: f64 = 0.05;
/// What a connection has on the way at once, in bytes: with the round trip it bounds the rate that is expected.
const WINDOW: f64 = 512e3;
/// The highest rate that is expected, in bytes a second.
const FAST: f64 = 50e6;
/// The highest rate that is expected of a canonical server whose rate is not known, in bytes a second: whoever has configured
/// a mirror had a reason.
const CANONICAL: f64 = 1e6;
/// The work on this machine that asking a mirror takes, in seconds: processes, proving, writing refs.
const HERE: f64 = 0.02;
/// What a mirror that fails is expected to cost, in seconds: the limit for a connection.
const FAILS: f64 = 5.0;
/// Light takes a third longer in glass, and cables are no great circles: kilometres a second.
const SIGNAL: f64 = 130_000.0;

/// What is to be fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// Whether there is nothing here yet.
    pub clone: bool,
    /// Bytes that are expected to travel, where fetches before this one tell.
    pub bytes: Option<f64>,
}

impl Work {
    fn size(&self) -> f64 {
        self.bytes.unwrap_or(if self.clone { CLONE } else { INCREMENT })
    }
}

/// A mirror as the figures have it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Where it is.
    pub url: &'a GitUrl,
    /// What is known of its host.
    pub host: &'a Host,
    /// What is known of this repository there.
    pub copy: &'a Copy,
    /// How far away it is, in kilometres.
    pub km: Option<f64>,
}

/// Returns the round trip to a host, in seconds.
fn round_trip(subject: &Subject) -> f64 {
    match (subject.host.connect, subject.km) {
        (Some(connect), _) => connect.value / 1000.0,
        (None, Some(km)) => 0.003 + 2.0 * km / SIGNAL,
        (None, None) => SOMEWHERE,
    }
}

/// Returns what it takes to ask a mirror, in seconds, but for the bytes.
fn ask(subject: &Subject) -> f64 {
    if let Some(ask) = subject.host.ask {
        return ask.value / 1000.0;
    }
    // Connection, advertisement, refs, objects; TLS takes two more, ssh some for keys and login.
    let trips = match (subject.url.transport, subject.url.scheme.as_str()) {
        (Transport::Local, _) => return HERE,
        (Transport::Http, "https") => 6.0,
        (Transport::Ssh, _) => 8.0,
        _ => 4.0,
    };
    HERE + trips * round_trip(subject)
}

/// Returns what a fetch from a mirror takes if it goes well, in seconds.
pub fn from_mirror(subject: &Subject, work: &Work) -> f64 {
    let local = subject.url.transport == Transport::Local;
    let hoped = if local { FAST } else { (WINDOW / round_trip(subject).max(1e-4)).min(FAST) };
    ask(subject) + work.size() / subject.host.rate.map_or(hoped, |rate| rate.value)
}

/// Returns what a fetch from a mirror would take if it did as well as its distance allows, in seconds.
pub fn hoped(subject: &Subject, work: &Work) -> f64 {
    let host = Host { connect: subject.host.connect, ..Host::default() };
    from_mirror(&Subject { host: &host, ..*subject }, work)
}

/// Returns what a fetch by way of a mirror is expected to take, in seconds: it may fail, or lack something, and canonical
/// then sends the rest, which takes `from_canonical` seconds.
pub fn by_mirror(subject: &Subject, work: &Work, from_canonical: Option<f64>) -> f64 {
    let well = from_mirror(subject, work);
    let fails = 1.0 - subject.host.success();
    let lacks = subject.copy.lag.unwrap_or(0.0).clamp(0.0, 1.0);
    well + fails * FAILS + lacks.max(fails) * from_canonical.unwrap_or(2.0 * well)
}

/// Returns what a fetch from canonical takes, in seconds; nothing where that cannot be told: for a clone, where its rate
/// has not been seen.
pub fn from_canonical(host: &Host, work: &Work) -> Option<f64> {
    let answers = host.answer?.value / 1000.0;
    let hoped = (WINDOW / answers.max(1e-4)).min(CANONICAL);
    let rate = host.rate.map(|rate| rate.value).or((!work.clone).then_some(hoped))?;
    Some(answers + work.size() / rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::facts::{Failure, Figure};

    fn figure(value: f64) -> Option<Figure> {
        Some(Figure { value, time: 1 })
    }

    fn seconds(url: &str, host: &Host, lag: Option<f64>, km: Option<f64>, bytes: f64) -> f64 {
        let url = GitUrl::parse(url).expect("a URL");
        let copy = Copy { lag, ..Copy::default() };
        by_mirror(&Subject { url: &url, host, copy: &copy, km }, &Work { clone: false, bytes: Some(bytes) }, Some(1.0))
    }

    #[test]
    fn nearer_faster_and_fresher_is_cheaper() {
        let fast = Host { connect: figure(10.0), rate: figure(10e6), ..Host::default() };
        let slow = Host { rate: figure(100e3), ..fast.clone() };
        let mut flaky = fast.clone();
        flaky.fail(Failure::Trouble, "x", 1);
        let at = |host, lag| seconds("git://m/x", host, lag, None, 1e6);
        assert!(at(&fast, None) < at(&slow, None));
        assert!(at(&fast, None) < at(&flaky, None));
        assert!(at(&fast, Some(0.0)) < at(&fast, Some(1.0)));
        assert!(at(&fast, None) > seconds("git://m/x", &fast, None, None, 1e3));
        let far = |km| seconds("git://m/x", &Host::default(), None, Some(km), 1e6);
        assert!(far(100.0) < far(1000.0) && far(1000.0) < far(10_000.0));
        let scheme = |url| seconds(url, &Host::default(), None, None, 0.0);
        assert!(scheme("/srv/x") < scheme("git://m/x") && scheme("git://m/x") < scheme("https://m/x"));
        assert!(scheme("https://m/x") < scheme("ssh://m/x"));
    }

    #[test]
    fn canonical_is_known_by_what_it_did() {
        let small = Work { clone: false, bytes: Some(2e3) };
        let clone = Work { clone: true, bytes: None };
        let mut host = Host::default();
        assert_eq!(from_canonical(&host, &small), None);
        host.answer = figure(150.0);
        assert!(from_canonical(&host, &small).is_some_and(|s| (0.15..0.153).contains(&s)));
        assert_eq!(from_canonical(&host, &clone), None);
        host.rate = figure(1e6);
        assert_eq!(from_canonical(&host, &clone), Some(64.15));
    }
}
