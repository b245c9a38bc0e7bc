//! What holds on a server alone: which processes live, locks, connections that break, and what is refused.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use jiff::tz::TimeZone;

use crate::domain::{
    cost::MicroUsd,
    job::{CallState, JobState},
    padding::PaddingSizes,
    pool::{Limits, Pool},
    spend::SpendRule,
};
use crate::store::{
    Claimed, LedgerAddress, Life, Opening, PermitRequest, ServerAddress, Store, StoreError, Timing, Upload,
    engine::db::{query, query_scalar},
    harness,
    tests::{answered, ask, batch, claim, done, ended, ledger, open, settle},
};

/// The round trips of each transaction of this thread's writers.
#[derive(Clone, Default)]
struct Trips(Arc<Mutex<Vec<u64>>>);

impl tracing::field::Visit for Trips {
    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        if field.name() == "trips" {
            self.0.lock().unwrap().push(value);
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
}

impl tracing::Subscriber for Trips {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "wavebatch::store::engine::postgres"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::Id {
        tracing::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &tracing::Id) {}

    fn exit(&self, _: &tracing::Id) {}
}

async fn a_transaction_makes_at_most_seven_round_trips() {
    // With one subscriber alone, the thread that first meets an event decides for all threads whether anybody wants it.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let trips = Trips::default();
    let _counting = tracing::subscriber::set_default(trips.clone());
    let l = ledger().await;
    l.submit(batch("a"), 40).await;
    l.submit(batch("b"), 40).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    trips.0.lock().unwrap().clear();
    let spend = Some(Arc::new(SpendRule { day: Some(MicroUsd(250_000)), month: None, zone: TimeZone::UTC }));
    let asking = |job: &Claimed| PermitRequest {
        spend: spend.clone(),
        upload: Some(Upload { bytes: 20_000, padding: PaddingSizes::new(8, 64) }),
        ..ask(job, Limits { requests_per_minute: Some(500), concurrency: Some(20) })
    };
    let (mut claimed, mut sent, mut answered_jobs) = (claim(&l.store, 8).await, Vec::new(), Vec::new());
    for _ in 0..6 {
        // All that a process does, in one transaction: the writer takes what waits for it.
        let ends = sent.iter().map(|(_, call)| l.store.end(ended(*call, answered())));
        let settles = answered_jobs.iter().map(|job| l.store.settle(settle(job, done(JobState::Succeeded))));
        let permits = claimed.iter().map(|job| l.store.permit(asking(job)));
        l.clock.advance(l.store.timing().beat_ms * 3);
        let (ends, settles, permits, next) = futures::join!(
            futures::future::join_all(ends),
            futures::future::join_all(settles),
            futures::future::join_all(permits),
            claim(&l.store, 8),
        );
        ends.into_iter().for_each(|end| assert_eq!(end.unwrap().state, CallState::Answered));
        settles.into_iter().for_each(|settled| assert!(settled.unwrap()));
        let granted = claimed.drain(..).zip(permits).map(|(job, permit)| (job, permit.unwrap().unwrap().call));
        answered_jobs = std::mem::replace(&mut sent, granted.collect()).into_iter().map(|(job, _)| job).collect();
        claimed = next;
    }
    assert_eq!(answered_jobs.len() + sent.len(), 16);
    let trips = trips.0.lock().unwrap().clone();
    assert!(trips.len() >= 7 && trips.iter().all(|n| *n <= 7), "{trips:?}");
    assert!(trips.iter().filter(|n| **n >= 5).count() >= 5, "whole rounds were one transaction: {trips:?}");
}

/// Until then it plans as if there were few lines.
async fn a_large_batch_is_known_to_the_server_as_soon_as_it_is_submitted() {
    let l = ledger().await;
    let known = "SELECT CAST(reltuples AS BIGINT) FROM pg_class WHERE oid = CAST('jobs' AS REGCLASS)";
    let known = async || query_scalar::<i64>(known).fetch_one(&l.store.read).await.unwrap();
    l.submit(batch("few"), 10).await;
    assert_eq!(known().await, -1);
    l.submit(batch("many"), 5_000).await;
    assert_eq!(known().await, 5_010);
}

/// Ends all sessions of a ledger's schema but the asking one, as an administrator may.
async fn end_sessions(conn: &mut crate::store::engine::db::Conn) {
    query(
        "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a
         WHERE a.pid <> pg_backend_pid() AND a.pid IN (SELECT l.pid FROM pg_locks AS l
           WHERE l.locktype = 'advisory' AND l.classid = CAST(wb_class() AS OID))",
    )
    .fetch_all(conn)
    .await
    .unwrap();
}

async fn a_process_without_a_session_is_dead_after_a_silence() {
    let l = ledger().await;
    l.submit(batch("b"), 2).await;
    let other = open(&l.path, &l.clock).await;
    let them = other.enlist("{}".into()).await.unwrap();
    let j = claim(&other, 1).await.remove(0);
    other.permit(ask(&j, Limits::default())).await.unwrap().unwrap();
    assert_eq!(l.store.registered().await.unwrap()[0].life, Life::AtWork);
    other.shared.process.store(0, Ordering::Release);
    drop(them);
    other.close().await;
    assert_eq!(l.store.reap().await.unwrap(), 0, "its last heartbeat is young");
    l.clock.advance(7_000);
    let timing = Timing { lease_ms: 1_000, beat_ms: 200 };
    let opening = Opening { timing, clock: l.clock.clone(), ..Opening::new(&l.path) };
    let watcher = Store::open(opening).await.unwrap().0;
    // Sessions also end when the server starts again: only after a lease does that prove anything.
    let uptime = async || query_scalar::<i64>("SELECT wb_uptime_ms()").fetch_one(&watcher.read).await.unwrap();
    while uptime().await <= timing.lease_ms {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(watcher.registered().await.unwrap()[0].life, Life::Dead);
    assert_eq!(watcher.reap().await.unwrap(), 1);
    let _me = l.store.enlist("{}".into()).await.unwrap();
    assert!(claim(&l.store, 2).await.iter().any(|c| c.job == j.job), "no need to wait for the lease");
    let view = l.store.pool("acc", Pool::Pulse, &Limits::default()).await.unwrap();
    assert_eq!(view.traffic.in_flight, 1, "the vendor may still work on it");
}

async fn a_silent_process_with_a_session_lives() {
    let l = ledger().await;
    let other = open(&l.path, &l.clock).await;
    let _them = other.enlist("{}".into()).await.unwrap();
    l.clock.advance(10_000);
    assert_eq!(l.store.reap().await.unwrap(), 0);
    assert_eq!(l.store.registered().await.unwrap()[0].life, Life::AtWork);
}

async fn whoever_lost_its_session_connects_again_and_holds_its_lock() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 2).await;
    let me = l.store.enlist("{}".into()).await.unwrap();
    let mut other = l.other().await;
    end_sessions(&mut other).await;
    assert_eq!(claim(&l.store, 1).await.len(), 1, "the next write finds a new connection");
    let id = me.id();
    l.clock.advance(10_000);
    let watcher = open(&l.path, &l.clock).await;
    assert_eq!(watcher.reap().await.unwrap(), 0, "the new session shows that process {id} lives");
    assert_eq!(watcher.in_hand(b, id).await.unwrap(), 1);
}

async fn a_process_that_was_taken_for_dead_goes_on_under_another_number() {
    let l = ledger().await;
    l.submit(batch("b"), 2).await;
    let me = l.store.enlist("{}".into()).await.unwrap();
    let before = me.id();
    let j = claim(&l.store, 1).await.remove(0);
    let mut other = l.other().await;
    // As another process would, that found its session gone and its heartbeat old.
    query("UPDATE jobs SET due_at = 0 WHERE process = $1").bind(before).execute(&mut other).await.unwrap();
    query("DELETE FROM processes WHERE id = $1").bind(before).execute(&mut other).await.unwrap();
    l.clock.advance(l.store.timing().lease_ms);
    let mine = || l.store.shared.process.load(Ordering::Acquire);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while mine() == before && std::time::Instant::now() < deadline {
        l.store.write(|_, _| Box::pin(async { Ok(()) })).await.unwrap();
    }
    assert_ne!(mine(), before);
    let again = claim(&l.store, 2).await;
    assert!(again.iter().any(|c| c.job == j.job && c.token != j.token), "its old lease is lost");
    l.store.leave(me).await.unwrap();
    assert!(l.store.registered().await.unwrap().is_empty(), "it leaves under its new number");
}

/// Stands between a process and its server. It passes everything on, until it is told to swallow the answer to a commit,
/// and cuts the connection then.
struct Between {
    dir: tempfile::TempDir,
    swallows: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Between {
    fn new(server: &std::path::Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = tokio::net::UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
        let between = Self { dir, swallows: std::sync::Arc::default() };
        let (server, swallows) = (server.join(".s.PGSQL.5432"), std::sync::Arc::clone(&between.swallows));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = tokio::net::UnixStream::connect(&server).await.unwrap();
                tokio::spawn(pass_on(client, server, std::sync::Arc::clone(&swallows)));
            }
        });
        between
    }
}

async fn pass_on(
    mut client: tokio::net::UnixStream,
    mut server: tokio::net::UnixStream,
    swallows: std::sync::Arc<std::sync::atomic::AtomicBool>,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut asked, mut said) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            n = client.read(&mut asked) => {
                let Ok(n @ 1..) = n else { return };
                server.write_all(&asked[..n]).await.unwrap();
                let commits = asked[..n].windows(8).any(|bytes| bytes == b"; COMMIT");
                if commits && swallows.swap(false, Ordering::SeqCst) {
                    // The answer shows that it is committed, and never arrives.
                    let _ = server.read(&mut said).await;
                    return;
                }
            }
            n = server.read(&mut said) => {
                let Ok(n @ 1..) = n else { return };
                if client.write_all(&said[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn a_commit_whose_answer_is_lost_is_settled_by_asking() {
    let l = ledger().await;
    let mut other = l.other().await;
    let cluster = harness::postgres::Cluster::get().unwrap();
    let between = Between::new(&cluster.dir);
    let schema: String = query_scalar("SELECT CAST(current_schema() AS TEXT)").fetch_one(&mut other).await.unwrap();
    let through = cluster.url(&schema).replace(&*cluster.dir.to_string_lossy(), &between.dir.path().to_string_lossy());
    let ledger = ServerAddress::parse(&through).unwrap().into();
    let store = Store::open(Opening { ledger, ..Opening::new(&l.path) }).await.unwrap().0;
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for lost in [true, false, true] {
        between.swallows.store(lost, Ordering::SeqCst);
        let before: i64 = query_scalar("SELECT seq FROM ledger").fetch_one(&mut other).await.unwrap();
        let counted = std::sync::Arc::clone(&runs);
        let count = store.write(move |conn, _| {
            counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                query_scalar::<i64>("UPDATE ledger SET seq = seq + 1 RETURNING seq").fetch_one(conn).await
            })
        });
        assert_eq!(count.await.unwrap(), before + 1, "its caller gets what was committed");
        let after: i64 = query_scalar("SELECT seq FROM ledger").fetch_one(&mut other).await.unwrap();
        assert_eq!(after, before + 1, "in the ledger once");
        assert!(!between.swallows.load(Ordering::SeqCst), "the commit was seen");
    }
    assert_eq!(runs.load(Ordering::SeqCst), 3, "nothing ran again");
}

async fn a_write_waits_for_the_lock_no_longer_than_it_may() {
    let l = ledger().await;
    let opening = Opening { busy_timeout: Duration::from_millis(50), ..Opening::new(&l.path) };
    let (impatient, _) = Store::open(opening).await.unwrap();
    let mut other = l.other().await;
    query("BEGIN").execute(&mut other).await.unwrap();
    query("SELECT now_ms FROM wb_begin(gen_random_uuid())").fetch_one(&mut other).await.unwrap();
    assert!(matches!(impatient.can_be_written().await, Err(StoreError::Locked(_))));
    assert!(impatient.batches().await.unwrap().is_empty(), "reading needs no lock");
    query("ROLLBACK").execute(&mut other).await.unwrap();
    impatient.can_be_written().await.unwrap();
}

async fn the_time_is_the_servers() {
    let l = ledger().await;
    let opening = Opening { server_time: true, ..Opening::new(&l.path) };
    let store = Store::open(opening).await.unwrap().0;
    store.clock().step(-3_600_000);
    let (ours, theirs) = store
        .write(|conn, now| {
            Box::pin(async move { Ok((now, query_scalar::<i64>("SELECT wb_now()").fetch_one(conn).await?)) })
        })
        .await
        .unwrap();
    assert!((ours - theirs).abs() < 1_000, "{ours} {theirs}");
    assert!((store.clock().now() - theirs).abs() < 1_000, "this process follows it");
}

async fn what_cannot_be_a_ledger_is_refused_in_one_sentence() {
    let cluster = harness::postgres::Cluster::get().unwrap();
    let opened = |url: String| async move {
        let ledger = ServerAddress::parse(&url).unwrap().into();
        Store::open(Opening { ledger, ..Opening::new(std::path::PathBuf::new()) }).await.map(drop)
    };
    let server = ServerAddress::parse(&cluster.url("public")).unwrap();
    let mut admin: crate::store::engine::db::Conn = server.connect("public").await.into();
    for statement in [
        "CREATE SCHEMA IF NOT EXISTS theirs",
        "CREATE TABLE IF NOT EXISTS theirs.invoices (id BIGINT)",
        "DROP ROLE IF EXISTS nobody_here",
        "CREATE ROLE nobody_here LOGIN",
    ] {
        query(statement).execute(&mut admin).await.unwrap();
    }
    assert!(
        matches!(opened(cluster.url("theirs")).await, Err(StoreError::Foreign { table, .. }) if table == "invoices")
    );
    let poor = cluster.url("not_there_yet").replace("wavebatch@", "nobody_here@");
    assert!(matches!(opened(poor).await, Err(StoreError::NoRights(_))));
    let missing = cluster.url("x").replace("/postgres?", "/no_such_database?");
    assert!(matches!(opened(missing).await, Err(StoreError::Refused(_))));
    let unknown = cluster.url("x").replace("wavebatch@", "no_such_user@");
    assert!(matches!(opened(unknown).await, Err(StoreError::Refused(_))));
    let began = std::time::Instant::now();
    let nobody = "postgres://u@127.0.0.1:1/db".to_owned();
    assert!(matches!(opened(nobody).await, Err(StoreError::Unreachable(_))));
    assert!(began.elapsed() < Duration::from_secs(10));
}

/// Whoever dies while it makes the ledger must not leave a table that looks like another program's.
async fn a_ledger_that_was_begun_and_not_made_can_be_made() {
    let cluster = harness::postgres::Cluster::get().unwrap();
    let url = cluster.url("begun");
    let server = ServerAddress::parse(&url).unwrap();
    let mut admin: crate::store::engine::db::Conn = server.connect("public").await.into();
    query("CREATE SCHEMA begun").execute(&mut admin).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let (ledger, local_files) = (server.clone().into(), dir.path().join("local"));
        Store::open(Opening { ledger, local_files, ..Opening::new(dir.path()) })
    };
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = CAST('begun' AS REGNAMESPACE)";
    let (mut dead, mut made) = (0, 0);
    for delay in (0..).map(|n| Duration::from_millis(12 * n)) {
        let maker = tokio::time::timeout(delay, open()).await;
        made = query_scalar::<i64>(tables).fetch_one(&mut admin).await.unwrap();
        if let Ok(made) = maker {
            made.expect("nothing of the dead is in the way");
            break;
        }
        dead += 1;
    }
    assert!(dead > 3 && made > 20, "{dead} died; {made} tables and indexes");
}

async fn both_engines_have_the_same_tables() {
    let l = ledger().await;
    let mut server = l.other().await;
    let theirs = query(
        "SELECT CAST(c.table_name AS TEXT) || '.' || CAST(c.column_name AS TEXT) AS name FROM information_schema.columns AS c
         WHERE c.table_schema = current_schema() AND c.table_name NOT IN ('writers', '_sqlx_migrations')",
    );
    let mut theirs: Vec<String> =
        theirs.fetch_all(&mut server).await.unwrap().iter().map(|row| row.get("name")).collect();
    let dir = tempfile::tempdir().unwrap();
    let file = LedgerAddress::File(dir.path().join("w.db"));
    let store = Store::open(Opening { ledger: file, ..Opening::new(&l.path) }).await.unwrap().0;
    let ours = query(
        "SELECT t.name || '.' || c.name AS name FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c
         WHERE t.type IN ('table', 'view') AND t.name NOT LIKE 'sqlite%' AND t.name <> '_sqlx_migrations'",
    );
    let mut ours: Vec<String> = ours.fetch_all(&store.read).await.unwrap().iter().map(|row| row.get("name")).collect();
    theirs.sort();
    ours.sort();
    assert!(ours.len() > 150, "{}", ours.len());
    assert_eq!(theirs, ours);
}

/// Runs these bodies on the server.
macro_rules! on_a_server {
    ($($test:ident),+ $(,)?) => {
        mod on_postgres {
            $(
                #[test]
                fn $test() {
                    fn body() {
                        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(super::$test());
                    }
                    crate::store::harness::postgres::on_postgres(body);
                }
            )+
        }
    };
}

on_a_server! {
    a_process_without_a_session_is_dead_after_a_silence,
    a_silent_process_with_a_session_lives,
    whoever_lost_its_session_connects_again_and_holds_its_lock,
    a_process_that_was_taken_for_dead_goes_on_under_another_number,
    a_commit_whose_answer_is_lost_is_settled_by_asking,
    a_write_waits_for_the_lock_no_longer_than_it_may,
    the_time_is_the_servers,
    what_cannot_be_a_ledger_is_refused_in_one_sentence,
    a_ledger_that_was_begun_and_not_made_can_be_made,
    both_engines_have_the_same_tables,
    a_transaction_makes_at_most_seven_round_trips,
    a_large_batch_is_known_to_the_server_as_soon_as_it_is_submitted,
}
