//! Watches over a mirror's channel: whoever is silent or slow is cut off.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::adapters::net::channel::{Channel, Killer};
use crate::adapters::os::OnSignal;
use crate::decide::limits::{Flow, Limits};

/// What the watcher and the streams share.
#[derive(Debug)]
struct Shared {
    started: Instant,
    bytes: AtomicU64,
    /// More bytes than this are not read.
    most: AtomicU64,
    /// Since the last mark: the bytes before it, and when the first and the last byte came, in microseconds.
    marked: AtomicU64,
    opened_us: AtomicU64,
    first_us: AtomicU64,
    latest_us: AtomicU64,
    last_ms: AtomicU64,
    paused: AtomicBool,
    touched: AtomicBool,
    ended: AtomicBool,
    verdict: Mutex<Option<String>>,
    /// What counts for the speed, where not every byte does.
    useful: Mutex<Option<Arc<AtomicU64>>>,
}

/// Watches one channel until it is dropped.
pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
    _on_signal: OnSignal,
}

impl Watch {
    /// Wraps the channel's reader, and begins to watch; `began` is when the mirror began to be waited for.
    pub fn over(channel: &mut Channel, limits: Limits, began: Instant) -> Self {
        let shared = Arc::new(Shared {
            started: began,
            bytes: AtomicU64::new(0),
            most: AtomicU64::new(u64::MAX),
            marked: AtomicU64::new(0),
            first_us: AtomicU64::new(0),
            opened_us: AtomicU64::new(0),
            latest_us: AtomicU64::new(0),
            last_ms: AtomicU64::new(0),
            paused: AtomicBool::new(false),
            touched: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            verdict: Mutex::new(None),
            useful: Mutex::new(None),
        });
        let inner = std::mem::replace(&mut channel.reader, Box::new(std::io::empty()));
        channel.reader = Box::new(Tap { inner, shared: Arc::clone(&shared) });
        let (killer, on_signal) = (channel.killer(), channel.killer());
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || watch(&shared, &limits, &killer)
        });
        Watch { shared, thread: Some(thread), _on_signal: OnSignal::run(move || on_signal.kill()) }
    }

    /// Returns how many bytes have been read.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Relaxed)
    }

    /// Sets how many bytes may be read in all.
    pub fn at_most(&self, bytes: u64) {
        self.shared.most.store(bytes, Relaxed);
    }

    /// Returns the time from the start to the first byte.
    pub fn opened(&self) -> Duration {
        Duration::from_micros(self.shared.opened_us.load(Relaxed))
    }

    /// Begins to measure anew, for [`Watch::moved`].
    pub fn mark(&self) {
        self.shared.marked.store(self.bytes(), Relaxed);
        self.shared.first_us.store(0, Relaxed);
    }

    /// Returns how many bytes have come since the mark, and the time from the first to the last of them.
    pub fn moved(&self) -> (u64, Duration) {
        let Shared { marked, first_us, latest_us, .. } = &*self.shared;
        let time = latest_us.load(Relaxed).saturating_sub(first_us.load(Relaxed));
        (self.bytes() - marked.load(Relaxed), Duration::from_micros(time))
    }

    /// Stops the clocks while nothing is expected from the mirror, or starts them anew.
    pub fn pause(&self, paused: bool) {
        self.shared.last_ms.store(self.shared.elapsed_ms(), Relaxed);
        self.shared.paused.store(paused, Relaxed);
    }

    /// Starts the clocks anew: nothing is expected from the mirror just now.
    pub fn touch(&self) {
        self.shared.last_ms.store(self.shared.elapsed_ms(), Relaxed);
        self.shared.touched.store(true, Relaxed);
    }

    /// From now on only the bytes that are counted in `useful` count for the speed, or again all: who talks without end
    /// and sends nothing is too slow.
    pub fn judge_by(&self, useful: Option<Arc<AtomicU64>>) {
        if let Ok(mut slot) = self.shared.useful.lock() {
            *slot = useful;
        }
        self.touch();
    }

    /// Returns why the channel was cut off, if it was.
    pub fn verdict(&self) -> Option<String> {
        self.shared.verdict.lock().ok()?.clone()
    }

    /// Returns a function that tells the bytes read so far and the time since the start.
    pub fn meter(&self) -> impl Fn() -> (u64, Duration) + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move || (shared.bytes.load(Relaxed), shared.started.elapsed())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.ended.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn watch(shared: &Shared, limits: &Limits, killer: &Killer) {
    let mut flow = Flow::default();
    loop {
        std::thread::park_timeout(Duration::from_millis(50));
        if shared.ended.load(Relaxed) {
            return;
        }
        if shared.touched.swap(false, Relaxed) {
            flow = Flow::default();
        }
        let verdict = if shared.paused.load(Relaxed) {
            flow = Flow::default();
            None
        } else {
            let last = Duration::from_millis(shared.last_ms.load(Relaxed));
            let bytes = shared.bytes.load(Relaxed);
            let useful = shared.useful.lock().ok().and_then(|slot| slot.as_ref().map(|useful| useful.load(Relaxed)));
            flow.judge(limits, shared.started.elapsed(), last, bytes, useful.unwrap_or(bytes))
        };
        if let Some(verdict) = verdict {
            if let Ok(mut slot) = shared.verdict.lock() {
                *slot = Some(verdict);
            }
            killer.kill();
            return;
        }
    }
}

struct Tap {
    inner: Box<dyn Read + Send>,
    shared: Arc<Shared>,
}

impl Read for Tap {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        if self.shared.bytes.fetch_add(n as u64, Relaxed) > self.shared.most.load(Relaxed) {
            return Err(std::io::Error::other("it says more than it may"));
        }
        self.shared.last_ms.store(self.shared.elapsed_ms(), Relaxed);
        let us = u64::try_from(self.shared.started.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
        let _ = self.shared.opened_us.compare_exchange(0, us, Relaxed, Relaxed);
        let _ = self.shared.first_us.compare_exchange(0, us, Relaxed, Relaxed);
        self.shared.latest_us.store(us, Relaxed);
        Ok(n)
    }
}

/// A writer that is closed where it is shared: for gix, which keeps its writer.
pub struct Held(pub Option<Box<dyn Write + Send>>);

impl Write for Held {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.as_mut().map_or(Ok(buf.len()), |w| w.write(buf))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.as_mut().map_or(Ok(()), |w| w.flush())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::git::config::Config;
    use crate::adapters::net::channel::{Opening, Role, Service};
    use crate::values::GitUrl;
    use crate::values::report::Silent;

    /// Writes more to a mirror than it will ever read; returns the verdict.
    fn overfed(url: &str, program: Option<&str>) -> Option<String> {
        let url = GitUrl::parse(url).expect("a URL");
        let config = Config::default();
        let opening = Opening {
            role: Role::Mirror { learned: false, prompt: false },
            service: Service::UploadPack,
            program,
            version: 2,
            family: Default::default(),
            connect_by: None,
            guard: None,
            config: &config,
            report: &Silent,
        };
        let mut channel = Channel::open(&url, &opening).expect("a channel");
        let short = Duration::from_millis(300);
        let limits = Limits { first_byte: short, ..Limits::default() };
        let watch = Watch::over(&mut channel, limits, Instant::now());
        let mut writer = channel.writer.take().expect("a writer");
        assert!(writer.write_all(&vec![0; 64 << 20]).is_err(), "all was taken");
        watch.verdict()
    }

    #[test]
    fn a_mirror_that_does_not_read_is_left() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let verdict = Some("no answer for 0.3 s".to_owned());
        assert_eq!(overfed(&format!("git://127.0.0.1:{port}/a"), None), verdict);
        assert_eq!(overfed("/a", Some("sleep 60; :")), verdict);
    }
}
