//! L4: what the program is for. Each puts the layers below together; none prints.

pub mod fetching;
pub mod managing;
pub mod serving;
