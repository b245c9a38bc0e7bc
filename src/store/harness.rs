//! Runs tests on either engine: a test that asks for a ledger in a file gets one on a server, if it was called by
//! [`postgres::on_postgres`].

use std::path::{Path, PathBuf};

use crate::store::{LedgerAddress, ServerAddress, engine::db::Conn};

#[path = "../../tests/support/postgres.rs"]
pub(super) mod postgres;

/// The tests of the ledger that hold for files alone, and why.
const ON_FILES_ALONE: &[(&str, &str)] = &[
    ("a_file_without_its_row_is_the_answer", "the lock of its dead process is a file"),
    ("a_lock_goes_before_its_row_and_a_row_without_one_is_a_dead_processs", "the lock is a file"),
    ("a_process_whose_lock_is_free_is_dead_at_once", "the lock is a file; on a server see `engine/postgres_tests.rs`"),
    ("a_call_that_was_put_back_while_its_owner_lived_is_looked_at_when_it_is_dead", "the same"),
    ("a_dead_process_leaves_its_jobs_due_and_its_slots_taken", "the same"),
    ("a_backup_that_is_cut_or_changed_anywhere_is_refused", "it has the file of a ledger"),
    ("a_backup_of_a_newer_program_and_one_with_more_in_it_are_refused", "the same"),
    ("who_holds_the_write_lock_is_found", "the lock of a file"),
    ("few_rows_are_found_by_the_index_of_the_few", "the plans are those of SQLite"),
    ("a_reader_does_not_hold_pruning_up", "the write-ahead log of SQLite"),
    ("nights_that_are_pruned_leave_a_ledger_that_does_not_grow", "the pages of SQLite"),
    ("only_what_is_finished_and_asked_for_goes", "its rows are made by functions of SQLite"),
    ("a_newer_ledger_and_a_damaged_one_are_refused", "a damaged file; the newer one is tested in `engine/schema.rs`"),
    ("rows_that_refer_to_nothing_are_found", "a server lets nobody write such a row"),
    ("objects_are_read_in_order_and_few_are_in_memory", "it has no ledger"),
    ("the_last_handle_leaves_one_file", "the write-ahead log of SQLite"),
    ("who_made_the_ledger_keeps_its_lock_on_it", "the lock of a file"),
    ("who_only_looks_needs_no_write_lock", "the lock of a file; on a server reading needs none"),
    ("a_ledger_that_is_locked_cannot_be_written", "the lock of a file; on a server see `engine/postgres_tests.rs`"),
    ("pages_that_were_split_keep_no_copies_of_what_is_forgotten", "the pages of SQLite"),
    ("the_write_that_proves_it_reaches_the_disk_and_changes_nothing", "the write-ahead log of SQLite"),
];

/// The address on the server that stands for that of a file, if this thread's test runs there. Each path has a schema.
/// With the folder of its local files.
pub(super) fn on_server(ledger: LedgerAddress) -> Option<(LedgerAddress, PathBuf)> {
    let LedgerAddress::File(path) = &ledger else { return None };
    let url = postgres::stands_for(path)?;
    Some((ServerAddress::parse(&url).unwrap().into(), path.with_extension("db-spool")))
}

/// A connection to the ledger that stands for this file, if this thread's test runs on a server.
pub(super) async fn connect(path: &Path) -> Option<Conn> {
    let (LedgerAddress::Server(server), _) = on_server(path.into())? else { return None };
    Some(server.connect(&postgres::schema_of(path)).await.into())
}

/// The tests of a module that hold on PostgreSQL too.
macro_rules! on_postgres_too {
    ($($test:ident),+ $(,)?) => {
        mod on_postgres {
            $(
                #[test]
                fn $test() {
                    crate::store::harness::postgres::on_postgres(super::$test);
                }
            )+
        }
    };
}
pub(super) use on_postgres_too;

#[test]
fn every_test_of_the_ledger_runs_on_both_engines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let files = walkdir::WalkDir::new(root)
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file() && !entry.path().ends_with("harness.rs"));
    let mut seen = 0;
    for file in files {
        let text = std::fs::read_to_string(file.path()).unwrap();
        let listed = text.split_once("on_postgres_too! {").map_or("", |(_, list)| list);
        for test in text.split("#[tokio::test").skip(1) {
            let Some(name) = test.split_once("async fn ").and_then(|(_, rest)| rest.split_once('(')) else { continue };
            let is_alone = ON_FILES_ALONE.iter().any(|(alone, _)| *alone == name.0);
            let is_listed = listed.lines().any(|line| line.trim().trim_end_matches(',') == name.0);
            assert!(is_alone != is_listed, "{}: {} is to run on both engines", file.path().display(), name.0);
            seen += 1;
        }
    }
    assert!(seen > 120, "{seen} tests were found");
}
