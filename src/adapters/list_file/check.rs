//! Reads the text of a list file and finds everything that is wrong with it.
//!
//! The keys are described in git-mirror(1). TOML is read to its syntax tree, which knows the place of every value, so
//! that each problem can name its line; nothing is guessed or corrected.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fields::{Field, got, nearest};
use super::urls;
use crate::decide::continent;
use crate::decide::network::Network;
use crate::decide::policy::{Candidate, DEFAULT_FIRST, Listing, MOST_OF_A_PAGE, Policy};
use crate::values::mirror_list::{Location, MirrorEntry, PreferMirror, country_code};
use crate::values::url_key;

/// The most mirrors of a list.
pub const MOST_MIRRORS: usize = 10_000;

/// The largest priority and the largest weight.
const MOST: i64 = 1_000_000;

const TOP_KEYS: [&str; 6] = ["canonical", "first", "geoip_database", "mirror", "policy", "prefer_mirror"];
const MIRROR_KEYS: [&str; 8] =
    ["country", "exclude_countries", "location", "networks", "only_countries", "priority", "url", "weight"];

/// What a list file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The list. Its URLs hold `{repo}` where no repository was named.
    pub listing: Listing,
    /// The GeoIP database as it is written.
    pub geoip_database: Option<PathBuf>,
}

/// Something wrong with a list file. Its display is one line: `mirrors.toml:7: mirror[2].weight: expected …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as it is called towards the user.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// The key, mirrors counted from 1; empty for what is no TOML.
    pub key: String,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

/// Reads a list. `file_name` is for the problems; `repo` is the name to put in for `{repo}`, where one is known.
///
/// # Errors
/// All that is wrong, by line.
pub fn check(text: &str, file_name: &str, repo: Option<&str>) -> Result<Checked, Vec<Problem>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
    let mut checker = Checker { file: file_name, ends, repo, ..Checker::default() };
    for err in errors {
        let line = checker.line(err.span().map_or(text.len(), |span| span.start));
        checker.broken.insert(line);
        checker.problems.push(checker.problem(line, "", err.message().escape_debug().to_string()));
    }
    let checked = checker.root(root.get_ref());
    let mut problems = checker.problems;
    problems.sort_by_key(|problem| problem.line);
    if problems.is_empty() { Ok(checked) } else { Err(problems) }
}

#[derive(Default)]
struct Checker<'t> {
    file: &'t str,
    /// Where lines end, in bytes.
    ends: Vec<usize>,
    repo: Option<&'t str>,
    problems: Vec<Problem>,
    /// Lines that are no TOML. What is read from them means nothing.
    broken: BTreeSet<usize>,
    /// The mirrors so far, by what their URLs mean.
    seen: HashMap<String, usize>,
}

impl Checker<'_> {
    fn line(&self, offset: usize) -> usize {
        self.ends.partition_point(|end| *end < offset) + 1
    }

    fn problem(&self, line: usize, key: &str, what: String) -> Problem {
        Problem { file: self.file.to_owned(), line, key: key.to_owned(), what }
    }

    fn report(&mut self, offset: usize, key: &str, what: impl Into<String>) {
        let line = self.line(offset);
        if !self.broken.contains(&line) {
            self.problems.push(self.problem(line, key, what.into()));
        }
    }

    /// Reports what `read` finds wrong with the value of a key, and otherwise returns what it makes of it.
    fn read<T>(&mut self, field: Option<Field>, read: impl FnOnce(&Field) -> Result<T, String>) -> Option<T> {
        let field = field?;
        read(&field).map_err(|what| self.report(field.offset(), &field.key, what)).ok()
    }

    /// The same for each text of a list; one text counts as a list of one.
    fn read_all<T>(&mut self, field: Option<Field>, mut read: impl FnMut(&Field) -> Result<T, String>) -> Vec<T> {
        let Some(field) = field else { return Vec::new() };
        match field.items() {
            Ok(items) => items.into_iter().filter_map(|item| self.read(Some(item), &mut read)).collect(),
            Err(what) => {
                self.report(field.offset(), &field.key, what);
                Vec::new()
            }
        }
    }

    fn root(&mut self, root: &DeTable) -> Checked {
        self.unknown_keys(root, "", &TOP_KEYS, &MIRROR_KEYS, "belongs below a [[mirror]]");
        let field = |name| Field::of(root, "", name);
        let repo = self.repo;
        let canonical = self.read_all(field("canonical"), |item| url(item, repo));
        let prefer = self.read(field("prefer_mirror"), |f| {
            f.choice(&[("no", PreferMirror::No), ("once", PreferMirror::Once), ("always", PreferMirror::Always)])
        });
        let policy = self.read(field("policy"), |f| {
            f.choice(&[("fixed", Policy::Fixed), ("random", Policy::Random), ("geoip", Policy::GeoIp)])
        });
        let first = self.read(field("first"), |f| f.number(1, MOST_OF_A_PAGE as i64));
        let geoip_database = self.read(field("geoip_database"), |f| match f.text()? {
            "" => Err("expected the path of a MaxMind DB file, got nothing".into()),
            text if text.contains('\0') => Err("a path holds no NUL".into()),
            text => Ok(PathBuf::from(text)),
        });
        if policy == Some(Policy::GeoIp)
            && let (Some(policy), None) = (field("policy"), field("geoip_database"))
        {
            self.report(policy.offset(), "policy", "\"geoip\" needs the key geoip_database");
        }
        let listing = Listing {
            canonical,
            prefer: prefer.unwrap_or_default(),
            policy: policy.unwrap_or_default(),
            first: first.and_then(|n| usize::try_from(n).ok()).unwrap_or(DEFAULT_FIRST),
            mirrors: self.mirrors(field("mirror")),
        };
        Checked { listing, geoip_database }
    }

    fn mirrors(&mut self, field: Option<Field>) -> Vec<Candidate> {
        let Some(field) = field else { return Vec::new() };
        let DeValue::Array(sections) = field.value.get_ref() else {
            self.report(field.offset(), "mirror", "expected sections that begin with [[mirror]]");
            return Vec::new();
        };
        if let Some(beyond) = sections.get(MOST_MIRRORS) {
            let count = sections.len();
            self.report(beyond.span().start, "mirror", format!("expected {MOST_MIRRORS} at most, got {count}"));
        }
        let mut mirrors = Vec::new();
        for (index, section) in sections.iter().take(MOST_MIRRORS).enumerate() {
            let key = format!("mirror[{}]", index + 1);
            match section.get_ref() {
                DeValue::Table(table) => mirrors.push(self.mirror(table, section, &key, index + 1)),
                other => self.report(section.span().start, &key, format!("expected a section, got {}", got(other))),
            }
        }
        mirrors
    }

    fn mirror(&mut self, table: &DeTable, section: &Spanned<DeValue>, key: &str, number: usize) -> Candidate {
        self.unknown_keys(table, key, &MIRROR_KEYS, &TOP_KEYS, "belongs above the first [[mirror]]");
        let field = |name| Field::of(table, key, name);
        let repo = self.repo;
        let named = field("url");
        if named.is_none() && self.broken.is_empty() {
            self.report(section.span().start, key, "expected a url");
        }
        let url = self.read(named, |f| url(f, repo));
        if let Some(url) = &url
            && let Some(other) = self.seen.insert(url_key::key(url), number)
        {
            let offset = field("url").map_or(0, |f| f.offset());
            self.report(offset, &format!("{key}.url"), format!("mirror[{other}] is the same"));
        }
        let number = |n: i64| u32::try_from(n).ok();
        let candidate = Candidate {
            entry: MirrorEntry {
                url: url.unwrap_or_default(),
                priority: self.read(field("priority"), |f| f.number(0, MOST)).and_then(number),
                weight: self.read(field("weight"), |f| f.number(0, MOST)).and_then(number),
                country: self.read(field("country"), country),
                location: self.read(field("location"), location),
                as_of: None,
            },
            only_countries: self.read_all(field("only_countries"), country),
            exclude_countries: self.read_all(field("exclude_countries"), country),
            networks: self.read_all(field("networks"), |item| Network::parse(item.text()?)),
        };
        if let Some(both) = candidate.only_countries.iter().find(|c| candidate.exclude_countries.contains(c)) {
            let offset = field("exclude_countries").map_or(0, |f| f.offset());
            self.report(offset, &format!("{key}.exclude_countries"), format!("{both} is in only_countries too"));
        }
        candidate
    }

    fn unknown_keys(&mut self, table: &DeTable, prefix: &str, known: &[&str], elsewhere: &[&str], there: &str) {
        for (name, _) in table.iter().filter(|(name, _)| !known.contains(&name.get_ref().as_ref())) {
            let (offset, name) = (name.span().start, name.get_ref());
            let what = if elsewhere.contains(&name.as_ref()) {
                format!("unknown key here, it {there}")
            } else if let Some(near) = nearest(name, known) {
                format!("unknown key, did you mean {near}?")
            } else {
                format!("unknown key, expected one of {}", known.join(", "))
            };
            let dot = if prefix.is_empty() { "" } else { "." };
            self.report(offset, &format!("{prefix}{dot}{}", name.escape_debug()), what);
        }
    }
}

fn url(field: &Field, repo: Option<&str>) -> Result<String, String> {
    let text = field.text()?;
    urls::check(text)?;
    match repo {
        Some(repo) if text.contains(urls::REPO) => urls::with_repo(text, repo),
        _ => Ok(text.to_owned()),
    }
}

fn country(field: &Field) -> Result<String, String> {
    let hint = match field.text()?.to_ascii_uppercase().as_str() {
        "UK" => ", did you mean \"GB\"?",
        "EL" => ", did you mean \"GR\"?",
        _ => "",
    };
    country_code(field.text()?).filter(|code| continent::of(code).is_some()).ok_or_else(|| {
        format!("expected a country code of ISO 3166-1 alpha-2, got {}{hint}", got(field.value.get_ref()))
    })
}

fn location(field: &Field) -> Result<Location, String> {
    let value = field.value.get_ref();
    let found = match value {
        DeValue::String(text) => text.parse().ok(),
        DeValue::Array(items) => match items.iter().map(|item| degrees(item.get_ref())).collect::<Vec<_>>()[..] {
            [Some(latitude), Some(longitude)] => Location::new(latitude, longitude),
            _ => None,
        },
        _ => None,
    };
    found.ok_or_else(|| format!("expected \"<latitude>,<longitude>\" in degrees, got {}", got(value)))
}

fn degrees(value: &DeValue) -> Option<f64> {
    match value {
        DeValue::Float(number) => number.as_str().parse().ok(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
