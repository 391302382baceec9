//! Receives a pack and makes its index, group by group of its objects, so that it is never in memory whole.
//!
//! gix maps the whole pack to resolve its deltas, and holds some 150 bytes for each object over that time. But what an object
//! is a delta of leads to one that is none: such a family needs nothing else. So the pack is written as it comes, and then
//! families of some MiB together are read from it, resolved by gix on all cores, and forgotten but for their names. Servers
//! write families together, so what is read is mostly in one piece.
//!
//! Where that does not work (deltas that say their base by its name; a family that is too large), gix has the pack whole.
//! Source of the format of an index: gitformat-pack(5), version 2.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use gix::ObjectId;
use gix::odb::pack::data::entry::Header;
use gix::odb::pack::data::input;
use gix::odb::pack::{data, index};
use tempfile::NamedTempFile;

use super::meter::{Meter, Numbers};

/// Bytes of a pack that are resolved at once; a family may have twice as many.
pub(super) const GROUP: u64 = 32 << 20;
/// Where the first entry of a pack is.
const FIRST: u64 = data::header::SIZE as u64;
/// What is before the names in an index: its magic number and version, and the table of first bytes.
const BEFORE_NAMES: usize = 8 + 256 * 4;
/// Instead of a base.
const NONE: u32 = u32::MAX;

/// An object of a pack.
struct Entry {
    offset: data::Offset,
    crc32: u32,
    /// The number of the entry that it is a delta of, which comes before it; or [`NONE`].
    base: u32,
}

/// All of a pack but its bytes.
struct Entries {
    all: Vec<Entry>,
    /// Where the last one ends.
    end: data::Offset,
    /// The bases of those that say it by its name.
    named: BTreeMap<u32, ObjectId>,
    /// The checksum.
    trailer: ObjectId,
}

/// Reads a pack to its end, and leaves it and its index in `packs`. Returns how many objects it holds.
///
/// # Errors
/// As gix's: where the pack is damaged, breaks off, or cannot be stored, or `stop` is set.
pub(super) fn write(
    reader: &mut dyn BufRead,
    packs: &Path,
    numbers: &Arc<Numbers>,
    stop: &AtomicBool,
    hash: gix::hash::Kind,
    group: u64,
) -> gix::Result<u32> {
    let mut out = BufWriter::with_capacity(64 << 10, NamedTempFile::new_in(packs).map_err(io)?);
    let entries = receive(reader, &mut out, numbers, stop, hash)?;
    let pack = out.into_inner().map_err(|err| io(err.into_error()))?;
    if entries.all.is_empty() {
        return Ok(0);
    }
    numbers.unpacking.store(true, Relaxed);
    let index = NamedTempFile::new_in(packs).map_err(io)?;
    let work = Work { entries: &entries, pack: &pack, numbers, stop, hash };
    let index = match entries.groups(group) {
        Some(groups) => work.index(&groups, index)?,
        None => work.at_once(index)?,
    };
    let path = packs.join(format!("pack-{}.pack", entries.trailer));
    pack.persist(&path).map_err(|err| io(err.error))?;
    index.persist(path.with_extension("idx")).map_err(|err| io(err.error))?;
    u32::try_from(entries.all.len()).map_err(|_| damage("it has too many objects"))
}

fn io(err: std::io::Error) -> gix::Error {
    gix::Error::from_error(err)
}

fn damage(what: &'static str) -> gix::Error {
    io(std::io::Error::other(what))
}

/// Writes what is read through it.
struct Tee<'a> {
    inner: &'a mut dyn BufRead,
    out: &'a mut dyn Write,
    stop: &'a AtomicBool,
}

impl Read for Tee<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.stop.load(Relaxed) {
            return Err(std::io::Error::other("stopped"));
        }
        let n = self.inner.read(buf)?;
        self.out.write_all(&buf[..n])?;
        Ok(n)
    }
}

fn receive(
    inner: &mut dyn BufRead,
    out: &mut dyn Write,
    numbers: &Numbers,
    stop: &AtomicBool,
    hash: gix::hash::Kind,
) -> gix::Result<Entries> {
    let read = BufReader::with_capacity(16 << 10, Tee { inner, out, stop });
    let (mode, keep) = (input::Mode::Verify, input::EntryDataMode::Crc32);
    let came = input::BytesToEntriesIter::new_from_header(read, mode, keep, hash)?;
    numbers.total.store(came.size_hint().0, Relaxed);
    let mut entries = Entries { all: Vec::new(), end: 0, named: BTreeMap::new(), trailer: hash.null() };
    for entry in came {
        let entry = entry?;
        let number = u32::try_from(entries.all.len()).map_err(|_| damage("it has too many objects"))?;
        let base = match entry.header {
            Header::OfsDelta { base_distance } => Header::verified_base_pack_offset(entry.pack_offset, base_distance)
                .and_then(|base| entries.all.binary_search_by_key(&base, |entry| entry.offset).ok())
                .and_then(|base| u32::try_from(base).ok())
                .ok_or_else(|| damage("a delta has no base"))?,
            Header::RefDelta { base_id } => {
                entries.named.insert(number, base_id);
                NONE
            }
            _ => NONE,
        };
        entries.all.push(Entry { offset: entry.pack_offset, crc32: entry.crc32.unwrap_or(0), base });
        entries.end = entry.pack_offset + u64::from(entry.header_size) + entry.compressed_size;
        entries.trailer = entry.trailer.unwrap_or(entries.trailer);
        numbers.received.fetch_add(1, Relaxed);
        numbers.inflated.fetch_add(usize::try_from(entry.decompressed_size).unwrap_or(usize::MAX), Relaxed);
    }
    Ok(entries)
}

impl Entries {
    /// Returns where an entry is in the pack.
    fn range(&self, number: u32) -> Range<data::Offset> {
        let at = number as usize;
        self.all[at].offset..self.all.get(at + 1).map_or(self.end, |next| next.offset)
    }

    fn len(&self, number: u32) -> u64 {
        let range = self.range(number);
        range.end - range.start
    }

    fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        0..u32::try_from(self.all.len()).unwrap_or(NONE)
    }

    /// Returns the numbers of all entries, ascending within each group, families of deltas together; `None` where that is
    /// not to be.
    fn groups(&self, most: u64) -> Option<Vec<Vec<u32>>> {
        if !self.named.is_empty() {
            return None;
        }
        let mut heads: Vec<u32> = Vec::with_capacity(self.all.len());
        for (number, entry) in self.numbers().zip(&self.all) {
            heads.push(if entry.base == NONE { number } else { heads[entry.base as usize] });
        }
        let mut sizes = vec![0; heads.len()];
        for (number, head) in self.numbers().zip(&heads) {
            sizes[*head as usize] += self.len(number);
        }
        if sizes.iter().any(|size| *size > most.saturating_mul(2)) {
            return None;
        }
        let (mut groups, mut size) = (vec![Vec::new()], 0);
        // A head comes before the others of its family, whose group takes the place of its size.
        for (number, head) in self.numbers().zip(&heads) {
            let of = *head as usize;
            if *head == number {
                if size > 0 && size + sizes[of] > most {
                    groups.push(Vec::new());
                    size = 0;
                }
                size += sizes[of];
                sizes[of] = groups.len() as u64 - 1;
            }
            groups.get_mut(usize::try_from(sizes[of]).ok()?)?.push(number);
        }
        Some(groups)
    }
}

/// What is to be indexed.
struct Work<'a> {
    entries: &'a Entries,
    pack: &'a NamedTempFile,
    numbers: &'a Arc<Numbers>,
    stop: &'a AtomicBool,
    hash: gix::hash::Kind,
}

/// The objects of a group, by their names.
struct Named {
    /// One behind the other.
    names: Vec<u8>,
    numbers: Vec<u32>,
}

impl Named {
    fn name(&self, at: usize, len: usize) -> Option<&[u8]> {
        self.names.get(at * len..(at + 1) * len)
    }
}

impl Work<'_> {
    /// Makes the index with the whole pack mapped.
    fn at_once(&self, mut index: NamedTempFile) -> gix::Result<NamedTempFile> {
        let entries = self.entries;
        let pack = data::File::at(self.pack.path(), self.hash)?;
        let each = entries.numbers().zip(&entries.all).map(|(number, entry)| {
            let header = match (entries.named.get(&number), entry.base) {
                (Some(id), _) => Header::RefDelta { base_id: *id },
                (None, NONE) => Header::Blob,
                (None, base) => Header::OfsDelta { base_distance: entry.offset - entries.all[base as usize].offset },
            };
            self.entry(header, entry.offset, entries.len(number), entry.crc32)
        });
        self.resolve(each, |range, pack: &data::File| pack.entry_slice(range), pack, index.as_file_mut())?;
        Ok(index)
    }

    /// Makes the index.
    fn index(&self, groups: &[Vec<u32>], index: NamedTempFile) -> gix::Result<NamedTempFile> {
        let mut bytes = Vec::new();
        let mut named = Vec::with_capacity(groups.len());
        for group in groups {
            named.push(self.names(group, &mut bytes)?);
            self.numbers.before.fetch_add(group.len(), Relaxed);
            self.numbers.resolved.store(0, Relaxed);
        }
        drop(bytes);
        self.write(&named, index).map_err(io)
    }

    /// Finds the names of a group's objects. `bytes` is room for what is read.
    fn names(&self, group: &[u32], bytes: &mut Vec<u8>) -> gix::Result<Named> {
        let offsets = self.read(group, bytes).map_err(io)?;
        let end = FIRST + bytes.len() as u64;
        let each = group.iter().enumerate().map(|(at, number)| {
            let base = self.entries.all[*number as usize].base;
            let base = if base == NONE { None } else { group.binary_search(&base).ok() };
            let header =
                base.map_or(Header::Blob, |base| Header::OfsDelta { base_distance: offsets[at] - offsets[base] });
            let len = offsets.get(at + 1).unwrap_or(&end) - offsets[at];
            self.entry(header, offsets[at], len, 0)
        });
        let mut index = Vec::new();
        fn slice<'a>(range: data::EntryRange, bytes: &'a &[u8]) -> Option<&'a [u8]> {
            let at = |offset: u64| usize::try_from(offset.checked_sub(FIRST)?).ok();
            bytes.get(at(range.start)?..at(range.end)?)
        }
        self.resolve(each, slice, bytes.as_slice(), &mut index)?;
        // As long as a group is, offsets have 31 bits.
        let (count, len) = (group.len(), self.hash.len_in_bytes());
        let names = index.get(BEFORE_NAMES..BEFORE_NAMES + count * len);
        let found = index.get(BEFORE_NAMES + count * (len + 4)..BEFORE_NAMES + count * (len + 8));
        let (Some(names), Some(found)) = (names, found) else { return Err(damage("its index is too short")) };
        let number = |offset: &[u8]| {
            let offset = offset.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
            Some(group[offsets.binary_search(&offset).ok()?])
        };
        let numbers: Option<Vec<u32>> = found.chunks_exact(4).map(number).collect();
        Ok(Named { names: names.to_vec(), numbers: numbers.ok_or_else(|| damage("its index is wrong"))? })
    }

    /// Reads the entries of a group, one behind the other, and returns where each would be if these were the pack.
    fn read(&self, group: &[u32], bytes: &mut Vec<u8>) -> std::io::Result<Vec<data::Offset>> {
        let mut offsets = Vec::with_capacity(group.len());
        let mut end = FIRST;
        for number in group {
            offsets.push(end);
            end += self.entries.len(*number);
        }
        bytes.resize(usize::try_from(end - FIRST).map_err(std::io::Error::other)?, 0);
        let file: &File = self.pack.as_file();
        let mut rest = bytes.as_mut_slice();
        for run in group.chunk_by(|one, next| one + 1 == *next) {
            let [first, .., last] = run else {
                let range = self.entries.range(run[0]);
                rest = fill(file, rest, range)?;
                continue;
            };
            rest = fill(file, rest, self.entries.range(*first).start..self.entries.range(*last).end)?;
        }
        Ok(offsets)
    }

    fn entry(&self, header: Header, offset: data::Offset, len: u64, crc32: u32) -> gix::Result<input::Entry> {
        Ok(input::Entry {
            header,
            header_size: 0,
            pack_offset: offset,
            compressed: None,
            compressed_size: len,
            crc32: Some(crc32),
            decompressed_size: 0, // has been counted
            trailer: Some(self.entries.trailer),
        })
    }

    fn resolve<R: Send + Sync>(
        &self,
        mut entries: impl Iterator<Item = gix::Result<input::Entry>>,
        slice: impl for<'r> Fn(data::EntryRange, &'r R) -> Option<&'r [u8]> + Send + Clone,
        bytes: R,
        out: &mut dyn Write,
    ) -> gix::Result<()> {
        index::write_data_iter_to_stream(
            index::Version::default(),
            move || Ok((slice, bytes)),
            &mut entries,
            None,
            &mut Meter::resolving(Arc::clone(self.numbers)),
            out,
            self.stop,
            self.hash,
            Some(super::ALLOC_LIMIT),
            data::Version::V2,
        )
        .map(|_| ())
    }

    /// Writes the index of all groups.
    fn write(&self, groups: &[Named], file: NamedTempFile) -> std::io::Result<NamedTempFile> {
        let len = self.hash.len_in_bytes();
        let mut heap: BinaryHeap<_> = groups
            .iter()
            .enumerate()
            .filter_map(|(group, named)| Some(Reverse((named.name(0, len)?, group, 0))))
            .collect();
        let mut order: Vec<(u32, u32)> = Vec::with_capacity(self.entries.all.len());
        let mut firsts = [0_u32; 256];
        while let Some(mut head) = heap.peek_mut() {
            let Reverse((name, group, at)) = *head;
            firsts[usize::from(name[0])] += 1;
            let short = |n: usize| u32::try_from(n).map_err(std::io::Error::other);
            order.push((short(group)?, short(at)?));
            match groups[group].name(at + 1, len) {
                Some(next) => *head = Reverse((next, group, at + 1)),
                None => drop(std::collections::binary_heap::PeekMut::pop(head)),
            }
        }
        let entry = |(group, at): &(u32, u32)| {
            let number = groups[*group as usize].numbers[*at as usize];
            &self.entries.all[number as usize]
        };
        let hashed = gix::hash::io::Write::new(file, self.hash);
        let mut out = BufWriter::with_capacity(64 << 10, hashed);
        out.write_all(b"\xfftOc\0\0\0\x02")?;
        let mut sum = 0_u32;
        for count in firsts {
            sum += count;
            out.write_all(&sum.to_be_bytes())?;
        }
        for (group, at) in &order {
            out.write_all(groups[*group as usize].name(*at as usize, len).unwrap_or_default())?;
        }
        for at in &order {
            out.write_all(&entry(at).crc32.to_be_bytes())?;
        }
        let mut large: Vec<u64> = Vec::new();
        for at in &order {
            let offset = entry(at).offset;
            let short = u32::try_from(offset).ok().filter(|offset| offset >> 31 == 0);
            let short = short.unwrap_or_else(|| {
                large.push(offset);
                1 << 31 | u32::try_from(large.len() - 1).unwrap_or(0)
            });
            out.write_all(&short.to_be_bytes())?;
        }
        for offset in large {
            out.write_all(&offset.to_be_bytes())?;
        }
        out.write_all(self.entries.trailer.as_slice())?;
        let hashed = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        let checksum = hashed.hash.try_finalize().map_err(|err| std::io::Error::other(err.to_string()))?;
        let mut file = hashed.inner;
        file.write_all(checksum.as_slice())?;
        Ok(file)
    }
}

/// Reads what is at `range`, and returns the rest of `room`.
fn fill<'a>(file: &File, room: &'a mut [u8], range: Range<u64>) -> std::io::Result<&'a mut [u8]> {
    let len = usize::try_from(range.end - range.start).map_err(std::io::Error::other)?;
    let (here, rest) = room.split_at_mut_checked(len).ok_or(std::io::ErrorKind::InvalidData)?;
    file.read_exact_at(here, range.start)?;
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::git::repo::Repo;
    use crate::adapters::process;

    /// Returns the index that is made of a pack, and how many times objects were resolved.
    fn index(pack: &[u8], hash: gix::hash::Kind, group: u64) -> gix::Result<Vec<u8>> {
        let dir = tempfile::tempdir().map_err(io)?;
        let numbers = Arc::new(Numbers::default());
        let count = write(&mut &*pack, dir.path(), &numbers, &super::super::NEVER, hash, group)?;
        let names = std::fs::read_dir(dir.path()).map_err(io)?.flatten().map(|entry| entry.path());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(std::fs::read(&names[1]).map_err(io)?, pack);
        let resolved = numbers.before.load(Relaxed) + numbers.resolved.load(Relaxed);
        assert_eq!((numbers.received.load(Relaxed), resolved), (count as usize, count as usize));
        std::fs::read(&names[0]).map_err(io)
    }

    #[test]
    fn an_index_is_as_git_makes_it() {
        for (hash, format) in [(gix::hash::Kind::Sha1, "sha1"), (gix::hash::Kind::Sha256, "sha256")] {
            let dir = tempfile::tempdir().expect("a folder");
            let repo = Repo::bare(dir.path(), hash);
            let git = |args: &[&str], input: &str| process::output(&mut repo.git(args), input.as_bytes()).expect("git");
            git(&["init", "-q", "--bare", "--object-format", format], "");
            let mut stream = String::new();
            for n in 1..200 {
                let text: String =
                    (0..60).map(|line| format!("{line} {}\n", if line == n % 60 { n } else { 0 })).collect();
                let file = n % 7;
                stream += &format!("commit refs/heads/a\ncommitter C <c> {n} +0000\ndata 0\n");
                stream += &format!("M 644 inline d/{file}\ndata {}\n{text}\n", text.len());
            }
            git(&["fast-import", "--quiet"], &stream);
            let by_name = ["pack-objects", "--all", "--stdout", "-q", "--no-reuse-delta", "--depth=20"];
            let by_offset = [&by_name[..], &["--delta-base-offset"]].concat();
            for (args, is_named) in [(&by_name[..], true), (&by_offset, false)] {
                let pack = git(args, "");
                let file = dir.path().join("x.pack");
                std::fs::write(&file, &pack).expect("a file");
                git(&["index-pack", &file.to_string_lossy()], "");
                let wanted = std::fs::read(file.with_extension("idx")).expect("a file");
                let entries =
                    receive(&mut &*pack, &mut std::io::sink(), &Numbers::default(), &super::super::NEVER, hash)
                        .expect("a pack");
                assert_eq!(entries.groups(u64::MAX).is_none(), is_named);
                for group in [1, 3000, 20_000, u64::MAX] {
                    assert!(index(&pack, hash, group).expect("a pack") == wanted, "{format} {group}");
                    let Some(groups) = entries.groups(group) else { continue };
                    assert!(group > 20_000 || groups.len() > 1, "{group} {}", groups.len());
                    assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), entries.all.len());
                }
                for flipped in (20..pack.len()).step_by(pack.len() / 40) {
                    let mut pack = pack.clone();
                    pack[flipped] ^= 4;
                    assert!(index(&pack, hash, 20_000).is_err(), "{flipped}");
                }
            }
        }
    }

    #[test]
    fn offsets_may_need_more_than_31_bits() {
        let hash = gix::hash::Kind::Sha1;
        let id = |n: u8| ObjectId::from_bytes_or_panic(&[n; 20]);
        let offsets = [12, (1 << 31) - 1, 1 << 31, 5 << 31];
        let all = offsets.iter().map(|offset| Entry { offset: *offset, crc32: 7, base: NONE }).collect();
        let entries = Entries { all, end: 6 << 31, named: BTreeMap::new(), trailer: id(9) };
        let (dir, numbers) = (tempfile::tempdir().expect("a folder"), Arc::default());
        let pack = NamedTempFile::new_in(dir.path()).expect("a file");
        let work = Work { entries: &entries, pack: &pack, numbers: &numbers, stop: &super::super::NEVER, hash };
        let named = |ids: &[u8], numbers: &[u32]| Named {
            names: ids.iter().flat_map(|n| [*n; 20]).collect(),
            numbers: numbers.to_vec(),
        };
        let index = NamedTempFile::new_in(dir.path()).expect("a file");
        let index = work.write(&[named(&[2, 4], &[3, 0]), named(&[1, 3], &[2, 1])], index).expect("an index");
        let index = index::File::at(index.path(), hash).expect("an index");
        let found: Vec<_> = index.iter().map(|entry| (entry.oid, entry.pack_offset, entry.crc32)).collect();
        let wanted = [(1, offsets[2]), (2, offsets[3]), (3, offsets[1]), (4, offsets[0])];
        assert_eq!(found, wanted.map(|(n, offset)| (id(n), offset, Some(7))));
    }
}
