//! Chunk sizes that nobody can mean (RFC 9112, section 7.1). hyper takes up to 64 bits, and waits for so many bytes.

/// As many digits as a size has that can be meant: 4 GiB less one.
const MOST_DIGITS: u32 = 8;

/// Looks at what a client sends for a line that is a hexadecimal number of more than 32 bits and nothing else.
///
/// It does not know where a body begins. No header is such a line, as that has a colon; nor does git's protocol have lines
/// that end with a carriage return, and in what is compressed one comes up by chance once in 10^30 bytes.
#[derive(Debug, Default)]
pub struct Watch {
    state: State,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// Within a line that is no number.
    #[default]
    Other,
    /// Behind a carriage return, after so many digits if these are all of the line.
    Return(u32),
    /// Behind so many digits at the beginning of a line, leading zeros left out.
    Digits(u32),
}

impl Watch {
    /// Takes what comes next; returns whether it ends such a line.
    pub fn sees(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().any(|byte| {
            let (state, found) = match (self.state, byte) {
                (State::Return(digits), b'\n') => (State::Digits(0), digits > MOST_DIGITS),
                (State::Digits(0), b'0') => (State::Digits(0), false),
                (State::Digits(digits), b) if b.is_ascii_hexdigit() => (State::Digits(digits.saturating_add(1)), false),
                (State::Digits(digits), b';') => (State::Other, digits > MOST_DIGITS),
                (State::Digits(digits), b'\r') => (State::Return(digits), false),
                (_, b'\r') => (State::Return(0), false),
                _ => (State::Other, false),
            };
            self.state = state;
            found
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_them_however_they_are_cut() {
        for (text, want) in [
            ("POST / HTTP/1.1\r\nA: b\r\n\r\nffffffffffffffff\r\n", true),
            ("\r\n\r\n4\r\n0000\r\n123456789\r\n", true),
            ("\r\nfffffffff;a=b\r\n", true),
            ("\r\n000000000ffff\r\n", false),
            ("\r\nffffffff\r\n", false),
            ("\r\nffffffffffff: b\r\n", false),
            ("\nffffffffffff\n", false),
            ("x ffffffffffff\r\n", false),
        ] {
            assert_eq!(Watch::default().sees(text.as_bytes()), want, "{text}");
            let mut bytewise = Watch::default();
            assert_eq!(text.bytes().any(|byte| bytewise.sees(&[byte])), want, "{text}");
        }
    }
}
