//! L3: everything that touches the world. One file per kind of thing touched.

pub mod git;
pub mod kept;
pub mod list_file;
pub mod net;
pub mod os;
pub mod process;
pub mod seed;
