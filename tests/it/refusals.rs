//! Every way in which the API says no, or says something that cannot be.

use std::time::Duration;

use wavebatch::{
    audio::wav,
    domain::{
        job::JobState::{Failed, Queued, Succeeded, Suspect},
        retry::PauseKind,
    },
    runner::RunEnd,
    sandbox::{Config, Fault, Match, Shape, StatusFault, What},
};

use crate::support::House;

fn status(code: u16, shape: Shape, message: &str) -> What {
    What::Status(StatusFault { code, shape: Some(shape), message: Some(message.into()), ..StatusFault::default() })
}

fn limited(retry_after: &str) -> What {
    What::Status(StatusFault { code: 429, retry_after: Some(retry_after.into()), ..StatusFault::default() })
}

/// One line, and this for its first call.
async fn once(what: What) -> House {
    let house = House::new().await;
    house.calls(1);
    house.sandbox.script([Fault::new(Match::First(1), what)]);
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_of_a_storm_holds_every_call_back() {
    let house = House::timeless(Config::default()).await;
    house.calls(8);
    house.sandbox.script([Fault::new(Match::First(4), limited("30"))]);
    let batch = house.submit(&house.definition("", "concurrency = 1")).await;
    let (ran, ()) = tokio::join!(house.run(batch), async {
        house.until("the cooldown", || async { house.pool().await.state.cooldown_until > 0 }).await;
        let wait = house.pool().await.state.cooldown_until - house.clock.now();
        assert!((28_000..=30_000).contains(&wait), "{wait}");
        house.clock.advance(wait - 2_000);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(house.sandbox.books().calls, 4, "not before the time");
        house.clock.advance(2_001);
    });
    assert_eq!(ran.end, RunEnd::Done);
    house.all_well(batch, 8, 1).await;
    assert!(house.rows(batch).await.iter().all(|r| r.tries == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_of_one_429_holds_its_own_line_back_and_no_other() {
    let house = House::still().await;
    house.calls(20);
    house.sandbox.script([Fault::new(Match::First(1), limited("30"))]);
    let batch = house.submit(&house.definition("", "concurrency = 1")).await;
    let (ran, ()) = tokio::join!(house.run(batch), async {
        let wait = house.wait_ahead(batch).await;
        assert_eq!(wait, 30_000);
        assert_eq!(house.counts(batch).await.of(Succeeded), 19, "the others did not wait, nor had they to");
        let pool = house.pool().await;
        assert_eq!((pool.state.cooldown_until, pool.state.factor), (0, 0.0));
        house.clock.advance(wait);
    });
    assert_eq!(ran.end, RunEnd::Done);
    house.all_well(batch, 20, 1).await;
    assert!(house.rows(batch).await.iter().all(|r| r.tries == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_refused_alone_waits_twice_as_long_each_time() {
    let house = House::still().await;
    house.calls(1);
    house.sandbox.script([Fault::new(Match::First(3), What::status(429))]);
    let batch = house.submit(&house.definition("", "max_tries = 1")).await;
    tokio::join!(house.run(batch), async {
        for longest in [500, 1_000, 2_000] {
            let wait = house.wait_ahead(batch).await;
            assert!((longest / 2..=longest).contains(&wait), "{wait} of {longest}");
            house.clock.advance(wait);
            house.until("its next try", || async { house.waits_until(batch).await.is_none() }).await;
        }
    });
    house.all_well(batch, 1, 1).await;
    assert_eq!(house.row(batch, "call-0001").await.tries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_obeyed_whatever_the_status() {
    for (code, shape) in [
        (503, Shape::Stt),
        (500, Shape::Stt),
        (429, Shape::Stt),
        (408, Shape::Stt),
        // Whether a proxy's call was made nobody knows; it is not made again any sooner.
        (503, Shape::Html),
        (504, Shape::Nothing),
    ] {
        let told = format!("{code} as {shape:?}");
        let retry_after = Some("60".into());
        let refusal = StatusFault { code, shape: Some(shape), retry_after, ..StatusFault::default() };
        let house = House::timeless(Config::default()).await;
        house.calls(1);
        house.sandbox.script([Fault::new(Match::First(1), What::Status(refusal))]);
        let batch = house.submit(&house.definition("", "unknown_grace = \"1s\"")).await;
        let (ran, ()) = tokio::join!(house.run(batch), async {
            let wait = house.wait_ahead(batch).await;
            assert!((50_000..=60_000).contains(&wait), "{told}: {wait}");
            house.clock.advance(wait);
        });
        assert_eq!((ran.end, house.sandbox.books().calls), (RunEnd::Done, 2), "{told}");
        house.all_well(batch, 1, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_of_a_year_is_an_hour_and_one_of_nothing_a_moment() {
    for (asked, longest) in
        [("31536000", 3_600_000), ("-1", 500), ("Sat, 01 Jan 2000 00:00:00 GMT", 500), ("soon", 2_000)]
    {
        let refusal = StatusFault { code: 503, retry_after: Some(asked.into()), ..StatusFault::default() };
        let house = House::still().await;
        house.calls(1);
        house.sandbox.script([Fault::new(Match::First(1), What::Status(refusal))]);
        let batch = house.submit(&house.definition("", "")).await;
        tokio::join!(house.run(batch), async {
            let wait = house.wait_ahead(batch).await;
            assert!((longest * 9 / 10..=longest * 11 / 10).contains(&wait), "{asked}: {wait}");
            house.clock.advance(wait);
        });
        house.all_well(batch, 1, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_as_a_date_is_understood() {
    let house = House::timeless(Config::default()).await;
    house.calls(1);
    let date = jiff_date(40);
    house.sandbox.script([Fault::new(Match::First(1), limited(&date))]);
    let batch = house.submit(&house.definition("", "")).await;
    let (_, ()) = tokio::join!(house.run(batch), async {
        let wait = house.wait_ahead(batch).await;
        assert!((35_000..=41_000).contains(&wait), "{wait}");
        house.clock.advance(wait);
    });
    house.all_well(batch, 1, 1).await;
}

/// So many seconds from now, as HTTP writes it.
fn jiff_date(seconds: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_in_the_middle_of_an_upload_costs_nothing() {
    let house = House::new().await;
    house.recording("rec/1.wav", "long words", 120.0, 1);
    house.lines(&[("a", "rec/1.wav")]);
    house.sandbox.script([Fault::new(Match::First(2), What::EarlyRefusal { retry_after: Some("0".into()) })]);
    let (batch, _) = house.go("", "").await;
    house.all_well(batch, 1, 1).await;
    let row = house.row(batch, "a").await;
    assert_eq!((row.tries, row.billed_calls, house.sandbox.books().calls), (0, 1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_line_is_to_blame_for_pauses_the_batch() {
    for (what, kind) in [
        (status(429, Shape::Stt, "monthly quota exceeded"), PauseKind::Quota),
        (status(429, Shape::Tts, "not enough credits"), PauseKind::Quota),
        (status(402, Shape::Stt, "payment required"), PauseKind::Quota),
        (status(403, Shape::Stt, "your plan has no such model"), PauseKind::Credentials),
        (status(401, Shape::BadKey, ""), PauseKind::Credentials),
    ] {
        let house = House::new().await;
        house.calls(6);
        house.sandbox.script([Fault::new(Match::From(3), what.clone())]);
        let (batch, ran) = house.go("", "concurrency = 1\nmax_tries = 1").await;
        assert_eq!(ran.end, RunEnd::Paused, "{what:?}");
        let row = house.store.batch_by_id(batch).await.unwrap();
        let (paused, reason) = row.pause.expect("paused");
        assert_eq!(paused, kind, "{what:?}");
        assert!(reason.contains('('), "the status is told: {reason}");
        let counts = house.counts(batch).await;
        assert_eq!((counts.of(Succeeded), counts.of(Queued)), (2, 4), "{what:?}");
        assert!(house.rows(batch).await.iter().all(|r| r.tries == 0));

        house.sandbox.unscript();
        assert!(house.store.resume(batch, false).await.unwrap());
        house.run(batch).await;
        house.all_well(batch, 6, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_line_fails_with_the_vendors_words_and_the_request_id() {
    for (what, kind, words) in [
        (status(400, Shape::Stt, "the audio is corrupt"), "bad_request", "the audio is corrupt"),
        (status(400, Shape::SttOlder, "bad sample rate"), "bad_request", "bad sample rate"),
        (status(400, Shape::SttOlder, "Audio data too large"), "too_large", "too large"),
        (status(413, Shape::Stt, "too much"), "too_large", "250 MB"),
        (status(422, Shape::Chat, "no such thing"), "bad_request", "no such thing"),
        (status(404, Shape::Nothing, ""), "bad_request", "base URL"),
    ] {
        let house = House::new().await;
        house.calls(2);
        house.sandbox.script([Fault::new(Match::First(1), what.clone())]);
        let (batch, ran) = house.go("", "concurrency = 1").await;
        assert_eq!(ran.end, RunEnd::Done);
        let rows = house.rows(batch).await;
        let failed: Vec<_> = rows.iter().filter(|r| r.state == Failed).collect();
        assert_eq!(failed.len(), 1, "the other line goes on: {what:?}");
        assert_eq!(failed[0].error_kind.as_deref(), Some(kind), "{what:?}");
        let error = failed[0].error.as_deref().unwrap_or_default();
        assert!(error.contains(words), "{error}");
        if matches!(&what, What::Status(s) if matches!(s.shape, Some(Shape::Stt | Shape::Chat))) {
            let id = &house.sandbox.books().requests[0].request_id;
            assert!(error.contains(id.as_str()), "{error} should name {id}");
        }
        assert_eq!((failed[0].tries, failed[0].billed_calls, failed[0].cost), (0, 0, 0));
        assert_eq!(house.sandbox.books().calls, 2, "it was not tried again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_nobody_can_know_is_looked_up_before_it_is_called_again() {
    for (what, billed) in [
        (What::Html(502), 1),
        (status(504, Shape::Nothing, ""), 1),
        (What::CutBeforeWork, 1),
        (What::CutAfterWork, 1),
        (What::Truncated, 1),
        (What::Status(StatusFault { code: 502, shape: Some(Shape::Html), billed: true, ..StatusFault::default() }), 1),
    ] {
        let house = once(what.clone()).await;
        let batch = house.submit(&house.definition("", "unknown_grace = \"50ms\"")).await;
        house.run_ahead(batch).await;
        house.all_well(batch, 1, billed).await;
        assert!(house.sandbox.books().log_calls >= 2, "at the start, and for the lost call: {what:?}");
        assert_eq!(house.row(batch, "call-0001").await.tries, 1, "{what:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_the_vendor_cannot_finish_is_bought_twice_and_not_more() {
    let house = House::new().await;
    house.calls(2);
    let hanging = std::fs::metadata(house.path("rec/1.wav")).unwrap().len();
    house.recording("rec/2.wav", "other words", 2.0, 2);
    house.sandbox.script([Fault::new(Match::Size(hanging), What::Hang), Fault::new(Match::Any, What::LogsAbsent)]);
    let (batch, _) = house.go("", "call_timeout = \"300ms\"").await;
    let row = house.row(batch, "call-0001").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (Failed, Some("timed_out")));
    assert_eq!((row.billed_calls, house.sandbox.books().most_billed()), (2, 2));
    assert_eq!(house.row(batch, "call-0002").await.state, Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_whose_work_was_done_is_found_in_the_log() {
    let house = once(What::Hang).await;
    let (batch, _) = house.go("", "call_timeout = \"300ms\"").await;
    house.all_well(batch, 1, 1).await;
    assert_eq!(house.row(batch, "call-0001").await.notes.as_deref(), Some("recovered"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_drops_is_an_answer() {
    let house = once(What::Drip(5)).await;
    let (batch, _) = house.go("", "").await;
    house.all_well(batch, 1, 1).await;
    assert_eq!(house.row(batch, "call-0001").await.tries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_length_than_the_file_has_is_suspect() {
    let house = House::new().await;
    house.recording("rec/1.wav", "half of the words", 10.0, 1);
    house.lines(&[("a", "rec/1.wav")]);
    house.sandbox.script([Fault::new(Match::First(1), What::WrongDuration(0.5))]);
    let (batch, _) = house.go("", "").await;
    let row = house.row(batch, "a").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (Suspect, Some("duration_mismatch")));
    assert_eq!(row.notes.as_deref(), Some("duration_mismatch"));
    assert!(!house.output("a.txt").is_empty(), "the result is not hidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn stereo_is_told_once_and_noted_on_each_line() {
    let house = House::new().await;
    for i in [1, 2, 3] {
        let samples: Vec<i16> = (0..16_000).map(|n| (n % 50 * i) as i16).collect();
        house.write(&format!("rec/{i}.wav"), wav::pcm16(2, 8_000, Some("two voices"), &samples));
    }
    house.lines(&[("a", "rec/1.wav"), ("b", "rec/2.wav"), ("c", "rec/3.wav")]);
    let (batch, ran) = house.go("", "").await;
    assert_eq!(ran.warnings().iter().filter(|w| w.contains("channels")).count(), 1, "{:?}", ran.warnings());
    for row in house.rows(batch).await {
        assert_eq!((row.state, row.channels, row.notes.as_deref()), (Succeeded, Some(2), Some("stereo")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_allowed_line_by_line() {
    let house = House::new().await;
    house.recording("rec/1.wav", "", 4.0, 1);
    house.recording("rec/2.wav", "", 4.0, 2);
    house.write("calls.csv", "key,source,allow_silence\na,rec/1.wav,true\nb,rec/2.wav,\n");
    let (batch, _) = house.go("", "").await;
    assert_eq!(house.row(batch, "a").await.state, Succeeded);
    assert_eq!(house.row(batch, "b").await.state, Suspect);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_does_not_expire_stops_the_batch_after_the_first_answer() {
    let house = House::with(Config { content_expiry: "not-entitled".into(), ..Config::default() }).await;
    house.calls(5);
    let (batch, ran) = house.go("expire_content = true", "concurrency = 1").await;
    assert_eq!(ran.end, RunEnd::Paused);
    assert_eq!(house.store.batch_by_id(batch).await.unwrap().pause.unwrap().0, PauseKind::Expiry);
    let rows = house.rows(batch).await;
    let done: Vec<_> = rows.iter().filter(|r| r.state == Succeeded).collect();
    assert!((1..=2).contains(&done.len()), "those in flight finish");
    assert!(done.iter().all(|r| r.content_expiry.as_deref() == Some("not-entitled")));
    assert!(done.iter().all(|r| r.notes.as_deref() == Some("not_expiring")));

    let house = House::with(Config { content_expiry: "not-entitled".into(), ..Config::default() }).await;
    house.calls(5);
    let (batch, ran) = house.go("expire_content = \"try\"", "").await;
    assert_eq!(ran.end, RunEnd::Done);
    house.all_well(batch, 5, 1).await;

    let house = House::new().await;
    house.calls(2);
    let (batch, _) = house.go("expire_content = true", "").await;
    house.all_well(batch, 2, 1).await;
    assert!(
        house.rows(batch).await.iter().all(|r| r.content_expiry.as_deref() == Some("applied") && r.notes.is_none())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_vendor_does_not_do_stands_in_the_notes() {
    let house = House::new().await;
    house.recording("rec/1.wav", "words", 1.0, 1);
    house.lines(&[("a", "rec/1.wav")]);
    let definition = house.definition("redact_pii = true\nredact = \"best_effort\"", "");
    let german = std::fs::read_to_string(&definition).unwrap().replace("\"en\"", "\"de\"");
    let batch = house.submit(&house.write("night.toml", german)).await;
    house.run(batch).await;
    assert_eq!(house.row(batch, "a").await.notes.as_deref(), Some("not_redacted"));
    assert!(house.sandbox.books().requests[0].query.contains("redact_pii=true"));

    let house = House::new().await;
    house.recording("rec/1.wav", "words", 1.0, 1);
    house.lines(&[("a", "rec/1.wav")]);
    let definition = house.definition("diarize = true", "");
    let pro = std::fs::read_to_string(&definition).unwrap().replace("\"pulse\"", "\"pulse-pro\"");
    let batch = house.submit(&house.write("night.toml", pro)).await;
    house.run(batch).await;
    assert_eq!(house.row(batch, "a").await.notes.as_deref(), Some("no_speakers"));

    let house = House::new().await;
    house.calls(1);
    let (batch, _) = house.go("diarize = true\nword_timestamps = true", "").await;
    assert_eq!(house.row(batch, "call-0001").await.notes, None, "Pulse tells speakers apart");
}
