//! `git mirror list`, `probe` and `forgive`.

use serde_json::{Value, json};

use super::stderr::{Stderr, size};
use crate::adapters::git::config::Config;
use crate::adapters::kept::state::{Last, now};
use crate::adapters::net::probe::Probed;
use crate::decide::selector::duration;
use crate::usecases::fetching::choosing::Known;
use crate::usecases::managing::standing::{self, Row};
use crate::values::Result;

#[derive(Debug, clap::Args)]
pub struct List {
    /// Only these remotes
    remotes: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub struct Which {
    /// Only these remotes
    remotes: Vec<String>,
}

/// Runs `git mirror list`; returns the exit code.
pub fn list(args: &List) -> Result<i32> {
    let rows = standing::list(&Config::load()?, &args.remotes, &Stderr::default())?;
    if args.json {
        println!("{:#}", Value::Array(rows.iter().map(as_json).collect()));
    } else {
        print(&rows.iter().map(cells).collect::<Vec<_>>());
    }
    Ok(0)
}

/// Runs `git mirror probe`; returns the exit code.
pub fn probe(args: &Which) -> Result<i32> {
    let probed = standing::probe(&Config::load()?, &args.remotes, &Stderr::default())?;
    let row = |(remote, known, outcome): &(String, Known, Option<Probed>)| {
        let text = match outcome {
            Some(Probed::Connected(time)) => milliseconds(time.as_secs_f64() * 1000.0),
            Some(Probed::Slower(time)) => format!("no connection within {:.1} s", time.as_secs_f64()),
            Some(Probed::Failed(why)) => format!("failed: {why}"),
            None => "cannot be measured: a path, or behind a proxy".to_owned(),
        };
        [remote.clone(), known.mirror.url.redacted(), text]
    };
    print(&probed.iter().map(row).collect::<Vec<_>>());
    Ok(0)
}

/// Runs `git mirror forgive`; returns the exit code.
pub fn forgive(args: &Which) -> Result<i32> {
    for (remote, known) in standing::forgive(&Config::load()?, &args.remotes, &Stderr::default())? {
        println!("{remote}  {}  may be asked again", known.mirror.url.redacted());
    }
    Ok(0)
}

/// Prints rows in columns.
fn print<const N: usize>(rows: &[[String; N]]) {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let line: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}  ")).collect();
        println!("{}", line.trim_end());
    }
}

fn cells(row: &Row) -> [String; 7] {
    let rank = row.rank.map_or("-".into(), |rank| rank.to_string());
    let (origin, place, figures) = row.known.as_ref().map_or(("-".into(), "-".into(), "-".into()), |known| {
        (known.mirror.origin.shown().to_owned(), format!("refs/mirror/{}/", known.space.name()), figures(known))
    });
    let last = row.last.as_ref().map_or("never asked".into(), last);
    let why = if row.known.is_some() { format!("{}; {last}", row.reason) } else { row.reason.clone() };
    [row.remote.clone(), rank, row.url.clone(), origin, place, figures, why]
}

fn last(last: &Last) -> String {
    let ago = duration(now().saturating_sub(last.time));
    match &*last.result {
        "ok" => format!("ok {ago} ago, {}", size(last.bytes)),
        why => format!("left {ago} ago: {why}"),
    }
}

/// Returns what has been measured, in one cell.
fn figures(known: &Known) -> String {
    let parts = [
        known.km.map(|km| format!("{km:.0} km")),
        known.host.connect.map(|connect| milliseconds(connect.value)),
        known.host.rate.map(|rate| format!("{}/s", size(rate.value as u64))),
        known.copy.lag.filter(|lag| *lag > 0.0).map(|lag| format!("lacks {:.0}%", lag * 100.0)),
        failures(known).map(|count| format!("failed {count} x")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "-".into() } else { parts.join(", ") }
}

fn milliseconds(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// Returns how often it failed in a row, if it did.
fn failures(known: &Known) -> Option<u32> {
    Some(known.host.backoff.failures + known.copy.backoff.failures).filter(|count| *count > 0)
}

fn as_json(row: &Row) -> Value {
    let known = row.known.as_ref();
    let host = known.map(|known| &known.host);
    let left = known.and_then(|known| {
        [&known.host.backoff, &known.copy.backoff].iter().filter_map(|backoff| backoff.left(now())).max()
    });
    json!({
        "remote": row.remote,
        "url": row.url,
        "origin": known.map(|known| known.mirror.origin.shown()),
        "refs": known.map(|known| format!("refs/mirror/{}/", known.space.name())),
        "rank": row.rank,
        "reason": row.reason,
        "distance_km": known.and_then(|known| known.km),
        "connect_ms": host.and_then(|host| host.connect).map(|figure| figure.value),
        "ask_ms": host.and_then(|host| host.ask).map(|figure| figure.value),
        "bytes_per_second": host.and_then(|host| host.rate).map(|figure| figure.value),
        "lag": known.and_then(|known| known.copy.lag),
        "success": host.map(|host| host.success()),
        "failures": known.and_then(failures).unwrap_or(0),
        "left_alone_seconds": left,
        "last": row.last.as_ref().map(|last| {
            json!({ "time": last.time, "result": last.result, "bytes": last.bytes })
        }),
    })
}
