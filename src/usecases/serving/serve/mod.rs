//! `git mirror serve`: a small server of smart HTTP and `git://` over a folder of repositories; read-only.
//!
//! One task a connection. Stock `git upload-pack` does the work. What it says is moved to the client's socket as it comes
//! (`relay`), if that may be a pack, and into a file otherwise (`spool`). A process, a file and memory are had by turns
//! (`pool`), which those lose who keep others waiting: what clients together can take up is bounded, and a client that
//! does its part is served.

mod answers;
mod body;
mod child;
mod chunk_size;
mod git;
mod http;
mod idle;
mod metrics;
mod page;
mod pool;
mod relay;
mod rpc;
mod server;
mod spool;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use core::net::IpAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::adapters::os;
use crate::values::{Error, GitUrl, Kind, Result};
use pool::Client;
use server::Server;
pub use server::{Limits, Order};

/// Threads that may wait for a disk, or for git, at once.
const BLOCKING: usize = 32;

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
    let limits = order.limits.within(os::raise_open_files());
    if limits.connections < order.limits.connections {
        let connections = limits.connections;
        log(&format!("no more than {connections} connections at once: the limit on open files (ulimit -n) is too low"));
    }
    let addresses: Vec<(bool, SocketAddr)> = order.listen.iter().map(|url| address(url)).collect::<Result<_>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING)
        .build()
        .map_err(Error::doing(Kind::Local, "cannot start the server"))?;
    let order = Order { root, limits, ..order };
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
        let server = Server::new(order, log);
        let sharing = tokio::spawn(Arc::clone(&server).share_out());
        serve(&server, listeners, &mut stop).await;
        sharing.abort();
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
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(Arc::clone(server), listener, stopped.clone()));
    }
    drop(stopped);
    stop.told().await;
    let _ = stopping.send(true);
    while accepting.join_next().await.is_some() {}
    let ended = async {
        server.connections.emptied().await;
        // A process may end a little after the connection that it served.
        server.turns.emptied().await;
        server.workers.emptied().await;
    };
    tokio::select! {
        () = ended => {}
        () = tokio::time::sleep(server.order.limits.grace) => {}
        () = stop.told() => {} // a second time: at once
    }
    server.end_all().await;
}

async fn accept(server: Arc<Server>, listener: Listener, mut stopped: watch::Receiver<bool>) {
    let (is_git, listener) = match listener {
        Listener::Git(listener) => (true, listener),
        Listener::Http(listener) => (false, listener),
    };
    loop {
        let accepted = tokio::select! {
            _ = stopped.changed() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(err) => {
                // No more files, most likely: those that are open must end first.
                (server.log)(&format!("cannot accept a connection: {err}"));
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(client) = met(&server, &stream, peer) else { continue };
        // Those that come beyond what there is room for wait in the kernel, but for one.
        let hold = tokio::select! {
            _ = stopped.changed() => return,
            hold = server.connections.take(&client, 1) => hold,
        };
        let (server, stopped) = (Arc::clone(&server), stopped.clone());
        tokio::spawn(async move {
            server.metrics.opened();
            let served = async {
                if is_git {
                    git::connection(&server, stream, &client, &hold).await;
                } else {
                    http::connection(&server, stream, &client, &hold, stopped).await;
                }
            };
            tokio::select! {
                () = served => {}
                () = client.hang_up.cancelled() => {
                    (server.log)(&format!("{} hung up: it kept others waiting", client.ends.1.ip()));
                }
            }
            server.metrics.closed();
            drop(hold);
        });
    }
}

/// Returns who has connected; nothing where they have gone already.
fn met(server: &Server, stream: &TcpStream, peer: SocketAddr) -> Option<Client> {
    let plain = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let ends = (plain(stream.local_addr().ok()?), plain(peer));
    let _ = stream.set_nodelay(true);
    os::limit_unsent(stream, server.order.limits.idle);
    os::tcp::drop_unsent(stream, true); // unless it comes to a good end
    let address = ends.1.ip();
    Some(Client { address, repository: None, ends, proven: Arc::default(), hang_up: CancellationToken::new() })
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
