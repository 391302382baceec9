//! L5: the command lines, what people see on stderr, and the log. Only this layer prints.

#![allow(rustdoc::invalid_html_tags)] // clap takes help texts from doc comments: `<host>` is meant

mod asking;
pub mod git_mirror;
mod mirror_fetch;
mod remote_helper;
mod server;
mod standing;
pub mod stderr;
mod trace;

use crate::adapters::os;
use crate::adapters::seed::keep::GUARD;
use crate::usecases::fetching::guarding;
use crate::values::safe_text::safe;
use crate::values::{Error, Kind};

/// Longest line on stderr, in characters: what others said is cut before it gets here.
const LONGEST: usize = 2000;

/// Runs the program that the executable is named after; `git-mirror` where it has another name. Returns the exit code.
pub fn main() -> i32 {
    trace::init();
    os::take_signals_of_the_system();
    let name = std::env::args_os().next().unwrap_or_default();
    match std::path::Path::new(&name).file_stem().and_then(|stem| stem.to_str()) {
        Some("git-remote-mirror") => remote_helper::main(),
        Some("git-mirror-fetch") => mirror_fetch::main(),
        // Started by these two.
        Some(GUARD) => guarding::run(std::env::args_os().skip(1)),
        // For whoever starts a program by these names, and with its own arguments: sshd, fcgiwrap, inetd.
        Some("git-upload-pack") => git_mirror::main_as("upload-pack"),
        Some("git-http-backend") => git_mirror::main_as("http-backend"),
        _ => git_mirror::main(),
    }
}

/// Prints an error in git's manner, and returns the exit code for it: 129 for usage, 128 otherwise, as git does.
fn fail(err: &Error) -> i32 {
    tracing::debug!(?err, "failed");
    if err.kind == Kind::Told {
        return 128;
    }
    // Faults of a list are a line each.
    for line in format!("fatal: {err}").lines() {
        eprintln!("{}", safe(line, LONGEST));
    }
    if let Some(hint) = &err.hint {
        eprintln!("hint: {}", safe(hint, LONGEST));
    }
    if err.kind == Kind::Usage { 129 } else { 128 }
}

/// Prints what clap has to say: help and version to stdout with code 0, complaints to stderr with git's 129.
fn usage(err: &clap::Error) -> i32 {
    let _ = err.print();
    if err.use_stderr() { 129 } else { 0 }
}
