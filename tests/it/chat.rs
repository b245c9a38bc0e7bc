//! Chats: prompts in bulk, whose replies are checked before they count.

use std::{collections::HashMap, fs, path::Path, process::Output, time::Duration};

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use wavebatch::{
    domain::job::JobState,
    runner::RunEnd,
    sandbox::{Config, Fault, Match, What},
};

use crate::{
    cli::{code, fixture, json, run, stderr},
    support::Fixture,
};

const SCHEMA: &str = r#"{"type": "object", "additionalProperties": false, "required": ["resolved", "reason", "evidence"],
 "properties": {
  "resolved": {"type": "boolean", "description": "Whether the problem is solved."},
  "reason": {"enum": ["billing", "outage", "refund"], "description": "What the call is about."},
  "customer": {"type": "object", "properties": {"mood": {"type": "string", "description": "The mood."}}},
  "status": {"type": "integer", "minimum": 1, "maximum": 5, "description": "How well it went."},
  "evidence": {"type": "array", "items": {"type": "string"}, "description": "Quotes."}}}"#;

const FIELDS: &str = "system = \"rules.md\"\nprompt = \"{transcript}\"\nschema = \"card.schema.json\"\n\
                      max_tokens = 400\ngrounded = [\"evidence\"]\n";

fn definition(fields: &str, run: &str) -> String {
    format!(
        "name = \"card\"\ntask = \"chat\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n[chat]\nmodel = \"electron\"\n{fields}\n[run]\n{run}\n"
    )
}

fn rules() -> String {
    format!("Judge by what is said, like {{\"resolved\": true}}. {}", "Do not guess. ".repeat(60))
}

/// A folder with a definition and these lines, each under its number and with its agent.
fn put_up(dir: &Path, lines: &[&str]) {
    let rows: String = lines.iter().zip(1..).map(|(line, n)| format!("c{n},ann,\"{line}\"\n")).collect();
    let files = [
        ("rules.md", rules()),
        ("card.schema.json", SCHEMA.to_owned()),
        ("calls.csv", format!("key,agent,transcript\n{rows}")),
        ("card.toml", definition(FIELDS, "")),
    ];
    files.iter().for_each(|(name, text)| fs::write(dir.join(name), text).unwrap());
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The rows of a report, by key.
fn report(path: &Path) -> HashMap<String, HashMap<String, String>> {
    let text = fs::read_to_string(path).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader
        .deserialize::<HashMap<String, String>>()
        .map(|row| row.unwrap())
        .map(|row| (row["key"].clone(), row))
        .collect()
}

#[test]
fn a_check_tells_requests_tokens_price_and_what_could_be_better() {
    let dir = fixture();
    put_up(dir.path(), &["Customer: My bill is wrong.", "Customer: No power."]);
    fs::write(dir.path().join("card.schema.json"), SCHEMA.replace(", \"description\": \"The mood.\"", "")).unwrap();
    let check = run(dir.path(), &["check", "card.toml"]);
    assert_eq!(code(&check), 0, "{}", stderr(&check));
    for words in [
        "card: chat by electron\n",
        "columns   key: key, prompt: transcript",
        "carried into the report: agent",
        "calls     2 requests, all of them new",
        "tokens, none of them cached, and replies of 400 each, which is max_tokens; $0.40 a million by electron, $0.10 cached, $1.60 written",
        "time      within the first minute's requests: 10 requests/min",
        "note      the schema does not say what `customer.mood` means",
        "Estimated: four letters of English are counted as a token",
    ] {
        assert!(stdout(&check).contains(words), "{words}\n{}", stdout(&check));
    }
    let plan = &json(&run(dir.path(), &["check", "card.toml", "--json"]))["plan"];
    assert_eq!((&plan["purchases"]["new_parts"], &plan["findings"]["beyond_context"]), (&2.into(), &0.into()));
    assert!(plan["findings"]["stable_tokens"].as_u64().unwrap() > 200);

    fs::write(dir.path().join("calls.csv"), format!("key,agent,transcript\nc1,ann,\"{}\"\n", "word ".repeat(27_000)))
        .unwrap();
    let moved = FIELDS.replace("\"rules.md\"", "\"\"\"You judge the calls of {agent}.\nDo not guess.\"\"\"");
    fs::write(dir.path().join("card.toml"), definition(&moved.replace("max_tokens = 400\n", ""), "")).unwrap();
    let check = run(dir.path(), &["check", "card.toml"]);
    for words in [
        "`{agent}` stands before text that is the same for all lines",
        "max_tokens is not set",
        "1 line has no room for a reply",
        "calls.csv:2: c1: has about 33,",
        "over the 32,768 of a request and its reply",
    ] {
        assert!(stdout(&check).contains(words), "{words}\n{}", stdout(&check));
    }
}

#[test]
fn replies_are_checked_repaired_and_reported() {
    let dir = fixture();
    put_up(
        dir.path(),
        &[
            "Customer: My bill is wrong.",
            "Customer: I am furious! [[prose]] [[fence]]",
            "Customer: I want my deposit back. [[wrong-type]]",
            "Customer: We move. [[wrong-type-always]]",
            "Customer: Nobody called me. [[invented-quote]]",
            "Customer: Thank you! [[length]]",
            "Customer: Rude. [[filtered]]",
            "Customer: Silent. [[empty]]",
            "Customer: Flicker. [[429]]",
            "Customer: The meter. [[lost]]",
            "Customer: Just talk. [[no-json]]",
        ],
    );
    let ran = run(dir.path(), &["run", "card.toml", "--sandbox", "--output", "o"]);
    assert_eq!(code(&ran), 1, "{}", stderr(&ran));
    let rows = report(&dir.path().join("o/report.csv"));
    let cells = |key: &str| {
        let row = &rows[key];
        [row["status"].as_str(), row["notes"].trim_start_matches("sandbox").trim_start_matches(';')].join(" ")
    };
    for (key, cell) in [
        ("c1", "succeeded "),
        ("c2", "succeeded "),
        ("c3", "succeeded repaired"),
        ("c4", "suspect schema"),
        ("c5", "suspect ungrounded"),
        ("c6", "suspect cut_off"),
        ("c7", "suspect filtered"),
        ("c8", "suspect empty"),
        ("c9", "succeeded "),
        ("c10", "succeeded paid_again"),
        ("c11", "suspect schema"),
    ] {
        assert_eq!(cells(key), cell, "{key}");
    }
    let first = &rows["c1"];
    assert!(["true", "false"].contains(&&*first["resolved"]) && !first["customer.mood"].is_empty(), "{first:?}");
    assert!(first["evidence"].starts_with("[\"My bill is wrong.\""), "a list is JSON: {}", first["evidence"]);
    assert_eq!(first["agent"], "ann");
    assert!(
        first["reply.status"].parse::<u8>().is_ok_and(|score| (1..=5).contains(&score)),
        "beside the line's own status"
    );
    assert!(!first.contains_key("transcript"), "it is what the model reads");
    assert_eq!((rows["c3"]["billed_calls"].as_str(), rows["c4"]["resolved"].as_str()), ("2", ""));
    assert!(rows["c3"]["prompt_tokens"].parse::<u64>().unwrap() > first["prompt_tokens"].parse().unwrap());
    let written: Value = serde_json::from_slice(&fs::read(dir.path().join("o/c2.json")).unwrap()).unwrap();
    assert!(written["resolved"].is_boolean());
    assert!(
        fs::read_to_string(dir.path().join("o/c4.txt")).unwrap().starts_with('{'),
        "what is not checked is no .json"
    );
    assert!(!dir.path().join("o/c4.json").exists());
    let summary: Value = serde_json::from_slice(&fs::read(dir.path().join("o/summary.json")).unwrap()).unwrap();
    assert!(summary["tokens"]["cached_tokens"].as_u64().unwrap() > 0, "{summary}");
    let spent: f64 = rows.values().map(|row| row["cost_usd"].parse::<f64>().unwrap()).sum();
    assert!((spent - summary["spend"]["total_usd"].as_f64().unwrap()).abs() < 1e-9);
    assert!(stderr(&ran).contains("read,") && stderr(&ran).contains("% of them cached"), "{}", stderr(&ran));

    // What is only judged otherwise is bought of nobody.
    fs::write(dir.path().join("card.toml"), definition(&FIELDS.replace("grounded = [\"evidence\"]\n", ""), ""))
        .unwrap();
    let again = run(dir.path(), &["run", "card.toml", "--sandbox", "--output", "o"]);
    assert!(stderr(&again).contains("none in this run"), "{}", stderr(&again));
    assert_eq!(report(&dir.path().join("o/report.csv"))["c5"]["status"], "succeeded");
    // What is asked otherwise is told first, also where each line has another text for it.
    let words = FIELDS.replace("\"{transcript}\"", "\"The call: {transcript}\"");
    fs::write(dir.path().join("card.toml"), definition(&words, "")).unwrap();
    let other = run(dir.path(), &["run", "card.toml", "--sandbox", "--output", "o"]);
    assert_eq!(code(&other), 2);
    assert!(
        stderr(&other).contains("`prompt` from `{transcript}` to `The call: {transcript}`): 11 finished"),
        "{}",
        stderr(&other)
    );
    fs::write(dir.path().join("card.toml"), definition(&FIELDS.replace("400", "300"), "")).unwrap();
    let other = run(dir.path(), &["run", "card.toml", "--sandbox", "--output", "o"]);
    assert_eq!(code(&other), 2);
    assert!(stderr(&other).contains("`max_tokens` from `400` to `300`"), "{}", stderr(&other));
}

#[test]
fn prompts_come_in_json_lines_and_plain_lines_too_and_replies_are_texts() {
    let dir = fixture();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("p.txt", "Name a colour.\nName a bird.\n");
    write(
        "p.jsonl",
        "{\"id\": \"a\", \"age\": 7, \"name\": \"Ann\"}\n{\"id\": \"b\", \"age\": 8, \"name\": \"=Bo\"}\n",
    );
    let of = |manifest: &str, prompt: &str| {
        format!("task = \"chat\"\nmanifest = \"{manifest}\"\n[chat]\nmodel = \"electron\"\nmax_tokens = 50\n{prompt}\n")
    };
    write("plain.toml", &of("p.txt", ""));
    write("lines.toml", &of("p.jsonl", "prompt = \"Greet {name}, who is {age}.\""));
    let ran = run(dir.path(), &["run", "plain.toml", "--sandbox", "--output", "plain"]);
    assert_eq!(code(&ran), 0, "{}", stderr(&ran));
    let rows = report(&dir.path().join("plain/report.csv"));
    assert!(rows.values().any(|row| row["reply"] == "You said: Name a bird."), "{rows:?}");
    let ran = run(dir.path(), &["run", "lines.toml", "--sandbox", "--output", "lines"]);
    assert_eq!(code(&ran), 0, "{}", stderr(&ran));
    assert_eq!(fs::read_to_string(dir.path().join("lines/b.txt")).unwrap(), "You said: Greet =Bo, who is 8.");
    assert_eq!(report(&dir.path().join("lines/report.csv"))["a"]["age"], "7");
}

/// A batch of so many lines against the fixture's sandbox.
async fn batch(fixture: &Fixture, lines: usize, run: &str) -> wavebatch::domain::job::BatchId {
    let texts: Vec<String> = (0..lines).map(|n| format!("Customer: My bill of {n} dollars is wrong.")).collect();
    put_up(&fixture.path(""), &texts.iter().map(String::as_str).collect::<Vec<_>>());
    let definition = fixture.write("card.toml", definition(FIELDS, run));
    fixture.submit(&definition).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_goes_alone_and_the_others_find_its_beginning() {
    let latency = Duration::from_millis(200);
    let fixture = Fixture::with(Config { latency, ..Config::default() }).await;
    let batch = batch(&fixture, 20, "").await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    let books = fixture.sandbox.books();
    let mut at: Vec<i64> = books.requests.iter().map(|request| request.at_ms).collect();
    at.sort_unstable();
    assert!(at[1] - at[0] >= 190, "{at:?}");
    assert!(books.peak_in_flight > 3, "the others go together: {}", books.peak_in_flight);
    let rows = fixture.rows(batch).await;
    let cached: Vec<u64> = rows.iter().map(|row| row.reply.as_ref().unwrap().usage.cached_tokens).collect();
    let stable = rows[0].reply.as_ref().unwrap().usage.prompt_tokens - 12;
    assert_eq!(cached.iter().filter(|tokens| **tokens == 0).count(), 1, "{cached:?}");
    // Whole blocks of the beginning are cached.
    assert!(
        cached.iter().filter(|tokens| **tokens > 0).all(|tokens| *tokens >= stable / 128 * 128),
        "{cached:?} {stable}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_costs_a_chat_one_call_at_most_for_what_was_in_flight() {
    let fixture = Fixture::new().await;
    // On a machine with much to do, the dead process may seem to live until its call is over.
    let batch = batch(&fixture, 6, "concurrency = 2\ncall_timeout = \"5s\"").await;
    fixture.sandbox.hold();
    let doomed = fixture.second_store().await;
    tokio::select! {
        _ = fixture.run_on(&doomed, batch, CancellationToken::new(), CancellationToken::new()) => unreachable!("it is held"),
        () = fixture.sandbox.waiting(1) => {}
    }
    drop(doomed);
    fixture.sandbox.release();
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), 6);
    let books = fixture.sandbox.books();
    assert_eq!((books.billed, books.most_billed()), (7, 2), "the one in flight was asked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_kept_is_not_bought_again_and_a_repair_neither() {
    let fixture = Fixture::new().await;
    put_up(&fixture.path(""), &["Customer: Hi [[wrong-type]]", "Customer: Hello"]);
    let definition = fixture.write("card.toml", definition(FIELDS, ""));
    let batch = fixture.submit(&definition).await;
    // A file stands where the outputs are to go.
    let _ = fs::remove_dir_all(fixture.path("out"));
    let wall = fixture.write("out", "");
    assert_eq!(fixture.run_ahead(batch).await.end, RunEnd::Paused);
    fs::remove_file(wall).unwrap();
    fixture.store.resume(batch, true).await.unwrap();
    assert_eq!(fixture.run_ahead(batch).await.end, RunEnd::Done);
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), 2);
    assert_eq!((fixture.sandbox.books().billed, fixture.sandbox.books().most_billed()), (3, 1));
    let row = fixture.row(batch, "c1").await;
    assert_eq!((row.billed_calls, row.notes.as_deref()), (2, Some("repaired")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_is_refused_leaves_the_reply_that_there_is() {
    let fixture = Fixture::new().await;
    put_up(&fixture.path(""), &["Customer: Hi [[wrong-type]]"]);
    let definition = fixture.write("card.toml", definition(FIELDS, ""));
    let batch = fixture.submit(&definition).await;
    fixture.sandbox.script([Fault::new(Match::Nth(2), What::status(400))]);
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    assert_eq!(fixture.ends(batch).await["c1"], (JobState::Suspect, "schema".into()));
    assert!(fixture.output("c1.txt").starts_with('{'));
    assert_eq!(fixture.row(batch, "c1").await.billed_calls, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_prove_what_became_of_a_lost_chat_so_the_policy_decides() {
    for (policy, end, billed) in [("retry", JobState::Succeeded, 2), ("park", JobState::Failed, 1)] {
        let fixture = Fixture::new().await;
        put_up(&fixture.path(""), &["Customer: Hi [[lost]]"]);
        let definition = fixture.write("card.toml", definition(FIELDS, &format!("on_unknown = \"{policy}\"")));
        let batch = fixture.submit(&definition).await;
        assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
        let (state, kind) = fixture.ends(batch).await["c1"].clone();
        assert_eq!((state, fixture.sandbox.books().billed), (end, billed), "{policy}: {kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_reply_is_tried_again_and_a_refusal_is_not() {
    let fixture = Fixture::new().await;
    let batch = batch(&fixture, 3, "max_tries = 2").await;
    fixture.sandbox.script([
        Fault::new(Match::Text("of 0 dollars".into()), What::Garbage200).times(1),
        Fault::new(Match::Text("of 1 dollars".into()), What::Json200),
        Fault::new(Match::Text("of 2 dollars".into()), What::status(400)),
    ]);
    assert_eq!(fixture.run_ahead(batch).await.end, RunEnd::Done);
    let ends = fixture.ends(batch).await;
    assert_eq!(ends["c1"].0, JobState::Succeeded);
    assert_eq!(ends["c2"], (JobState::Failed, "unusable_answer".into()));
    assert_eq!(ends["c3"], (JobState::Failed, "bad_request".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_reply_is_asked_for_again_by_retry_alone() {
    let fixture = Fixture::new().await;
    put_up(&fixture.path(""), &["Customer: Hi [[wrong-type-always]]"]);
    let definition =
        fixture.write("card.toml", definition(FIELDS, "").replace("max_tokens", "repairs = 2\nmax_tokens"));
    let batch = fixture.submit(&definition).await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    assert_eq!(fixture.sandbox.books().billed, 3, "two repairs");
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    assert_eq!(fixture.sandbox.books().billed, 3);
    let row = fixture.row(batch, "c1").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Suspect, Some("schema")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transcript_that_is_too_long_is_asked_in_pieces_and_one_reply_is_made_of_theirs() {
    let fixture = Fixture::new().await;
    let long: String = (0..6_000).map(|n| format!("Customer: This is line {n} of a very long call.\n")).collect();
    put_up(&fixture.path(""), &[&long, "Customer: Short.", &format!("{long}[[wrong-type-always]]")]);
    let fields = FIELDS.replace("max_tokens", "too_long = \"split\"\nmax_tokens");
    let definition = fixture.write("card.toml", definition(&fields, ""));
    let batch = fixture.submit(&definition).await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    let row = fixture.row(batch, "c1").await;
    assert_eq!((row.state, row.error.as_deref()), (JobState::Succeeded, None));
    let pieces = row.parts.unwrap();
    assert!(pieces >= 3 && u64::from(row.billed_calls) == pieces + 1, "{pieces} pieces, {} calls", row.billed_calls);
    assert!(row.reply.unwrap().usage.prompt_tokens > 60_000);
    assert!(fixture.output("c1.json").contains("This is line"), "quotes are kept, and stand in the whole");
    assert_eq!((fixture.row(batch, "c2").await.parts, fixture.row(batch, "c2").await.billed_calls), (Some(1), 1));
    let spoiled = fixture.row(batch, "c3").await;
    assert_eq!((spoiled.state, spoiled.error_kind.as_deref()), (JobState::Suspect, Some("schema")));
    assert!(spoiled.error.unwrap().starts_with("part "), "the piece is named");
    assert!(fixture.sandbox.books().requests.iter().all(|request| request.status == Some(200)), "none was too long");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_model_would_call_is_the_output() {
    let fixture = Fixture::new().await;
    put_up(&fixture.path(""), &["Customer: Refund me [[tool-call]]"]);
    fixture.write("tools.json", r#"[{"type": "function", "function": {"name": "refund", "parameters": {}}}]"#);
    let fields = "prompt = \"{transcript}\"\ntools = \"tools.json\"\nmax_tokens = 50";
    let definition = fixture.write("card.toml", definition(fields, ""));
    let batch = fixture.submit(&definition).await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    let written: Value = serde_json::from_str(&fixture.output("c1.json")).unwrap();
    assert_eq!(written["tool_calls"][0]["function"]["name"], "refund");
    assert_eq!(fixture.row(batch, "c1").await.state, JobState::Succeeded);
}

const METRICS: &str = r#"endpoint = "pca"
metrics = [
  { name = "refund", prompt = "Was a refund promised?", type = "boolean" },
  { name = "reason", prompt = "Why do they call?", type = "enum", choices = ["billing", "outage", "other"] },
  { name = "dollars", prompt = "How much?", type = "integer" },
  { name = "status", prompt = "What comes next?", type = "string" },
]
"#;

/// A definition of analyses, beside the lines of [`put_up`].
fn analysis(fields: &str, run: &str) -> String {
    definition(fields, run).replace("model = \"electron\"\n", "")
}

#[test]
fn a_check_of_an_analysis_says_what_the_vendor_does_not_publish() {
    let dir = fixture();
    put_up(dir.path(), &["Customer: My bill is wrong.", "Customer: No power."]);
    fs::write(dir.path().join("card.toml"), analysis(METRICS, "")).unwrap();
    let check = run(dir.path(), &["check", "card.toml"]);
    assert_eq!(code(&check), 0, "{}", stderr(&check));
    for words in [
        "card: chat by pca\n",
        "columns   key: key, prompt: transcript",
        "calls     2 requests, all of them new",
        "not known, and counted as 0: the vendor publishes no price of it; [rates] pca in wavebatch.toml sets that",
        "10 requests/min (a guess, since the vendor publishes none; set them in wavebatch.toml [limits.pca])",
    ] {
        assert!(stdout(&check).contains(words), "{words}\n{}", stdout(&check));
    }
    assert!(!stdout(&check).contains("unlisted") && !stdout(&check).contains("max_tokens"), "{}", stdout(&check));
    fs::write(dir.path().join("card.toml"), analysis(METRICS, "max_spend_usd = 1")).unwrap();
    let check = run(dir.path(), &["check", "card.toml"]);
    assert_eq!(code(&check), 2);
    for words in
        ["`run.max_spend_usd`: cannot be kept: the price of `pca` is not known", "US dollars a request:", "pca = 0.02"]
    {
        assert!(stderr(&check).contains(words), "{words}\n{}", stderr(&check));
    }
    let settings = "[rates]\npca = 0.02\n[limits.pca]\nrequests_per_minute = 30\nconcurrency = 0\n";
    fs::write(dir.path().join("wavebatch.toml"), settings).unwrap();
    let check = run(dir.path(), &["check", "card.toml"]);
    assert_eq!(code(&check), 0, "{}", stderr(&check));
    for words in ["$0.04", "$0.02 a request by pca, by [rates]", "30 requests/min (wavebatch.toml:4)"] {
        assert!(stdout(&check).contains(words), "{words}\n{}", stdout(&check));
    }
}

#[test]
fn what_is_wrong_with_metrics_is_told_at_its_place() {
    let dir = fixture();
    put_up(dir.path(), &["Customer: My bill is wrong."]);
    let fields = r#"endpoint = "pca"
schema = "card.schema.json"
max_tokens = 5
grounded = ["refunds.reasoning"]
metrics = [
  { name = "a b", prompt = "?", type = "boolean" },
  { name = "reason", prompt = "?", type = "enum" },
  { name = "refund", prompt = "?", type = "boolean", choices = ["yes"] },
  { name = "dollars", prompt = "?", type = "number" },
  { name = "when", type = "string" },
  { name = "good", prompt = "?", type = "string" },
  { name = "good", prompt = "?", type = "string", choice = ["a"] },
  { name = "good", prompt = "?", type = "string" },
  { name = "summary", prompt = "?", type = "summary" },
]
"#;
    fs::write(dir.path().join("card.toml"), analysis(fields, "")).unwrap();
    let check = run(dir.path(), &["check", "card.toml"]);
    assert_eq!(code(&check), 2);
    for words in [
        "card.toml:7:10: `chat.schema`: is for a chat; an analysis takes a transcript and `metrics` alone",
        "card.toml:8:14: `chat.max_tokens`: is for a chat",
        "an analysis has no `refunds.reasoning`; it has `summary`, `good.value`, `good.reasoning`",
        "card.toml:11:12: `chat.metrics.name`: `a b` cannot be a name",
        "card.toml:12:3: `chat.metrics`: `reason` is an enum, and needs two `choices` or more",
        "card.toml:13:3: `chat.metrics`: `refund` has `choices`, which are for an enum",
        "card.toml:14:44: `chat.metrics.type`: `number` is not a type of a metric",
        "card.toml:15:3: `chat.metrics.prompt`: is missing",
        "`chat.metrics.choice`: there is no such field; did you mean `choices`?",
        "card.toml:18:3: `chat.metrics`: `good` is the name of two metrics",
        "`chat.metrics.name`: `summary` is the summary of the call, which each answer has",
    ] {
        assert!(stderr(&check).contains(words), "{words}\n{}", stderr(&check));
    }
    let of_chat = definition("metrics = []\n", "");
    fs::write(dir.path().join("card.toml"), of_chat).unwrap();
    let check = run(dir.path(), &["check", "card.toml"]);
    assert!(stderr(&check).contains("`chat.metrics`: are for endpoint = \"pca\""), "{}", stderr(&check));
    fs::write(dir.path().join("card.toml"), analysis("endpoint = \"pda\"\nmetrics = 1\n", "")).unwrap();
    let check = run(dir.path(), &["check", "card.toml"]);
    for words in [
        "`pda` is not a name of an endpoint; did you mean `pca`?",
        "`chat.metrics`: must be a list of tables, not a whole number",
    ] {
        assert!(stderr(&check).contains(words), "{words}\n{}", stderr(&check));
    }
}

#[test]
fn an_analysis_has_typed_columns_and_what_does_not_fit_is_suspect() {
    let dir = fixture();
    put_up(
        dir.path(),
        &[
            "Customer: My bill is wrong.",
            "Customer: We move. [[wrong-type]]",
            "Customer: Nobody called me. [[invented-quote]]",
            "Customer: Silent. [[empty]]",
            "Customer: Flicker. [[429]]",
            "Customer: The meter. [[lost]]",
            "Customer: It failed. [[500]]",
        ],
    );
    let grounded = format!("{METRICS}grounded = [\"*.reasoning\"]\n");
    fs::write(dir.path().join("card.toml"), analysis(&grounded, "")).unwrap();
    fs::write(dir.path().join("wavebatch.toml"), "[rates]\npca = 0.02\n").unwrap();
    let ran = run(dir.path(), &["run", "card.toml", "--sandbox", "--output", "o"]);
    assert_eq!(code(&ran), 1, "{}", stderr(&ran));
    let rows = report(&dir.path().join("o/report.csv"));
    let ends: Vec<String> = (1..=7)
        .map(|n| &rows[&format!("c{n}")])
        .map(|row| [&*row["status"], row["notes"].trim_start_matches("sandbox").trim_start_matches(';')].join(" "))
        .collect();
    let wanted = [
        "succeeded ",
        "suspect schema",
        "suspect ungrounded",
        "suspect schema",
        "succeeded ",
        "succeeded paid_again",
        "succeeded ",
    ];
    assert_eq!(ends, wanted);
    let first = &rows["c1"];
    assert!(["true", "false"].contains(&&*first["refund"]), "{first:?}");
    assert!(["billing", "outage", "other"].contains(&&*first["reason"]));
    assert!(first["dollars"].parse::<i64>().is_ok() && first["summary"].starts_with("The call says: "));
    assert!(!first["reply.status"].is_empty(), "beside the line's own status");
    assert!(first["reason.confidence"].parse::<f64>().is_ok_and(|number| (0.0..=1.0).contains(&number)));
    assert_eq!((&*first["reason.reasoning"], &*first["model"]), ("Customer: My bill is wrong.", "pca"));
    assert!(!first.contains_key("prompt_tokens"), "an analysis does not say what it used");
    assert!(rows["c2"]["error"].contains("`refund` is neither true nor false"), "{:?}", rows["c2"]);
    assert!(rows["c2"]["refund"].is_empty() && !rows["c2"]["reason"].is_empty(), "what is right is told");
    let written: Value = serde_json::from_slice(&fs::read(dir.path().join("o/c1.json")).unwrap()).unwrap();
    assert!(written["refund"]["value"].is_boolean() && written["dollars"]["value"].is_i64(), "{written}");
    assert!(dir.path().join("o/c2.txt").exists() && !dir.path().join("o/c2.json").exists());
    assert!(!stderr(&ran).contains("tokens"), "{}", stderr(&ran));
    // Other metrics are another question.
    fs::write(dir.path().join("card.toml"), analysis(&grounded.replace("How much?", "How many dollars?"), "")).unwrap();
    let other = run(dir.path(), &["run", "card.toml", "--sandbox", "--output", "o"]);
    assert_eq!(code(&other), 2);
    assert!(stderr(&other).contains("`metrics` changed"), "{}", stderr(&other));
}

#[tokio::test(flavor = "multi_thread")]
async fn analyses_have_a_pool_of_their_own_and_lost_ones_are_settled_by_the_policy() {
    let fixture = Fixture::new().await;
    put_up(&fixture.path(""), &["Customer: Hi.", "Customer: Hello [[lost]]", "Customer: Good day."]);
    let definition = fixture.write("card.toml", analysis(METRICS, "on_unknown = \"park\""));
    let batch = fixture.submit(&definition).await;
    fixture.sandbox.script([
        Fault::new(Match::Text("Good day".into()), What::Garbage200).times(1),
        Fault::new(Match::Text("Hi.".into()), What::status(503)).times(1),
    ]);
    assert_eq!(fixture.run_ahead(batch).await.end, RunEnd::Done);
    let ends = fixture.ends(batch).await;
    assert_eq!(
        (ends["c1"].0, ends["c2"].0, ends["c3"].0),
        (JobState::Succeeded, JobState::Failed, JobState::Succeeded)
    );
    let books = fixture.sandbox.books();
    assert!(books.requests.iter().all(|request| request.path == "/waves/v1/pca"), "{:?}", books.requests);
    assert!(books.models["pca"].most_in_a_minute > 0 && books.models["chat"].most_in_a_minute == 0);
}

/// Recordings whose transcripts have word times, and a batch that scores them.
async fn scored(of_calls: &str, fields: &str) -> Fixture {
    let fixture = Fixture::new().await;
    fixture.provable_calls(3);
    let calls = format!(
        "task = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/calls/\"\n\
         [transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n{of_calls}\n"
    );
    fixture.write("calls.toml", calls);
    fixture.write("card.schema.json", SCHEMA);
    let card = definition(fields, "").replace("calls.csv", "batch:calls").replace("out/", "out/card/");
    fixture.write("card.toml", card);
    let mut command = crate::support::service::program(&fixture, &["run", "calls.toml", "card.toml"]);
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(code(&ran), 0, "{}", stderr(&ran));
    fixture
}

const QUOTING: &str =
    "prompt = \"{transcript}\"\nschema = \"card.schema.json\"\nmax_tokens = 400\ngrounded = [\"evidence\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_of_a_transcript_with_word_times_has_its_second() {
    let fixture = scored("formats = [\"json\"]\nword_timestamps = true", QUOTING).await;
    let rows = report(&fixture.path("out/card/report.csv"));
    assert_eq!(rows.len(), 3);
    for (key, row) in &rows {
        let heard: Value = serde_json::from_str(&fixture.output(&format!("calls/{key}.json"))).unwrap();
        let card: Value = serde_json::from_str(&fixture.output(&format!("card/{key}.json"))).unwrap();
        let (quote, first) = (&card["evidence"][0], &heard["words"][0]);
        assert_eq!(card["evidence_at"][0]["quote"], *quote, "{card}");
        assert_eq!(card["evidence_at"][0]["second"].as_f64(), first["start"].as_f64(), "the whole is quoted: {heard}");
        let cell: Value = serde_json::from_str(&row["evidence_at"]).unwrap();
        assert_eq!(cell[0]["second"], card["evidence_at"][0]["second"]);
        assert!(cell[0].get("quote").is_none() && !row.keys().any(|name| name.contains("words")), "{row:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transcript_without_word_times_leaves_quotes_without_their_seconds() {
    let fixture = scored("formats = [\"txt\"]", QUOTING).await;
    let rows = report(&fixture.path("out/card/report.csv"));
    assert!(rows.values().all(|row| row["evidence_at"].is_empty() && !row["evidence"].is_empty()), "{rows:?}");
    assert!(!fixture.output("card/call-1.json").contains("evidence_at"));
}
