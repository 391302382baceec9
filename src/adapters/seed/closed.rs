//! A proof in memory: a pack is *closed* where every link of every object in it leads to an object in it, of the kind
//! that the link says. Then each of its objects is complete. If besides each object that is no tip has a link that leads
//! to it, the pack holds what the tips reach and nothing else: links make no circle, as names are hashes, so that whoever
//! follows them backwards ends at a tip. A walk over what is reachable has nothing to add.
//!
//! It is several times as fast as `git rev-list --objects`: commits, trees and tags are decoded along their delta chains,
//! on all cores, and of a tree only the entries that differ from the tree decoded before it are looked up
//! ([`super::tree`]). That objects hash to their names is known from indexing, which computed the names.
//! Fetches into a repository that has history lead out of their pack; those are proved by `git rev-list`.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use gix::ObjectId;
use gix::hashtable::HashMap;
use gix::objs::Kind;
use gix::odb::pack::cache::delta::{Tree, traverse};
use gix::odb::pack::data::entry::Header;
use gix::odb::pack::{data, index};

use super::guard::guarded;
use super::meter::{Meter, Numbers};
use super::screen::{Screen, Screened};
use super::table::{Lookup, Object, Table};
use super::tree::LastTree;

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

/// Returns what the pack with that index is, of which `tips` were asked for. `screened` takes what is unusual in it.
///
/// # Errors
/// Where the pack cannot be read, or an object in it is no object; for a caller that is as good as [`Alone::Open`].
pub fn alone(
    index: &Path,
    tips: &[ObjectId],
    hash: gix::hash::Kind,
    screened: Option<&Mutex<Screened>>,
) -> gix::Result<Alone> {
    let pack = Pack::open(index, hash)?;
    let table: Table = pack.objects().collect();
    if !tips.iter().all(|tip| table.contains_key(tip))
        || !pack.follow(&Lookup { table: &table, open: None }, screened)?
    {
        return Ok(Alone::Open);
    }
    Ok(beside(&table, tips).map_or(Alone::Whole, Alone::Beside))
}

/// Has `screened` take what is unusual in the pack with that index, wherever its links lead; returns those that lead out.
///
/// # Errors
/// Where the pack cannot be read, an object in it is no object, or a link says another kind than its object has.
pub fn screen(index: &Path, hash: gix::hash::Kind, screened: &Mutex<Screened>) -> gix::Result<HashMap<ObjectId, Kind>> {
    let pack = Pack::open(index, hash)?;
    let (table, open) = (pack.objects().collect(), Mutex::default());
    match pack.follow(&Lookup { table: &table, open: Some(&open) }, Some(screened))? {
        true => Ok(open.into_inner().unwrap_or_default()),
        false => Err(damage("an object cannot be read, or is not of the kind that a link to it says")),
    }
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
        let good = pack.follow(&Lookup { table: &self.table, open: Some(&open) }, None)?;
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
        self.open.is_empty() && self.hold_only(tips)
    }

    /// Returns whether the packs hold together what `tips` reach but for files, and nothing else.
    pub fn are_whole_but_for_files(&self, tips: &[ObjectId]) -> bool {
        let asked: HashSet<&ObjectId> = tips.iter().collect();
        let mut files = self.table.iter().filter(|(_, object)| object.kind == Kind::Blob).map(|(id, _)| id);
        self.open.values().all(|kind| *kind == Kind::Blob)
            && files.all(|file| asked.contains(file))
            && self.hold_only(tips)
    }

    fn hold_only(&self, tips: &[ObjectId]) -> bool {
        tips.iter().all(|tip| self.holds(tip)) && beside(&self.table, tips).is_none()
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
    /// Where each is and its number in the index, by offset, ascending.
    entries: Vec<(data::Offset, u32)>,
    kinds: Vec<Kind>,
}

impl Pack {
    fn open(index_path: &Path, hash: gix::hash::Kind) -> gix::Result<Self> {
        let path = index_path.with_extension("pack");
        let index = index::File::at(index_path, hash)?;
        let data = data::File::at(&path, hash)?;
        let mut entries: Vec<_> = (0..index.num_objects()).map(|at| (index.pack_offset_at_index(at), at)).collect();
        entries.sort_unstable();
        let kinds = kinds(&entries, &index, &path, hash)?;
        Ok(Pack { path, hash, index, data, entries, kinds })
    }

    fn objects(&self) -> impl Iterator<Item = (ObjectId, Object)> {
        let id = |at: u32| self.index.oid_at_index(at).to_owned();
        self.entries.iter().zip(&self.kinds).map(move |((_, at), kind)| (id(*at), Object::new(*kind)))
    }

    /// Decodes all commits, trees and tags, and returns whether all their links hold. `screened` takes what is unusual.
    fn follow(mut self, lookup: &Lookup, screened: Option<&Mutex<Screened>>) -> gix::Result<bool> {
        if self.kinds.iter().all(|kind| *kind == Kind::Blob) {
            return Ok(true);
        }
        let kinds = self.kinds.len();
        let all = std::mem::take(&mut self.entries).into_iter().zip(std::mem::take(&mut self.kinds));
        // gix 0.90 reads the first of these from where the pack's first object is: that must be in, whatever it is.
        let needed = all.enumerate().filter(|(at, (_, kind))| *at == 0 || *kind != Kind::Blob);
        let numbers: Vec<u32> = needed.map(|(_, ((_, number), _))| number).collect();
        let (hash, index) = (self.hash, &self.index);
        let tree = Tree::from_offsets_in_pack(
            &self.path,
            numbers.into_iter(),
            &|number| index.pack_offset_at_index(*number),
            &|id| Ok(index.lookup(id).map(|at| index.pack_offset_at_index(at))),
            &mut gix::progress::Discard,
            &super::NEVER,
            hash,
        )?;
        let open = AtomicBool::new(false);
        let opened = &open;
        let mut last = LastTree::default();
        let mut screen = screened.map(|screened| Screen::new(index, hash, screened));
        let numbers = Arc::new(Numbers::default());
        numbers.bytes.store(self.data.data_len() as u64, Relaxed);
        numbers.received.store(kinds, Relaxed);
        let (followed, excess) = guarded(&numbers, &super::NEVER, |stop| {
            tree.traverse(
                |range, pack: &data::File| pack.entry_slice(range),
                &self.data,
                self.data.pack_end() as u64,
                move |number, _, context| {
                    let data = context.decompressed;
                    let kind = context.entry.header.as_kind().ok_or_else(|| damage("a delta without a base"))?;
                    let held = links_hold(kind, data, hash, lookup, &mut last);
                    let Some(checked) = held else {
                        opened.store(true, Relaxed);
                        return Err(damage("a link leads out of the pack"));
                    };
                    if let Some(screen) = &mut screen {
                        screen.look(*number, kind, data, &mut last, checked);
                    }
                    Ok(())
                },
                traverse::Options {
                    object_progress: Box::new(gix::progress::Discard),
                    size_progress: &mut Meter::inflated(Arc::clone(&numbers)),
                    thread_limit: None,
                    should_interrupt: stop,
                    object_hash: hash,
                    alloc_limit_bytes: Some(super::ALLOC_LIMIT),
                },
            )
        });
        match followed {
            Ok(_) => Ok(true),
            Err(_) if open.load(Relaxed) => Ok(false),
            Err(_) if excess.is_some() => Err(damage("it takes too much to look at")),
            Err(err) => Err(err),
        }
    }
}

/// Returns the kind of each entry, in order: a delta is of its base's kind. Reads the pack, as pages that are looked at where
/// it is mapped count as memory of this process.
fn kinds(
    entries: &[(data::Offset, u32)],
    index: &index::File,
    pack: &Path,
    hash: gix::hash::Kind,
) -> gix::Result<Vec<Kind>> {
    enum Of {
        Kind(Kind),
        Base(usize),
    }
    let damaged = || damage("a delta has no base in the pack");
    let mut file = BufReader::with_capacity(64 << 10, File::open(pack).map_err(gix::Error::from_error)?);
    let (mut at, mut known) = (0, Vec::with_capacity(entries.len()));
    for (offset, _) in entries {
        let ahead = i64::try_from(*offset).ok().and_then(|offset| offset.checked_sub(at)).ok_or_else(damaged)?;
        file.seek_relative(ahead).map_err(gix::Error::from_error)?;
        let entry = data::Entry::from_read(&mut file, *offset, hash.len_in_bytes()).map_err(gix::Error::from_error)?;
        at += ahead + i64::try_from(entry.header_size()).map_err(|_| damaged())?;
        let base = match entry.header {
            Header::OfsDelta { base_distance } => Header::verified_base_pack_offset(*offset, base_distance),
            Header::RefDelta { base_id } => index.lookup(base_id).map(|at| index.pack_offset_at_index(at)),
            header => {
                known.push(Of::Kind(header.as_kind().ok_or_else(damaged)?));
                continue;
            }
        };
        let base = base.ok_or_else(damaged)?;
        known.push(Of::Base(entries.binary_search_by_key(&base, |(offset, _)| *offset).map_err(|_| damaged())?));
    }
    for at in 0..known.len() {
        let mut chain = Vec::new();
        let mut next = at;
        let kind = loop {
            match known[next] {
                Of::Kind(kind) => break kind,
                Of::Base(base) => chain.push(std::mem::replace(&mut next, base)),
            }
            if chain.len() > entries.len() {
                return Err(damaged());
            }
        };
        chain.into_iter().for_each(|at| known[at] = Of::Kind(kind));
    }
    let kind = |of| match of {
        Of::Kind(kind) => Some(kind),
        Of::Base(_) => None,
    };
    known.into_iter().map(|of| kind(of).ok_or_else(damaged)).collect()
}

/// Returns whether its links hold, and for a tree which entries were looked at.
fn links_hold(
    kind: Kind,
    data: &[u8],
    hash: gix::hash::Kind,
    lookup: &Lookup,
    last: &mut LastTree,
) -> Option<Range<usize>> {
    let is = |id: &ObjectId, kind: Kind| lookup.is(id, kind);
    let hold = match kind {
        Kind::Blob => true,
        Kind::Tree => return last.entries_hold(data, hash, lookup),
        Kind::Commit => gix::objs::CommitRef::from_bytes(data, hash)
            .is_ok_and(|commit| is(&commit.tree(), Kind::Tree) && commit.parents().all(|p| is(&p, Kind::Commit))),
        Kind::Tag => gix::objs::TagRef::from_bytes(data, hash).is_ok_and(|tag| is(&tag.target(), tag.target_kind)),
    };
    hold.then_some(0..0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::git::repo::Repo;
    use crate::adapters::process;

    struct World {
        _dir: tempfile::TempDir,
        repo: Repo,
    }

    impl World {
        fn git(&self, args: &[&str], input: &str) -> String {
            let out = process::output(&mut self.repo.git(args), input.as_bytes()).expect("git");
            String::from_utf8_lossy(&out).trim().to_owned()
        }

        /// Returns the index of a pack of these objects.
        fn pack(&self, ids: &str) -> PathBuf {
            let base = self.repo.objects.join("pack/pack");
            let name = self.git(&["pack-objects", "-q", &base.to_string_lossy()], ids);
            self.repo.objects.join(format!("pack/pack-{name}.idx"))
        }
    }

    #[test]
    fn a_pack_holds_what_its_tips_reach_and_nothing_else() {
        let sha1 = gix::hash::Kind::Sha1;
        let dir = tempfile::tempdir().expect("a folder");
        let world = World { repo: Repo::bare(dir.path(), sha1), _dir: dir };
        world.git(&["init", "-q", "--bare"], "");
        let stream: String = (1..30)
            .map(|n| {
                format!("commit refs/heads/a\ncommitter C <c> {n} +0000\ndata 0\nM 644 inline d/{n}\ndata 2\n{n:02}\n")
            })
            .collect();
        world.git(&["fast-import", "--quiet"], &stream);
        let id = |name: &str| world.git(&["rev-parse", name], "").parse::<ObjectId>().expect("an id");
        let all = world.git(&["rev-list", "--objects", "--no-object-names", "a"], "");
        let (tip, before) = (id("a"), id("a~1"));
        let whole = world.pack(&all);
        let is = |index: &Path, tips: &[ObjectId]| alone(index, tips, sha1, None).expect("a pack");
        assert_eq!(is(&whole, &[tip]), Alone::Whole);
        assert_eq!(is(&whole, &[tip, before]), Alone::Whole);
        assert_eq!(is(&whole, &[before]), Alone::Beside(tip));
        assert_eq!(is(&whole, &[before, sha1.empty_tree()]), Alone::Open, "a tip that it lacks");
        let folder = id("a~9:d").to_string();
        let less = all.lines().filter(|line| *line != folder).map(|line| format!("{line}\n"));
        assert_eq!(is(&world.pack(&less.collect::<String>()), &[tip]), Alone::Open);
        // A file, a folder with a file, a tag of what is there, a commit on top.
        let file = world.git(&["hash-object", "-w", "--stdin"], "beside");
        let folder = world.git(&["mktree"], &format!("100644 blob {file}\tx\n"));
        let tag = format!("object {tip}\ntype commit\ntag t\ntagger C <c> 1 +0000\n\n");
        let tag = world.git(&["hash-object", "-w", "-t", "tag", "--stdin"], &tag);
        let commit = format!("tree {}\nparent {tip}\nauthor C <c> 1 +0000\ncommitter C <c> 1 +0000\n\n", id("a:"));
        let commit = world.git(&["hash-object", "-w", "-t", "commit", "--stdin"], &commit);
        for beside in [&file, &format!("{file}\n{folder}"), &tag, &commit] {
            let index = world.pack(&format!("{all}\n{beside}\n"));
            let last: ObjectId = beside.lines().last().and_then(|id| id.parse().ok()).expect("an id");
            assert_eq!(is(&index, &[tip]), Alone::Beside(last));
            assert_eq!(is(&index, &[tip, last]), Alone::Whole);
            // In several packs as in one, in any order.
            let beside = world.pack(&format!("{beside}\n"));
            for packs in [[&whole, &beside], [&beside, &whole]] {
                let mut links = Links::new(sha1);
                packs.iter().for_each(|index| links.add(index).expect("objects"));
                assert!(!links.are_whole(&[tip]) && links.are_whole(&[tip, last]));
            }
        }
        assert_eq!(is(&world.pack(&format!("{all}\n{folder}\n")), &[tip]), Alone::Open, "a folder without its file");
    }
}
