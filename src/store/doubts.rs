//! Parts that make a job suspect: what its `retry` buys.

use std::collections::HashSet;

use serde_json::json;
use sqlx::SqliteConnection;

use super::{
    StoreError,
    control::Again,
    settle::{Settlement, To},
};

/// What a `retry` of a suspect job will buy.
pub(super) async fn note(
    conn: &mut SqliteConnection,
    settlements: &[&Settlement],
    done: &HashSet<i64>,
) -> Result<(), StoreError> {
    let mut set = Vec::new();
    for s in settlements.iter().filter(|s| done.contains(&s.job.0)) {
        if let To::Finished(finish) = &s.to {
            set.extend(finish.doubtful.iter().map(|(part, characters)| json!([s.job.0, part, characters])));
        }
    }
    if set.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT OR REPLACE INTO doubtful (job, part, characters) SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)",
    )
    .bind(serde_json::Value::from(set).to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// Of jobs that are suspect because of some of their parts, only these are set aside: a row for each.
pub(super) async fn parts(conn: &mut SqliteConnection, jobs: &[Again]) -> Result<Vec<Again>, StoreError> {
    Ok(sqlx::query_as(
        "SELECT e.value ->> 0, e.value ->> 1, coalesce(d.part, e.value ->> 2) FROM json_each(?) e JOIN jobs j ON j.id = e.value ->> 0 \
         LEFT JOIN doubtful d ON d.job = j.id AND j.state = 'suspect' AND e.value ->> 2 = -1",
    )
    .bind(json!(jobs).to_string())
    .fetch_all(conn)
    .await?)
}
