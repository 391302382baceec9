//! What `git-upload-pack` is asked, over HTTP or `git://`, and who answers: stock git, into a file or to the client, or the
//! few answers that it cannot make.

use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::child::{Input, Running};
use super::pool::Client;
use super::server::{Order, Server};
use super::spool::{self, Edit, Made};
use crate::adapters::git::enter_repo::Repository;
use crate::adapters::process;
use crate::usecases::serving::request::{decoded, refusal, starts_as_ours, version};
use crate::usecases::serving::served::Served;
use crate::usecases::serving::stock;
use crate::wire::Pkt;
use crate::wire::pkt::{encoded, packet};

/// Who wants something of which repository.
#[derive(Clone)]
pub struct Asked {
    /// The repository.
    pub repository: Repository,
    /// What is in `GIT_PROTOCOL`.
    pub protocol: String,
    /// The client.
    pub client: Client,
}

/// What comes of a request.
pub enum Outcome {
    /// An answer that is complete.
    Made(Made),
    /// A process that answers as fast as the client takes it: there is a pack in it, or may be.
    Process(Running),
}

impl Asked {
    /// Returns what `client` asks of `repository`.
    pub fn new(repository: Repository, protocol: String, client: &Client) -> Self {
        let client = Client { repository: Some(repository.dir.as_path().into()), ..client.clone() };
        Asked { repository, protocol, client }
    }

    /// Returns stock `git upload-pack` for the repository.
    pub fn stock(&self, order: &Order, args: &[&str]) -> Command {
        let timeout = order.limits.idle.as_secs().max(1);
        let mut command = stock::upload_pack(&self.repository.dir, true, Some(timeout), args);
        command.env_remove("GIT_PROTOCOL");
        if !self.protocol.is_empty() {
            command.env("GIT_PROTOCOL", &self.protocol);
        }
        command
    }

    /// Returns what the repository advertises, behind `head`.
    ///
    /// # Errors
    /// Where git cannot be run, or fails.
    pub async fn advertisement(&self, server: &Arc<Server>, head: Vec<u8>) -> io::Result<Made> {
        let (asked, shared) = (self.clone(), Arc::clone(server));
        let edit: Edit = Box::new(move |start| {
            let served = Served::open(&asked.repository.dir, &shared.order.site);
            let end = first_line(&start);
            Ok(([head, served.advertise(&start[..end], Some(asked.client.address))].concat(), end as u64))
        });
        let command = self.stock(&server.order, &["--http-backend-info-refs"]);
        let nothing = Input { bytes: Default::default(), room: None };
        match spool::make(server, &self.client, command, nothing, Some(edit)).await? {
            (made, 0) => Ok(made),
            (_, code) => Err(io::Error::other(format!("git upload-pack ended with {code}"))),
        }
    }

    /// Answers one request.
    ///
    /// # Errors
    /// Where git cannot be run, or what it says not be kept.
    pub async fn answer(&self, server: &Arc<Server>, input: Input) -> io::Result<Outcome> {
        let two = version(&self.protocol) >= 2;
        if two
            && may_be_ours(&input.bytes)
            && let Some(answer) = self.own(server, &input).await?
        {
            server.metrics.listed();
            return spool::keep(server, &self.client, answer).await.map(Outcome::Made);
        }
        let command = self.stock(&server.order, &["--stateless-rpc"]);
        if two && !is_fetch(&input.bytes) {
            let (made, _) = spool::make(server, &self.client, command, input, None).await?;
            return Ok(Outcome::Made(made)); // where git fails, the answer says so
        }
        let turn = server.turns.take(&self.client, 1).await;
        let mut running = Running::start(server, command, Stdio::piped(), turn)?;
        running.feed(input);
        Ok(Outcome::Process(running))
    }

    /// Answers what stock git cannot; `None` for all else.
    async fn own(&self, server: &Arc<Server>, input: &Input) -> io::Result<Option<Vec<u8>>> {
        let turn = server.workers.take(&self.client, 1).await;
        let (asked, shared, bytes) = (self.clone(), Arc::clone(server), input.bytes.clone());
        spool::off_loop(move || {
            let Some(request) = decoded(&bytes, false) else { return Ok(None) };
            let order = &shared.order;
            let run =
                |packets: &[Pkt]| process::output(&mut asked.stock(order, &["--stateless-rpc"]), &encoded(packets));
            let answer =
                Served::open(&asked.repository.dir, &order.site).answer(&request, Some(asked.client.address), run);
            drop(turn);
            Ok(answer.unwrap_or_else(|err| {
                order.site.note(&err);
                Some(encoded(&[refusal(&err)]))
            }))
        })
        .await
    }
}

/// Returns where the first ref of an advertisement of v0 or v1 ends, with all before it; of v2, where that ends.
fn first_line(start: &[u8]) -> usize {
    let mut at = 0;
    while let Some((end, data)) = packet(start, at) {
        if data.starts_with(b"version 2") {
            break;
        }
        if data.contains(&0) {
            return end;
        }
        at = end;
    }
    start.len()
}

/// Returns whether a request of v2 may be one that stock git cannot answer.
fn may_be_ours(body: &[u8]) -> bool {
    let mirror = packet(body, 0).is_some_and(|(_, first)| first.trim_ascii_end() == b"command=mirror");
    starts_as_ours(body, false) == Some(true) && (mirror || body.windows(4).any(|four| four == b"url="))
}

/// Returns whether a request of v2 is one for objects.
fn is_fetch(body: &[u8]) -> bool {
    packet(body, 0).is_some_and(|(_, first)| first.trim_ascii_end() == b"command=fetch")
}

/// Returns whether the answer to a request ends with a pack: with `done`, the client has said all that it will.
pub fn asks_for_a_pack(body: &[u8]) -> bool {
    let body = body.strip_suffix(b"0000").unwrap_or(body);
    body.ends_with(b"0009done\n") || body.ends_with(b"0008done")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_last_request() {
        let head = "0012command=fetch\n0001";
        for (tail, want) in [("0009done\n0000", true), ("0008done0000", true), ("0009done\n", true), ("0000", false)] {
            assert_eq!(asks_for_a_pack(format!("{head}{tail}").as_bytes()), want, "{tail}");
        }
        assert!(!asks_for_a_pack(b""));
        for (body, want) in
            [(head, true), ("0011command=fetch0001", true), ("0014command=ls-refs\n", false), ("", false)]
        {
            assert_eq!(is_fetch(body.as_bytes()), want, "{body}");
        }
    }

    #[test]
    fn finds_the_line_with_the_capabilities() {
        assert_eq!(first_line(b"000eversion 1\n000dabc x\0caps000aabc y0000"), 27);
        assert_eq!(first_line(b"000eversion 2\n000cls-refs\n0000"), 30);
        assert_eq!(first_line(b""), 0);
    }
}
