//! What pruning frees: pages for the file system, and nothing that must stay.

use super::*;
use crate::domain::{
    environment::Environment,
    identity::{Identity, source_identity},
    job::BatchId,
    pool::Pool,
    transcription::Transcription,
};
use crate::store::engine::db::{query, query_scalar};

const LINES: u64 = 120;
const BYTES: u64 = 20_000;

async fn ledger() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Opening::new(dir.path().join("wavebatch.db"))).await.unwrap().0;
    (dir, store)
}

/// A finished batch whose lines are all answered, with bodies that cannot be compressed.
async fn night(store: &Store, nth: i64) -> BatchId {
    let new = NewBatch {
        definition: "night".into(),
        ..NewBatch::of::<Transcription>(&format!("night-{nth}"), Environment::Live, "{}".into())
    };
    let batch = store.begin(new, Resubmission::default()).await.unwrap().batch;
    let jobs = (1..=LINES).map(|line| NewJob {
        line,
        key: format!("call-{line}"),
        source: Some(format!("/r/{line}.wav")),
        source_id: source_identity(&format!("/r/{line}.wav"), &crate::domain::query::QueryRules::default()),
        options_id: Identity([1; 16]),
        overrides: None,
        carried: None,
        pool: Pool::Pulse,
        expected: None,
        local: None,
        adopted: None,
        synthesis: None,
    });
    store.submit(batch, jobs.collect(), vec![]).await.unwrap();
    store.end_submit(batch).await.unwrap();
    for sql in [
        "INSERT INTO calls (id, job, batch, generation, account, pool, state, why, sent_at, timeout_ms, grace_ms, ended_at, cost, request)
         SELECT CAST(unhex(printf('%012x', ?2)) || randomblob(10) AS BLOB), id, batch, 0, 'a', 'pulse', 'answered', 'first', ?2, 0, 0, ?2, 5, '{}'
         FROM jobs WHERE batch = ?1",
        "INSERT INTO job_parts (job, part) SELECT id, 0 * ?2 FROM jobs WHERE batch = ?1",
        "INSERT INTO answers SELECT id, 'api', 0, 20000, randomblob(20000) FROM calls WHERE batch = ?1 AND sent_at = ?2",
        "UPDATE jobs SET state = 'succeeded', due_at = NULL, finished_at = ?2 WHERE batch = ?1",
        "UPDATE batches SET finished_at = ?2 WHERE id = ?1",
    ] {
        store
            .write(move |conn, _| {
                Box::pin(async move {
                    query(sql).bind(batch.0).bind(1_000 * (nth + 1)).execute(conn).await?;
                    Ok(())
                })
            })
            .await
            .unwrap();
    }
    batch
}

#[tokio::test]
async fn nights_that_are_pruned_leave_a_ledger_that_does_not_grow() {
    let (_dir, store) = ledger().await;
    let mut sizes = Vec::new();
    for nth in 0..5 {
        night(&store, nth).await;
        let pruned = store.prune(None, 1_000 * nth).await.unwrap();
        let most = if nth < 2 { 0 } else { LINES };
        assert_eq!((pruned.answers, pruned.bytes), (most, most * BYTES), "one night is kept beside the newest");
        store.shrink().await.unwrap();
        let now = store.sizes().await.unwrap();
        assert_eq!((now.free, now.wal), (0, 0), "pages and log are given back");
        sizes.push(now.file);
    }
    assert!(sizes[1] > sizes[0] + LINES * BYTES, "{sizes:?}");
    assert!(sizes[4] < sizes[1] + LINES * BYTES / 4, "it levels off: {sizes:?}");
    let kept = store.kept_by_batch().await.unwrap();
    assert_eq!(kept.iter().map(|k| (k.answers, k.bytes)).collect::<Vec<_>>(), [(LINES, LINES * BYTES); 2]);
    assert_eq!(store.kept_answers().await, (2 * LINES, 2 * LINES * BYTES));
}

#[tokio::test]
async fn only_what_is_finished_and_asked_for_goes() {
    let (_dir, store) = ledger().await;
    let (first, second) = (night(&store, 0).await, night(&store, 1).await);
    assert_eq!(store.prune(Some(first), 1_000).await.unwrap().answers, 0, "it finished then, not before");
    assert_eq!(store.redeliver(first).await.unwrap(), (LINES, 0), "it is taken up again");
    assert_eq!(store.prune(None, i64::MAX).await.unwrap().answers, LINES);
    let kept = store.kept_by_batch().await.unwrap();
    assert_eq!(kept.iter().map(|k| k.batch).collect::<Vec<_>>(), [first]);
    assert_eq!(store.prune(Some(second), i64::MAX).await.unwrap(), Pruned::default());
}

#[tokio::test]
async fn a_reader_does_not_hold_pruning_up() {
    let (_dir, store) = ledger().await;
    night(&store, 0).await;
    let mut reader = store.read.view().await.unwrap();
    let seen: i64 = query_scalar("SELECT count(*) FROM answers").fetch_one(&mut reader).await.unwrap();
    store.prune(None, i64::MAX).await.unwrap();
    store.shrink().await.unwrap();
    assert!(store.sizes().await.unwrap().wal > 0, "the log stays as long as it is read");
    let again: i64 = query_scalar("SELECT count(*) FROM answers").fetch_one(&mut reader).await.unwrap();
    assert_eq!((seen, again), (LINES as i64, LINES as i64));
    drop(reader);
    store.shrink().await.unwrap();
    assert_eq!(store.sizes().await.unwrap().wal, 0);
}
