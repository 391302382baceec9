//! What is kept between runs, in files that may be deleted at any time, and what was read from files of others.

pub mod file_cache;
pub mod geoip;
pub mod hosts;
pub mod ledger;
pub mod shared_file;
pub mod state;
