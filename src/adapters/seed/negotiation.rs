//! What a mirror is told during a fetch: which objects are wanted, and what is here. The rounds themselves are gix's.

use gix::ObjectId;
use gix::protocol::fetch::negotiate;

use crate::adapters::git::odb::Odb;
use crate::values::{Error, Kind, Result};

/// How many commits behind the tips are offered at once: 53 bytes each.
const MORE_AT_ONCE: usize = 64;

/// Chooses what to offer to the mirror.
pub(super) struct Negotiation<'a> {
    wants: &'a [ObjectId],
    /// What is offered at once: a server that knows enough to send a pack hears no more, and may send what is here.
    tips: Vec<ObjectId>,
    negotiator: Box<dyn gix::negotiate::Negotiator>,
    graph: gix::negotiate::Graph<'a, 'static>,
}

impl<'a> Negotiation<'a> {
    /// Returns one that offers the commits among `haves`, and their ancestors in `odb`.
    ///
    /// # Errors
    /// [`Kind::Local`] where the history cannot be read.
    pub(super) fn new(wants: &'a [ObjectId], haves: &[ObjectId], odb: &'a Odb) -> Result<Self> {
        let mut graph = gix::negotiate::Graph::new(&odb.0, None);
        let mut negotiator = gix::negotiate::Algorithm::Consecutive.into_negotiator();
        let tips: Vec<ObjectId> = haves.iter().filter(|id| odb.is_commit(id)).copied().collect();
        for have in &tips {
            negotiator
                .add_tip(*have, &mut graph)
                .map_err(Error::doing(Kind::Local, "cannot read the history that is here"))?;
        }
        Ok(Negotiation { wants, tips, negotiator, graph })
    }
}

impl gix::protocol::fetch::Negotiate for Negotiation<'_> {
    fn mark_complete_and_common_ref(&mut self) -> gix::Result<negotiate::Action> {
        Ok(negotiate::Action::MustNegotiate { remote_ref_target_known: Vec::new() })
    }

    fn add_wants(&mut self, arguments: &mut gix::protocol::fetch::Arguments, _known: &[bool]) -> bool {
        self.wants.iter().for_each(|want| arguments.want(want));
        !self.wants.is_empty()
    }

    fn one_round(
        &mut self,
        state: &mut negotiate::one_round::State,
        arguments: &mut gix::protocol::fetch::Arguments,
        previous_response: Option<&gix::protocol::fetch::Response>,
    ) -> gix::Result<(negotiate::Round, bool)> {
        // Among them is where lines meet that the server would hear of too late.
        let tips = std::mem::take(&mut self.tips);
        let more = if tips.is_empty() { 0 } else { tips.len() + MORE_AT_ONCE };
        tips.iter().for_each(|tip| arguments.have(tip));
        for _ in 0..more {
            let Some(id) = self.negotiator.next_have(&mut self.graph).transpose()? else { break };
            if !tips.contains(&id) {
                arguments.have(id);
            }
        }
        negotiate::one_round(&mut *self.negotiator, &mut self.graph, state, arguments, previous_response)
    }
}

/// What of the objects that are wanted by id shall come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// They, and nothing that they lead to, where the server takes filters. One that is also in another of them may be left
    /// out, as git takes it for one of those that are only reached (`NOT_USER_GIVEN` in its `list-objects.c`).
    Alone,
    /// They, and all that they reach.
    Reached,
}

impl Extent {
    /// Returns what a server is told of it.
    pub(super) fn lines(self) -> Vec<String> {
        match self {
            Extent::Alone => vec!["filter tree:0".into()], // git-rev-list(1)
            Extent::Reached => Vec::new(),
        }
    }
}

/// Wants objects by id, in one round.
pub(super) struct ById<'a> {
    pub(super) wants: &'a [ObjectId],
    pub(super) haves: &'a [ObjectId],
    /// What else the server is told: how much of them shall come.
    pub(super) lines: Vec<String>,
}

impl gix::protocol::fetch::Negotiate for ById<'_> {
    fn mark_complete_and_common_ref(&mut self) -> gix::Result<negotiate::Action> {
        Ok(negotiate::Action::MustNegotiate { remote_ref_target_known: Vec::new() })
    }

    fn add_wants(&mut self, arguments: &mut gix::protocol::fetch::Arguments, _known: &[bool]) -> bool {
        self.lines.iter().for_each(|line| arguments.add_feature(line));
        self.wants.iter().for_each(|want| arguments.want(want));
        self.haves.iter().for_each(|have| arguments.have(have));
        !self.wants.is_empty()
    }

    fn one_round(
        &mut self,
        _state: &mut negotiate::one_round::State,
        _arguments: &mut gix::protocol::fetch::Arguments,
        _previous_response: Option<&gix::protocol::fetch::Response>,
    ) -> gix::Result<(negotiate::Round, bool)> {
        let haves_sent = self.haves.len();
        let round = negotiate::Round {
            haves_sent,
            in_vain: 0,
            haves_to_send: haves_sent,
            previous_response_had_at_least_one_in_common: false,
        };
        Ok((round, true))
    }
}
