//! The value of one key of a list file, and what to say where it is not of the kind that is expected.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// How much of a value is shown, in characters.
const MOST_SHOWN: usize = 60;

/// A value and the full name of its key.
pub struct Field<'t> {
    /// Such as `mirror[2].weight`.
    pub key: String,
    /// The value and its place.
    pub value: &'t Spanned<DeValue<'t>>,
}

impl<'t> Field<'t> {
    /// Returns what `name` is in `table`, which is called `prefix`.
    pub fn of(table: &'t DeTable<'t>, prefix: &str, name: &str) -> Option<Self> {
        let value = table.get(name)?;
        let dot = if prefix.is_empty() { "" } else { "." };
        Some(Field { key: format!("{prefix}{dot}{name}"), value })
    }

    /// Returns where the value begins, in bytes from the start of the file.
    pub fn offset(&self) -> usize {
        self.value.span().start
    }

    /// Returns the value as a text.
    pub fn text(&self) -> Result<&'t str, String> {
        self.value.get_ref().as_str().ok_or_else(|| self.expected("a text in quotes"))
    }

    /// Returns the value as a number within bounds.
    pub fn number(&self, least: i64, most: i64) -> Result<i64, String> {
        let number = match self.value.get_ref() {
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.expected(&format!("a number from {least} to {most}")))
    }

    /// Returns what the value, one of some words, stands for.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, String> {
        let chosen = choices.iter().find(|(word, _)| self.value.get_ref().as_str() == Some(word));
        chosen.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.expected(&words.join(" or "))
        })
    }

    /// Returns the items of a list, at least one; a text counts as a list of one.
    pub fn items(self: &Field<'t>) -> Result<Vec<Field<'t>>, String> {
        let item = |(index, value)| Field { key: format!("{}[{}]", self.key, index + 1), value };
        match self.value.get_ref() {
            DeValue::String(_) => Ok(vec![Field { key: self.key.clone(), value: self.value }]),
            DeValue::Array(items) if !items.is_empty() => Ok(items.iter().enumerate().map(item).collect()),
            DeValue::Array(_) => Err("expected something in the list".into()),
            _ => Err(self.expected("a text in quotes, or a list of them")),
        }
    }

    fn expected(&self, what: &str) -> String {
        format!("expected {what}, got {}", got(self.value.get_ref()))
    }
}

/// Returns a value as it is shown to people: as it is written, but short and on one line.
pub fn got(value: &DeValue) -> String {
    let short = |text: &str| match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", text[..end].escape_debug()),
        None => text.escape_debug().to_string(),
    };
    match value {
        DeValue::String(text) => format!("\"{}\"", short(text)),
        DeValue::Integer(number) => short(&number.to_string()),
        DeValue::Float(number) => short(number.as_str()),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => format!("a list of {}", items.len()),
        DeValue::Table(_) => "a section".into(),
    }
}

/// Returns the known name that `name` is probably meant to be: the same but for case and `-`, or at most two letters,
/// and a third of them, away.
pub fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = name.to_lowercase().replace('-', "_");
    let most = (plain.chars().count() / 3).min(2);
    let near = known.iter().map(|known| (distance(&plain, known), *known)).min();
    // `preferMirror` has no separator at all.
    let folded = known.iter().copied().find(|known| known.replace('_', "") == plain.replace('_', ""));
    folded.or_else(|| near.filter(|(distance, _)| *distance <= most).map(|(_, known)| known))
}

/// How many letters have to be put in, left out, changed or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    // A long key is near none, and is not worth the time.
    if a.len() > 64 {
        return usize::MAX;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let least = changed.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                if swapped { least.min(table[i - 2][j - 2] + 1) } else { least }
            };
        }
    }
    table[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["exclude_countries", "only_countries", "priority", "url", "weight", "prefer_mirror"];
        for (name, want) in [
            ("prioritiy", Some("priority")),
            ("Priority", Some("priority")),
            ("wieght", Some("weight")),
            ("uri", Some("url")),
            ("only-countries", Some("only_countries")),
            ("only_country", None),
            ("preferMirror", Some("prefer_mirror")),
            ("prefer-mirror", Some("prefer_mirror")),
            ("u", None),
            ("colour", None),
            ("", None),
            (&"x".repeat(100_000), None),
        ] {
            assert_eq!(nearest(name, &known), want, "{name:.20}");
        }
    }
}
