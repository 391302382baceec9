//! Objects from a mirror into a quarantine: gix-protocol speaks the client's side, gix-pack indexes what comes.
//!
//! Nothing here is believed: what is fetched stays in the quarantine until [`super::repo::Repo::prove`] has seen it.

mod closed;
mod meter;
mod pack;
pub mod quarantine;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix::protocol::fetch::negotiate;
use gix::protocol::transport::{Protocol, Service, client};
use gix::protocol::{LsRefsCommand, handshake, ls_refs::RefPrefixes};

use super::channel::Channel;
use super::odb::Odb;
use super::watch::Held;
pub use closed::is_closed;
pub use meter::Numbers;
pub use pack::{Indexing, strict_option};

use crate::values::{Error, Kind, Result};
use crate::wire::{RefList, RemoteRef};

/// Most names for which a `ref-prefix` each is sent; with more, all branches and tags are listed.
const MAX_PREFIXES: usize = 64;

/// gix asks this whether to stop. A mirror is left by ending its channel, and a signal ends the whole process.
static NEVER: AtomicBool = AtomicBool::new(false);

type Connection = client::git::blocking_io::Connection<Box<dyn std::io::Read + Send>, Held>;

/// An open conversation with a mirror.
pub struct Session {
    connection: Connection,
    handshake: gix::protocol::Handshake,
    /// Keeps the child alive, and ends it.
    channel: Channel,
    who: String,
}

impl Session {
    /// Reads the mirror's advertisement. `who` is named in errors, `hash` is what its object names must be.
    ///
    /// # Errors
    /// [`Kind::Protocol`] where it is none of protocol v2; [`Kind::Channel`] where the mirror says no.
    pub fn open(mut channel: Channel, who: &str, hash: gix::hash::Kind) -> Result<Self> {
        let reader = std::mem::replace(&mut channel.reader, Box::new(std::io::empty()));
        let writer = Held(channel.writer.take());
        let none = None::<(String, Option<u16>)>;
        let mode = client::git::ConnectMode::Process;
        let mut connection = Connection::new(reader, writer, Protocol::V2, "", none, mode, false);
        let shaken = handshake(&mut connection, Service::UploadPack, |_| Ok(None), vec![], &mut gix::progress::Discard);
        let handshake = match shaken {
            Ok(handshake) => handshake,
            Err(err) => return Err(told(who, &channel, &err)),
        };
        if handshake.server_protocol_version != Protocol::V2 {
            return Err(Error::new(Kind::Protocol, "it does not speak protocol v2"));
        }
        let format = handshake.capabilities.capability("object-format");
        let format = format.and_then(|c| c.value().map(ToString::to_string)).unwrap_or_else(|| "sha1".into());
        if format != hash.to_string() {
            return Err(Error::new(Kind::Protocol, format!("its object format is {format}, not {hash}")));
        }
        Ok(Session { connection, handshake, channel, who: who.to_owned() })
    }

    /// Returns the mirror's refs of these names (and, for many names, more).
    ///
    /// # Errors
    /// [`Kind::Protocol`] where the answer cannot be read.
    pub fn ls_refs<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Result<RefList> {
        let names: BTreeSet<&str> = names.collect();
        let mut prefixes = RefPrefixes::new();
        if names.len() <= MAX_PREFIXES {
            prefixes.extend(names.iter().map(|name| (*name).into()));
        } else {
            let folders: BTreeSet<String> = names
                .iter()
                .map(|name| name.splitn(3, '/').take(2).flat_map(|part| [part, "/"]).collect::<String>())
                .collect();
            prefixes.extend(folders.into_iter().map(Into::into));
        }
        let agent = agent();
        let command = LsRefsCommand::new(Some(prefixes), &self.handshake.capabilities, agent);
        let refs = command
            .invoke_blocking(&mut self.connection, &mut gix::progress::Discard, false)
            .map_err(|err| told(&self.who, &self.channel, &err))?;
        Ok(RefList { refs: refs.into_iter().filter_map(remote_ref).collect() })
    }

    /// Fetches `wants` into a quarantine; returns how many objects came.
    ///
    /// `haves` are commits that the mirror is likely to have as well; from them on, history is offered to it until it
    /// knows one.
    ///
    /// # Errors
    /// [`Kind::Protocol`] where the mirror refuses or breaks off; [`Kind::Proof`] where the pack is damaged.
    pub fn fetch(&mut self, wants: &[ObjectId], haves: &[ObjectId], odb: &Odb, indexing: &Indexing) -> Result<u64> {
        let mut negotiation = Negotiation::new(wants, haves, odb)?;
        let mut outcome: Option<Result<u64>> = None;
        let shallow_file = indexing.repo.common_dir.join("shallow");
        let fetched = gix::protocol::fetch(
            &mut negotiation,
            |reader, _progress, stop| {
                let thin = (!haves.is_empty()).then(|| odb.0.clone());
                let got = indexing.run(reader, thin, stop);
                let failed = got.as_ref().err().map(|err| err.message.clone());
                outcome = Some(got);
                match failed {
                    None => Ok(true),
                    Some(why) => Err(gix::Error::from_error(std::io::Error::other(why))),
                }
            },
            gix::progress::Discard,
            &NEVER,
            gix::protocol::fetch::Context {
                handshake: &mut self.handshake,
                transport: &mut self.connection,
                user_agent: agent(),
                trace_packetlines: false,
            },
            gix::protocol::fetch::Options {
                shallow_file,
                shallow: &gix::protocol::fetch::Shallow::NoChange,
                tags: gix::protocol::fetch::Tags::None,
                reject_shallow_remote: true,
            },
        );
        match (outcome, fetched) {
            (Some(Err(err)), _) => Err(err),
            (_, Err(err)) => Err(told(&self.who, &self.channel, &err)),
            (Some(Ok(objects)), Ok(_)) => Ok(objects),
            (None, Ok(_)) => Err(Error::new(Kind::Protocol, "it sent no pack")),
        }
    }
}

/// Chooses what to offer to the mirror; the rounds themselves are gix's.
struct Negotiation<'a> {
    wants: &'a [ObjectId],
    negotiator: Box<dyn gix::negotiate::Negotiator>,
    graph: gix::negotiate::Graph<'a, 'static>,
}

impl<'a> Negotiation<'a> {
    fn new(wants: &'a [ObjectId], haves: &[ObjectId], odb: &'a Odb) -> Result<Self> {
        let mut graph = gix::negotiate::Graph::new(&odb.0, None);
        let mut negotiator = gix::negotiate::Algorithm::Consecutive.into_negotiator();
        for have in haves.iter().filter(|id| odb.is_commit(id)) {
            negotiator
                .add_tip(*have, &mut graph)
                .map_err(Error::doing(Kind::Local, "cannot read the history that is here"))?;
        }
        Ok(Negotiation { wants, negotiator, graph })
    }
}

impl gix::protocol::fetch::Negotiate for Negotiation<'_> {
    fn mark_complete_and_common_ref(&mut self) -> gix::Result<negotiate::Action> {
        Ok(negotiate::Action::MustNegotiate { remote_ref_target_known: Vec::new() })
    }

    fn add_wants(&mut self, arguments: &mut gix::protocol::fetch::Arguments, _known: &[bool]) -> bool {
        self.wants.iter().for_each(|want| arguments.want(want));
        !self.wants.is_empty()
    }

    fn one_round(
        &mut self,
        state: &mut negotiate::one_round::State,
        arguments: &mut gix::protocol::fetch::Arguments,
        previous_response: Option<&gix::protocol::fetch::Response>,
    ) -> gix::Result<(negotiate::Round, bool)> {
        negotiate::one_round(&mut *self.negotiator, &mut self.graph, state, arguments, previous_response)
    }
}

fn agent() -> gix::protocol::command::Feature {
    ("agent", Some(concat!("git-mirror-fetch/", env!("CARGO_PKG_VERSION")).into()))
}

fn remote_ref(theirs: gix::protocol::handshake::Ref) -> Option<RemoteRef> {
    use gix::protocol::handshake::Ref;
    let (name, oid, peeled) = match theirs {
        Ref::Peeled { full_ref_name, tag, object } => (full_ref_name, tag, Some(object)),
        Ref::Direct { full_ref_name, object } => (full_ref_name, object, None),
        Ref::Symbolic { full_ref_name, tag, object, .. } => (full_ref_name, tag.unwrap_or(object), tag.map(|_| object)),
        Ref::Unborn { .. } => return None,
    };
    Some(RemoteRef { name: name.to_string(), oid, peeled })
}

/// Returns an error with the mirror's own words where it said something, and with gix's otherwise.
fn told(who: &str, channel: &Channel, err: &gix::Error) -> Error {
    tracing::debug!(who, ?err, "a mirror failed");
    let cause = err.probable_cause().to_string();
    let message = channel.said().unwrap_or(cause);
    Error::new(Kind::Protocol, message.lines().next().unwrap_or_default().trim().to_owned())
}
