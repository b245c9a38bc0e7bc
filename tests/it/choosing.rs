//! Choosing lines by what a user knows of them, in every verb; and the verbs that show one line, or files of none.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Output, Stdio},
};

use serde_json::Value;

use crate::cli::{code, fixture, json, run, stderr, wavebatch};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/demo-calls.toml");

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The demo in the sandbox, worked to its end, with a line that fails.
fn worked() -> tempfile::TempDir {
    let dir = fixture();
    let rec = Path::new(DEMO).parent().unwrap().join("demo-calls");
    let mut csv = "id,audio,agent,note\n".to_owned();
    for (nth, agent) in ["ann", "bob", "bob", "eve"].iter().enumerate() {
        let files = ["1001-greeting", "1002-billing", "1003-hindi", "1004-noise"];
        let found = fs::read_dir(&rec).unwrap().flatten().map(|entry| entry.path());
        let mut wavs: Vec<_> = found.filter(|path| path.extension().is_some_and(|ending| ending == "wav")).collect();
        wavs.sort();
        csv.push_str(&format!("k{nth},{},{agent},{}\n", wavs[nth].display(), files[nth]));
    }
    csv.push_str("gone,missing.wav,bob,\n");
    fs::write(dir.path().join("calls.csv"), csv).unwrap();
    let ran = run_batch(dir.path(), &[]);
    assert_eq!(code(&ran), 1, "{}", stderr(&ran));
    dir
}

fn run_batch(dir: &Path, more: &[&str]) -> Output {
    let args = ["run", "calls.csv", "--task", "transcribe", "--model", "pulse", "--language", "en", "--sandbox"];
    run(dir, &[&args, more].concat())
}

/// The keys that `jobs` lists.
fn keys(dir: &Path, args: &[&str]) -> Vec<String> {
    let output = run(dir, &[&["jobs", "calls", "--sandbox", "--json"], args].concat());
    let lines = stdout(&output);
    lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["key"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn lines_are_chosen_alike_in_every_verb() {
    let dir = worked();
    let dir = dir.path();
    fs::write(dir.join("keys.txt"), "\u{feff}k0\r\n\r\nk3\n").unwrap();
    for (args, expected) in [
        (vec!["--key", "k0", "--key", "k2"], vec!["k0", "k2"]),
        (vec!["--keys-from", "keys.txt"], vec!["k0", "k3"]),
        (vec!["--where", "agent=bob"], vec!["k1", "k2", "gone"]),
        (vec!["--where", "Agent=bob", "--where", "agent=ann"], vec!["k0", "k1", "k2", "gone"]),
        (vec!["--where", "agent=bob", "--state", "failed,suspect"], vec!["gone"]),
        (vec!["--where", "agent=bob", "--where", "state=succeeded"], vec!["k1", "k2"]),
        (vec!["--where", "error_kind=source_missing"], vec!["gone"]),
        (vec!["--where", "language=en", "--key", "k1"], vec!["k1"]),
        (vec!["--where", "note=sandbox", "--key", "k1"], vec!["k1"]),
        (vec!["--where", "manifest_note=1001-greeting"], vec!["k0"]),
    ] {
        assert_eq!(keys(dir, &args), expected, "{args:?}");
    }
    let report = run(dir, &["report", "calls", "--sandbox", "-o", "bob.csv", "--where", "agent=bob"]);
    assert_eq!(code(&report), 0, "{}", stderr(&report));
    assert_eq!(fs::read_to_string(dir.join("bob.csv")).unwrap().lines().count(), 4);

    let retry = run(dir, &["retry", "calls", "--sandbox", "--dry-run", "--where", "agent=bob"]);
    assert!(stderr(&retry).contains("1 line to be paid for"), "only what failed: {}", stderr(&retry));
    let by_key = run(dir, &["retry", "calls", "--sandbox", "--dry-run", "--keys-from", "keys.txt"]);
    assert!(stderr(&by_key).contains("2 lines to be paid for"), "{}", stderr(&by_key));

    for name in ["k0.txt", "k1.txt"] {
        fs::remove_file(dir.join("sandbox-out/calls").join(name)).unwrap();
    }
    let deliver = run(dir, &["deliver", "calls", "--sandbox", "--where", "agent=ann"]);
    assert!(stderr(&deliver).contains("1 line delivered again"), "{}", stderr(&deliver));
    assert!(dir.join("sandbox-out/calls/k0.txt").exists() && !dir.join("sandbox-out/calls/k1.txt").exists());
}

#[test]
fn what_matches_nothing_is_1_with_the_nearest_and_changes_nothing() {
    let dir = worked();
    let dir = dir.path();
    for (args, status, words) in [
        (vec!["jobs", "calls", "--key", "nope"], 1, "calls has no line with the key `nope`"),
        (vec!["jobs", "calls", "--where", "agnt=bob"], 2, "no line has a `agnt`; did you mean `agent`?"),
        (vec!["jobs", "calls", "--where", "zzzz=bob"], 2, "what there is: key, state, note, error_kind, source, model"),
        (vec!["jobs", "calls", "--where", "agent=bbo"], 1, "whose `agent` is `bbo`; did you mean `bob`?"),
        (vec!["jobs", "calls", "--where", "agent=BOB"], 1, "did you mean `bob`?"),
        (vec!["jobs", "calls", "--where", "state=fialed"], 2, "`fialed` is not a job state; did you mean `failed`?"),
        (vec!["jobs", "calls", "--where", "note=1001-greeting"], 2, "the manifest's column is `manifest_note`"),
        (vec!["jobs", "calls", "--state", "suspect"], 1, "calls: no line has `state` = `suspect`"),
        (vec!["jobs", "calls", "--where", "agent"], 2, "is not COLUMN=VALUE"),
        (vec!["retry", "calls", "--key", "gone", "--key", "nope"], 1, "1 of 2 keys are in no line: `nope`"),
        (vec!["deliver", "calls", "--key", "nope"], 1, "calls has no line with the key `nope`"),
        (vec!["cancel", "calls", "--where", "agent=zed"], 1, "calls has no line whose `agent` is `zed`"),
        (vec!["report", "calls", "--where", "agent=bob"], 2, "name a file for the report of some"),
        (vec!["retry", "calls", "--state", "succeeded"], 2, "name them with --key or --keys-from"),
        (vec!["jobs", "calls", "--keys-from", "none.txt"], 2, "--keys-from none.txt: cannot be read"),
    ] {
        let output = run(dir, &[&args[..], &["--sandbox"]].concat());
        assert_eq!(code(&output), status, "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
    }
    let status = json(&run(dir, &["status", "calls", "--sandbox", "--json"]));
    assert_eq!(status["batches"][0]["lines"]["failed"], 1, "nothing was queued: {status}");
    let some = run(dir, &["jobs", "calls", "--sandbox", "--key", "k0", "--key", "nope", "--json"]);
    assert_eq!((code(&some), stdout(&some).lines().count()), (1, 1), "what is there is shown");
}

#[test]
fn a_list_of_keys_comes_from_stdin() {
    let dir = worked();
    let mut child = wavebatch(dir.path(), &["jobs", "calls", "--sandbox", "--keys-from", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"k1\nk2\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(stdout(&output).lines().count(), 2);
}

#[test]
fn json_has_every_line_and_a_closed_pipe_is_no_failure() {
    let dir = fixture();
    let wav = Path::new(DEMO).parent().unwrap().join("demo-calls/1001-greeting.wav");
    let lines: String = (0..730).map(|nth| format!("{nth:04},{}\n", wav.display())).collect();
    fs::write(dir.path().join("calls.csv"), format!("id,audio\n{lines}")).unwrap();
    let args = ["--task", "transcribe", "--model", "pulse", "--language", "en", "--sandbox"];
    assert_eq!(code(&run(dir.path(), &[&["submit", "calls.csv"], &args[..]].concat())), 0);
    let jobs = ["jobs", "calls", "--sandbox"];
    assert_eq!(stdout(&run(dir.path(), &[&jobs[..], &["--json"]].concat())).lines().count(), 730);
    let some = run(dir.path(), &[&jobs[..], &["--json", "--limit", "600"]].concat());
    assert_eq!(stdout(&some).lines().count(), 600);
    assert!(stderr(&some).contains("the first 600 lines"), "{}", stderr(&some));
    let screen = run(dir.path(), &jobs);
    assert_eq!(stdout(&screen).lines().count(), 101, "and a screen the first hundred, with a header");
    for args in [
        vec!["report", "calls", "--sandbox", "-o", "-"],
        vec!["jobs", "calls", "--sandbox", "--json"],
        vec!["report", "calls", "--sandbox", "-o", "/dev/stdout", "--format", "jsonl"],
    ] {
        let mut child = wavebatch(dir.path(), &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{args:?}");
    }
    let cancel = run(dir.path(), &["cancel", "calls", "--sandbox", "--key", "0001", "--key", "0002"]);
    assert!(stderr(&cancel).contains("2 lines cancelled"), "{}", stderr(&cancel));
    let status = json(&run(dir.path(), &["status", "calls", "--sandbox", "--json"]));
    let batch = &status["batches"][0];
    assert_eq!((&batch["state"], &batch["lines"]["queued"]), (&"open".into(), &728.into()), "the others go on");
}

#[test]
fn the_ending_decides_how_a_report_is_written() {
    let dir = worked();
    let dir = dir.path();
    let write = |name: &str| run(dir, &["report", "calls", "--sandbox", "-o", name]);
    for name in ["a.csv", "a.jsonl", "a.csv.gz", "a.JSONL.gz"] {
        assert_eq!(code(&write(name)), 0, "{name}");
    }
    let read = |name: &str| {
        let mut text = String::new();
        flate2::read::GzDecoder::new(fs::File::open(dir.join(name)).unwrap()).read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(read("a.csv.gz"), fs::read_to_string(dir.join("a.csv")).unwrap());
    let jsonl = fs::read_to_string(dir.join("a.jsonl")).unwrap();
    assert_eq!(read("a.JSONL.gz"), jsonl);
    let rows: Vec<Value> = jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), &rows[0]["key"], &rows[0]["agent"]), (5, &"k0".into(), &"ann".into()));
    assert_eq!((&rows[0]["tries"], &rows[0]["wanted"]), (&1.into(), &"yes".into()), "a try that went well is one");
    assert!(rows[0]["audio_seconds"].is_f64() && rows[0]["outputs"].is_array() && rows[4]["transcript"].is_null());
    assert_eq!(rows[4]["status"], "failed");
    for (name, words) in [("a.parquet", "as `.parquet`"), ("a.json", "as `.json`"), ("report", "its ending says")] {
        let fault = write(name);
        assert_eq!(code(&fault), 2, "{name}");
        assert!(stderr(&fault).contains(words) && stderr(&fault).contains("`.jsonl.gz`"), "{}", stderr(&fault));
        assert!(!dir.join(name).exists());
    }
}

#[test]
fn outputs_that_are_gone_are_noticed_and_deliver_brings_them_back() {
    let dir = worked();
    let dir = dir.path();
    let out = dir.join("sandbox-out/calls");
    fs::remove_file(out.join("k1.txt")).unwrap();
    let again = run_batch(dir, &["--tolerate", "50%"]);
    assert_eq!(code(&again), 1, "{}", stderr(&again));
    for told in [stderr(&again), stderr(&run(dir, &["report", "calls", "--sandbox"]))] {
        assert!(told.contains("1 of ") && told.contains("k1.txt"), "{told}");
        assert!(told.contains("-> wavebatch deliver calls --sandbox"), "{told}");
    }
    assert_eq!(code(&run(dir, &["report", "calls", "--sandbox", "-o", "x.csv"])), 1);
    run(dir, &["deliver", "calls", "--sandbox"]);
    assert!(out.join("k1.txt").exists());
    let told = run_batch(dir, &["--tolerate", "50%"]);
    assert_eq!(code(&told), 0, "{}", stderr(&told));
    assert!(stderr(&told).contains("none in this run; of the batch"), "this run first: {}", stderr(&told));
}

#[test]
fn every_hint_names_the_ledger_that_is_meant_and_what_helps() {
    let dir = worked();
    let dir = dir.path();
    let said = |args: &[&str]| stderr(&run(dir, args));
    let pause = said(&["pause", "calls", "--sandbox"]);
    assert!(pause.contains("`wavebatch resume calls --sandbox` lifts it"), "{pause}");
    let paused = stderr(&run_batch(dir, &[]));
    assert!(paused.contains("hint: wavebatch resume calls --sandbox\n"), "{paused}");
    said(&["resume", "calls", "--sandbox"]);
    let summary = stderr(&run(dir, &["report", "calls", "--sandbox", "-o", "-", "--state", "failed"]));
    assert!(!summary.contains("wavebatch retry calls\n"), "{summary}");
    let status = stdout(&run(dir, &["status", "calls", "--sandbox"]));
    assert!(status.contains("wavebatch retry calls --sandbox  tries them again"), "{status}");
    let unknown = said(&["status", "nobody-knows-this", "--sandbox"]);
    assert!(unknown.contains("`wavebatch status --sandbox` lists them"), "{unknown}");
    // What was pruned is not delivered again.
    let out = dir.join("sandbox-out/calls");
    fs::remove_file(out.join("k1.txt")).unwrap();
    said(&["prune", "calls", "--older-than", "0s", "--sandbox"]);
    let told = said(&["report", "calls", "--sandbox"]);
    let again = "-> wavebatch retry calls --key k1 --sandbox  pays for one again: no answer is kept for it\n";
    assert!(told.contains(again) && !told.contains("wavebatch deliver"), "{told}");
    let delivered = said(&["deliver", "calls", "--sandbox"]);
    assert!(delivered.contains("`wavebatch retry calls --key KEY --sandbox` pays for one again"), "{delivered}");
    let queued = said(&["retry", "calls", "--key", "k1", "--sandbox"]);
    assert!(queued.contains("queued  -> wavebatch work --batch calls --sandbox"), "{queued}");
    said(&["work", "--batch", "calls", "--sandbox"]);
    assert!(out.join("k1.txt").exists());
}

#[test]
fn a_file_that_no_line_owns_is_listed_and_removed() {
    let dir = worked();
    let dir = dir.path();
    let out = dir.join("sandbox-out/calls");
    fs::write(out.join("old.txt"), "old").unwrap();
    fs::write(out.join("notes.md"), "mine").unwrap();
    let listed = run(dir, &["orphans", "calls", "--sandbox"]);
    assert_eq!((code(&listed), stdout(&listed).as_str()), (0, "old.txt\n"), "{}", stderr(&listed));
    assert!(stderr(&listed).contains("left alone: 1 file of other kinds"), "{}", stderr(&listed));
    assert!(out.join("old.txt").exists());
    assert_eq!(code(&run(dir, &["orphans", "calls", "--sandbox", "--remove"])), 0);
    assert!(!out.join("old.txt").exists() && out.join("notes.md").exists() && out.join("k0.txt").exists());
    assert!(out.join("report.csv").exists() && out.join("summary.json").exists());
}

#[test]
fn one_line_is_shown_with_its_text_and_words_are_found() {
    let dir = worked();
    let dir = dir.path();
    let shown = run(dir, &["show", "k0", "--sandbox"]);
    let text = fs::read_to_string(dir.join("sandbox-out/calls/k0.txt")).unwrap();
    for part in ["calls: k0", "answered", "k0.txt", "(1 billed, 1 try)", text.trim()] {
        assert!(stdout(&shown).contains(part), "{part}: {}", stdout(&shown));
    }
    let view = json(&run(dir, &["show", "k0", "--sandbox", "--json"]));
    assert_eq!((&view["batch"], &view["key"]), (&"calls".into(), &"k0".into()));
    assert!(view["text"].as_str().unwrap().starts_with(&text.trim()[..10]));
    let near = run(dir, &["show", "k9", "--sandbox"]);
    assert_eq!(code(&near), 1);
    assert!(stderr(&near).contains("did you mean `k"), "{}", stderr(&near));

    let words = text.split_whitespace().take(3).collect::<Vec<_>>().join(" ").to_uppercase();
    let found = run(dir, &["find", &words, "--sandbox"]);
    assert!(stdout(&found).contains("calls  k0  "), "{}", stdout(&found));
    run(dir, &["prune", "calls", "--sandbox", "--older-than", "0s"]);
    let pruned = json(&run(dir, &["find", &words, "--sandbox", "--json"]));
    assert_eq!(pruned["key"], "k0", "in the outputs, if the answer is pruned");
    let nowhere = run(dir, &["find", "xylophone parade", "--sandbox"]);
    assert_eq!(code(&nowhere), 1);
    assert!(stderr(&nowhere).contains("nothing in calls has the words"), "{}", stderr(&nowhere));
}

#[test]
fn a_sample_is_drawn_again_and_a_larger_one_contains_it() {
    let dir = fixture();
    let wav = Path::new(DEMO).parent().unwrap().join("demo-calls/1001-greeting.wav");
    let lines: String = (0..50).map(|nth| format!("k{nth},{}\n", wav.display())).collect();
    fs::write(dir.path().join("calls.csv"), format!("id,audio\n{lines}")).unwrap();
    let first = run_batch(dir.path(), &["--sample", "5", "--seed", "3"]);
    assert_eq!(code(&first), 0, "{}", stderr(&first));
    let five = keys(dir.path(), &[]);
    assert_eq!(five.len(), 5);
    let again = run_batch(dir.path(), &["--sample", "5", "--seed", "3"]);
    assert!(stderr(&again).contains("5 there already"), "{}", stderr(&again));
    let more = run_batch(dir.path(), &["--sample", "12", "--seed", "3"]);
    assert!(stderr(&more).contains("7 new, 5 there already"), "{}", stderr(&more));
    let all = run_batch(dir.path(), &[]);
    assert!(stderr(&all).contains("38 new, 12 there already"), "{}", stderr(&all));
    assert_eq!(code(&run_batch(dir.path(), &["--sample", "5", "--limit", "5"])), 2);
}

#[test]
fn a_cancelled_batch_is_cancelled_though_it_was_paused() {
    let dir = fixture();
    let args = ["submit", DEMO, "--sandbox"];
    assert_eq!(code(&run(dir.path(), &args)), 0);
    for verb in ["pause", "cancel"] {
        assert_eq!(code(&run(dir.path(), &[verb, "demo-calls", "--sandbox"])), 0, "{verb}");
    }
    let status = json(&run(dir.path(), &["status", "demo-calls", "--sandbox", "--json"]));
    let batch = &status["batches"][0];
    assert_eq!((&batch["state"], &batch["pause"]), (&"cancelled".into(), &Value::Null));
    assert_eq!(batch["lines"]["cancelled"], 10);
    let summary = json(&run(dir.path(), &["report", "demo-calls", "--sandbox", "--json"]));
    assert_eq!((&summary["state"], &summary["lines"]["cancelled"]), (&"cancelled".into(), &10.into()));
    assert_eq!(code(&run(dir.path(), &["retry", "demo-calls", "--sandbox"])), 0);
    assert_eq!(
        code(&run(dir.path(), &["work", "--batch", "demo-calls", "--sandbox"])),
        0,
        "nothing is paused any more"
    );
}

#[test]
fn a_log_for_machines_has_one_record_an_event_with_named_fields() {
    let dir = worked();
    let output = run_batch(dir.path(), &["--log-format", "json", "--batch", "other"]);
    let told = stderr(&output);
    let records: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let one =
        |message: &str| records.iter().find(|record| record["message"] == message).unwrap_or_else(|| panic!("{told}"));
    let failed = one("line finished badly");
    assert_eq!((&failed["level"], &failed["batch.name"]), (&"WARN".into(), &"other".into()));
    assert_eq!((&failed["job.key"], &failed["kind"]), (&"gone".into(), &"source_missing".into()));
    let done = one("batch done");
    assert_eq!(
        (&done["batch.name"], &done["lines.failed"], &done["lines.total"]),
        (&"other".into(), &1.into(), &5.into())
    );
    assert!(records.iter().any(|record| record["about"] == "ledger"), "{told}");
}

#[test]
fn a_home_directory_a_key_file_and_the_other_ledger_are_understood() {
    let dir = fixture();
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    let status = |database: &str| {
        let mut command = wavebatch(dir.path(), &["submit", DEMO, "--sandbox"]);
        command.env("HOME", &home).env("WAVEBATCH_DATABASE", database).output().unwrap()
    };
    assert_eq!(code(&status("~/w.db")), 0);
    assert!(home.join("wavebatch-sandbox.db").exists() && !dir.path().join("~").exists());
    assert_eq!(code(&status("~bob/w.db")), 2);

    let live = |database: &Path| {
        wavebatch(dir.path(), &["jobs", "demo-calls"]).env("WAVEBATCH_DATABASE", database).output().unwrap()
    };
    let missed = live(&home.join("wavebatch.db"));
    assert_eq!(code(&missed), 3);
    assert!(stderr(&missed).contains("did you mean `--sandbox`?"), "{}", stderr(&missed));

    fs::write(dir.path().join("empty"), "\n").unwrap();
    fs::write(dir.path().join("a.wav"), "RIFF").unwrap();
    let args = ["run", "a.wav", "--task", "transcribe", "--model", "pulse", "--language", "en"];
    let named = wavebatch(dir.path(), &args).env("SMALLEST_API_KEY_FILE", "empty").output().unwrap();
    assert_eq!(code(&named), 3);
    assert!(stderr(&named).contains("SMALLEST_API_KEY_FILE: empty is empty"), "{}", stderr(&named));
}

#[test]
fn a_notification_is_tried_out() {
    let dir = fixture();
    let test = |config: &str| {
        fs::write(dir.path().join("wavebatch.toml"), config).unwrap();
        run(dir.path(), &["notify", "test"])
    };
    let nobody = test("");
    assert_eq!(code(&nobody), 2);
    assert!(stderr(&nobody).contains("nobody is named"), "{}", stderr(&nobody));
    let told = test("[notify]\ncommand = \"cat > told.json\"\n");
    assert_eq!(code(&told), 0, "{}", stderr(&told));
    let news: Value = serde_json::from_slice(&fs::read(dir.path().join("told.json")).unwrap()).unwrap();
    assert_eq!(
        (&news["event"], &news["text"]),
        (&"test".into(), &"wavebatch: a test: notifications of wavebatch arrive here".into())
    );
    let failed = test("[notify]\ncommand = \"exit 3\"\n");
    assert_eq!(code(&failed), 3);
    assert!(stderr(&failed).contains("`exit` was not told"), "{}", stderr(&failed));
    assert!(!dir.path().join("wavebatch.db").exists(), "no ledger is needed");
}
