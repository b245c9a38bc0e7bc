//! Speech against the sandbox on a real socket: what is bought, what is joined, and how it can go wrong.

use std::{fs, time::Duration};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use wavebatch::{
    audio::{check, verify, wav},
    domain::{
        cut::{SentenceRules, cut},
        job::{BatchId, JobState},
        pool::{Limits, Pool},
        synthesis_options::{AudioFormat, SampleRate},
    },
    runner::RunEnd,
    sandbox::{Config, Fault, Match, SpeechFlaw, What},
    store::{Chosen, Selection, SpoolLimits},
};

use crate::support::{
    Fixture,
    synthesis::{SynthesisSetup, format, prose},
};

/// Parts of a text as the tests have it cut.
fn parts(text: &str) -> u64 {
    cut(text, 60, SentenceRules::of(Some("en"))).len() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_bought_in_parts_and_joined_in_order() {
    let fixture = Fixture::new().await;
    let text = prose(3);
    let setup = SynthesisSetup { synthesize: json!({ "captions": ["srt", "json"] }), ..SynthesisSetup::default() };
    let batch = fixture.speak(&setup, &[("one", &text)]).await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    let row = fixture.row(batch, "one").await;
    assert_eq!((row.state, row.error), (JobState::Succeeded, None));
    let n = parts(&text);
    assert_eq!((row.parts, row.reused_parts, row.billed_calls), (Some(n), Some(0), u32::try_from(n).unwrap()));
    let cut = cut(&text, 60, SentenceRules::of(Some("en")));
    let characters: u64 = cut.iter().map(|part| part.chars() as u64).sum();
    assert_eq!(row.characters, Some(characters));
    assert_eq!(fixture.sandbox.books().billed_characters, characters);

    // A sandbox speaks 15 characters a second, to the sample; and two paragraphs end before the last one.
    let samples: u64 = cut.iter().map(|part| (part.chars() as u64 * 24_000 + 7) / 15).sum::<u64>() + 2 * 14_400;
    let path = fixture.spoken("one.wav");
    let read = wav::read(&mut fs::File::open(&path).unwrap()).unwrap();
    assert_eq!((read.channels, read.sample_rate), (1, 24_000));
    assert!(verify(&path, AudioFormat::Wav, SampleRate::Hz24000, samples).is_ok(), "{read:?}, {samples}");
    assert_eq!(row.audio_ms, Some(samples / 24));

    let srt = fs::read_to_string(fixture.spoken("one.srt")).unwrap();
    assert!(srt.starts_with("1\n00:00:00,024 --> 00:00:02,400\n"), "{srt}");
    let json: serde_json::Value = serde_json::from_slice(&fs::read(fixture.spoken("one.json")).unwrap()).unwrap();
    let said: Vec<_> = json["sentences"].as_array().unwrap().iter().map(|s| s["text"].as_str().unwrap()).collect();
    assert_eq!(said.len(), 9);
    assert_eq!(said.join(" "), text.split_whitespace().collect::<Vec<_>>().join(" "));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_once_is_not_bought_again() {
    let fixture = Fixture::new().await;
    let text = prose(4);
    let book = SynthesisSetup::default();
    let batch = fixture.speak(&book, &[("one", &text)]).await;
    fixture.run(batch).await;
    let n = parts(&text);
    assert_eq!(fixture.sandbox.books().calls, n);
    // Another batch of another day.
    let again =
        fixture.speak(&SynthesisSetup { name: "again", ..SynthesisSetup::default() }, &[("other", &text)]).await;
    fixture.run(again).await;
    assert_eq!(fixture.sandbox.books().calls, n, "the same book again");
    let row = fixture.row(again, "other").await;
    assert_eq!((row.reused_parts, row.billed_calls, row.cost), (Some(n), 0, 0));
    assert_eq!(fs::read(fixture.spoken("one.wav")).unwrap(), fs::read(fixture.spoken("other.wav")).unwrap());
    // One word is another, as long as it was.
    let edited = text.replacen("begins here", "begins hero", 1);
    let edition =
        fixture.speak(&SynthesisSetup { name: "edited", ..SynthesisSetup::default() }, &[("third", &edited)]).await;
    fixture.run(edition).await;
    assert_eq!(fixture.sandbox.books().calls, n + 1, "one part");
    // Whoever wants it afresh gets it afresh.
    let fresh = SynthesisSetup { name: "fresh", no_reuse: true, ..SynthesisSetup::default() };
    let fresh = fixture.speak(&fresh, &[("fourth", &text)]).await;
    fixture.run(fresh).await;
    assert_eq!(fixture.sandbox.books().calls, n + 1 + n);
    assert_eq!(fixture.row(fresh, "fourth").await.reused_parts, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sentence_in_many_places_is_one_call() {
    let fixture = Fixture::with(Config { latency: Duration::from_millis(20), ..Config::default() }).await;
    let refrain = "This line comes again and again.";
    let song = [refrain; 6].join("\n\n");
    let formats = vec![format("wav", "8000"), format("ulaw", "8000"), format("alaw", "8000"), format("pcm", "8000")];
    let lines: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|key| (*key, song.as_str())).collect();
    let batch = fixture.speak(&SynthesisSetup { formats, ..SynthesisSetup::default() }, &lines).await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), 20);
    assert_eq!(fixture.sandbox.books().calls, 1);
    let rows = fixture.rows(batch).await;
    assert!(rows.iter().all(|row| row.parts == Some(6) && row.tries == 0), "{rows:?}");
    assert_eq!(rows.iter().map(|row| row.billed_calls).sum::<u32>(), 1);
    let samples = 6 * (32 * 8_000 / 15) + 5 * 4_800;
    for (ending, width) in [("ulaw", 1), ("alaw", 1), ("pcm", 2)] {
        let bytes = fs::metadata(fixture.spoken(&format!("c.{ending}"))).unwrap().len();
        assert!(bytes.abs_diff(samples * width) <= 12, "{ending}: {bytes}, {samples}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mp3_and_events_are_bought_as_such() {
    let fixture = Fixture::new().await;
    let text = prose(2);
    let mp3 = SynthesisSetup { name: "mp3", formats: vec![format("mp3", "24000")], ..SynthesisSetup::default() };
    let batch = fixture.speak(&mp3, &[("one", &text)]).await;
    fixture.run(batch).await;
    let row = fixture.row(batch, "one").await;
    assert_eq!((row.state, row.error), (JobState::Succeeded, None));
    let live = SynthesisSetup { name: "live", synthesize: json!({ "transport": "sse" }), ..SynthesisSetup::default() };
    let batch = fixture.speak(&live, &[("two", &text)]).await;
    fixture.run(batch).await;
    assert_eq!(fixture.row(batch, "two").await.state, JobState::Succeeded);
    let books = fixture.sandbox.books();
    assert_eq!(books.requests.iter().filter(|r| r.path.ends_with("/tts/live")).count() as u64, parts(&text));
    assert!(books.requests.iter().all(|r| r.session.is_some() && r.sent_id.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_instead_of_audio_is_never_kept_as_such() {
    let faults = [
        What::Truncated,
        What::Json200,
        What::Garbage200,
        What::Empty200,
        What::WrongType200,
        What::EmptyText,
        What::CutBeforeWork,
        What::CutAfterWork,
        What::Html(502),
        What::status(503),
    ];
    // Ten whole runs at once are too much for the stack of a test: each is on the heap.
    let all = faults.map(|fault| {
        Box::pin(async move {
            let message = format!("{fault:?}");
            let fixture = Fixture::new().await;
            fixture.sandbox.script([Fault::new(Match::Text("number 2".into()), fault).times(1)]);
            let text = prose(3);
            let batch = fixture.speak(&SynthesisSetup::default(), &[("one", &text)]).await;
            assert_eq!(fixture.run_ahead(batch).await.end, RunEnd::Done, "{message}");
            let row = fixture.row(batch, "one").await;
            assert_eq!((row.state, row.tries), (JobState::Succeeded, 1), "{message}: {:?}", row.error);
            assert_eq!(fixture.sandbox.books().calls, parts(&text) + 1, "{message}");
            let clean = Fixture::new().await;
            let batch = clean.speak(&SynthesisSetup::default(), &[("one", &text)]).await;
            clean.run(batch).await;
            assert_eq!(
                fs::read(fixture.spoken("one.wav")).unwrap(),
                fs::read(clean.spoken("one.wav")).unwrap(),
                "{message}"
            );
        })
    });
    futures::future::join_all(all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_its_end_is_a_failed_try() {
    for fault in [What::Unended, What::ErrorEvent, What::Truncated] {
        let fixture = Fixture::new().await;
        fixture.sandbox.script([Fault::new(Match::Text("number 1".into()), fault.clone()).times(1)]);
        let live = SynthesisSetup { synthesize: json!({ "transport": "sse" }), ..SynthesisSetup::default() };
        let batch = fixture.speak(&live, &[("one", &prose(1))]).await;
        fixture.run(batch).await;
        let row = fixture.row(batch, "one").await;
        assert_eq!((row.state, row.tries), (JobState::Succeeded, 1), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_refused_fails_its_job_and_is_named() {
    let fixture = Fixture::new().await;
    fixture.sandbox.script([Fault::new(Match::Text("with 2 words".into()), What::status(400))]);
    let (bad, good) = (prose(3), prose(1));
    let batch = fixture.speak(&SynthesisSetup::default(), &[("bad", &bad), ("good", &good)]).await;
    fixture.run(batch).await;
    assert_eq!(fixture.row(batch, "good").await.state, JobState::Succeeded);
    let row = fixture.row(batch, "bad").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Failed, Some("bad_request")));
    let message = row.error.unwrap();
    assert!(message.starts_with("part 5 (\"It goes on for a while with 2 wo…\"): "), "{message}");
    assert!(!fixture.spoken("bad.wav").exists(), "never half an audio file");
    let before = fixture.sandbox.books().calls;
    // Mended: only what is missing is bought.
    fixture.sandbox.unscript();
    fixture.store.retry(Chosen::of(batch, Selection::default())).await.unwrap();
    fixture.run(batch).await;
    assert_eq!(fixture.row(batch, "bad").await.state, JobState::Succeeded);
    let missing = fixture.sandbox.books().calls - before;
    assert!((1..=2).contains(&missing), "{missing}");
    assert_eq!(fixture.sandbox.books().billed, parts(&bad), "no part twice, and the first paragraph is shared");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_short_for_its_text_is_suspect() {
    let fixture = Fixture::new().await;
    let short = Fault::new(Match::Text("with 1 words".into()), What::WrongDuration(0.2));
    fixture.sandbox.script([short.clone()]);
    let batch = fixture.speak(&SynthesisSetup::default(), &[("one", &prose(1))]).await;
    fixture.run(batch).await;
    let row = fixture.row(batch, "one").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Suspect, Some("too_short")));
    assert!(row.error.unwrap().starts_with("part 2 ("), "which part");
    assert!(fixture.spoken("one.wav").exists(), "never a failure that hides the result");
    // A retry buys that part, and not all of them.
    fixture.sandbox.unscript();
    let before = fixture.sandbox.books().calls;
    let again = Chosen::of(batch, Selection::default());
    let words = cut(&prose(1), 60, SentenceRules::of(Some("en")))[1].chars() as u64;
    assert_eq!(fixture.store.plan_retry(&again).await.unwrap().units, words);
    assert_eq!(fixture.store.retry(again).await.unwrap(), 1);
    fixture.run(batch).await;
    assert_eq!(fixture.row(batch, "one").await.state, JobState::Succeeded);
    assert_eq!(fixture.sandbox.books().calls, before + 1);
    fixture.sandbox.script([short]);
    let off =
        SynthesisSetup { name: "off", synthesize: json!({ "max_chars_per_second": 0.0 }), ..SynthesisSetup::default() };
    let batch = fixture.speak(&off, &[("two", &prose(1))]).await;
    fixture.run(batch).await;
    assert_eq!(fixture.row(batch, "two").await.state, JobState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_that_cannot_be_right_is_suspect_until_its_part_is_bought_again() {
    let fixture = Fixture::new().await;
    for (what, kind) in [
        (What::WrongDuration(5.0), "too_long"),
        (What::BadSpeech(SpeechFlaw::Silent), "silent"),
        (What::BadSpeech(SpeechFlaw::HalfSilent), "half_silent"),
        (What::BadSpeech(SpeechFlaw::Clipped), "clipped"),
        (What::BadSpeech(SpeechFlaw::ConstantSound), "constant_sound"),
        (What::BadSpeech(SpeechFlaw::Level(-20.0)), "level_jump"),
    ] {
        fixture.sandbox.script([Fault::new(Match::Text("with 1 words".into()), what)]);
        let text = format!("{} This was about {kind}.", prose(1));
        let batch = fixture.speak(&SynthesisSetup { name: kind, ..SynthesisSetup::default() }, &[(kind, &text)]).await;
        fixture.run(batch).await;
        let row = fixture.row(batch, kind).await;
        assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Suspect, Some(kind)));
        let message = row.error.unwrap();
        assert!(message.starts_with("part 2 (") && message.contains(" at 0:00:0"), "{message}");
        fixture.sandbox.unscript();
        let before = fixture.sandbox.books().calls;
        fixture.store.retry(Chosen::of(batch, Selection::default())).await.unwrap();
        fixture.run(batch).await;
        assert_eq!(fixture.row(batch, kind).await.state, JobState::Succeeded, "{kind}");
        assert_eq!(fixture.sandbox.books().calls, before + 1, "{kind}: one part");
        // The next kind hears of that part anew.
        fs::remove_dir_all(fixture.store.clip_folder().unwrap().root()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_is_judged_again_for_nothing() {
    let fixture = Fixture::new().await;
    fixture.sandbox.script([Fault::new(Match::Any, What::BadSpeech(SpeechFlaw::Silent))]);
    let lines = [("one", "Hello, and welcome to the show.")];
    let batch = fixture.speak(&SynthesisSetup::default(), &lines).await;
    fixture.run(batch).await;
    assert_eq!(fixture.row(batch, "one").await.error_kind.as_deref(), Some("silent"));
    let off = SynthesisSetup { synthesize: json!({ "checks": { "silent": false } }), ..SynthesisSetup::default() };
    assert_eq!(fixture.speak(&off, &lines).await, batch);
    fixture.store.redeliver(batch).await.unwrap();
    fixture.run(batch).await;
    let row = fixture.row(batch, "one").await;
    assert_eq!((row.state, row.error_kind, row.error), (JobState::Succeeded, None, None));
    fixture.speak(&SynthesisSetup::default(), &lines).await;
    fixture.store.redeliver(batch).await.unwrap();
    fixture.run(batch).await;
    assert_eq!(fixture.row(batch, "one").await.error_kind.as_deref(), Some("silent"));
    assert_eq!(fixture.sandbox.books().calls, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_as_mp3_is_decoded_to_be_judged() {
    let fixture = Fixture::new().await;
    fixture.sandbox.script([Fault::new(Match::Text("bad".into()), What::BadSpeech(SpeechFlaw::HalfSilent))]);
    let mp3 = SynthesisSetup { formats: vec![format("mp3", "24000")], ..SynthesisSetup::default() };
    let lines = [("bad", "This is a bad one, as it seems to be."), ("good", "This is a good one, as it seems to be.")];
    let batch = fixture.speak(&mp3, &lines).await;
    fixture.run(batch).await;
    assert_eq!(fixture.row(batch, "bad").await.error_kind.as_deref(), Some("half_silent"));
    assert_eq!(fixture.row(batch, "good").await.state, JobState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flight_of_all_jobs_is_used_fully_and_never_passed() {
    let mut fixture = Fixture::with(Config { tts_concurrency: Some(5), ..Config::default() }).await;
    fixture.limits.insert(Pool::Tts, Limits { requests_per_minute: None, concurrency: Some(5) });
    let texts: Vec<_> = (0..3).map(|n| prose(12).replace("Paragraph", &format!("Chapter {n}, paragraph"))).collect();
    let lines: Vec<_> = texts.iter().enumerate().map(|(n, text)| (["a", "b", "c"][n], text.as_str())).collect();
    let batch = fixture.speak(&SynthesisSetup::default(), &lines).await;
    fixture.sandbox.hold();
    tokio::join!(fixture.run(batch), async {
        fixture.sandbox.waiting(5).await;
        fixture.sandbox.release();
    });
    let books = fixture.sandbox.books();
    assert_eq!((books.peak_in_flight, books.statuses.get(&429)), (5, None));
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), 3);
    let order: Vec<_> = books.requests.iter().filter_map(|r| r.text.as_deref()).collect();
    let last_of = |n: usize| order.iter().rposition(|text| text.contains(&format!("Chapter {n}"))).unwrap();
    assert!(last_of(0) < last_of(1) && last_of(1) < last_of(2), "the first chapter is done first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_storm_uses_no_try() {
    let fixture =
        Fixture::with(Config { latency: Duration::from_millis(10), tts_concurrency: Some(3), ..Config::default() })
            .await;
    let batch = fixture
        .speak(&SynthesisSetup { run: json!({ "max_tries": 1 }), ..SynthesisSetup::default() }, &[("one", &prose(6))])
        .await;
    fixture.run(batch).await;
    let row = fixture.row(batch, "one").await;
    assert_eq!((row.state, row.tries), (JobState::Succeeded, 0), "{:?}", row.error);
    assert!(fixture.sandbox.books().statuses[&429] > 0, "there was a storm");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_in_the_middle_it_goes_on_with_what_is_missing() {
    let fixture = Fixture::new().await;
    let text = prose(20);
    let batch = fixture.speak(&SynthesisSetup::default(), &[("one", &text)]).await;
    fixture.sandbox.hold();
    let drain = CancellationToken::new();
    let (ran, ()) = tokio::join!(fixture.run_until(batch, drain.clone()), async {
        fixture.sandbox.waiting(16).await;
        drain.cancel();
        fixture.sandbox.release();
    });
    assert_eq!(ran.end, RunEnd::Interrupted);
    assert!(!fixture.spoken("one.wav").exists());
    let bought = fixture.sandbox.books().billed;
    assert!((16..parts(&text)).contains(&bought), "what was in flight is kept, and no more begun: {bought}");
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    assert_eq!(fixture.row(batch, "one").await.state, JobState::Succeeded);
    assert_eq!(fixture.sandbox.books().billed, parts(&text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_can_be_spoken_again() {
    let fixture = Fixture::new().await;
    let text = prose(2);
    let formats = vec![format("wav", "8000"), format("ulaw", "8000")];
    let batch = fixture.speak(&SynthesisSetup { formats, ..SynthesisSetup::default() }, &[("one", &text)]).await;
    fixture.run(batch).await;
    let n = parts(&text);
    assert_eq!(fixture.sandbox.books().calls, n);
    fixture
        .store
        .retry(Chosen { batch, lines: Selection::of_key("one"), part: Some(3), other_way: None })
        .await
        .unwrap();
    fixture.run(batch).await;
    assert_eq!(fixture.sandbox.books().calls, n + 1, "one part, and both formats have it");
    let last = fixture.sandbox.books().requests.last().unwrap().text.clone().unwrap();
    assert_eq!(last, cut(&text, 60, SentenceRules::of(Some("en")))[3].text);
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), 2);
}

/// A line whose audio was bought and is gone before it was ever delivered, and has been run since.
async fn bought_and_removed(fixture: &Fixture, text: &str) -> BatchId {
    fixture.write("out", "no folder");
    let batch = fixture
        .speak(&SynthesisSetup { run: json!({ "outage_limit": 1 }), ..SynthesisSetup::default() }, &[("one", text)])
        .await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Paused, "there is no room for the output");
    fs::remove_dir_all(fixture.store.clip_folder().unwrap().root()).unwrap();
    fs::remove_file(fixture.path("out")).unwrap();
    fixture.store.resume(batch, true).await.unwrap();
    fixture.run(batch).await;
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn bought_audio_that_somebody_removed_is_not_bought_again_unasked() {
    let fixture = Fixture::new().await;
    let text = prose(2);
    let batch = bought_and_removed(&fixture, &text).await;
    let row = fixture.row(batch, "one").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Failed, Some("answer_lost")));
    assert_eq!(fixture.sandbox.books().billed, parts(&text));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_wav_holds_more_than_four_gigabytes_and_nothing_is_bought_for_it() {
    let fixture = Fixture::new().await;
    let text = "All work and no play makes a dull boy. ".repeat(20_000);
    let setup = SynthesisSetup { formats: vec![format("wav", "44100")], ..SynthesisSetup::default() };
    let batch = fixture.speak(&setup, &[("one", &text)]).await;
    fixture.run(batch).await;
    let row = fixture.row(batch, "one").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Failed, Some("too_large")));
    assert_eq!(fixture.sandbox.books().calls, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_spoken_again_takes_with_it_what_was_pruned() {
    let fixture = Fixture::new().await;
    let text = prose(2);
    let batch = fixture.speak(&SynthesisSetup::default(), &[("one", &text)]).await;
    fixture.run(batch).await;
    fs::remove_dir_all(fixture.store.clip_folder().unwrap().root()).unwrap();
    fs::remove_file(fixture.spoken("one.wav")).unwrap();
    fixture
        .store
        .retry(Chosen { batch, lines: Selection::of_key("one"), part: Some(3), other_way: None })
        .await
        .unwrap();
    fixture.run(batch).await;
    let row = fixture.row(batch, "one").await;
    assert_eq!((row.state, row.notes), (JobState::Succeeded, None), "{:?}", row.error);
    assert_eq!(fixture.sandbox.books().billed, 2 * parts(&text), "nothing can be joined without them");
    assert!(fixture.spoken("one.wav").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_look_at_pruned_speech_buys_nothing_and_hides_no_doubt() {
    let fixture = Fixture::new().await;
    let refrain = "This line comes again and again, and it is a long one.";
    fixture
        .run(fixture.speak(&SynthesisSetup { name: "song", ..SynthesisSetup::default() }, &[("song", refrain)]).await)
        .await;
    let text = [refrain, "And here is something that was never said before it."].join("\n\n");
    let doubted = SynthesisSetup { synthesize: json!({ "max_chars_per_second": 2.0 }), ..SynthesisSetup::default() };
    let batch = fixture.speak(&doubted, &[("one", &text), ("two", refrain)]).await;
    fixture.run(batch).await;
    assert_eq!((fixture.counts(batch).await.of(JobState::Suspect), fixture.sandbox.books().billed), (2, 2));
    fs::remove_dir_all(fixture.store.clip_folder().unwrap().root()).unwrap();
    fixture.store.redeliver(batch).await.unwrap();
    fixture.run(batch).await;
    assert_eq!(fixture.sandbox.books().billed, 2, "what is only shown anew buys nothing");
    for row in fixture.rows(batch).await {
        assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Suspect, Some("too_short")), "{}", row.key);
        assert_eq!(row.notes.as_deref(), Some("answer_pruned"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_retry_is_enough_for_a_book_whose_audio_is_gone() {
    let fixture = Fixture::new().await;
    let text = prose(40);
    let batch = bought_and_removed(&fixture, &text).await;
    assert_eq!(fixture.row(batch, "one").await.error_kind.as_deref(), Some("answer_lost"));
    fixture.store.retry(Chosen::of(batch, Selection::default())).await.unwrap();
    fixture.run(batch).await;
    let row = fixture.row(batch, "one").await;
    assert_eq!((row.state, row.error), (JobState::Succeeded, None));
    assert_eq!(fixture.sandbox.books().billed, 2 * parts(&text));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_works_on_hears_of_a_new_definition() {
    let fixture = Fixture::new().await;
    let text = prose(2);
    let before = SynthesisSetup {
        synthesize: json!({ "pause": { "sentence_ms": 0, "paragraph_ms": 0 } }),
        ..SynthesisSetup::default()
    };
    let batch = fixture.speak(&before, &[("one", &text)]).await;
    fixture.sandbox.hold();
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        fixture.sandbox.waiting(1).await;
        // Submitted again by somebody else: other pauses, and another line.
        fixture.speak(&SynthesisSetup::default(), &[("one", &text), ("two", &text)]).await;
        fixture.sandbox.release();
    });
    assert_eq!(ran.end, RunEnd::Done);
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), 2);
    assert_eq!(fixture.sandbox.books().billed, parts(&text));
    let read = |name: &str| fs::read(fixture.spoken(name)).unwrap();
    assert_eq!(fixture.row(batch, "two").await.audio_ms, fixture.row(batch, "one").await.audio_ms);
    assert!(read("one.wav") == read("two.wav"), "both with the new pauses");
    let read = wav::read(&mut fs::File::open(fixture.spoken("two.wav")).unwrap()).unwrap();
    let spoken: u64 =
        cut(&text, 60, SentenceRules::of(Some("en"))).iter().map(|part| (part.chars() as u64 * 24_000 + 7) / 15).sum();
    assert_eq!(read.data_len / 2, spoken + 14_400);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_short_prompt_is_suspect() {
    let fixture = Fixture::new().await;
    fixture.sandbox.script([Fault::new(Match::Text("main".into()), What::Short200)]);
    let lines =
        [("half", "Back to the main menu."), ("all", "Back to the other one."), ("dots", "Yes ... ... !!! ...")];
    let batch = fixture.speak(&SynthesisSetup::default(), &lines).await;
    fixture.run(batch).await;
    for (key, state) in [("half", JobState::Suspect), ("all", JobState::Succeeded), ("dots", JobState::Succeeded)] {
        assert_eq!(fixture.row(batch, key).await.state, state, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mp3_that_ends_in_half_a_frame_is_a_failed_try() {
    let fixture = Fixture::new().await;
    let short = Fault::new(Match::Text("main".into()), What::Short200).times(1);
    fixture.sandbox.script([short]);
    let mp3 = SynthesisSetup { formats: vec![format("mp3", "24000")], ..SynthesisSetup::default() };
    // Spoken in an odd number of frames, so that half of the bytes end in the middle of one.
    let batch = fixture.speak(&mp3, &[("menu", "Here is the main menu")]).await;
    fixture.run(batch).await;
    let row = fixture.row(batch, "menu").await;
    assert_eq!((row.state, row.billed_calls), (JobState::Succeeded, 2), "{:?}", row.error);
    let mut made = fs::File::open(fixture.spoken("menu.mp3")).unwrap();
    let checked = check(&mut made, AudioFormat::Mp3, SampleRate::Hz24000).unwrap();
    assert!(checked.samples > 24_000, "all of it: {}", checked.samples);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_for_one_format_is_not_bought_for_another() {
    let fixture = Fixture::new().await;
    fixture.sandbox.script([Fault::new(Match::Nth(1), What::CutAfterWork)]);
    let formats = vec![format("wav", "24000"), format("pcm", "24000")];
    let parking = SynthesisSetup { run: json!({ "on_unknown": "park" }), formats, ..SynthesisSetup::default() };
    let batch = fixture.speak(&parking, &[("one", "Hello there.")]).await;
    fixture.run(batch).await;
    assert_eq!((fixture.counts(batch).await.of(JobState::Failed), fixture.sandbox.books().billed), (2, 1));
    fixture.store.retry(Chosen::of(batch, Selection::default())).await.unwrap();
    fixture.run(batch).await;
    assert_eq!((fixture.counts(batch).await.of(JobState::Succeeded), fixture.sandbox.books().billed), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_edited_book_still_needs_is_not_pruned() {
    let fixture = Fixture::new().await;
    let text = prose(4);
    fixture.run(fixture.speak(&SynthesisSetup::default(), &[("one", &text)]).await).await;
    let edited = text.replacen("begins here", "begins hero", 1);
    let batch = fixture.speak(&SynthesisSetup::default(), &[("one", &edited)]).await;
    let pruned = fixture
        .store
        .prune_spool(
            wavebatch::tasks::Registry::built_in().reports(),
            SpoolLimits { max_bytes: Some(0), unused_since: None },
            false,
        )
        .await
        .unwrap();
    assert_eq!((pruned.taken.clips, pruned.needed.clips), (1, parts(&text) - 1), "the sentence that was");
    fixture.run(batch).await;
    assert_eq!(fixture.sandbox.books().billed, parts(&text) + 1, "one part");
    let pruned = fixture
        .store
        .prune_spool(
            wavebatch::tasks::Registry::built_in().reports(),
            SpoolLimits { max_bytes: Some(0), unused_since: None },
            false,
        )
        .await
        .unwrap();
    assert_eq!(pruned.needed.clips, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audio_cache_that_cannot_be_read_now_is_waited_for_and_nothing_is_bought_again() {
    let fixture = Fixture::timeless(Config::default()).await;
    let text = prose(2);
    let setup = SynthesisSetup::default();
    // Bought and not joined: the output is no folder yet.
    fs::write(fixture.path("out"), "in the way").unwrap();
    let batch = fixture.speak(&setup, &[("one", &text)]).await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Paused);
    let bought = fixture.sandbox.books().billed;
    assert_eq!(bought, parts(&text));
    fs::remove_file(fixture.path("out")).unwrap();
    fixture.store.resume(batch, false).await.unwrap();
    // Each look at it is answered with an error, as by a mount that fails: a link that leads in a circle does so, also for root.
    let audio_cache = fixture.store.clip_folder().unwrap().root().to_owned();
    let away = fixture.path("away");
    fs::rename(&audio_cache, &away).unwrap();
    std::os::unix::fs::symlink(&audio_cache, &audio_cache).unwrap();
    // Another job that says the same, and one that says something else, wait as well: what is bought now could not be kept.
    let other = SynthesisSetup { name: "other", ..SynthesisSetup::default() };
    let twin = fixture.speak(&other, &[("two", &text)]).await;
    for batch in [batch, twin] {
        let (ran, message) = tokio::join!(fixture.run(batch), async {
            let waits = fixture.wait_ahead(batch).await;
            let calls = fixture.sandbox.books().calls;
            fs::remove_file(&audio_cache).unwrap();
            fs::rename(&away, &audio_cache).unwrap();
            fixture.clock.advance(waits);
            (waits, calls)
        });
        assert!((29_000..=30_000).contains(&message.0), "{}", message.0);
        assert_eq!(message.1, bought, "nothing was called for");
        assert_eq!(ran.end, RunEnd::Done);
        let warnings = ran.warnings();
        assert!(warnings.iter().any(|w| w.contains("cannot be read")), "{warnings:?}");
        fs::rename(&audio_cache, &away).unwrap();
        std::os::unix::fs::symlink(&audio_cache, &audio_cache).unwrap();
    }
    assert_eq!(fixture.row(batch, "one").await.state, JobState::Succeeded);
    assert_eq!(fixture.row(twin, "two").await.state, JobState::Succeeded);
    assert_eq!(fixture.sandbox.books().billed, bought);
}

crate::support::server::on_postgres_in_the_gate! {
    a_text_is_bought_in_parts_and_joined_in_order,
    what_was_said_once_is_not_bought_again,
    one_sentence_in_many_places_is_one_call,
    mp3_and_events_are_bought_as_such,
    whatever_comes_instead_of_audio_is_never_kept_as_such,
    a_stream_without_its_end_is_a_failed_try,
    a_part_that_is_refused_fails_its_job_and_is_named,
    too_short_for_its_text_is_suspect,
    speech_that_cannot_be_right_is_suspect_until_its_part_is_bought_again,
    speech_is_judged_again_for_nothing,
    speech_as_mp3_is_decoded_to_be_judged,
    the_flight_of_all_jobs_is_used_fully_and_never_passed,
    a_429_storm_uses_no_try,
    stopped_in_the_middle_it_goes_on_with_what_is_missing,
    a_part_can_be_spoken_again,
    bought_audio_that_somebody_removed_is_not_bought_again_unasked,
    no_wav_holds_more_than_four_gigabytes_and_nothing_is_bought_for_it,
    a_part_spoken_again_takes_with_it_what_was_pruned,
    another_look_at_pruned_speech_buys_nothing_and_hides_no_doubt,
    one_retry_is_enough_for_a_book_whose_audio_is_gone,
    who_works_on_hears_of_a_new_definition,
    half_a_short_prompt_is_suspect,
    an_mp3_that_ends_in_half_a_frame_is_a_failed_try,
    what_is_parked_for_one_format_is_not_bought_for_another,
    what_an_edited_book_still_needs_is_not_pruned,
    an_audio_cache_that_cannot_be_read_now_is_waited_for_and_nothing_is_bought_again,
}
