//! What a request to `git-upload-pack` says before git sees it: which version, whose, and whether it may be one that is
//! answered here.

use std::io::Read;

use core::net::IpAddr;

use super::served::Served;
use crate::adapters::net::pktio::PktReader;
use crate::adapters::os;
use crate::values::{Error, Kind};
use crate::wire::Pkt;

/// Most bytes of a request that is read as a whole: `mirror`, and `ls-refs`.
pub const MAX_REQUEST: u64 = 4 << 20;

/// Returns the address of the client: `SSH_CONNECTION`, `REMOTE_ADDR` (git-daemon(1)), or the peer of the socket that is
/// our stdin, as under inetd(8).
pub fn client_address() -> Option<IpAddr> {
    let first = |name: &str| {
        let value = std::env::var(name).ok()?;
        value.split(' ').next()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
    };
    first("SSH_CONNECTION").or_else(|| first("REMOTE_ADDR")).or_else(os::peer_of_stdin)
}

/// Returns the address of the client. Where `peer` is one of `proxies`, that is the last address in `X-Forwarded-For`
/// which is none of them.
pub fn forwarded_client(peer: Option<IpAddr>, forwarded_for: &str, proxies: &[IpAddr]) -> Option<IpAddr> {
    let mut client = peer?.to_canonical();
    for hop in forwarded_for.rsplit(',') {
        if !proxies.contains(&client) {
            break;
        }
        let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
        client = address.to_canonical();
    }
    Some(client)
}

/// Returns the highest version that the client offers (`GIT_PROTOCOL`, git(1)).
pub fn version(protocol: &str) -> u8 {
    protocol.split(':').filter_map(|part| part.strip_prefix("version=")?.parse().ok()).max().unwrap_or(0)
}

/// Returns the packet that refuses a request: what the client did wrong, but nothing of this machine, as its paths.
pub fn refusal(err: &Error) -> Pkt {
    match err.kind {
        Kind::Protocol => Pkt::err(&err.to_string()),
        _ => Pkt::err("the server cannot answer this; its log says why"),
    }
}

/// Returns whether a body that begins so may be answered here; `None` where that cannot be told yet.
pub fn starts_as_ours(body: &[u8], gzip: bool) -> Option<bool> {
    let mut start = [0; 64];
    let mut got = 0;
    let mut plain: Box<dyn Read> = if gzip { Box::new(flate2::read::GzDecoder::new(body)) } else { Box::new(body) };
    while got < start.len() {
        match plain.read(&mut start[got..]) {
            Ok(0) | Err(_) => break,
            Ok(n) => got += n,
        }
    }
    let first = PktReader::new(&start[..got], "the client").read().ok()??;
    Some(Served::may_answer(&[first]))
}

/// Returns the packets of a whole body; `None` where it is damaged or, once unpacked, too large.
pub fn decoded(body: &[u8], gzip: bool) -> Option<Vec<Pkt>> {
    let mut plain = Vec::new();
    if gzip {
        flate2::read::GzDecoder::new(body).take(MAX_REQUEST + 1).read_to_end(&mut plain).ok()?;
    } else {
        plain.extend_from_slice(body);
    }
    if plain.len() as u64 > MAX_REQUEST {
        return None;
    }
    let mut reader = PktReader::new(plain.as_slice(), "the client");
    let mut packets = Vec::new();
    while let Some(pkt) = reader.read().ok()? {
        packets.push(pkt);
    }
    Some(packets)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn believes_listed_proxies_only() {
        let ip = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let proxies = [ip("10.0.0.1"), ip("10.0.0.2")];
        for (peer, header, want) in [
            ("198.51.100.7", "203.0.113.9", "198.51.100.7"),
            ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
            ("::ffff:10.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "unknown", "10.0.0.1"),
        ] {
            assert_eq!(forwarded_client(Some(ip(peer)), header, &proxies), Some(ip(want)), "{peer} {header}");
        }
    }

    #[test]
    fn looks_at_the_beginning() {
        use flate2::{Compression, write::GzEncoder};
        let body = b"0013command=mirror\n0000";
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(body).expect("in memory");
        let gzip = gzip.finish().expect("in memory");
        assert_eq!((starts_as_ours(body, false), starts_as_ours(&gzip, true)), (Some(true), Some(true)));
        assert_eq!(starts_as_ours(b"0012command=fetch\n", false), Some(false));
        assert_eq!((starts_as_ours(b"0013comm", false), starts_as_ours(&gzip[..5], true)), (None, None));
        assert_eq!(decoded(&gzip, true).map(|packets| packets.len()), Some(2));
        assert_eq!(decoded(&gzip[..20], true), None);
    }

    #[test]
    fn tells_no_path_of_the_server() {
        let ours = Error::new(Kind::Local, "`git upload-pack /srv/secret.git` failed: no memory");
        assert!(!String::from_utf8_lossy(refusal(&ours).text()).contains("/srv"));
        assert_eq!(refusal(&Error::new(Kind::Protocol, "no such url")).text(), b"ERR no such url");
    }

    #[test]
    fn finds_the_version() {
        for (protocol, want) in [("", 0), ("version=2", 2), ("version=1:x", 1), ("a:version=1:version=2", 2), ("v", 0)]
        {
            assert_eq!(version(protocol), want, "{protocol}");
        }
    }
}
