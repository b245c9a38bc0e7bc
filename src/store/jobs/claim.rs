//! Claiming: the right to work on jobs that are due, proved by a fresh token.

use std::{fmt::Write as _, sync::atomic::Ordering};

use crate::store::engine::db::{Asked, Conn, Found, Query, Row, Trip, query, query_scalar};
use crate::store::{Store, StoreError, StoreShared, engine::rows};
use crate::{
    clock::Millis,
    domain::{
        environment::Environment,
        facts::Facts,
        job::{BatchId, JobId, Token},
        pool::{Lane, Pool},
        s3::Listed,
    },
};

/// What a worker pool has room for now.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Only these batches; empty = all open batches of this environment.
    pub batches: Vec<BatchId>,
    /// Only batches of this environment.
    pub environment: Environment,
    /// The room for jobs that need no call.
    pub free: u32,
    /// The room for jobs that need a call, by pool.
    pub calls: Vec<(Pool, u32)>,
    /// Advances with each claim, so that batches take turns.
    pub turn: usize,
    /// Which batches' jobs go first.
    pub order: Order,
}

/// Which batch's lines go first where there are several batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Batches take turns.
    #[default]
    ByTurns,
    /// The batch that was submitted first, as long as one of its jobs is due.
    OldestFirst,
    /// Definitions take turns; within one definition, the batch that was submitted first.
    ByDefinition,
}

impl Default for ClaimRequest {
    /// No jobs, of all open live batches.
    fn default() -> Self {
        Self {
            batches: Vec::new(),
            environment: Environment::Live,
            free: 0,
            calls: Vec::new(),
            turn: 0,
            order: Order::default(),
        }
    }
}

impl ClaimRequest {
    /// The lanes with room, and how much.
    fn lanes(&self) -> impl Iterator<Item = (Lane, u32)> {
        let calls = self.calls.iter().map(|(pool, n)| (Lane::Call(*pool), *n));
        calls.chain([(Lane::Free, self.free)]).filter(|(_, room)| *room > 0)
    }
}

/// A job with its lease.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The job.
    pub job: JobId,
    /// Its batch.
    pub batch: BatchId,
    /// Proof of the lease.
    pub token: Token,
    /// Its key.
    pub key: String,
    /// Which of its line's jobs it is: voice, format, and the language where a line has several texts.
    pub variant: String,
    /// Where its recording is.
    pub source: String,
    /// What a listing said about its recording.
    pub expected: Option<Listed>,
    /// JSON of its options that differ from the batch's.
    pub overrides: Option<String>,
    /// Tries used up by the source.
    pub source_tries: u32,
    /// The user's `retry`s so far.
    pub generation: i64,
    /// The other way in which its recording is tried (`retry --with`), as its task names it.
    pub other_way: Option<String>,
    /// The pool that it was claimed for; none if it was due for something that needs no call.
    pub lane: Option<Pool>,
    /// The known facts about it.
    pub facts: Facts,
    /// Whether its line wants another voice, format or language now. Then it is put back and makes no call.
    pub dropped: bool,
    /// Whether the journal has calls of this generation, or one that is open or answered. If not, it need not be read.
    pub has_calls: bool,
}

impl Store {
    /// The next moment at which a job of these batches (or of any open one) is due for which `want` has room.
    pub async fn next_due(&self, want: &ClaimRequest) -> Result<Option<Millis>, StoreError> {
        let statement = format!(
            r"-- claim::next_due
              SELECT min(due) FROM (
                SELECT (SELECT min(due_at) FROM jobs WHERE batch = b.id AND lane = l.v ->> 0 AND due_at IS NOT NULL) AS due
                FROM batches AS b
                CROSS JOIN rows_of($1) AS l
                WHERE b.state = 'open' AND {WORKABLE} AND b.finished_at IS NULL AND b.environment = $2
                  AND (l.v ->> 0 = 'free' OR $4 = 0 OR {IN_WINDOW}) {}) AS moments",
            among("b.id", &want.batches)
        );
        let lanes: Vec<_> = want.lanes().map(|(lane, _)| [lane]).collect();
        query_scalar(statement.clone())
            .bind(serde_json::json!(lanes).to_string())
            .bind(want.environment)
            .bind(self.now())
            .bind(i64::from(self.shared.enforces_windows()))
            .fetch_one(&self.read)
            .await
    }
}

impl Store {
    /// The pools that unfinished lines wait for.
    pub async fn pools_waited_for(&self, environment: Environment) -> Result<Vec<Pool>, StoreError> {
        // Only the first line of each lane of a batch is read: there may be millions.
        let lanes: Vec<Lane> = query_scalar(
            r"-- claim::pools_waited_for
              WITH RECURSIVE lanes (batch, lane) AS (
                SELECT id, (SELECT min(lane) FROM jobs WHERE batch = batches.id AND due_at IS NOT NULL)
                FROM batches
                WHERE finished_at IS NULL AND environment = $1
                UNION ALL
                SELECT l.batch,
                  (SELECT min(j.lane) FROM jobs AS j WHERE j.batch = l.batch AND j.lane > l.lane AND j.due_at IS NOT NULL)
                FROM lanes AS l
                WHERE l.lane IS NOT NULL)
              SELECT DISTINCT lane FROM lanes WHERE lane IS NOT NULL AND lane <> 'free'",
        )
        .bind(environment)
        .fetch_all(&self.read)
        .await?;
        Ok(lanes.into_iter().filter_map(Lane::pool).collect())
    }
}

/// `AND column IN (…)`, or an empty text for an empty list. The ids are numbers, which need no quotes.
pub(in crate::store) fn among(column: &str, batches: &[BatchId]) -> String {
    if batches.is_empty() {
        return String::new();
    }
    let ids: Vec<String> = batches.iter().map(|b| b.0.to_string()).collect();
    format!("AND {column} IN ({})", ids.join(","))
}

/// Whether the calls of a batch may begin now (`$3`).
pub(in crate::store) const IN_WINDOW: &str = "(window_from IS NULL OR (window_from <= $3 AND $3 < window_until))";

/// Whether the jobs of a batch may be claimed: it is open, or paused and probed; completely submitted; and not cancelled.
pub(in crate::store) const WORKABLE: &str =
    "((state = 'open' OR probing = 1) AND submitting_at IS NULL AND cancelled_at IS NULL)";

/// A batch that has room.
struct Open {
    id: i64,
    definition: String,
    /// Whether none of its jobs was claimed before.
    fresh: bool,
    /// Whether its calls may begin now.
    in_window: bool,
    /// Whether it is paused, and one line of it may pass.
    probing: bool,
    /// That line, if one is chosen.
    chosen: Option<i64>,
    /// Whether it is paused because its sink accepted nothing.
    sink: bool,
    /// How many of its jobs may still be claimed; at most one of a probed batch.
    most: u32,
    /// How many of its jobs are due in each lane that has room, as far as there is room.
    due: Vec<(Lane, u32)>,
}

impl Open {
    /// Takes up to so many due jobs of a lane.
    fn take(&mut self, lane: Lane, most: u32) -> u32 {
        let Some((_, due)) = self.due.iter_mut().find(|(of, _)| *of == lane) else { return 0 };
        let take = most.min(*due).min(self.most);
        *due -= take;
        self.most -= take;
        take
    }
}

/// Jobs of one lane of one batch that are about to be claimed.
struct Taken {
    /// The place of the batch.
    place: usize,
    lane: Lane,
    most: u32,
    token: i64,
}

/// Which batches' jobs may be claimed, and what is due, once it is known.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Look(Asked);

/// The jobs that are about to be claimed.
pub(in crate::store) struct Claim {
    open: Vec<Open>,
    taken: Vec<Taken>,
    rows: Option<Asked>,
}

/// Asks which batches' jobs may be claimed, and how many are due. (In the order of the index: else a server may read all
/// rows, since it takes due jobs to be everywhere.)
pub(in crate::store) fn ask(trip: &mut Trip<'_>, shared: &StoreShared, want: &ClaimRequest, now: Millis) -> Look {
    let lanes: Vec<_> = want.lanes().collect();
    let mut due = String::new();
    for nth in 0..lanes.len() {
        let (lane, room) = (4 + 2 * nth, 5 + 2 * nth);
        let _ = write!(
            due,
            ", CASE WHEN chosen IS NULL
                THEN (SELECT count(*) FROM (
                  SELECT 1 FROM jobs WHERE batch = b.id AND lane = ${lane} AND due_at <= $3
                  ORDER BY due_at LIMIT ${room}) AS d)
                ELSE (SELECT count(*) FROM jobs WHERE id = chosen AND lane = ${lane} AND due_at <= $3) END AS due_{nth}"
        );
    }
    let mut open = query(format!(
        r"-- claim::ask
          SELECT b.* {due}
          FROM (
            SELECT id, definition, started_at IS NULL AS fresh, ($2 = 0 OR {IN_WINDOW}) AS in_window,
              coalesce(pause_kind = 'sink', 1 = 0) AS sink,
              (SELECT id FROM jobs WHERE id = probe_job AND batch = batches.id AND due_at IS NOT NULL) AS chosen,
              CASE WHEN probing = 1 THEN NOT EXISTS (
                SELECT 1 FROM jobs WHERE batch = batches.id AND state = 'running' AND due_at > $3) END AS most
            FROM batches
            WHERE {WORKABLE} AND finished_at IS NULL AND environment = $1 {}) AS b
          ORDER BY id",
        among("id", &want.batches)
    ))
    .bind(want.environment)
    .bind(i64::from(shared.enforces_windows()))
    .bind(now);
    for (lane, room) in lanes {
        open = open.bind(lane).bind(room);
    }
    Look(trip.ask(open))
}

/// Chooses the jobs, and takes the order to claim them along.
pub(in crate::store) fn choose(
    (found, look): (&mut Found, Look),
    trip: &mut Trip<'_>,
    shared: &StoreShared,
    want: &ClaimRequest,
    now: Millis,
) -> Result<Claim, StoreError> {
    let mut open = open(&found.rows(look.0), want)?;
    let taken = share_out(&mut open, want, || shared.next_token());
    let rows = (!taken.is_empty()).then(|| trip.ask(claim_taken(shared, &open, &taken, now)));
    Ok(Claim { open, taken, rows })
}

/// Claims jobs, in two trips.
pub(in crate::store) async fn claim(
    conn: &mut Conn,
    shared: &StoreShared,
    want: &ClaimRequest,
    now: Millis,
) -> Result<Vec<Claimed>, StoreError> {
    let mut trip = Trip::default();
    let look = ask(&mut trip, shared, want, now);
    let mut found = trip.make(conn).await?;
    let mut trip = Trip::default();
    let claim = choose((&mut found, look), &mut trip, shared, want, now)?;
    let mut found = trip.make(conn).await?;
    claim.finish(conn, shared, &mut found, now).await
}

/// How many jobs of which lanes and batches are claimed.
fn share_out(open: &mut [Open], want: &ClaimRequest, mut token: impl FnMut() -> i64) -> Vec<Taken> {
    let mut taken: Vec<Taken> = Vec::new();
    let mut take = |open: &mut [Open], place: usize, lane: Lane, most: u32| {
        let n = open[place].take(lane, most);
        match taken.iter_mut().find(|taken| (taken.place, taken.lane) == (place, lane)) {
            _ if n == 0 => {}
            Some(taken) => taken.most += n,
            None => taken.push(Taken { place, lane, most: n, token: token() }),
        }
        n
    };
    let mut free = want.free;
    // A job whose answer is bought already tests whether a sink accepts files again.
    for place in 0..open.len() {
        if free > 0 && open[place].probing && open[place].sink {
            free -= take(open, place, Lane::Free, 1);
        }
    }
    for (lane, room) in want.lanes() {
        let mut room = if lane == Lane::Free { free } else { room };
        let takers = |b: &Open| b.most > 0 && (lane == Lane::Free || b.in_window);
        let groups = groups(open, want.order, takers);
        // The first round gives every group its fair share, the second what others left.
        let share = room.div_ceil(u32::try_from(groups.len()).unwrap_or(u32::MAX).max(1));
        for limit in if groups.len() <= 1 { vec![room] } else { vec![share, room] } {
            for group in &groups {
                let mut share = limit;
                for place in group {
                    let n = take(open, *place, lane, share.min(room));
                    (room, share) = (room - n, share - n);
                }
            }
        }
    }
    taken
}

/// The order to claim jobs. Each selection has a token of its own, which tells its lane.
fn claim_taken<'q>(shared: &StoreShared, open: &[Open], taken: &[Taken], now: Millis) -> Query<'q> {
    let mut selections = Vec::with_capacity(taken.len());
    for (nth, Taken { place, .. }) in taken.iter().enumerate() {
        let [token, batch, lane, most, chosen] = std::array::from_fn(|at| 4 + 5 * nth + at);
        let which =
            if open[*place].chosen.is_some() { format!("id = ${chosen}") } else { format!("${chosen} IS NULL") };
        selections.push(format!(
            "SELECT id, CAST(${token} AS BIGINT) AS token FROM (
               SELECT id FROM jobs
               WHERE {which} AND batch = ${batch} AND lane = ${lane} AND due_at <= $1
               ORDER BY due_at LIMIT ${most}) AS s{nth}"
        ));
    }
    let mut claim = query(format!(
        r"-- claim::claim_taken
          UPDATE jobs
          SET state = 'running', token = m.token, process = $2, due_at = $3, lane = 'free', waits_for = NULL,
            after = CASE WHEN after IS NOT NULL AND EXISTS (SELECT 1 FROM jobs AS h WHERE h.id = jobs.after AND h.token IS NOT NULL)
              THEN after END,
            started_at = coalesce(started_at, $1)
          FROM ({}) AS m
          WHERE jobs.id = m.id
          RETURNING jobs.id, batch, jobs.token AS token, key, variant, source, source_bytes, source_etag, overrides,
            source_tries, generation, other_way, facts, wanted = 'dropped' AS dropped,
            EXISTS (
              SELECT 1 FROM calls
              WHERE job = jobs.id
                AND (generation = jobs.generation OR state IN ('sent', 'accepted', 'answered'))) AS has_calls",
        selections.join(" UNION ALL ")
    ))
    .bind(now)
    .bind(shared.process.load(Ordering::Acquire))
    .bind(now + shared.timing.lease_ms);
    for Taken { place, lane, most, token } in taken {
        let batch = &open[*place];
        claim = claim.bind(*token).bind(batch.id).bind(*lane).bind(*most).bind(batch.chosen);
    }
    claim
}

impl Claim {
    /// The claimed jobs, and what their batches remember of it.
    pub(in crate::store) async fn finish(
        self,
        conn: &mut Conn,
        shared: &StoreShared,
        found: &mut Found,
        now: Millis,
    ) -> Result<Vec<Claimed>, StoreError> {
        let Some(rows) = self.rows else { return Ok(Vec::new()) };
        let mut claimed = Vec::with_capacity(usize::from(u16::MAX).min(self.taken.len() * 8));
        for row in found.rows(rows) {
            let token: i64 = row.try_get("token")?;
            let at = self.taken.iter().position(|taken| taken.token == token);
            let at = at.ok_or_else(|| StoreError::Unexpected("a job that nobody claims".into()))?;
            claimed.push((at, claimed_job(&row, Token(token), self.taken[at].lane.pool())?));
        }
        claimed.sort_unstable_by_key(|(at, job)| (*at, job.job));
        for batch in self.open.iter().filter(|batch| batch.fresh || batch.probing) {
            let first = claimed.iter().find(|(_, job)| job.batch.0 == batch.id);
            let Some((_, first)) = first else { continue };
            if batch.fresh {
                start(conn, batch.id, now).await?;
            }
            if batch.probing {
                shared.probes.store(true, Ordering::Relaxed);
                // From now on this line is the probe, whichever worker has it and however long its answer takes.
                query("UPDATE batches SET probe_job = $1 WHERE id = $2 AND probing = 1")
                    .bind(first.job)
                    .bind(batch.id)
                    .later(conn)
                    .await?;
            }
        }
        Ok(claimed.into_iter().map(|(_, job)| job).collect())
    }
}

/// The batches whose jobs may be claimed, in the order of their turns.
fn open(rows: &[Row], want: &ClaimRequest) -> Result<Vec<Open>, StoreError> {
    let mut open = Vec::with_capacity(rows.len());
    for row in rows {
        let most: Option<i64> = row.try_get("most")?;
        let mut due = Vec::with_capacity(want.calls.len() + 1);
        for (nth, (lane, _)) in want.lanes().enumerate() {
            due.push((lane, rows::count(row, &format!("due_{nth}"))?));
        }
        open.push(Open {
            id: row.try_get("id")?,
            definition: row.try_get("definition")?,
            fresh: row.try_get("fresh")?,
            in_window: row.try_get("in_window")?,
            probing: most.is_some(),
            chosen: row.try_get("chosen")?,
            sink: row.try_get("sink")?,
            most: most.map_or(u32::MAX, |most| u32::from(most != 0)),
            due,
        });
    }
    if !open.is_empty() && want.order != Order::OldestFirst {
        let turn = want.turn % open.len();
        open.rotate_left(turn);
    }
    Ok(open)
}

/// Indexes of batches that share a turn: the first batch of a group leaves the others what it does not need.
fn groups(open: &[Open], order: Order, takers: impl Fn(&Open) -> bool) -> Vec<Vec<usize>> {
    let places = open.iter().enumerate().filter(|(_, batch)| takers(batch)).map(|(place, _)| place);
    match order {
        Order::ByTurns => places.map(|place| vec![place]).collect(),
        Order::OldestFirst => vec![places.collect()],
        Order::ByDefinition => {
            let mut groups: Vec<Vec<usize>> = Vec::new();
            for place in places {
                match groups.iter_mut().find(|group| open[group[0]].definition == open[place].definition) {
                    Some(group) => group.push(place),
                    None => groups.push(vec![place]),
                }
            }
            groups.iter_mut().for_each(|group| group.sort_unstable_by_key(|place| open[*place].id));
            groups
        }
    }
}

async fn start(conn: &mut Conn, batch: i64, now: Millis) -> Result<(), StoreError> {
    query("UPDATE batches SET started_at = $1 WHERE id = $2 AND started_at IS NULL")
        .bind(now)
        .bind(batch)
        .later(conn)
        .await
}

fn claimed_job(row: &Row, token: Token, lane: Option<Pool>) -> Result<Claimed, StoreError> {
    Ok(Claimed {
        job: row.try_get("id")?,
        batch: row.try_get("batch")?,
        token,
        key: row.try_get("key")?,
        variant: row.try_get("variant")?,
        source: row.try_get::<Option<String>, _>("source")?.unwrap_or_default(),
        expected: expected(row)?,
        overrides: row.try_get("overrides")?,
        source_tries: rows::count(row, "source_tries")?,
        generation: row.try_get("generation")?,
        other_way: row.try_get("other_way")?,
        lane,
        facts: Facts::from_json(row.text_if_any("facts")?),
        dropped: row.try_get("dropped")?,
        has_calls: row.try_get("has_calls")?,
    })
}

fn expected(row: &Row) -> Result<Option<Listed>, StoreError> {
    let etag: Option<String> = row.try_get("source_etag")?;
    let bytes: Option<i64> = row.try_get("source_bytes")?;
    Ok(etag.zip(bytes).map(|(etag, bytes)| Listed { bytes: u64::try_from(bytes).unwrap_or(0), etag }))
}
