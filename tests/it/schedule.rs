//! `wavebatch schedule`: what runs when, as its users meet it.

use std::{fs, path::Path, process::Output};

use serde_json::Value;

use crate::cli::{code, fixture, json, stderr, wavebatch};

/// In Kolkata it is half past three in the afternoon of the 21st.
const NOW: &str = "2026-11-21T10:00:00Z";

const TASK: &str = "task = \"transcribe\"\ntranscribe = { model = \"pulse\", language = \"en\" }\n";

fn schedule(dir: &Path, args: &[&str]) -> Output {
    let args = [&["schedule"], args].concat();
    wavebatch(dir, &args).env("WAVEBATCH_NOW", NOW).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A definition in `jobs/`, over `calls.csv` of so many lines beside it.
fn definition(dir: &Path, name: &str, rest: &str) {
    fs::create_dir_all(dir.join("jobs")).unwrap();
    fs::write(dir.join(format!("jobs/{name}.toml")), format!("{TASK}{rest}")).unwrap();
}

fn calls(dir: &Path, file: &str, lines: u32) {
    let lines: String = (0..lines).map(|n| format!("{n},https://rec.example.com/{n}.wav\n")).collect();
    fs::create_dir_all(dir.join("jobs")).unwrap();
    fs::write(dir.join("jobs").join(file), format!("key,source\n{lines}")).unwrap();
}

fn nightly(zone: &str, manifest: &str, window: &str) -> String {
    format!(
        "date = \"yesterday\"\ntimezone = \"{zone}\"\nbatch = \"{{name}}-{{date}}\"\nmanifest = \"{manifest}\"\nschedule = {{ cron = \"0 2 * * *\", window = \"{window}\" }}\n"
    )
}

#[test]
fn the_examples_say_when_they_run() {
    let dir = fixture();
    let jobs = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs");
    let listed = schedule(dir.path(), &[jobs]);
    assert_eq!(code(&listed), 0, "{}", stderr(&listed));
    for words in [
        "0 2 * * * in Asia/Kolkata; window 6 h 0 min; missed dates are run",
        "Sun 2026-11-22 02:00 +05:30  2026-11-21 20:30 UTC  until 08:00  nightly-calls-2026-11-21\n",
        "Mon 2026-11-23 02:00 +05:30  2026-11-22 20:30 UTC  until 08:00  nightly-calls-2026-11-22\n",
        "not counted: its manifest is not on this machine",
        "definitions without a schedule",
    ] {
        assert!(out(&listed).contains(words), "{words}:\n{}", out(&listed));
    }
    assert_eq!(out(&listed).matches("UTC").count(), 7);
    assert_eq!(out(&schedule(dir.path(), &[jobs, "--days", "1"])).matches("UTC").count(), 1);
    assert!(!dir.path().join("wavebatch.db").exists(), "a look writes nothing");
}

#[test]
fn lines_that_the_window_cannot_hold_are_counted() {
    let dir = fixture();
    calls(dir.path(), "calls.csv", 10_000);
    definition(dir.path(), "long", &nightly("Europe/Berlin", "calls.csv", "6h"));
    definition(dir.path(), "fits", &nightly("Europe/Berlin", "calls.csv", "6h47m"));
    let listed = schedule(dir.path(), &[]);
    assert_eq!(code(&listed), 0, "{}", stderr(&listed));
    let message = out(&listed);
    assert!(message.contains("10,000, at least 6 h 39 min: 25 requests/min (preset standard"), "{message}");
    assert_eq!(message.matches("do not fit").count(), 1, "{message}");
    assert!(message.contains("1,125 calls do not fit into 6 h 0 min and wait for the next run"), "{message}");

    let listed = json(&schedule(dir.path(), &["jobs/long.toml", "jobs", "--json"]));
    let [fits, long] = &listed["definitions"].as_array().unwrap()[..] else { panic!("{listed:#}") };
    assert_eq!((&fits["calls"]["over_window"], &long["calls"]["over_window"]), (&Value::from(0), &Value::from(1_125)));
    let next = &long["next"][0];
    assert_eq!(
        (&next["at"]["utc"], &next["at"]["local"]),
        (&"2026-11-22T01:00:00Z".into(), &"2026-11-22T02:00:00+01:00".into())
    );
    assert_eq!((&next["date"], &next["batch"]), (&"2026-11-21".into(), &"long-2026-11-21".into()));
    assert_eq!((&next["until"]["utc"], &long["window_seconds"]), (&"2026-11-22T07:00:00Z".into(), &21_600.into()));
    // Where the account allows more, it fits.
    fs::write(dir.path().join("wavebatch.toml"), "[limits.pulse]\nrequests_per_minute = 60\n").unwrap();
    assert!(!out(&schedule(dir.path(), &[])).contains("do not fit"));
}

#[test]
fn a_broken_definition_stops_no_other() {
    let dir = fixture();
    calls(dir.path(), "calls.csv", 3);
    definition(dir.path(), "good", &nightly("America/New_York", "calls.csv", "6h"));
    definition(dir.path(), "cron", &nightly("UTC", "calls.csv", "6h").replace("0 2 * * *", "0 26 * * *"));
    definition(dir.path(), "gone", &nightly("UTC", "missing.csv", "6h"));
    definition(dir.path(), "plain", "manifest = \"calls.csv\"\n");
    let split = TASK.replace(" }", ", channels = \"split\" }") + &nightly("UTC", "calls.csv", "6h");
    fs::write(dir.path().join("jobs/split.toml"), split).unwrap();
    fs::write(dir.path().join("jobs/half.toml"), "task = \n").unwrap();
    fs::write(dir.path().join("jobs/notes.txt"), "no definition").unwrap();
    let listed = schedule(dir.path(), &[]);
    assert_eq!(code(&listed), 2);
    let (message, faults) = (out(&listed), stderr(&listed));
    assert!(
        message.contains("Sun 2026-11-22 02:00 -05:00  2026-11-22 07:00 UTC  until 08:00  good-2026-11-21"),
        "{message}"
    );
    assert!(message.contains("  calls     3, within the first minute's requests"), "{message}");
    assert!(message.contains("  calls     at most 6, within the first minute's requests"), "two channels: {message}");
    assert!(message.contains("1 definition without a schedule\n3 definitions broken, and will not run"), "{message}");
    for words in [
        "jobs/cron.toml:7:21: `schedule.cron`: hour `26`: 26 is not between 0 and 23",
        "jobs/gone.toml:6:12: `manifest`: there is no such file",
        "jobs/half.toml:1:",
    ] {
        assert!(faults.contains(words), "{words}:\n{faults}");
    }
    let listed = schedule(dir.path(), &["--json"]);
    assert_eq!((code(&listed), json(&listed)["broken"].as_array().unwrap().len()), (2, 3));
    assert_eq!(json(&listed)["without_schedule"], 1);
}

#[test]
fn two_that_would_make_one_batch_are_told_and_so_is_one_batch_for_all_nights() {
    let dir = fixture();
    calls(dir.path(), "calls.csv", 3);
    let named = |name: &str| nightly("UTC", "calls.csv", "1h").replace("{name}", name);
    definition(dir.path(), "a", &named("calls"));
    // Only on the first of a month, further away than the days that are listed.
    definition(dir.path(), "b", &named("calls").replace("0 2 * * *", "30 4 1 * *"));
    definition(dir.path(), "c", "manifest = \"calls.csv\"\nbatch = \"one\"\nschedule = { cron = \"@hourly\" }\n");
    let listed = schedule(dir.path(), &["--days", "2"]);
    assert_eq!(code(&listed), 0, "{}", stderr(&listed));
    let message = out(&listed);
    assert!(message.contains("jobs/a.toml and jobs/b.toml would make the same batch, `calls-2026-11-30`"), "{message}");
    assert!(message.contains("Tue 2026-12-01 04:30 +00:00"), "the next one, however far:\n{message}");
    assert!(message.contains("note      the batch's name has no {date}: every run"), "{message}");
    assert!(message.contains("and 38 more"), "ten of two days' hours:\n{message}");
}

#[test]
fn a_manifest_of_a_day_to_come_is_no_fault() {
    let dir = fixture();
    definition(dir.path(), "a", &nightly("UTC", "{date:%Y-%m}/calls.csv", "6h"));
    let listed = schedule(dir.path(), &[]);
    assert_eq!(code(&listed), 0, "{}", stderr(&listed));
    assert!(out(&listed).contains("not counted: its manifest is not there yet"), "{}", out(&listed));
    fs::create_dir(dir.path().join("jobs/2026-11")).unwrap();
    calls(dir.path(), "2026-11/calls.csv", 2);
    assert!(out(&schedule(dir.path(), &[])).contains("  calls     2, within"));
}

#[test]
fn without_definitions_there_is_something_to_say() {
    let dir = fixture();
    let none = schedule(dir.path(), &[]);
    assert_eq!(code(&none), 2);
    assert!(
        stderr(&none).contains("jobs: ") && stderr(&none).contains("hint: name the directory"),
        "{}",
        stderr(&none)
    );
    fs::create_dir(dir.path().join("jobs")).unwrap();
    let empty = schedule(dir.path(), &[]);
    assert_eq!((code(&empty), out(&empty).as_str()), (0, "there is no definition here\n"));
}
