//! `git-mirror-fetch`; the name decides, see [`git_mirror_fetch::cli::main`].

fn main() {
    std::process::exit(git_mirror_fetch::cli::main());
}
