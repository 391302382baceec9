//! git's configuration, read through `git config --list` (so includes, worktrees, `GIT_CONFIG_COUNT` and `-c` are
//! git's business), and what of it concerns mirrors. Written through `git config`, which keeps comments and order.
//!
//! The keys are described in git-mirror(1).

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use crate::adapters::process;
use crate::decide::host::is_private_host;
use crate::decide::selector::Preference;
use crate::decide::trust::{self, Trust};
use crate::values::url_key::rest_behind;
use crate::values::{Error, GitUrl, Kind, Listed, Mirror, Origin, Result, url};

/// Mirrors named for one run, a line each (`git mirror-fetch --mirror-url`).
pub const ENV_URLS: &str = "GIT_MIRROR_URL";
/// What a [`Preference`] is for one run: `true`, `false`, or a URL or host (`--prefer-mirror`, `--no-use-mirror`).
pub const ENV_PREFER: &str = "GIT_MIRROR_PREFER";

/// How often a write is tried while another process holds git's lock, and the time between.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(25);

/// The keys of this program that hold a number.
const NUMBERS: [&str; 6] = [
    "mirror.patience",
    "mirror.connectTimeout",
    "mirror.responseTimeout",
    "mirror.idleTimeout",
    "mirror.lowSpeedLimit",
    "mirror.lowSpeedTime",
];
/// The keys of this program that say yes or no.
const BOOLEANS: [&str; 6] =
    ["mirror.mustPay", "mirror.quiet", "mirror.required", "mirror.allowPrivate", "mirror.fromRef", "mirror.prompt"];

/// All configuration that is in force here: `(key, value)` in git's order, the last one winning.
#[derive(Debug, Clone, Default)]
pub struct Config {
    entries: Vec<(String, Option<String>)>,
    /// Where in `entries` each key is: there may be thousands of mirrors.
    index: HashMap<String, Vec<usize>>,
    /// Mirrors and preferences for this run.
    run_urls: Vec<String>,
    run_prefer: Vec<String>,
}

impl Config {
    /// Reads the configuration in force where this process is, in a repository or not.
    ///
    /// # Errors
    /// [`Kind::Config`] where git cannot read it.
    pub fn load() -> Result<Self> {
        Self::read(&mut process::git(["config", "--list", "-z"]))
    }

    /// Reads the configuration that is in force outside of any repository: what `git clone` begins with.
    ///
    /// # Errors
    /// [`Kind::Config`] where git cannot read it.
    pub fn outside() -> Result<Self> {
        // What GIT_DIR names is the repository, or there is none.
        Self::read(process::git(["config", "--list", "-z"]).env("GIT_DIR", "/dev/null"))
    }

    /// Reads one file, and what it includes.
    ///
    /// # Errors
    /// [`Kind::Config`] where git cannot read it.
    pub fn of_file(file: &std::path::Path) -> Result<Self> {
        Self::read(process::git(["config", "--list", "-z", "--includes", "--file"]).arg(file))
    }

    /// Reads what `git config --list -z`, as `git` is to run it, prints.
    ///
    /// # Errors
    /// [`Kind::Config`] where git cannot read it.
    pub(super) fn read(git: &mut Command) -> Result<Self> {
        let text = process::output(git, b"").map_err(|err| Error::new(Kind::Config, err.message))?;
        let lines = |name: &str| -> Vec<String> {
            let value = std::env::var_os(name).unwrap_or_default();
            value.to_string_lossy().lines().filter(|line| !line.is_empty()).map(Into::into).collect()
        };
        Ok(Self::parse(&text).with_run(&lines(ENV_URLS), &lines(ENV_PREFER)))
    }

    /// Returns the configuration with mirrors and preferences for one run put before what it has.
    #[must_use]
    pub fn with_run(mut self, urls: &[String], prefer: &[String]) -> Self {
        self.run_urls.splice(0..0, urls.iter().cloned());
        self.run_prefer.splice(0..0, prefer.iter().cloned());
        self
    }

    /// Reads the output of `git config --list -z`.
    pub fn parse(text: &[u8]) -> Self {
        let entries = text.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()).map(|entry| {
            let entry = String::from_utf8_lossy(entry);
            match entry.split_once('\n') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (entry.into_owned(), None),
            }
        });
        let entries: Vec<(String, Option<String>)> = entries.collect();
        let mut index: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, (key, _)) in entries.iter().enumerate() {
            index.entry(key.clone()).or_default().push(at);
        }
        Config { entries, index, ..Config::default() }
    }

    /// Returns all values of `key`, in order; `None` for one without `=`.
    fn values<'a>(&'a self, key: &str) -> impl DoubleEndedIterator<Item = Option<&'a str>> + use<'a> {
        let places = self.index.get(key).map(Vec::as_slice).unwrap_or_default();
        places.iter().map(|at| self.entries[*at].1.as_deref())
    }

    /// Returns all values of `key` (section and variable in lower case), in order; a key without `=` is `""`.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.values(key).map(|value| value.unwrap_or(""))
    }

    /// Returns the value of `key` that is in force.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values(key).next_back().map(|value| value.unwrap_or(""))
    }

    /// Returns the boolean value of `key` in force, as git reads one; `None` where it is not set or no boolean.
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.values(key).next_back()?.map_or(Some(true), bool_of)
    }

    /// Returns `(subsection, value)` for all `<section>.<subsection>.<variable>`, in order.
    pub fn subsections<'a>(&'a self, section: &'a str, variable: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.entries.iter().filter_map(move |(key, value)| {
            let middle = key.strip_prefix(section)?.strip_prefix('.')?.strip_suffix(variable)?.strip_suffix('.')?;
            Some((middle, value.as_deref().unwrap_or("")))
        })
    }

    /// Returns `(rest of the key, value)` for all keys that begin with `prefix`, in order.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.entries.iter().filter_map(move |(k, v)| Some((k.strip_prefix(prefix)?, v.as_deref().unwrap_or(""))))
    }

    /// Returns the names of all configured remotes, each once, in order.
    pub fn remotes(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for (name, _) in self.subsections("remote", "url") {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Returns `url` with the longest matching `url.<base>.insteadOf` applied (git-config(1)). A base may well be
    /// `mirror::…`, which means this very program: that prefix is not returned.
    pub fn rewritten(&self, url: &str) -> String {
        let rules: Vec<(&str, &str)> = self.subsections("url", "insteadof").collect();
        Self::rewritten_by(&rules, url).into_owned()
    }

    fn rewritten_by<'a>(rules: &[(&str, &str)], url: &'a str) -> Cow<'a, str> {
        let meant = rules.iter().filter(|(_, prefix)| url.starts_with(prefix));
        meant.max_by_key(|(_, prefix)| prefix.len()).map_or(Cow::Borrowed(url), |(base, prefix)| {
            format!("{}{}", base.strip_prefix("mirror::").unwrap_or(base), &url[prefix.len()..]).into()
        })
    }

    /// Returns whether git's own policy lets a process use a transport: `GIT_ALLOW_PROTOCOL`, `protocol.<x>.allow`,
    /// `protocol.allow`, and the defaults (git-config(1), `protocol.allow`).
    pub fn protocol_allowed(&self, scheme: &str) -> bool {
        if let Some(list) = std::env::var_os("GIT_ALLOW_PROTOCOL") {
            return list.to_string_lossy().split(':').any(|allowed| allowed == scheme);
        }
        let policy = self.get(&format!("protocol.{scheme}.allow")).or_else(|| self.get("protocol.allow"));
        let policy = policy.unwrap_or(match scheme {
            "http" | "https" | "git" | "ssh" => "always",
            "ext" => "never",
            _ => "user",
        });
        match policy {
            "always" => true,
            // git ends at one that is no boolean; what it lets nobody use, nobody uses.
            "user" => std::env::var_os("GIT_PROTOCOL_FROM_USER")
                .is_none_or(|value| bool_of(&value.to_string_lossy()).unwrap_or(false)),
            _ => false,
        }
    }

    /// Returns the mirrors of a remote in the order of trust, and the entries that cannot be used.
    ///
    /// `url` is the remote's URL as git gave it, `remote` its name.
    pub fn mirrors(&self, remote: &str, url: &str) -> Vec<Listed> {
        let mut found: Vec<(Cow<str>, Origin)> = Vec::new();
        found.extend(self.run_urls.iter().map(|u| (u.into(), Origin::CommandLine)));
        let own = format!("remote.{remote}.mirrorurl");
        found.extend(self.all(&own).map(|u| (u.into(), Origin::Remote)));
        found.extend(
            self.subsections("mirror", "mirrorof").filter_map(|(base, prefix)| {
                Some((format!("{base}{}", rest_behind(url, prefix)?).into(), Origin::Base))
            }),
        );
        let listed = format!("remote.{remote}.listedmirror");
        found.extend(self.all(&listed).map(|u| (u.into(), Origin::Listed)));

        let rules: Vec<(&str, &str)> = self.subsections("url", "insteadof").collect();
        let mut seen = std::collections::HashSet::new();
        found
            .iter()
            .map(|(text, origin)| (Self::rewritten_by(&rules, text), text, *origin))
            .filter(|(rewritten, ..)| seen.insert(rewritten.clone()))
            .map(|(rewritten, text, origin)| {
                // What the user rewrites is the user's choice, not the server's.
                let learned = origin == Origin::Listed && rewritten == *text;
                let judged = if learned { self.judge(text, url) } else { Ok(()) };
                match judged.and_then(|()| self.mirror(&rewritten, origin)) {
                    Ok(mirror) => Listed::Usable(mirror),
                    Err(err) => Listed::Refused { url: trust::shown(&rewritten), why: err.message },
                }
            })
            .collect()
    }

    fn judge(&self, text: &str, canonical: &str) -> Result<()> {
        let canonical = GitUrl::parse(canonical)?;
        let allowed: Vec<String> = self.all("mirror.allowprotocol").map(Into::into).collect();
        let trust = Trust {
            canonical: &canonical,
            canonical_is_private: is_private_host(&canonical.host),
            allowed: &allowed,
            // Where canonical is by its address, not its name, is looked at before the mirror is asked.
            allow_private: true,
        };
        trust.judge(text).map(|_| ()).map_err(|why| Error::new(Kind::Config, why))
    }

    fn mirror(&self, text: &str, origin: Origin) -> Result<Mirror> {
        let url = GitUrl::parse(text)?;
        let refuse = |why: String| Err(Error::new(Kind::Config, why));
        if origin == Origin::Listed && !matches!(url.scheme.as_str(), "https" | "http" | "ssh" | "git") {
            return refuse(format!("a listed mirror may not use '{}'", url.scheme));
        }
        if !self.protocol_allowed(&url.scheme) {
            return refuse(format!("transport '{}' not allowed", url.scheme));
        }
        let mut allowed = self.all("mirror.allowprotocol").flat_map(|v| v.split([' ', ',', ':'])).peekable();
        if allowed.peek().is_some() && !allowed.any(|scheme| scheme == url.scheme) {
            return refuse(format!("mirror.allowProtocol does not name '{}'", url.scheme));
        }
        Ok(Mirror { url, origin })
    }

    /// Returns what the user prefers for a remote, what is said for this run first.
    pub fn preference(&self, remote: &str) -> Preference {
        let key = format!("remote.{remote}.prefermirror");
        let own: Vec<&str> = self.values(&key).map(|value| value.unwrap_or("true")).collect();
        let run: Vec<&str> = self.run_prefer.iter().map(String::as_str).collect();
        // What is said for this run is looked at last for the yes or no, and goes first in the order.
        let wanted = own.iter().chain(&run).next_back().map(|value| bool_of(value).unwrap_or(true));
        let names = run.iter().chain(&own).filter(|value| bool_of(value).is_none());
        let insists = wanted == Some(true) && !run.is_empty();
        Preference { wanted, first: names.map(|name| self.rewritten(name)).collect(), insists }
    }

    /// Returns which keys of this program cannot be read, and so count as not set; for people.
    pub fn unreadable(&self) -> Vec<String> {
        let value = |key: &str| Some(url::redact(self.get(&key.to_ascii_lowercase())?));
        let numbers = NUMBERS.iter().filter(|key| self.number(&key.to_ascii_lowercase()).is_none());
        let booleans = BOOLEANS.iter().filter(|key| self.bool(&key.to_ascii_lowercase()).is_none());
        let numbers = numbers.filter_map(|key| Some(format!("{key}: '{}' is no number", value(key)?)));
        let booleans = booleans.filter_map(|key| Some(format!("{key}: '{}' is neither true nor false", value(key)?)));
        numbers.chain(booleans).map(|fault| format!("{fault}; the default is used")).collect()
    }

    /// Returns the path that `key` holds, `~/` being the home of this user; `None` where it is not set.
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        let value = self.get(key)?;
        match value.strip_prefix("~/") {
            Some(rest) => Some(PathBuf::from(std::env::var_os("HOME")?).join(rest)),
            None => Some(value.into()),
        }
    }

    /// Returns the number that `key` holds, with git's `k`, `m`, `g`; `None` where it is not set or no number.
    pub fn number(&self, key: &str) -> Option<u64> {
        number_of(self.get(key)?)
    }
}

/// Reads a number as git does, with `k`, `m`, `g`; `None` for anything else.
pub fn number_of(value: &str) -> Option<u64> {
    let value = value.trim().to_ascii_lowercase();
    let (digits, factor) = match value.as_bytes().last()? {
        b'k' => (&value[..value.len() - 1], 1 << 10),
        b'm' => (&value[..value.len() - 1], 1 << 20),
        b'g' => (&value[..value.len() - 1], 1 << 30),
        _ => (&value[..], 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// Reads a boolean as git does; `None` for anything else.
pub fn bool_of(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" | "" => Some(false),
        _ => None,
    }
}

/// Returns the values of a key in this repository's own configuration.
pub fn local(key: &str) -> Vec<String> {
    let read = process::output(&mut process::git(["config", "--local", "-z", "--get-all", key]), b"");
    let text = read.unwrap_or_default();
    String::from_utf8_lossy(&text).split_terminator('\0').map(Into::into).collect()
}

/// Runs `git config <args>`, some times where another process is writing: git itself does not wait for it.
///
/// # Errors
/// [`Kind::Config`] with git's own message.
pub fn write(args: &[&str]) -> Result<()> {
    write_by(|| process::git(["config"]), args)
}

/// As [`write()`], with `git config` as `git` starts it.
///
/// # Errors
/// [`Kind::Config`] with git's own message.
pub(super) fn write_by(git: impl Fn() -> Command, args: &[&str]) -> Result<()> {
    let mut tries = 0;
    loop {
        match process::output(git().args(args), b"") {
            Ok(_) => return Ok(()),
            Err(err) if err.message.contains("could not lock config file") && tries < LOCK_TRIES => tries += 1,
            Err(err) => return Err(Error::new(Kind::Config, err.message)),
        }
        std::thread::sleep(LOCK_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(lines: &[&str]) -> Config {
        let text: String = lines.iter().map(|l| format!("{}\0", l.replacen('=', "\n", 1))).collect();
        Config::parse(text.as_bytes())
    }

    #[test]
    fn reads_values() {
        let c = config(&["a.b=1", "a.b=2", "x.flag", "remote.o.url=u", "remote.o.p.url=v", "mirror.n=2k"]);
        assert_eq!((c.get("a.b"), c.all("a.b").count()), (Some("2"), 2));
        assert_eq!((c.bool("x.flag"), c.bool("a.z"), c.bool("a.b")), (Some(true), None, None));
        assert_eq!(c.remotes(), ["o", "o.p"]);
        assert_eq!(c.number("mirror.n"), Some(2048));
    }

    #[test]
    fn rewrites_by_the_longest_prefix() {
        let c = config(&["url.https://m/.insteadof=gh:", "url.ssh://x/.insteadof=gh:a/"]);
        assert_eq!(c.rewritten("gh:b/c"), "https://m/b/c");
        assert_eq!(c.rewritten("gh:a/c"), "ssh://x/c");
        assert_eq!(c.rewritten("other"), "other");
        assert_eq!(config(&["url.mirror::/a.insteadof=/a"]).rewritten("/a/b"), "/a/b");
    }

    #[test]
    fn finds_mirrors_in_order() {
        let c = config(&[
            "url.https://real/.insteadof=m:",
            "remote.o.mirrorurl=m:a",
            "remote.o.mirrorurl=ext::sh -c x",
            "remote.o.mirrorurl=https://real/a",
            "mirror.https://office/.mirrorof=https://canon/",
            "remote.o.listedmirror=/etc",
            "remote.o.listedmirror=https://listed/a",
        ]);
        let shown: Vec<_> = c
            .mirrors("o", "https://canon/x/y.git")
            .into_iter()
            .map(|l| match l {
                Listed::Usable(m) => m.url.raw().to_owned(),
                Listed::Refused { url, .. } => format!("!{url}"),
            })
            .collect();
        assert_eq!(shown, ["https://real/a", "!ext::sh -c x", "https://office/x/y.git", "!/etc", "https://listed/a"]);
        let c = config(&["mirror.allowprotocol=https", "remote.o.mirrorurl=http://h/a"]);
        assert!(matches!(c.mirrors("o", "x")[0], Listed::Refused { .. }));
        let c = config(&["mirror..mirrorof="]);
        assert_eq!(c.mirrors("o", "/srv/a").len(), 1);
    }

    #[test]
    fn preferences() {
        let p = config(&["remote.o.prefermirror=m.example"]).preference("o");
        assert_eq!((p.wanted, p.first), (Some(true), vec!["m.example".to_owned()]));
        assert_eq!(config(&["remote.o.prefermirror"]).preference("o").wanted, Some(true));
        assert_eq!(config(&["remote.o.prefermirror=false"]).preference("o").wanted, Some(false));
        assert_eq!(config(&[]).preference("o"), Preference::default());
    }
}
