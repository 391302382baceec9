//! What people see of the library's events, on stderr and in git's manner.
//!
//! Progress only where git says so (a terminal, or `--progress`); nothing but warnings under `-q`.

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::values::safe_text::safe;
use crate::values::{Event, Report};

use super::LONGEST;

/// Renders events.
#[derive(Debug, Default)]
pub struct Stderr(Mutex<State>);

#[derive(Debug)]
struct State {
    verbosity: i32,
    progress: bool,
    /// Length of the progress line that stands unfinished.
    open: usize,
    last: Option<Instant>,
    phase: &'static str,
}

impl Default for State {
    fn default() -> Self {
        State { verbosity: 1, progress: false, open: 0, last: None, phase: "" }
    }
}

impl Report for Stderr {
    fn event(&self, event: Event) {
        if let Ok(mut state) = self.0.lock() {
            state.take(event);
        }
    }
}

impl State {
    fn take(&mut self, event: Event) {
        tracing::trace!(?event);
        match event {
            Event::Settings { verbosity, progress } => (self.verbosity, self.progress) = (verbosity, progress),
            Event::Asking { mirror } => self.line(2, &format!("mirror: asking {mirror}")),
            Event::Receiving { objects, total, bytes, elapsed } => {
                let rate = bytes as f64 / elapsed.as_secs_f64().max(0.001);
                self.progress(
                    "Receiving objects",
                    objects,
                    total,
                    &format!(", {} | {}/s", size(bytes), size(rate as u64)),
                );
            }
            Event::Resolving { objects, total } => self.progress("Indexing objects", objects, total, ""),
            Event::Proving => {
                self.end();
                if self.progress && self.verbosity > 0 {
                    self.write("mirror: Checking connectivity");
                }
            }
            Event::ProgressEnd => self.end(),
            Event::Left { mirror, reason } => self.line(1, &format!("warning: mirror {mirror} left: {reason}")),
            Event::Warning(text) => self.line(0, &format!("warning: {text}")),
            Event::Note(text) => self.line(1, &text),
            Event::Detail(text) => self.line(2, &text),
            Event::Closing { from_mirrors, canonical, from_canonical, elapsed } => {
                self.line(1, &closing(&from_mirrors, &canonical, from_canonical, elapsed));
            }
        }
    }

    fn line(&mut self, least: i32, text: &str) {
        self.end();
        if self.verbosity >= least {
            eprintln!("{}", safe(text, LONGEST));
        }
    }

    fn progress(&mut self, phase: &'static str, done: u64, total: u64, more: &str) {
        if !self.progress || self.verbosity < 1 || total == 0 {
            return;
        }
        if self.phase != phase {
            self.end();
            self.phase = phase;
            self.last = None;
        }
        if done < total && self.last.is_some_and(|last| last.elapsed() < Duration::from_millis(100)) {
            return;
        }
        self.last = Some(Instant::now());
        let done = done.min(total); // bases that complete a thin pack count as well
        let percent = (done * 100) / total;
        self.write(&format!("mirror: {phase}: {percent:3}% ({done}/{total}){more}"));
    }

    fn write(&mut self, text: &str) {
        let pad = self.open.saturating_sub(text.len());
        eprint!("\r{text}{}", " ".repeat(pad));
        let _ = std::io::stderr().flush();
        self.open = text.len();
    }

    fn end(&mut self) {
        if self.open > 0 {
            eprintln!(", done.");
        }
        self.open = 0;
        self.phase = "";
    }
}

fn closing(from_mirrors: &[(String, u64)], canonical: &str, from_canonical: u64, elapsed: Duration) -> String {
    let mirrors: Vec<String> = from_mirrors.iter().map(|(who, bytes)| format!("{} from {who}", size(*bytes))).collect();
    format!(
        "mirror: {}; {} from canonical {canonical}; {:.1} s",
        mirrors.join(", "),
        size(from_canonical),
        elapsed.as_secs_f64()
    )
}

/// Returns a number of bytes as git shows it (`strbuf_humanise_bytes` in its `strbuf.c`).
pub fn size(bytes: u64) -> String {
    let shown = |shift: u32, unit: &str| format!("{:.2} {unit}", bytes as f64 / f64::from(1u32 << shift));
    match bytes {
        n if n > 1 << 30 => shown(30, "GiB"),
        n if n > 1 << 20 => shown(20, "MiB"),
        n if n > 1 << 10 => shown(10, "KiB"),
        1 => "1 byte".into(),
        n => format!("{n} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_sizes_as_git_does() {
        for (bytes, shown) in
            [(0, "0 bytes"), (1, "1 byte"), (1024, "1024 bytes"), (1536, "1.50 KiB"), (5 << 20, "5.00 MiB")]
        {
            assert_eq!(size(bytes), shown);
        }
    }

    #[test]
    fn closes_with_who_gave_what() {
        let got = closing(&[("m:1".into(), 2048), ("n".into(), 1)], "c", 412, Duration::from_millis(1250));
        assert_eq!(got, "mirror: 2.00 KiB from m:1, 1 byte from n; 412 bytes from canonical c; 1.2 s");
    }
}
