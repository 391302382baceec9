//! HTTP: git's own `git remote-https`, so that proxies, TLS, cookies, headers and credentials are git's business.
//!
//! Source: gitremote-helpers(7), and `stateless_connect` in git's `remote-curl.c`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command};

use super::{Channel, End, Role, Service, Stderr, start};
use crate::adapters::config::Config;
use crate::adapters::pktio::Stateless;
use crate::adapters::{os, process};
use crate::values::{Error, GitUrl, Kind, Result};

/// A running `git remote-https`.
pub struct HttpHelper {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    role: Role,
    stderr: Option<Stderr>,
    shown: String,
}

impl HttpHelper {
    /// Starts the helper for `url`. `remote` is the name under which it reads `remote.<name>.…`.
    ///
    /// # Errors
    /// [`Kind::Local`] where it cannot be started.
    pub fn start(remote: &str, url: &GitUrl, role: Role, config: &Config) -> Result<Self> {
        let mut command = program(&format!("remote-{}", url.scheme));
        command.args([remote, url.raw()]);
        if role == Role::Mirror {
            command.env("GIT_CONFIG_PARAMETERS", mirror_parameters(url, config));
        }
        let mut child = start(&mut command, role)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::new(Kind::Local, "a child was started without pipes"));
        };
        let stderr = Stderr::of(&mut child);
        let stdout = BufReader::with_capacity(128 * 1024, stdout);
        Ok(HttpHelper { child, stdin, stdout, role, stderr, shown: url.redacted() })
    }

    /// Sends a line.
    ///
    /// # Errors
    /// [`Kind::Channel`] where the helper has gone.
    pub fn send(&mut self, line: &str) -> Result<()> {
        self.stdin.write_all(format!("{line}\n").as_bytes()).map_err(|_| self.gone())
    }

    /// Returns the helper's next line.
    ///
    /// # Errors
    /// [`Kind::Channel`] where the helper has gone; [`Kind::Told`] where its stderr is ours.
    pub fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        match self.stdout.read_until(b'\n', &mut line) {
            Ok(_) if line.pop() == Some(b'\n') => Ok(String::from_utf8_lossy(&line).into_owned()),
            _ => Err(self.gone()),
        }
    }

    /// Asks for a service in the stateless manner. Returns whether packets follow now; otherwise the helper answered
    /// `fallback` and waits for its next command.
    ///
    /// # Errors
    /// [`Kind::Channel`] where the helper gives up, [`Kind::Protocol`] where it says something else.
    pub fn connect(&mut self, service: Service) -> Result<bool> {
        self.send(&format!("stateless-connect {}", service.name()))?;
        match self.line()?.as_str() {
            "" => Ok(true),
            "fallback" => Ok(false),
            other => Err(Error::new(Kind::Protocol, format!("git remote-https said '{other}'"))),
        }
    }

    /// Turns the helper into a channel to `service`, after [`HttpHelper::connect`] has returned true.
    pub fn into_channel(self, service: Service) -> Channel {
        self.channel(service, false)
    }

    /// Turns the helper into a channel that connects when it is first read from: there a watcher sees it wait.
    ///
    /// # Errors
    /// [`Kind::Channel`] where the helper has gone.
    pub fn into_lazy_channel(mut self, service: Service) -> Result<Channel> {
        self.send(&format!("stateless-connect {}", service.name()))?;
        Ok(self.channel(service, true))
    }

    fn channel(self, service: Service, greeting: bool) -> Channel {
        Channel {
            reader: Box::new(Stateless::new(self.stdout, greeting, service == Service::UploadPack)),
            writer: Some(Box::new(self.stdin)),
            end: End::Child(self.child, self.role == Role::Mirror),
            stderr: self.stderr,
        }
    }

    /// Waits for the helper to end, and returns its exit code.
    pub fn wait(mut self) -> i32 {
        drop(self.stdin);
        self.child.wait().map_or(1, os::exit_code)
    }

    fn gone(&self) -> Error {
        let said = self.stderr.as_ref().and_then(Stderr::last_line);
        let kind = if self.role == Role::Canonical { Kind::Told } else { Kind::Channel };
        Error::new(kind, said.unwrap_or_else(|| format!("git remote-https gave up on {}", self.shown)))
    }
}

/// Returns `-c` settings for a mirror's helper, in the variable in which git hands them on (git(1)). The last entry wins;
/// the user's own are kept.
fn mirror_parameters(url: &GitUrl, config: &Config) -> String {
    let own = |variable: &str| format!("http.{}.{variable}", url.raw());
    let mut settings = vec![
        ("protocol.version".to_owned(), "2".to_owned()),
        // Should this process be killed, the child must not wait for a silent server for ever.
        (own("lowspeedlimit"), "1".into()),
        (own("lowspeedtime"), "60".into()),
        // A header that is meant for no server in particular may be a secret of canonical's: none but the mirror's own.
        (own("extraheader"), String::new()),
    ];
    let scoped = config.subsections("http", "extraheader").filter(|(base, _)| covers(base, url.raw()));
    settings.extend(scoped.map(|(_, header)| (own("extraheader"), header.to_owned())));
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let mut out = std::env::var("GIT_CONFIG_PARAMETERS").unwrap_or_default();
    for (key, value) in settings {
        out.push_str(&format!(" {}={}", quoted(&key), quoted(&value)));
    }
    out.trim_start().to_owned()
}

/// Returns whether settings for `base` are meant for `url`: the same scheme and host, and a path below it.
fn covers(base: &str, url: &str) -> bool {
    let (Ok(base), Ok(url)) = (GitUrl::parse(base), GitUrl::parse(url)) else { return false };
    let below =
        url.path.strip_prefix(base.path.trim_end_matches('/')).is_some_and(|r| r.is_empty() || r.starts_with('/'));
    base.scheme == url.scheme && base.host == url.host && base.effective_port() == url.effective_port() && below
}

/// Returns `git-<name>` itself where it is in PATH (git puts its own there for its children), so that killing it
/// kills no mere wrapper; `git <name>` otherwise.
fn program(name: &str) -> Command {
    let direct = format!("git-{name}");
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|dir| dir.join(&direct).is_file()) {
        return Command::new(direct);
    }
    process::git([name])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_gets_only_headers_that_are_meant_for_it() {
        let config = Config::parse(
            b"http.extraheader\nX: secret\0http.https://m/.extraheader\nX: ours\0http.https://m2/.extraheader\nX: no\0",
        );
        let url = GitUrl::parse("https://m/it's").expect("a URL");
        let got = mirror_parameters(&url, &config);
        assert!(
            got.contains(r"'http.https://m/it'\''s.extraheader'='' 'http.https://m/it'\''s.extraheader'='X: ours'"),
            "{got}"
        );
        assert!(!got.contains("secret") && !got.contains("X: no"), "{got}");
    }

    #[test]
    fn settings_cover_what_is_below_their_url() {
        assert!(covers("https://m/a", "https://m/a/b") && covers("https://m", "https://m:443/a"));
        assert!(
            !covers("https://m/a", "https://m/ab") && !covers("https://m/", "http://m/") && !covers("m", "https://m/")
        );
    }
}
