//! Reading definitions (`jobs/*.toml`) and manifests; every fault told with file, line and column name.

pub mod fault;
pub mod manifest;
pub mod pronunciations;
pub mod prose;
pub mod synthesis;
pub mod template;
pub mod text;

mod build;
mod dates;
mod draft;
#[cfg(test)]
mod night_tests;
mod origin;
mod overrides;
mod paths;
mod stores;
mod targets;
#[cfg(test)]
mod tests;
pub(crate) mod walk;

use std::path::{Path, PathBuf};

use globset::GlobSet;
use jiff::civil::Date;
use regex::Regex;

use crate::domain::{
    batch::{BatchName, BatchSpec, LineOption, ReportSettings, RunSettings},
    options::{SttModel, Task, TranscribeOptions, TranscriptFormat},
    s3::{S3Settings, SinkSettings},
    task::{TaskSpec, Transcription},
};

use self::template::Template;
pub use self::{
    draft::{BadLines, NoSource},
    fault::{Fault, Faults, Place},
    manifest::{BadLine, Header, Line, Manifest, ManifestFormat, Row, Scan, Spooled},
    origin::Origin,
    overrides::{AdHoc, Overrides},
    synthesis::SpeechDefinition,
};

/// How a batch is made, with the command line merged in: everything but the manifest's lines.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The definition's name; of an ad-hoc batch, the name made from its sources.
    pub name: String,
    /// What is done with each line.
    pub task: Task,
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
    /// How the manifest is written, where that does not follow from its name.
    pub manifest_format: Option<ManifestFormat>,
    /// Where outputs go: an absolute directory, or `s3://bucket/prefix/` (always with its last `/`).
    pub output: String,
    /// Which store the S3 sources are in.
    pub source: S3Settings,
    /// Which store the outputs go to, and how they are kept there.
    pub sink: SinkSettings,
    /// The column or template for the key, where it is named.
    pub key_column: Option<Template>,
    /// The column or template for the source, where it is named.
    pub source_column: Option<Template>,
    /// The options that columns may override.
    pub option_columns: Vec<LineOption>,
    /// What happens to bad lines.
    pub bad_lines: BadLines,
    /// What happens to lines without a source.
    pub no_source: NoSource,
    /// Whether a manifest without lines is none the worse for it.
    pub allow_empty: bool,
    /// Only the first lines of the manifest.
    pub limit: Option<u64>,
    /// The options of every line that does not say otherwise.
    pub transcribe: TranscribeOptions,
    /// The files to write for each line, none twice.
    pub formats: Vec<TranscriptFormat>,
    /// How it runs.
    pub run: RunSettings,
    /// What the report has.
    pub report: ReportSettings,
    /// Where the report goes, if not beside the outputs: an absolute path, or `s3://bucket/key`.
    pub report_to: Option<String>,
    /// What makes columns of the recordings' file names.
    name_pattern: Option<Regex>,
    /// In listings: what to take, and what to leave.
    filters: Filters,
    /// Where the relative sources of stdin begin.
    working_dir: PathBuf,
    /// The command to repeat in hints, as words of a shell.
    command: String,
}

/// `include` and `exclude`, over paths below a listing's root.
#[derive(Debug, Clone, Default)]
struct Filters {
    include: Option<GlobSet>,
    exclude: Option<GlobSet>,
    /// Texts are looked for, and not recordings.
    texts: bool,
}

impl Definition {
    /// Reads a definition's file and merges the command line into it.
    ///
    /// # Errors
    /// Every fault of the file and of what it and the command line ask for together.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, Faults> {
        build::from_file(path, overrides)
    }

    /// A definition of what the command line alone says.
    ///
    /// # Errors
    /// Every fault of it.
    pub fn ad_hoc(ad_hoc: &AdHoc, overrides: &Overrides) -> Result<Self, Faults> {
        build::from_command_line(ad_hoc, overrides)
    }

    /// What the ledger keeps of it, for a manifest with this header. The manifest's hash is the caller's to add.
    #[must_use]
    pub fn spec(&self, header: &Header) -> BatchSpec {
        BatchSpec {
            definition: self.name.clone(),
            task: TaskSpec::Transcribe(Transcription {
                options: self.transcribe.clone(),
                formats: self.formats.clone(),
            }),
            manifest: self.manifest.clone(),
            output: self.output.clone(),
            run: self.run.clone(),
            report: self.report,
            carried: header.carried.clone(),
            option_columns: header.option_columns.iter().map(|option| option.as_str().to_owned()).collect(),
            source: self.source.clone(),
            sink: self.sink.clone(),
            report_to: self.report_to.clone(),
            dated: self.dated,
            manifest_hash: None,
        }
    }

    /// What the user should know about these options before the start.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let captions: Vec<_> = self.formats.iter().filter(|f| f.needs_words()).map(|f| f.as_str()).collect();
        if !captions.is_empty() && !self.transcribe.word_timestamps {
            notes.push(format!("word_timestamps is on: {} cannot be made without", captions.join(" and ")));
        }
        if self.transcribe.diarize && self.transcribe.model == SttModel::PulsePro {
            notes.push("`pulse-pro` gives no speakers on the wire: diarize will have no effect".to_owned());
        }
        notes
    }
}
