//! The log: `GIT_MIRROR_TRACE=1` writes it to stderr, an absolute path to that file (appended), as `GIT_TRACE` does.
//!
//! No secret reaches it: URLs are redacted before they are logged. Nor does anything that could deceive who reads it.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;

use crate::values::safe_text::is_safe;

/// Starts the log, where the environment asks for it.
pub fn init() {
    let Some(target) = std::env::var_os("GIT_MIRROR_TRACE") else { return };
    let filter = EnvFilter::new("git_mirror_fetch=trace");
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_target(false);
    match target.to_str() {
        Some("" | "0" | "false") => {}
        Some("1" | "2" | "true") => builder.with_writer(|| Safe(io::stderr())).init(),
        _ if std::path::Path::new(&target).is_absolute() => {
            match std::fs::File::options().create(true).append(true).open(&target) {
                Ok(file) => builder.with_writer(std::sync::Mutex::new(Safe(file))).init(),
                Err(err) => eprintln!("warning: could not open '{}' for tracing: {err}", target.display()),
            }
        }
        _ => eprintln!("warning: unknown trace value for 'GIT_MIRROR_TRACE': {}", target.display()),
    }
}

/// Takes the log a line at a time, as `tracing_subscriber` writes it, and replaces what is not safe.
struct Safe<W>(W);

impl<W: Write> Write for Safe<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let shown: String = text.chars().map(|c| if c == '\n' || is_safe(c) { c } else { '?' }).collect();
        self.0.write_all(shown.as_bytes()).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_unsafe_gets_into_the_log() {
        let mut log = Safe(Vec::new());
        log.write_all("one \u{1b}[31m\u{9b}\u{202e}\u{200b}\u{2028}\ntwo\n".as_bytes()).expect("memory");
        assert_eq!(String::from_utf8_lossy(&log.0), "one ?[31m????\ntwo\n");
    }
}
