//! The log: `GIT_MIRROR_TRACE=1` writes it to stderr, an absolute path to that file (appended), as `GIT_TRACE` does.
//!
//! No secret reaches it: URLs are redacted before they are logged.

use tracing_subscriber::EnvFilter;

/// Starts the log, where the environment asks for it.
pub fn init() {
    let Ok(target) = std::env::var("GIT_MIRROR_TRACE") else { return };
    let filter = EnvFilter::new("git_mirror_fetch=trace");
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_target(false);
    match target.as_str() {
        "" | "0" | "false" => {}
        "1" | "2" | "true" => builder.with_writer(std::io::stderr).init(),
        path if path.starts_with('/') => match std::fs::File::options().create(true).append(true).open(path) {
            Ok(file) => builder.with_writer(std::sync::Mutex::new(file)).init(),
            Err(err) => eprintln!("warning: could not open '{path}' for tracing: {err}"),
        },
        other => eprintln!("warning: unknown trace value for 'GIT_MIRROR_TRACE': {other}"),
    }
}
