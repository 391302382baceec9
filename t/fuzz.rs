//! Every decoder of foreign bytes (`t/fuzz/targets.rs`) on the inputs of `t/fuzz/corpus/` and on damaged copies of them.
//!
//! `GMF_FUZZ=<n>` makes n inputs for each (20,000 otherwise, fewer of packs), `GMF_FUZZ_SEED=<n>` begins elsewhere; a
//! failure names the input. The same inputs come every time, so that a failure can be repeated.

#[path = "fuzz/targets.rs"]
mod targets;

use std::path::Path;

/// xorshift64*: small, and the same everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n.max(1) as u64)).unwrap_or(0)
    }
}

/// Returns a damaged copy: bits flipped, parts cut, doubled, moved, or replaced by words that mean something.
fn damaged(random: &mut Random, seeds: &[Vec<u8>], words: &[Vec<u8>]) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let (at, end) = (random.below(input.len() + 1), random.below(input.len() + 1));
        let (at, end) = (at.min(end), at.max(end));
        match random.below(7) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.next() as u8,
            2 => drop(input.drain(at..end)),
            3 => {
                let part = input[at..end.min(at + 200)].to_vec();
                input.splice(at..at, part);
            }
            4 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                input.splice(at..end, other[from..].iter().copied());
            }
            5 => input.truncate(end),
            _ => {
                let word = &words[random.below(words.len())];
                input.splice(at..at, word.iter().copied());
            }
        }
    }
    input.truncate(1 << 17);
    input
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("t/fuzz")
}

/// Reads libFuzzer's dictionary: a word a line, in quotes, with `\xNN`, `\"` and `\\`.
fn words() -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(folder().join("dictionary")).expect("a dictionary");
    let quoted = text.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    let words: Vec<Vec<u8>> = quoted.map(unescaped).collect();
    assert!(!words.is_empty());
    words
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let (byte, tail) = match (first, after) {
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let hex = [*high, *low].map(char::from).iter().collect::<String>();
                (u8::from_str_radix(&hex, 16).expect("two hexadecimal digits"), tail)
            }
            (b'\\', [quoted, tail @ ..]) => (*quoted, tail),
            _ => (*first, after),
        };
        out.push(byte);
        rest = tail;
    }
    out
}

/// Returns the inputs of a target's corpus folder, by name.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder().join("corpus").join(target)).expect(target);
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let inputs: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).expect("an input")).collect();
    assert!(!inputs.is_empty(), "{target} has no corpus");
    inputs
}

fn fuzz(target: &str) {
    let (_, decode) = targets::TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    let number = |name: &str, otherwise| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    let mut random = Random(number("GMF_FUZZ_SEED", 1) | 1 << 40);
    let (seeds, words) = (corpus(target), words());
    let inputs = number("GMF_FUZZ", if target == "pack_proof" { 500 } else { 20_000 });
    let made = (0..inputs).map(|_| damaged(&mut random, &seeds, &words));
    for input in seeds.iter().cloned().chain(made) {
        if std::panic::catch_unwind(|| decode(&input)).is_err() {
            panic!("{target}, this input: {}", input.escape_ascii());
        }
    }
}

macro_rules! tests {
    ($($target:ident)*) => {
        $(#[test] fn $target() { fuzz(stringify!($target)); })*
        const TESTED: &[&str] = &[$(stringify!($target)),*];
    };
}

tests! {
    ack_filter advert config fetch_request git_request hosts http_head http_request mirror_answer mirror_request
    mirrors_toml pack_proof pkt refs state stateless tracked url url_key v0_tokens
}

#[test]
fn every_target_has_a_test_a_program_and_a_corpus() {
    let names: Vec<&str> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, TESTED);
    let files = |folder: std::path::PathBuf| {
        let entries = std::fs::read_dir(folder).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().replace(".rs", "")).collect();
        names.sort();
        names
    };
    assert_eq!(files(folder().join("fuzz_targets")), names);
    assert_eq!(files(folder().join("corpus")), names);
    let manifest = std::fs::read_to_string(folder().join("Cargo.toml")).expect("a manifest");
    assert!(names.iter().all(|name| manifest.contains(&format!("name = \"{name}\""))));
}
