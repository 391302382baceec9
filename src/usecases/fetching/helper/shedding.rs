//! What a mirror has on its own account, dropped again where git would make tags of it.
//!
//! git follows tags by what is in the object store. A mirror that has rewound a branch, or has not yet, may bring in what a
//! tag of canonical names and what no branch of canonical reaches that was asked for: plain git would not have that tag.
//! Which it is shows only once canonical has answered; so it comes in packs of its own, and those go then. Nothing is fetched
//! twice for that, and mirrors that are merely behind lose nothing.

use std::collections::HashSet;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;

use gix::ObjectId;

use super::{GIT_IS_DONE, Helper};
use crate::adapters::git::odb::Odb;
use crate::adapters::git::repo::{MirrorRef, Repo};
use crate::adapters::os;
use crate::adapters::seed::keep::Keep;
use crate::adapters::seed::quarantine;
use crate::usecases::fetching::relay::Seen;
use crate::usecases::fetching::seeding::{Part, Seeded};
use crate::values::Result;

impl<O: Write + AsFd> Helper<'_, O> {
    /// Drops what only mirrors' own tips reach, where a tag of canonical that is not reached otherwise names some of it.
    pub(super) fn shed(&self, seen: &Seen, keep: &Keep) {
        let (Some(repo), Some(seeded)) = (&self.repo, &seen.seeded) else { return };
        if seeded.unsure.is_empty() {
            return;
        }
        if seen.canonical_asked && !seen.broken {
            os::wait_reader_gone(&self.git_out, GIT_IS_DONE);
        }
        if let Err(err) = shed(repo, keep, seen, seeded) {
            tracing::debug!(%err, "what mirrors had on their own account stays");
        }
    }
}

fn shed(repo: &Repo, keep: &Keep, seen: &Seen, seeded: &Seeded) -> Result<()> {
    let odb = Odb::open(repo)?;
    // Where something that is wanted did not come, git fails, and makes no tag.
    if !seen.wants.iter().all(|id| odb.has(id)) {
        return Ok(());
    }
    let targets: Vec<ObjectId> = seeded.unsure.iter().filter_map(|part| part.target).collect();
    let (commits, others): (Vec<_>, Vec<_>) = targets.iter().partition(|id| odb.is_commit(id));
    let mut strays: HashSet<ObjectId> = repo.unreached(&commits, &seen.wants, None)?.into_iter().collect();
    strays.extend(repo.unnamed(&others, &seen.wants, None)?);
    if !strays.is_empty() {
        tracing::debug!(?strays, "drop what mirrors have on their own account");
        let goes = |part: &&Part| part.target.is_none_or(|target| strays.contains(&target));
        let gone: Vec<PathBuf> = seeded.unsure.iter().filter(goes).map(|part| part.index.clone()).collect();
        let refs = repo.mirror_refs()?;
        let own: Vec<&MirrorRef> = refs.iter().filter(|r| seeded.own.contains(&r.oid)).collect();
        repo.delete(&own)?;
        quarantine::drop_but(repo, keep, &gone, &seen.wants)?;
    }
    Ok(())
}
