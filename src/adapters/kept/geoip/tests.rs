//! Small databases of every layout, and damaged ones.

use std::path::PathBuf;

use mmdb_writer::{IpVersion, Value, Writer, ipnet::IpNet};

use super::*;

fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::map(pairs)
}

fn nested(country: &str, continent: &str, latitude: f64, longitude: f64) -> Value {
    map([
        ("country", map([("iso_code", country.into()), ("names", map([("en", "Somewhere".into())]))])),
        ("continent", map([("code", continent.into())])),
        ("location", map([("latitude", latitude.into()), ("longitude", longitude.into())])),
        ("registered_country", map([("iso_code", "US".into())])),
    ])
}

fn bytes(version: IpVersion, networks: Vec<(&str, Value)>) -> Vec<u8> {
    let mut writer = Writer::builder("Test").ip_version(version).build();
    for (network, value) in networks {
        writer.insert_value(network.parse::<IpNet>().expect("a network"), value).expect("a place for it");
    }
    writer.to_bytes().expect("a database")
}

struct File {
    dir: tempfile::TempDir,
}

impl File {
    fn new(bytes: &[u8]) -> Self {
        let file = File { dir: tempfile::tempdir().expect("a folder") };
        std::fs::write(file.path(), bytes).expect("a file");
        file
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("db.mmdb")
    }
}

fn open(version: IpVersion, networks: Vec<(&str, Value)>) -> Database {
    Database::open(&File::new(&bytes(version, networks)).path()).expect("a good database")
}

fn place(database: &Database, address: &str) -> Option<Place> {
    database.place(address.parse().expect("an address"))
}

fn is(country: &str, continent: &str, location: Option<(f64, f64)>) -> Option<Place> {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let location = location.and_then(|(latitude, longitude)| Location::new(latitude, longitude));
    Some(Place { country: text(country), continent: text(continent), location })
}

/// What a database with this one record says.
fn of(record: Value) -> Option<Place> {
    place(&open(IpVersion::V6, vec![("192.0.2.0/24", record)]), "192.0.2.1")
}

#[test]
fn reads_ipv4_and_ipv6() {
    let networks = vec![
        ("192.0.2.0/24", nested("DE", "EU", 50.1, 8.7)),
        ("192.0.2.128/25", nested("FR", "EU", 48.9, 2.4)),
        ("2001:db8::/32", nested("JP", "AS", 35.7, 139.7)),
    ];
    let database = open(IpVersion::V6, networks);
    for (address, want) in [
        ("192.0.2.1", is("DE", "EU", Some((50.1, 8.7)))),
        ("192.0.2.200", is("FR", "EU", Some((48.9, 2.4)))),
        ("::ffff:192.0.2.1", is("DE", "EU", Some((50.1, 8.7)))),
        ("2001:db8::1", is("JP", "AS", Some((35.7, 139.7)))),
        ("198.51.100.1", None),
        ("2001:db9::1", None),
        ("::1", None),
    ] {
        assert_eq!(place(&database, address), want, "{address}");
    }
    let database = open(IpVersion::V4, vec![("192.0.2.0/24", nested("DE", "EU", 50.1, 8.7))]);
    assert_eq!(place(&database, "::ffff:192.0.2.1"), is("DE", "EU", Some((50.1, 8.7))));
    assert_eq!(place(&database, "2001:db8::1"), None);
}

#[test]
fn reads_flat_layouts() {
    let city = is("DE", "EU", Some((50.1, 8.7)));
    for record in [
        map([
            ("country", "DE".into()),
            ("continent", "EU".into()),
            ("latitude", 50.1.into()),
            ("longitude", 8.7.into()),
        ]),
        map([
            ("country", "Germany".into()),
            ("country_code", "de".into()),
            ("continent", "Europe".into()),
            ("continent_code", "EU".into()),
            ("lat", "50.1".into()),
            ("lng", " 8.7".into()),
        ]),
        map([("country_code", "DE".into()), ("continent_code", "eu".into()), ("loc", "50.1, 8.7".into())]),
        map([
            ("country", map([("iso_code", "DE".into())])),
            ("continent_code", "EU".into()),
            ("location", map([("lat", 50.1.into()), ("lon", "8.7".into())])),
        ]),
        map([("country", "DE".into()), ("continent", "EU".into()), ("location", "50.1,8.7".into())]),
    ] {
        assert_eq!(of(record.clone()), city, "{record:?}");
    }
    let whole = map([("lat", Value::I32(-50)), ("lng", Value::U16(8))]);
    assert_eq!(of(whole), is("", "", Some((-50.0, 8.0))));
    let single = map([("latitude", Value::Float(50.5)), ("longitude", Value::Float(8.25))]);
    assert_eq!(of(single), is("", "", Some((50.5, 8.25))));
}

#[test]
fn does_without_what_is_missing_or_odd() {
    for (record, want) in [
        (map([]), None),
        (map([("asn", Value::U32(64_512))]), None),
        ("DE".into(), None),
        (Value::array(["DE"]), None),
        (map([("country", map([("iso_code", "DE".into())]))]), is("DE", "", None)),
        (map([("continent", map([("code", "AS".into())]))]), is("", "AS", None)),
        (map([("registered_country", map([("iso_code", "BR".into())]))]), is("BR", "", None)),
        (map([("country", "ZZ".into())]), None),
        (map([("country", "-".into()), ("continent", "-".into()), ("loc", "-".into())]), None),
        (map([("country", Value::U32(7)), ("country_code", "NZ".into())]), is("NZ", "", None)),
        (map([("location", map([("latitude", 50.1.into())]))]), None),
        (map([("latitude", 91.0.into()), ("longitude", 8.0.into())]), None),
        (map([("latitude", f64::NAN.into()), ("longitude", 8.0.into())]), None),
        (map([("latitude", 0.0.into()), ("longitude", 0.0.into())]), None),
        (map([("latitude", 0.0.into()), ("longitude", 8.0.into())]), is("", "", Some((0.0, 8.0)))),
    ] {
        assert_eq!(of(record.clone()), want, "{record:?}");
    }
}

#[test]
fn refuses_what_is_no_database() {
    let whole = bytes(IpVersion::V6, vec![("192.0.2.0/24", nested("DE", "EU", 50.1, 8.7))]);
    for bad in [&b""[..], b"no database", &whole[..whole.len() / 2], b"\xab\xcd\xefMaxMind.com"] {
        let err = Database::open(&File::new(bad).path()).expect_err("no database");
        assert!(err.kind == Kind::Config && err.message.contains("db.mmdb"), "{err}");
    }
    let file = File::new(&whole);
    assert_eq!(Database::open(file.dir.path()).expect_err("a folder").kind, Kind::Config);
    assert_eq!(Database::open(&file.dir.path().join("none")).expect_err("no file").kind, Kind::Local);
}

/// A database cut anywhere, or with any byte changed, is an error or says something; it never panics.
#[test]
fn survives_damage() {
    let networks = vec![("192.0.2.0/24", nested("DE", "EU", 50.1, 8.7)), ("2001:db8::/32", "DE".into())];
    let whole = bytes(IpVersion::V6, networks);
    let ask = |bytes: Vec<u8>| {
        if let Ok(reader) = Reader::from_source(bytes) {
            let database = Database { reader };
            for address in ["192.0.2.1", "203.0.113.9", "2001:db8::1", "ffff::1", "::"] {
                let _ = place(&database, address);
            }
        }
    };
    for end in 0..whole.len() {
        ask(whole[..end].to_vec());
    }
    for at in 0..whole.len() {
        for flip in [0xff, 0x01, 0x20, 0x80] {
            let mut damaged = whole.clone();
            damaged[at] ^= flip;
            ask(damaged);
        }
    }
}

#[test]
fn the_cache_says_once_what_is_wrong() {
    let file = File::new(b"no database");
    let cache = DatabaseCache::default();
    assert!(cache.get(&file.path()).is_err());
    assert!(cache.get(&file.path()).expect("said once").is_none());
    let good = File::new(&bytes(IpVersion::V4, vec![("192.0.2.0/24", nested("DE", "EU", 50.1, 8.7))]));
    let get = || cache.get(&good.path()).expect("a good database").expect("a database");
    assert!(get().place(IpAddr::from([192, 0, 2, 1])).is_some());
    assert!(Arc::ptr_eq(&get(), &get()));
}
