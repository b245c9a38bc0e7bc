//! The engine: the one connection that writes, how values are stored in rows, what SQLite needs, the processes at work.

pub(super) mod beat;
pub(super) mod columns;
pub(super) mod commands;
pub(super) mod open;
pub(super) mod packed;
pub(super) mod processes;
pub(super) mod rows;
pub(super) mod schema;
pub(super) mod scratch;
pub(super) mod space;
pub(super) mod sql;
pub(super) mod writer;
