//! Voices of an account's own: none is made twice, whatever is lost on the way.

use std::{
    collections::HashMap,
    fs,
    io::Cursor,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use wavebatch::{
    audio::{
        analyze::{HearSettings, Target, convert},
        wav,
    },
    domain::cuts::Cuts,
    sandbox::{Config, Fault, Match, What},
};

use crate::{
    cli::{code, stderr},
    support::{Fixture, service::program},
};

/// Two recordings that are a sample together.
const TWO: [&str; 2] = ["a.wav", "b.wav"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A sandbox, and samples: two short recordings, and a long enough one of both.
async fn put_up(clone_time: Duration) -> Fixture {
    let fixture = Fixture::with(Config { clone_time, ..Config::default() }).await;
    let mut both = Vec::new();
    for (name, demo) in TWO.iter().zip(["1001-greeting.wav", "1002-red-light.wav"]) {
        let path = root().join("jobs/demo-calls").join(demo);
        let mut out = Cursor::new(Vec::new());
        convert(&path, &HearSettings::default(), &Cuts::default(), Target::Wav16k, &mut out, &|| false).unwrap();
        let data = &out.get_ref()[44..];
        both.extend(data.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
        fs::copy(path, fixture.path(name)).unwrap();
    }
    fs::write(fixture.path("good.wav"), wav::pcm16(1, 16_000, None, &both)).unwrap();
    fixture
}

async fn go(fixture: &Fixture, args: &[&str]) -> Output {
    let mut command = program(fixture, args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn make(fixture: &Fixture, args: &[&str]) -> Output {
    go(fixture, &[&["voices", "clone"], args].concat()).await
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The account's voices: the number of each name.
async fn listed(fixture: &Fixture) -> HashMap<String, usize> {
    let list = go(fixture, &["voices", "clones", "--json"]).await;
    let list: Vec<Value> = serde_json::from_slice(&list.stdout).unwrap();
    let mut names = HashMap::new();
    list.iter().for_each(|voice| *names.entry(voice["name"].as_str().unwrap().to_owned()).or_default() += 1);
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_is_made_of_a_sample_and_its_name_is_taken_then() {
    let fixture = put_up(Duration::from_millis(800)).await;
    let args =
        ["good.wav", "--name", "Ann, support", "--language", "English", "--tags", "a, b", "--description", "Calm."];
    let made = make(&fixture, &args).await;
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    let id = stdout(&made);
    assert!(id.starts_with("voice_") && id.lines().count() == 1, "{id}");
    for words in ["`Ann, support` is sent", "is being made", "is ready; it speaks by lightning_v3.1"] {
        assert!(stderr(&made).contains(words), "{words}\n{}", stderr(&made));
    }
    let again = make(&fixture, &args).await;
    assert_eq!(code(&again), 2);
    for words in
        ["`--name`: the account has a voice `Ann, support` already", &id, "completed", "voices clones` lists all"]
    {
        assert!(stderr(&again).contains(words), "{words}\n{}", stderr(&again));
    }
    let list = go(&fixture, &["voices", "clones"]).await;
    for words in ["id", "status", &id, "completed", "lightning_v3.1", "en", "Ann, support"] {
        assert!(stdout(&list).contains(words), "{words}\n{}", stdout(&list));
    }
    let whole: Value = serde_json::from_slice(&go(&fixture, &["voices", "clones", "--json"]).await.stdout).unwrap();
    assert_eq!((&whole[0]["tags"], &whole[0]["description"]), (&serde_json::json!(["a", "b"]), &"Calm.".into()));
    let gone = go(&fixture, &["voices", "delete", &id]).await;
    assert_eq!(code(&gone), 1);
    assert!(stderr(&gone).contains("is not deleted: 410, ") && stderr(&gone).contains("any more"), "{}", stderr(&gone));
    assert_eq!(fixture.sandbox.books().billed, 1);
    let left: Vec<_> = fs::read_dir(fixture.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".journal")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_files_become_one_sample() {
    let fixture = put_up(Duration::ZERO).await;
    let made = make(&fixture, &["a.wav", "b.wav", "--name", "Ann", "--model", "lightning_v3.1_pro", "--json"]).await;
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    let row: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!((&row["status"], &row["models"]), (&"completed".into(), &"lightning_v3.1_pro".into()));
    assert!(row["speech_seconds"].as_str().unwrap().parse::<f64>().unwrap() >= 5.0, "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_is_none_is_told_and_not_sent() {
    let fixture = put_up(Duration::ZERO).await;
    fs::write(fixture.path("silent.wav"), wav::pcm16(1, 8_000, None, &[0; 80_000])).unwrap();
    fs::write(fixture.path("huge.wav"), wav::pcm16(1, 44_100, None, &vec![9; 3_000_000])).unwrap();
    let copy = |from: &str, to: &str| fs::copy(root().join("jobs").join(from), fixture.path(to)).unwrap();
    copy("demo-stereo/2002-charged-twice.wav", "two.wav");
    copy("demo-calls/1007-cancel.flac", "c.flac");
    fs::write(fixture.path("page.wav"), "<html>no audio</html>").unwrap();
    for (samples, words) in [
        (&["a.wav"][..], "of speech, and 5 to 15 s are needed; several files become one sample"),
        (&["silent.wav"], "silent.wav: nobody speaks in it"),
        (&["two.wav"], "two.wav: two people speak in it, one on each channel"),
        (&["huge.wav"], "huge.wav: it has 5.7 MB, and 5 MB is the most"),
        (&["c.flac"], "it is flac, and the API takes wav, mp3, webm and mp4"),
        (&["page.wav"], "page.wav: "),
        (&["gone.wav"], "gone.wav: there is no such file"),
        (&["good.wav", "good.wav", "good.wav"], "of speech, and 5 to 15 s are needed: cut it"),
    ] {
        let ran = make(&fixture, &[samples, &["--name", "Ann"]].concat()).await;
        assert_eq!(code(&ran), 2, "{samples:?}: {}", stderr(&ran));
        assert!(stderr(&ran).contains(words), "{words}\n{}", stderr(&ran));
    }
    for (args, words) in [
        (&["good.wav", "--name", " "][..], "`--name`: is empty"),
        (&["good.wav", "--name", "Ann", "--language", "auto"], "`--language`: a sample has one language"),
        (&["good.wav"], "--name <NAME>"),
    ] {
        let ran = make(&fixture, args).await;
        assert_eq!(code(&ran), 2, "{}", stderr(&ran));
        assert!(stderr(&ran).contains(words), "{words}\n{}", stderr(&ran));
    }
    assert_eq!(fixture.sandbox.books().calls, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_makes_no_second_voice() {
    // How the answer is lost, how many requests there are then, and how many of them were billed.
    for (fault, requests) in [
        (What::CutAfterWork, 1),
        (What::Truncated, 1),
        (What::Garbage200, 1),
        (What::status(500), 2),
        (What::Html(502), 2),
        (What::CutBeforeWork, 2),
        (What::status(429), 2),
    ] {
        let fixture = put_up(Duration::from_millis(100)).await;
        fixture.sandbox.script([Fault::new(Match::Text("Ann".into()), fault.clone()).times(1)]);
        let made = make(&fixture, &["good.wav", "--name", "Ann", "--grace", "700ms"]).await;
        assert_eq!(code(&made), 0, "{fault:?}: {}", stderr(&made));
        let books = fixture.sandbox.books();
        assert_eq!((books.calls, books.billed), (requests, 1), "{fault:?}: {}", stderr(&made));
        assert_eq!(listed(&fixture).await["Ann"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_that_shows_up_late_is_waited_for() {
    let fixture = put_up(Duration::from_millis(100)).await;
    // The answer tells the id; the list has it later.
    fixture.sandbox.script([Fault::new(Match::Any, What::CloneLate(1_500)).times(1)]);
    let made = make(&fixture, &["good.wav", "--name", "Ann"]).await;
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    assert_eq!(fixture.sandbox.books().calls, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_that_cannot_be_made_or_is_not_ready_is_told() {
    let fixture = put_up(Duration::from_millis(100)).await;
    fixture.sandbox.script([Fault::new(Match::Text("Ann".into()), What::CloneFails)]);
    let failed = make(&fixture, &["good.wav", "--name", "Ann"]).await;
    assert_eq!(code(&failed), 1);
    assert!(stderr(&failed).contains("the vendor could not make it of this sample"), "{}", stderr(&failed));
    let slow = put_up(Duration::from_secs(60)).await;
    let pending = make(&slow, &["good.wav", "--name", "Ann", "--wait", "1s"]).await;
    assert_eq!(code(&pending), 1);
    assert!(stderr(&pending).contains("it is not ready yet"), "{}", stderr(&pending));
    assert!(stdout(&pending).starts_with("voice_"), "its id is known all the same");
    slow.sandbox.script([Fault::new(Match::Any, What::status(402))]);
    let unpaid = make(&slow, &["good.wav", "--name", "Ben"]).await;
    assert_eq!(code(&unpaid), 3, "{}", stderr(&unpaid));
}

/// A manifest of so many voices.
fn manifest(fixture: &Fixture, n: usize) {
    let lines: String = (1..=n).map(|n| format!("Voice {n},good.wav,en\n")).collect();
    fixture.write("voices.csv", format!("name,sample,language\n{lines}"));
}

const MANIFEST: [&str; 4] = ["--manifest", "voices.csv", "--grace", "900ms"];

fn rows(fixture: &Fixture) -> HashMap<String, HashMap<String, String>> {
    let text = fs::read_to_string(fixture.path("voices-report.csv")).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let rows = reader.deserialize::<HashMap<String, String>>().map(|row| row.unwrap());
    rows.map(|row| (row["name"].clone(), row)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_makes_many_and_a_second_run_none() {
    let fixture = put_up(Duration::from_millis(200)).await;
    manifest(&fixture, 5);
    fixture.sandbox.script([
        Fault::new(Match::Text("Voice 2".into()), What::status(400)),
        Fault::new(Match::Text("Voice 3".into()), What::CutAfterWork).times(1),
    ]);
    let ran = make(&fixture, &MANIFEST).await;
    assert_eq!(code(&ran), 1, "{}", stderr(&ran));
    assert!(stderr(&ran).contains("4 voices ready, 1 not"), "{}", stderr(&ran));
    let found = rows(&fixture);
    assert_eq!((found.len(), found["Voice 2"]["status"].as_str()), (5, "not_made"));
    assert!(found["Voice 2"]["error"].contains("scripted") && found["Voice 2"]["voice_id"].is_empty());
    assert_eq!((found["Voice 3"]["status"].as_str(), found["Voice 3"]["requests"].as_str()), ("completed", "1"));
    fixture.sandbox.unscript();
    let again = make(&fixture, &MANIFEST).await;
    assert_eq!(code(&again), 0, "{}", stderr(&again));
    assert_eq!((fixture.sandbox.books().billed, fixture.sandbox.books().most_billed()), (5, 1));
    assert_eq!(rows(&fixture)["Voice 2"]["requests"], "2");
    let done = make(&fixture, &MANIFEST).await;
    assert_eq!((code(&done), fixture.sandbox.books().billed), (0, 5));
    // Another sample under a name that was made.
    fs::copy(fixture.path("a.wav"), fixture.path("good.wav")).unwrap();
    let other = make(&fixture, &MANIFEST).await;
    assert_eq!(code(&other), 2);
    assert!(
        stderr(&other).contains("voices.csv:2: column `name`: `Voice 1` was made of another sample"),
        "{}",
        stderr(&other)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_manifest_are_told_before_anything_is_sent() {
    let fixture = put_up(Duration::ZERO).await;
    assert_eq!(code(&make(&fixture, &["good.wav", "--name", "Taken"]).await), 0);
    fixture.write("voices.csv", "name,sample\nAnn,good.wav\nTaken,good.wav\nBen,a.wav\nCat,gone.wav\n");
    let ran = make(&fixture, &MANIFEST).await;
    assert_eq!(code(&ran), 2);
    for words in [
        "voices.csv:3: column `name`: the account has a voice `Taken` already",
        "voices.csv:4: column `sample`: `a.wav`: it has",
        "voices.csv:5: column `sample`: `gone.wav`: there is no such file",
    ] {
        assert!(stderr(&ran).contains(words), "{words}\n{}", stderr(&ran));
    }
    assert_eq!(fixture.sandbox.books().calls, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_killed_again_and_again_makes_none_twice_and_loses_none() {
    const VOICES: usize = 12;
    let config =
        Config { clone_time: Duration::from_millis(600), latency: Duration::from_millis(250), ..Config::default() };
    let fixture = Fixture::with(config).await;
    let samples = put_up(Duration::ZERO).await;
    fs::copy(samples.path("good.wav"), fixture.path("good.wav")).unwrap();
    manifest(&fixture, VOICES);
    // Some answers are lost, too, and some voices show up late.
    fixture.sandbox.script([
        Fault::new(Match::Nth(3), What::CutAfterWork),
        Fault::new(Match::Nth(5), What::CloneLate(400)),
        Fault::new(Match::Nth(7), What::CutBeforeWork),
    ]);
    let args = [&["voices", "clone"][..], &MANIFEST, &["--concurrency", "3"]].concat();
    let mut killed = 0;
    for nth in 0..8_u64 {
        let mut child = program(&fixture, &args).stderr(Stdio::null()).spawn().unwrap();
        let before = fixture.sandbox.books().calls;
        // In the middle of a request, of a look into the list, or of a wait.
        tokio::time::timeout(Duration::from_secs(15), fixture.sandbox.arrivals(before + 1)).await.ok();
        tokio::time::sleep(Duration::from_millis(nth * 67 % 400)).await;
        child.kill().unwrap();
        killed += usize::from(child.wait().unwrap().code().is_none());
    }
    assert!(killed >= 4, "{killed}");
    let ended = go(&fixture, &args).await;
    assert_eq!(code(&ended), 0, "{}", stderr(&ended));
    let found = rows(&fixture);
    assert_eq!(found.len(), VOICES);
    assert!(
        found.values().all(|row| row["status"] == "completed" && row["voice_id"].starts_with("voice_")),
        "{found:?}"
    );
    let there = listed(&fixture).await;
    assert_eq!((there.len(), there.values().max()), (VOICES, Some(&1)), "{there:?}");
    let books = fixture.sandbox.books();
    assert_eq!((books.billed, books.most_billed()), (VOICES as u64, 1));
    assert!(!fixture.path("voices-report.csv.journal").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_of_ones_own_is_held_against_its_models_before_anything_is_bought() {
    let fixture = put_up(Duration::ZERO).await;
    let id = stdout(&make(&fixture, &["good.wav", "--name", "Ann"]).await);
    let speech = |model: &str| {
        format!(
            "task = \"synthesize\"\nmanifest = \"texts.csv\"\n[synthesize]\nmodel = \"{model}\"\nvoice_id = \"{id}\"\n"
        )
    };
    fixture.write("texts.csv", "key,text\na,Hello there.\n");
    fixture.write("speech.toml", speech("lightning_v3.1_pro"));
    let billed = fixture.sandbox.books().billed;
    let refused = go(&fixture, &["run", "speech.toml"]).await;
    assert_eq!(code(&refused), 2, "{}", stderr(&refused));
    let words = format!("`{id}` speaks by lightning_v3.1, and here it is to speak by lightning_v3.1_pro");
    assert!(stderr(&refused).contains(&words), "{}", stderr(&refused));
    assert_eq!(fixture.sandbox.books().billed, billed);
    fixture.write("speech.toml", speech("lightning_v3.1"));
    let spoken = go(&fixture, &["run", "speech.toml"]).await;
    assert_eq!(code(&spoken), 0, "{}", stderr(&spoken));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_voice_whose_command_was_killed_is_found_by_the_same_command() {
    // While its request is under way, and while it is made.
    for wait in [50, 900] {
        let fixture = put_up(Duration::from_secs(2)).await;
        let args = ["voices", "clone", "good.wav", "--name", "Ann", "--grace", "900ms"];
        let mut child = program(&fixture, &args).stderr(Stdio::null()).spawn().unwrap();
        fixture.sandbox.arrivals(1).await;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let made = go(&fixture, &args).await;
        assert_eq!(code(&made), 0, "{}", stderr(&made));
        assert!(stdout(&made).starts_with("voice_"), "{}", stderr(&made));
        assert_eq!((fixture.sandbox.books().billed, listed(&fixture).await["Ann"]), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_out_of_reach_stops_all() {
    let fixture = put_up(Duration::ZERO).await;
    manifest(&fixture, 3);
    fixture.sandbox.script([Fault::new(Match::Any, What::status(401))]);
    let args = [&["voices", "clone"][..], &MANIFEST].concat();
    let refused = go(&fixture, &args).await;
    assert_eq!(code(&refused), 3, "{}", stderr(&refused));
    let mut command = program(&fixture, &args);
    command.env("SMALLEST_BASE_URL", "http://127.0.0.1:9").stderr(Stdio::piped());
    let away = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(code(&away), 3, "{}", stderr(&away));
    fixture.sandbox.unscript();
    assert_eq!(code(&go(&fixture, &args).await), 0);
    assert_eq!((fixture.sandbox.books().billed, fixture.sandbox.books().most_billed()), (3, 1));
}
