//! Speech against the sandbox on a real socket: what is bought, what is joined, and how it can go wrong.

use std::{fs, time::Duration};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use wavebatch::{
    audio::{verify, wav},
    domain::{
        cut::cut,
        job::{BatchId, JobState},
        pool::{Limits, Pool},
        speech::{AudioFormat, SampleRate},
    },
    runner::RunEnd,
    sandbox::{Config, Fault, Match, What},
    store::{Chosen, SpoolLimits},
};

use crate::support::{
    House,
    speech::{Speaking, format, prose},
};

/// Parts of a text as the tests have it cut.
fn parts(text: &str) -> u64 {
    cut(text, 60).len() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_bought_in_parts_and_joined_in_order() {
    let house = House::new().await;
    let text = prose(3);
    let speaking = Speaking { synthesize: json!({ "captions": ["srt", "json"] }), ..Speaking::default() };
    let batch = house.speak(&speaking, &[("one", &text)]).await;
    assert_eq!(house.run(batch).await.end, RunEnd::Done);
    let row = house.row(batch, "one").await;
    assert_eq!((row.state, row.error), (JobState::Succeeded, None));
    let n = parts(&text);
    assert_eq!((row.parts, row.reused_parts, row.billed_calls), (Some(n), Some(0), u32::try_from(n).unwrap()));
    let cut = cut(&text, 60);
    let characters: u64 = cut.iter().map(|part| part.chars() as u64).sum();
    assert_eq!(row.characters, Some(characters));
    assert_eq!(house.sandbox.books().billed_characters, characters);

    // A sandbox speaks 15 characters a second, to the sample; and two paragraphs end before the last one.
    let samples: u64 = cut.iter().map(|part| (part.chars() as u64 * 24_000 + 7) / 15).sum::<u64>() + 2 * 14_400;
    let path = house.spoken("one.wav");
    let read = wav::read(&mut fs::File::open(&path).unwrap()).unwrap();
    assert_eq!((read.channels, read.sample_rate), (1, 24_000));
    assert!(verify(&path, AudioFormat::Wav, SampleRate::Hz24000, samples).is_ok(), "{read:?}, {samples}");
    assert_eq!(row.audio_ms, Some(samples / 24));

    let srt = fs::read_to_string(house.spoken("one.srt")).unwrap();
    assert!(srt.starts_with("1\n00:00:00,000 --> "), "{srt}");
    let json: serde_json::Value = serde_json::from_slice(&fs::read(house.spoken("one.json")).unwrap()).unwrap();
    let said: Vec<_> = json["sentences"].as_array().unwrap().iter().map(|s| s["text"].as_str().unwrap()).collect();
    assert_eq!(said.len(), 9);
    assert_eq!(said.join(" "), text.split_whitespace().collect::<Vec<_>>().join(" "));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_once_is_not_bought_again() {
    let house = House::new().await;
    let text = prose(4);
    let book = Speaking::default();
    let batch = house.speak(&book, &[("one", &text)]).await;
    house.run(batch).await;
    let n = parts(&text);
    assert_eq!(house.sandbox.books().calls, n);
    // Another batch of another day.
    let again = house.speak(&Speaking { name: "again", ..Speaking::default() }, &[("other", &text)]).await;
    house.run(again).await;
    assert_eq!(house.sandbox.books().calls, n, "the same book again");
    let row = house.row(again, "other").await;
    assert_eq!((row.reused_parts, row.billed_calls, row.cost), (Some(n), 0, 0));
    assert_eq!(fs::read(house.spoken("one.wav")).unwrap(), fs::read(house.spoken("other.wav")).unwrap());
    // One word is another, as long as it was.
    let edited = text.replacen("begins here", "begins hero", 1);
    let edition = house.speak(&Speaking { name: "edited", ..Speaking::default() }, &[("third", &edited)]).await;
    house.run(edition).await;
    assert_eq!(house.sandbox.books().calls, n + 1, "one part");
    // Whoever wants it afresh gets it afresh.
    let fresh = Speaking { name: "fresh", no_reuse: true, ..Speaking::default() };
    let fresh = house.speak(&fresh, &[("fourth", &text)]).await;
    house.run(fresh).await;
    assert_eq!(house.sandbox.books().calls, n + 1 + n);
    assert_eq!(house.row(fresh, "fourth").await.reused_parts, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sentence_in_many_places_is_one_call() {
    let house = House::with(Config { latency: Duration::from_millis(20), ..Config::default() }).await;
    let refrain = "This line comes again and again.";
    let song = [refrain; 6].join("\n\n");
    let formats = vec![format("wav", "8000"), format("ulaw", "8000"), format("alaw", "8000"), format("pcm", "8000")];
    let lines: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|key| (*key, song.as_str())).collect();
    let batch = house.speak(&Speaking { formats, ..Speaking::default() }, &lines).await;
    assert_eq!(house.run(batch).await.end, RunEnd::Done);
    assert_eq!(house.counts(batch).await.of(JobState::Succeeded), 20);
    assert_eq!(house.sandbox.books().calls, 1);
    let rows = house.rows(batch).await;
    assert!(rows.iter().all(|row| row.parts == Some(6) && row.tries == 0), "{rows:?}");
    assert_eq!(rows.iter().map(|row| row.billed_calls).sum::<u32>(), 1);
    let samples = 6 * (32 * 8_000 / 15) + 5 * 4_800;
    for (ending, width) in [("ulaw", 1), ("alaw", 1), ("pcm", 2)] {
        let bytes = fs::metadata(house.spoken(&format!("c.{ending}"))).unwrap().len();
        assert!(bytes.abs_diff(samples * width) <= 12, "{ending}: {bytes}, {samples}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mp3_and_events_are_bought_as_such() {
    let house = House::new().await;
    let text = prose(2);
    let mp3 = Speaking { name: "mp3", formats: vec![format("mp3", "24000")], ..Speaking::default() };
    let batch = house.speak(&mp3, &[("one", &text)]).await;
    house.run(batch).await;
    let row = house.row(batch, "one").await;
    assert_eq!((row.state, row.error), (JobState::Succeeded, None));
    let live = Speaking { name: "live", synthesize: json!({ "transport": "sse" }), ..Speaking::default() };
    let batch = house.speak(&live, &[("two", &text)]).await;
    house.run(batch).await;
    assert_eq!(house.row(batch, "two").await.state, JobState::Succeeded);
    let books = house.sandbox.books();
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
    let all = faults.map(|fault| async {
        let told = format!("{fault:?}");
        let house = House::new().await;
        house.sandbox.script([Fault::new(Match::Text("number 2".into()), fault).times(1)]);
        let text = prose(3);
        let batch = house.speak(&Speaking::default(), &[("one", &text)]).await;
        assert_eq!(house.run_ahead(batch).await.end, RunEnd::Done, "{told}");
        let row = house.row(batch, "one").await;
        assert_eq!((row.state, row.tries), (JobState::Succeeded, 1), "{told}: {:?}", row.error);
        assert_eq!(house.sandbox.books().calls, parts(&text) + 1, "{told}");
        let clean = House::new().await;
        let batch = clean.speak(&Speaking::default(), &[("one", &text)]).await;
        clean.run(batch).await;
        assert_eq!(fs::read(house.spoken("one.wav")).unwrap(), fs::read(clean.spoken("one.wav")).unwrap(), "{told}");
    });
    futures::future::join_all(all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_its_end_is_a_failed_try() {
    for fault in [What::Unended, What::ErrorEvent, What::Truncated] {
        let house = House::new().await;
        house.sandbox.script([Fault::new(Match::Text("number 1".into()), fault.clone()).times(1)]);
        let live = Speaking { synthesize: json!({ "transport": "sse" }), ..Speaking::default() };
        let batch = house.speak(&live, &[("one", &prose(1))]).await;
        house.run(batch).await;
        let row = house.row(batch, "one").await;
        assert_eq!((row.state, row.tries), (JobState::Succeeded, 1), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_refused_fails_its_job_and_is_named() {
    let house = House::new().await;
    house.sandbox.script([Fault::new(Match::Text("with 2 words".into()), What::status(400))]);
    let (bad, good) = (prose(3), prose(1));
    let batch = house.speak(&Speaking::default(), &[("bad", &bad), ("good", &good)]).await;
    house.run(batch).await;
    assert_eq!(house.row(batch, "good").await.state, JobState::Succeeded);
    let row = house.row(batch, "bad").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Failed, Some("bad_request")));
    let told = row.error.unwrap();
    assert!(told.starts_with("part 5 (\"It goes on for a while with 2 wo…\"): "), "{told}");
    assert!(!house.spoken("bad.wav").exists(), "never half an audio file");
    let before = house.sandbox.books().calls;
    // Mended: only what is missing is bought.
    house.sandbox.unscript();
    house.store.retry(Chosen { batch, key: None, states: vec![], part: None }).await.unwrap();
    house.run(batch).await;
    assert_eq!(house.row(batch, "bad").await.state, JobState::Succeeded);
    let missing = house.sandbox.books().calls - before;
    assert!((1..=2).contains(&missing), "{missing}");
    assert_eq!(house.sandbox.books().billed, parts(&bad), "no part twice, and the first paragraph is shared");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_short_for_its_text_is_suspect() {
    let house = House::new().await;
    let short = Fault::new(Match::Text("with 1 words".into()), What::WrongDuration(0.2));
    house.sandbox.script([short.clone()]);
    let batch = house.speak(&Speaking::default(), &[("one", &prose(1))]).await;
    house.run(batch).await;
    let row = house.row(batch, "one").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Suspect, Some("too_short")));
    assert!(row.error.unwrap().starts_with("part 2 ("), "which part");
    assert!(house.spoken("one.wav").exists(), "never a failure that hides the result");
    // A retry buys that part, and not all of them.
    house.sandbox.unscript();
    let before = house.sandbox.books().calls;
    let again = Chosen { batch, key: None, states: vec![], part: None };
    let words = cut(&prose(1), 60)[1].chars() as u64;
    assert_eq!(house.store.plan_retry(&again).await.unwrap().units, words);
    assert_eq!(house.store.retry(again).await.unwrap(), 1);
    house.run(batch).await;
    assert_eq!(house.row(batch, "one").await.state, JobState::Succeeded);
    assert_eq!(house.sandbox.books().calls, before + 1);
    house.sandbox.script([short]);
    let off = Speaking { name: "off", synthesize: json!({ "max_chars_per_second": 0.0 }), ..Speaking::default() };
    let batch = house.speak(&off, &[("two", &prose(1))]).await;
    house.run(batch).await;
    assert_eq!(house.row(batch, "two").await.state, JobState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flight_of_all_jobs_is_used_fully_and_never_passed() {
    let mut house = House::with(Config { tts_concurrency: Some(5), ..Config::default() }).await;
    house.limits.insert(Pool::Tts, Limits { requests_per_minute: None, concurrency: Some(5) });
    let texts: Vec<_> = (0..3).map(|n| prose(12).replace("Paragraph", &format!("Chapter {n}, paragraph"))).collect();
    let lines: Vec<_> = texts.iter().enumerate().map(|(n, text)| (["a", "b", "c"][n], text.as_str())).collect();
    let batch = house.speak(&Speaking::default(), &lines).await;
    house.sandbox.hold();
    tokio::join!(house.run(batch), async {
        house.sandbox.waiting(5).await;
        house.sandbox.release();
    });
    let books = house.sandbox.books();
    assert_eq!((books.peak_in_flight, books.statuses.get(&429)), (5, None));
    assert_eq!(house.counts(batch).await.of(JobState::Succeeded), 3);
    let order: Vec<_> = books.requests.iter().filter_map(|r| r.text.as_deref()).collect();
    let last_of = |n: usize| order.iter().rposition(|text| text.contains(&format!("Chapter {n}"))).unwrap();
    assert!(last_of(0) < last_of(1) && last_of(1) < last_of(2), "the first chapter is done first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_storm_uses_no_try() {
    let house =
        House::with(Config { latency: Duration::from_millis(10), tts_concurrency: Some(3), ..Config::default() }).await;
    let batch =
        house.speak(&Speaking { run: json!({ "max_tries": 1 }), ..Speaking::default() }, &[("one", &prose(6))]).await;
    house.run(batch).await;
    let row = house.row(batch, "one").await;
    assert_eq!((row.state, row.tries), (JobState::Succeeded, 0), "{:?}", row.error);
    assert!(house.sandbox.books().statuses[&429] > 0, "there was a storm");
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_in_the_middle_it_goes_on_with_what_is_missing() {
    let house = House::new().await;
    let text = prose(20);
    let batch = house.speak(&Speaking::default(), &[("one", &text)]).await;
    house.sandbox.hold();
    let drain = CancellationToken::new();
    let (ran, ()) = tokio::join!(house.run_until(batch, drain.clone()), async {
        house.sandbox.waiting(16).await;
        drain.cancel();
        house.sandbox.release();
    });
    assert_eq!(ran.end, RunEnd::Interrupted);
    assert!(!house.spoken("one.wav").exists());
    let bought = house.sandbox.books().billed;
    assert!((16..parts(&text)).contains(&bought), "what was in flight is kept, and no more begun: {bought}");
    assert_eq!(house.run(batch).await.end, RunEnd::Done);
    assert_eq!(house.row(batch, "one").await.state, JobState::Succeeded);
    assert_eq!(house.sandbox.books().billed, parts(&text));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_can_be_spoken_again() {
    let house = House::new().await;
    let text = prose(2);
    let formats = vec![format("wav", "8000"), format("ulaw", "8000")];
    let batch = house.speak(&Speaking { formats, ..Speaking::default() }, &[("one", &text)]).await;
    house.run(batch).await;
    let n = parts(&text);
    assert_eq!(house.sandbox.books().calls, n);
    house.store.retry(Chosen { batch, key: Some("one".into()), states: vec![], part: Some(3) }).await.unwrap();
    house.run(batch).await;
    assert_eq!(house.sandbox.books().calls, n + 1, "one part, and both formats have it");
    let last = house.sandbox.books().requests.last().unwrap().text.clone().unwrap();
    assert_eq!(last, cut(&text, 60)[3].text);
    assert_eq!(house.counts(batch).await.of(JobState::Succeeded), 2);
}

/// A line whose audio was bought and is gone before it was ever delivered, and has been run since.
async fn bought_and_removed(house: &House, text: &str) -> BatchId {
    house.write("out", "no folder");
    let batch =
        house.speak(&Speaking { run: json!({ "outage_limit": 1 }), ..Speaking::default() }, &[("one", text)]).await;
    assert_eq!(house.run(batch).await.end, RunEnd::Paused, "there is no room for the output");
    fs::remove_dir_all(house.store.shelf().root()).unwrap();
    fs::remove_file(house.path("out")).unwrap();
    house.store.resume(batch, true).await.unwrap();
    house.run(batch).await;
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn bought_audio_that_somebody_removed_is_not_bought_again_unasked() {
    let house = House::new().await;
    let text = prose(2);
    let batch = bought_and_removed(&house, &text).await;
    let row = house.row(batch, "one").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Failed, Some("answer_lost")));
    assert_eq!(house.sandbox.books().billed, parts(&text));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_wav_holds_more_than_four_gigabytes_and_nothing_is_bought_for_it() {
    let house = House::new().await;
    let text = "All work and no play makes a dull boy. ".repeat(20_000);
    let speaking = Speaking { formats: vec![format("wav", "44100")], ..Speaking::default() };
    let batch = house.speak(&speaking, &[("one", &text)]).await;
    house.run(batch).await;
    let row = house.row(batch, "one").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Failed, Some("too_large")));
    assert_eq!(house.sandbox.books().calls, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_spoken_again_takes_with_it_what_was_pruned() {
    let house = House::new().await;
    let text = prose(2);
    let batch = house.speak(&Speaking::default(), &[("one", &text)]).await;
    house.run(batch).await;
    fs::remove_dir_all(house.store.shelf().root()).unwrap();
    fs::remove_file(house.spoken("one.wav")).unwrap();
    house.store.retry(Chosen { batch, key: Some("one".into()), states: vec![], part: Some(3) }).await.unwrap();
    house.run(batch).await;
    let row = house.row(batch, "one").await;
    assert_eq!((row.state, row.notes), (JobState::Succeeded, None), "{:?}", row.error);
    assert_eq!(house.sandbox.books().billed, 2 * parts(&text), "nothing can be joined without them");
    assert!(house.spoken("one.wav").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_look_at_pruned_speech_buys_nothing_and_hides_no_doubt() {
    let house = House::new().await;
    let refrain = "This line comes again and again, and it is a long one.";
    house.run(house.speak(&Speaking { name: "song", ..Speaking::default() }, &[("song", refrain)]).await).await;
    let text = [refrain, "And here is something that was never said before it."].join("\n\n");
    let doubted = Speaking { synthesize: json!({ "max_chars_per_second": 2.0 }), ..Speaking::default() };
    let batch = house.speak(&doubted, &[("one", &text), ("two", refrain)]).await;
    house.run(batch).await;
    assert_eq!((house.counts(batch).await.of(JobState::Suspect), house.sandbox.books().billed), (2, 2));
    fs::remove_dir_all(house.store.shelf().root()).unwrap();
    house.store.redeliver(batch).await.unwrap();
    house.run(batch).await;
    assert_eq!(house.sandbox.books().billed, 2, "what is only shown anew buys nothing");
    for row in house.rows(batch).await {
        assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Suspect, Some("too_short")), "{}", row.key);
        assert_eq!(row.notes.as_deref(), Some("answer_pruned"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_retry_is_enough_for_a_book_whose_audio_is_gone() {
    let house = House::new().await;
    let text = prose(40);
    let batch = bought_and_removed(&house, &text).await;
    assert_eq!(house.row(batch, "one").await.error_kind.as_deref(), Some("answer_lost"));
    house.store.retry(Chosen { batch, key: None, states: vec![], part: None }).await.unwrap();
    house.run(batch).await;
    let row = house.row(batch, "one").await;
    assert_eq!((row.state, row.error), (JobState::Succeeded, None));
    assert_eq!(house.sandbox.books().billed, 2 * parts(&text));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_works_on_hears_of_a_new_definition() {
    let house = House::new().await;
    let text = prose(2);
    let before =
        Speaking { synthesize: json!({ "pause": { "sentence_ms": 0, "paragraph_ms": 0 } }), ..Speaking::default() };
    let batch = house.speak(&before, &[("one", &text)]).await;
    house.sandbox.hold();
    let (ran, ()) = tokio::join!(house.run(batch), async {
        house.sandbox.waiting(1).await;
        // Submitted again by somebody else: other pauses, and another line.
        house.speak(&Speaking::default(), &[("one", &text), ("two", &text)]).await;
        house.sandbox.release();
    });
    assert_eq!(ran.end, RunEnd::Done);
    assert_eq!(house.counts(batch).await.of(JobState::Succeeded), 2);
    assert_eq!(house.sandbox.books().billed, parts(&text));
    let read = |name: &str| fs::read(house.spoken(name)).unwrap();
    assert_eq!(house.row(batch, "two").await.audio_ms, house.row(batch, "one").await.audio_ms);
    assert!(read("one.wav") == read("two.wav"), "both with the new pauses");
    let read = wav::read(&mut fs::File::open(house.spoken("two.wav")).unwrap()).unwrap();
    let spoken: u64 = cut(&text, 60).iter().map(|part| (part.chars() as u64 * 24_000 + 7) / 15).sum();
    assert_eq!(read.data_len / 2, spoken + 14_400);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_short_prompt_is_suspect() {
    let house = House::new().await;
    house.sandbox.script([Fault::new(Match::Text("main".into()), What::Short200)]);
    let lines =
        [("half", "Back to the main menu."), ("all", "Back to the other one."), ("dots", "Yes ... ... !!! ...")];
    let batch = house.speak(&Speaking::default(), &lines).await;
    house.run(batch).await;
    for (key, state) in [("half", JobState::Suspect), ("all", JobState::Succeeded), ("dots", JobState::Succeeded)] {
        assert_eq!(house.row(batch, key).await.state, state, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_for_one_format_is_not_bought_for_another() {
    let house = House::new().await;
    house.sandbox.script([Fault::new(Match::Nth(1), What::CutAfterWork)]);
    let formats = vec![format("wav", "24000"), format("pcm", "24000")];
    let parking = Speaking { run: json!({ "on_unknown": "park" }), formats, ..Speaking::default() };
    let batch = house.speak(&parking, &[("one", "Hello there.")]).await;
    house.run(batch).await;
    assert_eq!((house.counts(batch).await.of(JobState::Failed), house.sandbox.books().billed), (2, 1));
    house.store.retry(Chosen { batch, key: None, states: vec![], part: None }).await.unwrap();
    house.run(batch).await;
    assert_eq!((house.counts(batch).await.of(JobState::Succeeded), house.sandbox.books().billed), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_edited_book_still_needs_is_not_pruned() {
    let house = House::new().await;
    let text = prose(4);
    house.run(house.speak(&Speaking::default(), &[("one", &text)]).await).await;
    let edited = text.replacen("begins here", "begins hero", 1);
    let batch = house.speak(&Speaking::default(), &[("one", &edited)]).await;
    let pruned = house.store.prune_spool(SpoolLimits { max_bytes: Some(0), unused_since: None }, false).await.unwrap();
    assert_eq!((pruned.taken.sounds, pruned.needed.sounds), (1, parts(&text) - 1), "the sentence that was");
    house.run(batch).await;
    assert_eq!(house.sandbox.books().billed, parts(&text) + 1, "one part");
    let pruned = house.store.prune_spool(SpoolLimits { max_bytes: Some(0), unused_since: None }, false).await.unwrap();
    assert_eq!(pruned.needed.sounds, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shelf_that_cannot_be_read_now_is_waited_for_and_nothing_is_bought_again() {
    let house = House::timeless(Config::default()).await;
    let text = prose(2);
    let speaking = Speaking::default();
    // Bought and not joined: the output is no folder yet.
    fs::write(house.path("out"), "in the way").unwrap();
    let batch = house.speak(&speaking, &[("one", &text)]).await;
    assert_eq!(house.run(batch).await.end, RunEnd::Paused);
    let bought = house.sandbox.books().billed;
    assert_eq!(bought, parts(&text));
    fs::remove_file(house.path("out")).unwrap();
    house.store.resume(batch, false).await.unwrap();
    // Each look at it is answered with an error, as by a mount that fails: a link that leads in a circle does so, also for root.
    let shelf = house.store.shelf().root().to_owned();
    let away = house.path("away");
    fs::rename(&shelf, &away).unwrap();
    std::os::unix::fs::symlink(&shelf, &shelf).unwrap();
    // Another job that says the same, and one that says something else, wait as well: what is bought now could not be kept.
    let other = Speaking { name: "other", ..Speaking::default() };
    let twin = house.speak(&other, &[("two", &text)]).await;
    for batch in [batch, twin] {
        let (ran, told) = tokio::join!(house.run(batch), async {
            let waits = house.wait_ahead(batch).await;
            let calls = house.sandbox.books().calls;
            fs::remove_file(&shelf).unwrap();
            fs::rename(&away, &shelf).unwrap();
            house.clock.advance(waits);
            (waits, calls)
        });
        assert!((29_000..=30_000).contains(&told.0), "{}", told.0);
        assert_eq!(told.1, bought, "nothing was called for");
        assert_eq!(ran.end, RunEnd::Done);
        let warnings = ran.warnings();
        assert!(warnings.iter().any(|w| w.contains("the spool cannot be read")), "{warnings:?}");
        fs::rename(&shelf, &away).unwrap();
        std::os::unix::fs::symlink(&shelf, &shelf).unwrap();
    }
    assert_eq!(house.row(batch, "one").await.state, JobState::Succeeded);
    assert_eq!(house.row(twin, "two").await.state, JobState::Succeeded);
    assert_eq!(house.sandbox.books().billed, bought);
}
