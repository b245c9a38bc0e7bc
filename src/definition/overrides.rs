//! The command line's overrides of a definition.

use std::{path::PathBuf, time::Duration};

use super::{
    dialect::{Delimiter, TextEncoding},
    manifest_format::ManifestFormat,
    policy::NoSource,
    task::DefinitionTask,
};
use crate::domain::{batch::MicroUsd, task::TaskName};

/// A batch without a definition's file: sources and options on the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct AdHoc {
    /// The task of each line.
    pub task: TaskName,
    /// A manifest (file, URL, `-`), a directory or glob of audio or texts, or audio files and URLs or files of texts, as
    /// typed.
    pub sources: Vec<String>,
}

/// The command line's flags. They go before the definition. Relative paths are relative to the working directory.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Overrides {
    /// `--date`: `today`, `yesterday` or a day.
    pub date: Option<String>,
    /// The moment from which `today` is taken; `None` = the system's clock.
    pub now: Option<jiff::Timestamp>,
    /// `--batch`
    pub batch: Option<String>,
    /// `--manifest`: replaces the definition's manifest.
    pub manifest: Option<String>,
    /// `--manifest-format`
    pub manifest_format: Option<ManifestFormat>,
    /// `--delimiter`; `Some(None)` is `auto`.
    pub delimiter: Option<Option<Delimiter>>,
    /// `--encoding`; `Some(None)` is `auto`.
    pub encoding: Option<Option<TextEncoding>>,
    /// `--column NAME=COLUMN`: the columns of the key, the content and options, by name.
    pub columns: Vec<(String, String)>,
    /// `--output`
    pub output: Option<String>,
    /// `--report`: the report's file or object.
    pub report: Option<String>,
    /// `--key-column`: a column's name, or a template over columns.
    pub key_column: Option<String>,
    /// `--source-column`: likewise.
    pub source_column: Option<String>,
    /// `--option-columns`, by name; an empty list turns them off.
    pub option_columns: Option<Vec<String>>,
    /// `--include`
    pub include: Option<Vec<String>>,
    /// `--exclude`
    pub exclude: Option<Vec<String>>,
    /// `--settle`
    pub settle: Option<Duration>,
    /// `--skip-bad-lines`
    pub skip_bad_lines: bool,
    /// `--no-source`
    pub no_source: Option<NoSource>,
    /// `--allow-empty`
    pub allow_empty: bool,
    /// `--limit`: only the first lines of the manifest.
    pub limit: Option<u64>,
    /// `--model`, `--language`, `--diarize`, …: options by name, as typed. The valid names depend on the task.
    pub options: Vec<(&'static str, String)>,
    /// `--formats`, by name.
    pub formats: Option<Vec<String>>,
    /// The flags that not every task has.
    pub flags: TaskFlags,
    /// `--concurrency`
    pub concurrency: Option<u32>,
    /// `--max-spend`
    pub max_spend: Option<MicroUsd>,
    /// `--tolerate`: a share from 0 to 1.
    pub tolerate: Option<f64>,
    /// `--sandbox`: the report is beside the outputs, whatever the definition says.
    pub sandbox: bool,
    /// The command as typed, program first, for hints that repeat it with one more flag. It may be empty.
    pub command: Vec<String>,
    /// The base of relative paths of flags and ad-hoc sources; `None` = the process's working directory.
    pub working_dir: Option<PathBuf>,
}

/// The flags that not every task has, by name without dashes. Each flag has no value, one value or several.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskFlags(Vec<(&'static str, Vec<String>)>);

impl FromIterator<(&'static str, Vec<String>)> for TaskFlags {
    fn from_iter<I: IntoIterator<Item = (&'static str, Vec<String>)>>(flags: I) -> Self {
        Self(flags.into_iter().collect())
    }
}

impl TaskFlags {
    /// Whether this flag is set.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.all(name).is_some()
    }

    /// The values of a flag, if it is set.
    #[must_use]
    pub fn all(&self, name: &str) -> Option<&[String]> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, values)| values.as_slice())
    }

    /// The value of a flag with one value, if it is set.
    #[must_use]
    pub fn one(&self, name: &str) -> Option<&String> {
        self.all(name)?.first()
    }
}

impl Overrides {
    /// The column that `--column` names for this use.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&String> {
        self.columns.iter().find(|(own, _)| own == name).map(|(_, column)| column)
    }

    /// The flags set that not every task has.
    fn flags_of_tasks(&self) -> impl Iterator<Item = &'static str> {
        let shared = [("source-column", self.source_column.is_some()), ("no-source", self.no_source.is_some())];
        let own = self.flags.0.iter().map(|(name, _)| (*name, true));
        shared.into_iter().chain(own).filter(|(_, set)| *set).map(|(name, _)| name)
    }

    /// The flags set that only other tasks have. They would have no effect.
    pub(super) fn foreign_to(&self, task: &dyn DefinitionTask) -> Vec<String> {
        let options = self.options.iter().map(|(name, _)| *name).filter(|name| !task.takes_option(name));
        let flags = self.flags_of_tasks().filter(|name| !task.flags().contains(name));
        options.map(dashed).chain(flags.map(str::to_owned)).collect()
    }

    /// The flag that decides this field of a definition, if one does.
    pub(super) fn flag_of(&self, field: &str, task: &dyn DefinitionTask) -> Option<String> {
        let set = match field {
            "date" => self.date.is_some(),
            "no_source" => self.no_source.is_some(),
            "allow_empty" => self.allow_empty,
            "batch" => self.batch.is_some(),
            "manifest" => self.manifest.is_some(),
            "manifest_format" => self.manifest_format.is_some(),
            "delimiter" => self.delimiter.is_some(),
            "encoding" => self.encoding.is_some(),
            "output" => self.output.is_some(),
            "report.to" if self.report.is_some() => return Some("report".into()),
            "include" => self.include.is_some(),
            "exclude" => self.exclude.is_some(),
            "source.settle" => self.settle.is_some(),
            "option_columns" => self.option_columns.is_some(),
            "columns.key" if self.key_column.is_some() => return Some("key-column".into()),
            "columns.source" if self.source_column.is_some() => return Some("source-column".into()),
            _ => return self.flag_of_task(field, task),
        };
        set.then(|| dashed(field))
    }

    fn flag_of_task(&self, field: &str, task: &dyn DefinitionTask) -> Option<String> {
        if let Some(column) = field.strip_prefix("columns.") {
            if self.column(column).is_some() {
                return Some("column".into());
            }
            return Some(format!("{column}-column")).filter(|flag| self.flags.has(flag));
        }
        let name = field.strip_prefix(task.name().as_str())?.strip_prefix('.')?;
        let flag = task.flag_of(name).map_or_else(|| dashed(name), str::to_owned);
        let is_set = match name {
            "formats" => self.formats.is_some(),
            _ => self.options.iter().any(|(own, _)| *own == name) || self.flags.has(&flag),
        };
        is_set.then_some(flag)
    }
}

/// The flag of a field or an option.
fn dashed(name: &str) -> String {
    name.rsplit('.').next().unwrap_or(name).replace('_', "-")
}
