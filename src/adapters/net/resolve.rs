//! Names to addresses. The system's resolver cannot be stopped, so it may be left behind.

use std::io::{Error, ErrorKind, Result};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Instant;

/// Which addresses may be used (`git fetch -4`, `-6`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// Both.
    #[default]
    Any,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Returns whether an address is one of these.
    pub fn has(self, address: &SocketAddr) -> bool {
        match self {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        }
    }
}

/// Returns the addresses of `host`. Without `until`, waits as long as the resolver does. The thread of one that does not
/// answer in time lives until it does, or the process ends, which does not wait for it.
///
/// # Errors
/// Those of the resolver, and [`ErrorKind::TimedOut`].
pub fn addresses(host: &str, port: u16, until: Option<Instant>) -> Result<Vec<SocketAddr>> {
    let Some(until) = until else {
        return (host, port).to_socket_addrs().map(Iterator::collect);
    };
    let (tell, told) = mpsc::channel();
    let host = host.to_owned();
    std::thread::spawn(move || {
        let _ = tell.send((host.as_str(), port).to_socket_addrs().map(Iterator::collect));
    });
    match told.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(found) => found,
        Err(RecvTimeoutError::Timeout) => Err(Error::new(ErrorKind::TimedOut, "no answer in time")),
        Err(RecvTimeoutError::Disconnected) => Err(Error::other("the resolver failed")),
    }
}
