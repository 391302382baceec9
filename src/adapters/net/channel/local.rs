//! Paths and `file://`: a child `git upload-pack`, started as `git_connect` in git's `connect.c` does.

use std::process::Command;

use super::Opening;
use crate::adapters::process;
use crate::values::GitUrl;

/// Returns the command that serves the repository at a local path.
pub fn command(url: &GitUrl, opening: &Opening) -> Command {
    let mut command = match opening.program {
        Some(program) => process::shell(program, [&url.path]),
        None => process::git([opening.service.name().trim_start_matches("git-"), &url.path]),
    };
    process::without_local_env(&mut command);
    match opening.service.protocol(opening.version) {
        Some(protocol) => command.env("GIT_PROTOCOL", protocol),
        None => command.env_remove("GIT_PROTOCOL"),
    };
    command
}
