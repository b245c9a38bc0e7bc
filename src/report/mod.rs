//! The results of a batch: a table with a row per job (CSV, or JSON lines), and a summary.

pub mod csv;
pub mod feed;
pub mod format;
pub mod publish;
pub mod row;
pub mod summary;
pub mod wide;

mod cells;
mod defuse;
#[cfg(test)]
mod equal_tests;
mod jsonl;
mod lines;
mod place;
mod publish_error;
#[cfg(test)]
mod publish_tests;
mod recall;
#[cfg(test)]
mod recall_tests;
mod recalled;
mod summarize;
#[cfg(test)]
mod synthesis_tests;
mod table;
mod task;
pub(crate) mod words;
mod writer;

pub use self::table::remedy;
pub use self::task::{
    BatchRequest, JobRequest, OwnColumn, ReportTask, RequestedPart, RequestedParts, Rest, asked_of, task_of,
};
