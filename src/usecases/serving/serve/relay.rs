//! Sending to a client: bytes, and what a process writes.
//!
//! What a process writes to a pipe is moved to the socket within the kernel (splice(2)), and so counted here without
//! being copied. A client that takes nothing for too long ends the sending, and is marked as such before.

use std::io;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::net::unix::pipe::Receiver;
use tokio::process::ChildStdout;

use super::metrics::Tally;
use super::pool::Hold;
use crate::adapters::os::tcp;

/// Bytes that a pipe may hold.
const PIPE: usize = 256 << 10;
/// How long the rest of what a client says is read, once it has been sent all: to close a connection with something
/// unread makes the other side lose what it has not read yet.
const PARTING: Duration = Duration::from_secs(2);

/// One direction of a connection, with the limit on how long the client may take nothing.
pub struct Out<'a> {
    /// The connection.
    pub stream: &'a TcpStream,
    /// How long it may take nothing.
    pub limit: Duration,
    /// What is counted.
    pub tally: &'a Tally,
}

impl Out<'_> {
    /// Sends bytes; `hold` is marked while the client takes nothing.
    ///
    /// # Errors
    /// Those of the socket; [`io::ErrorKind::TimedOut`] for a client that takes nothing.
    pub async fn send(&self, mut bytes: &[u8], hold: Option<&Hold>) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(sent) => {
                    bytes = &bytes[sent..];
                    self.tally.add(sent as u64);
                    hold.inspect(|hold| hold.flowing());
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => self.wait(hold).await?,
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }

    /// Sends all that a process writes.
    ///
    /// # Errors
    /// As [`Out::send`].
    pub async fn pass_on(&self, stdout: ChildStdout, hold: Option<&Hold>) -> io::Result<()> {
        let pipe = stdout.into_owned_fd()?;
        tcp::widen(&pipe, PIPE);
        let pipe = Receiver::from_owned_fd(pipe)?;
        let mut piece = vec![0; 4096];
        loop {
            pipe.readable().await?;
            match self.stream.try_io(Interest::WRITABLE, || tcp::move_on(&pipe, self.stream)) {
                Ok(Some(0)) => return Ok(()),
                Ok(Some(moved)) => {
                    self.tally.add(moved as u64);
                    hold.inspect(|hold| hold.flowing());
                }
                // Reading in vain has tokio wait for more; what has come in between is passed on.
                Ok(None) => match pipe.try_read(&mut piece) {
                    Ok(0) => return Ok(()),
                    Ok(read) => self.send(&piece[..read], hold).await?,
                    Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                    Err(err) => return Err(err),
                },
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => self.wait(hold).await?,
                Err(err) => return Err(err),
            }
        }
    }

    async fn wait(&self, hold: Option<&Hold>) -> io::Result<()> {
        hold.inspect(|hold| hold.blocked());
        match tokio::time::timeout(self.limit, self.stream.writable()).await {
            Ok(ready) => ready,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Ends a connection on which all has been sent.
pub async fn part(mut stream: TcpStream) {
    tcp::drop_unsent(&stream, false);
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
    let rest = async {
        let mut piece = [0; 4096];
        loop {
            if stream.readable().await.is_err() {
                return;
            }
            match stream.try_read(&mut piece) {
                Ok(0) => return,
                Ok(_) => {}
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    let _ = tokio::time::timeout(PARTING, rest).await;
}
