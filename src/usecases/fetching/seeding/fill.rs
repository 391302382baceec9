//! Filling `refs/mirror/<host>/*` without canonical: `git mirror-fetch --mirror-only` and `--seed`.

use gix::ObjectId;

use super::connecting::explained;
use super::gift::{Gift, Refusal};
use super::{Seeder, Wanted};
use crate::adapters::git::odb::Odb;
use crate::adapters::git::refspec;
use crate::adapters::git::run;
use crate::adapters::kept::state::{self, Ending};
use crate::adapters::seed::{keep, quarantine};
use crate::decide::cost::Work;
use crate::decide::patience::{Came, Whom};
use crate::decide::plan::Manner;
use crate::usecases::fetching::choosing::{Decision, warn_of_settings};
use crate::usecases::fetching::observing::{Canonical, Observed, Outcome};
use crate::values::{Error, Event, Kind, Mirror, RefSpace, Result};
use crate::wire::{RefLine, Scope};

impl Seeder<'_> {
    /// Fills `refs/mirror/<host>/*` with what `sources`, the left sides of refspecs, name on the first mirror that gives
    /// it; canonical has no say. Returns who that was, where its refs are, and how many are there.
    ///
    /// # Errors
    /// [`Kind::Config`] where no mirror is known, [`Kind::Channel`] where none gives anything.
    pub fn fill(&self, sources: &[&str], haves: &[ObjectId]) -> Result<(String, RefSpace, usize)> {
        warn_of_settings(self.remote.config, self.remote.report);
        let chooser = self.chooser();
        let Decision { known, choice, .. } = chooser.decide(Work::default(), true);
        if choice.order.is_empty() && run::skips_any() {
            return Err(Error::new(Kind::Channel, format!("no other mirror of '{}' is known", self.remote.name)));
        }
        if choice.order.is_empty() {
            let because = choice.excluded.first().map(|place| format!(": {}", place.reason)).unwrap_or_default();
            let text = format!("no mirror of '{}' is known that may be used{because}", self.remote.name);
            return Err(
                Error::new(Kind::Config, text).hint(format!("`git mirror list {}` shows them", self.remote.name))
            );
        }
        quarantine::sweep(&self.repo.objects);
        keep::sweep(&self.repo.objects);
        let mut observed = Vec::new();
        for place in &choice.order {
            if let Some(over) = self.clock.over(Whom::Mirror) {
                self.remote.report.event(Event::Warning(over.message));
                break;
            }
            let (mirror, space) = (known[place.at].mirror.clone(), known[place.at].space.clone());
            let who = mirror.url.shown_host();
            let refs = self.known_to_ask(&mirror, &space, || {
                let refs = self.fill_from(&mirror, &space, sources, haves);
                self.clock.settle(if refs.is_ok() { Came::Proved } else { Came::Refused });
                refs
            });
            match refs {
                Ok((refs, gift)) => {
                    observed.extend(gift.map(|Gift { ask, moved, .. }| Observed {
                        url: mirror.url,
                        space: space.clone(),
                        outcome: Outcome::Gave { ask, moved, lacked: 0.0 },
                    }));
                    chooser.keep(observed, Canonical::default(), true, None);
                    return Ok((who, space, refs));
                }
                Err(err) => {
                    let outcome = Outcome::of(&err);
                    self.leave(who, &space, err);
                    observed.extend(outcome.map(|outcome| Observed { url: mirror.url, space, outcome }));
                }
            }
        }
        // Nobody could be reached: that is nobody's fault.
        chooser.keep(observed, Canonical::default(), false, None);
        Err(Error::new(Kind::Channel, format!("no mirror of '{}' could be used", self.remote.name)))
    }

    /// Returns how many refs of the mirror are here then, and what it gave, if anything was lacking.
    fn fill_from(
        &self,
        mirror: &Mirror,
        space: &RefSpace,
        sources: &[&str],
        haves: &[ObjectId],
    ) -> Result<(usize, Option<Gift>)> {
        let (mut session, watch) = self.open(mirror)?;
        let prefixes = sources.iter().map(|source| source.split('*').next().unwrap_or_default()).collect();
        let is_meant = |r: &RefLine| sources.iter().any(|source| refspec::matches(source, r.name));
        let theirs = explained(&watch, session.ls_refs(&prefixes, false, is_meant))?;
        watch.pause(true);
        let odb = Odb::open(self.repo)?;
        let mut wants: Vec<ObjectId> = theirs.refs.iter().map(|r| r.oid).filter(|oid| !odb.has(oid)).collect();
        wants.sort();
        wants.dedup();
        if wants.is_empty() {
            return Ok((0, None));
        }
        let (scope, canonical) = (&Scope::default(), &theirs);
        let wanted =
            Wanted { wants: &wants, haves, include_tag: false, clone: false, scope, canonical, by_canonical: false };
        match self.why(&watch, self.ask_on(&mut session, &watch, space, &wanted, Manner::Usual, &mut None)) {
            Ok(gift) => {
                state::note(self.repo, space, Ending::Gave, gift.bytes);
                let place = format!("{}{}/", crate::values::refspace::PREFIX, space.name());
                let refs = self.repo.mirror_refs()?.iter().filter(|r| r.name.starts_with(&place)).count();
                Ok((refs, Some(gift)))
            }
            Err(Refusal::Final(err)) => Err(err),
            Err(Refusal::Again(_)) => {
                Err(Error::new(Kind::Protocol, "it does not give what it shows, or that is malformed"))
            }
        }
    }
}
