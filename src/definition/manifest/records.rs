//! Where the reader of manifests and a task meet: the reader knows files, formats, keys and limits; the task knows what its
//! columns are for, and what one record asks for.

use std::{any::Any, borrow::Cow, fmt, sync::Arc};

use super::{
    super::{Definition, Fault},
    base::Base,
    record::Record,
    repeats::About,
};
use crate::domain::{identity::Identity, key::Key, open::Strangers, pool::Pool, s3::Listed};

/// A manifest whose columns are found, for a task to say what they are for.
pub struct OpenManifest<'m> {
    pub(crate) definition: &'m Definition,
    /// Where relative paths begin.
    pub(crate) base: Base,
    /// Its lines are files, found or named, with columns of the task's own making.
    pub(crate) of_files: bool,
    /// The names of its columns; `None`: it is empty, and may be.
    pub(crate) columns: Option<Vec<String>>,
    /// Reads its first record, for guessing in a hint.
    pub(crate) first: &'m dyn Fn(&[String]) -> Option<Record>,
}

impl OpenManifest<'_> {
    /// The names of its columns; `None`: it is empty, and may be.
    pub fn take_columns(&mut self) -> Option<Vec<String>> {
        self.columns.take()
    }

    /// A fault of the manifest as a whole.
    pub fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::of_file(self.definition.manifest.clone(), message)
    }
}

/// The columns that a manifest has without naming them.
#[derive(Debug, Clone, Copy)]
pub struct UnnamedColumns {
    /// Of plain lines.
    pub line: &'static str,
    /// Of files found or named: their address, and the key that is made of it.
    pub files: [&'static str; 2],
}

/// A manifest's columns and what is made of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// All of them, in order: the manifest's own, then those that file names make.
    pub all: Vec<String>,
    /// How many are the manifest's own.
    pub own: usize,
    /// The column or template of the key; `None`: the file's name, else the line's number.
    pub key: Option<String>,
    /// The columns or templates of what is worked on.
    pub content: Vec<String>,
    /// Those that override an option, or set a parameter which this release does not know.
    pub options: Vec<String>,
    /// Those carried into the report.
    pub carried: Vec<String>,
    /// Their places.
    pub carried_at: Vec<usize>,
}

/// How much of a manifest the first reading looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ScanDepth {
    /// What is needed to submit it.
    #[default]
    Faults,
    /// Besides, what a user should see before it is paid for.
    Look,
}

/// A task's reader of the records of one manifest. It is made when the columns are known, and serves every reading.
pub trait RecordReader: fmt::Debug {
    /// The columns and their uses.
    fn columns(&self) -> &Columns;

    /// Adds the cells that are made of others.
    fn complete(&self, _record: &mut Record) {}

    /// Begins a reading. All readings come to the same decisions.
    fn begin(&self, depth: ScanDepth) -> Box<dyn LineJudge + '_>;

    /// What is wrong with a line whose key the line `first` has already.
    fn doubled_key(&self, key: &str, first: u64) -> LineFault;

    /// What is told of a manifest without lines.
    fn nothing(&self, of: Emptiness) -> String;

    /// What is told of a line that has an output of the same name as the line `first`, which may be the same line.
    fn clash(&self, _line: &ManifestLine, _first: &ManifestLine) -> Option<String> {
        None
    }
}

/// One reading: judges record by record, and gathers what the task wants to know of all.
pub trait LineJudge {
    /// The key of a record with which nothing is wrong.
    ///
    /// # Errors
    /// What is wrong with the record, or what keeps all from being read.
    fn judge<'r>(&mut self, record: &'r Record) -> Result<Cow<'r, str>, Refusal>;

    /// Gathers from the record that was judged last. `name` hears the names of its outputs, where its key alone does not make
    /// them unique.
    fn gather(&mut self, name: &mut dyn FnMut(&str));

    /// The jobs of the record that was judged last.
    fn jobs(&mut self, record: &Record) -> Vec<JobDraft>;

    /// The hash of the manifest's lines and of all that they name and the task has read.
    fn hash(&self, lines: [u8; 32]) -> [u8; 32] {
        lines
    }

    /// What was gathered.
    fn gathered(self: Box<Self>) -> Gathered;
}

/// Why a record is not taken.
#[derive(Debug)]
pub enum Refusal {
    /// The line is bad.
    Line(Vec<LineFault>),
    /// What it names cannot be read now, and no line is to blame: what stands in the way, in words.
    Stop(String),
}

/// What a reading has gathered of its good lines.
#[derive(Debug, Clone)]
pub struct Gathered {
    /// Their jobs.
    pub jobs: u64,
    /// Those of them that have nothing to do.
    pub idle: u64,
    /// What lines ask for that is in none of our lists.
    pub strangers: Strangers,
    /// What only the task understands.
    pub findings: Arc<dyn Any + Send + Sync>,
}

/// In what there are no lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emptiness {
    /// A table below its header.
    Table,
    /// Any other file, or the command line.
    File,
    /// A listing.
    Listing,
}

/// One fault of a line.
#[derive(Debug, Clone)]
pub struct LineFault {
    /// The column, if it is one.
    pub(crate) column: Option<String>,
    pub(crate) message: String,
    pub(crate) about: About,
}

impl LineFault {
    /// One of a column, if it is one, in words that follow its name.
    pub fn new(column: Option<String>, message: impl Into<String>) -> Self {
        Self { column, message: message.into(), about: About::Line }
    }

    /// One of a cell that is read as an option.
    pub(crate) fn of_option(column: Option<String>, message: String) -> Self {
        Self { about: About::Option, ..Self::new(column, message) }
    }
}

/// A good line, whatever its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestLine {
    /// Line in the file, from 1, or position in a listing.
    pub number: u64,
    /// Its key, unique in the manifest.
    pub key: Key,
    /// What it comes to: at least one job.
    pub jobs: Vec<JobDraft>,
    /// The cells of [`Columns::carried`].
    pub carried: Vec<String>,
}

/// A job as its line asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDraft {
    /// What it is made from: an http(s) URL as written, an `s3://` address, or an absolute path; `None`: the line names none.
    pub source: Option<String>,
    /// Of a local source: its path relative to the folder of the manifest, or below the folder that is listed; one that lies
    /// elsewhere is absolute.
    pub local: Option<String>,
    /// What the listing knew of its object, where it comes from one.
    pub expected: Option<Listed>,
    /// The text that is worked on, in place of what the source has. The jobs of a line share it.
    pub text: Option<Arc<str>>,
    /// Which of its line's jobs it is; empty where there is one.
    pub variant: String,
    /// JSON of what the task keeps with the job, where it differs from the batch's.
    pub overrides: Option<String>,
    /// Identity of what shapes its calls.
    pub options_id: Identity,
    /// Where its calls go.
    pub pool: Pool,
}

impl JobDraft {
    /// Whether there is nothing to do for it.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.source.is_none() && self.text.is_none()
    }
}
