//! The engine: the one connection that writes, how values stand in rows, what SQLite needs, and who works on the ledger.

pub(super) mod beat;
pub(super) mod columns;
pub(super) mod commands;
pub(super) mod open;
pub(super) mod packed;
pub(super) mod processes;
pub(super) mod rows;
pub(super) mod scratch;
pub(super) mod space;
pub(super) mod sql;
pub(super) mod writer;
