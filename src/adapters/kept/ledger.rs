//! Keeping what was seen: facts are values, and which file each belongs to is known here alone. What a fact means is said
//! in `decide::facts`.

use super::{hosts, state};
use crate::adapters::git::config::Config;
use crate::adapters::git::repo::Repo;
use crate::decide::facts::{OfCopy, OfHost};
use crate::values::{GitUrl, RefSpace};

/// Something that was seen.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// Of the host of a URL, for all repositories.
    Host(GitUrl, OfHost),
    /// Of a mirror of this repository.
    Copy(RefSpace, OfCopy),
    /// A fetch from the remote has moved so many bytes for each ref that has changed.
    Usual(f64),
}

/// Where the facts about one remote go.
#[derive(Debug, Clone, Copy)]
pub struct Ledger<'a> {
    /// The repository; without one, only what concerns hosts is kept.
    pub repo: Option<&'a Repo>,
    /// The remote's name, or its URL.
    pub remote: &'a str,
    /// Says where it is kept.
    pub config: &'a Config,
}

impl Ledger<'_> {
    /// Keeps facts, all that belong to one file at once. A failure is only logged.
    pub fn note(&self, facts: &[Fact]) {
        let now = state::now();
        let of_hosts =
            facts.iter().filter_map(|fact| if let Fact::Host(url, seen) = fact { Some((url, seen)) } else { None });
        hosts::note(self.config, now, &of_hosts.collect::<Vec<_>>());
        let Some(repo) = self.repo else { return };
        let of_copies =
            facts.iter().filter_map(|fact| if let Fact::Copy(space, seen) = fact { Some((space, seen)) } else { None });
        let per_ref =
            facts.iter().rev().find_map(|fact| if let Fact::Usual(bytes) = fact { Some(*bytes) } else { None });
        state::note_fetch(repo, self.remote, &of_copies.collect::<Vec<_>>(), per_ref);
    }
}
