//! Every decoder of foreign bytes, on damaged input: none may panic, and what can be read must read the same after it
//! has been written again.
//!
//! `GMF_FUZZ=<n>` makes n inputs for each (20,000 otherwise), `GMF_FUZZ_SEED=<n>` begins elsewhere; a failure names the
//! input. The same inputs come every time, so that a failure can be repeated.

use git_mirror_fetch::adapters::list_file;
use git_mirror_fetch::adapters::net::pktio::PktReader;
use git_mirror_fetch::usecases::serving::request::{decoded, starts_as_ours};
use git_mirror_fetch::values::refspec::Refspec;
use git_mirror_fetch::values::{GitUrl, url, url_key};
use git_mirror_fetch::wire::mirror_command::{Decoder, Feature, Request, add_v0_tokens, encode, from_v0};
use git_mirror_fetch::wire::{AckFilter, Advert, FetchRequest, Pkt, RefList};

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n.max(1) as u64)).unwrap_or(0)
    }
}

/// Returns a damaged copy: bits flipped, parts cut, doubled, moved, or replaced by words that mean something.
fn damaged(random: &mut Random, seeds: &[&[u8]], words: &[&str]) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].to_vec();
    for _ in 0..=random.below(6) {
        let (at, end) = (random.below(input.len() + 1), random.below(input.len() + 1));
        let (at, end) = (at.min(end), at.max(end));
        match random.below(7) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.next() as u8,
            2 => drop(input.drain(at..end)),
            3 => {
                let part = input[at..end.min(at + 200)].to_vec();
                input.splice(at..at, part);
            }
            4 => {
                let other = seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                input.splice(at..end, other[from..].iter().copied());
            }
            5 => input.truncate(end),
            _ => {
                let word = words[random.below(words.len())].as_bytes();
                input.splice(at..at, word.iter().copied());
            }
        }
    }
    input.truncate(1 << 17);
    input
}

fn fuzz(seeds: &[&[u8]], words: &[&str], decode: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    let number = |name: &str, otherwise| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    let mut random = Random(number("GMF_FUZZ_SEED", 1) | 1 << 40);
    let whole = seeds.iter().map(|seed| seed.to_vec());
    let inputs = number("GMF_FUZZ", 20_000);
    let inputs: Vec<Vec<u8>> = whole.chain((0..inputs).map(|_| damaged(&mut random, seeds, words))).collect();
    for input in inputs {
        if std::panic::catch_unwind(|| decode(&input)).is_err() {
            panic!("this input: {}", input.escape_ascii());
        }
    }
}

fn packets(bytes: &[u8]) -> Vec<Pkt> {
    let mut reader = PktReader::new(bytes, "fuzz");
    std::iter::from_fn(|| reader.read().ok().flatten()).collect()
}

const ANSWER: &[u8] = b"0023canonical https://git.example/x\n\
    0054mirror https://a.example/x priority=1 weight=5 country=DE location=52.5,13.4 as-of=1\n\
    0012more-mirrors 3\n001aprefer-mirror always\n0036client address=192.0.2.1 country=DE location=52.5,1\n000enot-found\n0000";
const WORDS: &[&str] = &[
    "0000",
    "0001",
    "0002",
    "0003",
    "0004",
    "fff0",
    "ffff",
    "\n",
    "\0",
    " ",
    "=",
    "%00",
    "%",
    "mirror ",
    "url=",
    "-",
    "location=nan,inf",
    "99999999999999999999",
    "\u{202e}",
    "://",
    "@",
    "[",
    "]",
    "{repo}",
    "*",
    "^",
    "+",
    ":",
    "ERR ",
    "have ",
    "want ",
    "refs/heads/",
    "peeled:",
    "symref-target:",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

#[test]
fn packets_read_the_same_when_written_again() {
    fuzz(&[ANSWER, b"0000", b"0004"], WORDS, |bytes| {
        let read = packets(bytes);
        let mut again = Vec::new();
        read.iter().for_each(|pkt| pkt.encode(&mut again));
        assert_eq!(packets(&again), read);
    });
}

#[test]
fn answers_to_the_mirror_command() {
    let list = |read: &[Pkt]| {
        let mut decoder = Decoder::default();
        read.iter().find_map(|pkt| decoder.take(pkt).transpose()).and_then(Result::ok)
    };
    fuzz(&[ANSWER], WORDS, |bytes| {
        if let Some(read) = list(&packets(bytes)) {
            let again = list(&encode(&read)).expect("what we write can be read");
            assert_eq!(list(&encode(&again)).as_ref(), Some(&again));
            assert!(read.mirrors.len() <= 64 && read.mirrors.iter().all(|m| !m.url.contains(char::is_control)));
        }
    });
}

#[test]
fn requests() {
    let mirror = b"0013command=mirror\n00010017url=https://g.example/x\n000climit=5\n0000".as_slice();
    let fetch = b"0012command=fetch\n0001000ethin-pack\n0032want aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n\
        0032have bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n0009done\n0000";
    fuzz(&[mirror, fetch], WORDS, |bytes| {
        let read = packets(bytes);
        if let Ok(request) = Request::parse(&read) {
            assert_eq!(Request::parse(&request.encode()).ok(), Some(request));
        }
        let request = FetchRequest::parse(read.clone());
        assert!(request.with(&Default::default(), &[], &[]) == read);
        let _ =
            (request.empty_answer(gix::hash::Kind::Sha1), starts_as_ours(bytes, false), starts_as_ours(bytes, true));
        let _ = (decoded(bytes, false), decoded(bytes, true));
    });
}

#[test]
fn what_servers_say_first() {
    let v0 = b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HEAD\0thin-pack mirror=https%3A//a/ more-mirrors=2 agent=x\n";
    let refs = b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa refs/tags/v1 peeled:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    fuzz(&[v0, refs, b"mirror=id:abc url", b"acknowledgments"], WORDS, |bytes| {
        let _ = from_v0(bytes);
        if let Some(more) = add_v0_tokens(bytes, " mirror=https%3A//b/") {
            assert!(more.len() > bytes.len());
        }
        RefList::default().take_v2(bytes);
        let pkt = Pkt::Data(bytes[..bytes.len().min(65516)].to_vec());
        Advert::default().take(&pkt);
        AckFilter::new([]).passes(&pkt);
        let feature = Feature::parse(&String::from_utf8_lossy(bytes));
        let line = feature.line();
        assert_eq!(Feature::parse(line.strip_prefix("mirror=").unwrap_or_default()), feature);
    });
}

#[test]
fn lists_and_urls() {
    let list = b"canonical = \"https://g.example/{repo}\"\nprefer_mirror = \"once\"\npolicy = \"random\"\nfirst = 3\n\
        [[mirror]]\nurl = \"https://a.example/{repo}\"\nweight = 3\ncountry = \"DE\"\nlocation = [52.5, 13.4]\n\
        only_countries = [\"DE\"]\nnetworks = [\"192.0.2.0/24\"]\n";
    let seeds: [&[u8]; 6] =
        [list, b"https://u:p@h.example:443/a/b.git", b"ssh://git@[::1]:22/~u/a", b"h:a", b"git://h/%2e", b"+a/*:b/*"];
    fuzz(&seeds, WORDS, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Err(problems) = list_file::check(&text, "f", Some("a/b")) {
            assert!(!problems.is_empty());
        }
        let _ = (GitUrl::parse(&text), url::redact(&text), Refspec::parse(&text), url_key::without_credentials(&text));
        let key = url_key::key(&text);
        assert!(url_key::same_resource(&text, &text), "{key}");
    });
}
