//! One direction of a link: when a chunk that is handed to it has left it.
//!
//! Pure: times are arguments. All connections of the link share the line, as they share a real one: what is sent
//! while it is busy waits for its turn.

use std::time::{Duration, Instant};

/// How far ahead of now the line may be booked; beyond it, whoever sends has to wait. A modest queue.
const QUEUE: Duration = Duration::from_millis(20);

/// A line, by the moment from which it is free.
pub struct Line {
    free: Instant,
}

impl Line {
    /// Returns a line that is free.
    pub fn new(now: Instant) -> Line {
        Line { free: now }
    }

    /// Returns when the last of these bytes has left the sender. Without a rate that is now.
    pub fn send(&mut self, now: Instant, bytes: usize, rate: Option<u64>) -> Instant {
        self.free = self.free.max(now) + rate.map_or(Duration::ZERO, |rate| time_of(bytes, rate));
        self.free
    }

    /// Returns the moment from which more may be handed to it.
    pub fn room_at(&self) -> Instant {
        self.free.checked_sub(QUEUE).unwrap_or(self.free)
    }
}

/// Returns what so many bytes take at so many bit/s.
fn time_of(bytes: usize, rate: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 * 8.0 / rate.max(1) as f64)
}

/// Returns how many bytes are worth moving at once: 2 ms of the line, so that connections take turns.
pub fn chunk(rate: Option<u64>) -> usize {
    rate.map_or(LARGEST, |rate| usize::try_from(rate / 8 / 500).unwrap_or(LARGEST).clamp(1448, LARGEST))
}

const LARGEST: usize = 65536;

/// Returns how many bytes of one connection may be under way: what the line holds, and the queue.
pub fn window(rate: Option<u64>, delay: Duration) -> usize {
    let held = rate.map_or(4e6, |rate| rate as f64 / 8.0 * (delay + QUEUE).as_secs_f64());
    held as usize + 2 * chunk(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEGABIT: Option<u64> = Some(1_000_000);

    #[test]
    fn bytes_follow_one_another_at_the_rate() {
        let start = Instant::now();
        let mut line = Line::new(start);
        assert_eq!(line.send(start, 125_000, MEGABIT) - start, Duration::from_secs(1));
        assert_eq!(line.send(start, 125_000, MEGABIT) - start, Duration::from_secs(2));
    }

    #[test]
    fn an_idle_line_saves_nothing_up() {
        let start = Instant::now();
        let mut line = Line::new(start);
        let later = start + Duration::from_secs(60);
        assert_eq!(line.send(later, 125_000, MEGABIT) - later, Duration::from_secs(1));
    }

    #[test]
    fn room_comes_shortly_before_the_line_is_free() {
        let start = Instant::now();
        let mut line = Line::new(start);
        let free = line.send(start, 125_000, MEGABIT);
        assert_eq!(free - line.room_at(), QUEUE);
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let start = Instant::now();
        assert_eq!(Line::new(start).send(start, usize::MAX, None), start);
    }

    #[test]
    fn the_window_holds_what_is_under_way() {
        let delay = Duration::from_millis(75);
        assert!(window(Some(1_000_000_000), delay) > 9_375_000);
        assert!(window(Some(10_000_000), delay) < 150_000);
        assert_eq!(chunk(MEGABIT), 1448);
    }
}
