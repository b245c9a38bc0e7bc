//! The engine: the one connection that writes, how values are stored in rows, what each database needs, the processes at work.

pub(super) mod address;
pub(super) mod beat;
pub(super) mod columns;
pub(super) mod commands;
pub(super) mod db;
pub(super) mod kind;
mod link;
pub(super) mod mark;
mod open;
pub(super) mod opening;
pub(super) mod packed;
mod postgres;
pub(super) mod processes;
pub(super) mod rows;
pub(super) mod schema;
pub(super) mod scour;
pub(super) mod scratch;
pub(super) mod sessions;
pub(super) mod space;
mod sql;
pub(super) mod sqlite;
mod statistics;
pub(super) mod tables;
pub(super) mod writer;

#[cfg(test)]
mod postgres_tests;
