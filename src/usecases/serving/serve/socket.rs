//! Processes that are given a client's connection.

use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::{ChildStdin, Command};

use super::server::Server;
use crate::adapters::os;

/// The processes that serve now.
static CHILDREN: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Ends what is still being sent.
pub async fn end_all() {
    let children = CHILDREN.lock().map(|children| children.clone()).unwrap_or_default();
    children.iter().for_each(|pid| os::terminate(*pid));
    for _ in 0..50 {
        if CHILDREN.lock().is_ok_and(|children| children.is_empty()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Has `command` write to a connection, and read `stdin` or else the connection. Returns its exit code when it has ended
/// and the connection is closed.
pub async fn serve(
    server: &Server,
    mut command: Command,
    stdin: Option<Bytes>,
    stream: TcpStream,
) -> std::io::Result<i32> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    os::limit_unsent(&stream, server.order.limits.idle);
    let socket: std::os::fd::OwnedFd = stream.into();
    match &stdin {
        Some(_) => command.stdin(Stdio::piped()),
        None => command.stdin(socket.try_clone()?),
    };
    let mut child = command.stdout(socket).kill_on_drop(true).spawn()?;
    drop(command); // it holds the socket, which the client shall see closed when the child ends
    if let (Some(bytes), Some(stdin)) = (stdin, child.stdin.take()) {
        tokio::spawn(feed(stdin, bytes));
    }
    server.metrics.began();
    let pid = child.id();
    note(|children| children.extend(pid));
    let status = child.wait().await;
    note(|children| children.retain(|other| Some(*other) != pid));
    server.metrics.ended();
    status.map(os::exit_code)
}

/// Writes all of a child's input. Where the child ends early, it has said why.
pub async fn feed(mut stdin: ChildStdin, bytes: Bytes) {
    let _ = stdin.write_all(&bytes).await;
}

fn note(change: impl FnOnce(&mut Vec<u32>)) {
    if let Ok(mut children) = CHILDREN.lock() {
        change(&mut children);
    }
}
