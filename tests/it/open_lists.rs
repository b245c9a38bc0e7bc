//! The API of today: lists that are the vendor's to extend, its log of many pages, its voices by model, its refusals.

use std::{fs, path::Path};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use wavebatch::{
    audio::wav,
    domain::job::JobState,
    runner::RunEnd,
    sandbox::{Config, Fault, Match, Sandbox, Shape, StatusFault, What},
};

use crate::{
    cli::{code, house, json as out, run, stderr, wavebatch},
    support::{House, KEY, speech},
};

fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) {
    fs::write(dir.join(name), text).unwrap();
}

/// A definition of two recordings.
fn calls(dir: &Path, fields: &str) {
    for name in ["1.wav", "2.wav"] {
        write(dir, name, speech(name, 1.0, 1));
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
    let (dir, sandbox) = (house(), Sandbox::start(Config::default()).await.unwrap());
    write(
        dir.path(),
        "calls.csv",
        "key,source,language,keywords,extra.tier\na,1.wav,,,gold\nb,2.wav,gu,\"Northwind:2,GST\",\n",
    );
    calls(
        dir.path(),
        "[transcribe]\nmodel = \"pulse-2\"\nlanguage = \"tlh\"\n[extra.query]\npunctuate = true\ntier = \"plain\"\nrate = 0.5",
    );
    let told = against(dir.path(), &sandbox, &["run", "c.toml"]).await;
    assert_eq!(code(&told), 0, "{}", stderr(&told));
    for once in ["model `pulse-2` is not in the list of 2026-11; passed on as it is", "language `tlh`", "language `gu`"]
    {
        assert_eq!(stderr(&told).matches(once).count(), 1, "{once}\n{}", stderr(&told));
    }
    assert!(stderr(&told).contains(&format!("api       {}", sandbox.base_url())), "{}", stderr(&told));
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
        let told = against(dir.path(), &sandbox, &["run", "d.toml", "--batch", "c", "--rebuy"]).await;
        assert_eq!(code(&told), 2, "another definition's batch: {}", stderr(&told));
        write(dir.path(), "c.toml", text.replace(from, to));
        let told = against(dir.path(), &sandbox, &["run", "c.toml"]).await;
        assert!(stderr(&told).contains("would be bought again"), "{}", stderr(&told));
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
    let dir = house();
    write(dir.path(), "calls.csv", "key,source,model\na,1.wav,\nb,2.wav,pulse-3\n");
    calls(dir.path(), "[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n[run]\nmax_spend_usd = 1.0");
    for verb in ["check", "submit"] {
        let told = run(dir.path(), &[verb, "c.toml", "--sandbox"]);
        assert_eq!(code(&told), 2, "{}", stderr(&told));
        let words = "the price of `pulse-3` is not known. Write it into wavebatch.toml, in US dollars a minute:\n  [rates]\n  \"pulse-3\" = 0.005";
        assert!(stderr(&told).contains(words), "{}", stderr(&told));
    }
    // So it is with the limit of all batches.
    calls(dir.path(), "[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"");
    write(dir.path(), "wavebatch.toml", "[spend]\nday_usd = 1.0\n");
    let told = run(dir.path(), &["check", "c.toml", "--sandbox"]);
    assert!(code(&told) == 2 && stderr(&told).contains("the price of `pulse-3` is not known"), "{}", stderr(&told));
    write(
        dir.path(),
        "wavebatch.toml",
        "[spend]\nday_usd = 1.0\n[rates]\n\"pulse-3\" = 0.006\n[limits.pulse-3]\nrequests_per_minute = 0\n",
    );
    let told = run(dir.path(), &["run", "c.toml", "--sandbox"]);
    assert_eq!(code(&told), 0, "{}", stderr(&told));
    assert!(stderr(&told).contains("0.000183") || stderr(&told).contains("pulse-3"), "{}", stderr(&told));
}

#[test]
fn what_cannot_be_an_extra_or_a_keyword_is_told_before_anything_is_sent() {
    let dir = house();
    let words: String = (0..101).map(|n| format!("word {n}\n")).collect();
    write(dir.path(), "words.txt", &words);
    write(dir.path(), "few.txt", "# names\nNorthwind:2\n\nGST\n");
    let fault = |rows: &str, fields: &str| {
        write(dir.path(), "calls.csv", rows);
        calls(dir.path(), &format!("[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n{fields}"));
        let told = run(dir.path(), &["check", "c.toml", "--sandbox"]);
        (code(&told), stderr(&told))
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
        let (code, told) = fault(rows, fields);
        assert!(code == 2 && told.contains(words), "{fields}\n{told}");
    }
    let (code, told) = fault(plain, "keywords = \"few.txt\"");
    assert_eq!(code, 0, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_of_unknown_kinds_is_passed_on_too() {
    let (dir, sandbox) = (house(), Sandbox::start(Config::default()).await.unwrap());
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
    let told = against(dir.path(), &sandbox, &["run", "p.toml"]).await;
    assert_eq!(code(&told), 0, "{}", stderr(&told));
    assert!(stderr(&told).contains("format `opus` is not in the list"), "{}", stderr(&told));
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
        let told = run(dir.path(), &["check", "p.toml", "--sandbox"]);
        assert!(code(&told) == 2 && stderr(&told).contains(words), "{fields}\n{}", stderr(&told));
    }
    prompts(&long, "model = \"lightning_v3.1\"\nformats = [\"opus\"]\npart_chars = 8000");
    let told = run(dir.path(), &["check", "p.toml", "--sandbox"]);
    assert_eq!(code(&told), 0, "{}", stderr(&told));
}

#[test]
fn a_voice_of_the_other_model_is_a_fault_unless_that_is_wanted() {
    let dir = house();
    write(dir.path(), "p.csv", "key,text\na,Hello.\n");
    let ask = |verb: &str, model: &str, voice: &str, more: &[&str]| {
        let args = [verb, "p.csv", "--task", "synthesize", "--model", model, "--voice-id", voice, "--sandbox"];
        let told = run(dir.path(), &[&args[..], more].concat());
        (code(&told), stderr(&told))
    };
    let (end, told) = ask("run", "lightning_v3.1", "meher", &[]);
    assert!(
        end == 2 && told.contains("`meher` is a voice of lightning_v3.1_pro, and here it is to speak by"),
        "{told}"
    );
    let (end, told) = ask("run", "lightning_v3.1_pro", "nobody", &[]);
    assert!(end == 2 && told.contains("the account has no voice `nobody`"), "{told}");
    let (end, told) = ask("run", "lightning_v3.1", "meher", &["--voice-check", "warn"]);
    assert!(end == 0 && told.contains("`meher` is a voice of lightning_v3.1_pro"), "{told}");
    let (end, told) = ask("run", "lightning_v3.1_pro", "meher", &["--batch", "b"]);
    assert!(end == 0 && !told.contains("is a voice of"), "{told}");
}

/// Has forty answers lost, so that between each and the next there is a page of the log, and takes them up again.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_found_on_whatever_page_of_the_log_it_stands() {
    const PAGES: usize = 40;
    let house = House::timeless(Config::default()).await;
    house.provable_calls(PAGES);
    let batch = house.submit(&house.definition("formats = [\"txt\"]", "concurrency = 1")).await;
    let (http, url) = (reqwest::Client::new(), house.sandbox.base_url());
    let mut lost = 0;
    for _ in 0..PAGES {
        let (books, drain) = (house.sandbox.books(), CancellationToken::new());
        // The newest entry can be read as the run begins, and nothing after that.
        let hidden = Fault::new(Match::From(books.log_calls + 2), What::LogsUnavailable);
        house.sandbox.script([Fault::new(Match::Any, What::CutAfterWork), hidden]);
        let one_is_lost = || async { house.sandbox.books().billed > books.billed };
        if lost < PAGES as u64 {
            tokio::join!(house.run_until(batch, drain.clone()), async {
                house.until("a lost call", one_is_lost).await;
                drain.cancel();
            });
        }
        house.sandbox.unscript();
        // Another one may have begun before the run was told to stop.
        lost += house.sandbox.books().billed - books.billed;
        for filler in 0..50 {
            let body = wav::pcm16(1, 8_000, None, &[filler; 80]);
            let call = http.post(format!("{url}/waves/v1/stt/?model=pulse&language=en")).bearer_auth(KEY).body(body);
            assert!(call.send().await.unwrap().status().is_success());
        }
    }
    assert_eq!(lost, PAGES as u64);
    let before = house.sandbox.books();
    let ran = house.run(batch).await;
    assert_eq!(ran.end, RunEnd::Done);
    let after = house.sandbox.books();
    assert_eq!(after.billed, before.billed, "none is bought again");
    assert_eq!(house.counts(batch).await.of(JobState::Succeeded), PAGES as u64);
    assert!(after.log_calls > before.log_calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_line_is_to_blame_for_pauses_the_batch() {
    let status = |code, shape, message: &str| {
        let message = Some(message.to_owned());
        What::Status(StatusFault { code, shape, message, ..StatusFault::default() })
    };
    for (what, kind, words) in [
        (status(410, Some(Shape::Retired), "gone"), "model", "recommends /waves/v1/tts; set another model"),
        (status(400, Some(Shape::SttRegion), "no"), "region", "https://api.india.smallest.ai"),
        (status(400, Some(Shape::Stt), "Please upgrade your plan"), "credentials", "Please upgrade your plan"),
    ] {
        let house = House::new().await;
        house.calls(5);
        house.sandbox.script([Fault::new(Match::Any, what)]);
        let (batch, ran) = house.go("", "concurrency = 1").await;
        assert_eq!(ran.end, RunEnd::Paused, "{kind}");
        assert!(ran.paused().unwrap().contains(words), "{kind}: {:?}", ran.paused());
        let row = house.store.batch_by_id(batch).await.unwrap();
        assert_eq!(row.pause.unwrap().0.as_str(), kind);
        assert_eq!((house.sandbox.books().billed, house.counts(batch).await.of(JobState::Failed)), (0, 0), "{kind}");
        house.sandbox.unscript();
        let ran = house.run(batch).await;
        assert_eq!(ran.end, RunEnd::Paused, "until somebody lifts it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_without_sound_is_final_whatever_the_status() {
    let house = House::new().await;
    house.calls(3);
    let status = |code, shape| What::Status(StatusFault { code, shape: Some(shape), ..StatusFault::default() });
    house.sandbox.script([
        Fault::new(Match::Nth(1), status(500, Shape::AudioDecode)),
        Fault::new(Match::Nth(2), status(503, Shape::NoAudio)),
    ]);
    let (batch, ran) = house.go("", "concurrency = 1").await;
    assert_eq!(ran.end, RunEnd::Done);
    let ends = house.ends(batch).await;
    let failed = ends.values().filter(|end| **end == (JobState::Failed, "source_not_audio".into())).count();
    assert_eq!((failed, house.sandbox.books().calls), (2, 3), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_that_is_unavailable_for_the_moment_is_asked_for_again_first() {
    let config = Config { content_expiry: "unavailable".into(), ..Config::default() };
    let house = House::with(config).await;
    house.calls(6);
    let (batch, ran) = house.go("expire_content = true", "concurrency = 1").await;
    assert_eq!(ran.end, RunEnd::Paused);
    assert!(ran.paused().unwrap().contains("`unavailable` instead of `applied`"), "{:?}", ran.paused());
    assert_eq!(house.sandbox.books().billed, 3, "the third in a row");
    assert_eq!(house.counts(batch).await.of(JobState::Failed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pulse_posts_its_answers_where_that_is_always_wanted() {
    use wavebatch::domain::callback::{Rule, Secret};
    let mut house = House::with(Config::default()).await;
    let _receiver = house.listens(Secret::new([7; 32]), Rule::default()).await;
    house.calls(2);
    let (batch, ran) = house.go("webhook = \"always\"", "").await;
    assert_eq!(ran.end, RunEnd::Done);
    house.all_well(batch, 2, 1).await;
    assert_eq!(house.sandbox.books().deliveries, 2);
    let text = fs::read_to_string(house.path("night.toml")).unwrap();
    let text = text.replace("\"night\"", "\"auto\"").replace("always", "auto").replace("out/", "auto/");
    let batch = house.submit(&house.write("auto.toml", text)).await;
    assert_eq!(house.run(batch).await.end, RunEnd::Done);
    assert_eq!(house.sandbox.books().deliveries, 2, "not proved, and so not by itself");
    house.all_well(batch, 2, 2).await;
}
