//! The command line of `git clone`, as far as one has to know it who adds to it: the name of the remote, and what is cloned.
//!
//! Everything is passed on as it is, and what is wrong with it git says. Source: git-clone(1) of git 2.47 and 2.51, and
//! `parse-options.c`: options and arguments in any order, unique beginnings of long options, short ones in one word.

use std::ffi::{OsStr, OsString};

/// The options that take a value, in the next argument or behind `=`.
const WITH_VALUE: [&str; 19] = [
    "jobs",
    "template",
    "reference",
    "reference-if-able",
    "origin",
    "branch",
    "revision",
    "upload-pack",
    "depth",
    "shallow-since",
    "shallow-exclude",
    "separate-git-dir",
    "ref-format",
    "config",
    "server-option",
    "filter",
    "bundle-uri",
    "object-format",
    "ref-storage",
];
/// The others: a beginning that they share with one of those means neither.
const WITHOUT: [&str; 23] = [
    "verbose",
    "quiet",
    "progress",
    "reject-shallow",
    "checkout",
    "no-checkout",
    "bare",
    "mirror",
    "local",
    "hardlinks",
    "no-hardlinks",
    "shared",
    "recurse-submodules",
    "recursive",
    "dissociate",
    "single-branch",
    "tags",
    "no-tags",
    "shallow-submodules",
    "ipv4",
    "ipv6",
    "also-filter-submodules",
    "remote-submodules",
];
/// The short options that take a value, with the long ones that they stand for.
const SHORT: [(char, &str); 5] =
    [('j', "jobs"), ('o', "origin"), ('b', "branch"), ('u', "upload-pack"), ('c', "config")];

/// What `git clone` was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloneArguments {
    /// `--origin`.
    pub origin: Option<String>,
    /// `--config`, each `<key>=<value>`.
    pub config: Vec<String>,
    /// `--template`.
    pub template: Option<OsString>,
    /// What to clone.
    pub repository: Option<OsString>,
    /// `--quiet`.
    pub quiet: bool,
    /// `--progress`.
    pub progress: bool,
}

impl CloneArguments {
    /// Reads the arguments behind `git clone`.
    pub fn read(args: &[OsString]) -> Self {
        let mut read = CloneArguments::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let text = arg.to_string_lossy();
            match text.strip_prefix("--") {
                Some("" | "end-of-options") => {
                    let first = args.by_ref().next();
                    read.repository = read.repository.or_else(|| first.cloned());
                    break;
                }
                Some(option) => {
                    let (name, value) = option.split_once('=').map_or((option, None), |(n, v)| (n, Some(v.to_owned())));
                    let Some(name) = whole(name) else { continue };
                    let value = match value {
                        None if WITH_VALUE.contains(&name.as_str()) => args.next().cloned(),
                        value => value.map(Into::into),
                    };
                    read.take(&name, value.as_deref());
                }
                None if text.len() > 1 && text.starts_with('-') => read.short(&text, &mut args),
                None => read.repository = read.repository.or_else(|| Some(arg.clone())),
            }
        }
        read
    }

    /// Reads several short options in one word.
    fn short<'a>(&mut self, word: &str, args: &mut impl Iterator<Item = &'a OsString>) {
        for (at, letter) in word.char_indices().skip(1) {
            if let Some((_, name)) = SHORT.iter().find(|(short, _)| *short == letter) {
                let rest = &word[at + letter.len_utf8()..];
                let value = if rest.is_empty() { args.next().cloned() } else { Some(rest.into()) };
                return self.take(name, value.as_deref());
            }
            if letter == 'q' {
                self.quiet = true;
            }
        }
    }

    fn take(&mut self, name: &str, value: Option<&OsStr>) {
        let text = || value.map(|value| value.to_string_lossy().into_owned());
        match name {
            "origin" => self.origin = text(),
            "no-origin" => self.origin = None,
            "config" => self.config.extend(text()),
            "no-config" => self.config.clear(),
            "template" => self.template = value.map(Into::into),
            "no-template" => self.template = None,
            "quiet" => self.quiet = true,
            "progress" => self.progress = true,
            _ => {}
        }
    }

    /// Returns what `--config` says of a key; the last one wins.
    pub fn configured(&self, key: &str) -> Option<&str> {
        let pairs = self.config.iter().map(|pair| pair.split_once('=').unwrap_or((pair, "true")));
        pairs.rev().find(|(named, _)| named.eq_ignore_ascii_case(key)).map(|(_, value)| value)
    }
}

/// Returns the option that begins so, with `no-` before it where that is there; `None` where it is none or several.
fn whole(beginning: &str) -> Option<String> {
    let all = || WITH_VALUE.iter().chain(&WITHOUT).chain(&["sparse"]).copied();
    let one = |beginning: &str| {
        let mut fitting = all().filter(|name| name.starts_with(beginning));
        all().find(|name| *name == beginning).or_else(|| fitting.next().filter(|_| fitting.next().is_none()))
    };
    match (one(beginning), beginning.strip_prefix("no-").and_then(one)) {
        (Some(name), _) => Some(name.to_owned()),
        (None, Some(name)) => Some(format!("no-{name}")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> CloneArguments {
        CloneArguments::read(&line.split_whitespace().map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn finds_the_remote_and_what_is_cloned() {
        for (line, origin, repository) in [
            ("u", None, Some("u")),
            ("-o up u d", Some("up"), Some("u")),
            ("u -oup", Some("up"), Some("u")),
            ("-nqo up u", Some("up"), Some("u")),
            ("-bqo u", None, Some("u")),
            ("--origin=up u", Some("up"), Some("u")),
            ("--ori up u", Some("up"), Some("u")),
            ("--origin up --no-origin u", None, Some("u")),
            ("--depth 1 -c a=b --reference r -j 4 --filter f u d", None, Some("u")),
            ("--depth=1 --recurse-submodules u", None, Some("u")),
            ("--ref r u", None, Some("r")), // one of several
            ("--reference r u", None, Some("u")),
            ("-u p -- -o", None, Some("-o")),
            ("-o up --", Some("up"), None),
            ("d --", None, Some("d")),
            ("-o", None, None),
            ("--no-such-option u", None, Some("u")),
            ("--no-check -o x u", Some("x"), Some("u")),
            ("-", None, Some("-")),
        ] {
            let got = read(line);
            assert_eq!((got.origin.as_deref(), got.repository), (origin, repository.map(Into::into)), "{line}");
        }
    }

    #[test]
    fn finds_configuration() {
        let got =
            read("-c Clone.DefaultRemoteName=a --config clone.defaultremotename=b -cx.y --template=t --prog u -q");
        assert_eq!(got.configured("clone.defaultRemoteName"), Some("b"));
        assert_eq!((got.configured("x.y"), got.configured("y")), (Some("true"), None));
        assert_eq!((got.template, got.quiet, got.progress), (Some("t".into()), true, true));
    }
}
