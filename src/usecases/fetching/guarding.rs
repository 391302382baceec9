//! The guard: what is left to do once the git that asked has written its refs, or has died.
//!
//! git waits for its helper before it writes refs, so nothing of the helper can do this. The guard has no pipe, no terminal
//! and no folder of anybody, says nothing, and may be killed at any time: the next run does its work.

use std::ffi::OsString;
use std::time::Instant;

use crate::adapters::git::odb::Odb;
use crate::adapters::git::repo::Repo;
use crate::adapters::os;
use crate::adapters::seed::{keep, quarantine};
use crate::values::Result;

/// Guards what [`keep::Keep::guard`] ordered, and ends. Returns the exit code.
pub fn run(args: impl Iterator<Item = OsString>) -> i32 {
    let args: Vec<OsString> = args.collect();
    let Some(orders) = keep::orders(&args) else { return 129 };
    let until = Instant::now().checked_add(keep::LONGEST).unwrap_or_else(Instant::now);
    if let Err(err) = os::stand_alone() {
        tracing::debug!(%err, "the guard does not stand alone");
    }
    orders.git.wait_ended(until);
    // A helper whose git is dead ends soon; until then it may move something in.
    orders.helper.wait_ended(until);
    if let Some(repo) = Repo::discover()
        && let Err(err) = quarantine::drop_what_leads_nowhere(&repo)
    {
        tracing::debug!(%err, "a part of a history stays");
    }
    keep::release(&orders.objects, orders.git);
    if orders.tidy
        && let Some(repo) = Repo::discover()
        && let Err(err) = tidy(&repo)
    {
        tracing::debug!(%err, "cannot tidy refs/mirror");
    }
    quarantine::sweep(&orders.objects);
    0
}

/// Deletes what git's refs, as they are now, have made superfluous.
fn tidy(repo: &Repo) -> Result<()> {
    let refs = repo.mirror_refs()?;
    if refs.is_empty() {
        return Ok(());
    }
    let odb = Odb::open(repo)?;
    let fetched = repo.fetched_last().into_iter().map(|id| odb.peel(&id)).filter(|id| odb.is_commit(id));
    repo.tidy(&refs, &fetched.collect::<Vec<_>>())
}
