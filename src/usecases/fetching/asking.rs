//! Asking a server for its mirrors with `command=mirror`, on the connection that is open or on one of its own
//! (gitprotocol-mirror(5)).

use std::io::Read;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::adapters::net::channel::{Channel, HttpHelper, Opening, Role, Service};
use crate::adapters::net::pktio::{self, PktReader};
use crate::usecases::fetching::remote::Remote;
use crate::values::mirror_list::MirrorList;
use crate::values::{Error, GitUrl, Kind, Result, SafeText, Transport};
use crate::wire::mirror_command::{Decoder, Feature, Request, from_v0};
use crate::wire::{Advert, Pkt};

/// How long an answer may take, all of it.
const ANSWER: Duration = Duration::from_secs(10);

/// A channel whose first message has been read.
pub struct Open {
    /// The channel; its reader is `server` now.
    pub channel: Channel,
    /// From the server.
    pub server: PktReader<Box<dyn Read + Send>>,
    /// The message: an advertisement of v2, or of an older version.
    pub packets: Vec<Pkt>,
}

impl Open {
    /// Reads the first message: up to and with its flush, or the end of the stream.
    ///
    /// # Errors
    /// Those of [`PktReader::read`].
    pub fn read(mut channel: Channel, url: &GitUrl) -> Result<Self> {
        let reader = std::mem::replace(&mut channel.reader, Box::new(std::io::empty()));
        let mut server = PktReader::new(reader, url.shown_host());
        let mut packets = Vec::new();
        while packets.last() != Some(&Pkt::Flush) {
            match server.read()? {
                Some(pkt) => packets.push(pkt),
                None => break,
            }
        }
        Ok(Open { channel, server, packets })
    }
}

/// Opens a channel to canonical beside the one that git speaks over; `None` where it serves dumb HTTP. `role` tells whether
/// it may ask for a password.
///
/// # Errors
/// Those of the connection.
pub fn open_canonical(remote: &Remote, role: Role, connect_by: Option<Instant>) -> Result<Option<Channel>> {
    let Remote { name, url, config, family, report } = *remote;
    let program = format!("remote.{name}.uploadpack");
    if url.transport == Transport::Http {
        let mut http = HttpHelper::start(name, url, role, config)?;
        if role == Role::Beside {
            return http.into_lazy_channel(Service::UploadPack).map(Some); // a watcher ends it
        }
        let connected = http.connect(Service::UploadPack)?;
        return Ok(connected.then(|| http.into_channel(Service::UploadPack)));
    }
    let opening = Opening {
        role,
        service: Service::UploadPack,
        program: config.get(&program),
        version: 2,
        family,
        connect_by,
        config,
        report,
    };
    Channel::open(url, &opening).map(Some)
}

/// What a server was asked, and said.
#[derive(Debug)]
pub struct Answer {
    /// What it advertised; nothing for a server of v0 or v1.
    pub feature: Feature,
    /// What it answered.
    pub list: MirrorList,
}

/// Asks a server for its mirrors, on a connection of its own.
///
/// # Errors
/// [`Kind::Nothing`] where it lists none; those of the connection and of the answer.
pub fn ask(remote: &Remote, request: &Request) -> Result<Answer> {
    let url = remote.url;
    let none = || Error::new(Kind::Nothing, format!("{} lists no mirrors", url.shown_host()));
    let channel = open_canonical(remote, Role::Canonical, None)?.ok_or_else(none)?;
    let Open { mut channel, server, packets } = Open::read(channel, url)?;
    let Some(first) = packets.first() else {
        return Err(Error::new(Kind::Told, "the server hung up"));
    };
    if let Some(why) = first.text().strip_prefix(b"ERR ") {
        return Err(Error::new(
            Kind::Channel,
            format!("remote error: {}", SafeText::new(&String::from_utf8_lossy(why))),
        ));
    }
    if !Advert::announces_v2(first) {
        let list = packets.iter().find_map(|pkt| from_v0(pkt.text())).ok_or_else(none)?;
        return Ok(Answer { feature: Feature::default(), list });
    }
    let feature = feature(&packets).ok_or_else(none)?;
    if request.url.is_some() && !feature.url {
        return Err(Error::new(Kind::Nothing, format!("{} stands in for no other URL", url.shown_host())));
    }
    if let Some(writer) = channel.writer.as_mut() {
        pktio::write(writer, &request.encode(), &url.shown_host())?;
    }
    let (_server, list) = read_answer(server)?;
    Ok(Answer { feature, list })
}

/// Reads the answer to `command=mirror`. Nothing can be read from the connection any more where that fails.
///
/// # Errors
/// [`Kind::Timeout`] where it does not end in time, [`Kind::Protocol`] where it is none or too long.
pub fn read_answer<R: Read + Send + 'static>(mut server: PktReader<R>) -> Result<(PktReader<R>, MirrorList)> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut decoder = Decoder::default();
        let list = loop {
            match server.read() {
                Ok(Some(pkt)) => match decoder.take(&pkt) {
                    Ok(None) => {}
                    Ok(Some(list)) => break Ok(list),
                    Err(err) => break Err(err),
                },
                Ok(None) => break Err(Error::new(Kind::Channel, "command=mirror: the connection ended")),
                Err(err) => break Err(err),
            }
        };
        let _ = tell.send(list.map(|list| (server, list)));
    });
    let late = || Error::new(Kind::Timeout, format!("command=mirror: no answer within {} s", ANSWER.as_secs()));
    told.recv_timeout(ANSWER).unwrap_or_else(|_| Err(late()))
}

/// Returns what a v2 advertisement says of mirrors.
pub fn feature(advertisement: &[Pkt]) -> Option<Feature> {
    let mut advert = Advert::default();
    advertisement.iter().skip(1).for_each(|pkt| advert.take(pkt));
    advert.get("mirror").map(Feature::parse)
}
