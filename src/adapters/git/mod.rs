//! The repository on this machine, through git's plumbing and gix.

pub mod blame;
pub mod config;
pub mod enter_repo;
pub mod exec_path;
pub mod litter;
pub mod odb;
pub mod refspec;
pub mod remotes;
pub mod repo;
pub mod run;
pub mod walk;
