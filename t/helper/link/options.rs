//! What is said on the command line, and in the cue file.

use std::path::PathBuf;
use std::time::Duration;

/// What a link is like.
#[derive(Clone, Default)]
pub struct Options {
    /// The port behind the link.
    pub to: u16,
    /// Round-trip time; each direction takes half.
    pub rtt: Duration,
    /// At most so much more delay, one way.
    pub jitter: Duration,
    /// Bit/s in each direction.
    pub rate: Option<u64>,
    /// What goes wrong.
    pub fault: Option<Fault>,
    /// How many connections it goes wrong for, from the first on.
    pub first: Option<usize>,
    /// A file of further options, read anew for each connection.
    pub cue: Option<PathBuf>,
    /// A file that gets a line per connection: bytes from the client, bytes from the server.
    pub count: Option<PathBuf>,
}

/// What goes wrong. Numbers count bytes from the server.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Fault {
    /// Nobody listens.
    Refuse,
    /// Silence after so many bytes.
    Hang(u64),
    /// Closed after so many bytes.
    Cut(u64),
    /// Bit 0 of this byte is another.
    Flip(u64),
    /// After so many bytes, so many bytes a second.
    Drip(u64, u64),
}

impl Options {
    /// Adds what these words say.
    pub fn read(mut self, words: impl IntoIterator<Item = String>) -> Result<Options, String> {
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} what?"))?;
            let bad = || format!("{word} {value}?");
            match word.as_str() {
                "--to" => self.to = value.parse().map_err(|_| bad())?,
                "--rtt" => self.rtt = milliseconds(&value).ok_or_else(bad)?,
                "--jitter" => self.jitter = milliseconds(&value).ok_or_else(bad)?,
                "--rate" => self.rate = Some(rate(&value).ok_or_else(bad)?),
                "--fault" if value == "none" => self.fault = None,
                "--fault" => self.fault = Some(fault(&value).ok_or_else(bad)?),
                "--first" => self.first = Some(value.parse().map_err(|_| bad())?),
                "--cue" => self.cue = Some(value.into()),
                "--count" => self.count = Some(value.into()),
                _ => return Err(format!("{word}?")),
            }
        }
        Ok(self)
    }

    /// Returns the options of this moment. A cue that cannot be read says nothing, one that is wrong stays unheard.
    pub fn now(&self) -> Options {
        let cue = self.cue.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        self.clone().read(cue.split_whitespace().map(String::from)).unwrap_or_else(|wrong| {
            eprintln!("link: in the cue: {wrong}");
            self.clone()
        })
    }
}

fn milliseconds(text: &str) -> Option<Duration> {
    let value: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(value / 1000.0).ok()
}

fn rate(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1_000),
        b'm' => (&text[..text.len() - 1], 1_000_000),
        b'g' => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit).filter(|rate| *rate > 0)
}

fn fault(text: &str) -> Option<Fault> {
    let mut parts = text.split(':');
    let kind = parts.next()?;
    let numbers: Vec<u64> = parts.map(|part| part.parse().ok()).collect::<Option<_>>()?;
    match (kind, numbers.as_slice()) {
        ("refuse", []) => Some(Fault::Refuse),
        ("hang", []) => Some(Fault::Hang(0)),
        ("hang", [n]) => Some(Fault::Hang(*n)),
        ("cut", [n]) => Some(Fault::Cut(*n)),
        ("flip", [n]) => Some(Fault::Flip(*n)),
        ("drip", [n, rate]) => Some(Fault::Drip(*n, (*rate).max(1))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Result<Options, String> {
        Options::default().read(text.split_whitespace().map(String::from))
    }

    #[test]
    fn what_is_said_is_meant() {
        let said = options("--to 9418 --rtt 150 --jitter 0.5 --rate 10m --fault drip:100:7").expect("good options");
        assert_eq!((said.to, said.rtt, said.rate), (9418, Duration::from_millis(150), Some(10_000_000)));
        assert_eq!((said.jitter, said.fault), (Duration::from_micros(500), Some(Fault::Drip(100, 7))));
        assert_eq!(said.read(["--fault", "none"].map(String::from)).expect("good options").fault, None);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for text in ["--rtt", "--rtt -1", "--rate 0", "--rate fast", "--fault cut", "--fault explode", "--size 1"] {
            let wrong = options(text).err().expect("an error");
            assert!(wrong.contains(text.split(' ').next().unwrap_or_default()), "{text}: {wrong}");
        }
    }
}
