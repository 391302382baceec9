//! What an interrupted transfer delivered: whole objects, in the order of the pack, and one that was cut.
//!
//! They prove nothing: git packs commits first, and the files of the oldest ones last, so that of a pack cut at 95 % no
//! commit may be complete (`docs/architecture.md` has figures). They are of use to whoever fetches the rest by id, so
//! they are kept in the quarantine, as a pack of their own. A pack that was damaged is not: only the end may be missing.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use gix::odb::pack;

use super::quarantine::Quarantine;
use crate::adapters::git::odb::Odb;
use crate::values::{Error, Kind, Result};

/// What came of a pack.
#[derive(Debug)]
pub struct Partial {
    /// As gix wrote it: entries of version 2 behind 12 bytes, without a header that says how many.
    file: PathBuf,
    /// How many objects of it are whole.
    pub objects: u32,
    /// How many there were to be.
    pub total: u32,
    /// Whether the connection broke, and not the mirror ended its answer too early.
    pub cut: bool,
}

impl Partial {
    /// Makes a pack of the whole objects, in the quarantine; returns the path of its index. Takes about as long as
    /// indexing them did.
    ///
    /// # Errors
    /// [`Kind::Unproved`] where they cannot be read, or not be written anew.
    pub fn restore(self, quarantine: &Quarantine, odb: &Odb, hash: gix::hash::Kind) -> Result<PathBuf> {
        let failed = |why: String| Error::new(Kind::Unproved, format!("what is kept of a pack cannot be used: {why}"));
        let header = pack::data::header::encode(pack::data::Version::V2, self.objects);
        let mut file = File::open(&self.file).map_err(|err| failed(err.to_string()))?;
        file.seek(SeekFrom::Start(header.len() as u64)).map_err(|err| failed(err.to_string()))?;
        // With a store to look into, gix writes the pack anew, and its checksum, for which it reads one.
        let checksum = hash.null();
        let mut whole = header.chain(BufReader::new(file)).chain(checksum.as_slice());
        let outcome = pack::Bundle::write_to_directory(
            &mut whole,
            Some(&quarantine.packs()),
            &mut gix::progress::Discard,
            &super::NEVER,
            Some(odb.0.clone()),
            hash,
            pack::bundle::write::Options {
                iteration_mode: pack::data::input::Mode::AsIs,
                alloc_limit_bytes: Some(super::ALLOC_LIMIT),
                ..Default::default()
            },
        )
        .map_err(|err| failed(err.probable_cause().to_string()))?;
        if let Some(keep) = outcome.keep_path {
            let _ = std::fs::remove_file(keep);
        }
        outcome.index_path.ok_or_else(|| failed("it holds no object".into()))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Reads a pack for gix, and gives the temporary file into which gix writes it a second name, as gix removes it when
/// something fails.
pub(super) struct Kept<'a> {
    inner: &'a mut dyn BufRead,
    packs: PathBuf,
    name: Option<PathBuf>,
    tried: bool,
    end: Option<End>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Orderly,
    Broken,
}

impl<'a> Kept<'a> {
    pub(super) fn new(inner: &'a mut dyn BufRead, quarantine: &Quarantine) -> Self {
        Kept { inner, packs: quarantine.packs(), name: None, tried: false, end: None }
    }

    /// Returns whether the stream has ended, or broken, and was to go on.
    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Returns what came, where the stream ended before the pack did. `objects` of `total` were read whole.
    pub(super) fn partial(mut self, objects: u32, total: u32) -> Option<Partial> {
        let cut = self.end? == End::Broken;
        // At an orderly end gix takes an object for whole whose compressed data lacks its last bytes, the checksum.
        let objects = if cut { objects } else { objects.checked_sub(1)? };
        let file = self.name.take_if(|_| objects > 0 && objects < total)?;
        Some(Partial { file, objects, total, cut })
    }

    /// gix makes this file before it reads, and one for the index later.
    fn keep(&mut self) {
        if std::mem::replace(&mut self.tried, true) {
            return;
        }
        let names = std::fs::read_dir(&self.packs).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut new = names.filter(|path| !is_pack(path));
        if let (Some(file), None) = (new.next(), new.next()) {
            let name = self.packs.with_file_name(file.file_name().unwrap_or_default());
            self.name = std::fs::hard_link(&file, &name).ok().map(|()| name);
        }
    }
}

fn is_pack(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pack-"))
}

impl Read for Kept<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.keep();
        let read = self.inner.read(buf);
        match &read {
            Ok(0) if !buf.is_empty() => self.end = Some(End::Orderly),
            Err(err) if err.kind() != std::io::ErrorKind::Interrupted => self.end = Some(End::Broken),
            _ => {}
        }
        read
    }
}

impl BufRead for Kept<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.keep();
        let filled = self.inner.fill_buf();
        match &filled {
            Ok([]) => self.end = Some(End::Orderly),
            Err(err) if err.kind() != std::io::ErrorKind::Interrupted => self.end = Some(End::Broken),
            _ => {}
        }
        filled
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.name.iter().for_each(|name| drop(std::fs::remove_file(name)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Indexing, Links, NEVER};
    use super::*;
    use crate::adapters::git::repo::Repo;
    use crate::adapters::process;
    use gix::ObjectId;

    /// Ends in an error, as a connection that breaks does.
    struct Broken<'a>(&'a [u8]);

    impl Read for Broken<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buf)? {
                0 if !buf.is_empty() => Err(std::io::ErrorKind::UnexpectedEof.into()),
                n => Ok(n),
            }
        }
    }

    /// A repository with random history: branches that fork and merge, folders, files that change.
    struct World {
        _dir: tempfile::TempDir,
        repo: Repo,
    }

    impl World {
        fn new(seed: u64) -> Self {
            let dir = tempfile::tempdir().expect("a folder");
            let world = World { repo: Repo::bare(dir.path(), gix::hash::Kind::Sha1), _dir: dir };
            world.git(&["init", "-q", "--bare"], b"");
            let mut state = seed;
            let mut random = |below: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) % below
            };
            let mut stream = String::new();
            for n in 1..=60_u64 {
                stream += &format!("commit refs/heads/b{}\nmark :{n}\ncommitter C <c> {n} +0000\ndata 2\nx\n", n % 3);
                if n > 1 {
                    stream += &format!("from :{}\n", 1 + random(n - 1));
                }
                if n > 9 && random(4) == 0 {
                    stream += &format!("merge :{}\n", 1 + random(n - 1));
                }
                let text: String = (0..40).map(|line| format!("{line} {}\n", random(1 << 30))).collect();
                let path = format!("d{}/e{}/f{}", random(3), random(3), random(3));
                stream += &format!("M 100644 inline {path}\ndata {}\n{text}\n", text.len());
            }
            world.git(&["fast-import", "--quiet", "--force"], stream.as_bytes());
            world
        }

        fn git(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
            process::output(&mut self.repo.git(args), input).expect("git")
        }

        fn indexing<'a>(&'a self, quarantine: &'a Quarantine) -> Indexing<'a> {
            Indexing {
                repo: &self.repo,
                quarantine,
                numbers: Default::default(),
                strict: None,
                partial: Default::default(),
            }
        }
    }

    fn empty() -> World {
        let world = World::new(0);
        let _ = std::fs::remove_dir_all(&world.repo.objects);
        std::fs::create_dir_all(world.repo.objects.join("pack")).expect("a folder");
        world
    }

    #[test]
    fn what_came_and_what_is_missing_are_the_whole() {
        for seed in 1..4 {
            let world = World::new(seed);
            let pack = world.git(&["pack-objects", "--all", "--stdout", "-q", "--delta-base-offset"], b"");
            let total = u32::from_be_bytes([pack[8], pack[9], pack[10], pack[11]]);
            let tips = world.git(&["for-each-ref", "--format=%(objectname)"], b"");
            let tips: Vec<ObjectId> =
                tips.split(|b| *b == b'\n').filter_map(|hex| ObjectId::from_hex(hex).ok()).collect();
            let client = empty();
            for tenth in 1..10 {
                let quarantine = Quarantine::create(&client.repo).expect("a quarantine");
                let odb = Odb::at(quarantine.path(), client.repo.hash).expect("a store");
                let indexing = client.indexing(&quarantine);
                let cut = &pack[..pack.len() * tenth / 10];
                indexing.run(&mut BufReader::new(Broken(cut)), None, &NEVER).expect_err("it was cut");
                let partial = indexing.partial.take().expect("something came");
                assert!(partial.cut && partial.objects < total && partial.total == total);
                let came = partial.objects;
                let index = partial.restore(&quarantine, &odb, client.repo.hash).expect("a pack");
                let mut links = Links::new(client.repo.hash);
                links.add(&index).expect("objects");
                let mut count = came;
                loop {
                    let tips = tips.iter().filter(|id| !links.holds(id));
                    let missing: std::collections::BTreeSet<ObjectId> =
                        links.open().map(|(id, _)| id).chain(tips).copied().collect();
                    if missing.is_empty() {
                        break;
                    }
                    let ids: String = missing.iter().map(|id| format!("{id}\n")).collect();
                    let rest = world.git(&["pack-objects", "--stdout", "-q", "--delta-base-offset"], ids.as_bytes());
                    let before = quarantine.indexes().expect("a folder");
                    let indexing = client.indexing(&quarantine);
                    let got = indexing.run(&mut BufReader::new(rest.as_slice()), None, &NEVER).expect("a pack");
                    count += u32::try_from(got).expect("few");
                    for index in quarantine.indexes().expect("a folder").iter().filter(|i| !before.contains(i)) {
                        links.add(index).expect("objects");
                    }
                }
                assert_eq!((count, seed), (total, seed), "each object came once; {tenth} tenths");
            }
        }
    }

    #[test]
    fn a_pack_may_end_anywhere() {
        let world = World::new(5);
        let pack = world.git(&["pack-objects", "--all", "--stdout", "-q", "--delta-base-offset"], b"");
        let client = empty();
        for cut in pack.len() - 300..pack.len() - 20 {
            for orderly in [true, false] {
                let quarantine = Quarantine::create(&client.repo).expect("a quarantine");
                let odb = Odb::at(quarantine.path(), client.repo.hash).expect("a store");
                let indexing = client.indexing(&quarantine);
                let came = &pack[..cut];
                let stream: Box<dyn Read> = if orderly { Box::new(came) } else { Box::new(Broken(came)) };
                indexing.run(&mut BufReader::new(stream), None, &NEVER).expect_err("it was cut");
                let Some(partial) = indexing.partial.take() else {
                    // Only the pack's checksum is cut: nothing is left to ask for.
                    assert!(!orderly, "{cut}");
                    continue;
                };
                partial.restore(&quarantine, &odb, client.repo.hash).unwrap_or_else(|err| panic!("{cut}: {err:?}"));
            }
        }
    }

    #[test]
    fn only_a_pack_that_came_and_is_bad_is_the_mirrors_fault() {
        let world = World::new(8);
        let pack = world.git(&["pack-objects", "--all", "--stdout", "-q", "--delta-base-offset"], b"");
        let client = empty();
        let mut flipped = pack.clone();
        flipped[pack.len() / 3] ^= 1;
        let kind = |bytes: &[u8], strict: Option<&str>, broken: bool, full: bool| {
            let quarantine = Quarantine::create(&client.repo).expect("a quarantine");
            let mut indexing = client.indexing(&quarantine);
            indexing.strict = strict.map(Into::into);
            if full {
                std::fs::remove_dir(quarantine.packs()).expect("a folder"); // as good as a full disk
            }
            let mut stream: Box<dyn Read> = if broken { Box::new(Broken(bytes)) } else { Box::new(bytes) };
            indexing.run(&mut BufReader::new(&mut stream), None, &NEVER).expect_err("it is not whole").kind
        };
        for strict in [None, Some("--strict")] {
            assert_eq!(kind(&flipped, strict, false, false), Kind::Proof, "{strict:?}");
            for cut in [3, 14, 20, 40, pack.len() / 2, pack.len() - 3] {
                for broken in [true, false] {
                    assert_eq!(kind(&pack[..cut], strict, broken, false), Kind::Channel, "{strict:?} {cut} {broken}");
                }
            }
        }
        assert_eq!(kind(&pack, None, false, true), Kind::Local);
    }

    #[test]
    fn a_damaged_or_whole_pack_is_not_kept() {
        let world = World::new(7);
        let pack = world.git(&["pack-objects", "--all", "--stdout", "-q", "--delta-base-offset"], b"");
        let client = empty();
        let mut flipped = pack.clone();
        flipped[pack.len() / 3] ^= 1;
        for bytes in [flipped, pack] {
            let quarantine = Quarantine::create(&client.repo).expect("a quarantine");
            let indexing = client.indexing(&quarantine);
            let _ = indexing.run(&mut BufReader::new(bytes.as_slice()), None, &NEVER);
            assert!(indexing.partial.take().is_none());
            drop(indexing);
            let left = std::fs::read_dir(quarantine.path()).expect("a folder").flatten();
            let left: Vec<_> =
                left.map(|e| e.file_name()).filter(|n| n.to_string_lossy().starts_with(".tmp")).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
}
