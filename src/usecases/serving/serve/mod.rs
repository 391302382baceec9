//! `git mirror serve`: a small server of smart HTTP and `git://` over a folder of repositories; read-only.
//!
//! One task a connection. Stock `git upload-pack` does the work, in at most [`Limits::transfers`] processes at once;
//! whoever comes beyond that waits in turn. It gets the client's socket itself, but for short answers over HTTP. What is
//! in memory is bounded: a piece for each such answer, and request bodies up to a total.

mod answers;
mod git;
mod http;
mod idle;
mod metrics;
mod rpc;
mod server;
mod socket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use core::net::IpAddr;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::values::{Error, GitUrl, Kind, Result};
use metrics::Metrics;
use server::Server;
pub use server::{Limits, Order};

/// Bytes of request bodies in memory, all connections together; more wait. Four of the largest always fit.
const BODIES: usize = 128 << 20;

enum Listener {
    Http(TcpListener),
    Git(TcpListener),
}

/// Serves until SIGTERM or SIGINT. `listening` is told each URL once all of them are listened on, `log` each request.
///
/// # Errors
/// [`Kind::Usage`] for what is no URL to listen on, or no folder; [`Kind::Local`] where an address cannot be had.
pub fn run(order: Order, mut listening: impl FnMut(&str), log: Box<dyn Fn(&str) + Send + Sync>) -> Result<()> {
    let root = std::fs::canonicalize(&order.root)
        .map_err(Error::doing(Kind::Usage, format!("cannot serve '{}'", order.root.display())))?;
    if !root.is_dir() {
        return Err(Error::new(Kind::Usage, format!("cannot serve '{}': it is no folder", root.display())));
    }
    let addresses: Vec<(bool, SocketAddr)> = order.listen.iter().map(|url| address(url)).collect::<Result<_>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::doing(Kind::Local, "cannot start the server"))?;
    let order = Order { root, ..order };
    let ended = runtime.block_on(async move {
        let mut listeners = Vec::new();
        for (is_git, address) in addresses {
            let listener = TcpListener::bind(address)
                .await
                .map_err(Error::doing(Kind::Local, format!("cannot listen on {address}")))?;
            listeners.push(if is_git { Listener::Git(listener) } else { Listener::Http(listener) });
        }
        let mut stop = Stop::watch()?;
        for listener in &listeners {
            let (scheme, listener) = match listener {
                Listener::Http(listener) => ("http", listener),
                Listener::Git(listener) => ("git", listener),
            };
            let address = listener.local_addr().map_err(Error::doing(Kind::Local, "cannot listen"))?;
            listening(&format!("{scheme}://{address}/"));
        }
        let transfers = Arc::new(Semaphore::new(order.limits.transfers));
        let bodies = Semaphore::new((BODIES.max(4 * order.limits.request)) / 1024);
        let server = Arc::new(Server { bodies, order, metrics: Metrics::default(), transfers, log });
        serve(&server, listeners, &mut stop).await;
        Ok(())
    });
    // What is still being sent ends here, and with it the processes that send it.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// Reads a URL to listen on; returns whether it is for `git://`, and the address.
fn address(url: &str) -> Result<(bool, SocketAddr)> {
    let bad = |why: &str| Error::new(Kind::Usage, format!("cannot listen on '{url}': {why}"));
    let text = if url.ends_with('/') { url.to_owned() } else { format!("{url}/") };
    let parsed = GitUrl::parse(&text).map_err(|err| bad(&err.message))?;
    let is_git = match parsed.scheme.as_str() {
        "git" => true,
        "http" => false,
        _ => return Err(bad("use http://<address>:<port> or git://<address>:<port>")),
    };
    if parsed.path != "/" {
        return Err(bad("it may not have a path"));
    }
    let host: IpAddr = match parsed.host.as_str() {
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        host => host.parse().map_err(|_| bad("name an IP address of this machine"))?,
    };
    Ok((is_git, SocketAddr::new(host, parsed.effective_port().unwrap_or_default())))
}

/// SIGTERM and SIGINT.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn watch() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let watch = |kind| signal(kind).map_err(Error::doing(Kind::Local, "cannot watch for signals"));
        Ok(Stop { terminate: watch(SignalKind::terminate())?, interrupt: watch(SignalKind::interrupt())? })
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Accepts connections until it is told to stop, then lets those that are open end.
async fn serve(server: &Arc<Server>, listeners: Vec<Listener>, stop: &mut Stop) {
    let (stopping, stopped) = watch::channel(false);
    let connections = Arc::new(Semaphore::new(server.order.limits.connections));
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(Arc::clone(server), listener, Arc::clone(&connections), stopped.clone()));
    }
    drop(stopped);
    stop.told().await;
    let _ = stopping.send(true);
    while accepting.join_next().await.is_some() {}
    let all = |limit| u32::try_from(limit).unwrap_or(u32::MAX);
    let ended = async {
        let _ = connections.acquire_many(all(server.order.limits.connections)).await;
        // A process may end a little after the connection that it served.
        let _ = server.transfers.acquire_many(all(server.order.limits.transfers)).await;
    };
    tokio::select! {
        () = ended => {}
        () = tokio::time::sleep(server.order.limits.grace) => {}
        () = stop.told() => {} // a second time: at once
    }
    socket::end_all().await;
}

async fn accept(
    server: Arc<Server>,
    listener: Listener,
    connections: Arc<Semaphore>,
    mut stopped: watch::Receiver<bool>,
) {
    let (is_git, listener) = match listener {
        Listener::Git(listener) => (true, listener),
        Listener::Http(listener) => (false, listener),
    };
    loop {
        let accepted = tokio::select! {
            _ = stopped.changed() => return,
            accepted = async {
                let room = Arc::clone(&connections).acquire_owned().await.ok()?;
                Some((room, listener.accept().await))
            } => accepted,
        };
        let Some((room, accepted)) = accepted else { return };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(err) => {
                // No more files, most likely: those that are open must end first.
                (server.log)(&format!("cannot accept a connection: {err}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (server, stopped) = (Arc::clone(&server), stopped.clone());
        tokio::spawn(async move {
            server.metrics.opened();
            if is_git {
                git::connection(&server, stream, peer).await;
            } else {
                http::connection(&server, stream, peer, stopped).await;
            }
            server.metrics.closed();
            drop(room);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        for (url, is_git, want) in [
            ("http://127.0.0.1:0", false, "127.0.0.1:0"),
            ("http://localhost:8080/", false, "127.0.0.1:8080"),
            ("git://[::1]:99", true, "[::1]:99"),
            ("git://0.0.0.0", true, "0.0.0.0:9418"),
        ] {
            let got = address(url).expect(url);
            assert_eq!((got.0, got.1.to_string().as_str()), (is_git, want));
        }
        for url in ["https://127.0.0.1:1", "http://host:1", "http://127.0.0.1:1/x", "127.0.0.1:1", "", "http://:1"] {
            assert!(address(url).is_err(), "{url}");
        }
    }
}
