//! Smart HTTP (gitprotocol-http(5)), read-only.
//!
//! Where an answer ends with a pack, the socket is taken from the HTTP stack, git's answer is moved there within the
//! kernel, and the connection ends with it (RFC 9112, section 6.3). Measured: passing each byte through the HTTP stack
//! costs a quarter more CPU time. All other answers leave the connection open for the next request.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::process::ChildStdout;
use tokio::sync::{mpsc, watch};
use tokio_util::bytes::BytesMut;
use tokio_util::io::poll_read_buf;
use tokio_util::sync::CancellationToken;

use super::answers::{self, Answer, PIECE, failed, plain, with_type};
use super::body::{self, Refused};
use super::child::Running;
use super::idle::Idle;
use super::metrics::Tally;
use super::page;
use super::pool::{Client, Hold, Mark};
use super::relay::{Out, part};
use super::rpc::{Asked, Outcome, asks_for_a_pack};
use super::server::Server;
use super::spool::{Made, off_loop};
use crate::adapters::git::enter_repo;
use crate::usecases::serving::request::{forwarded_client, version};
use crate::wire::Pkt;
use crate::wire::pkt::encoded;

/// How long a client may take to send the head of a request, also the next one on an open connection; less where it may
/// be silent for less.
const HEAD: Duration = Duration::from_secs(30);

const RESULT: &str = "application/x-git-upload-pack-result";
const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";

/// What comes of a request.
enum Reply {
    /// An answer that the HTTP stack sends.
    Answer(Answer),
    /// A pack, which ends the connection.
    Transfer(Running),
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Reply::Answer(answer)
    }
}

/// Serves one connection, until it ends or the server stops.
pub async fn connection(
    server: &Arc<Server>,
    stream: TcpStream,
    client: &Client,
    hold: &Hold,
    mut stopped: watch::Receiver<bool>,
) {
    let absurd = CancellationToken::new();
    let limits = &server.order.limits;
    let stream = TokioIo::new(Idle::new(stream, limits.idle, limits.request as u64, absurd.clone()));
    let absurd = &absurd;
    let (hand_over, mut handed_over) = mpsc::channel(1);
    hold.silent();
    let mark = hold.mark();
    let asked = AtomicBool::new(false);
    let asked = &asked;
    let service = hyper::service::service_fn(|request| {
        let (server, mark, hand_over) = (Arc::clone(server), mark.clone(), hand_over.clone());
        async move {
            hold.heard();
            // A second request on a connection is from who has read the answer to the first.
            client.proven.store(asked.swap(true, Relaxed), Relaxed);
            match handle(&server, request, client, absurd).await {
                (line, Reply::Answer(answer)) => {
                    Ok::<_, Infallible>(answer.map(|body| Logged { body, line, mark }.boxed()))
                }
                (line, Reply::Transfer(transfer)) => {
                    let _ = hand_over.send((line, transfer)).await;
                    pending().await
                }
            }
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    let patience = HEAD.min(limits.idle);
    builder.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(PIECE);
    let mut connection = builder.serve_connection(stream, service);
    let mut stopping = false;
    let (line, transfer) = loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(err) = ended {
                    tracing::debug!(peer = %client.ends.1, %err, "a connection ended");
                }
                return;
            }
            Some(work) = handed_over.recv() => break work,
            _ = stopped.changed(), if !stopping => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let stream = connection.into_parts().io.into_inner().into_inner();
    let sent = send(server, transfer, &stream, &line.tally).await;
    if let Err(err) = &sent {
        tracing::debug!(peer = %client.ends.1, %err, "a transfer ended");
    }
    drop(line);
    if sent.is_ok() {
        part(stream).await;
    }
}

/// Sends the head of an answer, and all that git writes.
async fn send(server: &Server, mut running: Running, stream: &TcpStream, tally: &Tally) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nDate: {}\r\n", now()).into_bytes();
    for (name, value) in with_type(StatusCode::OK, RESULT, Bytes::new()).headers() {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    let uncounted = super::metrics::Metrics::default().http();
    let limit = server.order.limits.idle;
    Out { stream, limit, tally: &uncounted }.send(&head, running.turn()).await?;
    if let Some(stdout) = running.stdout() {
        Out { stream, limit, tally }.pass_on(stdout, running.turn()).await?;
    }
    running.ending();
    running.wait().await.map(drop)
}

/// Returns the time as a `Date` header has it.
fn now() -> String {
    gix::date::Time::now_utc().format_or_unix(gix::date::time::CustomFormat::new("%a, %d %b %Y %H:%M:%S GMT"))
}

/// What a request is about, for the access log, which has it when it is over.
struct Line {
    text: String,
    status: StatusCode,
    began: Instant,
    tally: Tally,
    server: Arc<Server>,
}

impl Drop for Line {
    fn drop(&mut self) {
        let (status, bytes) = (self.status.as_u16(), self.tally.total());
        (self.server.log)(&format!("{} {status} {bytes} {}ms", self.text, self.began.elapsed().as_millis()));
    }
}

async fn handle(
    server: &Arc<Server>,
    request: Request<Incoming>,
    client: &Client,
    absurd: &CancellationToken,
) -> (Line, Reply) {
    let peer = client.ends.1.ip();
    let forwarded = all_of(request.headers(), "x-forwarded-for");
    let address = forwarded_client(Some(peer), &forwarded, &server.order.trusted_proxies).unwrap_or(peer);
    let client = Client { address, ..client.clone() };
    let agent: String = all_of(request.headers(), "user-agent").chars().take(100).collect();
    let uri = request.uri().path_and_query().map_or("", |path| path.as_str());
    let text = format!("{address} \"{} {uri}\" \"{}\"", request.method(), agent.escape_debug());
    let tally = server.metrics.http();
    let mut line = Line { text, status: StatusCode::OK, began: Instant::now(), tally, server: Arc::clone(server) };
    let reply = tokio::select! {
        biased;
        () = absurd.cancelled() => refuse(Refused::TooLarge).into(),
        reply = route(server, request, client, &line.tally) => reply,
    };
    if let Reply::Answer(answer) = &reply {
        line.status = answer.status();
    }
    server.metrics.answered(line.status.as_u16());
    (line, reply)
}

/// Returns the value of a header; of one that stands there several times, all of them with commas between (RFC 9110,
/// section 5.3).
fn all_of(headers: &HeaderMap, name: &str) -> String {
    let all = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    all.collect::<Vec<_>>().join(",")
}

async fn route(server: &Arc<Server>, request: Request<Incoming>, client: Client, tally: &Tally) -> Reply {
    let path = request.uri().path().to_owned();
    let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
    match path.as_str() {
        "/-/health" if is_get => return plain(StatusCode::OK, "ok\n").into(),
        "/-/metrics" if is_get => {
            let shared = Arc::clone(server);
            let text = off_loop(move || Ok(shared.counted())).await.unwrap_or_default();
            return with_type(StatusCode::OK, "text/plain; version=0.0.4", text.into()).into();
        }
        "/" if is_get => return listing(server, request.headers(), &client).await.into(),
        _ => {}
    }
    let query = request.uri().query().unwrap_or_default();
    let service = query.split('&').find_map(|part| part.strip_prefix("service="));
    let (name, rpc) = match (path.strip_suffix("/info/refs"), path.strip_suffix("/git-upload-pack")) {
        (Some(name), _) if is_get && service == Some("git-upload-pack") => (name, false),
        (Some(_), _) if is_get => {
            return plain(StatusCode::FORBIDDEN, "only git-upload-pack over smart HTTP is served here\n").into();
        }
        (_, Some(name)) if request.method() == Method::POST => (name, true),
        (Some(_), _) | (_, Some(_)) => return plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n").into(),
        _ if path.ends_with("/git-receive-pack") => {
            return plain(StatusCode::FORBIDDEN, "this server is read-only\n").into();
        }
        _ => return plain(StatusCode::NOT_FOUND, "not found\n").into(),
    };
    let name: Vec<u8> = percent_encoding::percent_decode_str(name).collect();
    let shared = Arc::clone(server);
    let found = off_loop(move || Ok(enter_repo::find(&shared.order.root, &name, shared.order.export_all))).await;
    let Some(repository) = found.ok().flatten() else {
        return plain(StatusCode::NOT_FOUND, "repository not found\n").into();
    };
    server.metrics.concerns(tally, &repository.name);
    let asked = Asked::new(repository, protocol(request.headers()), &client);
    if !rpc {
        return advertise(server, &asked).await.into();
    }
    let right_type = |value: &hyper::header::HeaderValue| value == "application/x-git-upload-pack-request";
    if !request.headers().get(CONTENT_TYPE).is_some_and(right_type) {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported media type\n").into();
    }
    answer(server, &asked, request).await
}

/// Returns the `Git-Protocol` header, where it holds what git sends and nothing else.
fn protocol(headers: &HeaderMap) -> String {
    let text = headers.get("git-protocol").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let harmless = text.len() < 256 && text.bytes().all(|b| b.is_ascii_graphic());
    if harmless { text.to_owned() } else { String::new() }
}

async fn listing(server: &Arc<Server>, headers: &HeaderMap, client: &Client) -> Answer {
    let trusted = server.order.trusted_proxies.contains(&client.ends.1.ip().to_canonical());
    let scheme = if trusted && all_of(headers, "x-forwarded-proto") == "https" { "https" } else { "http" };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| page::is_host(host));
    let base = format!("{scheme}://{}", host.map_or_else(|| client.ends.0.to_string(), str::to_owned));
    let html = all_of(headers, ACCEPT.as_str()).contains("text/html");
    let (shared, turn) = (Arc::clone(server), server.workers.take(client, 1).await);
    let listed = off_loop(move || {
        let _turn = turn;
        Ok(page::repositories(&shared.order.root, shared.order.export_all))
    });
    match listed.await {
        Ok(listed) if html => {
            let mut answer = with_type(StatusCode::OK, "text/html; charset=utf-8", listed.html(&base).into());
            page::guard(answer.headers_mut());
            answer
        }
        Ok(listed) => {
            let mut answer = with_type(StatusCode::OK, "text/plain; charset=utf-8", listed.text(&base).into());
            page::guard(answer.headers_mut());
            answer
        }
        Err(err) => {
            (server.log)(&format!("cannot list the repositories: {err}"));
            failed()
        }
    }
}

/// Answers `GET .../info/refs?service=git-upload-pack`.
async fn advertise(server: &Arc<Server>, asked: &Asked) -> Answer {
    let head = if version(&asked.protocol) < 2 {
        encoded(&[Pkt::line("# service=git-upload-pack"), Pkt::Flush])
    } else {
        Vec::new()
    };
    match asked.advertisement(server, head).await {
        Ok(made) => whole(ADVERTISEMENT, made),
        Err(err) => {
            (server.log)(&err.to_string());
            failed()
        }
    }
}

fn whole(kind: &'static str, made: Made) -> Answer {
    match made {
        Made::Short(bytes) => with_type(StatusCode::OK, kind, bytes),
        Made::Long(spool) => answers::answer(StatusCode::OK, kind, spool.boxed()),
    }
}

/// Answers `POST .../git-upload-pack`.
async fn answer(server: &Arc<Server>, asked: &Asked, request: Request<Incoming>) -> Reply {
    let encoding = request.headers().get(CONTENT_ENCODING).map(|value| value.as_bytes().to_vec());
    let gzip = match encoding.as_deref() {
        None | Some(b"identity") => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported content encoding\n").into(),
    };
    let body = request.into_body();
    if body.size_hint().lower() > server.order.limits.request as u64 {
        body::discard(body);
        return refuse(Refused::TooLarge).into();
    }
    let input = match body::read(server, &asked.client, body, gzip).await {
        Ok(input) => input,
        Err(refused) => return refuse(refused).into(),
    };
    let ends = asks_for_a_pack(&input.bytes);
    match asked.answer(server, input).await {
        Ok(Outcome::Made(made)) => whole(RESULT, made).into(),
        Ok(Outcome::Process(running)) if ends => Reply::Transfer(running),
        Ok(Outcome::Process(mut running)) => match running.stdout() {
            Some(stdout) => {
                let sending = Sending { stdout, piece: BytesMut::new(), running };
                answers::answer(StatusCode::OK, RESULT, sending.boxed()).into()
            }
            None => failed().into(),
        },
        Err(err) => {
            (server.log)(&format!("cannot run git upload-pack: {err}"));
            failed().into()
        }
    }
}

fn refuse(refused: Refused) -> Answer {
    match refused {
        Refused::BrokeOff => plain(StatusCode::BAD_REQUEST, "the request is damaged\n"),
        Refused::TooLarge => plain(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large\n"),
        Refused::TooSlow => plain(StatusCode::REQUEST_TIMEOUT, "the request took too long\n"),
    }
}

/// The output of a process as the body of an answer. Dropping it ends the process.
struct Sending {
    stdout: ChildStdout,
    piece: BytesMut,
    running: Running,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let this = &mut *self;
        // Asked for the next piece, the connection has had room for the last one.
        this.running.turn().inspect(|turn| turn.flowing());
        this.piece.reserve(PIECE);
        let got = ready!(poll_read_buf(Pin::new(&mut this.stdout), cx, &mut this.piece))?;
        if got == 0 {
            this.running.ending();
            return Poll::Ready(None);
        }
        this.running.turn().inspect(|turn| turn.blocked());
        Poll::Ready(Some(Ok(Frame::data(this.piece.split().freeze()))))
    }
}

/// A body that is counted, and logged when it ends.
struct Logged {
    body: BoxBody<Bytes, std::io::Error>,
    line: Line,
    mark: Mark,
}

impl Body for Logged {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.line.tally.add(frame.data_ref().map_or(0, |data| data.len() as u64));
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
        self.mark.silent(); // the next request is the client's to send
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    #[test]
    fn dates_answers() {
        let date = hyper::header::HeaderValue::from_str(&now()).expect("a header");
        assert_eq!(date.len(), "Sun, 06 Nov 1994 08:49:37 GMT".len());
    }

    #[test]
    fn reads_all_lines_of_a_header() {
        let mut headers = HeaderMap::new();
        for value in ["203.0.113.9", "198.51.100.7"] {
            headers.append("x-forwarded-for", value.parse().expect("a header"));
        }
        let proxy: IpAddr = "10.0.0.1".parse().expect("an address");
        let client = forwarded_client(Some(proxy), &all_of(&headers, "x-forwarded-for"), &[proxy]);
        assert_eq!(client, Some("198.51.100.7".parse().expect("an address")));
    }
}
