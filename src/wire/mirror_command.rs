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
use crate::values::{Error, Kind, Result};

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
            let said: String = String::from_utf8_lossy(said).chars().take(500).flat_map(char::escape_debug).collect();
            return Err(bad(format!("the server said: {said}")));
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
mod tests {
    use super::super::pkt::Head;
    use super::*;

    fn decode(packets: &[Pkt]) -> Result<MirrorList> {
        let mut decoder = Decoder::default();
        for pkt in packets {
            if let Some(list) = decoder.take(pkt)? {
                return Ok(list);
            }
        }
        Err(bad("no flush"))
    }

    fn decode_lines(lines: &[&[u8]]) -> Result<MirrorList> {
        let packets = lines.iter().map(|line| Pkt::Data([line, &b"\n"[..]].concat()));
        decode(&packets.chain([Pkt::Flush]).collect::<Vec<_>>())
    }

    fn mirror(url: &str) -> MirrorEntry {
        MirrorEntry { url: url.into(), ..MirrorEntry::default() }
    }

    fn list() -> MirrorList {
        let whole = MirrorEntry {
            priority: Some(1),
            weight: Some(u32::MAX),
            country: Some("DE".into()),
            location: Location::new(-50.110_9, 8.68),
            as_of: Some(u64::MAX),
            ..mirror("https://eu.example/a=b%20c.git")
        };
        MirrorList {
            canonical: vec!["https://git.example/p.git".into(), "ssh://git@git.example/p.git".into()],
            mirrors: vec![whole, mirror("git://[2001:db8::1]:9999/p")],
            more: u64::MAX,
            prefer: PreferMirror::Always,
            client: Some(Client {
                address: "2001:db8::2".parse().ok(),
                country: Some("FR".into()),
                location: Location::new(-0.5, -180.0),
            }),
            not_found: true,
        }
    }

    #[test]
    fn features() {
        let known = |id: Option<&str>, url| Feature { id: id.map(str::to_owned), url };
        let long = format!("id:{}", "a".repeat(MAX_ID));
        for (value, want, line) in [
            ("", known(None, false), "mirror"),
            ("id:Az09._+/=- url", known(Some("Az09._+/=-"), true), "mirror=id:Az09._+/=- url"),
            ("url new  more:x url2", known(None, true), "mirror=url"),
            ("id:a id:b:c id: id:\u{e9} url:x", known(Some("a"), false), "mirror=id:a"),
            (&long, known(Some(&long[3..]), false), &format!("mirror={long}")),
            (&format!("{long}a"), known(None, false), "mirror"),
        ] {
            let got = Feature::parse(value);
            assert_eq!((&got, got.line().as_str()), (&want, line), "{value}");
        }
        assert_eq!(known(Some("a b\n"), true).line(), "mirror=url");
    }

    #[test]
    fn requests() {
        let whole = Request { url: Some("https://h/a=b".into()), limit: Some(0), offset: Some(u32::MAX) };
        for request in [whole, Request::default()] {
            assert!(Request::is_mirror(&request.encode()));
            assert_eq!(Request::parse(&request.encode()).expect("own encoding"), request);
        }
        let parse = |arguments: &[&[u8]]| {
            let head =
                [Pkt::Data(b"command=mirror".to_vec()), Pkt::line("limit=99"), Pkt::line("agent=\x01"), Pkt::Delim];
            let arguments = arguments.iter().map(|line| Pkt::Data(line.to_vec()));
            Request::parse(&head.into_iter().chain(arguments).chain([Pkt::Flush]).collect::<Vec<_>>())
        };
        assert_eq!(parse(&[b"new=1\n", b"url", b"", b"limits=x"]).expect("unknown"), Request::default());
        assert_eq!(parse(&[b"limit=1\n", b"limit=2"]).expect("repeated").limit, Some(2));
        assert_eq!(parse(&[b"url=/a b\xff"]).expect("encoded").url.as_deref(), Some("/a%20b%FF"));
        let longest = format!("url={}", "x".repeat(MAX_URL));
        assert!(parse(&[longest.as_bytes()]).is_ok());
        let longer = format!("{longest}x");
        for line in
            [&b"limit="[..], b"limit=-1", b"limit=+1", b"limit=4294967296", b"offset= 1", b"url=", b"url=a\nb\n"]
        {
            assert_eq!(parse(&[line]).expect_err("bad").kind, Kind::Protocol, "{}", line.escape_ascii());
        }
        for line in [longer.as_bytes(), b"url=a\0", b"url=\x7f", b"new=\r\n", b"url=a\n\n"] {
            assert_eq!(parse(&[line]).expect_err("bad").kind, Kind::Protocol, "{}", line.escape_ascii());
        }
        let request = Request { url: Some("x".repeat(100_000)), ..Request::default() };
        assert_eq!(Request::parse(&request.encode()).expect("left out").url, None);
        assert!(!Request::is_mirror(&[Pkt::line("command=mirrors")]) && !Request::is_mirror(&[]));
    }

    #[test]
    fn lists_come_back() {
        for list in [list(), MirrorList::default(), MirrorList { client: Some(Client::default()), ..list() }] {
            assert_eq!(decode(&encode(&list)).expect("own encoding"), list);
        }
    }

    #[test]
    fn encodes_what_a_line_cannot_hold() {
        let entry = MirrorEntry { country: Some("D E\nx".into()), ..mirror("https://h/a b\n\u{e9}") };
        let sent =
            MirrorList { canonical: vec![String::new()], mirrors: vec![entry, mirror("")], ..Default::default() };
        let got = decode(&encode(&sent)).expect("own encoding");
        assert_eq!(got, MirrorList { mirrors: vec![mirror("https://h/a%20b%0A%C3%A9")], ..Default::default() });
    }

    #[test]
    fn passes_over_what_is_unknown_or_bad() {
        let got = decode_lines(&[
            b"",
            b" ",
            b"news https://h/x",
            b"canonical",
            b"mirror",
            b"mirror  https://h/a  new=1 priority=-1 weight=x country=DEU location=91,0 as-of= priority",
            b"mirror https://h/b priority=1 priority=x country=de location=1e1,2 location=+1,2 x==y",
            b"mirror https://h/\xe2\x80\xae as-of=18446744073709551616 =",
            b"more-mirrors many",
            b"more-mirrors 3 or so",
            b"prefer-mirror always",
            b"prefer-mirror sometimes",
            b"client address=x country= location=NaN,0 shoe-size=43",
            b"not-found-at-all",
        ]);
        let second = MirrorEntry { priority: Some(1), country: Some("DE".into()), ..mirror("https://h/b") };
        let want = MirrorList {
            mirrors: vec![mirror("https://h/a"), second, mirror("https://h/%E2%80%AE")],
            more: 3,
            prefer: PreferMirror::Always,
            client: Some(Client::default()),
            ..Default::default()
        };
        assert_eq!(got.expect("tolerant"), want);
        let long = format!("mirror https://h/{}", "x".repeat(MAX_URL));
        assert_eq!(decode_lines(&[long.as_bytes()]).expect("tolerant"), MirrorList::default());
    }

    #[test]
    fn refuses_control_characters_and_errors() {
        for byte in (0..32).chain([127]) {
            for line in [vec![byte], [b"mirror https://h/", &[byte][..], b"x"].concat(), vec![b'x', b'=', byte, b'\n']]
            {
                let err = decode_lines(&[&line]).expect_err("control");
                assert!(err.kind == Kind::Protocol && err.message.contains("control"), "{line:?}: {err}");
            }
        }
        let err = decode(&[Pkt::line("ERR no \x1b[31msuch\ncommand")]).expect_err("ERR");
        assert_eq!(err.message, "command=mirror: the server said: no \\u{1b}[31msuch\\ncommand");
        for pkt in [Pkt::Delim, Pkt::ResponseEnd] {
            assert_eq!(decode(&[Pkt::line("mirror a"), pkt]).expect_err("no flush").kind, Kind::Protocol);
        }
    }

    #[test]
    fn reads_no_more_than_the_limits() {
        let lines = vec![&b"mirror https://h/x"[..]; MAX_MIRRORS + 1];
        assert_eq!(decode_lines(&lines[1..]).expect("as many").mirrors.len(), MAX_MIRRORS);
        assert!(decode_lines(&lines).expect_err("too many").message.contains("64 mirrors"));
        // Each 1,024 bytes with the digits and the line feed; the flush needs 4 of the last.
        let line = [b'x'; 1019];
        let mut lines = vec![&line[..]; 64];
        assert!(decode_lines(&lines).expect_err("too long").message.contains("65536 bytes"));
        lines[0] = &line[4..];
        assert!(decode_lines(&lines).is_ok());
        let mut decoder = Decoder::default();
        let taken = (0..1_000_000).take_while(|_| decoder.take(&Pkt::Data(vec![])).is_ok()).count();
        assert_eq!(taken, MAX_BYTES / HEADER);
    }

    #[test]
    fn sends_no_more_than_the_limits() {
        let many = |count, length: usize| MirrorList {
            mirrors: (0..count).map(|n| mirror(&format!("https://h/{n:04}{}", "x".repeat(length)))).collect(),
            ..list()
        };
        for (sent, shown) in [(many(100, 0), Some(64)), (many(64, 2000), None), (many(10, 5000), Some(0))] {
            let sent = MirrorList { more: 7, ..sent };
            let got = decode(&encode(&sent)).expect("within the limits");
            let fit = sent.mirrors.iter().filter(|m| m.url.len() <= MAX_URL).count();
            assert_eq!(got.mirrors.len() as u64 + got.more, fit as u64 + 7);
            assert!(shown.is_none_or(|n| n == got.mirrors.len()) && got.mirrors.len() <= 64);
            assert_eq!(got.mirrors[..], sent.mirrors[..got.mirrors.len()]);
        }
        let sent = MirrorList { canonical: vec!["x".repeat(2000); 1000], ..list() };
        let got = decode(&encode(&sent)).expect("within the limits");
        assert_eq!((got.canonical.len(), got.mirrors.len()), (16, 2));
    }

    const FIRST_REF: &[u8] = b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HEAD\0multi_ack agent=git/2.47.3\n";

    #[test]
    fn tokens_of_v0() {
        let sent = MirrorList {
            mirrors: ["https://h/a%20b", "https://h/c d\n", "git://h/e"].map(mirror).into(),
            more: 1,
            prefer: PreferMirror::Once,
            ..Default::default()
        };
        let tokens = v0_tokens(&sent, 2);
        let want = " mirror=https://h/a%2520b mirror=https://h/c%2520d%250A more-mirrors=2 prefer-mirror=once";
        assert_eq!(tokens, want);
        let line = add_v0_tokens(FIRST_REF, &tokens).expect("it fits");
        assert_eq!(line, [&FIRST_REF[..FIRST_REF.len() - 1], want.as_bytes(), b"\n"].concat());
        let mirrors = ["https://h/a%20b", "https://h/c%20d%0A"].map(mirror).into();
        assert_eq!(from_v0(&line), Some(MirrorList { mirrors, more: 2, ..sent.clone() }));
        assert_eq!(v0_tokens(&MirrorList::default(), 9), "");
        assert_eq!(v0_tokens(&MirrorList { mirrors: sent.mirrors, ..Default::default() }, 0), " more-mirrors=3");
        let bare = add_v0_tokens(b"x y\0", " prefer-mirror=always").expect("it fits");
        assert_eq!(bare, b"x y\0 prefer-mirror=always");
        assert_eq!(from_v0(&bare).map(|list| list.prefer), Some(PreferMirror::Always));
    }

    #[test]
    fn limits_of_v0() {
        assert_eq!(add_v0_tokens(b"aaaa HEAD\n", " mirror=x"), None);
        let room = MAX - HEADER - FIRST_REF.len();
        assert_eq!(add_v0_tokens(FIRST_REF, &" ".repeat(room)).map(|line| line.len()), Some(65516));
        assert_eq!(add_v0_tokens(FIRST_REF, &" ".repeat(room + 1)), None);
        let with = |tokens: &str| from_v0(&add_v0_tokens(FIRST_REF, tokens).expect("it fits"));
        assert_eq!(with(&" mirror=x".repeat(64)).map(|list| list.mirrors.len()), Some(64));
        assert_eq!(with(&" mirror=x".repeat(65)), None);
        for none in ["", " mirrors=x", " mirror", " mirror=a%0Ab", " mirror=%00", " mirror=a\x01", " mirror=%7f"] {
            assert_eq!(with(none), None, "{none:?}");
        }
        let odd = with(" mirror= mirror=a%20b%zz%FF more-mirrors=x prefer-mirror=no");
        assert_eq!(odd, Some(MirrorList { mirrors: vec![mirror("a%20b%zz%FF")], ..Default::default() }));
        assert_eq!(from_v0(b"mirror=x"), None);
    }

    /// Numerical Recipes' generator.
    struct Random(u32);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.0 >> 8) as usize % n
        }
    }

    /// Takes each sequence of bytes for all that is decoded here; what is understood is stable.
    fn survives(lines: &[Vec<u8>]) {
        let packets: Vec<_> = lines.iter().cloned().map(Pkt::Data).chain([Pkt::Flush]).collect();
        if let Ok(list) = decode(&packets) {
            let once = encode(&list);
            let again = decode(&once).expect("own encoding");
            assert_eq!(encode(&again), once);
            assert!(again == list || again.more > list.more);
            let line = add_v0_tokens(FIRST_REF, &v0_tokens(&list, 64)).expect("it fits");
            let got: Vec<_> =
                from_v0(&line).map(|list| list.mirrors.into_iter().map(|m| m.url).collect()).unwrap_or_default();
            let urls: Vec<_> = list.mirrors.into_iter().map(|m| m.url).collect();
            assert_eq!(urls, got);
        }
        let request: Vec<_> = [Pkt::line("command=mirror"), Pkt::Delim].into_iter().chain(packets).collect();
        if let Ok(request) = Request::parse(&request) {
            assert_eq!(Request::parse(&request.encode()).expect("own encoding"), request);
        }
        let line = lines.concat();
        let feature = Feature::parse(&String::from_utf8_lossy(&line));
        let value = feature.line();
        assert_eq!(Feature::parse(value.strip_prefix("mirror=").unwrap_or("")), feature);
        if let Some(list) = from_v0(&[b"a b\0", &line[..]].concat()) {
            let line = add_v0_tokens(b"a b\0\n", &v0_tokens(&list, 64)).expect("it fits");
            let empty = list == MirrorList::default();
            assert_eq!(from_v0(&line), (!empty).then_some(list));
        }
    }

    #[test]
    fn hostile_bytes() {
        let mut random = Random(1);
        for _ in 0..2000 {
            survives(
                &(0..random.below(4))
                    .map(|_| (0..random.below(60)).map(|_| random.below(256) as u8).collect())
                    .collect::<Vec<_>>(),
            );
        }
        let request = Request { url: Some("https://h/x".into()), limit: Some(10), offset: Some(20) };
        let tokens = v0_tokens(&list(), 9).into_bytes();
        let valid =
            encode(&list()).into_iter().chain(request.encode()).chain([Pkt::Data(tokens), Pkt::line("id:a url")]);
        let valid: Vec<_> = valid.filter_map(|pkt| if let Pkt::Data(data) = pkt { Some(data) } else { None }).collect();
        for _ in 0..10_000 {
            let mut lines: Vec<_> =
                (0..1 + random.below(6)).map(|_| valid[random.below(valid.len())].clone()).collect();
            for _ in 0..random.below(4) {
                let line = random.below(lines.len());
                let line = &mut lines[line];
                let at = random.below(line.len() + 1);
                match random.below(4) {
                    0 => line.truncate(at),
                    1 => line.insert(at, random.below(256) as u8),
                    2 => line.insert(at, b" =,%-:.0"[random.below(8)]),
                    _ => line.iter_mut().skip(at).take(1).for_each(|b| *b = random.below(256) as u8),
                }
            }
            survives(&lines);
        }
    }

    /// Returns the packets of each example of the manual page, with `C` or `S` for who sends them.
    fn examples() -> Vec<Vec<(char, Pkt)>> {
        let page = include_str!("../../docs/gitprotocol-mirror.adoc");
        let listings = page.split("\n----\n").skip(1).step_by(2).filter(|text| text[1..].starts_with(": "));
        listings.map(|text| text.lines().map(packet).collect()).collect()
    }

    fn packet(line: &str) -> (char, Pkt) {
        let (side, packet) = line.split_once(": ").expect("who sends it");
        let digits = packet.as_bytes()[..HEADER].try_into().expect("length digits");
        let payload = packet[HEADER..].replace("\\n", "\n").replace("\\0", "\0").into_bytes();
        let pkt = match Head::parse(digits).expect("length digits") {
            Head::Data(length) => {
                assert_eq!(length, payload.len(), "{line}: should be {:04x}", payload.len() + HEADER);
                Pkt::Data(payload)
            }
            Head::Flush => Pkt::Flush,
            Head::Delim => Pkt::Delim,
            Head::ResponseEnd => Pkt::ResponseEnd,
        };
        (side.chars().next().expect("who sends it"), pkt)
    }

    #[test]
    fn examples_of_the_manual_page() {
        let mut seen = [0; 6];
        for example in examples() {
            let of = |who| example.iter().filter(|(side, _)| *side == who).map(|(_, pkt)| pkt.clone()).collect();
            let (client, server): (Vec<_>, Vec<_>) = (of('C'), of('S'));
            assert!(client.is_empty() || client.last() == Some(&Pkt::Flush));
            let refused = server.last().is_some_and(|pkt| pkt.text().starts_with(b"ERR "));
            let asks_mirror = Request::is_mirror(&client);
            if asks_mirror && refused {
                let err = Request::parse(&client).expect_err("the server refuses it");
                assert_eq!(server, [Pkt::line(&format!("ERR {err}"))]);
                assert!(decode(&server).is_err());
                seen[0] += 1;
                continue;
            }
            if asks_mirror {
                assert_eq!(Request::parse(&client).expect("a request").encode(), client);
                seen[1] += 1;
            } else if client.first().is_some_and(|pkt| pkt.text() == b"command=ls-refs") {
                assert!(client.iter().any(|pkt| pkt.text().starts_with(b"url=")));
                seen[2] += 1;
                continue;
            }
            let Some(first) = server.first() else { continue };
            if let Some(offer) = server.iter().find_map(|pkt| pkt.text().strip_prefix(b"mirror=")) {
                let feature = Feature::parse(std::str::from_utf8(offer).expect("text"));
                assert!(feature.url && server.contains(&Pkt::line(&feature.line())));
                seen[3] += 1;
            } else if let Pkt::Data(line) = first
                && line.contains(&0)
            {
                let list = from_v0(line).expect("tokens");
                let tokens = v0_tokens(&list, 64);
                let plain = String::from_utf8_lossy(line).replace(&tokens, "");
                assert_eq!(add_v0_tokens(plain.as_bytes(), &tokens).as_ref(), Some(line));
                seen[4] += 1;
            } else {
                assert_eq!(encode(&decode(&server).expect("a list")), server);
                seen[5] += 1;
            }
        }
        assert_eq!(seen, [1, 3, 2, 1, 1, 3]);
    }
}
