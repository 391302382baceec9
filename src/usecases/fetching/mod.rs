//! The client: a fetch, from the remote helper through the relay and the mirrors to the refs.

pub mod asking;
pub mod choosing;
pub mod clone_arguments;
pub mod guarding;
pub mod helper;
pub mod learning;
pub mod list_in_ref;
pub mod mirror_clone;
pub mod mirror_fetch;
pub mod observing;
pub mod record;
pub mod relay;
pub mod remote;
pub mod seeding;
pub mod steps;
