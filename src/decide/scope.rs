//! What may be missing of a history that was asked for in part: which filters are understood, and how what a server left
//! out on their account is told from what it should have sent.
//!
//! Source: `--filter` and `--missing` in git-rev-list(1); `list-objects-filter.c` in git 2.47.

/// A filter, as a walk over what is here can tell whether it was kept to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// What the server was asked for.
    spec: String,
    /// The part of it that needs no look at what is left out, for `git rev-list --filter`.
    exact: Vec<String>,
    /// Whether there is a part that does: whether a file is to be left out depends on the file.
    by_file: bool,
}

impl Filter {
    /// Reads the words of a `filter` line; nothing where it is not known what they leave out.
    pub fn parse(spec: &str) -> Option<Self> {
        let parts = spec.strip_prefix("combine:").map_or_else(|| vec![spec], |parts| parts.split('+').collect());
        let (mut exact, mut by_file) = (Vec::new(), false);
        for part in parts {
            match part.split_once([':', '=']) {
                // Of another type, what is left cannot be walked to: the commits or the folders on the way are left out.
                Some(("blob", "none")) | Some(("tree", _)) | Some(("object", "type=commit")) => {
                    exact.push(part.to_owned())
                }
                Some(("blob", size)) if size.starts_with("limit=") => by_file = true,
                Some(("sparse", oid)) if oid.starts_with("oid=") => by_file = true,
                _ => return None,
            }
        }
        Some(Filter { spec: spec.to_owned(), exact, by_file })
    }

    /// Returns the words that a server is sent.
    pub fn spec(&self) -> &str {
        &self.spec
    }

    /// Returns the filter under which a walk finds all that may be here; none where that is all that there is.
    pub fn most(&self) -> Option<String> {
        combined(self.exact.clone())
    }

    /// Returns the filter under which a walk finds what must be here.
    pub fn least(&self) -> Option<String> {
        let mut parts = self.exact.clone();
        if self.by_file && !parts.iter().any(|part| part == "blob:none") {
            parts.push("blob:none".into());
        }
        combined(parts)
    }

    /// Returns whether some of what may be here need not be.
    pub fn is_by_file(&self) -> bool {
        self.by_file
    }

    /// Returns whether files alone are left out, and all of them.
    pub fn is_without_files(&self) -> bool {
        self.spec == "blob:none"
    }
}

fn combined(parts: Vec<String>) -> Option<String> {
    match parts.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        parts => Some(format!("combine:{}", parts.join("+"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_must_be_here() {
        for (spec, most, least) in [
            ("blob:none", Some("blob:none"), Some("blob:none")),
            ("blob:limit=1k", None, Some("blob:none")),
            ("tree:0", Some("tree:0"), Some("tree:0")),
            ("object:type=commit", Some("object:type=commit"), Some("object:type=commit")),
            ("sparse:oid=abc", None, Some("blob:none")),
            ("combine:blob:none+tree:3", Some("combine:blob:none+tree:3"), Some("combine:blob:none+tree:3")),
            ("combine:blob:limit=9+tree:3", Some("tree:3"), Some("combine:tree:3+blob:none")),
        ] {
            let filter = Filter::parse(spec).expect(spec);
            assert_eq!((filter.most().as_deref(), filter.least().as_deref()), (most, least), "{spec}");
            assert_eq!(filter.is_by_file(), most != least, "{spec}");
            assert_eq!(filter.spec(), spec);
        }
        for spec in [
            "object:type=blob",
            "",
            "blob",
            "blob:some",
            "sparse:path=x",
            "new:kind",
            "combine:blob:none+x",
            "combine:combine:tree:1",
        ] {
            assert_eq!(Filter::parse(spec), None, "{spec}");
        }
    }
}
