//! The user's verbs, while a batch runs and after.

use std::{fs, time::Duration};

use wavebatch::{
    domain::{
        environment::Environment,
        job::{
            CallState,
            JobState::{Cancelled, Failed, Queued, Succeeded, Suspect},
        },
        retry::PauseKind,
        transcription::Transcription,
    },
    runner::RunEnd,
    sandbox::{Fault, Match, What},
    store::{Chosen, Resubmission, Selection},
};

use crate::support::Fixture;

fn all(batch: wavebatch::domain::job::BatchId) -> Chosen {
    Chosen::of(batch, Selection::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_lets_calls_in_flight_finish_and_only_the_user_lifts_it() {
    let fixture = Fixture::new().await;
    fixture.calls(12);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 3")).await;
    fixture.sandbox.hold();
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        fixture.sandbox.waiting(3).await;
        fixture.store.pause(batch, PauseKind::User, "lunch".into()).await.unwrap();
        fixture.sandbox.release();
    });
    assert_eq!(ran.end, RunEnd::Paused);
    let counts = fixture.counts(batch).await;
    assert_eq!((counts.of(Succeeded), counts.of(Queued)), (3, 9));
    assert!(!fixture.store.resume(batch, false).await.unwrap(), "a user's pause is the user's");
    assert_eq!(fixture.run(batch).await.end, RunEnd::Paused);
    assert!(fixture.store.resume(batch, true).await.unwrap());
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    fixture.all_well(batch, 12, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_batch_keeps_the_answers_of_calls_in_flight() {
    let fixture = Fixture::new().await;
    fixture.calls(12);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 3")).await;
    fixture.sandbox.hold();
    let (ran, cancelled) = tokio::join!(fixture.run(batch), async {
        fixture.sandbox.waiting(3).await;
        let cancelled = fixture.store.cancel(batch).await.unwrap();
        fixture.sandbox.release();
        cancelled
    });
    assert_eq!((cancelled.jobs, cancelled.in_flight), (12, 3));
    assert_eq!(ran.end, RunEnd::Done);
    assert_eq!(fixture.counts(batch).await.of(Cancelled), 12);
    assert_eq!(fixture.sandbox.books().calls, 3, "no new call");

    let plan = fixture.store.plan_retry(&all(batch)).await.unwrap();
    assert_eq!((plan.jobs, plan.deliveries), (12, 3));
    assert_eq!(fixture.store.retry(all(batch)).await.unwrap(), 12);
    fixture.run(batch).await;
    fixture.all_well(batch, 12, 1).await;
    assert_eq!(fixture.sandbox.books().calls, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_of_a_cancelled_line_does_not_take_the_place_of_its_successors() {
    let fixture = Fixture::new().await;
    for i in 1..=2 {
        fixture.recording(&format!("rec/{i}.wav"), &format!("words {i}"), 1.0, i);
    }
    fixture.lines(&[("call", "rec/1.wav")]);
    fixture.sandbox.script([Fault::new(Match::Nth(1), What::Hang)]);
    let definition = fixture.definition("", "");
    let batch = fixture.submit(&definition).await;
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        fixture.sandbox.waiting(1).await;
        fixture.store.cancel(batch).await.unwrap();
        fixture.lines(&[("call", "rec/2.wav")]);
        fixture.submit(&definition).await;
        fixture.until("the changed line", || async { fixture.counts(batch).await.of(Succeeded) == 1 }).await;
        fixture.sandbox.release();
    });
    assert_eq!(ran.end, RunEnd::Done);
    assert_eq!(fixture.output("call.txt").trim(), "words 2");
    let books = fixture.sandbox.books();
    assert_eq!((books.calls, books.billed), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_that_is_lost_after_a_cancel_leaves_nothing_open() {
    let fixture = Fixture::new().await;
    fixture.calls(2);
    fixture.sandbox.script([Fault::new(Match::Any, What::CutAfterWork), Fault::new(Match::Any, What::LogsAbsent)]);
    let batch = fixture.submit(&fixture.definition("", "max_spend_usd = 1.0")).await;
    fixture.sandbox.hold();
    tokio::join!(fixture.run(batch), async {
        fixture.sandbox.waiting(2).await;
        fixture.store.cancel(batch).await.unwrap();
        fixture.sandbox.release();
    });
    let row = fixture.store.batch_by_id(batch).await.unwrap();
    assert_eq!((row.reserved, row.spent), (0, 168), "it may have been paid for, and is in the books");
    for key in ["call-0001", "call-0002"] {
        let states: Vec<_> = fixture.job(batch, key).await.calls.iter().map(|c| c.state).collect();
        assert_eq!(states, [CallState::Lost]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_takes_what_went_wrong_and_a_good_line_only_by_its_key() {
    let fixture = Fixture::new().await;
    for i in 1..=3 {
        fixture.recording(&format!("rec/{i}.wav"), &format!("words {i}"), 3.0, i);
    }
    fixture.lines(&[("good", "rec/1.wav"), ("empty", "rec/2.wav"), ("refused", "rec/3.wav")]);
    fixture.sandbox.script([
        Fault::new(Match::Content(sha(&fixture, 2)), What::EmptyText).times(1),
        Fault::new(Match::Content(sha(&fixture, 3)), What::status(400)).times(1),
    ]);
    let (batch, _) = fixture.go("", "concurrency = 1").await;
    let counts = fixture.counts(batch).await;
    assert_eq!((counts.of(Succeeded), counts.of(Suspect), counts.of(Failed)), (1, 1, 1));

    let plan = fixture.store.plan_retry(&all(batch)).await.unwrap();
    assert_eq!((plan.jobs, plan.deliveries, plan.units, plan.unknown), (2, 0, 6_000, 0));
    assert_eq!(fixture.store.retry(all(batch)).await.unwrap(), 2);
    fixture.run(batch).await;
    fixture.all_well(batch, 3, 2).await;
    assert_eq!(fixture.store.retry(all(batch)).await.unwrap(), 0, "nothing is left to retry");

    let one = Chosen { lines: Selection::of_key("good"), ..all(batch) };
    assert_eq!(fixture.store.retry(one).await.unwrap(), 1);
    fixture.run(batch).await;
    fixture.all_well(batch, 3, 2).await;
    assert_eq!(fixture.row(batch, "good").await.billed_calls, 2);
    let states: Vec<_> = fixture.job(batch, "good").await.calls.iter().map(|c| c.state).collect();
    assert_eq!(states, [CallState::Replaced, CallState::Answered]);
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_are_written_again_without_call_and_source() {
    let fixture = Fixture::new().await;
    fixture.calls(5);
    let (batch, _) = fixture.go("", "").await;
    fs::remove_dir_all(fixture.path("out")).unwrap();
    fs::remove_dir_all(fixture.path("rec")).unwrap();
    assert_eq!(fixture.store.redeliver(batch).await.unwrap(), (5, 0));
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    fixture.all_well(batch, 5, 1).await;
    assert_eq!(fixture.sandbox.books().calls, 5);
    assert_eq!(fixture.output("call-0003.txt").trim(), "words of call 3");

    let pruned = fixture.store.prune(Some(batch), fixture.clock.now() + 1).await.unwrap();
    assert_eq!(pruned.answers, 5);
    assert_eq!(fixture.store.redeliver(batch).await.unwrap(), (0, 5), "told, and left as it is");
    fixture.run(batch).await;
    fixture.all_well(batch, 5, 1).await;
    assert_eq!(fixture.sandbox.books().calls, 5, "rows and receipts stay, so nothing is paid for again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_costs_nothing_is_tried_again_and_what_costs_is_left() {
    let fixture = Fixture::new().await;
    fixture.calls(3);
    let missing = fs::read(fixture.path("rec/1.wav")).unwrap();
    fs::remove_file(fixture.path("rec/1.wav")).unwrap();
    fs::create_dir_all(fixture.path("out/call-0002.txt/in the way")).unwrap();
    fixture.sandbox.script([Fault::new(Match::Content(sha(&fixture, 3)), What::status(400))]);
    let (batch, ran) = fixture.go("", "").await;
    assert_eq!(ran.end, RunEnd::Done, "a name that cannot be taken is its own line's failure");
    let ends = fixture.ends(batch).await;
    assert_eq!(ends["call-0001"], (Failed, "source_missing".into()));
    assert_eq!(ends["call-0002"], (Failed, "sink_refused".into()));
    assert_eq!(ends["call-0003"], (Failed, "bad_request".into()));

    fixture.write("rec/1.wav", missing);
    fs::remove_dir_all(fixture.path("out/call-0002.txt")).unwrap();
    // The answer is kept: its delivery needs no source.
    fs::remove_file(fixture.path("rec/2.wav")).unwrap();
    assert_eq!(fixture.store.retry_free(batch).await.unwrap().jobs(), 2);
    fixture.run(batch).await;
    let counts = fixture.counts(batch).await;
    assert_eq!((counts.of(Succeeded), counts.of(Failed)), (2, 1), "{:?}", fixture.ends(batch).await);
    assert_eq!(fixture.sandbox.books().most_billed(), 1);
    assert_eq!(fixture.output("call-0002.txt").trim(), "words of call 2");
}

fn sha(fixture: &Fixture, recording: usize) -> String {
    use sha2::Digest;
    let bytes = fs::read(fixture.path(&format!("rec/{recording}.wav"))).expect("a recording");
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_changes_while_its_call_is_in_flight_ends_with_its_new_words() {
    let fixture = Fixture::new().await;
    fixture.calls(3);
    let definition = fixture.definition("", "concurrency = 1");
    let batch = fixture.submit(&definition).await;
    fixture.sandbox.hold();
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        fixture.sandbox.waiting(1).await;
        for i in 1..=3 {
            fixture.recording(&format!("new/{i}.wav"), &format!("new words of call {i}"), 2.0, i);
        }
        fixture.lines(&[("call-0001", "new/1.wav"), ("call-0002", "new/2.wav"), ("call-0003", "new/3.wav")]);
        assert_eq!(fixture.submit(&definition).await, batch);
        fixture.sandbox.release();
    });
    assert_eq!(ran.end, RunEnd::Done);
    fixture.all_well(batch, 3, 1).await;
    for i in 1..=3 {
        assert_eq!(fixture.output(&format!("call-000{i}.txt")).trim(), format!("new words of call {i}"));
    }
    assert_eq!(fixture.sandbox.books().billed, 4, "the one in flight was paid for, and stays in the books");
    assert_eq!(fixture.store.batch_by_id(batch).await.unwrap().reserved, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_lines_that_are_being_submitted_to_its_batch() {
    let fixture = Fixture::new().await;
    fixture.calls(2);
    let definition = fixture.definition("", "");
    let batch = fixture.submit(&definition).await;
    fixture.sandbox.hold();
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        fixture.sandbox.waiting(2).await;
        fixture.calls(4);
        let spec = fixture.store.batch_by_id(batch).await.unwrap();
        let again = wavebatch::store::NewBatch {
            definition: spec.definition,
            ..wavebatch::store::NewBatch::of::<Transcription>(&spec.name, Environment::Live, spec.spec)
        };
        fixture.store.begin(again, Resubmission::default()).await.unwrap();
        fixture.sandbox.release();
        fixture.until("an idle run", || async { fixture.counts(batch).await.of(Succeeded) == 2 }).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        fixture.submit(&definition).await;
    });
    assert_eq!(ran.end, RunEnd::Done);
    fixture.all_well(batch, 4, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_no_folder_any_more_pauses_the_batch_and_keeps_the_answers() {
    let fixture = Fixture::new().await;
    fixture.calls(30);
    fixture.sandbox.script([Fault::new(Match::Nth(2), What::Hang)]);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 1")).await;
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        fixture.sandbox.waiting(1).await;
        fixture.until("an output", || async { fixture.counts(batch).await.of(Succeeded) == 1 }).await;
        fs::rename(fixture.path("out"), fixture.path("away")).unwrap();
        fixture.write("out", "a file");
        fixture.sandbox.release();
    });
    assert_eq!(ran.end, RunEnd::Paused);
    let (kind, reason) = fixture.store.batch_by_id(batch).await.unwrap().pause.unwrap();
    assert!(kind == PauseKind::Sink && reason.contains("not a folder"), "{reason}");
    assert_eq!(fixture.counts(batch).await.of(Failed), 0);
    let calls = fixture.sandbox.books().calls;
    assert!(calls < 20, "it stopped: {calls} calls");

    fs::remove_file(fixture.path("out")).unwrap();
    fs::rename(fixture.path("away"), fixture.path("out")).unwrap();
    fixture.store.resume(batch, false).await.unwrap();
    fixture.run(batch).await;
    fixture.all_well(batch, 30, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_past_their_time_are_pruned_by_the_next_run_and_nothing_is_bought_again() {
    let fixture = Fixture::new().await;
    fixture.calls(3);
    let batch = fixture.submit(&fixture.definition("", "keep_answers = \"1h\"")).await;
    fixture.run(batch).await;
    fixture.run(batch).await;
    let kept = async || fixture.store.kept_by_batch().await.unwrap().iter().map(|kept| kept.answers).sum::<u64>();
    assert_eq!(kept().await, 3, "not yet");
    fixture.clock.advance(3_600_000);
    fixture.run(batch).await;
    assert_eq!(kept().await, 0);
    fixture.all_well(batch, 3, 1).await;
    assert_eq!(fixture.sandbox.books().calls, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_answer_fails_its_line_and_no_other() {
    let fixture = Fixture::new().await;
    fixture.calls(5);
    let batch = fixture.submit(&fixture.definition("", "")).await;
    fixture.run(batch).await;
    let damaged = fixture.job(batch, "call-0003").await.calls[0].id;
    let mut ledger = fixture.ledger().await;
    let damage = sqlx::query("UPDATE answers SET body = x'00ff', packed = 1 WHERE call = ?");
    let hit = damage.bind(damaged.0.as_bytes().as_slice()).execute(&mut ledger).await.unwrap();
    assert_eq!(hit.rows_affected(), 1);
    drop(ledger);

    fixture.store.redeliver(batch).await.unwrap();
    fixture.store.resume(batch, false).await.unwrap();
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    let counts = fixture.counts(batch).await;
    assert_eq!((counts.of(Succeeded), counts.of(Failed)), (4, 1));
    assert_eq!(fixture.ends(batch).await["call-0003"], (Failed, "unusable_answer".into()));
    assert_eq!(fixture.store.retry(all(batch)).await.unwrap(), 1);
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    assert_eq!(fixture.counts(batch).await.of(Succeeded), 5);
    assert_eq!(fixture.sandbox.books().billed, 6, "the user's retry bought it again");
}
