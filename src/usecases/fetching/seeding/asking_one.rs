//! Asking one mirror, in whatever manner it takes, and again where its connection breaks.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use gix::ObjectId;

use super::connecting::{connect, explained};
use super::conversation::Conversation;
use super::gift::{self, Gift, Refusal};
use super::salvage::Salvage;
use super::{Seeder, Wanted};
use crate::adapters::git::odb::Odb;
use crate::adapters::net::guard::Guard;
use crate::adapters::net::watch::Watch;
use crate::adapters::seed::quarantine::Quarantine;
use crate::adapters::seed::{MAX_PREFIXES, Session};
use crate::decide::patience::{Came, Whom};
use crate::decide::plan::{self, Manner};
use crate::usecases::fetching::remote::Remote;
use crate::values::{Error, Event, GitUrl, Kind, Mirror, Origin, RefSpace, Result, Transport, url_key};
use crate::wire::{RefLine, RefList};

/// Of a fetch of fewer bytes all the time counts as asking: the bytes are not what it takes.
const SMALL: u64 = 64 * 1024;
/// The work on this machine for a small fetch.
const HERE: Duration = Duration::from_millis(20);

impl Seeder<'_> {
    /// Fetches from one mirror, proves, and takes over what it gave. Where it breaks off, what came is kept in `saved`, and
    /// used by whoever is asked next.
    pub(super) fn ask(
        &self,
        mirror: &Mirror,
        space: &RefSpace,
        wanted: &Wanted,
        saved: &mut Option<Salvage>,
    ) -> Result<Gift> {
        let mut manner = Manner::Usual;
        let mut of_no_use = false;
        loop {
            let began = Instant::now();
            let (mut session, watch) = self.open(mirror).inspect_err(|_| self.clock.settle(Came::Refused))?;
            let before = saved.is_some();
            let asked = self.why(&watch, self.ask_on(&mut session, &watch, space, wanted, manner, saved));
            watch.pause(true);
            match asked {
                Ok(gift) => {
                    self.clock.settle(Came::Proved);
                    // Of a large one, asking takes as long again as the connection has, and the rest is done here.
                    let small = gift.moved.0 < SMALL;
                    let ask = if small { began.elapsed() } else { watch.opened() * 2 + HERE };
                    return Ok(Gift { ask, ..gift });
                }
                Err(Refusal::Again(next)) => {
                    self.clock.settle(Came::Refused);
                    manner = next;
                    of_no_use |= before;
                }
                Err(Refusal::Final(err)) => {
                    let who = mirror.url.shown_host();
                    let again = self.take_stock(saved, &who, watch.bytes());
                    if !again || of_no_use || err.kind != Kind::Channel || self.clock.over(Whom::Mirror).is_some() {
                        return Err(err);
                    }
                    self.remote
                        .report
                        .event(Event::Detail(format!("mirror: {who}: {}; asking for the rest", err.message)));
                }
            }
        }
    }

    /// As [`explained`].
    pub(super) fn why<T>(
        &self,
        watch: &Watch,
        result: std::result::Result<T, Refusal>,
    ) -> std::result::Result<T, Refusal> {
        result.map_err(|refusal| match watch.verdict() {
            Some(verdict) => Refusal::Final(verdict),
            None => refusal,
        })
    }

    pub(super) fn open(&self, mirror: &Mirror) -> Result<(Session, Watch)> {
        if let Some(over) = self.clock.over(Whom::Mirror) {
            return Err(over);
        }
        let Remote { url, config, family, report, .. } = self.remote;
        let guard = (mirror.origin == Origin::Listed).then(|| Guard::new(url, config));
        let early = self.early.take().and_then(|early| early.take(mirror, &self.clock));
        let (mut session, watch) = match early {
            Some(made) => made?,
            None => connect(mirror, guard.as_ref(), config, family, report, Some(&self.clock), |_| ())?,
        };
        watch.pause(false);
        explained(&watch, session.adopt(self.repo.hash, &self.names(mirror)))?;
        Ok((session, watch))
    }

    /// Returns the URLs under which a mirror may know canonical, without credentials; paths for mirrors here only.
    fn names(&self, mirror: &Mirror) -> Vec<String> {
        let key = format!("remote.{}.url", self.remote.name);
        let mut names = vec![self.remote.url.raw().to_owned()];
        names.extend(self.remote.config.all(&key).map(|url| url.strip_prefix("mirror::").unwrap_or(url).to_owned()));
        let here = mirror.url.transport == Transport::Local;
        let may_know = |url: &&String| GitUrl::parse(url).is_ok_and(|u| here || u.transport != Transport::Local);
        let mut seen = HashSet::new();
        let names = names.iter().filter(may_know).map(|url| url_key::without_credentials(url));
        names.filter(|url| seen.insert(url.clone())).collect()
    }

    pub(super) fn ask_on(
        &self,
        session: &mut Session,
        watch: &Watch,
        space: &RefSpace,
        wanted: &Wanted,
        manner: Manner,
        saved: &mut Option<Salvage>,
    ) -> std::result::Result<Gift, Refusal> {
        let odb = Odb::open(self.repo)?;
        let named = plan::names_of(wanted.canonical, wanted.wants);
        let tags = wanted.canonical.refs.iter().filter(|r| wanted.include_tag && r.peeled.is_some());
        let names: BTreeSet<&str> = named.iter().copied().chain(tags).map(|r| r.name.as_str()).collect();
        let wants: HashSet<&ObjectId> = wanted.wants.iter().collect();
        let is_wanted = |r: &RefLine| [Some(r.oid), r.peeled].iter().flatten().any(|id| wants.contains(id));
        watch.pause(false);
        // What is wanted may have another name there, as before a branch was renamed.
        let listed = wanted
            .canonical
            .refs
            .iter()
            .map(|r| r.name.as_str())
            .filter(|_| wanted.canonical.refs.len() <= MAX_PREFIXES);
        let listed: BTreeSet<&str> = listed.chain(names.iter().copied()).collect();
        let theirs = if names.is_empty() {
            RefList::default() // nothing that is wanted has a name: it is wanted by id
        } else {
            session.ls_refs(&listed, wanted.clone, |r| names.contains(r.name) || is_wanted(r))?
        };
        watch.pause(true); // what takes time now is ours, until it is asked again
        if let Some(salvage) = saved.take_if(|saved| saved.fits(space, &theirs)) {
            return self.complete(Conversation { session, watch, wanted, theirs: &theirs }, salvage, saved);
        }
        let request = plan::request(wanted.wants, &named, &theirs, manner, |id| odb.has(id));
        if request.wants.is_empty() {
            return Err(Error::new(Kind::Nothing, "it has nothing that is new here").into());
        }
        tracing::debug!(?request, ?manner, "ask a mirror");
        let quarantine = Quarantine::create(self.repo)?;
        let mut partials = Vec::new();
        let got = self.fetching(watch, (&quarantine, false), &mut partials, |indexing| {
            session.fetch(&request.wants, wanted.haves, &odb, indexing)
        });
        let objects = match got {
            Err(err) if !partials.is_empty() => {
                *saved = Salvage::of(quarantine, request, space, partials, self.repo.hash);
                return Err(err.into());
            }
            Err(err) if err.kind == Kind::Protocol && manner == Manner::Usual && watch.verdict().is_none() => {
                let rest = request.unadvertised.len() < request.wants.len();
                let refused = rest && !request.unadvertised.is_empty();
                return Err(if refused { Refusal::Again(Manner::Shown) } else { err.into() });
            }
            other => other?,
        };
        let came = gift::Came { quarantine, request, space: space.clone(), objects, proved: false };
        self.take_over(Conversation { session, watch, wanted, theirs: &theirs }, came)
    }
}
