//! What the helpers of one `git mirror-fetch` run tell it, and what it tells them.
//!
//! `GIT_MIRROR_RUN` names a file of that run, to which helpers append lines: `asking <mirror>`, `idle`,
//! `unreached <remote>`. `GIT_MIRROR_SKIP` lists mirrors to leave alone, by their names below `refs/mirror/`.

use std::io::Write;

use crate::values::RefSpace;

/// Names the file of a run.
pub const ENV_RUN: &str = "GIT_MIRROR_RUN";
/// Lists mirrors to leave alone, a line each.
pub const ENV_SKIP: &str = "GIT_MIRROR_SKIP";

/// Appends a line to the run's file, where there is a run.
pub fn note(line: &str) {
    let Some(path) = std::env::var_os(ENV_RUN) else { return };
    let file = std::fs::File::options().append(true).open(path);
    if let Err(err) = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())) {
        tracing::debug!(%err, line, "cannot note it for git mirror-fetch");
    }
}

/// Returns whether the run wants a mirror left alone.
pub fn is_skipped(space: &RefSpace) -> bool {
    std::env::var(ENV_SKIP).is_ok_and(|list| list.lines().any(|name| name == space.name()))
}

/// What a run's file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The mirrors that were being asked when it ended.
    pub asking: Option<String>,
    /// The remotes whose canonical server could not be reached.
    pub unreached: Vec<String>,
}

impl Said {
    /// Reads the lines of a run's file.
    pub fn parse(text: &str) -> Self {
        let mut said = Said::default();
        for line in text.lines() {
            match line.split_once(' ') {
                Some(("asking", mirror)) => said.asking = Some(mirror.to_owned()),
                Some(("unreached", remote)) => said.unreached.push(remote.to_owned()),
                _ => said.asking = None,
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_helpers_said() {
        let said = Said::parse("asking a\nidle\nunreached origin\nasking b\n");
        assert_eq!((said.asking.as_deref(), said.unreached), (Some("b"), vec!["origin".to_owned()]));
        assert_eq!(Said::parse("asking a\nidle\n"), Said::default());
    }
}
