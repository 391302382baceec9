//! What tcp(7) and pipe(7) offer beyond the standard library, on Linux.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{SpliceFlags, splice};

/// The most that is moved at once, in bytes.
const PIECE: usize = 1 << 20;

/// Moves what is in a pipe to a socket, neither of which may block. Returns how many bytes went, 0 at the end of what is
/// written to the pipe, and nothing where the pipe is empty for now.
///
/// The bytes are not copied through this process (splice(2)).
///
/// # Errors
/// [`std::io::ErrorKind::WouldBlock`] where the socket takes nothing for now; those of splice(2).
pub fn move_on(pipe: &impl AsFd, socket: &impl AsFd) -> std::io::Result<Option<usize>> {
    let once = || splice(pipe, None, socket, None, PIECE, SpliceFlags::NONBLOCK | SpliceFlags::MOVE);
    match once() {
        Ok(moved) => Ok(Some(moved)),
        Err(rustix::io::Errno::AGAIN) => {
            if !is_readable(pipe)? {
                return Ok(None);
            }
            // Something may have come in between: only with that the failure is the socket's.
            once().map(Some).map_err(Into::into)
        }
        Err(err) => Err(err.into()),
    }
}

fn is_readable(pipe: &impl AsFd) -> std::io::Result<bool> {
    let mut fds = [PollFd::new(pipe, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    Ok(poll(&mut fds, Some(&now))? > 0)
}

/// Lets a pipe hold so many bytes, if the system allows that.
pub fn widen(pipe: &impl AsFd, bytes: usize) {
    if let Err(err) = rustix::pipe::fcntl_setpipe_size(pipe, bytes) {
        tracing::debug!(%err, "a pipe stays as it is");
    }
}

/// Says what closing a connection does with what has not been acknowledged: dropped at once, and the other side told so,
/// or sent in the background, as is usual (socket(7), `SO_LINGER`).
pub fn drop_unsent(socket: &impl AsFd, dropped: bool) {
    let linger = dropped.then_some(std::time::Duration::ZERO);
    if let Err(err) = rustix::net::sockopt::set_socket_linger(socket, linger) {
        tracing::debug!(%err, "what is not sent stays");
    }
}

/// Returns how many bytes each connection of this machine has not been acknowledged, by this end and the other one
/// (proc(5), `tx_queue` in `/proc/net/tcp`). Reads the whole table: not to be done often.
pub fn unsent() -> HashMap<(SocketAddr, SocketAddr), u64> {
    let mut found = HashMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        found.extend(text.lines().skip(1).filter_map(row));
    }
    found
}

/// Reads `<n>: <local> <remote> <state> <tx_queue>:<rx_queue> ...`.
fn row(line: &str) -> Option<((SocketAddr, SocketAddr), u64)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let ends = (end(words.next()?)?, end(words.next()?)?);
    let queues = words.nth(1)?;
    Some((ends, u64::from_str_radix(queues.split(':').next()?, 16).ok()?))
}

/// Reads an address in hexadecimal digits, each four bytes of it as one number of this machine.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::new();
    for at in (0..address.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let address = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)).to_canonical(),
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn moves_what_there_is_and_tells_what_is_not_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (server, _) = listener.accept().expect("a connection");
        server.set_nonblocking(true).expect("a socket");
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&reader, true).expect("a pipe");
        assert_eq!(move_on(&reader, &server).expect("nothing"), None);
        writer.write_all(b"hello").expect("a pipe");
        assert_eq!(move_on(&reader, &server).expect("bytes"), Some(5));
        let mut got = [0; 5];
        client.read_exact(&mut got).expect("bytes");
        assert_eq!(&got, b"hello");

        let mut sent = 0;
        let full = loop {
            writer.write_all(&[0; 4096]).expect("a pipe");
            match move_on(&reader, &server) {
                Ok(moved) => sent += moved.expect("there was something"),
                Err(err) => break err,
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock);
        let ends = (server.local_addr().expect("an address"), server.peer_addr().expect("an address"));
        let unsent = unsent();
        let left = unsent.get(&ends).copied().expect("a row");
        assert!(left > 0 && left <= sent as u64, "{left} of {sent}");
    }
}
