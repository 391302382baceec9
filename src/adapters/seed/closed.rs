//! A proof in memory: a pack is *closed* where every link of every object in it leads to an object in it, of the kind
//! that the link says. Then each of its objects is complete. If besides each object that is no tip has a link that leads
//! to it, the pack holds what the tips reach and nothing else: links make no circle, as names are hashes, so that whoever
//! follows them backwards ends at a tip. A walk over what is reachable has nothing to add.
//!
//! It is several times as fast as `git rev-list --objects`: commits, trees and
//! tags are decoded along their delta chains, on all cores, and of a tree only the entries that differ from the tree
//! decoded before it are looked up. That objects hash to their names is known from indexing, which computed the names.
//! Fetches into a repository that has history lead out of their pack; those are proved by `git rev-list`.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use gix::ObjectId;
use gix::hashtable::HashMap;
use gix::objs::Kind;
use gix::odb::pack::cache::delta::{Tree, traverse};
use gix::odb::pack::data::entry::Header;
use gix::odb::pack::{data, index};

/// Objects by their names.
type Table = HashMap<ObjectId, Object>;

/// What is known of an object in a pack.
#[derive(Debug)]
struct Object {
    kind: Kind,
    /// Whether a link leads to it.
    reached: AtomicBool,
}

impl Object {
    fn new(kind: Kind) -> Self {
        Object { kind, reached: AtomicBool::new(false) }
    }
}

/// What one pack is without anything beside it.
#[derive(Debug, PartialEq, Eq)]
pub enum Alone {
    /// It holds what the tips reach, and nothing else.
    Whole,
    /// Some of its links lead out of it.
    Open,
    /// It is closed, and nothing in it leads to this object, which is no tip.
    Beside(ObjectId),
}

/// Returns what the pack with that index is, of which `tips` were asked for.
///
/// # Errors
/// Where the pack cannot be read, or an object in it is no object; for a caller that is as good as [`Alone::Open`].
pub fn alone(index: &Path, tips: &[ObjectId], hash: gix::hash::Kind) -> gix::Result<Alone> {
    let pack = Pack::open(index, hash)?;
    let table: Table = pack.objects().collect();
    if !tips.iter().all(|tip| table.contains_key(tip)) || !pack.follow(&Lookup { table: &table, open: None })? {
        return Ok(Alone::Open);
    }
    Ok(beside(&table, tips).map_or(Alone::Whole, Alone::Beside))
}

/// Returns an object that no link leads to and that is no tip.
fn beside(table: &Table, tips: &[ObjectId]) -> Option<ObjectId> {
    tips.iter().filter_map(|tip| table.get(tip)).for_each(|tip| tip.reached.store(true, Relaxed));
    table.iter().find(|(_, object)| !object.reached.load(Relaxed)).map(|(id, _)| *id)
}

/// What some packs hold together, and where their links lead that lead out of them.
#[derive(Debug)]
pub struct Links {
    hash: gix::hash::Kind,
    table: Table,
    open: HashMap<ObjectId, Kind>,
}

impl Links {
    /// Returns those of no pack.
    pub fn new(hash: gix::hash::Kind) -> Self {
        Links { hash, table: Table::default(), open: HashMap::default() }
    }

    /// Adds the pack with that index.
    ///
    /// # Errors
    /// Where the pack cannot be read, an object in it is no object, or a link says another kind than its object has.
    pub fn add(&mut self, index: &Path) -> gix::Result<()> {
        let pack = Pack::open(index, self.hash)?;
        for (id, object) in pack.objects() {
            self.table.entry(id).or_insert(object); // one that is there already keeps what is known of it
        }
        let open = Mutex::new(std::mem::take(&mut self.open));
        let good = pack.follow(&Lookup { table: &self.table, open: Some(&open) })?;
        self.open = open.into_inner().unwrap_or_default();
        let (table, mut good) = (&self.table, good);
        self.open.retain(|id, kind| {
            let found = table.get(id);
            found.inspect(|found| found.reached.store(true, Relaxed));
            good &= found.is_none_or(|found| found.kind == *kind);
            found.is_none()
        });
        if good { Ok(()) } else { Err(damage("an object is not of the kind that a link to it says")) }
    }

    /// Returns whether a pack holds the object.
    pub fn holds(&self, id: &ObjectId) -> bool {
        self.table.contains_key(id)
    }

    /// Returns what links lead to and no pack holds. Where that is nothing, each object in the packs is complete.
    pub fn open(&self) -> impl Iterator<Item = (&ObjectId, Kind)> {
        self.open.iter().map(|(id, kind)| (id, *kind))
    }

    /// Returns whether the packs hold together what `tips` reach, and nothing else.
    pub fn are_whole(&self, tips: &[ObjectId]) -> bool {
        self.open.is_empty() && tips.iter().all(|tip| self.holds(tip)) && beside(&self.table, tips).is_none()
    }
}

fn damage(what: &'static str) -> gix::Error {
    gix::Error::from_error(std::io::Error::other(what))
}

/// A pack, and where in it which object is.
struct Pack {
    path: PathBuf,
    hash: gix::hash::Kind,
    index: index::File,
    data: data::File,
    /// By offset, ascending.
    entries: Vec<(data::Offset, ObjectId)>,
    kinds: Vec<Kind>,
}

impl Pack {
    fn open(index_path: &Path, hash: gix::hash::Kind) -> gix::Result<Self> {
        let path = index_path.with_extension("pack");
        let index = index::File::at(index_path, hash)?;
        let data = data::File::at(&path, hash)?;
        let mut entries: Vec<(data::Offset, ObjectId)> = index.iter().map(|e| (e.pack_offset, e.oid)).collect();
        entries.sort_unstable();
        let kinds = kinds(&entries, &index, &data)?;
        Ok(Pack { path, hash, index, data, entries, kinds })
    }

    fn objects(&self) -> impl Iterator<Item = (ObjectId, Object)> {
        self.entries.iter().zip(&self.kinds).map(|((_, id), kind)| (*id, Object::new(*kind)))
    }

    /// Decodes all commits, trees and tags, and returns whether all their links hold.
    fn follow(mut self, lookup: &Lookup) -> gix::Result<bool> {
        if self.kinds.iter().all(|kind| *kind == Kind::Blob) {
            return Ok(true);
        }
        let all = std::mem::take(&mut self.entries).into_iter().zip(std::mem::take(&mut self.kinds));
        // gix 0.90 reads the first of these from where the pack's first object is: that must be in, whatever it is.
        let needed = all.enumerate().filter(|(at, (_, kind))| *at == 0 || *kind != Kind::Blob);
        let offsets: Vec<data::Offset> = needed.map(|(_, ((offset, _), _))| offset).collect();
        let (hash, index) = (self.hash, &self.index);
        let tree = Tree::from_offsets_in_pack(
            &self.path,
            offsets.into_iter(),
            &|offset| *offset,
            &|id| Ok(index.lookup(id).map(|at| index.pack_offset_at_index(at))),
            &mut gix::progress::Discard,
            &super::NEVER,
            hash,
        )?;
        let (open, mut last) = (AtomicBool::new(false), LastTree::default());
        let opened = &open;
        tree.traverse(
            |range, pack: &data::File| pack.entry_slice(range),
            &self.data,
            self.data.pack_end() as u64,
            move |_, _, context| {
                let kind = context.entry.header.as_kind();
                if !kind.is_some_and(|kind| links_hold(kind, context.decompressed, hash, lookup, &mut last)) {
                    opened.store(true, Relaxed);
                    return Err(damage("a link leads out of the pack"));
                }
                Ok(())
            },
            traverse::Options {
                object_progress: Box::new(gix::progress::Discard),
                size_progress: &mut gix::progress::Discard,
                thread_limit: None,
                should_interrupt: &super::NEVER,
                object_hash: hash,
                alloc_limit_bytes: Some(super::ALLOC_LIMIT),
            },
        )
        .map(|_| true)
        .or_else(|err| if open.load(Relaxed) { Ok(false) } else { Err(err) })
    }
}

/// What a link is held against.
struct Lookup<'a> {
    table: &'a Table,
    /// Takes what is not in the table; without it, such a link does not hold.
    open: Option<&'a Mutex<HashMap<ObjectId, Kind>>>,
}

impl Lookup<'_> {
    fn is(&self, id: &ObjectId, kind: Kind) -> bool {
        match (self.table.get(id), self.open) {
            (Some(found), _) => {
                found.reached.store(true, Relaxed);
                found.kind == kind
            }
            (None, None) => false,
            (None, Some(open)) => open.lock().is_ok_and(|mut open| *open.entry(*id).or_insert(kind) == kind),
        }
    }
}

/// Returns the kind of each entry, in order: a delta is of its base's kind.
fn kinds(entries: &[(data::Offset, ObjectId)], index: &index::File, pack: &data::File) -> gix::Result<Vec<Kind>> {
    let damaged = || damage("a delta has no base in the pack");
    let mut kinds: Vec<Option<Kind>> = vec![None; entries.len()];
    for at in 0..entries.len() {
        let mut chain = Vec::new();
        let mut next = at;
        let kind = loop {
            if let Some(kind) = kinds[next] {
                break kind;
            }
            let offset = entries[next].0;
            let base = match pack.entry(offset)?.header {
                Header::OfsDelta { base_distance } => Header::verified_base_pack_offset(offset, base_distance),
                Header::RefDelta { base_id } => index.lookup(base_id).map(|at| index.pack_offset_at_index(at)),
                header => break header.as_kind().ok_or_else(damaged)?,
            };
            chain.push(next);
            let base = base.ok_or_else(damaged)?;
            next = entries.binary_search_by_key(&base, |(offset, _)| *offset).map_err(|_| damaged())?;
            if chain.len() > entries.len() {
                return Err(damaged());
            }
        };
        kinds[next] = Some(kind);
        chain.into_iter().for_each(|at| kinds[at] = Some(kind));
    }
    Ok(kinds.into_iter().map(|kind| kind.unwrap_or(Kind::Blob)).collect())
}

fn links_hold(kind: Kind, data: &[u8], hash: gix::hash::Kind, lookup: &Lookup, last: &mut LastTree) -> bool {
    let is = |id: &ObjectId, kind: Kind| lookup.is(id, kind);
    match kind {
        Kind::Blob => true,
        Kind::Tree => last.entries_hold(data, hash, lookup),
        Kind::Commit => gix::objs::CommitRef::from_bytes(data, hash)
            .is_ok_and(|commit| is(&commit.tree(), Kind::Tree) && commit.parents().all(|p| is(&p, Kind::Commit))),
        Kind::Tag => gix::objs::TagRef::from_bytes(data, hash).is_ok_and(|tag| is(&tag.target(), tag.target_kind)),
    }
}

/// The tree that was checked last on this thread. Trees come along their delta chains, so the next one is much like it.
#[derive(Debug, Default, Clone)]
struct LastTree {
    data: Vec<u8>,
    /// Where its entries end, ascending.
    ends: Vec<usize>,
}

impl LastTree {
    /// Checks the entries of `data` that are not, byte for byte, entries of the last tree; then it is the last tree.
    fn entries_hold(&mut self, data: &[u8], hash: gix::hash::Kind, lookup: &Lookup) -> bool {
        let same_start = data.iter().zip(&self.data).take_while(|(a, b)| a == b).count();
        let same_end = data.iter().rev().zip(self.data.iter().rev()).take_while(|(a, b)| a == b).count();
        let kept = self.ends.partition_point(|end| *end <= same_start);
        let mut ends: Vec<usize> = self.ends[..kept].to_vec();
        let mut at = ends.last().copied().unwrap_or(0);
        while at < data.len() {
            if data.len() - at <= same_end && at + self.data.len() >= data.len() {
                // The rest is the last tree's, if an entry began there in that as well.
                let theirs = at + self.data.len() - data.len();
                let first = self.ends.partition_point(|end| *end <= theirs);
                if theirs == 0 || (first > 0 && self.ends[first - 1] == theirs) {
                    ends.extend(self.ends[first..].iter().map(|end| end + data.len() - self.data.len()));
                    break;
                }
            }
            let Some(end) = entry_holds(&data[at..], hash, lookup) else { return false };
            at += end;
            ends.push(at);
        }
        self.data.clear();
        self.data.extend_from_slice(data);
        self.ends = ends;
        true
    }
}

/// Checks the first entry of `data` (`<mode> <name>NUL<id>`), and returns its length; `None` where it does not hold.
fn entry_holds(data: &[u8], hash: gix::hash::Kind, lookup: &Lookup) -> Option<usize> {
    let space = data.iter().take(LONGEST_MODE + 1).position(|byte| *byte == b' ')?;
    let mode = mode(&data[..space])?;
    let name = data[space + 1..].iter().position(|byte| *byte == 0).filter(|len| *len > 0)?;
    let start = space + 1 + name + 1;
    let end = start + hash.len_in_bytes();
    let id = ObjectId::from_bytes_or_panic(data.get(start..end)?);
    // By the file type of the mode alone, as `canon_mode()` in git's `object.h` has it.
    let holds = match mode & 0o170_000 {
        0o040_000 => lookup.is(&id, Kind::Tree),
        0o100_000 | 0o120_000 => lookup.is(&id, Kind::Blob),
        _ => true, // a submodule's commit is in another repository; so git reads any other type
    };
    holds.then_some(end)
}

/// git writes six digits, and reads any number of them; whoever wrote more has them proved by git.
const LONGEST_MODE: usize = 16;

/// Returns the mode that git reads from so many octal digits (`parse_mode` in its `object.h`); `None` where it reads none.
/// Leading zeros are read, and left to those who check.
fn mode(digits: &[u8]) -> Option<u32> {
    let value = |mode: u32, digit: &u8| matches!(digit, b'0'..=b'7').then(|| (mode << 3) | u32::from(digit - b'0'));
    (!digits.is_empty()).then(|| digits.iter().try_fold(0, value))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[n; 20])
    }

    fn tree(entries: &[(&str, &str, u8)]) -> Vec<u8> {
        entries
            .iter()
            .flat_map(|(mode, name, n)| [format!("{mode} {name}\0").into_bytes(), vec![*n; 20]].concat())
            .collect()
    }

    fn table() -> Table {
        let objects = [(id(1), Kind::Blob), (id(2), Kind::Blob), (id(3), Kind::Tree)];
        objects.into_iter().map(|(id, kind)| (id, Object::new(kind))).collect()
    }

    #[test]
    fn trees_one_after_the_other() {
        let sha1 = gix::hash::Kind::Sha1;
        let table = &Lookup { table: &table(), open: None };
        let mut last = LastTree::default();
        let base = tree(&[("100644", "a", 1), ("100644", "b", 2), ("40000", "c", 3), ("160000", "d", 9)]);
        assert!(last.entries_hold(&base, sha1, table));
        assert_eq!(last.ends.len(), 4);
        for good in [
            tree(&[("100644", "a", 1), ("100644", "b", 1), ("40000", "c", 3), ("160000", "d", 9)]),
            tree(&[("100644", "b", 2), ("40000", "c", 3)]),
            tree(&[("100644", "0", 1), ("100644", "b", 2), ("40000", "c", 3)]),
            tree(&[]),
            base.clone(),
            tree(&[("0100644", "a", 1), ("040000", "c", 3), ("60000", "git takes it for a submodule", 9)]),
        ] {
            assert!(last.entries_hold(&good, sha1, table));
            let mut alone = LastTree::default();
            assert!(alone.entries_hold(&good, sha1, table));
            assert_eq!(alone.ends, last.ends);
        }
        for bad in [
            tree(&[("100644", "a", 1), ("100644", "b", 7), ("40000", "c", 3), ("160000", "d", 9)]),
            tree(&[("100644", "a", 3)]),
            tree(&[("40000", "a", 1)]),
            tree(&[("100644", "a", 1), ("100644", "", 1)]),
            base[..base.len() - 1].to_vec(),
            tree(&[("+40000", "a", 3)]),
            tree(&[("-40000", "a", 3)]),
            tree(&[("", "a", 1)]),
            tree(&[("100648", "a", 1)]),
            tree(&[("0x1f", "a", 1)]),
            b"garbage".to_vec(),
        ] {
            assert!(!last.clone().entries_hold(&bad, sha1, table), "{bad:?}");
        }
    }

    #[test]
    fn a_common_end_that_is_no_entry_of_the_last_tree_is_checked() {
        let sha1 = gix::hash::Kind::Sha1;
        let mut table = table();
        // The last tree hides, in a name, what is a whole entry of the next one.
        let hidden = tree(&[("100644", "x", 7)]);
        let mut wide = b"100644 ".to_vec();
        wide.extend_from_slice(&[b'n'; 4]);
        wide.push(0);
        let mut blob = hidden[hidden.len() - 20..].to_vec();
        blob.truncate(20);
        wide.extend_from_slice(&blob);
        table.insert(id(7), Object::new(Kind::Blob));
        let mut last = LastTree::default();
        assert!(last.entries_hold(&wide, sha1, &Lookup { table: &table, open: None }));
        table.remove(&id(7));
        assert!(!last.entries_hold(&hidden, sha1, &Lookup { table: &table, open: None }));
    }
}
