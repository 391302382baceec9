//! What people see of the library's events, on stderr and in git's manner.
//!
//! Progress only where git says so (a terminal, or `--progress`); nothing but warnings under `-q`.

use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::LONGEST;
use super::fit::shortened;
use crate::adapters::os::terminal;
use crate::values::report::counted;
use crate::values::safe_text::safe;
use crate::values::{Event, Report};

/// How often a line of progress is written anew.
const REFRESH: Duration = Duration::from_millis(100);
const RECEIVING: &str = "Receiving objects";
const INDEXING: &str = "Indexing objects";
/// What ends one.
const DONE: &str = ", done.";

/// Renders events.
#[derive(Debug, Default)]
pub struct Stderr(Mutex<State>);

#[derive(Debug)]
struct State {
    verbosity: i32,
    progress: bool,
    /// Who sends what arrives.
    source: String,
    phase: Option<Phase>,
}

/// Progress that stands unfinished on the screen.
#[derive(Debug)]
struct Phase {
    what: &'static str,
    title: String,
    done: u64,
    total: u64,
    /// What stands behind the counter.
    more: String,
    shown: Option<Instant>,
    /// How long the line is that is on the screen.
    length: usize,
    /// Whether the title has a line of its own.
    split: bool,
}

impl Default for State {
    fn default() -> Self {
        State { verbosity: 1, progress: false, source: "mirror".into(), phase: None }
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
            Event::Asking { mirror } => {
                self.line(2, &format!("mirror: asking {mirror}"));
                self.source = format!("mirror {}", shortened(&mirror, 40));
            }
            Event::Source(who) => self.source = shortened(&who, 47),
            Event::Receiving { objects, total, bytes, elapsed } => {
                let rate = bytes as f64 / elapsed.as_secs_f64().max(0.001);
                let more = format!(", {} | {}/s", size(bytes), size(rate as u64));
                self.progress(RECEIVING, objects, total, more);
            }
            Event::Resolving { objects, total } => self.progress(INDEXING, objects, total, String::new()),
            Event::Proving => self.progress("Checking connectivity", 0, 0, String::new()),
            Event::ProgressEnd => self.end(self.is_all()),
            Event::Left { mirror, reason } => self.line(1, &format!("warning: mirror {mirror} left: {reason}")),
            Event::Warning(text) => self.line(0, &format!("warning: {text}")),
            Event::Note(text) => self.line(1, &text),
            Event::Detail(text) => self.line(2, &text),
            Event::Closing { from_mirrors, from_canonical, elapsed, .. } => {
                let from = merged(from_mirrors);
                self.line(1, &closing(&from, from_canonical, elapsed));
                for (who, bytes) in from.iter().filter(|_| from.len() > 1) {
                    self.line(2, &format!("mirror: {} from {who}", size(*bytes)));
                }
            }
        }
    }

    fn line(&mut self, least: i32, text: &str) {
        self.end(self.is_all());
        if self.verbosity >= least {
            eprintln!("{}", safe(text, LONGEST));
        }
    }

    /// Shows how far something is; a total of 0 is none.
    fn progress(&mut self, what: &'static str, done: u64, total: u64, more: String) {
        if !self.progress || self.verbosity < 1 {
            return;
        }
        // The counters are read while they change: what is being indexed has been received.
        let indexing = self.phase.as_ref().is_some_and(|phase| phase.what == INDEXING && phase.total == total);
        if what == RECEIVING && indexing {
            return;
        }
        if self.phase.as_ref().is_none_or(|phase| phase.what != what) {
            self.end(true);
            let title = format!("{}: {what}", self.source);
            let phase = Phase { what, title, done, total, more, shown: None, length: 0, split: false };
            self.phase = Some(phase).filter(|phase| phase.total > 0 || what.starts_with("Checking"));
        } else if let Some(phase) = &mut self.phase {
            // Bases that complete a thin pack count as well.
            (phase.done, phase.total, phase.more) = (done.min(total), total, more);
        }
        if let Some(phase) = &mut self.phase
            && phase.shown.is_none_or(|shown| shown.elapsed() >= REFRESH)
        {
            phase.shown = Some(Instant::now());
            phase.show("\r", terminal::columns());
        }
    }

    /// Returns whether nothing is known to be missing of what is under way.
    fn is_all(&self) -> bool {
        self.phase.as_ref().is_some_and(|phase| phase.done >= phase.total)
    }

    /// Ends the line of what was under way; `well` says whether all of it was done.
    fn end(&mut self, well: bool) {
        let Some(mut phase) = self.phase.take() else { return };
        if well {
            phase.done = phase.total;
        }
        phase.show(if well { ", done.\n" } else { "\n" }, terminal::columns());
    }
}

impl Phase {
    fn show(&mut self, end: &str, columns: usize) {
        eprint!("{}", self.rendered(end, columns));
        let _ = std::io::stderr().flush();
    }

    /// Returns what overwrites the line on the screen, in the manner of `display` in git's `progress.c`: where the
    /// terminal is too narrow, the title stays on a line of its own.
    fn rendered(&mut self, end: &str, columns: usize) -> String {
        let counter = match self.total {
            0 => String::new(),
            total => {
                format!("{:3}% ({}/{total}){}", self.done.min(total) * 100 / total, self.done.min(total), self.more)
            }
        };
        let pad = |text: &str, before: usize| " ".repeat(before.saturating_sub(text.chars().count()));
        let title = format!("{}{}", self.title, if counter.is_empty() { "" } else { ":" });
        let whole = if counter.is_empty() { title.clone() } else { format!("{title} {counter}") };
        let mut out = String::new();
        if !self.split && whole.chars().count() + DONE.len() > columns && !counter.is_empty() {
            out = format!("{title}{}\n", pad(&title, self.length));
            (self.split, self.length) = (true, 0);
        }
        let line = if self.split { format!("  {counter}") } else { whole };
        let (word, back) = end.split_at(end.len() - 1); // a line feed or a carriage return
        let shown = format!("{line}{word}");
        out.push_str(&format!("{shown}{}{back}", pad(&shown, self.length)));
        self.length = shown.chars().count();
        out
    }
}

/// Returns what each mirror gave in all, in order.
fn merged(from: Vec<(String, u64)>) -> Vec<(String, u64)> {
    let mut merged: Vec<(String, u64)> = Vec::new();
    for (who, bytes) in from {
        match merged.iter_mut().find(|(known, _)| *known == who) {
            Some((_, sum)) => *sum += bytes,
            None => merged.push((who, bytes)),
        }
    }
    merged
}

/// Returns who gave how much, which part of all bytes that is, and how long it took, in at most 80 columns.
fn closing(from: &[(String, u64)], from_canonical: u64, elapsed: Duration) -> String {
    let given = from.iter().fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes));
    let all = u128::from(given) + u128::from(from_canonical);
    let part = (u128::from(given) * 100).checked_div(all).unwrap_or(100);
    let (canonical, time) = (size(from_canonical), elapsed.as_secs_f64());
    let rest = format!(" gave {} ({part}%), canonical {canonical}; {time:.1} s", size(given));
    let who = match from {
        [(one, _)] => shortened(one, 80_usize.saturating_sub("mirror: ".len() + rest.len()).max(8)),
        many => counted(many.len(), "mirror"),
    };
    format!("mirror: {who}{rest}")
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
        let time = Duration::from_millis(1250);
        let one = |who: &str, bytes, canonical| closing(&[(who.into(), bytes)], canonical, time);
        assert_eq!(one("m:1", 20480, 412), "mirror: m:1 gave 20.00 KiB (98%), canonical 412 bytes; 1.2 s");
        assert_eq!(one("m", 1, 0), "mirror: m gave 1 byte (100%), canonical 0 bytes; 1.2 s");
        let long = closing(&[("x".repeat(300), 1 << 40)], 1 << 40, Duration::from_secs(10_000));
        assert!(long.len() <= 80 && long.contains("..") && long.contains("(50%)"), "{long}");
        let from = merged(vec![("a".into(), 1), ("b".into(), 1), ("a".into(), 2)]);
        assert_eq!(from, [("a".to_owned(), 3), ("b".to_owned(), 1)]);
        assert_eq!(closing(&from, 4, time), "mirror: 2 mirrors gave 4 bytes (50%), canonical 4 bytes; 1.2 s");
    }

    fn phase(title: &str) -> Phase {
        let more = ", 1.00 MiB | 2.00 MiB/s".into();
        Phase { what: "x", title: title.into(), done: 5, total: 10, more, shown: None, length: 0, split: false }
    }

    #[test]
    fn progress_stays_on_one_line() {
        let mut one = phase("mirror m: Receiving objects");
        let counter = "50% (5/10), 1.00 MiB | 2.00 MiB/s";
        assert_eq!(one.rendered("\r", 80), format!("mirror m: Receiving objects:  {counter}\r"));
        one.done = 10;
        one.more = String::new();
        let end = one.rendered(", done.\n", 80);
        assert!(
            end.starts_with("mirror m: Receiving objects: 100% (10/10), done. ") && end.ends_with(" \n"),
            "{end:?}"
        );
        let mut long = phase("mirror with-a-long-name.example.com: Receiving objects");
        let first = long.rendered("\r", 80);
        assert_eq!(first, format!("mirror with-a-long-name.example.com: Receiving objects:\n   {counter}\r"));
        assert_eq!(long.rendered("\r", 80), format!("   {counter}\r"));
    }

    #[test]
    fn progress_ends_at_100_percent_where_it_ended_well() {
        let mut state = State { progress: true, ..State::default() };
        state.take(Event::Asking { mirror: "m".into() });
        let elapsed = Duration::from_secs(1);
        state.take(Event::Receiving { objects: 3, total: 9, bytes: 1, elapsed });
        state.take(Event::Receiving { objects: 8, total: 9, bytes: 1, elapsed });
        let phase = state.phase.as_ref().expect("under way");
        assert_eq!((phase.done, phase.title.as_str()), (8, "mirror m: Receiving objects"));
        state.take(Event::Resolving { objects: 1, total: 9 });
        assert_eq!(state.phase.as_ref().map(|phase| phase.what), Some(INDEXING));
        state.take(Event::Receiving { objects: 9, total: 9, bytes: 1, elapsed });
        assert_eq!(state.phase.as_ref().map(|phase| phase.what), Some(INDEXING), "it does not go back");
        state.take(Event::ProgressEnd);
        assert!(state.phase.is_none());
    }
}
