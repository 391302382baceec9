//! What the server counts, for `/-/metrics`.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters since the start, and what is going on.
#[derive(Debug, Default)]
pub struct Metrics {
    connections: AtomicU64,
    open: AtomicU64,
    transfers: AtomicU64,
    bytes: AtomicU64,
    lists: AtomicU64,
    /// By hundreds: `2xx`, `3xx`, `4xx`, `5xx`.
    answers: [AtomicU64; 4],
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

    /// A transfer began.
    pub fn began(&self) {
        self.transfers.fetch_add(1, Relaxed);
    }

    /// A transfer ended.
    pub fn ended(&self) {
        self.transfers.fetch_sub(1, Relaxed);
    }

    /// Bytes of HTTP bodies were sent.
    pub fn sent(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
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

    /// Returns the counters in the text format of Prometheus, version 0.0.4.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut one = |name: &str, kind: &str, help: &str, value: &AtomicU64| {
            let name = format!("git_mirror_{name}");
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {}\n", value.load(Relaxed));
        };
        one("connections_total", "counter", "Connections accepted.", &self.connections);
        one("connections_open", "gauge", "Connections that are open.", &self.open);
        one("transfers_running", "gauge", "Processes that serve a request.", &self.transfers);
        one(
            "http_body_bytes_total",
            "counter",
            "Bytes sent in HTTP bodies, but those that git sent itself.",
            &self.bytes,
        );
        one("lists_total", "counter", "Answers made here: mirror lists, and refs under another URL.", &self.lists);
        text.push_str("# HELP git_mirror_http_requests_total HTTP requests by status.\n");
        text.push_str("# TYPE git_mirror_http_requests_total counter\n");
        for (at, counter) in self.answers.iter().enumerate() {
            let _ = writeln!(text, "git_mirror_http_requests_total{{code=\"{}xx\"}} {}", at + 2, counter.load(Relaxed));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let metrics = Metrics::default();
        metrics.opened();
        [200, 204, 404, 100, 700].into_iter().for_each(|status| metrics.answered(status));
        let text = metrics.text();
        for line in ["git_mirror_connections_open 1", "{code=\"2xx\"} 2", "{code=\"4xx\"} 1", "{code=\"5xx\"} 0"] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
