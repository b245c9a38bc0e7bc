//! Read-only queries that return plain data.

pub(super) mod check;
pub(super) mod engine;
pub(super) mod ledger_views;
pub(super) mod read;
pub(super) mod reply_counts;
pub(super) mod sample;
pub(super) mod selection;
pub(super) mod sizes;
pub(super) mod spend;
pub(super) mod synthesis_counts;
pub(super) mod views;
pub(super) mod vitals;
