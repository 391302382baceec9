//! A record of a run of the helper, for whoever pays for it: one line of JSON in a file, or to a socket (git-mirror(1),
//! "RECORDS").

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::adapters::git::config::Config;
use crate::adapters::kept::state;
use crate::adapters::os;
use crate::usecases::fetching::observing::{Observed, Outcome};
use crate::usecases::fetching::relay::Seen;
use crate::values::safe_text::safe_json;
use crate::values::{Event, GitUrl, Report, url_key};

/// What `version` is: it grows when a key goes or changes its meaning.
pub const VERSION: u32 = 1;
/// Names the file or the socket, for one run.
const ENV: &str = "GIT_MIRROR_REPORT";
/// How long a socket may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// What one run of the helper came to.
#[derive(Debug, Serialize)]
pub struct Record<'a> {
    version: u32,
    /// When it ended, in seconds since 1970.
    time: u64,
    /// The remote's name; none for a URL.
    remote: Option<&'a str>,
    /// Canonical's URL, without user and password.
    canonical: String,
    /// What git asked for.
    kind: &'a str,
    /// How long it took.
    seconds: f64,
    bytes: Bytes,
    from: Vec<Given>,
    left: Vec<Named<'a>>,
    not_asked: Vec<Named<'a>>,
    /// Why no mirror was asked.
    passed: Option<&'a str>,
    /// The exit code.
    code: i32,
}

/// Bytes that came in answer to requests for objects.
#[derive(Debug, Serialize)]
struct Bytes {
    mirrors: u64,
    canonical: u64,
}

/// What a mirror gave.
#[derive(Debug, Serialize)]
struct Given {
    mirror: String,
    bytes: u64,
    seconds: f64,
}

/// A mirror, and in a word why.
#[derive(Debug, Serialize)]
struct Named<'a> {
    mirror: &'a str,
    why: &'a str,
}

/// Writes a record of a run, where one is wanted. A failure is a warning.
pub fn write(
    config: &Config,
    (remote, url): (&str, &GitUrl),
    seen: &Seen,
    took: Duration,
    code: i32,
    report: &dyn Report,
) {
    let named = std::env::var_os(ENV).filter(|value| !value.is_empty()).map(PathBuf::from);
    let Some(target) = named.or_else(|| config.path("mirror.report")) else { return };
    let record = record((remote, url), seen, took, code);
    let line = serde_json::to_string(&record).map(|line| format!("{}\n", safe_json(&line)));
    let written = line.map_err(std::io::Error::other).and_then(|line| {
        let text = target.to_string_lossy();
        match text.strip_prefix("af_unix:") {
            Some(socket) => os::tell_socket(std::path::Path::new(socket), line.as_bytes(), PATIENCE),
            None => os::append(&target, line.as_bytes()),
        }
    });
    if let Err(err) = written {
        let text = format!("mirror.report: cannot write to {}: {err}", target.display());
        report.event(Event::Warning(text));
    }
}

fn record<'a>((remote, url): (&'a str, &GitUrl), seen: &'a Seen, took: Duration, code: i32) -> Record<'a> {
    let seeded = seen.seeded.as_ref();
    let from: Vec<Given> = seeded.map_or_else(Vec::new, |seeded| {
        let each = seeded.from.iter();
        each.map(|(who, bytes)| Given { mirror: who.clone(), bytes: *bytes, seconds: time_of(who, &seeded.observed) })
            .collect()
    });
    let named = |all: &'a [(String, &'static str)]| all.iter().map(|(mirror, why)| Named { mirror, why }).collect();
    Record {
        version: VERSION,
        time: state::now(),
        remote: Some(remote).filter(|name| !name.contains([':', '/'])),
        canonical: url_key::without_credentials(url.raw()),
        kind: seen.kind(),
        seconds: took.as_secs_f64(),
        bytes: Bytes { mirrors: from.iter().map(|given| given.bytes).sum(), canonical: seen.from_canonical },
        from,
        left: seeded.map_or_else(Vec::new, |seeded| named(&seeded.left_alone)),
        not_asked: seeded.map_or_else(Vec::new, |seeded| named(&seeded.not_asked)),
        passed: seeded.and_then(|seeded| seeded.passed),
        code,
    }
}

fn time_of(who: &str, observed: &[Observed]) -> f64 {
    let times = observed.iter().filter(|observed| observed.url.shown_host() == who).map(|observed| &observed.outcome);
    times.map(|outcome| if let Outcome::Gave { moved, .. } = outcome { moved.1.as_secs_f64() } else { 0.0 }).sum()
}
