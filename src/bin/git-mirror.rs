//! `git-mirror`, which holds everything; its name decides, see [`git_mirror_fetch::cli::main`].

fn main() {
    std::process::exit(git_mirror_fetch::cli::main());
}
