//! The relay for protocol v2 between git and the canonical server (DESIGN 2).
//!
//! It copies what both say, and does something of its own at one point: when git first asks for objects, mirrors are
//! asked before. Requests and answers alternate, so one thread does.

use std::io::{BufWriter, Read, Write};

use gix::ObjectId;

use crate::adapters::pktio::{self, PktReader};
use crate::usecases::seeding::{Seeded, Wanted};
use crate::values::{Error, Kind, Result};
use crate::wire::{AckFilter, FetchRequest, Pkt, RefList};

/// What a relay saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Canonical's refs, as far as git asked for them.
    pub canonical: RefList,
    /// The ids that git wanted.
    pub wants: Vec<ObjectId>,
    /// Who was asked before canonical, and what they gave.
    pub seeded: Option<Seeded>,
    /// Bytes that canonical sent in answer to requests for objects.
    pub from_canonical: u64,
    /// Whether canonical was asked for objects at all.
    pub canonical_asked: bool,
}

/// One relayed connection.
pub struct Relay<'a, I, S, O: Write> {
    /// From git.
    pub git_in: &'a mut PktReader<I>,
    /// To git.
    pub git_out: &'a mut O,
    /// From canonical.
    pub server_in: &'a mut PktReader<S>,
    /// To canonical.
    pub server_out: &'a mut dyn Write,
    /// Whether each request is a connection of its own: then a lone flush, git's farewell, is not for the server.
    pub stateless: bool,
}

impl<I: Read, S: Read, O: Write> Relay<'_, I, S, O> {
    /// Relays until git closes its side, or canonical goes away. `seed` is called once at most.
    ///
    /// # Errors
    /// [`Kind::Channel`] where git goes away, [`Kind::Protocol`] where either side sends what is no packet.
    pub fn run(&mut self, mut seed: impl FnMut(&Wanted) -> Seeded) -> Result<Seen> {
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
                self.answer(|pkt| {
                    if is_ls_refs {
                        seen.canonical.take_v2(pkt.text());
                    }
                    true
                })?
            };
            if !answered {
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
        }
        if seen.seeded.is_none() && !seen.canonical_asked && request.plain {
            seen.seeded = Some(seed(&Wanted {
                wants: &request.wants,
                haves: &request.haves,
                include_tag: request.include_tag,
                canonical: &seen.canonical,
            }));
        }
        if !seen.canonical_asked {
            seen.from_canonical = seen.seeded.as_ref().map_or(0, |seeded| seeded.from_canonical);
        }
        let ours = seen.seeded.as_ref().filter(|_| request.plain);
        if ours.is_some_and(|seeded| seeded.complete) {
            let hash = request.wants.first().map_or(gix::hash::Kind::Sha1, |id| id.kind());
            let answer = request.empty_answer(hash);
            pktio::write(&mut *self.git_out, &answer, "git")?;
            return Ok(true);
        }
        let none = Seeded::default();
        let ours = ours.unwrap_or(&none);
        seen.canonical_asked = true;
        let packets = request.with(&ours.here, &ours.tags, &ours.haves);
        let added = ours.haves.iter().filter(|id| !request.haves.contains(id)).copied();
        let mut filter = AckFilter::new(added);
        self.ask(&packets);
        let before = self.server_in.bytes;
        let answered = self.answer(|pkt| filter.passes(pkt));
        seen.from_canonical += self.server_in.bytes - before;
        answered
    }

    /// Sends a request to canonical. Where canonical has gone, reading its answer will tell.
    fn ask(&mut self, packets: &[Pkt]) {
        if let Err(err) = pktio::write(self.server_out, packets, "canonical") {
            tracing::debug!(%err, "cannot send a request");
        }
    }

    /// Passes an answer on to git, up to and with its flush, but for packets that `passes` holds back. Returns false
    /// where canonical closes its side before the flush.
    fn answer(&mut self, mut passes: impl FnMut(&Pkt) -> bool) -> Result<bool> {
        let gone = Error::doing(Kind::Channel, "cannot write to git");
        let mut out = BufWriter::with_capacity(128 * 1024, &mut *self.git_out);
        let mut bytes = Vec::new();
        let result = (|| {
            loop {
                let Some(pkt) = self.server_in.read().map_err(std::io::Error::other)? else { return Ok(false) };
                if passes(&pkt) {
                    bytes.clear();
                    pkt.encode(&mut bytes);
                    out.write_all(&bytes)?;
                }
                if pkt == Pkt::Flush {
                    return Ok(true);
                }
                if self.server_in.is_drained() {
                    out.flush()?;
                }
            }
        })();
        let flushed = out.flush();
        result.and_then(|whole| flushed.map(|()| whole)).map_err(gone)
    }
}
