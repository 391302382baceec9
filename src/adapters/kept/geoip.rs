//! Where an address is, by a database in MaxMind's format that the operator brings. Nobody else is ever asked.
//!
//! Two layouts are in use. The nested one of GeoIP2 and GeoLite2: `country.iso_code`, `continent.code`,
//! `location.latitude`. The flat one of others: `country_code` or `country`, `continent_code` or `continent`, and
//! `latitude`, `lat` or `loc`, numbers as text or not. Keys are looked for one by one, so a database may mix them.
//!
//! Source: the MaxMind DB file format specification, version 2.0, and the GeoIP2 field reference.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use maxminddb::{LookupResult, PathElement, Reader};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::adapters::kept::file_cache::FileCache;
use crate::decide::continent;
use crate::decide::policy::Place;
use crate::values::mirror_list::{Location, country_code};
use crate::values::{Error, Kind, Result};

/// An open database. Held in memory whole: this crate has no unsafe code, and mapping a file into memory is unsafe.
#[derive(Debug)]
pub struct Database {
    reader: Reader<Vec<u8>>,
}

/// A coordinate as databases have it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(f64),
    Text(String),
}

type Record<'a> = LookupResult<'a, Vec<u8>>;

impl Database {
    /// Opens the database at `path`.
    ///
    /// # Errors
    /// [`Kind::Local`] for a file that is missing or cannot be read, [`Kind::Config`] for one that is no database, or a
    /// damaged one.
    pub fn open(path: &Path) -> Result<Self> {
        let local = || Error::doing(Kind::Local, format!("cannot read the GeoIP database {}", path.display()));
        // Opening a pipe would wait for its other end.
        if !std::fs::metadata(path).map_err(local())?.is_file() {
            return Err(Error::new(Kind::Config, format!("the GeoIP database {} is no regular file", path.display())));
        }
        let bytes = std::fs::read(path).map_err(local())?;
        let reader = Reader::from_source(bytes)
            .map_err(Error::doing(Kind::Config, format!("cannot use the GeoIP database {}", path.display())))?;
        Ok(Database { reader })
    }

    /// Returns where `address` is; nothing where the database does not say, or is damaged there.
    pub fn place(&self, address: IpAddr) -> Option<Place> {
        let record = self.record(address)?;
        let place = Place { country: country(&record), continent: continent(&record), location: location(&record) };
        (!place.is_unknown()).then_some(place)
    }

    /// Returns the coordinates alone, which takes half as long.
    pub fn location(&self, address: IpAddr) -> Option<Location> {
        location(&self.record(address)?)
    }

    fn record(&self, address: IpAddr) -> Option<Record<'_>> {
        // An IPv4 address mapped into IPv6 is not in every database.
        self.reader.lookup(address.to_canonical()).ok().filter(LookupResult::has_data)
    }
}

fn country(record: &Record) -> Option<String> {
    let paths: [&[&str]; 4] =
        [&["country", "iso_code"], &["country_code"], &["country"], &["registered_country", "iso_code"]];
    // Databases have codes of their own for "unknown", "a proxy" and such.
    let known = |text: String| country_code(&text).filter(|code| continent::of(code).is_some());
    paths.iter().find_map(|path| value(record, path).and_then(known))
}

fn continent(record: &Record) -> Option<String> {
    let paths: [&[&str]; 3] = [&["continent", "code"], &["continent_code"], &["continent"]];
    let known = |text: String| continent::code(&text).map(str::to_owned);
    paths.iter().find_map(|path| value(record, path).and_then(known))
}

fn location(record: &Record) -> Option<Location> {
    let pairs: [[&[&str]; 2]; 6] = [
        [&["location", "latitude"], &["location", "longitude"]],
        [&["latitude"], &["longitude"]],
        [&["lat"], &["lng"]],
        [&["lat"], &["lon"]],
        [&["location", "lat"], &["location", "lng"]],
        [&["location", "lat"], &["location", "lon"]],
    ];
    let texts: [&[&str]; 2] = [&["loc"], &["location"]];
    let numbers = pairs.iter().find_map(|[latitude, longitude]| {
        Location::new(number(record, latitude)?, number(record, longitude)?).filter(is_somewhere)
    });
    numbers.or_else(|| texts.iter().find_map(|path| value::<String>(record, path)?.parse().ok().filter(is_somewhere)))
}

/// Databases write "unknown" as 0,0, a place in the Atlantic.
fn is_somewhere(location: &Location) -> bool {
    location.latitude != 0.0 || location.longitude != 0.0
}

fn number(record: &Record, path: &[&str]) -> Option<f64> {
    match value(record, path)? {
        Number::Plain(number) => Some(number),
        Number::Text(text) => text.trim().parse().ok(),
    }
}

/// Returns what is at `path` of a record, where it is there and of the right kind.
fn value<T: DeserializeOwned>(record: &Record, path: &[&str]) -> Option<T> {
    let path: Vec<_> = path.iter().map(|key| PathElement::Key(key)).collect();
    record.decode_path(&path).ok().flatten()
}

/// The databases of a server, read again when they change.
#[derive(Debug)]
pub struct DatabaseCache {
    files: FileCache<Database>,
}

impl Default for DatabaseCache {
    /// It must not be behind the list: the list's `id` tells of a new database, and the answer is kept under it.
    fn default() -> Self {
        DatabaseCache { files: FileCache::wary() }
    }
}

impl DatabaseCache {
    /// Returns the database at `path`: nothing where it is missing or damaged, and that has been said.
    ///
    /// # Errors
    /// Those of [`Database::open`], once for each state of the file.
    pub fn get(&self, path: &Path) -> Result<Option<Arc<Database>>> {
        self.files.get(path, |_| true, || Database::open(path).map(Some))
    }
}

#[cfg(test)]
mod tests;
