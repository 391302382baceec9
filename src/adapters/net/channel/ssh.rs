//! `ssh://` and `host:path`: a child `ssh`, by git's own rules.
//!
//! Source: `fill_ssh_args`, `push_ssh_options` in git's `connect.c` (2.47), and ssh_config(5).

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Family, Opening, Role};
use crate::adapters::net::guard::Guard;
use crate::adapters::net::ssh_program::{self, Program, Variant};
use crate::adapters::process::without_local_env;
use crate::values::{Error, GitUrl, Kind, Result};

/// Returns the command that runs the service on the other side.
pub fn command(url: &GitUrl, opening: &Opening) -> Result<Command> {
    let program = Program::in_force(opening.config);
    let host = ssh_program::destination(url);
    let (variant, pins) = match opening.guard {
        Some(guard) => pins(&program, url, opening, guard)?,
        None => {
            let until = opening.connect_by.filter(|_| opening.role != Role::Canonical);
            (program.variant(|| Ok(with(options(Variant::Ssh, url, opening)?, &host)), until)?, Vec::new())
        }
    };
    let mut args = options(variant, url, opening)?;
    args.extend(pins.into_iter().flat_map(|setting| ["-o".to_owned(), setting]));
    args.push(host);
    args.push(format!("{} {}", opening.program.unwrap_or(opening.service.name()), quoted(&url.path)));
    let mut command = program.command(&args);
    without_local_env(&mut command);
    if let (Variant::Ssh, Some(protocol)) = (variant, opening.service.protocol(opening.version)) {
        command.env("GIT_PROTOCOL", protocol);
    }
    Ok(command)
}

fn with(mut args: Vec<String>, last: &str) -> Vec<String> {
    args.push(last.to_owned());
    args
}

/// Returns what ssh is, and the settings that have it connect to an address that `guard` lets through, and check the key of
/// the host that was named. The settings of the user for this host hold: another name, a port, a way there.
///
/// # Errors
/// Those of the guard, and [`Kind::Config`] where the program would look a name up itself.
fn pins(program: &Program, url: &GitUrl, opening: &Opening, guard: &Guard) -> Result<(Variant, Vec<String>)> {
    let until = opening.connect_by;
    guard.judge_name(url, until)?;
    let Some(settings) = program.settings(url, until)? else {
        if url.host.parse::<IpAddr>().is_err() {
            let why = "a server lists it by its name, which this ssh would look up by itself; OpenSSH is needed for it";
            return Err(Error::new(Kind::Config, why));
        }
        guard.addresses(&url.host, url.effective_port().unwrap_or(22), opening.family, until)?;
        let probe = || Ok(with(options(Variant::Ssh, url, opening)?, &ssh_program::destination(url)));
        return Ok((program.variant(probe, until)?, Vec::new()));
    };
    let found = if settings.has_proxy {
        guard.addresses_behind_a_proxy(&settings.host, settings.port, until)?
    } else {
        guard.addresses(&settings.host, settings.port, opening.family, until)?
    };
    let pins = found
        .first()
        .map(|address| [format!("HostName={}", address.ip()), format!("HostKeyAlias={}", settings.key_name())].into());
    Ok((Variant::Ssh, pins.unwrap_or_default()))
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
}
