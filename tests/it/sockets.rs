//! Speech over a socket, against the sandbox: captions exact to the word, and sockets that end too early.

use std::{fs, time::Duration};

use serde_json::{Value, json};
use wavebatch::{
    audio::wav,
    domain::{
        job::{BatchId, JobState},
        pool::{Limits, Pool},
    },
    runner::RunEnd,
    sandbox::{Config, Fault, Match, What, fixtures::heard_in},
    store::ReportRow,
};

use crate::support::{
    Fixture,
    synthesis::{SynthesisSetup, prose},
};

/// How many requests came over sockets, and how many in another way.
fn by_socket(fixture: &Fixture) -> (usize, usize) {
    let requests = fixture.sandbox.books().requests;
    let sockets = requests.iter().filter(|one| one.path == "/waves/v1/tts/live").count();
    (sockets, requests.len() - sockets)
}

fn captioned(captions: &[&str]) -> SynthesisSetup {
    SynthesisSetup { synthesize: json!({ "captions": captions }), ..SynthesisSetup::default() }
}

async fn speak(fixture: &Fixture, setup: &SynthesisSetup, text: &str) -> BatchId {
    let batch = fixture.speak(setup, &[("one", text)]).await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    batch
}

fn notes(row: &ReportRow) -> String {
    row.notes.clone().unwrap_or_default()
}

fn words(fixture: &Fixture) -> Vec<Value> {
    let json: Value = serde_json::from_slice(&fs::read(fixture.spoken("one.words.json")).unwrap()).unwrap();
    json["words"].as_array().unwrap().clone()
}

/// Compares the words of the captions with what is heard in the audio. Returns the greatest difference in ms.
fn off_by(fixture: &Fixture) -> u64 {
    let path = fixture.spoken("one.wav");
    let read = wav::read(&mut fs::File::open(&path).unwrap()).unwrap();
    let bytes = fs::read(&path).unwrap();
    let samples: Vec<f32> = bytes[bytes.len() - usize::try_from(read.data_len).unwrap()..]
        .as_chunks::<2>()
        .0
        .iter()
        .map(|sample| f32::from(i16::from_le_bytes(*sample)) / 32_768.0)
        .collect();
    let (heard, said) = (heard_in(&samples, read.sample_rate), words(fixture));
    assert_eq!(heard.len(), said.len());
    let pairs = heard.iter().zip(&said);
    let off = pairs.map(|(heard, said)| {
        assert_eq!(said["text"], heard.word.as_str());
        heard.from_ms.abs_diff(said["start_ms"].as_u64().unwrap())
    });
    off.max().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn captions_of_speech_over_a_socket_are_exact_to_the_word() {
    let fixture = Fixture::new().await;
    let text = prose(4);
    let batch = speak(&fixture, &captioned(&["srt", "vtt", "json", "words"]), &text).await;
    let row = fixture.row(batch, "one").await;
    assert_eq!((row.state, notes(&row).as_str()), (JobState::Succeeded, ""), "{row:?}");
    let calls = u64::from(row.billed_calls);
    assert_eq!(by_socket(&fixture), (usize::try_from(calls).unwrap(), 0));
    let words = words(&fixture);
    let said: Vec<_> = words.iter().map(|word| word["text"].as_str().unwrap()).collect();
    assert_eq!(said.join(" "), text.split_whitespace().collect::<Vec<_>>().join(" "));
    assert!(words.iter().all(|word| word["shared_out"] == false));
    assert!(off_by(&fixture) <= 5, "{} ms", off_by(&fixture));
    let json: Value = serde_json::from_slice(&fs::read(fixture.spoken("one.json")).unwrap()).unwrap();
    let sentences = json["sentences"].as_array().unwrap();
    assert_eq!(sentences[1]["start_ms"], sentences[1]["words"][0]["start_ms"]);
    let vtt = fs::read_to_string(fixture.spoken("one.words.vtt")).unwrap();
    assert!(vtt.matches("<00:0").count() > words.len() / 2, "{vtt}");
    // Said once, it is not bought again, and its words are still known.
    let again = SynthesisSetup { name: "again", ..captioned(&["words"]) };
    let again = speak(&fixture, &again, &text).await;
    assert_eq!((fixture.sandbox.books().calls, notes(&fixture.row(again, "one").await).as_str()), (calls, ""));
    assert!(off_by(&fixture) <= 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_taken_where_words_can_be_had_alone() {
    for (setup, socket, note) in [
        (json!({ "captions": [] }), false, ""),
        (json!({ "captions": ["srt"] }), true, ""),
        (json!({ "captions": ["srt"], "transport": "sync" }), false, ""),
        (json!({ "captions": ["words"], "transport": "sse" }), false, "words_estimated"),
        (json!({ "captions": [], "transport": "ws" }), true, ""),
    ] {
        let fixture = Fixture::new().await;
        let setup = SynthesisSetup { synthesize: setup, ..SynthesisSetup::default() };
        let batch = speak(&fixture, &setup, "One sentence is enough here.").await;
        let path =
            if socket || setup.synthesize["transport"] == "sse" { "/waves/v1/tts/live" } else { "/waves/v1/tts" };
        let books = fixture.sandbox.books();
        assert!(books.requests.iter().all(|one| one.path == path), "{:?}: {books:?}", setup.synthesize);
        assert_eq!(notes(&fixture.row(batch, "one").await), note, "{:?}", setup.synthesize);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_without_times_is_told_and_bought_with_them_on_request_alone() {
    let fixture = Fixture::new().await;
    let text = "The first one is here. And so is the second.";
    // Bought without captions: by one answer.
    let plain = speak(&fixture, &SynthesisSetup::default(), text).await;
    assert_eq!(by_socket(&fixture), (0, 1));
    assert_eq!(notes(&fixture.row(plain, "one").await), "");
    let wanted = SynthesisSetup { name: "captions", ..captioned(&["words"]) };
    let wanted = speak(&fixture, &wanted, text).await;
    let row = fixture.row(wanted, "one").await;
    assert_eq!((fixture.sandbox.books().calls, notes(&row).as_str()), (1, "words_estimated"), "nothing is bought");
    assert!(words(&fixture).iter().all(|word| word["shared_out"] == true));
    let fresh = SynthesisSetup { name: "fresh", no_reuse: true, ..captioned(&["words"]) };
    let fresh = speak(&fixture, &fresh, text).await;
    assert_eq!((by_socket(&fixture), notes(&fixture.row(fresh, "one").await).as_str()), ((1, 1), ""));
    assert!(words(&fixture).iter().all(|word| word["shared_out"] == false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_ends_at_any_message_loses_no_part_and_doubles_none() {
    let whole = Fixture::new().await;
    let text = prose(2);
    let batch = speak(&whole, &captioned(&["words"]), &text).await;
    let (calls, audio) = (whole.row(batch, "one").await.billed_calls, fs::read(whole.spoken("one.wav")).unwrap());
    for message in 0..12 {
        let fixture = Fixture::timeless(Config::default()).await;
        let fault = Fault::new(Match::Every(2), What::CutMessage(message)).times(3);
        fixture.sandbox.script([fault]);
        let batch = fixture.speak(&captioned(&["words"]), &[("one", &text)]).await;
        assert_eq!(fixture.run_ahead(batch).await.end, RunEnd::Done);
        let row = fixture.row(batch, "one").await;
        assert_eq!((row.state, row.billed_calls <= calls + 3), (JobState::Succeeded, true), "{row:?}");
        assert_eq!(fs::read(fixture.spoken("one.wav")).unwrap(), audio, "cut before message {message}");
        assert!(off_by(&fixture) <= 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_socket_answers_in_place_of_speech_is_not_taken_for_it() {
    for (what, again) in [
        (What::Unended, true),
        (What::Short200, true),
        (What::Truncated, true),
        (What::ErrorEvent, true),
        (What::Garbage200, true),
        (What::Empty200, true),
        (What::status(429), false),
        (What::status(503), false),
        (What::CutBeforeWork, false),
        (What::CutAfterWork, true),
        (What::CloseAfter, false),
        (What::Drip(1), false),
    ] {
        let fixture = Fixture::timeless(Config::default()).await;
        fixture.sandbox.script([Fault::new(Match::First(1), what.clone())]);
        let batch = fixture.speak(&captioned(&["words"]), &[("one", "One two three. Four five six.")]).await;
        assert_eq!(fixture.run_ahead(batch).await.end, RunEnd::Done);
        let row = fixture.row(batch, "one").await;
        assert_eq!((row.state, row.error), (JobState::Succeeded, None), "{what:?}");
        assert_eq!(fixture.sandbox.books().billed, 1 + u64::from(again), "{what:?}");
        assert!(off_by(&fixture) <= 5, "{what:?}");
    }
    // What is the line's own fault is told, and not tried again.
    let fixture = Fixture::new().await;
    fixture.sandbox.script([Fault::new(Match::Any, What::status(400))]);
    let batch = speak(&fixture, &captioned(&["words"]), "One two three.").await;
    let row = fixture.row(batch, "one").await;
    assert_eq!((row.state, fixture.sandbox.books().calls), (JobState::Failed, 1), "{row:?}");
    assert!(row.error.unwrap().contains("the API refused the request (400): "));
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_keep_to_the_limits_of_speech() {
    let config = Config { tts_concurrency: Some(3), latency: Duration::from_millis(5), ..Config::default() };
    let mut fixture = Fixture::with(config).await;
    fixture.limits.insert(Pool::Tts, Limits { concurrency: Some(3), ..Limits::default() });
    let text = prose(8);
    let batch = speak(&fixture, &captioned(&["words"]), &text).await;
    assert_eq!(fixture.row(batch, "one").await.tries, 0);
    let books = fixture.sandbox.books();
    assert_eq!((books.billed, books.peak_in_flight <= 3), (books.calls, true), "none was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_carries_one_part_after_the_other_unless_it_is_closed() {
    let one_at_a_time = Limits { concurrency: Some(1), ..Limits::default() };
    for closes in [false, true] {
        let config = Config { latency: Duration::from_millis(20), ..Config::default() };
        let mut fixture = Fixture::with(config).await;
        fixture.limits.insert(Pool::Tts, one_at_a_time);
        if closes {
            fixture.sandbox.script([Fault::new(Match::Any, What::CloseAfter)]);
        }
        let text = prose(12);
        let batch = speak(&fixture, &captioned(&["words"]), &text).await;
        let (row, books) = (fixture.row(batch, "one").await, fixture.sandbox.books());
        assert_eq!((row.state, books.calls, row.tries), (JobState::Succeeded, u64::from(row.billed_calls), 0));
        let is_shared = books.sockets < books.calls;
        assert_eq!(is_shared, !closes, "{} sockets, {} calls", books.sockets, books.calls);
    }
}
