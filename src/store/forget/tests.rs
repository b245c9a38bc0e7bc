//! Forgetting, on both engines: nothing of the content is left in the rows, and the books add up.

use super::personal::PERSONAL;
use crate::domain::{
    forget::{ForgetSpec, ForgottenKind, ForgottenState, hashed_key},
    identity::Identity,
    job::{BatchId, CallState, JobState},
    pool::{Limits, Pool},
};
use crate::store::engine::db::{query, query_as, query_scalar};
use crate::store::engine::tables::{self, Kind, Table};
use crate::store::{tests::*, *};

const MARK: &str = "MARK7f3a";

/// A batch with two worked lines (one of them superseded by a newer version of itself) and one that waits.
async fn worked() -> (Ledger, BatchId) {
    let l = ledger().await;
    let b = l.submit(batch("b"), 3).await;
    let me = l.store.enlist("{}".into()).await.unwrap();
    for job in claim(&l.store, 2).await {
        let permit = l.store.permit(ask(&job, Limits::default())).await.unwrap().unwrap();
        l.store.end(ended(permit.call, answered())).await.unwrap();
        let files = vec![OutputFile { path: format!("{}.json", job.key), checksum: "ab".into() }];
        l.store.own((job.job, job.batch, job.token), files, std::sync::Arc::new(|_, _| true)).await.unwrap();
        l.store.settle(settle(&job, done(JobState::Succeeded))).await.unwrap();
    }
    l.store.leave(me).await.unwrap();
    (l, b)
}

async fn forget(l: &Ledger, b: BatchId, keys: &[&str], spec: ForgetSpec) -> OpenForget {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let forget = l.store.begin_forget("f1".into(), spec, None).await.unwrap();
    let marked = l.store.mark_to_forget(forget.id, b, &keys).await.unwrap().unwrap();
    assert_eq!((marked.lines, marked.busy), (keys.len() as u64, 0));
    l.store.all_marked(forget.id).await.unwrap();
    while l.store.forget_some(&forget).await.unwrap() > 0 {}
    l.store.finish(b).await.unwrap();
    forget
}

#[tokio::test]
async fn each_text_of_each_table_is_personal_or_has_a_reason_not_to_be() {
    let l = ledger().await;
    let mut conn = l.other().await;
    // The engine's and the driver's own.
    const FOREIGN: [&str; 2] = ["_sqlx_migrations", "writers"];
    let found = tables::all(&mut conn).await;
    let known: Vec<&str> = PERSONAL.iter().map(|table| table.table).collect();
    for table in &found {
        assert!(known.contains(&table.as_str()) || FOREIGN.contains(&table.as_str()), "`{table}` is in the registry");
    }
    for listed in PERSONAL {
        assert!(found.iter().any(|table| table == listed.table), "there is no table `{}`", listed.table);
        let table = Table::of(&mut conn, listed.table).await.unwrap();
        let texts = table.columns.iter().filter(|column| matches!(column.kind, Kind::Text | Kind::Bytes));
        let mut there: Vec<&str> = texts.map(|column| column.name.as_str()).collect();
        let mut named: Vec<&str> = listed.personal.to_vec();
        named.extend(listed.others.iter().map(|(column, _)| *column));
        there.sort_unstable();
        named.sort_unstable();
        assert_eq!(there, named, "the texts and blobs of `{}`, each once", listed.table);
        assert!(listed.personal.is_empty() || !listed.of_job.is_empty(), "{}", listed.table);
    }
}

/// All values of a column that hold the mark, as text or as bytes.
async fn marked(l: &Ledger, table: &str, column: &str) -> i64 {
    let table: &'static str = PERSONAL.iter().find(|known| known.table == table).unwrap().table;
    let mut conn = l.other().await;
    let described = Table::of(&mut conn, table).await.unwrap();
    let kind = described.columns.iter().find(|known| known.name == column).unwrap().kind;
    let sql = match kind {
        Kind::Bytes => format!("SELECT count(*) FROM {table} WHERE {column} = unhex('{}')", "5a".repeat(16)),
        _ => format!("SELECT count(*) FROM {table} WHERE {column} LIKE '%{MARK}%'"),
    };
    query_scalar(sql).fetch_one(&mut conn).await.unwrap()
}

#[tokio::test]
async fn a_mark_in_every_personal_column_of_a_line_is_found_in_none_afterwards() {
    let (l, b) = worked().await;
    let mut conn = l.other().await;
    let zz = "5a".repeat(16);
    // Every personal column of the first line gets the mark, and what else could hold a text as well.
    for sql in [
        format!("INSERT INTO texts (id, packed, bytes, characters, body) VALUES (unhex('{zz}'), 0, 4, 4, unhex('{zz}'))"),
        format!(
            "UPDATE jobs SET source = '{MARK}', source_etag = '{MARK}', source_path = '{MARK}', source_hash = unhex('{zz}'),
               text = unhex('{zz}'), source_id = unhex('{zz}'), options_id = unhex('{zz}'), overrides = '{{\"name\":\"{MARK}\"}}',
               carried = '[\"{MARK}\"]', error = '{MARK}', request_id = '{MARK}', content_expiry = '{MARK}', outputs = '[\"/o/{MARK}\"]',
               waits_for = unhex('{zz}'), notes = 'stereo;{MARK}', facts = '{{\"v\":1,\"audio_ms\":5,\"x\":\"{MARK}\"}}'
             WHERE key = 'k1'"
        ),
        format!("INSERT INTO job_parts (job, part, cache_key) SELECT id, 9, unhex('{zz}') FROM jobs WHERE key = 'k1'"),
        format!("INSERT INTO hearings (job, content, version, body) SELECT id, unhex('{zz}'), 1, unhex('{zz}') FROM jobs WHERE key = 'k1'"),
        format!(
            "UPDATE calls SET request_id = '{MARK}', error = '{MARK}', content_expiry = '{MARK}', log_cursor = '{MARK}',
               cache_key = unhex('{zz}'),
               request = '{{\"model\":\"pulse\",\"language\":\"en\",\"flags\":{{}},\"keywords\":[\"{MARK}\"]}}'
             WHERE job = (SELECT id FROM jobs WHERE key = 'k1')"
        ),
        format!("UPDATE answers SET body = unhex('{zz}') WHERE call IN (SELECT c.id FROM calls AS c JOIN jobs AS j ON j.id = c.job WHERE j.key = 'k1')"),
        format!(
            "INSERT INTO callbacks (call, received_at, times, digest, effect, packed, bytes, body)
             SELECT c.id, 1, 1, unhex('{zz}'), 'other', 0, 4, unhex('{zz}') FROM calls AS c JOIN jobs AS j ON j.id = c.job WHERE j.key = 'k1'"
        ),
        format!("UPDATE outputs SET path = '{MARK}', checksum = '{MARK}' WHERE job = (SELECT id FROM jobs WHERE key = 'k1')"),
        format!("INSERT INTO clips (cache_key, take, bytes, used_day) VALUES (unhex('{zz}'), 0, 1, 1)"),
    ] {
        query(sql).execute(&mut conn).await.unwrap();
    }
    // The test itself sees each of them, so it can fail.
    let markable = |table: &PersonalColumnsOf, column: &str| {
        !matches!((table.table, column), ("answers" | "callbacks", "call" | "origin" | "effect"))
            && table.table != "forget_items"
    };
    for table in PERSONAL {
        for column in table.personal.iter().filter(|column| markable(table, column)) {
            assert_eq!(marked(&l, table.table, column).await, 1, "{}.{column} is marked", table.table);
        }
    }
    let before = l.store.batch("b").await.unwrap().unwrap();
    let forgotten =
        forget(&l, b, &["k1"], ForgetSpec { at_vendor: vec!["transcribe".into()], ..ForgetSpec::default() }).await;
    for kind in ["waiting", "removed"] {
        let n: i64 = query_scalar(format!("SELECT count(*) FROM forget_items WHERE state = '{kind}'"))
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert!(n > 0, "{kind}");
    }
    // The clip itself is removed outside, and its row then.
    query("DELETE FROM clips").execute(&mut conn).await.unwrap();
    let items = l.store.forget_items(forgotten.id, 0, false).await.unwrap();
    let of = |kind| items.iter().filter(|item| item.kind == kind).map(|item| item.place.as_str()).collect::<Vec<_>>();
    assert_eq!(of(ForgottenKind::Output), [MARK]);
    assert_eq!(of(ForgottenKind::Vendor), [MARK]);
    assert_eq!(of(ForgottenKind::Clip), [zz.as_str()]);
    l.store.end_forget(forgotten.id, "d".into()).await.unwrap();
    for table in PERSONAL {
        for column in table.personal.iter().chain(table.others.iter().map(|(column, _)| column)) {
            assert_eq!(marked(&l, table.table, column).await, 0, "{}.{column}", table.table);
        }
    }
    let after = l.store.batch("b").await.unwrap().unwrap();
    assert_eq!((before.spent, before.reserved), (after.spent, after.reserved), "the books stay");
    assert_eq!(l.store.check_rows().await.unwrap(), []);
    let row = &l.store.report_page(b, (0, 0), 10, true).await.unwrap()[0];
    assert_eq!((row.key.as_str(), row.state, row.cost, row.audio_ms), ("k1", JobState::Succeeded, 5_000, Some(5)));
    assert_eq!(row.notes.as_deref(), Some("stereo;forgotten"));
    assert!(row.forgotten_at.is_some() && row.answer.is_none());
}

type PersonalColumnsOf = super::personal::PersonalColumns;

#[tokio::test]
async fn a_tombstone_is_never_worked_delivered_retried_or_changed_again() {
    let (l, b) = worked().await;
    forget(&l, b, &["k1", "k3"], ForgetSpec::default()).await;
    let counts = l.store.counts(b).await.unwrap();
    assert_eq!((counts.of(JobState::Succeeded), counts.of(JobState::Cancelled)), (2, 1), "what waited is cancelled");
    let all = Chosen::of(b, Selection::of_key("k1"));
    assert_eq!(l.store.plan_retry(&all).await.unwrap().jobs, 0);
    assert_eq!(l.store.retry(all).await.unwrap(), 0);
    assert_eq!(l.store.retry(Chosen::of(b, Selection::default())).await.unwrap(), 0);
    assert_eq!(l.store.redeliver(b).await.unwrap(), (1, 0), "k2 alone");
    assert_eq!(l.store.redeliver_selected(b, &Selection::of_key("k1")).await.unwrap(), (0, 0));
    let keys = l.store.forgotten_keys(b).await.unwrap();
    assert!(keys.has("k1") && keys.has("k3") && !keys.has("k2"));
    // A whole reading that lacks the line does not make it gone.
    let mut reading = ReadLines::default();
    reading.whole = true;
    reading.add(LineHash::of("k2", ""));
    let begun = l.store.begin(batch("b"), Resubmission::default()).await.unwrap();
    assert_eq!(l.store.note_reading(begun, &reading).await.unwrap(), WantedChanges::default());
    l.store.end_submit(b).await.unwrap();
    assert_eq!(l.store.keys_to_forget(b, &Selection::default()).await.unwrap(), ["k2"], "once is enough");
    assert_eq!(l.store.forgotten_lines(b).await.unwrap(), (3, 2));
}

#[tokio::test]
async fn a_former_version_of_a_line_is_forgotten_with_it() {
    let (l, b) = worked().await;
    let changed = NewJob { key: "k1".into(), carried: Some(r#"["new"]"#.into()), ..job(1, "/r/other.wav") };
    l.store.submit(b, vec![changed], vec![]).await.unwrap();
    let jobs: i64 = query_scalar("SELECT count(*) FROM jobs WHERE key = 'k1'").fetch_one(&l.store.read).await.unwrap();
    assert_eq!(jobs, 2);
    forget(&l, b, &["k1"], ForgetSpec::default()).await;
    let left: i64 =
        query_scalar("SELECT count(*) FROM jobs WHERE key = 'k1' AND (source IS NOT NULL OR forgotten_at IS NULL)")
            .fetch_one(&l.store.read)
            .await
            .unwrap();
    let answers: i64 = query_scalar("SELECT count(*) FROM answers").fetch_one(&l.store.read).await.unwrap();
    assert_eq!((left, answers), (0, 1), "both versions, and k2's answer stays");
}

#[tokio::test]
async fn a_hashed_key_is_nowhere_and_is_known_again() {
    let (l, b) = worked().await;
    let forgotten = forget(&l, b, &["k1"], ForgetSpec { hash_key: true, ..ForgetSpec::default() }).await;
    let hashed = hashed_key(l.store.id(), "k1");
    let keys: Vec<String> = query_scalar("SELECT key FROM jobs ORDER BY id").fetch_all(&l.store.read).await.unwrap();
    assert_eq!(keys, [hashed.as_str(), "k2", "k3"]);
    assert!(l.store.forgotten_keys(b).await.unwrap().has("k1"));
    let lines = l.store.forgotten_jobs(forgotten.id, crate::domain::job::JobId(0)).await.unwrap();
    assert_eq!((lines[0].key.as_str(), lines[0].state), (hashed.as_str(), JobState::Succeeded));
}

#[tokio::test]
async fn a_line_at_work_stays_and_a_batch_that_is_submitted_is_left_alone() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 2).await;
    let me = l.store.enlist("{}".into()).await.unwrap();
    let job = claim(&l.store, 1).await.remove(0);
    let keys = vec!["k1".to_owned(), "k2".to_owned()];
    assert_eq!(l.store.busy_lines(b, &keys).await.unwrap(), (1, vec![BusyLine { key: "k1".into() }]));
    let open = l.store.begin_forget("f".into(), ForgetSpec::default(), None).await.unwrap();
    let marked = l.store.mark_to_forget(open.id, b, &keys).await.unwrap().unwrap();
    assert_eq!((marked.lines, marked.busy), (1, 1));
    // What its worker brings is kept: it was not marked.
    let permit = l.store.permit(ask(&job, Limits::default())).await.unwrap().unwrap();
    assert_eq!(l.store.end(ended(permit.call, answered())).await.unwrap().state, CallState::Answered);
    assert!(l.store.settle(settle(&job, done(JobState::Succeeded))).await.unwrap());
    l.store.leave(me).await.unwrap();
    l.store.begin(batch("b"), Resubmission::default()).await.unwrap();
    assert_eq!(l.store.mark_to_forget(open.id, b, &keys).await.unwrap(), Err(MarkRefused::Submitting));
}

#[tokio::test]
async fn what_is_posted_for_a_forgotten_line_is_not_kept() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 1).await;
    let me = l.store.enlist("{}".into()).await.unwrap();
    let job = claim(&l.store, 1).await.remove(0);
    let ask = PermitRequest { overdue_after: Some(900_000), ..ask(&job, Limits::default()) };
    let call = l.store.permit(ask).await.unwrap().unwrap().call;
    l.store.end(ended(call, End::Accepted { request_id: Some("r1".into()) })).await.unwrap();
    assert!(l.store.settle(settle(&job, To::Awaiting { call, until: l.clock.now() + 900_000 })).await.unwrap());
    l.store.leave(me).await.unwrap();
    forget(&l, b, &["k1"], ForgetSpec::default()).await;
    let body: Body = format!(r#"{{"status":"success","transcription":"{MARK}"}}"#).into();
    let content = CallbackContent::Answer { request_id: Some(MARK.into()), audio_ms: Some(60_000), cost: None };
    let effect = l.store.receive(Callback { call, body, content }).await.unwrap();
    assert_eq!(effect, Some(Effect::Ignored));
    let kept: (i64, i64, i64) = query_as(format!(
        "SELECT (SELECT count(*) FROM answers), (SELECT count(*) FROM callbacks),
           (SELECT count(*) FROM calls WHERE request_id LIKE '%{MARK}%')"
    ))
    .fetch_one(&l.store.read)
    .await
    .unwrap();
    assert_eq!(kept, (0, 0, 0));
    assert_eq!(l.store.check_rows().await.unwrap(), []);
}

#[tokio::test]
async fn a_text_or_a_clip_that_another_line_speaks_stays() {
    let l = ledger().await;
    let new = NewBatch::of::<crate::domain::synthesis::Synthesis>(
        "s",
        crate::domain::environment::Environment::Live,
        r#"{"task":"synthesize"}"#.into(),
    );
    let b = l.store.begin(new, Resubmission::default()).await.unwrap().batch;
    let line = |n: u64, text: &str| NewJob {
        source: None,
        source_id: Text::new(text.to_owned()).id(),
        options_id: Identity([1; 16]),
        pool: Pool::Tts,
        synthesis: Some(NewSynthesis { text: Text::new(text.to_owned()), variant: "avery/wav".into() }),
        ..job(n, "")
    };
    l.store.submit(b, vec![line(1, "one"), line(2, "one"), line(3, "two")], vec![]).await.unwrap();
    l.store.end_submit(b).await.unwrap();
    let mut conn = l.other().await;
    for (key, clip) in [("k1", "11"), ("k1", "22"), ("k2", "11"), ("k3", "33")] {
        let clip = clip.repeat(16);
        query(format!(
            "INSERT INTO job_parts (job, part, cache_key, reused)
             SELECT j.id, (SELECT count(*) FROM job_parts AS p WHERE p.job = j.id), unhex('{clip}'), 1 FROM jobs AS j WHERE j.key = '{key}'"
        ))
        .execute(&mut conn)
        .await
        .unwrap();
    }
    let plan = l.store.plan_forget(b, &["k1".into()], &[]).await.unwrap();
    assert_eq!((plan.lines, plan.jobs, plan.unfinished, plan.clips, plan.shared_clips), (1, 1, 1, 1, 1));
    let forgotten = forget(&l, b, &["k1", "k3"], ForgetSpec::default()).await;
    let items = l.store.forget_items(forgotten.id, 0, false).await.unwrap();
    let of = |kind, state| items.iter().filter(|i| i.kind == kind && i.state == state).count();
    assert_eq!(of(ForgottenKind::Clip, ForgottenState::Waiting), 2, "22 and 33");
    assert_eq!(of(ForgottenKind::Clip, ForgottenState::Kept), 1);
    assert_eq!(of(ForgottenKind::Text, ForgottenState::Removed), 1);
    assert_eq!(of(ForgottenKind::Text, ForgottenState::Kept), 1);
    let texts: i64 = query_scalar("SELECT count(*) FROM texts").fetch_one(&mut conn).await.unwrap();
    assert_eq!(texts, 1);
}

#[tokio::test]
async fn a_forget_that_was_cut_off_goes_on_and_its_list_goes_last() {
    let (l, b) = worked().await;
    let forget = l.store.begin_forget("f1".into(), ForgetSpec::default(), Some("/r".into())).await.unwrap();
    l.store.mark_to_forget(forget.id, b, &["k1".into(), "k2".into()]).await.unwrap().unwrap();
    assert_eq!(l.store.open_forgets().await.unwrap(), std::slice::from_ref(&forget), "cut off here");
    assert!(l.store.has_open_items(forget.id).await.unwrap());
    while l.store.forget_some(&forget).await.unwrap() > 0 {}
    let mut open = l.store.forget_items(forget.id, 0, true).await.unwrap();
    assert_eq!(open.iter().map(|item| item.place.as_str()).collect::<Vec<_>>(), ["k1.json", "k2.json"]);
    open[0].state = ForgottenState::Removed;
    (open[1].state, open[1].why) = (ForgottenState::Refused, Some("locked".into()));
    l.store.note_items(forget.id, &open).await.unwrap();
    let open = l.store.forget_items(forget.id, 0, true).await.unwrap();
    assert_eq!(
        open.iter().map(|item| (item.state, item.why.as_deref())).collect::<Vec<_>>(),
        [(ForgottenState::Refused, Some("locked"))]
    );
    l.store.note_receipt(forget.id, "d1".into()).await.unwrap();
    assert_eq!(l.store.receipt_digest("f1").await.unwrap(), Some(Some("d1".into())));
    l.store.end_forget(forget.id, "d2".into()).await.unwrap();
    assert_eq!(l.store.open_forgets().await.unwrap(), []);
    assert_eq!(l.store.receipt_digest("f1").await.unwrap(), Some(Some("d2".into())));
    assert_eq!(l.store.receipt_digest("other").await.unwrap(), None);
    assert_eq!(l.store.clean().await.unwrap(), Cleaned::Done);
}

#[tokio::test]
async fn pages_that_were_split_keep_no_copies_of_what_is_forgotten() {
    const LINES: u64 = 6_000;
    let l = ledger().await;
    let b = l.store.begin(batch("b"), Resubmission::default()).await.unwrap().batch;
    // In an order that splits pages everywhere.
    let shuffled = |n: u64| (n * 2_749 + 17) % LINES;
    let mark = |n: u64| format!("cell-mark-{n:06}-{}", "x".repeat((n % 61) as usize));
    let jobs = (0..LINES).map(|n| {
        let n = shuffled(n);
        NewJob {
            key: format!("key-mark-{n:06}-"),
            carried: Some(format!("[\"{}\"]", mark(n))),
            ..job(n + 1, &format!("/r/{n}.wav"))
        }
    });
    l.store.submit(b, jobs.collect(), vec![]).await.unwrap();
    l.store.end_submit(b).await.unwrap();
    let mut conn = l.other().await;
    query("PRAGMA secure_delete = ON").fetch_all(&mut conn).await.unwrap();
    query("BEGIN IMMEDIATE").execute(&mut conn).await.unwrap();
    for n in 0..LINES {
        let n = shuffled(shuffled(n));
        query("UPDATE jobs SET outputs = $1 WHERE batch = $2 AND key = $3")
            .bind(format!("[\"/out-mark-{n:06}-{}\"]", "y".repeat((n % 173) as usize)))
            .bind(b)
            .bind(format!("key-mark-{n:06}-"))
            .execute(&mut conn)
            .await
            .unwrap();
    }
    query("COMMIT").execute(&mut conn).await.unwrap();
    conn.close().await;
    let gone: Vec<u64> = (0..LINES).filter(|n| n % 7 == 3).collect();
    let keys: Vec<String> = gone.iter().map(|n| format!("key-mark-{n:06}-")).collect();
    let spec = ForgetSpec { hash_key: true, ..ForgetSpec::default() };
    forget(&l, b, &keys.iter().map(String::as_str).collect::<Vec<_>>(), spec).await;
    l.store.end_forget(crate::store::ForgetId(1), "d".into()).await.unwrap();
    l.store.shrink().await.unwrap();
    let left = || {
        let file = std::fs::read(&l.path).unwrap();
        let text: Vec<u8> = file.iter().map(|byte| if byte.is_ascii() { *byte } else { b' ' }).collect();
        let text = String::from_utf8(text).unwrap();
        let found = ["key", "cell", "out"].iter().map(|what| {
            let what = format!("{what}-mark-");
            let numbers =
                text.match_indices(&what).filter_map(|(at, _)| text.get(at + what.len()..at + what.len() + 6));
            numbers.filter_map(|n| n.parse::<u64>().ok()).filter(|n| n % 7 == 3).count()
        });
        found.sum::<usize>()
    };
    assert!(left() > 0, "SQLite leaves copies behind, or this test shows nothing");
    assert_eq!(l.store.clean().await.unwrap(), Cleaned::Done);
    assert_eq!(left(), 0);
    assert_eq!(l.store.sizes().await.unwrap().wal, 0);
    assert_eq!(l.store.check_rows().await.unwrap(), [], "not one byte of content was touched");
    let jobs: i64 =
        query_scalar("SELECT count(*) FROM jobs WHERE carried LIKE '%cell-mark-%' AND outputs LIKE '%out-mark-%'")
            .fetch_one(&l.store.read)
            .await
            .unwrap();
    assert_eq!(jobs as u64, LINES - gone.len() as u64);
    // Others still write and read it, also those that had its pages in memory.
    l.store.submit(b, vec![job(9_999, "/r/new.wav")], vec![]).await.unwrap();
    assert_eq!((left(), l.store.clean().await.unwrap(), left()), (0, Cleaned::Done, 0));
}

crate::store::harness::on_postgres_too! {
    each_text_of_each_table_is_personal_or_has_a_reason_not_to_be,
    a_mark_in_every_personal_column_of_a_line_is_found_in_none_afterwards,
    a_tombstone_is_never_worked_delivered_retried_or_changed_again,
    a_former_version_of_a_line_is_forgotten_with_it,
    a_hashed_key_is_nowhere_and_is_known_again,
    a_line_at_work_stays_and_a_batch_that_is_submitted_is_left_alone,
    what_is_posted_for_a_forgotten_line_is_not_kept,
    a_text_or_a_clip_that_another_line_speaks_stays,
    a_forget_that_was_cut_off_goes_on_and_its_list_goes_last,
}
