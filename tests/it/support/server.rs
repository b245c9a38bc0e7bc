//! Runs tests on a PostgreSQL server: a test that opens a ledger in a file gets one there.

use std::{cell::RefCell, path::Path};

use wavebatch::store::ServerAddress;

#[path = "../../support/postgres.rs"]
pub mod postgres;

thread_local! {
    static OWN: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Crashes the server, and starts it again after so many seconds.
pub fn crash(cluster: &mut postgres::Cluster, down: u32) {
    use std::io::Write;
    writeln!(cluster._keeper, "QUIT {down}").expect("a keeper");
}

/// From now on this thread's test opens its ledgers in this schema of a cluster of its own.
pub fn on_its_own(cluster: &postgres::Cluster) {
    OWN.set(Some(cluster.url("own")));
}

/// The same as [`address_for`], for a ledger that is opened here.
pub fn stands_for(path: &Path) -> Option<ServerAddress> {
    address_for(path).map(|url| ServerAddress::parse(&url).expect("an address"))
}

/// The address on the server that stands for this file, if this thread's test runs there.
pub fn address_for(path: &Path) -> Option<String> {
    OWN.with_borrow(Clone::clone).or_else(|| postgres::stands_for(path))
}

/// The tests of a module that run on PostgreSQL too.
macro_rules! on_postgres_too {
    ($($test:ident),+ $(,)?) => {
        mod on_postgres {
            $(
                #[test]
                fn $test() {
                    crate::support::server::postgres::on_postgres(super::$test);
                }
            )+
        }
    };
}
pub(crate) use on_postgres_too;

/// The same, where `cargo test` leaves them to the gate: `cargo test -- --ignored on_postgres`.
macro_rules! on_postgres_in_the_gate {
    ($($test:ident),+ $(,)?) => {
        mod on_postgres {
            $(
                #[test]
                #[ignore = "the gate runs it"]
                fn $test() {
                    crate::support::server::postgres::on_postgres(super::$test);
                }
            )+
        }
    };
}
pub(crate) use on_postgres_in_the_gate;
