//! What a list file may say, and what is said of one that is wrong.

use super::*;

const FULL: &str = r#"
canonical = ["https://example.org/{repo}", "ssh://git@example.org/{repo}"]
prefer_mirror = "always"
policy = "geoip"
first = 5
geoip_database = "/var/lib/geoip/city.mmdb"

[[mirror]]
url = "https://eu.example.net/{repo}.git"
priority = 1
weight = 0
country = "de"
location = "50.11, 8.68"
only_countries = ["DE", "at"]
exclude_countries = "CH"
networks = ["192.0.2.0/24", "2001:db8::/32"]

[[mirror]]
url = "git://us.example.net/{repo}"
location = [40.7, -74]
"#;

fn problems(text: &str) -> Vec<String> {
    let problems = check(text, "mirrors.toml", None).err().unwrap_or_default();
    problems.iter().map(Problem::to_string).collect()
}

/// Returns the one problem of a mirror with this line, which is the third of the file.
fn mirror_problem(line: &str) -> String {
    let text = format!("[[mirror]]\nurl = \"https://a.example/a\"\n{line}\n");
    let found = problems(&text);
    assert_eq!(found.len(), 1, "{line}: {found:?}");
    found[0].strip_prefix("mirrors.toml:3: mirror[1].").unwrap_or(&found[0]).to_owned()
}

#[test]
fn reads_every_key() {
    let checked = check(FULL, "mirrors.toml", Some("/team/a b.git")).expect("a good list");
    assert_eq!(checked.geoip_database, Some(PathBuf::from("/var/lib/geoip/city.mmdb")));
    let listing = checked.listing;
    assert_eq!(
        listing.canonical,
        ["https://example.org/team/a%20b.git", "ssh://git@example.org/team/a%20b.git"].map(str::to_owned)
    );
    assert_eq!((listing.prefer, listing.policy, listing.first), (PreferMirror::Always, Policy::GeoIp, 5));
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let network = |text| Network::parse(text).expect("a network");
    let first = Candidate {
        entry: MirrorEntry {
            url: "https://eu.example.net/team/a%20b.git".into(),
            priority: Some(1),
            weight: Some(0),
            country: Some("DE".into()),
            location: Location::new(50.11, 8.68),
            as_of: None,
        },
        only_countries: own(&["DE", "AT"]),
        exclude_countries: own(&["CH"]),
        networks: vec![network("192.0.2.0/24"), network("2001:db8::/32")],
    };
    let url = "git://us.example.net/team/a%20b.git".to_owned();
    let entry = MirrorEntry { url, location: Location::new(40.7, -74.0), ..MirrorEntry::default() };
    assert_eq!(listing.mirrors, [first, Candidate { entry, ..Candidate::default() }]);
}

#[test]
fn has_defaults() {
    assert_eq!(check("", "f", None), Ok(Checked { listing: Listing::default(), geoip_database: None }));
    let listing = check("canonical = \"https://h/{repo}\"", "f", None).expect("a good list").listing;
    assert_eq!(listing.canonical, ["https://h/{repo}"], "no repository was named");
    let inline = check("mirror = [{ url = \"https://h/a\" }]", "f", None).expect("a good list").listing;
    assert_eq!(inline.mirrors.len(), 1);
}

#[test]
fn reports_everything_with_file_line_and_key() {
    let text = r#"canonical = 7
prefer-mirror = "yes"
policy = "nearest"
first = 65
weight = 1

[[mirror]]
url = "https://a.example/a"
wieght = 1
weight = "many"

[[mirror]]
priority = 5_000_000
policy = "random"

[[mirror]]
url = "https://A.example:443/a.git"
colour = "red"
"#;
    let want = [
        r#"mirrors.toml:1: canonical: expected a text in quotes, or a list of them, got 7"#,
        r#"mirrors.toml:2: prefer-mirror: unknown key, did you mean prefer_mirror?"#,
        r#"mirrors.toml:3: policy: expected "fixed" or "random" or "geoip", got "nearest""#,
        r#"mirrors.toml:4: first: expected a number from 1 to 64, got 65"#,
        r#"mirrors.toml:5: weight: unknown key here, it belongs below a [[mirror]]"#,
        r#"mirrors.toml:9: mirror[1].wieght: unknown key, did you mean weight?"#,
        r#"mirrors.toml:10: mirror[1].weight: expected a number from 0 to 1000000, got "many""#,
        r#"mirrors.toml:12: mirror[2]: expected a url"#,
        r#"mirrors.toml:13: mirror[2].priority: expected a number from 0 to 1000000, got 5000000"#,
        r#"mirrors.toml:14: mirror[2].policy: unknown key here, it belongs above the first [[mirror]]"#,
        r#"mirrors.toml:17: mirror[3].url: mirror[1] is the same"#,
        r#"mirrors.toml:18: mirror[3].colour: unknown key, expected one of country, exclude_countries, location, networks, only_countries, priority, url, weight"#,
    ];
    assert_eq!(problems(text), want);
}

#[test]
fn reports_what_is_no_toml() {
    let text =
        "policy = \"random\"\nfirst = \n[[mirror]]\nurl = \"https://a.example/a\"\nweight = x y\npriority = -1\n";
    let found = problems(text);
    assert!(found.iter().any(|line| line.starts_with("mirrors.toml:2: ")), "{found:?}");
    assert!(found.iter().any(|line| line.starts_with("mirrors.toml:5: ")), "{found:?}");
    assert!(found.iter().any(|line| line.starts_with("mirrors.toml:6: mirror[1].priority: ")), "{found:?}");
    assert!(found.iter().all(|line| !line.contains('\n')), "{found:?}");
    let twice = problems("first = 1\nfirst = 2\n");
    assert_eq!(twice, ["mirrors.toml:2: duplicate key"]);
    for text in ["[[mirror]", "[mirror]", "mirror = 1", "mirror = [1]", "= 1", "\u{0}", "a.b = 1", "[[mirror.x]]"] {
        assert!(!problems(text).is_empty(), "{text:?}");
    }
}

#[test]
fn reports_bad_values_of_mirrors() {
    for (line, want) in [
        ("location = \"91,0\"", "location: expected \"<latitude>,<longitude>\" in degrees, got \"91,0\""),
        ("location = [1]", "location: expected \"<latitude>,<longitude>\" in degrees, got a list of 1"),
        ("location = [nan, 0]", "location: expected \"<latitude>,<longitude>\" in degrees, got a list of 2"),
        ("country = \"UK\"", "got \"UK\", did you mean \"GB\"?"),
        ("country = \"Germany\"", "country: expected a country code of ISO 3166-1 alpha-2, got \"Germany\""),
        ("country = true", "country: expected a text in quotes, got true"),
        ("only_countries = []", "only_countries: expected something in the list"),
        ("exclude_countries = [\"DE\", \"ZZ\"]", "exclude_countries[2]: expected a country code"),
        ("networks = [\"192.0.2.1/24\"]", "networks[1]: 192.0.2.1/24 does not begin at its first address"),
        ("networks = \"here\"", "networks: expected a network like 192.0.2.0/24"),
        ("weight = 1.5", "weight: expected a number from 0 to 1000000, got 1.5"),
        ("weight = 1979-05-27", "got 1979-05-27"),
        ("weight = 99999999999999999999", "got 99999999999999999999"),
        ("weight = { a = 1 }", "got a section"),
    ] {
        let found = mirror_problem(line);
        assert!(found.contains(want), "{line}: {found}");
    }
    let both = mirror_problem("only_countries = [\"DE\"]\nexclude_countries = [\"de\"]");
    assert_eq!(both, "mirrors.toml:4: mirror[1].exclude_countries: DE is in only_countries too");
    let long = mirror_problem(&format!("country = \"{}\\n\"", "x".repeat(1000)));
    assert!(long.len() < 200 && long.ends_with("x…\""), "{long}");
}

#[test]
fn shows_no_password() {
    let found = problems("[[mirror]]\nurl = \"https://user:hunter2@h/a\"\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("mirrors.toml:2: mirror[1].url: ") && !found[0].contains("hunter2"), "{found:?}");
}

#[test]
fn geoip_needs_a_database() {
    assert_eq!(
        problems("first = 3\npolicy = \"geoip\"\n"),
        ["mirrors.toml:2: policy: \"geoip\" needs the key geoip_database"]
    );
    assert_eq!(problems("policy = \"geoip\"\ngeoip_database = 1").len(), 1);
    assert_eq!(problems("geoip_database = \"\"").len(), 1);
    assert_eq!(problems("geoip_database = \"a\""), [""; 0]);
}

#[test]
fn holds_so_many_mirrors_and_no_more() {
    let list = |count: usize| (0..count).map(|i| format!("[[mirror]]\nurl='git://h/{i}'\n")).collect::<String>();
    assert_eq!(check(&list(MOST_MIRRORS), "f", None).map(|c| c.listing.mirrors.len()), Ok(MOST_MIRRORS));
    let found = problems(&list(MOST_MIRRORS + 1));
    assert_eq!(found, ["mirrors.toml:20001: mirror: expected 10000 at most, got 10001"]);
}
