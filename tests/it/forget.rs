//! Forgetting lines: no trace is left, nothing is bought again, and a kill in the middle is finished by the next call.

use std::{
    fs,
    path::Path,
    process::Output,
    time::{Duration, Instant},
};

use sqlx::{Connection, Row, postgres::PgConnection};
use wavebatch::{
    domain::job::JobState,
    sandbox::{Fault, Match, What},
};

use crate::{
    cli::{code, stderr},
    support::{Fixture, server, service::program},
};

const LINES: usize = 40;
/// Which lines are forgotten.
const FORGOTTEN: [usize; 5] = [3, 4, 17, 30, 40];

fn key(n: usize) -> String {
    format!("call-{n:04}")
}

/// Lines with marks in every cell and every text, worked to the end by the program.
async fn worked() -> Fixture {
    let fixture = Fixture::new().await;
    let mut manifest = String::from("key,source,agent,note\n");
    for n in 1..=LINES {
        fixture.recording(&format!("rec/path-mark-{n:04}.wav"), &format!("spoken-mark-{n:04} of somebody"), 1.0, n);
        manifest.push_str(&format!("{},rec/path-mark-{n:04}.wav,agent-mark-{n:04},note-mark-{n:04}\n", key(n)));
    }
    fixture.write("calls.csv", manifest);
    fixture.definition("formats = [\"json\", \"txt\"]", "");
    fixture.write("wavebatch.toml", "[limits.pulse]\nrequests_per_minute = 0\n");
    let ran = program(&fixture, &["run", "night.toml"]).output().expect("the program");
    assert_eq!(code(&ran), 0, "{}", stderr(&ran));
    fixture
}

fn forget(fixture: &Fixture, more: &[&str]) -> Output {
    let keys: Vec<String> = FORGOTTEN.iter().map(|n| key(*n)).collect();
    let mut args = vec!["forget", "night"];
    keys.iter().for_each(|key| args.extend(["--key", key]));
    args.extend(more);
    program(fixture, &args).output().expect("the program")
}

/// What is looked for of a line: its cells, its words, and its answer exactly as it is stored.
async fn patterns(fixture: &Fixture) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for n in FORGOTTEN {
        for mark in ["path", "spoken", "agent", "note"] {
            found.push((format!("{mark} of {n}"), format!("{mark}-mark-{n:04}").into_bytes()));
        }
        let sql = "SELECT a.body FROM answers AS a JOIN calls AS c ON c.id = a.call JOIN jobs AS j ON j.id = c.job WHERE j.key = ";
        let body: Vec<u8> = match server::address_for(&fixture.path("wavebatch.db")) {
            None => {
                let sql = sqlx::AssertSqlSafe(format!("{sql}'{}'", key(n)));
                sqlx::query(sql).fetch_one(&mut fixture.ledger().await).await.unwrap().get(0)
            }
            Some(url) => {
                let sql = sqlx::AssertSqlSafe(format!("{sql}'{}'", key(n)));
                sqlx::query(sql).fetch_one(&mut connect(&url).await).await.unwrap().get(0)
            }
        };
        assert!(body.len() > 20);
        found.push((format!("answer of {n}"), body));
    }
    found
}

async fn connect(url: &str) -> PgConnection {
    let (address, schema) = url.split_once("&schema=").expect("each test has a schema");
    let mut conn = PgConnection::connect(address).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("SET search_path TO {}", schema.split('&').next().unwrap())))
        .execute(&mut conn)
        .await
        .unwrap();
    conn
}

/// Everything that wavebatch keeps: files but for the recordings, the manifest and receipts; on a server, all tables.
async fn kept(fixture: &Fixture) -> Vec<(String, Vec<u8>)> {
    let mut kept = Vec::new();
    let own = |path: &Path| {
        let name = path.strip_prefix(fixture.dir.path()).unwrap().to_string_lossy().into_owned();
        !name.starts_with("rec/") && name != "calls.csv" && !name.ends_with(".jsonl")
    };
    for file in walkdir::WalkDir::new(fixture.dir.path()).into_iter().flatten() {
        if file.file_type().is_file() && own(file.path()) {
            kept.push((file.path().display().to_string(), fs::read(file.path()).unwrap()));
        }
    }
    if let Some(url) = server::address_for(&fixture.path("wavebatch.db")) {
        let mut conn = connect(&url).await;
        for table in [
            "batches",
            "jobs",
            "job_parts",
            "hearings",
            "calls",
            "answers",
            "callbacks",
            "outputs",
            "texts",
            "clips",
            "forgets",
            "forget_items",
            "notices",
        ] {
            let rows = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT CAST(t AS TEXT) FROM {table} AS t")))
                .fetch_all(&mut conn)
                .await
                .unwrap();
            let text: String = rows.iter().map(|row| row.get::<String, _>(0) + "\n").collect();
            kept.push((table.to_owned(), text.into_bytes()));
        }
    }
    kept
}

fn has(place: &[u8], pattern: &[u8]) -> bool {
    let hex: String = pattern.iter().map(|byte| format!("{byte:02x}")).collect();
    place.windows(pattern.len()).any(|window| window == pattern)
        || place.windows(hex.len()).any(|window| window == hex.as_bytes())
}

/// Where traces are.
fn traces(kept: &[(String, Vec<u8>)], patterns: &[(String, Vec<u8>)]) -> Vec<String> {
    let mut found = Vec::new();
    for (what, pattern) in patterns {
        found.extend(
            kept.iter().filter(|(_, bytes)| has(bytes, pattern)).map(|(place, _)| format!("{what} in {place}")),
        );
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trace_of_a_forgotten_line_is_left_and_nothing_is_bought_again() {
    let fixture = worked().await;
    let patterns = patterns(&fixture).await;
    let before = traces(&kept(&fixture).await, &patterns);
    for (what, _) in &patterns {
        assert!(before.iter().any(|found| found.starts_with(what.as_str())), "{what} is found before: {before:?}");
    }
    let spent = fixture.store.batch("night").await.unwrap().unwrap().spent;
    let dry = forget(&fixture, &["--dry-run"]);
    assert_eq!(code(&dry), 0, "{}", stderr(&dry));
    for words in ["5 lines", "10 files in", "5 kept answers", "5 calls without an id"] {
        assert!(stderr(&dry).contains(words), "{words}: {}", stderr(&dry));
    }
    assert_eq!(traces(&kept(&fixture).await, &patterns).len(), before.len(), "nothing was done");

    let done = forget(&fixture, &["--yes", "--receipt", "r.jsonl"]);
    assert_eq!(code(&done), 0, "{}", stderr(&done));
    assert_eq!(traces(&kept(&fixture).await, &patterns), [""; 0]);
    // The receipt itself has no content.
    let receipt = fs::read(fixture.path("r.jsonl")).unwrap();
    assert_eq!(traces(&[("the receipt".into(), receipt)], &patterns), [""; 0]);
    let books = fixture.sandbox.books();
    assert_eq!((books.removal_calls, books.billed), (FORGOTTEN.len() as u64, LINES as u64));
    let verified = program(&fixture, &["forget", "--verify", "r.jsonl"]).output().unwrap();
    assert_eq!(code(&verified), 0, "{}", stderr(&verified));
    assert!(stderr(&verified).contains("nothing of it is there"), "{}", stderr(&verified));

    // The same manifest again, with the lines still in it: nothing is bought, and nothing comes back.
    let again = program(&fixture, &["run", "night.toml"]).output().unwrap();
    assert_eq!(code(&again), 0, "{}", stderr(&again));
    assert_eq!(fixture.sandbox.books().calls, LINES as u64);
    for verb in [&["deliver", "night"][..], &["report", "night"], &["retry", "night"], &["prune", "--older-than", "0s"]]
    {
        let out = program(&fixture, verb).output().unwrap();
        assert_eq!(code(&out), 0, "{verb:?}: {}", stderr(&out));
    }
    assert_eq!(traces(&kept(&fixture).await, &patterns), [""; 0]);
    let row = fixture.store.batch("night").await.unwrap().unwrap();
    assert_eq!(row.spent, spent);
    assert_eq!(fixture.counts(row.id).await.of(JobState::Succeeded), LINES as u64);
    assert_eq!(fixture.store.check_rows().await.unwrap(), []);
    let report = fixture.output("report.csv");
    assert_eq!(report.lines().count(), LINES + 1);
    assert!(report.lines().any(|line| line.contains("call-0003") && line.contains("forgotten")), "{report}");
    assert!(report.contains("agent-mark-0005") && report.contains("spoken-mark-0005"), "the others stay");
    let once_more = forget(&fixture, &["--yes"]);
    assert_eq!(code(&once_more), 1, "{}", stderr(&once_more));
    assert!(stderr(&once_more).contains("forgotten already"), "{}", stderr(&once_more));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_secure_delete_the_search_finds_what_is_left() {
    let fixture = worked().await;
    let patterns = patterns(&fixture).await;
    let path = fixture.path("wavebatch.db");
    let mut conn = fixture.ledger().await;
    sqlx::query("PRAGMA secure_delete = OFF").execute(&mut conn).await.unwrap();
    for sql in [
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "UPDATE jobs SET carried = NULL, source = NULL, source_path = NULL, outputs = NULL",
        "DELETE FROM answers",
        "PRAGMA wal_checkpoint(TRUNCATE)",
    ] {
        sqlx::query(sql).execute(&mut conn).await.unwrap();
    }
    conn.close().await.unwrap();
    let left = traces(&[("ledger".into(), fs::read(path).unwrap())], &patterns);
    assert!(left.len() > FORGOTTEN.len(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_moment_is_finished_by_the_next_call() {
    let points = [
        "forget-marked",
        "forget-scrubbed",
        "forget-noted",
        "forget-removed",
        "forget-published",
        "forget-cleaned",
        "forget-written",
        "forget-ended",
    ];
    for point in points {
        let fixture = worked().await;
        let patterns = patterns(&fixture).await;
        let keys: Vec<String> = FORGOTTEN.iter().map(|n| key(*n)).collect();
        let mut args = vec!["forget", "night", "--yes", "--receipt", "r.jsonl"];
        keys.iter().for_each(|key| args.extend(["--key", key]));
        let mut killed = program(&fixture, &args);
        let killed = killed.env("WAVEBATCH_CRASH_AT", point).output().unwrap();
        assert_eq!(killed.status.code(), None, "{point}: {}", stderr(&killed));
        finish(&fixture, point, &patterns).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_a_random_moment_is_finished_by_the_next_call() {
    kills(6).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute"]
async fn kills_at_40_random_moments_are_finished_by_the_next_call() {
    kills(40).await;
}

/// Kills so many that have begun, at random moments.
async fn kills(moments: u64) {
    let mut in_the_middle = 0;
    for nth in 0.. {
        if in_the_middle == moments {
            break;
        }
        assert!(nth < moments * 10, "only {in_the_middle} of {nth} had begun");
        let fixture = worked().await;
        let patterns = patterns(&fixture).await;
        let keys: Vec<String> = FORGOTTEN.iter().map(|n| key(*n)).collect();
        let mut args = vec!["forget", "night", "--yes", "--receipt", "r.jsonl"];
        keys.iter().for_each(|key| args.extend(["--key", key]));
        let mut child = program(&fixture, &args).stderr(std::process::Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        // A process that begins later than expected, on a busy machine, is given longer and longer.
        let longest = 220 * (1 + nth / moments);
        let moment = Duration::from_millis(15 + (nth * 7_919 + u64::from(std::process::id())) % longest);
        while began.elapsed() < moment && child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let _ = child.kill();
        child.wait().unwrap();
        if fixture.store.forgotten_lines(fixture.store.batch("night").await.unwrap().unwrap().id).await.unwrap().1 == 0
        {
            continue;
        }
        finish(&fixture, &format!("after {moment:?}"), &patterns).await;
        in_the_middle += 1;
    }
}

async fn finish(fixture: &Fixture, moment: &str, patterns: &[(String, Vec<u8>)]) {
    let next = program(fixture, &["forget"]).output().unwrap();
    assert_eq!(code(&next), 0, "{moment}: {}", stderr(&next));
    assert_eq!(traces(&kept(fixture).await, patterns), [""; 0], "{moment}: {}", stderr(&next));
    let verified = program(fixture, &["forget", "--verify", "r.jsonl"]).output().unwrap();
    assert_eq!(code(&verified), 0, "{moment}: {}", stderr(&verified));
    assert!(!stderr(&verified).contains("not final"), "{moment}: {}", stderr(&verified));
    assert_eq!(fixture.store.check_rows().await.unwrap(), [], "{moment}");
    assert!(fixture.store.open_forgets().await.unwrap().is_empty(), "{moment}");
    assert!(fixture.sandbox.books().removal_calls >= FORGOTTEN.len() as u64, "{moment}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_vendor_refuses_is_told_and_tried_again() {
    let fixture = worked().await;
    fixture.sandbox.script([Fault::new(Match::Nth(2), What::RemovalRefused)]);
    let done = forget(&fixture, &["--yes", "--receipt", "r.jsonl"]);
    assert_eq!(code(&done), 3, "{}", stderr(&done));
    for words in
        ["4 calls removed", "1 call refused, and tried again", "this entry may not be removed", "not final yet"]
    {
        assert!(stderr(&done).contains(words), "{words}: {}", stderr(&done));
    }
    let verified = program(&fixture, &["forget", "--verify", "r.jsonl"]).output().unwrap();
    assert_eq!(code(&verified), 0, "{}", stderr(&verified));
    assert!(stderr(&verified).contains("vendor refused"), "{}", stderr(&verified));
    let next = program(&fixture, &["forget"]).output().unwrap();
    assert_eq!(code(&next), 0, "{}", stderr(&next));
    let verified = program(&fixture, &["forget", "--verify", "r.jsonl"]).output().unwrap();
    assert!(!stderr(&verified).contains("vendor refused"), "{}", stderr(&verified));
    assert_eq!(fixture.sandbox.books().removal_calls, FORGOTTEN.len() as u64 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hashed_key_is_nowhere_but_in_the_manifest() {
    let fixture = worked().await;
    let patterns: Vec<_> = FORGOTTEN.iter().map(|n| (key(*n), key(*n).into_bytes())).collect();
    let done = forget(&fixture, &["--yes", "--hash-key", "--receipt", "r.jsonl"]);
    assert_eq!(code(&done), 0, "{}", stderr(&done));
    assert_eq!(traces(&kept(&fixture).await, &patterns), [""; 0]);
    let receipt = fs::read(fixture.path("r.jsonl")).unwrap();
    assert_eq!(traces(&[("the receipt".into(), receipt)], &patterns), [""; 0]);
    let verified = program(&fixture, &["forget", "--verify", "r.jsonl"]).output().unwrap();
    assert_eq!(code(&verified), 0, "{}", stderr(&verified));
    let again = program(&fixture, &["run", "night.toml"]).output().unwrap();
    assert_eq!(code(&again), 0, "{}", stderr(&again));
    assert_eq!(fixture.sandbox.books().calls, LINES as u64, "known by its hash");
    assert_eq!(traces(&kept(&fixture).await, &patterns), [""; 0]);
    let once_more = forget(&fixture, &["--yes"]);
    assert!(stderr(&once_more).contains("forgotten already"), "{}", stderr(&once_more));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_meant_is_refused_in_clear_words() {
    let fixture = worked().await;
    for (args, status, words) in [
        (&["forget", "night", "--where", "agent=nobody", "--yes"][..], 1, "nobody"),
        (&["forget", "--key", "nobody", "--yes"], 1, "nobody"),
        (&["forget", "night", "--state", "succeeded", "--yes"], 2, "all 40 lines of `night` are meant"),
        (&["forget", "night", "--yes"], 2, "all 40 lines of `night` are meant"),
        (&["forget", "nigth", "--key", "call-0001"], 2, "did you mean `night`?"),
        (&["forget", "night", "--key", "call-0001"], 2, "--yes does it"),
        (&["forget", "--yes"], 2, "it is not said which lines are meant"),
        (&["forget", "night", "--key", "call-0001", "--yes", "--receipt", "calls.csv"], 2, "there is a file at"),
        (&["forget", "--verify", "calls.csv"], 2, "is no receipt"),
        (&["forget"], 0, "nothing is left to be forgotten"),
    ] {
        let out = program(&fixture, args).output().unwrap();
        assert_eq!(code(&out), status, "{args:?}: {}", stderr(&out));
        assert!(stderr(&out).contains(words), "{args:?}: {}", stderr(&out));
    }
    assert_eq!(fixture.sandbox.books().removal_calls, 0, "nothing was done");
    // The same key in two batches.
    let other =
        fs::read_to_string(fixture.path("night.toml")).unwrap().replace("\"night\"", "\"day\"").replace("out/", "day/");
    fixture.write("day.toml", other);
    assert_eq!(code(&program(&fixture, &["run", "day.toml"]).output().unwrap()), 0);
    let several = program(&fixture, &["forget", "--key", "call-0001", "--yes"]).output().unwrap();
    assert_eq!(code(&several), 2, "{}", stderr(&several));
    assert!(stderr(&several).contains("night (1), day (1)"), "{}", stderr(&several));
    // What is in no batch is named, wherever the rest is.
    for (args, words) in [
        (&["--key", "call-0001", "--key", "typo"][..], "no batch has a line with the key `typo`"),
        (&["--where", "agent=nobody"], "no batch has a line whose `agent` is `nobody`"),
    ] {
        let args: Vec<&str> = [&["forget"], args, &["--all-batches", "--yes"]].concat();
        let out = program(&fixture, &args).output().unwrap();
        assert_eq!(code(&out), 1, "{args:?}: {}", stderr(&out));
        assert!(stderr(&out).contains(words), "{args:?}: {}", stderr(&out));
    }
    assert_eq!(fixture.sandbox.books().removal_calls, 0, "nothing was done");
    let all = program(&fixture, &["forget", "--key", "call-0001", "--yes", "--all-batches", "--receipt", "r.jsonl"])
        .output()
        .unwrap();
    assert_eq!(code(&all), 0, "{}", stderr(&all));
    assert!(!fixture.path("out/call-0001.json").exists() && !fixture.path("day/call-0001.json").exists());
    let again = program(&fixture, &["forget", "--key", "call-0001", "--yes", "--all-batches"]).output().unwrap();
    assert!(stderr(&again).contains("forgotten already"), "{}", stderr(&again));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_was_changed_is_noticed_and_what_came_back_is_found() {
    let fixture = worked().await;
    fs::remove_file(fixture.path("out/call-0003.json")).unwrap();
    let done = forget(&fixture, &["--yes", "--receipt", "r.jsonl"]);
    assert_eq!(code(&done), 0, "{}", stderr(&done));
    assert!(stderr(&done).contains("9 outputs removed; 1 output gone already"), "{}", stderr(&done));
    let receipt = fs::read_to_string(fixture.path("r.jsonl")).unwrap();
    for (changed, words) in [
        (receipt.replace("call-0003", "call-0002"), "was changed"),
        (receipt.lines().take(3).map(|line| format!("{line}\n")).collect(), "was cut off"),
        (format!("{receipt}{{}}\n"), "was changed"),
    ] {
        fixture.write("changed.jsonl", changed);
        let out = program(&fixture, &["forget", "--verify", "changed.jsonl"]).output().unwrap();
        assert_eq!(code(&out), 2, "{}", stderr(&out));
        assert!(stderr(&out).contains(words), "{words}: {}", stderr(&out));
    }
    fixture.write("out/call-0004.txt", "it is back");
    let out = program(&fixture, &["forget", "--verify", "r.jsonl"]).output().unwrap();
    assert_eq!(code(&out), 1, "{}", stderr(&out));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_definition_keeps_for_a_time_goes_when_it_is_over() {
    let fixture = Fixture::new().await;
    fixture.calls(3);
    fixture.definition("", "keep_outputs = \"0s\"\nkeep_rows = \"30d\"");
    let checked = program(&fixture, &["check", "night.toml"]).stdout(std::process::Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &stderr(&checked);
    assert!(said.contains("content of lines in the ledger") && said.contains("outputs and report"), "{said}");
    let ran = program(&fixture, &["run", "night.toml"]).output().unwrap();
    assert_eq!(code(&ran), 0, "{}", stderr(&ran));
    assert!(!fixture.path("out/call-0001.txt").exists() && !fixture.path("out/report.csv").exists());
    assert!(fixture.path("out/summary.json").exists());
    let batch = fixture.store.batch("night").await.unwrap().unwrap().id;
    assert_eq!(fixture.store.forgotten_lines(batch).await.unwrap(), (3, 0), "rows stay for 30 days");
    // The same again, with rows that go at once; then nothing is bought.
    fixture.definition("", "keep_outputs = \"0s\"\nkeep_rows = \"0s\"");
    assert_eq!(code(&program(&fixture, &["run", "night.toml"]).output().unwrap()), 0);
    let pruned = program(&fixture, &["prune"]).output().unwrap();
    assert_eq!(code(&pruned), 0, "{}", stderr(&pruned));
    assert_eq!(fixture.store.forgotten_lines(batch).await.unwrap(), (3, 3));
    assert_eq!(code(&program(&fixture, &["run", "night.toml"]).output().unwrap()), 0);
    assert_eq!(fixture.sandbox.books().calls, 3);
    assert_eq!(fixture.store.check_rows().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_batch_is_deleted_with_its_outputs_where_that_is_said() {
    let fixture = Fixture::new().await;
    fixture.calls(3);
    fixture.definition("", "");
    assert_eq!(code(&program(&fixture, &["run", "night.toml"]).output().unwrap()), 0);
    let asked = program(&fixture, &["delete", "night"]).output().unwrap();
    assert_eq!((code(&asked), fixture.path("out/call-0001.txt").exists()), (2, true), "{}", stderr(&asked));
    let done = program(&fixture, &["delete", "night", "--yes", "--outputs", "--receipt", "r.jsonl"]).output().unwrap();
    assert_eq!(code(&done), 0, "{}", stderr(&done));
    assert!(!fixture.path("out/call-0001.txt").exists());
    let verified = program(&fixture, &["forget", "--verify", "r.jsonl"]).output().unwrap();
    assert_eq!(code(&verified), 0, "{}", stderr(&verified));
    let again = program(&fixture, &["run", "night.toml"]).output().unwrap();
    assert_eq!((code(&again), fixture.sandbox.books().calls), (0, 3), "{}", stderr(&again));
    let once_more = program(&fixture, &["delete", "night", "--yes"]).output().unwrap();
    assert_eq!(code(&once_more), 1, "{}", stderr(&once_more));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_finishes_what_a_kill_left() {
    let fixture = worked().await;
    let patterns = patterns(&fixture).await;
    let keys: Vec<String> = FORGOTTEN.iter().map(|n| key(*n)).collect();
    let mut args = vec!["forget", "night", "--yes", "--receipt", "r.jsonl"];
    keys.iter().for_each(|key| args.extend(["--key", key]));
    let killed = program(&fixture, &args).env("WAVEBATCH_CRASH_AT", "forget-scrubbed").output().unwrap();
    assert_eq!(killed.status.code(), None);
    let ran = program(&fixture, &["run", "night.toml"]).output().unwrap();
    assert_eq!(code(&ran), 0, "{}", stderr(&ran));
    assert_eq!(traces(&kept(&fixture).await, &patterns), [""; 0]);
    assert!(fixture.store.open_forgets().await.unwrap().is_empty());
}

server::on_postgres_too! {
    no_trace_of_a_forgotten_line_is_left_and_nothing_is_bought_again,
    a_hashed_key_is_nowhere_but_in_the_manifest,
}
