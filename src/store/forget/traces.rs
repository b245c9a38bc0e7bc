//! Whether anything is left of a forgotten line in the ledger: the registry of personal columns says where to look.

use super::personal::PERSONAL;
use crate::domain::job::{JobId, JobState};
use crate::store::engine::db::{query_as, query_scalar};
use crate::store::{Store, StoreError};

/// What the ledger has under the number of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobTraces {
    /// Its key; `None`: it is not there.
    pub key: Option<String>,
    /// Whether it is a tombstone.
    pub is_forgotten: bool,
    /// Its state.
    pub state: Option<JobState>,
    /// Personal columns that are not empty, as `table.column`.
    pub columns: Vec<String>,
}

impl Store {
    /// What is left of a job.
    pub async fn traces_of(&self, job: JobId) -> Result<JobTraces, StoreError> {
        let row: Option<(String, bool, JobState)> =
            query_as("SELECT key, forgotten_at IS NOT NULL, state FROM jobs WHERE id = $1")
                .bind(job)
                .fetch_optional(&self.read)
                .await?;
        let mut traces = JobTraces { key: None, is_forgotten: false, state: None, columns: Vec::new() };
        if let Some((key, is_forgotten, state)) = row {
            traces = JobTraces { key: Some(key), is_forgotten, state: Some(state), columns: Vec::new() };
        }
        for table in PERSONAL.iter().filter(|table| table.table != "forget_items") {
            for column in table.personal {
                // What has no value for "nothing" is all zeros then.
                let empty = match *column {
                    "source_id" | "options_id" => format!("unhex('{}')", "00".repeat(16)),
                    _ => "NULL".to_owned(),
                };
                let left: bool = query_scalar(format!(
                    "SELECT EXISTS (SELECT 1 FROM {} WHERE {} AND {column} IS DISTINCT FROM {empty})",
                    table.table, table.of_job
                ))
                .bind(job)
                .fetch_one(&self.read)
                .await?;
                if left {
                    traces.columns.push(format!("{}.{column}", table.table));
                }
            }
        }
        Ok(traces)
    }
}
