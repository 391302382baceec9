//! `git mirror upload-pack`: stock `git upload-pack` for one client, with the `mirror` command beside its own.
//!
//! It takes protocol v2 apart by requests, not by bytes: stock `git upload-pack --stateless-rpc` carries each request
//! out, and writes its answer to the client itself. So a pack never passes through this process. git's client sends its
//! whole state with each request of v2 in any case, as over HTTP (gitprotocol-v2(5)).

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::adapters::git::enter_repo;
use crate::adapters::net::pktio::{self, PktReader};
use crate::adapters::os;
use crate::adapters::process;
use crate::usecases::serving::request::{MAX_REQUEST, client_address, refusal, version};
use crate::usecases::serving::served::Served;
use crate::usecases::serving::site::Site;
use crate::usecases::serving::stock;
use crate::values::{Error, Kind, Result};
use crate::wire::Pkt;
use crate::wire::pkt::encoded;

/// What is asked for: the options of git-upload-pack(1), and where the mirror list is.
#[derive(Debug, Default)]
pub struct Order {
    /// The repository, as the client named it.
    pub directory: String,
    /// `--strict`: no `.git` is appended to it.
    pub strict: bool,
    /// `--timeout=<seconds>`: how long the client may be silent.
    pub timeout: Option<u64>,
    /// `--stateless-rpc`: one request, no advertisement.
    pub stateless_rpc: bool,
    /// `--http-backend-info-refs`: the advertisement only.
    pub advertise: bool,
}

/// Serves one client on stdin and stdout; returns the exit code: stock upload-pack's.
///
/// # Errors
/// [`Kind::Local`] where git cannot be started, [`Kind::Protocol`] for what is no request.
pub fn run(order: &Order, site: &Site) -> Result<i32> {
    let protocol = std::env::var("GIT_PROTOCOL").unwrap_or_default();
    let version = version(&protocol);
    let served = enter_repo::at(Path::new(&order.directory), order.strict).map(|dir| Served::open(&dir, site));
    let Some(served) = served.filter(|served| served.feature().is_some()) else {
        return os::replace_by(&mut stock(order, &[]));
    };
    if version < 2 && order.stateless_rpc && !order.advertise {
        return os::replace_by(&mut stock(order, &[]));
    }
    let mut out = std::io::stdout();
    if version < 2 && !order.advertise {
        return old(order, &served, &mut out);
    }
    if order.advertise || !order.stateless_rpc {
        let Some(advertisement) = advertisement(order)? else { return Ok(128) };
        let advertisement = served.advertise(&advertisement, client_address());
        pktio::write_bytes(&mut out, &advertisement, "the client")?;
        if order.advertise {
            return Ok(0);
        }
    }
    let mut input = PktReader::new(os::stdin(order.timeout.map(Duration::from_secs)), "the client");
    loop {
        let code = request(order, &served, &mut input, &mut out)?;
        match code {
            Some(0) if !order.stateless_rpc => {}
            Some(code) => return Ok(code),
            None => return Ok(0),
        }
    }
}

/// Returns stock upload-pack for the repository.
fn stock(order: &Order, args: &[&str]) -> Command {
    let own = [(order.stateless_rpc, "--stateless-rpc"), (order.advertise, "--http-backend-info-refs")];
    let own = own.iter().filter(|(set, _)| *set && args.is_empty()).map(|(_, option)| option);
    stock::upload_pack(&order.directory, order.strict, order.timeout, own.chain(args))
}

fn advertisement(order: &Order) -> Result<Option<Vec<u8>>> {
    let out = stock(order, &["--http-backend-info-refs"]).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let out = out.map_err(Error::doing(Kind::Local, "cannot run git upload-pack"))?;
    Ok(out.status.success().then_some(out.stdout))
}

/// Carries one request out; returns the exit code of whoever did, `None` where the client has no more.
fn request(
    order: &Order,
    served: &Served,
    input: &mut PktReader<impl std::io::Read>,
    out: &mut impl Write,
) -> Result<Option<i32>> {
    let start = input.bytes;
    let mut packets = Vec::new();
    let whole = loop {
        let Some(pkt) = input.read()? else {
            if packets.is_empty() {
                return Ok(None);
            }
            return Err(Error::new(Kind::Protocol, "the client broke off within a request"));
        };
        let last = pkt == Pkt::Flush;
        let head_ends = pkt == Pkt::Delim && !Served::may_answer(&packets);
        packets.push(pkt);
        if last || head_ends {
            break last;
        }
        if input.bytes - start > MAX_REQUEST {
            return Err(Error::new(Kind::Protocol, format!("a request of more than {MAX_REQUEST} bytes")));
        }
    };
    if packets == [Pkt::Flush] {
        return Ok(None);
    }
    match served.answer(&packets, client_address(), |packets| list(order, packets)) {
        Ok(Some(answer)) => {
            pktio::write_bytes(out, &answer, "the client")?;
            return Ok(Some(0));
        }
        Ok(None) => {}
        Err(err) => {
            pktio::write(out, &[refusal(&err)], "the client")?;
            if err.kind == Kind::Protocol || client_address().is_none() {
                return Err(err);
            }
            // Over ssh, stderr is the client's as well.
            tracing::warn!("{err}");
            return Ok(Some(128));
        }
    }
    let mut child = stock(order, &["--stateless-rpc"])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(Error::doing(Kind::Local, "cannot run git upload-pack"))?;
    let pid = child.id();
    let on_signal = os::OnSignal::run(move || os::terminate(pid));
    if let Some(mut stdin) = child.stdin.take() {
        // Where it ends early, it has said why.
        let mut sent = pktio::write(&mut stdin, &packets, "git upload-pack").is_ok();
        let mut whole = whole;
        while sent && !whole {
            let Some(pkt) = input.read()? else { break };
            whole = pkt == Pkt::Flush;
            sent = pktio::write(&mut stdin, [&pkt], "git upload-pack").is_ok();
        }
    }
    let status = child.wait().map_err(Error::doing(Kind::Local, "cannot wait for git upload-pack"))?;
    drop(on_signal);
    Ok(Some(os::exit_code(status)))
}

/// Has stock upload-pack carry a small request out, and returns the answer.
fn list(order: &Order, packets: &[Pkt]) -> Result<Vec<u8>> {
    process::output(&mut stock(order, &["--stateless-rpc"]), &encoded(packets))
}

/// Protocols v0 and v1: the list travels in the first line of the advertisement; all else is stock's.
fn old(order: &Order, served: &Served, out: &mut impl Write) -> Result<i32> {
    let mut child = stock(order, &[])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Error::doing(Kind::Local, "cannot run git upload-pack"))?;
    let pid = child.id();
    let on_signal = os::OnSignal::run(move || os::terminate(pid));
    if let Some(stdout) = child.stdout.take() {
        let mut reader = PktReader::new(stdout, "git upload-pack");
        let mut first = Vec::new();
        while let Some(pkt) = reader.read()? {
            let version = pkt.text().starts_with(b"version ");
            first.push(pkt);
            if !version {
                break;
            }
        }
        if let Some(Pkt::Data(line)) = first.last_mut() {
            *line = served.with_tokens(line, client_address());
        }
        pktio::write(out, &first, "the client")?;
        if let Err(err) = pktio::copy(reader.raw(), out) {
            tracing::debug!(%err, "the client has gone");
        }
    }
    let status = child.wait().map_err(Error::doing(Kind::Local, "cannot wait for git upload-pack"))?;
    drop(on_signal);
    Ok(os::exit_code(status))
}
