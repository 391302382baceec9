//! Packet lines (gitprotocol-common(5)): four hexadecimal digits of length, then the payload.

use gix::protocol::transport::packetline;

use crate::values::{Error, Kind, Result};

/// The longest packet, its length digits included.
pub const MAX: usize = 65520;
/// The length digits.
pub const HEADER: usize = 4;

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pkt {
    /// A payload, without the length digits.
    Data(Vec<u8>),
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: between the sections of a message.
    Delim,
    /// `0002`: the end of a response on a stateless connection.
    ResponseEnd,
}

/// What four length digits announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// A payload of that many bytes follows.
    Data(usize),
    /// `0000`.
    Flush,
    /// `0001`.
    Delim,
    /// `0002`.
    ResponseEnd,
}

impl Head {
    /// Reads four length digits.
    ///
    /// # Errors
    /// [`Kind::Protocol`] where they are none, or announce more than [`MAX`].
    pub fn parse(digits: [u8; HEADER]) -> Result<Self> {
        use packetline::{PacketLineRef, decode::PacketLineOrWantedSize};
        match packetline::decode::hex_prefix(&digits) {
            Ok(PacketLineOrWantedSize::Wanted(len)) if usize::from(len) <= MAX - HEADER => {
                Ok(Head::Data(usize::from(len)))
            }
            Ok(PacketLineOrWantedSize::Line(PacketLineRef::Flush)) => Ok(Head::Flush),
            Ok(PacketLineOrWantedSize::Line(PacketLineRef::Delimiter)) => Ok(Head::Delim),
            Ok(PacketLineOrWantedSize::Line(PacketLineRef::ResponseEnd)) => Ok(Head::ResponseEnd),
            Ok(PacketLineOrWantedSize::Line(PacketLineRef::Data(_))) => Ok(Head::Data(0)),
            Err(_) if digits == *b"0004" => Ok(Head::Data(0)),
            _ => Err(Error::new(
                Kind::Protocol,
                format!("bad line length character: {}", String::from_utf8_lossy(&digits).escape_debug()),
            )),
        }
    }
}

impl Pkt {
    /// Returns a packet with `line` and a line feed.
    pub fn line(line: &str) -> Self {
        Pkt::Data(format!("{line}\n").into_bytes())
    }

    /// Returns the packet by which a server refuses; git's client shows `text`, of which the first 1,000 bytes go out.
    pub fn err(text: &str) -> Self {
        Pkt::line(&format!("ERR {}", &text[..text.floor_char_boundary(1000)]))
    }

    /// Returns the payload without its line feed; nothing for the special packets.
    pub fn text(&self) -> &[u8] {
        match self {
            Pkt::Data(data) => data.strip_suffix(b"\n").unwrap_or(data),
            _ => b"",
        }
    }

    /// Appends the packet to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Pkt::Data(data) => {
                debug_assert!(data.len() + HEADER <= MAX);
                out.extend_from_slice(format!("{:04x}", data.len() + HEADER).as_bytes());
                out.extend_from_slice(data);
            }
            Pkt::Flush => out.extend_from_slice(b"0000"),
            Pkt::Delim => out.extend_from_slice(b"0001"),
            Pkt::ResponseEnd => out.extend_from_slice(b"0002"),
        }
    }
}

/// Returns `packets` as they go over the wire.
pub fn encoded(packets: &[Pkt]) -> Vec<u8> {
    let mut bytes = Vec::new();
    packets.iter().for_each(|pkt| pkt.encode(&mut bytes));
    bytes
}

/// Returns the end of the packet at `at`, and its payload (none for a special one).
pub fn packet(bytes: &[u8], at: usize) -> Option<(usize, &[u8])> {
    let digits = bytes.get(at..at + HEADER)?.try_into().ok()?;
    match Head::parse(digits).ok()? {
        Head::Data(len) => Some((at + HEADER + len, bytes.get(at + HEADER..at + HEADER + len)?)),
        _ => Some((at + HEADER, b"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(Head::parse(*b"0000").ok(), Some(Head::Flush));
        assert_eq!(Head::parse(*b"0001").ok(), Some(Head::Delim));
        assert_eq!(Head::parse(*b"0002").ok(), Some(Head::ResponseEnd));
        assert_eq!(Head::parse(*b"0004").ok(), Some(Head::Data(0)));
        assert_eq!(Head::parse(*b"000a").ok(), Some(Head::Data(6)));
        assert_eq!(Head::parse(*b"fff0").ok(), Some(Head::Data(MAX - HEADER)));
        for bad in [b"0003", b"ffff", b"HTTP", b"\0\0\0\0", b" 00a", b"-001"] {
            assert!(Head::parse(*bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn encodes() {
        let mut out = Vec::new();
        Pkt::line("want").encode(&mut out);
        Pkt::Flush.encode(&mut out);
        assert_eq!(out, b"0009want\n0000");
    }
}
