//! HTTP: git's own `git remote-https`, so that proxies, TLS, cookies, headers and credentials are git's business.
//!
//! Source: gitremote-helpers(7), and `stateless_connect` in git's `remote-curl.c`.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command};

use super::{Channel, End, Role, Service, Stderr, start};
use crate::adapters::git::config::{self, Config};
use crate::adapters::net::pktio::Stateless;
use crate::adapters::os;
use crate::adapters::process;
use crate::decide::urlmatch;
use crate::values::{Error, GitUrl, Kind, Result, SafeText};

/// Most bytes of a line in which the helper answers a command.
const MOST_LINE: u64 = 1 << 20;

/// Most memory of a mirror's helper, in bytes: it keeps an advertisement and a page of an error, unpacked, until it has all of
/// it. Seen with git 2.47: 5 MiB.
const MOST_MEMORY: u64 = 128 << 20;

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
        match role {
            Role::Mirror { learned, prompt } => {
                command.env("GIT_CONFIG_PARAMETERS", mirror_parameters(url, config, learned, prompt));
                if !prompt {
                    command.env("LC_ALL", "C"); // for `plainly`
                }
            }
            Role::Beside => drop(command.env("GIT_CONFIG_PARAMETERS", parameters(beside(url)))),
            Role::Canonical => {}
        }
        let mut child = start(&mut command, role)?;
        if matches!(role, Role::Mirror { .. }) {
            os::limit_memory(child.id(), MOST_MEMORY.saturating_add(post_buffer(url, config)));
        }
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
        match (&mut self.stdout).take(MOST_LINE).read_until(b'\n', &mut line) {
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
            other => Err(Error::new(Kind::Protocol, format!("git remote-https said '{}'", SafeText::new(other)))),
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
            end: End::Child(self.child, self.role),
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
///
/// Of the settings of `http.*` that may hold or give away a secret, only those count that name the mirror's URL. What is
/// per host by itself is left to git: credential helpers, cookies, `~/.netrc`.
fn mirror_parameters(url: &GitUrl, config: &Config, learned: bool, prompt: bool) -> OsString {
    let own = |variable: &str| format!("http.{}.{variable}", url.raw());
    let meant = |variable: &'static str| urlmatch::meant(config.subsections("http", variable), url);
    let headers = meant("extraheader");
    let headers = headers.rsplit(|header| header.is_empty()).next().unwrap_or_default();
    let or = |variable: &'static str, default: &str| meant(variable).last().copied().unwrap_or(default).to_owned();
    let mut settings = vec![
        ("protocol.version".to_owned(), "2".to_owned()),
        // Twice: git compares no URLs where it cannot read the mirror's.
        ("http.extraheader".into(), String::new()),
        (own("extraheader"), String::new()),
        // A mirror writes no cookies, and gets no Kerberos ticket to act for the user elsewhere.
        (own("savecookies"), or("savecookies", "false")),
        (own("delegation"), or("delegation", "none")),
    ];
    settings.extend(no_longer_than_a_minute(url));
    settings.extend(headers.iter().map(|header| (own("extraheader"), (*header).to_owned())));
    // Seen with git 2.47: after a redirect, git sends the headers, the user and the password to the other host.
    let proactive = config.all("http.proactiveauth").chain(meant("proactiveauth")).any(|value| value != "none");
    let secrets = !headers.is_empty() || url.userinfo.is_some() || proactive;
    if learned || secrets {
        settings.extend([("http.followredirects".into(), "false".into()), (own("followredirects"), "false".into())]);
    }
    if !prompt {
        settings.push(("credential.interactive".into(), "false".into()));
    }
    parameters(settings)
}

/// Should this process be killed, a child must not wait for a silent server for ever.
fn no_longer_than_a_minute(url: &GitUrl) -> [(String, String); 2] {
    let own = |variable: &str| format!("http.{}.{variable}", url.raw());
    [(own("lowspeedlimit"), "1".into()), (own("lowspeedtime"), "60".into())]
}

/// Returns the settings of a connection to canonical beside git's own.
fn beside(url: &GitUrl) -> Vec<(String, String)> {
    let mut settings = vec![("credential.interactive".to_owned(), "false".to_owned())];
    settings.extend(no_longer_than_a_minute(url));
    settings
}

/// Returns what is in `GIT_CONFIG_PARAMETERS`, with these settings behind it.
fn parameters(settings: Vec<(String, String)>) -> OsString {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    // What the user said stays, be it UTF-8 or not.
    let mut out = std::env::var_os("GIT_CONFIG_PARAMETERS").unwrap_or_default();
    for (key, value) in settings {
        let space = if out.is_empty() { "" } else { " " };
        out.push(format!("{space}{}={}", quoted(&key), quoted(&value)));
    }
    out
}

/// Returns how many bytes the helper sets aside for requests: the largest that is configured.
fn post_buffer(url: &GitUrl, config: &Config) -> u64 {
    let own = urlmatch::meant(config.subsections("http", "postbuffer"), url);
    own.into_iter().chain(config.get("http.postbuffer")).filter_map(config::number_of).max().unwrap_or(0)
}

/// Says what git's words mean for a mirror.
pub(super) fn plainly(line: String) -> String {
    if line.contains("unable to get password from user") || line.contains("terminal prompts disabled") {
        return "it asks for a password, and none is known for it".to_owned();
    }
    let redirected = ["301", "302", "303", "307", "308"].iter().any(|code| line.ends_with(&format!("error: {code}")));
    if redirected { format!("{line}: redirects are not followed here; see git-mirror(1)") } else { line }
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

    fn parameters(url: &str, config: &str) -> String {
        let config = Config::parse(config.as_bytes());
        mirror_parameters(&GitUrl::parse(url).expect("a URL"), &config, false, false).into_string().expect("UTF-8")
    }

    #[test]
    fn a_mirror_gets_only_headers_that_are_meant_for_it() {
        let all =
            "http.extraheader\nX: secret\0http.https://m/.extraheader\nX: ours\0http.https://m2/.extraheader\nX: no\0";
        let got = parameters("https://m/it's", all);
        let own = r"'http.https://m/it'\''s.extraheader'=";
        assert!(got.contains(&format!("'http.extraheader'='' {own}'' ")), "{got}");
        assert!(got.contains(&format!(" {own}'X: ours' ")), "{got}");
        assert!(!got.contains("secret") && !got.contains("X: no"), "{got}");
        let got = parameters("https://m/", "http.https://m/.extraheader\nX: old\0http.https://m/.extraheader\n\0");
        assert!(!got.contains("X: old"), "{got}");
    }

    #[test]
    fn nothing_secret_is_redirected() {
        let follows = |url: &str, config: &str| !parameters(url, config).contains("followredirects'='false'");
        assert!(follows("https://m/a", "http.extraheader\nX: secret\0http.https://n/.extraheader\nX: no\0"));
        assert!(!follows("https://m/a", "http.https://m/.extraheader\nX: ours\0"));
        assert!(!follows("https://u:secret@m/a", "") && !follows("https://token@m/a", ""));
        assert!(!follows("https://m/a", "http.proactiveauth\nbasic\0"));
        assert!(!follows("https://m/a", "http.proactiveauth\nnone\0http.https://m/.proactiveauth\nauto\0"));
        let learned = GitUrl::parse("https://m/a").expect("a URL");
        assert!(
            mirror_parameters(&learned, &Config::default(), true, false)
                .to_string_lossy()
                .contains("followredirects'='false'")
        );
    }

    #[test]
    fn says_it_plainly() {
        let line = "unable to access 'http://m/': The requested URL returned error: ";
        assert!(plainly(format!("{line}302")).contains("redirects are not followed"));
        assert_eq!(plainly(format!("{line}404")), format!("{line}404"));
        let line = "could not read Username for 'https://m': terminal prompts disabled";
        assert!(plainly(line.to_owned()).contains("asks for a password"));
    }
}
