//! The rest of `git mirror`: what people ask for and set up by hand.

pub mod demo;
pub mod global;
pub mod man;
pub mod manage;
pub mod publish_list;
pub mod standing;
pub mod switch;
