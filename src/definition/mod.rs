//! Reading definitions (`jobs/*.toml`) and manifests; every fault told with file, line and column name.

pub mod fault;
pub mod manifest;
pub mod pronunciations;
pub mod prose;
pub mod template;
pub mod text;

pub mod build;
#[cfg(test)]
mod dated_tests;
pub(crate) mod dates;
pub(crate) mod draft;
mod extra;
pub(crate) mod notify;
pub(crate) mod origin;
mod overrides;
pub(crate) mod paths;
mod policy;
mod schedule;
mod schedule_draft;
#[cfg(test)]
mod schedule_tests;
mod stores;
mod synthesis;
pub(crate) mod targets;
mod task;
#[cfg(test)]
mod tests;
pub mod walk;

use std::{
    any::Any,
    path::{Path, PathBuf},
    sync::Arc,
};

use globset::GlobSet;
use jiff::civil::Date;

use crate::domain::{
    batch::{BatchName, BatchSpec, ReportSettings, RunSettings},
    query::QueryRules,
    s3::{S3Settings, SinkSettings},
    schedule::Schedule,
    task::Tasks,
};

pub use self::{
    fault::{Fault, Faults, Place},
    manifest::{BadLine, Columns, Manifest, ManifestFormat, ManifestLine, ManifestRow, Scan, ScanDepth, Spooled},
    notify::Notify,
    origin::Origin,
    overrides::{AdHoc, Overrides, TaskFlags},
    policy::{BadLines, NoSource},
    schedule::Timetable,
    synthesis::Synthesizing,
    task::{Built, DefinitionTask, ExtraRules, Page, TaskDefinition, TaskDraft, Transcribing},
    template::Template,
};

/// How a batch is made, with the command line merged in: everything but the manifest's lines.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The definition's name; of an ad-hoc batch, the name made from its sources.
    pub name: String,
    /// What is done with each line.
    pub of: Arc<dyn DefinitionTask>,
    /// How it is done.
    pub task: Arc<dyn TaskDefinition>,
    /// The batch's name.
    pub batch: BatchName,
    /// The batch's date, where one is asked for.
    pub date: Option<Date>,
    /// Whether the batch's name is made of its date: then the same manifest on the next day is the same batch.
    pub dated: bool,
    /// Where the lines come from.
    pub origin: Origin,
    /// The manifest as it is shown to the user: as typed, without secrets.
    pub manifest: String,
    /// The manifest's address as it is written: a definition's template with its names unexpanded, relative to the
    /// definition; of the command line, the real absolute path. Under another one a batch has other lines.
    pub address: String,
    /// How the manifest is written, where that does not follow from its name.
    pub manifest_format: Option<ManifestFormat>,
    /// Where outputs go: an absolute directory, or `s3://bucket/prefix/` (always with its last `/`).
    pub output: String,
    /// Which store the S3 sources are in.
    pub source: S3Settings,
    /// Whether servers of the internet may redirect into private networks.
    pub private_redirects: bool,
    /// What of queries identifies recordings, and what of them is shown.
    pub queries: QueryRules,
    /// Which store the outputs go to, and how they are kept there.
    pub sink: SinkSettings,
    /// The column or template for the key, where it is named.
    pub key_column: Option<Template>,
    /// What happens to bad lines.
    pub bad_lines: BadLines,
    /// Whether a manifest without lines is none the worse for it.
    pub allow_empty: bool,
    /// Only the first lines of the manifest.
    pub limit: Option<u64>,
    /// How it runs.
    pub run: RunSettings,
    /// What the report has.
    pub report: ReportSettings,
    /// Where the report goes, if not beside the outputs: an absolute path, or `s3://bucket/key`.
    pub report_to: Option<String>,
    /// When it runs by itself.
    pub schedule: Option<Schedule>,
    /// Who is told how its batches go, where it says so itself.
    pub notify: Option<Notify>,
    /// In listings: what to take, and what to leave.
    filters: Filters,
    /// Where the relative sources of stdin begin.
    working_dir: PathBuf,
    /// The command to repeat in hints, as words of a shell.
    pub(crate) command: String,
}

/// `include` and `exclude`, over paths below a listing's root.
#[derive(Debug, Clone, Default)]
struct Filters {
    include: Option<GlobSet>,
    exclude: Option<GlobSet>,
    /// Texts are looked for, and not recordings.
    texts: bool,
    /// Links to folders are followed.
    follow_links: bool,
}

impl Definition {
    /// Reads a definition's file and merges the command line into it.
    ///
    /// # Errors
    /// Every fault of the file and of what it and the command line ask for together.
    pub fn load(path: &Path, tasks: &Tasks<dyn DefinitionTask>, overrides: &Overrides) -> Result<Self, Faults> {
        build::from_file(path, tasks, overrides)
    }

    /// A definition of what the command line alone says.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn ad_hoc(ad_hoc: &AdHoc, tasks: &Tasks<dyn DefinitionTask>, overrides: &Overrides) -> Result<Self, Faults> {
        build::from_command_line(ad_hoc, tasks, overrides)
    }

    /// What a transcription asks for.
    #[must_use]
    pub fn transcribing(&self) -> Option<&Transcribing> {
        self.asks()
    }

    /// What a synthesis asks for.
    #[must_use]
    pub fn synthesizing(&self) -> Option<&Synthesizing> {
        self.asks()
    }

    /// What it asks of the task whose definitions are of type `T`.
    #[must_use]
    pub fn asks<T: TaskDefinition>(&self) -> Option<&T> {
        (&*self.task as &dyn Any).downcast_ref()
    }

    /// The same, asked for at another address than the vendor's own.
    #[must_use]
    pub fn asked_at(mut self, origin: Option<String>) -> Self {
        if let Some(task) = self.task.asked_at(origin) {
            self.task = task;
        }
        self
    }

    /// What the ledger keeps of it, for a manifest with these columns. The manifest's hash is the caller's to add.
    #[must_use]
    pub fn spec(&self, columns: &Columns) -> BatchSpec {
        BatchSpec {
            definition: self.name.clone(),
            task: self.task.spec(),
            manifest: self.manifest.clone(),
            address: self.address.clone(),
            output: self.output.clone(),
            run: self.run.clone(),
            report: self.report.clone(),
            carried: columns.carried.clone(),
            option_columns: columns.options.clone(),
            source: self.source.clone(),
            private_redirects: self.private_redirects,
            queries: self.queries.clone(),
            sink: self.sink.clone(),
            report_to: self.report_to.clone(),
            dated: self.dated,
            manifest_hash: None,
        }
    }

    /// What the user should know about these options before the start.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let schedule = self.schedule.as_ref().and_then(schedule::note);
        self.task.notes().into_iter().chain(schedule).collect()
    }
}
