//! `git mirror list`: a table that fits 80 columns, or all that is known, as JSON.

use serde_json::{Value, json};

use super::fit::{shortened, wrapped};
use super::paint::{Paint, Style};
use super::stderr::{Stderr, size};
use super::words;
use crate::adapters::git::config::Config;
use crate::adapters::kept::state::{Last, now};
use crate::decide::facts::DAY;
use crate::decide::selector::duration;
use crate::usecases::fetching::choosing::Known;
use crate::usecases::managing::manage::Odd;
use crate::usecases::managing::standing::{self, Mirrors, Row};
use crate::usecases::managing::switch::Switch;
use crate::values::Result;
use crate::values::safe_text::{safe, safe_json};

/// What `version` is in the JSON: it grows when a key goes or changes its meaning.
const VERSION: u32 = 1;

/// The columns' widths; with what is between them, 18 are left of 80 for the last.
const RANK: usize = 2;
const HOST: usize = 20;
const RATE: usize = 11;
const BAR: usize = 5;
const CONNECT: usize = 7;
const BEHIND: usize = 6;

#[derive(Debug, clap::Args)]
pub struct List {
    /// Only these remotes
    remotes: Vec<String>,
    /// Show URLs, the keys that name them, and why each stands where it does, too
    #[arg(short, long)]
    verbose: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "verbose")]
    json: bool,
}

/// Runs `git mirror list`; returns the exit code.
pub fn list(args: &List) -> Result<i32> {
    super::inside()?;
    let all = standing::list(&Config::load()?, &args.remotes, &Stderr::default())?;
    if args.json {
        let remotes: Vec<Value> = all.iter().map(as_json).collect();
        println!("{}", safe_json(&format!("{:#}", json!({ "version": VERSION, "remotes": remotes }))));
    } else {
        print(&all, args.verbose);
    }
    Ok(0)
}

/// Prints how things stand here.
pub fn overview() -> Result<()> {
    print(&standing::list(&Config::load()?, &[], &Stderr::default())?, false);
    Ok(())
}

fn print(all: &[Mirrors], verbose: bool) {
    if all.is_empty() {
        words::say("there is no remote here");
        words::hint("`git remote add origin <url>` adds one, `git mirror add origin <url>` a mirror of it");
        return;
    }
    let paint = Paint::of_stdout();
    for (at, mirrors) in all.iter().enumerate() {
        if at > 0 {
            println!();
        }
        table(mirrors, verbose, paint).iter().for_each(|line| println!("{line}"));
    }
}

/// Returns the lines for one remote.
fn table(mirrors: &Mirrors, verbose: bool, paint: Paint) -> Vec<String> {
    let standing = &mirrors.standing;
    let mut lines = Vec::new();
    let (state, style) = match &standing.switch {
        Switch::Other(_) => ("other helper", Style::Off),
        _ if standing.unwanted => ("off (preferMirror)", Style::Off),
        Switch::Off => ("off", Style::Off),
        Switch::Here => ("on", Style::Good),
        Switch::Elsewhere => ("on (everywhere)", Style::Good),
        Switch::Url => ("on (by URL)", Style::Good),
    };
    let name = paint.text(Style::Heading, &safe(&standing.remote, 60));
    lines.push(format!("{name}: {}", paint.text(style, state)));
    let known = |row: &Row| row.known.as_ref().and_then(|known| known.host.rate).map_or(0.0, |rate| rate.value);
    let canonical = mirrors.canonical.rate.map_or(0.0, |rate| rate.value);
    let most = mirrors.rows.iter().map(known).fold(canonical, f64::max);
    if !mirrors.rows.is_empty() {
        let heading = line(
            ["#", "MIRROR", "RATE", "", "CONNECT", "BEHIND", "LAST"].map(|text| (text.into(), Style::Heading)),
            paint,
        );
        lines.push(heading);
        for row in &mirrors.rows {
            lines.push(line(cells(row, most, paint), paint));
            if verbose {
                lines.extend(more(row).iter().map(|text| format!("    {}", safe(text, super::LONGEST))));
            }
        }
        let canonical = [
            ("".into(), Style::Plain),
            (mirrors.host.clone(), Style::Plain),
            (mirrors.canonical.rate.map_or("-".into(), |figure| rate(figure.value)), Style::Plain),
            (bar(canonical, most, paint), Style::Good),
            (mirrors.canonical.connect.map_or("-".into(), |figure| time(figure.value)), Style::Plain),
            ("".into(), Style::Plain),
            ("canonical".into(), Style::Heading),
        ];
        lines.push(line(canonical, paint));
    }
    if verbose {
        lines.push(format!("    {}", safe(&mirrors.url, super::LONGEST)));
    }
    let (text, hint) = words::standing(standing);
    let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    if !hint.is_empty() || verbose {
        lines.extend(wrapped(&format!("{text}{hint}")));
    }
    let left = mirrors.rows.iter().filter(|row| row.rank.is_none()).count();
    if left > 0 && !verbose {
        let one = if left == 1 { "1 mirror is" } else { &format!("{left} mirrors are") };
        lines.extend(wrapped(&format!("{one} not asked; `git mirror list -v` says why")));
    }
    lines
}

/// Returns a row of the table. The bar stands behind the rate, with one space between.
fn line(cells: [(String, Style); 7], paint: Paint) -> String {
    let widths = [RANK, HOST, RATE, BAR, CONNECT, BEHIND, 0];
    let mut line = String::new();
    for (at, ((text, style), width)) in cells.iter().zip(widths).enumerate() {
        let text = if width > 0 { shortened(text, width) } else { safe(text, 80) };
        let text = match at {
            0 | 2 | 4 | 5 => format!("{text:>width$}"),
            _ => format!("{text:<width$}"),
        };
        line.push_str(&paint.text(*style, &text));
        line.push_str(if at == 2 { " " } else { "  " });
    }
    line.trim_end().to_owned()
}

fn cells(row: &Row, most: f64, paint: Paint) -> [(String, Style); 7] {
    let host = row.known.as_ref().map(|known| &known.host);
    let figure = host.and_then(|host| host.rate).map(|figure| figure.value);
    let lag = row.known.as_ref().and_then(|known| known.copy.lag);
    let shown = row.known.as_ref().map_or_else(|| row.url.clone(), |known| known.mirror.url.shown_host());
    let (last, style) = match (&row.odd, &row.last) {
        (Some(Odd::IsCanonical), _) => ("is canonical".to_owned(), Style::Off),
        (Some(Odd::Missing), _) => ("no such path".to_owned(), Style::Bad),
        _ if row.known.is_none() => ("not used".to_owned(), Style::Bad),
        (_, Some(last)) => {
            let ago = ago(now().saturating_sub(last.time));
            if is_ok(last) { (format!("ok {ago}"), Style::Good) } else { (format!("left {ago}"), Style::Bad) }
        }
        _ => ("never asked".to_owned(), Style::Plain),
    };
    [
        (
            row.rank.map_or("-".into(), |rank| rank.to_string()),
            if row.rank.is_some() { Style::Good } else { Style::Off },
        ),
        (shown, Style::Plain),
        (figure.map_or("-".into(), rate), Style::Plain),
        (bar(figure.unwrap_or(0.0), most, paint), Style::Good),
        (host.and_then(|host| host.connect).map_or("-".into(), |figure| time(figure.value)), Style::Plain),
        (lag.map_or("-".into(), |lag| format!("{:.0}%", lag * 100.0)), Style::Plain),
        (last, style),
    ]
}

/// Returns what `-v` adds to a row.
fn more(row: &Row) -> Vec<String> {
    let mut lines = vec![row.url.clone()];
    if let Some(known) = &row.known {
        let km = known.km.map(|km| format!("; {km:.0} km away")).unwrap_or_default();
        let failed = failures(known).map(|count| format!("; failed {count} x")).unwrap_or_default();
        let origin = known.mirror.origin.shown();
        lines.push(format!("{origin}; refs/mirror/{}/{km}{failed}", known.space.name()));
    }
    lines.push(row.reason.clone());
    lines.extend(row.odd.as_ref().map(|odd| words::odd(odd).to_owned()));
    lines.extend(row.last.as_ref().map(|last| match is_ok(last) {
        true => format!("gave {} last time", size(last.bytes)),
        false => format!("left last time: {}", last.result),
    }));
    lines
}

/// Returns how long ago something was, in 12 columns at most.
fn ago(seconds: u64) -> String {
    if seconds < 1000 * DAY { format!("{} ago", duration(seconds)) } else { "long ago".to_owned() }
}

fn is_ok(last: &Last) -> bool {
    &*last.result == "ok"
}

/// Returns how often it failed in a row, if it did.
fn failures(known: &Known) -> Option<u32> {
    Some(known.host.backoff.failures.saturating_add(known.copy.backoff.failures)).filter(|count| *count > 0)
}

/// Returns a bar: as long as the part that `value` is of `most`, and never nothing for what is something.
fn bar(value: f64, most: f64, paint: Paint) -> String {
    let part = if most > 0.0 { value / most } else { 0.0 };
    let length = (part * BAR as f64).round().clamp(if value > 0.0 { 1.0 } else { 0.0 }, BAR as f64);
    (if paint.unicode { "█" } else { "#" }).repeat(length as usize)
}

/// Returns bytes a second with three digits.
fn rate(value: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let step = ((value.max(1.0).log2() / 10.0) as usize).min(units.len() - 1);
    let figure = value / 1024_f64.powi(step as i32);
    let digits = usize::from(step > 0 && figure < 99.95);
    format!("{figure:.digits$} {}/s", units[step])
}

/// Returns milliseconds with two or three digits.
pub fn time(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

fn as_json(mirrors: &Mirrors) -> Value {
    let standing = &mirrors.standing;
    let by = match &standing.switch {
        Switch::Here => "repository",
        Switch::Elsewhere => "elsewhere",
        Switch::Url => "url",
        Switch::Off => "none",
        Switch::Other(_) => "other helper",
    };
    json!({
        "remote": standing.remote,
        "switched_on": standing.is_on(),
        "switched_on_by": by,
        "canonical": {
            "url": mirrors.url,
            "connect_ms": mirrors.canonical.connect.map(|figure| figure.value),
            "answer_ms": mirrors.canonical.answer.map(|figure| figure.value),
            "bytes_per_second": mirrors.canonical.rate.map(|figure| figure.value),
        },
        "mirrors": mirrors.rows.iter().map(row_as_json).collect::<Vec<_>>(),
    })
}

fn row_as_json(row: &Row) -> Value {
    let known = row.known.as_ref();
    let host = known.map(|known| &known.host);
    let left = known.and_then(|known| {
        [&known.host.backoff, &known.copy.backoff].iter().filter_map(|backoff| backoff.left(now())).max()
    });
    json!({
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
        "is_canonical": row.odd == Some(Odd::IsCanonical),
        "is_missing": row.odd == Some(Odd::Missing),
        "last": row.last.as_ref().map(|last| {
            json!({ "time": last.time, "result": last.result, "bytes": last.bytes })
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        for (value, shown) in [
            (0.0, "0 B/s"),
            (999.0, "999 B/s"),
            (1536.0, "1.5 KiB/s"),
            (150.0 * 1024.0, "150 KiB/s"),
            (1023.9 * 1024.0, "1024 KiB/s"),
            (12.34 * 1_048_576.0, "12.3 MiB/s"),
            (2e12, "1.8 TiB/s"),
        ] {
            assert_eq!(rate(value), shown);
        }
        assert_eq!([time(0.04), time(9.94), time(99.4), time(12_345.0)], ["0.0 ms", "9.9 ms", "99 ms", "12.3 s"]);
    }

    #[test]
    fn bars_are_parts_of_the_fastest() {
        let bar = |value, most| bar(value, most, Paint::PLAIN);
        assert_eq!([bar(0.0, 0.0), bar(0.0, 9.0), bar(0.1, 9.0), bar(9.0, 9.0)], ["", "", "#", "#####"]);
        assert_eq!(bar(f64::MAX, 1.0), "#####");
    }

    #[test]
    fn a_row_fits_80_columns_and_holds_nothing_unsafe() {
        let wide = || ("x\u{202e}\u{1b}[31m\u{200b}".repeat(50), Style::Plain);
        let row = line(
            [wide(), wide(), wide(), wide(), wide(), wide(), (format!("left {}", ago(999 * DAY)), Style::Plain)],
            Paint::PLAIN,
        );
        assert!(row.chars().count() <= 80, "{} columns: {row}", row.chars().count());
        assert!(row.is_ascii(), "{row}");
    }
}
