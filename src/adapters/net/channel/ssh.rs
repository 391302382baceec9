//! `ssh://` and `host:path`: a child `ssh`, by git's own rules.
//!
//! Source: `fill_ssh_args`, `determine_ssh_variant`, `push_ssh_options` in git's `connect.c` (2.47), and
//! git-config(1), `core.sshCommand` and `ssh.variant`.

use std::ffi::{OsStr, OsString};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Family, Opening, Role};
use crate::adapters::process::{self, LOCAL_ENV};
use crate::values::{Error, GitUrl, Kind, Result};

/// What an ssh program understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    Ssh,
    Simple,
    Plink,
    Putty,
    TortoisePlink,
}

/// Returns the command that runs the service on the other side.
pub fn command(url: &GitUrl, opening: &Opening) -> Result<Command> {
    let env = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let by_shell = env("GIT_SSH_COMMAND").or_else(|| opening.config.get("core.sshcommand").map(Into::into));
    let (program, shell) = match by_shell {
        Some(line) => (line, true),
        None => (env("GIT_SSH").unwrap_or_else(|| OsString::from("ssh")), false),
    };
    let start = |args: &[String]| if shell { process::shell(&program, args) } else { with_args(&program, args) };
    let host = match &url.userinfo {
        Some(user) => format!("{user}@{}", url.host),
        None => url.host.clone(),
    };
    let configured = env("GIT_SSH_VARIANT").map(|variant| variant.to_string_lossy().into_owned());
    let configured = configured.as_deref().or_else(|| opening.config.get("ssh.variant"));
    let variant = match named(configured).or_else(|| guessed(&program.to_string_lossy(), shell)) {
        Some(variant) => variant,
        None => {
            let mut args = vec!["-G".to_owned()];
            args.extend(options(Variant::Ssh, url, opening)?);
            args.push(host.clone());
            let mut probe = start(&args);
            probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if process::foreground(&mut probe).is_ok_and(|code| code == 0) { Variant::Ssh } else { Variant::Simple }
        }
    };
    let mut args = options(variant, url, opening)?;
    args.push(host);
    args.push(format!("{} {}", opening.program.unwrap_or(opening.service.name()), quoted(&url.path)));
    let mut command = start(&args);
    for variable in LOCAL_ENV {
        command.env_remove(variable);
    }
    if let (Variant::Ssh, Some(protocol)) = (variant, opening.service.protocol(opening.version)) {
        command.env("GIT_PROTOCOL", protocol);
    }
    Ok(command)
}

fn with_args(program: &OsStr, args: &[String]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
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

fn options(variant: Variant, url: &GitUrl, opening: &Opening) -> Result<Vec<String>> {
    let mut args: Vec<String> = Vec::new();
    let refuse = |what: &str| Err(Error::new(Kind::Config, format!("ssh variant 'simple' does not support {what}")));
    if variant == Variant::Ssh && opening.service.protocol(opening.version).is_some() {
        args.extend(["-o".into(), "SendEnv=GIT_PROTOCOL".into()]);
    }
    let left = opening.connect_by.map(|until| until.saturating_duration_since(Instant::now()));
    match opening.role {
        Role::Mirror { prompt, .. } => {
            args.extend(for_a_mirror(variant));
            args.extend(in_time(variant, prompt, left));
        }
        Role::Beside => args.extend(in_time(variant, false, left)),
        Role::Canonical => {}
    }
    match (opening.family, variant) {
        (Family::Any, _) => {}
        (Family::V4, Variant::Simple) => return refuse("-4"),
        (Family::V6, Variant::Simple) => return refuse("-6"),
        (Family::V4, _) => args.push("-4".into()),
        (Family::V6, _) => args.push("-6".into()),
    }
    if variant == Variant::TortoisePlink && !args.iter().any(|arg| arg == "-batch") {
        args.push("-batch".into());
    }
    if let Some(port) = url.port {
        match variant {
            Variant::Simple => return refuse("setting port"),
            Variant::Ssh => args.push("-p".into()),
            Variant::Plink | Variant::Putty | Variant::TortoisePlink => args.push("-P".into()),
        }
        args.push(port.to_string());
    }
    Ok(args)
}

/// A mirror's server does not get what logs in elsewhere: neither the agent nor a Kerberos ticket, whatever `Host *` in
/// ssh_config(5) says.
fn for_a_mirror(variant: Variant) -> Vec<String> {
    let settings = ["-o", "ForwardAgent=no", "-o", "GSSAPIDelegateCredentials=no"];
    settings.into_iter().filter(|_| variant == Variant::Ssh).map(Into::into).collect()
}

/// A server on a connection that git would not have opened may ask nobody anything unless `prompt` says so.
fn in_time(variant: Variant, prompt: bool, left: Option<Duration>) -> Vec<String> {
    let mut settings = Vec::new();
    match variant {
        Variant::Ssh => {
            settings.extend((!prompt).then(|| "BatchMode=yes".to_owned()));
            let seconds = left.map(|left| left.as_millis().div_ceil(1000).clamp(1, 86_400));
            settings.extend(seconds.map(|seconds| format!("ConnectTimeout={seconds}")));
        }
        Variant::Plink | Variant::Putty | Variant::TortoisePlink if !prompt => return vec!["-batch".to_owned()],
        _ => {}
    }
    settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]).collect()
}

/// Quotes for a shell as `sq_quote_buf` in git's `quote.c`: single quotes, with `'` and `!` outside them.
fn quoted(text: &str) -> String {
    let mut out = String::from("'");
    for c in text.chars() {
        match c {
            '\'' | '!' => {
                out.push_str("'\\");
                out.push(c);
                out.push('\'');
            }
            _ => out.push(c),
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_git_does() {
        assert_eq!(quoted("/a b"), "'/a b'");
        assert_eq!(quoted("it's!"), r"'it'\''s'\!''");
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
