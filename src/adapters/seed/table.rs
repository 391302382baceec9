//! The objects that a proof in memory knows, and what it holds each link against.
//!
//! It says which object is there and of which kind; what that proves is for [`super::closed`] to say.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use gix::ObjectId;
use gix::hashtable::HashMap;
use gix::objs::Kind;

/// Objects by their names.
pub(super) type Table = HashMap<ObjectId, Object>;

/// What is known of an object in a pack.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) kind: Kind,
    /// Whether a link leads to it.
    pub(super) reached: AtomicBool,
}

impl Object {
    pub(super) fn new(kind: Kind) -> Self {
        Object { kind, reached: AtomicBool::new(false) }
    }
}

/// What a link is held against.
pub(super) struct Lookup<'a> {
    pub(super) table: &'a Table,
    /// Takes what is not in the table; without it, such a link does not hold.
    pub(super) open: Option<&'a Mutex<HashMap<ObjectId, Kind>>>,
}

impl Lookup<'_> {
    pub(super) fn is(&self, id: &ObjectId, kind: Kind) -> bool {
        match (self.table.get(id), self.open) {
            (Some(found), _) => {
                found.reached.store(true, Relaxed);
                found.kind == kind
            }
            (None, None) => false,
            (None, Some(open)) => open.lock().is_ok_and(|mut open| *open.entry(*id).or_insert(kind) == kind),
        }
    }
}
