//! Which lines of a batch are still wanted after its manifest was read again.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::json;

use crate::domain::job::{BatchId, Wanted};
use crate::store::engine::db::{Conn, query, query_as, query_scalar};
use crate::store::{Begun, Store, StoreError, batches::control, jobs::deliveries};

/// How many lines one transaction handles: other processes wait for the lock meanwhile.
const LINES_AT_ONCE: i64 = 4_000;

/// The lines that were read from a manifest, as hashes of 64 bits.
#[derive(Debug, Clone, Default)]
pub struct ReadLines {
    keys: HashSet<u64>,
    jobs: HashSet<u64>,
    /// Whether no line was skipped. Otherwise a line that was not read may still be in the manifest.
    pub whole: bool,
}

/// The effects of reading a manifest again on the lines already there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WantedChanges {
    /// Lines that are no longer in the manifest.
    pub gone: u64,
    /// Jobs in voices, formats or languages that are no longer wanted.
    pub dropped: u64,
    /// Jobs that are wanted again and are delivered again.
    pub redelivered: u64,
    /// Jobs that should be delivered again, but whose answers are pruned.
    pub pruned: u64,
}

/// The hashes of a line that was read: of its key, and of key and variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineHash(u64, u64);

impl LineHash {
    /// The hashes of a job with this key and variant.
    #[must_use]
    pub fn of(key: &str, variant: &str) -> Self {
        let hash = |of: &dyn Fn(&mut DefaultHasher)| {
            let mut hasher = DefaultHasher::new();
            of(&mut hasher);
            hasher.finish()
        };
        Self(hash(&|hasher| key.hash(hasher)), hash(&|hasher| (key, variant).hash(hasher)))
    }
}

impl ReadLines {
    /// Adds a line that was read.
    pub fn add(&mut self, line: LineHash) {
        self.keys.insert(line.0);
        self.jobs.insert(line.1);
    }

    /// Whether a line is wanted by this reading, given what it was before.
    fn judge(&self, line: LineHash, before: Wanted) -> Wanted {
        if self.jobs.contains(&line.1) {
            Wanted::Yes
        } else if self.keys.contains(&line.0) {
            Wanted::Dropped
        } else if self.whole && before == Wanted::Yes {
            Wanted::Gone
        } else {
            before
        }
    }
}

impl Store {
    /// Every line was read and submitted: lines that were not among them are gone or dropped; those that are wanted again
    /// become due for what they lack. It runs in steps, before [`Store::end_submit`].
    pub async fn note_reading(&self, begun: Begun, reading: &ReadLines) -> Result<WantedChanges, StoreError> {
        let mut done = WantedChanges::default();
        let (before, all) = self.wanted_now(begun.batch).await?;
        if all == before && before == u64::try_from(reading.jobs.len()).unwrap_or(u64::MAX) {
            return Ok(done);
        }
        let mut after = 0_i64;
        loop {
            let lines = query(
                r"-- wanted::note_reading
                  SELECT id, key, variant, wanted
                  FROM jobs
                  WHERE batch = $1 AND id > $2 AND state <> 'superseded' AND error_kind IS DISTINCT FROM 'bad_line' AND forget IS NULL
                  ORDER BY id
                  LIMIT $3",
            )
            .bind(begun.batch)
            .bind(after)
            .bind(LINES_AT_ONCE)
            .fetch_all(&self.read)
            .await?;
            let Some(last) = lines.last() else { break };
            after = last.try_get("id")?;
            let mut changes = Vec::new();
            for line in &lines {
                let before: Wanted = line.try_get("wanted")?;
                let mark = LineHash::of(line.text("key")?, line.text("variant")?);
                let now = reading.judge(mark, before);
                if now != before {
                    changes.push((line.try_get::<i64, _>("id")?, before, now));
                }
            }
            if changes.is_empty() {
                continue;
            }
            let step = self
                .write(move |conn, now| {
                    let changes = changes.clone();
                    Box::pin(async move { change(conn, begun.batch, &changes, now).await })
                })
                .await?;
            done.redelivered += step.0;
            done.pruned += step.1;
        }
        let counts: Vec<(Wanted, i64)> = query_as(
            r"-- wanted::note_reading
              SELECT wanted, count(*)
              FROM jobs
              WHERE batch = $1 AND wanted <> 'yes' AND state <> 'superseded'
              GROUP BY wanted",
        )
        .bind(begun.batch)
        .fetch_all(&self.read)
        .await?;
        let counts: HashMap<Wanted, i64> = counts.into_iter().collect();
        let of = |wanted| counts.get(&wanted).and_then(|n| u64::try_from(*n).ok()).unwrap_or(0);
        (done.gone, done.dropped) = (of(Wanted::Gone), of(Wanted::Dropped));
        Ok(done)
    }

    /// How many good jobs of a batch are wanted, and how many there are.
    async fn wanted_now(&self, batch: BatchId) -> Result<(u64, u64), StoreError> {
        let (wanted, all): (i64, i64) = query_as(
            r"-- wanted::wanted_now
              SELECT count(*) FILTER (WHERE wanted = 'yes'), count(*)
              FROM jobs
              WHERE batch = $1 AND state <> 'superseded' AND error_kind IS DISTINCT FROM 'bad_line' AND forget IS NULL",
        )
        .bind(batch)
        .fetch_one(&self.read)
        .await?;
        Ok((u64::try_from(wanted).unwrap_or(0), u64::try_from(all).unwrap_or(0)))
    }
}

/// Changes what jobs are. Returns how many are delivered again, and how many answers are pruned.
pub(super) async fn change(
    conn: &mut Conn,
    batch: BatchId,
    changes: &[(i64, Wanted, Wanted)],
    now: i64,
) -> Result<(u64, u64), StoreError> {
    note(conn, &changes.iter().map(|(job, _, now)| (*job, *now)).collect::<Vec<_>>()).await?;
    let ids = |which: &dyn Fn(&(i64, Wanted, Wanted)) -> bool| {
        json!(changes.iter().filter(|change| which(change)).map(|(job, ..)| [job]).collect::<Vec<_>>()).to_string()
    };
    let again = ids(&|(_, before, now)| *before == Wanted::Dropped && *now == Wanted::Yes);
    let due = query(
        r"-- wanted::change
            UPDATE jobs
            SET due_at = $2
            WHERE id IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r) AND state = 'queued'",
    )
    .bind(&again)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    let done = deliveries::redeliver(conn, &again, now).await?;
    if done.0 + due.rows_affected() > 0 {
        control::unfinish(conn, batch).await?;
    }
    Ok(done)
}

/// Records what lines are now. Each change takes the ledger's next number. A waiting job has a due time only while it is
/// wanted; a running job keeps its lease, and its worker puts it back.
pub(in crate::store) async fn note(conn: &mut Conn, changes: &[(i64, Wanted)]) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let n = i64::try_from(changes.len()).unwrap_or(i64::MAX);
    let last: i64 =
        query_scalar("UPDATE ledger SET seq = seq + $1 RETURNING seq").bind(n).fetch_one(&mut *conn).await?;
    let set: Vec<_> =
        changes.iter().zip(last - n + 1..).map(|((job, wanted), seq)| json!([job, wanted, seq])).collect();
    query(r"-- wanted::note
          UPDATE jobs
          SET wanted = r.v ->> 1, seq = CAST(r.v ->> 2 AS BIGINT),
            due_at = CASE WHEN state <> 'queued' THEN due_at WHEN r.v ->> 1 = 'dropped' THEN NULL ELSE coalesce(due_at, 0) END
          FROM rows_of($1) AS r
          WHERE jobs.id = CAST(r.v ->> 0 AS BIGINT)")
    .bind(json!(set).to_string())
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_gone_only_after_a_whole_reading_and_a_voice_is_dropped_with_its_line_there() {
        let mut reading = ReadLines { whole: true, ..ReadLines::default() };
        reading.add(LineHash::of("a", "magnus.wav"));
        let judge = |reading: &ReadLines, key, variant, before| reading.judge(LineHash::of(key, variant), before);
        use Wanted::{Dropped, Gone, Yes};
        assert_eq!(judge(&reading, "a", "magnus.wav", Dropped), Yes);
        assert_eq!(judge(&reading, "a", "avery.wav", Yes), Dropped);
        assert_eq!(judge(&reading, "b", "magnus.wav", Yes), Gone);
        assert_eq!(judge(&reading, "b", "avery.wav", Dropped), Dropped);
        assert_eq!(judge(&reading, "a", "avery.wav", Gone), Dropped);
        reading.whole = false;
        assert_eq!(judge(&reading, "b", "magnus.wav", Yes), Yes);
        assert_eq!(judge(&reading, "b", "magnus.wav", Gone), Gone);
        assert_eq!(judge(&reading, "a", "avery.wav", Yes), Dropped);
    }
}
