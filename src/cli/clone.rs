//! `git mirror clone`: a few options of its own, everything else is `git clone`'s.

use std::ffi::OsString;

use crate::adapters::os::{self, Ended};
use crate::usecases::fetching::mirror_clone::{self, Order};
use crate::values::Result;

#[derive(Debug, clap::Args)]
#[command(override_usage = "git mirror clone [<options>] [<any git clone arguments>] <repository> [<directory>]")]
pub struct Clone {
    /// Use this mirror, before all others, and keep it in the new repository (may be repeated)
    #[arg(long, value_name = "url")]
    mirror_url: Vec<String>,
    /// Go mirror-first whatever the configuration says; to this mirror before others, by URL or host
    #[arg(long, value_name = "host", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    prefer_mirror: Vec<String>,
    /// Use no mirror: plain `git clone`
    #[arg(long)]
    no_use_mirror: bool,
    /// Read the list of mirrors that the repository's owner keeps under refs/meta/mirrors
    #[arg(long)]
    mirrors_from_ref: bool,
    /// What `git clone` takes
    #[arg(last = true, hide = true)]
    clone: Vec<OsString>,
}

/// Returns the arguments of `git mirror clone` in an order that clap can read: ours, then git's behind `--`.
pub fn arranged(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let ours = ["--mirror-url", "--prefer-mirror", "--no-use-mirror", "--mirrors-from-ref", "-h", "--help"];
    let (ours, theirs) = super::mirror_fetch::split(args, &ours);
    ours.into_iter().chain([OsString::from("--")]).chain(theirs).collect()
}

/// Runs the command; returns the exit code.
pub fn clone(args: Clone) -> Result<i32> {
    let order = Order {
        mirror_urls: args.mirror_url,
        prefer: args.prefer_mirror,
        plain: args.no_use_mirror,
        from_ref: args.mirrors_from_ref,
        clone: args.clone,
    };
    let report = super::stderr::Stderr::default();
    Ok(match mirror_clone::run(&order, &report)? {
        Ended::Exit(code) => code,
        Ended::Signal(signal) => os::end_by(signal),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_ours_first() {
        let words = |line: &str| -> Vec<OsString> { line.split_whitespace().map(Into::into).collect() };
        for (line, want) in [
            ("--depth 1 --mirror-url m u d", "--mirror-url m -- --depth 1 u d"),
            ("--mirror u", "-- --mirror u"),
            ("--mirror-url=m -- --mirror-url d", "--mirror-url=m -- -- --mirror-url d"),
            ("-h", "-h --"),
            ("", "--"),
        ] {
            assert_eq!(arranged(words(line).into_iter()), words(want), "{line}");
        }
    }
}
