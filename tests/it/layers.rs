//! The floor plan of ARCHITECTURE.md, held against the sources: arrows point down, and each big library has one home.
//! Only production code is looked at; a test may use what it likes.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Pure types and decisions, and what every room may stand on.
const GROUND: &[&str] = &["domain", "audio", "clock", "crash", "temp_lock", "io_fault", "large", "pace", "s3"];
/// They know the ground, never each other.
const ADAPTERS: &[&str] = &["definition", "store", "waves", "media", "sink", "render"];
/// They know adapters and ground.
const PIPELINE: &[&str] = &["runner", "report"];
/// What is done with a line: they know pipeline, adapters and ground.
const TASKS: &[&str] = &["tasks"];
/// They know everyone below; nobody below knows them.
const SURFACES: &[&str] = &["sandbox", "server", "cli", "config", "fuzzed", "process", "telemetry", "shutdown"];
/// Arrows between rooms of one layer, beyond the plan, each with its reason.
const EXTRA: &[(&str, &str)] = &[
    // The first `summary.json`, written before money is spent, is how an output knows its owner.
    ("runner", "report"),
    // Until a registry is handed down, the tasks are looked up by name where they begin.
    ("definition", "tasks"),
    ("runner", "tasks"),
];

/// What may be named where; an empty list is nowhere (yet).
const HOMES: &[(&str, &[&str])] = &[
    ("sqlx::", &["store"]),
    ("reqwest::", &["waves", "media", "sandbox", "server"]),
    ("axum::", &["sandbox", "server"]),
    ("hyper::", &["server"]),
    ("hyper_util::", &["server"]),
    ("prometheus_client::", &["server"]),
    ("backoff::", &["pace"]),
    ("clap::", &["cli"]),
    ("anyhow::", &["cli"]),
    ("print!", &["cli"]),
    ("println!", &["cli"]),
    ("eprint!", &["cli"]),
    ("eprintln!", &["cli"]),
    ("aws_config::", &["s3"]),
    ("aws_credential_types::", &["s3"]),
    ("aws_smithy_http_client::", &["s3"]),
    ("aws_sdk_s3::", &["s3", "media", "sink"]),
];

/// What the domain, being pure, may not name.
const NOT_IN_DOMAIN: &[&str] = &["tokio::", "std::fs", "std::net", "std::env", "std::process", "SystemTime::now"];

/// One file of `src/`, without its comments and tests.
struct Source {
    path: PathBuf,
    room: String,
    /// Names between the crate's root and this file's module.
    depth: usize,
    code: String,
}

#[test]
fn every_room_is_on_the_plan() {
    for source in sources() {
        assert!(rank(&source.room).is_some(), "{}: no such room on the plan; add it here", source.path.display());
    }
}

#[test]
fn arrows_point_down() {
    let sources = sources();
    let mut wrong = Vec::new();
    for source in &sources {
        for used in rooms_used(&source.code) {
            if !may_use(&source.room, &used) {
                wrong.push(format!("{}: {} may not use {used}", source.path.display(), source.room));
            }
        }
        if climbs_out(source) {
            wrong.push(format!("{}: leaves its room by `super`; write `crate::…`", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn each_big_library_has_its_home() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (word, homes) in HOMES {
            if names(&source.code, word) && !homes.contains(&source.room.as_str()) {
                wrong.push(format!("{}: `{word}` is at home in {homes:?}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_domain_does_no_io() {
    for source in sources().iter().filter(|source| source.room == "domain") {
        for word in NOT_IN_DOMAIN {
            assert!(!names(&source.code, word), "{}: `{word}` in the domain", source.path.display());
        }
    }
}

#[test]
fn the_checks_see_what_they_look_for() {
    let code =
        "use crate::{\n    clock::Millis,\n    domain::{a::B, c},\n    store,\n};\nfn f() { crate::waves::go() }";
    assert_eq!(rooms_used(code), ["clock", "domain", "store", "waves"]);
    assert!(names("x(); println!(\"a\")", "println!") && !names("eprintln!(\"a\")", "println!"));
    assert!(names("use sqlx::Row;", "sqlx::") && !names("my_sqlx::Row", "sqlx::"));
    let text = "// crate::a\nlet a = \"https://b\"; // crate::c\n#[cfg(test)]\nmod tests;\nlet d = 1;\n#[cfg(test)]\nmod t {\n}\n";
    assert_eq!(production(text), "let a = \"https://b\";\nlet d = 1;\n");
    assert!(may_use("runner", "store") && may_use("cli", "sandbox") && may_use("sink", "sink"));
    assert!(!may_use("store", "sink") && !may_use("domain", "clock") && !may_use("report", "runner"));
    assert!(!may_use("report", "cli") && !may_use("store", "nowhere"));
    let source = |depth, code: &str| Source { path: PathBuf::new(), room: "a".into(), depth, code: code.into() };
    assert!(climbs_out(&source(2, "use super::super::store;")) && !climbs_out(&source(3, "use super::super::b;")));
}

/// 0 is the ground.
fn rank(room: &str) -> Option<usize> {
    [GROUND, ADAPTERS, PIPELINE, TASKS, SURFACES].iter().position(|layer| layer.contains(&room))
}

fn may_use(room: &str, used: &str) -> bool {
    if room == used || EXTRA.contains(&(room, used)) {
        return true;
    }
    let (Some(from), Some(to)) = (rank(room), rank(used)) else { return false };
    match room {
        "domain" => false,
        _ => to < from || from == 0 && to == 0 || SURFACES.contains(&room),
    }
}

/// The rooms that some code names, each once.
fn rooms_used(code: &str) -> Vec<String> {
    let mut rooms: Vec<String> = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            Some(list) => rooms.extend(first_names(list)),
            None => rooms.push(word(rest)),
        }
    }
    rooms.sort();
    rooms.dedup();
    rooms
}

/// The first name of each item of a `use` list, up to the brace that ends it.
fn first_names(list: &str) -> Vec<String> {
    let (mut depth, mut start, mut found) = (0_usize, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                found.push(word(list[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Whether `code` names `word`, and not merely something that ends in it.
fn names(code: &str, word: &str) -> bool {
    let before = |at: usize| code[..at].chars().next_back();
    code.match_indices(word).any(|(at, _)| before(at).is_none_or(|c| !c.is_alphanumeric() && c != '_'))
}

/// Whether a chain of `super::` reaches the crate's root, where the other rooms are.
fn climbs_out(source: &Source) -> bool {
    let chain = "super::".repeat(source.depth);
    names(&source.code, &chain)
}

/// A file without comments, and without what only tests compile. Relies on rustfmt's indentation.
fn production(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() == "#[cfg(test)]" {
            let indent = &line[..line.len() - line.trim_start().len()];
            let item = lines.by_ref().find(|next| !next.trim_start().starts_with("#[")).unwrap_or_default();
            if item.ends_with('{') {
                let end = format!("{indent}}}");
                lines.by_ref().find(|next| *next == end);
            } else if !item.ends_with([';', '}']) {
                lines.by_ref().find(|next| next.ends_with(';'));
            }
        } else if !line.trim_start().starts_with("//") {
            kept.push_str(line.split(" // ").next().unwrap_or_default());
            kept.push('\n');
        }
    }
    kept
}

/// The production files below `src/`, but for the crate's two roots.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    gather(&root, &root, &mut sources);
    assert!(sources.len() > 50, "the sources are not where they are looked for");
    sources
}

fn gather(root: &Path, dir: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap().to_owned();
        if stem == "tests" || stem.ends_with("_tests") {
            continue;
        }
        if path.is_dir() {
            gather(root, &path, sources);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !(dir == root && is_root(&stem)) {
            let below = path.strip_prefix(root).unwrap().with_extension("");
            let mut names: Vec<_> = below.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
            if stem == "mod" {
                names.pop();
            }
            let code = production(&fs::read_to_string(&path).unwrap());
            sources.push(Source { path, room: names[0].clone(), depth: names.len(), code });
        }
    }
}

fn is_root(stem: &str) -> bool {
    matches!(stem, "main" | "lib")
}
