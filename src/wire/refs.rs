//! Lists of refs as servers send them: the `ls-refs` answer (gitprotocol-v2(5)).

use gix::ObjectId;

/// One ref of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteRef {
    /// The full name, or `HEAD`.
    pub name: String,
    /// What it names.
    pub oid: ObjectId,
    /// For an annotated tag, what it finally points to.
    pub peeled: Option<ObjectId>,
}

/// A line of an `ls-refs` answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefLine<'a> {
    /// The full name, or `HEAD`.
    pub name: &'a str,
    /// What it names.
    pub oid: ObjectId,
    /// For an annotated tag, what it finally points to.
    pub peeled: Option<ObjectId>,
}

impl<'a> RefLine<'a> {
    /// Reads `<oid> <name> [symref-target:<x>] [peeled:<oid>]`; nothing for any other line (`unborn HEAD …`).
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(text).ok()?.split(' ');
        let (oid, name) = (words.next()?.parse().ok()?, words.next()?);
        let peeled = words.filter_map(|word| word.strip_prefix("peeled:")).find_map(|hex| hex.parse().ok());
        Some(RefLine { name, oid, peeled })
    }
}

/// The refs of a server, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefList {
    /// The refs.
    pub refs: Vec<RemoteRef>,
}

impl RefList {
    /// Takes a line of an `ls-refs` answer. Lines that cannot be read are git's business and are passed over.
    pub fn take_v2(&mut self, text: &[u8]) {
        if let Some(line) = RefLine::parse(text) {
            self.push(line);
        }
    }

    /// Takes a line; returns about how many bytes of memory it costs.
    pub fn push(&mut self, line: RefLine) -> usize {
        self.refs.push(RemoteRef { name: line.name.to_owned(), oid: line.oid, peeled: line.peeled });
        // What an allocation costs beyond its bytes, and what a list has in reserve.
        size_of::<RemoteRef>() + line.name.len() + 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn list(lines: &[String], take: fn(&mut RefList, &[u8])) -> Vec<(String, String, Option<String>)> {
        let mut list = RefList::default();
        lines.iter().for_each(|line| take(&mut list, line.as_bytes()));
        list.refs.into_iter().map(|r| (r.name, r.oid.to_string(), r.peeled.map(|p| p.to_string()))).collect()
    }

    #[test]
    fn v2() {
        let got = list(
            &[
                format!("{A} HEAD symref-target:refs/heads/main"),
                format!("{A} refs/tags/v1 peeled:{B}"),
                "unborn HEAD symref-target:refs/heads/x".into(),
                "garbage".into(),
                String::new(),
            ],
            RefList::take_v2,
        );
        assert_eq!(got, [("HEAD".into(), A.into(), None), ("refs/tags/v1".into(), A.into(), Some(B.to_owned()))]);
    }
}
