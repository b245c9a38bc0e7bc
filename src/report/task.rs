//! What a task has to tell of its reports.

use std::{fmt, sync::Arc};

use super::row::Column;
use crate::{
    domain::{
        batch::BatchSpec,
        cost::Rates,
        pool::Pool,
        synthesis_options::{AudioFormat, SampleRate},
        task::{SpecError, Task, TaskSpec, Tasks},
    },
    store::{ReportRow, Retried, StoreError},
};

/// A task, as reports know it.
pub trait ReportTask: Task {
    /// The columns of its reports, in their order.
    fn columns(&self) -> &'static [Column];

    /// Columns that no other task has. They come behind the others, and before the manifest's.
    fn own_columns(&self) -> &'static [&'static str] {
        &[]
    }

    /// What a batch asks for.
    ///
    /// # Errors
    /// It cannot be read.
    fn batch(&self, spec: &TaskSpec) -> Result<Box<dyn AskedOfBatch>, SpecError>;

    /// What the user is told of answers of the sandbox, where nothing is sent.
    fn invented(&self) -> &'static str {
        "answers are invented"
    }

    /// What is told behind the number of jobs that nobody asks for any more.
    fn gone(&self) -> &'static str {
        " of the batch are not in the manifest any more; they stay"
    }
}

/// What one batch asks of its task, for those who tell of it.
pub trait AskedOfBatch: fmt::Debug + Send + Sync {
    /// What a job asks for. Nobody asks it of a bad line.
    fn job(&self, job: &ReportRow) -> AskedOfJob;

    /// The pool of its model.
    fn pool(&self) -> Pool;

    /// The list price of its model, in words.
    fn price(&self, rates: &Rates) -> String;

    /// What the rest costs, in words, judging by what is done.
    fn price_of_rest(&self, _rest: &Rest, rates: &Rates) -> String {
        self.price(rates)
    }

    /// What a retry buys, and what that costs, in words.
    fn price_of_retry(&self, plan: &Retried, rates: &Rates) -> String;

    /// How many outputs come of so many lines, in words; `None` where a line has one.
    fn product(&self, _lines: u64, _jobs: u64) -> Option<String> {
        None
    }

    /// Whether answers may be posted to us. A column may set an option for a line.
    fn may_be_posted(&self, _option_columns: &[String]) -> bool {
        false
    }
}

/// What is left of a batch, and what is known of the audio of the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rest {
    /// Jobs that are left to do.
    pub jobs: u64,
    /// Those that have a result.
    pub done: u64,
    /// The audio of those, in ms.
    pub audio_ms: u64,
}

/// What a job asks for, as its row tells it; `None` is an empty cell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AskedOfJob {
    /// The model.
    pub model: Option<String>,
    /// The language.
    pub language: Option<String>,
    /// The name of its file.
    pub output_name: Option<String>,
    /// Who speaks.
    pub voice_id: Option<String>,
    /// The format of its file.
    pub output_format: Option<AudioFormat>,
    /// Its samples a second.
    pub sample_rate: Option<SampleRate>,
    /// The cells of the task's [own columns](ReportTask::own_columns).
    pub own: Vec<String>,
}

/// The task of a batch.
///
/// # Errors
/// There is no such task.
pub fn task_of(tasks: &Tasks<dyn ReportTask>, spec: &BatchSpec) -> Result<Arc<dyn ReportTask>, StoreError> {
    let unknown = || StoreError::Unexpected(format!("this release has no task `{}`", spec.task.name));
    tasks.get(spec.task.name).cloned().ok_or_else(unknown)
}

/// What a batch asks of its task.
///
/// # Errors
/// There is no such task, or it cannot read what is asked of it.
pub fn asked_of(tasks: &Tasks<dyn ReportTask>, spec: &BatchSpec) -> Result<Box<dyn AskedOfBatch>, StoreError> {
    let unread = |e| StoreError::Unexpected(format!("the specification of a batch of `{}`: {e}", spec.definition));
    task_of(tasks, spec)?.batch(&spec.task).map_err(unread)
}
