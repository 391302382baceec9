//! The report as a picture: time against size, and against distance.

use std::fmt::Write;

use crate::results::{Results, Row};
use crate::table::CONTENDERS;

const COLOURS: [&str; 5] = ["#7a7a7a", "#2a9d5c", "#8e5bb5", "#c98a1b", "#d0312d"];

/// A panel: section, title, what x is, and whether both axes are logarithmic.
const PANELS: [(&str, &str, &str, bool); 3] = [
    ("clone", "Clone: canonical 150 ms, mirror 2 ms", "size of the repository, MB", true),
    ("distance-canonical", "A tenth of 20 MB; mirror 2 ms", "round trip to canonical, ms", false),
    ("distance-mirror", "A tenth of 20 MB; canonical 150 ms", "round trip to the mirror, ms", false),
];

const WIDTH: f64 = 330.0;
const HEIGHT: f64 = 300.0;
/// Around the axes: left, top, right, bottom.
const MARGIN: [f64; 4] = [48.0, 34.0, 14.0, 44.0];

/// Returns an SVG with those panels for which there are at least two rows.
pub fn svg(results: &Results) -> String {
    let panels: Vec<_> = PANELS
        .iter()
        .map(|panel| (panel, results.rows.iter().filter(|row| row.section == panel.0).collect::<Vec<_>>()))
        .filter(|(_, rows)| rows.len() > 1)
        .collect();
    let (width, height) = (WIDTH * panels.len().max(1) as f64, HEIGHT + 30.0);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" \
         viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (n, ((_, title, x_label, log), rows)) in panels.iter().enumerate() {
        let _ = writeln!(text, "<g transform=\"translate({} 0)\">", WIDTH * n as f64);
        panel(&mut text, title, x_label, *log, rows);
        text.push_str("</g>\n");
    }
    let drawn = |name: &str| panels.iter().any(|(_, rows)| rows.iter().any(|row| row.median(name).is_some()));
    let legend = CONTENDERS.iter().zip(COLOURS).filter(|((name, _), _)| drawn(name));
    for (n, ((_, name), colour)) in legend.enumerate() {
        let (x, y) = (20.0 + 125.0 * n as f64, HEIGHT + 14.0);
        let _ = writeln!(
            text,
            "<path d=\"M{x} {y}h18\" stroke=\"{}\" stroke-width=\"2\"/><text x=\"{}\" y=\"{}\">{name}</text>",
            colour,
            x + 24.0,
            y + 4.0
        );
    }
    text.push_str("</svg>\n");
    text
}

fn panel(text: &mut String, title: &str, x_label: &str, log: bool, rows: &[&Row]) {
    let unit = if log { 1e6 } else { 1.0 };
    let seconds = |row: &Row, name: &str| row.median(name).map(|ms| ms / 1000.0);
    let all = CONTENDERS.iter().flat_map(|(name, _)| rows.iter().filter_map(|row| seconds(row, name)));
    let across = Axis::over(rows.iter().map(|row| row.x / unit), log, MARGIN[0], WIDTH - MARGIN[2]);
    let along = Axis::over(all, log, HEIGHT - MARGIN[3], MARGIN[1]);
    let _ = writeln!(text, "<text x=\"{}\" y=\"18\" font-size=\"12\">{title}</text>", MARGIN[0]);
    let _ = writeln!(
        text,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{x_label}</text><text x=\"8\" y=\"30\">s</text>",
        f64::midpoint(MARGIN[0], WIDTH - MARGIN[2]),
        HEIGHT - 10.0
    );
    for tick in across.ticks() {
        let x = across.place(tick);
        let (top, bottom) = (MARGIN[1], HEIGHT - MARGIN[3]);
        let _ = writeln!(
            text,
            "<path d=\"M{x:.1} {top}V{bottom}\" stroke=\"#e4e4e4\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>",
            bottom + 14.0
        );
    }
    for tick in along.ticks() {
        let y = along.place(tick);
        let (left, right) = (MARGIN[0], WIDTH - MARGIN[2]);
        let _ = writeln!(
            text,
            "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#e4e4e4\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            left - 5.0,
            y + 4.0
        );
    }
    for ((name, _), colour) in CONTENDERS.iter().zip(COLOURS) {
        let points: Vec<(f64, f64)> = rows
            .iter()
            .filter_map(|row| Some((across.place(row.x / unit), along.place(seconds(row, name)?))))
            .collect();
        if points.is_empty() {
            continue;
        }
        let line: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            text,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        for (x, y) in points {
            let _ = writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>");
        }
    }
}

/// Values from `low` to `high` along a line of the picture.
struct Axis {
    low: f64,
    high: f64,
    log: bool,
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>, log: bool, from: f64, to: f64) -> Axis {
        let (least, most) =
            values.fold((f64::MAX, f64::MIN), |(least, most), value| (value.min(least), value.max(most)));
        let low = if log { least * 0.8 } else { 0.0 };
        Axis { low, high: most * if log { 1.25 } else { 1.05 }, log, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let share = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }

    /// Returns round values, a handful.
    fn ticks(&self) -> Vec<f64> {
        let shape = |exponent: i32| [1.0, 2.0, 5.0].map(|digit| rounded(digit * 10_f64.powi(exponent)));
        if self.log {
            let all = (-3..6).flat_map(shape).filter(|tick| (self.low..=self.high).contains(tick));
            return all.collect();
        }
        let step = (-3..6).flat_map(shape).find(|step| self.high / step <= 6.0).unwrap_or(self.high);
        (0..).map(|n| rounded(f64::from(n) * step)).take_while(|tick| *tick <= self.high).collect()
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
