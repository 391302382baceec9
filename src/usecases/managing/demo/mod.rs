//! `git mirror demo`: the main job for real, on loopback and in a temporary folder.
//!
//! A canonical repository and three mirrors (fresh, stale, dead) are made and served by `git daemon` behind small
//! servers that count what each sends. Every claim that is printed has been checked; one that fails ends the demo.

mod lab;
mod server;

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use crate::values::{Error, Kind, Result};
use lab::Lab;
use server::{Server, dead_port};

/// Commits in the canonical repository at first.
const COMMITS: usize = 2000;

/// Runs the demo; `say` gets its lines. `program` is this very executable.
///
/// # Errors
/// [`Kind::Local`] where a step fails or a claim does not hold; whatever was made is removed all the same.
pub fn run(program: &Path, say: &mut dyn FnMut(&str)) -> Result<()> {
    let lab = Lab::new(program)?;
    say(&format!(
        "A canonical repository of {COMMITS} commits, and mirrors of it: one fresh, one 5% behind, one dead."
    ));
    lab.history("canonical.git", 0, COMMITS - COMMITS / 20)?;
    lab.git(&["clone", "-q", "--mirror", "canonical.git", "stale.git"])?;
    lab.history("canonical.git", COMMITS - COMMITS / 20, COMMITS / 20)?;
    lab.git(&["clone", "-q", "--mirror", "canonical.git", "fresh.git"])?;
    let canonical = Server::start(lab.path())?;
    let fresh = Server::start(lab.path())?;
    let stale = Server::start(lab.path())?;
    let url = canonical.url("canonical.git");
    let dead = format!("git://127.0.0.1:{}/dead.git", dead_port()?);
    let spent = |server: &Server| server.sent.swap(0, Relaxed);

    say("\n1. Plain git: everything comes from canonical.");
    lab.shown(say, &["clone", "-q", &url, "plain"])?;
    let plain = spent(&canonical);
    say(&format!("   canonical sent {plain} bytes"));

    say("\n2. With the fresh mirror: the bytes come from the mirror, the refs from canonical.");
    let mirror = fresh.url("fresh.git");
    lab.clone(say, &url, &[&mirror], "first")?;
    let (theirs, ours) = (spent(&fresh), spent(&canonical));
    say(&format!("   the mirror sent {theirs} bytes, canonical {ours} (its list of refs among them)"));
    claim(ours < 2048 && theirs > plain / 2, "canonical sent next to nothing")?;
    lab.same_refs("plain", "first")?;
    say("   refs and HEAD are those of the plain clone; git fsck finds nothing");

    say("\n3. With a dead mirror and a stale one: the dead one is left, canonical sends what the stale one lacks.");
    lab.clone(say, &url, &[&dead, &stale.url("stale.git")], "second")?;
    let (theirs, ours) = (spent(&stale), spent(&canonical));
    say(&format!("   the stale mirror sent {theirs} bytes, canonical {ours}"));
    claim(ours < plain / 4 && ours > 2048 && theirs > plain / 2, "canonical sent only what the mirror lacked")?;
    lab.same_refs("plain", "second")?;
    say("   refs and HEAD are those of the plain clone; git fsck finds nothing");

    say(
        "\n4. News: canonical gets 50 commits, and so does the fresh mirror; then `git mirror-fetch` in the first clone.\n   \
         Here canonical is as near as any mirror, so that none would be asked for so little: mirror.mustPay is off.",
    );
    lab.history("canonical.git", COMMITS, 50)?;
    lab.git(&["-C", "fresh.git", "fetch", "-q"])?;
    lab.shown(say, &["-C", "first", "config", "mirror.mustPay", "false"])?;
    lab.shown(say, &["-C", "first", "mirror-fetch", "-q", "origin"])?;
    let (theirs, ours) = (spent(&fresh), spent(&canonical));
    say(&format!("   the mirror sent {theirs} bytes, canonical {ours}"));
    claim(ours < 2048 && theirs > 2048, "the news came from the mirror")?;
    lab.git(&["-C", "plain", "fetch", "-q"])?;
    spent(&canonical);
    lab.same_refs("plain", "first")?;
    say("   refs are those of a plain fetch; git fsck finds nothing");

    say("\n5. Nothing new: no mirror is asked.");
    lab.shown(say, &["-C", "first", "fetch"])?;
    claim(spent(&fresh) == 0, "the mirror was left alone")?;
    say(&format!("   the mirror sent 0 bytes, canonical {}", spent(&canonical)));

    say("\nAll of it held. The folder and the servers are gone.");
    Ok(())
}

fn claim(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::new(Kind::Local, format!("this does not hold: {what}"))) }
}
