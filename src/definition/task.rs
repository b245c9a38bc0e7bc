//! What a definition asks of its task, and what a task has to tell of definitions.

use std::{any::Any, fmt, sync::Arc};

use jiff::civil::Date;
use regex::Regex;

use super::{
    Faults,
    build::Builder,
    manifest::{OpenManifest, RecordReader, UnnamedColumns},
    policy::NoSource,
    template::Template,
    walk::{Section, TomlWalk},
};
use crate::domain::{
    batch::LineOption,
    extra::Extra,
    open::Unlisted,
    options::{TranscribeOptions, TranscriptFormat, WebhookMode},
    task::{Task, TaskName, TaskSpec},
};

/// A task, as definitions know it.
pub trait DefinitionTask: Task {
    /// Reads all that only this task's files say.
    fn read(&self, page: &mut Page<'_, '_>) -> Box<dyn TaskDraft>;

    /// What a batch without a file says: nothing.
    fn blank(&self) -> Box<dyn TaskDraft>;

    /// Whether its lines are texts: then files of prose are lines by themselves, and recordings are none.
    fn reads_texts(&self) -> bool {
        false
    }

    /// What `[extra]` may say.
    fn extra(&self) -> ExtraRules;

    /// Whether it has an option of this name.
    fn takes_option(&self, name: &str) -> bool;

    /// The flags of the command line that not every task has, without their dashes: those of this one.
    fn flags(&self) -> &'static [&'static str];

    /// The flag that says the same as a field of its table, where that has another name.
    fn flag_of(&self, _field: &str) -> Option<&'static str> {
        None
    }
}

/// A definition's file, where a task reads what is its own.
pub struct Page<'w, 't> {
    /// The file.
    pub walk: &'w mut TomlWalk<'t>,
    /// The file's own table.
    pub root: &'w mut Section<'t>,
    /// `[columns]`
    pub columns: &'w mut Section<'t>,
}

/// What a file said of its task, before the command line and the defaults.
pub trait TaskDraft: fmt::Debug {
    /// Takes what `[extra]` says.
    fn set_extra(&mut self, extra: Extra);

    /// Of the fields that are filled in for each line, what they say.
    fn templates(&self) -> Vec<&str>;

    /// Merges the command line and the defaults into it. What is wrong is told to the builder, and something stands in its
    /// place.
    fn build(&self, on: &mut Builder<'_>, date: Option<Date>) -> Built;
}

/// What became of a draft.
#[derive(Debug)]
pub struct Built {
    /// What is asked for.
    pub task: Arc<dyn TaskDefinition>,
    /// Whether lines can be judged by it.
    pub judged: bool,
}

/// The parameters that `[extra]` may not set, since the program sets them.
#[derive(Debug, Clone, Copy)]
pub struct ExtraRules {
    /// Those of the query.
    pub query: &'static [&'static str],
    /// Those of the body; or why it may set none there.
    pub body: Result<&'static [&'static str], &'static str>,
}

/// What a definition asks of its task, with the command line and the defaults merged in.
pub trait TaskDefinition: Any + fmt::Debug + Send + Sync {
    /// The task.
    fn task(&self) -> TaskName;

    /// The model of every line that does not say otherwise.
    fn model(&self) -> &str;

    /// What it asks for that is in none of our lists.
    fn unlisted(&self) -> Vec<Unlisted>;

    /// What the ledger keeps of it.
    fn spec(&self) -> TaskSpec;

    /// The templates that read a line's cells: what they make may depend on the date.
    fn templates(&self) -> Vec<Template>;

    /// What the user should know before the start.
    fn notes(&self) -> Vec<String>;

    /// Whether answers are always to be posted to us, and not waited for.
    fn needs_callbacks(&self) -> bool {
        false
    }

    /// What nobody looks at before a batch is worked, in words; `None` where that is nothing.
    fn unchecked(&self) -> Option<&'static str> {
        None
    }

    /// The columns that a manifest has without naming them.
    fn unnamed_columns(&self) -> UnnamedColumns;

    /// Finds out what the columns of a manifest are for.
    ///
    /// # Errors
    /// Columns that are missing, or stand for two things.
    fn open_records<'d>(&'d self, manifest: OpenManifest<'_>) -> Result<Box<dyn RecordReader + 'd>, Faults>;

    /// The same, asked for at another address than the vendor's own; `None` where that makes no difference.
    fn asked_at(&self, _origin: Option<String>) -> Option<Arc<dyn TaskDefinition>> {
        None
    }
}

/// What a transcription asks for.
#[derive(Debug, Clone)]
pub struct Transcribing {
    /// The options of every line that does not say otherwise.
    pub options: TranscribeOptions,
    /// The files to write for each line, none twice.
    pub formats: Vec<TranscriptFormat>,
    /// Whether answers are waited for.
    pub webhook: WebhookMode,
    /// The column or template for the source, where it is named.
    pub source_column: Option<Template>,
    /// The options that columns may override.
    pub option_columns: Vec<LineOption>,
    /// What happens to lines without a source.
    pub no_source: NoSource,
    /// What makes columns of the recordings' file names.
    pub(crate) name_pattern: Option<Regex>,
}
