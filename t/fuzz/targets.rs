//! Every decoder of foreign bytes, one function each: none may panic, and what can be read reads the same after it has
//! been written again.
//!
//! `t/fuzz.rs` runs them on the corpus and on damaged copies of it, as a part of `cargo test`; the programs of
//! `t/fuzz/fuzz_targets/` let libFuzzer look for inputs.

use core::net::IpAddr;
use std::collections::{BTreeMap, HashSet};
use std::io::{BufReader, Read};

use git_mirror_fetch::adapters::git::config::Config;
use git_mirror_fetch::adapters::git::run::Said;
use git_mirror_fetch::adapters::kept::hosts::Hosts;
use git_mirror_fetch::adapters::kept::{shared_file, state};
use git_mirror_fetch::adapters::list_file;
use git_mirror_fetch::adapters::net::pktio::{PktReader, Stateless};
use git_mirror_fetch::decide::cost::Work;
use git_mirror_fetch::decide::facts::Copy;
use git_mirror_fetch::decide::host::is_private_host;
use git_mirror_fetch::decide::policy;
use git_mirror_fetch::decide::prefixes::Prefixes;
use git_mirror_fetch::decide::selector::{Candidate, Question, choose};
use git_mirror_fetch::decide::tracked::Tracked;
use git_mirror_fetch::decide::trust::Trust;
use git_mirror_fetch::usecases::serving::request::{decoded, forwarded_client, starts_as_ours, version};
use git_mirror_fetch::values::refspec::Refspec;
use git_mirror_fetch::values::{GitUrl, Listed, Mirror, Origin, RefSpace, Transport, url, url_key};
use git_mirror_fetch::wire::mirror_command::{self, Decoder, Feature, add_v0_tokens, from_v0};
use git_mirror_fetch::wire::pkt::{HEADER, MAX};
use git_mirror_fetch::wire::{AckFilter, Advert, FetchRequest, GitRequest, Pkt, RefList};
use gix::ObjectId;

#[path = "pack.rs"]
mod pack;
pub use pack::pack_proof;

/// A target.
pub type Target = fn(&[u8]);

/// All targets, by the names of their corpus folders and of their programs.
pub const TARGETS: &[(&str, Target)] = &[
    ("ack_filter", ack_filter),
    ("advert", advert),
    ("config", config),
    ("fetch_request", fetch_request),
    ("git_request", git_request),
    ("hosts", hosts),
    ("http_head", http_head),
    ("http_request", http_request),
    ("mirror_answer", mirror_answer),
    ("mirror_request", mirror_request),
    ("mirrors_toml", mirrors_toml),
    ("pack_proof", pack_proof),
    ("pkt", pkt),
    ("refs", refs),
    ("state", state),
    ("stateless", stateless),
    ("tracked", tracked),
    ("url", url),
    ("url_key", url_key),
    ("v0_tokens", v0_tokens),
];

fn packets(bytes: &[u8]) -> Vec<Pkt> {
    let mut reader = PktReader::new(bytes, "fuzz");
    std::iter::from_fn(|| reader.read().ok().flatten()).collect()
}

fn encoded(packets: &[Pkt]) -> Vec<u8> {
    let mut bytes = Vec::new();
    packets.iter().for_each(|pkt| pkt.encode(&mut bytes));
    bytes
}

/// Packets read the same when they are written again.
pub fn pkt(bytes: &[u8]) {
    let read = packets(bytes);
    let again = encoded(&read);
    assert_eq!(packets(&again), read);
    assert!(again.len() <= bytes.len());
    let mut reader = PktReader::new(bytes, "fuzz");
    while let Ok(Some(line)) = reader.read_line() {
        assert!(line.len() <= 3 << 20);
    }
}

/// The answers of `git remote-https`, whatever the size of the pieces in which they come.
pub fn stateless(bytes: &[u8]) {
    let (flags, bytes) = bytes.split_first().unwrap_or((&0, bytes));
    let read = |size: usize| {
        let mut all = Vec::new();
        let ended = Stateless::new(BufReader::with_capacity(size, bytes), flags & 1 != 0, flags & 2 != 0)
            .read_to_end(&mut all)
            .is_ok();
        (all, ended)
    };
    let whole = read(1 << 16);
    assert_eq!(read(7), whole);
    assert!(whole.0.len() <= bytes.len());
}

/// A v2 advertisement, and the capability `mirror` in it.
pub fn advert(bytes: &[u8]) {
    let mut advert = Advert::default();
    for pkt in packets(bytes) {
        let _ = Advert::announces_v2(&pkt);
        advert.take(&pkt);
    }
    let _ = advert.has_feature("fetch", "filter");
    let feature = Feature::parse(advert.get("mirror").unwrap_or(&String::from_utf8_lossy(bytes)));
    let line = feature.line();
    assert_eq!(Feature::parse(line.strip_prefix("mirror=").unwrap_or_default()), feature);
}

/// Lines of an `ls-refs` answer.
pub fn refs(bytes: &[u8]) {
    let mut list = RefList::default();
    bytes.split(|byte| *byte == b'\n').for_each(|line| list.take_v2(line));
    let mut again = RefList::default();
    for one in &list.refs {
        let peeled = one.peeled.map(|id| format!(" peeled:{id}")).unwrap_or_default();
        again.take_v2(format!("{} {}{peeled}", one.oid, one.name).as_bytes());
    }
    assert_eq!(again, list);
}

/// A request for objects: passed on as it is where nothing is added, and read the same when written again.
pub fn fetch_request(bytes: &[u8]) {
    let read = packets(bytes);
    let _ = FetchRequest::is_fetch(&read);
    let request = FetchRequest::parse(read.clone());
    assert_eq!(request.with(&HashSet::new(), &[], &[]), read);
    let ids: Vec<ObjectId> = [1, 2].map(|n| ObjectId::from_bytes_or_panic(&[n; 20])).into();
    let here: HashSet<ObjectId> = request.wants.iter().take(1).copied().collect();
    let more = FetchRequest::parse(request.with(&here, &ids[..1], &ids[1..]));
    assert_eq!(more.scope, request.scope);
    assert!(request.haves.iter().all(|id| more.haves.contains(id)));
    for hash in [gix::hash::Kind::Sha1, gix::hash::Kind::Sha256] {
        assert_eq!(request.empty_answer(hash).last(), Some(&Pkt::Flush));
    }
}

/// An answer to it: only `ACK`s of ours are held back, and nothing within a pack.
pub fn ack_filter(bytes: &[u8]) {
    let ours = ObjectId::from_bytes_or_panic(&[0xaa; 20]);
    let mut filter = AckFilter::new([ours]);
    for pkt in packets(bytes) {
        let in_pack = filter.in_pack();
        if !filter.passes(&pkt) {
            assert!(!in_pack && pkt.text().to_ascii_lowercase().starts_with(format!("ack {ours}").as_bytes()));
        }
    }
}

/// An answer to `command=mirror`, and which of the mirrors in it may be learned.
pub fn mirror_answer(bytes: &[u8]) {
    let list = |read: &[Pkt]| {
        let mut decoder = Decoder::default();
        read.iter().find_map(|pkt| decoder.take(pkt).transpose()).and_then(Result::ok)
    };
    let Some(read) = list(&packets(bytes)) else { return };
    let encoded = mirror_command::encode(&read);
    let again = list(&encoded).expect("what we write can be read");
    assert_eq!(list(&mirror_command::encode(&again)).as_ref(), Some(&again));
    assert!(read.mirrors.len() <= 64 && read.mirrors.iter().all(|m| !m.url.contains(char::is_control)));
    let canonical = GitUrl::parse("https://git.example/x").expect("a URL");
    let trust = Trust { canonical: &canonical, canonical_is_private: false, allowed: &[], allow_private: false };
    let (accepted, refused) = trust.accept(&read);
    accepted.iter().for_each(|one| harmless(&one.url));
    assert!(refused.iter().all(|one| !one.shown.contains(char::is_control) && !one.reason.contains('\n')));
}

/// A request `command=mirror`.
pub fn mirror_request(bytes: &[u8]) {
    let read = packets(bytes);
    let _ = mirror_command::Request::is_mirror(&read);
    if let Ok(request) = mirror_command::Request::parse(&read) {
        assert_eq!(mirror_command::Request::parse(&request.encode()).ok(), Some(request));
    }
}

/// The mirrors in the first ref's packet of v0 and v1: what is added can be read.
pub fn v0_tokens(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(MAX - HEADER)];
    let found = from_v0(bytes);
    let tokens = found.as_ref().map(|list| mirror_command::v0_tokens(list, 64)).unwrap_or_default();
    if let (Some(list), Some(more)) = (found, add_v0_tokens(b"id HEAD\0thin-pack\n", &tokens)) {
        let again = from_v0(&more).unwrap_or_default();
        assert_eq!((again.mirrors, again.more, again.prefer), (list.mirrors, list.more, list.prefer));
    }
    if let Some(more) = add_v0_tokens(bytes, " mirror=https%3A//b/") {
        assert!(more.len() > bytes.len() && more.len() <= MAX - HEADER);
    }
}

/// A URL: what is shown and what another host sees hold no password.
pub fn url(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = (url::redact(&text), is_private_host(&text));
    let Ok(parsed) = GitUrl::parse(&text) else { return };
    let _ = (parsed.shown_host(), parsed.effective_port(), parsed.foreign_port());
    let space = RefSpace::of("origin", &parsed);
    assert!(!space.name().is_empty() && !space.name().contains(['/', ' ', '~', '^', ':', '?', '*', '[', '\\']));
    assert!(!space.name().contains(char::is_control));
    let canonical = GitUrl::parse("https://git.example/x").expect("a URL");
    let trust = Trust { canonical: &canonical, canonical_is_private: false, allowed: &[], allow_private: false };
    if let Ok(learned) = trust.judge(&text) {
        harmless(&learned);
    }
}

/// Claims what a mirror that an https server on a public address names has to be.
fn harmless(url: &GitUrl) {
    match url.scheme.as_str() {
        "https" => assert_eq!(url.userinfo, None),
        "ssh" => assert!(url.userinfo.as_deref().is_none_or(|user| !user.contains(':'))),
        other => panic!("{other}"),
    }
    assert!(!is_private_host(&url.host));
}

/// Which URLs mean the same, and what of one other hosts may see.
pub fn url_key(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let shown = url_key::without_credentials(&text);
    if let Ok(parsed) = GitUrl::parse(&shown) {
        let secret = match parsed.transport {
            Transport::Http | Transport::Git => parsed.userinfo.is_some(),
            Transport::Ssh => parsed.userinfo.as_deref().is_some_and(|user| user.contains(':')),
            Transport::Local => false,
        };
        // A bracket that begins no address has git itself take a URL apart elsewhere (`host_end` in its connect.c).
        if !shown.contains('[') {
            assert!(!secret, "{shown}");
        }
        if parsed.transport == Transport::Http {
            assert_eq!(url_key::without_credentials(&shown), shown);
        }
    }
    assert!(url_key::same_resource(&text, &text));
    let half = text.floor_char_boundary(text.len() / 2);
    let _ = url_key::rest_behind(&text, &text[..half]);
    let _ = url_key::rest_behind(&text, &shown[..shown.floor_char_boundary(half)]);
}

/// git's configuration.
pub fn config(bytes: &[u8]) {
    let config = Config::parse(bytes);
    let _ = (config.unreadable(), config.number("mirror.patience"), config.bool("mirror.mustpay"));
    for remote in config.remotes().into_iter().take(8).chain(["origin"]) {
        let _ = config.preference(remote);
        let canonical = config.get(&format!("remote.{remote}.url")).unwrap_or("https://git.example/x.git").to_owned();
        let mirrors = config.mirrors(remote, &canonical);
        let usable: Vec<Mirror> = mirrors
            .into_iter()
            .filter_map(|listed| if let Listed::Usable(mirror) = listed { Some(mirror) } else { None })
            .collect();
        let both = [("origin", usable.clone()), ("other", usable)];
        let spaces = RefSpace::of_all(&both).concat();
        let names: HashSet<&str> = spaces.iter().map(RefSpace::name).collect();
        assert_eq!(names.len(), spaces.len());
    }
    let _ = Said::parse(&String::from_utf8_lossy(bytes));
}

/// Refspecs, and what a clone tracks: the first line has the refspecs, the second what is asked for, the rest are lines
/// of the local server's answer. What is presented was asked for, and each name comes once.
pub fn tracked(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let specs: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let asked: Vec<&str> = lines.next().unwrap_or_default().split(' ').filter(|word| !word.is_empty()).collect();
    let lines: Vec<&str> = lines.take(200).collect();
    specs.iter().for_each(|spec| drop(Refspec::parse(spec)));
    let asked = Prefixes::new(&asked);
    for tags in [false, true] {
        let tracked = Tracked::new("origin", &specs, tags);
        let _ = tracked.prefixes(&asked);
        let answer = tracked.answer(&lines, &asked);
        let names: Vec<&str> = answer.iter().filter_map(|line| line.split(' ').nth(1)).collect();
        assert!(names.windows(2).all(|two| two[0] < two[1]), "{names:?}");
        assert!(names.iter().all(|name| asked.admits(name)), "{names:?}");
    }
}

/// The file of a repository's mirrors.
pub fn state(bytes: &[u8]) {
    let text = state::rewritten(&String::from_utf8_lossy(bytes)).expect("what was read can be written");
    assert_eq!(state::rewritten(&text).ok(), Some(text));
}

/// The file of hosts and, behind a NUL, what is known of copies; and a choice by what they say.
pub fn hosts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (hosts, copies) = text.split_once('\0').unwrap_or((&text, ""));
    let hosts: Hosts = shared_file::read(hosts);
    let copies: BTreeMap<String, Copy> = shared_file::read(copies);
    shared_file::text(&hosts).expect("what was read can be written");
    let mirrors: Vec<Mirror> = ["a", "b", "c", "d", "e"]
        .map(|host| GitUrl::parse(&format!("https://{host}.example/x")).expect("a URL"))
        .into_iter()
        .map(|url| Mirror { url, origin: Origin::Remote })
        .collect();
    let copy = |mirror: &Mirror| copies.get(&mirror.url.host).cloned().unwrap_or_default();
    let candidates: Vec<Candidate> = mirrors
        .iter()
        .map(|mirror| Candidate { mirror, host: hosts.get(&mirror.url), copy: copy(mirror), km: None })
        .collect();
    for (now, bytes) in [(0, None), (1_800_000_000, Some(1e6)), (u64::MAX, Some(1.0))] {
        let canonical = hosts.get(&mirrors[0].url);
        let work = Work { clone: bytes.is_none(), bytes };
        let question =
            Question { work, canonical, must_pay: true, now, seed: hosts.seed.into(), ..Question::default() };
        let choice = choose(&candidates, &question);
        assert_eq!(choice.order.len() + choice.excluded.len(), mirrors.len());
        choice.order.iter().chain(&choice.excluded).for_each(|place| drop(place.reason.to_string()));
        let mut host = hosts.get(&mirrors[0].url);
        host.succeed(now);
        let _ = host.at(now);
    }
}

/// A server's list, and the answers that are made of it.
pub fn mirrors_toml(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match list_file::check(&text, "f", Some("a/b")) {
        Err(problems) => {
            assert!(!problems.is_empty());
            let control = |c: char| c.is_control() && c != '\n';
            assert!(problems.iter().all(|problem| !problem.to_string().contains(control)));
        }
        Ok(checked) => {
            let ordered = policy::order(&checked.listing, "192.0.2.1".parse().ok(), None, 7);
            assert!(ordered.len() <= checked.listing.mirrors.len());
            let _ = policy::page(&ordered, 1, Some(2), 3);
        }
    }
}

/// A request over `git://`.
pub fn git_request(bytes: &[u8]) {
    for pkt in packets(bytes).iter().take(1) {
        if let Pkt::Data(line) = pkt
            && let Some(request) = GitRequest::parse(line)
        {
            assert!(!request.path.contains(&0) && !request.protocol.contains('\0'));
            let _ = version(&request.protocol);
        }
    }
    let _ = GitRequest::parse(bytes);
}

/// What of an HTTP request's head is read here: where it came from, and the protocol; a line each.
pub fn http_head(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (peer, forwarded, protocol) = (next(), next(), next());
    let peer: Option<IpAddr> = peer.parse().ok();
    let proxies: Vec<IpAddr> = ["10.0.0.1", "10.0.0.2", "::1"].iter().filter_map(|text| text.parse().ok()).collect();
    let client = forwarded_client(peer, forwarded, &proxies);
    assert_eq!(client.is_some(), peer.is_some());
    if !peer.is_some_and(|peer| proxies.contains(&peer.to_canonical())) {
        assert_eq!(client, peer.map(|peer| peer.to_canonical()));
    }
    let _ = version(protocol);
}

/// The body of an HTTP request, plain and compressed.
pub fn http_request(bytes: &[u8]) {
    for gzip in [false, true] {
        let (ours, packets) = (starts_as_ours(bytes, gzip), decoded(bytes, gzip));
        if let (Some(true), Some(packets)) = (ours, &packets) {
            assert!(!packets.is_empty());
        }
        // Its size in memory has the bound of a request's: nothing that is packed gets past it.
        let sizes = packets.iter().flatten().map(|pkt| pkt.text().len()).sum::<usize>();
        assert!(sizes <= 16 << 20);
        let mut read: BTreeMap<usize, usize> = BTreeMap::new();
        packets.iter().flatten().for_each(|pkt| *read.entry(pkt.text().len()).or_default() += 1);
    }
}
