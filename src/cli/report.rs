//! `git mirror report`: what records of fetches come to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::stderr::size;
use crate::adapters::os;
use crate::usecases::fetching::record::VERSION;
use crate::values::safe_text::{safe, safe_json};
use crate::values::{Error, Kind, Result};

/// Longest line that is read, in bytes: one with the figures of 256 mirrors has 50,000.
const LONGEST: u64 = 1 << 20;
/// Most names of one kind that are told apart; all beyond count as one.
const MOST: usize = 10_000;
const SECONDS_A_DAY: u64 = 24 * 3600;

#[derive(Debug, clap::Args)]
pub struct Report {
    /// The files that mirror.report has named
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What some runs came to.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    runs: u64,
    mirrors: u64,
    canonical: u64,
    seconds: f64,
}

impl Sum {
    fn add(&mut self, mirrors: u64, canonical: u64, seconds: f64) {
        self.runs += 1;
        self.mirrors = self.mirrors.saturating_add(mirrors);
        self.canonical = self.canonical.saturating_add(canonical);
        self.seconds += seconds;
    }

    fn share(&self) -> f64 {
        let all = self.mirrors as f64 + self.canonical as f64;
        if all > 0.0 { self.mirrors as f64 / all } else { 0.0 }
    }

    fn as_json(&self) -> Value {
        json!({ "runs": self.runs, "bytes": { "mirrors": self.mirrors, "canonical": self.canonical },
            "seconds": (self.seconds * 1000.0).round() / 1000.0 })
    }
}

#[derive(Debug, Default)]
struct Sums {
    all: Sum,
    days: BTreeMap<String, Sum>,
    mirrors: BTreeMap<String, Sum>,
    repositories: BTreeMap<String, Sum>,
    /// How often a mirror was left, by why.
    left: BTreeMap<String, u64>,
    /// Lines that are no record.
    odd: u64,
}

/// Runs `git mirror report`; returns the exit code.
pub fn report(args: &Report) -> Result<i32> {
    let mut sums = Sums::default();
    for file in &args.files {
        let doing = || Error::doing(Kind::Usage, format!("cannot read {}", file.display()));
        let mut read = BufReader::new(os::open_file(file).map_err(doing())?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut limited = std::io::Read::take(&mut read, LONGEST);
            if limited.read_until(b'\n', &mut line).map_err(doing())? == 0 {
                break;
            }
            sums.take(&line);
        }
    }
    if args.json {
        println!("{}", safe_json(&format!("{:#}", sums.as_json())));
    } else {
        sums.print();
    }
    if sums.odd > 0 {
        super::warn(&format!("{} could not be read as records of version {VERSION}", lines(sums.odd)));
    }
    Ok(0)
}

fn lines(count: u64) -> String {
    format!("{count} line{}", if count == 1 { "" } else { "s" })
}

fn of<'a>(sums: &'a mut BTreeMap<String, Sum>, name: &str) -> &'a mut Sum {
    let name = if sums.len() < MOST || sums.contains_key(name) { name } else { "(others)" };
    sums.entry(name.to_owned()).or_default()
}

impl Sums {
    fn take(&mut self, line: &[u8]) {
        let Some(record) = serde_json::from_slice::<Value>(line).ok().filter(|record| record["version"] == VERSION)
        else {
            self.odd += 1;
            return;
        };
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let (mirrors, canonical) = (number(&record["bytes"]["mirrors"]), number(&record["bytes"]["canonical"]));
        let seconds = record["seconds"].as_f64().unwrap_or(0.0);
        self.all.add(mirrors, canonical, seconds);
        of(&mut self.days, &day(number(&record["time"]))).add(mirrors, canonical, seconds);
        of(&mut self.repositories, record["canonical"].as_str().unwrap_or("?")).add(mirrors, canonical, seconds);
        for given in record["from"].as_array().into_iter().flatten() {
            let name = given["mirror"].as_str().unwrap_or("?");
            of(&mut self.mirrors, name).add(number(&given["bytes"]), 0, given["seconds"].as_f64().unwrap_or(0.0));
        }
        for left in record["left"].as_array().into_iter().flatten() {
            let (name, why) = (left["mirror"].as_str().unwrap_or("?"), left["why"].as_str().unwrap_or("?"));
            if self.left.len() < MOST {
                *self.left.entry(format!("{name}: {why}")).or_default() += 1;
            }
        }
    }

    fn as_json(&self) -> Value {
        let named = |sums: &BTreeMap<String, Sum>| -> Value {
            sums.iter().map(|(name, sum)| (name.clone(), sum.as_json())).collect::<serde_json::Map<_, _>>().into()
        };
        json!({ "version": VERSION, "all": self.all.as_json(), "days": named(&self.days), "mirrors": named(&self.mirrors),
            "repositories": named(&self.repositories), "left": self.left })
    }

    fn print(&self) {
        let heading =
            |what: &str| println!("{what:<32} {:>7} {:>11} {:>11} {:>6}", "RUNS", "MIRRORS", "CANONICAL", "SHARE");
        let row = |name: &str, sum: &Sum| {
            let (mirrors, canonical) = (size(sum.mirrors), size(sum.canonical));
            let name = super::fit::shortened(&safe(name, super::LONGEST), 32);
            println!("{name:<32} {:>7} {mirrors:>11} {canonical:>11} {:>5.1}%", sum.runs, sum.share() * 100.0);
        };
        heading("DAY");
        self.days.iter().for_each(|(day, sum)| row(day, sum));
        row("all", &self.all);
        println!();
        heading("REPOSITORY");
        self.repositories.iter().for_each(|(name, sum)| row(name, sum));
        if !self.mirrors.is_empty() {
            println!("\n{:<32} {:>7} {:>11} {:>13}", "MIRROR", "RUNS", "BYTES", "RATE");
        }
        for (name, sum) in &self.mirrors {
            let rate = if sum.seconds > 0.0 { sum.mirrors as f64 / sum.seconds } else { 0.0 };
            let name = super::fit::shortened(&safe(name, super::LONGEST), 32);
            println!("{name:<32} {:>7} {:>11} {:>11}/s", sum.runs, size(sum.mirrors), size(rate as u64));
        }
        if !self.left.is_empty() {
            println!("\nLEFT");
        }
        for (what, times) in &self.left {
            println!("{times:>7} x {}", safe(what, super::LONGEST));
        }
    }
}

/// Returns the day of a time in seconds since 1970, in UTC, as ISO 8601 has it.
///
/// Source: the algorithm `civil_from_days` of Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
fn day(time: u64) -> String {
    let days = i64::try_from(time / SECONDS_A_DAY).unwrap_or(0).min(3_000_000) + 719_468;
    let era = days / 146_097;
    let of_era = days - era * 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days() {
        for (time, want) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_700_000_000, "2023-11-14"),
            (4_107_542_399, "2100-02-28"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(day(time), want);
        }
        assert!(!day(u64::MAX).is_empty());
    }

    #[test]
    fn sums_up() {
        let mut sums = Sums::default();
        let record = r#"{"version":1,"time":1700000000,"canonical":"https://h/a","seconds":1.5,
            "bytes":{"mirrors":300,"canonical":100},"from":[{"mirror":"m","bytes":300,"seconds":0.5}],
            "left":[{"mirror":"n","why":"timeout"}]}"#;
        for _ in 0..2 {
            sums.take(record.as_bytes());
        }
        for odd in ["", "{}", "{\"version\":2}", "[", "nothing"] {
            sums.take(odd.as_bytes());
        }
        assert_eq!(sums.odd, 5);
        let got = sums.as_json();
        assert_eq!(got["all"], json!({ "runs": 2, "bytes": { "mirrors": 600, "canonical": 200 }, "seconds": 3.0 }));
        assert_eq!(got["days"]["2023-11-14"]["runs"], 2);
        assert_eq!(got["mirrors"]["m"]["bytes"]["mirrors"], 600);
        assert_eq!(got["repositories"]["https://h/a"]["runs"], 2);
        assert_eq!(got["left"]["n: timeout"], 2);
        assert!((sums.all.share() - 0.75).abs() < 1e-9);
    }
}
