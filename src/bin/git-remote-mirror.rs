//! `git-remote-mirror`, see [`git_mirror_fetch::cli::remote_helper::main`]. It holds no server.

fn main() {
    std::process::exit(git_mirror_fetch::cli::remote_helper::main());
}
