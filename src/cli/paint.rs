//! Colours on stdout, as `color.mirror`, `color.ui` and `NO_COLOR` say; and which characters the terminal has.

use std::io::IsTerminal;

use crate::adapters::process;

/// What a text is, to whoever looks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A text.
    Plain,
    /// A heading.
    Heading,
    /// All is well.
    Good,
    /// Something is switched off, or left out.
    Off,
    /// Something failed.
    Bad,
}

/// Paints, or does not.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    colours: bool,
    /// Whether characters beyond ASCII may be used.
    pub unicode: bool,
}

impl Paint {
    /// Returns what stdout wants. git decides: `color.mirror`, else `color.ui`, of which `auto` means a terminal that is
    /// not dumb. `NO_COLOR` (no-color.org) is for `auto`: who says `always` means it.
    pub fn of_stdout() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let terminal = std::io::stdout().is_terminal() && !unwanted;
        let git = ["config", "--get-colorbool", "color.mirror", if terminal { "true" } else { "false" }];
        let wanted = process::output(&mut process::git(git), b"");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
        let locale = locale.unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        Paint {
            colours: wanted.is_ok_and(|answer| answer.trim_ascii() == b"true"),
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }

    /// Returns no colours, and ASCII.
    #[cfg(test)]
    pub const PLAIN: Paint = Paint { colours: false, unicode: false };

    /// Returns `text` in the colour of its style.
    pub fn text(self, style: Style, text: &str) -> String {
        let code = match style {
            _ if !self.colours || text.trim().is_empty() => return text.to_owned(),
            Style::Plain => return text.to_owned(),
            Style::Heading => "1",
            Style::Good => "32",
            Style::Off => "33",
            Style::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[m")
    }
}
