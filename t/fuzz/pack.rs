//! Packs for the proof: the input is read as a program that makes a pack, so that what comes out is a pack that gix
//! indexes, whose objects link to each other, and not noise that ends at the first checksum.
//!
//! A byte names what comes next, and those behind it say how: an object of each kind with links to objects made before,
//! deltas on them, objects of any bytes, and damage. What is made is kept beside the pack, and a slow check of
//! all links, which shares nothing with the proof, says whether the proof may have said yes.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use git_mirror_fetch::adapters::seed::{Alone, Links, alone};
use gix::ObjectId;
use gix::objs::Kind;

#[path = "../helper/pack_writer.rs"]
mod pack_writer;
use pack_writer::{HASH, PackWriter, varint};

const MODES: [&str; 8] = ["100644", "40000", "160000", "100755", "120000", "040000", "100600", "0"];
const KINDS: [Kind; 4] = [Kind::Commit, Kind::Tree, Kind::Blob, Kind::Tag];
/// Most objects of a pack, and most bytes of one: deltas can double each other.
const MOST: usize = 64;
const LONGEST: usize = 1 << 16;

/// The input; at its end everything is 0.
struct Program<'a>(&'a [u8]);

impl Program<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n.max(1)
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

struct Object {
    id: ObjectId,
    kind: Kind,
    data: Vec<u8>,
    offset: usize,
}

#[derive(Default)]
struct Maker {
    pack: PackWriter,
    objects: Vec<Object>,
    /// Whether all entries are in `objects`.
    known: bool,
}

impl Maker {
    fn run(mut program: Program) -> Self {
        let mut maker = Maker { known: true, ..Maker::default() };
        while !program.0.is_empty() && (maker.pack.entries as usize) < MOST {
            maker.step(&mut program);
        }
        maker
    }

    fn step(&mut self, program: &mut Program) {
        match program.below(8) {
            0 => {
                let length = program.below(64);
                self.object(Kind::Blob, program.bytes(length));
            }
            1 => {
                let entries = program.below(8);
                let data = (0..entries).flat_map(|_| self.entry(program)).collect();
                self.object(Kind::Tree, data);
            }
            2 => {
                let mut text = format!("tree {}\n", self.link(program));
                for _ in 0..program.below(4) {
                    text += &format!("parent {}\n", self.link(program));
                }
                text += "author a <a@a> 1 +0000\ncommitter a <a@a> 1 +0000\n\n";
                self.object(Kind::Commit, text.into_bytes());
            }
            3 => {
                let (target, kind) = (self.link(program), KINDS[program.below(4)]);
                let text = format!("object {target}\ntype {kind}\ntag a\ntagger a <a@a> 1 +0000\n\n");
                self.object(Kind::Tag, text.into_bytes());
            }
            4 => self.delta(program, true),
            5 => self.delta(program, false),
            6 => {
                let (kind, length) = (KINDS[program.below(4)], program.below(96));
                self.object(kind, program.bytes(length));
            }
            _ => {
                let length = program.below(8);
                self.pack.noise(&program.bytes(length));
                self.pack.entries += u32::from(program.byte() & 1);
                self.known = false;
            }
        }
    }

    /// Returns an object's name, or one that no object has.
    fn link(&self, program: &mut Program) -> ObjectId {
        let at = usize::from(program.byte());
        self.objects.get(at).map_or(ObjectId::from_bytes_or_panic(&[at as u8; 20]), |object| object.id)
    }

    fn entry(&self, program: &mut Program) -> Vec<u8> {
        let mode = MODES[program.below(MODES.len())];
        let length = program.below(4);
        let name = program.bytes(length);
        [mode.as_bytes(), b" ", &name, b"\0", self.link(program).as_slice()].concat()
    }

    fn object(&mut self, kind: Kind, data: Vec<u8>) {
        let (id, offset) = self.pack.object(kind, &data);
        self.objects.push(Object { id, kind, data, offset });
    }

    fn delta(&mut self, program: &mut Program, by_offset: bool) {
        let at = program.below(self.objects.len());
        let Some(base) = self.objects.get(at) else { return };
        let (base_id, base_offset, kind) = (base.id, base.offset, base.kind);
        let (mut body, mut result) = (Vec::new(), Vec::new());
        for _ in 0..program.below(12) {
            let inserted = match program.below(4) {
                0 => {
                    let from = program.below(base.data.len());
                    let length = (program.below(256)).min(base.data.len() - from);
                    if length > 0 && result.len() < LONGEST {
                        body.extend([0b1001_0001, from as u8, length as u8]);
                        result.extend_from_slice(&base.data[from..from + length]);
                    }
                    continue;
                }
                1 => self.entry(program),
                2 => {
                    let length = program.below(32);
                    program.bytes(length)
                }
                _ => {
                    // Any instruction: what it makes is for gix to find out.
                    self.known = false;
                    let length = program.below(8);
                    body.extend(program.bytes(length));
                    continue;
                }
            };
            if !inserted.is_empty() {
                body.push(inserted.len() as u8);
                body.extend_from_slice(&inserted);
                result.extend(inserted);
            }
        }
        let base_size = base.data.len() + usize::from(program.byte() == 0xff);
        self.known &= base_size == base.data.len();
        let delta = [varint(base_size), varint(result.len()), body].concat();
        let offset =
            if by_offset { self.pack.delta_at(base_offset, &delta) } else { self.pack.delta_on(&base_id, &delta) };
        self.objects.push(Object { id: pack_writer::id(kind, &result), kind, data: result, offset });
    }

    /// Checks every link of every object.
    fn is_closed(&self) -> bool {
        let table: HashMap<ObjectId, Kind> = self.objects.iter().map(|one| (one.id, one.kind)).collect();
        let is = |id: ObjectId, kind| table.get(&id) == Some(&kind);
        self.objects.iter().all(|object| match object.kind {
            Kind::Blob => true,
            Kind::Tree => entries(&object.data).is_some_and(|all| all.iter().all(|(id, kind)| is(*id, *kind))),
            Kind::Commit => {
                let lines = object.data.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty());
                let id = |line: &[u8], word: &[u8]| ObjectId::from_hex(line.strip_prefix(word)?).ok();
                let tree = lines.clone().next().and_then(|line| id(line, b"tree "));
                let mut parents = lines.skip(1).take_while(|line| line.starts_with(b"parent "));
                tree.is_some_and(|tree| is(tree, Kind::Tree))
                    && parents.all(|line| id(line, b"parent ").is_some_and(|id| is(id, Kind::Commit)))
            }
            Kind::Tag => {
                let mut lines = object.data.split(|byte| *byte == b'\n');
                let mut next = |word: &[u8]| lines.next().and_then(|line| line.strip_prefix(word));
                let target = next(b"object ").and_then(|hex| ObjectId::from_hex(hex).ok());
                let kind = next(b"type ").and_then(|kind| Kind::from_bytes(kind).ok());
                target.zip(kind).is_some_and(|(id, kind)| is(id, kind))
            }
        })
    }
}

/// Returns what a tree's entries lead to within its repository; `None` where it is none.
fn entries(mut data: &[u8]) -> Option<Vec<(ObjectId, Kind)>> {
    let mut all = Vec::new();
    while !data.is_empty() {
        let space = data.iter().position(|byte| *byte == b' ')?;
        let digits = &data[..space];
        let mode = digits.iter().try_fold(0u32, |mode, digit| match digit {
            b'0'..=b'7' => Some(mode.wrapping_mul(8) + u32::from(digit - b'0')),
            _ => None,
        })?;
        let nul = data.iter().position(|byte| *byte == 0)?;
        let end = nul.checked_add(21)?;
        let id = ObjectId::from_bytes_or_panic(data.get(nul + 1..end)?);
        match mode & 0o170_000 {
            0o040_000 => all.push((id, Kind::Tree)),
            0o100_000 | 0o120_000 => all.push((id, Kind::Blob)),
            _ => {} // git takes any other type for a submodule (`canon_mode` in its `object.h`)
        }
        data = &data[end..];
    }
    Some(all)
}

/// The proof of a pack: where it says yes, every link holds.
pub fn pack_proof(bytes: &[u8]) {
    let tips = bytes.first().copied().unwrap_or(0);
    let mut made = Maker::run(Program(bytes.get(1..).unwrap_or_default()));
    let pack = std::mem::take(&mut made.pack).finish();
    let memory = std::path::Path::new("/dev/shm"); // gix waits for a disk
    let folder = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).expect("a folder");
    let never = AtomicBool::new(false);
    let outcome = gix::odb::pack::Bundle::write_to_directory(
        &mut pack.as_slice(),
        Some(folder.path()),
        &mut gix::progress::Discard,
        &never,
        None::<gix::objs::find::Never>,
        HASH,
        gix::odb::pack::bundle::write::Options {
            thread_limit: Some(1),
            alloc_limit_bytes: Some(16 << 20),
            ..Default::default()
        },
    );
    let Some(index) = outcome.ok().and_then(|outcome| outcome.index_path) else { return };
    let bogus = ObjectId::from_bytes_or_panic(&[0xee; 20]);
    let wanted: Vec<ObjectId> = match tips % 4 {
        0 => vec![],
        1 => vec![bogus],
        2 => made.objects.iter().map(|object| object.id).collect(),
        _ => made.objects.last().map(|object| object.id).into_iter().collect(),
    };
    let closed = matches!(alone(&index, &wanted, HASH, None), Ok(Alone::Whole));
    let mut links = Links::new(HASH);
    let added = links.add(&index).is_ok();
    if closed {
        assert!(tips % 4 != 1, "a tip that is nowhere");
        assert!(added && links.open().next().is_none(), "two answers");
        assert!(!made.known || made.is_closed(), "a link that does not hold");
        assert!(wanted.iter().all(|id| links.holds(id)));
    }
}
