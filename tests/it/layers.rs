//! The floor plan of docs/developing/architecture.md, held against the sources: arrows point down, and each big library
//! has one home.
//! Only production code is looked at; a test may use what it likes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Rooms from the ground up: each knows those of the layers below it, and of its own layer only the ground each other.
const LAYERS: &[&[&str]] = &[
    // Pure types and decisions, and what every room may stand on.
    &["domain", "audio", "clock", "crash", "temp_lock", "io_fault", "large", "pace", "s3", "process", "shutdown"],
    // Adapters.
    &["definition", "store", "waves", "media", "sink", "render"],
    // The pipeline, and what it is told by.
    &["runner", "report", "config"],
    // What can be done with a line: tasks know the rooms below, which know none of them by name.
    &["tasks"],
    // What listens, and what a service is made of.
    &["server", "sandbox"],
    // What front ends drive.
    &["app"],
    // Front ends.
    &["cli", "telemetry", "fuzzed"],
];
/// Arrows between rooms of one layer, beyond the plan, each with its reason.
const EXTRA: &[(&str, &str)] = &[
    // The first `summary.json`, written before money is spent, is how an output knows its owner.
    ("runner", "report"),
    // The command line says how the log is written.
    ("cli", "telemetry"),
];

/// What may be named where; an empty list is nowhere (yet).
const HOMES: &[(&str, &[&str])] = &[
    ("sqlx::", &["store"]),
    ("tar::", &["store"]),
    ("symphonia::", &["audio"]),
    ("reqwest::", &["waves", "media", "sandbox", "server"]),
    ("axum::", &["sandbox", "server"]),
    ("hyper::", &["sandbox", "server"]),
    ("hyper_util::", &["sandbox", "server"]),
    ("tokio_tungstenite::", &["waves", "sandbox"]),
    ("prometheus_client::", &["server"]),
    ("procfs::", &["process"]),
    ("backoff::", &["pace"]),
    ("icu_segmenter::", &["domain"]),
    ("boon::", &["domain"]),
    ("clap::", &["cli"]),
    ("clap_mangen::", &["cli"]),
    ("anyhow::", &["cli"]),
    ("indicatif::", &["cli", "telemetry"]),
    ("tracing_subscriber::", &["telemetry"]),
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

/// Rooms that have files which use each other in a circle, and how many files these are at most; in the other rooms there is
/// none. In `definition` a task's draft is built on the builder, and the builder asks the task: the traits and what they build
/// on are one thing, and one file would be longer, not simpler.
const IN_CIRCLES: &[(&str, usize)] = &[("definition", 5)];

/// One file of `src/`, without its comments and tests.
struct Source {
    path: PathBuf,
    room: String,
    /// The module, as names from the crate's root.
    module: Vec<String>,
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
fn files_use_each_other_in_no_circle() {
    let sources = sources();
    let mut by_room: BTreeMap<String, Vec<BTreeSet<String>>> = BTreeMap::new();
    for circle in circles(&uses_between(&sources)) {
        let room = circle.first().and_then(|file| file.split(['/', '.']).next()).unwrap_or_default().to_owned();
        by_room.entry(room).or_default().push(circle);
    }
    let known = |room: &str| IN_CIRCLES.iter().find(|(known, _)| *known == room).map_or(0, |(_, files)| *files);
    let files = |circles: &[BTreeSet<String>]| circles.iter().map(BTreeSet::len).sum::<usize>();
    by_room.retain(|room, circles| files(circles) > known(room));
    let counts: Vec<_> = by_room.iter().map(|(room, circles)| (room, files(circles))).collect();
    assert!(by_room.is_empty(), "these files use each other in a circle ({counts:?}):\n{by_room:#?}");
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
    assert!(may_use("runner", "store") && may_use("app", "server") && may_use("sink", "sink"));
    assert!(
        !may_use("store", "sink")
            && !may_use("domain", "clock")
            && !may_use("report", "runner")
            && !may_use("server", "app")
    );
    assert!(!may_use("report", "cli") && !may_use("store", "nowhere"));
    let source = |module: &str, code: &str| Source {
        path: PathBuf::from(module.replace("::", "/")),
        room: "a".into(),
        module: names_of(module),
        code: code.into(),
    };
    assert!(climbs_out(&source("a::b", "use super::super::store;")));
    assert!(!climbs_out(&source("a::b::c", "use super::super::b;")));
    let files = [
        source("a", "mod b;\nmod c;\nmod d;\npub use self::{b::B, c::{C, D as E}};\nuse d::run;\n"),
        source("a::b", "use super::{E, d};\nfn f() { d::run() }\n"),
        source("a::c", "use crate::a::{\n    d::{self, X},\n    Own,\n};\n"),
        source("a::d", "pub fn run() { super::b::go() }\n"),
    ];
    let uses = uses_between(&files);
    let of = |file: &str| uses[file].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!((of("a/b"), of("a/c"), of("a/d")), (vec!["a/c", "a/d"], vec!["a/d"], vec!["a/b"]));
    assert_eq!(circles(&uses), [["a/b", "a/c", "a/d"].map(str::to_owned).into()]);
}

/// Which file uses which, but for those above and below it: a module and its parts are one thing.
fn uses_between(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let modules: BTreeMap<&[String], &Source> =
        sources.iter().map(|source| (source.module.as_slice(), source)).collect();
    let imports: BTreeMap<&[String], Vec<Import>> =
        sources.iter().map(|source| (source.module.as_slice(), imports(source))).collect();
    let mut uses = BTreeMap::new();
    for source in sources {
        let mut used = BTreeSet::new();
        for path in paths_used(source, &imports[source.module.as_slice()], &modules) {
            let Some(home) = home_of(&path, &modules, &imports, 8) else { continue };
            if !home.starts_with(&source.module) && !source.module.starts_with(home) {
                used.insert(shown(modules[home]));
            }
        }
        uses.insert(shown(source), used);
    }
    uses
}

/// The groups of files each of which is used, by way of others, by all of its group.
fn circles(uses: &BTreeMap<String, BTreeSet<String>>) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = uses.keys().map(|from| (from, reach(from, uses))).collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (from, reached_from) in &reached {
        let both = reached_from.iter().filter(|to| reached.get(**to).is_some_and(|back| back.contains(from)));
        let circle: BTreeSet<String> = both.map(|file| (*file).clone()).collect();
        if circle.len() > 1 && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

fn reach<'u>(from: &'u String, uses: &'u BTreeMap<String, BTreeSet<String>>) -> BTreeSet<&'u String> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        next.extend(uses.get(file).into_iter().flatten().filter(|used| reached.insert(*used)));
    }
    reached
}

fn shown(source: &Source) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    source.path.strip_prefix(&root).unwrap_or(&source.path).display().to_string()
}

/// A name that a `use` brings in, and what it stands for.
struct Import {
    name: String,
    path: Vec<String>,
}

/// What all `use`s of a file bring in, by their paths from the crate's root; of other crates, nothing.
fn imports(source: &Source) -> Vec<Import> {
    let mut imports = Vec::new();
    let mut rest = source.code.as_str();
    while let Some((line, after)) = rest.split_once('\n') {
        let statement = line.trim_start();
        let statement =
            statement.strip_prefix("pub").map_or(statement, |open| open.split_once(' ').unwrap_or_default().1);
        let start = rest;
        rest = after;
        if statement.starts_with("use ") {
            let tree = start.split_once("use ").unwrap_or_default().1;
            flatten(tree.split(';').next().unwrap_or_default(), &[], &mut |path, name| {
                imports.extend(absolute(path, source).map(|path| Import { name: name.to_owned(), path }));
            });
        }
    }
    imports
}

/// Each path of a `use` tree, and the name that it gets.
fn flatten(tree: &str, before: &[String], found: &mut impl FnMut(Vec<String>, &str)) {
    let tree = tree.trim();
    if let Some((head, list)) = tree.split_once('{') {
        let head = [before, &names_of(head.trim_end_matches("::"))].concat();
        let list = list.trim_end().strip_suffix('}').unwrap_or(list);
        let (mut depth, mut start) = (0_usize, 0);
        for (at, c) in list.char_indices().chain([(list.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    flatten(&list[start..at], &head, found);
                    start = at + 1;
                }
                _ => {}
            }
        }
    } else if !tree.is_empty() {
        let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias)));
        let mut path = [before, &names_of(path)].concat();
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let name = alias.map_or_else(|| path.last().cloned().unwrap_or_default(), str::to_owned);
        found(path, name.trim());
    }
}

fn names_of(path: &str) -> Vec<String> {
    path.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// A path from the crate's root, if it is one of this crate's.
fn absolute(mut path: Vec<String>, source: &Source) -> Option<Vec<String>> {
    let mut base = source.module.clone();
    match path.first()?.as_str() {
        "crate" => {
            path.remove(0);
            return Some(path);
        }
        "self" => {
            path.remove(0);
        }
        "super" => {
            while path.first().is_some_and(|name| name == "super") {
                path.remove(0);
                base.pop()?;
            }
        }
        first if names(&source.code, &format!("mod {first};")) => {}
        _ => return None,
    }
    base.extend(path);
    Some(base)
}

/// Every path of this crate that a file names: in its `use`s, by what they bring in, or in full.
fn paths_used(source: &Source, imports: &[Import], modules: &BTreeMap<&[String], &Source>) -> Vec<Vec<String>> {
    // What a file hands on is no use of its own.
    let handed_on = |import: &Import| {
        source.code.lines().any(|line| line.starts_with("pub") && names(line, &import.name))
            && source.path.ends_with("mod.rs")
    };
    let mut paths: Vec<Vec<String>> = Vec::new();
    for import in imports.iter().filter(|import| !handed_on(import)) {
        paths.push(import.path.clone());
        if modules.contains_key(import.path.as_slice()) {
            let inside = names_after(&source.code, &format!("{}::", import.name));
            paths.extend(inside.into_iter().map(|name| [import.path.clone(), vec![name]].concat()));
        }
    }
    for root in ["crate::", "super::"] {
        for (at, _) in source.code.match_indices(root) {
            if source.code[..at].ends_with("::") {
                continue;
            }
            let path = &source.code[at..];
            let end = path.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(path.len());
            paths.extend(absolute(names_of(&path[..end]), source));
        }
    }
    paths
}

/// The names that follow `prefix`, where that stands by itself.
fn names_after(code: &str, prefix: &str) -> Vec<String> {
    let free = |at: usize| {
        let before = code[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
    };
    let found = code.match_indices(prefix).filter(|(at, _)| free(*at));
    found.map(|(at, _)| word(&code[at + prefix.len()..])).filter(|name| !name.is_empty()).collect()
}

/// The module in which what a path names is written: where a module only hands it on, the one that it is handed from.
fn home_of<'m>(
    path: &[String],
    modules: &BTreeMap<&'m [String], &Source>,
    imports: &BTreeMap<&'m [String], Vec<Import>>,
    hops: usize,
) -> Option<&'m [String]> {
    let (module, _) = (0..=path.len()).rev().find_map(|len| modules.get_key_value(&path[..len]))?;
    let rest = &path[module.len()..];
    let Some(name) = rest.first() else { return Some(module) };
    match imports[module].iter().find(|import| import.name == *name) {
        Some(import) if hops > 0 => {
            home_of(&[&import.path, &rest[1..]].concat(), modules, imports, hops - 1).or(Some(module))
        }
        _ => Some(module),
    }
}

/// 0 is the ground.
fn rank(room: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&room))
}

fn may_use(room: &str, used: &str) -> bool {
    if room == used || EXTRA.contains(&(room, used)) {
        return true;
    }
    let (Some(from), Some(to)) = (rank(room), rank(used)) else { return false };
    match room {
        "domain" => false,
        _ => to < from || from == 0 && to == 0,
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
    let chain = "super::".repeat(source.module.len());
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
            sources.push(Source { path, room: names[0].clone(), module: names, code });
        }
    }
}

fn is_root(stem: &str) -> bool {
    matches!(stem, "main" | "lib")
}

/// Rooms that may say which task it is: the tasks, the stand-in of their API, and what feeds readers with noise.
const NAME_TASKS: &[&str] = &["tasks", "sandbox", "fuzzed"];
/// What says in code which task it is. Types of a task's options, comments and texts for users say it, too, and may.
const TASK_WORDS: &[&str] = &[
    "\"transcribe\"",
    "\"synthesize\"",
    "Transcribe",
    "Synthesize",
    "tasks::transcribe",
    "tasks::synthesize",
    "Transcription::TASK",
    "Synthesis::TASK",
    "::<Transcription>",
    "::<Synthesis>",
    "transcribing()",
    "synthesizing()",
];
/// The domain says it where the name of a task stands beside what the ledger keeps of it, and in an identity that is never to
/// change.
const MAY_NAME_TASKS: &[&str] = &["domain/identity.rs", "domain/synthesis.rs", "domain/transcription.rs"];

#[test]
fn no_task_is_named_outside_its_folder() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !NAME_TASKS.contains(&source.room.as_str())) {
        let file = shown(source);
        let words: Vec<_> = TASK_WORDS.iter().filter(|word| says(&source.code, word)).collect();
        if !words.is_empty() && !MAY_NAME_TASKS.contains(&file.as_str()) {
            wrong.push(format!("{file}: says {words:?}; ask the task instead"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let freed = |file: &&&str| {
        sources()
            .iter()
            .all(|source| shown(source) != **file || !TASK_WORDS.iter().any(|word| says(&source.code, word)))
    };
    let freed: Vec<_> = MAY_NAME_TASKS.iter().filter(freed).collect();
    assert!(freed.is_empty(), "these name no task any more: {freed:?}");
    assert!(says("match x { Transcribe => 1 }", "Transcribe") && !says("TranscribeOptions", "Transcribe"));
}

/// Whether some code has this word, and not as a part of another.
fn says(code: &str, word: &str) -> bool {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let whole = |at: usize| {
        let (first, last) = (word.chars().next(), word.chars().next_back());
        let (before, after) = (code[..at].chars().next_back(), code[at + word.len()..].chars().next());
        !(is_word(first) && is_word(before) || is_word(last) && is_word(after))
    };
    code.match_indices(word).any(|(at, _)| whole(at))
}
