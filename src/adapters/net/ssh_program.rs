//! Which program is ssh, what it understands, and what the user's ssh_config(5) says of a host.
//!
//! Source: `get_ssh_command`, `determine_ssh_variant` in git's `connect.c` (2.47), git-config(1), `core.sshCommand` and
//! `ssh.variant`, and ssh(1), `-G`.

use std::ffi::OsString;
use std::process::Command;
use std::time::Instant;

use crate::adapters::git::config::Config;
use crate::adapters::process;
use crate::values::{GitUrl, Result};

/// What an ssh program understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// All that OpenSSH does.
    Ssh,
    /// A host and a command, and no option.
    Simple,
    /// PuTTY's, with its own options.
    Plink,
    /// As `Plink`.
    Putty,
    /// As `Plink`, and shows windows.
    TortoisePlink,
}

/// The program that git would start.
#[derive(Debug)]
pub struct Program {
    line: OsString,
    /// Whether `line` is for a shell.
    by_shell: bool,
    /// What is said of what it understands.
    configured: Option<String>,
}

impl Program {
    /// Returns the program in force: `GIT_SSH_COMMAND`, `core.sshCommand`, `GIT_SSH` or `ssh`.
    pub fn in_force(config: &Config) -> Self {
        let env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let line = env("GIT_SSH_COMMAND").or_else(|| config.get("core.sshcommand").map(Into::into));
        Program {
            by_shell: line.is_some(),
            line: line.unwrap_or_else(|| env("GIT_SSH").unwrap_or_else(|| "ssh".into())),
            configured: env("GIT_SSH_VARIANT")
                .map(|variant| variant.to_string_lossy().into_owned())
                .or_else(|| config.get("ssh.variant").map(Into::into)),
        }
    }

    /// Returns the program with `args`, not yet started.
    pub fn command(&self, args: &[String]) -> Command {
        if self.by_shell {
            return process::shell(&self.line, args);
        }
        let mut command = Command::new(&self.line);
        command.args(args);
        command
    }

    /// Returns what it understands. Where neither a setting nor its name tells, it is asked with `-G` and the arguments of
    /// `probe`, as git does.
    ///
    /// # Errors
    /// Those of `probe`; [`crate::values::Kind::Timeout`] where it does not end by `until`.
    pub fn variant(&self, probe: impl FnOnce() -> Result<Vec<String>>, until: Option<Instant>) -> Result<Variant> {
        match self.known_variant() {
            Some(variant) => Ok(variant),
            None => self.asked(probe()?, until).map(|said| said.map_or(Variant::Simple, |_| Variant::Ssh)),
        }
    }

    /// Returns what the user's settings are for a URL; nothing where the program is not OpenSSH.
    ///
    /// # Errors
    /// [`crate::values::Kind::Timeout`] where it does not tell by `until`.
    pub fn settings(&self, url: &GitUrl, until: Option<Instant>) -> Result<Option<Settings>> {
        let known = self.known_variant();
        if known.is_some_and(|variant| variant != Variant::Ssh) {
            return Ok(None);
        }
        let mut args: Vec<String> = url.port.iter().flat_map(|port| ["-p".to_owned(), port.to_string()]).collect();
        args.push(destination(url));
        let said = self.asked(args, until)?;
        // One that is said to be OpenSSH, and tells nothing, takes the same options.
        let said = said.or_else(|| known.map(|_| String::new()));
        Ok(said.map(|said| Settings::parse(&said, url)))
    }

    fn known_variant(&self) -> Option<Variant> {
        named(self.configured.as_deref()).or_else(|| guessed(&self.line.to_string_lossy(), self.by_shell))
    }

    /// Returns what it says under `-G`; nothing where it fails.
    fn asked(&self, args: Vec<String>, until: Option<Instant>) -> Result<Option<String>> {
        let all: Vec<String> = std::iter::once("-G".to_owned()).chain(args).collect();
        let said = process::answer(&mut self.command(&all), until)?;
        Ok(said.map(|said| String::from_utf8_lossy(&said).into_owned()))
    }
}

/// What a user's ssh_config(5) says of one host.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    /// What is looked up for it.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether something else makes the connection.
    pub has_proxy: bool,
    alias: Option<String>,
}

impl Settings {
    fn parse(said: &str, url: &GitUrl) -> Self {
        let mut settings = Settings {
            host: url.host.clone(),
            port: url.effective_port().unwrap_or(22),
            has_proxy: false,
            alias: None,
        };
        for (key, value) in said.lines().filter_map(|line| line.split_once(' ')) {
            match (key, value) {
                ("hostname", host) => settings.host = host.to_owned(),
                ("port", port) => settings.port = port.parse().unwrap_or(settings.port),
                ("hostkeyalias", alias) => settings.alias = Some(alias.to_owned()),
                ("proxycommand" | "proxyjump", way) => settings.has_proxy |= way != "none",
                _ => {}
            }
        }
        settings
    }

    /// Returns the name under which ssh has the host's key in `known_hosts`.
    pub fn key_name(&self) -> String {
        match &self.alias {
            Some(alias) => alias.clone(),
            None if self.port == 22 => self.host.to_ascii_lowercase(),
            None => format!("[{}]:{}", self.host.to_ascii_lowercase(), self.port),
        }
    }
}

/// Returns `[<user>@]<host>`.
pub fn destination(url: &GitUrl) -> String {
    match &url.userinfo {
        Some(user) => format!("{user}@{}", url.host),
        None => url.host.clone(),
    }
}

fn named(variant: Option<&str>) -> Option<Variant> {
    Some(match variant? {
        "auto" => return None,
        "plink" => Variant::Plink,
        "putty" => Variant::Putty,
        "tortoiseplink" => Variant::TortoisePlink,
        "simple" => Variant::Simple,
        _ => Variant::Ssh,
    })
}

fn guessed(program: &str, shell: bool) -> Option<Variant> {
    let first = if shell { first_word(program) } else { program.to_owned() };
    let base = first.rsplit(['/', '\\']).next()?.to_ascii_lowercase();
    match base.strip_suffix(".exe").unwrap_or(&base) {
        "ssh" => Some(Variant::Ssh),
        "plink" => Some(Variant::Plink),
        "tortoiseplink" => Some(Variant::TortoisePlink),
        _ => None,
    }
}

/// Returns the first word of a command line, quotes and backslashes undone as by `split_cmdline` in git's `alias.c`.
fn first_word(line: &str) -> String {
    let (mut word, mut quote) = (String::new(), None);
    let mut chars = line.trim_start().chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, None) if c.is_whitespace() => break,
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(q)) if c == q => quote = None,
            ('\\', q) if q != Some('\'') => word.extend(chars.next()),
            _ => word.push(c),
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_settings() {
        let url = |text: &str| GitUrl::parse(text).expect("a URL");
        let said = "user u\nhostname M.example\nport 2222\nproxycommand none\n";
        let settings = Settings::parse(said, &url("ssh://alias/a"));
        assert_eq!((&*settings.host, settings.port, settings.has_proxy), ("M.example", 2222, false));
        assert_eq!(settings.key_name(), "[m.example]:2222");
        let settings = Settings::parse("hostkeyalias k\nproxyjump j.example\nport x\n", &url("ssh://H.example/a"));
        assert_eq!((&*settings.host, settings.port, settings.has_proxy), ("H.example", 22, true));
        assert_eq!(settings.key_name(), "k");
        assert_eq!(Settings::parse("", &url("ssh://H.example/a")).key_name(), "h.example");
    }

    #[test]
    fn knows_variants() {
        assert_eq!(guessed("/usr/bin/ssh -v", true), Some(Variant::Ssh));
        assert_eq!(guessed("C:\\x\\TortoisePlink.exe", false), Some(Variant::TortoisePlink));
        assert_eq!(guessed("\"/a b/plink.exe\" -v", true), Some(Variant::Plink));
        assert_eq!(guessed("'/a b/ssh' -v", true), Some(Variant::Ssh));
        assert_eq!(guessed("my-wrapper", false), None);
        assert_eq!(named(Some("auto")), None);
        assert_eq!(named(Some("simple")), Some(Variant::Simple));
    }
}
