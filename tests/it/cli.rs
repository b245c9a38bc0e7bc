//! The program as its users meet it: a process, its exit status, its two streams.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::{Fixture, service::program};

/// The program in a folder of its own, with no environment that could mean anything to it.
pub fn wavebatch(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wavebatch"));
    command.args(args).current_dir(dir);
    for name in ["SMALLEST_API_KEY", "SMALLEST_BASE_URL", "WAVEBATCH_DATABASE", "WAVEBATCH_CONFIG"] {
        command.env_remove(name);
    }
    command
}

pub fn run(dir: &Path, args: &[&str]) -> Output {
    wavebatch(dir, args).output().expect("the program starts")
}

pub fn code(output: &Output) -> i32 {
    output.status.code().expect("it ends by itself")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("stdout is JSON and nothing else")
}

pub fn fixture() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn demo() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/demo-calls.toml").to_owned()
}

#[test]
fn a_hint_can_be_followed_where_the_ledger_was_named() {
    let dir = fixture();
    fs::write(dir.path().join("p.csv"), "key,text\na,Hello.\n").unwrap();
    fs::write(dir.path().join("w.toml"), "").unwrap();
    let named = ["--database", "my ledgers/w.db", "--config", "w.toml"];
    fs::create_dir(dir.path().join("my ledgers")).unwrap();
    let at = |args: &[&str]| run(dir.path(), &[args, &named].concat());
    let submit =
        ["submit", "p.csv", "--task", "synthesize", "--model", "lightning_v3.1", "--voice-id", "avery", "--sandbox"];
    let said = stderr(&at(&submit));
    // The words behind an arrow or between ticks are for a shell.
    let follow = |said: &str, verb: &str| {
        let start = said.find(&format!("wavebatch {verb}")).unwrap_or_else(|| panic!("{verb}: {said}"));
        let hint = said[start..].split(['`', '\n']).next().unwrap().split("  ").next().unwrap();
        assert!(hint.ends_with(" --database 'my ledgers/w.db' --config w.toml --sandbox"), "{hint}");
        let words = hint.replace("'my ledgers/w.db'", "my\u{a0}ledgers/w.db");
        let words: Vec<String> = words.split(' ').skip(1).map(|word| word.replace('\u{a0}', " ")).collect();
        run(dir.path(), &words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let unfinished = at(&["deliver", "p", "--sandbox"]);
    assert!(
        stderr(&unfinished).contains("or take them back with `wavebatch cancel p --database"),
        "{}",
        stderr(&unfinished)
    );
    let paused = at(&["pause", "p", "--sandbox"]);
    let resumed = follow(&stderr(&paused), "resume");
    assert_eq!(code(&resumed), 0, "{}", stderr(&resumed));
    let worked = follow(&said, "work");
    assert_eq!(code(&worked), 0, "{}", stderr(&worked));
    let unknown = at(&["status", "other", "--sandbox"]);
    let listed = follow(&stderr(&unknown), "status");
    assert!(String::from_utf8_lossy(&listed.stdout).contains('p'), "{}", stderr(&listed));
    fs::remove_file(dir.path().join("sandbox-out/p/a.wav")).unwrap();
    let missing = at(&["report", "p", "--sandbox"]);
    let delivered = follow(&stderr(&missing), "deliver");
    assert_eq!(code(&delivered), 0, "{}", stderr(&delivered));
    assert!(dir.path().join("sandbox-out/p/a.wav").is_file());
}

#[test]
fn the_first_command_leaves_outputs_and_the_second_has_nothing_to_do() {
    let dir = fixture();
    let first = run(dir.path(), &["run", &demo(), "--sandbox", "--json"]);
    assert_eq!(code(&first), 0, "{}", stderr(&first));
    assert!(stderr(&first).contains("wavebatch-sandbox.db (new)"), "{}", stderr(&first));
    assert_eq!(json(&first)["lines"]["succeeded"], 10);
    let out = dir.path().join("sandbox-out/demo-calls");
    for name in ["1001-greeting.json", "1001-greeting.txt", "1001-greeting.srt", "1001-greeting.vtt", "report.csv"] {
        assert!(fs::metadata(out.join(name)).expect(name).len() > 0, "{name}");
    }
    let second = run(dir.path(), &["run", &demo(), "--sandbox"]);
    assert_eq!(code(&second), 0);
    assert!(stderr(&second).contains("nothing was left to do"), "{}", stderr(&second));
    assert!(second.stdout.is_empty(), "what is told is no result");

    let status = json(&run(dir.path(), &["status", "--sandbox", "--json"]));
    assert_eq!(status["batches"][0]["state"], "finished");
    let jobs = run(dir.path(), &["jobs", "demo-calls", "--sandbox", "--key", "1001-greeting"]);
    assert!(String::from_utf8_lossy(&jobs.stdout).contains("answered"), "with --key, the calls");
    let report = run(dir.path(), &["report", "demo-calls", "--sandbox", "-o", "-"]);
    assert_eq!(report.stdout, fs::read(out.join("report.csv")).expect("the report"));
    fs::remove_file(out.join("1001-greeting.txt")).expect("an output");
    let deliver = run(dir.path(), &["deliver", "demo-calls", "--sandbox"]);
    assert_eq!(code(&deliver), 0, "{}", stderr(&deliver));
    assert!(out.join("1001-greeting.txt").exists(), "written again from the kept answer");
}

#[test]
fn without_a_usable_key_nothing_starts() {
    let dir = fixture();
    fs::write(dir.path().join("a.wav"), "RIFF").expect("a file");
    let ad_hoc = ["run", "a.wav", "--task", "transcribe", "--model", "pulse", "--language", "en"];
    let none = run(dir.path(), &ad_hoc);
    assert_eq!(code(&none), 3);
    assert!(stderr(&none).contains("SMALLEST_API_KEY is not set"), "{}", stderr(&none));
    let broken = wavebatch(dir.path(), &ad_hoc).env("SMALLEST_API_KEY", "sk_secret\n").output().expect("it starts");
    assert_eq!(code(&broken), 3);
    assert!(stderr(&broken).contains("SMALLEST_API_KEY: the API key contains a line break"), "{}", stderr(&broken));
    assert!(!stderr(&broken).contains("sk_secret"));
    assert!(!dir.path().join("wavebatch.db").exists(), "not even a ledger");
    let check = run(dir.path(), &[&["check"], &ad_hoc[1..]].concat());
    assert_eq!(code(&check), 0, "{}", stderr(&check));
    assert!(String::from_utf8_lossy(&check.stdout).contains("the key: SMALLEST_API_KEY is not set"));
    assert!(!dir.path().join("wavebatch.db").exists(), "a check writes nothing");
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_a_status_of_2() {
    let dir = fixture();
    fs::write(dir.path().join("bad.toml"), "task = 'transcribe'\nmanifest = 'm.csv'\n[transcribe]\nmodle = 'pulse'\n")
        .expect("a file");
    fs::write(dir.path().join("m.csv"), "id,url\n1,a.wav\n1,b.wav\n").expect("a file");
    for (args, words) in [
        (
            vec!["run", "bad.toml", "--sandbox"],
            "bad.toml:4:1: `transcribe.modle`: there is no such field; did you mean `model`?",
        ),
        (vec!["run", "missing.toml"], "missing.toml: there is no such file"),
        (vec!["run", "m.csv"], "`--task`: is missing"),
        (vec!["check", "m.csv", "--task", "transcribe", "--model", "pulse", "--language", "en"], "m.csv:3"),
        (vec!["jobs", "b", "--config", "none.toml"], "none.toml: cannot be read"),
        (vec!["runn"], "'run'"),
    ] {
        let output = run(dir.path(), &args);
        assert_eq!(code(&output), 2, "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn failed_lines_are_grouped_and_make_it_1() {
    let dir = fixture();
    fs::write(dir.path().join("page.wav"), "<!doctype html><html></html>").expect("a file");
    fs::write(dir.path().join("m.csv"), "id,url\n1,page.wav\n2,gone.wav\n").expect("a file");
    let args = ["run", "m.csv", "--task", "transcribe", "--model", "pulse", "--language", "en", "--sandbox"];
    let output = run(dir.path(), &args);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    for words in ["source_not_audio", "source_missing", "mend the source"] {
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    let tolerated = run(dir.path(), &[&args[..], &["--tolerate", "100%"]].concat());
    assert_eq!(code(&tolerated), 0, "{}", stderr(&tolerated));
}

#[test]
fn a_ledger_that_is_none_stops_it_with_what_to_do() {
    let dir = fixture();
    let missing = run(dir.path(), &["status"]);
    assert_eq!(code(&missing), 3);
    assert!(stderr(&missing).contains("hint: "), "{}", stderr(&missing));
    fs::write(dir.path().join("wavebatch.db"), "not a database, but long enough to look like one".repeat(100))
        .expect("a file");
    let damaged = run(dir.path(), &["status"]);
    assert_eq!(code(&damaged), 3);
    assert!(stderr(&damaged).contains("restore it from a backup"), "{}", stderr(&damaged));
}

#[test]
fn json_logs_are_json_and_nothing_else() {
    let dir = fixture();
    let output = run(dir.path(), &["run", &demo(), "--sandbox", "--log-format", "json"]);
    assert_eq!(code(&output), 0);
    for line in stderr(&output).lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_of_another_version_is_refused_by_every_verb_with_one_sentence() {
    let fixture = Fixture::new().await;
    fixture.calls(1);
    let definition = fixture.definition("", "");
    let batch = fixture.submit(&definition).await;
    let name = fixture.store.batch_by_id(batch).await.expect("a ledger").name;
    let (file, name) = (definition.to_str().expect("UTF-8"), name.as_str());
    let verbs: &[&[&str]] = &[
        &["run", file],
        &["submit", file],
        &["work"],
        &["work", "--batch", name],
        &["check", file],
        &["status"],
        &["status", name],
        &["jobs", name],
        &["report", name],
        &["spend"],
        &["deliver", name],
        &["retry", name],
        &["retry", name, "--dry-run"],
        &["cancel", name],
        &["pause", name],
        &["resume", name],
        &["prune", "--older-than", "0s"],
        &["spool"],
        &["spool", "prune", "--older-than", "0s"],
        &["serve", "--listen", "off", "--admin-listen", "off"],
        &["serve", "--no-workers", "--listen", "127.0.0.1:0", "--admin-listen", "off"],
    ];
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'x', 1, x'00', 0)";
    let unreleased = "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1";
    for (statement, sentence, hint) in [
        (unreleased, "was made by an unreleased version of wavebatch, and this version cannot read it", "move it away"),
        (newer, "was written by a newer wavebatch (its schema is version 9999", "use the wavebatch that wrote it"),
    ] {
        let mut ledger = fixture.ledger().await;
        // The newer one has the first migration that everybody knows.
        let kept: Vec<u8> = sqlx::query_scalar("SELECT checksum FROM _sqlx_migrations WHERE version = 1")
            .fetch_one(&mut ledger)
            .await
            .expect("a ledger");
        sqlx::query(statement).execute(&mut ledger).await.expect("a ledger");
        let before = fs::read(fixture.store.file().unwrap()).expect("a ledger");
        for verb in verbs {
            let output =
                program(&fixture, verb).stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("it starts");
            let message = stderr(&output);
            assert_eq!(output.status.code(), Some(3), "{verb:?}: {message}");
            assert_eq!(message.matches(sentence).count(), 1, "{verb:?}: {message}");
            assert_eq!(message.matches("hint: ").count(), 1, "{verb:?}: {message}");
            assert!(message.contains(hint) && message.trim().lines().count() <= 2, "{verb:?}: {message}");
            assert!(output.stdout.is_empty(), "{verb:?}");
        }
        assert!(before == fs::read(fixture.store.file().unwrap()).expect("a ledger"), "nothing was written");
        sqlx::query("UPDATE _sqlx_migrations SET checksum = ? WHERE version = 1")
            .bind(kept)
            .execute(&mut ledger)
            .await
            .expect("a ledger");
    }
    assert_eq!(fixture.sandbox.books().calls, 0);
}
