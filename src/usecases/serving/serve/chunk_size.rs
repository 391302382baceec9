//! Chunk sizes that nobody can mean (RFC 9112, section 7.1): larger than a whole request may be. hyper takes up to 64
//! bits, and waits for so many bytes.

/// Looks at what a client sends for a line that is a hexadecimal number beyond a limit and nothing else.
///
/// It does not know where a body begins. No header is such a line, as that has a colon; nor does git's protocol have lines
/// that end with a carriage return, and in what is compressed one comes up by chance once in 10^17 bytes.
#[derive(Debug)]
pub struct Watch {
    most: u64,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Within a line that is no number.
    Other,
    /// Behind a carriage return, after so large a number if that is all of the line.
    Return(u64),
    /// Behind the digits of so large a number at the beginning of a line.
    Digits(u64),
}

impl Watch {
    /// Returns one that has seen nothing; a chunk may have `most` bytes.
    pub fn new(most: u64) -> Self {
        Watch { most, state: State::Other }
    }

    /// Takes what comes next; returns whether it ends such a line.
    pub fn sees(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().any(|byte| {
            let (state, found) = match (self.state, byte) {
                (State::Return(size), b'\n') => (State::Digits(0), size > self.most),
                (State::Digits(size), b';') => (State::Other, size > self.most),
                (State::Digits(size), b'\r') => (State::Return(size), false),
                (State::Digits(size), digit) => match char::from(*digit).to_digit(16) {
                    Some(digit) => (State::Digits(size.saturating_mul(16).saturating_add(u64::from(digit))), false),
                    None => (State::Other, false),
                },
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
            ("\r\n0000000000000000000ffff\r\n", false),
            ("\r\n1000001\r\n", true),
            ("\r\nffffffff\r\n", true),
            ("\r\n1000000\r\n", false),
            ("\r\nffffffffffff: b\r\n", false),
            ("\nffffffffffff\n", false),
            ("x ffffffffffff\r\n", false),
        ] {
            assert_eq!(Watch::new(16 << 20).sees(text.as_bytes()), want, "{text}");
            let mut bytewise = Watch::new(16 << 20);
            assert_eq!(text.bytes().any(|byte| bytewise.sees(&[byte])), want, "{text}");
        }
    }
}
