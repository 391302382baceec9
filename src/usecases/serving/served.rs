//! A repository as a server's side of the `mirror` capability sees it (gitprotocol-mirror(5)): its mirror list, and the
//! remotes for which it can stand in.
//!
//! Stock git does everything else. [`Served`] makes the few answers that it cannot, out of bytes and packets; whoever
//! holds the connection (`upload_pack`, `http_backend`, `serve`) sends them.

use std::path::Path;
use std::sync::Arc;

use core::net::IpAddr;

use super::site::Site;
use super::standing_in::{Remote, present, remotes};
use crate::adapters::git::enter_repo::common_dir;
use crate::adapters::list_file::Loaded;
use crate::decide::policy;
use crate::values::mirror_list::{Client, MirrorList};
use crate::values::stable_hash::stable_hash;
use crate::values::url_key::{key, without_credentials};
use crate::values::{Error, GitUrl, Kind, Result, Transport};
use crate::wire::Pkt;
use crate::wire::mirror_command::{self, Feature, Request};
use crate::wire::pkt::{HEADER, encoded, packet};

/// One repository.
pub struct Served<'a> {
    site: &'a Site,
    list: Option<Arc<Loaded>>,
    remotes: Vec<Remote>,
}

impl<'a> Served<'a> {
    /// Looks at the repository whose git directory is `git_dir`.
    pub fn open(git_dir: &Path, site: &'a Site) -> Self {
        let common_dir = common_dir(git_dir);
        let list = site.list(&common_dir, &site.name(git_dir));
        Served { site, list, remotes: remotes(&common_dir) }
    }

    /// Returns what to advertise; nothing where there is no list and no remote.
    pub fn feature(&self) -> Option<Feature> {
        let feature = Feature { id: self.list.as_ref().map(|list| list.id.clone()), url: !self.remotes.is_empty() };
        (feature != Feature::default()).then_some(feature)
    }

    /// Returns stock git's advertisement, of any version, with ours in it.
    pub fn advertise(&self, stock: &[u8], client: Option<IpAddr>) -> Vec<u8> {
        let Some(feature) = self.feature() else { return stock.to_vec() };
        let mut at = 0;
        while let Some((end, data)) = packet(stock, at) {
            if data.starts_with(b"version 2") {
                let Some(end) = stock.len().checked_sub(HEADER).filter(|end| &stock[*end..] == b"0000") else { break };
                let mut out = stock[..end].to_vec();
                Pkt::line(&feature.line()).encode(&mut out);
                Pkt::Flush.encode(&mut out);
                return out;
            }
            if data.contains(&0) {
                let mut out = stock[..at].to_vec();
                Pkt::Data(self.with_tokens(data, client)).encode(&mut out);
                out.extend_from_slice(&stock[end..]);
                return out;
            }
            at = end;
        }
        stock.to_vec()
    }

    /// Returns the first line of an advertisement of v0 or v1 with the list in it.
    pub fn with_tokens(&self, line: &[u8], client: Option<IpAddr>) -> Vec<u8> {
        let with = self.list.as_ref().and_then(|loaded| {
            let tokens =
                mirror_command::v0_tokens(&self.page(loaded, &Request::default(), client), loaded.listing.first);
            mirror_command::add_v0_tokens(line, &tokens)
        });
        with.unwrap_or_else(|| line.to_vec())
    }

    /// Returns whether a request that begins so may be one that is answered here, and must be read as a whole.
    pub fn may_answer(head: &[Pkt]) -> bool {
        head.first().is_some_and(|first| matches!(first.text(), b"command=mirror" | b"command=ls-refs"))
    }

    /// Answers a request that stock git cannot; `None` for all others. `stock` carries an `ls-refs` request out, and
    /// returns the answer.
    ///
    /// # Errors
    /// [`Kind::Protocol`] for what the client did wrong: its text is for an `ERR` packet. Those of `stock`.
    pub fn answer(
        &self,
        request: &[Pkt],
        client: Option<IpAddr>,
        stock: impl FnOnce(&[Pkt]) -> Result<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>> {
        if self.feature().is_none() {
            return Ok(None);
        }
        if Request::is_mirror(request) {
            let list = self.list(&Request::parse(request)?, client);
            return Ok(Some(encoded(&mirror_command::encode(&list))));
        }
        let Some(asked) = request.iter().find_map(|pkt| pkt.text().strip_prefix(b"url=")) else { return Ok(None) };
        let asked = key(&String::from_utf8_lossy(asked));
        let without: Vec<Pkt> = request.iter().filter(|pkt| !pkt.text().starts_with(b"url=")).cloned().collect();
        if self.is_canonical(&asked) {
            return stock(&without).map(Some);
        }
        let remote = self.remotes.iter().find(|remote| remote.urls.iter().any(|url| key(url) == asked));
        let remote = remote.ok_or_else(|| Error::new(Kind::Protocol, "ls-refs: unknown url"))?;
        present(&remote.tracked, &without, stock).map(Some)
    }

    fn is_canonical(&self, asked: &str) -> bool {
        self.list.as_ref().is_some_and(|list| list.listing.canonical.iter().any(|url| key(url) == asked))
    }

    fn list(&self, request: &Request, client: Option<IpAddr>) -> MirrorList {
        let Some(asked) = request.url.as_deref().map(key).filter(|asked| !self.is_canonical(asked)) else {
            return match &self.list {
                Some(loaded) => self.page(loaded, request, client),
                None => MirrorList::default(),
            };
        };
        let shown = |urls: &[String]| -> Vec<String> {
            // A path here says nothing to anybody elsewhere.
            let hosted = |url: &&String| GitUrl::parse(url).is_ok_and(|url| url.transport != Transport::Local);
            urls.iter().filter(hosted).map(|url| shown_url(url)).collect()
        };
        match self.remotes.iter().find(|remote| remote.urls.iter().any(|url| key(url) == asked)) {
            Some(remote) => MirrorList { canonical: shown(&remote.urls), ..MirrorList::default() },
            None => {
                let own = self.list.iter().flat_map(|list| list.listing.canonical.clone());
                let canonical = own.chain(self.remotes.iter().flat_map(|remote| shown(&remote.urls))).collect();
                MirrorList { canonical, not_found: true, ..MirrorList::default() }
            }
        }
    }

    /// Returns a page of the list, in the order of its policy.
    fn page(&self, loaded: &Loaded, request: &Request, client: Option<IpAddr>) -> MirrorList {
        let listing = &loaded.listing;
        let database = loaded.geoip_database.as_ref().and_then(|path| {
            self.site.databases.get(path).unwrap_or_else(|err| {
                (self.site.log)(&format!("GeoIP is not used: {err}"));
                None
            })
        });
        let place = client.and_then(|address| database?.place(address));
        // The same for all pages of a client, so that none is left out between them.
        let address = client.map(|client| client.to_string()).unwrap_or_default();
        let seed = stable_hash([loaded.id.as_bytes(), address.as_bytes()]);
        let all = policy::order(listing, client, place.as_ref(), seed);
        let offset = u64::from(request.offset.unwrap_or(0));
        let (page, more) = policy::page(&all, offset, request.limit.map(u64::from), listing.first);
        MirrorList {
            canonical: listing.canonical.clone(),
            mirrors: page.to_vec(),
            more,
            prefer: listing.prefer,
            client: client.map(|address| Client {
                address: Some(address),
                country: place.as_ref().and_then(|place| place.country.clone()),
                location: place.as_ref().and_then(|place| place.location),
            }),
            not_found: false,
        }
    }
}

/// Returns a remote's URL as anybody may see it: without user and password, and without a query or a fragment, in which
/// some hosts have a token.
fn shown_url(url: &str) -> String {
    let shown = without_credentials(url);
    match GitUrl::parse(&shown).is_ok_and(|url| url.transport == Transport::Http) {
        true => shown.split(['?', '#']).next().unwrap_or_default().to_owned(),
        false => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::net::pktio::PktReader;
    use crate::decide::tracked::Tracked;

    fn served(site: &Site) -> Served<'_> {
        let remote = Remote {
            urls: vec![
                "https://u:secret@real.example/a.git".into(),
                "https://real.example/b.git?private_token=secret#secret".into(),
                "/srv/a".into(),
            ],
            tracked: Tracked::new("origin", &["+refs/heads/*:refs/remotes/origin/*"], true),
        };
        Served { site, list: None, remotes: vec![remote] }
    }

    fn site() -> Site {
        Site::new(None, None, Box::new(|_| {}))
    }

    fn request(lines: &[&str]) -> Vec<Pkt> {
        let mut packets = vec![Pkt::line(lines[0]), Pkt::Delim];
        packets.extend(lines[1..].iter().map(|line| Pkt::line(line)));
        packets.push(Pkt::Flush);
        packets
    }

    fn text(answer: &[u8]) -> String {
        let mut reader = PktReader::new(answer, "test");
        let mut lines = Vec::new();
        while let Some(pkt) = reader.read().expect("packets") {
            lines.push(String::from_utf8_lossy(pkt.text()).into_owned());
        }
        lines.join("|")
    }

    #[test]
    fn advertises_in_each_version() {
        let site = site();
        let got = served(&site).advertise(b"000eversion 2\n000cls-refs\n0000", None);
        assert_eq!(got, b"000eversion 2\n000cls-refs\n000fmirror=url\n0000");
        let old = b"001e# service=git-upload-pack\n0000000dabc x\0caps0000";
        assert_eq!(served(&site).advertise(old, None), old); // no list: nothing to say to an old client
        let none = Served { site: &site, list: None, remotes: vec![] };
        assert_eq!((none.advertise(b"0000", None), none.feature()), (b"0000".to_vec(), None));
    }

    #[test]
    fn presents_what_it_tracks() {
        let site = site();
        let served = served(&site);
        let oid = "a".repeat(40);
        let lines = ["ls-refs", "peel", "ref-prefix refs/heads/", "url=https://REAL.example:443/a/"];
        let ls_refs = request(&[&format!("command={}", lines[0]), lines[1], lines[2], lines[3]]);
        let got = served.answer(&ls_refs, None, |asked| {
            assert_eq!(text(&encoded(asked)), "command=ls-refs||peel|symrefs|ref-prefix refs/remotes/origin/|");
            Ok(encoded(&[Pkt::line(&format!("{oid} refs/remotes/origin/main")), Pkt::Flush]))
        });
        assert_eq!(text(&got.expect("an answer").expect("ours")), format!("{oid} refs/heads/main|"));
        let unknown = request(&["command=ls-refs", "url=https://other/"]);
        assert!(served.answer(&unknown, None, |_| panic!("stock is not asked")).is_err());
        let plain = request(&["command=ls-refs", "peel"]);
        assert_eq!(served.answer(&plain, None, |_| panic!("stock is not asked")).expect("stock's"), None);
    }

    #[test]
    fn names_what_it_knows_without_secrets() {
        let site = site();
        let unknown = request(&["command=mirror", "url=https://other/"]);
        let got = served(&site).answer(&unknown, None, |_| panic!("stock is not asked"));
        let got = text(&got.expect("an answer").expect("ours"));
        assert!(got.contains("not-found") && got.contains("canonical https://real.example/a.git"), "{got}");
        assert!(!got.contains("secret") && !got.contains("/srv/a"), "{got}");
    }
}
