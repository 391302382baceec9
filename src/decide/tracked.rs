//! How a plain clone stands in for its remote: what it tracks of that remote, under the remote's own names.
//!
//! The fetch refspecs are read backwards: with `+refs/heads/*:refs/remotes/origin/*`, the local
//! `refs/remotes/origin/main` is the remote's `refs/heads/main`. Requests (`ref-prefix`) go from the remote's names to
//! local ones, answers the other way. Source: gitprotocol-v2(5) (`ls-refs`), gitprotocol-mirror(5) (`url=`).
//!
//! What is presented is never more than the local server lists itself, so hidden refs stay hidden.

use super::prefixes::{Prefixes, shortest};
use crate::values::refspec::{Pattern, Refspec, is_full_name};

/// What a repository tracks of one remote.
#[derive(Debug, Clone)]
pub struct Tracked {
    /// `(theirs, ours)`.
    maps: Vec<(Pattern, Pattern)>,
    omits: Vec<Pattern>,
    /// `refs/remotes/<remote>/HEAD`, where git's convention gives it its meaning.
    remote_head: Option<String>,
    /// Whether the repository's own `HEAD` is the remote's: its branches are the remote's branches.
    own_head: bool,
    tags: bool,
}

/// One line of an answer, under the remote's name.
struct Presented {
    name: String,
    /// Where two local refs claim one name the lower doubt wins: a tag that was perhaps made here is doubtful before
    /// one that a refspec stored, and so is a ref outside `refs/remotes/`, which a user moves.
    doubt: (bool, bool),
    line: String,
}

impl Tracked {
    /// Reads the values of `remote.<remote_name>.fetch`. What git refuses is left out.
    ///
    /// `tags`: whether `refs/tags/*` counts as the remote's (git follows tags to there, unless
    /// `remote.<remote_name>.tagOpt` is `--no-tags`).
    pub fn new(remote_name: &str, specs: &[&str], tags: bool) -> Self {
        let (mut maps, mut omits) = (Vec::new(), Vec::new());
        for spec in specs.iter().filter_map(|spec| Refspec::parse(spec)) {
            match spec {
                Refspec::Maps { theirs, ours } => maps.push((theirs, ours)),
                Refspec::Omits(theirs) => omits.push(theirs),
            }
        }
        let folder = format!("refs/remotes/{remote_name}/");
        let head = format!("{folder}HEAD");
        // A name, or a pattern that is not about this folder (`refs/*`), says itself what is stored there.
        let is_mapped = |(_, ours): &(Pattern, Pattern)| {
            ours.star(&head).is_some() && (ours.after.is_none() || !ours.before.starts_with(&folder))
        };
        let is_same_branch = |(theirs, ours): &(Pattern, Pattern)| {
            let covers = theirs.after.is_some() && "refs/heads/".starts_with(&theirs.before);
            theirs == ours && (covers || theirs.before.starts_with("refs/heads/"))
        };
        Tracked {
            remote_head: (!maps.iter().any(is_mapped)).then_some(head),
            own_head: maps.iter().any(is_same_branch),
            maps,
            omits,
            tags,
        }
    }

    /// Returns the names on the remote that the ref `local` stands for: none where it is not tracked, several where
    /// refspecs overlap.
    pub fn theirs(&self, local: &str) -> Vec<String> {
        let mut names = self.mapped(local);
        if self.is_followed_tag(local) && !names.iter().any(|name| name == local) {
            names.push(local.to_owned());
        }
        names
    }

    fn mapped(&self, local: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        if local == "HEAD" {
            names.extend(self.own_head.then(|| local.to_owned()));
        } else if self.remote_head.as_deref() == Some(local) {
            names.push("HEAD".to_owned());
        } else {
            for (theirs, ours) in &self.maps {
                let name = ours.star(local).map(|star| theirs.name(star));
                names.extend(name.filter(|name| is_full_name(name) && !names.contains(name)));
            }
        }
        names.retain(|name| !self.is_omitted(name));
        names
    }

    fn is_omitted(&self, theirs: &str) -> bool {
        self.omits.iter().any(|pattern| pattern.star(theirs).is_some())
    }

    fn is_followed_tag(&self, local: &str) -> bool {
        self.tags && local.starts_with("refs/tags/") && !self.is_omitted(local)
    }

    /// Returns the `ref-prefix` values, in local names, with which the local server lists all that can match `asked`.
    /// It may list more: the answer goes through [`Tracked::answer`].
    ///
    /// Empty where nothing can match. Do not ask then: no prefix at all means everything.
    pub fn prefixes(&self, asked: &Prefixes) -> Vec<String> {
        let everything = [String::new()];
        let asked = if asked.all().is_empty() { &everything[..] } else { asked.all() };
        let mut local = Vec::new();
        for prefix in asked {
            local.extend(self.maps.iter().filter_map(|(theirs, ours)| local_prefix(theirs, ours, prefix)));
            if self.tags {
                let tags = Pattern { before: "refs/tags/".to_owned(), after: Some(String::new()) };
                local.extend(local_prefix(&tags, &tags, prefix));
            }
            if "HEAD".starts_with(prefix.as_str()) {
                local.extend(self.remote_head.clone());
                local.extend(self.own_head.then(|| "HEAD".to_owned()));
            }
        }
        shortest(local)
    }

    /// Returns what a line of the local server's `ls-refs` answer
    /// (`<oid>|unborn <name>[ symref-target:<name>][ peeled:<oid>]`) is under the remote's names, without a newline:
    /// nothing for what is not tracked or not asked, several lines where refspecs overlap.
    ///
    /// A symref's target is renamed too, and left out where it is not tracked; so is every attribute not named above,
    /// which might hold a local name.
    pub fn rewrite_line(&self, line: &str, asked: &Prefixes) -> Vec<String> {
        self.present(line, asked).into_iter().map(|shown| shown.line).collect()
    }

    /// Returns the local server's whole `ls-refs` answer under the remote's names: `HEAD` first, then by name, each
    /// name once.
    pub fn answer<S: AsRef<str>>(&self, lines: &[S], asked: &Prefixes) -> Vec<String> {
        let mut all: Vec<Presented> = lines.iter().flat_map(|line| self.present(line.as_ref(), asked)).collect();
        // `HEAD` is before `refs/…` by its bytes as well.
        all.sort_by(|a, b| (&a.name, a.doubt).cmp(&(&b.name, b.doubt)));
        all.dedup_by(|later, first| later.name == first.name);
        all.into_iter().map(|shown| shown.line).collect()
    }

    fn present(&self, line: &str, asked: &Prefixes) -> Vec<Presented> {
        let mut words = line.trim_end_matches('\n').split(' ');
        let (Some(id), Some(local)) = (words.next(), words.next()) else { return Vec::new() };
        let unborn = id == "unborn";
        if !unborn && id.parse::<gix::ObjectId>().is_err() {
            return Vec::new();
        }
        let (mut symref, mut target, mut peeled) = (false, None, "");
        for word in words {
            if let Some(name) = word.strip_prefix("symref-target:") {
                symref = true;
                target = self.target(name);
            } else if word.starts_with("peeled:") {
                peeled = word;
            }
        }
        // An own HEAD on a branch that is not the remote's says nothing of the remote's HEAD; an unborn one says
        // nothing but its target.
        if target.is_none() && (unborn || (symref && local == "HEAD")) {
            return Vec::new();
        }
        let mapped = self.mapped(local);
        let shown = self.theirs(local).into_iter().filter(|name| asked.admits(name)).map(|name| {
            let mut line = format!("{id} {name}");
            if let Some(target) = &target {
                line.push_str(&format!(" symref-target:{target}"));
            }
            if !peeled.is_empty() {
                line.push_str(&format!(" {peeled}"));
            }
            Presented { doubt: (!mapped.contains(&name), !local.starts_with("refs/remotes/")), name, line }
        });
        shown.collect()
    }

    /// Returns the name of a symref's target; a branch, where it has several names.
    fn target(&self, local: &str) -> Option<String> {
        self.theirs(local).into_iter().min_by_key(|name| !name.starts_with("refs/heads/"))
    }
}

/// Returns a prefix of all local names whose names on the remote begin with `asked`; `None` where none can.
fn local_prefix(theirs: &Pattern, ours: &Pattern, asked: &str) -> Option<String> {
    if theirs.before.starts_with(asked) {
        return Some(ours.before.clone());
    }
    let (rest, after) = (asked.strip_prefix(&*theirs.before)?, theirs.after.as_deref()?);
    // What is asked may end within the part after the `*` ("1/he" of `*/head`): then the `*` stands for less of it.
    let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    let star = ends.map(|at| rest.split_at(at)).find(|(_, tail)| after.starts_with(tail))?.0;
    Some(format!("{}{star}", ours.before))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const DEFAULT: &str = "+refs/heads/*:refs/remotes/origin/*";
    const PULLS: &str = "+refs/pull/*/head:refs/remotes/origin/pr/*";

    /// Refs of every kind that the cases below speak of.
    const LOCAL: [&str; 20] = [
        "HEAD",
        "refs/heads/main",
        "refs/heads/mine",
        "refs/keep/release-1/notes",
        "refs/mirror/h/heads/main",
        "refs/notes/commits",
        "refs/pull/7/head",
        "refs/remotes/backup/main",
        "refs/remotes/origin/HEAD",
        "refs/remotes/origin/heads/deep/main",
        "refs/remotes/origin/main",
        "refs/remotes/origin/pr/12",
        "refs/remotes/origin/pr/1/head",
        "refs/remotes/origin/topic/a",
        "refs/remotes/origin/x",
        "refs/remotes/origin/xa",
        "refs/remotes/other/HEAD",
        "refs/remotes/\u{fc}ber/\u{e9}t\u{e9}",
        "refs/tags/v1",
        "refs/tags/v1.1",
    ];

    fn specs() -> Vec<Vec<&'static str>> {
        vec![
            vec![DEFAULT],
            vec!["+refs/heads/main:refs/remotes/origin/main"],
            vec!["+refs/*:refs/*"],
            vec!["+refs/heads/*:refs/heads/*"],
            vec![DEFAULT, PULLS],
            vec![DEFAULT, "^refs/heads/topic/*", "^refs/tags/v1.1"],
            vec!["+refs/heads/rel*/doc:refs/keep/rel*/notes", "HEAD:refs/remotes/origin/x"],
            vec!["+refs/heads/*:refs/remotes/origin/x*"],
            vec!["+refs/heads/*a:refs/remotes/origin/*a", "refs/a/*/b/*:refs/x/*"],
            vec!["*:refs/remotes/origin/*"],
            vec!["+refs/heads/*:refs/remotes/\u{fc}ber/*", "refs/\u{e9}/*/\u{e9}t:refs/remotes/origin/pr/*"],
            vec!["+refs/*:refs/remotes/origin/*", "main:refs/heads/mine"],
            vec![],
        ]
    }

    fn all() -> Prefixes {
        Prefixes::default()
    }

    #[test]
    fn names() {
        let none: &[&str] = &[];
        for (specs, local, theirs) in [
            (&[DEFAULT][..], "refs/remotes/origin/main", &["refs/heads/main"][..]),
            (&[DEFAULT], "refs/remotes/origin/a/b", &["refs/heads/a/b"]),
            (&[DEFAULT], "refs/remotes/origin/HEAD", &["HEAD"]),
            (&[DEFAULT], "refs/remotes/other/HEAD", none),
            (&[DEFAULT], "refs/remotes/other/main", none),
            (&[DEFAULT], "refs/heads/main", none),
            (&[DEFAULT], "HEAD", none),
            (&[DEFAULT], "refs/tags/v1", &["refs/tags/v1"]),
            (&["+refs/heads/a:refs/remotes/origin/a"], "refs/remotes/origin/b", none),
            (&["+refs/heads/a:refs/remotes/origin/a"], "refs/remotes/origin/HEAD", &["HEAD"]),
            (&["+refs/*:refs/*"], "refs/remotes/origin/HEAD", &["refs/remotes/origin/HEAD"]),
            (&["+refs/*:refs/*"], "HEAD", &["HEAD"]),
            (&["+refs/*:refs/*"], "refs/tags/v1", &["refs/tags/v1"]),
            (&["+refs/heads/main:refs/heads/main"], "HEAD", &["HEAD"]),
            (&["+refs/heads/*:refs/copy/*"], "HEAD", none),
            (&["x:refs/remotes/origin/HEAD"], "refs/remotes/origin/HEAD", &["refs/heads/x"]),
            (&["HEAD:refs/remotes/origin/HEAD"], "refs/remotes/origin/HEAD", &["HEAD"]),
            (&[DEFAULT, PULLS], "refs/remotes/origin/pr/12", &["refs/heads/pr/12", "refs/pull/12/head"]),
            (&[DEFAULT, "^refs/heads/b*"], "refs/remotes/origin/beta", none),
            (&[DEFAULT, "^refs/heads/b*", "^HEAD"], "refs/remotes/origin/HEAD", none),
            (&[DEFAULT, "^refs/tags/v1"], "refs/tags/v1", none),
            (&["refs/heads/*:refs/x/a*b"], "refs/x/azb", &["refs/heads/z"]),
            (&["refs/heads/*:refs/x/a*b"], "refs/x/ab", none),
            (&["*:refs/remotes/origin/*"], "refs/remotes/origin/refs/heads/a", &["refs/heads/a"]),
            (&["*:refs/remotes/origin/*"], "refs/remotes/origin/a", none),
        ] {
            assert_eq!(Tracked::new("origin", specs, true).theirs(local), theirs, "{specs:?} {local}");
        }
        assert!(Tracked::new("origin", &[DEFAULT], false).theirs("refs/tags/v1").is_empty());
    }

    #[test]
    fn prefixes_are_translated() {
        for (specs, asked, local) in [
            (&[DEFAULT][..], &[][..], &["refs/remotes/origin/", "refs/tags/"][..]),
            (&[DEFAULT], &["refs/heads/", "refs/tags/"], &["refs/remotes/origin/", "refs/tags/"]),
            (&[DEFAULT], &["refs/heads/ma"], &["refs/remotes/origin/ma"]),
            (&[DEFAULT], &["refs/he"], &["refs/remotes/origin/"]),
            (&[DEFAULT], &["HEAD"], &["refs/remotes/origin/HEAD"]),
            (
                &[DEFAULT],
                &["H", "refs/heads/a", "refs/heads/ab"],
                &["refs/remotes/origin/HEAD", "refs/remotes/origin/a"],
            ),
            (&[DEFAULT], &["refs/pull/", "HEAD2", "main"], &[]),
            (&["+refs/*:refs/*"], &["refs/pull/"], &["refs/pull/"]),
            (&["+refs/*:refs/*"], &["HEAD"], &["HEAD"]),
            (&[PULLS], &["refs/pull/1"], &["refs/remotes/origin/pr/1"]),
            (&[PULLS], &["refs/pull/1/he"], &["refs/remotes/origin/pr/1"]),
            (&[PULLS], &["refs/pull/1/x"], &["refs/remotes/origin/pr/1/x"]),
            (&["main:refs/remotes/origin/main"], &["refs/heads/m"], &["refs/remotes/origin/main"]),
            (&["main:refs/remotes/origin/main"], &["refs/heads/main2"], &[]),
        ] {
            let got = Tracked::new("origin", specs, true).prefixes(&Prefixes::new(asked));
            assert_eq!(got, local, "{specs:?} {asked:?}");
        }
    }

    #[test]
    fn prefixes_lose_nothing() {
        let lines: Vec<String> = LOCAL.iter().map(|name| format!("{A} {name}")).collect();
        for (specs, tags) in specs().iter().flat_map(|specs| [(specs, true), (specs, false)]) {
            let tracked = Tracked::new("origin", specs, tags);
            let whole = tracked.answer(&lines, &all());
            let names = whole.iter().chain(&lines).map(|line| &line[A.len() + 1..]);
            let cuts = names.flat_map(|name| name.char_indices().map(|(at, _)| &name[..at]).chain([name]));
            for asked in cuts.map(|cut| Prefixes::new(&[cut])).chain([all(), Prefixes::new(&["refs/h", "HEAD"])]) {
                let local = tracked.prefixes(&asked);
                let listed = LOCAL.iter().filter(|name| local.iter().any(|prefix| name.starts_with(prefix)));
                let listed: Vec<String> = listed.map(|name| format!("{A} {name}")).collect();
                assert_eq!(tracked.answer(&listed, &asked), tracked.answer(&lines, &asked), "{specs:?} {asked:?}");
                let filtered: Vec<&String> = whole.iter().filter(|line| asked.admits(&line[A.len() + 1..])).collect();
                assert_eq!(tracked.answer(&listed, &asked).iter().collect::<Vec<_>>(), filtered, "{specs:?} {asked:?}");
            }
        }
    }

    #[test]
    fn lines() {
        let default: &[&str] = &[DEFAULT, PULLS, "^refs/heads/secret"];
        let mirror: &[&str] = &["+refs/*:refs/*"];
        let single: &[&str] = &["+refs/heads/main:refs/heads/main"];
        let head = "refs/remotes/origin/HEAD symref-target:refs/remotes/origin";
        for (specs, line, want) in [
            (default, format!("{A} refs/remotes/origin/main\n"), vec![format!("{A} refs/heads/main")]),
            (default, format!("{A} {head}/main"), vec![format!("{A} HEAD symref-target:refs/heads/main")]),
            (default, format!("{A} {head}/pr/1"), vec![format!("{A} HEAD symref-target:refs/heads/pr/1")]),
            (default, format!("{A} {head}/secret"), vec![format!("{A} HEAD")]),
            (default, format!("{A} HEAD symref-target:refs/heads/main"), vec![]),
            (default, "unborn HEAD symref-target:refs/heads/main".into(), vec![]),
            (default, format!("{A} refs/tags/v1 peeled:{B} new:refs/x"), vec![format!("{A} refs/tags/v1 peeled:{B}")]),
            (default, "refs/remotes/origin/main".into(), vec![]),
            (default, format!("shallow {A}"), vec![]),
            (default, String::new(), vec![]),
            (
                mirror,
                format!("{A} HEAD symref-target:refs/heads/x"),
                vec![format!("{A} HEAD symref-target:refs/heads/x")],
            ),
            (mirror, format!("{A} HEAD"), vec![format!("{A} HEAD")]),
            (
                mirror,
                "unborn HEAD symref-target:refs/heads/x".into(),
                vec!["unborn HEAD symref-target:refs/heads/x".into()],
            ),
            (single, format!("{A} HEAD symref-target:refs/heads/mine"), vec![]),
            (single, "unborn HEAD symref-target:refs/heads/mine".into(), vec![]),
        ] {
            assert_eq!(Tracked::new("origin", specs, true).rewrite_line(&line, &all()), want, "{line}");
        }
        let tracked = Tracked::new("origin", &[DEFAULT, PULLS], true);
        let line = format!("{A} refs/remotes/origin/pr/1");
        assert_eq!(tracked.rewrite_line(&line, &all()).len(), 2);
        assert_eq!(tracked.rewrite_line(&line, &Prefixes::new(&["refs/pu"])), [format!("{A} refs/pull/1/head")]);
    }

    #[test]
    fn a_whole_answer() {
        let lines = [
            format!("{B} HEAD symref-target:refs/heads/mine"),
            format!("{B} refs/heads/mine"),
            format!("{B} refs/remotes/backup/main"),
            format!("{A} refs/remotes/origin/HEAD symref-target:refs/remotes/origin/main"),
            format!("{A} refs/remotes/origin/main"),
            format!("{A} refs/remotes/origin/a"),
            format!("{B} refs/tags/v1"),
            format!("{A} refs/theirs/v1"),
        ];
        let specs = [DEFAULT, "refs/tags/*:refs/theirs/*", "main:refs/heads/mine"];
        let want = [
            format!("{A} HEAD symref-target:refs/heads/main"),
            format!("{A} refs/heads/a"),
            // Not the local branch that a refspec also stores it in, nor the tag that may be somebody's own.
            format!("{A} refs/heads/main"),
            format!("{A} refs/tags/v1"),
        ];
        assert_eq!(Tracked::new("origin", &specs, true).answer(&lines, &all()), want);
    }
}
