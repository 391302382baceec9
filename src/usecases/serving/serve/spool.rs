//! Answers that are made whole before they are sent: the advertisement, lists of refs.
//!
//! git writes them into a temporary file without a name, as fast as it can, and ends. So no client holds a process up by
//! not reading, and an answer of many refs takes a piece of it in memory and no more. Short ones are read at once.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};

use super::child::{Input, Running};
use super::pool::{Client, Hold};
use super::server::Server;

/// Bytes of an answer that are read at once; one that has no more is held in memory.
const PIECE: usize = 16 * 1024;

/// An answer that is complete.
pub enum Made {
    /// One that is in memory.
    Short(Bytes),
    /// One that is in a file.
    Long(Spool),
}

/// What is left to send of an answer, most of it in a file.
pub struct Spool {
    head: Bytes,
    file: tokio::fs::File,
    left: u64,
    room: Hold,
}

/// What a process has written.
struct Written {
    file: std::fs::File,
    len: u64,
}

/// Has a process answer `input`; its turn is over when that is done. Returns what it wrote and its exit code.
///
/// `edit` changes the beginning of what it wrote.
///
/// # Errors
/// Where the process cannot be started, or the file not be written.
pub async fn make(
    server: &Arc<Server>,
    client: &Client,
    command: Command,
    input: Input,
    edit: Option<Edit>,
) -> io::Result<(Made, i32)> {
    let turn = server.workers.take(client, 1).await;
    let (file, stdout) = off_loop(|| {
        let file = tempfile::tempfile()?;
        let stdout = file.try_clone()?;
        Ok((file, stdout))
    })
    .await?;
    let mut running = Running::start(server, command, stdout.into(), turn)?;
    running.feed(input);
    // Nobody reads what it writes but the disk: it waits for something that is not coming, as for a FIFO.
    let limit = server.order.limits.idle;
    let ended = tokio::time::timeout(limit, running.wait()).await;
    let code =
        ended.map_err(|_| io::Error::other(format!("git upload-pack did not end within {} s", limit.as_secs())))??;
    let (written, head, from) = off_loop(move || {
        let len = file.metadata()?.len();
        let mut written = Written { file, len };
        let (head, from) = match edit {
            Some(edit) => edit(written.start()?)?,
            None => (Vec::new(), 0),
        };
        Ok((written, head, from))
    })
    .await?;
    Ok((held(server, client, written, head.into(), from).await?, code))
}

/// What changes the beginning of an answer: given up to 128 KiB of it, returns what stands in the place of how many
/// bytes.
pub type Edit = Box<dyn FnOnce(Vec<u8>) -> io::Result<(Vec<u8>, u64)> + Send>;

/// Returns an answer that is in memory whole as one that waits for its client in a file, if it is long.
///
/// # Errors
/// Where the file cannot be written.
pub async fn keep(server: &Server, client: &Client, bytes: Vec<u8>) -> io::Result<Made> {
    if bytes.len() <= PIECE {
        return Ok(Made::Short(bytes.into()));
    }
    let written = off_loop(move || {
        let mut file = tempfile::tempfile()?;
        file.write_all(&bytes)?;
        Ok(Written { file, len: bytes.len() as u64 })
    })
    .await?;
    held(server, client, written, Bytes::new(), 0).await
}

impl Written {
    fn start(&mut self) -> io::Result<Vec<u8>> {
        let mut start = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        (&mut self.file).take(128 << 10).read_to_end(&mut start)?;
        Ok(start)
    }
}

async fn held(server: &Server, client: &Client, written: Written, head: Bytes, from: u64) -> io::Result<Made> {
    let Written { mut file, len } = written;
    let left = len.saturating_sub(from);
    let short = left + head.len() as u64 <= PIECE as u64;
    let begun = head.clone();
    let (file, all) = off_loop(move || {
        file.seek(SeekFrom::Start(from))?;
        let mut all = Vec::new();
        if short {
            all.extend_from_slice(&begun);
            file.read_to_end(&mut all)?;
        }
        Ok((file, all))
    })
    .await?;
    if short {
        return Ok(Made::Short(all.into()));
    }
    let room = server.spooled.take(client, left).await;
    let mut file = tokio::fs::File::from_std(file);
    file.set_max_buf_size(PIECE);
    Ok(Made::Long(Spool { head, file, left, room }))
}

/// Does what may wait for a disk, away from the threads that serve connections.
pub async fn off_loop<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

impl Spool {
    /// Returns the room that it takes.
    pub fn room(&self) -> &Hold {
        &self.room
    }

    /// Returns the next piece; nothing at the end.
    pub fn poll_piece(&mut self, cx: &mut Context) -> Poll<io::Result<Option<Bytes>>> {
        if !self.head.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.head))));
        }
        if self.left == 0 {
            return Poll::Ready(Ok(None));
        }
        let mut piece = vec![0; PIECE.min(usize::try_from(self.left).unwrap_or(PIECE))];
        let mut buffer = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.file).poll_read(cx, &mut buffer))?;
        let got = buffer.filled().len();
        if got == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        piece.truncate(got);
        self.left -= got as u64;
        Poll::Ready(Ok(Some(piece.into())))
    }
}

impl Body for Spool {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        // Asked for the next piece, the connection has had room for the last one.
        self.room.flowing();
        let piece = ready!(self.poll_piece(cx)).transpose();
        self.room.blocked();
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.head.is_empty() && self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.head.len() as u64 + self.left)
    }
}
