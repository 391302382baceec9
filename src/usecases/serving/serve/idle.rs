//! A connection that ends when the other side takes nothing of what it is sent for too long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;

use super::chunk_size;
use crate::adapters::os::tcp;

/// A TCP connection with a limit on how long a write may wait.
pub struct Idle {
    stream: TcpStream,
    limit: Duration,
    patience: Pin<Box<Sleep>>,
    /// Whether a write has been waiting since `patience` was set.
    stuck: bool,
    sizes: chunk_size::Watch,
    absurd: CancellationToken,
}

impl Idle {
    /// Wraps a connection. `absurd` is told of a chunk of more than `largest` bytes.
    pub fn new(stream: TcpStream, limit: Duration, largest: u64, absurd: CancellationToken) -> Self {
        let sizes = chunk_size::Watch::new(largest);
        Idle { stream, limit, patience: Box::pin(sleep(limit)), stuck: false, sizes, absurd }
    }

    /// Returns the connection.
    pub fn into_inner(self) -> TcpStream {
        self.stream
    }

    /// Passes the outcome of a write on, or the end of patience.
    fn wrote<T>(&mut self, cx: &mut Context, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stuck = false;
            return outcome;
        }
        if !self.stuck {
            self.stuck = true;
            self.patience.as_mut().reset(Instant::now() + self.limit);
        }
        match self.patience.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Idle {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context, out: &mut ReadBuf) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, out);
        if self.sizes.sees(out.filled().get(before..).unwrap_or_default()) {
            self.absurd.cancel();
        }
        read
    }
}

impl AsyncWrite for Idle {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
        parts: &[io::IoSlice],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.wrote(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.wrote(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        tcp::drop_unsent(&self.stream, false); // a good end
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
