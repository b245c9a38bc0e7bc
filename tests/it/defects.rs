//! What is wrong with one line, one batch or one row stops nobody else.

use std::time::Duration;

use wavebatch::{
    crash,
    domain::{
        job::{
            BatchId,
            JobState::{Failed, Succeeded},
        },
        retry::PauseKind,
    },
    runner::{Event, RunEnd},
    sandbox::Config,
};

use crate::support::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_its_worker_twice_fails_and_the_others_are_done() {
    if !crash::ARMED {
        return;
    }
    let fixture = Fixture::timeless(Config::default()).await;
    fixture.calls(3);
    fixture.write("calls.csv", "key,source\nwell-1,rec/1.wav\nbreaks-its-worker,rec/2.wav\nwell-2,rec/3.wav\n");
    crash::plant_defect("breaks-its-worker");
    let batch = fixture.submit(&fixture.definition("", "concurrency = 1")).await;
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        fixture
            .until("the end", || async {
                fixture.clock.advance(1_000);
                tokio::time::sleep(Duration::from_millis(20)).await;
                fixture.counts(batch).await.unfinished() == 0
            })
            .await;
    });
    assert_eq!(ran.end, RunEnd::Done);
    let ends = fixture.ends(batch).await;
    assert_eq!(ends["breaks-its-worker"], (Failed, "internal_error".to_owned()));
    assert_eq!((ends["well-1"].0, ends["well-2"].0), (Succeeded, Succeeded));
    assert_eq!(fixture.sandbox.books().billed, 3, "what was bought before it broke is not paid for again");
    let message = fixture.row(batch, "breaks-its-worker").await.error.expect("words");
    assert!(message.contains("2 times") && message.contains("wavebatch itself"), "{message}");
}

/// Two batches, of which the first is damaged by this statement; both are worked by one runner.
async fn beside_a_good_one(damage: &'static str) -> (Fixture, BatchId, RunEnd, Vec<Event>) {
    let fixture = Fixture::new().await;
    fixture.calls(3);
    let bad = fixture.submit(&fixture.definition("", "")).await;
    let good = fixture.definition("", "");
    let text = std::fs::read_to_string(&good).expect("a definition").replace("\"night\"", "\"other\"");
    let good = fixture.write("other.toml", text.replace("\"out/\"", "\"out-other/\""));
    let good = fixture.submit(&good).await;
    let mut ledger = fixture.ledger().await;
    sqlx::query(damage).bind(bad.0).execute(&mut ledger).await.expect("a ledger");
    let (runner, mut seen) = fixture.runner_on(&fixture.store);
    let stop = tokio_util::sync::CancellationToken::new();
    let run = runner.serve(stop.clone(), tokio_util::sync::CancellationToken::new());
    let (end, ()) = tokio::join!(run, async {
        fixture.until("the good batch", || async { fixture.counts(good).await.of(Succeeded) == 3 }).await;
        stop.cancel();
    });
    drop(runner);
    let mut events = Vec::new();
    while let Ok(event) = seen.try_recv() {
        events.push(event);
    }
    (fixture, bad, end.expect("a ledger"), events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_specification_of_a_newer_version_pauses_its_batch_alone() {
    let (fixture, bad, _, events) = beside_a_good_one("UPDATE batches SET spec = '{\"new\": 1}' WHERE id = $1").await;
    let (kind, reason) = fixture.store.batch_by_id(bad).await.expect("it reads").pause.expect("a pause");
    assert_eq!(kind, PauseKind::Specification);
    assert!(reason.contains("specification does not read"), "{reason}");
    assert!(events.iter().any(|event| matches!(event, Event::Paused { batch, .. } if *batch == bad)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_does_not_read_is_left_alone() {
    let damage = "UPDATE batches SET task = 'sing!' WHERE id = $1";
    let (fixture, bad, _, _) = beside_a_good_one(damage).await;
    assert!(fixture.store.batch_by_id(bad).await.is_err());
    let names: Vec<_> = fixture.store.batches().await.expect("the others").into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["other"]);
    let mut ledger = fixture.ledger().await;
    let paused: Option<String> = sqlx::query_scalar("SELECT pause_kind FROM batches WHERE id = $1")
        .bind(bad.0)
        .fetch_one(&mut ledger)
        .await
        .expect("a ledger");
    assert_eq!(paused.as_deref(), Some("specification"), "once one of its lines was looked at");
}
