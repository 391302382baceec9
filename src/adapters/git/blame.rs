//! Whose fault it is when git does not take what a mirror sent: bytes that are known to be bad are the mirror's; a full
//! disk, a lack of memory, a git that a signal ended are nobody's.
//!
//! Source: the messages of `index-pack.c`, `list-objects.c`, `revision.c`, `object-file.c` in git 2.47, under `LC_ALL=C`.

use crate::values::{Error, Kind};

/// What git says of objects that are missing or damaged.
const THEIRS: [&str; 25] = [
    "missing blob object",
    "missing tree object",
    "missing commit object",
    "missing tag object",
    "bad object",
    "bad tree object",
    "ailed to traverse parents",
    "ould not read",
    "nable to parse",
    "unable to read tree",
    "unable to find all commit",
    "revision walk setup failed",
    "corrupt",
    "mismatch",
    "inflate returned",
    "COLLISION",
    "fsck error",
    "Error in object",
    "not all child objects",
    "unresolved delta",
    "unknown object type",
    "serious inflate inconsistency",
    "delta base offset",
    "pack has",
    "pack signature",
];

/// What it says of this machine. Some of it follows words of [`THEIRS`] in one line.
const OURS: [&str; 12] = [
    "No space left",
    "Disk quota",
    "File too large",
    "ut of memory",
    "Cannot allocate",
    "Too many open files",
    "Permission denied",
    "Input/output error",
    "Read-only file system",
    "cannot create",
    "unable to create",
    "cannot fork",
];

/// Returns `err`, in which git has said why it failed over a mirror's objects, with the kind that follows from that:
/// [`Kind::Proof`] where they are bad, [`Kind::Channel`] where they only ended too early, [`Kind::Local`] where this
/// machine is at fault, and [`Kind::Unproved`] where it is not known.
pub fn blame(err: Error) -> Error {
    let says = |words: &[&str]| words.iter().any(|word| err.message.contains(word));
    let kind = if says(&OURS) || err.message.contains("cannot run ") {
        Kind::Local
    } else if says(&["early EOF"]) {
        Kind::Channel
    } else if says(&THEIRS) {
        Kind::Proof
    } else {
        Kind::Unproved
    };
    Error { kind, ..err }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bad_bytes_are_the_mirrors_fault() {
        for (text, kind) in [
            ("`git rev-list` failed: fatal: missing blob object 'aa'", Kind::Proof),
            ("`git rev-list` failed: fatal: Failed to traverse parents of commit aa", Kind::Proof),
            ("`git index-pack` failed: fatal: pack is corrupted (SHA1 mismatch)", Kind::Proof),
            ("`git index-pack` failed: fatal: fsck error in packed object", Kind::Proof),
            ("`git index-pack` failed: fatal: early EOF", Kind::Channel),
            ("`git index-pack` failed: fatal: write error: No space left on device", Kind::Local),
            ("`git rev-list` failed: fatal: Out of memory, malloc failed (tried to allocate 9 bytes)", Kind::Local),
            ("cannot run git: No such file or directory (os error 2)", Kind::Local),
            ("`git index-pack` failed: no message", Kind::Unproved),
        ] {
            assert_eq!(blame(Error::new(Kind::Local, text)).kind, kind, "{text}");
        }
    }
}
