//! What is known of a host and of the way to it: measured figures, how often it failed, and until when it is left alone.
//!
//! All times are seconds since 1970 and come as arguments.

use serde::{Deserialize, Serialize};

use crate::values::SafeText;

/// Seconds in a day.
pub const DAY: u64 = 24 * 3600;
/// A figure is believed for so long: networks change.
pub const FORGET: u64 = 7 * DAY;
/// How long a connect time keeps a host from being probed again.
pub const FRESH: u64 = DAY;
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
}

impl Host {
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
        self.good > 0 || self.ask.is_some()
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

impl Copy {
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
