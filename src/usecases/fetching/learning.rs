//! Learning mirrors from canonical: when it is asked for its list, and what is stored of the answer (gitprotocol-mirror(5),
//! git-mirror(1)).
//!
//! What the user has set is never changed. A list that cannot be had costs a warning, never the fetch.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::adapters::git::config::Config;
use crate::adapters::git::repo::Repo;
use crate::adapters::kept::state::{self, KnownList};
use crate::adapters::net::guard::Guard;
use crate::decide::host::is_private_host;
use crate::decide::trust::{Accepted, MAX_MIRRORS, Refused, Trust};
use crate::usecases::fetching::asking::ask;
use crate::usecases::fetching::list_in_ref;
use crate::usecases::fetching::remote::Remote;
use crate::values::mirror_list::{MirrorList, PreferMirror};
use crate::values::stable_hash::stable_hash;
use crate::values::{Event, GitUrl, Result};
use crate::wire::mirror_command::{Feature, Request};

/// How long a list is believed while its `id` stays the same, in seconds: a week.
const FRESH: u64 = 7 * 24 * 3600;
/// How long a list in the repository is not looked at again, in seconds: a day.
const LOOKED: u64 = 24 * 3600;
/// How long the resolver may take.
const LOOK_UP: Duration = Duration::from_secs(5);
/// Most refused mirrors that are named in warnings.
const MOST_WARNINGS: usize = 5;

/// Learns for one remote of one repository.
pub struct Learner<'a> {
    /// The repository.
    pub repo: &'a Repo,
    /// The remote.
    pub remote: Remote<'a>,
}

/// What was learned.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lesson {
    /// Whether the configuration has changed.
    pub changed: bool,
    /// Whether this fetch, and this one only, shall go mirror-first.
    pub once: bool,
}

/// What came of storing a list.
struct Stored {
    /// Whether anything was written.
    changed: bool,
    /// Whether nothing failed.
    whole: bool,
    /// Whether `preferMirror` is ours.
    preferred: bool,
}

impl Learner<'_> {
    /// Returns whether to ask canonical, which advertised this, for its list. Forgets what was learned from a server
    /// that has no list any more.
    pub fn must_ask(&self, feature: Option<&Feature>) -> bool {
        let known = self.known();
        let Some(feature) = feature.filter(|feature| feature.id.is_some()) else {
            let last = self.last();
            // What was read in the repository was asked for, be it once.
            let stays = known.as_ref().is_some_and(KnownList::is_from_ref);
            if last.is_some() && !stays && self.store(&MirrorList::default(), last.as_ref()).whole {
                state::note_list(self.repo, self.remote.name, None);
            }
            return false;
        };
        let fresh = |known: &KnownList| known.id == feature.id && state::now().saturating_sub(known.time) < FRESH;
        self.is_remote() && !known.is_some_and(|known| fresh(&known))
    }

    /// Reads the list that the owner keeps in the repository, where the user allows that, and it was not looked at today.
    pub fn learn_from_ref(&self) -> Lesson {
        let known = self.known();
        let looked = known.as_ref().is_some_and(|known| state::now().saturating_sub(known.time) < LOOKED);
        if looked || !self.is_remote() || !list_in_ref::is_allowed(self.remote.config) {
            return Lesson::default();
        }
        let id = match list_in_ref::id(self.remote.url) {
            Ok(id) => id,
            Err(err) => return self.learn(None, Err(err)),
        };
        let marked = Some(KnownList::from_ref(id.as_deref().unwrap_or_default()));
        match (id, known) {
            (_, Some(known)) if known.id == marked => {
                state::note_list(self.repo, self.remote.name, Some(KnownList { time: state::now(), ..known }));
                Lesson::default()
            }
            (Some(id), _) => self.learn(marked, list_in_ref::read(self.repo, self.remote.url, &id)),
            (None, _) => self.learn(marked, Ok(MirrorList::default())),
        }
    }

    /// Returns whether there is a remote to store something for: not where a URL is fetched from, whose name is the URL.
    fn is_remote(&self) -> bool {
        let key = self.key("url");
        let mut urls = self.remote.config.all(&key).peekable();
        urls.peek().is_some() && urls.all(|url| url != self.remote.name) && self.remote.name != self.remote.url.raw()
    }

    /// Returns what is known of this very server's list.
    fn known(&self) -> Option<KnownList> {
        self.last().filter(|known| known.server == self.server())
    }

    /// Returns what was last learned for the remote, from whatever server it had then.
    fn last(&self) -> Option<KnownList> {
        state::known_list(self.repo, self.remote.name)
    }

    fn key(&self, variable: &str) -> String {
        format!("remote.{}.{variable}", self.remote.name)
    }

    /// Returns what a list is known for: the server, and what the user allows, as that decides what of a list is stored.
    fn server(&self) -> String {
        let url = crate::values::url_key::key(self.remote.url.raw());
        let private = [u8::from(allows_private(self.remote.config))];
        let allowed = self.remote.config.all("mirror.allowprotocol").map(str::as_bytes);
        let hash = stable_hash([url.as_bytes(), private.as_slice()].into_iter().chain(allowed));
        format!("{hash:016x}")
    }

    /// Takes an answer that came with `id`, or the reason why there is none: then what was known stays.
    pub fn learn(&self, id: Option<String>, answer: Result<MirrorList>) -> Lesson {
        let (before, last) = (self.known(), self.last());
        let mut now = KnownList {
            time: state::now(),
            id,
            server: self.server(),
            count: before.as_ref().map_or(0, |known| known.count),
            preferred: last.as_ref().is_some_and(|last| last.preferred),
            here: before.as_ref().and_then(|known| known.here.clone()),
            places: before.as_ref().map(|known| known.places.clone()).unwrap_or_default(),
        };
        let mut lesson = Lesson::default();
        let stored = match &answer {
            Ok(list) => {
                now.count = count(list);
                now.here = list.client.as_ref().and_then(|client| client.location).map(|place| place.to_string());
                now.places = self.places(list);
                lesson.once = list.prefer == PreferMirror::Once && before.is_none() && !self.user_has_said(None);
                Some(self.store(list, last.as_ref()))
            }
            Err(err) => {
                let text = format!("the mirror list of {} is not used: {err}", self.remote.url.shown_host());
                self.remote.report.event(Event::Warning(text));
                // What another server listed is of no use here.
                last.as_ref().filter(|_| before.is_none()).map(|last| self.store(&MirrorList::default(), Some(last)))
            }
        };
        if let Some(stored) = stored {
            lesson.changed = stored.changed;
            now.preferred = stored.preferred;
            if !stored.whole {
                now.time = 0; // to be asked again
            }
        }
        state::note_list(self.repo, self.remote.name, Some(now));
        lesson
    }

    /// Takes the list that a server of v0 or v1 has sent unasked, where it is not the one that is known.
    pub fn learn_old(&self, list: MirrorList) {
        let (accepted, _) = self.trust_all(&list);
        let always = list.prefer == PreferMirror::Always && !accepted.is_empty();
        let same = self.known().is_some_and(|known| {
            let prefers = self.user_has_said(Some(&known)) || known.preferred == always;
            let listed = accepted.iter().map(|mirror| mirror.url.raw());
            prefers
                && self.remote.config.all(&self.key("listedmirror")).eq(listed)
                && self.remote.config.number(&self.key("moremirrors")).unwrap_or(0) == list.more
        });
        if self.is_remote() && !same {
            self.learn(None, Ok(list));
        }
    }

    /// Asks canonical for the mirrors after those that it has named, on a connection of its own: the one that is open is
    /// git's, which is waiting for an answer. Returns whether the configuration has more mirrors now.
    pub fn ask_for_more(&self) -> bool {
        // An earlier page may have been stored since `self.remote.config` was read.
        let Ok(config) = self.repo.config() else { return false };
        Learner { remote: Remote { config: &config, ..self.remote }, ..*self }.ask_for_a_page()
    }

    fn ask_for_a_page(&self) -> bool {
        let has_more = self.remote.config.number(&self.key("moremirrors")).is_some_and(|more| more > 0);
        let Some(known) = self.known().filter(|_| has_more) else { return false };
        let request = Request { offset: Some(known.count), ..Request::default() };
        let answer = match ask(&self.remote, &request) {
            Ok(answer) if answer.feature.id == known.id => answer.list,
            other => {
                tracing::debug!(?other, "no more mirrors");
                return false;
            }
        };
        let (accepted, refused) = self.trust_all(&answer);
        self.warn_of(&refused);
        let mut urls: Vec<String> = self.remote.config.all(&self.key("listedmirror")).map(Into::into).collect();
        let before = urls.len();
        urls.extend(accepted.iter().map(|mirror| mirror.url.raw().to_owned()));
        let more = (answer.more > 0 && !answer.mirrors.is_empty()).then(|| answer.more.to_string());
        let stored = self.replace("listedMirror", &urls).and(self.replace("moreMirrors", more.as_slice()));
        if stored.is_err() {
            return false;
        }
        let count = known.count.saturating_add(count(&answer));
        let mut places = known.places;
        places.extend(self.places(&answer));
        state::note_list(self.repo, self.remote.name, Some(KnownList { count, places, ..known }));
        urls.len() > before
    }

    fn warn_of(&self, refused: &[Refused]) {
        for refused in refused.iter().take(MOST_WARNINGS) {
            let (who, shown, why) = (self.remote.url.shown_host(), &refused.shown, &refused.reason);
            self.remote.report.event(Event::Warning(format!("mirror '{shown}' that {who} lists is not used: {why}")));
        }
        if refused.len() > MOST_WARNINGS {
            let more = refused.len() - MOST_WARNINGS;
            self.remote.report.event(Event::Warning(format!("{more} more listed mirrors: not used")));
        }
    }

    /// Returns whether the user has said whether to go mirror-first.
    fn user_has_said(&self, known: Option<&KnownList>) -> bool {
        let ours = known.is_some_and(|known| known.preferred);
        let key = self.key("prefermirror");
        let values: Vec<&str> = self.remote.config.all(&key).collect();
        !(values.is_empty() || ours && values == ["true"])
    }

    /// Writes what the list says into the repository's configuration, as far as it is not there.
    fn store(&self, list: &MirrorList, last: Option<&KnownList>) -> Stored {
        let (accepted, refused) = self.trust_all(list);
        self.warn_of(&refused);
        let urls: Vec<String> = accepted.iter().map(|mirror| mirror.url.raw().to_owned()).collect();
        let more = (list.more > 0).then(|| list.more.to_string());
        let always = list.prefer == PreferMirror::Always && !urls.is_empty();
        let mut done = vec![self.replace("listedMirror", &urls), self.replace("moreMirrors", more.as_slice())];
        let mut preferred = last.is_some_and(|last| last.preferred);
        if !self.user_has_said(last) {
            let value = always.then(|| "true".to_owned());
            let written = self.replace("preferMirror", value.as_slice());
            if written.is_ok() {
                preferred = always;
            }
            done.push(written);
        }
        let changed = done.iter().any(|done| *done.as_ref().unwrap_or(&true));
        Stored { changed, whole: done.iter().all(Result::is_ok), preferred }
    }

    /// Returns where the mirrors are said to be.
    fn places(&self, list: &MirrorList) -> BTreeMap<String, String> {
        let (accepted, _) = self.trust_all(list);
        accepted.iter().filter_map(|m| Some((m.url.shown_host(), m.entry.location?.to_string()))).collect()
    }

    fn trust_all(&self, list: &MirrorList) -> (Vec<Accepted>, Vec<Refused>) {
        let allowed: Vec<String> = self.remote.config.all("mirror.allowprotocol").map(Into::into).collect();
        // Where that decides nothing, nothing is looked up.
        let private = |url: &str| GitUrl::parse(url).is_ok_and(|url| is_private_host(&url.host));
        let guard = Guard::new(self.remote.url, self.remote.config);
        let by = Some(Instant::now() + LOOK_UP);
        let canonical_is_private = list.mirrors.iter().take(MAX_MIRRORS).any(|mirror| private(&mirror.url))
            && guard.canonical_is_private(by).unwrap_or(false);
        let trust = Trust {
            canonical: self.remote.url,
            canonical_is_private,
            allowed: &allowed,
            allow_private: allows_private(self.remote.config),
        };
        trust.accept(list)
    }

    /// Makes `values` all values of a variable of the remote; returns whether they were others before.
    fn replace(&self, variable: &str, values: &[String]) -> Result<bool> {
        let key = self.key(variable);
        let lower = self.key(&variable.to_ascii_lowercase()); // as `Config` has it
        if self.remote.config.all(&lower).eq(values.iter().map(String::as_str)) {
            return Ok(false);
        }
        let mut done = match values.split_first() {
            None => self.repo.write_config(&["--local", "--unset-all", &key]),
            Some((first, _)) => self.repo.write_config(&["--local", "--replace-all", &key, first]),
        };
        for value in values.iter().skip(1) {
            done = done.and_then(|()| self.repo.write_config(&["--local", "--add", &key, value]));
        }
        done.map(|()| true)
            .inspect_err(|err| tracing::debug!(%err, key, "cannot store what canonical says of its mirrors"))
    }
}

/// Returns whether the user lets any server list mirrors on private addresses.
pub fn allows_private(config: &Config) -> bool {
    config.bool("mirror.allowprivate").unwrap_or(false)
}

fn count(list: &MirrorList) -> u32 {
    u32::try_from(list.mirrors.len()).unwrap_or(u32::MAX)
}
