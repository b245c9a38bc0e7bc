//! Statements whose query plan must not depend on estimates: each reads a few rows of one index, where another index
//! would make it read all rows of a batch or an account.

use crate::domain::job::BatchId;
use crate::store::engine::db::query_as;
use crate::store::{
    batches::control::AWAITED_CALLS, calls::fence, calls::spend_limits::IS_IN_FLIGHT, queries::vitals, tests::ledger,
};

#[tokio::test]
async fn few_rows_are_found_by_the_index_of_the_few() {
    let l = ledger().await;
    let batches = fence::batches_of(&[BatchId(1), BatchId(2)]);
    for (statement, index) in [
        (vitals::UNFINISHED_JOBS, "COVERING INDEX jobs_by_state"),
        (vitals::OPEN_CALLS, "SCAN c USING INDEX calls_open"),
        (IS_IN_FLIGHT, "SCAN calls USING INDEX calls_by_slot"),
        (batches.as_str(), "SCAN calls USING INDEX calls_by_slot"),
        (AWAITED_CALLS, "SCAN calls USING INDEX calls_open"),
    ] {
        let explained = format!("EXPLAIN QUERY PLAN {statement}");
        let rows: Vec<(i64, i64, i64, String)> = query_as(explained).fetch_all(&l.store.read).await.unwrap();
        let plan: Vec<_> = rows.into_iter().map(|(.., step)| step).collect();
        assert!(plan.iter().any(|step| step.contains(index)), "{statement}\n{plan:#?}");
    }
}
