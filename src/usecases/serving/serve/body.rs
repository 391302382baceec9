//! Reading requests: each piece, and the whole, has its time; what has come is in the room that all requests share.

use std::io::Read;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};

use super::child::Input;
use super::pool::{Client, Hold};
use super::server::Server;

/// How long a request may take, whatever its size; less where a client may be silent for less.
const TIME: Duration = Duration::from_secs(30);
/// Bytes a second that it has to come at beyond that.
const RATE: u64 = 32 << 10;
/// How long the rest of a refused request is read.
const DISCARD: Duration = Duration::from_secs(5);
/// Bytes that are unpacked at once.
const PIECE: usize = 256 << 10;

/// Why a request is not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is damaged, or the client has gone.
    BrokeOff,
    /// It has more bytes than are taken.
    TooLarge,
    /// It takes too long.
    TooSlow,
}

/// A request as it comes.
pub struct Coming {
    bytes: Vec<u8>,
    room: Hold,
    counted: usize,
    began: Instant,
    limit: usize,
    idle: Duration,
}

impl Coming {
    /// Returns a request of which nothing has come.
    pub async fn new(server: &Server, client: &Client) -> Self {
        let limits = &server.order.limits;
        let room = server.bodies.take(client, 0).await;
        room.silent();
        let (began, idle) = (Instant::now(), limits.idle);
        Coming { bytes: Vec::new(), room, counted: 0, began, limit: limits.request, idle }
    }

    /// Returns what `next` gives, if that comes in time.
    ///
    /// # Errors
    /// [`Refused::TooSlow`] otherwise.
    pub async fn in_time<T>(&self, next: impl Future<Output = T>) -> Result<T, Refused> {
        let whole = TIME.min(self.idle.saturating_mul(4)) + Duration::from_secs(self.bytes.len() as u64 / RATE);
        let left = whole.saturating_sub(self.began.elapsed()).min(self.idle);
        tokio::time::timeout(left, next).await.map_err(|_| Refused::TooSlow)
    }

    /// Takes what has come.
    ///
    /// # Errors
    /// [`Refused::TooLarge`].
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(Refused::TooLarge);
        }
        self.bytes.reserve(bytes.len());
        // What is reserved counts: it is at most twice what has come.
        if let Some(more) = self.bytes.capacity().checked_sub(self.counted).filter(|more| *more > 0) {
            self.room.grow(more as u64).await;
            self.counted += more;
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the request, which is whole.
    pub fn done(self) -> Input {
        self.room.heard();
        Input { bytes: self.bytes.into(), room: Some(self.room) }
    }
}

/// Reads the body of a request over HTTP, and unpacks it.
///
/// # Errors
/// Why it is refused.
pub async fn read(server: &Server, client: &Client, mut body: Incoming, gzip: bool) -> Result<Input, Refused> {
    let mut coming = Coming::new(server, client).await;
    loop {
        match coming.in_time(body.frame()).await? {
            Some(Err(_)) => return Err(Refused::BrokeOff),
            None => break,
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                if let Err(refused) = coming.push(&data).await {
                    discard(body);
                    return Err(refused);
                }
            }
        }
    }
    let packed = coming.done();
    if gzip { unpacked(server, client, packed.bytes).await } else { Ok(packed) }
}

async fn unpacked(server: &Server, client: &Client, packed: Bytes) -> Result<Input, Refused> {
    use hyper::body::Buf;
    let mut plain = Coming::new(server, client).await;
    plain.room.heard(); // it is not the client who is waited for
    let mut decoder = flate2::read::GzDecoder::new(packed.reader());
    loop {
        let unpack = move || {
            let mut piece = Vec::new();
            let read = (&mut decoder).take(PIECE as u64).read_to_end(&mut piece);
            (decoder, read.map(|_| piece))
        };
        let (rest, piece) = tokio::task::spawn_blocking(unpack).await.map_err(|_| Refused::BrokeOff)?;
        let piece = piece.map_err(|_| Refused::BrokeOff)?;
        if piece.is_empty() {
            return Ok(plain.done());
        }
        plain.push(&piece).await?;
        decoder = rest;
    }
}

/// Reads the rest of a body that is refused: a client that is still sending when the connection ends does not see the
/// answer.
pub fn discard(mut body: Incoming) {
    let rest = async move { while let Some(Ok(_)) = body.frame().await {} };
    tokio::spawn(tokio::time::timeout(DISCARD, rest));
}
