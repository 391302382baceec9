//! Smart HTTP (gitprotocol-http(5)), read-only.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use core::net::IpAddr;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;
use tokio_util::bytes::BytesMut;
use tokio_util::io::poll_read_buf;

use super::idle::Idle;
use super::metrics::Metrics;
use super::{Limits, Order, Server};
use crate::adapters::enter_repo::{self, Repository};
use crate::adapters::{os, process};
use crate::usecases::http_backend::{client_address, decoded, starts_as_ours};
use crate::usecases::served::Served;
use crate::usecases::upload_pack::version;
use crate::wire::Pkt;

/// Bytes that are passed on at once: what a pipe holds.
const PIECE: usize = 64 * 1024;
/// How long a client may take to send the head of a request, also the next one on an open connection; less where it may
/// be silent for less.
const HEAD: Duration = Duration::from_secs(30);

/// How long the rest of a refused request is read.
const DISCARD: Duration = Duration::from_secs(5);

type Answer = Response<BoxBody<Bytes, std::io::Error>>;

/// Serves one connection, until it ends or the server stops.
pub async fn connection(server: &Arc<Server>, stream: TcpStream, peer: SocketAddr, mut stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(Idle::new(stream, server.order.limits.idle));
    let service = hyper::service::service_fn(|request| {
        let server = Arc::clone(server);
        async move { Ok::<_, Infallible>(handle(&server, request, peer).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    let patience = HEAD.min(server.order.limits.idle);
    builder.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(PIECE);
    let connection = builder.serve_connection(stream, service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(err) = ended {
        tracing::debug!(%peer, %err, "a connection ended");
    }
}

/// What a request is about, for the access log.
struct Line {
    text: String,
    began: Instant,
}

async fn handle(server: &Arc<Server>, request: Request<Incoming>, peer: SocketAddr) -> Answer {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let client = client_address(Some(peer.ip()), &header("x-forwarded-for"), &server.order.trusted_proxies);
    let agent: String = header("user-agent").chars().take(100).collect();
    let uri = request.uri().path_and_query().map_or("", |path| path.as_str());
    let address = client.unwrap_or(peer.ip());
    let line = Line {
        text: format!("{address} \"{} {uri}\" \"{}\"", request.method(), agent.escape_debug()),
        began: Instant::now(),
    };
    let answer = route(server, request, client).await;
    let status = answer.status();
    server.metrics.answered(status.as_u16());
    let server = Arc::clone(server);
    answer.map(|body| Logged { body, server, line, status, bytes: 0 }.boxed())
}

async fn route(server: &Arc<Server>, request: Request<Incoming>, client: Option<IpAddr>) -> Answer {
    let path = request.uri().path().to_owned();
    let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
    match path.as_str() {
        "/-/health" if is_get => return plain(StatusCode::OK, "ok\n"),
        "/-/metrics" if is_get => {
            return with_type(StatusCode::OK, "text/plain; version=0.0.4", server.metrics.text().into());
        }
        _ => {}
    }
    let query = request.uri().query().unwrap_or_default();
    let service = query.split('&').find_map(|part| part.strip_prefix("service="));
    let (name, rpc) = match (path.strip_suffix("/info/refs"), path.strip_suffix("/git-upload-pack")) {
        (Some(name), _) if is_get && service == Some("git-upload-pack") => (name, false),
        (Some(_), _) if is_get => {
            return plain(StatusCode::FORBIDDEN, "only git-upload-pack over smart HTTP is served here\n");
        }
        (_, Some(name)) if request.method() == Method::POST => (name, true),
        (Some(_), _) | (_, Some(_)) => return plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n"),
        _ if path.ends_with("/git-receive-pack") => return plain(StatusCode::FORBIDDEN, "this server is read-only\n"),
        _ => return plain(StatusCode::NOT_FOUND, "not found\n"),
    };
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned();
    let Some(repository) = enter_repo::find(&server.order.root, &name, server.order.export_all) else {
        return plain(StatusCode::NOT_FOUND, "repository not found\n");
    };
    let protocol = protocol(request.headers());
    if !rpc {
        return advertise(server, repository, protocol, client).await;
    }
    let right_type = |value: &hyper::header::HeaderValue| value == "application/x-git-upload-pack-request";
    if !request.headers().get(CONTENT_TYPE).is_some_and(right_type) {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported media type\n");
    }
    upload_pack(server, repository, protocol, client, request).await
}

/// Returns the `Git-Protocol` header, where it holds what git sends and nothing else.
fn protocol(headers: &HeaderMap) -> String {
    let text = headers.get("git-protocol").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let harmless = text.len() < 256 && text.bytes().all(|b| b.is_ascii_graphic());
    if harmless { text.to_owned() } else { String::new() }
}

fn stock(order: &Order, repository: &Path, protocol: &str, args: &[&str]) -> std::process::Command {
    let mut command = process::git(["upload-pack", "--strict"]);
    command.args(args).arg(format!("--timeout={}", order.limits.idle.as_secs().max(1))).arg("--").arg(repository);
    command.env_remove("GIT_PROTOCOL");
    if !protocol.is_empty() {
        command.env("GIT_PROTOCOL", protocol);
    }
    command
}

async fn advertise(server: &Arc<Server>, repository: Repository, protocol: String, client: Option<IpAddr>) -> Answer {
    let Ok(_turn) = server.transfers.acquire().await else { return failed() };
    let shared = Arc::clone(server);
    let made = tokio::task::spawn_blocking(move || {
        let mut command = stock(&shared.order, &repository.dir, &protocol, &["--http-backend-info-refs"]);
        let advertisement = process::output(&mut command, b"")?;
        let mut body = Vec::new();
        if version(&protocol) < 2 {
            Pkt::line("# service=git-upload-pack").encode(&mut body);
            Pkt::Flush.encode(&mut body);
        }
        body.extend(Served::open(&repository.dir, &shared.order.site).advertise(&advertisement, client));
        crate::values::Result::Ok(body)
    });
    match made.await {
        Ok(Ok(body)) => with_type(StatusCode::OK, "application/x-git-upload-pack-advertisement", body.into()),
        Ok(Err(err)) => {
            (server.log)(&err.to_string());
            failed()
        }
        Err(_) => failed(),
    }
}

async fn upload_pack(
    server: &Arc<Server>,
    repository: Repository,
    protocol: String,
    client: Option<IpAddr>,
    request: Request<Incoming>,
) -> Answer {
    let limits = &server.order.limits;
    let encoding = request.headers().get(CONTENT_ENCODING).map(|value| value.as_bytes().to_vec());
    let gzip = match encoding.as_deref() {
        None | Some(b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported content encoding\n"),
    };
    let declared = hyper::body::Body::size_hint(request.body()).exact().unwrap_or(limits.request as u64);
    if declared > limits.request as u64 {
        discard(request.into_body());
        return too_large();
    }
    // Room for the body, as it comes and unpacked, is taken before it is read.
    let room = u32::try_from(declared.max(1).div_ceil(1024) * (1 + u64::from(gzip))).unwrap_or(u32::MAX);
    let Ok(_room) = server.bodies.acquire_many(room).await else { return failed() };
    let body = match collected(request.into_body(), limits).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let Ok(turn) = Arc::clone(&server.transfers).acquire_owned().await else { return failed() };
    if version(&protocol) >= 2 && starts_as_ours(&body, gzip) == Some(true) {
        let (shared, protocol, body) = (Arc::clone(server), protocol.clone(), body.clone());
        let dir = repository.dir.clone();
        let answered = tokio::task::spawn_blocking(move || {
            let request = decoded(&body, gzip)?;
            let run = |packets: &[Pkt]| {
                let mut input = Vec::new();
                packets.iter().for_each(|pkt| pkt.encode(&mut input));
                process::output(&mut stock(&shared.order, &dir, &protocol, &["--stateless-rpc"]), &input)
            };
            match Served::open(&dir, &shared.order.site).answer(&request, client, run) {
                Ok(answer) => answer,
                Err(err) => {
                    let mut refusal = Vec::new();
                    Pkt::line(&format!("ERR {err}")).encode(&mut refusal);
                    Some(refusal)
                }
            }
        });
        match answered.await {
            Ok(Some(answer)) => {
                server.metrics.listed();
                return with_type(StatusCode::OK, RESULT, answer.into());
            }
            Ok(None) => {}
            Err(_) => return failed(),
        }
    }
    let body = match unpacked(body, gzip, limits.request).await {
        Some(body) => body,
        None => return too_large(),
    };
    let mut command = Command::from(stock(&server.order, &repository.dir, &protocol, &["--stateless-rpc"]));
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(err) => {
            (server.log)(&format!("cannot run git upload-pack: {err}"));
            return failed();
        }
    };
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { return failed() };
    tokio::spawn(async move { stdin.write_all(&body).await }); // where the child ends early, it has said why
    server.metrics.began();
    let process = Some((child, turn));
    let sending = Sending { stdout, piece: BytesMut::new(), complete: false, process, server: Arc::clone(server) };
    answer(StatusCode::OK, RESULT, sending.boxed())
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

const RESULT: &str = "application/x-git-upload-pack-result";

/// The output of a child as the body of an answer. Dropping it ends the child.
struct Sending {
    stdout: ChildStdout,
    piece: BytesMut,
    /// Whether all of the output has been passed on.
    complete: bool,
    /// The child, and its turn.
    process: Option<(Child, tokio::sync::OwnedSemaphorePermit)>,
    server: Arc<Server>,
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

/// A body that is counted, and logged when it ends.
struct Logged {
    body: BoxBody<Bytes, std::io::Error>,
    server: Arc<Server>,
    line: Line,
    status: StatusCode,
    bytes: u64,
}

impl Logged {
    fn metrics(&self) -> &Metrics {
        &self.server.metrics
    }
}

impl Body for Logged {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.bytes += bytes;
            self.metrics().sent(bytes);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let Line { text, began } = &self.line;
        let (status, bytes) = (self.status.as_u16(), self.bytes);
        (self.server.log)(&format!("{text} {status} {bytes} {}ms", began.elapsed().as_millis()));
    }
}

fn answer(status: StatusCode, kind: &'static str, body: BoxBody<Bytes, std::io::Error>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let value = hyper::header::HeaderValue::from_static;
    headers.insert(CONTENT_TYPE, value(kind));
    // As git-http-backend(1) heads its answers.
    headers.insert(CACHE_CONTROL, value("no-cache, max-age=0, must-revalidate"));
    headers.insert(HeaderName::from_static("expires"), value("Fri, 01 Jan 1980 00:00:00 GMT"));
    headers.insert(HeaderName::from_static("pragma"), value("no-cache"));
    answer
}

fn with_type(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    answer(status, kind, Full::new(body).map_err(|never| match never {}).boxed())
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    with_type(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn too_large() -> Answer {
    plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is damaged or too large\n")
}

fn failed() -> Answer {
    plain(StatusCode::INTERNAL_SERVER_ERROR, "git failed; the server's log says why\n")
}
