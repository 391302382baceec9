//! `git mirror demo`: the main job for real, on loopback and in a temporary folder.
//!
//! A canonical repository and three mirrors (fresh, stale, dead) are made and served by `git daemon` behind small
//! servers that count what each sends. Every claim that is printed has been checked; one that fails ends the demo.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::adapters::net::pktio;
use crate::adapters::os::OnSignal;
use crate::adapters::process;
use crate::values::{Error, Kind, Result};

/// Commits in the canonical repository at first.
const COMMITS: usize = 2000;

/// Runs the demo; `say` gets its lines. `program` is this very executable.
///
/// # Errors
/// [`Kind::Local`] where a step fails or a claim does not hold; whatever was made is removed all the same.
pub fn run(program: &Path, say: &mut dyn FnMut(&str)) -> Result<()> {
    let lab = Lab::new(program)?;
    say(&format!(
        "A canonical repository of {COMMITS} commits, and mirrors of it: one fresh, one 5% behind, one dead."
    ));
    lab.history("canonical.git", 0, COMMITS - COMMITS / 20)?;
    lab.git(&["clone", "-q", "--mirror", "canonical.git", "stale.git"])?;
    lab.history("canonical.git", COMMITS - COMMITS / 20, COMMITS / 20)?;
    lab.git(&["clone", "-q", "--mirror", "canonical.git", "fresh.git"])?;
    let canonical = Server::start(lab.path())?;
    let fresh = Server::start(lab.path())?;
    let stale = Server::start(lab.path())?;
    let url = canonical.url("canonical.git");
    let dead = format!("git://127.0.0.1:{}/dead.git", dead_port()?);
    let spent = |server: &Server| server.sent.swap(0, Relaxed);

    say("\n1. Plain git: everything comes from canonical.");
    lab.shown(say, &["clone", "-q", &url, "plain"])?;
    let plain = spent(&canonical);
    say(&format!("   canonical sent {plain} bytes"));

    say("\n2. With the fresh mirror: the bytes come from the mirror, the refs from canonical.");
    let mirror = fresh.url("fresh.git");
    lab.clone(say, &url, &[&mirror], "first")?;
    let (theirs, ours) = (spent(&fresh), spent(&canonical));
    say(&format!("   the mirror sent {theirs} bytes, canonical {ours} (its list of refs among them)"));
    claim(ours < 2048 && theirs > plain / 2, "canonical sent next to nothing")?;
    lab.same_refs("plain", "first")?;
    say("   refs and HEAD are those of the plain clone; git fsck finds nothing");

    say("\n3. With a dead mirror and a stale one: the dead one is left, canonical sends what the stale one lacks.");
    lab.clone(say, &url, &[&dead, &stale.url("stale.git")], "second")?;
    let (theirs, ours) = (spent(&stale), spent(&canonical));
    say(&format!("   the stale mirror sent {theirs} bytes, canonical {ours}"));
    claim(ours < plain / 4 && ours > 2048 && theirs > plain / 2, "canonical sent only what the mirror lacked")?;
    lab.same_refs("plain", "second")?;
    say("   refs and HEAD are those of the plain clone; git fsck finds nothing");

    say(
        "\n4. News: canonical gets 50 commits, and so does the fresh mirror; then `git mirror-fetch` in the first clone.\n   \
         Here canonical is as near as any mirror, so that none would be asked for so little: mirror.mustPay is off.",
    );
    lab.history("canonical.git", COMMITS, 50)?;
    lab.git(&["-C", "fresh.git", "fetch", "-q"])?;
    lab.shown(say, &["-C", "first", "config", "mirror.mustPay", "false"])?;
    lab.shown(say, &["-C", "first", "mirror-fetch", "-q", "origin"])?;
    let (theirs, ours) = (spent(&fresh), spent(&canonical));
    say(&format!("   the mirror sent {theirs} bytes, canonical {ours}"));
    claim(ours < 2048 && theirs > 2048, "the news came from the mirror")?;
    lab.git(&["-C", "plain", "fetch", "-q"])?;
    spent(&canonical);
    lab.same_refs("plain", "first")?;
    say("   refs are those of a plain fetch; git fsck finds nothing");

    say("\n5. Nothing new: no mirror is asked.");
    lab.shown(say, &["-C", "first", "fetch"])?;
    claim(spent(&fresh) == 0, "the mirror was left alone")?;
    say(&format!("   the mirror sent 0 bytes, canonical {}", spent(&canonical)));

    say("\nAll of it held. The folder and the servers are gone.");
    Ok(())
}

fn claim(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::new(Kind::Local, format!("this does not hold: {what}"))) }
}

/// A temporary folder with a HOME of its own, and our programs in front of PATH.
struct Lab {
    dir: tempfile::TempDir,
    path: std::ffi::OsString,
    _on_signal: OnSignal,
}

impl Lab {
    fn new(program: &Path) -> Result<Self> {
        let doing = || Error::doing(Kind::Local, "cannot make a temporary folder");
        let dir = tempfile::Builder::new().prefix("git-mirror-demo-").tempdir().map_err(doing())?;
        let bin = dir.path().join("bin");
        std::fs::create_dir_all(&bin).map_err(doing())?;
        for name in ["git-mirror", "git-mirror-fetch", "git-remote-mirror"] {
            // One executable, whose name decides what it is: `cargo run` builds no other.
            std::os::unix::fs::symlink(program, bin.join(name)).map_err(doing())?;
        }
        let mut path = vec![bin];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let path = std::env::join_paths(path).map_err(Error::doing(Kind::Local, "cannot set PATH"))?;
        let folder = dir.path().to_owned();
        let on_signal = OnSignal::run(move || drop(std::fs::remove_dir_all(&folder)));
        let lab = Lab { dir, path, _on_signal: on_signal };
        lab.git(&["init", "-q", "--bare", "-b", "main", "canonical.git"])?;
        Ok(lab)
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = process::git(args);
        for variable in process::LOCAL_ENV {
            command.env_remove(variable);
        }
        command
            .current_dir(self.path())
            .env("HOME", self.path())
            .env("PATH", &self.path)
            .env("XDG_CACHE_HOME", self.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env_remove("XDG_CONFIG_HOME")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0");
        command
    }

    fn git(&self, args: &[&str]) -> Result<String> {
        let out = process::output(&mut self.command(args), b"")?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// Prints a command as a person would type it, and runs it.
    fn shown(&self, say: &mut dyn FnMut(&str), args: &[&str]) -> Result<()> {
        say(&format!("   $ git {}", args.join(" ")));
        let out =
            self.command(args).stdin(Stdio::null()).output().map_err(Error::doing(Kind::Local, "cannot run git"))?;
        for line in String::from_utf8_lossy(&out.stderr).lines() {
            say(&format!("   | {line}"));
        }
        claim(out.status.success(), "git ended well")
    }

    fn clone(&self, say: &mut dyn FnMut(&str), url: &str, mirrors: &[&str], to: &str) -> Result<()> {
        let mirrors: Vec<String> = mirrors.iter().map(|mirror| format!("remote.origin.mirrorUrl={mirror}")).collect();
        let mut args = vec!["clone", "-c", "remote.origin.vcs=mirror"];
        mirrors.iter().for_each(|mirror| args.extend(["-c", mirror]));
        args.extend([url, to]);
        self.shown(say, &args)
    }

    fn same_refs(&self, one: &str, other: &str) -> Result<()> {
        let refs = |repo| self.git(&["-C", repo, "for-each-ref"]);
        claim(refs(one)? == refs(other)?, "the refs are the same")?;
        let head = |repo| self.git(&["-C", repo, "symbolic-ref", "HEAD"]);
        claim(head(one)? == head(other)?, "HEAD is the same")?;
        self.git(&["-C", other, "fsck", "--strict", "--no-dangling"]).map(|_| ())
    }

    /// Adds commits, each of which changes one of 40 files of a few hundred bytes.
    fn history(&self, repo: &str, from: usize, count: usize) -> Result<()> {
        let mut stream = String::new();
        for n in from..from + count {
            let mut noise = n as u64 + 1;
            let text: String = (0..40)
                .map(|_| {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    format!("{noise:016x}\n")
                })
                .collect();
            let time = 1_262_304_000 + n * 3600;
            stream.push_str(&format!(
                "commit refs/heads/main\ncommitter Demo <demo@localhost> {time} +0000\ndata 8\nNo {n:5}"
            ));
            if n == from && n > 0 {
                stream.push_str("\nfrom refs/heads/main^0");
            }
            stream.push_str(&format!("\nM 100644 inline file{}\ndata {}\n{text}\n", n % 40, text.len()));
        }
        stream.push_str(&format!(
            "tag v{from}\nfrom refs/heads/main\ntagger Demo <demo@localhost> 1262304000 +0000\ndata 4\nNews\n"
        ));
        process::output(&mut self.command(&["-C", repo, "fast-import", "--quiet"]), stream.as_bytes()).map(|_| ())
    }
}

/// Serves a folder of repositories over `git://` on a free port of 127.0.0.1, and counts what it sends.
struct Server {
    port: u16,
    sent: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start(root: &Path) -> Result<Self> {
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

    fn url(&self, repo: &str) -> String {
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
fn dead_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr());
    listener.map(|address| address.port()).map_err(Error::doing(Kind::Local, "cannot find a free port"))
}
