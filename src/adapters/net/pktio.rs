//! Packets over readers and writers.

use std::io::{BufReader, Read, Write};

use crate::values::{Error, Kind, Result};
use crate::wire::Pkt;
use crate::wire::pkt::{HEADER, Head};

/// Reads packets, and counts their bytes.
pub struct PktReader<R> {
    inner: BufReader<R>,
    who: String,
    /// Bytes of all packets read so far, length digits included.
    pub bytes: u64,
}

impl<R: Read> PktReader<R> {
    /// Returns a reader; `who` is named in errors.
    pub fn new(inner: R, who: impl Into<String>) -> Self {
        PktReader { inner: BufReader::with_capacity(128 * 1024, inner), who: who.into(), bytes: 0 }
    }

    /// Returns the next packet; `None` where the stream ends before one.
    ///
    /// # Errors
    /// [`Kind::Channel`] where the stream fails or ends within a packet; [`Kind::Protocol`] for a bad length.
    pub fn read(&mut self) -> Result<Option<Pkt>> {
        let mut digits = [0; HEADER];
        let mut got = 0;
        while got < HEADER {
            match self.inner.read(&mut digits[got..]) {
                Ok(0) if got == 0 => return Ok(None),
                Ok(0) => return Err(self.ended()),
                Ok(n) => got += n,
                Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
                Err(err) => return Err(self.failed(err)),
            }
        }
        self.bytes += HEADER as u64;
        Ok(Some(match Head::parse(digits)? {
            Head::Flush => Pkt::Flush,
            Head::Delim => Pkt::Delim,
            Head::ResponseEnd => Pkt::ResponseEnd,
            Head::Data(len) => {
                let mut data = vec![0; len];
                self.inner.read_exact(&mut data).map_err(|err| match err.kind() {
                    std::io::ErrorKind::UnexpectedEof => self.ended(),
                    _ => self.failed(err),
                })?;
                self.bytes += len as u64;
                Pkt::Data(data)
            }
        }))
    }

    /// Returns a line of text without its line feed; `None` at the end. For the helper protocol that comes before
    /// the packets on the same stream.
    ///
    /// # Errors
    /// [`Kind::Channel`] where the stream fails; [`Kind::Protocol`] for a line of more than 1 MiB.
    pub fn read_line(&mut self) -> Result<Option<String>> {
        use std::io::BufRead;
        let mut line = Vec::new();
        (&mut self.inner).take(1 << 20).read_until(b'\n', &mut line).map_err(|err| self.failed(err))?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            return Err(self.ended());
        }
        Ok(Some(String::from_utf8_lossy(&line).into_owned()))
    }

    /// Returns whether the next read would have to wait for the other side.
    pub fn is_drained(&self) -> bool {
        self.inner.buffer().is_empty()
    }

    /// Returns the buffered reader, for copying bytes as they are.
    pub fn raw(&mut self) -> &mut BufReader<R> {
        &mut self.inner
    }

    /// Returns the stream itself; what is buffered is lost.
    pub fn into_inner(self) -> R {
        self.inner.into_inner()
    }

    fn ended(&self) -> Error {
        Error::new(Kind::Channel, format!("{}: the connection ended within a message", self.who))
    }

    fn failed(&self, err: std::io::Error) -> Error {
        Error::new(Kind::Channel, format!("{}: cannot read: {err}", self.who))
    }
}

/// Writes `packets` in one go.
///
/// # Errors
/// [`Kind::Channel`], naming `who`.
pub fn write<'a>(to: &mut dyn Write, packets: impl IntoIterator<Item = &'a Pkt>, who: &str) -> Result<()> {
    let mut bytes = Vec::new();
    packets.into_iter().for_each(|pkt| pkt.encode(&mut bytes));
    write_bytes(to, &bytes, who)
}

/// Writes `bytes` in one go.
///
/// # Errors
/// [`Kind::Channel`], naming `who`.
pub fn write_bytes(to: &mut dyn Write, bytes: &[u8], who: &str) -> Result<()> {
    to.write_all(bytes).and_then(|()| to.flush()).map_err(Error::doing(Kind::Channel, format!("{who}: cannot write")))
}

/// Copies bytes as they come until the reader ends; writes out whenever the reader has nothing ready.
///
/// # Errors
/// Those of the reader or the writer.
pub fn copy(from: &mut impl Read, to: &mut dyn Write) -> std::io::Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(n) => {
                to.write_all(&buffer[..n])?;
                to.flush()?;
                total += n as u64;
            }
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
}

/// The answers of `git remote-https` on a `stateless-connect` connection, as packets that `connect` would give.
///
/// Each answer but the first, the advertisement, ends in a response-end packet (`0002`) behind its flush. That is left
/// out, and the flush is held back until it has come: an answer without it was cut off by the server (git checks the
/// same in `check_stateless_delimiter`), and the stream ends without the flush.
pub struct Stateless<R> {
    inner: BufReader<R>,
    /// Whether the helper still has to say whether it could connect.
    greeting: bool,
    /// Whether flushes end answers: not so in what `git-upload-archive` sends.
    held: bool,
    answers: u64,
    left: usize,
    head: Vec<u8>,
    ended: bool,
}

impl<R: Read> Stateless<R> {
    /// Wraps a reader that is at the start of a packet, or with `greeting` at that of the line that answers
    /// `stateless-connect`. `held` tells whether flushes end answers.
    pub fn new(inner: BufReader<R>, greeting: bool, held: bool) -> Self {
        Stateless { inner, greeting, held, answers: 0, left: 0, head: Vec::new(), ended: false }
    }

    /// Reads four digits; `None` at the end of the stream.
    fn digits(&mut self) -> std::io::Result<Option<[u8; HEADER]>> {
        let mut digits = [0; HEADER];
        let mut got = 0;
        while got < HEADER {
            match self.inner.read(&mut digits[got..])? {
                0 if got == 0 => return Ok(None),
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                n => got += n,
            }
        }
        Ok(Some(digits))
    }

    fn greet(&mut self) -> std::io::Result<()> {
        use std::io::BufRead;
        let mut line = Vec::new();
        (&mut self.inner).take(1024).read_until(b'\n', &mut line)?;
        self.greeting = false;
        match line.as_slice() {
            b"\n" => Ok(()),
            b"fallback\n" => Err(std::io::Error::other("it does not speak protocol v2")),
            b"" => Err(std::io::Error::other("it cannot be reached")),
            _ => Err(std::io::Error::other("git remote-https said something unknown")),
        }
    }

    /// Reads the next packet's head; leaves both `head` and `left` empty at the end of the stream.
    fn next(&mut self) -> std::io::Result<()> {
        while !self.ended && self.left == 0 && self.head.is_empty() {
            let Some(digits) = self.digits()? else {
                self.ended = true;
                break;
            };
            match Head::parse(digits).map_err(std::io::Error::other)? {
                Head::Data(len) => (self.left, self.head) = (len, digits.to_vec()),
                Head::Delim => self.head = digits.to_vec(),
                Head::ResponseEnd => self.ended = self.held,
                Head::Flush => {
                    let whole = !self.held || self.answers == 0 || self.digits()? == Some(*b"0002");
                    self.answers += 1;
                    if whole {
                        self.head = digits.to_vec();
                    }
                    self.ended = !whole;
                }
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Stateless<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.greeting {
            self.greet()?;
        }
        self.next()?;
        // A packet's head goes out together with what is buffered of the packet.
        let n = self.head.len().min(out.len());
        out[..n].copy_from_slice(&self.head[..n]);
        self.head.drain(..n);
        let mut done = n;
        if self.head.is_empty() && self.left > 0 && done < out.len() && (done == 0 || !self.inner.buffer().is_empty()) {
            let most = self.left.min(out.len() - done);
            let n = self.inner.read(&mut out[done..done + most])?;
            if n == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            self.left -= n;
            done += n;
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_packets_and_notices_a_cut() {
        let mut reader = PktReader::new(&b"hello\n0009want\n0000000"[..], "h");
        assert_eq!(reader.read_line().expect("a line").as_deref(), Some("hello"));
        assert_eq!(reader.read().expect("data"), Some(Pkt::line("want")));
        assert_eq!(reader.read().expect("flush"), Some(Pkt::Flush));
        assert_eq!(reader.bytes, 13);
        assert_eq!(reader.read().expect_err("cut").kind, Kind::Channel);
        assert_eq!(PktReader::new(&b""[..], "h").read().expect("nothing"), None);
        assert_eq!(PktReader::new(&b"0009wa"[..], "h").read().expect_err("cut").kind, Kind::Channel);
    }

    fn stateless(input: &[u8], size: usize, greeting: bool, held: bool) -> std::io::Result<Vec<u8>> {
        let mut all = Vec::new();
        Stateless::new(BufReader::with_capacity(size, input), greeting, held).read_to_end(&mut all).map(|_| all)
    }

    #[test]
    fn passes_whole_answers() {
        let advertisement = b"000eversion 2\n0000".as_slice();
        for (answer, passed) in [
            (b"0009want\n00000002".as_slice(), b"0009want\n0000".as_slice()),
            (b"0009want\n000100000002", b"0009want\n00010000"),
            (b"0009want\n0002", b"0009want\n"), // broken off before the flush
            (b"0000", b""),                     // broken off within it: `00`, then `0002`
            (b"00000003", b""),
        ] {
            for size in [1, 3, 100] {
                let got = stateless(&[advertisement, answer].concat(), size, false, true).expect("well formed");
                assert_eq!(got, [advertisement, passed].concat(), "{size} {answer:?}");
            }
        }
        assert_eq!(stateless(b"0007ACK00000005x00020000", 9, false, false).expect("an archive").len(), 20);
        assert!(stateless(b"0009wa", 9, false, true).is_err());
    }

    #[test]
    fn greets() {
        assert_eq!(stateless(b"\n0000", 9, true, true).expect("a greeting"), b"0000");
        for bad in [b"fallback\n".as_slice(), b"", b"no\n"] {
            assert!(stateless(bad, 9, true, true).is_err());
        }
    }
}
