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
    store::Chosen,
};

use crate::support::House;

fn all(batch: wavebatch::domain::job::BatchId) -> Chosen {
    Chosen { batch, key: None, states: vec![], part: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_lets_calls_in_flight_finish_and_only_the_user_lifts_it() {
    let house = House::new().await;
    house.calls(12);
    let batch = house.submit(&house.definition("", "concurrency = 3")).await;
    house.sandbox.hold();
    let (ran, ()) = tokio::join!(house.run(batch), async {
        house.sandbox.waiting(3).await;
        house.store.pause(batch, PauseKind::User, "lunch".into()).await.unwrap();
        house.sandbox.release();
    });
    assert_eq!(ran.end, RunEnd::Paused);
    let counts = house.counts(batch).await;
    assert_eq!((counts.of(Succeeded), counts.of(Queued)), (3, 9));
    assert!(!house.store.resume(batch, false).await.unwrap(), "a user's pause is the user's");
    assert_eq!(house.run(batch).await.end, RunEnd::Paused);
    assert!(house.store.resume(batch, true).await.unwrap());
    assert_eq!(house.run(batch).await.end, RunEnd::Done);
    house.all_well(batch, 12, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_batch_keeps_the_answers_of_calls_in_flight() {
    let house = House::new().await;
    house.calls(12);
    let batch = house.submit(&house.definition("", "concurrency = 3")).await;
    house.sandbox.hold();
    let (ran, cancelled) = tokio::join!(house.run(batch), async {
        house.sandbox.waiting(3).await;
        let cancelled = house.store.cancel(batch).await.unwrap();
        house.sandbox.release();
        cancelled
    });
    assert_eq!((cancelled.jobs, cancelled.in_flight), (12, 3));
    assert_eq!(ran.end, RunEnd::Done);
    assert_eq!(house.counts(batch).await.of(Cancelled), 12);
    assert_eq!(house.sandbox.books().calls, 3, "no new call");

    let plan = house.store.plan_retry(&all(batch)).await.unwrap();
    assert_eq!((plan.jobs, plan.deliveries), (12, 3));
    assert_eq!(house.store.retry(all(batch)).await.unwrap(), 12);
    house.run(batch).await;
    house.all_well(batch, 12, 1).await;
    assert_eq!(house.sandbox.books().calls, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_of_a_cancelled_line_does_not_take_the_place_of_its_successors() {
    let house = House::new().await;
    for i in 1..=2 {
        house.recording(&format!("rec/{i}.wav"), &format!("words {i}"), 1.0, i);
    }
    house.lines(&[("call", "rec/1.wav")]);
    house.sandbox.script([Fault::new(Match::Nth(1), What::Hang)]);
    let definition = house.definition("", "");
    let batch = house.submit(&definition).await;
    let (ran, ()) = tokio::join!(house.run(batch), async {
        house.sandbox.waiting(1).await;
        house.store.cancel(batch).await.unwrap();
        house.lines(&[("call", "rec/2.wav")]);
        house.submit(&definition).await;
        house.until("the changed line", || async { house.counts(batch).await.of(Succeeded) == 1 }).await;
        house.sandbox.release();
    });
    assert_eq!(ran.end, RunEnd::Done);
    assert_eq!(house.output("call.txt").trim(), "words 2");
    let books = house.sandbox.books();
    assert_eq!((books.calls, books.billed), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_that_is_lost_after_a_cancel_leaves_nothing_open() {
    let house = House::new().await;
    house.calls(2);
    house.sandbox.script([Fault::new(Match::Any, What::CutAfterWork), Fault::new(Match::Any, What::LogsAbsent)]);
    let batch = house.submit(&house.definition("", "max_spend_usd = 1.0")).await;
    house.sandbox.hold();
    tokio::join!(house.run(batch), async {
        house.sandbox.waiting(2).await;
        house.store.cancel(batch).await.unwrap();
        house.sandbox.release();
    });
    let row = house.store.batch_by_id(batch).await.unwrap();
    assert_eq!((row.reserved, row.spent), (0, 168), "it may have been paid for, and is in the books");
    for key in ["call-0001", "call-0002"] {
        let states: Vec<_> = house.job(batch, key).await.calls.iter().map(|c| c.state).collect();
        assert_eq!(states, [CallState::Lost]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_takes_what_went_wrong_and_a_good_line_only_by_its_key() {
    let house = House::new().await;
    for i in 1..=3 {
        house.recording(&format!("rec/{i}.wav"), &format!("words {i}"), 3.0, i);
    }
    house.lines(&[("good", "rec/1.wav"), ("empty", "rec/2.wav"), ("refused", "rec/3.wav")]);
    house.sandbox.script([
        Fault::new(Match::Content(sha(&house, 2)), What::EmptyText).times(1),
        Fault::new(Match::Content(sha(&house, 3)), What::status(400)).times(1),
    ]);
    let (batch, _) = house.go("", "concurrency = 1").await;
    let counts = house.counts(batch).await;
    assert_eq!((counts.of(Succeeded), counts.of(Suspect), counts.of(Failed)), (1, 1, 1));

    let plan = house.store.plan_retry(&all(batch)).await.unwrap();
    assert_eq!((plan.jobs, plan.deliveries, plan.units, plan.unknown), (2, 0, 6_000, 0));
    assert_eq!(house.store.retry(all(batch)).await.unwrap(), 2);
    house.run(batch).await;
    house.all_well(batch, 3, 2).await;
    assert_eq!(house.store.retry(all(batch)).await.unwrap(), 0, "nothing is left to retry");

    let one = Chosen { key: Some("good".into()), ..all(batch) };
    assert_eq!(house.store.retry(one).await.unwrap(), 1);
    house.run(batch).await;
    house.all_well(batch, 3, 2).await;
    assert_eq!(house.row(batch, "good").await.billed_calls, 2);
    let states: Vec<_> = house.job(batch, "good").await.calls.iter().map(|c| c.state).collect();
    assert_eq!(states, [CallState::Replaced, CallState::Answered]);
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_are_written_again_without_call_and_source() {
    let house = House::new().await;
    house.calls(5);
    let (batch, _) = house.go("", "").await;
    fs::remove_dir_all(house.path("out")).unwrap();
    fs::remove_dir_all(house.path("rec")).unwrap();
    assert_eq!(house.store.redeliver(batch).await.unwrap(), (5, 0));
    assert_eq!(house.run(batch).await.end, RunEnd::Done);
    house.all_well(batch, 5, 1).await;
    assert_eq!(house.sandbox.books().calls, 5);
    assert_eq!(house.output("call-0003.txt").trim(), "words of call 3");

    let pruned = house.store.prune(Some(batch), house.clock.now() + 1).await.unwrap();
    assert_eq!(pruned.answers, 5);
    assert_eq!(house.store.redeliver(batch).await.unwrap(), (0, 5), "told, and left as it is");
    house.run(batch).await;
    house.all_well(batch, 5, 1).await;
    assert_eq!(house.sandbox.books().calls, 5, "rows and receipts stay, so nothing is bought again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_costs_nothing_is_tried_again_and_what_costs_is_left() {
    let house = House::new().await;
    house.calls(3);
    let missing = fs::read(house.path("rec/1.wav")).unwrap();
    fs::remove_file(house.path("rec/1.wav")).unwrap();
    fs::create_dir_all(house.path("out/call-0002.txt/in the way")).unwrap();
    house.sandbox.script([Fault::new(Match::Content(sha(&house, 3)), What::status(400))]);
    let (batch, ran) = house.go("", "").await;
    assert_eq!(ran.end, RunEnd::Done, "a name that cannot be taken is its own line's failure");
    let ends = house.ends(batch).await;
    assert_eq!(ends["call-0001"], (Failed, "source_missing".into()));
    assert_eq!(ends["call-0002"], (Failed, "sink_refused".into()));
    assert_eq!(ends["call-0003"], (Failed, "bad_request".into()));

    house.write("rec/1.wav", missing);
    fs::remove_dir_all(house.path("out/call-0002.txt")).unwrap();
    // The answer is kept: its delivery needs no source.
    fs::remove_file(house.path("rec/2.wav")).unwrap();
    assert_eq!(house.store.retry_free(batch).await.unwrap(), 2);
    house.run(batch).await;
    let counts = house.counts(batch).await;
    assert_eq!((counts.of(Succeeded), counts.of(Failed)), (2, 1), "{:?}", house.ends(batch).await);
    assert_eq!(house.sandbox.books().most_billed(), 1);
    assert_eq!(house.output("call-0002.txt").trim(), "words of call 2");
}

fn sha(house: &House, recording: usize) -> String {
    use sha2::Digest;
    let bytes = fs::read(house.path(&format!("rec/{recording}.wav"))).expect("a recording");
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_changes_while_its_call_is_in_flight_ends_with_its_new_words() {
    let house = House::new().await;
    house.calls(3);
    let definition = house.definition("", "concurrency = 1");
    let batch = house.submit(&definition).await;
    house.sandbox.hold();
    let (ran, ()) = tokio::join!(house.run(batch), async {
        house.sandbox.waiting(1).await;
        for i in 1..=3 {
            house.recording(&format!("new/{i}.wav"), &format!("new words of call {i}"), 2.0, i);
        }
        house.lines(&[("call-0001", "new/1.wav"), ("call-0002", "new/2.wav"), ("call-0003", "new/3.wav")]);
        assert_eq!(house.submit(&definition).await, batch);
        house.sandbox.release();
    });
    assert_eq!(ran.end, RunEnd::Done);
    house.all_well(batch, 3, 1).await;
    for i in 1..=3 {
        assert_eq!(house.output(&format!("call-000{i}.txt")).trim(), format!("new words of call {i}"));
    }
    assert_eq!(house.sandbox.books().billed, 4, "the one in flight was paid for, and stays in the books");
    assert_eq!(house.store.batch_by_id(batch).await.unwrap().reserved, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_lines_that_are_being_submitted_to_its_batch() {
    let house = House::new().await;
    house.calls(2);
    let definition = house.definition("", "");
    let batch = house.submit(&definition).await;
    house.sandbox.hold();
    let (ran, ()) = tokio::join!(house.run(batch), async {
        house.sandbox.waiting(2).await;
        house.calls(4);
        let spec = house.store.batch_by_id(batch).await.unwrap();
        let again = wavebatch::store::NewBatch {
            definition: spec.definition,
            ..wavebatch::store::NewBatch::new(&spec.name, Environment::Live, Transcription::TASK, spec.spec)
        };
        house.store.begin_submit(again).await.unwrap();
        house.sandbox.release();
        house.until("an idle run", || async { house.counts(batch).await.of(Succeeded) == 2 }).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        house.submit(&definition).await;
    });
    assert_eq!(ran.end, RunEnd::Done);
    house.all_well(batch, 4, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_no_folder_any_more_pauses_the_batch_and_keeps_the_answers() {
    let house = House::new().await;
    house.calls(30);
    house.sandbox.script([Fault::new(Match::Nth(2), What::Hang)]);
    let batch = house.submit(&house.definition("", "concurrency = 1")).await;
    let (ran, ()) = tokio::join!(house.run(batch), async {
        house.sandbox.waiting(1).await;
        house.until("an output", || async { house.counts(batch).await.of(Succeeded) == 1 }).await;
        fs::rename(house.path("out"), house.path("away")).unwrap();
        house.write("out", "a file");
        house.sandbox.release();
    });
    assert_eq!(ran.end, RunEnd::Paused);
    let (kind, reason) = house.store.batch_by_id(batch).await.unwrap().pause.unwrap();
    assert!(kind == PauseKind::Sink && reason.contains("not a folder"), "{reason}");
    assert_eq!(house.counts(batch).await.of(Failed), 0);
    let calls = house.sandbox.books().calls;
    assert!(calls < 20, "it stopped: {calls} calls");

    fs::remove_file(house.path("out")).unwrap();
    fs::rename(house.path("away"), house.path("out")).unwrap();
    house.store.resume(batch, false).await.unwrap();
    house.run(batch).await;
    house.all_well(batch, 30, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_past_their_time_are_pruned_by_the_next_run_and_nothing_is_bought_again() {
    let house = House::new().await;
    house.calls(3);
    let batch = house.submit(&house.definition("", "keep_answers = \"1h\"")).await;
    house.run(batch).await;
    house.run(batch).await;
    assert_eq!(house.store.kept_answers().await.unwrap().0, 3, "not yet");
    house.clock.advance(3_600_000);
    house.run(batch).await;
    assert_eq!(house.store.kept_answers().await.unwrap().0, 0);
    house.all_well(batch, 3, 1).await;
    assert_eq!(house.sandbox.books().calls, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_answer_fails_its_line_and_no_other() {
    let house = House::new().await;
    house.calls(5);
    let batch = house.submit(&house.definition("", "")).await;
    house.run(batch).await;
    let damaged = house.job(batch, "call-0003").await.calls[0].id;
    let mut ledger = house.ledger().await;
    let damage = sqlx::query("UPDATE answers SET body = x'00ff', packed = 1 WHERE call = ?");
    let hit = damage.bind(damaged.0.as_bytes().as_slice()).execute(&mut ledger).await.unwrap();
    assert_eq!(hit.rows_affected(), 1);
    drop(ledger);

    house.store.redeliver(batch).await.unwrap();
    house.store.resume(batch, false).await.unwrap();
    assert_eq!(house.run(batch).await.end, RunEnd::Done);
    let counts = house.counts(batch).await;
    assert_eq!((counts.of(Succeeded), counts.of(Failed)), (4, 1));
    assert_eq!(house.ends(batch).await["call-0003"], (Failed, "unusable_answer".into()));
    assert_eq!(house.store.retry(all(batch)).await.unwrap(), 1);
    assert_eq!(house.run(batch).await.end, RunEnd::Done);
    assert_eq!(house.counts(batch).await.of(Succeeded), 5);
    assert_eq!(house.sandbox.books().billed, 6, "the user's retry bought it again");
}
