//! The fields of a definition's file, before the command line and the defaults are applied.

use std::{collections::BTreeMap, sync::Arc};

use jiff::tz::TimeZone;
use toml::de::{DeTable, DeValue};

use super::{
    dates::{self, When},
    dialect::{Delimiter, TextEncoding, unless_auto},
    extra,
    fault::{Fault, Faults},
    fields::fields,
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
    batch::{OnLostWords, OnUnknown, OutputPaths, ReportSettings, RunSettings},
    feed::FeedFrom,
    s3::{S3Settings, SinkSettings},
    share::PRIORITIES,
    task::Tasks,
};

fields! {
    /// What the batch is called, where its lines come from and where its outputs go. Paths are relative to the definition.
    pub(super) ROOT = "" {
        /// What is done with each line: `transcribe` or `synthesize`.
        "task": "a string" (required) => Batch;
        /// The definition's name, for `{name}`, messages and notifications.
        "name": "a string" (or "the file's name without its ending") => Batch;
        /// The day that `{date}` stands for: `today`, `yesterday` or a day like `2026-11-20`. The flag `--date` goes before it.
        "date": "a string" () => Batch;
        /// The time zone of `date` and `[schedule]`, by its name in the tz database, e.g. `Asia/Kolkata`.
        "timezone": "a string" (or "the system's") => Batch;
        /// The batch's name. `{name}-{date}` makes a batch for each day.
        "batch": "a string" (= "\"{name}\"") => Batch;
        /// Where the lines come from: a manifest, a directory or a glob, an `http(s)` URL, an `s3://` object or prefix, `-` for stdin, or `batch:NAME` for the finished lines of another batch.
        "manifest": "a string" (required) => Lines;
        /// With `batch:NAME`: which lines of that batch become lines.
        "from": [FeedFrom] (= "\"succeeded\"") => Lines;
        /// The format of the manifest.
        "manifest_format": [ManifestFormat] (or "by the ending of its name") => Lines;
        /// The character between two cells of a CSV, or `comma`, `semicolon`, `tab`, `pipe`; `auto` finds it from the content.
        "delimiter": "a string" (= "\"auto\"") => Lines;
        /// The encoding of a manifest without a byte order mark, e.g. `windows-1252`; `auto` is UTF-8.
        "encoding": "a string" (= "\"auto\"") => Lines;
        /// Where outputs go: a directory, or `s3://bucket/prefix/`.
        "output": "a string" (= "\"out/{batch}/\"") => Writes;
        /// In directories, globs and prefixes: take only files whose path matches one of these patterns, e.g. `*.wav`.
        "include": "a list of strings" () => Lines;
        /// In directories, globs and prefixes: leave out files whose path matches one of these patterns.
        "exclude": "a list of strings" () => Lines;
        /// In directories and globs: follow links to folders. Each real file is one line, however many links lead to it.
        "follow_links": "true or false" (= "false") => Lines;
        /// What happens to bad lines of the manifest.
        "bad_lines": [BadLines] (= "\"fault\"") => Lines;
        /// Take a manifest or prefix without lines as an empty batch that ends with exit status 0. By default it is a fault.
        "allow_empty": "true or false" (= "false") => Nothing;
    }
}

fields! {
    /// Which column of the manifest has which use, where its name does not say so. A value with braces is a template over
    /// columns, e.g. `{call_id}-{leg}`. An option of the task may be mapped in the same way, e.g. `language = "Sprache"`.
    pub(super) COLUMNS = "columns" {
        /// The column of the key.
        "key": "a string" (or "`key` or `id`, else the name of the source's file, else `line-000123`") => Lines;
    }
}

fields! {
    /// How calls are made, tried again and paid for. Each of these fields can be changed at any time, and a change costs nothing.
    pub(super) RUN = "run" {
        /// Calls in flight at the same time. The account's limit may be lower.
        "concurrency": "a whole number" (or "16") => Nothing;
        /// Calls that begin in a minute. The account's limit may be lower.
        "requests_per_minute": "a whole number" (or "what the account allows") => Nothing;
        /// The weight of this definition, where several wait for calls of the same account: with 20, it gets twice the calls of one with 10. From 1 to 100.
        "priority": "a whole number" (= "10") => Nothing;
        /// Tries of a line, or of a part of a text, before the line fails. Six tries after a 5xx are spread over eight minutes.
        "max_tries": "a whole number" (= "6") => Nothing;
        /// Calls of a line, or of a part, that may have been billed, before the line fails. `wavebatch retry` allows more.
        "max_billed_calls": "a whole number" (= "4") => Nothing;
        /// What happens after a call that may have been billed, if nothing proves its outcome.
        "on_unknown": [OnUnknown] (= "\"retry\"") => Nothing;
        /// What happens to a transcript that was found in the vendor's log, where a format needs word times.
        "on_lost_words": [OnLostWords] (= "\"accept\"") => Nothing;
        /// The most that the batch may cost over all its runs, in US dollars at list price. A call that could pass it pauses the batch.
        "max_spend_usd": "a number" (or "no limit") => Nothing;
        /// The share of failed or suspect lines with which the exit status is still 0.
        "tolerate": "a share like `2.5%`" (= "\"0%\"") => Nothing;
        /// The time-out of a call.
        "call_timeout": "a duration" (or "2 min and the audio's length, at most 15 min") => Nothing;
        /// How long the vendor's log may lack a lost call before it counts as not there.
        "unknown_grace": "a duration" (or "the audio's length, from 10 s to 2 min") => Nothing;
        /// An outage of this length pauses the batch.
        "outage_limit": "a duration" (= "\"2h\"") => Nothing;
        /// Pause the batch when over half of at least 100 finished lines failed or are suspect.
        "pause_on_failures": "true or false" (= "true") => Nothing;
        /// How long answers stay in the ledger after the batch has finished.
        "keep_answers": "a duration" (= "\"14d\"") => Nothing;
        /// How long the cells, addresses and texts of lines stay in the ledger after the batch has finished. Then they go as by `wavebatch forget`; keys, states and costs stay.
        "keep_rows": "a duration" (or "as long as the ledger") => Nothing;
        /// How long outputs and the report stay after the batch has finished. Then `serve`, `run` or `wavebatch prune` removes them.
        "keep_outputs": "a duration" (or "until you remove them") => Nothing;
        /// Give uploads sizes of their own by padding, so that a lost call can be found in the vendor's log.
        "mark_uploads": "true or false" (= "true") => Nothing;
    }
}

fields! {
    /// What the report contains, and where it goes. In S3 it goes to the store of `[sink]`, unless this table names another.
    pub(super) REPORT = "report" {
        /// The report's file, or `s3://bucket/key`.
        "to": "a string" (or "`report.csv` beside the outputs") => Nothing;
        /// How the report writes the paths of local outputs. `"relative"` is from the report's folder, so that a folder with outputs and report can be moved.
        "paths": [OutputPaths] (= "\"absolute\"") => Nothing;
    }
}

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
    pub(super) from: Option<FeedFrom>,
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
            from: None,
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
        from: walk.text(&mut root, "from", named),
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
    if task.reads_texts() {
        draft.report.text = walk.flag(&mut report, "text").unwrap_or(draft.report.text);
    }
    draft.report.paths = walk.text(&mut report, "paths", named).unwrap_or(draft.report.paths);
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
        priority: walk.count_in(s, "priority", PRIORITIES).unwrap_or(default.priority),
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
        keep_rows: walk.text(s, "keep_rows", duration),
        keep_outputs: walk.text(s, "keep_outputs", duration),
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
