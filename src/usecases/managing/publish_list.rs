//! `git mirror publish-list`: puts a mirror list where clients of a host that cannot be changed may read it.

use crate::adapters::git::config::Config;
use crate::adapters::git::remotes;
use crate::adapters::list_file::{self, FILE_NAME};
use crate::adapters::process::{self, git, output};
use crate::usecases::fetching::list_in_ref::{REF, checked};
use crate::values::{Error, Kind, Result};

/// What came of publishing a list.
#[derive(Debug, PartialEq, Eq)]
pub enum Published {
    /// The remote has this very list already.
    UpToDate,
    /// git has pushed it; its exit code.
    Pushed(i32),
}

/// Checks a list, and pushes it to a remote as a commit on what is there.
///
/// # Errors
/// [`Kind::Config`] for a list with a fault; [`Kind::Local`] where git fails.
pub fn publish(remote: Option<&str>, file: &std::path::Path) -> Result<Published> {
    let config = Config::load()?;
    let remote = remote.map_or_else(|| remotes::default_remote(&config), Into::into);
    let shown = file.display().to_string();
    let text = list_file::read(file)?
        .ok_or_else(|| Error::new(Kind::Usage, format!("cannot read {shown}: there is no such file")))?;
    checked(&text, &shown)?;
    let one = |args: &[&str], input: &str| -> Result<String> {
        let out = output(&mut git(args), input.as_bytes())?;
        Ok(String::from_utf8_lossy(&out).trim_end().to_owned())
    };
    let blob = one(&["hash-object", "-w", "--stdin"], &text)?;
    let tree = one(&["mktree"], &format!("100644 blob {blob}\t{FILE_NAME}\n"))?;
    let old = one(&["ls-remote", "--", &remote, REF], "")?;
    let old = old.split_whitespace().next().unwrap_or_default().to_owned();
    let mut commit = vec!["commit-tree", &tree, "-m", "Update the list of mirrors"];
    if !old.is_empty() {
        one(&["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", &remote, REF], "")?;
        if one(&["rev-parse", &format!("{old}^{{tree}}")], "")? == tree {
            return Ok(Published::UpToDate);
        }
        if one(&["cat-file", "-t", &old], "")? == "commit" {
            commit.extend(["-p", &old]);
        }
    }
    let commit = one(&commit, "")?;
    let lease = format!("--force-with-lease={REF}:{old}");
    let spec = format!("{commit}:{REF}");
    process::foreground(&mut git(["push", &lease, "--", &remote, &spec])).map(Published::Pushed)
}
