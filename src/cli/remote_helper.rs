//! `git-remote-mirror`: started by git, not by people.

use clap::Parser;

use crate::adapters::git::exec_path;
use crate::adapters::os;
use crate::usecases::fetching::helper::{self, Invocation};

/// Remote helper that fetches from a near mirror first, and believes only the canonical server
///
/// git starts it for `mirror::<url>` and for remotes with `vcs = mirror`; see git-remote-mirror(1).
#[derive(Debug, Parser)]
#[command(name = "git-remote-mirror", version, max_term_width = 100)]
struct Args {
    /// The remote's name, or its URL where it has none
    remote: String,
    /// The URL of the canonical server; without it, <REMOTE> is the URL
    url: Option<String>,
    /// git has started it as one of its own programs (`git mirror exec-path`)
    #[arg(long, hide = true)]
    in_place_of_git: bool,
}

/// Runs the program; returns the exit code.
pub fn main() -> i32 {
    if let Some(code) = super::begin() {
        return code;
    }
    match exec_path::in_place_of_git(std::env::args_os()) {
        Ok(None) => {}
        Ok(Some(mut command)) => return os::replace_by(&mut command).unwrap_or_else(|err| super::fail(&err)),
        Err(err) => return super::fail(&err),
    }
    super::trace::init();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(err) => return super::usage(&err),
    };
    let url = args.url.unwrap_or_else(|| args.remote.clone());
    let invocation = Invocation { remote: args.remote, url, in_place_of_git: args.in_place_of_git };
    let report = super::stderr::Stderr::default();
    helper::run(invocation, std::io::stdin(), std::io::stdout(), &report).unwrap_or_else(|err| {
        super::fail(&err);
        128
    })
}
