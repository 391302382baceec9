//! `git mirror <command>`.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use super::completions::{self, Shell};
use super::{asking, clone, inside, list, report, server, standing, words};
use crate::adapters::git::config::Config;
use crate::adapters::git::exec_path;
use crate::adapters::git::repo::Repo;
use crate::adapters::os;
use crate::usecases::managing::global::{self, Level};
use crate::usecases::managing::manage::{self, Prefer};
use crate::usecases::managing::switch::{self, Standing};
use crate::usecases::managing::{demo, man};
use crate::values::{Error, Kind, Result};

/// The commands that `git mirror` alone names.
const FIRST: [&str; 9] = ["list", "add", "remove", "prefer", "enable", "disable", "probe", "ask", "serve"];

/// Manage the mirrors of git remotes
#[derive(Debug, Parser)]
#[command(name = "git mirror", bin_name = "git mirror", version, max_term_width = 100)]
#[command(disable_help_subcommand = true)]
#[command(after_help = "Without a command: how things stand here. See git-mirror(1) for the configuration, \
    git-mirror-fetch(1) for fetching.")]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Clone from a near mirror first, and leave a remote that uses mirrors; takes every argument of `git clone`
    Clone(clone::Clone),
    /// Show the mirrors here, in the order in which they would be asked
    List(list::List),
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
    /// Have plain git use mirrors for remotes of this repository
    Enable {
        /// For the remote `origin` of all your repositories; the arguments are then beginnings of URLs
        #[arg(long)]
        global: bool,
        /// Likewise for all users of this machine, or of an image
        #[arg(long, conflicts_with = "global")]
        system: bool,
        /// The remotes (default: the one that `git fetch` uses), or with --global and --system URL prefixes (default: any)
        #[arg(value_name = "REMOTE|PREFIX")]
        which: Vec<String>,
    },
    /// Undo enable
    ///
    /// On a machine that lacks this program, stock git needs `git config --unset remote.<name>.vcs` before it fetches again.
    Disable {
        /// For all your repositories
        #[arg(long, conflicts_with = "remotes")]
        global: bool,
        /// For all users of this machine
        #[arg(long, conflicts_with_all = ["remotes", "global"])]
        system: bool,
        /// The remotes (default: the one that `git fetch` uses)
        remotes: Vec<String>,
    },
    /// Ask a server for its mirrors, and print its answer
    Ask(asking::Ask),
    /// Check a mirror list, and push it to refs/meta/mirrors of a remote, for clients to read
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
    /// Serve a folder of repositories, read-only, with their mirror lists
    Serve(server::Serve),
    /// Check mirror lists (mirrors.toml), and name all that is wrong
    CheckConfig {
        /// The files (default: mirrors.toml of the repository here)
        files: Vec<PathBuf>,
    },
    /// Print a folder that, as GIT_EXEC_PATH, has every git that any tool starts use mirrors over HTTP
    ExecPath {
        /// Where it is made (default: below XDG_DATA_HOME, or ~/.local/share)
        dir: Option<PathBuf>,
    },
    /// Sum up the records of fetches that mirror.report asks for: by day, by repository, by mirror
    Report(report::Report),
    /// Clone and fetch for real, from servers on loopback, and show who sent what
    Demo,
    /// Print a script by which git's own completion completes `git mirror` and `git mirror-fetch`
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Install the man pages where man finds them, so that `git mirror --help` opens one
    InstallMan {
        /// The folder that holds man1, man5 and man7 (default: the one beside the folder of this program in PATH)
        dir: Option<PathBuf>,
    },
    /// Print what a command does, and its options
    Help {
        /// The command
        command: Option<String>,
    },
    /// Print hosts or paths of a remote's mirrors, for completion
    #[command(hide = true)]
    MirrorsOf {
        /// The remote
        remote: String,
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

fn run(command: Option<Command>) -> Result<i32> {
    let serves =
        matches!(command, Some(Command::UploadPack(_) | Command::HttpBackend(_) | Command::Serve(_) | Command::Demo));
    if !serves && !matches!(command, Some(Command::Clone(_))) {
        os::end_on_broken_pipe();
    }
    match command {
        None => overview(),
        Some(Command::Clone(args)) => clone::clone(args),
        Some(Command::UploadPack(args)) => server::upload_pack(&args),
        Some(Command::HttpBackend(args)) => server::http_backend(&args),
        Some(Command::Serve(args)) => server::serve(args),
        Some(Command::CheckConfig { files }) => server::check_config(files),
        Some(Command::Ask(args)) => asking::ask(&args),
        Some(Command::PublishList { file, remote }) => asking::publish(&file, remote.as_deref()),
        Some(Command::List(args)) => list::list(&args),
        Some(Command::Probe(args)) => standing::probe(&args),
        Some(Command::Forgive(args)) => standing::forgive(&args),
        Some(Command::Add { remote, url }) => add(&remote, &url),
        Some(Command::Remove { remote, mirror }) => {
            inside()?;
            manage::remove(&Config::load()?, &remote, &mirror)?;
            tell(&[remote])
        }
        Some(Command::Prefer { remote, mirrors, always, never, unset }) => {
            let what = match (always, never, unset) {
                (true, ..) => Prefer::Always,
                (_, true, _) => Prefer::Never,
                (.., true) => Prefer::Unset,
                _ => Prefer::Named(mirrors),
            };
            inside()?;
            manage::prefer(&Config::load()?, &remote, &what)?;
            tell(&[remote])
        }
        Some(Command::Enable { global: true, which, .. }) => enable_everywhere(Level::Global, &which),
        Some(Command::Enable { system: true, which, .. }) => enable_everywhere(Level::System, &which),
        Some(Command::Disable { global: true, .. }) => disable_everywhere(Level::Global),
        Some(Command::Disable { system: true, .. }) => disable_everywhere(Level::System),
        Some(Command::Enable { which, .. }) => {
            inside()?;
            tell(&switch::switch(&Config::load()?, true, &which)?)
        }
        Some(Command::Disable { remotes, .. }) => {
            inside()?;
            disable(&remotes)
        }
        Some(Command::Report(args)) => report::report(&args),
        Some(Command::ExecPath { dir }) => {
            words::say(&exec_path::folder(dir)?.display().to_string());
            Ok(0)
        }
        Some(Command::Demo) => {
            let program = std::env::current_exe().map_err(Error::doing(Kind::Local, "cannot find this program"))?;
            demo::run(&program, &mut |line| println!("{line}")).map(|()| 0)
        }
        Some(Command::Completions { shell }) => {
            print!("{}", completions::script(shell, &Args::command(), &super::mirror_fetch::Args::command()));
            Ok(0)
        }
        Some(Command::InstallMan { dir }) => install_man(dir),
        Some(Command::Help { command }) => Ok(help(command)),
        Some(Command::MirrorsOf { remote }) => {
            manage::names(&Config::load()?, &remote)?.iter().for_each(|name| words::say(name));
            Ok(0)
        }
    }
}

/// Says how things stand here, and what can be done.
fn overview() -> Result<i32> {
    if Repo::discover().is_some() {
        list::overview()?;
    } else {
        println!("Not in a git repository: there are no remotes, and no mirrors.");
    }
    println!("\nCommands:");
    let all = Args::command();
    for name in FIRST {
        let about = all.find_subcommand(name).and_then(|command| command.get_about()).map(ToString::to_string);
        println!("  {name:<8}  {}", about.unwrap_or_default());
    }
    println!("\n`git mirror help` lists all, `git mirror help <command>` explains one.");
    Ok(0)
}

fn help(command: Option<String>) -> i32 {
    let words = ["git-mirror".to_owned()].into_iter().chain(command).chain(["--help".to_owned()]);
    match Args::try_parse_from(words) {
        Ok(_) => 0,
        Err(err) => super::usage(&err),
    }
}

fn add(remote: &str, urls: &[String]) -> Result<i32> {
    inside()?;
    for (url, odd) in manage::add(&Config::load()?, remote, urls)? {
        super::warn(&format!("'{url}' {}", words::odd(&odd)));
    }
    tell(&[remote.to_owned()])
}

/// Says how the mirrors of some remotes stand now.
fn tell(remotes: &[String]) -> Result<i32> {
    let config = Config::load()?;
    for remote in remotes {
        words::tell(&Standing::of(&config, remote)?);
    }
    Ok(0)
}

fn disable(remotes: &[String]) -> Result<i32> {
    let remotes = switch::switch(&Config::load()?, false, remotes)?;
    let config = Config::load()?;
    for remote in remotes {
        words::say(&format!("plain git uses no mirrors for '{remote}'"));
        words::hint(&match Standing::of(&config, &remote)?.switch {
            switch::Switch::Off => {
                format!("on a machine without git-mirror, stock git needs: git config --unset remote.{remote}.vcs")
            }
            _ => format!(
                "it is switched on elsewhere; here remote.{remote}.preferMirror is false until `git mirror enable {remote}`"
            ),
        });
    }
    Ok(0)
}

fn disable_everywhere(level: Level) -> Result<i32> {
    global::switch(level, false, &[])?;
    words::say(match level {
        Level::Global => "mirrors are switched on for single repositories only",
        Level::System => "mirrors are switched on for single users and repositories only",
    });
    Ok(0)
}

fn enable_everywhere(level: Level, prefixes: &[String]) -> Result<i32> {
    let file = global::switch(level, true, prefixes)?;
    let all = match level {
        Level::Global => "your",
        Level::System => "everybody's",
    };
    let whose = match prefixes {
        [] => "that have such a remote".to_owned(),
        _ => format!("that have a remote below {}", prefixes.join(", ")),
    };
    words::say(&format!("mirrors are switched on for 'origin' in all {all} repositories {whose}"));
    words::say(&format!("({} says so)", file.display()));
    if Config::load()?.subsections("mirror", "mirrorof").next().is_none() {
        words::hint(
            "no mirror of a whole server is known; `git config --global mirror.<url>.mirrorOf <url>` names one",
        );
    }
    Ok(0)
}

fn install_man(dir: Option<PathBuf>) -> Result<i32> {
    let installed = man::install(dir)?;
    words::say(&format!("man pages are in {}", installed.dir.display()));
    match installed.found {
        man::Found::There => {}
        man::Found::Elsewhere => words::hint(&format!(
            "man does not look there; export MANPATH=\"{}:\" has it do so",
            installed.dir.display()
        )),
        man::Found::NoMan => words::hint("man is not installed here, or does not say where it looks"),
    }
    Ok(0)
}
