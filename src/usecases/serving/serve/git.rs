//! `git://` (git-daemon(1)): reads who wants what, and hands the socket to `git mirror upload-pack`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server::Server;
use super::socket;
use crate::adapters::git::enter_repo;
use crate::wire::pkt::{HEADER, Head, encoded};
use crate::wire::{GitRequest, Pkt};

/// How long a client may take to say what it wants; less where it may be silent for less.
const REQUEST: Duration = Duration::from_secs(10);
/// The longest request, in bytes.
const MAX: usize = 8192;

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
    let GitRequest { service, path, .. } = &request;
    let ms = began.elapsed().as_millis();
    (server.log)(&format!("{} git \"{} {}\" {code} {ms}ms", peer.ip(), service.escape_debug(), path.escape_debug()));
}

async fn read(stream: &mut TcpStream) -> Option<GitRequest> {
    let mut digits = [0; HEADER];
    stream.read_exact(&mut digits).await.ok()?;
    let Head::Data(len) = Head::parse(digits).ok()? else { return None };
    if len > MAX {
        return None;
    }
    let mut line = vec![0; len];
    stream.read_exact(&mut line).await.ok()?;
    GitRequest::parse(&line)
}

async fn answer(
    server: &Server,
    mut stream: TcpStream,
    peer: SocketAddr,
    request: &GitRequest,
) -> std::io::Result<i32> {
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
