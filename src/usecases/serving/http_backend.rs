//! `git mirror http-backend`: stock `git http-backend` as a CGI program (RFC 3875), with the `mirror` command beside its
//! own.
//!
//! Stock git answers every request, with its own checks of what is exported to whom. Of a `git-upload-pack` request the
//! beginning is looked at; what follows, and the answer, go between the web server and stock git directly.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use core::net::IpAddr;

use crate::adapters::git::enter_repo;
use crate::adapters::net::pktio;
use crate::adapters::os;
use crate::adapters::process;
use crate::usecases::serving::request::{MAX_REQUEST, decoded, forwarded_client, refusal, starts_as_ours};
use crate::usecases::serving::served::Served;
use crate::usecases::serving::site::Site;
use crate::values::{Error, Kind, Result};
use crate::wire::pkt::encoded;

/// What the web server says of a request (RFC 3875, section 4.1; git-http-backend(1)).
struct Cgi {
    /// The repository's path in the file system.
    directory: PathBuf,
    /// Whether it is a request to `git-upload-pack`, not for its advertisement.
    is_rpc: bool,
    gzip: bool,
    client: Option<IpAddr>,
}

impl Cgi {
    /// Reads the environment; `None` for a request that is stock git's alone.
    fn read(proxies: &[IpAddr]) -> Option<Self> {
        let get = |name: &str| std::env::var(name).unwrap_or_default();
        let path = match (get("GIT_PROJECT_ROOT"), get("PATH_INFO"), get("PATH_TRANSLATED")) {
            (root, info, _) if !root.is_empty() => {
                format!("{}/{}", root.trim_end_matches('/'), info.trim_start_matches('/'))
            }
            (_, _, translated) => translated,
        };
        let is_rpc = path.ends_with("/git-upload-pack") && get("REQUEST_METHOD") == "POST";
        let query = get("QUERY_STRING");
        let advertises = path.ends_with("/info/refs") && query.split('&').any(|part| part == "service=git-upload-pack");
        let directory = path.strip_suffix(if is_rpc { "/git-upload-pack" } else { "/info/refs" })?;
        (is_rpc || advertises).then(|| Cgi {
            directory: directory.into(),
            is_rpc,
            gzip: matches!(get("HTTP_CONTENT_ENCODING").as_str(), "gzip" | "x-gzip"),
            client: forwarded_client(get("REMOTE_ADDR").parse().ok(), &get("HTTP_X_FORWARDED_FOR"), proxies),
        })
    }
}

/// Answers the request that the environment and stdin hold; returns the exit code.
///
/// # Errors
/// [`Kind::Local`] where git cannot be started.
pub fn run(site: &Site, proxies: &[IpAddr]) -> Result<i32> {
    let stock = || process::git(["http-backend"]);
    let Some(cgi) = Cgi::read(proxies) else { return os::replace_by(&mut stock()) };
    let served = enter_repo::at(&cgi.directory, false).map(|dir| Served::open(&dir, site));
    let Some(served) = served.filter(|served| served.feature().is_some()) else {
        return os::replace_by(&mut stock());
    };
    if !cgi.is_rpc {
        let answer = output(stock().stdin(Stdio::null()))?;
        let (head, body) = parts(&answer);
        return send(&head, &served.advertise(body, cgi.client));
    }
    let mut body = Vec::new();
    if !is_small_or_ours(&mut os::stdin(None), &mut body, cgi.gzip)? {
        return forward(stock(), &body);
    }
    let packets = decoded(&body, cgi.gzip).unwrap_or_default();
    let mut head = Vec::new();
    let answer = served.answer(&packets, cgi.client, |packets| {
        let plain = encoded(packets);
        let mut command = stock();
        command.env_remove("HTTP_CONTENT_ENCODING").env("CONTENT_LENGTH", plain.len().to_string());
        let answer = process::output(&mut command, &plain)?;
        let (stock_head, body) = parts(&answer);
        head = stock_head;
        Ok(body.to_vec())
    });
    let answer = match answer {
        Ok(None) => return forward(stock(), &body),
        Ok(Some(answer)) => answer,
        Err(err) => {
            site.note(&err);
            encoded(&[refusal(&err)])
        }
    };
    if head.is_empty() {
        // Whether this client may see the repository at all is for stock git to say.
        let mut command = stock();
        command.env("REQUEST_METHOD", "GET").env("QUERY_STRING", "service=git-upload-pack").env("CONTENT_LENGTH", "0");
        for name in ["PATH_INFO", "PATH_TRANSLATED"] {
            if let Ok(path) = std::env::var(name) {
                command.env(name, path.replace("/git-upload-pack", "/info/refs"));
            }
        }
        let advertisement = output(command.stdin(Stdio::null()))?;
        let (stock_head, body) = parts(&advertisement);
        if stock_head.to_ascii_lowercase().starts_with(b"status:") {
            return send(&stock_head, body);
        }
        head = RPC_HEAD.to_vec();
    }
    send(&head, &answer)
}

/// As `git http-backend` heads its own answers.
const RPC_HEAD: &[u8] = b"Expires: Fri, 01 Jan 1980 00:00:00 GMT\r\nPragma: no-cache\r\n\
    Cache-Control: no-cache, max-age=0, must-revalidate\r\nContent-Type: application/x-git-upload-pack-result\r\n\r\n";

/// Reads the request's body into `body` as far as is needed to tell whether it may be answered here; where it may,
/// reads all of it.
fn is_small_or_ours(stdin: &mut impl Read, body: &mut Vec<u8>, gzip: bool) -> Result<bool> {
    let left = std::env::var("CONTENT_LENGTH").ok().and_then(|text| text.parse::<u64>().ok());
    let mut stdin = stdin.take(left.unwrap_or(u64::MAX));
    let mut piece = [0; 8192];
    loop {
        let n = stdin.read(&mut piece).map_err(Error::doing(Kind::Channel, "cannot read the request"))?;
        body.extend_from_slice(&piece[..n]);
        match starts_as_ours(body, gzip) {
            Some(false) => return Ok(false),
            _ if n == 0 => return Ok(true),
            _ if body.len() as u64 > MAX_REQUEST => return Ok(false),
            _ => {}
        }
    }
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let out = command.stderr(Stdio::inherit()).output();
    out.map(|out| out.stdout).map_err(Error::doing(Kind::Local, "cannot run git http-backend"))
}

/// Has stock git answer a request of which `begun` has been read; the answer does not pass through here.
fn forward(mut stock: Command, begun: &[u8]) -> Result<i32> {
    let mut child =
        stock.stdin(Stdio::piped()).spawn().map_err(Error::doing(Kind::Local, "cannot run git http-backend"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Where it ends early, it has said why.
        let sent = stdin.write_all(begun).and_then(|()| pktio::copy(&mut os::stdin(None), &mut stdin));
        tracing::debug!(?sent, "forwarded a request");
    }
    child.wait().map(os::exit_code).map_err(Error::doing(Kind::Local, "cannot wait for git http-backend"))
}

/// Returns the head of a CGI answer, with the empty line, and its body.
fn parts(answer: &[u8]) -> (Vec<u8>, &[u8]) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    (answer[..end].to_vec(), &answer[end..])
}

fn send(head: &[u8], body: &[u8]) -> Result<i32> {
    let mut out = std::io::stdout();
    pktio::write_bytes(&mut out, &[head, body].concat(), "the web server").map(|()| 0)
}
