//! How long a mirror may be silent or slow before it is left.
//!
//! git's servers send keep-alives every 5 s (`uploadpack.keepAlive`), so silence means trouble.

use std::time::Duration;

/// The limits for one mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the start to a connection over `git://` or ssh (`mirror.connectTimeout`).
    pub connect: Duration,
    /// From the start to the first byte (`mirror.responseTimeout`): looking up the name, connecting, TLS, logging in.
    pub first_byte: Duration,
    /// Between two bytes (`mirror.idleTimeout`).
    pub idle: Duration,
    /// Fewer bytes a second than this (`mirror.lowSpeedLimit`) …
    pub low_speed: u64,
    /// … for this long (`mirror.lowSpeedTime`) is too slow.
    pub low_time: Duration,
}

/// From the start to the first byte, where a host has never answered anybody here: what it promises is not known.
pub const FIRST_BYTE_OF_A_STRANGER: Duration = Duration::from_secs(3);

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(10),
            idle: Duration::from_secs(15),
            low_speed: 1000,
            low_time: Duration::from_secs(30),
        }
    }
}

/// What has been seen of one transfer.
#[derive(Debug, Clone, Default)]
pub struct Flow {
    /// When the present window of slowness began, and the bytes until then.
    window: Option<(Duration, u64)>,
}

impl Flow {
    /// Returns why the mirror shall be left, if it shall.
    ///
    /// All times are since the start: `now`, and `last` for the last byte (or the last time that waiting began); `bytes`
    /// have come in all, of which `useful` count for the speed: those of objects, while these are what is waited for.
    pub fn judge(&mut self, limits: &Limits, now: Duration, last: Duration, bytes: u64, useful: u64) -> Option<String> {
        let silent = now.saturating_sub(last);
        if bytes == 0 && silent >= limits.first_byte {
            return Some(format!("no answer for {} s", limits.first_byte.as_secs_f32()));
        }
        if bytes > 0 && silent >= limits.idle {
            return Some(format!("silent for {} s", limits.idle.as_secs_f32()));
        }
        if bytes == 0 {
            return None;
        }
        let (since, then) = *self.window.get_or_insert((now, useful));
        let elapsed = now.saturating_sub(since);
        if elapsed >= limits.low_time {
            let least = limits.low_speed.saturating_mul(limits.low_time.as_secs());
            if useful.saturating_sub(then) < least {
                return Some(format!("less than {} B/s for {} s", limits.low_speed, limits.low_time.as_secs()));
            }
            self.window = Some((now, useful));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(steps: &[(u64, u64, u64)]) -> Option<String> {
        let mut flow = Flow::default();
        let s = Duration::from_secs;
        steps.iter().find_map(|(now, last, bytes)| flow.judge(&Limits::default(), s(*now), s(*last), *bytes, *bytes))
    }

    #[test]
    fn leaves_the_silent_and_the_slow() {
        assert_eq!(run(&[(0, 0, 0), (9, 0, 0)]), None);
        assert_eq!(run(&[(0, 0, 0), (10, 0, 0)]).as_deref(), Some("no answer for 10 s"));
        assert_eq!(run(&[(5, 5, 10), (19, 5, 10)]), None);
        assert_eq!(run(&[(5, 5, 10), (20, 5, 10)]).as_deref(), Some("silent for 15 s"));
        assert_eq!(run(&[(0, 0, 1), (30, 30, 30_000)]).as_deref(), Some("less than 1000 B/s for 30 s"));
        assert_eq!(run(&[(0, 0, 1), (30, 30, 30_001), (59, 59, 30_002)]), None);
        assert!(run(&[(0, 0, 1), (30, 30, 30_001), (60, 60, 30_002)]).is_some());
    }

    #[test]
    fn leaves_who_only_talks() {
        let mut flow = Flow::default();
        let mut at = |s: u64, useful| {
            flow.judge(&Limits::default(), Duration::from_secs(s), Duration::from_secs(s), s * 100_000, useful)
        };
        assert_eq!((at(1, 0), at(31, 30_000), at(60, 30_000)), (None, None, None));
        assert!(at(61, 30_000).is_some());
    }
}
