//! The remote helper: gitremote-helpers(7) towards git, a relay to canonical behind it.
//!
//! `connect` is what it offers. Over HTTP, where `connect` may have to fall back, it also offers what `git remote-https`
//! offers, and passes that through.

mod canonical;
mod http;
mod shedding;

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime};

use gix::ObjectId;

use crate::adapters::git::config::Config;
use crate::adapters::git::odb::Odb;
use crate::adapters::git::repo::{ENV_WITHIN, Repo};
use crate::adapters::git::run;
use crate::adapters::net::channel::{Channel, Family, HttpHelper, Service};
use crate::adapters::net::pktio::{self, PktReader};
use crate::adapters::os;
use crate::adapters::seed::keep::{self, Keep};
use crate::adapters::seed::quarantine;
use crate::decide::cost::Work;
use crate::usecases::fetching::asking::Open;
use crate::usecases::fetching::choosing::{Chooser, Decision};
use crate::usecases::fetching::record;
use crate::usecases::fetching::relay::{Relay, Seen};
use crate::usecases::fetching::remote::Remote;
use crate::usecases::fetching::seeding::{Early, Left, Seeded, Seeder};
use crate::values::report::Silent;
use crate::values::{Error, Event, GitUrl, Kind, Report, Result, Transport};
use crate::wire::{Advert, Pkt};

/// How long to wait for git to be done with canonical's pack before the clean-up. It is over at once when git is.
const GIT_IS_DONE: Duration = Duration::from_secs(3600);

/// How long to go on without git: it may close both of its ends, one after the other.
const GIT_IS_DEAD: Duration = Duration::from_secs(1);

/// A file system's clock may lag behind ours by less.
const CLOCKS: Duration = Duration::from_secs(1);

/// How git started the helper.
pub struct Invocation {
    /// The remote's name, or its URL where it has none.
    pub remote: String,
    /// The canonical URL.
    pub url: String,
    /// Whether git takes it for its own program for this transport, of which it may ask for single files as well.
    pub in_place_of_git: bool,
}

struct Helper<'a, O> {
    remote: String,
    /// The URL as git gave it.
    given: String,
    in_place_of_git: bool,
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
    /// What git asks for, where it is no fetch.
    other: &'static str,
    /// Whether there is a record of this run.
    recorded: bool,
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
    let _run = run::join();
    let config = Config::load()?;
    if std::env::var_os(ENV_WITHIN).is_some() && config.get("fetch.negotiationalgorithm") == Some("noop") {
        return Err(Error::new(Kind::Local, "what a partial clone lacks is not fetched in the midst of a fetch"));
    }
    let url = GitUrl::parse(&whole_url(&config, &invocation))?;
    if !config.protocol_allowed(&url.scheme) {
        return Err(Error::new(Kind::Config, format!("transport '{}' not allowed", url.scheme)));
    }
    let http = match url.transport {
        Transport::Http => Some(HttpHelper::start(&invocation.remote, &url)?),
        _ => None,
    };
    let mut helper = Helper {
        remote: invocation.remote,
        given: invocation.url,
        in_place_of_git: invocation.in_place_of_git,
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
        other: "refs",
        recorded: false,
    };
    helper.repo.iter().for_each(run::note_place);
    let served = helper.serve();
    if !helper.recorded {
        let other = if served.is_ok() { helper.other } else { "other" };
        let seen = Seen { other: Some(other), ..Seen::default() };
        helper.record(&seen, *served.as_ref().unwrap_or(&128));
    }
    served
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
                    let files = if self.in_place_of_git { "get\n" } else { "" };
                    self.say(&format!("connect\noption\n{more}{files}\n"))?;
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

    fn remote(&self) -> Remote<'_> {
        let Self { remote, url, config, family, report, .. } = self;
        Remote { name: remote, url, config, family: *family, report: *report }
    }

    fn say(&mut self, text: &str) -> Result<()> {
        pktio::write_bytes(&mut self.git_out, text.as_bytes(), "git")
    }

    fn done(&mut self) -> Result<i32> {
        Ok(self.http.take().map_or(0, HttpHelper::wait))
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
        match service {
            Service::UploadPack => self.adopt_plain_url(),
            Service::ReceivePack => self.other = "push",
            Service::UploadArchive => self.other = "archive",
        }
        let stateless = self.http.is_some();
        let Some(channel) = self.open(service)? else {
            if service == Service::UploadPack {
                self.pass_old()?;
            }
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
            self.pass_old()?;
            let Open { mut channel, mut server, packets } = open;
            let mut bytes = Vec::new();
            packets.iter().for_each(|pkt| pkt.encode(&mut bytes));
            bytes.extend_from_slice(server.raw().buffer());
            channel.reader = server.into_inner();
            return self.pipe(channel, &bytes);
        }
        let (once, open) = self.learn(open, stateless)?;
        let Open { mut channel, mut server, packets } = open;
        // `git clone` makes its repository anew once it has learned the hash of object names, where that is another.
        let spoken = spoken_hash(&packets);
        let settled = self.repo.clone().filter(|repo| repo.hash == spoken);
        let inside = self.repo.is_some();
        let now = || settled.clone().or_else(|| inside.then(Repo::discover).flatten());
        if once {
            self.config = self.config.clone().with_run(&[], &["true".into()]);
        }
        pktio::write(&mut self.git_out, &packets, "git")?;
        let mut writer: Box<dyn Write + Send> = channel.writer.take().unwrap_or_else(|| Box::new(std::io::sink()));
        // A git that is killed tells nobody.
        // While git waits for us: it closes its ends before it has written its refs.
        let keep = Keep::for_the_git_that_asks();
        let since = SystemTime::now().checked_sub(CLOCKS).unwrap_or(SystemTime::UNIX_EPOCH);
        let with_git = os::NoReaderNoWork::watch(&self.git_out, GIT_IS_DEAD);
        let Self { remote, url, config, family, report, .. } = self;
        let remote = Remote { name: remote, url, config, family: *family, report: *report };
        let early = Cell::new(None);
        let required = config.bool("mirror.required").unwrap_or(false);
        let program = self.program.as_deref();
        let mut reopened = Vec::new();
        let mut reopen = || {
            let open = Open::read(canonical::open(remote, program, Service::UploadPack)?, url)?;
            let Open { mut channel, server, .. } = open;
            let writer: Box<dyn Write + Send> = channel.writer.take().unwrap_or_else(|| Box::new(std::io::sink()));
            reopened.push(channel);
            Ok((server, writer))
        };
        let mut seen = Relay {
            git_in: &mut self.git_in,
            git_out: &mut self.git_out,
            server_in: &mut server,
            server_out: &mut writer,
            reopen: &mut reopen,
            required,
            stateless,
        }
        .run(
            |wanted| {
                let Some(repo) = now() else { return Seeded::default() };
                Seeder::new(&repo, remote, &keep, early.take()).seed(wanted)
            },
            || {
                let empty = || now().is_some_and(|repo| repo.has_refs().is_ok_and(|has| !has));
                if empty() {
                    early.set(connect_early(remote));
                }
            },
        )?;
        drop(early);
        drop((with_git, writer));
        let code = match reopened.pop() {
            Some(last) => {
                drop(channel); // it was given up, with what it had to say yet
                last.finish()
            }
            None => channel.finish(),
        };
        if seen.seeded.is_some() {
            self.repo = now();
        }
        self.record(&seen, code);
        if seen.clone && !seen.broken && self.is_undone() {
            return Ok(code);
        }
        self.keep(&mut seen);
        self.keep_what_canonical_gave(&seen, &keep, since);
        self.shed(&seen, &keep);
        self.tidy(&seen, &keep);
        self.close(&seen);
        Ok(code)
    }

    /// Returns whether a `git clone` has failed and removed its repository: nothing may be written there any more, not
    /// even while it is at it (`remove_junk` in git's `builtin/clone.c`, which runs before git's ends of pipes are closed).
    fn is_undone(&self) -> bool {
        self.repo.as_ref().is_some_and(|repo| {
            os::wait_reader_gone(&self.git_out, GIT_IS_DONE);
            !repo.objects.exists()
        })
    }

    /// Has what canonical gave kept as well, once git is done with its pack. Where that is little, as mirrors gave most, git
    /// unpacks it, and nothing would keep it from being pruned before there are refs; all in one pack, git would keep it.
    fn keep_what_canonical_gave(&self, seen: &Seen, keep: &Keep, since: SystemTime) {
        let Some(repo) = &self.repo else { return };
        let tells = |left: &Left| matches!(left, Left::Rest(rest) if !rest.haves.is_empty());
        let gave_all = |seeded: &Seeded| seeded.from.is_empty() && !tells(&seeded.left);
        let promised = |seeded: &Seeded| seeded.promised || gave_all(seeded);
        if seen.broken || !seen.canonical_asked || seen.seeded.as_ref().is_none_or(promised) {
            return;
        }
        os::wait_reader_gone(&self.git_out, GIT_IS_DONE);
        if let Err(err) = quarantine::keep_loose(repo, keep, since) {
            tracing::debug!(%err, "what canonical gave is not kept");
        }
    }

    /// Deletes the mirror refs that what canonical names has made superfluous, once git is done with its pack. Those that
    /// were there before are all that keeps what they name, and left to the guard. The others are left to the run, within
    /// one, so that git's check of what it has fetched ends at them: all that they reach is proved.
    fn tidy(&self, seen: &Seen, keep: &Keep) {
        let Some(repo) = &self.repo else { return };
        quarantine::sweep(&repo.objects);
        if let Err(err) = quarantine::drop_what_leads_nowhere(repo) {
            tracing::debug!(%err, "a part of a history stays");
        }
        keep::sweep(&repo.objects);
        let Ok(refs) = repo.mirror_refs() else { return };
        if refs.is_empty() {
            return;
        }
        if seen.canonical_asked && !seen.broken {
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
        let others: Vec<ObjectId> = refs.iter().map(|r| r.oid).filter(|id| named.contains(id)).collect();
        let mut here: Vec<ObjectId> = if commits.clone().all(|id| named.contains(id)) {
            commits.copied().collect()
        } else {
            named.into_iter().map(|id| odb.peel(id)).filter(|id| odb.is_commit(id)).collect()
        };
        here.extend(others);
        let gone = match repo.superfluous(&refs, &here) {
            Ok(gone) if gone.is_empty() => return,
            Ok(gone) => gone,
            Err(err) => return tracing::debug!(%err, "cannot tell what may go below refs/mirror"),
        };
        if seen.seeded.as_ref().is_none_or(|seeded| seeded.resumed) {
            return keep.guard(repo, true);
        }
        if run::leave_to_it(repo, &gone) {
            return;
        }
        match repo.delete(&gone) {
            Ok(()) => tracing::debug!(stay = refs.len() - gone.len(), "tidied refs/mirror"),
            Err(err) => {
                let lock = repo.common_dir.join("packed-refs.lock");
                let why = if lock.exists() { format!("there is {}", lock.display()) } else { err.message };
                let text = format!("mirror: {} refs below refs/mirror/ stay until the next fetch: {why}", gone.len());
                self.report.event(Event::Warning(text));
            }
        }
    }

    /// Keeps what the fetch has shown of the mirrors, and of canonical.
    fn keep(&self, seen: &mut Seen) {
        let Some(seeded) = seen.seeded.as_mut() else { return };
        let remote = self.remote();
        if remote.config.mirrors(remote.name, remote.url.raw()).is_empty() {
            return; // there is nothing to compare canonical with
        }
        let chooser = Chooser { repo: self.repo.as_ref(), remote };
        let online = matches!(seeded.left, Left::Nothing) || seen.canonical_answered || !seeded.from.is_empty();
        let wants = (!seen.clone).then_some(seen.wants.len());
        chooser.keep(std::mem::take(&mut seeded.observed), seen.figures, online, wants);
    }

    /// Says that a server of v0, v1 or dumb HTTP is not helped by mirrors.
    ///
    /// # Errors
    /// [`Kind::Channel`] where mirrors are required.
    fn pass_old(&mut self) -> Result<()> {
        if self.config.mirrors(&self.remote, self.url.raw()).is_empty() {
            return Ok(());
        }
        let why = format!("{} does not speak protocol v2", self.url.shown_host());
        if self.config.bool("mirror.required").unwrap_or(false) {
            return Err(Error::new(
                Kind::Channel,
                format!("{why}, so that no mirror helps, and mirror.required is set"),
            ));
        }
        self.report.event(Event::Detail(format!("mirror: no mirror is asked: {why}")));
        let seeded = Seeded { passed: Some("old-protocol"), ..Seeded::default() };
        let seen = Seen { seeded: Some(seeded), other: Some("other"), ..Seen::default() };
        self.record(&seen, 0);
        Ok(())
    }

    fn record(&mut self, seen: &Seen, code: i32) {
        self.recorded = true;
        record::write(&self.config, (&self.remote, &self.url), seen, self.began.elapsed(), code, self.report);
    }

    /// Tells who gave how much; not where git fetches in the midst of something else.
    fn close(&self, seen: &Seen) {
        let told = |seeded: &&Seeded| !seeded.from.is_empty() && !seeded.lazy;
        let Some(seeded) = seen.seeded.as_ref().filter(told) else { return };
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
        let done = repo.write_config(&[&vcs, "mirror"]).and_then(|()| repo.write_config(&[&key, &self.given]));
        if let Err(err) = done {
            tracing::debug!(%err, "the URL keeps its prefix");
        }
    }
}

/// Returns the hash of object names in which a server speaks that begins so (gitprotocol-v2(5), `object-format`).
fn spoken_hash(advert: &[Pkt]) -> gix::hash::Kind {
    match advert.iter().any(|pkt| pkt.text() == b"object-format=sha256") {
        true => gix::hash::Kind::Sha256,
        false => gix::hash::Kind::Sha1,
    }
}

/// Begins to connect to the mirror that a clone will ask first.
fn connect_early(remote: Remote) -> Option<Early> {
    let chooser = Chooser { repo: None, remote: Remote { report: &Silent, ..remote } };
    let Decision { known, choice, .. } = chooser.decide(Work { clone: true, bytes: None }, true);
    Early::start(&known[choice.order.first()?.at].mirror, remote.config, remote.family)
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
    fn hashes() {
        let advert = |line: &str| [Pkt::line("version 2"), Pkt::line(line), Pkt::Flush];
        assert_eq!(spoken_hash(&advert("object-format=sha256")), gix::hash::Kind::Sha256);
        assert_eq!(spoken_hash(&advert("object-format=sha1")), gix::hash::Kind::Sha1);
        assert_eq!(spoken_hash(&advert("agent=git/1")), gix::hash::Kind::Sha1);
    }

    #[test]
    fn option_values() {
        assert_eq!(unquoted("/usr/bin/x"), "/usr/bin/x");
        assert_eq!(unquoted(r#""a\"b""#), "a\"b");
    }
}
