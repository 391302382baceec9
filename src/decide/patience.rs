//! What all mirrors of one fetch together may cost: the time in which no useful byte moved (`mirror.patience`).
//!
//! Useful are the bytes of packs that end up proved, at what canonical would have taken for them. So the clock runs while a
//! mirror is connected to, is silent, or talks; while objects come it runs the slower, the faster they come, and stands
//! still from half of canonical's rate on. The time of objects that are refused afterwards, or that came a second time,
//! counts then. What takes time on this machine does not.
//!
//! No clock is read here: whoever waits says how long.

use std::time::Duration;

/// What is expected of a canonical server whose rate is not known, in bytes a second: little, as a mirror that gives more
/// shall not be left for a guess.
const UNKNOWN: f64 = 100e3;
/// A mirror that gives this part of canonical's rate costs nothing: figures are not that good.
const PART: f64 = 0.5;
/// The last part of the time, which mirrors do not get: for canonical to complete what they broke off.
const COMPLETION: f64 = 1.0 / 6.0;

/// Who is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// A mirror.
    Mirror,
    /// Canonical, on a connection of its own, for what mirrors broke off.
    Completion,
}

/// What came of what was waited for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Came {
    /// All of it is proved, and what was kept of earlier packs with it.
    Proved,
    /// It is kept, unproved; such a share of it, 0 to 1, was new.
    Kept(f64),
    /// Nothing of it is of use.
    Refused,
}

/// The clock of one fetch. All figures are seconds.
#[derive(Debug, Clone)]
pub struct Patience {
    /// `None` is without end.
    limit: Option<f64>,
    /// Bytes a second at which nothing is lost.
    rate: f64,
    /// What attempts that are over have cost.
    settled: f64,
    /// What it costs in addition if what is kept comes to nothing.
    kept: f64,
    /// How long the present attempt has been waited for.
    waited: f64,
    /// How much of that was lost.
    lost: f64,
}

impl Patience {
    /// Returns a clock that has not run. `canonical` is its rate in bytes a second, where that is known; `relative` tells
    /// whether a mirror shall be measured by it.
    pub fn new(limit: Option<Duration>, canonical: Option<f64>, relative: bool) -> Self {
        let known = canonical.filter(|rate| rate.is_finite() && *rate > 0.0).map(|rate| rate * PART);
        let rate = match known {
            Some(rate) if relative => rate.max(1.0),
            Some(rate) => rate.clamp(1.0, UNKNOWN),
            None => UNKNOWN,
        };
        let limit = limit.map(|limit| limit.as_secs_f64());
        Patience { limit, rate, settled: 0.0, kept: 0.0, waited: 0.0, lost: 0.0 }
    }

    /// Lets `time` pass, in which so many bytes of a pack came.
    pub fn pass(&mut self, time: Duration, bytes: u64) {
        let time = time.as_secs_f64();
        self.waited += time;
        // More than was needed makes good what this attempt has lost, and nothing else.
        self.lost = (self.lost + time - bytes as f64 / self.rate).max(0.0);
    }

    /// Ends an attempt.
    pub fn settle(&mut self, came: Came) {
        let gained = (self.waited - self.lost).max(0.0);
        match came {
            Came::Proved => {
                self.settled += self.lost;
                self.kept = 0.0;
            }
            Came::Kept(share) => {
                let share = share.clamp(0.0, 1.0);
                self.settled += self.lost + gained * (1.0 - share);
                self.kept += gained * share;
            }
            Came::Refused => self.settled += self.waited.max(self.lost),
        }
        (self.waited, self.lost) = (0.0, 0.0);
    }

    /// Has what was kept come to nothing.
    pub fn drop_kept(&mut self) {
        self.settled += std::mem::take(&mut self.kept);
    }

    /// Returns how long one may still wait without a useful byte; `None` is without end.
    pub fn left(&self, whom: Whom) -> Option<Duration> {
        let limit = self.limit? * if whom == Whom::Mirror { 1.0 - COMPLETION } else { 1.0 };
        Duration::try_from_secs_f64((limit - self.settled - self.lost).max(0.0)).ok()
    }

    /// Returns whether the time is used up.
    pub fn is_over(&self, whom: Whom) -> bool {
        self.left(whom).is_some_and(|left| left.is_zero())
    }

    /// Returns whether the present attempt is to blame, where the time is used up: it has lost a good part of it itself.
    pub fn is_to_blame(&self) -> bool {
        self.limit.is_some_and(|limit| self.lost >= limit / 4.0)
    }

    /// Returns what there is of it in all; `None` is without end.
    pub fn limit(&self) -> Option<Duration> {
        self.limit.and_then(|limit| Duration::try_from_secs_f64(limit).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn of(limit: u64) -> Patience {
        Patience::new(Some(Duration::from_secs(limit)), None, true)
    }

    fn left(patience: &Patience) -> f64 {
        patience.left(Whom::Completion).map_or(f64::NAN, |left| left.as_secs_f64())
    }

    #[test]
    fn silence_and_talk_count() {
        let mut patience = of(60);
        patience.pass(s(20.0), 0);
        assert_eq!((left(&patience), patience.is_over(Whom::Mirror)), (40.0, false));
        patience.settle(Came::Refused);
        patience.pass(s(30.0), 0);
        // The rest is for canonical to complete what came.
        assert_eq!((patience.is_over(Whom::Mirror), patience.is_over(Whom::Completion)), (true, false));
        patience.pass(s(10.0), 0);
        assert!(patience.is_over(Whom::Completion) && patience.is_to_blame());
    }

    #[test]
    fn objects_cost_what_canonical_would_not_have_taken() {
        let at = |rate: u64, canonical, relative| {
            let mut patience = Patience::new(Some(s(60.0)), canonical, relative);
            (0..1000).for_each(|_| patience.pass(s(0.05), rate / 20));
            60.0 - left(&patience)
        };
        assert!(at(1030, None, true) > 49.0, "a drip");
        assert_eq!((at(200_000, None, true), at(100_000, None, true)), (0.0, 0.0));
        assert!((at(50_000, None, true) - 25.0).abs() < 0.1);
        assert!((at(100_000, Some(400e3), true) - 25.0).abs() < 0.1, "half of half of its rate");
        assert_eq!(at(100_000, Some(400e3), false), 0.0, "where a mirror need not pay");
        assert_eq!(at(1_000, Some(1e3), true), 0.0, "canonical is no faster");
    }

    #[test]
    fn a_burst_makes_good_its_own_attempt_only() {
        let mut patience = of(60);
        patience.pass(s(10.0), 0);
        patience.settle(Came::Proved);
        patience.pass(s(5.0), 0);
        patience.pass(s(1.0), 100 << 20);
        assert_eq!(left(&patience), 50.0);
    }

    #[test]
    fn what_is_refused_counts_afterwards() {
        let mut patience = of(60);
        patience.pass(s(20.0), 1 << 30);
        assert_eq!(left(&patience), 60.0);
        patience.settle(Came::Refused);
        assert_eq!(left(&patience), 40.0);
        // Half of it had come before; the rest comes to nothing later.
        patience.pass(s(20.0), 1 << 30);
        patience.settle(Came::Kept(0.5));
        assert_eq!(left(&patience), 30.0);
        patience.drop_kept();
        assert_eq!(left(&patience), 20.0);
        patience.pass(s(10.0), 1 << 30);
        patience.settle(Came::Kept(1.0));
        patience.pass(s(10.0), 1 << 30);
        patience.settle(Came::Proved);
        patience.drop_kept();
        assert_eq!(left(&patience), 20.0);
    }

    #[test]
    fn five_that_use_up_all_cost_no_more_than_one() {
        let mut patience = of(60);
        let mut waited = 0.0;
        for _ in 0..5 {
            while !patience.is_over(Whom::Mirror) && patience.lost < 15.0 {
                patience.pass(s(0.05), 0);
                waited += 0.05;
            }
            patience.settle(Came::Refused);
        }
        assert!((49.9..50.2).contains(&waited), "{waited}");
    }

    #[test]
    fn none_is_without_end() {
        let mut patience = Patience::new(None, None, true);
        patience.pass(s(1e6), 0);
        assert!(!patience.is_over(Whom::Mirror) && !patience.is_to_blame());
        assert_eq!((patience.left(Whom::Mirror), patience.limit()), (None, None));
    }
}
