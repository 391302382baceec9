//! Which objects git's own checks have certainly nothing against, while they pass by in the proof.
//!
//! One-sided: what is plainly well-formed passes, and all else is a doubt, which git itself settles (`git index-pack
//! --strict`). Never the other way round: nothing is refused by what is said here. So git need not see the whole
//! of what a mirror has on its own account, which would take longer than fetching it.
//!
//! Source: git's `fsck.c`; `is_hfs_dotgit` and `is_ntfs_dotgit` for names that a file system takes for `.git`.

use std::cmp::Ordering;
use std::num::NonZero;
use std::ops::Range;
use std::sync::Mutex;

use gix::ObjectId;
use gix::objs::Kind;
use gix::odb::pack::index;

use super::tree::{LastTree, Parts};

/// git walks no deeper than 2,048 folders (`core.maxTreeDepth`).
const MOST_NESTED: u32 = 2_000;
/// Most numbers that are kept to find out how deep folders are nested: 64 MiB. Beyond, git finds out.
const MOST_LINKS: usize = 16 << 20;
/// In the list of links: the number of the folder that the numbers behind it are in.
const PARENT: u32 = 1 << 31;

/// What is unusual.
#[derive(Debug, Default)]
pub struct Screened {
    /// Objects that git has to judge.
    pub doubts: Vec<ObjectId>,
    /// Whether folders are, or may be, nested deeper than git goes.
    pub deep: bool,
    links: Vec<u32>,
    full: bool,
}

impl Screened {
    /// Finds out how deep the folders of a pack of so many objects are nested. Numbers are of one pack only.
    pub fn measure(&mut self, objects: u32) {
        let links = std::mem::take(&mut self.links);
        self.deep |= std::mem::take(&mut self.full) || is_deep(&links, objects as usize);
    }
}

/// Looks at the objects of one thread.
pub(super) struct Screen<'a> {
    index: &'a index::File,
    hash: gix::hash::Kind,
    all: &'a Mutex<Screened>,
    own: Screened,
}

impl Clone for Screen<'_> {
    fn clone(&self) -> Self {
        Self::new(self.index, self.hash, self.all)
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        if let Ok(mut all) = self.all.lock() {
            all.doubts.append(&mut self.own.doubts);
            all.full |= self.own.full || all.links.len() + self.own.links.len() > MOST_LINKS;
            if !all.full {
                all.links.append(&mut self.own.links);
            }
        }
    }
}

impl<'a> Screen<'a> {
    pub(super) fn new(index: &'a index::File, hash: gix::hash::Kind, all: &'a Mutex<Screened>) -> Self {
        Screen { index, hash, all, own: Screened::default() }
    }

    /// Looks at the object of that number; of a tree at the entries `checked`, as the others were looked at in the last one.
    pub(super) fn look(&mut self, number: u32, kind: Kind, data: &[u8], last: &mut LastTree, checked: Range<usize>) {
        let plain = match kind {
            Kind::Blob => true,
            Kind::Commit => commit_is_plain(data, self.hash),
            Kind::Tag => false, // they are few
            Kind::Tree => {
                let plain = self.folders(last, &checked) & names_are_plain(last, &checked, self.hash);
                self.link(number, last);
                let ordered = is_ordered(last, &checked, self.hash);
                if !ordered {
                    last.clear();
                }
                plain && ordered
            }
        };
        if !plain {
            self.own.doubts.push(self.index.oid_at_index(number).to_owned());
        }
    }

    /// Numbers the folders among the entries.
    fn folders(&self, last: &mut LastTree, checked: &Range<usize>) -> bool {
        for at in checked.clone() {
            let Some(parts) = last.parts(at, self.hash) else { return false };
            if is_folder(&parts) {
                let id = ObjectId::from_bytes_or_panic(parts.id);
                last.entries()[at].folder = self.index.lookup(id).and_then(|number| NonZero::new(number + 1));
            }
        }
        true
    }

    fn link(&mut self, number: u32, last: &mut LastTree) {
        let folders = last.entries().iter().filter_map(|entry| entry.folder).map(|number| number.get() - 1);
        self.own.links.push(number | PARENT);
        self.own.links.extend(folders);
        if self.own.links.len() > MOST_LINKS || self.own.full {
            self.own.full = true;
            self.own.links = Vec::new();
        }
    }
}

fn is_folder(parts: &Parts) -> bool {
    parts.mode == b"40000"
}

fn names_are_plain(last: &LastTree, checked: &Range<usize>, hash: gix::hash::Kind) -> bool {
    checked.clone().all(|at| last.parts(at, hash).is_some_and(|parts| is_plain(&parts)))
}

/// Mode and name of an entry. `.gitmodules` and `.gitattributes` are looked into by git, wherever they change.
fn is_plain(parts: &Parts) -> bool {
    let mode = matches!(parts.mode, b"40000" | b"100644" | b"100755" | b"120000" | b"160000");
    let name = parts.name;
    let dot_git = name.len() >= 4 && name[..4].eq_ignore_ascii_case(b".git");
    let known = name == b".gitignore" && matches!(parts.mode, b"100644" | b"100755");
    // Characters that HFS+ ignores begin with e2 or ef; NTFS has short names, and streams.
    let odd = |byte: &u8| matches!(byte, 0..=31 | b'/' | b'\\' | b'~' | b':' | 0xe2 | 0xef);
    let plain = !name.is_empty() && name.len() <= 255 && name != b"." && name != b".." && !name.iter().any(odd);
    mode && plain && (!dot_git || known) && parts.id.iter().any(|byte| *byte != 0)
}

/// Returns whether the entries that were looked at stand where they belong among the others, each name once.
fn is_ordered(last: &mut LastTree, checked: &Range<usize>, hash: gix::hash::Kind) -> bool {
    let count = last.entries().len();
    let last = &*last;
    let compare = |a: usize, b: usize| Some(order(&last.parts(a, hash)?, &last.parts(b, hash)?));
    let from = checked.start.saturating_sub(1);
    let ascending =
        (from..checked.end.min(count.saturating_sub(1))).all(|at| compare(at, at + 1) == Some(Ordering::Less));
    // A file and a folder of one name may have others between them.
    let alone = |at: usize| {
        let parts = last.parts(at, hash)?;
        let other = Parts { mode: if is_folder(&parts) { b"100644" } else { b"40000" }, ..parts };
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            match order(&last.parts(middle, hash)?, &other) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(false),
                Ordering::Greater => high = middle,
            }
        }
        Some(true)
    };
    ascending && checked.clone().all(|at| alone(at) == Some(true))
}

/// git's order: folders as if their names ended in a slash.
fn order(a: &Parts, b: &Parts) -> Ordering {
    let end = |parts: &Parts| is_folder(parts).then_some(b'/');
    let (first, second) = (a.name.iter().copied().chain(end(a)), b.name.iter().copied().chain(end(b)));
    first.cmp(second)
}

/// `tree`, `parent`s, `author`, `committer`, and no NUL anywhere.
fn commit_is_plain(data: &[u8], hash: gix::hash::Kind) -> bool {
    fn id<'a>(data: &'a [u8], word: &[u8], hash: gix::hash::Kind) -> Option<&'a [u8]> {
        let (id, rest) = data.strip_prefix(word)?.split_at_checked(hash.len_in_hex())?;
        (ObjectId::from_hex(id).is_ok() && !id.iter().any(u8::is_ascii_uppercase)).then(|| rest.strip_prefix(b"\n"))?
    }
    let plain = || {
        let mut rest = id(data, b"tree ", hash)?;
        while rest.starts_with(b"parent ") {
            rest = id(rest, b"parent ", hash)?;
        }
        let rest = ident(rest.strip_prefix(b"author ")?)?;
        let rest = ident(rest.strip_prefix(b"committer ")?)?;
        let ends = rest.starts_with(b"\n") || rest.windows(2).any(|two| two == b"\n\n");
        (ends && !data.contains(&0)).then_some(())
    };
    plain().is_some()
}

/// Reads `Name <address> 1234567890 +0000`; returns what comes behind the end of its line.
fn ident(data: &[u8]) -> Option<&[u8]> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = (&data[..end], &data[end + 1..]);
    let open = line.iter().position(|byte| matches!(byte, b'<' | b'>')).filter(|at| line[*at] == b'<' && *at > 0)?;
    let close = line[open + 1..].iter().position(|byte| matches!(byte, b'<' | b'>'))? + open + 1;
    let date = line[close..].strip_prefix(b"> ")?;
    let digits = date.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let zone = date[digits..].strip_prefix(b" ")?;
    let good = line[open - 1] == b' '
        && (1..=10).contains(&digits)
        && (date[0] != b'0' || digits == 1)
        && zone.len() == 5
        && matches!(zone[0], b'+' | b'-')
        && zone[1..].iter().all(u8::is_ascii_digit);
    good.then_some(rest)
}

/// Returns whether a folder of these is nested too deep.
fn is_deep(links: &[u32], objects: usize) -> bool {
    let mut begins = vec![u32::MAX; objects];
    for (at, number) in links.iter().enumerate().filter(|(_, number)| **number & PARENT != 0) {
        if let (Some(begin), Ok(at)) = (begins.get_mut((number ^ PARENT) as usize), u32::try_from(at + 1)) {
            *begin = at;
        }
    }
    let within = |number: u32| {
        let begin = begins.get(number as usize).copied().unwrap_or(u32::MAX) as usize;
        links.get(begin..).unwrap_or_default().iter().take_while(|number| **number & PARENT == 0)
    };
    // How many levels are below each, itself counted; 0 where that is not known yet.
    let mut levels = vec![0_u16; objects];
    for from in links.iter().filter(|number| **number & PARENT != 0).map(|number| number ^ PARENT) {
        let mut path = vec![(from, within(from))];
        while let Some((number, folders)) = path.last_mut() {
            if levels.get(*number as usize).is_none_or(|levels| *levels > 0) {
                path.pop();
                continue;
            }
            if let Some(next) = folders.find(|number| levels.get(**number as usize) == Some(&0)) {
                if path.len() > MOST_NESTED as usize {
                    return true;
                }
                path.push((*next, within(*next)));
                continue;
            }
            let number = *number;
            let deepest = within(number).filter_map(|number| levels.get(*number as usize)).max();
            let level = deepest.copied().unwrap_or(0) + 1;
            if u32::from(level) > MOST_NESTED {
                return true;
            }
            levels[number as usize] = level;
            path.pop();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::table::Lookup;
    use super::*;

    const SHA1: gix::hash::Kind = gix::hash::Kind::Sha1;

    fn tree(entries: &[(&str, &str)]) -> Vec<u8> {
        let id = |mode: &str| vec![if mode.ends_with("40000") { 8 } else { 7 }; 20];
        let one = |(mode, name): &(&str, &str)| [format!("{mode} {name}\0").into_bytes(), id(mode)].concat();
        entries.iter().flat_map(one).collect()
    }

    /// Whether the second tree is plain after the first.
    fn is_plain_after(first: &[(&str, &str)], second: &[(&str, &str)]) -> bool {
        let (table, open) = (Default::default(), Mutex::default());
        let lookup = Lookup { table: &table, open: Some(&open) };
        let mut last = LastTree::default();
        let mut look = |entries| {
            let checked = last.entries_hold(&tree(entries), SHA1, &lookup);
            checked.is_some_and(|checked| {
                let ordered = is_ordered(&mut last, &checked, SHA1);
                let plain = ordered && names_are_plain(&last, &checked, SHA1);
                if !ordered {
                    last.clear();
                }
                plain
            })
        };
        look(first);
        look(second)
    }

    #[test]
    fn trees() {
        let base = [("100644", "a"), ("100644", "a.b"), ("100644", "c"), ("100644", "d")];
        for good in [
            &[("100644", "a"), ("100644", "a.b"), ("100755", "c"), ("100644", "d")][..],
            &[("100644", "a"), ("100644", "d")],
            &[("100644", "a.b"), ("40000", "a"), ("100644", "c")],
            &[("100644", ".gitignore"), ("100644", "a")],
            &[],
        ] {
            assert!(is_plain_after(&base, good) && is_plain_after(&[], good), "{good:?}");
        }
        for bad in [
            &[("100644", "a"), ("100644", "a.b"), ("40000", "a"), ("100644", "c"), ("100644", "d")][..],
            &[("100644", "a"), ("100644", "a.b"), ("100644", "c"), ("100644", "b"), ("100644", "d")],
            &[("100644", "b"), ("100644", "a"), ("100644", "a.b"), ("100644", "c"), ("100644", "d")],
            &[("100644", "a"), ("100644", "a.b"), ("100644", "c"), ("100644", "d"), ("100644", "d")],
            &[("100644", "a"), ("100644", "a.b"), ("100644", "c"), ("100644", "c"), ("100644", "d")],
            &[("40000", "a"), ("100644", "a.b")],
            &[("100644", ".GIT")],
            &[("100644", ".gitmodules")],
            &[("120000", ".gitignore")],
            &[("40000", "..")],
            &[("100644", "a/b")],
            &[("040000", "a")],
            &[("100666", "a")],
            &[("100644", "git~1")],
            &[("100644", ".g\u{200c}it")],
        ] {
            assert!(!is_plain_after(&base, bad) && !is_plain_after(&[], bad), "{bad:?}");
        }
        // What was wrong with the last tree is not hidden by it.
        let wrong = [("100644", "b"), ("100644", "a")];
        assert!(!is_plain_after(&wrong, &wrong));
    }

    #[test]
    fn commits() {
        let id = "1".repeat(40);
        let who = "A U Thor <a@example.com> 1700000000 +0100";
        let commit = |tree: &str, author: &str| {
            let text = format!("tree {tree}\nparent {id}\nauthor {author}\ncommitter {who}\nencoding x\n\nx\n");
            commit_is_plain(text.as_bytes(), SHA1)
        };
        assert!(commit(&id, who) && commit(&id, "A <> 0 -0000"));
        for author in [
            "A <a> 01 +0000",
            "A <a> 12345678901 +0000",
            "A<a> 1 +0000",
            "<a> 1 +0000",
            "A <a 1 +0000",
            "A <a> 1 0",
            "A > <a> 1 +0000",
            "A <a> 1",
            "A <a>",
            "A\0 <a> 1 +0000",
            "A <<a> 1 +0000",
            "A <a> 1 +00000",
        ] {
            assert!(!commit(&id, author), "{author}");
        }
        assert!(!commit(&"A".repeat(40), who) && !commit(&id[1..], who));
        assert!(!commit_is_plain(format!("tree {id}\ncommitter {who}\n\n").as_bytes(), SHA1));
    }

    #[test]
    fn nested_folders() {
        // Each folder holds the next one and, as a diamond, the one behind that.
        let chain = |n: u32| (0..n).flat_map(|at| [at | PARENT, at + 1, at + 2]).collect::<Vec<u32>>();
        assert!(!is_deep(&chain(1_900), 1_902));
        assert!(is_deep(&chain(2_100), 2_102));
        let backwards: Vec<u32> = (0..2_100).rev().flat_map(|at| [at | PARENT, at + 1]).collect();
        assert!(is_deep(&backwards, 2_101));
        assert!(!is_deep(&[], 0) && !is_deep(&[9 | PARENT, 9, 12], 3), "numbers of nothing");
    }
}
