//! A pack from a stream into a quarantine, indexed.
//!
//! gix-pack does it, as it is more than twice as fast as `git index-pack` (docs/architecture.md, "Limits"). It holds an entry of about
//! 100 bytes an object in memory and checks no object's syntax, so `git index-pack` does it where there are very many
//! objects, and where `fetch.fsckObjects` asks for those checks.

use std::cell::RefCell;
use std::io::{BufRead, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::meter::{Meter, Numbers};
use super::quarantine::Quarantine;
use super::salvage::{Kept, Partial};
use crate::adapters::git::blame::blame;
use crate::adapters::git::config::Config;
use crate::adapters::git::repo::Repo;
use crate::adapters::process::{self, Fed};
use crate::values::{Error, Kind, Result};

/// From this many objects on `git index-pack` is used: gix would hold more than about 1 GiB.
const MANY_OBJECTS: u32 = 8_000_000;

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
        let mut reader = Counted { inner: reader, bytes: &self.numbers.bytes };
        let mut header = [0; 12];
        reader.read_exact(&mut header).map_err(Error::doing(Kind::Channel, "it broke off before the pack"))?;
        let objects = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        let mut whole = header.chain(reader);
        if self.strict.is_some() || objects >= MANY_OBJECTS {
            return self.by_git(&mut whole).map(|()| u64::from(objects));
        }
        let mut whole = Kept::new(&mut whole, self.quarantine);
        let options = gix::odb::pack::bundle::write::Options {
            alloc_limit_bytes: Some(super::ALLOC_LIMIT),
            ..Default::default()
        };
        let outcome = gix::odb::pack::Bundle::write_to_directory(
            &mut whole,
            Some(&self.quarantine.packs()),
            &mut Meter::root(Arc::clone(&self.numbers)),
            stop,
            thin,
            self.repo.hash,
            options,
        )
        .map_err(|err| {
            let came = u32::try_from(self.numbers.received.load(Relaxed)).unwrap_or(0);
            let cut = whole.has_ended();
            *self.partial.borrow_mut() = whole.partial(came, objects);
            let cause = err.probable_cause();
            // What the system says is of this machine: the mirror's stream has not failed.
            let system = |err: &std::io::Error| {
                use std::io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
                !matches!(err.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
            };
            match err.iter_errors().filter_map(|err| err.downcast_ref()).any(system) {
                _ if cut => Error::new(Kind::Channel, format!("it broke off after {came} of {objects} objects")),
                true => Error::new(Kind::Local, format!("cannot store its pack: {cause}")),
                false => Error::new(Kind::Proof, format!("its pack is damaged: {cause}")),
            }
        })?;
        if let Some(keep) = outcome.keep_path {
            let _ = std::fs::remove_file(keep);
        }
        Ok(u64::from(outcome.index.num_objects))
    }

    fn by_git(&self, pack: &mut dyn Read) -> Result<()> {
        let mut command = self.repo.git(["index-pack", "--stdin", "--fix-thin"]);
        command.args(&self.strict);
        self.repo.with_quarantine(&mut command, self.quarantine.path());
        let mut pack = Told { inner: pack, numbers: &self.numbers };
        match process::fed(&mut command, &mut pack)? {
            Fed::Well => Ok(()),
            Fed::Cut(_) => Err(Error::new(Kind::Channel, "it broke off within its pack")),
            Fed::Failed(_, err) => Err(blame(err)),
        }
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

/// Returns the `--strict=…` that git-fetch(1) would give to `git index-pack`; `None` where no check is asked for.
///
/// Source: `fetch.fsckObjects`, `fetch.fsck.<msg-id>`, `fetch.fsck.skipList` in git-config(1).
pub fn strict_option(config: &Config) -> Option<String> {
    if !config.bool("fetch.fsckobjects").or_else(|| config.bool("transfer.fsckobjects")).unwrap_or(false) {
        return None;
    }
    let items: Vec<String> =
        config.under("fetch.fsck.").map(|(id, value)| format!("{id}={}", PathBuf::from(value).display())).collect();
    Some(if items.is_empty() { "--strict".into() } else { format!("--strict={}", items.join(",")) })
}
