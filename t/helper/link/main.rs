//! A TCP link on loopback, with the distance, the rate and the faults of a real one. Needs no root.
//!
//!     link --to <port> [--rtt <ms>] [--rate <bit/s, or 10m, 1g>] [--jitter <ms>] [--fault <fault>] [--first <n>]
//!          [--cue <file>] [--count <file>]
//!
//! It prints the port that it took, and relays each connection there to 127.0.0.1:<port>.
//!
//!     refuse           nobody listens
//!     hang[:<n>]       silent after n bytes from the server; without a number, from the beginning
//!     cut:<n>          closed after n bytes from the server
//!     flip:<n>         bit 0 of byte n from the server is another
//!     drip:<n>:<r>     after n bytes from the server, r bytes a second
//!     none             for a cue: well again
//!
//! --first: the fault holds for the first n connections only. --cue: the options in that file, while there is one, are
//! added to those given here, for each connection that comes. --count: appends to that file, as a connection ends, how
//! many bytes came from the client and how many from the server.
//!
//! The rate is that of the payload, in each direction, and all connections share it. TCP's slow start and loss are not
//! modelled: a real link of that distance is slower.

mod line;
mod options;
mod pipe;
mod relay;

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt::set_socket_reuseaddr};

use line::Line;
use options::{Fault, Options};
use relay::{Lines, relay};

/// How soon a cue to refuse is heard.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

fn main() {
    let outcome = Options::default().read(std::env::args().skip(1)).and_then(|options| {
        if options.to == 0 {
            return Err("--to what?".into());
        }
        run(&options).map_err(|error| error.to_string())
    });
    if let Err(wrong) = outcome {
        eprintln!("link: {wrong}");
        std::process::exit(129);
    }
}

fn run(options: &Options) -> std::io::Result<()> {
    // Keeps the port while nobody listens, so that it is refused, and nobody else takes it.
    let holder = TcpListener::from(bound(0)?);
    let port = holder.local_addr()?.port();
    let lines = Lines { up: new_line(), down: new_line() };
    let mut listener = None;
    let mut connections = 0;
    println!("{port}");
    loop {
        let now = options.now();
        if now.fault == Some(Fault::Refuse) {
            listener = None;
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => listening(port)?,
        };
        let comes = poll(&mut [PollFd::new(&open, PollFlags::IN)], options.cue.as_ref().map(|_| &LOOK))?;
        if comes > 0 {
            let (client, _) = open.accept()?;
            let mut now = options.now();
            connections += 1;
            if now.first.is_some_and(|first| connections > first) {
                now.fault = None;
            }
            let lines = lines.clone();
            thread::spawn(move || relay(&client, &now, &lines));
        }
        listener = Some(open);
    }
}

fn new_line() -> Arc<Mutex<Line>> {
    Arc::new(Mutex::new(Line::new(Instant::now())))
}

/// Returns a socket on this port of loopback, to which nobody listens yet.
fn bound(port: u16) -> std::io::Result<OwnedFd> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    Ok(socket)
}

fn listening(port: u16) -> std::io::Result<TcpListener> {
    let socket = bound(port)?;
    listen(&socket, 128)?;
    Ok(TcpListener::from(socket))
}
