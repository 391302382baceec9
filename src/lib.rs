//! Fetch the bytes from a near mirror; believe only the canonical git server.
//!
//! The layers, lowest first; a file imports only from its own layer or a lower one (`t/layers.rs` holds it to that):
//!
//! | layer | module | what |
//! | --- | --- | --- |
//! | L0 | [`values`] | mirrors, URLs, ref names, errors, events; no IO |
//! | L1 | [`wire`] | packets and protocol messages as bytes in, bytes out |
//! | L2 | [`decide`] | which mirror, which objects; pure functions |
//! | L3 | [`adapters`] | processes, channels, git's configuration and object store |
//! | L4 | [`usecases`] | the remote helper, `mirror-fetch`, `git mirror …` |
//! | L5 | [`cli`] | the command lines, what people see, the log |
//!
//! `docs/architecture.md` says why it is so.

pub mod adapters;
pub mod cli;
pub mod decide;
pub mod usecases;
pub mod values;
pub mod wire;
