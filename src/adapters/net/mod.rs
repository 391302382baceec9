//! The way to other machines: channels to git services, names, connect times, packets over streams.

pub mod channel;
pub mod pktio;
pub mod probe;
pub mod resolve;
pub mod watch;
