//! Requests to `git-upload-pack` over smart HTTP.
//!
//! Where the answer ends with a pack, git writes it to the connection itself, which ends with it (RFC 9112, section 6.3).
//! Measured: passing each byte through the server costs a quarter more CPU time. All other answers are short, and leave
//! the connection open for the next request.

use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use core::net::IpAddr;
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::CONTENT_ENCODING;
use hyper::{Request, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::bytes::BytesMut;
use tokio_util::io::poll_read_buf;

use super::answers::{self, Answer, PIECE, failed, plain, with_type};
use super::server::{Limits, Order, Server};
use super::socket;
use crate::adapters::git::enter_repo::Repository;
use crate::adapters::os;
use crate::adapters::process;
use crate::usecases::serving::request::{decoded, refusal, starts_as_ours, version};
use crate::usecases::serving::served::Served;
use crate::usecases::serving::stock;
use crate::wire::Pkt;
use crate::wire::pkt::encoded;

/// How long the rest of a refused request is read.
const DISCARD: Duration = Duration::from_secs(5);

const RESULT: &str = "application/x-git-upload-pack-result";

/// What comes of a request.
pub enum Reply {
    /// An answer that the HTTP stack sends.
    Answer(Answer),
    /// One that git sends, over the connection.
    Transfer(Transfer),
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Reply::Answer(answer)
    }
}

/// A pack to be sent, which ends the connection.
pub struct Transfer {
    command: Command,
    body: Bytes,
    turn: OwnedSemaphorePermit,
}

impl Transfer {
    /// Sends the head of the answer, and has git send the rest.
    pub async fn run(self, server: &Server, mut stream: TcpStream) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nDate: {}\r\n", now()).into_bytes();
        for (name, value) in with_type(StatusCode::OK, RESULT, Bytes::new()).headers() {
            head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        head.extend(b"\r\n");
        stream.write_all(&head).await?;
        let ended = socket::serve(server, self.command, Some(self.body), stream).await;
        drop(self.turn);
        ended.map(drop)
    }
}

/// Returns the time as a `Date` header has it.
fn now() -> String {
    gix::date::Time::now_utc().format_or_unix(gix::date::time::CustomFormat::new("%a, %d %b %Y %H:%M:%S GMT"))
}

/// Returns stock `git upload-pack` for a repository.
pub fn stock(order: &Order, repository: &Path, protocol: &str, args: &[&str]) -> std::process::Command {
    let mut command = stock::upload_pack(repository, true, Some(order.limits.idle.as_secs().max(1)), args);
    command.env_remove("GIT_PROTOCOL");
    if !protocol.is_empty() {
        command.env("GIT_PROTOCOL", protocol);
    }
    command
}

/// Answers a request to `git-upload-pack`.
pub async fn answer(
    server: &Arc<Server>,
    repository: Repository,
    protocol: String,
    client: Option<IpAddr>,
    request: Request<Incoming>,
) -> Reply {
    let limits = &server.order.limits;
    let encoding = request.headers().get(CONTENT_ENCODING).map(|value| value.as_bytes().to_vec());
    let gzip = match encoding.as_deref() {
        None | Some(b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported content encoding\n").into(),
    };
    let declared = hyper::body::Body::size_hint(request.body()).exact().unwrap_or(limits.request as u64);
    if declared > limits.request as u64 {
        discard(request.into_body());
        return too_large().into();
    }
    // Room for the body, as it comes and unpacked, is taken before it is read.
    let room = u32::try_from(declared.max(1).div_ceil(1024) * (1 + u64::from(gzip))).unwrap_or(u32::MAX);
    let Ok(_room) = server.bodies.acquire_many(room).await else { return failed().into() };
    let body = match collected(request.into_body(), limits).await {
        Ok(body) => body,
        Err(answer) => return answer.into(),
    };
    let Ok(turn) = Arc::clone(&server.transfers).acquire_owned().await else { return failed().into() };
    if version(&protocol) >= 2 && starts_as_ours(&body, gzip) == Some(true) {
        let (shared, protocol, body) = (Arc::clone(server), protocol.clone(), body.clone());
        let dir = repository.dir.clone();
        let answered = tokio::task::spawn_blocking(move || {
            let request = decoded(&body, gzip)?;
            let run = |packets: &[Pkt]| {
                process::output(&mut stock(&shared.order, &dir, &protocol, &["--stateless-rpc"]), &encoded(packets))
            };
            match Served::open(&dir, &shared.order.site).answer(&request, client, run) {
                Ok(answer) => answer,
                Err(err) => {
                    shared.order.site.note(&err);
                    Some(encoded(&[refusal(&err)]))
                }
            }
        });
        match answered.await {
            Ok(Some(answer)) => {
                server.metrics.listed();
                return with_type(StatusCode::OK, RESULT, answer.into()).into();
            }
            Ok(None) => {}
            Err(_) => return failed().into(),
        }
    }
    let body = match unpacked(body, gzip, limits.request).await {
        Some(body) => body,
        None => return too_large().into(),
    };
    let command = Command::from(stock(&server.order, &repository.dir, &protocol, &["--stateless-rpc"]));
    if asks_for_a_pack(&body) {
        return Reply::Transfer(Transfer { command, body, turn });
    }
    match Sending::start(server, command, body, turn) {
        Ok(sending) => answers::answer(StatusCode::OK, RESULT, sending.boxed()).into(),
        Err(err) => {
            (server.log)(&format!("cannot run git upload-pack: {err}"));
            failed().into()
        }
    }
}

/// Returns whether the answer to a request ends with a pack: with `done`, the client has said all that it will.
fn asks_for_a_pack(body: &[u8]) -> bool {
    let body = body.strip_suffix(b"0000").unwrap_or(body);
    body.ends_with(b"0009done\n") || body.ends_with(b"0008done")
}

/// Reads a body; the limit on silence is for each piece of it.
async fn collected(mut body: Incoming, limits: &Limits) -> Result<Bytes, Answer> {
    let mut all = Vec::new();
    loop {
        match tokio::time::timeout(limits.idle, body.frame()).await {
            Err(_) => return Err(plain(StatusCode::REQUEST_TIMEOUT, "the request took too long\n")),
            Ok(Some(Err(_))) => return Err(plain(StatusCode::BAD_REQUEST, "the request broke off\n")),
            Ok(None) => return Ok(all.into()),
            Ok(Some(Ok(frame))) => all.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
        }
        if all.len() > limits.request {
            discard(body);
            return Err(too_large());
        }
    }
}

/// Reads the rest of a body that is refused: a client that is still sending when the connection ends does not see the
/// answer.
fn discard(mut body: Incoming) {
    let rest = async move { while let Some(Ok(_)) = body.frame().await {} };
    tokio::spawn(tokio::time::timeout(DISCARD, rest));
}

fn too_large() -> Answer {
    plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is damaged or too large\n")
}

/// Returns the body as git reads it; `None` where it is damaged or too large.
async fn unpacked(body: Bytes, gzip: bool, limit: usize) -> Option<Bytes> {
    if !gzip {
        return Some(body);
    }
    let unpack = move || {
        use std::io::Read;
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(body.as_ref()).take(limit as u64 + 1).read_to_end(&mut plain).ok()?;
        (plain.len() <= limit).then(|| Bytes::from(plain))
    };
    tokio::task::spawn_blocking(unpack).await.ok().flatten()
}

/// The output of a child as the body of an answer. Dropping it ends the child.
struct Sending {
    stdout: ChildStdout,
    piece: BytesMut,
    /// Whether all of the output has been passed on.
    complete: bool,
    /// The child, and its turn.
    process: Option<(Child, OwnedSemaphorePermit)>,
    server: Arc<Server>,
}

impl Sending {
    fn start(
        server: &Arc<Server>,
        mut command: Command,
        body: Bytes,
        turn: OwnedSemaphorePermit,
    ) -> std::io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        };
        tokio::spawn(socket::feed(stdin, body));
        server.metrics.began();
        let process = Some((child, turn));
        Ok(Sending { stdout, piece: BytesMut::new(), complete: false, process, server: Arc::clone(server) })
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let this = &mut *self;
        this.piece.reserve(PIECE);
        let got = ready!(poll_read_buf(Pin::new(&mut this.stdout), cx, &mut this.piece))?;
        let piece = this.piece.split().freeze();
        this.complete = got == 0;
        Poll::Ready((got > 0).then(|| Ok(Frame::data(piece))))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let Some((mut child, turn)) = self.process.take() else { return };
        // SIGTERM and not SIGKILL: git upload-pack then ends its own children, too.
        if let Some(pid) = child.id().filter(|_| !self.complete) {
            os::terminate(pid);
        }
        let server = Arc::clone(&self.server);
        let ended = async move {
            let _ = child.wait().await;
            server.metrics.ended();
            drop(turn);
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_last_request() {
        let head = "0012command=fetch\n0001";
        for (tail, want) in [("0009done\n0000", true), ("0008done0000", true), ("0009done\n", true), ("0000", false)] {
            assert_eq!(asks_for_a_pack(format!("{head}{tail}").as_bytes()), want, "{tail}");
        }
        assert!(!asks_for_a_pack(b""));
    }

    #[test]
    fn dates_answers() {
        let date = hyper::header::HeaderValue::from_str(&now()).expect("a header");
        assert_eq!(date.len(), "Sun, 06 Nov 1994 08:49:37 GMT".len());
    }
}
