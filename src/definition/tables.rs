//! The tables of a definition that every task has.

use super::{
    draft::{COLUMNS, REPORT, ROOT, RUN},
    extra::EXTRA,
    fields::FieldTable,
    notify::NOTIFY,
    schedule_draft::SCHEDULE,
    stores::{SINK, SOURCE, STORE},
};

/// The tables of a definition that every task has, in the order of the reference. Tables of one name belong together.
pub const TABLES: &[FieldTable] = &[
    ROOT,
    COLUMNS,
    RUN,
    REPORT,
    STORE.named("report"),
    SOURCE,
    STORE.named("source"),
    SINK,
    STORE.named("sink"),
    SCHEDULE,
    NOTIFY,
    EXTRA,
];
