//! The folder that the demo works in: its repositories, its HOME, and its git.

use std::path::Path;
use std::process::{Command, Stdio};

use super::claim;
use crate::adapters::os::OnSignal;
use crate::adapters::process;
use crate::values::{Error, Kind, Result};

/// A temporary folder with a HOME of its own, and our programs in front of PATH.
pub struct Lab {
    dir: tempfile::TempDir,
    path: std::ffi::OsString,
    _on_signal: OnSignal,
}

impl Lab {
    pub fn new(program: &Path) -> Result<Self> {
        let doing = || Error::doing(Kind::Local, "cannot make a temporary folder");
        let dir = tempfile::Builder::new().prefix("git-mirror-demo-").tempdir().map_err(doing())?;
        let bin = dir.path().join("bin");
        std::fs::create_dir_all(&bin).map_err(doing())?;
        for name in ["git-mirror", "git-mirror-fetch", "git-remote-mirror"] {
            // `git-mirror` is the others as well, by their names: `cargo run` builds no other.
            std::os::unix::fs::symlink(program, bin.join(name)).map_err(doing())?;
        }
        std::fs::write(dir.path().join("gitconfig"), "").map_err(doing())?;
        let mut path = vec![bin];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let path = std::env::join_paths(path).map_err(Error::doing(Kind::Local, "cannot set PATH"))?;
        let folder = dir.path().to_owned();
        let on_signal = OnSignal::run(move || drop(std::fs::remove_dir_all(&folder)));
        let lab = Lab { dir, path, _on_signal: on_signal };
        lab.git(&["init", "-q", "--bare", "-b", "main", "canonical.git"])?;
        Ok(lab)
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = process::git(args);
        process::without_local_env(&mut command)
            .current_dir(self.path())
            .env("HOME", self.path())
            .env("PATH", &self.path)
            .env("XDG_CACHE_HOME", self.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env_remove("XDG_CONFIG_HOME")
            // A file of its own: whoever writes to a device may replace it.
            .env("GIT_CONFIG_GLOBAL", self.path().join("gitconfig"))
            .env("GIT_TERMINAL_PROMPT", "0");
        command
    }

    pub fn git(&self, args: &[&str]) -> Result<String> {
        let out = process::output(&mut self.command(args), b"")?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    /// Prints a command as a person would type it, and runs it.
    pub fn shown(&self, say: &mut dyn FnMut(&str), args: &[&str]) -> Result<()> {
        say(&format!("   $ git {}", args.join(" ")));
        let out =
            self.command(args).stdin(Stdio::null()).output().map_err(Error::doing(Kind::Local, "cannot run git"))?;
        for line in String::from_utf8_lossy(&out.stderr).lines() {
            say(&format!("   | {line}"));
        }
        claim(out.status.success(), "git ended well")
    }

    pub fn clone(&self, say: &mut dyn FnMut(&str), url: &str, mirrors: &[&str], to: &str) -> Result<()> {
        let mirrors: Vec<String> = mirrors.iter().map(|mirror| format!("remote.origin.mirrorUrl={mirror}")).collect();
        let mut args = vec!["clone", "-c", "remote.origin.vcs=mirror"];
        mirrors.iter().for_each(|mirror| args.extend(["-c", mirror]));
        args.extend([url, to]);
        self.shown(say, &args)
    }

    pub fn same_refs(&self, one: &str, other: &str) -> Result<()> {
        let refs = |repo| self.git(&["-C", repo, "for-each-ref"]);
        claim(refs(one)? == refs(other)?, "the refs are the same")?;
        let head = |repo| self.git(&["-C", repo, "symbolic-ref", "HEAD"]);
        claim(head(one)? == head(other)?, "HEAD is the same")?;
        self.git(&["-C", other, "fsck", "--strict", "--no-dangling"]).map(|_| ())
    }

    /// Adds commits, each of which changes one of 40 files of a few hundred bytes.
    pub fn history(&self, repo: &str, from: usize, count: usize) -> Result<()> {
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
