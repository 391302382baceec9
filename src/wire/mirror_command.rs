//! The `mirror` command, the capability that offers it, and the tokens that stand for it in v0 and v1: both ways.
//!
//! Source: gitprotocol-mirror(5) in `docs/`; the tests decode and encode its examples. Whether a listed URL may be used
//! is not judged here. No decoder panics, and each is bounded by the limits below.
//! Long for its tests: whoever adds a word changes its way out, its way in and its test in one place.
//!
//! A URL on the wire is 1 to [`MAX_URL`] bytes of printable ASCII without a space. The encoders percent-encode spaces,
//! control characters and what is not ASCII; the decoders do the same with spaces and what is not ASCII, so that no URL
//! that leaves this file can confuse a line or a terminal, and refuse control characters.

use std::str::FromStr;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode, percent_encode, utf8_percent_encode};

use super::Pkt;
use super::pkt::{HEADER, MAX};
use crate::values::mirror_list::{Client, Location, MirrorEntry, MirrorList, PreferMirror, country_code};
use crate::values::{Error, Kind, Result, SafeText};

/// The longest answer, in bytes, with the length digits and the flush.
pub const MAX_BYTES: usize = 64 * 1024;
/// The most mirrors of one answer.
pub const MAX_MIRRORS: usize = 64;
/// The longest URL, in bytes, percent-encoded.
pub const MAX_URL: usize = 4096;
/// The longest `id`, in bytes.
pub const MAX_ID: usize = 128;

/// What a URL on the wire does not hold; what is not ASCII is encoded anyway.
const NOT_IN_URL: &AsciiSet = &CONTROLS.add(b' ');
/// What a token of v0 encodes once more, as it is decoded once more.
const NOT_IN_TOKEN: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The value of the capability `mirror`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Feature {
    /// Changes whenever the answer would: 1 to [`MAX_ID`] bytes of `[A-Za-z0-9._+/=-]`.
    pub id: Option<String>,
    /// The server takes `url=`.
    pub url: bool,
}

impl Feature {
    /// Reads the value of the capability: features with spaces between them. Passes over those that are unknown, and
    /// over an `id:` that is none.
    pub fn parse(value: &str) -> Self {
        let mut feature = Feature::default();
        for word in value.split(' ') {
            match word.split_once(':') {
                Some(("id", token)) if is_id(token) => feature.id = Some(token.to_owned()),
                None if word == "url" => feature.url = true,
                _ => {}
            }
        }
        feature
    }

    /// Returns the line of the advertisement: `mirror`, or `mirror=<features>`. Leaves out an `id` that is none.
    pub fn line(&self) -> String {
        let id = self.id.as_deref().filter(|id| is_id(id)).map(|id| format!("id:{id}"));
        let features: Vec<_> = id.into_iter().chain(self.url.then(|| "url".to_owned())).collect();
        if features.is_empty() { "mirror".to_owned() } else { format!("mirror={}", features.join(" ")) }
    }
}

fn is_id(token: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._+/=-".contains(&b);
    (1..=MAX_ID).contains(&token.len()) && token.bytes().all(allowed)
}

/// The request `command=mirror`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Which resource is meant: a URL of canonical. Only for a server that offers the feature `url`.
    pub url: Option<String>,
    /// The most mirrors that the client wants.
    pub limit: Option<u32>,
    /// How many mirrors of the list to leave out at its beginning.
    pub offset: Option<u32>,
}

impl Request {
    /// Returns whether `packets` is such a request.
    pub fn is_mirror(packets: &[Pkt]) -> bool {
        packets.first().is_some_and(|first| first.text() == b"command=mirror")
    }

    /// Reads a request: all packets up to and with its flush. Passes over capabilities and unknown arguments; of an
    /// argument that is repeated, the last counts.
    ///
    /// # Errors
    /// [`Kind::Protocol`] for a number that is none or needs more than 32 bits, a URL that is empty or too long, and
    /// control characters.
    pub fn parse(packets: &[Pkt]) -> Result<Self> {
        let mut request = Request::default();
        for pkt in packets.iter().skip_while(|pkt| **pkt != Pkt::Delim).skip(1) {
            let Some((key, value)) = key_value(printable(pkt.text())?) else { continue };
            match key {
                b"url" => {
                    let url = wire_url(value);
                    request.url = Some(url.ok_or_else(|| bad(format!("url= takes 1 to {MAX_URL} bytes")))?);
                }
                b"limit" => request.limit = Some(number(value).ok_or_else(|| bad("limit= takes a number"))?),
                b"offset" => request.offset = Some(number(value).ok_or_else(|| bad("offset= takes a number"))?),
                _ => {}
            }
        }
        Ok(request)
    }

    /// Returns the packets to send. Leaves out a URL that is empty or too long.
    pub fn encode(&self) -> Vec<Pkt> {
        let mut packets = vec![Pkt::line("command=mirror"), Pkt::Delim];
        let url = self.url.as_ref().and_then(|url| wire_url(url.as_bytes()));
        packets.extend(url.map(|url| Pkt::line(&format!("url={url}"))));
        packets.extend(self.limit.map(|n| Pkt::line(&format!("limit={n}"))));
        packets.extend(self.offset.map(|n| Pkt::line(&format!("offset={n}"))));
        packets.push(Pkt::Flush);
        packets
    }
}

/// Returns the answer to a request: one page. What is beyond [`MAX_MIRRORS`] or [`MAX_BYTES`] is counted in
/// `more-mirrors` instead; URLs that are empty or too long are left out.
pub fn encode(list: &MirrorList) -> Vec<Pkt> {
    let mut head: Vec<_> = list.not_found.then(|| Pkt::line("not-found")).into_iter().collect();
    let canonical = list.canonical.iter().filter_map(|url| wire_url(url.as_bytes()));
    fill(&mut head, canonical.map(|url| format!("canonical {url}")), MAX_BYTES / 2);
    let mut tail = Vec::new();
    tail.extend(prefer_word(list.prefer).map(|word| Pkt::line(&format!("prefer-mirror {word}"))));
    tail.extend(list.client.as_ref().map(|client| Pkt::line(&client_line(client))));
    tail.push(Pkt::Flush);

    let more_line = |n: u64| Pkt::line(&format!("more-mirrors {n}"));
    let mirrors: Vec<_> = list.mirrors.iter().filter_map(mirror_line).collect();
    let others: usize = head.iter().chain(&tail).chain([&more_line(u64::MAX)]).map(size).sum();
    let page = mirrors.iter().take(MAX_MIRRORS).cloned();
    let left = mirrors.len() - fill(&mut head, page, MAX_BYTES.saturating_sub(others));
    let more = list.more.saturating_add(left as u64);
    head.extend((more > 0).then(|| more_line(more)));
    head.extend(tail);
    head
}

/// Appends lines until one is beyond `room` bytes; returns how many.
fn fill(packets: &mut Vec<Pkt>, lines: impl Iterator<Item = String>, mut room: usize) -> usize {
    let before = packets.len();
    for pkt in lines.map(|line| Pkt::line(&line)) {
        match room.checked_sub(size(&pkt)) {
            Some(left) => room = left,
            None => break,
        }
        packets.push(pkt);
    }
    packets.len() - before
}

/// Returns how many bytes the packet takes on the wire.
fn size(pkt: &Pkt) -> usize {
    HEADER + if let Pkt::Data(data) = pkt { data.len() } else { 0 }
}

fn mirror_line(mirror: &MirrorEntry) -> Option<String> {
    let mut line = format!("mirror {}", wire_url(mirror.url.as_bytes())?);
    attribute(&mut line, "priority", mirror.priority);
    attribute(&mut line, "weight", mirror.weight);
    attribute(&mut line, "country", mirror.country.as_deref().and_then(country_code));
    attribute(&mut line, "location", mirror.location);
    attribute(&mut line, "as-of", mirror.as_of);
    Some(line)
}

fn client_line(client: &Client) -> String {
    let mut line = "client".to_owned();
    attribute(&mut line, "address", client.address);
    attribute(&mut line, "country", client.country.as_deref().and_then(country_code));
    attribute(&mut line, "location", client.location);
    line
}

fn attribute(line: &mut String, key: &str, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        *line += &format!(" {key}={value}");
    }
}

/// Reads the answer to a request, a packet at a time.
#[derive(Debug, Default)]
pub struct Decoder {
    list: MirrorList,
    bytes: usize,
}

impl Decoder {
    /// Takes the next packet; returns the page at its flush, and is then ready for another. Passes over lines and
    /// attributes that are unknown, attributes with a bad value, and URLs that are too long.
    ///
    /// # Errors
    /// [`Kind::Protocol`] for more than [`MAX_BYTES`] or [`MAX_MIRRORS`], control characters, an `ERR` packet, and a
    /// special packet other than the flush. Nothing after it is of use: the caller drops the connection.
    pub fn take(&mut self, pkt: &Pkt) -> Result<Option<MirrorList>> {
        self.bytes = self.bytes.saturating_add(size(pkt));
        if self.bytes > MAX_BYTES {
            return Err(bad(format!("the list is longer than {MAX_BYTES} bytes")));
        }
        match pkt {
            Pkt::Data(_) => self.line(pkt.text()).map(|()| None),
            Pkt::Flush => Ok(Some(std::mem::take(self).list)),
            Pkt::Delim | Pkt::ResponseEnd => Err(bad("the list does not end in a flush")),
        }
    }

    fn line(&mut self, text: &[u8]) -> Result<()> {
        if let Some(said) = text.strip_prefix(b"ERR ") {
            return Err(bad(format!("the server said: {}", SafeText::new(&String::from_utf8_lossy(said)))));
        }
        let mut words = printable(text)?.split(|b| *b == b' ').filter(|word| !word.is_empty());
        let list = &mut self.list;
        match (words.next().unwrap_or_default(), words.next()) {
            (b"canonical", Some(url)) => list.canonical.extend(wire_url(url)),
            (b"mirror", Some(url)) => {
                if let Some(url) = wire_url(url) {
                    if list.mirrors.len() == MAX_MIRRORS {
                        return Err(bad(format!("the list has more than {MAX_MIRRORS} mirrors")));
                    }
                    list.mirrors.push(mirror_entry(url, words));
                }
            }
            (b"more-mirrors", Some(n)) => list.more = number(n).unwrap_or(list.more),
            (b"prefer-mirror", Some(word)) => list.prefer = prefer(word).unwrap_or(list.prefer),
            (b"client", first) => list.client = Some(client(first.into_iter().chain(words))),
            (b"not-found", _) => list.not_found = true,
            _ => {}
        }
        Ok(())
    }
}

fn mirror_entry<'a>(url: String, words: impl Iterator<Item = &'a [u8]>) -> MirrorEntry {
    let mut mirror = MirrorEntry { url, ..MirrorEntry::default() };
    for (key, value) in words.filter_map(key_value) {
        match key {
            b"priority" => mirror.priority = number(value).or(mirror.priority),
            b"weight" => mirror.weight = number(value).or(mirror.weight),
            b"country" => mirror.country = country(value).or(mirror.country),
            b"location" => mirror.location = location(value).or(mirror.location),
            b"as-of" => mirror.as_of = number(value).or(mirror.as_of),
            _ => {}
        }
    }
    mirror
}

fn client<'a>(words: impl Iterator<Item = &'a [u8]>) -> Client {
    let mut client = Client::default();
    for (key, value) in words.filter_map(key_value) {
        match key {
            b"address" => client.address = text_of(value).or(client.address),
            b"country" => client.country = country(value).or(client.country),
            b"location" => client.location = location(value).or(client.location),
            _ => {}
        }
    }
    client
}

/// Returns the tokens that v0 and v1 send after the capabilities of the first ref, each with a space before it: the
/// first `first` mirrors, at most [`MAX_MIRRORS`], how many more there are, and whether they are preferred.
pub fn v0_tokens(list: &MirrorList, first: usize) -> String {
    let urls: Vec<_> = list.mirrors.iter().filter_map(|mirror| wire_url(mirror.url.as_bytes())).collect();
    let (page, rest) = urls.split_at(first.min(MAX_MIRRORS).min(urls.len()));
    let mut tokens: String =
        page.iter().map(|url| format!(" mirror={}", utf8_percent_encode(url, NOT_IN_TOKEN))).collect();
    let more = list.more.saturating_add(rest.len() as u64);
    attribute(&mut tokens, "more-mirrors", (more > 0).then_some(more));
    attribute(&mut tokens, "prefer-mirror", prefer_word(list.prefer));
    tokens
}

/// Returns the payload of the first ref's packet with `tokens` at the end of its capabilities; `None` where it has no
/// capabilities (no NUL), or would be too long for a packet.
pub fn add_v0_tokens(first_ref: &[u8], tokens: &str) -> Option<Vec<u8>> {
    let fits = first_ref.len() + tokens.len() <= MAX - HEADER;
    let line = first_ref.strip_suffix(b"\n").unwrap_or(first_ref);
    (fits && line.contains(&0)).then(|| [line, tokens.as_bytes(), &first_ref[line.len()..]].concat())
}

/// Reads the tokens in the payload of the first ref's packet; `None` where there are none, or more than
/// [`MAX_MIRRORS`], or a URL with control characters.
pub fn from_v0(first_ref: &[u8]) -> Option<MirrorList> {
    let line = first_ref.strip_suffix(b"\n").unwrap_or(first_ref);
    let capabilities = line.splitn(2, |b| *b == 0).nth(1)?;
    let (mut list, mut found) = (MirrorList::default(), false);
    for (key, value) in capabilities.split(|b| *b == b' ').filter_map(key_value) {
        match key {
            b"mirror" => {
                let url: Vec<u8> = percent_decode(value).collect();
                let entry = |url| MirrorEntry { url, ..MirrorEntry::default() };
                list.mirrors.extend(wire_url(printable(&url).ok()?).map(entry));
            }
            b"more-mirrors" => list.more = number(value).unwrap_or(list.more),
            b"prefer-mirror" => list.prefer = prefer(value).unwrap_or(list.prefer),
            _ => continue,
        }
        found = true;
    }
    (found && list.mirrors.len() <= MAX_MIRRORS).then_some(list)
}

fn bad(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Protocol, format!("command=mirror: {why}"))
}

fn printable(text: &[u8]) -> Result<&[u8]> {
    if text.iter().any(u8::is_ascii_control) { Err(bad("a line holds control characters")) } else { Ok(text) }
}

/// Returns the URL as it is on the wire, unless it is empty or too long.
fn wire_url(url: &[u8]) -> Option<String> {
    let url = percent_encode(url, NOT_IN_URL).to_string();
    (1..=MAX_URL).contains(&url.len()).then_some(url)
}

fn key_value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|b| *b == b'=')?;
    Some((&text[..at], &text[at + 1..]))
}

fn text_of<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads decimal digits; no sign.
fn number<T: FromStr>(text: &[u8]) -> Option<T> {
    text.iter().all(u8::is_ascii_digit).then(|| text_of(text)).flatten()
}

/// Reads `<latitude>,<longitude>`: digits with a sign and a point, no exponent.
fn location(text: &[u8]) -> Option<Location> {
    text.iter().all(|b| b.is_ascii_digit() || b"-.,".contains(b)).then(|| text_of(text)).flatten()
}

fn country(text: &[u8]) -> Option<String> {
    country_code(std::str::from_utf8(text).ok()?)
}

fn prefer(word: &[u8]) -> Option<PreferMirror> {
    match word {
        b"once" => Some(PreferMirror::Once),
        b"always" => Some(PreferMirror::Always),
        _ => None,
    }
}

fn prefer_word(prefer: PreferMirror) -> Option<&'static str> {
    match prefer {
        PreferMirror::No => None,
        PreferMirror::Once => Some("once"),
        PreferMirror::Always => Some("always"),
    }
}

#[cfg(test)]
mod tests;
