//! Mirror lists of hosts that cannot be changed: the owner keeps `mirrors.toml` in the repository itself, under
//! [`REF`], and clients that are allowed to read it there (git-mirror(1), `mirror.fromRef`).

use crate::adapters::git::config::Config;
use crate::adapters::git::repo::Repo;
use crate::adapters::list_file::{self, FILE_NAME};
use crate::adapters::process::{git, output};
use crate::decide::policy;
use crate::values::mirror_list::MirrorList;
use crate::values::{Error, GitUrl, Kind, Result};

/// Where the list is: a commit or a tree that holds `mirrors.toml`.
pub const REF: &str = "refs/meta/mirrors";

/// Whether to read lists from [`REF`] in this run (`git mirror-fetch --mirrors-from-ref`).
pub const ENV: &str = "GIT_MIRROR_FROM_REF";

/// Returns what a list says.
///
/// # Errors
/// [`Kind::Config`] with a line for each fault; `shown` is what they call the list.
pub fn checked(text: &str, shown: &str) -> Result<policy::Listing> {
    list_file::check(text, shown, None).map(|checked| checked.listing).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Error::new(Kind::Config, lines.join("\n"))
    })
}

/// Returns whether lists may be read from [`REF`].
pub fn is_allowed(config: &Config) -> bool {
    let run = std::env::var(ENV).ok().and_then(|value| crate::adapters::git::config::bool_of(&value));
    run.or(config.bool("mirror.fromref")).unwrap_or(false)
}

/// Returns the id of what canonical has under [`REF`]; `None` where that is nothing.
///
/// # Errors
/// [`Kind::Local`] where git cannot ask.
pub fn id(url: &GitUrl) -> Result<Option<String>> {
    let out = output(plainly(&mut git(["ls-remote", "--", url.raw(), REF])), b"")?;
    Ok(String::from_utf8_lossy(&out).split_whitespace().next().map(Into::into))
}

/// Reads the list with that id from canonical. Its objects do not stay here.
///
/// # Errors
/// [`Kind::Local`] where git cannot fetch it, [`Kind::Config`] where it is damaged.
pub fn read(repo: &Repo, url: &GitUrl, id: &str) -> Result<MirrorList> {
    let objects = tempfile::tempdir().map_err(Error::doing(Kind::Local, "cannot make a temporary folder"))?;
    let run = |args: &[&str]| {
        let mut command = repo.git(args);
        repo.with_quarantine(&mut command, objects.path());
        output(plainly(&mut command), b"")
    };
    run(&["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--", url.raw(), REF])?;
    let blob = format!("{id}:{FILE_NAME}");
    let size = run(&["cat-file", "-s", &blob])?;
    let size: u64 = String::from_utf8_lossy(&size).trim().parse().unwrap_or(u64::MAX);
    if size > list_file::MOST_BYTES {
        return Err(Error::new(
            Kind::Config,
            format!("{REF}: {FILE_NAME} has more than {} bytes", list_file::MOST_BYTES),
        ));
    }
    let text = String::from_utf8(run(&["cat-file", "blob", &blob])?)
        .map_err(|_| Error::new(Kind::Config, format!("{REF}: {FILE_NAME} is no UTF-8")))?;
    let listing = checked(&text, &format!("{REF}:{FILE_NAME}"))?;
    // Nobody here knows where this client is: weights share the clients out.
    let mirrors = policy::order(&listing, None, None, u64::from(std::process::id()));
    let first = mirrors.into_iter().take(policy::MOST_OF_A_PAGE).collect();
    Ok(MirrorList { canonical: listing.canonical, mirrors: first, prefer: listing.prefer, ..MirrorList::default() })
}

/// Has git talk to canonical itself, whatever rewrites its URL.
fn plainly(command: &mut std::process::Command) -> &mut std::process::Command {
    command.env(ENV, "false").env(crate::adapters::git::config::ENV_PREFER, "false")
}
