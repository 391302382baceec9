//! The `ref-prefix` values of an `ls-refs` request (gitprotocol-v2(5)).

/// The `ref-prefix` values of a request, in the remote's names.
#[derive(Debug, Clone, Default)]
pub struct Prefixes(Vec<String>);

impl Prefixes {
    /// Takes the values; none asks for every ref.
    pub fn new<S: AsRef<str>>(asked: &[S]) -> Self {
        Prefixes(shortest(asked.iter().map(|prefix| prefix.as_ref().to_owned()).collect()))
    }

    /// Returns the shortest ones that ask for the same, sorted; none asks for every ref.
    pub fn all(&self) -> &[String] {
        &self.0
    }

    /// Returns whether a ref of this name is asked for.
    pub fn admits(&self, name: &str) -> bool {
        // Sorted, and none the prefix of another: only the last one that is not after the name can be its prefix.
        let after = self.0.partition_point(|prefix| prefix.as_str() <= name);
        self.0.is_empty() || after.checked_sub(1).is_some_and(|at| name.starts_with(&self.0[at]))
    }
}

/// Returns the same set of names by fewer prefixes, sorted: none is the prefix of another.
pub(super) fn shortest(mut prefixes: Vec<String>) -> Vec<String> {
    prefixes.sort();
    prefixes.dedup_by(|later, kept| later.starts_with(kept.as_str()));
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_what_begins_with_one() {
        let asked = ["refs/heads/", "refs/heads/a", "refs/h", "HEAD", "refs/tags/v1", "refs/tags/v1.1/", "refs/x"];
        for name in ["refs/heads/ab", "refs/tags/v1", "refs/tags/v1.1", "HEAD", "refs/x/y", "refs/heads/\u{e9}"]
            .iter()
            .chain(&["refs/tags/v", "refs/tags/v10", "refs/x", "refs/heads", "", "HEA", "~"])
        {
            let want = asked.iter().any(|prefix| name.starts_with(prefix));
            assert_eq!(Prefixes::new(&asked).admits(name), want, "{name}");
        }
        assert!(Prefixes::default().admits("x") && Prefixes::new(&[""]).admits("x"));
    }
}
