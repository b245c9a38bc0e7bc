//! Transcription over a socket, against the sandbox: whole transcripts, and sessions that end too early.

use wavebatch::{
    domain::{
        job::JobState,
        pool::{Limits, Pool},
    },
    runner::RunEnd,
    sandbox::{Config, Fault, Match, What, fixtures::Script},
};

use crate::{
    cli::{code, run, stderr},
    cuts::{ROLES, SENTENCES, assert_whole, call, line, talk, words},
    ears::{recordings, report},
    support::{Fixture, service::program},
};

const LIVE: &str = "transport = \"live\"\nlive_speed = 8\n";

fn sessions(fixture: &Fixture) -> Vec<String> {
    fixture.sandbox.books().requests.into_iter().map(|request| request.path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_transcript_has_the_shape_of_another_one() {
    let recording = talk(20_000);
    let fixture = recordings(Config::default(), &[("one", recording.wav())]).await;
    let formats = "formats = [\"json\", \"txt\", \"srt\"]\ndiarize = true";
    let (batch, ran) = fixture.go(&format!("{LIVE}{formats}"), "").await;
    assert_eq!(ran.end, RunEnd::Done);
    let row = fixture.row(batch, "one").await;
    assert_eq!((row.state, row.error, row.notes), (JobState::Succeeded, None, None));
    assert_whole(&words(&fixture.output("one.json")), &recording);
    let json: serde_json::Value = serde_json::from_str(&fixture.output("one.json")).unwrap();
    assert_eq!((&json["status"], &json["language"]), (&"success".into(), &"en".into()));
    assert!(json["utterances"].as_array().unwrap().len() > 1, "{json}");
    assert_eq!(json["metadata"]["duration"], 20.0);
    assert!(fixture.output("one.srt").starts_with("1\n00:00:00,"), "{}", fixture.output("one.srt"));
    let cells = &report(&fixture, batch).await["one"];
    // A third of a minute at 0.008.
    assert_eq!([&*cells["model"], &*cells["cost_usd"], &*cells["audio_seconds"]], ["pulse-live", "0.002667", "20.000"]);
    let request = &fixture.sandbox.books().requests[0];
    assert_eq!((request.path.as_str(), request.billed, request.bytes), ("/waves/v1/stt/live", true, 640_000));
    assert!(request.query.contains("model=pulse&") && request.query.contains("sample_rate=16000"), "{}", request.query);
    // Asked for the same way again, nothing is bought; over HTTP it is another purchase.
    fixture.run(batch).await;
    assert_eq!(fixture.sandbox.books().calls, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_recordings_and_channels_have_sessions_of_their_own() {
    let long = talk(75_000);
    let fixture = recordings(Config::default(), &[("long", long.wav()), ("call", call().record().wav())]).await;
    let (batch, ran) = fixture.go(&format!("{LIVE}max_piece = \"1m\"\nchannels = \"split\"\n{ROLES}"), "").await;
    assert_eq!(ran.end, RunEnd::Done);
    assert_whole(&words(&fixture.output("long.json")), &long);
    assert!(
        fixture.output("call.txt").starts_with(&format!("agent: {}", SENTENCES[0])),
        "{}",
        fixture.output("call.txt")
    );
    assert!(fixture.output("call.txt").contains(&format!("customer: {}", SENTENCES[1])));
    assert_eq!(sessions(&fixture), ["/waves/v1/stt/live"; 4]);
    assert_eq!(fixture.row(batch, "long").await.notes.as_deref(), Some("one_channel;stitched"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_can_be_decoded_becomes_samples() {
    let fast = Script { rate: 44_100, lines: vec![line(0, 300, SENTENCES[0])], length_ms: 5_000, ..Script::default() };
    let fast = fast.record();
    let fixture =
        recordings(Config::default(), &[("fast", fast.wav()), ("broken", b"RIFF, and no more".to_vec())]).await;
    let (batch, _) = fixture.go(LIVE, "").await;
    assert_eq!(words(&fixture.output("fast.json")).len(), SENTENCES[0].split(' ').count());
    let row = fixture.row(batch, "broken").await;
    assert_eq!((row.state, fixture.sandbox.books().calls), (JobState::Failed, 1), "{row:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_session_is_no_transcript() {
    for (what, billed) in [
        (What::CutMessage(0), 2),
        (What::CutMessage(3), 2),
        (What::CutAfterWork, 2),
        (What::Unended, 2),
        (What::ErrorEvent, 2),
        (What::CutBeforeWork, 1),
        (What::status(503), 1),
        (What::status(429), 1),
    ] {
        let recording = talk(14_000);
        let fixture = Fixture::timeless(Config::default()).await;
        fixture.write("rec/one.wav", recording.wav());
        fixture.lines(&[("one", "rec/one.wav")]);
        fixture.sandbox.script([Fault::new(Match::Nth(1), what.clone())]);
        let batch = fixture.submit(&fixture.definition(LIVE, "")).await;
        assert_eq!(fixture.run_ahead(batch).await.end, RunEnd::Done, "{what:?}");
        let (row, books) = (fixture.row(batch, "one").await, fixture.sandbox.books());
        assert_eq!((row.state, row.error), (JobState::Succeeded, None), "{what:?}");
        assert_eq!((books.calls, books.billed), (2, billed), "{what:?}");
        assert_whole(&words(&fixture.output("one.json")), &recording);
    }
    // Refused before any text.
    let short = Script { rate: 8_000, lines: vec![line(0, 300, "Yes")], length_ms: 3_000, ..Script::default() };
    let fixture = recordings(Config::default(), &[("one", short.record().wav())]).await;
    fixture.sandbox.script([Fault::new(Match::Any, What::status(400))]);
    let (batch, _) = fixture.go(LIVE, "").await;
    let row = fixture.row(batch, "one").await;
    assert_eq!((row.state, fixture.sandbox.books().calls), (JobState::Failed, 1), "{row:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_keep_to_their_limit() {
    let files: Vec<_> =
        (0..5).map(|nth| (["a", "b", "c", "d", "e"][nth], talk(8_000 + 100 * nth as u64).wav())).collect();
    let config = Config { concurrency: Some(2), ..Config::default() };
    let mut fixture = recordings(config, &files).await;
    fixture.limits.insert(Pool::PulseLive, Limits { concurrency: Some(2), ..Limits::default() });
    let (batch, ran) = fixture.go(LIVE, "").await;
    assert_eq!(ran.end, RunEnd::Done);
    fixture.all_well(batch, 5, 5).await;
    assert_eq!(fixture.sandbox.books().models["pulse-live"].peak_in_flight, 2);
    // Too many for the vendor: it closes the sixth, and nothing is lost.
    let crowded = recordings(Config { concurrency: Some(1), ..Config::default() }, &files).await;
    let (batch, _) = crowded.go(LIVE, "").await;
    assert!(crowded.rows(batch).await.iter().all(|row| row.state == JobState::Succeeded));
    assert_eq!(crowded.sandbox.books().billed, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_of_a_session_pays_for_that_session_again_alone() {
    let recording = talk(75_000);
    let fixture = recordings(Config::default(), &[("long", recording.wav())]).await;
    let definition = fixture.definition(&format!("{LIVE}max_piece = \"1m\""), "");
    let run = |crash: Option<&str>| {
        let mut command = program(&fixture, &["run", definition.to_str().unwrap()]);
        crash.map(|at| command.env("WAVEBATCH_CRASH_AT", at));
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    let killed = run(Some("after-answer:2")).await.unwrap();
    assert_eq!(killed.status.code(), None, "{}", stderr(&killed));
    let ended = run(None).await.unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    assert!(fixture.sandbox.books().calls <= 3, "{:?}", fixture.sandbox.books().requests);
    assert_whole(&words(&fixture.output("long.json")), &recording);
}

#[test]
fn what_a_session_does_not_take_is_told_before() {
    let dir = crate::cli::fixture();
    for (fields, message) in [
        (
            "model = \"pulse-pro\"\ntransport = \"live\"",
            "`transcribe.transport`: the API serves `pulse-pro` over HTTP alone",
        ),
        ("model = \"pulse-live\"\ntransport = \"http\"", "`transcribe.transport`: `pulse-live` is live"),
        (
            "model = \"pulse\"\ntransport = \"live\"\nlive_speed = 9",
            "`transcribe.live_speed`: 9 is not between 1 and 8",
        ),
        ("model = \"pulse-live\"\nsend = \"url\"", "`transcribe.send`: a live session takes no URLs"),
        (
            "model = \"pulse-live\"\ngender_detection = true",
            "`transcribe.gender_detection`: a live session does not label this",
        ),
        ("model = \"pulse\"\ntransport = \"telepathy\"", "`telepathy` is not a transport"),
    ] {
        let head = "task = \"transcribe\"\nmanifest = \"calls.csv\"\n[transcribe]\nlanguage = \"en\"\n";
        std::fs::write(dir.path().join("live.toml"), format!("{head}{fields}\n")).unwrap();
        let check = run(dir.path(), &["check", "live.toml"]);
        assert_eq!(code(&check), 2, "{fields}");
        assert!(stderr(&check).contains(message), "{fields}: {}", stderr(&check));
    }
}
