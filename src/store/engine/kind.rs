//! The engines that a ledger can be on.

/// The engine behind a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Engine {
    /// A file on this machine.
    Sqlite,
    /// A server.
    Postgres,
}
