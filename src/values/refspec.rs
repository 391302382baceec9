//! Fetch refspecs, as `remote.<name>.fetch` holds them.
//!
//! Source: `parse_refspec` in git's `refspec.c`, `get_local_ref` in `remote.c` (2.47), git-fetch(1). A name on the
//! remote's side that is short means a branch here (git looks at what the remote has; a configuration alone cannot
//! tell `v1` the tag from `v1` the branch).

/// A ref name, or a pattern with one `*`, which stands for any text, slashes and nothing included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What is before the `*`, or the whole name.
    pub before: String,
    /// What is after the `*`; `None` for a name.
    pub after: Option<String>,
}

impl Pattern {
    fn new(text: &str) -> Self {
        match text.split_once('*') {
            Some((before, after)) => Pattern { before: before.to_owned(), after: Some(after.to_owned()) },
            None => Pattern { before: text.to_owned(), after: None },
        }
    }

    /// Returns what the `*` stands for in `name`, where that matches; nothing (`""`) for an equal name.
    pub fn star<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name.strip_prefix(&*self.before)?;
        match &self.after {
            Some(after) => rest.strip_suffix(&**after),
            None => rest.is_empty().then_some(rest),
        }
    }

    /// Returns the name with `star` for the `*`.
    pub fn name(&self, star: &str) -> String {
        match &self.after {
            Some(after) => format!("{}{star}{after}", self.before),
            None => self.before.clone(),
        }
    }
}

/// What one refspec does to what is stored locally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refspec {
    /// `[+]<theirs>:<ours>`: both are names, or both patterns.
    Maps {
        /// The names on the remote, in full.
        theirs: Pattern,
        /// The local names, in full.
        ours: Pattern,
    },
    /// `^<theirs>`: names on the remote that no other refspec shall take.
    Omits(Pattern),
}

impl Refspec {
    /// Reads one; `None` for what git refuses, and for one that stores nothing (`<theirs>`, `<theirs>:`, an object id).
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(theirs) = text.strip_prefix('^') {
            let valid = !theirs.contains(':') && !is_oid(theirs);
            return valid.then(|| checked(head_or(theirs)).map(Refspec::Omits)).flatten();
        }
        let (theirs, ours) = text.strip_prefix('+').unwrap_or(text).rsplit_once(':')?;
        let theirs = if theirs.is_empty() { "HEAD" } else { head_or(theirs) };
        if is_oid(theirs) || theirs.contains('*') != ours.contains('*') {
            return None;
        }
        let (theirs, ours) = (checked(theirs)?, checked(ours)?);
        Some(match theirs.after {
            Some(_) => Refspec::Maps { theirs, ours },
            None => Refspec::Maps { theirs: in_full(theirs), ours: in_full(ours) },
        })
    }
}

/// Returns whether a server can have a ref of this name: `HEAD`, or a valid one below `refs/`.
pub fn is_full_name(name: &str) -> bool {
    name == "HEAD" || (name.starts_with("refs/") && is_valid(name))
}

fn head_or(theirs: &str) -> &str {
    if theirs == "@" { "HEAD" } else { theirs }
}

fn checked(text: &str) -> Option<Pattern> {
    // With any text for the `*` the name must be a valid one (git-check-ref-format(1)); a second `*` never is.
    is_valid(&text.replacen('*', "x", 1)).then(|| Pattern::new(text))
}

fn is_valid(name: &str) -> bool {
    name != "@" && gix::validate::reference::name_partial(name.into()).is_ok()
}

fn in_full(name: Pattern) -> Pattern {
    let short = &name.before;
    let before = if short == "HEAD" || short.starts_with("refs/") {
        return name;
    } else if ["heads/", "tags/", "remotes/"].iter().any(|kind| short.starts_with(kind)) {
        format!("refs/{short}")
    } else {
        format!("refs/heads/{short}")
    };
    Pattern { before, after: None }
}

fn is_oid(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_git_reads() {
        for (text, theirs, ours) in [
            ("+refs/heads/*:refs/remotes/o/*", "refs/heads/*", "refs/remotes/o/*"),
            ("refs/heads/a:refs/remotes/o/a", "refs/heads/a", "refs/remotes/o/a"),
            ("main:refs/remotes/o/main", "refs/heads/main", "refs/remotes/o/main"),
            ("tags/v1:keep", "refs/tags/v1", "refs/heads/keep"),
            ("HEAD:refs/remotes/o/HEAD", "HEAD", "refs/remotes/o/HEAD"),
            ("@:refs/x/y", "HEAD", "refs/x/y"),
            (":refs/x/y", "HEAD", "refs/x/y"),
            ("refs/heads/a*b:refs/x/c*d", "refs/heads/a*b", "refs/x/c*d"),
            ("+refs/pull/*/head:refs/remotes/o/pr/*", "refs/pull/*/head", "refs/remotes/o/pr/*"),
            ("*:refs/all/*", "*", "refs/all/*"),
        ] {
            let want = Refspec::Maps { theirs: Pattern::new(theirs), ours: Pattern::new(ours) };
            assert_eq!(Refspec::parse(text), Some(want), "{text}");
        }
        for (text, theirs) in
            [("^refs/heads/a", "refs/heads/a"), ("^refs/x/*", "refs/x/*"), ("^@", "HEAD"), ("^+a", "+a")]
        {
            assert_eq!(Refspec::parse(text), Some(Refspec::Omits(Pattern::new(theirs))), "{text}");
        }
    }

    #[test]
    fn leaves_what_is_wrong_or_stores_nothing() {
        let oid = "a".repeat(40);
        let specs = "|+|^|main|+refs/heads/*|refs/heads/main:|:|refs/heads/*:refs/x|refs/heads/a:refs/x/*|^a:b|+^a|^\
                     |refs/heads/*/*:refs/x/*/*|refs/heads/a b:refs/x/y|refs/a..b:refs/x|refs/heads/.*:refs/x/*\
                     |refs/heads/a.lock:refs/x/a|/a:refs/x|a/:refs/x|refs/h\u{7f}:refs/x|a:@|tag v1";
        let specs = specs.split('|').map(str::to_owned).chain([format!("{oid}:refs/x/y"), format!("^{oid}")]);
        for spec in specs {
            assert_eq!(Refspec::parse(&spec), None, "{spec:?}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, name, star) in [
            ("refs/heads/*", "refs/heads/a/b", Some("a/b")),
            ("refs/heads/*", "refs/heads", None),
            ("refs/a*b", "refs/ab", Some("")),
            ("refs/ab*ba", "refs/aba", None),
            ("refs/a", "refs/a", Some("")),
            ("refs/a", "refs/ab", None),
        ] {
            assert_eq!(Pattern::new(pattern).star(name), star, "{pattern} {name}");
        }
        assert_eq!(Pattern::new("refs/a*b").name("x/y"), "refs/ax/yb");
        assert!(is_full_name("HEAD") && is_full_name("refs/heads/a"));
        assert!(!is_full_name("main") && !is_full_name("refs/heads/") && !is_full_name("FETCH_HEAD"));
    }
}
