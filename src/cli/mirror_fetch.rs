//! `git mirror-fetch`: a few options of its own, everything else is `git fetch`'s.

use std::ffi::OsString;

use clap::Parser;

use crate::adapters::os::{self, Ended};
use crate::usecases::fetching::mirror_fetch::{self, Order};

/// Fetch from a near mirror first; canonical verifies, completes, and names the refs
///
/// Takes every argument of `git fetch` as well, and hands it on.
#[derive(Debug, Parser)]
#[command(name = "git mirror-fetch", bin_name = "git mirror-fetch", version, max_term_width = 100)]
#[command(override_usage = "git mirror-fetch [<options>] [<any git fetch arguments>]")]
pub struct Args {
    /// Use this mirror, before all others (may be repeated)
    #[arg(long, value_name = "url")]
    mirror_url: Vec<String>,
    /// Go mirror-first whatever the configuration says; to this mirror before others, by URL or host
    #[arg(long, value_name = "host", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    prefer_mirror: Vec<String>,
    /// Use no mirror: plain `git fetch`
    #[arg(long)]
    no_use_mirror: bool,
    /// Fill refs/mirror/<host>/ from a mirror; do not contact canonical, move no other ref
    #[arg(long)]
    mirror_only: bool,
    /// Fill refs/mirror/<host>/ from a mirror as --mirror-only does, then fetch as usual
    #[arg(long, conflicts_with = "mirror_only")]
    seed: bool,
    /// Read the list of mirrors that the repository's owner keeps under refs/meta/mirrors
    #[arg(long)]
    mirrors_from_ref: bool,
}

/// Our options, and those that are answered here.
const OURS: [&str; 10] = [
    "--mirror-url",
    "--prefer-mirror",
    "--no-use-mirror",
    "--mirror-only",
    "--seed",
    "--mirrors-from-ref",
    "-h",
    "--help",
    "--version",
    "-V",
];

/// Runs the program; returns the exit code.
pub fn main() -> i32 {
    if let Some(code) = super::begin() {
        return code;
    }
    super::trace::init();
    let (ours, fetch) = split(std::env::args_os().skip(1), &OURS);
    let args = match Args::try_parse_from(std::iter::once("git-mirror-fetch".into()).chain(ours)) {
        Ok(args) => args,
        Err(err) => return super::usage(&err),
    };
    let mut prefer = args.prefer_mirror;
    if args.no_use_mirror {
        prefer = vec!["false".into()];
    }
    let order = Order {
        mirror_urls: args.mirror_url,
        prefer,
        mirror_only: args.mirror_only,
        seed: args.seed,
        from_ref: args.mirrors_from_ref,
        fetch,
    };
    let report = super::stderr::Stderr::default();
    match mirror_fetch::run(&order, &report) {
        Ok(Ended::Exit(code)) => code,
        Ok(Ended::Signal(signal)) => os::end_by(signal),
        Err(err) => super::fail(&err),
    }
}

/// Returns the arguments that are `known` to be our own, and git's, which may be any bytes.
pub(super) fn split(args: impl Iterator<Item = OsString>, known: &[&str]) -> (Vec<OsString>, Vec<OsString>) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        match text.split('=').next().unwrap_or_default() {
            "--" => {
                theirs.push(arg);
                theirs.extend(args.by_ref());
            }
            "--mirror-url" if text == "--mirror-url" => {
                ours.push(arg);
                ours.extend(args.next());
            }
            name if known.contains(&name) => ours.push(arg),
            _ => theirs.push(arg),
        }
    }
    (ours, theirs)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn splits() {
        let words = |line: &str| -> Vec<OsString> { line.split_whitespace().map(Into::into).collect() };
        for (line, ours, theirs) in [
            ("--prune origin --mirror-url u main", "--mirror-url u", "--prune origin main"),
            ("--mirror-url=u -p", "--mirror-url=u", "-p"),
            ("--prefer-mirror origin", "--prefer-mirror", "origin"),
            ("--prefer-mirror=h --mirror-only", "--prefer-mirror=h --mirror-only", ""),
            ("-- --seed", "", "-- --seed"),
        ] {
            assert_eq!(split(words(line).into_iter(), &OURS), (words(ours), words(theirs)), "{line}");
        }
    }

    #[test]
    fn passes_on_what_is_no_text() {
        let odd = OsString::from_vec(b"\xff\xfe".to_vec());
        let args = [odd.clone(), "--".into(), odd.clone()];
        assert_eq!(split(args.clone().into_iter(), &OURS), (vec![], args.to_vec()));
        let args = ["--mirror-url".into(), odd.clone(), "origin".into()];
        assert_eq!(split(args.into_iter(), &OURS), (vec!["--mirror-url".into(), odd], vec!["origin".into()]));
    }
}
