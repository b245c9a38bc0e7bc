//! The fields of a definition's file, before the command line and the defaults are applied.

use std::{collections::BTreeMap, sync::Arc};

use jiff::tz::TimeZone;
use toml::de::{DeTable, DeValue};

use super::{
    dates::{self, When},
    dialect::{Delimiter, TextEncoding, unless_auto},
    extra,
    fault::{Fault, Faults},
    manifest::ManifestFormat,
    notify::{self, Notify},
    policy::BadLines,
    schedule_draft::{self, ScheduleDraft},
    stores::{self, SourceDraft},
    task::{DefinitionTask, Page, TaskDraft},
    text::{dollars, duration, named, share, some},
    walk::{Section, TomlWalk, Wrong},
};
use crate::domain::{
    batch::{ReportSettings, RunSettings},
    s3::{S3Settings, SinkSettings},
    task::Tasks,
};

/// The content of a file; `None` for each absent field.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: Option<String>,
    /// The task whose fields the file has, even where the file names it wrongly.
    pub(super) task: Arc<dyn DefinitionTask>,
    /// The fields of this task alone.
    pub(super) own: Box<dyn TaskDraft>,
    pub(super) date: Option<When>,
    pub(super) timezone: Option<TimeZone>,
    pub(super) batch: Option<String>,
    pub(super) manifest: Option<String>,
    pub(super) manifest_format: Option<ManifestFormat>,
    pub(super) delimiter: Option<Option<Delimiter>>,
    pub(super) encoding: Option<Option<TextEncoding>>,
    pub(super) output: Option<String>,
    pub(super) key: Option<String>,
    pub(super) include: Option<Vec<String>>,
    pub(super) exclude: Option<Vec<String>>,
    pub(super) bad_lines: Option<BadLines>,
    pub(super) allow_empty: Option<bool>,
    pub(super) run: RunSettings,
    pub(super) report: ReportSettings,
    pub(super) report_to: Option<String>,
    pub(super) report_store: S3Settings,
    pub(super) sources: SourceDraft,
    pub(super) follow_links: Option<bool>,
    pub(super) s3_sink: SinkSettings,
    pub(super) schedule: ScheduleDraft,
    pub(super) notify: Option<Notify>,
}

/// The positions of a file's fields, so that later faults can still name a line.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) file: String,
    pub(super) at: BTreeMap<String, (u64, u64)>,
}

/// Reads a definition's text. Faults do not stop the reading: the draft of the rest is returned too, to find more
/// faults.
///
/// # Errors
/// The text is not TOML: missing fields cannot be distinguished from unread ones.
pub(super) fn read(
    file: &str,
    text: &str,
    tasks: &Tasks<dyn DefinitionTask>,
) -> Result<(Draft, Places, Vec<Fault>), Faults> {
    let mut walk = TomlWalk::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            walk.fault(error.span().map_or(0, |span| span.start), None, error.message());
        }
        return Err(walk.faults.into_iter().collect());
    }
    let draft = read_root(&mut walk, table.get_ref(), tasks);
    walk.report_unknown();
    Ok((draft, Places { file: file.to_owned(), at: walk.places }, walk.faults))
}

impl Draft {
    /// A draft with a task and nothing else.
    pub(super) fn of(task: &Arc<dyn DefinitionTask>) -> Self {
        Self {
            task: Arc::clone(task),
            own: task.blank(),
            name: None,
            date: None,
            timezone: None,
            batch: None,
            manifest: None,
            manifest_format: None,
            delimiter: None,
            encoding: None,
            output: None,
            key: None,
            include: None,
            exclude: None,
            bad_lines: None,
            allow_empty: None,
            run: RunSettings::default(),
            report: ReportSettings::default(),
            report_to: None,
            report_store: S3Settings::default(),
            sources: SourceDraft::default(),
            follow_links: None,
            s3_sink: SinkSettings::default(),
            schedule: ScheduleDraft::default(),
            notify: None,
        }
    }
}

fn any(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// The task whose fields a file has: by its `task` field, else by its table, else the first task.
fn task_of<'a>(table: &DeTable<'_>, tasks: &'a Tasks<dyn DefinitionTask>) -> &'a Arc<dyn DefinitionTask> {
    let said = table.get("task").and_then(|task| task.get_ref().as_str()).and_then(|task| tasks.named(task).ok());
    let by_table = || tasks.iter().find(|task| table.contains_key(task.name().as_str()));
    said.or_else(by_table).or_else(|| tasks.iter().next()).expect("there is a task")
}

fn read_root<'t>(walk: &mut TomlWalk<'t>, table: &'t DeTable<'t>, tasks: &Tasks<dyn DefinitionTask>) -> Draft {
    let (task, mut root) = (task_of(table, tasks), Section::root(table));
    walk.text(&mut root, "task", |text| tasks.named(text).map(drop));
    let mut draft = Draft {
        name: walk.text(&mut root, "name", some),
        date: walk.take(&mut root, "date", |value| match dates::when_of(value) {
            Some(when) => when.map_err(Wrong::Value),
            None => Err(Wrong::Type("a string")),
        }),
        timezone: walk.text(&mut root, "timezone", dates::zone),
        batch: walk.text(&mut root, "batch", some),
        manifest: walk.text(&mut root, "manifest", some),
        manifest_format: walk.text(&mut root, "manifest_format", named),
        delimiter: walk.text(&mut root, "delimiter", unless_auto),
        encoding: walk.text(&mut root, "encoding", unless_auto),
        output: walk.text(&mut root, "output", some),
        include: walk.list(&mut root, "include", any),
        exclude: walk.list(&mut root, "exclude", any),
        follow_links: walk.flag(&mut root, "follow_links"),
        bad_lines: walk.text(&mut root, "bad_lines", named),
        allow_empty: walk.flag(&mut root, "allow_empty"),
        ..Draft::of(task)
    };
    let mut columns = walk.section(&mut root, "columns");
    draft.key = walk.text(&mut columns, "key", some);
    draft.own = task.read(&mut Page { walk, root: &mut root, columns: &mut columns });
    walk.close(columns);
    draft.own.set_extra(extra::read(walk, &mut root, task.extra()));
    let run = walk.section(&mut root, "run");
    draft.run = read_run(walk, run);
    let mut report = walk.section(&mut root, "report");
    if task.has_transcripts() {
        draft.report.transcript = walk.flag(&mut report, "transcript").unwrap_or(draft.report.transcript);
    }
    draft.report_to = walk.text(&mut report, "to", some);
    draft.report_store = stores::read_store(walk, &mut report);
    walk.close(report);
    let source = walk.section(&mut root, "source");
    draft.sources = stores::read_source(walk, source);
    let sink = walk.section(&mut root, "sink");
    draft.s3_sink = stores::read_sink(walk, sink);
    let schedule = walk.section(&mut root, "schedule");
    draft.schedule = schedule_draft::read(walk, schedule);
    draft.notify = notify::read(walk, &mut root);
    walk.close(root);
    draft
}

fn read_run<'t>(walk: &mut TomlWalk<'t>, mut section: Section<'t>) -> RunSettings {
    let s = &mut section;
    let above_zero = |text: &str| match duration(text) {
        Ok(zero) if zero.is_zero() => Err("must be above zero".to_owned()),
        other => other,
    };
    let default = RunSettings::default();
    let run = RunSettings {
        concurrency: walk.count(s, "concurrency"),
        requests_per_minute: walk.count(s, "requests_per_minute"),
        max_tries: walk.count(s, "max_tries").unwrap_or(default.max_tries),
        max_billed_calls: walk.count(s, "max_billed_calls").unwrap_or(default.max_billed_calls),
        on_unknown: walk.text(s, "on_unknown", named).unwrap_or(default.on_unknown),
        on_lost_words: walk.text(s, "on_lost_words", named).unwrap_or(default.on_lost_words),
        max_spend_usd: walk.take(s, "max_spend_usd", |value| match value {
            DeValue::Integer(number) => dollars(&number.to_string()).map_err(Wrong::Value),
            DeValue::Float(number) => dollars(number.as_str()).map_err(Wrong::Value),
            _ => Err(Wrong::Type("a number")),
        }),
        tolerate: walk.text(s, "tolerate", share).unwrap_or(default.tolerate),
        call_timeout: walk.text(s, "call_timeout", above_zero),
        unknown_grace: walk.text(s, "unknown_grace", duration),
        outage_limit: walk.text(s, "outage_limit", above_zero).unwrap_or(default.outage_limit),
        pause_on_failures: walk.flag(s, "pause_on_failures").unwrap_or(default.pause_on_failures),
        keep_answers: walk.text(s, "keep_answers", duration).unwrap_or(default.keep_answers),
        mark_uploads: walk.flag(s, "mark_uploads").unwrap_or(default.mark_uploads),
    };
    walk.close(section);
    run
}

impl Places {
    /// A fault of a field: at its line if it has one, else at the table that lacks it.
    pub(super) fn fault(&self, field: &str, message: impl Into<String>) -> Fault {
        let table = field.rsplit_once('.').map_or("", |(table, _)| table);
        let at = self.at.get(field).or_else(|| self.at.get(table));
        Fault {
            line: at.map(|at| at.0),
            position: at.map(|at| at.1),
            place: Some(super::fault::Place::Field(field.to_owned())),
            ..Fault::of_file(self.file.clone(), message)
        }
    }
}

/// Reads a definition's file into text.
pub(super) fn text_of(path: &std::path::Path, shown: &str) -> Result<String, Faults> {
    /// No definition is nearly this long; a recording named by mistake is.
    const LIMIT: u64 = 1 << 20;
    let message = |message: String| Faults::from(Fault::of_file(shown, message));
    let meta = std::fs::metadata(path).map_err(|e| message(super::paths::io_message(&e)))?;
    if !meta.is_file() {
        return Err(message("is not a file".into()));
    }
    if meta.len() > LIMIT {
        return Err(message("has over 1 MiB, and so is no definition".into()));
    }
    let bytes = std::fs::read(path).map_err(|e| message(super::paths::io_message(&e)))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() as u64 + 1;
        Faults::from(Fault::of_line(shown, line, None, "is not UTF-8"))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}
