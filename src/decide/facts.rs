//! What is known of a host and of the way to it: measured figures, how often it failed, and until when it is left alone.
//!
//! All times are seconds since 1970 and come as arguments.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::values::SafeText;

/// Seconds in a day.
pub const DAY: u64 = 24 * 3600;
/// A figure is believed for so long: networks change.
pub const FORGET: u64 = 7 * DAY;
/// How long a connect time keeps a host from being probed again.
pub const FRESH: u64 = DAY;
/// Less than this, in bytes, says nothing of a link's rate.
const TELLING: u64 = 64 * 1024;
/// What is weighed of past successes and failures, at most.
const MEMORY: u32 = 16;

/// A figure that follows its samples: each new one counts as much as all before it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The moving average.
    pub value: f64,
    /// When the last sample was taken.
    pub time: u64,
}

impl Figure {
    /// Takes a sample; one that is no positive number is none.
    pub fn sample(figure: &mut Option<Figure>, value: f64, now: u64) {
        if !value.is_finite() || value <= 0.0 {
            return;
        }
        let before = figure.filter(|f| f.is_believed(now)).map_or(value, |f| f.value);
        *figure = Some(Figure { value: (before + value) / 2.0, time: now });
    }

    fn is_believed(&self, now: u64) -> bool {
        // A clock that was set back must not keep a figure for ever.
        self.value.is_finite() && self.value > 0.0 && now.abs_diff(self.time) < FORGET
    }
}

/// Why a mirror failed, as far as that decides for how long it is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It could not be reached, was silent, too slow, broke off, or broke the protocol.
    Trouble,
    /// It does not have this repository, or does not show it to us.
    NotFound,
    /// What it sent was damaged, or incomplete.
    Corrupt,
}

/// Until when something is left alone (docs/architecture.md, "Choosing").
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// Failures since the last success.
    pub failures: u32,
    /// Until when it is left alone.
    pub until: u64,
    /// What happened last, for people.
    pub why: SafeText,
}

impl Backoff {
    /// The first time, in seconds; it doubles with each failure.
    pub const FIRST: u64 = 60;
    /// The longest, in seconds.
    pub const LONGEST: u64 = DAY;
    /// For damaged data, in seconds.
    pub const CORRUPT: u64 = 7 * DAY;

    /// Takes a failure at `now`.
    pub fn fail(&mut self, failure: Failure, why: &str, now: u64) {
        self.failures = self.failures.saturating_add(1);
        let doubled = Self::FIRST.checked_shl(self.failures - 1).filter(|s| *s > 0 && self.failures < 32);
        let pause = match failure {
            Failure::Corrupt => Self::CORRUPT,
            Failure::Trouble | Failure::NotFound => doubled.unwrap_or(Self::LONGEST).min(Self::LONGEST),
        };
        self.until = self.until.min(now.saturating_add(Self::CORRUPT)).max(now.saturating_add(pause));
        self.why = SafeText::new(why);
    }

    /// Returns how long it is still left alone at `now`, in seconds.
    pub fn left(&self, now: u64) -> Option<u64> {
        // Nothing lasts longer than CORRUPT: what says so was written by another clock.
        self.until.checked_sub(now).filter(|left| *left > 0 && *left <= Self::CORRUPT)
    }
}

/// What is known of one host: a scheme, a name and a port.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// When it was last used.
    #[serde(default)]
    pub used: u64,
    /// Milliseconds for a TCP connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<Figure>,
    /// Milliseconds that a fetch from it as a mirror takes which moves next to nothing, from opening the connection to
    /// the proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<Figure>,
    /// Milliseconds until it answers as canonical, on a connection that is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Figure>,
    /// Bytes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Figure>,
    /// Requests that went well, the older ones weighed less.
    #[serde(default)]
    pub good: u32,
    /// Requests that failed, likewise.
    #[serde(default)]
    pub bad: u32,
    /// Until when it is left alone.
    #[serde(default)]
    pub backoff: Backoff,
    /// When it has first answered as a mirror, be it that it had nothing.
    #[serde(default)]
    pub answered: u64,
    /// Who finds out right now whether it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried: Option<Trial>,
}

/// The first request that is made of a host: until it has come to something, others leave that host alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Until when it may last.
    pub until: u64,
    /// Which process makes it, in whatever words the system has for that.
    pub by: String,
}

impl Trial {
    /// How long one may last at most, in seconds, should nobody be able to tell whether its process is alive.
    pub const LONGEST: u64 = 60;
}

/// Something that was seen of a host.
#[derive(Debug, Clone, PartialEq)]
pub enum OfHost {
    /// A connection took so long.
    Connected(Duration),
    /// It gave objects as a mirror: asking took so long, and so many bytes that time.
    Gave(Duration, (u64, Duration)),
    /// It answered as a mirror, whatever it has.
    Opened,
    /// It answered as a mirror, and had nothing that was wanted.
    HadNothing,
    /// It answered as canonical: how long that took to begin, where it is known, and bytes and their time.
    Answered(Option<Duration>, (u64, Duration)),
    /// It failed, and why.
    Failed(Failure, String),
    /// What it failed at shall count no more.
    Forgiven,
}

impl Host {
    /// Takes what was seen at `now`.
    pub fn see(&mut self, seen: &OfHost, now: u64) {
        self.used = now;
        match seen {
            OfHost::Connected(time) => sample(&mut self.connect, Some(*time), now),
            OfHost::Gave(ask, moved) => {
                self.succeed(now);
                sample(&mut self.ask, Some(*ask), now);
                self.see_rate(*moved, now);
            }
            OfHost::Opened => (self.answered, self.tried) = (now, None),
            OfHost::HadNothing => self.succeed(now),
            OfHost::Answered(time, moved) => {
                sample(&mut self.answer, *time, now);
                self.see_rate(*moved, now);
            }
            OfHost::Failed(failure, why) => {
                self.tried = None;
                self.fail(*failure, why, now);
            }
            OfHost::Forgiven => (self.bad, self.backoff) = (0, Backoff::default()),
        }
    }

    fn see_rate(&mut self, (bytes, time): (u64, Duration), now: u64) {
        if bytes >= TELLING {
            Figure::sample(&mut self.rate, bytes as f64 / time.as_secs_f64().max(1e-3), now);
        }
    }

    /// Returns the host without what is too old to be believed.
    #[must_use]
    pub fn at(&self, now: u64) -> Self {
        let believed = |figure: Option<Figure>| figure.filter(|f| f.is_believed(now));
        let mut host = self.clone();
        for figure in [&mut host.connect, &mut host.ask, &mut host.answer, &mut host.rate] {
            *figure = believed(*figure);
        }
        host
    }

    /// Returns whether its connect time is known and young.
    pub fn is_probed(&self, now: u64) -> bool {
        self.connect.is_some_and(|f| now.abs_diff(f.time) < FRESH)
    }

    /// Takes a success.
    pub fn succeed(&mut self, now: u64) {
        self.good = self.good.saturating_add(1);
        self.used = now;
        self.backoff = Backoff::default();
        self.age();
    }

    /// Takes a failure.
    pub fn fail(&mut self, failure: Failure, why: &str, now: u64) {
        self.bad = self.bad.saturating_add(1);
        self.used = now;
        self.backoff.fail(failure, why, now);
        self.age();
    }

    /// Returns whether it has ever answered as a mirror, as far as is known.
    pub fn has_answered(&self) -> bool {
        self.good > 0 || self.ask.is_some() || self.answered > 0
    }

    /// Begins the first request of it, made `by` a process, unless another process that lives makes one.
    pub fn begin_trial(&mut self, by: &str, lives: impl Fn(&str) -> bool, now: u64) -> bool {
        let is_others = |trial: &&Trial| trial.by != by && lives(&trial.by);
        // Nothing lasts longer than LONGEST: what says so was written by another clock.
        let lasts = |trial: &&Trial| trial.until > now && trial.until - now <= Trial::LONGEST;
        if self.has_answered() || self.tried.as_ref().filter(lasts).filter(is_others).is_some() {
            return self.has_answered();
        }
        (self.used, self.tried) = (now, Some(Trial { until: now + Trial::LONGEST, by: by.to_owned() }));
        true
    }

    fn age(&mut self) {
        if self.good.saturating_add(self.bad) > MEMORY {
            (self.good, self.bad) = (self.good / 2, self.bad / 2);
        }
    }

    /// Returns how likely the next request goes well, 0 to 1; a host that is not known is trusted.
    pub fn success(&self) -> f64 {
        let (good, bad) = (f64::from(self.good), f64::from(self.bad));
        (good + 1.0) / (good + bad + 1.0)
    }
}

/// What is known of one mirror of one repository.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Copy {
    /// How much of what was wanted it lacked of late, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<f64>,
    /// Until when it is left alone, as it does not have this repository.
    #[serde(default)]
    pub backoff: Backoff,
}

/// Something that was seen of one mirror of one repository.
#[derive(Debug, Clone, PartialEq)]
pub enum OfCopy {
    /// It has the repository, and lacked that share of what was wanted.
    Lacked(f64),
    /// It does not have it, and how it said so.
    NotFound(String),
    /// What it failed at shall count no more.
    Forgiven,
}

fn sample(figure: &mut Option<Figure>, time: Option<Duration>, now: u64) {
    if let Some(time) = time {
        Figure::sample(figure, time.as_secs_f64() * 1000.0, now);
    }
}

impl Copy {
    /// Takes what was seen at `now`.
    pub fn see(&mut self, seen: &OfCopy, now: u64) {
        match seen {
            OfCopy::Lacked(share) => {
                self.lacked(*share);
                self.backoff = Backoff::default();
            }
            OfCopy::NotFound(why) => self.backoff.fail(Failure::NotFound, why, now),
            OfCopy::Forgiven => self.backoff = Backoff::default(),
        }
    }

    /// Takes what a fetch has shown: the share of the wanted objects' names that it lacked.
    pub fn lacked(&mut self, share: f64) {
        self.lag = Some((self.lag.unwrap_or(share) + share) / 2.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_a_damaged_file_do_not_overflow() {
        let mut host = Host { good: u32::MAX, bad: u32::MAX, ..Host::default() };
        assert!((0.4..0.6).contains(&host.success()));
        host.succeed(1);
        host.fail(Failure::Trouble, "silent", 2);
        assert!((0.4..0.6).contains(&host.success()));
    }

    #[test]
    fn follows_its_samples() {
        let mut figure = None;
        Figure::sample(&mut figure, 100.0, 1000);
        Figure::sample(&mut figure, 10.0, 1001);
        assert_eq!(figure.map(|f| f.value), Some(55.0));
        for nonsense in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            Figure::sample(&mut figure, nonsense, 1002);
        }
        assert_eq!(figure.map(|f| (f.value, f.time)), Some((55.0, 1001)));
        Figure::sample(&mut figure, 10.0, 1001 + FORGET);
        assert_eq!(figure.map(|f| f.value), Some(10.0));
    }

    #[test]
    fn backs_off_from_a_minute_to_a_day() {
        let mut backoff = Backoff::default();
        let mut pauses = Vec::new();
        let mut now = 1_000_000;
        for _ in 0..14 {
            backoff.fail(Failure::Trouble, "no answer", now);
            pauses.push(backoff.until - now);
            assert_eq!(backoff.left(now), Some(backoff.until - now));
            now = backoff.until;
            assert_eq!(backoff.left(now), None);
        }
        assert_eq!(pauses[..5], [60, 120, 240, 480, 960]);
        assert_eq!(pauses[10..], [61_440, DAY, DAY, DAY]);
        for _ in 0..100 {
            backoff.fail(Failure::NotFound, "", now);
        }
        assert_eq!(backoff.left(now), Some(DAY));
    }

    #[test]
    fn corrupt_data_is_remembered_for_a_week() {
        let mut backoff = Backoff::default();
        backoff.fail(Failure::Corrupt, "damaged", 5000);
        backoff.fail(Failure::Trouble, "silent", 5001);
        assert_eq!(backoff.until, 5000 + 7 * DAY);
        // A clock that was set back by years.
        assert_eq!(Backoff { until: u64::MAX, ..backoff }.left(1), None);
    }

    #[test]
    fn a_host_is_trusted_until_it_fails() {
        let mut host = Host::default();
        assert_eq!(host.success(), 1.0);
        host.fail(Failure::Trouble, "x", 1);
        assert_eq!((host.success(), host.backoff.failures), (0.5, 1));
        (0..40).for_each(|now| host.succeed(now));
        assert!(host.success() > 0.9 && host.good + host.bad <= MEMORY);
        assert_eq!(host.backoff, Backoff::default());
    }

    #[test]
    fn takes_what_was_seen() {
        let (ms, mut host) = (Duration::from_millis, Host::default());
        host.see(&OfHost::Connected(ms(20)), 5);
        host.see(&OfHost::Failed(Failure::Trouble, "silent".into()), 6);
        assert_eq!((host.bad, host.backoff.left(6), host.used), (1, Some(60), 6));
        host.see(&OfHost::Gave(ms(100), (TELLING - 1, ms(1))), 7);
        assert_eq!((host.good, host.backoff.left(7), host.rate), (1, None, None));
        host.see(&OfHost::Answered(None, (TELLING * 10, ms(1000))), 8);
        assert_eq!(host.answer, None);
        assert_eq!(host.rate.map(|rate| rate.value), Some((TELLING * 10) as f64));
        assert_eq!((host.connect.map(|f| f.value), host.ask.map(|f| f.value)), (Some(20.0), Some(100.0)));
        host.see(&OfHost::Forgiven, 9);
        assert_eq!((host.bad, host.used), (0, 9));

        let mut copy = Copy::default();
        copy.see(&OfCopy::NotFound("not exported".into()), 5);
        assert_eq!((copy.backoff.left(5), copy.lag), (Some(60), None));
        copy.see(&OfCopy::Lacked(1.0), 6);
        assert_eq!((copy.backoff.left(6), copy.lag), (None, Some(1.0)));
        copy.see(&OfCopy::NotFound("gone".into()), 7);
        copy.see(&OfCopy::Forgiven, 8);
        assert_eq!((copy.backoff.left(8), copy.lag), (None, Some(1.0)));
    }

    #[test]
    fn forgets() {
        let mut host = Host::default();
        Figure::sample(&mut host.rate, 5.0, 1000);
        Figure::sample(&mut host.connect, 5.0, 1000);
        assert!(host.at(1000 + FORGET - 1).rate.is_some() && host.at(1000 + FORGET).rate.is_none());
        assert!(host.is_probed(1000 + FRESH - 1) && !host.is_probed(1000 + FRESH));
        let mut copy = Copy::default();
        copy.lacked(1.0);
        copy.lacked(0.0);
        assert_eq!(copy.lag, Some(0.5));
    }
}
