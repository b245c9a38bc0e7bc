//! A ledger on either engine, copied to either.

use std::sync::{Arc, Mutex};

use super::*;
use crate::domain::{job::JobState, pool::Limits};
use crate::store::engine::db::Readers;
use crate::store::tests::{Ledger, answered, ask, batch, claim, done, ended, ledger, settle};
use crate::store::{LedgerAddress, Opening, ServerAddress, SpoolSetting, harness};

/// Where a test copies to.
async fn target(l: &Ledger, name: &str, to_server: bool) -> Opening {
    let spool = SpoolSetting::folder(l.path.with_file_name("shared"));
    let (path, local_files) = (l.path.with_file_name(name), l.path.with_file_name(format!("{name}-spool")));
    let ledger: LedgerAddress = match to_server {
        false => path.into(),
        true => {
            let cluster = harness::postgres::Cluster::get().expect("a server");
            ServerAddress::parse(&cluster.url(&harness::postgres::schema_of(&path))).unwrap().into()
        }
    };
    Opening {
        ledger,
        local_files,
        spool,
        clock: l.clock.clone(),
        server_time: false,
        for_copy: true,
        ..Opening::new(&l.path)
    }
}

async fn source(l: &Ledger) -> Store {
    let opening = Opening { clock: l.clock.clone(), for_copy: true, ..Opening::new(&l.path) };
    let spool = opening.spool.of_ledger();
    Store::open(Opening { spool, ..opening }).await.unwrap().0
}

/// Whether there is a server to copy to.
fn engines() -> Vec<bool> {
    match harness::postgres::Cluster::get() {
        Some(_) => vec![false, true],
        None => {
            harness::postgres::tell_skipped();
            vec![false]
        }
    }
}

/// Lines in several states, with answers.
async fn worked(lines: u64) -> Ledger {
    let l = ledger().await;
    l.submit(batch("b"), lines).await;
    let me = l.store.enlist("{}".into()).await.unwrap();
    for job in claim(&l.store, 4).await {
        let permit = l.store.permit(ask(&job, Limits::default())).await.unwrap().unwrap();
        l.store.end(ended(permit.call, answered())).await.unwrap();
        l.store.settle(settle(&job, done(JobState::Succeeded))).await.unwrap();
    }
    // One call is open when its process ends.
    let open = claim(&l.store, 1).await.remove(0);
    l.store.permit(ask(&open, Limits::default())).await.unwrap().unwrap();
    l.store.leave(me).await.unwrap();
    l
}

fn silent() -> OnCopy {
    Arc::new(|_| {})
}

#[tokio::test]
async fn the_tables_are_all_of_the_schema_and_in_order() {
    // The ledger's own row and its secrets go in ways of their own; the others are about processes that are gone.
    const NOT_COPIED: [&str; 7] =
        ["_sqlx_migrations", "demand", "ledger", "processes", "schedule_nodes", "secrets", "writers"];
    let l = ledger().await;
    let mut conn = l.other().await;
    let mut known: Vec<String> = TABLES.iter().chain(&NOT_COPIED).map(|table| (*table).to_owned()).collect();
    known.sort();
    let found = tables::all(&mut conn).await;
    // A file has one writer, which needs no row.
    let without = known.iter().filter(|table| *table != "writers" || found.contains(table)).cloned();
    assert_eq!(found, without.collect::<Vec<_>>(), "each table is copied, or listed as one that is not");
    for (at, table) in TABLES.iter().enumerate() {
        for other in tables::referred_by(&mut conn, table).await {
            assert!(TABLES[..at].contains(&&*other), "{table} refers to {other}, which comes later");
        }
        let table = Table::of(&mut conn, table).await.unwrap();
        assert!(!table.key.is_empty() && table.columns.len() > table.key.len(), "{table:?}");
    }
    let jobs = Table::of(&mut conn, "jobs").await.unwrap();
    assert!(jobs.numbers_its_rows() && jobs.columns.len() > 40, "{jobs:?}");
    let parts = Table::of(&mut conn, "job_parts").await.unwrap();
    assert_eq!((parts.key_list(""), parts.numbers_its_rows()), ("job, part".into(), false));
}

#[tokio::test]
async fn a_copy_has_all_that_the_ledger_has_and_the_ledger_says_that_it_was_moved() {
    for to_server in engines() {
        let l = worked(12).await;
        let process = l.store.enlist("{}".into()).await.unwrap();
        let (id, given) = (l.store.id().to_owned(), process.id());
        l.store.leave(process).await.unwrap();
        let before = l.store.batch("b").await.unwrap().unwrap();
        let opening = target(&l, "copy.db", to_server).await;
        let to = Store::open(opening.clone()).await.unwrap().0;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let on: OnCopy = Arc::new({
            let seen = Arc::clone(&seen);
            move |progress| seen.lock().unwrap().push(progress)
        });
        let copying = LedgerCopy::begin(source(&l).await, to).await.unwrap();
        let copied = copying.copy(&on).await.unwrap();
        copying.carry(&on).await.unwrap();
        copying.end(false).await.unwrap();
        let rows = |table| copied.iter().find(|of| of.table == table).unwrap().rows;
        assert_eq!((rows("batches"), rows("jobs"), rows("calls"), rows("answers")), (1, 12, 5, 4));
        let last = *seen.lock().unwrap().last().unwrap();
        assert!(last.step == CopyStep::Compare && last.done == last.all && last.all > 20, "{last:?}");

        // The source is not worked any more: by nobody who opens it, and by nobody who has it open.
        let refused = Store::open(Opening { clock: l.clock.clone(), ..Opening::new(&l.path) }).await.unwrap_err();
        assert!(refused.to_string().contains(" was moved to "), "{refused}");
        let refused = l.store.enlist("{}".into()).await.unwrap_err();
        assert!(matches!(&refused, StoreError::Copied { mark, .. } if mark.end == CopyEnd::Moved), "{refused}");

        let to = Store::open(Opening { for_copy: false, ..opening }).await.unwrap().0;
        assert_eq!(to.id(), id);
        let after = to.batch("b").await.unwrap().unwrap();
        assert_eq!((after.id, after.spent, after.name), (before.id, before.spent, before.name));
        let process = to.enlist("{}".into()).await.unwrap();
        assert!(process.id() > given, "a number of a process never comes again");
        assert_eq!(claim(&to, 20).await.len(), 8, "what was in flight is due, and the rest");
        to.submit(before.id, vec![crate::store::tests::job(99, "/r/99.wav")], vec![]).await.unwrap();
        assert_eq!(to.counts(before.id).await.unwrap().total(), 13, "the numbers of new rows are free");
        to.leave(process).await.unwrap();
    }
}

#[tokio::test]
async fn a_copying_that_was_cut_off_goes_on_and_its_ends_are_no_ledgers_meanwhile() {
    for to_server in engines() {
        let l = worked(30).await;
        let opening = target(&l, "copy.db", to_server).await;
        let to = Store::open(opening.clone()).await.unwrap().0;
        let copying = LedgerCopy::begin(source(&l).await, to).await.unwrap();
        // A part of a table is there when it is killed.
        copying.copy_rows(&silent()).await.unwrap();
        for statement in
            ["DELETE FROM answers", "DELETE FROM calls", "DELETE FROM job_parts", "DELETE FROM jobs WHERE id > 11"]
        {
            let gone = copying
                .to
                .write(move |conn, _| Box::pin(async move { query(statement).execute(conn).await.map(drop) }));
            gone.await.unwrap();
        }
        copying.give_up().await;
        let refused = Store::open(Opening { for_copy: false, create: false, ..opening.clone() }).await.unwrap_err();
        assert!(refused.to_string().contains("is an unfinished copy of the ledger "), "{refused}");
        assert!(refused.hint().unwrap().contains("`wavebatch ledger copy` again"), "{refused}");
        let refused = Store::open(Opening::new(&l.path)).await.unwrap_err();
        assert!(refused.to_string().contains(" is being copied to "), "{refused}");
        assert!(l.store.write(|_, _| Box::pin(async { Ok(()) })).await.is_err(), "a verb that has it open stops");

        let to = Store::open(opening.clone()).await.unwrap().0;
        let copying = LedgerCopy::begin(source(&l).await, to).await.unwrap();
        assert_eq!(copying.copy(&silent()).await.unwrap().iter().find(|of| of.table == "jobs").unwrap().rows, 30);
        copying.end(false).await.unwrap();
        Store::open(Opening { for_copy: false, ..opening }).await.unwrap();
    }
}

#[tokio::test]
async fn a_ledger_that_was_worked_since_is_copied_anew() {
    for to_server in engines() {
        let l = worked(8).await;
        let opening = target(&l, "copy.db", to_server).await;
        let copying = LedgerCopy::begin(source(&l).await, Store::open(opening.clone()).await.unwrap().0).await.unwrap();
        copying.copy_rows(&silent()).await.unwrap();
        copying.give_up().await;
        let mark = source(&l).await.reopen().await.unwrap().unwrap();
        assert_eq!(mark.end, CopyEnd::Source);
        assert_eq!(source(&l).await.reopen().await.unwrap(), None);
        let store = Store::open(Opening { clock: l.clock.clone(), ..Opening::new(&l.path) }).await.unwrap().0;
        let process = store.enlist("{}".into()).await.unwrap();
        for job in claim(&store, 9).await {
            store.settle(settle(&job, done(JobState::Failed))).await.unwrap();
        }
        store.leave(process).await.unwrap();
        let to = Store::open(opening.clone()).await.unwrap().0;
        assert!(matches!(to.reopen().await, Err(CopyError::Store(StoreError::Copied { .. }))), "no ledger yet");
        let copying = LedgerCopy::begin(source(&l).await, to).await.unwrap();
        copying.copy(&silent()).await.unwrap();
        copying.end(true).await.unwrap();
        // It was kept in use, and can be copied again, to another place alone.
        let store = Store::open(Opening { clock: l.clock.clone(), ..Opening::new(&l.path) }).await.unwrap().0;
        store.can_be_written().await.unwrap();
        let to = Store::open(opening).await.unwrap().0;
        let refused = LedgerCopy::begin(source(&l).await, to).await.unwrap_err();
        assert!(matches!(refused, CopyError::Same { .. }), "{refused}");
    }
}

#[tokio::test]
async fn ledgers_in_use_and_full_ones_are_refused_and_left_as_they_are() {
    let l = worked(6).await;
    let full = worked(5).await;
    let opening = target(&l, "copy.db", false).await;
    let to = || async { Store::open(opening.clone()).await.unwrap().0 };
    let worker = Store::open(Opening { clock: l.clock.clone(), ..Opening::new(&l.path) }).await.unwrap().0;
    let process = worker.enlist("{}".into()).await.unwrap();
    let refused = LedgerCopy::begin(source(&l).await, to().await).await.unwrap_err();
    assert!(matches!(&refused, CopyError::InUse { ledger, .. } if *ledger == l.store.address()), "{refused}");
    assert!(refused.to_string().contains(&format!("in use by process {}", std::process::id())), "{refused}");
    worker.leave(process).await.unwrap();

    let empty = to().await;
    let process = empty.enlist("{}".into()).await.unwrap();
    let refused = LedgerCopy::begin(source(&l).await, to().await).await.unwrap_err();
    assert!(matches!(&refused, CopyError::InUse { ledger, .. } if *ledger == empty.address()), "{refused}");
    empty.leave(process).await.unwrap();

    let refused = LedgerCopy::begin(source(&l).await, source(&full).await).await.unwrap_err();
    assert!(matches!(&refused, CopyError::NotEmpty { table: "batches", .. }), "{refused}");
    let refused = LedgerCopy::begin(source(&l).await, source(&l).await).await.unwrap_err();
    assert!(matches!(refused, CopyError::Same { .. }), "{refused}");

    l.store.begin(batch("new"), crate::store::Resubmission::default()).await.unwrap();
    let refused = LedgerCopy::begin(source(&l).await, to().await).await.unwrap_err();
    assert!(matches!(&refused, CopyError::Submitting { batch, .. } if batch == "new"), "{refused}");
    // None of them marked anything.
    for ledger in [&l, &full] {
        ledger.store.can_be_written().await.unwrap();
        assert!(CopyMark::find(&ledger.store.read).await.unwrap().is_none());
    }
    assert!(CopyMark::find(&to().await.read).await.unwrap().is_none());
}

#[tokio::test]
async fn nobody_begins_to_work_while_it_is_copied() {
    let l = worked(6).await;
    let waiting = Store::open(Opening { clock: l.clock.clone(), ..Opening::new(&l.path) }).await.unwrap().0;
    let opening = target(&l, "copy.db", false).await;
    let copying = LedgerCopy::begin(source(&l).await, Store::open(opening.clone()).await.unwrap().0).await.unwrap();
    let refused = waiting.enlist("{}".into()).await.unwrap_err();
    assert!(refused.to_string().contains("is being copied to"), "{refused}");
    drop(waiting);
    // A second copying of the same ledger waits for its turn.
    let refused = LedgerCopy::begin(source(&l).await, Store::open(opening).await.unwrap().0).await.unwrap_err();
    assert!(matches!(refused, CopyError::InUse { .. }), "{refused}");
    copying.copy(&silent()).await.unwrap();
    copying.end(false).await.unwrap();
}

#[tokio::test]
async fn a_copy_that_differs_is_found_out_and_made_anew() {
    for to_server in engines() {
        let l = worked(9).await;
        let opening = target(&l, "copy.db", to_server).await;
        let copying = LedgerCopy::begin(source(&l).await, Store::open(opening.clone()).await.unwrap().0).await.unwrap();
        copying.copy_rows(&silent()).await.unwrap();
        let changed = "UPDATE jobs SET key = key || 'x' WHERE ordinal = 3";
        copying
            .to
            .write(move |conn, _| Box::pin(async move { query(changed).execute(conn).await.map(drop) }))
            .await
            .unwrap();
        let differs = copying.copy(&silent()).await.unwrap_err();
        assert!(matches!(differs, CopyError::Differs { table: "jobs", here: 9, there: 9 }), "{differs}");
        copying.give_up().await;
        let copying = LedgerCopy::begin(source(&l).await, Store::open(opening).await.unwrap().0).await.unwrap();
        copying.copy(&silent()).await.unwrap();
        copying.end(false).await.unwrap();
    }
}

#[tokio::test]
async fn a_text_that_no_server_holds_is_named() {
    if harness::postgres::Cluster::get().is_none() {
        return harness::postgres::tell_skipped();
    }
    let l = worked(5).await;
    if !matches!(l.store.read, Readers::Sqlite(_)) {
        return;
    }
    l.store
        .write(|conn, _| {
            Box::pin(async move {
                query("UPDATE jobs SET error = $1 WHERE ordinal = 1").bind("a\0b").execute(conn).await.map(drop)
            })
        })
        .await
        .unwrap();
    let opening = target(&l, "copy.db", true).await;
    let copying = LedgerCopy::begin(source(&l).await, Store::open(opening).await.unwrap().0).await.unwrap();
    let refused = copying.copy(&silent()).await.unwrap_err();
    assert!(matches!(&refused, CopyError::Nul { table: "jobs", column, .. } if column == "error"), "{refused}");
}

crate::store::harness::on_postgres_too! {
    the_tables_are_all_of_the_schema_and_in_order,
    a_copy_has_all_that_the_ledger_has_and_the_ledger_says_that_it_was_moved,
    a_copying_that_was_cut_off_goes_on_and_its_ends_are_no_ledgers_meanwhile,
    a_ledger_that_was_worked_since_is_copied_anew,
    ledgers_in_use_and_full_ones_are_refused_and_left_as_they_are,
    nobody_begins_to_work_while_it_is_copied,
    a_copy_that_differs_is_found_out_and_made_anew,
    a_text_that_no_server_holds_is_named,
}
