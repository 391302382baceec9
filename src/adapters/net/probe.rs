//! How long a TCP connection to a host takes. Nothing is sent over it.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::adapters::git::config::Config;
use crate::adapters::net::channel;
use crate::adapters::net::guard::Guard;
use crate::adapters::net::resolve::{self, Family};
use crate::values::{GitUrl, Transport};

/// Most connections at once.
const AT_ONCE: usize = 4;
/// How long the first of them may take, and all of them.
pub const LIMIT: Duration = Duration::from_secs(2);
/// Once the nearest has answered, the others are waited for three times as long, and this: whoever needs more is far.
const GRACE: Duration = Duration::from_millis(20);

/// What takes less is measured twice.
const NEAR: Duration = Duration::from_millis(20);

/// What came of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// It took so long.
    Connected(Duration),
    /// It would have taken longer than this.
    Slower(Duration),
    /// It failed.
    Failed(String),
}

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Until each has had [`LIMIT`].
    All,
    /// No longer than is needed to find the nearest; where another one is known, its time.
    Nearest(Option<Duration>),
}

/// What is probed.
#[derive(Debug, Clone)]
pub struct Target {
    /// A URL of the host.
    pub url: GitUrl,
    /// Who says whether it may be connected to, where a server has named it.
    pub guard: Option<Arc<Guard>>,
}

/// Connects to hosts, and returns how long each took.
pub fn connect_times(targets: Vec<Target>, family: Family, patience: Patience) -> Vec<Probed> {
    let count = targets.len();
    let (targets, next) = (Arc::new(targets), Arc::new(AtomicUsize::new(0)));
    let (tell, told) = mpsc::channel();
    for _ in 0..AT_ONCE.min(count) {
        // Not joined: the resolver has no limit of its own.
        let (targets, next, tell) = (Arc::clone(&targets), Arc::clone(&next), tell.clone());
        std::thread::spawn(move || {
            loop {
                let at = next.fetch_add(1, Relaxed);
                let Some(target) = targets.get(at) else { return };
                if tell.send((at, connect(target, family))).is_err() {
                    return;
                }
            }
        });
    }
    drop(tell);
    let began = Instant::now();
    let rounds = u32::try_from(count.div_ceil(AT_ONCE)).unwrap_or(u32::MAX);
    let mut until = began
        + match patience {
            Patience::All => LIMIT.saturating_mul(rounds),
            Patience::Nearest(None) => LIMIT,
            Patience::Nearest(Some(known)) => LIMIT.min(known * 3 + GRACE),
        };
    let mut probed: Vec<Option<Probed>> = vec![None; count];
    while let Ok((at, outcome)) = told.recv_timeout(until.saturating_duration_since(Instant::now())) {
        if let (Patience::Nearest(_), Probed::Connected(time)) = (patience, &outcome) {
            until = until.min(Instant::now() + *time * 3 + GRACE);
        }
        probed[at] = Some(outcome);
    }
    let waited = began.elapsed();
    probed.into_iter().map(|outcome| outcome.unwrap_or(Probed::Slower(waited))).collect()
}

fn connect(target: &Target, family: Family) -> Probed {
    let addresses = match addresses(target, family) {
        Ok(addresses) => addresses,
        Err(why) => return Probed::Failed(why),
    };
    let mut why = "no address".to_owned();
    for address in addresses.into_iter().take(2) {
        let timed = || {
            let began = Instant::now();
            TcpStream::connect_timeout(&address, LIMIT).map(|_| began.elapsed())
        };
        match timed() {
            // What is so near is easily mismeasured on a busy machine.
            Ok(time) if time < NEAR => return Probed::Connected(timed().map_or(time, |again| again.min(time))),
            Ok(time) => return Probed::Connected(time),
            Err(err) if err.kind() == std::io::ErrorKind::TimedOut => return Probed::Slower(LIMIT),
            Err(err) => why = err.to_string(),
        }
    }
    Probed::Failed(why)
}

fn addresses(Target { url, guard }: &Target, family: Family) -> Result<Vec<SocketAddr>, String> {
    let (host, port) = (&url.host, url.effective_port().unwrap_or(0));
    let until = Some(Instant::now() + LIMIT);
    match guard {
        Some(guard) => guard.judge_name(url, until).and_then(|()| guard.addresses(host, port, family, until)),
        None => {
            let found = resolve::addresses(host, port, until);
            let found = found.map_err(|err| format!("unable to look up {host} ({err})"))?;
            return Ok(found.into_iter().filter(|address| family.has(address)).collect());
        }
    }
    .map_err(|err| err.message)
}

/// Returns whether a host can be probed: not a path, and nothing between it and us that is known to be a proxy.
pub fn is_possible(url: &GitUrl, config: &Config) -> bool {
    let env = |names: &[&str]| names.iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    match url.transport {
        Transport::Local => false,
        Transport::Git => config.get("core.gitproxy").is_none() && !env(&["GIT_PROXY_COMMAND"]),
        Transport::Http => channel::proxy(url, config).is_none(),
        // Its configuration may name another host, or a way there.
        Transport::Ssh => config.get("core.sshcommand").is_none() && !env(&["GIT_SSH_COMMAND", "GIT_SSH"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_what_answers() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let open = listener.local_addr().expect("an address").port();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("one").port();
        let url = |port: u16| GitUrl::parse(&format!("git://127.0.0.1:{port}/x")).expect("a URL");
        let targets = |guard: Option<Arc<Guard>>| {
            let ports = [open, closed, open, open, open, open];
            ports.map(|port| Target { url: url(port), guard: guard.clone() }).into()
        };
        let probed = connect_times(targets(None), Family::Any, Patience::All);
        assert!(matches!(&probed[1], Probed::Failed(why) if why.contains("refused")), "{probed:?}");
        let connected = probed.iter().filter(|p| matches!(p, Probed::Connected(_))).count();
        assert_eq!(connected, 5, "{probed:?}");
        // Of those that a public server names, nobody is connected to here.
        let public = GitUrl::parse("git://192.0.2.1/x").expect("a URL");
        let guard = Some(Arc::new(Guard::new(&public, &Config::default())));
        let probed = connect_times(targets(guard), Family::Any, Patience::All);
        assert!(probed.iter().all(|p| matches!(p, Probed::Failed(why) if why.contains("private"))), "{probed:?}");
        assert!(connect_times(Vec::new(), Family::Any, Patience::Nearest(None)).is_empty());
    }
}
