//! `git://`: our own TCP (git-daemon(1), gitprotocol-pack(5), "Git Transport").

use std::ffi::OsString;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{Channel, Opening, Role};
use crate::adapters::net::guard::Guard;
use crate::adapters::net::resolve;
use crate::values::{Error, Event, GitUrl, Kind, Result};

/// Connects, and sends the request line.
pub fn open(url: &GitUrl, opening: &Opening) -> Result<Channel> {
    let port = url.effective_port().unwrap_or(9418);
    let mut channel = match proxy(url, opening) {
        Some(proxy) => {
            let host = match opening.guard {
                Some(guard) => behind_a_proxy(url, port, opening, guard)?,
                None => url.host.clone(),
            };
            let mut command = std::process::Command::new(proxy);
            command.args([host, port.to_string()]);
            Channel::spawned(command, opening.role)?
        }
        None => Channel::tcp(connect(url, port, opening)?)?,
    };
    let virtual_host = std::env::var_os("GIT_OVERRIDE_VIRTUAL_HOST");
    let virtual_host = virtual_host.map_or_else(|| written_host(url), |host| host.to_string_lossy().into_owned());
    let mut request = format!("{} {}\0host={virtual_host}\0", opening.service.name(), url.path);
    if let Some(protocol) = opening.service.protocol(opening.version) {
        request.push_str(&format!("\0{protocol}\0"));
    }
    let line = format!("{:04x}{request}", request.len() + 4);
    if let Some(writer) = channel.writer.as_mut() {
        crate::adapters::net::pktio::write_bytes(writer, line.as_bytes(), &url.shown_host())?;
    }
    Ok(channel)
}

fn written_host(url: &GitUrl) -> String {
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    match url.port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

/// Returns what a proxy command is to connect to: an address that was judged, or the name where only the proxy knows it.
fn behind_a_proxy(url: &GitUrl, port: u16, opening: &Opening, guard: &Guard) -> Result<String> {
    guard.judge_name(url, opening.connect_by)?;
    let found = guard.addresses_behind_a_proxy(&url.host, port, opening.connect_by)?;
    Ok(found.first().map_or_else(|| url.host.clone(), |address| address.ip().to_string()))
}

fn connect(url: &GitUrl, port: u16, opening: &Opening) -> Result<TcpStream> {
    let host = &url.host;
    let tell = |text: String| opening.report.event(Event::Detail(text));
    let until = opening.connect_by;
    let addresses = match opening.guard {
        Some(guard) => {
            guard.judge_name(url, until)?;
            guard.addresses(host, port, opening.family, until)?
        }
        None => resolve::addresses(host, port, until)
            .map_err(|err| Error::new(Kind::Channel, format!("unable to look up {host} (port {port}) ({err})")))?,
    };
    if opening.role == Role::Canonical {
        tell(format!("Looking up {host} ... done."));
    }
    let mut left: Vec<SocketAddr> = addresses.into_iter().filter(|address| opening.family.has(address)).collect();
    let mut tried = String::new();
    while !left.is_empty() {
        // Each has its share of the time: one that is silent does not keep the others from being tried.
        let share = until.map(|until| until.saturating_duration_since(Instant::now()) / left.len() as u32);
        let address = left.remove(0);
        let connected = match share {
            Some(share) => TcpStream::connect_timeout(&address, share.max(Duration::from_millis(1))),
            None => TcpStream::connect(address),
        };
        match connected {
            Ok(stream) => {
                // Small requests must not wait for each other; a failure here only costs speed.
                let _ = stream.set_nodelay(true);
                let _ = keep_alive(&stream);
                if opening.role == Role::Canonical {
                    tell(format!("Connecting to {host} (port {port}) ... done."));
                }
                return Ok(stream);
            }
            Err(err) => {
                let err = err.to_string();
                let why = err.split(" (os error").next().unwrap_or_default();
                tried.push_str(&format!("{}{}: {why}", if tried.is_empty() { "" } else { ", " }, address.ip()));
            }
        }
    }
    let why = format!("unable to connect to {} ({tried})", url.shown_host());
    Err(Error::new(Kind::Channel, why))
}

fn keep_alive(stream: &TcpStream) -> std::io::Result<()> {
    rustix::net::sockopt::set_socket_keepalive(stream, true).map_err(Into::into)
}

/// Returns the proxy command for a host: `GIT_PROXY_COMMAND`, or `core.gitProxy` (git-config(1)).
fn proxy(url: &GitUrl, opening: &Opening) -> Option<OsString> {
    if let Some(command) = std::env::var_os("GIT_PROXY_COMMAND") {
        return Some(command).filter(|c| !c.is_empty());
    }
    for value in opening.config.all("core.gitproxy") {
        let (command, domain) = match value.split_once(" for ") {
            Some((command, domain)) => (command, Some(domain)),
            None => (value, None),
        };
        let matches = domain.is_none_or(|domain| {
            url.host
                .strip_suffix(domain)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.') || domain.starts_with('.'))
        });
        if matches {
            return Some(command).filter(|c| *c != "none" && !c.is_empty()).map(Into::into);
        }
    }
    None
}
