//! Smart HTTP (gitprotocol-http(5)), read-only.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use core::net::IpAddr;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use super::answers::{Answer, PIECE, failed, plain, with_type};
use super::idle::Idle;
use super::rpc::{self, Reply};
use super::server::Server;
use crate::adapters::git::enter_repo::{self, Repository};
use crate::adapters::process;
use crate::usecases::serving::request::{forwarded_client, version};
use crate::usecases::serving::served::Served;
use crate::wire::Pkt;

/// How long a client may take to send the head of a request, also the next one on an open connection; less where it may
/// be silent for less.
const HEAD: Duration = Duration::from_secs(30);

/// Serves one connection, until it ends or the server stops.
pub async fn connection(server: &Arc<Server>, stream: TcpStream, peer: SocketAddr, mut stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(Idle::new(stream, server.order.limits.idle));
    let (hand_over, mut handed_over) = mpsc::channel(1);
    let service = hyper::service::service_fn(|request| {
        let (server, hand_over) = (Arc::clone(server), hand_over.clone());
        async move {
            match handle(&server, request, peer).await {
                (line, Reply::Answer(answer)) => {
                    Ok::<_, Infallible>(answer.map(|body| Logged { body, server, line, bytes: 0 }.boxed()))
                }
                (line, Reply::Transfer(transfer)) => {
                    let _ = hand_over.send((line, transfer)).await;
                    pending().await
                }
            }
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    let patience = HEAD.min(server.order.limits.idle);
    builder.timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(PIECE);
    let mut connection = builder.serve_connection(stream, service);
    let mut stopping = false;
    let (line, transfer) = loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(err) = ended {
                    tracing::debug!(%peer, %err, "a connection ended");
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
    if let Err(err) = transfer.run(server, stream).await {
        (server.log)(&format!("cannot run git upload-pack: {err}"));
    }
    line.log(server, "-");
}

/// What a request is about, for the access log.
struct Line {
    text: String,
    status: StatusCode,
    began: Instant,
}

impl Line {
    fn log(&self, server: &Server, bytes: impl std::fmt::Display) {
        let (status, ms) = (self.status.as_u16(), self.began.elapsed().as_millis());
        (server.log)(&format!("{} {status} {bytes} {ms}ms", self.text));
    }
}

async fn handle(server: &Arc<Server>, request: Request<Incoming>, peer: SocketAddr) -> (Line, Reply) {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let client = forwarded_client(Some(peer.ip()), &header("x-forwarded-for"), &server.order.trusted_proxies);
    let agent: String = header("user-agent").chars().take(100).collect();
    let uri = request.uri().path_and_query().map_or("", |path| path.as_str());
    let address = client.unwrap_or(peer.ip());
    let text = format!("{address} \"{} {uri}\" \"{}\"", request.method(), agent.escape_debug());
    let mut line = Line { text, status: StatusCode::OK, began: Instant::now() };
    let reply = route(server, request, client).await;
    if let Reply::Answer(answer) = &reply {
        line.status = answer.status();
    }
    server.metrics.answered(line.status.as_u16());
    (line, reply)
}

async fn route(server: &Arc<Server>, request: Request<Incoming>, client: Option<IpAddr>) -> Reply {
    let path = request.uri().path().to_owned();
    let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
    match path.as_str() {
        "/-/health" if is_get => return plain(StatusCode::OK, "ok\n").into(),
        "/-/metrics" if is_get => {
            return with_type(StatusCode::OK, "text/plain; version=0.0.4", server.metrics.text().into()).into();
        }
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
    let Some(repository) = enter_repo::find(&server.order.root, &name, server.order.export_all) else {
        return plain(StatusCode::NOT_FOUND, "repository not found\n").into();
    };
    let protocol = protocol(request.headers());
    if !rpc {
        return advertise(server, repository, protocol, client).await.into();
    }
    let right_type = |value: &hyper::header::HeaderValue| value == "application/x-git-upload-pack-request";
    if !request.headers().get(CONTENT_TYPE).is_some_and(right_type) {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported media type\n").into();
    }
    rpc::answer(server, repository, protocol, client, request).await
}

/// Returns the `Git-Protocol` header, where it holds what git sends and nothing else.
fn protocol(headers: &HeaderMap) -> String {
    let text = headers.get("git-protocol").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let harmless = text.len() < 256 && text.bytes().all(|b| b.is_ascii_graphic());
    if harmless { text.to_owned() } else { String::new() }
}

async fn advertise(server: &Arc<Server>, repository: Repository, protocol: String, client: Option<IpAddr>) -> Answer {
    let Ok(_turn) = server.transfers.acquire().await else { return failed() };
    let shared = Arc::clone(server);
    let made = tokio::task::spawn_blocking(move || {
        let mut command = rpc::stock(&shared.order, &repository.dir, &protocol, &["--http-backend-info-refs"]);
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

/// A body that is counted, and logged when it ends.
struct Logged {
    body: BoxBody<Bytes, std::io::Error>,
    server: Arc<Server>,
    line: Line,
    bytes: u64,
}

impl Body for Logged {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.bytes += bytes;
            self.server.metrics.sent(bytes);
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
        self.line.log(&self.server, self.bytes);
    }
}
