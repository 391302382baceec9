//! The way to other machines: channels to git services, names, connect times, packets over streams.

pub mod channel;
pub mod guard;
pub mod pktio;
pub mod probe;
pub mod resolve;
pub mod ssh_program;
pub mod watch;
