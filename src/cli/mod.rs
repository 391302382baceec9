//! L5: the command lines, what people see on stderr, and the log. Only this layer prints.
//!
//! Each program begins in a function of its own, so that it is linked with what it calls and nothing else:
//! `git-remote-mirror` in [`remote_helper::main`], `git-mirror-fetch` in [`mirror_fetch::main`], neither of which leads to
//! the server side, and `git-mirror`, which holds everything, in [`main`].

#![allow(rustdoc::invalid_html_tags)] // clap takes help texts from doc comments: `<host>` is meant

mod asking;
mod clone;
mod completions;
mod fit;
pub mod git_mirror;
mod list;
pub mod mirror_fetch;
mod paint;
pub mod remote_helper;
mod report;
mod server;
mod standing;
pub mod stderr;
mod trace;
mod words;

use std::ffi::OsStr;

use clap::error::ErrorKind;

use crate::adapters::git::repo::Repo;
use crate::adapters::seed::keep::GUARD;
use crate::usecases::fetching::guarding;
use crate::values::safe_text::safe;
use crate::values::{Error, Kind, Result, SafeText};

/// Longest line on stderr, in characters: what others said is cut before it gets here.
const LONGEST: usize = 2000;

/// Runs the program that `git-mirror`'s executable is named after; `git-mirror` where it has another name. Returns the exit
/// code.
pub fn main() -> i32 {
    if let Some(code) = begin() {
        return code;
    }
    let name = std::env::args_os().next().unwrap_or_default();
    match std::path::Path::new(&name).file_stem().and_then(|stem| stem.to_str()) {
        // In the demo: `cargo run` builds no other executable.
        Some("git-remote-mirror") => remote_helper::main(),
        Some("git-mirror-fetch") => mirror_fetch::main(),
        // For whoever starts a program by these names, and with its own arguments: sshd, fcgiwrap, inetd.
        Some("git-upload-pack") => git_mirror::main_as("upload-pack"),
        Some("git-http-backend") => git_mirror::main_as("http-backend"),
        _ => git_mirror::main(),
    }
}

/// Returns an error, and says so as git does, outside a repository.
fn inside() -> Result<Repo> {
    Repo::discover().ok_or_else(|| {
        Error::new(Kind::Local, "not a git repository (or any of the parent directories): .git")
            .hint("mirrors belong to the remotes of a repository; `git -C <folder> mirror ...` names one")
    })
}

/// Begins any of the programs. Runs the guard, and returns its exit code, where this process was started as one.
fn begin() -> Option<i32> {
    crate::adapters::os::take_signals_of_the_system();
    let mut args = std::env::args_os();
    (args.next()? == GUARD).then(|| guarding::run(args))
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

/// Prints a warning in git's manner.
fn warn(text: &str) {
    eprintln!("warning: {}", safe(text, LONGEST));
}

/// Prints what clap has to say: help and version to stdout with code 0, complaints to stderr with git's 129.
fn usage(err: &clap::Error) -> i32 {
    if err.kind() == ErrorKind::InvalidUtf8 {
        let odd = std::env::args_os().find(|arg| arg.to_str().is_none()).unwrap_or_default();
        return fail(&not_utf8(&odd));
    }
    let _ = err.print();
    if err.use_stderr() { 129 } else { 0 }
}

/// Returns the error for an argument of ours that is no text. git's own are passed on as they are.
fn not_utf8(argument: &OsStr) -> Error {
    let shown = SafeText::new(&argument.to_string_lossy());
    let err = Error::new(Kind::Usage, format!("'{shown}' is not UTF-8"));
    err.hint("names of remotes, and URLs of remotes and mirrors, have to be UTF-8 here; percent-encode a URL")
}
