//! Trees one after the other, as they come along their delta chains: of each only what differs from the one before is
//! looked at. Reads entries as git does (`parse_mode` and `canon_mode` in its `object.h`), and leaves it to others whether
//! they are well-formed.

use std::num::NonZero;
use std::ops::Range;

use gix::ObjectId;
use gix::objs::Kind;

use super::table::Lookup;

/// The tree that was checked last on this thread. Trees come along their delta chains, so the next one is much like it.
#[derive(Debug, Default, Clone)]
pub(super) struct LastTree {
    data: Vec<u8>,
    entries: Vec<Entry>,
}

/// An entry of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where it ends.
    end: u32,
    /// For [`super::screen`]: the number of the folder that it names, where that is in the pack.
    pub(super) folder: Option<NonZero<u32>>,
}

/// The mode, name and object of an entry.
pub(super) struct Parts<'a> {
    pub(super) mode: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) id: &'a [u8],
}

impl LastTree {
    /// Checks the entries of `data` that are not, byte for byte, entries of the last tree; then it is the last tree.
    /// Returns which of its entries were checked, by their places; `None` where one does not hold.
    pub(super) fn entries_hold(&mut self, data: &[u8], hash: gix::hash::Kind, lookup: &Lookup) -> Option<Range<usize>> {
        let same_start = data.iter().zip(&self.data).take_while(|(a, b)| a == b).count();
        let same_end = data.iter().rev().zip(self.data.iter().rev()).take_while(|(a, b)| a == b).count();
        let end = |entry: &Entry| entry.end as usize;
        let kept = self.entries.partition_point(|entry| end(entry) <= same_start);
        let mut entries: Vec<Entry> = self.entries[..kept].to_vec();
        let mut checked = kept;
        let mut at = entries.last().map_or(0, end);
        while at < data.len() {
            if data.len() - at <= same_end && at + self.data.len() >= data.len() {
                // The rest is the last tree's, if an entry began there in that as well.
                let theirs = at + self.data.len() - data.len();
                let first = self.entries.partition_point(|entry| end(entry) <= theirs);
                if theirs == 0 || (first > 0 && end(&self.entries[first - 1]) == theirs) {
                    for entry in &self.entries[first..] {
                        let end = u32::try_from(end(entry) + data.len() - self.data.len()).ok()?;
                        entries.push(Entry { end, ..*entry });
                    }
                    break;
                }
            }
            at += entry_holds(&data[at..], hash, lookup)?;
            entries.push(Entry { end: u32::try_from(at).ok()?, folder: None });
            checked += 1;
        }
        self.data.clear();
        self.data.extend_from_slice(data);
        self.entries = entries;
        Some(kept..checked)
    }

    /// Returns the parts of the entry at that place.
    pub(super) fn parts(&self, at: usize, hash: gix::hash::Kind) -> Option<Parts<'_>> {
        let start =
            at.checked_sub(1).map_or(Some(0), |before| self.entries.get(before).map(|entry| entry.end as usize))?;
        let data = self.data.get(start..self.entries.get(at)?.end as usize)?;
        let (text, id) = data.split_at_checked(data.len().checked_sub(hash.len_in_bytes())?)?;
        let space = text.iter().position(|byte| *byte == b' ')?;
        Some(Parts { mode: &text[..space], name: text[space + 1..].strip_suffix(b"\0")?, id })
    }

    /// Returns its entries, for their numbers.
    pub(super) fn entries(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    /// Forgets it: the next tree is checked from its first entry to its last.
    pub(super) fn clear(&mut self) {
        *self = LastTree::default();
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
pub(super) fn mode(digits: &[u8]) -> Option<u32> {
    let value = |mode: u32, digit: &u8| matches!(digit, b'0'..=b'7').then(|| (mode << 3) | u32::from(digit - b'0'));
    (!digits.is_empty()).then(|| digits.iter().try_fold(0, value))?
}

#[cfg(test)]
mod tests {
    use super::super::table::{Object, Table};
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
        assert!(last.entries_hold(&base, sha1, table).is_some());
        assert_eq!(last.entries.len(), 4);
        for good in [
            tree(&[("100644", "a", 1), ("100644", "b", 1), ("40000", "c", 3), ("160000", "d", 9)]),
            tree(&[("100644", "b", 2), ("40000", "c", 3)]),
            tree(&[("100644", "0", 1), ("100644", "b", 2), ("40000", "c", 3)]),
            tree(&[]),
            base.clone(),
            tree(&[("0100644", "a", 1), ("040000", "c", 3), ("60000", "git takes it for a submodule", 9)]),
        ] {
            assert!(last.entries_hold(&good, sha1, table).is_some());
            let mut alone = LastTree::default();
            assert!(alone.entries_hold(&good, sha1, table).is_some());
            assert_eq!(alone.entries, last.entries);
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
            assert!(last.clone().entries_hold(&bad, sha1, table).is_none(), "{bad:?}");
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
        assert!(last.entries_hold(&wide, sha1, &Lookup { table: &table, open: None }).is_some());
        table.remove(&id(7));
        assert!(last.entries_hold(&hidden, sha1, &Lookup { table: &table, open: None }).is_none());
    }
}
