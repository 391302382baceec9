//! `git://` (git-daemon(1)): reads who wants what, and hands the socket to `git mirror upload-pack`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server::Server;
use super::socket;
use crate::adapters::git::enter_repo;
use crate::wire::Pkt;
use crate::wire::pkt::{HEADER, Head, encoded};

/// How long a client may take to say what it wants; less where it may be silent for less.
const REQUEST: Duration = Duration::from_secs(10);
/// The longest request, in bytes.
const MAX: usize = 8192;

/// A request of the `git://` protocol (gitprotocol-pack(5), "Git Transport").
#[derive(Debug, PartialEq, Eq)]
struct Request {
    service: String,
    path: String,
    /// What is in `GIT_PROTOCOL`.
    protocol: String,
}

impl Request {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut parts = line.split(|byte| *byte == 0).map(|part| std::str::from_utf8(part).ok());
        let (service, path) = parts.next()??.split_once(' ')?;
        // `host=<host>`, an empty one, then what is for GIT_PROTOCOL
        let extra: Vec<&str> = parts.skip_while(|part| *part != Some("")).flatten().filter(|p| !p.is_empty()).collect();
        Some(Request { service: service.into(), path: path.trim_end_matches('\n').into(), protocol: extra.join(":") })
    }
}

/// Serves one connection.
pub async fn connection(server: &Server, mut stream: TcpStream, peer: SocketAddr) {
    let began = Instant::now();
    let patience = REQUEST.min(server.order.limits.idle);
    let Ok(Some(request)) = tokio::time::timeout(patience, read(&mut stream)).await else { return };
    let outcome = answer(server, stream, peer, &request).await;
    let code = match outcome {
        Ok(code) => code.to_string(),
        Err(err) => err.to_string(),
    };
    let Request { service, path, .. } = &request;
    let ms = began.elapsed().as_millis();
    (server.log)(&format!("{} git \"{} {}\" {code} {ms}ms", peer.ip(), service.escape_debug(), path.escape_debug()));
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut digits = [0; HEADER];
    stream.read_exact(&mut digits).await.ok()?;
    let Head::Data(len) = Head::parse(digits).ok()? else { return None };
    if len > MAX {
        return None;
    }
    let mut line = vec![0; len];
    stream.read_exact(&mut line).await.ok()?;
    Request::parse(&line)
}

async fn answer(server: &Server, mut stream: TcpStream, peer: SocketAddr, request: &Request) -> std::io::Result<i32> {
    let order = &server.order;
    let found = (request.service == "git-upload-pack")
        .then(|| enter_repo::find(&order.root, request.path.as_bytes(), order.export_all))
        .flatten();
    let Some(found) = found else {
        let refusal = encoded(&[Pkt::err(&format!("access denied or repository not exported: {}", request.path))]);
        stream.write_all(&refusal).await?;
        stream.shutdown().await?;
        return Ok(128);
    };
    order.site.look(&found.dir); // the child's stderr is not for this
    let Ok(_turn) = server.transfers.acquire().await else { return Ok(128) };
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command.arg0("git-mirror").arg("upload-pack").arg("--strict");
    command.arg(format!("--timeout={}", order.limits.idle.as_secs().max(1)));
    command.arg("--base").arg(&order.root);
    if let Some(list) = &order.site.list {
        command.arg("--list").arg(list);
    }
    command.arg("--").arg(&found.dir).env("REMOTE_ADDR", peer.ip().to_string()).env_remove("SSH_CONNECTION");
    match request.protocol.as_str() {
        "" => command.env_remove("GIT_PROTOCOL"),
        protocol => command.env("GIT_PROTOCOL", protocol),
    };
    socket::serve(server, command, None, stream).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_requests() {
        let read = |line: &str| {
            let request = Request::parse(line.as_bytes())?;
            Some((request.service, request.path, request.protocol))
        };
        let want = |path: &str, protocol: &str| Some(("git-upload-pack".into(), path.into(), protocol.into()));
        assert_eq!(read("git-upload-pack /a b.git\0host=h\0\0version=2\0"), want("/a b.git", "version=2"));
        assert_eq!(read("git-upload-pack /a\0host=h\0"), want("/a", ""));
        assert_eq!(read("git-upload-pack /a\n"), want("/a", ""));
        assert_eq!(read("git-upload-pack /a\0host=h\0\0version=2\0x=y\0"), want("/a", "version=2:x=y"));
        assert_eq!(read("nonsense"), None);
    }
}
