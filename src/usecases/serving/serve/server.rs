//! What all connections of a server share, and what it may spend.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use core::net::IpAddr;
use tokio::sync::Semaphore;

use super::metrics::Metrics;
use crate::usecases::serving::site::Site;

/// What the server may spend.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
    /// Transfers, that is processes, at once; more wait.
    pub transfers: usize,
    /// Bytes of one HTTP request body, compressed and not.
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
            request: 16 << 20,
            idle: Duration::from_secs(120),
            grace: Duration::from_secs(30),
        }
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
    /// Transfers that may run.
    pub transfers: Arc<Semaphore>,
    /// KiB of request bodies that may be in memory.
    pub bodies: Semaphore,
    /// Is told each request, and what goes wrong here.
    pub log: Box<dyn Fn(&str) + Send + Sync>,
}
