//! A server of git repositories that counts what it sends.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::adapters::net::pktio;
use crate::adapters::process;
use crate::values::{Error, Kind, Result};

/// Serves a folder of repositories over `git://` on a free port of 127.0.0.1, and counts what it sends.
pub struct Server {
    port: u16,
    pub sent: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub fn start(root: &Path) -> Result<Self> {
        let doing = || Error::doing(Kind::Local, "cannot listen on 127.0.0.1");
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(doing())?;
        let port = listener.local_addr().map_err(doing())?.port();
        let (sent, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (sent, ended, root) = (Arc::clone(&sent), Arc::clone(&ended), root.to_owned());
            move || {
                for stream in listener.incoming().flatten() {
                    if ended.load(Relaxed) {
                        return;
                    }
                    let (sent, root) = (Arc::clone(&sent), root.clone());
                    std::thread::spawn(move || serve(&stream, &root, &sent));
                }
            }
        });
        Ok(Server { port, sent, ended, thread: Some(thread) })
    }

    pub fn url(&self, repo: &str) -> String {
        format!("git://127.0.0.1:{}/{repo}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes the thread up
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves one connection with `git daemon --inetd`.
fn serve(stream: &TcpStream, root: &Path, sent: &AtomicU64) {
    let base = format!("--base-path={}", root.display());
    let mut daemon = process::git(["daemon", "--inetd", "--export-all", "--log-destination=none", &base]);
    let Ok(mut child) = process::start(daemon.stderr(Stdio::null())) else { return };
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if let (Some(mut stdin), Ok(mut from)) = (stdin, stream.try_clone()) {
                // Not std::io::copy: its splice(2) locks the pipe against the daemon while the socket is silent.
                let _ = pktio::copy(&mut from, &mut stdin);
            }
        });
        let mut buffer = [0; 32 * 1024];
        let (mut stdout, mut to) = (stdout, stream);
        while let Some(n) = stdout.as_mut().and_then(|out| out.read(&mut buffer).ok()).filter(|n| *n > 0) {
            sent.fetch_add(n as u64, Relaxed);
            if to.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
    });
    let _ = child.wait();
}

/// Returns a port on which nobody listens.
pub fn dead_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr());
    listener.map(|address| address.port()).map_err(Error::doing(Kind::Local, "cannot find a free port"))
}
