//! A pack from a stream into a quarantine, indexed.
//!
//! gix-pack does it, as it is more than twice as fast as `git index-pack` (docs/architecture.md, "Limits"); [`groups`] has it do
//! a part of the pack at a time. It checks no object's syntax, so `git index-pack` does it where `fetch.fsckObjects` asks for
//! those checks, and where there are very many objects.

use std::cell::RefCell;
use std::io::{BufRead, Read};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::groups;
use super::guard::{Excess, guarded};
use super::meter::{Meter, Numbers};
use super::quarantine::Quarantine;
use super::room::Roomy;
use super::salvage::{Kept, Partial};
use crate::adapters::git::blame::blame;
use crate::adapters::git::config::Config;
use crate::adapters::git::repo::Repo;
use crate::adapters::process::{self, Fed};
use crate::values::{Error, Kind, Result};

/// From this many objects on `git index-pack` is used: gix would hold more than about 1 GiB.
const MANY_OBJECTS: u32 = 8_000_000;

/// CPU seconds that `git index-pack` may take where it reads a pack as it comes.
const LONGEST: u64 = 3600;
/// And where gix has given up: one for so many bytes.
const BYTES_A_SECOND: u64 = 2 << 20;

/// How and where to index.
pub struct Indexing<'a> {
    /// The repository.
    pub repo: &'a Repo,
    /// Where the pack goes.
    pub quarantine: &'a Quarantine,
    /// For progress.
    pub numbers: Arc<Numbers>,
    /// `--strict=…` for `git index-pack`, where objects shall be checked.
    pub strict: Option<String>,
    /// Takes what came of a pack that broke off.
    pub partial: RefCell<Option<Partial>>,
}

impl Indexing<'_> {
    /// Reads a pack to its end, and leaves it and its index in the quarantine. Returns how many objects it holds.
    pub(super) fn run(
        &self,
        reader: &mut dyn BufRead,
        thin: Option<gix::odb::Handle>,
        stop: &AtomicBool,
    ) -> Result<u64> {
        let mut roomy = Roomy::new(reader, self.quarantine.path());
        let got = self.index(&mut roomy, thin, stop);
        match roomy.short() {
            Some(err) => {
                self.partial.take(); // it would be in the way
                Err(err)
            }
            None => got,
        }
    }

    fn index(&self, reader: &mut dyn BufRead, thin: Option<gix::odb::Handle>, stop: &AtomicBool) -> Result<u64> {
        let mut reader = Counted { inner: reader, bytes: &self.numbers.bytes };
        let mut header = [0; 12];
        reader.read_exact(&mut header).map_err(Error::doing(Kind::Channel, "it broke off before the pack"))?;
        let objects = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        let mut whole = header.chain(reader);
        if self.strict.is_some() || objects >= MANY_OBJECTS {
            return self.by_git(&mut whole, objects).map(|()| u64::from(objects));
        }
        let mut whole = Kept::new(&mut whole, self.quarantine);
        let (outcome, excess) = guarded(&self.numbers, stop, |stop| match thin {
            None if objects > 0 => {
                let packs = self.quarantine.packs();
                groups::write(&mut whole, &packs, &self.numbers, stop, self.repo.hash, groups::GROUP)
            }
            // What others are deltas of comes from the repository.
            thin => self.by_gix(&mut whole, thin, stop),
        });
        match outcome {
            Ok(objects) => Ok(u64::from(objects)),
            Err(_) if excess == Some(Excess::Work) => {
                Err(Error::new(Kind::Protocol, "its pack becomes too large when it is unpacked"))
            }
            Err(err) if self.numbers.unpacking.load(Relaxed) && (excess.is_some() || err.is_resource_exhausted()) => {
                tracing::debug!(?excess, "a pack takes too much memory; git indexes it");
                self.again_by_git(whole).map(|()| u64::from(objects))
            }
            Err(err) => {
                let came = u32::try_from(self.numbers.received.load(Relaxed)).unwrap_or(0);
                let cut = whole.has_ended();
                *self.partial.borrow_mut() = whole.partial(came, objects);
                let cause = err.probable_cause();
                // What the system says is of this machine: the mirror's stream has not failed.
                let system = |err: &std::io::Error| {
                    use std::io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
                    !matches!(err.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
                };
                Err(match err.iter_errors().filter_map(|err| err.downcast_ref()).any(system) {
                    _ if cut => Error::new(Kind::Channel, format!("it broke off after {came} of {objects} objects")),
                    true => Error::new(Kind::Local, format!("cannot store its pack: {cause}")),
                    false => Error::new(Kind::Proof, format!("its pack is damaged: {cause}")),
                })
            }
        }
    }

    fn by_gix(&self, pack: &mut dyn BufRead, thin: Option<gix::odb::Handle>, stop: &AtomicBool) -> gix::Result<u32> {
        let options = gix::odb::pack::bundle::write::Options {
            alloc_limit_bytes: Some(super::ALLOC_LIMIT),
            ..Default::default()
        };
        let mut progress = Meter::root(Arc::clone(&self.numbers));
        let packs = self.quarantine.packs();
        let outcome = gix::odb::pack::Bundle::write_to_directory(
            pack,
            Some(&packs),
            &mut progress,
            stop,
            thin,
            self.repo.hash,
            options,
        )?;
        if let Some(keep) = outcome.keep_path {
            let _ = std::fs::remove_file(keep);
        }
        Ok(outcome.index.num_objects)
    }

    fn by_git(&self, pack: &mut dyn Read, objects: u32) -> Result<()> {
        let mut command = self.index_pack(objects, LONGEST);
        command.args(&self.strict);
        let mut pack = Told { inner: pack, numbers: &self.numbers };
        match process::fed(&mut command, &mut pack)? {
            Fed::Well => Ok(()),
            Fed::Cut(_) => Err(Error::new(Kind::Channel, "it broke off within its pack")),
            Fed::Failed(_, err) => Err(blame(err)),
        }
    }

    /// Has git index a pack of which gix would keep too much: git streams large files, and forgets what others are deltas of
    /// when that becomes too much.
    fn again_by_git(&self, whole: Kept) -> Result<()> {
        let failed = || Error::doing(Kind::Local, "cannot read what came");
        let whole = whole.whole().ok_or_else(|| Error::new(Kind::Local, "what came is not kept"))?;
        let file = whole.open().map_err(failed())?;
        let bytes = file.metadata().map_err(failed())?.len();
        // By default as long as a mirror may take in all, and longer for what takes longer to fetch.
        let seconds = 20 + bytes / BYTES_A_SECOND;
        let mut command = self.index_pack(u32::try_from(self.numbers.received.load(Relaxed)).unwrap_or(0), seconds);
        process::output_from(&mut command, file)
            .map(|_| ())
            .map_err(|err| Error::new(Kind::Protocol, format!("its pack takes too much to unpack: {}", err.message)))
    }

    /// Returns `git index-pack` that holds little in memory, and takes so many seconds of CPU time at most.
    fn index_pack(&self, objects: u32, seconds: u64) -> Command {
        const LITTLE: [&str; 6] =
            ["-c", "core.bigFileThreshold=16m", "-c", "core.deltaBaseCacheLimit=16m", "-c", "pack.threads=1"];
        let args = LITTLE.into_iter().chain(["index-pack", "--stdin", "--fix-thin"]);
        let mut command = self.repo.git_within(seconds, args);
        command.env("GIT_NO_LAZY_FETCH", "1");
        self.repo.with_quarantine(&mut command, self.quarantine.path());
        // git has an array of all objects; nothing else may be larger than what one object may have (git's wrapper.c).
        let limit = super::ALLOC_LIMIT as u64 + u64::from(objects) * 200;
        command.env("GIT_ALLOC_LIMIT", limit.to_string());
        command
    }
}

/// Counts the bytes of a pack.
struct Counted<'a> {
    inner: &'a mut dyn BufRead,
    bytes: &'a AtomicU64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.bytes.fetch_add(n as u64, Relaxed);
        Ok(n)
    }
}

impl BufRead for Counted<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.bytes.fetch_add(amount as u64, Relaxed);
        self.inner.consume(amount);
    }
}

/// Counts the pack as being resolved once it is here: from then on nothing is expected from the mirror.
struct Told<'a> {
    inner: &'a mut dyn Read,
    numbers: &'a Numbers,
}

impl Read for Told<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buf)?;
        if n == 0 {
            self.numbers.resolved.store(1, Relaxed);
        }
        Ok(n)
    }
}

/// Returns the `--strict=…` that git-fetch(1) would give to `git index-pack`; `None` where no check is asked for. Where not all
/// that objects lead to comes (`part`), the objects alone are checked.
///
/// Source: `fetch.fsckObjects`, `fetch.fsck.<msg-id>`, `fetch.fsck.skipList` in git-config(1).
pub fn strict_option(config: &Config, part: bool) -> Option<String> {
    if !config.bool("fetch.fsckobjects").or_else(|| config.bool("transfer.fsckobjects")).unwrap_or(false) {
        return None;
    }
    let items: Vec<String> =
        config.under("fetch.fsck.").map(|(id, value)| format!("{id}={}", PathBuf::from(value).display())).collect();
    let option = if part { "--fsck-objects" } else { "--strict" };
    Some(if items.is_empty() { option.into() } else { format!("{option}={}", items.join(",")) })
}
