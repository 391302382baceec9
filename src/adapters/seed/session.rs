//! A conversation with a mirror: gix-protocol speaks the client's side.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use gix::ObjectId;
use gix::bstr::BString;
use gix::protocol::handshake;
use gix::protocol::transport::client::blocking_io::{ReadlineBufRead, TransportV2Ext};
use gix::protocol::transport::{Protocol, Service, client};

use super::NEVER;
use super::negotiation::{ById, Extent, Negotiation};
use super::pack::Indexing;
use crate::adapters::git::odb::Odb;
use crate::adapters::net::channel::Channel;
use crate::adapters::net::watch::Held;
use crate::values::{Error, Kind, Result, SafeText, url_key};
use crate::wire::mirror_command::{Decoder, Feature};
use crate::wire::{Pkt, RefLine, RefList, Scope, ShallowInfo};

/// Most names for which a `ref-prefix` each is sent; with more, all branches and tags are listed.
pub const MAX_PREFIXES: usize = 64;

/// Most bytes of an advertisement: that of v2 has some hundred, one of v0 with 100,000 refs fits.
const MAX_ADVERTISED: u64 = 8 << 20;
/// Most bytes of a list of refs: some two million of them.
const MAX_REFS: u64 = 128 << 20;
/// Most bytes of memory for those of them that matter: a million with names of 50 bytes.
const MAX_KEPT: usize = 160 << 20;
/// Most bytes of an answer to `command=mirror`, with the heads of its packets.
const MAX_ANSWER: u64 = 2 * crate::wire::mirror_command::MAX_BYTES as u64;
/// Most bytes of what a mirror says of a negotiation before its pack begins: some 80,000 acknowledgments.
const MAX_TALK: u64 = 4 << 20;
/// Most bytes behind the pack: what people are told, and the flush.
const MAX_FAREWELL: u64 = 1 << 20;

type Connection = client::git::blocking_io::Connection<Gate, Held>;

/// Lets so many bytes through, and no more: gix keeps what it reads of an answer's sections, of an advertisement, and of
/// lists.
struct Gate {
    inner: Box<dyn std::io::Read + Send>,
    left: Allowance,
}

/// How many bytes may still be read.
#[derive(Clone)]
struct Allowance(Arc<AtomicU64>);

impl Allowance {
    /// A pack may have any size: it does not stay in memory.
    const ANY: u64 = u64::MAX;

    /// Lets so many bytes through from now on.
    fn set(&self, bytes: u64) {
        self.0.store(bytes, Relaxed);
    }
}

impl std::io::Read for Gate {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let left = self.left.0.load(Relaxed);
        if left == Allowance::ANY {
            return self.inner.read(buf);
        }
        let most = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if most == 0 && !buf.is_empty() {
            return Err(std::io::Error::other("it says more than it may"));
        }
        let n = self.inner.read(&mut buf[..most])?;
        self.left.set(left.saturating_sub(n as u64));
        Ok(n)
    }
}

/// An open conversation with a mirror.
pub struct Session {
    connection: Connection,
    allowance: Allowance,
    handshake: gix::protocol::Handshake,
    /// Keeps the child alive, and ends it.
    channel: Channel,
    who: String,
    hash: gix::hash::Kind,
    /// The URL that the mirror stands in for, where it has to be told.
    url: Option<String>,
}

impl Session {
    /// Reads the mirror's advertisement. `who` is named in errors.
    ///
    /// # Errors
    /// [`Kind::Protocol`] where it is none of protocol v2; [`Kind::Channel`] where the mirror says no.
    pub fn open(mut channel: Channel, who: &str) -> Result<Self> {
        let inner = std::mem::replace(&mut channel.reader, Box::new(std::io::empty()));
        let allowance = Allowance(Arc::new(AtomicU64::new(MAX_ADVERTISED)));
        let reader = Gate { inner, left: allowance.clone() };
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
        let hash = gix::hash::Kind::Sha1;
        Ok(Session { connection, allowance, handshake, channel, who: who.to_owned(), hash, url: None })
    }

    /// Makes it a conversation about a repository whose object names are of the kind `hash`, and that is known under
    /// `urls`.
    ///
    /// # Errors
    /// [`Kind::Protocol`] where the mirror has other object names, or its answer cannot be read.
    pub fn adopt(&mut self, hash: gix::hash::Kind, urls: &[String]) -> Result<()> {
        let format = self.handshake.capabilities.capability("object-format");
        let format = format.and_then(|c| c.value().map(ToString::to_string)).unwrap_or_else(|| "sha1".into());
        if format != hash.to_string() {
            return Err(Error::new(Kind::Protocol, format!("its object format is {format}, not {hash}")));
        }
        self.hash = hash;
        self.stand_in(urls)
    }

    /// Has a mirror that takes `url=` stand in for the first of `urls` that it knows; any other one is left as it is.
    /// Source: gitprotocol-mirror(5).
    ///
    /// # Errors
    /// [`Kind::Protocol`] where its answer cannot be read.
    fn stand_in(&mut self, urls: &[String]) -> Result<()> {
        let feature = self.handshake.capabilities.capability("mirror").and_then(|c| c.value().map(|v| v.to_string()));
        let (true, Some(first)) = (feature.is_some_and(|value| Feature::parse(&value).url), urls.first()) else {
            return Ok(());
        };
        let mut decoder = Decoder::default();
        self.invoke("mirror", vec![format!("url={first}")], MAX_ANSWER, |line| {
            decoder.take(&Pkt::Data(line.to_vec())).map(|_| ())
        })?;
        let list = decoder.take(&Pkt::Flush)?.unwrap_or_default();
        self.url = if list.not_found {
            let knows = |url: &&String| list.canonical.iter().any(|known| url_key::same_resource(known, url));
            urls.iter().find(knows).cloned()
        } else {
            Some(first.clone())
        };
        tracing::debug!(who = self.who, url = ?self.url, "a mirror stands in");
        Ok(())
    }

    /// Returns those of the mirror's refs that `matters` says of, where they have these names, or, for many names and if
    /// `widely`, others.
    ///
    /// # Errors
    /// [`Kind::Protocol`] where the answer cannot be read.
    pub fn ls_refs(
        &mut self,
        names: &BTreeSet<&str>,
        widely: bool,
        matters: impl Fn(&RefLine) -> bool,
    ) -> Result<RefList> {
        let mut arguments = vec!["peel".to_owned()];
        if !widely && names.len() <= MAX_PREFIXES {
            arguments.extend(names.iter().map(|name| format!("ref-prefix {name}")));
        } else {
            let folders: BTreeSet<String> = names
                .iter()
                .map(|name| name.splitn(3, '/').take(2).flat_map(|part| [part, "/"]).collect::<String>())
                .collect();
            arguments.extend(folders.into_iter().map(|folder| format!("ref-prefix {folder}")));
        }
        arguments.extend(self.url.as_ref().map(|url| format!("url={url}")));
        let mut refs = RefList::default();
        let mut memory = 0;
        self.invoke("ls-refs", arguments, MAX_REFS, |line| {
            let line = RefLine::parse(line.strip_suffix(b"\n").unwrap_or(line)).filter(|line| matters(line));
            memory += line.map_or(0, |line| refs.push(line));
            let too_much = || Error::new(Kind::Protocol, "its list of refs is too long");
            if memory > MAX_KEPT { Err(too_much()) } else { Ok(()) }
        })?;
        Ok(refs)
    }

    /// Sends a command; `take` gets each packet of its answer, which may have `most` bytes, up to its flush.
    fn invoke(
        &mut self,
        command: &str,
        arguments: Vec<String>,
        most: u64,
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.allowance.set(most);
        let format = self.handshake.capabilities.capability("object-format").is_some();
        let format = (format && command != "mirror").then(|| ("object-format", Some(self.hash.to_string())));
        let features = format.into_iter().chain([(agent().0, agent().1.map(|value| value.to_string()))]);
        let arguments = arguments.into_iter().map(BString::from);
        let failed = {
            match self.connection.invoke(command, features, Some(arguments), false) {
                Err(err) => Some(gix::Error::from_error(err)),
                Ok(mut reader) => loop {
                    match reader.readline() {
                        Some(Ok(Ok(line))) => {
                            let Some(data) = line.as_slice() else { break None };
                            take(data)?;
                        }
                        Some(Ok(Err(err))) => break Some(gix::Error::from_error(err)),
                        Some(Err(err)) => break Some(gix::Error::from_error(err)),
                        None => break None,
                    }
                },
            }
        };
        match failed {
            Some(err) => Err(told(&self.who, &self.channel, &err)),
            None => Ok(()),
        }
    }

    /// Fetches `wants` into a quarantine; returns how many objects came.
    ///
    /// `haves` are commits that the mirror is likely to have as well; from them on, history is offered to it until it
    /// knows one.
    ///
    /// # Errors
    /// [`Kind::Protocol`] where the mirror refuses or breaks off; [`Kind::Proof`] where the pack is damaged.
    pub fn fetch(&mut self, wants: &[ObjectId], haves: &[ObjectId], odb: &Odb, indexing: &Indexing) -> Result<u64> {
        let thin = (!haves.is_empty()).then_some(odb);
        let got = self.fetch_by(&mut Negotiation::new(wants, haves, odb)?, thin, None, indexing);
        got.map(|(objects, _)| objects)
    }

    /// Returns whether the mirror leaves objects out where it is told so (`uploadpack.allowFilter`).
    pub fn takes_filter(&self) -> bool {
        self.takes("filter")
    }

    /// Returns whether the mirror sends a part of a history.
    pub fn takes_depth(&self) -> bool {
        self.takes("shallow")
    }

    fn takes(&self, feature: &str) -> bool {
        let fetch = self.handshake.capabilities.capability("fetch");
        fetch.is_some_and(|fetch| fetch.supports(feature).unwrap_or(false))
    }

    /// Fetches the part `scope` of what `wants` reach into a quarantine, in one round: what `haves` reach need not come.
    /// With `include_tag`, tags come with what they name. Returns how many objects came, and how that changes where
    /// history ends. `shallow` is the file in which that is: in the form of `.git/shallow`, and changed likewise; there
    /// need not be one.
    ///
    /// # Errors
    /// As for [`Session::fetch`].
    pub fn fetch_part(
        &mut self,
        (wants, haves): (&[ObjectId], &[ObjectId]),
        (scope, include_tag): (&Scope, bool),
        shallow: &Path,
        odb: &Odb,
        indexing: &Indexing,
    ) -> Result<(u64, ShallowInfo)> {
        let filter = scope.filter.iter().map(|spec| format!("filter {spec}"));
        let tags = include_tag.then(|| "include-tag".to_owned());
        let lines = scope.deepen_lines().chain(filter).chain(tags).collect();
        // Where history goes on, what was its end is here.
        let thin = (!haves.is_empty() || shallow.exists()).then_some(odb);
        self.fetch_by(&mut ById { wants, haves, lines }, thin, Some(shallow), indexing)
    }

    /// Fetches the objects `wants`, of whatever kind, into a quarantine, to this `extent`; returns how many came. A server
    /// of v2 gives any object that it has.
    ///
    /// # Errors
    /// As for [`Session::fetch`].
    pub fn fetch_by_id(
        &mut self,
        wants: &[ObjectId],
        haves: &[ObjectId],
        extent: Extent,
        odb: &Odb,
        indexing: &Indexing,
    ) -> Result<u64> {
        let thin = (!haves.is_empty()).then_some(odb);
        let got = self.fetch_by(&mut ById { wants, haves, lines: extent.lines() }, thin, None, indexing);
        got.map(|(objects, _)| objects)
    }

    /// `thin` is where what others are deltas of may be; `shallow` a file of its own that says where history ends.
    fn fetch_by(
        &mut self,
        negotiation: &mut impl gix::protocol::fetch::Negotiate,
        thin: Option<&Odb>,
        shallow: Option<&Path>,
        indexing: &Indexing,
    ) -> Result<(u64, ShallowInfo)> {
        let mut outcome: Option<Result<u64>> = None;
        let allowance = self.allowance.clone();
        allowance.set(MAX_TALK);
        // Where it is the repository's, nothing may change it: git does.
        let shallow_file = shallow.map_or_else(|| indexing.repo.common_dir.join("shallow"), Path::to_owned);
        let fetched = gix::protocol::fetch(
            negotiation,
            |reader, _progress, stop| {
                allowance.set(Allowance::ANY);
                let got = indexing.run(reader, thin.map(|odb| odb.0.clone()), stop);
                // The mirror still has to end its answer.
                allowance.set(MAX_FAREWELL);
                indexing.numbers.resolved.store(0, Relaxed);
                indexing.numbers.before.store(0, Relaxed);
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
                reject_shallow_remote: shallow.is_none(),
            },
        );
        match (outcome, fetched) {
            (Some(Err(err)), _) => Err(err),
            (_, Err(err)) => Err(told(&self.who, &self.channel, &err)),
            (Some(Ok(objects)), Ok(ended)) => Ok((objects, shallow_info(ended.as_ref()))),
            (None, Ok(_)) => Err(Error::new(Kind::Protocol, "it sent no pack")),
        }
    }
}

fn shallow_info(outcome: Option<&gix::protocol::fetch::Outcome>) -> ShallowInfo {
    use gix::protocol::fetch::response::ShallowUpdate;
    let mut info = ShallowInfo::default();
    for update in outcome.iter().flat_map(|outcome| outcome.last_response.shallow_updates()) {
        match update {
            ShallowUpdate::Shallow(id) => info.shallow.insert(*id),
            ShallowUpdate::Unshallow(id) => info.unshallow.insert(*id),
        };
    }
    info
}

fn agent() -> gix::protocol::command::Feature {
    ("agent", Some(concat!("git-mirror-fetch/", env!("CARGO_PKG_VERSION")).into()))
}

/// Returns an error with the mirror's own words where it said something, and with gix's otherwise.
fn told(who: &str, channel: &Channel, err: &gix::Error) -> Error {
    tracing::debug!(who, ?err, "a mirror failed");
    let cause = err.probable_cause().to_string();
    let message = channel.said().unwrap_or(cause);
    let message = if message.contains("clone.rejectShallow") { "it is shallow itself".to_owned() } else { message };
    let message = SafeText::new(message.lines().next().unwrap_or_default()).to_string();
    Error::new(if says_not_here(&message) { Kind::NotFound } else { Kind::Protocol }, message)
}

/// Returns whether a server says that the repository is not there, or not for us: git, its daemon, web servers and ssh
/// say it in words only.
fn says_not_here(message: &str) -> bool {
    const NOT_HERE: [&str; 10] = [
        "no such repository",
        "not found",
        "not exported",
        "does not appear to be a git repository",
        "not a git repository",
        "does not exist",
        "access denied",
        "error: 403",
        "Authentication failed",
        "could not read Username",
    ];
    NOT_HERE.iter().any(|text| message.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_servers_say_of_what_they_lack() {
        for text in [
            "repository 'http://m/x/' not found",
            "remote error: access denied or repository not exported: /x",
            "'/x' does not appear to be a git repository",
        ] {
            assert!(says_not_here(text), "{text}");
        }
        assert!(!says_not_here("upload-pack: not our ref aa") && !says_not_here("unable to connect to m"));
    }
}
