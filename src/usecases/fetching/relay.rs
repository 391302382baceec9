//! The relay for protocol v2 between git and the canonical server (docs/architecture.md, "The one idea: a relay").
//!
//! It copies what both say, and does something of its own at one point: when git first asks for objects, mirrors are
//! asked before. Requests and answers alternate, so one thread does.

use std::io::{BufWriter, Read, Write};
use std::time::{Duration, Instant};

use gix::ObjectId;

use crate::adapters::net::pktio::{self, PktReader};
use crate::usecases::fetching::observing::Canonical;
use crate::usecases::fetching::seeding::{Held, Left, Rest, Seeded, Wanted};
use crate::values::{Error, Kind, Result};
use crate::wire::{AckFilter, FetchRequest, Pkt, RefList, Scope};

/// What a relay saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Canonical's refs, as far as git asked for them.
    pub canonical: RefList,
    /// The ids that git wanted.
    pub wants: Vec<ObjectId>,
    /// Whether it had nothing to offer for them.
    pub clone: bool,
    /// Who was asked before canonical, and what they gave.
    pub seeded: Option<Seeded>,
    /// Bytes that canonical sent in answer to requests for objects.
    pub from_canonical: u64,
    /// Whether canonical was asked for objects at all.
    pub canonical_asked: bool,
    /// Whether it has gone away within an answer: git waits for the rest, and ends once we have.
    pub broken: bool,
    /// Whether it has answered such a request.
    pub canonical_answered: bool,
    /// How long its answers took to begin, and how long its objects took.
    pub figures: Canonical,
    /// Which part of what git wanted that was.
    pub scope: Scope,
    /// What else than a fetch it was.
    pub other: Option<&'static str>,
}

impl Seen {
    /// Returns what git asked for, in a word.
    pub fn kind(&self) -> &'static str {
        let Scope { deepen, filter, unknown, .. } = &self.scope;
        match self.other {
            Some(other) => other,
            None if self.wants.is_empty() => "refs",
            None if unknown.is_some() => "other",
            None if self.seeded.as_ref().is_some_and(|seeded| seeded.lazy) => "lazy",
            None if !deepen.is_empty() => "depth",
            None if filter.is_some() => "filter",
            None if self.clone => "clone",
            None => "fetch",
        }
    }
}

/// A connection to canonical: from it, and to it.
pub type Connection<S> = (PktReader<S>, Box<dyn Write + Send>);

/// One relayed connection.
pub struct Relay<'a, I, S, O: Write> {
    /// From git.
    pub git_in: &'a mut PktReader<I>,
    /// To git.
    pub git_out: &'a mut O,
    /// From canonical.
    pub server_in: &'a mut PktReader<S>,
    /// To canonical.
    pub server_out: &'a mut Box<dyn Write + Send>,
    /// Opens the connection to canonical anew.
    pub reopen: &'a mut dyn FnMut() -> Result<Connection<S>>,
    /// Whether to fail rather than have canonical send everything.
    pub required: bool,
    /// Whether each request is a connection of its own: then a lone flush, git's farewell, is not for the server.
    pub stateless: bool,
}

/// An answer that has been passed on.
struct Answer {
    /// Whether it came up to its flush.
    whole: bool,
    /// How long its first packet took.
    first: Duration,
    /// How long the rest took.
    rest: Duration,
}

impl<I: Read, S: Read, O: Write> Relay<'_, I, S, O> {
    /// Relays until git closes its side, or canonical goes away. `seed` is called once at most, and `cloning` before it
    /// where git may have begun a clone.
    ///
    /// # Errors
    /// [`Kind::Channel`] where git goes away, [`Kind::Protocol`] where either side sends what is no packet.
    pub fn run(&mut self, mut seed: impl FnMut(&Wanted) -> Seeded, mut cloning: impl FnMut()) -> Result<Seen> {
        let mut seen = Seen::default();
        while let Some(request) = self.request()? {
            let answered = if FetchRequest::is_fetch(&request) {
                self.fetch(FetchRequest::parse(request), &mut seen, &mut seed)?
            } else {
                let is_ls_refs = request.first().is_some_and(|pkt| pkt.text() == b"command=ls-refs");
                if request == [Pkt::Flush] {
                    if !self.stateless {
                        self.ask(&request);
                    }
                    continue;
                }
                self.ask(&request);
                // What `git clone` asks for, and `git ls-remote` next to never.
                let prefixes = [&b"ref-prefix HEAD"[..], b"ref-prefix refs/heads/", b"ref-prefix refs/tags/"];
                if is_ls_refs && prefixes.iter().all(|prefix| request.iter().any(|pkt| pkt.text() == *prefix)) {
                    cloning();
                }
                let answer = self.answer(|pkt| {
                    if is_ls_refs {
                        seen.canonical.take_v2(pkt.text());
                    }
                    true
                })?;
                seen.figures.answer = seen.figures.answer.or(Some(answer.first));
                answer.whole
            };
            if !answered {
                seen.broken = true;
                break;
            }
        }
        Ok(seen)
    }

    /// Reads a request: all packets up to and with its flush. `None` where git has closed its side.
    fn request(&mut self) -> Result<Option<Vec<Pkt>>> {
        let mut packets = Vec::new();
        while let Some(pkt) = self.git_in.read()? {
            let last = pkt == Pkt::Flush;
            packets.push(pkt);
            if last {
                return Ok(Some(packets));
            }
        }
        if packets.is_empty() { Ok(None) } else { Err(Error::new(Kind::Protocol, "git broke off within a request")) }
    }

    fn fetch(
        &mut self,
        request: FetchRequest,
        seen: &mut Seen,
        seed: &mut impl FnMut(&Wanted) -> Seeded,
    ) -> Result<bool> {
        if seen.wants.is_empty() {
            seen.wants.clone_from(&request.wants); // later rounds repeat them
            seen.clone = request.haves.is_empty();
            seen.scope.clone_from(&request.scope);
        }
        let understood = request.scope.unknown.is_none();
        if seen.seeded.is_none() && !seen.canonical_asked && understood {
            seen.seeded = Some(seed(&Wanted {
                wants: &request.wants,
                haves: &request.haves,
                include_tag: request.include_tag,
                clone: seen.clone,
                scope: &request.scope,
                by_canonical: true,
                canonical: &seen.canonical,
            }));
        }
        let gave = |seeded: &Seeded| seeded.satisfied || !seeded.from.is_empty();
        if self.required && !seen.seeded.as_ref().is_some_and(gave) {
            return Err(none_gives().hint(
                "`git mirror list` tells how the mirrors stand; `git -c mirror.required=false` takes it from canonical",
            ));
        }
        if !seen.canonical_asked {
            seen.from_canonical = seen.seeded.as_ref().map_or(0, |seeded| seeded.from_canonical);
        }
        if let Some(left) = seen.seeded.as_mut().filter(|_| understood).map(|seeded| &mut seeded.left)
            && matches!(left, Left::Held(_))
            && let Left::Held(held) = std::mem::take(left)
        {
            return self.fetch_held(&request, seen, held);
        }
        let ours = seen.seeded.as_ref().filter(|_| understood);
        let all = Rest::default();
        let rest = match ours.map(|seeded| &seeded.left) {
            Some(Left::Nothing) => {
                let hash = request.wants.first().map_or(gix::hash::Kind::Sha1, |id| id.kind());
                let answer = request.empty_answer(hash);
                pktio::write(&mut *self.git_out, &answer, "git")?;
                return Ok(true);
            }
            Some(Left::Rest(rest)) => rest,
            Some(Left::Held(_)) | None => &all,
        };
        let packets = request.with(&rest.here, &rest.tags, &rest.haves);
        let added = rest.haves.iter().filter(|id| !request.haves.contains(id)).copied();
        let mut filter = AckFilter::new(added);
        self.ask(&packets);
        self.pass_on(seen, &mut filter)
    }

    /// Passes canonical's answer to a request for objects on.
    fn pass_on(&mut self, seen: &mut Seen, filter: &mut AckFilter) -> Result<bool> {
        seen.canonical_asked = true;
        let before = self.server_in.bytes;
        let answer = self.answer(|pkt| filter.passes(pkt))?;
        let bytes = self.server_in.bytes - before;
        seen.from_canonical += bytes;
        seen.canonical_answered |= answer.whole;
        seen.figures.moved.0 += bytes;
        seen.figures.moved.1 += answer.rest;
        Ok(answer.whole)
    }

    /// Asks canonical where history ends, all else being here, and holds its answer until that is known. Where it ends
    /// elsewhere than where it was thought to, the request goes out as git sent it: over a connection of its own, as a
    /// server keeps to what it was told first.
    fn fetch_held(&mut self, request: &FetchRequest, seen: &mut Seen, held: Box<Held>) -> Result<bool> {
        seen.canonical_asked = true;
        let added = held.haves.iter().filter(|id| !request.haves.contains(id)).copied();
        let mut filter = AckFilter::new(added);
        self.ask(&request.claiming(&held.haves));
        let before = self.server_in.bytes;
        let head = self.head(&mut filter);
        seen.from_canonical += self.server_in.bytes - before;
        let (head, held) = (head?, Some(held).filter(|_| filter.in_pack()));
        let Some(held) = held else {
            // It wants to hear more, or has refused; either is for git.
            let whole = head.last() == Some(&Pkt::Flush);
            pktio::write(&mut *self.git_out, &head, "git")?;
            return Ok(whole);
        };
        if held.settle(filter.shallow_info()) {
            pktio::write(&mut *self.git_out, &head, "git")?;
            return self.pass_on(seen, &mut filter);
        }
        if let Some(seeded) = seen.seeded.as_mut() {
            (seeded.satisfied, seeded.from) = (false, Vec::new()); // nothing of it is used
        }
        if self.required {
            return Err(none_gives());
        }
        if self.stateless {
            let before = self.server_in.bytes;
            while self.server_in.read()?.is_some_and(|pkt| pkt != Pkt::Flush) {}
            seen.from_canonical += self.server_in.bytes - before;
        } else {
            let (server_in, server_out) = (self.reopen)()?;
            *self.server_in = server_in;
            *self.server_out = server_out;
        }
        self.ask(request.untouched());
        self.pass_on(seen, &mut AckFilter::default())
    }

    /// Reads what is in an answer before its pack, without what `filter` holds back; all of it where there is no pack.
    fn head(&mut self, filter: &mut AckFilter) -> Result<Vec<Pkt>> {
        let mut head = Vec::new();
        while let Some(pkt) = self.server_in.read()? {
            let last = pkt == Pkt::Flush;
            if filter.passes(&pkt) {
                head.push(pkt);
            }
            if last || filter.in_pack() {
                break;
            }
        }
        Ok(head)
    }

    /// Sends a request to canonical. Where canonical has gone, reading its answer will tell.
    fn ask(&mut self, packets: &[Pkt]) {
        if let Err(err) = pktio::write(self.server_out, packets, "canonical") {
            tracing::debug!(%err, "cannot send a request");
        }
    }

    /// Passes an answer on to git, up to and with its flush, but for packets that `passes` holds back.
    fn answer(&mut self, mut passes: impl FnMut(&Pkt) -> bool) -> Result<Answer> {
        let began = Instant::now();
        let mut first = None;
        let gone = |err: std::io::Error| {
            // A git that has died has said why.
            let dead = err.kind() == std::io::ErrorKind::BrokenPipe;
            Error::new(if dead { Kind::Told } else { Kind::Channel }, format!("cannot write to git: {err}"))
        };
        let mut out = BufWriter::with_capacity(128 * 1024, &mut *self.git_out);
        let mut bytes = Vec::new();
        let result = (|| {
            loop {
                let Some(pkt) = self.server_in.read()? else { return Ok(false) };
                first.get_or_insert_with(|| began.elapsed());
                if passes(&pkt) {
                    bytes.clear();
                    pkt.encode(&mut bytes);
                    out.write_all(&bytes).map_err(gone)?;
                }
                if pkt == Pkt::Flush {
                    return Ok(true);
                }
                if self.server_in.is_drained() {
                    out.flush().map_err(gone)?;
                }
            }
        })();
        let flushed = out.flush().map_err(gone);
        let whole = result.and_then(|whole| flushed.map(|()| whole))?;
        let all = began.elapsed();
        let first = first.unwrap_or(all);
        Ok(Answer { whole, first, rest: all - first })
    }
}

fn none_gives() -> Error {
    Error::new(Kind::Channel, "no mirror gives what is wanted, and mirror.required is set")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relays one request to a canonical server that answers with `answer`; returns why that fails.
    fn fails(answer: &[u8], git_out: &mut impl Write) -> String {
        let mut git_in = PktReader::new(&b"0014command=ls-refs\n0000"[..], "git");
        let mut server_in = PktReader::new(answer, "h.example");
        let server_out: &mut Box<dyn Write + Send> = &mut (Box::new(std::io::sink()) as _);
        let reopen: &mut dyn FnMut() -> Result<Connection<_>> =
            &mut || Err(Error::new(Kind::Channel, "there is no other connection"));
        let (git_in, server_in) = (&mut git_in, &mut server_in);
        let mut relay = Relay { git_in, git_out, server_in, server_out, reopen, required: false, stateless: false };
        relay.run(|_| Seeded::default(), || ()).expect_err("it fails").message
    }

    #[test]
    fn says_who_is_gone() {
        let why = fails(b"0009wan", &mut Vec::new());
        assert_eq!(why, "h.example: the connection ended within a message");
        assert!(fails(b"HTTP/1.1 500", &mut Vec::new()).starts_with("bad line length"));
        let why = fails(b"0009want\n0000", &mut &mut [0_u8; 3][..]);
        assert!(why.starts_with("cannot write to git: "), "{why}");
    }
}
