//! `git://` (git-daemon(1)): reads who wants what, and answers as over HTTP, one request of protocol v2 after the other. A
//! client that says nothing costs a connection and no process. v0 and v1 are stock git's, from the first line on.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{ChildStdin, ChildStdout};

use super::body::{Coming, Refused};
use super::child::Running;
use super::metrics::Tally;
use super::pool::{Client, Hold};
use super::relay::{Out, part};
use super::rpc::{Asked, Outcome};
use super::server::Server;
use super::spool::{Made, Spool, off_loop};
use crate::adapters::git::enter_repo;
use crate::usecases::serving::request::version;
use crate::usecases::serving::served::Served;
use crate::wire::pkt::{HEADER, Head, MAX, encoded};
use crate::wire::{GitRequest, Pkt};

/// How long a client may take to say what it wants; less where it may be silent for less.
const REQUEST: Duration = Duration::from_secs(10);
/// The longest request, in bytes.
const LONGEST: usize = 8192;
/// What is read at once, in bytes.
const PIECE: usize = 16 << 10;

/// Serves one connection.
pub async fn connection(server: &Arc<Server>, mut stream: TcpStream, client: &Client, hold: &Hold) {
    let began = Instant::now();
    hold.silent();
    let patience = REQUEST.min(server.order.limits.idle);
    let Ok(Some(request)) = tokio::time::timeout(patience, read(&mut stream)).await else { return };
    let tally = server.metrics.git();
    let mut talk = Talk { server, stream: &mut stream, hold, tally: &tally };
    let served = talk.serve(client, &request).await;
    let code = match &served {
        Ok(code) => code.to_string(),
        Err(err) => err.to_string(),
    };
    let GitRequest { service, path, .. } = &request;
    let (ms, bytes) = (began.elapsed().as_millis(), tally.total());
    let (ip, service, path) = (client.address, service.escape_debug(), shown(path));
    (server.log)(&format!("{ip} git \"{service} {path}\" {code} {bytes} {ms}ms"));
    if served.is_ok() {
        part(stream).await;
    }
}

/// Returns a path as it may stand in a log.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).escape_debug().to_string()
}

async fn read(stream: &mut TcpStream) -> Option<GitRequest> {
    let mut digits = [0; HEADER];
    stream.read_exact(&mut digits).await.ok()?;
    let Head::Data(len) = Head::parse(digits).ok()? else { return None };
    if len > LONGEST {
        return None;
    }
    let mut line = vec![0; len];
    stream.read_exact(&mut line).await.ok()?;
    GitRequest::parse(&line)
}

/// A connection whose client has said which repository it wants.
struct Talk<'a> {
    server: &'a Arc<Server>,
    stream: &'a mut TcpStream,
    hold: &'a Hold,
    tally: &'a Tally,
}

impl Talk<'_> {
    fn out(&self) -> Out<'_> {
        Out { stream: self.stream, limit: self.server.order.limits.idle, tally: self.tally }
    }

    /// Serves what is asked; returns an exit code.
    async fn serve(&mut self, client: &Client, request: &GitRequest) -> io::Result<i32> {
        self.hold.heard();
        let found = match request.service.as_str() {
            "git-upload-pack" => self.find(&request.path).await?,
            _ => None,
        };
        let Some(repository) = found else {
            let path = String::from_utf8_lossy(&request.path);
            let refusal = encoded(&[Pkt::err(&format!("access denied or repository not exported: {path}"))]);
            self.out().send(&refusal, None).await?;
            return Ok(128);
        };
        self.server.metrics.concerns(self.tally, &repository.name);
        let asked = Asked::new(repository, request.protocol.clone(), client);
        if version(&asked.protocol) < 2 { self.old(&asked).await } else { self.requests(&asked).await }
    }

    async fn find(&self, path: &[u8]) -> io::Result<Option<enter_repo::Repository>> {
        let (server, path) = (Arc::clone(self.server), path.to_vec());
        off_loop(move || Ok(enter_repo::find(&server.order.root, &path, server.order.export_all))).await
    }

    /// Protocol v2: the advertisement, then one request after the other.
    async fn requests(&mut self, asked: &Asked) -> io::Result<i32> {
        let advertisement = asked.advertisement(self.server, Vec::new()).await;
        let Ok(advertisement) = advertisement.inspect_err(|err| (self.server.log)(&err.to_string())) else {
            return Ok(128); // git has said why on stderr
        };
        // Who asks before there is anything to ask for does not read what it is sent.
        let eager = tokio::time::timeout(Duration::ZERO, self.stream.peek(&mut [0])).await.is_ok();
        asked.client.proven.store(!eager, Relaxed);
        self.made(advertisement).await?;
        loop {
            self.hold.silent();
            let input = self.request(&asked.client).await;
            self.hold.heard();
            let Some(input) = input? else { return Ok(0) };
            match asked.answer(self.server, input).await? {
                Outcome::Made(made) => {
                    // A refusal ends the conversation, as stock git's do.
                    let refused = matches!(&made, Made::Short(bytes) if bytes.get(HEADER..).is_some_and(|b| b.starts_with(b"ERR ")));
                    self.made(made).await?;
                    if refused {
                        return Ok(128);
                    }
                }
                Outcome::Process(mut running) => {
                    if let Some(stdout) = running.stdout() {
                        self.out().pass_on(stdout, running.turn()).await?;
                    }
                    running.ending();
                    let code = running.wait().await?;
                    if code != 0 {
                        return Ok(code);
                    }
                }
            }
        }
    }

    async fn made(&self, made: Made) -> io::Result<()> {
        match made {
            Made::Short(bytes) => self.out().send(&bytes, Some(self.hold)).await,
            Made::Long(mut spool) => {
                while let Some(piece) = next_piece(&mut spool).await? {
                    self.out().send(&piece, Some(spool.room())).await?;
                }
                Ok(())
            }
        }
    }

    /// Reads one request to its flush; nothing where the client has no more.
    async fn request(&mut self, client: &Client) -> io::Result<Option<super::child::Input>> {
        let idle = self.server.order.limits.idle;
        let mut digits = [0; HEADER];
        match tokio::time::timeout(idle, self.stream.read_exact(&mut digits)).await {
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(Err(err)) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Ok(read) => read.map(drop)?,
        }
        self.hold.heard();
        let refused = |refused: Refused| match refused {
            Refused::TooLarge => io::Error::other("the request is too large"),
            Refused::TooSlow => io::ErrorKind::TimedOut.into(),
            Refused::BrokeOff => io::ErrorKind::UnexpectedEof.into(),
        };
        let mut coming = Coming::new(self.server, client).await;
        let mut packet = vec![0; MAX];
        let mut empty = true;
        loop {
            let head = Head::parse(digits).map_err(io::Error::other)?;
            coming.push(&digits).await.map_err(refused)?;
            match head {
                Head::Flush if empty => return Ok(None),
                Head::Flush => return Ok(Some(coming.done())),
                Head::Data(len) => {
                    coming.in_time(self.stream.read_exact(&mut packet[..len])).await.map_err(refused)??;
                    coming.push(&packet[..len]).await.map_err(refused)?;
                }
                Head::Delim | Head::ResponseEnd => {}
            }
            empty = false;
            coming.in_time(self.stream.read_exact(&mut digits)).await.map_err(refused)??;
        }
    }

    /// Protocols v0 and v1: the list of mirrors travels in the first line; all else is stock git's.
    async fn old(&mut self, asked: &Asked) -> io::Result<i32> {
        let turn = self.server.turns.take(&asked.client, 1).await;
        turn.silent(); // it has heard nothing of what is wanted
        let mut running = Running::start(self.server, asked.stock(&self.server.order, &[]), Stdio::piped(), turn)?;
        let (Some(stdin), Some(mut stdout)) = (running.stdin(), running.stdout()) else { return Ok(128) };
        let Some(mut first) = first_packets(&mut stdout).await? else { return running.wait().await };
        if let Some(Pkt::Data(line)) = first.pop() {
            let (asked, server) = (asked.clone(), Arc::clone(self.server));
            let line = off_loop(move || {
                let served = Served::open(&asked.repository.dir, &server.order.site);
                Ok(served.with_tokens(&line, Some(asked.client.address)))
            });
            first.push(Pkt::Data(line.await?));
        }
        let out = self.out();
        out.send(&encoded(&first), running.turn()).await?;
        let answered = {
            let answer = out.pass_on(stdout, running.turn());
            let hear = hear(self.stream, stdin, running.turn());
            tokio::pin!(answer, hear);
            tokio::select! {
                ended = &mut answer => ended,
                heard = &mut hear => match heard { Ok(()) => answer.await, Err(err) => Err(err) },
            }
        };
        answered?;
        running.ending();
        running.wait().await
    }
}

/// Passes on what a client of v0 says, to its end. Once it has said `done`, it is not waited for any more.
async fn hear(stream: &TcpStream, mut stdin: ChildStdin, turn: Option<&Hold>) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut tail: Vec<u8> = Vec::new();
    loop {
        stream.readable().await?;
        match stream.try_read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(got) => {
                tail.extend_from_slice(&piece[..got]);
                let long = tail.len().saturating_sub(16);
                tail.drain(..long);
                let done = tail.windows(8).any(|eight| eight == b"0009done" || eight == b"0008done");
                turn.inspect(|turn| if done { turn.heard() } else { turn.silent() });
                if stdin.write_all(&piece[..got]).await.is_err() {
                    return Ok(()); // it has said why
                }
            }
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
            Err(err) => return Err(err),
        }
    }
}

/// Reads up to the line that has the capabilities, or what is in its place; nothing where there is none.
async fn first_packets(stdout: &mut ChildStdout) -> io::Result<Option<Vec<Pkt>>> {
    let mut packets = Vec::new();
    loop {
        let mut digits = [0; HEADER];
        match stdout.read_exact(&mut digits).await {
            Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read.map(drop)?,
        }
        let Head::Data(len) = Head::parse(digits).map_err(io::Error::other)? else {
            packets.push(Pkt::Flush);
            return Ok(Some(packets));
        };
        let mut data = vec![0; len];
        stdout.read_exact(&mut data).await?;
        let version = data.starts_with(b"version ");
        packets.push(Pkt::Data(data));
        if !version {
            return Ok(Some(packets));
        }
    }
}

async fn next_piece(spool: &mut Spool) -> io::Result<Option<hyper::body::Bytes>> {
    std::future::poll_fn(|cx| spool.poll_piece(cx)).await
}
