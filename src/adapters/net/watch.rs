//! Watches over a mirror's channel: whoever is silent or slow is cut off, and whoever is waited for when the time that all
//! mirrors together may cost is used up.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::adapters::net::channel::{Channel, Killer};
use crate::adapters::os::OnSignal;
use crate::decide::limits::{Flow, Limits};
use crate::decide::patience::{Came, Patience, Whom};
use crate::values::{Error, Kind};

/// The clock of one fetch, shared by all that is waited for.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Mutex<Patience>>);

impl Clock {
    /// Returns one that has not run.
    pub fn new(patience: Patience) -> Self {
        Clock(Arc::new(Mutex::new(patience)))
    }

    fn with<T>(&self, f: impl FnOnce(&mut Patience) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Has `wait` wait for something that is no object, and counts the time.
    pub fn waiting<T>(&self, wait: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let got = wait();
        self.with(|patience| patience.pass(began.elapsed(), 0));
        got
    }

    /// Ends an attempt.
    pub fn settle(&self, came: Came) {
        self.with(|patience| patience.settle(came));
    }

    /// Has what was kept come to nothing.
    pub fn drop_kept(&self) {
        self.with(Patience::drop_kept);
    }

    /// Returns how long one may still wait; `None` is without end.
    pub fn left(&self, whom: Whom) -> Option<Duration> {
        self.with(|patience| patience.left(whom))
    }

    /// Returns why nobody is to be waited for any more, where that is so.
    pub fn over(&self, whom: Whom) -> Option<Error> {
        self.with(|patience| {
            let limit = patience.limit().filter(|_| patience.is_over(whom))?;
            let kind = if patience.is_to_blame() { Kind::Timeout } else { Kind::Spent };
            let text = format!(
                "mirrors have had the {} s without use that they may cost (mirror.patience)",
                limit.as_secs_f32()
            );
            Some(Error::new(kind, text))
        })
    }
}

/// What the watcher and the streams share.
#[derive(Debug)]
struct Shared {
    started: Instant,
    bytes: AtomicU64,
    /// Since the last mark: the bytes before it, and when the first and the last byte came, in microseconds.
    marked: AtomicU64,
    opened_us: AtomicU64,
    first_us: AtomicU64,
    latest_us: AtomicU64,
    last_ms: AtomicU64,
    touched: AtomicBool,
    ended: AtomicBool,
    verdict: Mutex<Option<(Kind, String)>>,
    account: Mutex<Account>,
}

/// What is waited for, and for how long that has been counted.
#[derive(Debug, Default)]
struct Account {
    paused: bool,
    /// Until when it has been counted, since the start.
    counted: Duration,
    /// Until then this machine is at work.
    busy: Duration,
    /// The bytes of the pack that is waited for, and those of them that have been counted. While there is none, no byte is
    /// of use, and each counts for the speed.
    useful: Option<(Arc<AtomicU64>, u64)>,
    clock: Option<(Clock, Whom)>,
}

impl Account {
    /// Counts what has passed until `now`.
    fn settle(&mut self, now: Duration) {
        let time = now.saturating_sub(self.counted.max(self.busy));
        self.counted = now;
        let bytes = self.useful.as_mut().map_or(0, |(useful, seen)| {
            let bytes = useful.load(Relaxed);
            bytes.saturating_sub(std::mem::replace(seen, bytes))
        });
        if let (false, Some((clock, _))) = (self.paused, &self.clock) {
            clock.with(|patience| patience.pass(time, bytes));
        }
    }
}

/// Watches one channel until it is dropped.
pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
    _on_signal: OnSignal,
}

/// How long [`Watch::touch`] says that this machine is at work.
const AT_WORK: Duration = Duration::from_millis(250);

impl Watch {
    /// Wraps the channel's reader, and begins to watch; `began` is when the mirror began to be waited for. `clock` runs
    /// from now on.
    pub fn over(channel: &mut Channel, limits: Limits, began: Instant, clock: Option<(Clock, Whom)>) -> Self {
        let account = Account { counted: began.elapsed(), clock, ..Account::default() };
        let shared = Arc::new(Shared {
            started: began,
            bytes: AtomicU64::new(0),
            marked: AtomicU64::new(0),
            first_us: AtomicU64::new(0),
            opened_us: AtomicU64::new(0),
            latest_us: AtomicU64::new(0),
            last_ms: AtomicU64::new(0),
            touched: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            verdict: Mutex::new(None),
            account: Mutex::new(account),
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

    /// Has `clock` run from now on.
    pub fn charge(&self, clock: Clock, whom: Whom) {
        self.shared.account(|account| account.clock = Some((clock, whom)));
    }

    /// Returns how many bytes have been read.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Relaxed)
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
        self.shared.account(|account| account.paused = paused);
    }

    /// Starts the clocks anew: nothing is expected from the mirror just now.
    pub fn touch(&self) {
        self.shared.anew();
        self.shared.account(|account| account.busy = account.counted + AT_WORK);
    }

    /// From now on only the bytes that are counted in `useful`, those of a pack, count for the speed and are of use, or
    /// again all for the speed and none of use: who talks without end and sends nothing is too slow.
    pub fn judge_by(&self, useful: Option<Arc<AtomicU64>>) {
        self.shared.account(|account| {
            account.useful = useful.map(|useful| {
                let seen = useful.load(Relaxed);
                (useful, seen)
            });
        });
        self.shared.anew();
    }

    /// Returns why the channel was cut off, if it was.
    pub fn verdict(&self) -> Option<Error> {
        self.shared.verdict.lock().ok()?.as_ref().map(|(kind, text)| Error::new(*kind, text.clone()))
    }

    /// Returns a function that tells the bytes read so far and the time since the start.
    pub fn meter(&self) -> impl Fn() -> (u64, Duration) + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move || (shared.bytes.load(Relaxed), shared.started.elapsed())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.account(|account| account.clock = None);
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

    /// Counts what has passed, and changes what is waited for from now on.
    fn account<T>(&self, change: impl FnOnce(&mut Account) -> T) -> T {
        let mut account = self.account.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        account.settle(self.started.elapsed());
        change(&mut account)
    }

    fn anew(&self) {
        self.last_ms.store(self.elapsed_ms(), Relaxed);
        self.touched.store(true, Relaxed);
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
        let bytes = shared.bytes.load(Relaxed);
        let (paused, useful, over) = shared.account(|account| {
            let useful = account.useful.as_ref().map(|(_, seen)| *seen);
            let over = account.clock.as_ref().and_then(|(clock, whom)| clock.over(*whom));
            (account.paused, useful, over)
        });
        let verdict = if paused {
            flow = Flow::default();
            None
        } else {
            let last = Duration::from_millis(shared.last_ms.load(Relaxed));
            let slow = flow.judge(limits, shared.started.elapsed(), last, bytes, useful.unwrap_or(bytes));
            slow.map(|why| (Kind::Timeout, why)).or_else(|| over.map(|over| (over.kind, over.message)))
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
        self.shared.bytes.fetch_add(n as u64, Relaxed);
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
            config: &config,
            report: &Silent,
        };
        let mut channel = Channel::open(&url, &opening).expect("a channel");
        let short = Duration::from_millis(300);
        let limits = Limits { first_byte: short, ..Limits::default() };
        let watch = Watch::over(&mut channel, limits, Instant::now(), None);
        let mut writer = channel.writer.take().expect("a writer");
        assert!(writer.write_all(&vec![0; 64 << 20]).is_err(), "all was taken");
        watch.verdict().map(|verdict| verdict.message)
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
