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
        let head = [Pkt::Data(b"command=mirror".to_vec()), Pkt::line("limit=99"), Pkt::line("agent=\x01"), Pkt::Delim];
        let arguments = arguments.iter().map(|line| Pkt::Data(line.to_vec()));
        Request::parse(&head.into_iter().chain(arguments).chain([Pkt::Flush]).collect::<Vec<_>>())
    };
    assert_eq!(parse(&[b"new=1\n", b"url", b"", b"limits=x"]).expect("unknown"), Request::default());
    assert_eq!(parse(&[b"limit=1\n", b"limit=2"]).expect("repeated").limit, Some(2));
    assert_eq!(parse(&[b"url=/a b\xff"]).expect("encoded").url.as_deref(), Some("/a%20b%FF"));
    let longest = format!("url={}", "x".repeat(MAX_URL));
    assert!(parse(&[longest.as_bytes()]).is_ok());
    let longer = format!("{longest}x");
    for line in [&b"limit="[..], b"limit=-1", b"limit=+1", b"limit=4294967296", b"offset= 1", b"url=", b"url=a\nb\n"] {
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
    let sent = MirrorList { canonical: vec![String::new()], mirrors: vec![entry, mirror("")], ..Default::default() };
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
        for line in [vec![byte], [b"mirror https://h/", &[byte][..], b"x"].concat(), vec![b'x', b'=', byte, b'\n']] {
            let err = decode_lines(&[&line]).expect_err("control");
            assert!(err.kind == Kind::Protocol && err.message.contains("control"), "{line:?}: {err}");
        }
    }
    let err = decode(&[Pkt::line("ERR no \x1b[31msuch\ncommand")]).expect_err("ERR");
    assert_eq!(err.message, "command=mirror: the server said: no ?[31msuch command");
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
    let valid = encode(&list()).into_iter().chain(request.encode()).chain([Pkt::Data(tokens), Pkt::line("id:a url")]);
    let valid: Vec<_> = valid.filter_map(|pkt| if let Pkt::Data(data) = pkt { Some(data) } else { None }).collect();
    for _ in 0..10_000 {
        let mut lines: Vec<_> = (0..1 + random.below(6)).map(|_| valid[random.below(valid.len())].clone()).collect();
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
    let page = include_str!("../../../docs/gitprotocol-mirror.adoc");
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
