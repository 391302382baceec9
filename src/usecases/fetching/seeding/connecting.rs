//! Connecting to a mirror: when it is asked, or early, while git and canonical still talk.
//!
//! Early only for a clone: of any other request for refs it cannot be told whether it will want anything, and a mirror is
//! not to be bothered for `git ls-remote`.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::adapters::git::config::Config;
use crate::adapters::kept::hosts::{self, Hosts};
use crate::adapters::kept::ledger::{Fact, Ledger};
use crate::adapters::net::channel::{Channel, Family, Killer, Opening, Role, Service};
use crate::adapters::net::guard::Guard;
use crate::adapters::net::watch::{Clock, Watch};
use crate::adapters::seed::Session;
use crate::decide::facts::OfHost;
use crate::decide::limits::{FIRST_BYTE_OF_A_STRANGER, Limits};
use crate::decide::patience::Whom;
use crate::values::report::Silent;
use crate::values::{Error, Kind, Mirror, Origin, Report, Result, Transport};

/// How long a mirror may take to its first byte where a person may have to type a password first.
const PROMPTED: Duration = Duration::from_secs(120);

/// What all mirrors of a fetch may cost (`mirror.patience`).
const PATIENCE: Duration = Duration::from_secs(60);

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
            move || {
                let connected =
                    connect(&mirror, None, &config, family, &Silent, None, |channel| opened(channel, &state));
                drop(tell.send(connected));
            }
        });
        Some(Early { mirror: mirror.clone(), told, state })
    }

    /// Waits for the connection, where it is one to `mirror` and comes while `clock` has time left.
    pub(super) fn take(self, mirror: &Mirror, clock: &Clock) -> Option<Result<(Session, Watch)>> {
        if self.mirror != *mirror {
            return None;
        }
        let left = clock.left(Whom::Mirror).unwrap_or(Duration::MAX);
        let made = match clock.waiting(|| self.told.recv_timeout(left)) {
            Ok(made) => made,
            Err(_) => return clock.over(Whom::Mirror).map(Err),
        };
        if let Ok((_, watch)) = &made {
            watch.charge(clock.clone(), Whom::Mirror);
        }
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
/// `guard`. `clock` runs meanwhile. `opened` is told of the channel as soon as there is one.
pub(super) fn connect(
    mirror: &Mirror,
    guard: Option<&Guard>,
    config: &Config,
    family: Family,
    report: &dyn Report,
    clock: Option<&Clock>,
    opened: impl FnOnce(&Channel),
) -> Result<(Session, Watch)> {
    let stranger = is_stranger(mirror, config);
    if stranger && !hosts::begin_trial(config, &mirror.url) {
        return Err(Error::new(
            Kind::Unable,
            "it has never answered, and somebody else is finding out whether it does",
        ));
    }
    let began = Instant::now();
    let mut limits = limits_for(mirror, config);
    let connect_by = began.checked_add(time_to_connect(&limits, clock, Whom::Mirror));
    let prompt = may_prompt(mirror, config);
    if prompt {
        limits.first_byte = limits.first_byte.max(PROMPTED);
    }
    let opening = Opening {
        role: Role::Mirror { learned: mirror.origin == Origin::Listed, prompt },
        service: Service::UploadPack,
        program: None,
        version: 2,
        family,
        connect_by,
        guard,
        config,
        report,
    };
    let open = || Channel::open(&mirror.url, &opening);
    let mut channel = clock.map_or_else(open, |clock| clock.waiting(open))?;
    opened(&channel);
    let watch = Watch::over(&mut channel, limits, began, clock.map(|clock| (clock.clone(), Whom::Mirror)));
    let session = explained(&watch, Session::open(channel, &mirror.url.shown_host()))?;
    watch.pause(true);
    if stranger {
        let fact = Fact::Host(mirror.url.clone(), OfHost::Opened);
        Ledger { repo: None, remote: "", config }.note(&[fact]);
    }
    Ok((session, watch))
}

/// Returns whether a person may be asked for a password of this mirror.
fn may_prompt(mirror: &Mirror, config: &Config) -> bool {
    let asks = matches!(mirror.url.transport, Transport::Http | Transport::Ssh);
    asks && config.bool("mirror.prompt").unwrap_or(false)
}

/// Returns what all mirrors of a fetch may cost, as configured; `None` is without end.
pub(super) fn patience(config: &Config) -> Option<Duration> {
    match config.number("mirror.patience") {
        Some(0) => None,
        other => Some(other.map_or(PATIENCE, Duration::from_secs)),
    }
}

/// Returns how long a connection may take.
pub(super) fn time_to_connect(limits: &Limits, clock: Option<&Clock>, whom: Whom) -> Duration {
    let left = clock.and_then(|clock| clock.left(whom)).unwrap_or(Duration::MAX);
    limits.connect.min(limits.first_byte).min(left)
}

/// Returns how long a mirror may be silent or slow, as configured; a host that has never answered anybody here has less.
pub(super) fn limits_for(mirror: &Mirror, config: &Config) -> Limits {
    let limits = limits(config);
    if config.number("mirror.responsetimeout").is_some() || !is_stranger(mirror, config) {
        return limits;
    }
    Limits { first_byte: FIRST_BYTE_OF_A_STRANGER, ..limits }
}

/// Returns whether it is not known that this mirror's host has ever answered.
fn is_stranger(mirror: &Mirror, config: &Config) -> bool {
    mirror.url.transport != Transport::Local && !Hosts::load(config).get(&mirror.url).has_answered()
}

/// Returns how long somebody who is known may be silent or slow, as configured; 0 is no limit.
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
    result.map_err(|err| watch.verdict().unwrap_or(err))
}
