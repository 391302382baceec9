//! The remote that a fetch is about.

use crate::adapters::git::config::Config;
use crate::adapters::net::channel::Family;
use crate::values::{GitUrl, Report};

/// A remote, and on what terms it and its mirrors are asked.
#[derive(Clone, Copy)]
pub struct Remote<'a> {
    /// Its name; its URL where it has none.
    pub name: &'a str,
    /// Its URL: canonical's, as git gave it.
    pub url: &'a GitUrl,
    /// The configuration in force.
    pub config: &'a Config,
    /// Which addresses may be used.
    pub family: Family,
    /// Who is told.
    pub report: &'a dyn Report,
}
