//! Objects from a mirror into a quarantine: gix-protocol speaks the client's side, gix-pack indexes what comes.
//!
//! Nothing here is believed: what is fetched stays in the quarantine until [`quarantine::Quarantine::prove`] has seen it.

mod closed;
mod contents;
mod groups;
mod guard;
mod judging;
pub mod keep;
mod meter;
mod negotiation;
mod pack;
mod part;
pub mod quarantine;
pub mod room;
mod salvage;
mod screen;
mod session;
mod table;
mod tree;

use std::sync::atomic::AtomicBool;

pub use closed::{Alone, Links, alone};
pub use contents::Contents;
pub use meter::Numbers;
pub use negotiation::Extent;
pub use pack::{Indexing, strict_option};
pub use part::{Judged, Part};
pub use salvage::Partial;
pub use screen::Screened;
pub use session::{MAX_PREFIXES, Session};

/// No single object may take more memory than this in gix: what is larger, `git index-pack` streams.
const ALLOC_LIMIT: usize = 64 << 20;

/// gix asks this whether to stop. A mirror is left by ending its channel, and a signal ends the whole process.
static NEVER: AtomicBool = AtomicBool::new(false);
