//! A mirror's connection, begun while git and canonical still talk.
//!
//! Only for a clone: of any other request for refs it cannot be told whether it will want anything, and a mirror is not
//! to be bothered for `git ls-remote`.

use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};

use super::one;
use crate::adapters::channel::{Channel, Family, Killer};
use crate::adapters::config::Config;
use crate::adapters::seed::Session;
use crate::adapters::watch::Watch;
use crate::decide::limits::Limits;
use crate::values::report::Silent;
use crate::values::{GitUrl, Mirror, Result};

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
    /// Begins to connect to `mirror`.
    pub fn start(mirror: &Mirror, config: &Config, family: Family, limits: Limits) -> Self {
        let (tell, told) = mpsc::channel();
        let state = Arc::new(Mutex::new(State::default()));
        std::thread::spawn({
            let (url, config, state) = (mirror.url.clone(), config.clone(), Arc::clone(&state));
            move || drop(tell.send(connect(&url, &config, family, limits, &state)))
        });
        Early { mirror: mirror.clone(), told, state }
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

fn connect(
    url: &GitUrl,
    config: &Config,
    family: Family,
    limits: Limits,
    state: &Mutex<State>,
) -> Result<(Session, Watch)> {
    let mut channel = Channel::open(url, &one::opening(config, family, limits, &Silent))?;
    if let Ok(mut state) = state.lock() {
        let killer = channel.killer();
        if state.unwanted {
            killer.kill();
        }
        state.killer = Some(killer);
    }
    let watch = Watch::over(&mut channel, limits);
    let session = one::explained(&watch, Session::open(channel, &url.shown_host()))?;
    watch.pause(true);
    Ok((session, watch))
}
