//! What somebody else wrote, made fit for a terminal, a list, a log or a page: one line, of a bounded length, in which
//! nothing moves the cursor, hides, or changes the order in which the rest is read.
//!
//! Every text of a mirror, a server, a child process or an old state file goes through here where it is stored, and once
//! more where it is shown. It is not for what a program reads: what is unsafe is replaced, not encoded.
//!
//! The characters are those of the Unicode Character Database's categories Cc, Cf, Zl and Zp, of its property
//! `Default_Ignorable_Code_Point` (UAX #44), and of "Trojan Source" (CVE-2021-42574).

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// Longest [`SafeText`], in characters.
pub const MOST: usize = 500;

/// A text that somebody else wrote, and that is safe to show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct SafeText(String);

impl SafeText {
    /// Returns `text`, made safe, and cut to [`MOST`] characters.
    pub fn new(text: &str) -> Self {
        SafeText(safe(text, MOST))
    }
}

impl From<String> for SafeText {
    fn from(text: String) -> Self {
        SafeText::new(&text)
    }
}

impl From<SafeText> for String {
    fn from(text: SafeText) -> Self {
        text.0
    }
}

impl Deref for SafeText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SafeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns `text` as one line of at most `most` characters: what separates lines or columns becomes a space, what else is
/// not [safe](is_safe) becomes `?`, and a `…` stands for an end that is cut off.
pub fn safe(text: &str, most: usize) -> String {
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if is_safe(c) => c,
        _ => '?',
    };
    let mut rest = text.trim().chars();
    let mut line: String = rest.by_ref().take(most).map(shown).collect();
    if rest.next().is_some() {
        line.pop();
        line.push('…');
    }
    line
}

/// Returns whether a character shows as itself, and changes nothing about its neighbours' order or visibility.
pub fn is_safe(c: char) -> bool {
    let invisible = matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}');
    !c.is_control() && !invisible
}

/// Returns JSON whose strings hold nothing unsafe: what would be is written as `\uXXXX`, so that it reads as before.
pub fn safe_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || is_safe(c) {
            out.push(c);
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_out_what_could_deceive() {
        for (class, bad) in [
            ("C0", "\0\u{1}\u{7}\u{8}\u{b}\u{c}\u{1b}\u{1f}"),
            ("DEL", "\u{7f}"),
            ("C1", "\u{80}\u{85}\u{90}\u{9b}\u{9c}\u{9d}\u{9f}"),
            ("separators", "\u{2028}\u{2029}"),
            ("bidirectional marks", "\u{61c}\u{200e}\u{200f}"),
            ("bidirectional overrides", "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}"),
            ("bidirectional isolates", "\u{2066}\u{2067}\u{2068}\u{2069}"),
            ("zero width", "\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{180e}"),
            ("invisible", "\u{ad}\u{34f}\u{115f}\u{3164}\u{ffa0}\u{2061}\u{fe0f}\u{fff9}"),
            ("tags", "\u{e0001}\u{e0041}\u{e007f}\u{e0100}"),
        ] {
            for c in bad.chars() {
                assert!(!is_safe(c), "{class}: {c:?}");
                assert_eq!(safe(&format!("a{c}b"), MOST), "a?b", "{class}: {c:?}");
            }
        }
    }

    #[test]
    fn leaves_what_people_write() {
        for text in ["fatal: not found", "größer", "日本語", "עברית", "naïve → ≈ 3 %", "a'b\"c\\d"] {
            assert_eq!(safe(text, MOST), text);
        }
    }

    #[test]
    fn is_one_line_of_a_bounded_length() {
        assert_eq!(safe(" one\r\ntwo\tthree\n", MOST), "one  two three");
        assert_eq!(safe("\u{1b}]0;owned\u{7}\u{1b}[31mred", MOST), "?]0;owned??[31mred");
        assert_eq!(safe("abcdef", 6), "abcdef");
        assert_eq!(safe("abcdefg", 6), "abcde…");
        assert_eq!(SafeText::new(&"x".repeat(100_000)).chars().count(), MOST);
    }

    #[test]
    fn is_made_safe_when_it_is_read() {
        let read: SafeText = serde_json::from_str("\"a\\u202eb\\u009b31m\"").expect("a string");
        assert_eq!(&*read, "a?b?31m");
        assert_eq!(serde_json::to_string(&read).expect("a string"), "\"a?b?31m\"");
    }

    #[test]
    fn json_reads_as_before() {
        let value = serde_json::json!({ "a": "x\u{202e}\u{9b}\u{e0041}\n" });
        let text = safe_json(&format!("{value:#}"));
        assert!(text.chars().all(|c| c == '\n' || is_safe(c)), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).ok(), Some(value));
    }
}
