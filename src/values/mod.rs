//! L0: what the program speaks of. Plain values; no IO, no clock, no processes.

pub mod error;
pub mod mirror;
pub mod mirror_list;
pub mod refspace;
pub mod refspec;
pub mod report;
pub mod stable_hash;
pub mod url;
pub mod url_key;

pub use error::{Error, Kind, Result};
pub use mirror::{Listed, Mirror, Origin};
pub use refspace::RefSpace;
pub use report::{Event, Report};
pub use url::{GitUrl, Transport};
