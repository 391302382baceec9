//! Which settings `<section>.<url>.<variable>` are meant for a URL.
//!
//! Source: git-config(1), `http.<url>.*`, and `match_urls` and `urlmatch_config_entry` in git's `urlmatch.c`. Paths are
//! compared as they are written: where git would see more matches, a setting is left out.

use crate::values::GitUrl;

/// How closely a setting's URL describes another one: bytes of the host, bytes of the path, whether the user is named.
type Closeness = (usize, usize, bool);

/// Returns the values that are meant for `url`, in order; one that is less specific than an earlier one is not.
pub fn meant<'a>(settings: impl Iterator<Item = (&'a str, &'a str)>, url: &GitUrl) -> Vec<&'a str> {
    let mut closest = None;
    let take = |(base, value)| {
        let closeness = closeness(base, url)?;
        if closest.is_some_and(|closest| closeness < closest) {
            return None;
        }
        closest = Some(closeness);
        Some(value)
    };
    settings.filter_map(take).collect()
}

fn closeness(base: &str, url: &GitUrl) -> Option<Closeness> {
    let base = GitUrl::parse(base).ok()?;
    let name = |url: &GitUrl| url.userinfo.as_deref().map(|info| info.split(':').next().unwrap_or_default().to_owned());
    let user = name(&base);
    if base.scheme != url.scheme
        || base.effective_port() != url.effective_port()
        || user.is_some() && user != name(url)
        || !covers_host(&base.host, &url.host)
    {
        return None;
    }
    let path = base.path.trim_end_matches('/');
    let rest = url.path.strip_prefix(path)?;
    (rest.is_empty() || rest.starts_with('/')).then_some((base.host.len(), path.len(), user.is_some()))
}

/// `*` stands for one part of a name.
fn covers_host(pattern: &str, host: &str) -> bool {
    let (mut parts, mut patterns) = (host.split('.'), pattern.split('.'));
    loop {
        match (patterns.next(), parts.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if pattern == "*" || pattern.eq_ignore_ascii_case(part) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(base: &str, url: &str) -> bool {
        closeness(base, &GitUrl::parse(url).expect("a URL")).is_some()
    }

    #[test]
    fn settings_are_meant_for_what_is_below_their_url() {
        for (base, url) in [
            ("https://m/a", "https://m/a/b"),
            ("https://m", "https://M:443/a"),
            ("https://*.m.example/", "https://x.m.example/a"),
            ("https://u@m/", "https://u:secret@m/a"),
            ("https://m/", "https://u@m/a"),
        ] {
            assert!(covers(base, url), "{base} {url}");
        }
        for (base, url) in [
            ("https://m/a", "https://m/ab"),
            ("https://m/", "http://m/"),
            ("https://m:8443/", "https://m/"),
            ("https://*.example/", "https://x.m.example/a"),
            ("https://u@m/", "https://m/a"),
            ("https://u@m/", "https://v@m/a"),
            ("m", "https://m/"),
            ("", "https://m/"),
        ] {
            assert!(!covers(base, url), "{base} {url}");
        }
    }

    #[test]
    fn the_more_specific_wins() {
        let url = GitUrl::parse("https://m/a/b").expect("a URL");
        let of = |settings: &[(&'static str, &'static str)]| meant(settings.iter().copied(), &url).join(" ");
        assert_eq!(of(&[("https://m/", "1"), ("https://n/", "x"), ("https://m/a", "2"), ("https://m/", "3")]), "1 2");
        assert_eq!(of(&[("https://m/a", "1"), ("https://m/a/", "2")]), "1 2");
    }
}
