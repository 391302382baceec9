//! The report as Markdown.

use std::fmt::Write;

use crate::results::{Results, Row};

/// The sections, with what holds for all their rows.
const SECTIONS: [(&str, &str, &str); 7] = [
    (
        "clone",
        "Clone",
        "Canonical is 150 ms away, at 10 Mbit/s; the mirror 2 ms, at 1 Gbit/s. The project knows nothing of \
     either beforehand.",
    ),
    (
        "fetch",
        "Increments",
        "The same links. The client has fetched before, and each increment is a percentage of the \
     history.",
    ),
    ("refs", "Many refs", "The same links."),
    ("unhelpful", "No mirror helps", "Canonical as before; the client has met these mirrors before."),
    (
        "three",
        "Three mirrors, the nearest overloaded",
        "Canonical as before. Mirror 1 is 2 ms away, at 2 Mbit/s; mirror 2 \
     10 ms, at 50 Mbit/s; mirror 3 20 ms, at 1 Gbit/s; they are configured in this order. One fetch after the other, \
     each of 5% of the medium repository.",
    ),
    (
        "distance-canonical",
        "By the distance of canonical",
        "Of the medium repository, 10%. Rates as before, the mirror \
     2 ms away.",
    ),
    (
        "distance-mirror",
        "By the distance of the mirror",
        "Of the medium repository, 10%. Rates as before, canonical 150 ms \
     away.",
    ),
];

/// The contenders, and their heads in the tables.
pub const CONTENDERS: [(&str, &str); 5] = [
    ("canonical", "git, canonical"),
    ("mirror", "git, mirror"),
    ("bundle", "git, bundle URI"),
    ("reference", "git, --reference"),
    ("ours", "this project"),
];

/// Returns the tables.
pub fn markdown(results: &Results) -> String {
    let mut text = String::from("\n");
    let info = |name: &str| results.info.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
    let repository = match info("repository") {
        "" => String::new(),
        name => format!(" The large repository is {name}."),
    };
    let _ = write!(
        text,
        "Made by\n\n    {}\n\non a machine with {} cores and {} of memory, where everything ran at once: client, servers and \
         links. git {}, {}. Medians of {}, with nothing new or 1 commit of three times as many; what \
         takes plain git from canonical over 20 s was measured once.{repository}\n",
        info("command"),
        info("cores"),
        info("memory"),
        info("git"),
        info("program"),
        info("times"),
    );
    for (section, head, links) in SECTIONS {
        let rows: Vec<&Row> = results.rows.iter().filter(|row| row.section == section).collect();
        if !rows.is_empty() {
            let _ = write!(text, "\n### {head}\n\n{links}\n\n");
            let table = if section == "three" { sources(&rows) } else { times(&rows) };
            text.push_str(&table);
        }
    }
    text
}

fn times(rows: &[&Row]) -> String {
    let present = |name: &str| rows.iter().any(|row| row.samples.iter().any(|sample| sample.contender == name));
    let shown: Vec<_> = CONTENDERS.iter().filter(|(name, _)| present(name)).collect();
    let mut head = vec!["work".to_owned()];
    head.extend(shown.iter().map(|(_, title)| (*title).to_owned()));
    head.extend(["canonical / project", "bound", "project / bound", "wanted", "holds"].map(String::from));
    let mut lines = vec![head];
    for row in rows {
        let mut line = vec![row.title.clone()];
        line.extend(shown.iter().map(|(name, _)| match row.median(name) {
            _ if !row.is_right(name) => "WRONG".into(),
            time => time.map_or(String::new(), duration),
        }));
        line.push(row.gain().map_or(String::new(), ratio));
        line.push(row.bound().map_or(String::new(), duration));
        line.push(row.ratio().map_or(String::new(), ratio));
        line.extend(verdict(row));
        lines.push(line);
    }
    table(&lines)
}

fn sources(rows: &[&Row]) -> String {
    let heads =
        ["", "this project", "from canonical", "from mirror 1", "from mirror 2", "from mirror 3", "wanted", "holds"];
    let mut lines = vec![heads.map(String::from).to_vec()];
    for row in rows {
        let mut line = vec![row.title.clone(), row.median("ours").map_or("WRONG".into(), duration)];
        if let Some(sample) = row.samples.first() {
            line.extend(sample.carried.iter().map(|bytes| format!("{} kB", bytes / 1000)));
        }
        line.extend(verdict(row));
        lines.push(line);
    }
    table(&lines)
}

fn verdict(row: &Row) -> [String; 2] {
    row.verdict().map_or_else(Default::default, |verdict| {
        [verdict.wanted, if verdict.holds { "yes" } else { "**no**" }.to_owned()]
    })
}

fn table(lines: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (n, line) in lines.iter().enumerate() {
        let _ = writeln!(text, "| {} |", line.join(" | "));
        if n == 0 {
            let _ = writeln!(text, "| {} |", line.iter().map(|_| "---").collect::<Vec<_>>().join(" | "));
        }
    }
    text
}

/// Returns a time for people.
pub fn duration(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.0} ms") } else { format!("{:.2} s", ms / 1000.0) }
}

fn ratio(value: f64) -> String {
    format!("{value:.2} x")
}
