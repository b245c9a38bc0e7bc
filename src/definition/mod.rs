//! Reads definitions (`jobs/*.toml`) and manifests. Every fault has file, line and column name.

pub mod fault;
pub mod fields;
pub mod manifest;
mod manifest_format;
pub mod pronunciations;
pub mod prose;
pub mod template;
pub mod text;

pub mod build;
#[cfg(test)]
mod dated_tests;
pub(crate) mod dates;
pub mod dialect;
pub(crate) mod draft;
mod extra;
pub(crate) mod normal_forms;
pub(crate) mod notify;
pub(crate) mod origin;
mod overrides;
pub(crate) mod path_map;
pub(crate) mod paths;
mod policy;
mod sample;
mod schedule;
mod schedule_draft;
#[cfg(test)]
mod schedule_tests;
mod stores;
mod synthesis;
mod tables;
pub(crate) mod targets;
mod task;
#[cfg(test)]
mod tests;
pub mod walk;

use std::{
    any::Any,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use globset::GlobSet;
use jiff::civil::Date;

use crate::domain::{
    batch::{BatchName, BatchSpec, ReportSettings, RunSettings},
    feed::{FeedFrom, FeedSettings},
    query::QueryRules,
    s3::{S3Settings, SinkSettings},
    schedule::Schedule,
    task::Tasks,
};

pub use self::{
    dialect::{Delimiter, Dialect, TextEncoding},
    fault::{Fault, Faults, Place},
    manifest::{
        BadLine, Columns, FedColumns, FedLines, FedWriter, Manifest, ManifestFormat, ManifestLine, ManifestRow, Scan,
        ScanDepth, Spooled,
    },
    notify::Notify,
    origin::Origin,
    overrides::{AdHoc, Overrides, TaskFlags},
    path_map::PathMap,
    policy::{BadLines, NoSource},
    sample::Sample,
    schedule::Timetable,
    synthesis::Synthesizing,
    tables::TABLES,
    task::{Built, DefinitionTask, ExtraRules, Page, TaskDefinition, TaskDraft, Transcribing},
    template::Template,
};
pub(crate) use stores::read_store;

/// How to make a batch, with the command line merged in: everything but the manifest's lines.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The definition's name; for an ad-hoc batch, a name made from its sources.
    pub name: String,
    /// Its file, as an absolute path, if it has one.
    pub file: Option<PathBuf>,
    /// The same as it was typed.
    pub typed: Option<PathBuf>,
    /// Whether it has no file: its name follows from the place of its sources.
    pub is_ad_hoc: bool,
    /// The task of the lines.
    pub of: Arc<dyn DefinitionTask>,
    /// The settings of the task.
    pub task: Arc<dyn TaskDefinition>,
    /// The batch's name.
    pub batch: BatchName,
    /// The batch's date, if one is set.
    pub date: Option<Date>,
    /// Whether the batch's name contains its date. If so, the same manifest on the next day is the same batch.
    pub dated: bool,
    /// The origin of the lines.
    pub origin: Origin,
    /// Of another batch as manifest: which of its lines become lines.
    pub from: FeedFrom,
    /// The manifest for messages: as typed, without secrets.
    pub manifest: String,
    /// The manifest's address: as written in a definition, with unexpanded names and relative to the definition; from
    /// the command line, the real absolute path. With another address a batch has other lines.
    pub address: String,
    /// The format of the manifest, if it does not follow from the name.
    pub manifest_format: Option<ManifestFormat>,
    /// How the bytes of a manifest become cells.
    pub dialect: Dialect,
    /// The output directory (absolute) or prefix: `s3://bucket/prefix/` (always with its last `/`).
    pub output: String,
    /// The store of the S3 sources.
    pub source: S3Settings,
    /// Whether servers on the internet may redirect into private networks.
    pub private_redirects: bool,
    /// Where paths as other machines write them are here.
    pub(crate) path_map: PathMap,
    /// Which query parameters identify recordings, and which are shown.
    pub queries: QueryRules,
    /// The store of the outputs, and their storage settings.
    pub sink: SinkSettings,
    /// The column or template of the key, if named.
    pub key_column: Option<Template>,
    /// What happens to bad lines.
    pub bad_lines: BadLines,
    /// Whether a manifest without lines is allowed.
    pub allow_empty: bool,
    /// The maximum number of lines to take from the manifest.
    pub limit: Option<u64>,
    /// The random sample of lines to take from the manifest.
    pub sample: Option<Sample>,
    /// The settings of the run.
    pub run: RunSettings,
    /// The settings of the report.
    pub report: ReportSettings,
    /// The path of the report, if not beside the outputs: an absolute path, or `s3://bucket/key`.
    pub report_to: Option<String>,
    /// The schedule of its runs.
    pub schedule: Option<Schedule>,
    /// Who is notified of its batches, if the definition names somebody.
    pub notify: Option<Notify>,
    /// For listings: the files to include and exclude.
    filters: Filters,
    /// The base of relative sources from stdin.
    working_dir: PathBuf,
    /// The command to repeat in hints, as shell words.
    pub(crate) command: String,
}

/// `include` and `exclude`, over paths below a listing's root.
#[derive(Debug, Clone, Default)]
struct Filters {
    include: Option<GlobSet>,
    exclude: Option<GlobSet>,
    /// The listing looks for texts, not for recordings.
    texts: bool,
    /// Links to folders are followed.
    follow_links: bool,
    /// What changed less than this long ago is left out.
    settle: Option<Duration>,
}

impl Definition {
    /// Reads a definition's file and merges the command line into it.
    ///
    /// # Errors
    /// Every fault of the file, and of its combination with the command line.
    pub fn load(path: &Path, tasks: &Tasks<dyn DefinitionTask>, overrides: &Overrides) -> Result<Self, Faults> {
        build::from_file(path, tasks, overrides)
    }

    /// A definition from the command line alone.
    ///
    /// # Errors
    /// Every fault of the command line.
    pub fn ad_hoc(ad_hoc: &AdHoc, tasks: &Tasks<dyn DefinitionTask>, overrides: &Overrides) -> Result<Self, Faults> {
        build::from_command_line(ad_hoc, tasks, overrides)
    }

    /// Whether only some lines of the manifest are read, so that the others are not known to be gone.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        self.limit.is_some() || self.sample.is_some()
    }

    /// How long a file or object of a listing must have been unchanged to be taken.
    #[must_use]
    pub fn settle(&self) -> Option<Duration> {
        self.filters.settle
    }

    /// The settings of a transcription.
    #[must_use]
    pub fn transcribing(&self) -> Option<&Transcribing> {
        self.asks()
    }

    /// The settings of a synthesis.
    #[must_use]
    pub fn synthesizing(&self) -> Option<&Synthesizing> {
        self.asks()
    }

    /// The settings of the task whose definitions are of type `T`.
    #[must_use]
    pub fn asks<T: TaskDefinition>(&self) -> Option<&T> {
        (&*self.task as &dyn Any).downcast_ref()
    }

    /// The same definition for an API at another origin than the vendor's own.
    #[must_use]
    pub fn asked_at(mut self, origin: Option<String>) -> Self {
        if let Some(task) = self.task.asked_at(origin) {
            self.task = task;
        }
        self
    }

    /// The specification that the ledger keeps, for a manifest with these columns. The caller adds the manifest's
    /// hash.
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

    /// The batch whose finished lines are its manifest, if there is one.
    #[must_use]
    pub const fn fed_by(&self) -> Option<&BatchName> {
        match &self.origin {
            Origin::Batch(name) => Some(name),
            _ => None,
        }
    }

    /// What makes lines of the lines of another batch, as the ledger keeps it.
    #[must_use]
    pub fn feed_settings(&self, columns: &Columns) -> FeedSettings {
        let by_language = columns.by_language.iter().map(|(language, column)| format!("{language} = {column}"));
        let columns: [(&str, Vec<String>); 5] = [
            ("content", columns.content.clone()),
            ("by_language", by_language.collect()),
            ("options", columns.options.clone()),
            ("option_columns", columns.option_columns.clone()),
            ("carried", columns.carried.clone()),
        ];
        FeedSettings {
            file: self.file.as_ref().map(|file| file.to_string_lossy().into_owned()),
            date: self.date.map(|date| date.to_string()),
            from: self.from,
            columns: columns.into_iter().map(|(of, names)| (of.to_owned(), names)).collect(),
        }
    }

    /// What the user should know about these options before the start.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let schedule = self.schedule.as_ref().and_then(schedule::note);
        self.task.notes().into_iter().chain(schedule).collect()
    }
}
