//! L0: what the program speaks of. Plain values; no IO, no clock, no processes.

pub mod error;
pub mod mirror;
pub mod mirror_list;
pub mod refspace;
pub mod refspec;
pub mod report;
pub mod safe_text;
pub mod stable_hash;
pub mod url;
pub mod url_key;

pub use error::{Error, Kind, Result};
pub use mirror::{Listed, Mirror, Origin};
pub use refspace::RefSpace;
pub use report::{Event, Report};
pub use safe_text::SafeText;
pub use url::{GitUrl, Transport};
