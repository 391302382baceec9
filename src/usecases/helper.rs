//! The remote helper: gitremote-helpers(7) towards git, a relay to canonical behind it.
//!
//! `connect` is what it offers. Over HTTP, where `connect` may have to fall back, it also offers what `git remote-https`
//! offers, and passes that through.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use gix::ObjectId;

use crate::adapters::channel::{Channel, Family, HttpHelper, Opening, Role, Service};
use crate::adapters::config::Config;
use crate::adapters::odb::Odb;
use crate::adapters::pktio::{self, PktReader};
use crate::adapters::repo::Repo;
use crate::adapters::{config, os, run};
use crate::usecases::learning::{self, Learner, Lesson};
use crate::usecases::relay::{Relay, Seen};
use crate::usecases::seeding::{Seeded, Seeder};
use crate::values::{Error, Event, GitUrl, Kind, Report, Result, Transport};
use crate::wire::mirror_command::{Request, from_v0};
use crate::wire::{Advert, Pkt};

/// How long to wait for git to be done with canonical's pack before the clean-up. It is over at once when git is.
const GIT_IS_DONE: Duration = Duration::from_secs(3600);

/// How git started the helper.
pub struct Invocation {
    /// The remote's name, or its URL where it has none.
    pub remote: String,
    /// The canonical URL.
    pub url: String,
}

/// A channel whose first message has been read.
struct Open {
    channel: Channel,
    server: PktReader<Box<dyn Read + Send>>,
    packets: Vec<Pkt>,
}

impl Open {
    fn read(mut channel: Channel, url: &GitUrl) -> Result<Self> {
        let reader = std::mem::replace(&mut channel.reader, Box::new(std::io::empty()));
        let mut server = PktReader::new(reader, url.shown_host());
        let mut packets = Vec::new();
        while packets.last() != Some(&Pkt::Flush) {
            match server.read()? {
                Some(pkt) => packets.push(pkt),
                None => break,
            }
        }
        Ok(Open { channel, server, packets })
    }
}

struct Helper<'a, O> {
    remote: String,
    /// The URL as git gave it.
    given: String,
    /// The URL that is used.
    url: GitUrl,
    config: Config,
    repo: Option<Repo>,
    report: &'a dyn Report,
    git_in: PktReader<Box<dyn Read + Send>>,
    git_out: O,
    http: Option<HttpHelper>,
    program: Option<String>,
    /// The `option` lines that git has sent.
    options: Vec<String>,
    family: Family,
    began: Instant,
}

/// Serves git until it is done. Returns the exit code.
///
/// # Errors
/// Whatever ended it early; git exits with 128 then, as it does when its own transport fails.
pub fn run(
    invocation: Invocation,
    git_in: impl Read + Send + 'static,
    git_out: impl Write + AsFd,
    report: &dyn Report,
) -> Result<i32> {
    let began = Instant::now();
    let config = Config::load()?;
    let url = GitUrl::parse(&whole_url(&config, &invocation))?;
    if !config.protocol_allowed(&url.scheme) {
        return Err(Error::new(Kind::Config, format!("transport '{}' not allowed", url.scheme)));
    }
    let http = match url.transport {
        Transport::Http => Some(HttpHelper::start(&invocation.remote, &url, Role::Canonical, &config)?),
        _ => None,
    };
    let mut helper = Helper {
        remote: invocation.remote,
        given: invocation.url,
        url,
        config,
        repo: std::env::var_os("GIT_DIR").and_then(|_| Repo::discover()),
        report,
        git_in: PktReader::new(Box::new(git_in), "git"),
        git_out,
        http,
        program: None,
        options: Vec::new(),
        family: Family::Any,
        began,
    };
    helper.serve()
}

impl<O: Write + AsFd> Helper<'_, O> {
    fn serve(&mut self) -> Result<i32> {
        let (mut verbosity, mut progress) = (1, false);
        while let Some(line) = self.git_in.read_line()? {
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match word {
                "capabilities" => {
                    let http = "fetch\npush\ncheck-connectivity\nobject-format\n";
                    let more = if self.http.is_some() { http } else { "" };
                    self.say(&format!("connect\noption\n{more}\n"))?;
                    if self.http.is_some() {
                        self.http_capabilities()?;
                    }
                }
                "option" => {
                    let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
                    match name {
                        "verbosity" => verbosity = value.parse().unwrap_or(1),
                        "progress" => progress = value == "true",
                        "family" => self.family = if value == "ipv4" { Family::V4 } else { Family::V6 },
                        _ => {}
                    }
                    self.report.event(Event::Settings { verbosity, progress });
                    let answer = self.option(&line, name, value)?;
                    self.say(&format!("{answer}\n"))?;
                }
                "connect" => {
                    let service = Service::parse(rest)
                        .ok_or_else(|| Error::new(Kind::Usage, format!("git asks for the unknown service '{rest}'")))?;
                    if let Some(code) = self.connect(service)? {
                        return Ok(code);
                    }
                }
                "" => return self.done(),
                _ if self.http.is_some() => return self.pass_through(line),
                _ => return Err(Error::new(Kind::Usage, format!("git sends the unknown command '{line}'"))),
            }
        }
        self.done()
    }

    fn say(&mut self, text: &str) -> Result<()> {
        pktio::write_bytes(&mut self.git_out, text.as_bytes(), "git")
    }

    fn done(&mut self) -> Result<i32> {
        Ok(self.http.take().map_or(0, HttpHelper::wait))
    }

    /// git remote-https must hear `capabilities` first, too; what it answers is known.
    fn http_capabilities(&mut self) -> Result<()> {
        let Some(http) = self.http.as_mut() else { return Ok(()) };
        http.send("capabilities")?;
        while !http.line()?.is_empty() {}
        Ok(())
    }

    fn option(&mut self, line: &str, name: &str, value: &str) -> Result<String> {
        self.options.push(line.to_owned());
        if let Some(http) = self.http.as_mut() {
            http.send(line)?;
            return http.line();
        }
        if name == "servpath" {
            self.program = Some(unquoted(value));
        }
        // With `connect` all others are carried out by git itself.
        Ok("ok".into())
    }

    /// Returns the exit code where the connection was made and is over, `None` where git is told to fall back.
    fn connect(&mut self, service: Service) -> Result<Option<i32>> {
        if service == Service::UploadPack {
            self.adopt_plain_url();
        }
        let stateless = self.http.is_some();
        let Some(channel) = self.open(service)? else {
            self.say("fallback\n")?;
            return Ok(None);
        };
        self.say("\n")?;
        match service {
            Service::UploadPack => self.upload_pack(channel, stateless),
            Service::ReceivePack | Service::UploadArchive => self.pipe(channel, &[]),
        }
        .map(Some)
    }

    /// Opens the channel to canonical; `None` where git must fall back.
    fn open(&mut self, service: Service) -> Result<Option<Channel>> {
        if let Some(mut http) = self.http.take() {
            let connected =
                service != Service::ReceivePack && http.connect(service).inspect_err(|_| self.note_unreached())?;
            if !connected {
                self.http = Some(http);
                return Ok(None);
            }
            return Ok(Some(http.into_channel(service)));
        }
        let opened = Channel::open(
            &self.url,
            &Opening {
                role: Role::Canonical,
                service,
                program: self.program.as_deref(),
                version: self.config.number("protocol.version").map_or(2, |n| n.min(2) as u8),
                family: self.family,
                connect_timeout: None,
                config: &self.config,
                report: self.report,
            },
        );
        opened.map(Some).inspect_err(|_| self.note_unreached())
    }

    /// Opens the channel once more, as it was, after its first connection was given up.
    fn open_again(&mut self, stateless: bool) -> Result<Channel> {
        if stateless {
            let mut http = HttpHelper::start(&self.remote, &self.url, Role::Canonical, &self.config)?;
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
    fn learn(&mut self, mut open: Open, stateless: bool) -> Result<(bool, Open)> {
        let Some(repo) = self.repo.clone() else { return Ok((false, open)) };
        let feature = learning::feature(&open.packets);
        let (config, remote, url) = (self.config.clone(), self.remote.clone(), self.url.clone());
        let learner = Learner { repo: &repo, config: &config, remote: &remote, url: &url, report: self.report };
        if !learner.must_ask(feature.as_ref()) {
            let lists = feature.is_some_and(|feature| feature.id.is_some());
            let lesson = if lists { Lesson::default() } else { learner.learn_from_ref() };
            return self.take(&lesson).map(|()| (lesson.once, open));
        }
        let id = feature.and_then(|feature| feature.id);
        let request = Request::default().encode();
        let sent = open.channel.writer.as_mut().map(|writer| pktio::write(writer, &request, &url.shown_host()));
        tracing::debug!(?sent, "asked canonical for its mirrors");
        let lesson = match learning::read_answer(open.server) {
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
    fn learn_old(&self, packets: &[Pkt]) {
        let Some(repo) = &self.repo else { return };
        let Self { config, remote, url, report, .. } = self;
        let learner = Learner { repo, config, remote, url, report: *report };
        // The list is in the first line about a ref, behind `version 1` where that comes.
        match packets.iter().take(2).find_map(|pkt| from_v0(pkt.text())) {
            Some(list) => learner.learn_old(list),
            None => drop(learner.must_ask(None)),
        }
    }

    fn take(&mut self, lesson: &Lesson) -> Result<()> {
        if lesson.changed {
            self.config = Config::load()?;
        }
        Ok(())
    }

    /// Tells `git mirror-fetch` that canonical could not be reached.
    fn note_unreached(&self) {
        run::note(&format!("unreached {}", self.remote));
    }

    /// Copies bytes both ways until the server is done. `first` has been read from the channel already.
    fn pipe(&mut self, mut channel: Channel, first: &[u8]) -> Result<i32> {
        pktio::write_bytes(&mut self.git_out, first, "git")?;
        let nothing = || Box::new(std::io::empty());
        let mut reader = std::mem::replace(&mut channel.reader, nothing());
        let mut git_in = std::mem::replace(&mut self.git_in, PktReader::new(nothing(), "git"));
        if let Some(mut writer) = channel.writer.take() {
            // A server that dies first leaves this thread waiting for git, which waits for our end: nobody joins it.
            std::thread::spawn(move || pktio::copy(git_in.raw(), &mut *writer));
        }
        if let Err(err) = pktio::copy(&mut reader, &mut self.git_out) {
            tracing::debug!(%err, "the connection broke");
        }
        Ok(channel.finish())
    }

    fn upload_pack(&mut self, channel: Channel, stateless: bool) -> Result<i32> {
        let open = Open::read(channel, &self.url)?;
        let Some(first) = open.packets.first() else {
            self.note_unreached();
            return Ok(open.channel.finish()); // whoever hung up has said why
        };
        if !Advert::announces_v2(first) {
            // git decides by what is in its store before it says what it wants: seeding now would change that.
            self.learn_old(&open.packets);
            let Open { mut channel, mut server, packets } = open;
            let mut bytes = Vec::new();
            packets.iter().for_each(|pkt| pkt.encode(&mut bytes));
            bytes.extend_from_slice(server.raw().buffer());
            channel.reader = server.into_inner();
            return self.pipe(channel, &bytes);
        }
        let (once, open) = self.learn(open, stateless)?;
        let Open { mut channel, mut server, packets } = open;
        if once {
            self.config = self.config.clone().with_run(&[], &["true".into()]);
        }
        pktio::write(&mut self.git_out, &packets, "git")?;
        let mut writer = channel.writer.take().unwrap_or_else(|| Box::new(std::io::sink()));
        let (config, remote, url, inside) = (&self.config, &self.remote, &self.url, self.repo.is_some());
        let (report, family) = (self.report, self.family);
        let seen = Relay {
            git_in: &mut self.git_in,
            git_out: &mut self.git_out,
            server_in: &mut server,
            server_out: &mut *writer,
            stateless,
        }
        .run(|wanted| {
            // `git clone` has learned the hash of object names only by now.
            let Some(repo) = inside.then(Repo::discover).flatten() else { return Seeded::default() };
            Seeder { repo: &repo, config, remote, url, family, report }.seed(wanted)
        })?;
        drop(writer);
        let code = channel.finish();
        if seen.seeded.is_some() {
            self.repo = Repo::discover();
        }
        self.tidy(&seen);
        self.close(&seen);
        Ok(code)
    }

    /// Speaks git's own helper protocol with `git remote-https`, verbatim. `line` is the command that git has sent
    /// already.
    fn pass_through(&mut self, line: String) -> Result<i32> {
        let Some(mut http) = self.http.take() else { return Ok(0) };
        let mut next = Some(line);
        while let Some(line) = next {
            match line.split(' ').next().unwrap_or_default() {
                "" => {
                    http.send("")?;
                    break;
                }
                // git asks once more before it pushes or fetches.
                "connect" => self.say("fallback\n")?,
                "option" => {
                    http.send(&line)?;
                    let answer = http.line()?;
                    self.say(&format!("{answer}\n"))?;
                }
                "fetch" | "push" => {
                    for line in self.batch(line)? {
                        http.send(&line)?;
                    }
                    http.send("")?;
                    self.until_blank(&mut http)?;
                }
                _ => {
                    http.send(&line)?;
                    self.until_blank(&mut http)?;
                }
            }
            next = self.git_in.read_line()?;
        }
        Ok(http.wait())
    }

    fn batch(&mut self, first: String) -> Result<Vec<String>> {
        let mut batch = vec![first];
        while let Some(line) = self.git_in.read_line()? {
            if line.is_empty() {
                break;
            }
            batch.push(line);
        }
        Ok(batch)
    }

    fn until_blank(&mut self, http: &mut HttpHelper) -> Result<()> {
        loop {
            let line = http.line()?;
            self.say(&format!("{line}\n"))?;
            if line.is_empty() {
                return Ok(());
            }
        }
    }

    /// Deletes the mirror refs that what canonical names has made superfluous, once git is done with its pack.
    fn tidy(&mut self, seen: &Seen) {
        let Some(repo) = &self.repo else { return };
        let Ok(refs) = repo.mirror_refs() else { return };
        if refs.is_empty() {
            return;
        }
        if seen.canonical_asked {
            os::wait_reader_gone(&self.git_out, GIT_IS_DONE);
        }
        let Ok(odb) = Odb::open(repo) else { return };
        // After a kill, git may want nothing: what canonical names counts, wanted or not. Most mirror refs are what it
        // names; only for the others it is worth to look at all that it names.
        let named: HashSet<&ObjectId> = seen
            .canonical
            .refs
            .iter()
            .flat_map(|r| [Some(&r.oid), r.peeled.as_ref()])
            .flatten()
            .chain(&seen.wants)
            .collect();
        let commits = refs.iter().filter_map(|r| r.commit.as_ref());
        let here: Vec<ObjectId> = if commits.clone().all(|id| named.contains(id)) {
            commits.copied().collect()
        } else {
            named.into_iter().map(|id| odb.peel(id)).filter(|id| odb.is_commit(id)).collect()
        };
        match repo.tidy(&refs, &here) {
            Ok(stay) => tracing::debug!(stay, "tidied refs/mirror"),
            Err(err) => tracing::debug!(%err, "cannot tidy refs/mirror"),
        }
    }

    /// Tells who gave how much.
    fn close(&self, seen: &Seen) {
        let Some(seeded) = seen.seeded.as_ref().filter(|s| !s.from.is_empty()) else { return };
        if self.config.bool("mirror.quiet").unwrap_or(false) {
            return;
        }
        self.report.event(Event::Closing {
            from_mirrors: seeded.from.clone(),
            canonical: self.url.shown_host(),
            from_canonical: seen.from_canonical,
            elapsed: self.began.elapsed(),
        });
    }

    /// After `git clone mirror::<url>`: leaves the plain URL and `vcs = mirror`, so that other tools see the URL that
    /// they know. Only in a repository without refs, whose URL is still as `git clone` wrote it.
    fn adopt_plain_url(&self) {
        let Some(repo) = &self.repo else { return };
        let key = format!("remote.{}.url", self.remote);
        let prefixed = format!("mirror::{}", self.given);
        let mut urls = self.config.all(&key);
        if urls.next() != Some(prefixed.as_str()) || urls.next().is_some() || !repo.has_refs().is_ok_and(|has| !has) {
            return;
        }
        let vcs = format!("remote.{}.vcs", self.remote);
        let done = config::write(&[&vcs, "mirror"]).and_then(|()| config::write(&[&key, &self.given]));
        if let Err(err) = done {
            tracing::debug!(%err, "the URL keeps its prefix");
        }
    }
}

/// Returns the URL as it was before git cut a `<helper>::` off (`remove_ext_force` in its `transport-helper.c`): it
/// takes the first `::` of an IPv6 address for one.
fn whole_url(config: &Config, invocation: &Invocation) -> String {
    let key = format!("remote.{}.url", invocation.remote);
    let known = config.all(&key).next().unwrap_or(&invocation.remote);
    let rewritten = config.rewritten(known);
    match rewritten.split_once("::") {
        Some((helper, rest)) if helper.contains('[') && rest == invocation.url => return rewritten,
        _ => {}
    }
    // git has not seen what is behind its prefix, and will once the prefix is gone.
    match known.strip_prefix("mirror::") {
        Some(rest) if rest == invocation.url => config.rewritten(rest),
        _ => invocation.url.clone(),
    }
}

/// Undoes git's `quote_c_style`, in which option values travel.
fn unquoted(value: &str) -> String {
    use gix::bstr::ByteSlice;
    match gix::quote::ansi_c::undo(value.as_bytes().as_bstr()) {
        Ok((text, _)) => text.to_string(),
        Err(_) => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_values() {
        assert_eq!(unquoted("/usr/bin/x"), "/usr/bin/x");
        assert_eq!(unquoted(r#""a\"b""#), "a\"b");
    }
}
