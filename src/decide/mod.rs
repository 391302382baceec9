//! L2: decisions. Pure functions: the clock, randomness and all state are arguments.

pub mod continent;
pub mod cost;
pub mod facts;
pub mod host;
pub mod limits;
pub mod network;
pub mod patience;
pub mod plan;
pub mod policy;
pub mod prefixes;
pub mod scope;
pub mod selector;
pub mod tracked;
pub mod trust;
pub mod urlmatch;
