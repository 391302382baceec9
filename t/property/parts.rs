//! Parts of random histories: whatever depth and filter, and whatever mirrors have, all is as with plain git: refs,
//! `.git/shallow`, `git fsck`, and which objects are missing.
//!
//! `GMF_LAYOUTS` and `GMF_LAYOUT_SEED` are as for the whole.

use super::*;

/// What is asked for, as arguments of `git clone`; what the new repository is then asked to fetch.
fn flags_of_a_part(random: &mut Random, history: &History, canonical: &Refs) -> (Vec<String>, Vec<Vec<String>>) {
    let words = |text: &str| text.split(' ').filter(|word| !word.is_empty()).map(Into::into).collect::<Vec<String>>();
    let depth = |random: &mut Random| 1 + random.below(12);
    let names: Vec<&String> = canonical.keys().collect();
    let name = |random: &mut Random| {
        names[random.below(names.len())].trim_start_matches("refs/heads/").trim_start_matches("refs/tags/").to_owned()
    };
    let time = |random: &mut Random| 1_600_000_000 + 60 * random.below(40);
    let clone = match random.below(10) {
        0 => format!("--depth={}", depth(random)),
        1 => format!("--depth={} --no-single-branch", depth(random)),
        2 => format!("--depth={} --no-tags --no-single-branch", depth(random)),
        3 => format!("--shallow-since={} --no-single-branch", time(random)),
        4 => format!("--shallow-exclude={} --no-single-branch", name(random)),
        5 => "--filter=blob:none --no-checkout".into(),
        6 => format!("--filter=tree:{} --no-checkout", random.below(3)),
        7 => format!("--depth={} --filter=blob:none --no-checkout --no-single-branch", depth(random)),
        8 => "--filter=blob:limit=2000 --no-checkout".into(),
        _ => String::new(),
    };
    let mut fetches = Vec::new();
    for _ in 0..1 + random.below(3) {
        fetches.push(words(&match random.below(9) {
            0 | 1 => format!("--depth={}", depth(random)),
            2 => format!("--deepen={}", depth(random)),
            3 => "--unshallow".into(),
            4 => format!("--shallow-since={}", time(random)),
            5 => format!("--shallow-exclude={}", name(random)),
            6 => format!("--depth={} origin {}", depth(random), history.commits[random.below(history.commits.len())]),
            7 => "--prune --tags".into(),
            _ => String::new(),
        }));
    }
    (words(&clone), fetches)
}

/// Returns what can be seen of a repository.
fn seen_of(world: &World, repo: &str) -> String {
    let shallow = fs::read_to_string(world.dir.join(repo).join(".git/shallow")).unwrap_or_default();
    let mut shallow: Vec<&str> = shallow.lines().collect();
    shallow.sort_unstable();
    let (good, out, err) = world.try_git(&["-C", repo, "fsck", "--no-dangling", "--no-progress"], b"");
    let missing = ["rev-list", "--objects", "--no-object-names", "--missing=print", "--exclude=refs/mirror/*", "--all"];
    let (walked, objects, _) = world.try_git(&[&["-C", repo], &missing[..]].concat(), b"");
    let objects = String::from_utf8_lossy(&objects).into_owned();
    let objects: BTreeSet<&str> = objects.lines().collect();
    let fsck = String::from_utf8_lossy(&out).into_owned();
    format!(
        "refs {:#?}\nshallow {shallow:#?}\nfsck {good} {fsck}{err}\nobjects {walked} {objects:#?}",
        world.refs(repo)
    )
}

fn walk_parts(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..9 {
        random.next();
    }
    let world = World::new();
    for (key, value) in [("uploadpack.allowFilter", "true"), ("uploadpack.allowAnySHA1InWant", "true")] {
        world.git(&["config", "--global", key, value]);
    }
    let history = write_history(&world, &mut random);
    let last = history.moments.len() - 1;
    // Canonical is cloned as it was at some moment, and fetched as it is then.
    let then = random.below(last + 1);
    let moments = [then, then + random.below(last - then + 1), last];
    let canonical: Vec<&Refs> =
        moments.iter().map(|at| &history.moments[*at]).filter(|refs| !refs.is_empty()).collect();
    let Some(first) = canonical.first() else { return };
    let (clone, fetches) = flags_of_a_part(&mut random, &history, first);
    let mirrors: Vec<String> = (0..1 + random.below(2)).map(|n| format!("mirror{n}")).collect();
    for name in &mirrors {
        let refs = mirror_of(&history, &mut random);
        world.repository(name, &refs, &head_of(&refs));
        if random.below(6) == 0 && !refs.is_empty() {
            // Shallow itself.
            world.git(&[
                "clone",
                "-q",
                "--bare",
                "--no-single-branch",
                "--depth=3",
                &format!("file://{}", world.path(name)),
                "less",
            ]);
            fs::remove_dir_all(world.dir.join(name)).expect("a folder");
            fs::rename(world.dir.join("less"), world.dir.join(name)).expect("a folder");
        }
    }
    let url = format!("file://{}", world.path("canonical"));
    let publish = |refs: &Refs| {
        let _ = fs::remove_dir_all(world.dir.join("canonical"));
        world.repository("canonical", refs, &head_of(refs));
    };
    publish(first);
    let mut switches = vec!["-c".to_owned(), "remote.origin.vcs=mirror".into()];
    for name in &mirrors {
        switches.extend(["-c".to_owned(), format!("remote.origin.mirrorUrl=file://{}", world.path(name))]);
    }
    let run = |before: &[&str], args: &[String], after: &[&str]| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        world.try_git(&[before, &args, after].concat(), b"")
    };
    let what = format!("layout {seed}: clone {clone:?}");
    let plain = run(&["clone", "-q"], &clone, &[&url, "plain"]);
    let got = run(&["clone", "-q"], &[switches, clone.clone()].concat(), &[&url, "got"]);
    assert_eq!(plain.0, got.0, "{what}: {}{}", plain.2, got.2);
    if !plain.0 {
        return;
    }
    assert_eq!(seen_of(&world, "plain"), seen_of(&world, "got"), "{what}: {}", got.2);
    for (at, fetch) in fetches.iter().enumerate() {
        publish(canonical[(at + 1).min(canonical.len() - 1)]);
        let what = format!("{what}, fetch {:?}", &fetches[..=at]);
        let plain = run(&["-C", "plain", "fetch", "-q"], fetch, &[]);
        let got = run(&["-C", "got", "fetch", "-q"], fetch, &[]);
        assert_eq!(plain.0, got.0, "{what}: {}{}", plain.2, got.2);
        assert_eq!(seen_of(&world, "plain"), seen_of(&world, "got"), "{what}: {}", got.2);
    }
}

#[test]
fn parts_are_those_of_plain_git() {
    let number = |name: &str, otherwise| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    let first: u64 = number("GMF_LAYOUT_SEED", 1);
    for seed in first..first + number("GMF_LAYOUTS", 25) {
        walk_parts(seed);
    }
}
