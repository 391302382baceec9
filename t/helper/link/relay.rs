//! One connection over the link.
//!
//! Each direction is a thread that reads, notes when each chunk arrives at the far end, and a thread that writes it
//! then. So the delay holds for each byte, and any number of them are under way at once.
//!
//! On loopback the kernel's handshake takes no time, so the one round trip that it would take is added behind it: the
//! client's first bytes leave one RTT after it connected, and the server sees the connection half an RTT later. What a
//! client measures as its connect time is therefore about nothing; its first answer comes after two RTT, as it would.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::line::{self, Line};
use crate::options::{Fault, Options};
use crate::pipe::Pipe;

/// The two directions that all connections share.
#[derive(Clone)]
pub struct Lines {
    /// To the server.
    pub up: Arc<Mutex<Line>>,
    /// To the client.
    pub down: Arc<Mutex<Line>>,
}

/// Relays one connection until both sides have ended it.
pub fn relay(client: &TcpStream, options: &Options, lines: &Lines) -> std::io::Result<()> {
    let opened = Instant::now();
    let window = line::window(options.rate, options.rtt / 2 + options.jitter);
    let up = Arc::new(Pipe::new(window));
    let down = Arc::new(Pipe::new(window));
    client.set_nodelay(true)?;
    sleep_until(opened + options.rtt);
    let reader = Reader { line: lines.up.clone(), pipe: up.clone(), options: options.clone(), fault: None };
    let from_client = client.try_clone()?;
    thread::spawn(move || reader.run(from_client));
    sleep_until(opened + options.rtt * 3 / 2);
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, options.to)).inspect_err(|_| {
        up.burst();
        client.shutdown(Shutdown::Both).ok();
    })?;
    server.set_nodelay(true)?;
    let reader =
        Reader { line: lines.down.clone(), pipe: down.clone(), options: options.clone(), fault: options.fault };
    let from_server = server.try_clone()?;
    thread::spawn(move || reader.run(from_server));

    let (cut, hangs) = (matches!(options.fault, Some(Fault::Cut(_))), matches!(options.fault, Some(Fault::Hang(_))));
    let (received, sent) = thread::scope(|scope| {
        let to_client = scope.spawn(|| {
            let sent = write(&down, client);
            if sent.is_err() || cut {
                // The client is gone, or is to think so: nobody wants the rest.
                server.shutdown(Shutdown::Both).ok();
                down.burst();
                client.shutdown(Shutdown::Both).ok();
            }
            count(sent)
        });
        let received = count(write(&up, &server));
        if hangs {
            down.burst();
        }
        (received, to_client.join().unwrap_or_default())
    });
    up.burst();
    server.shutdown(Shutdown::Both).ok();
    client.shutdown(Shutdown::Both).ok();
    match &options.count {
        None => Ok(()),
        Some(file) => {
            let line = format!("{received} {sent}\n");
            OpenOptions::new().append(true).create(true).open(file)?.write_all(line.as_bytes())
        }
    }
}

/// Waits until then.
fn sleep_until(then: Instant) {
    thread::sleep(then.saturating_duration_since(Instant::now()));
}

/// What came through, whether or not it ended well.
fn count(written: Result<u64, u64>) -> u64 {
    written.unwrap_or_else(|bytes| bytes)
}

/// Writes each chunk when it arrives, and closes this direction after the last one. Both ways it says how many bytes.
fn write(pipe: &Pipe, mut to: &TcpStream) -> Result<u64, u64> {
    let mut written = 0;
    while let Some((arrives, data)) = pipe.next() {
        sleep_until(arrives);
        if data.is_empty() {
            to.shutdown(Shutdown::Write).ok();
            return Ok(written);
        }
        if to.write_all(&data).is_err() {
            pipe.burst();
            return Err(written);
        }
        written += data.len() as u64;
        pipe.done(data.len());
    }
    Err(written)
}

/// The end at which one direction begins.
struct Reader {
    line: Arc<Mutex<Line>>,
    pipe: Arc<Pipe>,
    options: Options,
    fault: Option<Fault>,
}

impl Reader {
    fn run(self, mut from: TcpStream) {
        let options = &self.options;
        let mut buffer = vec![0; line::chunk(options.rate)];
        let mut seen = 0;
        let mut latest = Instant::now();
        let mut drip = Line::new(latest);
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        loop {
            let (limit, dripping) = self.limit(seen, buffer.len());
            match self.fault {
                Some(Fault::Hang(n)) if seen == n => return,
                Some(Fault::Cut(n)) if seen == n => {
                    self.pipe.push(latest, Vec::new());
                    return;
                }
                _ => {}
            }
            let room = self.line.lock().unwrap_or_else(PoisonError::into_inner).room_at();
            sleep_until(room.max(drip.room_at()));
            let n = from.read(&mut buffer[..limit]).unwrap_or(0);
            if let Some(Fault::Flip(at)) = self.fault
                && (seen..seen + n as u64).contains(&at)
            {
                buffer[usize::try_from(at - seen).unwrap_or_default()] ^= 1;
            }
            seen += n as u64;
            let mut left =
                self.line.lock().unwrap_or_else(PoisonError::into_inner).send(Instant::now(), n, options.rate);
            if let Some(rate) = dripping {
                left = drip.send(left, n, Some(rate * 8));
            }
            latest = latest.max(left + options.rtt / 2 + jitter(&mut random, options.jitter));
            if !self.pipe.push(latest, buffer[..n].to_vec()) || n == 0 {
                return;
            }
        }
    }

    /// Returns how much may be read at once after so many bytes, and the bytes a second if it drips.
    fn limit(&self, seen: u64, most: usize) -> (usize, Option<u64>) {
        let until = |n: u64| usize::try_from(n - seen).unwrap_or(most).min(most);
        match self.fault {
            Some(Fault::Hang(n) | Fault::Cut(n)) => (until(n), None),
            Some(Fault::Drip(n, _)) if seen < n => (until(n), None),
            Some(Fault::Drip(_, rate)) => (usize::try_from(rate / 10).unwrap_or(most).clamp(1, most), Some(rate)),
            _ => (most, None),
        }
    }
}

/// Returns a delay below `most`, the same ones in each connection.
fn jitter(state: &mut u64, most: Duration) -> Duration {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    most.mul_f64((*state >> 11) as f64 / (1_u64 << 53) as f64)
}
