//! What unpacking a foreign pack may cost: inflated bytes, and memory. A pack of 50 kB can become gigabytes, in each
//! thread at once; gix limits single objects only.
//!
//! gix keeps the objects that others are deltas of while those are resolved, which for honest packs is little. So nothing
//! is counted beforehand, which would mean to inflate everything twice: a second thread looks at what has been inflated
//! and at this process's memory, and has gix stop.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use super::meter::Numbers;
use crate::adapters::os;

/// Inflated bytes that each byte of a pack may become, all objects whole: of git's own repository it is about 25.
const MOST_INFLATED: u64 = 100;
/// And that any pack may: it takes some seconds.
const ALWAYS_INFLATED: u64 = 2 << 30;
/// Memory that unpacking may take, beside [`OF_AN_OBJECT`].
const MOST_MEMORY: u64 = 128 << 20;
/// gix holds about so many bytes for an object while it indexes.
const OF_AN_OBJECT: u64 = 250;
/// How often it is looked: within it, memory grows by some MiB.
const EVERY: Duration = Duration::from_millis(2);

/// What there was too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// Inflated bytes.
    Work,
    /// Memory.
    Memory,
}

/// Does `work`, which is to count in `numbers` and to end when it is told to stop; returns what there was too much of.
/// `stop` ends it as well.
pub(super) fn guarded<T>(
    numbers: &Numbers,
    stop: &AtomicBool,
    work: impl FnOnce(&AtomicBool) -> T,
) -> (T, Option<Excess>) {
    let (ended, end, excess) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU8::new(0));
    let before = os::own_memory();
    let got = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !ended.load(Relaxed) {
                let inflated = numbers.inflated.load(Relaxed) as u64;
                let most = numbers.bytes.load(Relaxed).saturating_mul(MOST_INFLATED).saturating_add(ALWAYS_INFLATED);
                let memory = os::own_memory().zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
                let objects = numbers.received.load(Relaxed) as u64;
                let found = match () {
                    () if inflated > most => Some(Excess::Work),
                    () if memory > MOST_MEMORY + objects.saturating_mul(OF_AN_OBJECT) => Some(Excess::Memory),
                    () => None,
                };
                if let Some(found) = found {
                    excess.store(found as u8 + 1, Relaxed);
                }
                if found.is_some() || stop.load(Relaxed) {
                    end.store(true, Relaxed);
                    return;
                }
                std::thread::park_timeout(EVERY);
            }
        });
        let got = work(&end);
        ended.store(true, Relaxed);
        watcher.thread().unpark();
        got
    });
    let excess = match excess.into_inner() {
        0 => None,
        1 => Some(Excess::Work),
        _ => Some(Excess::Memory),
    };
    (got, excess)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Works until it is stopped, for ten seconds at most.
    fn until_stopped(stop: &AtomicBool) -> bool {
        (0..10_000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            stop.load(Relaxed)
        })
    }

    #[test]
    fn ends_what_takes_too_much() {
        let never = AtomicBool::new(false);
        let numbers = Numbers::default();
        assert_eq!(guarded(&numbers, &never, |_| 7), (7, None));
        numbers.bytes.store(10, Relaxed);
        numbers.inflated.store((2 << 30) + 1000, Relaxed);
        assert_eq!(guarded(&numbers, &never, |_| std::thread::sleep(EVERY * 5)).1, None);
        numbers.inflated.store((2 << 30) + 1001, Relaxed);
        assert_eq!(guarded(&numbers, &never, until_stopped), (true, Some(Excess::Work)));
        let stop = AtomicBool::new(true);
        assert_eq!(guarded(&Numbers::default(), &stop, until_stopped), (true, None));
    }

    #[test]
    fn sees_memory() {
        let (never, numbers) = (AtomicBool::new(false), Numbers::default());
        let (stopped, excess) = guarded(&numbers, &never, |stop| {
            let much = vec![1_u8; 160 << 20];
            until_stopped(stop) && much.iter().all(|byte| *byte == 1)
        });
        assert_eq!((stopped, excess), (true, Some(Excess::Memory)));
    }
}
