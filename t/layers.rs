//! Holds the layers: a lower one never names a higher one, and the lowest three
//! never name what touches the world (sockets, files, processes, stdio, the clock).
//! Holds the wings of `usecases/` apart, and files out of circles.
//!
//! It reads the sources as text, without comments, literals and `#[cfg(test)]`
//! modules, and looks at every path (`a::b::{c, d::e}`) in what is left. For wings
//! and circles, a path is followed to the file that defines what it names, through
//! `pub use` as well.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The folders of `src/`, lowest first.
const LAYERS: [&str; 6] = ["values", "wire", "decide", "adapters", "usecases", "cli"];

/// How many of them, from the lowest, are pure.
const PURE: usize = 3;

/// The wings of `usecases/`, and which others each may name.
const WINGS: [(&str, &[&str]); 3] = [("fetching", &[]), ("serving", &[]), ("managing", &["fetching", "serving"])];

/// What a pure layer must not name, as the beginning of a path.
const IMPURE_PATHS: [&str; 8] = [
    "std::net",
    "std::fs",
    "std::process",
    "std::env",
    "std::os::fd",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
];

/// What a pure layer must not call, by the last words of a path.
const IMPURE_TAILS: [&str; 5] = ["io::stdin", "io::stdout", "io::stderr", "SystemTime::now", "Instant::now"];

const IMPURE_MACROS: [&str; 5] = ["print!", "println!", "eprint!", "eprintln!", "dbg!"];

/// Returns what is wrong with a file of this layer (an index into [`LAYERS`]).
fn faults(layer: usize, source: &str) -> Vec<String> {
    let code = without_tests(&without_comments_and_literals(source));
    let mut found = Vec::new();
    for path in paths(&code) {
        if let Some(named) = layer_named_by(&path)
            && named > layer
        {
            found.push(format!("{} names {}: {path}", LAYERS[layer], LAYERS[named]));
        }
        if layer < PURE && is_impure(&path) {
            found.push(format!("{} is pure, and names {path}", LAYERS[layer]));
        }
    }
    if layer < PURE {
        let called = IMPURE_MACROS.iter().filter(|name| has_macro(&code, name));
        found.extend(called.map(|name| format!("{} is pure, and calls {name}", LAYERS[layer])));
    }
    found
}

/// `crate::wire::pkt`, `super::super::wire` and `git_mirror_fetch::wire` all name the layer "wire".
fn layer_named_by(path: &str) -> Option<usize> {
    let mut words = path.split("::").peekable();
    let first = words.next()?;
    if !matches!(first, "crate" | "super" | "git_mirror_fetch") {
        return None;
    }
    while words.peek() == Some(&"super") {
        words.next();
    }
    let name = words.next()?;
    LAYERS.iter().position(|layer| *layer == name)
}

fn is_impure(path: &str) -> bool {
    let begins = |start: &str| path == start || path.starts_with(&format!("{start}::"));
    let ends = |tail: &str| path == tail || path.ends_with(&format!("::{tail}"));
    IMPURE_PATHS.iter().any(|start| begins(start)) || IMPURE_TAILS.iter().any(|tail| ends(tail))
}

fn has_macro(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| !code[..at].ends_with(is_word))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns every path in the code, groups taken apart: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(code: &str) -> Vec<String> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].starts_with(is_word) {
            at = read_path(&tokens, at, "", &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Words, `::`, and single other characters.
fn tokens(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = code.trim_start();
    while let Some(c) = rest.chars().next() {
        let length = if is_word(c) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            c.len_utf8()
        };
        found.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    found
}

/// Reads the path that begins at a word, and returns where it ends.
fn read_path(tokens: &[&str], mut at: usize, prefix: &str, found: &mut Vec<String>) -> usize {
    let mut path = format!("{prefix}{}", tokens[at]);
    at += 1;
    while tokens.get(at) == Some(&"::") {
        match tokens.get(at + 1) {
            Some(&"{") => {
                at += 2;
                while at < tokens.len() && tokens[at] != "}" {
                    if tokens[at].starts_with(is_word) {
                        at = read_path(tokens, at, &format!("{path}::"), found);
                    } else {
                        at += 1;
                    }
                }
                return at + 1;
            }
            Some(word) if word.starts_with(is_word) => {
                path = format!("{path}::{word}");
                at += 2;
            }
            _ => break,
        }
    }
    found.push(path);
    at
}

/// Blanks comments, strings and characters; lifetimes stay.
fn without_comments_and_literals(source: &str) -> String {
    let mut kept = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => string_length(rest),
            'r' if !kept.ends_with(is_word) => raw_string_length(rest),
            '\'' => char_length(rest),
            _ => 0,
        };
        if skipped > 0 {
            kept.push(' ');
            rest = &rest[skipped..];
        } else {
            kept.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    kept
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_string_length(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    text[body..].find(&end).map_or(text.len(), |at| body + at + end.len())
}

/// `'a'` and `'\n'` have a length, the lifetime `'a` has none.
fn char_length(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            chars.next();
            chars.find(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1)
        }
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// Cuts out every `#[cfg(test)] mod … { … }`.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        rest = &rest[at + "#[cfg(test)]".len()..];
        let mut item = rest.trim_start();
        while let Some(attribute) = item.strip_prefix("#[") {
            item = attribute.split_once(']').map_or("", |(_, behind)| behind.trim_start());
        }
        let item = item.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
        if item.starts_with("mod ") {
            let end = block_end(rest);
            rest = &rest[end..];
        }
    }
    kept + rest
}

/// Where the first `{ … }` ends, or the `;` that comes before any.
fn block_end(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The modules of a crate, each by the words of its path, with its code: what `mod` leads to from the root, tests left out.
struct Modules(BTreeMap<Vec<String>, String>);

impl Modules {
    /// Reads what `source`, which is given the words of a module, knows; the root has none.
    fn read(source: &dyn Fn(&[String]) -> Option<String>) -> Self {
        let mut found = BTreeMap::new();
        let mut left = vec![Vec::new()];
        while let Some(module) = left.pop() {
            let text = source(&module).unwrap_or_else(|| panic!("no file for the module {}", module.join("::")));
            let code = without_tests(&without_comments_and_literals(&text));
            let tokens = tokens(&code);
            let declared = tokens.windows(3).filter(|three| three[0] == "mod" && three[2] == ";");
            left.extend(declared.map(|three| with(&module, three[1])));
            found.insert(module, code);
        }
        Modules(found)
    }

    /// Returns the module that defines what `path` names in the module `from`: `None` where that is not of this crate.
    fn resolve(&self, from: &[String], path: &str) -> Option<Vec<String>> {
        self.resolve_within(from, path, 8)
    }

    fn resolve_within(&self, from: &[String], path: &str, depth: u32) -> Option<Vec<String>> {
        let mut words = path.split("::").peekable();
        let first = *words.peek()?;
        let mut at = match first {
            "crate" | "git_mirror_fetch" => Vec::new(),
            "self" => from.to_vec(),
            "super" => from[..from.len().checked_sub(1)?].to_vec(),
            child if self.0.contains_key(&with(from, child)) => with(from, child),
            _ => return None,
        };
        words.next();
        for word in words {
            if word == "super" {
                at.pop()?;
            } else if self.0.contains_key(&with(&at, word)) {
                at = with(&at, word);
            } else {
                return Some(self.through(&at, word, depth).unwrap_or(at));
            }
        }
        Some(at)
    }

    /// Returns the module that defines `name`, where the module `at` only passes it on.
    fn through(&self, at: &[String], name: &str, depth: u32) -> Option<Vec<String>> {
        let depth = depth.checked_sub(1)?;
        let passed_on = used(&self.0[at]).into_iter().find(|path| path.rsplit("::").next() == Some(name))?;
        self.resolve_within(at, &passed_on, depth)
    }

    /// Returns which modules each one names; what names its own parents or children is left out.
    fn named(&self) -> BTreeMap<&[String], BTreeSet<Vec<String>>> {
        let related = |a: &[String], b: &[String]| a.starts_with(b) || b.starts_with(a);
        let of = |module: &[String], code: &str| {
            let named = paths(code).into_iter().filter_map(|path| self.resolve(module, &path));
            named.filter(|other| !related(module, other)).collect()
        };
        self.0.iter().map(|(module, code)| (module.as_slice(), of(module, code))).collect()
    }

    /// Returns what of one wing names another that it must not know.
    fn wings_crossed(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (module, named) in self.named() {
            let Some((wing, allowed)) = WINGS.iter().find(|(wing, _)| wing_of(module) == Some(wing)) else { continue };
            let others = named
                .iter()
                .filter(|other| wing_of(other).is_some_and(|other| other != *wing && !allowed.contains(&other)));
            found.extend(others.map(|other| format!("{} names {}", module.join("::"), other.join("::"))));
        }
        found
    }

    /// Returns the circles: modules that lead to each other.
    fn circles(&self) -> Vec<String> {
        let named = self.named();
        let reached = |from: &[String]| {
            let mut seen = BTreeSet::new();
            let mut left: Vec<&Vec<String>> = named.get(from).into_iter().flatten().collect();
            while let Some(module) = left.pop() {
                if seen.insert(module.as_slice()) {
                    left.extend(named.get(module.as_slice()).into_iter().flatten());
                }
            }
            seen
        };
        let all: BTreeMap<&[String], BTreeSet<&[String]>> =
            named.keys().map(|module| (*module, reached(module))).collect();
        let circle = |module: &[String]| -> Vec<String> {
            let members =
                all.iter().filter(|(other, reached)| all[module].contains(*other) && reached.contains(module));
            members.map(|(other, _)| other.join("::")).collect()
        };
        let circles: BTreeSet<Vec<String>> =
            all.keys().map(|module| circle(module)).filter(|c| !c.is_empty()).collect();
        circles.into_iter().map(|members| members.join(" and ")).collect()
    }
}

fn with(module: &[String], word: &str) -> Vec<String> {
    module.iter().cloned().chain([word.to_owned()]).collect()
}

fn wing_of(module: &[String]) -> Option<&str> {
    module.first().filter(|layer| *layer == "usecases").and_then(|_| module.get(1)).map(String::as_str)
}

/// Returns the paths of all `use` items.
fn used(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let tokens = tokens(code);
    for (at, _) in tokens.iter().enumerate().filter(|(_, token)| **token == "use") {
        if tokens.get(at + 1).is_some_and(|token| token.starts_with(is_word)) {
            read_path(&tokens, at + 1, "", &mut found);
        }
    }
    found
}

/// Returns the text of a module of this crate.
fn source_of(module: &[String]) -> Option<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let place = source.join(module.join("/"));
    let files = if module.is_empty() {
        [source.join("lib.rs"), source.join("mod.rs")]
    } else {
        [place.with_extension("rs"), place.join("mod.rs")]
    };
    files.iter().find_map(|file| fs::read_to_string(file).ok())
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn no_layer_names_a_higher_one_or_the_world() {
    let mut wrong = Vec::new();
    for (layer, name) in LAYERS.iter().enumerate() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name);
        let files = rust_files(&folder);
        assert!(!files.is_empty(), "no source in {}: was the layer renamed?", folder.display());
        for file in files {
            let source = fs::read_to_string(&file).expect("a source file is text");
            let found = faults(layer, &source);
            wrong.extend(found.iter().map(|fault| format!("{}: {fault}", file.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_wing_names_one_that_it_must_not_know() {
    let wrong = Modules::read(&source_of).wings_crossed();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_files_stand_in_a_circle() {
    let wrong = Modules::read(&source_of).circles();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_is_looked_at() {
    let modules = Modules::read(&source_of);
    let files = rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let tests = |file: &PathBuf| file.file_stem().is_some_and(|stem| stem == "tests" || stem == "check_tests");
    let programs = |file: &PathBuf| file.parent().is_some_and(|folder| folder.ends_with("bin"));
    let files = files.iter().filter(|file| !tests(file) && !programs(file)).count();
    assert_eq!(modules.0.len(), files, "modules and files");
}

#[test]
fn every_folder_of_the_use_cases_is_a_wing() {
    let usecases = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/usecases");
    for entry in fs::read_dir(usecases).expect("src/usecases is readable").flatten() {
        let name = entry.file_name().into_string().expect("a plain name");
        let known = name == "mod.rs" || WINGS.iter().any(|(wing, _)| *wing == name);
        assert!(known, "src/usecases/{name} is no wing: say in WINGS which others it may name");
    }
}

/// A crate of these modules, by their paths; the root and what lies between declare what is below them.
fn crate_of(files: &[(&str, &str)]) -> Modules {
    let mut sources: BTreeMap<Vec<String>, String> = BTreeMap::from([(Vec::new(), String::new())]);
    for (path, code) in files {
        let words: Vec<String> = path.split("::").map(Into::into).collect();
        for length in 0..words.len() {
            let declares = format!("mod {};\n", words[length]);
            let above = sources.entry(words[..length].to_vec()).or_default();
            if !above.contains(&declares) {
                above.push_str(&declares);
            }
        }
        sources.entry(words).or_default().push_str(code);
    }
    Modules::read(&|module| sources.get(module).cloned())
}

#[test]
fn bad_wings_are_found() {
    for (module, code) in [
        ("usecases::serving::site", "use crate::usecases::fetching::relay;"),
        ("usecases::serving::site", "use crate::usecases::{self, fetching::relay::Relay};"),
        ("usecases::serving::site", "fn f() { super::super::fetching::relay::run() }"),
        ("usecases::serving::site", "use crate::usecases::managing::man;"),
        ("usecases::fetching::relay", "use crate::usecases::serving::site;"),
        ("usecases::fetching::relay", "use super::super::managing::man::install;"),
    ] {
        let others = ["usecases::fetching::relay", "usecases::managing::man", "usecases::serving::site"];
        let mut files: Vec<(&str, &str)> = others.map(|other| (other, "")).into();
        files.push((module, code));
        assert_eq!(crate_of(&files).wings_crossed().len(), 1, "in {module}: {code}");
    }
    let may = [
        ("usecases::fetching::relay", "use super::steps; use crate::adapters::git;"),
        ("usecases::fetching::steps", "#[cfg(test)] mod tests { use crate::usecases::serving::site; }"),
        ("usecases::serving::site", "use super::Kept;"),
        ("usecases::managing::man", "use crate::usecases::{fetching::relay, serving::site};"),
        ("adapters::git", ""),
    ];
    assert_eq!(crate_of(&may).wings_crossed(), Vec::<String>::new());
}

#[test]
fn circles_are_found() {
    for files in [
        &[("x::a", "use super::b;"), ("x::b", "use super::a;")][..],
        &[("x::a", "use crate::x::b::{B, C};"), ("x::b", "fn f() { super::a::g() }")],
        &[("x::a", "use super::b;"), ("x::b", "use super::c;"), ("x::c", "use super::a;")],
        &[("x::a", "use super::B;"), ("x::b", "use super::a;"), ("x", "pub use b::B;")],
        &[("x::a::deep", "use crate::y;"), ("y", "fn f() { crate::x::a::deep::g() }")],
    ] {
        assert_eq!(crate_of(files).circles().len(), 1, "in {files:?}");
    }
    let fine = [
        ("x", "mod a; pub use a::A; fn f() { a::g() }"),
        ("x::a", "use super::{X, b}; use crate::y;"),
        ("x::b", "use std::a; use super::X; #[cfg(test)] mod tests { use super::super::a; }"),
        ("y", "use crate::x::b; fn a() { b::f() }"),
    ];
    assert_eq!(crate_of(&fine).circles(), Vec::<String>::new());
}

#[test]
fn every_folder_of_the_sources_is_a_layer() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(source).expect("src is readable").flatten() {
        let name = entry.file_name().into_string().expect("a plain name");
        if entry.path().is_dir() {
            assert!(name == "bin" || LAYERS.contains(&name.as_str()), "src/{name} is in no layer");
        }
    }
}

#[test]
fn bad_samples_are_found() {
    let samples = [
        (0, "use crate::wire::pkt;"),
        (0, "use crate::{values::url, wire::pkt};"),
        (0, "use crate::{\n    values::{url, error},\n    adapters::{self, git},\n};"),
        (1, "fn f() { crate::decide::select() }"),
        (1, "use super::super::decide::Selector;"),
        (0, "use super::wire;"),
        (2, "pub use crate :: cli;"),
        (3, "use crate::usecases::fetching::helper as h;"),
        (4, "let x = git_mirror_fetch::cli::run();"),
        (0, "use std::fs;"),
        (0, "use std::{collections::HashMap, net::TcpStream};"),
        (1, "use std::io::{self, stdin};"),
        (1, "use std::io; fn f() { io::stderr(); }"),
        (2, "let now = std::time::Instant::now();"),
        (2, "use std::time::SystemTime; fn f() { SystemTime::now(); }"),
        (2, "let home = std::env::var(\"HOME\");"),
        (2, "std::process::exit(1)"),
        (0, "println!(\"{x}\")"),
        (1, "fn f() { eprintln!(); }"),
        (1, "#[cfg(test)] mod tests { } use std::fs;"),
        (1, "let quote = '\"'; use std::fs; let other = '\"';"),
        (1, "/* a comment */ use std::fs; // another"),
        (1, "fn f<'a>(x: &'a str) { std::fs::read(x) }"),
    ];
    for (layer, source) in samples {
        assert!(!faults(layer, source).is_empty(), "nothing found in {source}");
    }
}

#[test]
fn good_samples_pass() {
    let samples = [
        (1, "use crate::values::Mirror; use crate::wire::pkt; use super::pkt; use std::io::Read;"),
        (5, "use crate::{usecases::helper, adapters::git, values::url}; use std::{env, fs};"),
        (3, "use std::process::Command; fn f() { println!(); }"),
        (0, "//! Unlike crate::wire, this reads no std::fs.\nfn f() {}"),
        (0, "fn f() -> &'static str { \"use std::fs; println!\" }"),
        (0, "fn f() -> &'static str { r#\"use \"crate::cli\";\"# }"),
        (0, "#[cfg(test)]\nmod tests { use std::fs; fn f() { if x { println!() } } }\nfn g() {}"),
        (0, "fn f(x: &Values) { writeln!(x, \"\"); my_println!() } mod tests;"),
        (2, "use std::time::{Duration, Instant}; fn f(now: Instant) {}"),
    ];
    for (layer, source) in samples {
        assert_eq!(faults(layer, source), Vec::<String>::new(), "in {source}");
    }
}

#[test]
fn every_module_is_in_the_table_of_the_architecture() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let page = fs::read_to_string(page).expect("docs/architecture.md is readable");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
    let mut forgotten = BTreeSet::new();
    // Wings and groups are folders of modules; any other folder is a module itself.
    let groups =
        ["usecases/fetching", "usecases/serving", "usecases/managing", "adapters/git", "adapters/kept", "adapters/net"];
    for folder in LAYERS.iter().filter(|layer| **layer != "cli").chain(&groups) {
        let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder));
        for entry in entries.expect("the folder is readable") {
            let name = entry.expect("an entry").file_name().into_string().expect("a name in UTF-8");
            let module = name.trim_end_matches(".rs");
            let is_group = module == "mod" || groups.contains(&format!("{folder}/{module}").as_str());
            if !is_group && !rows.iter().any(|row| row.contains(&format!("`{module}`"))) {
                forgotten.insert(format!("{folder}/{name}"));
            }
        }
    }
    assert!(forgotten.is_empty(), "docs/architecture.md says nothing of {forgotten:?}");
}
