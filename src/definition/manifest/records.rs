//! The interface between the manifest reader and a task. The reader knows files, formats, keys and limits. The task
//! knows the meaning of its columns and what one record asks for.

use std::{any::Any, borrow::Cow, fmt, sync::Arc};

use super::{
    super::{Definition, Fault},
    base::Base,
    fed::FedColumns,
    record::{JsonValue, Record},
    repeats::About,
};
use crate::domain::{identity::Identity, key::Key, open::UnlistedValues, pool::Pool, printable::printable, s3::Listed};

/// The column of a report that has the address of a recording.
const SOURCE: &str = "source";

/// A manifest with known columns, for a task to interpret.
pub struct OpenManifest<'m> {
    pub(crate) definition: &'m Definition,
    /// The base of relative paths.
    pub(crate) base: Base,
    /// Whether the lines are files, found or named; then the columns are the task's own.
    pub(crate) of_files: bool,
    /// The names of its columns; `None`: the manifest is empty and may be.
    pub(crate) columns: Option<Vec<String>>,
    /// Names that stand twice in the header.
    pub(crate) doubled: Vec<String>,
    /// The other batch, where the lines are those of one.
    pub(crate) fed: Option<FedColumns>,
    /// Reads the first record, for a guess in a hint.
    pub(crate) first: &'m dyn Fn(&[String]) -> Option<Record>,
}

impl OpenManifest<'_> {
    /// The names of its columns; `None`: the manifest is empty and may be.
    pub fn take_columns(&mut self) -> Option<Vec<String>> {
        self.columns.take()
    }

    /// How many of these columns are found by their names alone. Those of another batch's report are only used if they are named.
    pub fn named(&self, columns: usize) -> usize {
        self.fed.as_ref().map_or(columns, |fed| fed.named.min(columns))
    }

    /// The columns that are carried into the report, and their names there: those that are not `used`; of another batch, those
    /// that are, under the name of its definition. An address is in the report already, without its signature.
    pub fn carried(
        &self,
        columns: &[String],
        taken: impl Fn(&usize) -> bool,
        used: Vec<usize>,
    ) -> (Vec<usize>, Vec<String>) {
        let Some(fed) = &self.fed else {
            let free: Vec<usize> = (0..columns.len()).filter(|at| !taken(at)).collect();
            let names = free.iter().map(|at| columns[*at].clone()).collect();
            return (free, names);
        };
        let used = (1..columns.len()).filter(|at| used.contains(at) && columns[*at] != SOURCE).collect::<Vec<_>>();
        let names = used.iter().map(|at| format!("{}.{}", fed.definition, columns[*at])).collect();
        (used, names)
    }

    /// A fault of the manifest as a whole.
    pub fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::of_file(self.definition.manifest.clone(), message)
    }
}

/// The names of columns that a manifest does not name itself.
#[derive(Debug, Clone, Copy)]
pub struct UnnamedColumns {
    /// The column of plain lines.
    pub line: &'static str,
    /// The columns of files found or named: the address, and the key that is made from it.
    pub files: [&'static str; 2],
}

/// The columns of a manifest and their uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// All columns, in order: the manifest's own, then those made from file names.
    pub all: Vec<String>,
    /// The number of the manifest's own columns.
    pub own: usize,
    /// The column or template of the key; `None`: the file's name, else the line's number.
    pub key: Option<String>,
    /// The columns or templates of the content to work on.
    pub content: Vec<String>,
    /// The languages of the content, each with its column or template, where each language has one of its own.
    pub by_language: Vec<(String, String)>,
    /// The options that a column overrides, and the parameters that this release does not know.
    pub options: Vec<String>,
    /// The columns of these options.
    pub option_columns: Vec<String>,
    /// The indexes of the columns that make the key and the content: their cells are texts.
    pub texts_at: Vec<usize>,
    /// The indexes of the columns that override an option: their cells are texts, numbers, true or false.
    pub options_at: Vec<usize>,
    /// The columns carried into the report.
    pub carried: Vec<String>,
    /// Their indexes.
    pub carried_at: Vec<usize>,
    /// What the user should know about them.
    pub warnings: Vec<String>,
}

impl Columns {
    /// The first cell that is a JSON value which its use cannot take.
    pub(super) fn unusable(&self, record: &Record) -> Option<(usize, JsonValue)> {
        let is_wrong = |at: usize, value: JsonValue| {
            self.texts_at.contains(&at) || value == JsonValue::Nested && self.options_at.contains(&at)
        };
        record.values.iter().copied().find(|(at, value)| is_wrong(*at, *value))
    }
}

/// How much the first reading inspects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ScanDepth {
    /// Only what a submission needs.
    #[default]
    Faults,
    /// Also what a user should see before paying.
    Look,
}

/// A task's reader of the records of one manifest. It is made when the columns are known, and used by every reading.
pub trait RecordReader: fmt::Debug {
    /// The columns and their uses.
    fn columns(&self) -> &Columns;

    /// Adds the cells that are derived from others.
    fn complete(&self, _record: &mut Record) {}

    /// Begins a reading. All readings make the same decisions.
    fn begin(&self, depth: ScanDepth) -> Box<dyn LineJudge + '_>;

    /// The fault of a line whose key the line `first` already has.
    fn doubled_key(&self, key: &str, first: &LineName) -> LineFault;

    /// The message for a manifest without lines.
    fn nothing(&self, of: Emptiness) -> String;

    /// The message for a line with an output name that the line `first` also has. Both may be the same line. `name` is that
    /// of `first`.
    fn clash(&self, _line: &ManifestLine, _first: &ManifestLine, _name: &LineName) -> Option<String> {
        None
    }
}

/// How a message names a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineName {
    /// By its number in the manifest's file.
    Number(u64),
    /// By the file that it stands for in a listing.
    File(String),
}

impl fmt::Display for LineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "line {number}"),
            Self::File(file) => write!(f, "`{}`", printable(file)),
        }
    }
}

/// One reading: judges record by record, and gathers the task's facts about all of them.
pub trait LineJudge {
    /// The key of a good record.
    ///
    /// # Errors
    /// The faults of the record, or the obstacle that stops the whole reading.
    fn judge<'r>(&mut self, record: &'r Record) -> Result<Cow<'r, str>, Refusal>;

    /// Gathers from the record that was judged last. `name` is called with each output name where the key alone does
    /// not make it unique.
    fn gather(&mut self, name: &mut dyn FnMut(&str));

    /// The jobs of the record that was judged last.
    fn jobs(&mut self, record: &Record) -> Vec<JobDraft>;

    /// The hash of what the last judged record names outside the manifest, if anything of it was read.
    fn content(&self) -> Option<u64> {
        None
    }

    /// The hash of the manifest's lines and of all named content that the task has read.
    fn hash(&self, lines: [u8; 32]) -> [u8; 32] {
        lines
    }

    /// The gathered result.
    fn gathered(self: Box<Self>) -> Gathered;
}

/// Why a record is refused.
#[derive(Debug)]
pub enum Refusal {
    /// The line is bad.
    Line(Vec<LineFault>),
    /// The named content cannot be read now, and the line is not the cause; the obstacle, as a message.
    Stop(String),
}

/// What a reading gathered from the good lines.
#[derive(Debug, Clone)]
pub struct Gathered {
    /// Their jobs.
    pub jobs: u64,
    /// The number of them with nothing to do.
    pub idle: u64,
    /// Values in lines that are in none of our lists.
    pub unlisted_values: UnlistedValues,
    /// Findings that only the task understands.
    pub findings: Arc<dyn Any + Send + Sync>,
}

/// The kind of manifest that has no lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emptiness {
    /// A table with a header only.
    Table,
    /// Any other file, or the command line.
    File,
    /// A listing.
    Listing,
}

/// One fault of a line.
#[derive(Debug, Clone)]
pub struct LineFault {
    /// The column, if the fault is in one.
    pub(crate) column: Option<String>,
    pub(crate) message: String,
    pub(crate) about: About,
}

impl LineFault {
    /// A fault of a line, in a column if there is one. The message follows the column's name.
    pub fn new(column: Option<String>, message: impl Into<String>) -> Self {
        Self { column, message: message.into(), about: About::Line }
    }

    /// A fault of a cell that is read as an option.
    pub(crate) fn of_option(column: Option<String>, message: String) -> Self {
        Self { about: About::Option, ..Self::new(column, message) }
    }
}

/// A good line of any task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestLine {
    /// Line in the file, from 1, or position in a listing.
    pub number: u64,
    /// Its key, unique in the manifest.
    pub key: Key,
    /// Its jobs, at least one.
    pub jobs: Vec<JobDraft>,
    /// The cells of [`Columns::carried`].
    pub carried: Vec<String>,
}

/// A job as its line asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDraft {
    /// The source: an http(s) URL as written, an `s3://` address, or an absolute path; `None`: the line names none.
    pub source: Option<String>,
    /// The path of a local source, relative to the folder of the manifest or to the listed folder; absolute if it lies
    /// elsewhere.
    pub local: Option<String>,
    /// The listing's data about the object, if the source comes from a listing.
    pub expected: Option<Listed>,
    /// The text to work on, in place of the source's content. Jobs of a line that work on the same text share it, and follow
    /// each other.
    pub text: Option<Arc<str>>,
    /// Distinguishes the jobs of a line; empty where there is only one.
    pub variant: String,
    /// JSON of the task's settings for this job, where they differ from the batch's.
    pub overrides: Option<String>,
    /// Identity of the options that shape its calls.
    pub options_id: Identity,
    /// The pool of its calls.
    pub pool: Pool,
}

impl ManifestLine {
    /// Its jobs, text by text. Without texts they are together.
    pub fn by_text(&self) -> impl Iterator<Item = &[JobDraft]> {
        self.jobs.chunk_by(|one, next| match (&one.text, &next.text) {
            (Some(one), Some(next)) => Arc::ptr_eq(one, next),
            (one, next) => one.is_none() && next.is_none(),
        })
    }
}

impl JobDraft {
    /// Whether there is nothing to do for this job.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.source.is_none() && self.text.is_none()
    }
}
