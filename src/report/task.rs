//! What a task has to tell of its reports.

use std::{fmt, sync::Arc};

use super::row::Column;
use crate::{
    domain::{
        batch::BatchSpec,
        synthesis_options::{AudioFormat, SampleRate},
        task::{SpecError, Task, TaskSpec, Tasks},
    },
    store::{ReportRow, StoreError},
};

/// A task, as reports know it.
pub trait ReportTask: Task {
    /// The columns of its reports, in their order.
    fn columns(&self) -> &'static [Column];

    /// Columns that no other task has. They come behind the others, and before the manifest's.
    fn own_columns(&self) -> &'static [&'static str] {
        &[]
    }

    /// What tells what the jobs of a batch ask for.
    ///
    /// # Errors
    /// What is asked of the task cannot be read.
    fn jobs(&self, spec: &TaskSpec) -> Result<Box<dyn AskedOfJobs>, SpecError>;
}

/// What the jobs of one batch ask for.
pub trait AskedOfJobs: fmt::Debug + Send + Sync {
    /// What a job asks for. Nobody asks it of a bad line.
    fn of(&self, job: &ReportRow) -> AskedOfJob;
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
