//! Connecting to a mirror: when it is asked, or early, while git and canonical still talk.
//!
//! Early only for a clone: of any other request for refs it cannot be told whether it will want anything, and a mirror is
//! not to be bothered for `git ls-remote`.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::adapters::git::config::Config;
use crate::adapters::net::channel::{Channel, Family, Killer, Opening, Role, Service};
use crate::adapters::net::guard::Guard;
use crate::adapters::net::watch::Watch;
use crate::adapters::seed::Session;
use crate::decide::limits::Limits;
use crate::values::report::Silent;
use crate::values::{Error, Kind, Mirror, Origin, Report, Result, Transport};

/// How long a mirror may take to its first byte where a person may have to type a password first.
const PROMPTED: Duration = Duration::from_secs(120);

/// Most bytes of an advertisement: that of v2 has some hundred, one of v0 with 200,000 refs fits.
const MOST_ADVERTISED: u64 = 16 << 20;

/// A connection that is being made.
pub struct Early {
    mirror: Mirror,
    told: Receiver<Result<(Session, Watch)>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    unwanted: bool,
    killer: Option<Killer>,
}

impl Early {
    /// Begins to connect to `mirror`. Nothing for one that a server named, which is looked at again before it is asked,
    /// and for one that may prompt: canonical may do so now.
    pub fn start(mirror: &Mirror, config: &Config, family: Family) -> Option<Self> {
        if mirror.origin == Origin::Listed || may_prompt(mirror, config) {
            return None;
        }
        let (tell, told) = mpsc::channel();
        let state = Arc::new(Mutex::new(State::default()));
        std::thread::spawn({
            let (mirror, config, state) = (mirror.clone(), config.clone(), Arc::clone(&state));
            move || drop(tell.send(connect(&mirror, None, &config, family, &Silent, |channel| opened(channel, &state))))
        });
        Some(Early { mirror: mirror.clone(), told, state })
    }

    /// Waits for the connection, where it is one to `mirror`.
    pub(super) fn take(self, mirror: &Mirror) -> Option<Result<(Session, Watch)>> {
        if self.mirror != *mirror {
            return None;
        }
        let made = self.told.recv().ok()?;
        // It is the caller's now.
        if let Ok(mut state) = self.state.lock() {
            state.killer = None;
        }
        Some(made)
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        let Ok(mut state) = self.state.lock() else { return };
        state.unwanted = true;
        if let Some(killer) = state.killer.take() {
            killer.kill();
        }
    }
}

fn opened(channel: &Channel, state: &Mutex<State>) {
    let Ok(mut state) = state.lock() else { return };
    let killer = channel.killer();
    if state.unwanted {
        killer.kill();
    }
    state.killer = Some(killer);
}

/// Connects to a mirror, and reads its advertisement; its clocks are stopped then. One that a server has named needs a
/// `guard`. `opened` is told of the channel as soon
/// as there is one.
pub(super) fn connect(
    mirror: &Mirror,
    guard: Option<&Guard>,
    config: &Config,
    family: Family,
    report: &dyn Report,
    opened: impl FnOnce(&Channel),
) -> Result<(Session, Watch)> {
    let began = Instant::now();
    let mut limits = limits(config);
    let connect_by = began.checked_add(limits.connect);
    let prompt = may_prompt(mirror, config);
    if prompt {
        limits.first_byte = limits.first_byte.max(PROMPTED);
    }
    let mut channel = Channel::open(
        &mirror.url,
        &Opening {
            role: Role::Mirror { learned: mirror.origin == Origin::Listed, prompt },
            service: Service::UploadPack,
            program: None,
            version: 2,
            family,
            connect_by,
            guard,
            config,
            report,
        },
    )?;
    opened(&channel);
    let watch = Watch::over(&mut channel, limits, began);
    watch.at_most(MOST_ADVERTISED);
    let session = explained(&watch, Session::open(channel, &mirror.url.shown_host()))?;
    watch.at_most(u64::MAX);
    watch.pause(true);
    Ok((session, watch))
}

/// Returns whether a person may be asked for a password of this mirror.
fn may_prompt(mirror: &Mirror, config: &Config) -> bool {
    let asks = matches!(mirror.url.transport, Transport::Http | Transport::Ssh);
    asks && config.bool("mirror.prompt").unwrap_or(false)
}

/// Returns how long a mirror may be silent or slow, as configured; 0 is no limit.
pub(super) fn limits(config: &Config) -> Limits {
    let seconds = |key: &str, default: Duration| match config.number(key) {
        Some(0) => Duration::MAX,
        other => other.map_or(default, Duration::from_secs),
    };
    let default = Limits::default();
    Limits {
        connect: seconds("mirror.connecttimeout", default.connect),
        first_byte: seconds("mirror.responsetimeout", default.first_byte),
        idle: seconds("mirror.idletimeout", default.idle),
        low_speed: config.number("mirror.lowspeedlimit").unwrap_or(default.low_speed),
        low_time: seconds("mirror.lowspeedtime", default.low_time),
    }
}

/// Puts the watcher's verdict in the place of the broken pipe that it caused.
pub(super) fn explained<T>(watch: &Watch, result: Result<T>) -> Result<T> {
    result.map_err(|err| watch.verdict().map_or(err, |verdict| Error::new(Kind::Timeout, verdict)))
}
