//! The server's choice: which of its mirrors a client gets, and in which order.
//!
//! Every order is made of classes. Within a class a lower priority goes first, then weights share the clients out; so a
//! priority never brings a mirror out of its class. *fixed* and *random* have one class, *geoip* has these:
//!
//! 1. mirrors in the client's country;
//! 2. mirrors at most [`FAR_KM`] away by great circle, nearer ones first, each [`STEP_KM`] being a class of its own;
//! 3. mirrors without a location in a country of the client's continent;
//! 4. the rest: those with a location by distance, as in 2, then those without.
//!
//! Under every policy, mirrors that name a network of the client come before all others, the longest prefix first. No
//! mirror is left out for being far, so there are always as many results as there are mirrors that the client may use.

use core::cmp::Reverse;
use core::net::IpAddr;

use super::continent;
use super::network::Network;
use crate::values::mirror_list::{Location, MirrorEntry, PreferMirror};
use crate::wire::mirror_command;

/// The priority of a mirror that has none: some can then be put before the others, and some after.
pub const DEFAULT_PRIORITY: u32 = 100;

/// The weight of a mirror that has none.
pub const DEFAULT_WEIGHT: u32 = 100;

/// How many mirrors a client gets that does not say how many it wants, unless the list says so.
pub const DEFAULT_FIRST: usize = 8;

/// The most mirrors of one answer.
pub const MOST_OF_A_PAGE: usize = mirror_command::MAX_MIRRORS;

/// Distances that differ by less count as equal: GeoIP does not know places any better.
pub const STEP_KM: f64 = 200.0;

/// Beyond this distance a mirror somewhere on the client's continent is thought to be nearer.
pub const FAR_KM: f64 = 5000.0;

/// The mean radius of the Earth (IUGG).
const EARTH_KM: f64 = 6371.0088;

/// How mirrors are put in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// By priority, then as they stand in the list. Weights say nothing.
    #[default]
    Fixed,
    /// By priority, then by chance: each is the next one in proportion to its weight, and 0 means a last resort.
    Random,
    /// The nearest first, as the head of this module says; [`Policy::Random`] for a client of unknown place.
    GeoIp,
}

/// A mirror of the list, and for whom it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Candidate {
    /// What clients are told of it.
    pub entry: MirrorEntry,
    /// It is for clients known to be in these countries, if any are named: ISO 3166-1 alpha-2, in capitals.
    pub only_countries: Vec<String>,
    /// It is not for clients known to be in these countries.
    pub exclude_countries: Vec<String>,
    /// Clients in these networks get it first. It is for the others as well.
    pub networks: Vec<Network>,
}

/// A list file that has been checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// URLs under which the repository is the truth.
    pub canonical: Vec<String>,
    /// What clients are asked to do.
    pub prefer: PreferMirror,
    /// How mirrors are put in order.
    pub policy: Policy,
    /// How many a client gets that does not say how many it wants: 1 to [`MOST_OF_A_PAGE`].
    pub first: usize,
    /// The mirrors as they stand in the file.
    pub mirrors: Vec<Candidate>,
}

impl Default for Listing {
    fn default() -> Self {
        Listing {
            canonical: Vec::new(),
            prefer: PreferMirror::No,
            policy: Policy::Fixed,
            first: DEFAULT_FIRST,
            mirrors: Vec::new(),
        }
    }
}

/// Where a client is, as far as that is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Place {
    /// ISO 3166-1 alpha-2, in capitals.
    pub country: Option<String>,
    /// AF, AN, AS, EU, NA, OC or SA; where it is missing, that of the country.
    pub continent: Option<String>,
    /// Where its address is said to be.
    pub location: Option<Location>,
}

impl Place {
    /// Returns whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        *self == Place::default()
    }

    fn continent(&self) -> Option<&str> {
        self.continent.as_deref().or_else(|| continent::of(self.country.as_deref()?))
    }
}

/// Where a mirror comes in the order: smaller is earlier.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// The longest prefix that the client is in.
    prefix: Reverse<Option<u8>>,
    class: Class,
    /// The distance in steps of [`STEP_KM`].
    step: u32,
    priority: u32,
    last_resort: bool,
    /// By chance, as the weight says.
    draw: u64,
    /// As it stands in the list.
    index: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Country,
    Near,
    Continent,
    Rest,
}

/// Returns the mirrors that a client may use, in the order of the policy: each at most once, none that is for other
/// countries. A client whose country is unknown is in none that a mirror excludes, and in none that one is only for.
///
/// `address` and `place` are what is known of the client. The same `seed` gives the same order, so a server that pages
/// takes it from the client's address and not from the request.
pub fn order(listing: &Listing, address: Option<IpAddr>, place: Option<&Place>, seed: u64) -> Vec<MirrorEntry> {
    let place = place.filter(|place| !place.is_unknown());
    let country = place.and_then(|place| place.country.as_deref());
    let near = place.filter(|_| listing.policy == Policy::GeoIp);
    let mut chance = SplitMix(seed);
    let mut ranked: Vec<(Rank, &MirrorEntry)> = Vec::with_capacity(listing.mirrors.len());
    for (index, candidate) in listing.mirrors.iter().enumerate() {
        // Drawn for every mirror, so that leaving one out does not turn the others' order over.
        let uniform = chance.next_open01();
        if !is_for(candidate, country) {
            continue;
        }
        let entry = &candidate.entry;
        let (class, step) = near.map_or((Class::Rest, 0), |place| nearness(entry, place));
        let (last_resort, draw) = match listing.policy {
            Policy::Fixed => (false, 0),
            Policy::Random | Policy::GeoIp => draw(entry.weight.unwrap_or(DEFAULT_WEIGHT), uniform),
        };
        let rank = Rank {
            prefix: Reverse(longest_prefix(&candidate.networks, address)),
            class,
            step,
            priority: entry.priority.unwrap_or(DEFAULT_PRIORITY),
            last_resort,
            draw,
            index,
        };
        ranked.push((rank, entry));
    }
    ranked.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    ranked.into_iter().map(|(_, entry)| entry.clone()).collect()
}

/// Returns one page of `ordered`, and how many mirrors come after it.
///
/// `limit` is how many the client asks for; without it `first` counts. [`MOST_OF_A_PAGE`] holds in any case. The encoder
/// may shorten the page further; so the next one begins at `offset` and the number of mirrors that were sent.
pub fn page(ordered: &[MirrorEntry], offset: u64, limit: Option<u64>, first: usize) -> (&[MirrorEntry], u64) {
    let rest = usize::try_from(offset).ok().and_then(|offset| ordered.get(offset..)).unwrap_or_default();
    let wanted = limit.map_or(first, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let (page, after) = rest.split_at(wanted.min(MOST_OF_A_PAGE).min(rest.len()));
    (page, after.len() as u64)
}

fn is_for(candidate: &Candidate, country: Option<&str>) -> bool {
    let names = |countries: &[String]| country.is_some_and(|country| countries.iter().any(|c| c == country));
    (candidate.only_countries.is_empty() || names(&candidate.only_countries)) && !names(&candidate.exclude_countries)
}

fn longest_prefix(networks: &[Network], address: Option<IpAddr>) -> Option<u8> {
    let address = address?;
    networks.iter().filter(|network| network.contains(address)).map(Network::bits).max()
}

/// Returns the class of a mirror under [`Policy::GeoIp`], and the step of its distance.
fn nearness(entry: &MirrorEntry, place: &Place) -> (Class, u32) {
    let country = entry.country.as_deref();
    let distance = entry.location.zip(place.location).and_then(|(here, there)| distance_km(here, there));
    // At most 101 steps, half the way round the Earth.
    let step = distance.map_or(u32::MAX, |km| (km / STEP_KM) as u32);
    if country.is_some() && country == place.country.as_deref() {
        return (Class::Country, step);
    }
    match distance {
        Some(km) if km <= FAR_KM => (Class::Near, step),
        None if country.and_then(continent::of).is_some_and(|c| place.continent() == Some(c)) => {
            (Class::Continent, step)
        }
        _ => (Class::Rest, step),
    }
}

/// Returns the great-circle distance in kilometres by the haversine formula; nothing where a coordinate is no number.
pub fn distance_km(a: Location, b: Location) -> Option<f64> {
    let half_sine_squared = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
    let cosines = a.latitude.to_radians().cos() * b.latitude.to_radians().cos();
    let h = half_sine_squared(b.latitude - a.latitude) + cosines * half_sine_squared(b.longitude - a.longitude);
    // Rounding can bring it past 1 for antipodes, where asin is not defined.
    let km = 2.0 * EARTH_KM * h.clamp(0.0, 1.0).sqrt().asin();
    km.is_finite().then_some(km)
}

/// Returns whether a mirror is a last resort, and its place among those of its kind: smaller is earlier.
///
/// Sorting by `-ln(u)/weight` draws without replacement in proportion to the weights (Efraimidis and Spirakis, 2006).
fn draw(weight: u32, uniform: f64) -> (bool, u64) {
    let key = -uniform.ln() / f64::from(weight.max(1));
    // Floats that are not negative sort as their bits do.
    (weight == 0, key.to_bits())
}

/// The generator splitmix64 (Steele, Lea and Flood, 2014): good enough to share out load, and any seed is a good one.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number between 0 and 1, never one of the two.
    fn next_open01(&mut self) -> f64 {
        ((self.next() >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }
}

#[cfg(test)]
mod tests;
