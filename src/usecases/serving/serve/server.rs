//! What all connections of a server share, and what it may spend.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use core::net::IpAddr;

use super::metrics::Metrics;
use super::pool::Pool;
use crate::adapters::os::{self, memory, tcp};
use crate::usecases::serving::site::Site;

/// Bytes of request bodies in memory, all connections together. Four of the largest always fit.
const BODIES: u64 = 64 << 20;
/// Bytes of answers in temporary files that clients are being sent, and of those that wait for that.
const SPOOLED: u64 = 256 << 20;
/// Files that one connection may need: itself, and a process with its two pipes, or an answer in a file.
const FILES: u64 = 5;
/// Files that the server needs beside those of connections.
const OWN_FILES: u64 = 24;
/// How often it is looked at who waits for room, and who keeps it from others.
const TICK: Duration = Duration::from_millis(50);
/// How often connections are asked what they have not been acknowledged, where somebody waits.
const LOOK: Duration = Duration::from_millis(250);
/// What a client takes in that time that is worth its turn: 16 kB a second.
const ENOUGH: u64 = 4096;

/// What the server may spend.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// Transfers, that is processes, at once; more wait.
    pub transfers: usize,
    /// Bytes of memory, of this process and all that it starts, beyond which no transfer begins beside those whose clients
    /// keep them waiting.
    pub memory: u64,
    /// Bytes of one request body, compressed and not.
    pub request: usize,
    /// How long a client may be silent, or not take what it is sent.
    pub idle: Duration,
    /// How long transfers may go on after the server was told to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 1024,
            transfers: 32,
            memory: 256 << 20,
            request: 16 << 20,
            idle: Duration::from_secs(120),
            grace: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// Returns the limits where no more than `files` may be open: no more connections than there are files for, so that
    /// those who keep them are found out before a process can no longer be started.
    pub fn within(self, files: u64) -> Self {
        let connections = (files.saturating_sub(OWN_FILES) / FILES).max(1);
        Limits { connections: self.connections.min(usize::try_from(connections).unwrap_or(usize::MAX)), ..self }
    }
}

/// What is asked for.
pub struct Order {
    /// URLs to listen on: `http://<address>:<port>`, `git://<address>:<port>`; port 0 takes a free one.
    pub listen: Vec<String>,
    /// The folder of repositories.
    pub root: PathBuf,
    /// Whether repositories without `git-daemon-export-ok` are served as well.
    pub export_all: bool,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Where the mirror list is.
    pub site: Site,
    /// What may be spent.
    pub limits: Limits,
}

/// What all connections share.
pub struct Server {
    /// What is asked for.
    pub order: Order,
    /// What is counted.
    pub metrics: Metrics,
    /// Connections.
    pub connections: Arc<Pool>,
    /// Processes whose clients decide how long they take.
    pub turns: Arc<Pool>,
    /// Processes whose answers are short, or wait in a file: no client holds these up.
    pub workers: Arc<Pool>,
    /// Bytes of request bodies in memory.
    pub bodies: Arc<Pool>,
    /// Bytes of answers in files.
    pub spooled: Arc<Pool>,
    /// The processes that serve now.
    pub children: Mutex<HashSet<u32>>,
    /// Is told each request, and what goes wrong here.
    pub log: Box<dyn Fn(&str) + Send + Sync>,
}

impl Server {
    /// Returns a server that nobody is connected to.
    pub fn new(order: Order, log: Box<dyn Fn(&str) + Send + Sync>) -> Arc<Self> {
        let limits = order.limits;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = limits.transfers.min((2 * cores).max(4));
        let units = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Arc::new(Server {
            metrics: Metrics::default(),
            connections: Pool::unshared(units(limits.connections)),
            turns: Pool::of_processes(units(limits.transfers), limits.memory),
            workers: Pool::new(units(workers)),
            bodies: Pool::new(BODIES.max(4 * units(limits.request))),
            spooled: Pool::of_what_is_made(SPOOLED),
            children: Mutex::default(),
            order,
            log,
        })
    }

    fn pools(&self) -> [(&'static str, &Pool); 5] {
        [
            ("connections", &self.connections),
            ("transfers", &self.turns),
            ("workers", &self.workers),
            ("request_bytes", &self.bodies),
            ("answer_bytes", &self.spooled),
        ]
    }

    /// Returns all that is counted, in the text format of Prometheus, version 0.0.4.
    pub fn counted(&self) -> String {
        let figures = self.pools().map(|(name, pool)| (name, pool.figures()));
        self.metrics.text(&figures, (memory::resident(self.processes()), self.order.limits.memory))
    }

    /// Returns this process and those that it has started for clients.
    fn processes(&self) -> Vec<u32> {
        let children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.iter().copied().chain([std::process::id()]).collect()
    }

    /// Shares room out until the server ends.
    pub async fn share_out(self: Arc<Self>) {
        let mut looked = Instant::now();
        loop {
            tokio::time::sleep(TICK).await;
            let waited_for = |pool: &&Arc<Pool>| pool.figures().1 > 0;
            let contended: Vec<&Arc<Pool>> = [&self.turns, &self.spooled].into_iter().filter(waited_for).collect();
            if !contended.is_empty() && looked.elapsed() >= LOOK {
                looked = Instant::now();
                let suspected = contended.iter().any(|pool| !pool.suspects(looked).is_empty());
                if suspected && let Ok(unsent) = tokio::task::spawn_blocking(tcp::unsent).await {
                    contended.iter().for_each(|pool| pool.looked(&unsent, ENOUGH, looked));
                }
            }
            let (used, waiting, _) = self.turns.figures();
            if used + waiting > 0 {
                let processes = self.processes();
                if let Ok(bytes) = tokio::task::spawn_blocking(|| memory::resident(processes)).await {
                    self.turns.measured(bytes);
                }
            }
            let now = Instant::now();
            self.pools().iter().for_each(|(_, pool)| pool.tick(now));
        }
    }

    /// Ends what is still being sent.
    pub async fn end_all(&self) {
        let children = || self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children().iter().for_each(|pid| os::terminate(*pid));
        for _ in 0..50 {
            if children().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
