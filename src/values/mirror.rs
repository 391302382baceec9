//! A mirror: where it is, and who named it.

use super::GitUrl;

/// Who named a mirror. The order is the order of trust and of trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// `--mirror-url` on the command line.
    CommandLine,
    /// `remote.<name>.mirrorUrl`.
    Remote,
    /// `mirror.<base>.mirrorOf`.
    Base,
    /// `remote.<name>.listedMirror`: the canonical server said so.
    Listed,
}

impl Origin {
    /// Returns the configuration key or option, for people.
    pub fn shown(self) -> &'static str {
        match self {
            Origin::CommandLine => "--mirror-url",
            Origin::Remote => "mirrorUrl",
            Origin::Base => "mirrorOf",
            Origin::Listed => "listedMirror",
        }
    }
}

/// One mirror of a remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Where it is.
    pub url: GitUrl,
    /// Who named it.
    pub origin: Origin,
}

impl Mirror {
    /// Returns a mirror that the user configured.
    pub fn configured(url: GitUrl) -> Self {
        Mirror { url, origin: Origin::Remote }
    }
}

/// A mirror as it is listed for people, or why an entry of the configuration cannot be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// It can be used.
    Usable(Mirror),
    /// It is left out.
    Refused {
        /// The text as it is written, redacted.
        url: String,
        /// Why.
        why: String,
    },
}
