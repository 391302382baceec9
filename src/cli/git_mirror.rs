//! `git mirror <command>`.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use super::{asking, clone, server, standing};
use crate::adapters::git::config::Config;
use crate::adapters::os;
use crate::usecases::managing::demo;
use crate::usecases::managing::man;
use crate::usecases::managing::manage::{self, Prefer};
use crate::values::Result;

/// Manage the mirrors of git remotes
#[derive(Debug, Parser)]
#[command(name = "git mirror", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "See git-mirror(1) for the configuration, git-mirror-fetch(1) for fetching.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Clone from a near mirror first, and leave a remote that uses mirrors; takes every argument of `git clone`
    Clone(clone::Clone),
    /// Show mirrors in the order in which they would be asked, what is known of them, and why they stand there
    List(standing::List),
    /// Measure how long a connection to each mirror takes, now
    Probe(standing::Which),
    /// Forget that mirrors have failed: they may be asked again
    Forgive(standing::Which),
    /// Add mirrors to a remote
    Add {
        /// The remote
        remote: String,
        /// URLs of mirrors, the first choice first
        #[arg(required = true)]
        url: Vec<String>,
    },
    /// Remove a mirror from a remote
    Remove {
        /// The remote
        remote: String,
        /// Its URL or host
        mirror: String,
    },
    /// Choose which mirrors go first, or whether any is used
    Prefer {
        /// The remote
        remote: String,
        /// URLs or hosts of its mirrors, the first choice first
        #[arg(required_unless_present_any = ["always", "never", "unset"])]
        mirrors: Vec<String>,
        /// Go mirror-first, with mirrors that the server listed as well
        #[arg(long, conflicts_with_all = ["mirrors", "never", "unset"])]
        always: bool,
        /// Use no mirror
        #[arg(long, conflicts_with_all = ["mirrors", "unset"])]
        never: bool,
        /// Forget what was said before
        #[arg(long, conflicts_with = "mirrors")]
        unset: bool,
    },
    /// Have plain git use the helper: vcs = mirror for remotes of this repository
    Enable {
        /// For the remote `origin` of all your repositories; the arguments are then URL prefixes
        #[arg(long)]
        global: bool,
        /// The remotes (default: the one that `git fetch` uses), or with --global URL prefixes (default: any)
        #[arg(value_name = "REMOTE|PREFIX")]
        which: Vec<String>,
    },
    /// Undo enable
    Disable {
        /// For all your repositories
        #[arg(long, conflicts_with = "remotes")]
        global: bool,
        /// The remotes (default: the one that `git fetch` uses)
        remotes: Vec<String>,
    },
    /// Ask a server for its mirrors, and print its answer
    Ask(asking::Ask),
    /// Check a mirror list, and push it to refs/meta/mirrors of a remote, where clients that are allowed to read it
    PublishList {
        /// The list
        #[arg(default_value = "mirrors.toml")]
        file: PathBuf,
        /// The remote (default: the one that `git fetch` uses)
        #[arg(long)]
        remote: Option<String>,
    },
    /// Serve a repository to a client on stdin and stdout, as git upload-pack does, with its mirror list
    UploadPack(server::UploadPack),
    /// Serve repositories as a CGI program, as git http-backend does, with their mirror lists
    HttpBackend(server::HttpBackend),
    /// Serve a folder of repositories over HTTP and git://, read-only, with their mirror lists
    Serve(server::Serve),
    /// Check mirror lists (mirrors.toml), and name all that is wrong
    CheckConfig {
        /// The files (default: mirrors.toml of the repository here)
        files: Vec<PathBuf>,
    },
    /// Clone and fetch for real, from servers on loopback, and show who sent what
    Demo,
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Install the man pages, so that `git mirror-fetch --help` finds them
    InstallMan {
        /// The folder that holds man1, man5 and man7 (default: $XDG_DATA_HOME/man, or ~/.local/share/man)
        dir: Option<PathBuf>,
    },
}

/// Runs the command; returns the exit code.
pub fn main() -> i32 {
    run_with(std::env::args_os())
}

/// Runs one command, of which all arguments are.
pub fn main_as(command: &str) -> i32 {
    let name = ["git-mirror".into(), command.into()];
    run_with(name.into_iter().chain(std::env::args_os().skip(1)))
}

fn run_with(args: impl Iterator<Item = std::ffi::OsString>) -> i32 {
    super::trace::init();
    let mut args: Vec<std::ffi::OsString> = args.collect();
    if args.get(1).is_some_and(|command| command == "clone") {
        let theirs = clone::arranged(args.split_off(2).into_iter());
        args.extend(theirs);
    }
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(err) => return super::usage(&err),
    };
    run(args.command).unwrap_or_else(|err| super::fail(&err))
}

fn run(command: Command) -> Result<i32> {
    if !matches!(
        command,
        Command::Clone(_) | Command::UploadPack(_) | Command::HttpBackend(_) | Command::Serve(_) | Command::Demo
    ) {
        os::end_on_broken_pipe();
    }
    match command {
        Command::Clone(args) => clone::clone(args),
        Command::UploadPack(args) => server::upload_pack(&args),
        Command::HttpBackend(args) => server::http_backend(&args),
        Command::Serve(args) => server::serve(args),
        Command::CheckConfig { files } => server::check_config(files),
        Command::Ask(args) => asking::ask(&args),
        Command::PublishList { file, remote } => asking::publish(&file, remote.as_deref()),
        Command::List(args) => standing::list(&args),
        Command::Probe(args) => standing::probe(&args),
        Command::Forgive(args) => standing::forgive(&args),
        Command::Add { remote, url } => manage::add(&Config::load()?, &remote, &url).map(|()| 0),
        Command::Remove { remote, mirror } => manage::remove(&Config::load()?, &remote, &mirror).map(|()| 0),
        Command::Prefer { remote, mirrors, always, never, unset } => {
            let what = match (always, never, unset) {
                (true, ..) => Prefer::Always,
                (_, true, _) => Prefer::Never,
                (.., true) => Prefer::Unset,
                _ => Prefer::Named(mirrors),
            };
            manage::prefer(&Config::load()?, &remote, &what).map(|()| 0)
        }
        Command::Enable { global: true, which } => {
            let file = manage::switch_global(true, &which)?;
            println!("'origin' uses mirrors in all your repositories that have such a remote ({})", file.display());
            Ok(0)
        }
        Command::Disable { global: true, .. } => manage::switch_global(false, &[]).map(|_| 0),
        Command::Enable { which, .. } => {
            let remotes = manage::switch(&Config::load()?, true, &which)?;
            remotes.iter().for_each(|remote| println!("'{remote}' uses mirrors"));
            Ok(0)
        }
        Command::Disable { remotes, .. } => {
            let remotes = manage::switch(&Config::load()?, false, &remotes)?;
            remotes.iter().for_each(|remote| println!("'{remote}' uses no mirrors"));
            Ok(0)
        }
        Command::Demo => {
            let program = std::env::current_exe().map_err(|err| {
                crate::values::Error::new(crate::values::Kind::Local, format!("cannot find this program: {err}"))
            })?;
            demo::run(&program, &mut |line| println!("{line}")).map(|()| 0)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "git-mirror", &mut std::io::stdout());
            Ok(0)
        }
        Command::InstallMan { dir } => {
            let dir = man::install(dir)?;
            println!("man pages are in {}", dir.display());
            Ok(0)
        }
    }
}
