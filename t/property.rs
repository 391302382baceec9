//! Random histories, and mirrors that have any earlier or other state of any of their refs: whatever a mirror lacks,
//! canonical sends no more than it would send a plain `git fetch` from a repository that holds what the mirror gave, no
//! object comes twice from mirrors, and refs are those of plain git.
//!
//! `GMF_LAYOUTS=<n>` walks through n layouts (40 otherwise), `GMF_LAYOUT_SEED=<n>` begins elsewhere; a failure names the
//! seed of its layout and leaves nothing else behind. With `GMF_KEEP=1` its repositories stay.

mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::fuzz::Random;

/// Bytes that canonical may send beyond the measure.
const ALLOWANCE: u64 = 2048;

type Refs = BTreeMap<String, String>;

/// A folder with a HOME of its own, and a git that sees nothing else.
struct World {
    dir: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl World {
    fn new() -> Self {
        let base = Some(Path::new("/dev/shm")).filter(|dir| dir.is_dir()).map_or_else(std::env::temp_dir, Into::into);
        let temporary = tempfile::Builder::new().prefix("gmf-test.").tempdir_in(base).expect("a folder");
        let dir = temporary.path().canonicalize().expect("a path");
        fs::create_dir_all(dir.join("home")).expect("a folder");
        fs::create_dir_all(dir.join("packs")).expect("a folder");
        // Keeps each pack that is sent, as packs/<repository>.<anything>.
        let hook = dir.join("hook");
        let text = format!(
            "#!/bin/sh\nout=$(mktemp '{}/packs/'\"$(basename \"$(pwd)\").XXXXXXXX\")\n\"$@\" | tee \"$out\"\n",
            dir.display()
        );
        fs::write(&hook, text).expect("a file");
        let mut mode = fs::metadata(&hook).expect("a file").permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
        fs::set_permissions(&hook, mode).expect("a mode");
        let keep = std::env::var_os("GMF_KEEP").is_some();
        let temporary = if keep {
            drop(temporary.keep());
            None
        } else {
            Some(temporary)
        };
        let world = World { dir, _temporary: temporary };
        for (key, value) in [
            ("init.defaultBranch", "main"),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("protocol.file.allow", "always"),
            ("mirror.mustPay", "false"),
            ("uploadpack.packObjectsHook", hook.to_str().expect("UTF-8")),
        ] {
            world.git(&["config", "--global", key, value]);
        }
        world
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().expect("UTF-8").to_owned()
    }

    fn command(&self, args: &[&str]) -> Command {
        let binaries = Path::new(env!("CARGO_BIN_EXE_git-mirror")).parent().expect("a folder");
        let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
            command.env_remove(name);
        }
        command.env_remove("XDG_CACHE_HOME").env_remove("XDG_CONFIG_HOME");
        command.env("HOME", self.dir.join("home")).env("PATH", path).env("GIT_CONFIG_NOSYSTEM", "1").env("LC_ALL", "C");
        command.current_dir(&self.dir).args(args);
        command
    }

    fn try_git(&self, args: &[&str], input: &[u8]) -> (bool, Vec<u8>, String) {
        use std::io::Write;
        let mut command = self.command(args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("git starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let out = child.wait_with_output().expect("git ends");
        feeding.join().expect("no panic");
        (out.status.success(), out.stdout, String::from_utf8_lossy(&out.stderr).into_owned())
    }

    fn feed(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let (good, out, err) = self.try_git(args, input);
        assert!(good, "git {args:?}: {err}");
        out
    }

    fn git(&self, args: &[&str]) -> String {
        String::from_utf8_lossy(&self.feed(args, b"")).trim_end().to_owned()
    }

    /// Makes a bare repository that holds what `refs` reach, and nothing else.
    fn repository(&self, name: &str, refs: &Refs, head: &str) {
        self.git(&["init", "-q", "--bare", name]);
        let tips: String = refs.values().map(|id| format!("{id}\n")).collect();
        if !tips.is_empty() {
            let pack = self.feed(&["-C", "all", "pack-objects", "-q", "--revs", "--stdout"], tips.as_bytes());
            self.feed(&["-C", name, "index-pack", "--stdin"], &pack);
        }
        let updates: String = refs.iter().map(|(name, id)| format!("create {name} {id}\n")).collect();
        self.feed(&["-C", name, "update-ref", "--stdin"], updates.as_bytes());
        self.git(&["-C", name, "symbolic-ref", "HEAD", head]);
    }

    fn refs(&self, repo: &str) -> Vec<String> {
        let all = self.git(&["-C", repo, "for-each-ref", "--format=%(objectname) %(refname) %(symref)"]);
        let all = all.lines().map(str::trim_end);
        all.filter(|line| !line.contains(" refs/mirror/")).map(Into::into).collect()
    }

    fn packs(&self, repo: &str) -> Vec<PathBuf> {
        let all = fs::read_dir(self.dir.join("packs")).expect("a folder").flatten().map(|entry| entry.path());
        let mine = |path: &PathBuf| path.file_stem().is_some_and(|stem| stem == repo);
        let mut packs: Vec<PathBuf> = all.filter(mine).collect();
        packs.sort();
        packs
    }

    fn bytes(&self, repo: &str) -> u64 {
        self.packs(repo).iter().map(|pack| fs::metadata(pack).map_or(0, |found| found.len())).sum()
    }

    fn forget(&self) {
        for pack in fs::read_dir(self.dir.join("packs")).expect("a folder").flatten() {
            fs::remove_file(pack.path()).expect("a file");
        }
        let _ = fs::remove_dir_all(self.dir.join("home/.cache"));
    }

    /// Returns the ids of the objects that a pack was sent with.
    fn objects(&self, pack: &Path) -> Vec<String> {
        let bytes = fs::read(pack).expect("a pack");
        let count = u32::from_be_bytes(bytes[8..12].try_into().expect("a head"));
        if count == 0 {
            return Vec::new();
        }
        let _ = fs::remove_dir_all(self.dir.join("scratch"));
        self.git(&["init", "-q", "--bare", "scratch"]);
        let alternates = format!("{}\n", self.path("all/objects"));
        fs::write(self.dir.join("scratch/objects/info/alternates"), alternates).expect("a file");
        let name = self.feed(&["-C", "scratch", "index-pack", "--stdin", "--fix-thin"], &bytes);
        let name = String::from_utf8_lossy(&name).split_whitespace().last().expect("a name").to_owned();
        let index = fs::read(self.dir.join(format!("scratch/objects/pack/pack-{name}.idx"))).expect("an index");
        let shown = self.feed(&["-C", "scratch", "show-index"], &index);
        let shown = String::from_utf8_lossy(&shown).into_owned();
        // What completes a thin pack stands behind what was sent.
        let mut all: Vec<(u64, String)> = shown
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ');
                Some((words.next()?.parse().ok()?, words.next()?.to_owned()))
            })
            .collect();
        all.sort();
        all.into_iter().take(usize::try_from(count).expect("few")).map(|(_, id)| id).collect()
    }
}

/// How refs were at some moments.
struct History {
    /// Each moment's branches and tags.
    moments: Vec<Refs>,
    /// All commits.
    commits: Vec<String>,
}

/// Writes a random history into the repository "all": branches that fork, merge, are rewound and deleted; tags.
fn write_history(world: &World, random: &mut Random) -> History {
    world.git(&["init", "-q", "--bare", "all"]);
    let count = 8 + random.below(30);
    let mut stream = String::new();
    let mut branches: BTreeMap<String, usize> = BTreeMap::new();
    let mut tags: BTreeMap<String, usize> = BTreeMap::new();
    let mut marked: Vec<(BTreeMap<String, usize>, BTreeMap<String, usize>)> = Vec::new();
    let mut annotated = 0;
    for n in 1..=count {
        let names: Vec<String> = branches.keys().cloned().collect();
        let (name, from) = match random.below(6) {
            0 if n > 1 => (format!("b{n}"), Some(1 + random.below(n - 1))),
            _ if names.is_empty() => ("main".into(), (n > 1).then(|| 1 + random.below(n - 1))),
            _ => {
                let name = names[random.below(names.len())].clone();
                let at = branches[&name];
                (name, Some(at))
            }
        };
        let text: String = (0..random.below(400)).map(|_| format!("{:016x}\n", random.next())).collect();
        let path = format!("d{}/f{}", random.below(3), random.below(4));
        stream +=
            &format!("commit refs/x/{name}\nmark :{n}\ncommitter C <c> {} +0000\ndata 2\nx\n", 1_600_000_000 + n * 60);
        if let Some(from) = from {
            stream += &format!("from :{from}\n");
        }
        if n > 3 && random.below(4) == 0 {
            let other = 1 + random.below(n - 1);
            if Some(other) != from {
                stream += &format!("merge :{other}\n");
            }
        }
        stream += &format!("M 100644 inline {path}\ndata {}\n{text}\n", text.len());
        branches.insert(name, n);
        match random.below(8) {
            0 => drop(tags.insert(format!("light{n}"), 1 + random.below(n))),
            1 => {
                annotated += 1;
                let mark = 1000 + annotated;
                stream += &format!(
                    "tag t{n}\nmark :{mark}\nfrom :{}\ntagger T <t> {} +0000\ndata 4\ntag\n\n",
                    1 + random.below(n),
                    1_600_000_000 + n * 60
                );
                tags.insert(format!("t{n}"), mark);
            }
            2 if branches.len() > 1 => {
                let names: Vec<String> = branches.keys().filter(|name| *name != "main").cloned().collect();
                if let Some(gone) = names.get(random.below(names.len().max(1))) {
                    branches.remove(gone);
                }
            }
            3 if n > 4 => {
                let names: Vec<String> = branches.keys().cloned().collect();
                branches.insert(names[random.below(names.len())].clone(), 1 + random.below(n));
            }
            _ => {}
        }
        marked.push((branches.clone(), tags.clone()));
    }
    world.feed(&["-C", "all", "fast-import", "--quiet", "--force", "--export-marks=marks"], stream.as_bytes());
    let marks = fs::read_to_string(world.dir.join("all/marks")).expect("marks");
    let ids: BTreeMap<usize, String> = marks
        .lines()
        .filter_map(|line| line.strip_prefix(':')?.split_once(' '))
        .map(|(mark, id)| (mark.parse().expect("a mark"), id.to_owned()))
        .collect();
    let resolve = |(branches, tags): &(BTreeMap<String, usize>, BTreeMap<String, usize>)| -> Refs {
        let heads = branches.iter().map(|(name, at)| (format!("refs/heads/{name}"), ids[at].clone()));
        heads.chain(tags.iter().map(|(name, at)| (format!("refs/tags/{name}"), ids[at].clone()))).collect()
    };
    let commits = (1..=count).map(|n| ids[&n].clone()).collect();
    History { moments: marked.iter().map(resolve).collect(), commits }
}

/// Returns refs of a mirror: each one as it was at some moment, or gone, or elsewhere.
fn mirror_of(history: &History, random: &mut Random) -> Refs {
    let last = history.moments.len() - 1;
    let names: BTreeSet<&String> = history.moments.iter().flat_map(Refs::keys).collect();
    let usual = random.below(last + 1);
    let mut refs = Refs::new();
    for name in names {
        let at = match random.below(8) {
            0 => continue,
            1 => random.below(last + 1),
            2 | 3 => usual,
            _ => last,
        };
        let id = match random.below(12) {
            // Ahead of canonical, or rewound to where it never was.
            0 if name.starts_with("refs/heads/") => history.commits[random.below(history.commits.len())].clone(),
            _ => match history.moments[at].get(name) {
                Some(id) => id.clone(),
                None => continue,
            },
        };
        refs.insert(name.clone(), id);
    }
    refs
}

fn head_of(refs: &Refs) -> String {
    let main = "refs/heads/main".to_owned();
    if refs.contains_key(&main) {
        main
    } else {
        refs.keys().find(|n| n.starts_with("refs/heads/")).cloned().unwrap_or(main)
    }
}

/// What is asked for, as arguments of `git clone` and of `git fetch`.
fn flags(random: &mut Random) -> (&'static [&'static str], &'static [&'static str]) {
    let clone: [&[&str]; 5] = [&[], &[], &["--single-branch"], &["--no-tags"], &["--mirror"]];
    let fetch: [&[&str]; 6] =
        [&[], &[], &["--prune"], &["--tags"], &["--no-tags"], &["origin", "+refs/heads/main:refs/remotes/origin/main"]];
    (clone[random.below(clone.len())], fetch[random.below(fetch.len())])
}

fn walk(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..8 {
        random.next();
    }
    let world = World::new();
    let history = write_history(&world, &mut random);
    let last = history.moments.len() - 1;
    // Canonical has one commit more at the end than the history of its mirrors' refs, now and then.
    let canonical = history.moments[last - random.below(3).min(last)].clone();
    world.repository("canonical", &canonical, &head_of(&canonical));
    let mirrors: Vec<String> = (0..1 + random.below(2)).map(|n| format!("mirror{n}")).collect();
    for name in &mirrors {
        let refs = mirror_of(&history, &mut random);
        world.repository(name, &refs, &head_of(&refs));
    }
    let old = history.moments[random.below(last + 1)].clone();
    world.repository("old", &old, &head_of(&old));
    let (clone, fetch) = flags(&mut random);
    let what = |text: &str| format!("layout {seed}: {text}");

    // A clone.
    let canonical_url = format!("file://{}", world.path("canonical"));
    let with_mirrors: Vec<String> = ["remote.origin.vcs=mirror".to_owned()]
        .into_iter()
        .chain(mirrors.iter().map(|name| format!("remote.origin.mirrorUrl=file://{}", world.path(name))))
        .collect();
    let switches: Vec<&str> = with_mirrors.iter().flat_map(|setting| ["-c", setting]).collect();
    let plain = world.try_git(&[&["clone", "-q"], clone, &[&canonical_url, "plain"]].concat(), b"");
    world.forget();
    let got = world.try_git(&[&["clone", "-q"], clone, &switches, &[&canonical_url, "got"]].concat(), b"");
    assert_eq!(plain.0, got.0, "{}", what(&got.2));
    if plain.0 {
        let sent = sent(&world, None, &mirrors, &what(&format!("clone {clone:?}: {}", got.2)));
        let refs = if clone.contains(&"--single-branch") { Some(head_of(&canonical)) } else { None };
        let asked = |name: &str| match clone {
            ["--single-branch"] => name == head_of(&canonical),
            ["--no-tags"] => name.starts_with("refs/heads/"),
            _ => true,
        };
        let measure = measure(&world, (None, false), &canonical, &mirrors, asked, |world| {
            let spec = refs.as_ref().map_or("+refs/heads/*:refs/m/heads/*".into(), |n| format!("+{n}:refs/m/{n}"));
            let tags: &[&str] = match clone {
                ["--no-tags"] => &["--no-tags"],
                ["--single-branch"] => &[],
                _ => &["--tags"],
            };
            world.git(&[&["-C", "measure", "fetch", "-q"], tags, &["--", &canonical_url, &spec]].concat());
        });
        compare(&world, &what(&format!("clone {clone:?}")), "plain", "got", &sent, &measure);
    }

    // A fetch.
    world.git(&["clone", "-q", &format!("file://{}", world.path("old")), "client"]);
    world.git(&["-C", "client", "remote", "set-url", "origin", &canonical_url]);
    copy(&world, "client", "plain-client");
    let plain = world.try_git(&[&["-C", "plain-client", "fetch", "-q"], fetch].concat(), b"");
    copy(&world, "client", "got-client");
    world.git(&["-C", "got-client", "config", "remote.origin.vcs", "mirror"]);
    for name in &mirrors {
        let url = format!("file://{}", world.path(name));
        world.git(&["-C", "got-client", "config", "--add", "remote.origin.mirrorUrl", &url]);
    }
    world.forget();
    let got = world.try_git(&[&["-C", "got-client", "fetch", "-q"], fetch].concat(), b"");
    assert_eq!(plain.0, got.0, "{}", what(&got.2));
    let sent = sent(&world, Some("client"), &mirrors, &what(&format!("fetch {fetch:?}: {}", got.2)));
    // git follows a tag at once where what it names is here, be it that no ref leads there any more.
    let here = objects_of(&world, Some("client"));
    let follows = |name: &str| {
        let id = canonical.get(name).filter(|_| name.starts_with("refs/tags/"));
        id.is_some_and(|id| here.contains(world.git(&["-C", "all", "rev-parse", &format!("{id}^{{}}")]).trim()))
    };
    let asked = |name: &str| match fetch {
        ["origin", _] => name == "refs/heads/main" || follows(name),
        ["--tags"] => true,
        ["--no-tags"] => name.starts_with("refs/heads/"),
        _ => name.starts_with("refs/heads/") || follows(name),
    };
    let measure = measure(&world, (Some("client"), fetch.contains(&"--prune")), &canonical, &mirrors, asked, |world| {
        let (good, _, err) = world.try_git(&[&["-C", "measure", "fetch", "-q"], fetch].concat(), b"");
        assert_eq!(good, plain.0, "{err}");
    });
    compare(&world, &what(&format!("fetch {fetch:?}")), "plain-client", "got-client", &sent, &measure);
}

fn copy(world: &World, from: &str, to: &str) {
    let done = Command::new("cp").arg("-a").arg(world.path(from)).arg(world.path(to)).status();
    assert!(done.is_ok_and(|status| status.success()), "cp");
}

/// What was sent.
struct Sent {
    /// Bytes by canonical.
    canonical: u64,
    /// Objects by mirrors that were here before. A server that has heard enough to send a pack hears of no more haves.
    known: usize,
}

/// Returns what was sent, and holds that mirrors sent no object twice.
fn sent(world: &World, before: Option<&str>, mirrors: &[String], what: &str) -> Sent {
    let mut seen = BTreeSet::new();
    for pack in mirrors.iter().flat_map(|name| world.packs(name)) {
        for id in world.objects(&pack) {
            assert!(seen.insert(id.clone()), "{what}\n{id} came twice, again in {}", pack.display());
        }
    }
    Sent { canonical: world.bytes("canonical"), known: objects_of(world, before).intersection(&seen).count() }
}

fn objects_of(world: &World, repo: Option<&str>) -> BTreeSet<String> {
    let list = ["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"];
    let all = repo.map(|repo| world.git(&[&["-C", repo], &list[..]].concat())).unwrap_or_default();
    all.lines().map(Into::into).collect()
}

/// Returns what plain git is sent when `then` has it fetch from canonical into a repository, "measure", that holds what
/// `before` does, less what is `pruned`, and what mirrors, one after the other, have under those names that are `asked` for and
/// still lacking.
fn measure(
    world: &World,
    (before, pruned): (Option<&str>, bool),
    canonical: &Refs,
    mirrors: &[String],
    asked: impl Fn(&str) -> bool,
    then: impl Fn(&World),
) -> Sent {
    let _ = fs::remove_dir_all(world.dir.join("measure"));
    match before {
        Some(before) => copy(world, before, "measure"),
        None => drop(world.git(&["init", "-q", "--bare", "measure"])),
    }
    if pruned {
        // git deletes refs before it fetches, and then no longer offers what they named.
        world.git(&["-C", "measure", "remote", "prune", "origin"]);
    }
    world.forget();
    for (n, name) in mirrors.iter().enumerate() {
        let theirs = world.refs(name);
        let has = |name: &str| theirs.iter().any(|line| line.split(' ').nth(1) == Some(name));
        let here = objects_of(world, Some("measure"));
        let lacking = canonical.iter().filter(|(name, id)| asked(name) && has(name) && !here.contains(*id));
        // What canonical has under that name, where the mirror shows it under another one; what it has itself otherwise.
        // Names that canonical does not have, or git does not ask it for, nobody asks mirrors for.
        let shows = |id: &str| {
            theirs.iter().filter_map(|line| line.split_once(' ')).any(|(oid, name)| {
                oid == id
                    && canonical.contains_key(name)
                    && (asked(name) || name.starts_with("refs/tags/") || asked("refs/heads/any other"))
            })
        };
        let source = |name: &String, id: &String| if shows(id) { id.clone() } else { name.clone() };
        let specs: Vec<String> =
            lacking.map(|(name, id)| format!("+{}:refs/given/{n}/{name}", source(name, id))).collect();
        if !specs.is_empty() {
            let url = format!("file://{}", world.path(name));
            let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
            let fetch = ["-C", "measure", "fetch", "-q", "--no-tags", "--no-write-fetch-head", &url];
            world.git(&[&fetch, specs.as_slice()].concat());
        }
    }
    let packs = mirrors.iter().flat_map(|name| world.packs(name));
    let given: BTreeSet<String> = packs.flat_map(|pack| world.objects(&pack)).collect();
    let known = objects_of(world, before).intersection(&given).count();
    world.forget();
    then(world);
    Sent { canonical: world.bytes("canonical"), known }
}

fn compare(world: &World, what: &str, plain: &str, got: &str, sent: &Sent, measure: &Sent) {
    assert_eq!(world.refs(plain), world.refs(got), "{what}: refs");
    let (good, out, err) = world.try_git(&["-C", got, "fsck", "--no-dangling", "--no-progress"], b"");
    assert!(good && err.is_empty(), "{what}: fsck: {}{err}", String::from_utf8_lossy(&out));
    let (canonical, would) = (sent.canonical, measure.canonical);
    assert!(canonical <= would + ALLOWANCE, "{what}: canonical sent {canonical}, and would send {would}");
    let (known, would) = (sent.known, measure.known);
    assert!(known <= would, "{what}: mirrors sent {known} objects that were here, and would send plain git {would}");
}

#[test]
fn canonical_sends_only_what_mirrors_lack() {
    let number = |name: &str, otherwise| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    let first: u64 = number("GMF_LAYOUT_SEED", 1);
    for seed in first..first + number("GMF_LAYOUTS", 40) {
        walk(seed);
    }
}
