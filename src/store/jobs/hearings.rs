//! What was heard in the recordings of jobs, and what is sent of each: both are kept before the first call of a job.

use serde_json::json;

use crate::domain::{
    identity::ContentHash,
    job::{JobId, Token},
};
use crate::store::engine::db::{Conn, query, query_as, query_scalar};
use crate::store::{Store, StoreError};

/// What is sent of a recording in one call, as it was planned before the job's first call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenPart {
    /// Which part.
    pub part: i64,
    /// Its length in ms.
    pub units: u64,
    /// Whether it needs no call.
    pub is_skipped: bool,
    /// What is sent, in the JSON of its task.
    pub plan: String,
}

impl Store {
    /// What was heard in the recording of a job, in this version's form.
    pub async fn hearing(&self, job: JobId, version: u32) -> Result<Option<Vec<u8>>, StoreError> {
        query_scalar("SELECT body FROM hearings WHERE job = $1 AND version = $2")
            .bind(job)
            .bind(i64::from(version))
            .fetch_optional(&self.read)
            .await
    }

    /// The same in a recording with this content, whichever job it was heard for.
    pub async fn hearing_of(&self, content: ContentHash, version: u32) -> Result<Option<Vec<u8>>, StoreError> {
        query_scalar("SELECT body FROM hearings WHERE content = $1 AND version = $2 LIMIT 1")
            .bind(content.0.to_vec())
            .bind(i64::from(version))
            .fetch_optional(&self.read)
            .await
    }

    /// Keeps what was heard for a claimed job, in place of what was kept before. `false`: the lease was lost.
    pub async fn keep_hearing(
        &self,
        (job, token): (JobId, Token),
        content: ContentHash,
        (version, body): (u32, Vec<u8>),
    ) -> Result<bool, StoreError> {
        self.write(move |conn, _| {
            let body = body.clone();
            Box::pin(async move {
                let kept = query(
                    r"-- hearings::keep_hearing
                      INSERT INTO hearings (job, content, version, body)
                      SELECT id, $3, $4, $5
                      FROM jobs
                      WHERE id = $1 AND token = $2 AND state = 'running'
                      ON CONFLICT (job) DO UPDATE
                      SET content = excluded.content, version = excluded.version, body = excluded.body",
                )
                .bind(job)
                .bind(token)
                .bind(content.0.to_vec())
                .bind(i64::from(version))
                .bind(body)
                .execute(conn)
                .await?;
                Ok(kept.rows_affected() > 0)
            })
        })
        .await
    }

    /// The plan of a job's recording, in the order of its parts; empty before it was made.
    pub async fn frozen_parts(&self, job: JobId) -> Result<Vec<FrozenPart>, StoreError> {
        let rows: Vec<(i64, Option<i64>, bool, String)> = query_as(
            r"-- hearings::frozen_parts
              SELECT part, units, reused = 1, plan
              FROM job_parts
              WHERE job = $1 AND plan IS NOT NULL
              ORDER BY part",
        )
        .bind(job)
        .fetch_all(&self.read)
        .await?;
        let of_row = |(part, units, is_skipped, plan): (i64, Option<i64>, bool, String)| {
            let units = units.and_then(|units| u64::try_from(units).ok()).unwrap_or_default();
            FrozenPart { part, units, is_skipped, plan }
        };
        Ok(rows.into_iter().map(of_row).collect())
    }

    /// Freezes a plan of a claimed job's recording, whose parts have numbers from `from` on. A plan that stands already with such
    /// numbers is not changed, and neither are parts whose calls were made without one: whoever goes on reads what stands. `false`:
    /// the lease was lost.
    pub async fn freeze_parts(
        &self,
        (job, token): (JobId, Token),
        parts: &[FrozenPart],
        from: i64,
    ) -> Result<bool, StoreError> {
        let row = |part: &FrozenPart| json!([part.part, part.units, u8::from(part.is_skipped), part.plan]);
        let set = json!(parts.iter().map(row).collect::<Vec<_>>()).to_string();
        self.write(move |conn, _| {
            let set = set.clone();
            Box::pin(async move { freeze(conn, (job, token), &set, from).await })
        })
        .await
    }
}

async fn freeze(conn: &mut Conn, (job, token): (JobId, Token), set: &str, from: i64) -> Result<bool, StoreError> {
    let sql = r"-- hearings::freeze
            SELECT EXISTS (SELECT 1 FROM jobs WHERE id = $1 AND token = $2 AND state = 'running')";
    let is_mine: bool = query_scalar(sql).bind(job).bind(token).fetch_one(&mut *conn).await?;
    if is_mine {
        query(
            r"-- hearings::freeze
              INSERT INTO job_parts (job, part, units, reused, plan)
              SELECT $2, CAST(v ->> 0 AS BIGINT), CAST(v ->> 1 AS BIGINT), CAST(v ->> 2 AS BIGINT), v ->> 3
              FROM rows_of($1) AS r
              WHERE NOT EXISTS (SELECT 1 FROM job_parts AS p WHERE p.job = $2 AND p.part >= $3 AND p.plan IS NOT NULL)
              ON CONFLICT (job, part) DO NOTHING",
        )
        .bind(set)
        .bind(job)
        .bind(from)
        .execute(conn)
        .await?;
    }
    Ok(is_mine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::job::BatchId,
        store::{
            Claimed,
            tests::{Ledger, batch, claim, ledger},
        },
    };

    fn part(part: i64, plan: &str) -> FrozenPart {
        FrozenPart { part, units: 60_000, is_skipped: false, plan: plan.into() }
    }

    async fn claimed() -> (Ledger, BatchId, Claimed) {
        let l = ledger().await;
        let b = l.submit(batch("b"), 2).await;
        let job = claim(&l.store, 1).await.remove(0);
        (l, b, job)
    }

    #[tokio::test]
    async fn a_plan_is_frozen_once() {
        let (l, _, job) = claimed().await;
        let mine = (job.job, job.token);
        let first = [part(0, r#"{"channel":1}"#), part(1, r#"{"channel":2}"#)];
        assert!(l.store.freeze_parts(mine, &first, 0).await.unwrap());
        assert!(l.store.freeze_parts(mine, &[part(0, "{}"), part(2, "{}")], 0).await.unwrap(), "the lease holds");
        assert_eq!(l.store.frozen_parts(job.job).await.unwrap(), first, "and what stands is not changed");
        assert!(!l.store.freeze_parts((job.job, Token(job.token.0 + 1)), &first, 0).await.unwrap());
        let next = [part(100, "{}"), part(101, "{}")];
        assert!(l.store.freeze_parts(mine, &next, 100).await.unwrap());
        assert!(l.store.freeze_parts(mine, &[part(102, "{}")], 100).await.unwrap());
        assert_eq!(
            l.store.frozen_parts(job.job).await.unwrap(),
            [first, next].concat(),
            "a later plan stands beside it"
        );
    }

    #[tokio::test]
    async fn a_recording_is_heard_once() {
        let (l, _, job) = claimed().await;
        let (mine, content) = ((job.job, job.token), ContentHash([7; 32]));
        assert_eq!(l.store.hearing(job.job, 1).await.unwrap(), None);
        for body in [vec![1, 2], vec![3]] {
            assert!(l.store.keep_hearing(mine, content, (1, body.clone())).await.unwrap());
            assert_eq!(l.store.hearing(job.job, 1).await.unwrap(), Some(body.clone()));
            assert_eq!(l.store.hearing_of(content, 1).await.unwrap(), Some(body));
        }
        assert_eq!(l.store.hearing(job.job, 2).await.unwrap(), None, "a newer form is made again");
        assert_eq!(l.store.hearing_of(ContentHash([8; 32]), 1).await.unwrap(), None);
        let lost = (job.job, Token(job.token.0 + 1));
        assert!(!l.store.keep_hearing(lost, content, (1, vec![9])).await.unwrap());
        assert_eq!(l.store.hearing(job.job, 1).await.unwrap(), Some(vec![3]));
    }

    crate::store::harness::on_postgres_too! {
        a_plan_is_frozen_once,
        a_recording_is_heard_once,
    }
}
