//! The API of today: lists that are the vendor's to extend, its log of many pages, its voices by model, its refusals.

use std::{fs, path::Path};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use wavebatch::{
    audio::wav,
    domain::job::JobState,
    runner::RunEnd,
    sandbox::{Config, ErrorShape, Fault, Match, Sandbox, StatusFault, What},
};

use crate::{
    cli::{code, fixture, json as out, run, stderr, wavebatch},
    support::{Fixture, KEY, synthesis},
};

fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) {
    fs::write(dir.join(name), text).unwrap();
}

/// A definition of two recordings.
fn calls(dir: &Path, fields: &str) {
    for name in ["1.wav", "2.wav"] {
        write(dir, name, synthesis(name, 1.0, 1));
    }
    let head = "task = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n";
    write(dir, "c.toml", format!("{head}{fields}\n"));
}

async fn against(dir: &Path, sandbox: &Sandbox, args: &[&str]) -> std::process::Output {
    let mut command = wavebatch(dir, args);
    command.env("SMALLEST_API_KEY", KEY).env("SMALLEST_BASE_URL", sandbox.base_url());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_no_list_is_told_once_and_passed_on() {
    let (dir, sandbox) = (fixture(), Sandbox::start(Config::default()).await.unwrap());
    write(
        dir.path(),
        "calls.csv",
        "key,source,language,keywords,extra.tier\na,1.wav,,,gold\nb,2.wav,gu,\"Northwind:2,GST\",\n",
    );
    calls(
        dir.path(),
        "[transcribe]\nmodel = \"pulse-2\"\nlanguage = \"tlh\"\n[extra.query]\npunctuate = true\ntier = \"plain\"\nrate = 0.5",
    );
    let message = against(dir.path(), &sandbox, &["run", "c.toml"]).await;
    assert_eq!(code(&message), 0, "{}", stderr(&message));
    for once in ["model `pulse-2` is not in the list of 2026-11; passed on as it is", "language `tlh`", "language `gu`"]
    {
        assert_eq!(stderr(&message).matches(once).count(), 1, "{once}\n{}", stderr(&message));
    }
    assert!(stderr(&message).contains(&format!("api       {}", sandbox.base_url())), "{}", stderr(&message));
    let mut queries: Vec<String> = sandbox.books().requests.iter().map(|request| request.query.clone()).collect();
    queries.sort();
    assert_eq!(
        queries,
        [
            "model=pulse-2&language=gu&keywords=Northwind%3A2%2CGST&punctuate=true&rate=0.5&tier=plain",
            "model=pulse-2&language=tlh&punctuate=true&rate=0.5&tier=gold",
        ]
    );
    // What is asked for is a part of what makes a line: the same again buys nothing, anything else does.
    let again = against(dir.path(), &sandbox, &["run", "c.toml"]).await;
    assert!(stderr(&again).contains("nothing was left to do"), "{}", stderr(&again));
    for (from, to) in [("rate = 0.5", "rate = 0.6"), ("rate = 0.5", "")] {
        let text = fs::read_to_string(dir.path().join("c.toml")).unwrap();
        write(dir.path(), "d.toml", text.replace(from, to));
        let message = against(dir.path(), &sandbox, &["run", "d.toml", "--batch", "c", "--rebuy"]).await;
        assert_eq!(code(&message), 2, "another definition's batch: {}", stderr(&message));
        write(dir.path(), "c.toml", text.replace(from, to));
        let message = against(dir.path(), &sandbox, &["run", "c.toml"]).await;
        assert!(stderr(&message).contains("would be paid for again"), "{}", stderr(&message));
        write(dir.path(), "c.toml", text);
    }
    assert_eq!(sandbox.books().billed, 2);
    let check = run(dir.path(), &["check", "c.toml", "--json"]);
    assert_eq!(out(&check)["unlisted"].as_array().unwrap().len(), 3, "{}", stderr(&check));
    assert_eq!(out(&check)["plan"]["estimate"]["cost_usd"], json!(null));
    assert_eq!(out(&check)["plan"]["estimate"]["requests_per_minute"], 25);
    let status = against(dir.path(), &sandbox, &["status", "--json"]).await;
    assert_eq!(code(&status), 0, "{}", stderr(&status));
}

#[test]
fn a_spend_limit_that_cannot_be_kept_names_the_price_to_write() {
    let dir = fixture();
    write(dir.path(), "calls.csv", "key,source,model\na,1.wav,\nb,2.wav,pulse-3\n");
    calls(dir.path(), "[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n[run]\nmax_spend_usd = 1.0");
    for verb in ["check", "submit"] {
        let message = run(dir.path(), &[verb, "c.toml", "--sandbox"]);
        assert_eq!(code(&message), 2, "{}", stderr(&message));
        let words = "the price of `pulse-3` is not known. Write it into wavebatch.toml, in US dollars a minute:\n  [rates]\n  \"pulse-3\" = 0.005";
        assert!(stderr(&message).contains(words), "{}", stderr(&message));
    }
    // So it is with the limit of all batches.
    calls(dir.path(), "[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"");
    write(dir.path(), "wavebatch.toml", "[spend]\nday_usd = 1.0\n");
    let message = run(dir.path(), &["check", "c.toml", "--sandbox"]);
    assert!(
        code(&message) == 2 && stderr(&message).contains("the price of `pulse-3` is not known"),
        "{}",
        stderr(&message)
    );
    write(
        dir.path(),
        "wavebatch.toml",
        "[spend]\nday_usd = 1.0\n[rates]\n\"pulse-3\" = 0.006\n[limits.pulse-3]\nrequests_per_minute = 0\n",
    );
    let message = run(dir.path(), &["run", "c.toml", "--sandbox"]);
    assert_eq!(code(&message), 0, "{}", stderr(&message));
    assert!(stderr(&message).contains("0.000183") || stderr(&message).contains("pulse-3"), "{}", stderr(&message));
}

#[test]
fn what_cannot_be_an_extra_or_a_keyword_is_told_before_anything_is_sent() {
    let dir = fixture();
    let words: String = (0..101).map(|n| format!("word {n}\n")).collect();
    write(dir.path(), "words.txt", &words);
    write(dir.path(), "few.txt", "# names\nNorthwind:2\n\nGST\n");
    let fault = |rows: &str, fields: &str| {
        write(dir.path(), "calls.csv", rows);
        calls(dir.path(), &format!("[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n{fields}"));
        let message = run(dir.path(), &["check", "c.toml", "--sandbox"]);
        (code(&message), stderr(&message))
    };
    let plain = "key,source\na,1.wav\n";
    for (rows, fields, words) in [
        (plain, "keywords = \"words.txt\"", "`words.txt`: has 101 words, and the API takes at most 100"),
        (plain, "keywords = \"gone.txt\"", "`gone.txt`: there is no such file; words themselves are written as a list"),
        (plain, "keywords = [\"a\", \"\"]", "`transcribe.keywords`: has an empty word"),
        (plain, "keywords = [\"10:30\", \"a:b\"]", "`transcribe.keywords`: `a:b`: behind a `:` stands a word's weight"),
        (plain, "keywords = [1]", "`transcribe.keywords`: must be a list of strings"),
        (
            plain,
            "[extra.query]\nmodel = \"x\"",
            "`extra.query.model`: `model` cannot be an extra: wavebatch sets `model` itself",
        ),
        (plain, "[extra.query]\nx = [1]", "`extra.query.x`: must be a string, a number, true or false"),
        (plain, "[extra.body]\nx = 1", "`extra.body.x`: a transcription's body is the recording itself"),
        (plain, "[extra.header]\nx = 1", "`extra.header`: there is no such field"),
        ("key,source,extra.language\na,1.wav,x\n", "", "column `extra.language`: `language` cannot be an extra"),
        ("key,source,keywords\na,1.wav,\"GST,:2\"\n", "", "column `keywords`: `:2` names no word"),
        ("key,source,model\na,1.wav,pulse-pro\n", "keywords = [\"GST\"]", "`pulse-pro` listens for no keywords"),
    ] {
        let (code, message) = fault(rows, fields);
        assert!(code == 2 && message.contains(words), "{fields}\n{message}");
    }
    let (code, message) = fault(plain, "keywords = \"few.txt\"");
    assert_eq!(code, 0, "{message}");
    // The flag reads the file too.
    let flag = |words: &str| {
        let message = run(dir.path(), &["check", "c.toml", "--sandbox", "--keywords", words]);
        (self::code(&message), stderr(&message))
    };
    assert_eq!(flag("few.txt").0, 0);
    let (code, message) = flag("words.txt");
    assert!(code == 2 && message.contains("`words.txt`: has 101 words"), "{message}");
    let (code, message) = flag("gone.txt");
    assert!(code == 2 && message.contains("`--keywords`: `gone.txt`: there is no such file"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_of_unknown_kinds_is_passed_on_too() {
    let (dir, sandbox) = (fixture(), Sandbox::start(Config::default()).await.unwrap());
    let prompts = |rows: &str, fields: &str| {
        write(dir.path(), "p.csv", format!("key,text,extra.emotion\n{rows}"));
        let head =
            "task = \"synthesize\"\nmanifest = \"p.csv\"\noutput = \"out/\"\n[synthesize]\nvoice_id = \"nobody_yet\"\n";
        write(dir.path(), "p.toml", format!("{head}{fields}\n"));
    };
    prompts(
        "a,Hello.,\"{\"\"calm\"\": 0.5}\"\n",
        "model = \"lightning_v4\"\nformats = [\"opus\"]\nvoice_id = \"avery\"\n[extra.body]\npitch = \"low\"\nemotion = 3",
    );
    let text = fs::read_to_string(dir.path().join("p.toml")).unwrap().replacen("voice_id = \"nobody_yet\"\n", "", 1);
    write(dir.path(), "p.toml", text);
    let message = against(dir.path(), &sandbox, &["run", "p.toml"]).await;
    assert_eq!(code(&message), 0, "{}", stderr(&message));
    assert!(stderr(&message).contains("format `opus` is not in the list"), "{}", stderr(&message));
    assert!(!fs::read(dir.path().join("out/a.opus")).unwrap().is_empty());
    let row = fs::read_to_string(dir.path().join("out/report.csv")).unwrap();
    assert!(row.contains("lightning_v4") && row.contains(",opus,"), "{row}");

    let long = format!("a,\"{}\",\n", "One sentence more. ".repeat(40));
    for (rows, fields, words) in [
        (
            long.as_str(),
            "formats = [\"opus\"]",
            "column `text`: is spoken in several parts, and nothing is known of `opus`",
        ),
        ("a,Hi,\n", "formats = [\"opus\"]\ncaptions = [\"srt\"]", "`synthesize.captions`: nothing is known of `opus`"),
        ("a,Hi,\n", "[extra.body]\nvoice_id = \"x\"", "`extra.body.voice_id`: `voice_id` cannot be an extra"),
    ] {
        prompts(rows, &format!("model = \"lightning_v3.1\"\n{fields}"));
        let message = run(dir.path(), &["check", "p.toml", "--sandbox"]);
        assert!(code(&message) == 2 && stderr(&message).contains(words), "{fields}\n{}", stderr(&message));
    }
    prompts(&long, "model = \"lightning_v3.1\"\nformats = [\"opus\"]\npart_chars = 8000");
    let message = run(dir.path(), &["check", "p.toml", "--sandbox"]);
    assert_eq!(code(&message), 0, "{}", stderr(&message));
}

#[test]
fn a_voice_of_the_other_model_is_a_fault_unless_that_is_wanted() {
    let dir = fixture();
    write(dir.path(), "p.csv", "key,text\na,Hello.\n");
    let ask = |verb: &str, model: &str, voice: &str, more: &[&str]| {
        let args = [verb, "p.csv", "--task", "synthesize", "--model", model, "--voice-id", voice, "--sandbox"];
        let message = run(dir.path(), &[&args[..], more].concat());
        (code(&message), stderr(&message))
    };
    let (end, message) = ask("run", "lightning_v3.1", "meher", &[]);
    assert!(
        end == 2 && message.contains("`meher` is a voice of lightning_v3.1_pro, and here it is to speak by"),
        "{message}"
    );
    let (end, message) = ask("run", "lightning_v3.1_pro", "nobody", &[]);
    assert!(end == 2 && message.contains("the account has no voice `nobody`"), "{message}");
    let (end, message) = ask("run", "lightning_v3.1", "meher", &["--voice-check", "warn"]);
    assert!(end == 0 && message.contains("`meher` is a voice of lightning_v3.1_pro"), "{message}");
    let (end, message) = ask("run", "lightning_v3.1_pro", "meher", &["--batch", "b"]);
    assert!(end == 0 && !message.contains("is a voice of"), "{message}");
}

/// Has forty answers lost, so that between each and the next there is a page of the log, and takes them up again.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_found_on_whatever_page_of_the_log_it_stands() {
    const PAGES: usize = 40;
    let fixture = Fixture::timeless(Config::default()).await;
    fixture.provable_calls(PAGES);
    let batch = fixture.submit(&fixture.definition("formats = [\"txt\"]", "concurrency = 1")).await;
    let (http, url) = (reqwest::Client::new(), fixture.sandbox.base_url());
    let mut lost = 0;
    for _ in 0..PAGES {
        let (books, drain) = (fixture.sandbox.books(), CancellationToken::new());
        // The newest entry can be read as the run begins, and nothing after that.
        let hidden = Fault::new(Match::From(books.log_calls + 2), What::LogsUnavailable);
        fixture.sandbox.script([Fault::new(Match::Any, What::CutAfterWork), hidden]);
        let one_is_lost = || async { fixture.sandbox.books().billed > books.billed };
        if lost < PAGES as u64 {
            tokio::join!(fixture.run_until(batch, drain.clone()), async {
                fixture.until("a lost call", one_is_lost).await;
                drain.cancel();
            });
        }
        fixture.sandbox.unscript();
        // Another one may have begun before the run was told to stop.
        lost += fixture.sandbox.books().billed - books.billed;
        for filler in 0..50 {
            let body = wav::pcm16(1, 8_000, None, &[filler; 80]);
            let call = http.post(format!("{url}/waves/v1/stt/?model=pulse&language=en")).bearer_auth(KEY).body(body);
            assert!(call.send().await.unwrap().status().is_success());
        }
    }
    assert_eq!(lost, PAGES as u64);
    let before = fixture.sandbox.books();
    let ran = fixture.run(batch).await;
    assert_eq!(ran.end, RunEnd::Done);
    let after = fixture.sandbox.books();
    assert_eq!(after.billed, before.billed, "none is paid for again");
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), PAGES as u64);
    assert!(after.log_calls > before.log_calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_line_is_to_blame_for_pauses_the_batch() {
    let status = |code, shape, message: &str| {
        let message = Some(message.to_owned());
        What::Status(StatusFault { code, shape, message, ..StatusFault::default() })
    };
    for (what, kind, words) in [
        (status(410, Some(ErrorShape::Retired), "gone"), "model", "recommends /waves/v1/tts; set another model"),
        (status(400, Some(ErrorShape::SttRegion), "no"), "region", "https://api.india.smallest.ai"),
        (status(400, Some(ErrorShape::Stt), "Please upgrade your plan"), "credentials", "Please upgrade your plan"),
    ] {
        let fixture = Fixture::new().await;
        fixture.calls(5);
        fixture.sandbox.script([Fault::new(Match::Any, what)]);
        let (batch, ran) = fixture.go("", "concurrency = 1").await;
        assert_eq!(ran.end, RunEnd::Paused, "{kind}");
        assert!(ran.paused().unwrap().contains(words), "{kind}: {:?}", ran.paused());
        let row = fixture.store.batch_by_id(batch).await.unwrap();
        assert_eq!(row.pause.unwrap().0.as_str(), kind);
        assert_eq!(
            (fixture.sandbox.books().billed, fixture.counts(batch).await.of(JobState::Failed)),
            (0, 0),
            "{kind}"
        );
        fixture.sandbox.unscript();
        let ran = fixture.run(batch).await;
        assert_eq!(ran.end, RunEnd::Paused, "until somebody lifts it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_without_sound_is_final_whatever_the_status() {
    let fixture = Fixture::new().await;
    fixture.calls(3);
    let status = |code, shape| What::Status(StatusFault { code, shape: Some(shape), ..StatusFault::default() });
    fixture.sandbox.script([
        Fault::new(Match::Nth(1), status(500, ErrorShape::AudioDecode)),
        Fault::new(Match::Nth(2), status(503, ErrorShape::NoAudio)),
    ]);
    let (batch, ran) = fixture.go("", "concurrency = 1").await;
    assert_eq!(ran.end, RunEnd::Done);
    let ends = fixture.ends(batch).await;
    let failed = ends.values().filter(|end| **end == (JobState::Failed, "source_not_audio".into())).count();
    assert_eq!((failed, fixture.sandbox.books().calls), (2, 3), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_that_is_unavailable_for_the_moment_is_asked_for_again_first() {
    let config = Config { content_expiry: "unavailable".into(), ..Config::default() };
    let fixture = Fixture::with(config).await;
    fixture.calls(6);
    let (batch, ran) = fixture.go("expire_content = true", "concurrency = 1").await;
    assert_eq!(ran.end, RunEnd::Paused);
    assert!(ran.paused().unwrap().contains("`unavailable` instead of `applied`"), "{:?}", ran.paused());
    assert_eq!(fixture.sandbox.books().billed, 3, "the third in a row");
    assert_eq!(fixture.counts(batch).await.of(JobState::Failed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pulse_posts_its_answers_where_that_is_always_wanted() {
    use wavebatch::domain::callback::{Rule, Secret};
    let mut fixture = Fixture::with(Config::default()).await;
    let _receiver = fixture.listens(Secret::new([7; 32]), Rule::default()).await;
    fixture.calls(2);
    let (batch, ran) = fixture.go("webhook = \"always\"", "").await;
    assert_eq!(ran.end, RunEnd::Done);
    fixture.all_well(batch, 2, 1).await;
    assert_eq!(fixture.sandbox.books().deliveries, 2);
    let text = fs::read_to_string(fixture.path("night.toml")).unwrap();
    let text = text.replace("\"night\"", "\"auto\"").replace("always", "auto").replace("out/", "auto/");
    let batch = fixture.submit(&fixture.write("auto.toml", text)).await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    assert_eq!(fixture.sandbox.books().deliveries, 2, "not proved, and so not by itself");
    fixture.all_well(batch, 2, 2).await;
}
