//! The one error of the library: what was tried, of which kind it is, and what the user can do.
//!
//! A [`Kind`] is what a caller decides by ("try the next mirror?", "which exit code?"); the text is for people and
//! already names the host. No text ever holds a credential: URLs enter it through [`super::GitUrl::redacted`].

/// Shorthand for results of this library.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, as far as a caller has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command line or a URL cannot be understood.
    Usage,
    /// The git configuration holds something that cannot be used.
    Config,
    /// The other side could not be reached, or went away.
    Channel,
    /// The other side said something that the protocol does not allow, or an `ERR` packet.
    Protocol,
    /// A mirror has nothing that is wanted.
    Nothing,
    /// A mirror cannot do what is asked for, and is not to blame for it.
    Unable,
    /// The other side was silent or too slow.
    Timeout,
    /// The other side does not have this repository, or does not show it to us.
    NotFound,
    /// The time that all mirrors together may cost is used up, and this one is not to blame for it.
    Spent,
    /// What a mirror sent is known to be bad: damaged, or with holes.
    Proof,
    /// What a mirror sent could not be proved, and it is not known whose fault that is.
    Unproved,
    /// A child process has told the user already what is wrong.
    Told,
    /// There is too little room on the disk of this machine.
    NoRoom,
    /// A local file, object store or `git` process failed.
    Local,
}

impl Kind {
    /// Returns it in a word, for programs.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Usage | Kind::Config => "refused",
            Kind::Channel => "connection",
            Kind::Protocol => "protocol",
            Kind::Nothing => "nothing",
            Kind::Unable => "unable",
            Kind::Timeout => "timeout",
            Kind::NotFound => "not-found",
            Kind::Spent => "patience",
            Kind::Proof => "corrupt",
            Kind::Unproved => "unproved",
            Kind::Told => "told",
            Kind::NoRoom => "no-room",
            Kind::Local => "local",
        }
    }
}

/// An error with its kind and, where there is one, a hint.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What a caller decides by.
    pub kind: Kind,
    /// What was tried, where, and why it failed; one line, no trailing full stop.
    pub message: String,
    /// What the user can do about it; one line.
    pub hint: Option<String>,
}

impl Error {
    /// Returns an error of `kind` that says `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), hint: None }
    }

    /// Returns the same error with what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns a closure for `map_err` that puts `doing` before the cause.
    pub fn doing<E: std::fmt::Display>(kind: Kind, doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        move |cause| Error::new(kind, format!("{doing}: {cause}"))
    }
}
