//! hot-paths <path> <times>: runs a hot path so many times on what it makes itself, always the same. Part of
//! `t/perf/instructions`, which counts: with 0 times, only the making is left.

#[path = "../helper/pack_writer.rs"]
mod pack_writer;

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write;
use std::sync::atomic::AtomicBool;

use git_mirror_fetch::adapters::git::config::Config;
use git_mirror_fetch::adapters::net::pktio::PktReader;
use git_mirror_fetch::adapters::seed::{Alone, alone};
use git_mirror_fetch::decide::facts::{Copy, Figure, Host};
use git_mirror_fetch::decide::selector::{Candidate, Question, choose};
use git_mirror_fetch::usecases::fetching::relay::Relay;
use git_mirror_fetch::values::{GitUrl, Mirror, Origin};
use git_mirror_fetch::wire::{AckFilter, Pkt, RefList};
use gix::ObjectId;
use gix::objs::Kind;
use pack_writer::{HASH, PackWriter, varint};

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let (Some(path), Some(times)) = (words.get(1), words.get(2).and_then(|text| text.parse().ok())) else {
        eprintln!("hot-paths relay|acks|refs|config|selector|proof <times>");
        std::process::exit(129);
    };
    match path.as_str() {
        "relay" => relay(times),
        "acks" => acks(times),
        "refs" => refs(times),
        "config" => config(times),
        "selector" => selector(times),
        "proof" => proof(times),
        other => panic!("no path {other}"),
    }
}

fn oid(n: u32) -> ObjectId {
    let mut bytes = [0x5a; 20];
    bytes[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_be_bytes());
    ObjectId::from_bytes_or_panic(&bytes)
}

fn encoded(packets: impl IntoIterator<Item = Pkt>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packets.into_iter().for_each(|pkt| pkt.encode(&mut bytes));
    bytes
}

/// 2,000 refs, then a pack of 16 MiB, from canonical to git.
fn relay(times: u32) {
    let want = Pkt::line(&format!("want {}", oid(1)));
    let ask = [Pkt::line("command=ls-refs"), Pkt::Delim, Pkt::line("peel"), Pkt::Flush];
    let get = [Pkt::line("command=fetch"), Pkt::Delim, want, Pkt::line("done"), Pkt::Flush];
    let requests = encoded(ask.into_iter().chain(get));
    let refs = (0..2_000).map(|n| Pkt::line(&format!("{} refs/heads/branch-{n}", oid(n)))).chain([Pkt::Flush]);
    let pack = (0..2_048).map(|n| Pkt::Data([&[1], &[n as u8; 8191][..]].concat()));
    let answers = encoded(refs.chain([Pkt::line("packfile")]).chain(pack).chain([Pkt::Flush]));
    for _ in 0..times {
        let mut to_git = Vec::with_capacity(answers.len());
        let mut to_server: Box<dyn Write + Send> = Box::new(std::io::sink());
        let relay = &mut Relay {
            git_in: &mut PktReader::new(requests.as_slice(), "git"),
            git_out: &mut to_git,
            server_in: &mut PktReader::new(answers.as_slice(), "canonical"),
            server_out: &mut to_server,
            reopen: &mut || unreachable!("there is no other connection"),
            required: false,
            stateless: false,
        };
        relay.run(|_| Default::default(), || ()).expect("a conversation");
        assert_eq!(to_git.len(), answers.len());
    }
}

/// 50,000 `ACK`s, of which every other one is ours.
fn acks(times: u32) {
    let ours: Vec<ObjectId> = (0..50_000).step_by(2).map(oid).collect();
    let answer: Vec<Pkt> = [Pkt::line("acknowledgments")]
        .into_iter()
        .chain((0..50_000).map(|n| Pkt::line(&format!("ACK {}", oid(n)))))
        .collect();
    for _ in 0..times {
        let mut filter = AckFilter::new(ours.iter().copied());
        let passed = answer.iter().filter(|pkt| filter.passes(pkt)).count();
        assert_eq!(black_box(passed), 25_001);
    }
}

/// 100,000 refs, every tenth an annotated tag.
fn refs(times: u32) {
    let line = |n: u32| match n % 10 {
        0 => format!("{} refs/tags/v{n} peeled:{}", oid(n), oid(n + 1)),
        _ => format!("{} refs/heads/topic/branch-{n}", oid(n)),
    };
    let lines: Vec<String> = (0..100_000).map(line).collect();
    for _ in 0..times {
        let mut list = RefList::default();
        lines.iter().for_each(|line| list.take_v2(line.as_bytes()));
        assert_eq!(black_box(list).refs.len(), 100_000);
    }
}

/// 5,000 mirrors of one remote, among other settings.
fn config(times: u32) {
    let mut text = String::from("core.bare\nfalse\0url.https://git.example/.insteadof\ng:\0");
    for n in 0..5_000 {
        let _ = write!(text, "remote.origin.mirrorurl\nhttps://mirror-{n}.example/project.git\0");
        let _ = write!(text, "branch.topic-{n}.merge\nrefs/heads/topic-{n}\0");
    }
    for _ in 0..times {
        let config = Config::parse(text.as_bytes());
        assert_eq!(black_box(config.mirrors("origin", "https://git.example/project.git")).len(), 5_000);
    }
}

/// A choice among 10,000 mirrors, most of them measured.
fn selector(times: u32) {
    let figure = |value: u32| Some(Figure { value: value.into(), time: 1_800_000_000 });
    let mirrors: Vec<Mirror> = (0..10_000)
        .map(|n| GitUrl::parse(&format!("https://mirror-{n}.example/project.git")).expect("a URL"))
        .map(|url| Mirror { url, origin: Origin::Remote })
        .collect();
    let host = |n: u32| Host {
        connect: figure(5 + n * 7919 % 300),
        rate: if n.is_multiple_of(3) { None } else { figure(100_000 + n * 104_729 % 9_000_000) },
        ..Host::default()
    };
    let candidates: Vec<Candidate> = mirrors
        .iter()
        .zip(0..)
        .map(|(mirror, n)| Candidate { mirror, host: host(n), copy: Copy::default(), km: None })
        .collect();
    let question = Question { must_pay: true, now: 1_800_000_000, seed: 7, ..Question::default() };
    for _ in 0..times {
        let choice = choose(&candidates, &question);
        assert_eq!(black_box(choice.order.len() + choice.excluded.len()), 10_000);
    }
}

/// The proof of a pack of 2,000 commits, each of which changes one of 100 files.
fn proof(times: u32) {
    const FILES: usize = 100;
    const ENTRY: usize = 32; // bytes: mode, space, four of name, NUL, id
    let entry = |file: usize, id: ObjectId| [format!("100644 f{file:03}\0").as_bytes(), id.as_slice()].concat();
    let mut pack = PackWriter::default();
    let first = pack.object(Kind::Blob, b"the first").0;
    let mut tree: Vec<u8> = (0..FILES).flat_map(|file| entry(file, first)).collect();
    assert_eq!(tree.len(), FILES * ENTRY);
    let (mut base, mut parent) = (0, None::<ObjectId>);
    for n in 0..2_000 {
        let at = n * 37 % FILES * ENTRY;
        let blob = pack.object(Kind::Blob, format!("version {n}").as_bytes()).0;
        let new = entry(n * 37 % FILES, blob);
        let mut delta = [varint(tree.len()), varint(tree.len())].concat();
        delta.extend(copied(0, at));
        delta.push(ENTRY as u8);
        delta.extend_from_slice(&new);
        delta.extend(copied(at + ENTRY, tree.len() - at - ENTRY));
        tree[at..at + ENTRY].copy_from_slice(&new);
        base = if n % 50 == 0 { pack.object(Kind::Tree, &tree).1 } else { pack.delta_at(base, &delta) };
        let mut commit = format!("tree {}\n", pack_writer::id(Kind::Tree, &tree));
        let _ = parent.map(|parent| writeln!(commit, "parent {parent}"));
        commit += "author a <a@a> 1 +0000\ncommitter a <a@a> 1 +0000\n\nchange\n";
        parent = Some(pack.object(Kind::Commit, commit.as_bytes()).0);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let index = gix::odb::pack::Bundle::write_to_directory(
        &mut pack.finish().as_slice(),
        Some(folder.path()),
        &mut gix::progress::Discard,
        &AtomicBool::new(false),
        None::<gix::objs::find::Never>,
        HASH,
        gix::odb::pack::bundle::write::Options { thread_limit: Some(1), ..Default::default() },
    );
    let index = index.expect("a good pack").index_path.expect("an index");
    for _ in 0..times {
        assert!(matches!(alone(&index, parent.as_slice(), HASH, None).expect("a good pack"), Alone::Whole));
    }
}

/// Encodes an instruction of a delta: so many bytes from there on.
fn copied(from: usize, size: usize) -> Vec<u8> {
    if size == 0 {
        return Vec::new();
    }
    let [from_low, from_high, ..] = from.to_le_bytes();
    let [size_low, size_high, ..] = size.to_le_bytes();
    vec![0b1011_0011, from_low, from_high, size_low, size_high]
}
