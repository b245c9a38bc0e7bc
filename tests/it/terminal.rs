//! What a terminal shows: everything that comes from outside, and obeys none of it.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::Path, process::Command};

use serde_json::Value;
use wavebatch::domain::printable::is_control_or_invisible;

use crate::{
    cli::{fixture, run, wavebatch},
    support::{pty::Pty, synthesis},
};

/// Sets the title, clears the screen, paints, turns the order round, and breaks the line: in ESC and in C1.
const EVIL: &str = "\u{1b}]0;pwned\u{7}\u{1b}[2J\u{1b}[31m\u{9b}2J\u{202e}\u{2066}\u{2028}\u{7f}";

/// A place with something hostile in every name: of a folder, a recording, a manifest, a definition, columns, cells, sources.
fn hostile_fixture() -> tempfile::TempDir {
    let dir = fixture();
    let rec = dir.path().join("rec");
    fs::create_dir(&rec).unwrap();
    fs::write(rec.join("a.wav"), synthesis("words", 1.0, 1)).unwrap();
    fs::write(rec.join("x.\u{1b}]0;pwned\u{7}"), "").unwrap();
    fs::write(rec.join(OsStr::from_bytes(b"y.\xff\x1b[2J")), "").unwrap();
    fs::create_dir(dir.path().join(format!("d{EVIL}"))).unwrap();
    fs::write(dir.path().join(format!("d{EVIL}/a.wav")), synthesis("words", 1.0, 2)).unwrap();
    let head = format!("key,source,note,{}\n", EVIL.replace('\u{2028}', ""));
    let rows = format!("k\u{202e}1,rec/a.wav,{EVIL},1\nk2,\u{2028}\u{202e}gone.wav,n,2\n");
    fs::write(dir.path().join(format!("m{EVIL}.csv")), format!("{head}{rows}")).unwrap();
    fs::write(dir.path().join("m.csv"), format!("{head}{rows}")).unwrap();
    fs::write(dir.path().join("bad.csv"), format!("key,source\nk,\"{EVIL}\nk,{EVIL}\n{EVIL},x\n")).unwrap();
    fs::write(dir.path().join(format!("p{EVIL}.csv")), format!("key,text\nt,Hello {EVIL} there.\n")).unwrap();
    fs::create_dir(dir.path().join("jobs")).unwrap();
    fs::write(dir.path().join(format!("jobs/{EVIL}.toml")), format!("name = {EVIL}")).unwrap();
    let named = format!("task = \"transcribe\"\nmodle = \"\\u001B[2J\"\n\"{}\" = 1\n", "\\u009B2J");
    fs::write(dir.path().join("jobs/b.toml"), named).unwrap();
    dir
}

/// What stands on the screen is text but for line breaks, colours, and the moves of our own bars.
fn is_harmless(seen: &str, what: &str) {
    for evil in ["\u{1b}]", "\u{1b}[2J", "\u{1b}[31m\u{9b}", "\u{1b}[31m\\u{9b}", "\u{9b}"] {
        assert!(!seen.contains(evil), "{what}: {evil:?} in\n{seen:?}");
    }
    let mut rest = seen;
    while let Some(at) = rest.find(|c| is_control_or_invisible(c) && !matches!(c, '\n' | '\t')) {
        rest = match rest[at..].chars().next() {
            // The terminal's own line break, and a bar that begins its line again.
            Some('\r') => &rest[at + 1..],
            Some('\u{1b}') => own_sequence(&rest[at..]).unwrap_or_else(|| panic!("{what}: {:?}", &rest[at..])),
            c => panic!("{what}: {c:?} in\n{seen:?}"),
        };
    }
}

/// What comes after a colour, or a move of the cursor within bars.
fn own_sequence(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("\u{1b}[")?.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
    rest.strip_prefix(['m', 'A', 'B', 'C', 'D', 'K'])
}

fn shown(dir: &Path, args: &[&str]) -> String {
    let (seen, _) = Pty::run(wavebatch(dir, args));
    is_harmless(&seen, &format!("{args:?}"));
    seen
}

#[test]
fn no_verb_lets_a_name_steer_the_terminal() {
    let dir = hostile_fixture();
    let dir = dir.path();
    let task = ["--task", "transcribe", "--model", "pulse", "--language", "en", "--sandbox"];
    let with = |words: &[&'static str]| [words, &task].concat();
    let seen = shown(dir, &with(&["check", "rec"]));
    assert!(seen.contains(".\\u{1b}]0;pwned\\u{7}"), "it is shown, not left out: {seen}");
    assert!(shown(dir, &with(&["run", "rec", "--batch", "one"])).contains("1 .\\u{1b}]0;pwned\\u{7}"));
    let evil_folder = format!("d{EVIL}");
    shown(dir, &[&["check", &evil_folder], &task[..]].concat());
    let folder = [&["check", &evil_folder, "--batch", "f"], &task[..]].concat();
    assert!(shown(dir, &folder).contains("error: d\\u{1b}]0;pwned"));
    let manifest = format!("m{EVIL}.csv");
    shown(dir, &[&["check", &manifest], &task[..]].concat());
    let named = [&["check", &manifest, "--batch", "m"], &task[..]].concat();
    assert!(shown(dir, &named).contains("manifest  m\\u{1b}]0;pwned"));
    let seen = shown(dir, &[&["run", &manifest, "--batch", "two", "-vvv"], &task[..]].concat());
    assert!(seen.contains("source_missing"), "{seen}");
    shown(dir, &[&["run", &manifest, "--batch", "two", "--log-format", "json", "-v"], &task[..]].concat());
    shown(dir, &with(&["run", "bad.csv"]));
    shown(dir, &[&["run", "jobs/b.toml"], &task[5..]].concat());
    for args in [
        &["status", "--sandbox"][..],
        &["status", "two", "--sandbox"],
        &["jobs", "two", "--sandbox"],
        &["jobs", "two", "--sandbox", "--key", "k2"],
        &["jobs", "two", "--sandbox", "--key", "k\u{202e}1"],
        &["jobs", "two", "--sandbox", "--key", EVIL],
        &["report", "two", "--sandbox"],
        &["spend", "--sandbox", "--by", "note"],
        &["spend", "--sandbox", "--by", EVIL],
        &["deliver", "two", "--sandbox"],
        &["retry", "two", "--sandbox", "--yes"],
        &["cancel", "two", "--sandbox"],
        &["spool", "--sandbox"],
        &["spool", "prune", "--older-than", EVIL],
        &["voices", "--sandbox", "--language", EVIL],
        &["schedule", "jobs"],
        &["schedule", EVIL],
        &["status", EVIL],
        &["report", EVIL, "--sandbox"],
        &["report", "two", "--sandbox", "-o", EVIL],
        &["pause", EVIL, "--sandbox"],
        &["status", "--config", EVIL],
        &["status", "--database", EVIL],
        &["serve", "--definitions", EVIL, "--sandbox"],
        &[EVIL],
        &["run", "rec", EVIL],
        &["run", EVIL],
        &["run", "--nix", EVIL],
        &["jobs", "two", "--state", EVIL],
        &["jobs", "two", EVIL],
        &[&*format!("--{EVIL}"), "status"],
        &["run", "a\nerror: forged"],
    ] {
        shown(dir, args);
    }
    let (seen, _) = Pty::run({
        let mut command = wavebatch(dir, &["status"]);
        command.arg(OsStr::from_bytes(b"\xff\x1b[2J"));
        command
    });
    is_harmless(&seen, "an argument that is no text");
    let synthesis = ["--task", "synthesize", "--model", "lightning_v3.1", "--voice-id", "avery", "--sandbox"];
    let texts = format!("p{EVIL}.csv");
    shown(dir, &[&["check", &texts, "--parts"], &synthesis[..]].concat());
    shown(dir, &[&["check", &texts], &synthesis[..]].concat());
}

#[test]
fn colours_of_our_own_stay() {
    let dir = hostile_fixture();
    let (seen, _) = Pty::run({
        let mut command = wavebatch(dir.path(), &["status", "--nix", EVIL]);
        command.env_remove("NO_COLOR").env("TERM", "xterm");
        command
    });
    is_harmless(&seen, "a wrong flag");
    assert!(seen.contains("\u{1b}[1m\u{1b}[31merror:"), "{seen:?}");
}

#[test]
fn json_means_the_same_and_steers_nothing() {
    let dir = hostile_fixture();
    let dir = dir.path();
    let task = ["--task", "transcribe", "--model", "pulse", "--language", "en", "--sandbox"];
    run(dir, &[&["run", "m.csv", "--batch", "two"], &task[..]].concat());
    for args in [
        &["jobs", "two", "--sandbox", "--json", "--key", "k2"][..],
        &["status", "two", "--sandbox", "--json"],
        &["report", "two", "--sandbox", "--json"],
        &["spend", "--sandbox", "--by", "note", "--json"],
    ] {
        for seen in [shown(dir, args), String::from_utf8(run(dir, args).stdout).unwrap()] {
            is_harmless(&seen, &format!("{args:?}"));
            serde_json::from_str::<Value>(&seen).unwrap_or_else(|e| panic!("{args:?}: {e}\n{seen}"));
        }
    }
    let by_note: Value =
        serde_json::from_slice(&run(dir, &["spend", "--sandbox", "--by", "note", "--json"]).stdout).unwrap();
    let names: Vec<_> = by_note["groups"].as_array().unwrap().iter().map(|group| group["group"].clone()).collect();
    assert!(names.contains(&Value::from(EVIL)), "{names:?}");
}

#[test]
fn a_report_is_data_in_a_file_and_shown_on_a_terminal() {
    let dir = hostile_fixture();
    let dir = dir.path();
    let task = ["--task", "transcribe", "--model", "pulse", "--language", "en", "--sandbox"];
    run(dir, &[&["run", "m.csv", "--batch", "two"], &task[..]].concat());
    let args = ["report", "two", "--sandbox", "-o", "-"];
    let piped = run(dir, &args).stdout;
    assert!(String::from_utf8(piped.clone()).unwrap().contains(EVIL), "a pipe gets the cells as they are");
    run(dir, &["report", "two", "--sandbox", "-o", "r.csv"]);
    assert_eq!(fs::read(dir.join("r.csv")).unwrap(), piped, "and so does a file");
    let seen = shown(dir, &args);
    assert!(seen.contains("\\u{1b}]0;pwned\\u{7}") && seen.contains("k\\u{202e}1"), "{seen}");
    #[cfg(target_os = "linux")]
    assert_eq!(shown(dir, &["report", "two", "--sandbox", "-o", "/dev/stdout"]), seen + "");
}

#[test]
fn logs_steer_nothing() {
    let dir = hostile_fixture();
    let dir = dir.path();
    let forged = "a\u{2028}\u{202e}forged";
    fs::write(dir.join("f.csv"), format!("key,source\nk,{forged}.wav\n")).unwrap();
    let task = ["--task", "transcribe", "--model", "pulse", "--language", "en", "--sandbox"];
    for format in ["text", "json"] {
        let name = format!("batch-{format}");
        let args = ["run", "f.csv", "--batch", &name, "-vv", "--log-format", format];
        let mut command: Command = wavebatch(dir, &[&args, &task[..]].concat());
        let output = command.output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        is_harmless(&log, format);
        assert!(log.contains("line finished badly") && log.contains("forged"), "{log}");
    }
}
