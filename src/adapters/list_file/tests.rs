//! List files on disk.

use super::*;

struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Site { dir: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), text).expect("a file");
        self.path(name)
    }

    fn id(&self) -> String {
        load(&self.path(FILE_NAME)).expect("a good list").expect("a list").id
    }
}

#[test]
fn loads() {
    let site = Site::new();
    assert!(load(&site.path(FILE_NAME)).expect("no error").is_none());
    let path = site.write(FILE_NAME, "geoip_database = \"geo/city.mmdb\"\ncanonical = 'https://h/{repo}'\n");
    let loaded = load(&path).expect("a good list").expect("a list");
    assert_eq!(loaded.geoip_database, Some(site.path("geo/city.mmdb")));
    assert_eq!(loaded.path, path);
    assert_eq!(loaded.listing.canonical, ["https://h/{repo}"]);
    assert_eq!(loaded.clone().with_repo("/a").expect("a name").listing.canonical, ["https://h/a"]);
    assert!(loaded.with_repo("../a").is_err());
}

#[test]
fn the_id_changes_with_the_answer() {
    let site = Site::new();
    site.write(FILE_NAME, "geoip_database = 'db'\n");
    let ids = [
        site.id(),
        {
            site.write("db", "1");
            site.id()
        },
        {
            site.write("db", "22");
            site.id()
        },
        {
            site.write(FILE_NAME, "geoip_database = 'db'\nfirst = 2\n");
            site.id()
        },
    ];
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), 4, "{ids:?}");
    assert!(ids.iter().all(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())));
    assert_eq!(site.id(), site.id());
}

#[test]
fn refuses_what_is_no_list() {
    let site = Site::new();
    for (text, why) in [
        (b"first = 'x'\npolicy = 1\n".to_vec(), ":1: first: "),
        (b"first = 'x'\npolicy = 1\n".to_vec(), "(and 1 more)"),
        (b"first = 1\n# \xff\n".to_vec(), ":2: it is no UTF-8"),
        (vec![b'\n'; MOST_BYTES as usize + 1], "more than 1048576 bytes"),
    ] {
        let path = site.write(FILE_NAME, text);
        let err = load(&path).expect_err(why);
        assert!(err.kind == Kind::Config && err.message.contains(why) && !err.message.contains('\n'), "{err}");
    }
    let path = site.write(FILE_NAME, vec![b'\n'; MOST_BYTES as usize]);
    assert!(load(&path).is_ok());
    assert!(load(site.dir.path()).expect_err("a folder").message.contains("no regular file"));
}

#[test]
fn the_cache_gives_each_repository_its_urls() {
    let site = Site::new();
    let path = site.write(FILE_NAME, "[[mirror]]\nurl = 'https://h/{repo}.git'\n");
    let cache = ListCache::default();
    for (repo, url) in [("/a", "https://h/a.git"), ("b/c.git", "https://h/b/c.git")] {
        let loaded = cache.get(&path, repo).expect("a good list").expect("a list");
        assert_eq!(loaded.listing.mirrors[0].entry.url, url);
    }
    assert!(cache.get(&path, "..").is_err());
    assert!(cache.get(&site.path("none"), "a").expect("no error").is_none());
    let plain = site.write("plain.toml", "[[mirror]]\nurl = 'https://h/a'\n");
    let get = || cache.get(&plain, "a").expect("a good list").expect("a list");
    assert!(Arc::ptr_eq(&get(), &get()), "nothing is copied");
}

#[test]
fn a_damaged_list_is_an_error_once() {
    let site = Site::new();
    let path = site.write(FILE_NAME, "first = 0\n");
    let cache = ListCache::default();
    assert!(cache.get(&path, "a").is_err());
    assert!(cache.get(&path, "a").expect("said once").is_none());
}
