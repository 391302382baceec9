//! The channel to canonical: opening it, and learning mirrors on it.

use std::io::Write;
use std::os::fd::AsFd;

use super::Helper;
use crate::adapters::git::config::Config;
use crate::adapters::git::repo::Repo;
use crate::adapters::git::run;
use crate::adapters::net::channel::{Channel, HttpHelper, Opening, Role, Service};
use crate::adapters::net::pktio;
use crate::usecases::fetching::asking::{self, Open};
use crate::usecases::fetching::learning::{Learner, Lesson};
use crate::usecases::fetching::remote::Remote;
use crate::values::{Error, Kind, Result};
use crate::wire::Pkt;
use crate::wire::mirror_command::{Request, from_v0};

/// Opens a channel to canonical over any transport but HTTP, as git would: `program` is what `--upload-pack` names.
///
/// # Errors
/// Those of the connection.
pub(super) fn open(remote: Remote, program: Option<&str>, service: Service) -> Result<Channel> {
    let Remote { url, config, family, report, .. } = remote;
    let opening = Opening {
        role: Role::Canonical,
        service,
        program,
        version: config.number("protocol.version").map_or(2, |n| n.min(2) as u8),
        family,
        connect_by: None,
        guard: None,
        config,
        report,
    };
    Channel::open(url, &opening)
}

impl<O: Write + AsFd> Helper<'_, O> {
    /// Opens the channel to canonical; `None` where git must fall back.
    pub(super) fn open(&mut self, service: Service) -> Result<Option<Channel>> {
        if let Some(mut http) = self.http.take() {
            let connected =
                service != Service::ReceivePack && http.connect(service).inspect_err(|_| self.note_unreached())?;
            if !connected {
                self.http = Some(http);
                return Ok(None);
            }
            return Ok(Some(http.into_channel(service)));
        }
        let opened = open(self.remote(), self.program.as_deref(), service);
        opened.map(Some).inspect_err(|_| self.note_unreached())
    }

    /// Opens the channel once more, as it was, after its first connection was given up.
    pub(super) fn open_again(&mut self, stateless: bool) -> Result<Channel> {
        if stateless {
            let mut http = HttpHelper::start(&self.remote, &self.url)?;
            for line in &self.options {
                http.send(line)?;
                http.line()?;
            }
            self.http = Some(http);
        }
        self.open(Service::UploadPack)?.ok_or_else(|| {
            Error::new(Kind::Protocol, format!("{} does not speak protocol v2 any more", self.url.shown_host()))
        })
    }

    /// Learns canonical's mirrors on the channel whose advertisement has been read. Returns whether this fetch alone
    /// shall go mirror-first, and the channel: another one, just opened, where the server's answer was no good.
    pub(super) fn learn(&mut self, mut open: Open, stateless: bool) -> Result<(bool, Open)> {
        let Some(repo) = self.repo.clone() else { return Ok((false, open)) };
        let feature = asking::feature(&open.packets);
        let (config, name, url) = (self.config.clone(), self.remote.clone(), self.url.clone());
        let remote = Remote { name: &name, url: &url, config: &config, family: self.family, report: self.report };
        let learner = Learner { repo: &repo, remote };
        if !learner.must_ask(feature.as_ref()) {
            let lists = feature.is_some_and(|feature| feature.id.is_some());
            let lesson = if lists { Lesson::default() } else { learner.learn_from_ref() };
            return self.take(&lesson).map(|()| (lesson.once, open));
        }
        let id = feature.and_then(|feature| feature.id);
        let request = Request::default().encode();
        let sent = open.channel.writer.as_mut().map(|writer| pktio::write(writer, &request, &url.shown_host()));
        tracing::debug!(?sent, "asked canonical for its mirrors");
        let lesson = match asking::read_answer(open.server) {
            Ok((server, list)) => {
                open = Open { server, ..open };
                learner.learn(id, Ok(list))
            }
            Err(err) => {
                drop(open.channel);
                let lesson = learner.learn(id, Err(err));
                open = Open::read(self.open_again(stateless)?, &url)?;
                lesson
            }
        };
        self.take(&lesson).map(|()| (lesson.once, open))
    }

    /// Learns from the advertisement of a server of v0 or v1, for later fetches.
    pub(super) fn learn_old(&self, packets: &[Pkt]) {
        let Some(repo) = &self.repo else { return };
        let learner = Learner { repo, remote: self.remote() };
        // The list is in the first line about a ref, behind `version 1` where that comes.
        match packets.iter().take(2).find_map(|pkt| from_v0(pkt.text())) {
            Some(list) => learner.learn_old(list),
            None => {
                learner.must_ask(None);
                learner.learn_from_ref();
            }
        }
    }

    pub(super) fn take(&mut self, lesson: &Lesson) -> Result<()> {
        if lesson.changed {
            self.config = self.repo.as_ref().map_or_else(Config::load, Repo::config)?;
        }
        Ok(())
    }

    /// Tells `git mirror-fetch` that canonical could not be reached.
    pub(super) fn note_unreached(&self) {
        run::note(&format!("unreached {}", self.remote));
    }
}
