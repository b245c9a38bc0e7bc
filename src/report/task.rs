//! What reports need from a task.

use std::{fmt, sync::Arc};

use super::row::{Column, OwnCell};
use crate::{
    domain::{
        batch::BatchSpec,
        cost::{MicroUsd, Rates},
        cut::Part,
        identity::Identity,
        pool::Pool,
        synthesis::ClipFormat,
        synthesis_options::{AudioFormat, SampleRate},
        task::{SpecError, Task, TaskSpec, Tasks},
    },
    store::{Field, JobKeys, PartKeys, ReportRow, Retried, StoreError},
};

/// A report column that only one task has: its name, and its meaning for the reference. `{role}` in a name stands for each role of
/// a batch.
pub type OwnColumn = (&'static str, &'static str);

/// A task, in its report role.
pub trait ReportTask: Task {
    /// The columns of its reports, in their order.
    fn columns(&self) -> &'static [Column];

    /// Columns that no other task has, as the reference shows them. Each batch says [which of them](BatchRequest::own_columns) its
    /// report has. They follow the task's other columns, and precede the manifest's.
    fn own_columns(&self) -> &'static [OwnColumn] {
        &[]
    }

    /// What a batch requests.
    ///
    /// # Errors
    /// It cannot be read.
    fn batch(&self, spec: &TaskSpec) -> Result<Box<dyn BatchRequest>, SpecError>;

    /// The message about the sandbox's invented answers, for which nothing is sent.
    fn invented(&self) -> &'static str {
        "answers are invented"
    }

    /// The text after the number of jobs that are no longer requested.
    fn gone(&self) -> &'static str {
        " of the batch not in the manifest any more; kept in its report"
    }
}

/// What a batch requests of its task, for reports and messages.
pub trait BatchRequest: fmt::Debug + Send + Sync {
    /// The names of its task's own columns that the report of this batch has, in their order: the same for all its rows.
    fn own_columns(&self) -> Vec<String> {
        Vec::new()
    }

    /// What a job requests. Never called for a bad line.
    fn job(&self, job: &ReportRow) -> JobRequest;

    /// The key of a job in a batch that this one feeds: one that no other job has.
    fn feed_key(&self, job: &ReportRow) -> String {
        self.job(job).output_name.unwrap_or_else(|| job.key.clone())
    }

    /// The cell of a job that this column shows, if lines can be chosen by it.
    fn field_of(&self, _column: Column) -> Option<Field> {
        None
    }

    /// The pool of its model.
    fn pool(&self) -> Pool;

    /// Whether its model has a price.
    fn is_priced(&self, rates: &Rates) -> bool;
    /// The list price of its model as text.
    fn price(&self, rates: &Rates) -> String;

    /// The cost of the remaining jobs as text, estimated from the finished ones.
    fn price_of_rest(&self, _rest: &Rest, rates: &Rates) -> String {
        self.price(rates)
    }

    /// What a retry buys and what it costs, as text.
    fn price_of_retry(&self, plan: &Retried, rates: &Rates) -> String;

    /// Another way in which suspect lines can be tried, by its name: its stored name, and what it costs for so many, as text.
    ///
    /// # Errors
    /// There is no such way, or it cannot help this batch: why, and what to do.
    fn other_way(&self, _name: &str, _plan: &Retried, _rates: &Rates) -> Result<(String, String), String> {
        Err("lines of this task can be tried in one way only".to_owned())
    }

    /// How many outputs this many lines have, as text; `None` if a line has one output.
    fn product(&self, _lines: u64, _jobs: u64) -> Option<String> {
        None
    }

    /// The parts of a job with these settings and this text. `None`: the task buys no parts, or the settings cannot be read.
    fn parts(&self, _overrides: &str, _text: &str, _rates: &Rates) -> Option<RequestedParts> {
        None
    }
    /// The cache keys of the parts that a job with these settings and this text can use again, if it was not worked yet.
    fn usable_cache_keys(&self, _overrides: &str, _text: &str) -> Vec<Identity> {
        Vec::new()
    }
    /// Whether answers may come by callback. A column may set an option for a line.
    fn may_be_posted(&self, _option_columns: &[String]) -> bool {
        false
    }
}

/// The remaining jobs of a batch, and what is known for estimating their audio.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rest {
    /// Remaining jobs.
    pub jobs: u64,
    /// Jobs with a result.
    pub done: u64,
    /// The audio of those, in ms.
    pub audio_ms: u64,
}

/// What a job requests, according to its row; `None` is an empty cell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobRequest {
    /// The model.
    pub model: Option<String>,
    /// The language.
    pub language: Option<String>,
    /// The name of its file.
    pub output_name: Option<String>,
    /// The voice.
    pub voice_id: Option<String>,
    /// The format of its file.
    pub output_format: Option<AudioFormat>,
    /// The file's sample rate, in Hz.
    pub sample_rate: Option<SampleRate>,
    /// The cells of the batch's [own columns](BatchRequest::own_columns).
    pub own: Vec<OwnCell>,
}

/// The parts that a job buys separately, in order.
#[derive(Debug, Clone)]
pub struct RequestedParts {
    /// What the job requests.
    pub request: JobRequest,
    /// What each part is bought as.
    pub clip: ClipFormat,
    /// The parts.
    pub parts: Vec<RequestedPart>,
}

/// A part that a job requests.
#[derive(Debug, Clone)]
pub struct RequestedPart {
    /// Its text, and its position.
    pub part: Part,
    /// The cache key of its clip.
    pub cache_key: Identity,
    /// The silence after it, in ms.
    pub pause_ms: u32,
    /// What its clip costs at list price.
    pub cost: MicroUsd,
}

impl PartKeys for Tasks<dyn ReportTask> {
    fn of_batch(&self, spec: &TaskSpec) -> Option<JobKeys> {
        let batch = self.get(spec.name)?.batch(spec).ok()?;
        Some(Box::new(move |overrides, text| batch.usable_cache_keys(overrides, text)))
    }
}

/// The task of a batch.
///
/// # Errors
/// There is no such task.
pub fn task_of(tasks: &Tasks<dyn ReportTask>, spec: &BatchSpec) -> Result<Arc<dyn ReportTask>, StoreError> {
    let unknown = || StoreError::Unexpected(format!("this release has no task `{}`", spec.task.name));
    tasks.get(spec.task.name).cloned().ok_or_else(unknown)
}

/// What a batch requests of its task.
///
/// # Errors
/// There is no such task, or it cannot read the specification.
pub fn asked_of(tasks: &Tasks<dyn ReportTask>, spec: &BatchSpec) -> Result<Box<dyn BatchRequest>, StoreError> {
    let unread = |e| StoreError::Unexpected(format!("the specification of a batch of `{}`: {e}", spec.definition));
    task_of(tasks, spec)?.batch(&spec.task).map_err(unread)
}
