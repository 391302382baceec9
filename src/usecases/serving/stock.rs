//! Stock `git upload-pack`, as all of the server side starts it.

use std::ffi::OsStr;
use std::process::Command;

use crate::adapters::process;

/// Returns stock `git upload-pack` for the repository at `directory`, not yet started.
///
/// `strict`: no `.git` is appended to the path. `timeout`: seconds that the client may be silent. `args` are further
/// options.
pub fn upload_pack<S: AsRef<OsStr>>(
    directory: impl AsRef<OsStr>,
    strict: bool,
    timeout: Option<u64>,
    args: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = process::git(["upload-pack"]);
    command.arg(if strict { "--strict" } else { "--no-strict" });
    command.args(timeout.map(|seconds| format!("--timeout={seconds}")));
    command.args(args).arg("--").arg(directory.as_ref());
    command
}
