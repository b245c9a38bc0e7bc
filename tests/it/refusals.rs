//! Every way in which the API says no, or says something that cannot be.

use std::time::Duration;

use wavebatch::{
    audio::wav,
    domain::{
        job::JobState::{Failed, Queued, Succeeded, Suspect},
        retry::PauseKind,
    },
    runner::RunEnd,
    sandbox::{Config, ErrorShape, Fault, Match, StatusFault, What},
};

use crate::support::Fixture;

fn status(code: u16, shape: ErrorShape, message: &str) -> What {
    What::Status(StatusFault { code, shape: Some(shape), message: Some(message.into()), ..StatusFault::default() })
}

fn limited(retry_after: &str) -> What {
    What::Status(StatusFault { code: 429, retry_after: Some(retry_after.into()), ..StatusFault::default() })
}

/// One line, and this for its first call.
async fn once(what: What) -> Fixture {
    let fixture = Fixture::new().await;
    fixture.calls(1);
    fixture.sandbox.script([Fault::new(Match::First(1), what)]);
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_of_a_storm_holds_every_call_back() {
    let fixture = Fixture::timeless(Config::default()).await;
    fixture.calls(8);
    fixture.sandbox.script([Fault::new(Match::First(4), limited("30"))]);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 1")).await;
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        fixture.until("the cooldown", || async { fixture.pool().await.state.cooldown_until > 0 }).await;
        let wait = fixture.pool().await.state.cooldown_until - fixture.clock.now();
        assert!((28_000..=30_000).contains(&wait), "{wait}");
        fixture.clock.advance(wait - 2_000);
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(fixture.sandbox.books().calls, 4, "not before the time");
        fixture.clock.advance(2_001);
    });
    assert_eq!(ran.end, RunEnd::Done);
    fixture.all_well(batch, 8, 1).await;
    assert!(fixture.rows(batch).await.iter().all(|r| r.tries == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_of_one_429_holds_its_own_line_back_and_no_other() {
    let fixture = Fixture::still().await;
    fixture.calls(20);
    fixture.sandbox.script([Fault::new(Match::First(1), limited("30"))]);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 1")).await;
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        let wait = fixture.wait_ahead(batch).await;
        assert_eq!(wait, 30_000);
        assert_eq!(fixture.counts(batch).await.of(Succeeded), 19, "the others did not wait, nor had they to");
        let pool = fixture.pool().await;
        assert_eq!((pool.state.cooldown_until, pool.state.factor), (0, 0.0));
        fixture.clock.advance(wait);
    });
    assert_eq!(ran.end, RunEnd::Done);
    fixture.all_well(batch, 20, 1).await;
    assert!(fixture.rows(batch).await.iter().all(|r| r.tries == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_refused_alone_waits_twice_as_long_each_time() {
    let fixture = Fixture::still().await;
    fixture.calls(1);
    fixture.sandbox.script([Fault::new(Match::First(3), What::status(429))]);
    let batch = fixture.submit(&fixture.definition("", "max_tries = 1")).await;
    tokio::join!(fixture.run(batch), async {
        for longest in [500, 1_000, 2_000] {
            let wait = fixture.wait_ahead(batch).await;
            assert!((longest / 2..=longest).contains(&wait), "{wait} of {longest}");
            fixture.clock.advance(wait);
            fixture.until("its next try", || async { fixture.waits_until(batch).await.is_none() }).await;
        }
    });
    fixture.all_well(batch, 1, 1).await;
    assert_eq!(fixture.row(batch, "call-0001").await.tries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_obeyed_whatever_the_status() {
    for (code, shape) in [
        (503, ErrorShape::Stt),
        (500, ErrorShape::Stt),
        (429, ErrorShape::Stt),
        (408, ErrorShape::Stt),
        // Whether a proxy's call was made nobody knows; it is not made again any sooner.
        (503, ErrorShape::Html),
        (504, ErrorShape::Nothing),
    ] {
        let message = format!("{code} as {shape:?}");
        let retry_after = Some("60".into());
        let refusal = StatusFault { code, shape: Some(shape), retry_after, ..StatusFault::default() };
        let fixture = Fixture::timeless(Config::default()).await;
        fixture.calls(1);
        fixture.sandbox.script([Fault::new(Match::First(1), What::Status(refusal))]);
        let batch = fixture.submit(&fixture.definition("", "unknown_grace = \"1s\"")).await;
        let (ran, ()) = tokio::join!(fixture.run(batch), async {
            let wait = fixture.wait_ahead(batch).await;
            assert!((50_000..=60_000).contains(&wait), "{message}: {wait}");
            fixture.clock.advance(wait);
        });
        assert_eq!((ran.end, fixture.sandbox.books().calls), (RunEnd::Done, 2), "{message}");
        fixture.all_well(batch, 1, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_of_a_year_is_an_hour_and_one_of_nothing_a_moment() {
    for (asked, longest) in
        [("31536000", 3_600_000), ("-1", 500), ("Sat, 01 Jan 2000 00:00:00 GMT", 500), ("soon", 2_000)]
    {
        let refusal = StatusFault { code: 503, retry_after: Some(asked.into()), ..StatusFault::default() };
        let fixture = Fixture::still().await;
        fixture.calls(1);
        fixture.sandbox.script([Fault::new(Match::First(1), What::Status(refusal))]);
        let batch = fixture.submit(&fixture.definition("", "")).await;
        tokio::join!(fixture.run(batch), async {
            let wait = fixture.wait_ahead(batch).await;
            assert!((longest * 9 / 10..=longest * 11 / 10).contains(&wait), "{asked}: {wait}");
            fixture.clock.advance(wait);
        });
        fixture.all_well(batch, 1, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_as_a_date_is_understood() {
    let fixture = Fixture::timeless(Config::default()).await;
    fixture.calls(1);
    let date = jiff_date(40);
    fixture.sandbox.script([Fault::new(Match::First(1), limited(&date))]);
    let batch = fixture.submit(&fixture.definition("", "")).await;
    let (_, ()) = tokio::join!(fixture.run(batch), async {
        let wait = fixture.wait_ahead(batch).await;
        assert!((35_000..=41_000).contains(&wait), "{wait}");
        fixture.clock.advance(wait);
    });
    fixture.all_well(batch, 1, 1).await;
}

/// So many seconds from now, as HTTP writes it.
fn jiff_date(seconds: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_in_the_middle_of_an_upload_costs_nothing() {
    let fixture = Fixture::new().await;
    fixture.recording("rec/1.wav", "long words", 120.0, 1);
    fixture.lines(&[("a", "rec/1.wav")]);
    fixture.sandbox.script([Fault::new(Match::First(2), What::EarlyRefusal { retry_after: Some("0".into()) })]);
    let (batch, _) = fixture.go("", "").await;
    fixture.all_well(batch, 1, 1).await;
    let row = fixture.row(batch, "a").await;
    assert_eq!((row.tries, row.billed_calls, fixture.sandbox.books().calls), (0, 1, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_line_is_to_blame_for_pauses_the_batch() {
    for (what, kind) in [
        (status(429, ErrorShape::Stt, "monthly quota exceeded"), PauseKind::Quota),
        (status(429, ErrorShape::Tts, "not enough credits"), PauseKind::Quota),
        (status(402, ErrorShape::Stt, "payment required"), PauseKind::Quota),
        (status(403, ErrorShape::Stt, "your plan has no such model"), PauseKind::Credentials),
        (status(401, ErrorShape::BadKey, ""), PauseKind::Credentials),
    ] {
        let fixture = Fixture::new().await;
        fixture.calls(6);
        fixture.sandbox.script([Fault::new(Match::From(3), what.clone())]);
        let (batch, ran) = fixture.go("", "concurrency = 1\nmax_tries = 1").await;
        assert_eq!(ran.end, RunEnd::Paused, "{what:?}");
        let row = fixture.store.batch_by_id(batch).await.unwrap();
        let (paused, reason) = row.pause.expect("paused");
        assert_eq!(paused, kind, "{what:?}");
        assert!(reason.contains('('), "the status is told: {reason}");
        let counts = fixture.counts(batch).await;
        assert_eq!((counts.of(Succeeded), counts.of(Queued)), (2, 4), "{what:?}");
        assert!(fixture.rows(batch).await.iter().all(|r| r.tries == 0));

        fixture.sandbox.unscript();
        assert!(fixture.store.resume(batch, false).await.unwrap());
        fixture.run(batch).await;
        fixture.all_well(batch, 6, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_line_fails_with_the_vendors_words_and_the_request_id() {
    for (what, kind, words) in [
        (status(400, ErrorShape::Stt, "the audio is corrupt"), "bad_request", "the audio is corrupt"),
        (status(400, ErrorShape::SttOlder, "bad sample rate"), "bad_request", "bad sample rate"),
        (status(400, ErrorShape::SttOlder, "Audio data too large"), "too_large", "too large"),
        (status(413, ErrorShape::Stt, "too much"), "too_large", "250 MB"),
        (status(422, ErrorShape::Chat, "no such thing"), "bad_request", "no such thing"),
        (status(404, ErrorShape::Nothing, ""), "bad_request", "base URL"),
    ] {
        let fixture = Fixture::new().await;
        fixture.calls(2);
        fixture.sandbox.script([Fault::new(Match::First(1), what.clone())]);
        let (batch, ran) = fixture.go("", "concurrency = 1").await;
        assert_eq!(ran.end, RunEnd::Done);
        let rows = fixture.rows(batch).await;
        let failed: Vec<_> = rows.iter().filter(|r| r.state == Failed).collect();
        assert_eq!(failed.len(), 1, "the other line goes on: {what:?}");
        assert_eq!(failed[0].error_kind.as_deref(), Some(kind), "{what:?}");
        let error = failed[0].error.as_deref().unwrap_or_default();
        assert!(error.contains(words), "{error}");
        if matches!(&what, What::Status(s) if matches!(s.shape, Some(ErrorShape::Stt | ErrorShape::Chat))) {
            let id = &fixture.sandbox.books().requests[0].request_id;
            assert!(error.contains(id.as_str()), "{error} should name {id}");
        }
        assert_eq!((failed[0].tries, failed[0].billed_calls, failed[0].cost), (0, 0, 0));
        assert_eq!(fixture.sandbox.books().calls, 2, "it was not tried again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_nobody_can_know_is_looked_up_before_it_is_called_again() {
    for (what, billed) in [
        (What::Html(502), 1),
        (status(504, ErrorShape::Nothing, ""), 1),
        (What::CutBeforeWork, 1),
        (What::CutAfterWork, 1),
        (What::Truncated, 1),
        (
            What::Status(StatusFault {
                code: 502,
                shape: Some(ErrorShape::Html),
                billed: true,
                ..StatusFault::default()
            }),
            1,
        ),
    ] {
        let fixture = once(what.clone()).await;
        let batch = fixture.submit(&fixture.definition("", "unknown_grace = \"50ms\"")).await;
        fixture.run_ahead(batch).await;
        fixture.all_well(batch, 1, billed).await;
        assert!(fixture.sandbox.books().log_calls >= 2, "at the start, and for the lost call: {what:?}");
        assert_eq!(fixture.row(batch, "call-0001").await.tries, 1, "{what:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_the_vendor_cannot_finish_is_bought_twice_and_not_more() {
    let fixture = Fixture::new().await;
    fixture.calls(2);
    let hanging = std::fs::metadata(fixture.path("rec/1.wav")).unwrap().len();
    fixture.recording("rec/2.wav", "other words", 2.0, 2);
    fixture.sandbox.script([Fault::new(Match::Size(hanging), What::Hang), Fault::new(Match::Any, What::LogsAbsent)]);
    let (batch, _) = fixture.go("", "call_timeout = \"300ms\"").await;
    let row = fixture.row(batch, "call-0001").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (Failed, Some("timed_out")));
    assert_eq!((row.billed_calls, fixture.sandbox.books().most_billed()), (2, 2));
    assert_eq!(fixture.row(batch, "call-0002").await.state, Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_whose_work_was_done_is_found_in_the_log() {
    let fixture = once(What::Hang).await;
    let (batch, _) = fixture.go("", "call_timeout = \"300ms\"").await;
    fixture.all_well(batch, 1, 1).await;
    assert_eq!(fixture.row(batch, "call-0001").await.notes.as_deref(), Some("recovered"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_drops_is_an_answer() {
    let fixture = once(What::Drip(5)).await;
    let (batch, _) = fixture.go("", "").await;
    fixture.all_well(batch, 1, 1).await;
    assert_eq!(fixture.row(batch, "call-0001").await.tries, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_length_than_the_file_has_is_suspect() {
    let fixture = Fixture::new().await;
    fixture.recording("rec/1.wav", "half of the words", 10.0, 1);
    fixture.lines(&[("a", "rec/1.wav")]);
    fixture.sandbox.script([Fault::new(Match::First(1), What::WrongDuration(0.5))]);
    let (batch, _) = fixture.go("", "").await;
    let row = fixture.row(batch, "a").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (Suspect, Some("duration_mismatch")));
    assert_eq!(row.notes.as_deref(), Some("duration_mismatch"));
    assert!(!fixture.output("a.txt").is_empty(), "the result is not hidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn stereo_is_told_once_and_noted_on_each_line() {
    let fixture = Fixture::new().await;
    for i in [1, 2, 3] {
        let samples: Vec<i16> = (0..16_000).map(|n| (n % 50 * i) as i16).collect();
        fixture.write(&format!("rec/{i}.wav"), wav::pcm16(2, 8_000, Some("two voices"), &samples));
    }
    fixture.lines(&[("a", "rec/1.wav"), ("b", "rec/2.wav"), ("c", "rec/3.wav")]);
    let (batch, ran) = fixture.go("", "").await;
    assert_eq!(ran.warnings().iter().filter(|w| w.contains("channels")).count(), 1, "{:?}", ran.warnings());
    for row in fixture.rows(batch).await {
        assert_eq!((row.state, row.channels, row.notes.as_deref()), (Succeeded, Some(2), Some("stereo")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_allowed_line_by_line() {
    let fixture = Fixture::new().await;
    fixture.recording("rec/1.wav", "", 4.0, 1);
    fixture.recording("rec/2.wav", "", 4.0, 2);
    fixture.write("calls.csv", "key,source,allow_silence\na,rec/1.wav,true\nb,rec/2.wav,\n");
    let (batch, _) = fixture.go("", "").await;
    assert_eq!(fixture.row(batch, "a").await.state, Succeeded);
    assert_eq!(fixture.row(batch, "b").await.state, Suspect);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_does_not_expire_stops_the_batch_after_the_first_answer() {
    let fixture = Fixture::with(Config { content_expiry: "not-entitled".into(), ..Config::default() }).await;
    fixture.calls(5);
    let (batch, ran) = fixture.go("expire_content = true", "concurrency = 1").await;
    assert_eq!(ran.end, RunEnd::Paused);
    assert_eq!(fixture.store.batch_by_id(batch).await.unwrap().pause.unwrap().0, PauseKind::Expiry);
    let rows = fixture.rows(batch).await;
    let done: Vec<_> = rows.iter().filter(|r| r.state == Succeeded).collect();
    assert!((1..=2).contains(&done.len()), "those in flight finish");
    assert!(done.iter().all(|r| r.content_expiry.as_deref() == Some("not-entitled")));
    assert!(done.iter().all(|r| r.notes.as_deref() == Some("not_expiring")));

    let fixture = Fixture::with(Config { content_expiry: "not-entitled".into(), ..Config::default() }).await;
    fixture.calls(5);
    let (batch, ran) = fixture.go("expire_content = \"try\"", "").await;
    assert_eq!(ran.end, RunEnd::Done);
    fixture.all_well(batch, 5, 1).await;

    let fixture = Fixture::new().await;
    fixture.calls(2);
    let (batch, _) = fixture.go("expire_content = true", "").await;
    fixture.all_well(batch, 2, 1).await;
    assert!(
        fixture.rows(batch).await.iter().all(|r| r.content_expiry.as_deref() == Some("applied") && r.notes.is_none())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_vendor_does_not_do_stands_in_the_notes() {
    let fixture = Fixture::new().await;
    fixture.recording("rec/1.wav", "words", 1.0, 1);
    fixture.lines(&[("a", "rec/1.wav")]);
    let definition = fixture.definition("redact_pii = true\nredact = \"best_effort\"", "");
    let german = std::fs::read_to_string(&definition).unwrap().replace("\"en\"", "\"de\"");
    let batch = fixture.submit(&fixture.write("night.toml", german)).await;
    fixture.run(batch).await;
    assert_eq!(fixture.row(batch, "a").await.notes.as_deref(), Some("not_redacted"));
    assert!(fixture.sandbox.books().requests[0].query.contains("redact_pii=true"));

    let fixture = Fixture::new().await;
    fixture.recording("rec/1.wav", "words", 1.0, 1);
    fixture.lines(&[("a", "rec/1.wav")]);
    let definition = fixture.definition("diarize = true", "");
    let pro = std::fs::read_to_string(&definition).unwrap().replace("\"pulse\"", "\"pulse-pro\"");
    let batch = fixture.submit(&fixture.write("night.toml", pro)).await;
    fixture.run(batch).await;
    assert_eq!(fixture.row(batch, "a").await.notes.as_deref(), Some("no_speakers"));

    let fixture = Fixture::new().await;
    fixture.calls(1);
    let (batch, _) = fixture.go("diarize = true\nword_timestamps = true", "").await;
    assert_eq!(fixture.row(batch, "call-0001").await.notes, None, "Pulse tells speakers apart");
}

crate::support::server::on_postgres_in_the_gate! {
    retry_after_of_a_storm_holds_every_call_back,
    retry_after_of_one_429_holds_its_own_line_back_and_no_other,
    a_line_that_is_refused_alone_waits_twice_as_long_each_time,
    retry_after_is_obeyed_whatever_the_status,
    a_wait_of_a_year_is_an_hour_and_one_of_nothing_a_moment,
    retry_after_as_a_date_is_understood,
    a_429_in_the_middle_of_an_upload_costs_nothing,
    what_no_line_is_to_blame_for_pauses_the_batch,
    a_refused_line_fails_with_the_vendors_words_and_the_request_id,
    an_outcome_that_nobody_can_know_is_looked_up_before_it_is_called_again,
    a_recording_that_the_vendor_cannot_finish_is_bought_twice_and_not_more,
    a_hang_whose_work_was_done_is_found_in_the_log,
    an_answer_in_drops_is_an_answer,
    another_length_than_the_file_has_is_suspect,
    stereo_is_told_once_and_noted_on_each_line,
    silence_is_allowed_line_by_line,
    content_that_does_not_expire_stops_the_batch_after_the_first_answer,
    what_the_vendor_does_not_do_stands_in_the_notes,
}
