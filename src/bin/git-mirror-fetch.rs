//! `git-mirror-fetch`, see [`git_mirror_fetch::cli::mirror_fetch::main`]. It holds no server.

fn main() {
    std::process::exit(git_mirror_fetch::cli::mirror_fetch::main());
}
