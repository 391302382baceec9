//! L2: decisions. Pure functions: the clock, randomness and all state are arguments.

pub mod limits;
pub mod plan;
pub mod selector;
