//! Chunks under way from one end of a connection to the other, each with the moment at which it arrives.
//!
//! Bounded: who pushes waits while the window is full. An empty chunk is the end of the stream.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The queue between the thread that reads one socket and the thread that writes the other.
pub struct Pipe {
    window: usize,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    chunks: VecDeque<(Instant, Vec<u8>)>,
    under_way: usize,
    broken: bool,
}

impl Pipe {
    /// Returns an empty pipe for so many bytes at once.
    pub fn new(window: usize) -> Pipe {
        Pipe { window, inner: Mutex::default(), changed: Condvar::new() }
    }

    /// Adds a chunk, once there is room. False if nobody reads any more.
    pub fn push(&self, arrives: Instant, data: Vec<u8>) -> bool {
        let mut inner = self.lock();
        while inner.under_way >= self.window && !inner.broken {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.under_way += data.len();
        inner.chunks.push_back((arrives, data));
        self.changed.notify_all();
        !inner.broken
    }

    /// Returns the next chunk, or nothing if the pipe is broken. It fills the window until [`Pipe::done`].
    pub fn next(&self) -> Option<(Instant, Vec<u8>)> {
        let mut inner = self.lock();
        loop {
            if inner.broken {
                return None;
            }
            if let Some(chunk) = inner.chunks.pop_front() {
                return Some(chunk);
            }
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// So many bytes have arrived.
    pub fn done(&self, bytes: usize) {
        self.lock().under_way -= bytes;
        self.changed.notify_all();
    }

    /// Wakes up both ends; nothing goes through any more.
    pub fn burst(&self) {
        self.lock().broken = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
