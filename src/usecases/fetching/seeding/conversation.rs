//! One conversation with a server that gives objects: a mirror, or canonical on a connection beside git's own.

use super::Wanted;
use crate::adapters::net::watch::Watch;
use crate::adapters::seed::Session;
use crate::wire::RefList;

/// A server that has shown its refs, and what is wanted of it.
pub(super) struct Conversation<'a> {
    pub session: &'a mut Session,
    /// Cuts it off where it is too slow, and counts what it gives.
    pub watch: &'a Watch,
    pub wanted: &'a Wanted<'a>,
    /// The refs that it shows, as far as it was asked for them.
    pub theirs: &'a RefList,
}
