//! L1: bytes on the wire and back. No IO, no clock: callers read and write.
//!
//! Sources: gitprotocol-common(5), gitprotocol-v2(5), gitprotocol-pack(5), gitformat-pack(5).

pub mod advert;
pub mod fetch;
pub mod git_request;
pub mod mirror_command;
pub mod pkt;
pub mod refs;

pub use advert::Advert;
pub use fetch::{AckFilter, Deepen, FetchRequest, Scope, ShallowInfo};
pub use git_request::GitRequest;
pub use pkt::Pkt;
pub use refs::{RefLine, RefList, RemoteRef};
