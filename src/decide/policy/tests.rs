//! Tables and properties of the server's choice.

use super::*;

fn at(latitude: f64, longitude: f64) -> Option<Location> {
    Location::new(latitude, longitude)
}

/// A mirror called `name` in a country ("" for none) and at a place.
fn mirror(name: &str, country: &str, location: Option<Location>) -> Candidate {
    let country = Some(country.to_owned()).filter(|c| !c.is_empty());
    let entry = MirrorEntry { url: name.to_owned(), country, location, ..MirrorEntry::default() };
    Candidate { entry, ..Candidate::default() }
}

fn plain(name: &str, priority: Option<u32>, weight: Option<u32>) -> Candidate {
    let mut candidate = mirror(name, "", None);
    candidate.entry.priority = priority;
    candidate.entry.weight = weight;
    candidate
}

fn listing(policy: Policy, mirrors: Vec<Candidate>) -> Listing {
    Listing { policy, mirrors, ..Listing::default() }
}

fn place(country: &str, location: Option<Location>) -> Place {
    let country = Some(country.to_owned()).filter(|c| !c.is_empty());
    Place { country, location, ..Place::default() }
}

fn names(listing: &Listing, address: Option<&str>, place: Option<&Place>, seed: u64) -> Vec<String> {
    let address = address.map(|a| a.parse().expect("an address"));
    order(listing, address, place, seed).into_iter().map(|entry| entry.url).collect()
}

fn world() -> Vec<Candidate> {
    vec![
        mirror("sydney", "AU", at(-33.9, 151.2)),
        mirror("japan", "JP", None),
        mirror("newyork", "US", at(40.7, -74.0)),
        mirror("somewhere", "", None),
        mirror("italy", "IT", None),
        mirror("munich", "DE", at(48.1, 11.6)),
        mirror("vienna", "AT", at(48.2, 16.4)),
        mirror("germany", "DE", None),
        mirror("lyon", "FR", at(45.8, 4.8)),
        mirror("berlin", "DE", at(52.5, 13.4)),
    ]
}

#[test]
fn fixed_goes_by_priority_then_file() {
    let mirrors = vec![
        plain("c", None, None),
        plain("d", Some(100), Some(1_000_000)),
        plain("e", Some(200), None),
        plain("a", Some(1), Some(0)),
        plain("b", Some(1), None),
    ];
    let listing = listing(Policy::Fixed, mirrors);
    for seed in 0..9 {
        assert_eq!(names(&listing, None, Some(&place("DE", None)), seed), ["a", "b", "c", "d", "e"]);
    }
}

#[test]
fn geoip_goes_by_class() {
    let listing = listing(Policy::GeoIp, world());
    let hamburg = place("DE", at(53.6, 10.0));
    let nearest = ["berlin", "munich", "germany", "vienna", "lyon", "italy", "newyork", "sydney"];
    let tail = ["japan", "somewhere"];
    for seed in 0..20 {
        let found = names(&listing, None, Some(&hamburg), seed);
        assert_eq!(found[..8], nearest);
        let mut last = found[8..].to_vec();
        last.sort();
        assert_eq!(last, tail);
    }
    // Without a location the country and the continent are left.
    let found = names(&listing, None, Some(&place("DE", None)), 1);
    let (mut country, mut continent) = (found[..3].to_vec(), found[3..6].to_vec());
    country.sort();
    continent.sort();
    assert_eq!((country, continent), (own(["berlin", "germany", "munich"]), own(["italy", "lyon", "vienna"])));
    // A continent alone is something, too.
    let asia = Place { continent: Some("AS".into()), ..Place::default() };
    assert_eq!(names(&listing, None, Some(&asia), 1)[0], "japan");
    // And so is a location.
    assert_eq!(names(&listing, None, Some(&place("", at(-37.8, 145.0))), 1)[0], "sydney");
}

fn own<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

#[test]
fn priority_counts_within_a_class_only() {
    let mut mirrors = world();
    mirrors[0].entry.priority = Some(1);
    mirrors[8].entry.priority = Some(1);
    mirrors.push(mirror("dresden", "DE", at(52.4, 13.3)));
    mirrors[10].entry.priority = Some(1);
    let found = names(&listing(Policy::GeoIp, mirrors), None, Some(&place("DE", at(52.5, 13.4))), 3);
    assert_eq!(found[..3], ["dresden", "berlin", "munich"], "only among those that are equally near");
    let found = names(&listing(Policy::GeoIp, world()), None, Some(&place("DE", at(52.5, 13.4))), 3);
    assert_eq!(found[0], "berlin");
}

#[test]
fn unknown_places_fall_back_to_chance() {
    let random = listing(Policy::Random, world());
    let geoip = listing(Policy::GeoIp, world());
    for seed in 0..20 {
        let want = names(&random, None, None, seed);
        assert_eq!(names(&geoip, None, None, seed), want);
        assert_eq!(names(&geoip, None, Some(&Place::default()), seed), want);
    }
    assert_ne!(names(&random, None, None, 1), names(&random, None, None, 2));
}

#[test]
fn networks_come_first_under_every_policy() {
    let network = |text: &str| Network::parse(text).expect("a network");
    for policy in [Policy::Fixed, Policy::Random, Policy::GeoIp] {
        let mut mirrors = world();
        mirrors[0].networks = vec![network("10.0.0.0/8"), network("2001:db8::/32")];
        mirrors[1].networks = vec![network("10.1.0.0/16"), network("192.0.2.0/24")];
        let listing = listing(policy, mirrors);
        for (address, first) in [
            ("10.1.2.3", &["japan", "sydney"][..]),
            ("10.2.2.3", &["sydney"]),
            ("::ffff:10.2.2.3", &["sydney"]),
            ("192.0.2.9", &["japan"]),
            ("2001:db8::1", &["sydney"]),
        ] {
            for place in [None, Some(&place("DE", None))] {
                let found = names(&listing, Some(address), place, 7);
                assert_eq!(found[..first.len()], *first, "{policy:?} {address}");
                assert_eq!(found.len(), 10);
            }
        }
    }
}

#[test]
fn countries_are_a_hard_no() {
    for policy in [Policy::Fixed, Policy::Random, Policy::GeoIp] {
        let mut mirrors = vec![mirror("only", "DE", None), mirror("not", "DE", None), mirror("all", "DE", None)];
        mirrors[0].only_countries = own(["DE", "AT"]);
        mirrors[1].exclude_countries = own(["DE", "US"]);
        let listing = listing(policy, mirrors);
        for (country, want) in [("DE", ["all", "only"].as_slice()), ("US", &["all"]), ("FR", &["all", "not"])] {
            let mut found = names(&listing, None, Some(&place(country, None)), 5);
            found.sort();
            assert_eq!(found, want, "{policy:?} {country}");
        }
        for unknown in [None, Some(&place("", at(1.0, 1.0)))] {
            let mut found = names(&listing, None, unknown, 5);
            found.sort();
            assert_eq!(found, ["all", "not"], "{policy:?}");
        }
    }
}

#[test]
fn weights_share_clients_out() {
    let mirrors = vec![plain("one", None, None), plain("three", None, Some(300)), plain("zero", None, Some(0))];
    let listing = listing(Policy::Random, mirrors);
    let mut first = 0;
    for seed in 0..4000 {
        let found = names(&listing, None, None, seed);
        assert_eq!(found[2], "zero");
        first += usize::from(found[0] == "three");
    }
    assert!((2880..=3120).contains(&first), "{first} of 4000 is not three quarters");
}

#[test]
fn priority_goes_before_weight() {
    let mirrors = vec![plain("b", Some(2), Some(1_000_000)), plain("a", Some(1), Some(0)), plain("c", None, None)];
    let listing = listing(Policy::Random, mirrors);
    assert!((0..100).all(|seed| names(&listing, None, None, seed) == ["a", "b", "c"]));
}

#[test]
fn distances_are_right() {
    for (a, b, km) in [
        (at(52.52, 13.405), at(48.8566, 2.3522), 878.0),
        (at(40.7, -74.0), at(51.5, -0.1), 5570.0),
        (at(0.0, 179.9), at(0.0, -179.9), 22.2),
        (at(10.0, 20.0), at(10.0, 20.0), 0.0),
        (at(90.0, 0.0), at(-90.0, 77.0), 20015.1),
        (at(0.0, 0.0), at(0.0, 180.0), 20015.1),
        (at(33.3, -70.1), at(-33.3, 109.9), 20015.1),
    ] {
        let found = a.zip(b).and_then(|(a, b)| distance_km(a, b)).expect("a distance");
        assert!((found - km).abs() < 10.0, "{a:?} {b:?}: {found} and not {km}");
    }
    let nowhere = Location { latitude: f64::NAN, longitude: 0.0 };
    assert_eq!(distance_km(nowhere, nowhere), None);
    let mut chance = SplitMix(3);
    for _ in 0..20_000 {
        let (latitude, longitude) = (chance.next_open01() * 180.0 - 90.0, chance.next_open01() * 360.0 - 180.0);
        let here = Location { latitude, longitude };
        let there = Location { latitude: -latitude, longitude: longitude - 180.0 * longitude.signum() };
        let found = distance_km(here, there).expect("no antipode is out of reach");
        assert!((20_014.0..20_016.0).contains(&found), "{here}: {found}");
    }
}

/// Any list, any client: the result is a subset without duplicates, it is the same for the same seed, whom a mirror
/// excludes never sees it, and all others see all.
#[test]
fn holds_for_any_list() {
    let countries = ["DE", "FR", "US", "BR", "JP", "ZA", ""];
    let mut chance = SplitMix(11);
    for round in 0..300 {
        let mut mirrors = Vec::new();
        for index in 0..chance.next() % 40 {
            let pick = |chance: &mut SplitMix| countries[(chance.next() % 7) as usize];
            let spot = at(chance.next_open01() * 180.0 - 90.0, chance.next_open01() * 360.0 - 180.0);
            let spot = spot.filter(|_| index % 3 > 0);
            let mut candidate = mirror(&index.to_string(), pick(&mut chance), spot);
            candidate.entry.priority = Some((chance.next() % 3) as u32).filter(|p| *p > 0);
            candidate.entry.weight = Some((chance.next() % 4) as u32);
            candidate.only_countries.extend((index % 5 == 0).then(|| pick(&mut chance).to_owned()));
            candidate.exclude_countries.extend((index % 4 == 0).then(|| pick(&mut chance).to_owned()));
            mirrors.push(candidate);
        }
        let policy = [Policy::Fixed, Policy::Random, Policy::GeoIp][round % 3];
        let listing = listing(policy, mirrors);
        let country = countries[round % 7];
        let client = place(country, at(50.0, 8.0).filter(|_| round % 2 == 0));
        let found = names(&listing, Some("192.0.2.1"), Some(&client), round as u64);
        assert_eq!(found, names(&listing, Some("192.0.2.1"), Some(&client), round as u64));
        let country = Some(country).filter(|c| !c.is_empty());
        let mut want: Vec<_> =
            listing.mirrors.iter().filter(|c| is_for(c, country)).map(|c| c.entry.url.clone()).collect();
        let mut sorted = found;
        sorted.sort();
        want.sort();
        assert_eq!(sorted, want, "round {round}");
    }
}

#[test]
fn ten_thousand_mirrors_are_no_burden() {
    let mirrors: Vec<_> = (0..10_000).map(|i| mirror(&i.to_string(), "US", at(f64::from(i % 90), 1.0))).collect();
    let listing = listing(Policy::GeoIp, mirrors);
    let client = place("DE", at(50.0, 8.0));
    for seed in 0..20 {
        let found = order(&listing, None, Some(&client), seed);
        let (first, more) = page(&found, 0, None, listing.first);
        assert_eq!((first.len(), more), (8, 9_992));
    }
}

#[test]
fn pages() {
    let all = vec![MirrorEntry::default(); 100];
    for (offset, limit, want) in [
        (0, None, (8, 92)),
        (0, Some(5), (5, 95)),
        (0, Some(0), (0, 100)),
        (0, Some(u64::MAX), (64, 36)),
        (64, Some(64), (36, 0)),
        (96, None, (4, 0)),
        (100, None, (0, 0)),
        (u64::MAX, Some(3), (0, 0)),
    ] {
        let (found, more) = page(&all, offset, limit, 8);
        assert_eq!((found.len(), more), want, "{offset} {limit:?}");
    }
    assert_eq!(page(&[], 0, None, 8), (&[][..], 0));
}
