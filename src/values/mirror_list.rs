//! The mirror list: what a server says of the mirrors of one of its repositories.
//!
//! Source: gitprotocol-mirror(5) in `docs/`.

use super::{Error, Kind, Result};

/// A place on Earth, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Location {
    /// North is positive; -90 to 90.
    pub latitude: f64,
    /// East is positive; -180 to 180.
    pub longitude: f64,
}

impl Location {
    /// Returns the place, where both numbers are within their bounds.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        // A NaN is in no range.
        let valid = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        valid.then_some(Location { latitude, longitude })
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{}", self.latitude, self.longitude)
    }
}

impl std::str::FromStr for Location {
    type Err = Error;

    /// Reads `<latitude>,<longitude>`.
    fn from_str(text: &str) -> Result<Self> {
        let numbers =
            text.split_once(',').and_then(|(lat, lon)| Some((lat.trim().parse().ok()?, lon.trim().parse().ok()?)));
        numbers.and_then(|(lat, lon)| Location::new(lat, lon)).ok_or_else(|| {
            Error::new(
                Kind::Config,
                format!("'{}' is no location: <latitude>,<longitude> in degrees", text.escape_debug()),
            )
        })
    }
}

/// Returns `text` as a country code of ISO 3166-1 alpha-2 in capitals, where it is one by its form.
pub fn country_code(text: &str) -> Option<String> {
    (text.len() == 2 && text.bytes().all(|b| b.is_ascii_alphabetic())).then(|| text.to_ascii_uppercase())
}

/// Whether, and for how long, clients that know of mirrors shall use them unasked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PreferMirror {
    /// Only where the user says so.
    #[default]
    No,
    /// For the first fetch.
    Once,
    /// For every fetch.
    Always,
}

/// One mirror as a server lists it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MirrorEntry {
    /// Its URL.
    pub url: String,
    /// Lower is tried first.
    pub priority: Option<u32>,
    /// A share of the clients, relative to the others of the same priority.
    pub weight: Option<u32>,
    /// Where it is: ISO 3166-1 alpha-2, in capitals.
    pub country: Option<String>,
    /// Where it is.
    pub location: Option<Location>,
    /// When its content was last known to be canonical's: seconds since 1970.
    pub as_of: Option<u64>,
}

/// How a server sees its client.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Client {
    /// Its address.
    pub address: Option<core::net::IpAddr>,
    /// ISO 3166-1 alpha-2, in capitals.
    pub country: Option<String>,
    /// Where the address is said to be.
    pub location: Option<Location>,
}

/// The answer to `command=mirror`: one page of the list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MirrorList {
    /// URLs under which this repository is the truth; with `not_found`, the URLs that are known.
    pub canonical: Vec<String>,
    /// The mirrors of this page, in the server's order.
    pub mirrors: Vec<MirrorEntry>,
    /// How many more there are after this page.
    pub more: u64,
    /// What the server asks of its clients.
    pub prefer: PreferMirror,
    /// How the server sees the client.
    pub client: Option<Client>,
    /// The `url=` of the request names nothing here.
    pub not_found: bool,
}
