//! What comes of asking a mirror: a gift, or why it was refused.

use std::path::PathBuf;
use std::time::Duration;

use gix::ObjectId;

use crate::adapters::seed::quarantine::Quarantine;
use crate::decide::plan::{self, Manner};
use crate::values::{Error, RefSpace};

/// What one mirror gave.
pub(super) struct Gift {
    pub tips: Vec<ObjectId>,
    pub tags_left: Vec<ObjectId>,
    /// What of it may have to go once canonical has answered.
    pub unsure: Vec<Part>,
    pub bytes: u64,
    /// How long asking took, but for the bytes.
    pub ask: Duration,
    /// Bytes of objects, and how long they took.
    pub moved: (u64, Duration),
    /// Who gave how much of it before, and broke off.
    pub before: Vec<(String, u64)>,
}

/// A pack of what a mirror has on its own account.
#[derive(Debug)]
pub struct Part {
    /// Its index, where it is now.
    pub index: PathBuf,
    /// The commit that a tag of canonical names, and with which the pack has to go if git does not get that. Without one,
    /// it goes with any other.
    pub target: Option<ObjectId>,
}

/// What is in a quarantine.
pub(super) struct Came {
    pub quarantine: Quarantine,
    pub request: plan::Request,
    /// Where the refs of the mirror that was asked for it belong.
    pub space: RefSpace,
    pub objects: u64,
    /// Whether it is known to be complete.
    pub proved: bool,
}

/// Why a mirror's gift was not taken.
pub(super) enum Refusal {
    /// It is of no use.
    Final(Error),
    /// It may be of use if it is asked in another manner.
    Again(Manner),
}

impl From<Error> for Refusal {
    fn from(err: Error) -> Self {
        Refusal::Final(err)
    }
}
