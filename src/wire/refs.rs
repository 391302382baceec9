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

/// The refs of a server, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefList {
    /// The refs.
    pub refs: Vec<RemoteRef>,
}

impl RefList {
    /// Takes a line of an `ls-refs` answer: `<oid> <name> [symref-target:<x>] [peeled:<oid>]`. Lines that it cannot
    /// read (`unborn HEAD …`) are git's business and are passed over.
    pub fn take_v2(&mut self, text: &[u8]) {
        let Ok(text) = std::str::from_utf8(text) else { return };
        let mut words = text.split(' ');
        let (Some(Ok(oid)), Some(name)) = (words.next().map(|hex| hex.parse()), words.next()) else { return };
        let peeled = words.filter_map(|word| word.strip_prefix("peeled:")).find_map(|hex| hex.parse().ok());
        self.refs.push(RemoteRef { name: name.to_owned(), oid, peeled });
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
