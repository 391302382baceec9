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
use crate::adapters::odb::Odb;
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
    /// [`Kind::Proof`] where they cannot be read.
    pub fn restore(self, quarantine: &Quarantine, odb: &Odb, hash: gix::hash::Kind) -> Result<PathBuf> {
        let failed = |why: String| Error::new(Kind::Proof, format!("what is kept of a pack is damaged: {why}"));
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
                alloc_limit_bytes: Some(super::pack::ALLOC_LIMIT),
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

    /// Returns what came, where the stream ended before the pack did. `objects` of `total` were read whole.
    pub(super) fn partial(mut self, objects: u32, total: u32) -> Option<Partial> {
        let cut = self.end? == End::Broken;
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
        self.inner.fill_buf()
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
