//! `git mirror probe` and `forgive`.

use super::list::time;
use super::stderr::Stderr;
use super::words;
use crate::adapters::git::config::Config;
use crate::adapters::net::probe::Probed;
use crate::usecases::fetching::choosing::Known;
use crate::usecases::managing::standing;
use crate::values::Result;
use crate::values::safe_text::safe;

#[derive(Debug, clap::Args)]
pub struct Which {
    /// Only these remotes
    remotes: Vec<String>,
}

/// Runs `git mirror probe`; returns the exit code: 1 where nothing could be reached that could be measured.
pub fn probe(args: &Which) -> Result<i32> {
    super::inside()?;
    let probed = standing::probe(&Config::load()?, &args.remotes, &Stderr::default())?;
    if probed.is_empty() {
        words::say("there is no mirror to probe");
        words::hint("`git mirror add <remote> <url>` adds one");
        return Ok(1);
    }
    let row = |(remote, known, outcome): &(String, Known, Option<Probed>)| {
        let text = match outcome {
            Some(Probed::Connected(took)) => time(took.as_secs_f64() * 1000.0),
            Some(Probed::Slower(took)) => format!("no connection within {:.1} s", took.as_secs_f64()),
            Some(Probed::Failed(why)) => format!("failed: {why}"),
            None => "cannot be measured: a path, or behind a proxy".to_owned(),
        };
        [remote.clone(), known.mirror.url.redacted(), text]
    };
    print(&probed.iter().map(row).collect::<Vec<_>>());
    let reached = |outcome: &Option<Probed>| matches!(outcome, None | Some(Probed::Connected(_)));
    Ok(i32::from(!probed.iter().any(|(.., outcome)| reached(outcome))))
}

/// Runs `git mirror forgive`; returns the exit code.
pub fn forgive(args: &Which) -> Result<i32> {
    super::inside()?;
    let forgiven = standing::forgive(&Config::load()?, &args.remotes, &Stderr::default())?;
    let row = |(remote, known): &(String, Known)| {
        [remote.clone(), known.mirror.url.redacted(), "may be asked again".to_owned()]
    };
    print(&forgiven.iter().map(row).collect::<Vec<_>>());
    if forgiven.is_empty() {
        words::say("no mirror has failed");
    }
    Ok(0)
}

/// Prints rows in columns.
fn print<const N: usize>(rows: &[[String; N]]) {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| safe(cell, super::LONGEST))).collect();
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let line: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}  ")).collect();
        println!("{}", line.trim_end());
    }
}
