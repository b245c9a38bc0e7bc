//! The heartbeat: it renews the leases and slots of a live process, and repairs stamps after the wall clock was set back.

use crate::clock::Millis;
use crate::store::engine::db::{Conn, Engine, Trip, query, query_scalar};
use crate::store::engine::{schema, sessions};
use crate::store::{Moment, Store, StoreError, StoreShared, calls::fence::age, calls::spend_limits};

/// A clock this far behind the newest stamp was set back.
const CLOCK_SLACK_MS: i64 = 2_000;

impl Store {
    /// Checks whether the wall clock was set back since the last write, even while no process ran. If so, stamps in its
    /// future are pulled back. Records the current time. For processes that have no heartbeat.
    ///
    /// # Errors
    /// Also where a newer program migrated the ledger, or it was copied elsewhere.
    pub async fn watch_clock(&self) -> Result<(), StoreError> {
        self.watch_schema().await?;
        let newest: Millis = query_scalar("SELECT newest_at FROM ledger").fetch_one(&self.read).await?;
        let ahead = self.now() - newest;
        if (-CLOCK_SLACK_MS..self.timing().beat_ms).contains(&ahead) {
            return Ok(());
        }
        let lease_ms = self.timing().lease_ms;
        self.write(move |conn, now| Box::pin(watch_clock(conn, lease_ms, now))).await
    }
}

/// The same inside a running transaction.
pub(in crate::store) async fn watch_clock(conn: &mut Conn, lease_ms: i64, now: Millis) -> Result<(), StoreError> {
    let newest = query_scalar(NEWEST).fetch_one(&mut *conn).await?;
    keep_clock(conn, newest, lease_ms, now).await
}

/// The newest stamp.
const NEWEST: &str = "SELECT newest_at FROM ledger";

async fn keep_clock(conn: &mut Conn, newest: Millis, lease_ms: i64, now: Millis) -> Result<(), StoreError> {
    if now < newest - CLOCK_SLACK_MS {
        shift_future_stamps(conn, newest, lease_ms, now).await?;
    } else if now > newest {
        query("UPDATE ledger SET newest_at = $1").bind(now).later(conn).await?;
    }
    Ok(())
}

/// A heartbeat that was written.
pub(in crate::store) struct Beaten {
    /// When, by the machine's own clock.
    pub(in crate::store) boot: Millis,
    /// Others took this process for dead: its number from now on.
    pub(in crate::store) enlisted_anew: Option<i64>,
}

pub(in crate::store) async fn beat(
    conn: &mut Conn,
    shared: &StoreShared,
    process: i64,
    now: &Moment,
) -> Result<Beaten, StoreError> {
    let Moment { wall, boot, boot_id } = *now;
    let mut trip = Trip::default();
    let (standing, newest) = (trip.ask(schema::standing()), trip.ask(query(NEWEST)));
    let beat = query("UPDATE processes SET beat_at = $1 WHERE id = $2 RETURNING id").bind(wall).bind(process);
    let beat = trip.ask(beat);
    let mut found = trip.make(conn).await?;
    shared.outgrown.note(&found.one(standing)?)?;
    keep_clock(conn, found.one(newest)?.try_get(0_usize)?, shared.timing.lease_ms, wall).await?;
    if found.rows(beat).is_empty() && conn.engine() == Engine::Postgres {
        shared.outgrown.refuse_copied()?;
        // Its leases are not its own any more: nothing of them is renewed.
        let anew = sessions::enlist_anew(conn, shared, wall).await?;
        return Ok(Beaten { boot, enlisted_anew: Some(anew) });
    }
    let until = wall + shared.timing.lease_ms;
    for statement in [
        "UPDATE jobs SET due_at = $1 WHERE process = $2 AND state = 'running'",
        // The successor of a superseded job waits as long as a worker has that job.
        r"-- beat::beat
          UPDATE jobs SET due_at = $1
          WHERE state = 'queued' AND due_at IS NOT NULL
            AND after IN (SELECT id FROM jobs WHERE process = $2 AND state = 'superseded')",
    ] {
        query(statement).bind(until).bind(process).later(conn).await?;
    }
    query(concat!(
        r"-- beat::beat: a call that should have ended long ago is not on the wire any more.
          UPDATE calls
          SET slot_until = $1
          WHERE slot_until > 0 AND process = $2 AND ",
        age!("$3", "$4", "$5"),
        " < timeout_ms + $6"
    ))
    .bind(until)
    .bind(process)
    .bind(wall)
    .bind(boot)
    .bind(boot_id)
    .bind(shared.timing.lease_ms)
    .later(conn)
    .await?;
    Ok(Beaten { boot, enlisted_anew: None })
}

/// Marks the outcome of a dead process's calls as unknown from now on. The vendor may still work on them, so each keeps
/// its slot for as long as that may take.
pub(in crate::store) async fn orphan_calls(conn: &mut Conn, process: i64, now: Millis) -> Result<(), StoreError> {
    query(
        r"-- beat::orphan_calls
          UPDATE calls
          SET process = NULL, unknown_at = coalesce(unknown_at, $1),
            slot_until = CASE WHEN slot_until > 0 THEN $1 + grace_ms ELSE slot_until END
          WHERE slot_until IS NOT NULL AND process = $2",
    )
    .bind(now)
    .bind(process)
    .execute(conn)
    .await?;
    Ok(())
}

/// Pulls back every stamp of a clock that was ahead, by the time between the newest stamp and now. So the stamps keep
/// their order and their age. A due time comes a little early rather than hours late.
async fn shift_future_stamps(conn: &mut Conn, newest: Millis, lease_ms: i64, now: Millis) -> Result<(), StoreError> {
    let ahead = newest - now;
    tracing::warn!(ahead_ms = ahead, "the system clock was set back; stamps that lie in its future are pulled back");
    for statement in [
        // The clock that stamped the call also set the due time of its answer.
        "UPDATE jobs SET due_at = :pulled(due_at)
         WHERE state = 'awaiting' AND due_at > :now
           AND id IN (SELECT job FROM calls WHERE sent_at > :now AND state IN ('sent', 'accepted'))",
        "UPDATE calls SET overdue_at = overdue_at - :ahead WHERE overdue_at > :now AND sent_at > :now",
        "UPDATE calls SET unknown_at = :now WHERE unknown_at > :now",
        "UPDATE calls SET ended_at = :now WHERE ended_at > :now",
        "UPDATE calls SET slot_until = :pulled(slot_until) WHERE slot_until > :now + :lease",
        "UPDATE calls SET sent_at = :earlier(sent_at) WHERE sent_at > :now",
        "UPDATE jobs SET due_at = :pulled(due_at) WHERE due_at IS NOT NULL AND due_at > :now AND state = 'queued'",
        "UPDATE jobs SET due_at = :now + :lease WHERE due_at IS NOT NULL AND due_at > :now + :lease AND state = 'running'",
        "UPDATE pools SET cooldown_until = :pulled(cooldown_until) WHERE cooldown_until > :now",
        "UPDATE pools SET probe_at = :now WHERE probe_at > :now",
        "UPDATE pools SET stepped_at = :now WHERE stepped_at > :now",
        "UPDATE pools SET storm_since = :now WHERE storm_since > :now",
        "UPDATE pools SET round_since = :now WHERE round_since > :now",
        "UPDATE pools SET limited_at = :now WHERE limited_at > :now",
        "UPDATE pools SET only_limited_since = :now WHERE only_limited_since > :now",
        "UPDATE pools SET outage_since = :now WHERE outage_since > :now",
        "UPDATE notices SET due_at = :pulled(due_at) WHERE due_at > :now",
        "UPDATE notices SET failing_since = :now WHERE failing_since > :now",
        "UPDATE schedules SET settled_to = :now WHERE settled_to > :now",
        "UPDATE schedule_nodes SET seen_at = :now WHERE seen_at > :now",
        "UPDATE runs SET due_at = :pulled(due_at) WHERE due_at > :now",
        "UPDATE batches SET paused_at = :now WHERE paused_at > :now",
        "UPDATE batches SET probed_at = :now WHERE probed_at > :now",
        "UPDATE batches SET resumed_at = :now WHERE resumed_at > :now",
        "UPDATE batches SET submitting_at = :now WHERE submitting_at > :now",
        "UPDATE batches SET finished_at = :now WHERE finished_at > :now",
        "UPDATE processes SET beat_at = :now WHERE beat_at > :now",
        "UPDATE ledger SET newest_at = :now",
    ] {
        let statement = pulling(statement)
            .replace(":now", &now.to_string())
            .replace(":ahead", &ahead.to_string())
            .replace(":lease", &lease_ms.to_string());
        query(statement.clone()).execute(&mut *conn).await?;
    }
    spend_limits::sum_up(conn).await
}

/// `:pulled(x)` stands for x, pulled back, but not further than to now; `:earlier(x)` for x, pulled back at least to now.
fn pulling(statement: &str) -> String {
    for (name, keeps) in [(":pulled(", '>'), (":earlier(", '<')] {
        if let Some((before, rest)) = statement.split_once(name) {
            let (column, after) = rest.split_once(')').expect("the bracket is closed");
            return format!(
                "{before}CASE WHEN {column} - :ahead {keeps} :now THEN {column} - :ahead ELSE :now END{after}"
            );
        }
    }
    statement.to_owned()
}
