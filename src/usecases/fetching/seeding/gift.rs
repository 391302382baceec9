//! What comes of asking a mirror: a gift, or why it was refused.

use std::time::Duration;

use gix::ObjectId;

use crate::adapters::seed::quarantine::Quarantine;
use crate::decide::plan::{self, Manner};
use crate::values::Error;

/// What one mirror gave.
pub(super) struct Gift {
    pub tips: Vec<ObjectId>,
    pub tags_left: Vec<ObjectId>,
    pub bytes: u64,
    /// How long asking took, but for the bytes.
    pub ask: Duration,
    /// Bytes of objects, and how long they took.
    pub moved: (u64, Duration),
    /// Who gave how much of it before, and broke off.
    pub before: Vec<(String, u64)>,
}

/// What is in a quarantine.
pub(super) struct Came {
    pub quarantine: Quarantine,
    pub request: plan::Request,
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
