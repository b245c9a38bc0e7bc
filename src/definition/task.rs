//! The interface between definitions and tasks.

use std::{
    any::Any,
    fmt::{self, Display},
    sync::Arc,
};

use jiff::civil::Date;
use regex::Regex;

use super::{
    Faults,
    build::Builder,
    fields::FieldTable,
    manifest::{OpenManifest, RecordReader, UnnamedColumns},
    policy::NoSource,
    template::Template,
    text::some,
    walk::{Section, TomlWalk},
};
use crate::domain::{
    batch::LineOption,
    extra::Extra,
    listening::Listening,
    open::Unlisted,
    options::{TranscribeOptions, TranscriptFormat, WebhookMode},
    task::{Task, TaskName, TaskSpec},
};

/// A task as definitions see it.
pub trait DefinitionTask: Task {
    /// Reads the fields that only this task has.
    fn read(&self, page: &mut Page<'_, '_>) -> Box<dyn TaskDraft>;

    /// The draft of a batch without a file: empty.
    fn blank(&self) -> Box<dyn TaskDraft>;

    /// Whether its lines are texts. Then text files are lines of their own, and recordings are not.
    fn reads_texts(&self) -> bool {
        false
    }

    /// What a line's content is called.
    fn content_name(&self) -> &'static str {
        if self.reads_texts() { "text" } else { "source" }
    }

    /// The rules for `[extra]`.
    fn extra(&self) -> ExtraRules;

    /// The rows of the reference for the fields that only this task has, and for its values of shared tables.
    fn fields(&self) -> &'static [FieldTable] {
        &[]
    }

    /// The contents of a line, each with the names of columns that are known to hold it, for the reference.
    fn content_columns(&self) -> &'static [(&'static str, &'static [&'static str])] {
        &[]
    }

    /// Whether it has an option of this name.
    fn takes_option(&self, name: &str) -> bool;

    /// The flags of this task that not every task has, without their dashes.
    fn flags(&self) -> &'static [&'static str];

    /// The flag for a field of the task's table, if its name differs from the field's.
    fn flag_of(&self, _field: &str) -> Option<&'static str> {
        None
    }
}

/// A definition's file, from which a task reads its own fields.
pub struct Page<'w, 't> {
    /// The file.
    pub walk: &'w mut TomlWalk<'t>,
    /// The root table.
    pub root: &'w mut Section<'t>,
    /// `[columns]`
    pub columns: &'w mut Section<'t>,
}

impl Page<'_, '_> {
    /// The fields of `[columns]` that name the column of an option.
    pub fn mapped<O: Copy + Display>(&mut self, all: &[O]) -> Vec<(O, String)> {
        let named = all.iter().map(|option| (*option, self.walk.text(self.columns, &option.to_string(), some)));
        named.filter_map(|(option, column)| Some((option, column?))).collect()
    }
}

/// The task's fields in a file, before the command line and the defaults.
pub trait TaskDraft: fmt::Debug {
    /// Sets the content of `[extra]`.
    fn set_extra(&mut self, extra: Extra);

    /// The values of the fields that are templates over a line.
    fn templates(&self) -> Vec<&str>;

    /// Merges the command line and the defaults into it. Faults are recorded in the builder, and a faulty field gets
    /// a placeholder.
    fn build(&self, on: &mut Builder<'_>, date: Option<Date>) -> Built;
}

/// The result of building a draft.
#[derive(Debug)]
pub struct Built {
    /// The task's settings.
    pub task: Arc<dyn TaskDefinition>,
    /// Whether lines can be judged with these settings.
    pub judged: bool,
}

/// The parameters that `[extra]` may not set, because the program sets them.
#[derive(Debug, Clone, Copy)]
pub struct ExtraRules {
    /// Parameters of the query.
    pub query: &'static [&'static str],
    /// Parameters of the body, or the reason why `[extra]` may set none there.
    pub body: Result<&'static [&'static str], &'static str>,
}

/// A task's settings in a definition, with the command line and the defaults merged in.
pub trait TaskDefinition: Any + fmt::Debug + Send + Sync {
    /// The task.
    fn task(&self) -> TaskName;

    /// The model of every line that does not override it.
    fn model(&self) -> &str;

    /// Its values that are in none of our lists.
    fn unlisted(&self) -> Vec<Unlisted>;

    /// The specification that the ledger keeps.
    fn spec(&self) -> TaskSpec;

    /// The templates over a line's cells. Their results may depend on the date.
    fn templates(&self) -> Vec<Template>;

    /// What the user should know before the start.
    fn notes(&self) -> Vec<String>;

    /// What `check` shows of the settings: a title and a sentence each.
    fn facts(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Whether answers always come by callback, and are never waited for.
    fn needs_callbacks(&self) -> bool {
        false
    }

    /// What is not checked before a batch runs, as a message; `None` if nothing.
    fn unchecked(&self) -> Option<&'static str> {
        None
    }

    /// The columns of manifests that do not name their columns.
    fn unnamed_columns(&self) -> UnnamedColumns;

    /// Finds the uses of a manifest's columns.
    ///
    /// # Errors
    /// Columns that are missing, or have two uses.
    fn open_records<'d>(&'d self, manifest: OpenManifest<'_>) -> Result<Box<dyn RecordReader + 'd>, Faults>;

    /// The same for an API at another origin than the vendor's own; `None` where that makes no difference.
    fn asked_at(&self, _origin: Option<String>) -> Option<Arc<dyn TaskDefinition>> {
        None
    }
}

/// The settings of a transcription.
#[derive(Debug, Clone)]
pub struct Transcribing {
    /// The options of every line that does not override them.
    pub options: TranscribeOptions,
    /// The files to write for each line, none twice.
    pub formats: Vec<TranscriptFormat>,
    /// Whether answers are waited for or come by callback.
    pub webhook: WebhookMode,
    /// What is listened for before a recording is sent, and how its channels are.
    pub listening: Listening,
    /// How many times as fast as it was spoken the audio of a live session is sent.
    pub live_speed: f64,
    /// The column or template of the source, if named.
    pub source_column: Option<Template>,
    /// The options that columns may override.
    pub option_columns: Vec<LineOption>,
    /// What happens to lines without a source.
    pub no_source: NoSource,
    /// The columns that set options under other names.
    pub mapped: Vec<(LineOption, String)>,
    /// The pattern that makes columns from the recordings' file names.
    pub(crate) name_pattern: Option<Regex>,
}
