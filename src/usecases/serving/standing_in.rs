//! The remotes for which a clone can stand in: which refs it tracks of them, under the remotes' own names (`url=` in
//! gitprotocol-mirror(5)).

use std::path::Path;

use crate::adapters::git::config::Config;
use crate::adapters::net::pktio::PktReader;
use crate::adapters::process;
use crate::decide::prefixes::Prefixes;
use crate::decide::tracked::Tracked;
use crate::values::Result;
use crate::wire::Pkt;
use crate::wire::pkt::encoded;

/// A remote for which the repository can stand in.
pub(super) struct Remote {
    /// Its URLs, as they are configured and as git rewrites them.
    pub(super) urls: Vec<String>,
    /// What is tracked of it.
    pub(super) tracked: Tracked,
}

/// Has stock git list what is tracked of a remote, and returns it under the remote's names.
pub(super) fn present(
    tracked: &Tracked,
    request: &[Pkt],
    stock: impl FnOnce(&[Pkt]) -> Result<Vec<u8>>,
) -> Result<Vec<u8>> {
    let text = |pkt: &Pkt| String::from_utf8_lossy(pkt.text()).into_owned();
    let asked: Vec<String> =
        request.iter().filter_map(|pkt| text(pkt).strip_prefix("ref-prefix ").map(Into::into)).collect();
    let asked = Prefixes::new(&asked);
    let prefixes = tracked.prefixes(&asked);
    if prefixes.is_empty() {
        return Ok(encoded(&[Pkt::Flush])); // no prefix at all would mean everything
    }
    let wants_symrefs = request.iter().any(|pkt| pkt.text() == b"symrefs");
    let mut theirs: Vec<Pkt> = request.to_vec();
    theirs.retain(|pkt| *pkt != Pkt::Flush && pkt.text() != b"symrefs" && !pkt.text().starts_with(b"ref-prefix "));
    if !theirs.contains(&Pkt::Delim) {
        theirs.push(Pkt::Delim);
    }
    theirs.push(Pkt::line("symrefs")); // whose branch HEAD is must be known
    theirs.extend(prefixes.iter().map(|prefix| Pkt::line(&format!("ref-prefix {prefix}"))));
    theirs.push(Pkt::Flush);

    let answer = stock(&theirs)?;
    let mut reader = PktReader::new(answer.as_slice(), "git upload-pack");
    let mut lines = Vec::new();
    while let Some(pkt) = reader.read()?.filter(|pkt| *pkt != Pkt::Flush) {
        if pkt.text().starts_with(b"ERR ") {
            return Ok(answer);
        }
        // A name that is no UTF-8 cannot be translated: the client does without that ref.
        lines.extend(std::str::from_utf8(pkt.text()).map(str::to_owned));
    }
    let mut out: Vec<Pkt> = Vec::new();
    for line in tracked.answer(&lines, &asked) {
        let words = line.split(' ').filter(|word| wants_symrefs || !word.starts_with("symref-target:"));
        out.push(Pkt::line(&words.collect::<Vec<_>>().join(" ")));
    }
    out.push(Pkt::Flush);
    Ok(encoded(&out))
}

/// Returns the remotes that the repository tracks.
pub(super) fn remotes(common_dir: &Path) -> Vec<Remote> {
    // Most servers' repositories have none: that is seen without asking git.
    let text = std::fs::read_to_string(common_dir.join("config")).unwrap_or_default().to_ascii_lowercase();
    if !text.contains("[remote") && !text.contains("[include") {
        return Vec::new();
    }
    let mut command = process::git(["config", "--list", "-z"]);
    let config = match process::output(process::without_local_env(&mut command).env("GIT_DIR", common_dir), b"") {
        Ok(text) => Config::parse(&text),
        Err(err) => {
            tracing::debug!(%err, "no remotes");
            return Vec::new();
        }
    };
    let remote = |name: &str| {
        let get = |variable: &str| format!("remote.{name}.{variable}");
        let plain = |url: &str| url.strip_prefix("mirror::").unwrap_or(url).to_owned();
        let written: Vec<String> = config.all(&get("url")).map(plain).collect();
        let rewritten: Vec<String> = written.iter().map(|url| config.rewritten(url)).collect();
        let mut urls = [written, rewritten].concat();
        urls.sort();
        urls.dedup();
        let specs: Vec<String> = config.all(&get("fetch")).map(Into::into).collect();
        let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
        let tags = config.get(&get("tagopt")) != Some("--no-tags");
        (!specs.is_empty()).then(|| Remote { urls, tracked: Tracked::new(name, &specs, tags) })
    };
    config.remotes().into_iter().filter_map(remote).collect()
}
