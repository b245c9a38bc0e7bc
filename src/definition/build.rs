//! A definition from what a file says, what the command line says, and the defaults.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use jiff::civil::Date;

use super::{
    AdHoc, BadLines, Definition, Fault, Faults, Filters, Manifest, NoSource, Origin, Overrides,
    dates::When,
    draft::{self, Asked, Draft, Places},
    paths::{self, absolute_dir, io_message},
    template::{Names, Template, TemplateFault},
    text::shell_word,
};
use crate::domain::{
    batch::{BatchName, LineOption, LineOverrides, RunSettings},
    options::{ExpireContent, Language, Redact, SendMode, SttModel, Task, TranscribeOptions, TranscriptFormat},
};

/// What is known besides the draft.
pub(super) struct Builder<'a> {
    pub(super) over: &'a Overrides,
    places: Places,
    faults: Vec<Fault>,
    /// The working directory, absolute.
    pub(super) cwd: PathBuf,
    /// The directory that relative paths of the draft begin at, as typed.
    pub(super) base: PathBuf,
    /// A date is asked for, and cannot be told: what is named by it is not looked for.
    date_is_wrong: bool,
}

pub(super) fn from_file(path: &Path, over: &Overrides) -> Result<Definition, Faults> {
    let (mut builder, draft) = open(path, over, Asked::Transcripts)?;
    if draft.task.is_none() && !builder.in_file("task") {
        builder.fault("task", "is missing; e.g. task = \"transcribe\"");
    }
    builder.build(draft, None)
}

/// Reads a definition's file as far as it can be told alone.
pub(super) fn open<'a>(path: &Path, over: &'a Overrides, asked: Asked) -> Result<(Builder<'a>, Draft), Faults> {
    let shown = path.to_string_lossy().into_owned();
    let cwd = working_dir(over)?;
    let text = draft::text_of(&cwd.join(path), &shown)?;
    let (mut draft, places, faults) = draft::read(&shown, &text, asked);
    if places.file.is_empty() {
        return Err(Faults::from_iter(faults)); // Not TOML: what is missing cannot be told from what was not read.
    }
    draft.name.get_or_insert_with(|| paths::stem(paths::file_name(&shown)).to_owned());
    let base = path.parent().unwrap_or(Path::new("")).to_path_buf();
    Ok((Builder { over, places, faults, cwd, base, date_is_wrong: false }, draft))
}

pub(super) fn from_command_line(ad_hoc: &AdHoc, over: &Overrides) -> Result<Definition, Faults> {
    let cwd = working_dir(over)?;
    let name = Origin::batch_name(&ad_hoc.sources, &cwd);
    let origin = Origin::of_sources(&ad_hoc.sources, &cwd, over.manifest_format);
    let draft = Draft {
        name: Some(name),
        task: Some(ad_hoc.task),
        manifest: ad_hoc.sources.first().cloned(),
        ..Draft::default()
    };
    let (places, base) = (Places::default(), PathBuf::new());
    let mut builder = Builder { over, places, faults: Vec::new(), cwd, base, date_is_wrong: false };
    let origin = origin.unwrap_or_else(|message| {
        let what = if let [one] = ad_hoc.sources.as_slice() { one.as_str() } else { "" };
        builder.faults.push(Fault::of_file(what, message));
        Origin::Files(Vec::new())
    });
    builder.build(draft, Some(origin))
}

fn working_dir(over: &Overrides) -> Result<PathBuf, Faults> {
    let given = over.working_dir.as_deref().unwrap_or(Path::new("."));
    absolute_dir(given).map_err(|e| Fault::of_file("", format!("the working directory {}", io_message(&e))).into())
}

impl Builder<'_> {
    /// Notes a fault of a field, at the flag if a flag decided it.
    pub(super) fn fault(&mut self, field: &str, message: impl Into<String>) {
        let fault = match self.over.flag_of(field) {
            Some(flag) => Fault::of_flag(&flag, message),
            None if self.places.file.is_empty() => Fault::of_flag(&flag_name(field), message),
            None => self.places.fault(field, message),
        };
        self.faults.push(fault);
    }

    /// Whether the file has this field, rightly or wrongly: then it is not missing.
    pub(super) fn in_file(&self, field: &str) -> bool {
        self.places.at.contains_key(field)
    }

    fn build(mut self, draft: Draft, origin: Option<Origin>) -> Result<Definition, Faults> {
        let transcribe = self.options(&draft);
        let formats = self.formats(&draft);
        let mut definition = self.definition(draft, origin, transcribe, formats);
        if !self.is_faulty() {
            return Ok(definition);
        }
        definition.bad_lines = BadLines::Fault;
        let scan = || Manifest::open(&definition, None).and_then(|manifest| manifest.scan().map(|_| ())).err();
        Err(self.all_faults(&definition, scan))
    }

    /// Whether anything was found wrong.
    pub(super) fn is_faulty(&self) -> bool {
        !self.faults.is_empty()
    }

    /// All that a definition has, whatever its task; where a field is wrong, something in its place.
    pub(super) fn definition(
        &mut self,
        mut draft: Draft,
        origin: Option<Origin>,
        transcribe: Option<TranscribeOptions>,
        formats: Vec<TranscriptFormat>,
    ) -> Definition {
        let over = self.over;
        let name = draft.name.take().unwrap_or_default();
        let date = self.date(&draft);
        let (batch, dated) = self.batch(&draft, &Names { name: &name, batch: None, date });
        let names = Names { name: &name, batch: Some(batch.as_ref().map_or("", BatchName::as_str)), date };
        let output = self.output(&draft, &names);
        let sink = self.sink(&draft, output.as_deref());
        let report_to = self.report_to(&draft, &names);
        let (origin, manifest) = self.origin(&draft, &names, origin);
        let filters = self.filters(&draft, origin.as_ref());
        let key_column = self.column("columns.key", over.key_column.as_ref().or(draft.key.as_ref()), date);
        let source = over.source_column.as_ref().or(draft.source.as_ref());
        let source_column = self.column("columns.source", source, date);
        let run = self.run(&draft);
        let all = || LineOption::ALL.to_vec();
        let option_columns = over.option_columns.clone().or(draft.option_columns).unwrap_or_else(all);
        Definition {
            task: draft.task.unwrap_or(Task::Transcribe),
            manifest_format: over.manifest_format.or(draft.manifest_format),
            // With options that are wrong themselves, a line's cannot be judged.
            option_columns: if transcribe.is_some() { option_columns } else { Vec::new() },
            bad_lines: if over.skip_bad_lines { BadLines::Skip } else { draft.bad_lines.unwrap_or(BadLines::Fault) },
            no_source: over.no_source.or(draft.no_source).unwrap_or(NoSource::Fault),
            allow_empty: over.allow_empty || draft.allow_empty.unwrap_or(false),
            name_pattern: draft.name_pattern,
            limit: over.limit,
            source: draft.s3_source,
            sink,
            report_to,
            date,
            dated,
            report: draft.report,
            working_dir: self.cwd.clone(),
            command: over.command.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" "),
            output: output.unwrap_or_default(),
            transcribe: transcribe.unwrap_or_else(|| options_of(SttModel::Pulse, Language::EN)),
            origin: origin.unwrap_or_else(|| Origin::Files(Vec::new())),
            batch: batch.unwrap_or_else(|| BatchName::new("-").expect("a dash can name a batch")),
            name,
            manifest,
            key_column,
            source_column,
            formats,
            run,
            filters,
        }
    }

    /// All is told together: the manifest's faults too, where what is wrong here leaves it readable.
    pub(super) fn all_faults(mut self, definition: &Definition, scan: impl FnOnce() -> Option<Faults>) -> Faults {
        let unreadable = ["columns", "column", "manifest", "include", "exclude", "date", "timezone", "pattern"];
        let may_scan = !definition.origin.needs_copy()
            && definition.origin != Origin::Files(Vec::new())
            && !self.faults.iter().any(|fault| fault.is_about(&unreadable));
        self.faults.sort_by_key(|fault| (fault.line.is_none(), fault.line, fault.position));
        let mut faults = Faults::from_iter(self.faults);
        if may_scan {
            faults.extend(scan().unwrap_or_default());
        }
        faults
    }

    fn run(&self, draft: &Draft) -> RunSettings {
        let mut run = draft.run.clone();
        run.concurrency = self.over.concurrency.or(run.concurrency);
        run.max_spend_usd = self.over.max_spend.or(run.max_spend_usd);
        run.tolerate = self.over.tolerate.unwrap_or(run.tolerate);
        run
    }

    fn options(&mut self, draft: &Draft) -> Option<TranscribeOptions> {
        let said: LineOverrides = self.over.options.over(draft.options);
        for (field, missing, example) in [
            ("transcribe.model", said.model.is_none(), "model = \"pulse\""),
            ("transcribe.language", said.language.is_none(), "language = \"en\""),
        ] {
            if missing && !self.in_file(field) {
                let hint = if self.places.file.is_empty() { String::new() } else { format!("; e.g. {example}") };
                self.fault(field, format!("is missing{hint}"));
            }
        }
        let options = said.apply(&options_of(said.model?, said.language?));
        for fault in options.faults() {
            self.fault(&format!("transcribe.{}", fault.field), fault.message);
        }
        Some(options)
    }

    fn formats(&mut self, draft: &Draft) -> Vec<TranscriptFormat> {
        let default = vec![TranscriptFormat::Json, TranscriptFormat::Txt];
        let asked = self.over.formats.clone().or_else(|| draft.formats.clone()).unwrap_or(default);
        let wrong_ones = self.over.formats.is_none()
            && self.faults.iter().any(|f| f.place == Some(super::Place::Field("transcribe.formats".into())));
        if asked.is_empty() && !wrong_ones {
            self.fault("transcribe.formats", "names no format: nothing would be written");
        }
        let mut formats = Vec::new();
        asked.into_iter().for_each(|format| {
            if !formats.contains(&format) {
                formats.push(format)
            }
        });
        formats
    }

    fn date(&mut self, draft: &Draft) -> Option<Date> {
        let when = match &self.over.date {
            Some(text) => text.parse::<When>().map(Some),
            None if draft.date.is_none() && self.in_file("date") => {
                self.date_is_wrong = true;
                return None;
            }
            None => Ok(draft.date),
        };
        let zone_is_wrong = self.in_file("timezone") && draft.timezone.is_none();
        let date = match when {
            Ok(None) => return None,
            Ok(Some(When::Today | When::Yesterday)) if zone_is_wrong => {
                self.date_is_wrong = true;
                return None;
            }
            Ok(Some(when)) => when.date(self.over.now, draft.timezone.as_ref()),
            Err(message) => Err(message),
        };
        self.date_is_wrong = date.is_err();
        date.map_err(|message| self.fault("date", message)).ok()
    }

    /// A template's text; what is wrong with it is a fault of the field.
    pub(super) fn fill(&mut self, field: &str, text: &str, names: &Names<'_>) -> Option<String> {
        match Template::parse(text).and_then(|template| template.fill(names)) {
            Ok(filled) => Some(filled),
            Err(TemplateFault::NoDate) if self.date_is_wrong => None,
            Err(fault) => {
                self.fault(field, fault.to_string());
                None
            }
        }
    }

    /// The batch's name, and whether it has a date.
    fn batch(&mut self, draft: &Draft, names: &Names<'_>) -> (Option<BatchName>, bool) {
        let Some(text) = self.over.batch.as_ref().or(draft.batch.as_ref()) else {
            let named = BatchName::new(names.name).map_err(|e| self.fault("batch", e.to_string()));
            return (named.ok(), false);
        };
        let dated = Template::parse(text).is_ok_and(|template| template.uses_date());
        let filled = self.fill("batch", text, names);
        let named = filled.and_then(|text| BatchName::new(text).map_err(|e| self.fault("batch", e.to_string())).ok());
        (named, dated)
    }

    /// The origin, and how it is shown.
    fn origin(&mut self, draft: &Draft, names: &Names<'_>, given: Option<Origin>) -> (Option<Origin>, String) {
        let (typed, typed_in) = match (&self.over.manifest, &draft.manifest) {
            (Some(text), _) => (text.clone(), PathBuf::new()),
            (None, Some(text)) => (text.clone(), self.base.clone()),
            (None, None) => {
                if !self.in_file("manifest") {
                    let wanted = "a file, a directory or glob of audio, an s3:// prefix or object, a URL, or \"-\"";
                    self.fault("manifest", format!("is missing: {wanted}"));
                }
                return (None, String::new());
            }
        };
        let origin = match given {
            Some(origin) if self.over.manifest.is_none() => Ok((origin, typed)),
            _ => {
                let Some(filled) = self.fill("manifest", &typed, names) else { return (None, String::new()) };
                let format = self.over.manifest_format.or(draft.manifest_format);
                let origin = Origin::of_manifest(&filled, &self.cwd.join(&typed_in), format);
                let named = |e| if filled == typed { e } else { format!("`{filled}`: {e}") };
                origin.map_err(named).map(|origin| (origin, filled))
            }
        };
        match origin {
            Ok((origin, typed)) => {
                if origin == Origin::Stdin && self.over.batch.is_none() {
                    let message = "a manifest from stdin needs --batch NAME, to be resumed under";
                    self.faults.push(Fault::of_flag("batch", message));
                }
                let shown = origin.shown(&typed, &typed_in);
                (Some(origin), shown)
            }
            Err(message) => {
                self.fault("manifest", message);
                (None, String::new())
            }
        }
    }

    fn filters(&mut self, draft: &Draft, origin: Option<&Origin>) -> Filters {
        let include = self.over.include.as_ref().or(draft.include.as_ref());
        let exclude = self.over.exclude.as_ref().or(draft.exclude.as_ref());
        let listing = origin.is_none_or(Origin::is_listing);
        let mut set = |field: &str, patterns: Option<&Vec<String>>| {
            let patterns = patterns?;
            if !listing && !patterns.is_empty() {
                self.fault(field, "is for directories, globs and s3:// prefixes; the manifest is none of them");
            }
            globs(patterns).map_err(|message| self.fault(field, message)).ok()
        };
        Filters { include: set("include", include), exclude: set("exclude", exclude), texts: false }
    }

    /// A column's name or a template over columns; a plain name is a template of that one name.
    pub(super) fn column(&mut self, field: &str, text: Option<&String>, date: Option<Date>) -> Option<Template> {
        let text = text?;
        let template =
            if text.contains(['{', '}']) { Template::parse(text) } else { Ok(Template::of_name(text.trim())) };
        let template = template.map_err(|e| self.fault(field, e.to_string())).ok()?;
        if template.names().next().is_none_or(str::is_empty) {
            self.fault(field, "names no column");
        }
        if template.has_format() && date.is_none() && !self.date_is_wrong {
            self.fault(field, TemplateFault::NoDate.to_string());
        }
        Some(template)
    }
}

/// The defaults of everything but model and language, which have none.
fn options_of(model: SttModel, language: Language) -> TranscribeOptions {
    TranscribeOptions {
        model,
        language,
        word_timestamps: false,
        diarize: false,
        redact_pii: false,
        redact_pci: false,
        redact: Redact::Strict,
        emotion_detection: false,
        gender_detection: false,
        expire_content: ExpireContent::No,
        allow_silence: false,
        send: SendMode::Auto,
    }
}

fn globs(patterns: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        // A pattern without a `/` is meant for the name, wherever the file lies.
        let anywhere = if pattern.contains('/') { pattern.clone() } else { format!("**/{pattern}") };
        let glob = GlobBuilder::new(&anywhere).literal_separator(true).build();
        set.add(glob.map_err(|e| format!("`{pattern}` is not a pattern: {}", e.kind()))?);
    }
    set.build().map_err(|e| e.to_string())
}

fn flag_name(field: &str) -> String {
    match field {
        "columns.key" => "key-column".into(),
        "columns.source" => "source-column".into(),
        _ => field.rsplit('.').next().unwrap_or(field).replace('_', "-"),
    }
}
