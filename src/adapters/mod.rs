//! L3: everything that touches the world. One file per kind of thing touched.

pub mod channel;
pub mod config;
pub mod enter_repo;
pub mod file_cache;
pub mod geoip;
pub mod hosts;
pub mod list_file;
pub mod litter;
pub mod odb;
pub mod os;
pub mod pktio;
pub mod probe;
pub mod process;
pub mod refspec;
pub mod repo;
pub mod resolve;
pub mod run;
pub mod seed;
pub mod shared_file;
pub mod state;
pub mod watch;
