//! Scrubbing: the content of marked lines leaves their rows, and what is outside the rows is noted, in one transaction.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{ForgetId, id_rows, items::clips_sql};
use crate::store::StoreError;
use crate::store::engine::db::{Conn, query, query_as, query_scalar};
use crate::{
    clock::Millis,
    domain::{
        facts::Facts,
        forget::{ForgetSpec, ForgottenKind, ForgottenOutputs, ForgottenState, hashed_key, is_hashed},
        hex::hex,
        identity::Identity,
        row::Note,
    },
};

/// How many jobs one transaction scrubs: other processes wait meanwhile.
const JOBS_AT_ONCE: i64 = 100;
/// How many bytes of answers one transaction removes, if more than one: their pages must be read to be freed.
const BYTES_AT_ONCE: i64 = 2_000_000;

/// A job as it stands before.
struct Before {
    id: i64,
    key: String,
    kind: String,
    is_bad_line: bool,
    outputs: Option<String>,
    notes: Option<String>,
    facts: Option<String>,
    text: Option<Vec<u8>>,
}

/// Something to be noted.
struct Found {
    job: i64,
    kind: ForgottenKind,
    place: String,
    checksum: Option<String>,
    bytes: Option<i64>,
    state: ForgottenState,
    why: Option<&'static str>,
}

impl Found {
    fn of(job: i64, kind: ForgottenKind, place: impl Into<String>, state: ForgottenState) -> Self {
        Self { job, kind, place: place.into(), checksum: None, bytes: None, state, why: None }
    }
}

/// Scrubs some marked jobs. Returns how many; 0: none is left.
pub(super) async fn scrub_some(
    conn: &mut Conn,
    (forget, spec, salt): (ForgetId, &ForgetSpec, &str),
    now: Millis,
) -> Result<u64, StoreError> {
    let jobs = next_jobs(conn, forget).await?;
    if jobs.is_empty() {
        return Ok(0);
    }
    let set = id_rows(jobs.iter().map(|job| job.id));
    let mut found: Vec<Found> = Vec::new();
    found.extend(bodies(conn, &set).await?);
    match spec.outputs {
        ForgottenOutputs::Remove => found.extend(outputs(conn, &jobs, &set).await?),
        ForgottenOutputs::Leave => drop(outputs(conn, &jobs, &set).await?),
        ForgottenOutputs::Later => {}
    }
    found.extend(clips(conn, &set).await?);
    found.extend(vendor_entries(conn, &jobs, spec, &set).await?);
    found.extend(jobs.iter().map(|job| Found::of(job.id, ForgottenKind::Row, "jobs", ForgottenState::Removed)));
    empty_calls(conn, &set).await?;
    empty_jobs(conn, &jobs, (spec, salt, &set), now).await?;
    found.extend(texts(conn, &jobs).await?);
    note(conn, forget, &found, now).await?;
    Ok(jobs.len() as u64)
}

async fn next_jobs(conn: &mut Conn, forget: ForgetId) -> Result<Vec<Before>, StoreError> {
    let rows = query(
        r"-- scrub::next_jobs
          SELECT j.id, j.key, j.kind, coalesce(j.error_kind = 'bad_line', 1 = 0) AS bad, j.outputs, j.notes, j.facts, j.text,
            (SELECT CAST(coalesce(sum(length(a.body)), 0) AS BIGINT) FROM calls AS c JOIN answers AS a ON a.call = c.id
             WHERE c.job = j.id) AS size
          FROM jobs AS j
          WHERE j.forget = $1 AND j.forgotten_at IS NULL
          ORDER BY j.id
          LIMIT $2",
    )
    .bind(forget.0)
    .bind(JOBS_AT_ONCE)
    .fetch_all(conn)
    .await?;
    let (mut jobs, mut bytes) = (Vec::with_capacity(rows.len()), 0);
    for row in &rows {
        bytes += row.try_get::<i64, _>("size")?;
        if bytes > BYTES_AT_ONCE && !jobs.is_empty() {
            break;
        }
        jobs.push(Before {
            id: row.try_get("id")?,
            key: row.try_get("key")?,
            kind: row.try_get("kind")?,
            is_bad_line: row.try_get("bad")?,
            outputs: row.try_get("outputs")?,
            notes: row.try_get("notes")?,
            facts: row.try_get("facts")?,
            text: row.try_get("text")?,
        });
    }
    Ok(jobs)
}

/// Removes answers and what was posted.
async fn bodies(conn: &mut Conn, set: &str) -> Result<Vec<Found>, StoreError> {
    let mut found = Vec::new();
    for (kind, table) in [(ForgottenKind::Answer, "answers"), (ForgottenKind::Callback, "callbacks")] {
        let kept: Vec<(i64, Option<Vec<u8>>)> = query_as(format!(
            r"-- scrub::bodies
              SELECT c.job, a.body
              FROM rows_of($1) AS r
              JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT)
              JOIN {table} AS a ON a.call = c.id"
        ))
        .bind(set)
        .fetch_all(&mut *conn)
        .await?;
        query(format!(
            r"-- scrub::bodies
              DELETE FROM {table}
              WHERE call IN (SELECT c.id FROM rows_of($1) AS r JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT))"
        ))
        .bind(set)
        .execute(&mut *conn)
        .await?;
        // What was posted without a body that is kept has nothing to tell.
        found.extend(kept.into_iter().filter_map(|(job, body)| {
            let body = body?;
            let bytes = i64::try_from(body.len()).ok();
            let checksum = Some(hex(&Sha256::digest(&body)));
            Some(Found { checksum, bytes, ..Found::of(job, kind, table, ForgottenState::Removed) })
        }));
    }
    Ok(found)
}

/// Gives up the files of the output. A line that had them before the batch existed has no row for them.
async fn outputs(conn: &mut Conn, jobs: &[Before], set: &str) -> Result<Vec<Found>, StoreError> {
    let owned: Vec<(i64, String, Option<String>)> = query_as(
        r"-- scrub::outputs
          SELECT o.job, o.path, o.checksum
          FROM rows_of($1) AS r
          JOIN outputs AS o ON o.job = CAST(r.v ->> 0 AS BIGINT)
          ORDER BY o.job, o.path",
    )
    .bind(set)
    .fetch_all(&mut *conn)
    .await?;
    query("DELETE FROM outputs WHERE job IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)")
        .bind(set)
        .execute(&mut *conn)
        .await?;
    let mut found: Vec<Found> = owned
        .into_iter()
        .map(|(job, path, checksum)| Found {
            checksum,
            ..Found::of(job, ForgottenKind::Output, path, ForgottenState::Waiting)
        })
        .collect();
    for job in jobs.iter().filter(|job| !found.iter().any(|one| one.job == job.id)).collect::<Vec<_>>() {
        for address in addresses(job.outputs.as_deref()) {
            found.push(Found::of(job.id, ForgottenKind::Output, address, ForgottenState::Waiting));
        }
    }
    Ok(found)
}

/// The addresses of receipts, with or without size and checksum.
fn addresses(outputs: Option<&str>) -> Vec<String> {
    let receipts: Vec<Value> = outputs.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    let address = |receipt: &Value| receipt.get("address").unwrap_or(receipt).as_str().map(str::to_owned);
    receipts.iter().filter_map(address).collect()
}

async fn clips(conn: &mut Conn, set: &str) -> Result<Vec<Found>, StoreError> {
    let clips: Vec<(i64, Vec<u8>, bool)> =
        query_as(format!("-- scrub::clips\n{}", clips_sql("o.forget IS NOT NULL"))).bind(set).fetch_all(conn).await?;
    Ok(clips
        .into_iter()
        .map(|(job, clip, shared)| match shared {
            false => Found::of(job, ForgottenKind::Clip, hex(&clip), ForgottenState::Waiting),
            true => Found {
                why: Some("another line speaks the same words"),
                ..Found::of(job, ForgottenKind::Clip, "audio cache", ForgottenState::Kept)
            },
        })
        .collect())
}

/// The calls that the vendor's log may have: by the vendor's id, else by what their entry shows.
async fn vendor_entries(
    conn: &mut Conn,
    jobs: &[Before],
    spec: &ForgetSpec,
    set: &str,
) -> Result<Vec<Found>, StoreError> {
    let rows = query(
        r"-- scrub::vendor_entries
          SELECT c.job, c.id, c.request_id, c.state, c.request, c.log_cursor, c.sent_at, c.overdue_at IS NOT NULL AS posted,
            c.request_id IS NULL AND EXISTS (
              SELECT 1 FROM calls AS o
              WHERE o.account = c.account AND o.pool = c.pool AND o.upload_bytes = c.upload_bytes AND o.job <> c.job
                AND o.state <> 'rejected' AND o.request = c.request AND o.sent_at >= c.sent_at - 86400000) AS ambiguous
          FROM rows_of($1) AS r
          JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT)
          ORDER BY c.id",
    )
    .bind(set)
    .fetch_all(conn)
    .await?;
    let kinds: HashMap<i64, &str> = jobs.iter().map(|job| (job.id, job.kind.as_str())).collect();
    let mut found = Vec::new();
    for row in &rows {
        let (job, state): (i64, String) = (row.try_get("job")?, row.try_get("state")?);
        let can_be_removed = kinds.get(&job).is_some_and(|kind| spec.at_vendor.iter().any(|task| task == kind));
        match row.try_get::<Option<String>, _>("request_id")? {
            Some(id) if can_be_removed => {
                found.push(Found::of(job, ForgottenKind::Vendor, id, ForgottenState::Waiting));
            }
            None if can_be_removed && state != "rejected" => {
                let request: String = row.try_get("request")?;
                let request: Value = serde_json::from_str(&request).unwrap_or_default();
                let call: Vec<u8> = row.try_get("id")?;
                let place = json!({
                    "call": hex(&call),
                    "request": request,
                    "cursor": row.try_get::<Option<String>, _>("log_cursor")?,
                    "sent_at": row.try_get::<i64, _>("sent_at")?,
                    "posted": row.try_get::<bool, _>("posted")?,
                    "ambiguous": row.try_get::<bool, _>("ambiguous")?,
                });
                found.push(Found::of(job, ForgottenKind::Vendor, place.to_string(), ForgottenState::Waiting));
            }
            Some(_) => found.push(Found {
                why: Some("the API removes no entry of such a call"),
                ..Found::of(job, ForgottenKind::Vendor, "call", ForgottenState::Unknown)
            }),
            None => {}
        }
    }
    Ok(found)
}

/// Of a request stay model, language and flags: the books tell costs by model.
fn bare_request(request: &str) -> String {
    let all: Value = serde_json::from_str(request).unwrap_or_default();
    let mut bare = Map::new();
    for name in ["model", "language"] {
        bare.insert(name.into(), all.get(name).filter(|value| value.is_string()).cloned().unwrap_or_else(|| json!("")));
    }
    let flags = all.get("flags").and_then(Value::as_object).into_iter().flatten();
    let flags: Map<String, Value> =
        flags.filter(|(_, on)| on.is_boolean()).map(|(k, v)| (k.clone(), v.clone())).collect();
    bare.insert("flags".into(), flags.into());
    bare.insert("bytes".into(), Value::Null);
    bare.insert("audio_ms".into(), Value::Null);
    Value::Object(bare).to_string()
}

async fn empty_calls(conn: &mut Conn, set: &str) -> Result<(), StoreError> {
    let calls: Vec<(Vec<u8>, String)> = query_as(
        r"-- scrub::empty_calls
          SELECT c.id, c.request
          FROM rows_of($1) AS r
          JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT)",
    )
    .bind(set)
    .fetch_all(&mut *conn)
    .await?;
    let bare: Vec<_> = calls.iter().map(|(id, request)| json!([hex(id), bare_request(request)])).collect();
    query(
        r"-- scrub::empty_calls
          UPDATE calls
          SET request = r.v ->> 1, request_id = NULL, error = NULL, content_expiry = NULL, log_cursor = NULL, upload_bytes = NULL,
            cache_key = NULL, clip_bytes = NULL
          FROM rows_of($1) AS r
          WHERE calls.id = unhex(r.v ->> 0)",
    )
    .bind(json!(bare).to_string())
    .execute(&mut *conn)
    .await?;
    query(
        r"-- scrub::empty_calls
          UPDATE job_parts
          SET cache_key = NULL, bytes = NULL, reused = 0, forced_at = NULL, doubtful = 0
          WHERE job IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)",
    )
    .bind(set)
    .execute(&mut *conn)
    .await?;
    query(
        r"-- scrub::empty_calls
          DELETE FROM hearings
          WHERE job IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)",
    )
    .bind(set)
    .execute(conn)
    .await?;
    Ok(())
}

async fn empty_jobs(
    conn: &mut Conn,
    jobs: &[Before],
    (spec, salt, set): (&ForgetSpec, &str, &str),
    now: Millis,
) -> Result<(), StoreError> {
    let n = i64::try_from(jobs.len()).unwrap_or(i64::MAX);
    let last: i64 =
        query_scalar("UPDATE ledger SET seq = seq + $1 RETURNING seq").bind(n).fetch_one(&mut *conn).await?;
    let after = jobs.iter().zip(last - n + 1..).map(|(job, seq)| {
        // The key of a bad line is its number.
        let is_plain = !spec.hash_key || job.is_bad_line || is_hashed(&job.key);
        let key = if is_plain { job.key.clone() } else { hashed_key(salt, &job.key) };
        let notes = job.notes.iter().flat_map(|notes| notes.split(';')).filter(|note| note.parse::<Note>().is_ok());
        let notes: Vec<&str> = notes.chain([Note::Forgotten.as_str()]).collect();
        json!([job.id, key, notes.join(";"), Facts::from_json(job.facts.as_deref()).without_content().to_json(), seq])
    });
    query(
        r"-- scrub::empty_jobs: key, variant, state, units, tries, times and what the books need stay.
          UPDATE jobs
          SET key = r.v ->> 1, notes = r.v ->> 2, facts = r.v ->> 3, seq = CAST(r.v ->> 4 AS BIGINT), forgotten_at = $2,
            source = NULL, source_bytes = NULL, source_etag = NULL, source_path = NULL, source_mtime = NULL, source_inode = NULL,
            source_hash = NULL, text = NULL, source_id = $3, options_id = $3, overrides = NULL, carried = NULL, error = NULL,
            request_id = NULL, content_expiry = NULL, outputs = NULL, waits_for = NULL, after = NULL
          FROM rows_of($1) AS r
          WHERE jobs.id = CAST(r.v ->> 0 AS BIGINT)",
    )
    .bind(json!(after.collect::<Vec<_>>()).to_string())
    .bind(now)
    .bind(Identity([0; 16]))
    .execute(&mut *conn)
    .await?;
    query(
        r"-- scrub::empty_jobs: nobody waits for a line that is forgotten.
          UPDATE jobs
          SET after = NULL, due_at = CASE WHEN state = 'queued' AND due_at > $2 THEN $2 ELSE due_at END
          WHERE after IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)",
    )
    .bind(set)
    .bind(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Removes the texts that no other line speaks.
async fn texts(conn: &mut Conn, jobs: &[Before]) -> Result<Vec<Found>, StoreError> {
    let spoken: Vec<(i64, String)> = jobs.iter().filter_map(|job| Some((job.id, hex(job.text.as_deref()?)))).collect();
    if spoken.is_empty() {
        return Ok(Vec::new());
    }
    let set = json!(spoken.iter().map(|(_, text)| [text]).collect::<Vec<_>>()).to_string();
    let gone: Vec<(Vec<u8>, i64)> = query_as(
        r"-- scrub::texts
          DELETE FROM texts
          WHERE id IN (SELECT unhex(v ->> 0) FROM rows_of($1) AS r)
            AND NOT EXISTS (SELECT 1 FROM jobs AS j WHERE j.text = texts.id)
          RETURNING id, bytes",
    )
    .bind(set)
    .fetch_all(conn)
    .await?;
    let gone: HashMap<String, i64> = gone.into_iter().map(|(id, bytes)| (hex(&id), bytes)).collect();
    let mut seen = std::collections::HashSet::new();
    Ok(spoken
        .into_iter()
        .filter_map(|(job, text)| match gone.get(&text) {
            Some(bytes) if seen.insert(text.clone()) => Some(Found {
                bytes: Some(*bytes),
                ..Found::of(job, ForgottenKind::Text, "texts", ForgottenState::Removed)
            }),
            Some(_) => None,
            None => Some(Found {
                why: Some("another line speaks the same text"),
                ..Found::of(job, ForgottenKind::Text, "texts", ForgottenState::Kept)
            }),
        })
        .collect())
}

async fn note(conn: &mut Conn, forget: ForgetId, found: &[Found], now: Millis) -> Result<(), StoreError> {
    let last: i64 = query_scalar("SELECT coalesce(max(nth), 0) FROM forget_items WHERE forget = $1")
        .bind(forget.0)
        .fetch_one(&mut *conn)
        .await?;
    let rows: Vec<_> = found
        .iter()
        .zip(last + 1..)
        .map(|(f, nth)| {
            let at = (f.state != ForgottenState::Waiting).then_some(now);
            json!([nth, f.job, f.kind.as_str(), f.place, f.checksum, f.bytes, f.state.as_str(), at, f.why])
        })
        .collect();
    query(
        r"-- scrub::note
          INSERT INTO forget_items (forget, nth, job, kind, place, checksum, bytes, state, at, why)
          SELECT $2, CAST(v ->> 0 AS BIGINT), CAST(v ->> 1 AS BIGINT), v ->> 2, v ->> 3, v ->> 4, CAST(v ->> 5 AS BIGINT), v ->> 6,
            CAST(v ->> 7 AS BIGINT), v ->> 8
          FROM rows_of($1) AS r
          WHERE 1 = 1",
    )
    .bind(json!(rows).to_string())
    .bind(forget.0)
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_request_only_what_the_books_need_stays() {
        let request = r#"{"model":"pulse","language":"en","flags":{"diarize":true,"secret":"Anna"},"bytes":5,"audio_ms":9,
            "keywords":["Anna"],"other":"Anna"}"#;
        let bare = bare_request(request);
        assert_eq!(
            serde_json::from_str::<Value>(&bare).unwrap(),
            json!({"model": "pulse", "language": "en", "flags": {"diarize": true}, "bytes": null, "audio_ms": null})
        );
        for odd in ["", "no json", "[]", r#"{"model":7}"#] {
            assert!(bare_request(odd).contains(r#""model":"""#), "{odd}");
        }
    }
}
