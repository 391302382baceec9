//! What the library tells whoever watches. The library never prints; layer 5 renders these events.

use std::time::Duration;

/// One thing worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// How much shall be told from now on.
    Settings {
        /// As `option verbosity` of gitremote-helpers(7): 0 for `-q`, 1 as usual, 2 for `-v`.
        verbosity: i32,
        /// Whether to show progress.
        progress: bool,
    },
    /// A mirror is about to be asked: what arrives from now on comes from it.
    Asking {
        /// Who, for people.
        mirror: String,
    },
    /// What arrives from now on comes from a server that is not told of as [`Event::Asking`].
    Source(String),
    /// Objects are arriving.
    Receiving {
        /// Objects seen so far.
        objects: u64,
        /// Objects announced in the pack header.
        total: u64,
        /// Bytes read from the mirror so far.
        bytes: u64,
        /// Time since the first byte.
        elapsed: Duration,
    },
    /// The received objects are being indexed.
    Resolving {
        /// Objects resolved so far.
        objects: u64,
        /// Objects in the pack.
        total: u64,
    },
    /// The received objects are being checked for holes.
    Proving,
    /// The transfer that [`Event::Receiving`] and its successors spoke of has ended, well or badly.
    ProgressEnd,
    /// A mirror was given up.
    Left {
        /// Who, for people.
        mirror: String,
        /// Why.
        reason: String,
    },
    /// Something the user should know, in one line.
    Warning(String),
    /// Something the user may like to know, in one line.
    Note(String),
    /// Something for `-v` only, in one line.
    Detail(String),
    /// The closing line.
    Closing {
        /// Bytes taken from each mirror that gave any, in order.
        from_mirrors: Vec<(String, u64)>,
        /// The canonical server, for people.
        canonical: String,
        /// Bytes that it sent after its list of refs.
        from_canonical: u64,
        /// Time since the helper began.
        elapsed: Duration,
    },
}

/// Returns a number with what it counts, `one` of which it may be: `1 ref`, `2 refs`.
pub fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// Takes events. Implemented by layer 5, and by tests.
pub trait Report: Sync {
    /// Takes one event. Must be quick, and must not fail.
    fn event(&self, event: Event);
}

/// Drops every event.
pub struct Silent;

impl Report for Silent {
    fn event(&self, _: Event) {}
}
