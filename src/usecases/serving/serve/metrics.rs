//! What the server counts, for `/-/metrics` and the access log.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// How many repositories are counted by name; the others together have none.
const MOST_REPOSITORIES: usize = 1000;

/// Counters since the start, and what is going on.
#[derive(Debug, Default)]
pub struct Metrics {
    connections: AtomicU64,
    open: AtomicU64,
    processes: AtomicU64,
    http_bytes: Arc<AtomicU64>,
    git_bytes: Arc<AtomicU64>,
    lists: AtomicU64,
    /// By hundreds: `2xx`, `3xx`, `4xx`, `5xx`.
    answers: [AtomicU64; 4],
    repositories: Mutex<BTreeMap<String, Arc<Repository>>>,
}

/// Counters of a repository.
#[derive(Debug, Default)]
struct Repository {
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// Bytes of one answer, counted for all as they are sent.
#[derive(Debug)]
pub struct Tally {
    bytes: AtomicU64,
    all: Arc<AtomicU64>,
    repository: OnceLock<Arc<Repository>>,
}

impl Tally {
    /// Bytes were sent.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.all.fetch_add(bytes, Relaxed);
        if let Some(repository) = self.repository.get() {
            repository.bytes.fetch_add(bytes, Relaxed);
        }
    }

    /// Returns how many.
    pub fn total(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

impl Metrics {
    /// A connection was opened.
    pub fn opened(&self) {
        self.connections.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
    }

    /// A connection has ended.
    pub fn closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// A process began.
    pub fn began(&self) {
        self.processes.fetch_add(1, Relaxed);
    }

    /// A process ended.
    pub fn ended(&self) {
        self.processes.fetch_sub(1, Relaxed);
    }

    /// Returns what counts the body of an answer over HTTP.
    pub fn http(&self) -> Tally {
        Tally { bytes: AtomicU64::new(0), all: Arc::clone(&self.http_bytes), repository: OnceLock::new() }
    }

    /// Returns what counts all that a client of `git://` is sent.
    pub fn git(&self) -> Tally {
        Tally { bytes: AtomicU64::new(0), all: Arc::clone(&self.git_bytes), repository: OnceLock::new() }
    }

    /// A request is for the repository `name`, and so are the bytes of its answer.
    pub fn concerns(&self, tally: &Tally, name: &str) {
        let mut all = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
        let name = if all.len() < MOST_REPOSITORIES || all.contains_key(name) { name } else { "" };
        let repository = Arc::clone(all.entry(name.to_owned()).or_default());
        drop(all);
        repository.requests.fetch_add(1, Relaxed);
        let _ = tally.repository.set(repository);
    }

    /// A mirror list, or refs under another URL, were sent.
    pub fn listed(&self) {
        self.lists.fetch_add(1, Relaxed);
    }

    /// A request was answered with `status`.
    pub fn answered(&self, status: u16) {
        if let Some(counter) = (status / 100).checked_sub(2).and_then(|at| self.answers.get(usize::from(at))) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Returns the counters in the text format of Prometheus, version 0.0.4. `room` is what is held of each kind, how
    /// many wait for it, and how many were hung up on as they kept it from others; `memory` what is in use, and the limit.
    pub fn text(&self, room: &[(&str, (u64, u64, u64))], memory: (u64, u64)) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, rows: &[(String, u64)]| {
            let _ = write!(text, "# HELP git_mirror_{name} {help}\n# TYPE git_mirror_{name} {kind}\n");
            for (labels, value) in rows {
                let _ = writeln!(text, "git_mirror_{name}{labels} {value}");
            }
        };
        let one = |value: &AtomicU64| [(String::new(), value.load(Relaxed))];
        family("connections_total", "counter", "Connections accepted.", &one(&self.connections));
        family("connections_open", "gauge", "Connections that are open.", &one(&self.open));
        family("transfers_running", "gauge", "Processes that serve a request.", &one(&self.processes));
        family("http_body_bytes_total", "counter", "Bytes sent in HTTP bodies.", &one(&self.http_bytes));
        family("git_bytes_total", "counter", "Bytes sent over git://.", &one(&self.git_bytes));
        let lists = "Answers made here: mirror lists, and refs under another URL.";
        family("lists_total", "counter", lists, &one(&self.lists));
        let answers = self.answers.iter().enumerate();
        let answers: Vec<_> =
            answers.map(|(at, count)| (format!("{{code=\"{}xx\"}}", at + 2), count.load(Relaxed))).collect();
        family("http_requests_total", "counter", "HTTP requests by status.", &answers);
        let rows = |which: fn(&(u64, u64, u64)) -> u64| -> Vec<_> {
            room.iter().map(|(kind, figures)| (format!("{{kind=\"{kind}\"}}"), which(figures))).collect()
        };
        family("room_used", "gauge", "What is held, of each kind of room.", &rows(|room| room.0));
        family("room_waiting", "gauge", "Requests that wait for room.", &rows(|room| room.1));
        let hung_up = "Clients that kept room from others, and were hung up on.";
        family("room_reclaimed_total", "counter", hung_up, &rows(|room| room.2));
        let held = "Bytes in memory, of the server and its processes.";
        family("memory_bytes", "gauge", held, &[(String::new(), memory.0)]);
        let limit = "Bytes beyond which clients that keep a process waiting keep others from one.";
        family("memory_limit_bytes", "gauge", limit, &[(String::new(), memory.1)]);
        let repositories = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = |which: fn(&Repository) -> &AtomicU64| -> Vec<_> {
            let row = |(name, counts): (&String, &Arc<Repository>)| {
                (format!("{{repository=\"{}\"}}", label(name)), which(counts).load(Relaxed))
            };
            repositories.iter().map(row).collect()
        };
        let requests = "Requests over HTTP and connections over git://, by repository.";
        family("repository_requests_total", "counter", requests, &rows(|counts| &counts.requests));
        let bytes = "Bytes sent, by repository.";
        family("repository_bytes_total", "counter", bytes, &rows(|counts| &counts.bytes));
        text
    }
}

/// Returns a value as it may stand in a label.
fn label(value: &str) -> String {
    let mut text = String::new();
    for c in value.chars() {
        match c {
            '\\' | '"' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            c if c.is_control() => text.push('\u{fffd}'),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let metrics = Metrics::default();
        metrics.opened();
        [200, 204, 404, 100, 700].into_iter().for_each(|status| metrics.answered(status));
        let (http, git) = (metrics.http(), metrics.git());
        metrics.concerns(&http, "a \"b\"\\\n");
        metrics.concerns(&git, "c");
        http.add(5);
        git.add(7);
        git.add(1);
        let text = metrics.text(&[("transfers", (1, 2, 3))], (11, 12));
        for line in [
            "git_mirror_connections_open 1",
            "{code=\"2xx\"} 2",
            "{code=\"4xx\"} 1",
            "{code=\"5xx\"} 0",
            "git_mirror_http_body_bytes_total 5",
            "git_mirror_git_bytes_total 8",
            "git_mirror_repository_bytes_total{repository=\"a \\\"b\\\"\\\\\\n\"} 5",
            "git_mirror_repository_requests_total{repository=\"c\"} 1",
            "git_mirror_memory_bytes 11",
            "git_mirror_room_reclaimed_total{kind=\"transfers\"} 3",
        ] {
            assert!(text.lines().any(|found| found.ends_with(line)), "{line} in {text}");
        }
        assert_eq!((http.total(), git.total()), (5, 8));
    }

    #[test]
    fn counts_few_repositories_by_name() {
        let metrics = Metrics::default();
        for n in 0..2 * MOST_REPOSITORIES {
            metrics.concerns(&metrics.http(), &n.to_string());
        }
        let text = metrics.text(&[], (0, 0));
        let rows = text.lines().filter(|line| line.starts_with("git_mirror_repository_requests_total{"));
        assert_eq!(rows.count(), MOST_REPOSITORIES + 1);
        assert!(text.contains("git_mirror_repository_requests_total{repository=\"\"} 1000"));
    }
}
