//! A proof in memory: a pack is *closed* where every link of every object in it leads to an object in it, of the kind
//! that the link says. Then each of its objects is complete, and a walk over what is reachable has nothing to add.
//!
//! Stricter than `git rev-list --objects` (unreachable objects count too), and several times as fast: commits, trees and
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

/// Objects by their names, and the kind of each.
type Table = HashMap<ObjectId, Kind>;

/// Returns whether the pack with that index is closed and holds all of `tips`.
///
/// # Errors
/// Where the pack cannot be read, or an object in it is no object; for a caller that is as good as `false`.
pub fn is_closed(index: &Path, tips: &[ObjectId], hash: gix::hash::Kind) -> gix::Result<bool> {
    let pack = Pack::open(index, hash)?;
    let table: Table = pack.objects().collect();
    if !tips.iter().all(|tip| table.contains_key(tip)) {
        return Ok(false);
    }
    pack.follow(&Lookup { table: &table, open: None })
}

/// What some packs hold together, and where their links lead that lead out of them.
#[derive(Debug)]
pub struct Links {
    hash: gix::hash::Kind,
    table: Table,
    open: Table,
}

impl Links {
    /// Returns those of no pack.
    pub fn new(hash: gix::hash::Kind) -> Self {
        Links { hash, table: Table::default(), open: Table::default() }
    }

    /// Adds the pack with that index.
    ///
    /// # Errors
    /// Where the pack cannot be read, an object in it is no object, or a link says another kind than its object has.
    pub fn add(&mut self, index: &Path) -> gix::Result<()> {
        let pack = Pack::open(index, self.hash)?;
        self.table.extend(pack.objects());
        let open = Mutex::new(std::mem::take(&mut self.open));
        let good = pack.follow(&Lookup { table: &self.table, open: Some(&open) })?;
        self.open = open.into_inner().unwrap_or_default();
        let (table, mut good) = (&self.table, good);
        self.open.retain(|id, kind| {
            let found = table.get(id);
            good &= found.is_none_or(|found| found == kind);
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

    fn objects(&self) -> impl Iterator<Item = (ObjectId, Kind)> {
        self.entries.iter().zip(&self.kinds).map(|((_, id), kind)| (*id, *kind))
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
    open: Option<&'a Mutex<Table>>,
}

impl Lookup<'_> {
    fn is(&self, id: &ObjectId, kind: Kind) -> bool {
        match (self.table.get(id), self.open) {
            (Some(found), _) => *found == kind,
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
    let space = data.iter().take(7).position(|byte| *byte == b' ')?;
    let mode = std::str::from_utf8(&data[..space]).ok().and_then(|mode| u32::from_str_radix(mode, 8).ok())?;
    let name = data[space + 1..].iter().position(|byte| *byte == 0).filter(|len| *len > 0)?;
    let start = space + 1 + name + 1;
    let end = start + hash.len_in_bytes();
    let id = ObjectId::from_bytes_or_panic(data.get(start..end)?);
    // git's `object_type()` in its `object.h`: by the file type of the mode alone.
    let holds = match mode & 0o170_000 {
        0o040_000 => lookup.is(&id, Kind::Tree),
        0o160_000 => true, // a submodule's commit is in another repository
        _ => lookup.is(&id, Kind::Blob),
    };
    holds.then_some(end)
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
        [(id(1), Kind::Blob), (id(2), Kind::Blob), (id(3), Kind::Tree)].into_iter().collect()
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
        table.insert(id(7), Kind::Blob);
        let mut last = LastTree::default();
        assert!(last.entries_hold(&wide, sha1, &Lookup { table: &table, open: None }));
        table.remove(&id(7));
        assert!(!last.entries_hold(&hidden, sha1, &Lookup { table: &table, open: None }));
    }
}
