//! Making text fit the terminal.

use super::LONGEST;
use crate::values::safe_text::safe;

/// Returns text that is safe, and no wider: the middle is left out, as both ends of a host or path tell.
pub fn shortened(text: &str, width: usize) -> String {
    let text = safe(text, LONGEST);
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= width {
        return text;
    }
    let head = (width - 2) / 3;
    let tail = &chars[chars.len() - (width - 2 - head)..];
    chars[..head].iter().chain(['.', '.'].iter()).chain(tail).collect()
}

/// Returns text in lines of at most 80 columns, where it can be broken; a command in backticks is not.
pub fn wrapped(text: &str) -> Vec<String> {
    let text = safe(text, LONGEST);
    let mut words: Vec<String> = Vec::new();
    let mut command = false;
    for word in text.split(' ') {
        match words.last_mut().filter(|_| command) {
            Some(last) => last.extend([" ", word]),
            None => words.push(word.to_owned()),
        }
        command ^= word.matches('`').count() % 2 == 1;
    }
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= 80) {
            Some(line) => line.extend([" ", &word]),
            None => lines.push(word),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortens_in_the_middle() {
        assert_eq!(shortened("mirror.example.com:8443", 15), "mirr...com:8443");
        assert_eq!(shortened("m.example", 15), "m.example");
        assert_eq!(shortened("a\u{202e}b\u{1b}", 15), "a?b?");
    }

    #[test]
    fn wraps() {
        let lines = wrapped(&"word ".repeat(40));
        assert!(lines.len() > 2 && lines.iter().all(|line| line.len() <= 80), "{lines:?}");
        let lines = wrapped(&format!("{} `git mirror enable origin` does; so", "x".repeat(60)));
        assert_eq!(lines[1], "`git mirror enable origin` does; so");
    }
}
