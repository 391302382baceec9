//! In which order mirrors are tried, and whether at all (DESIGN 6).

use crate::values::{Mirror, Origin};

/// Returns the mirrors to try, in order.
///
/// `wanted` is what `preferMirror` says (nothing: configured mirrors are used, those that the server listed are not);
/// `first` are URLs or hosts to move to the front, in order. Ties keep the order in which the mirrors were named.
pub fn order(mirrors: Vec<Mirror>, wanted: Option<bool>, first: &[String]) -> Vec<Mirror> {
    if wanted == Some(false) {
        return Vec::new();
    }
    let rank = |mirror: &Mirror| first.iter().position(|f| is_named(mirror, f)).unwrap_or(first.len());
    let mut chosen: Vec<_> = mirrors.into_iter().filter(|m| m.origin != Origin::Listed || wanted.is_some()).collect();
    chosen.sort_by_key(|mirror| (mirror.origin != Origin::CommandLine, rank(mirror), mirror.origin));
    chosen
}

/// Returns whether `name`, a URL or a host with or without its port, means `mirror`.
pub fn is_named(mirror: &Mirror, name: &str) -> bool {
    mirror.url.raw() == name || mirror.url.host.eq_ignore_ascii_case(name) || mirror.url.shown_host() == name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::GitUrl;

    fn mirror(url: &str, origin: Origin) -> Mirror {
        Mirror { url: GitUrl::parse(url).expect("a URL"), origin }
    }

    fn hosts(wanted: Option<bool>, first: &[&str]) -> Vec<String> {
        let mirrors = vec![
            mirror("https://a/x", Origin::Remote),
            mirror("https://b/x", Origin::Remote),
            mirror("https://c/x", Origin::Listed),
            mirror("https://d/x", Origin::CommandLine),
        ];
        let first: Vec<String> = first.iter().map(|f| (*f).to_owned()).collect();
        order(mirrors, wanted, &first).iter().map(|m| m.url.host.clone()).collect()
    }

    #[test]
    fn orders() {
        assert_eq!(hosts(None, &[]), ["d", "a", "b"]);
        assert_eq!(hosts(Some(true), &[]), ["d", "a", "b", "c"]);
        assert_eq!(hosts(Some(true), &["B", "https://c/x"]), ["d", "b", "c", "a"]);
        assert!(hosts(Some(false), &["a"]).is_empty());
    }
}
