//! The remotes of this repository, as its configuration has them: which one is meant, and its URL.

use super::config::Config;
use super::repo::Repo;
use crate::values::{Error, Kind, Result};

/// Returns the remote that `git fetch` would use: that of the current branch, or `origin`.
pub fn default_remote(config: &Config) -> String {
    let branch = Repo::discover().and_then(|repo| repo.current_branch());
    let upstream = branch.and_then(|b| config.get(&format!("branch.{b}.remote")).map(Into::into));
    let only = config.remotes();
    upstream.unwrap_or_else(|| match only.as_slice() {
        [one] => (*one).to_owned(),
        _ => "origin".to_owned(),
    })
}

/// Returns the URL of a configured remote, `insteadOf` applied: canonical's.
///
/// # Errors
/// [`Kind::Usage`] where there is none.
pub fn remote_url(config: &Config, remote: &str) -> Result<String> {
    let url = configured(config, remote)?;
    Ok(config.rewritten(url.strip_prefix("mirror::").unwrap_or(url)))
}

/// Returns the URL that git uses for a configured remote, `insteadOf` applied: with `mirror::` where that is how it gets
/// to the helper.
///
/// # Errors
/// [`Kind::Usage`] where there is none.
pub fn raw_url(config: &Config, remote: &str) -> Result<String> {
    let url = configured(config, remote)?;
    let rules = config.subsections("url", "insteadof").filter(|(_, prefix)| url.starts_with(prefix));
    let longest = rules.max_by_key(|(_, prefix)| prefix.len());
    Ok(longest.map_or_else(|| url.to_owned(), |(base, prefix)| format!("{base}{}", &url[prefix.len()..])))
}

fn configured<'a>(config: &'a Config, remote: &str) -> Result<&'a str> {
    let url = config.subsections("remote", "url").find(|(name, _)| *name == remote);
    url.map(|(_, url)| url).ok_or_else(|| {
        Error::new(Kind::Usage, format!("No such remote: '{remote}'")).hint("`git remote` lists those there are")
    })
}

/// git prints section and variable in lower case, and the subsection as it is.
pub trait Lower {
    /// Returns the key `section.variable` as git prints it.
    fn to_lowercase_variable(&self) -> String;
    /// Returns the beginning of a key, `section.subsection`, as git prints it.
    fn to_lowercase_section(&self) -> String;
}

impl Lower for str {
    fn to_lowercase_variable(&self) -> String {
        self.rsplit_once('.')
            .map_or_else(|| self.to_lowercase(), |(head, tail)| format!("{head}.{}", tail.to_lowercase()))
    }

    fn to_lowercase_section(&self) -> String {
        self.split_once('.')
            .map_or_else(|| self.to_lowercase(), |(head, tail)| format!("{}.{tail}", head.to_lowercase()))
    }
}
