//! The left side of fetch refspecs (git-fetch(1), `<refspec>`), as far as seeding by refspec needs it.

/// Returns the left side of a refspec; a pattern that matches nothing for a negative one.
pub fn source_of(refspec: &str) -> &str {
    refspec.trim_start_matches('+').split(':').next().unwrap_or_default()
}

/// Returns whether a source, which may hold one `*`, names a ref.
pub fn matches(source: &str, name: &str) -> bool {
    match source.split_once('*') {
        Some((before, after)) => {
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        }
        None => source == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refspecs() {
        assert!(matches(source_of("+refs/heads/*:refs/remotes/o/*"), "refs/heads/a/b"));
        assert!(!matches(source_of("refs/heads/a"), "refs/heads/ab"));
        assert!(!matches(source_of("^refs/heads/a"), "refs/heads/a"));
        assert!(matches(source_of("refs/pull/*/head:refs/x/*"), "refs/pull/1/head"));
    }
}
