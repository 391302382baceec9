//! A proof in memory: a pack is *closed* where every link of every object in it leads to an object in it, of the kind
//! that the link says. Then each of its objects is complete, and a walk over what is reachable has nothing to add.
//!
//! Stricter than `git rev-list --objects` (unreachable objects count too), and several times as fast: commits, trees and
//! tags are decoded along their delta chains, on all cores, and of a tree only the entries that differ from the tree
//! decoded before it are looked up. That objects hash to their names is known from indexing, which computed the names.
//! Fetches into a repository that has history lead out of their pack; those are proved by `git rev-list`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use gix::ObjectId;
use gix::hashtable::HashMap;
use gix::objs::Kind;
use gix::odb::pack::cache::delta::{Tree, traverse};
use gix::odb::pack::data::entry::Header;
use gix::odb::pack::{data, index};

/// What is in the pack: an object's name, and its kind.
type Table = HashMap<ObjectId, Kind>;

/// Returns whether the pack with that index is closed and holds all of `tips`.
///
/// # Errors
/// Where the pack cannot be read, or an object in it is no object; for a caller that is as good as `false`.
pub fn is_closed(index_path: &Path, tips: &[ObjectId], hash: gix::hash::Kind) -> gix::Result<bool> {
    let pack_path = index_path.with_extension("pack");
    let index = index::File::at(index_path, hash)?;
    let pack = data::File::at(&pack_path, hash)?;
    let mut entries: Vec<(data::Offset, ObjectId)> = index.iter().map(|e| (e.pack_offset, e.oid)).collect();
    entries.sort_unstable();
    let kinds = kinds(&entries, &index, &pack)?;
    let table: Table = entries.iter().zip(&kinds).map(|((_, id), kind)| (*id, *kind)).collect();
    if !tips.iter().all(|tip| table.contains_key(tip)) {
        return Ok(false);
    }
    let offsets: Vec<data::Offset> =
        entries.iter().zip(&kinds).filter(|(_, kind)| **kind != Kind::Blob).map(|((offset, _), _)| *offset).collect();
    drop((entries, kinds));
    let tree = Tree::from_offsets_in_pack(
        &pack_path,
        offsets.into_iter(),
        &|offset| *offset,
        &|id| Ok(index.lookup(id).map(|at| index.pack_offset_at_index(at))),
        &mut gix::progress::Discard,
        &super::NEVER,
        hash,
    )?;
    let (open, mut last) = (AtomicBool::new(false), LastTree::default());
    let (opened, table) = (&open, &table);
    tree.traverse(
        |range, pack: &data::File| pack.entry_slice(range),
        &pack,
        pack.pack_end() as u64,
        move |_, _, context| {
            let kind = context.entry.header.as_kind();
            if !kind.is_some_and(|kind| links_hold(kind, context.decompressed, hash, table, &mut last)) {
                opened.store(true, Relaxed);
                return Err(gix::Error::from_error(std::io::Error::other("a link leads out of the pack")));
            }
            Ok(())
        },
        traverse::Options {
            object_progress: Box::new(gix::progress::Discard),
            size_progress: &mut gix::progress::Discard,
            thread_limit: None,
            should_interrupt: &super::NEVER,
            object_hash: hash,
            alloc_limit_bytes: Some(super::pack::ALLOC_LIMIT),
        },
    )
    .map(|_| true)
    .or_else(|err| if open.load(Relaxed) { Ok(false) } else { Err(err) })
}

/// Returns the kind of each entry, in order: a delta is of its base's kind.
fn kinds(entries: &[(data::Offset, ObjectId)], index: &index::File, pack: &data::File) -> gix::Result<Vec<Kind>> {
    let damaged = || gix::Error::from_error(std::io::Error::other("a delta has no base in the pack"));
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

fn links_hold(kind: Kind, data: &[u8], hash: gix::hash::Kind, table: &Table, last: &mut LastTree) -> bool {
    let is = |id: &ObjectId, kind: Kind| table.get(id) == Some(&kind);
    match kind {
        Kind::Blob => true,
        Kind::Tree => last.entries_hold(data, hash, table),
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
    fn entries_hold(&mut self, data: &[u8], hash: gix::hash::Kind, table: &Table) -> bool {
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
            let Some(end) = entry_holds(&data[at..], hash, table) else { return false };
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
fn entry_holds(data: &[u8], hash: gix::hash::Kind, table: &Table) -> Option<usize> {
    let space = data.iter().take(7).position(|byte| *byte == b' ')?;
    let mode = std::str::from_utf8(&data[..space]).ok().and_then(|mode| u32::from_str_radix(mode, 8).ok())?;
    let name = data[space + 1..].iter().position(|byte| *byte == 0).filter(|len| *len > 0)?;
    let start = space + 1 + name + 1;
    let end = start + hash.len_in_bytes();
    let id = ObjectId::from_bytes_or_panic(data.get(start..end)?);
    // git's `object_type()` in its `object.h`: by the file type of the mode alone.
    let holds = match mode & 0o170_000 {
        0o040_000 => table.get(&id) == Some(&Kind::Tree),
        0o160_000 => true, // a submodule's commit is in another repository
        _ => table.get(&id) == Some(&Kind::Blob),
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
        let table = table();
        let mut last = LastTree::default();
        let base = tree(&[("100644", "a", 1), ("100644", "b", 2), ("40000", "c", 3), ("160000", "d", 9)]);
        assert!(last.entries_hold(&base, sha1, &table));
        assert_eq!(last.ends.len(), 4);
        for good in [
            tree(&[("100644", "a", 1), ("100644", "b", 1), ("40000", "c", 3), ("160000", "d", 9)]),
            tree(&[("100644", "b", 2), ("40000", "c", 3)]),
            tree(&[("100644", "0", 1), ("100644", "b", 2), ("40000", "c", 3)]),
            tree(&[]),
            base.clone(),
        ] {
            assert!(last.entries_hold(&good, sha1, &table));
            let mut alone = LastTree::default();
            assert!(alone.entries_hold(&good, sha1, &table));
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
            assert!(!last.clone().entries_hold(&bad, sha1, &table), "{bad:?}");
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
        assert!(last.entries_hold(&wide, sha1, &table));
        table.remove(&id(7));
        assert!(!last.entries_hold(&hidden, sha1, &table));
    }
}
