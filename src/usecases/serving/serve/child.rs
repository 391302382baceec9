//! A git that works for a client.

use std::process::Stdio;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::pool::Hold;
use super::server::Server;
use crate::adapters::os;

/// How long a process may take to end that was asked to.
const ENDING: Duration = Duration::from_secs(5);

/// What a process reads, and the room that it takes in memory.
pub struct Input {
    /// All that it reads.
    pub bytes: Bytes,
    /// The room; none for what is a few bytes.
    pub room: Option<Hold>,
}

/// A process, and its turn. Dropped before it has ended, it is asked to end; its turn is over when it has.
pub struct Running {
    child: Option<Child>,
    turn: Option<Hold>,
    server: Arc<Server>,
    /// Whether it has nothing more to say, and so ends by itself.
    ending: bool,
}

impl Running {
    /// Starts a process.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(
        server: &Arc<Server>,
        command: std::process::Command,
        stdout: Stdio,
        turn: Hold,
    ) -> std::io::Result<Self> {
        let mut command = Command::from(command);
        let child = command.stdin(Stdio::piped()).stdout(stdout).spawn()?;
        server.children.lock().unwrap_or_else(PoisonError::into_inner).extend(child.id());
        server.metrics.began();
        Ok(Running { child: Some(child), turn: Some(turn), server: Arc::clone(server), ending: false })
    }

    /// Has the process read `input`, and then the end. Where it ends early, it has said why.
    pub fn feed(&mut self, input: Input) {
        if let Some(mut stdin) = self.stdin() {
            tokio::spawn(async move {
                let Input { bytes, room } = input;
                let _ = stdin.write_all(&bytes).await;
                drop((bytes, room));
            });
        }
    }

    /// Returns where it reads from; nothing the second time.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.as_mut()?.stdin.take()
    }

    /// Returns what it writes; nothing the second time, and where that is no pipe.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.as_mut()?.stdout.take()
    }

    /// Returns its turn.
    pub fn turn(&self) -> Option<&Hold> {
        self.turn.as_ref()
    }

    /// It has said all that it has to say.
    pub fn ending(&mut self) {
        self.ending = true;
    }

    /// Waits until it ends, and returns its exit code.
    ///
    /// # Errors
    /// Where it cannot be waited for.
    pub async fn wait(mut self) -> std::io::Result<i32> {
        let Some(child) = self.child.as_mut() else { return Ok(0) };
        let id = child.id();
        let status = child.wait().await;
        self.child = None;
        over(&self.server, id);
        status.map(os::exit_code)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let (id, turn, server) = (child.id(), self.turn.take(), Arc::clone(&self.server));
        // SIGTERM and not SIGKILL: git upload-pack then ends its own children, too.
        if let Some(id) = id.filter(|_| !self.ending) {
            os::terminate(id);
        }
        let ended = async move {
            if tokio::time::timeout(ENDING, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
            over(&server, id);
            drop(turn);
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(ended);
        }
    }
}

fn over(server: &Server, id: Option<u32>) {
    if let Some(id) = id {
        server.children.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
    server.metrics.ended();
}
