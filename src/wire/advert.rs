//! What a server says first: the v2 capability advertisement, or that it speaks something older.

use super::Pkt;

/// A server's protocol version and capabilities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advert {
    capabilities: Vec<(String, Option<String>)>,
}

impl Advert {
    /// Returns whether `first`, the first packet of a connection, announces protocol v2.
    pub fn announces_v2(first: &Pkt) -> bool {
        first.text() == b"version 2"
    }

    /// Takes one packet after `version 2`.
    pub fn take(&mut self, line: &Pkt) {
        let text = String::from_utf8_lossy(line.text());
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (text.into_owned(), None),
        };
        self.capabilities.push((key, value));
    }

    /// Returns the value of a capability; `Some("")` for one without a value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.capabilities.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_deref().unwrap_or(""))
    }

    /// Returns whether the capability `key` lists the feature `feature` (`fetch=shallow filter`).
    pub fn has_feature(&self, key: &str, feature: &str) -> bool {
        self.get(key).is_some_and(|value| value.split(' ').any(|f| f == feature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities() {
        assert!(Advert::announces_v2(&Pkt::line("version 2")));
        assert!(!Advert::announces_v2(&Pkt::line("version 1")));
        assert!(!Advert::announces_v2(&Pkt::Flush));
        let mut advert = Advert::default();
        for line in ["agent=git/2.47.3", "ls-refs=unborn", "fetch=shallow filter", "object-format=sha256", "x"] {
            advert.take(&Pkt::line(line));
        }
        assert!(advert.has_feature("fetch", "filter"));
        assert!(!advert.has_feature("fetch", "filt"));
        assert_eq!(advert.get("object-format"), Some("sha256"));
        assert_eq!(advert.get("x"), Some(""));
        assert_eq!(advert.get("y"), None);
    }
}
