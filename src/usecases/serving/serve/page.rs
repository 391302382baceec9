//! The page at `/`: which repositories there are, and how to clone them. Lists what would be served and nothing else;
//! names are foreign text, to be made safe for HTML, shells and terminals.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue, VARY};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::adapters::git::enter_repo;

/// How many repositories are listed.
const MOST: usize = 1000;
/// How many folders and files are looked at for that.
const LOOKED_AT: usize = 20_000;
/// How deep below the folder that is served.
const DEPTH: usize = 8;

/// What may stand in a URL as it is, and in a shell's command too.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// What there is to clone.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Paths below the folder that is served, in order.
    paths: Vec<Vec<u8>>,
    /// Whether there may be more.
    more: bool,
}

/// Finds the repositories below `root` that may be served; some where there are very many. Folders whose name begins
/// with a dot are not looked into, nor symbolic links to folders that are no repository. Reads the disk.
pub fn repositories(root: &Path, export_all: bool) -> Listed {
    let mut listed = Listed::default();
    let mut left = LOOKED_AT;
    let mut folders = std::collections::VecDeque::from([(PathBuf::new(), 0)]);
    while let Some((folder, depth)) = folders.pop_front() {
        let Ok(entries) = std::fs::read_dir(root.join(&folder)) else { continue };
        for entry in entries.flatten() {
            if left == 0 || listed.paths.len() == MOST {
                listed.more = true;
                break;
            }
            left -= 1;
            let name = entry.file_name();
            let path = entry.path();
            if name.as_bytes().starts_with(b".") || !path.is_dir() {
                continue;
            }
            let below = folder.join(&name);
            let has = |what: &str| path.join(what).symlink_metadata().is_ok();
            if has("HEAD") || has(".git") {
                if enter_repo::find(root, below.as_os_str().as_bytes(), export_all).is_some() {
                    listed.paths.push(below.as_os_str().as_bytes().to_vec());
                }
            } else if depth < DEPTH && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push_back((below, depth + 1));
            }
        }
    }
    listed.paths.sort();
    listed
}

impl Listed {
    /// Returns a command for each, as lines of text; `base` is this server's URL without a slash at its end.
    pub fn text(&self, base: &str) -> String {
        let mut text = String::new();
        for path in &self.paths {
            let _ = writeln!(text, "git clone {base}/{}", percent_encode(path, PLAIN));
        }
        text.push_str(match (self.paths.is_empty(), self.more) {
            (true, _) => "# no repository is served here\n",
            (_, true) => "# there may be more\n",
            _ => "",
        });
        text
    }

    /// Returns the same as a page.
    pub fn html(&self, base: &str) -> String {
        let mut page = String::from(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
            <meta name=\"viewport\" content=\"width=device-width\">\n<title>Repositories</title>\n<h1>Repositories</h1>\n",
        );
        if self.paths.is_empty() {
            page.push_str("<p>No repository is served here.\n");
        }
        page.push_str("<dl>\n");
        for path in &self.paths {
            let name = shown(path);
            let _ = writeln!(
                page,
                "<dt>{}<dd><pre><code>git clone {}/{}</code></pre>",
                escaped(&name),
                escaped(base),
                percent_encode(path, PLAIN)
            );
        }
        page.push_str("</dl>\n");
        if self.more {
            page.push_str("<p>There may be more.\n");
        }
        page
    }
}

/// Returns a name as it may be shown: without what controls a terminal or the direction of writing.
fn shown(name: &[u8]) -> String {
    let harmless = |c: char| {
        let directs =
            matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
        if c.is_control() || directs || c == '\u{feff}' { '\u{fffd}' } else { c }
    };
    String::from_utf8_lossy(name).chars().map(harmless).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Returns whether a `Host` header holds a host, and nothing that a shell or a page would take for something else.
pub fn is_host(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (1..=255).contains(&host.len()) && !host.starts_with('-') && host.bytes().all(plain)
}

/// Tells browsers and caches what to make of the page.
pub fn guard(headers: &mut HeaderMap) {
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(HeaderName::from_static("content-security-policy"), HeaderValue::from_static("default-src 'none'"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn lists_what_is_served() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path().canonicalize().expect("a path");
        let odd = b"o\xff<b>'$(x)\x1b.git".as_slice();
        for (dir, exported) in [
            (b"a.git".as_slice(), true),
            (b"team/b c/.git", true),
            (b"private.git", false),
            (odd, true),
            (b".h.git", true),
        ] {
            let dir = root.join(OsStr::from_bytes(dir));
            for part in ["objects", "refs"] {
                std::fs::create_dir_all(dir.join(part)).expect("mkdir");
            }
            std::fs::write(dir.join("HEAD"), "ref: refs/heads/main\n").expect("write");
            if exported {
                std::fs::write(dir.join("git-daemon-export-ok"), "").expect("write");
            }
        }
        std::fs::create_dir(root.join("a")).expect("mkdir");
        std::os::unix::fs::symlink(".", root.join("team/loop")).expect("a link");
        let listed = repositories(&root, false);
        let text = listed.text("http://h:1");
        let clone = |path: &str| format!("git clone http://h:1/{path}\n");
        assert_eq!(text, [clone("a.git"), clone("o%FF%3Cb%3E%27%24%28x%29%1B.git"), clone("team/b%20c")].concat());
        assert!(repositories(&root, true).text("").contains("private"));
        let html = listed.html("http://h:1");
        assert!(html.contains("&lt;b&gt;") && !html.contains("<b>") && !html.contains('\x1b'), "{html}");
    }

    #[test]
    fn lists_so_many() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path().canonicalize().expect("a path");
        for n in 0..MOST + 2 {
            let dir = root.join(format!("{n}.git"));
            std::fs::create_dir_all(dir.join("objects")).expect("mkdir");
            std::fs::create_dir(dir.join("refs")).expect("mkdir");
            std::fs::write(dir.join("HEAD"), "x").expect("write");
        }
        let text = repositories(&root, true).text("http://h");
        assert_eq!(text.lines().count(), MOST + 1);
        assert!(text.ends_with("# there may be more\n"));
    }

    #[test]
    fn takes_hosts_only() {
        for good in ["h", "h.example:80", "[::1]:80", "a_b"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "-x", "h/x", "h;rm", "h<", "h x", "h'"] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
