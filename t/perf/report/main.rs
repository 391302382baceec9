//! lab-report <results.tsv> <folder>: writes report.md, report.json and report.svg there. Part of `t/perf/lab`.

mod plot;
mod results;
mod table;

use std::fs;
use std::path::Path;

use results::{Results, Row};
use serde_json::{Map, Value, json};

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, notes, folder] = words.as_slice() else {
        eprintln!("lab-report <results.tsv> <folder>");
        std::process::exit(129);
    };
    if let Err(wrong) = run(notes, Path::new(folder)) {
        eprintln!("lab-report: {wrong}");
        std::process::exit(1);
    }
}

fn run(notes: &str, folder: &Path) -> Result<(), String> {
    let text = fs::read_to_string(notes).map_err(|error| format!("{notes}: {error}"))?;
    let results = Results::read(&text).map_err(|line| format!("{notes}: not understood: {line}"))?;
    let json = format!("{:#}\n", json(&results));
    for (name, text) in
        [("report.md", table::markdown(&results)), ("report.json", json), ("report.svg", plot::svg(&results))]
    {
        fs::write(folder.join(name), text).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

fn json(results: &Results) -> Value {
    let info: Map<String, Value> =
        results.info.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    json!({ "info": info, "rows": results.rows.iter().map(of_row).collect::<Vec<_>>() })
}

fn of_row(row: &Row) -> Value {
    let contender = |name: &str| {
        json!({ "median_ms": row.median(name), "samples_ms": row.times(name), "right": row.is_right(name),
                "carried_bytes": row.samples.iter().filter(|sample| sample.contender == name)
                    .map(|sample| sample.carried.clone()).collect::<Vec<_>>() })
    };
    let contenders: Map<String, Value> = table::CONTENDERS
        .iter()
        .filter(|(name, _)| row.samples.iter().any(|sample| sample.contender == *name))
        .map(|(name, _)| ((*name).to_owned(), contender(name)))
        .collect();
    let verdict = row.verdict();
    json!({
        "id": row.id, "section": row.section, "title": row.title, "contenders": contenders,
        "bound_ms": row.bound(), "ratio_to_bound": row.ratio(), "gain_over_canonical": row.gain(),
        "wanted": verdict.as_ref().map(|verdict| verdict.wanted.as_str()),
        "holds": verdict.as_ref().map(|verdict| verdict.holds),
    })
}
