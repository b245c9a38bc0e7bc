//! A definition from what a file says, what the command line says, and the defaults.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::{
    AdHoc, BadLines, Definition, Fault, Faults, Filters, Manifest, Origin, Overrides,
    draft::{self, Draft, Places},
    paths::{self, absolute_dir, clean, io_message},
    template::Template,
    text::shell_word,
};
use crate::domain::{
    batch::{BatchName, LineOption, LineOverrides, RunSettings},
    options::{ExpireContent, Language, Redact, SendMode, SttModel, Task, TranscribeOptions, TranscriptFormat},
};

/// What is known besides the draft.
struct Builder<'a> {
    over: &'a Overrides,
    places: Places,
    faults: Vec<Fault>,
    /// The working directory, absolute.
    cwd: PathBuf,
    /// The directory that relative paths of the draft begin at, as typed.
    base: PathBuf,
}

pub(super) fn from_file(path: &Path, over: &Overrides) -> Result<Definition, Faults> {
    let shown = path.to_string_lossy().into_owned();
    let cwd = working_dir(over)?;
    let text = draft::text_of(&cwd.join(path), &shown)?;
    let (mut draft, places, faults) = draft::read(&shown, &text);
    if places.file.is_empty() {
        return Err(Faults::from_iter(faults)); // Not TOML: what is missing cannot be told from what was not read.
    }
    draft.name.get_or_insert_with(|| paths::stem(paths::file_name(&shown)).to_owned());
    let base = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let mut builder = Builder { over, places, faults, cwd, base };
    if draft.task.is_none() && !builder.places.at.contains_key("task") {
        builder.fault("task", "is missing; e.g. task = \"transcribe\"");
    }
    builder.build(draft, None)
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
    let mut builder = Builder { over, places: Places::default(), faults: Vec::new(), cwd, base: PathBuf::new() };
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
    fn fault(&mut self, field: &str, message: impl Into<String>) {
        let fault = match self.over.flag_of(field) {
            Some(flag) => Fault::of_flag(&flag, message),
            None if self.places.file.is_empty() => Fault::of_flag(&flag_name(field), message),
            None => self.places.fault(field, message),
        };
        self.faults.push(fault);
    }

    /// Whether the file has this field, rightly or wrongly: then it is not missing.
    fn in_file(&self, field: &str) -> bool {
        self.places.at.contains_key(field)
    }

    fn build(mut self, mut draft: Draft, origin: Option<Origin>) -> Result<Definition, Faults> {
        let over = self.over;
        let name = draft.name.take().unwrap_or_default();
        let transcribe = self.options(&draft);
        let formats = self.formats(&draft);
        let batch = self.batch(&draft, &name);
        let batch_text = batch.as_ref().map_or("", BatchName::as_str).to_owned();
        let names = [("name", name.as_str()), ("batch", batch_text.as_str())];
        let output = self.output(&draft, &names);
        let (origin, manifest) = self.origin(&draft, &names, origin);
        let filters = self.filters(&draft, origin.as_ref());
        let key_column = self.column("columns.key", over.key_column.as_ref().or(draft.key.as_ref()));
        let source_column = self.column("columns.source", over.source_column.as_ref().or(draft.source.as_ref()));
        let run = self.run(&draft);
        let all = || LineOption::ALL.to_vec();
        let option_columns = over.option_columns.clone().or(draft.option_columns).unwrap_or_else(all);
        let mut definition = Definition {
            task: draft.task.unwrap_or(Task::Transcribe),
            manifest_format: over.manifest_format.or(draft.manifest_format),
            // With options that are wrong themselves, a line's cannot be judged.
            option_columns: if transcribe.is_some() { option_columns } else { Vec::new() },
            bad_lines: if over.skip_bad_lines { BadLines::Skip } else { draft.bad_lines.unwrap_or(BadLines::Fault) },
            limit: over.limit,
            report: draft.report,
            working_dir: self.cwd.clone(),
            command: over.command.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" "),
            batch: batch.unwrap_or_else(|| BatchName::new("-").expect("a dash can name a batch")),
            output: output.unwrap_or_default(),
            transcribe: transcribe.unwrap_or_else(|| options_of(SttModel::Pulse, Language::EN)),
            origin: origin.unwrap_or_else(|| Origin::Files(Vec::new())),
            name,
            manifest,
            key_column,
            source_column,
            formats,
            run,
            filters,
        };
        if self.faults.is_empty() {
            return Ok(definition);
        }
        definition.bad_lines = BadLines::Fault;
        Err(self.all_faults(&definition))
    }

    /// All is told together: the manifest's faults too, where what is wrong here leaves it readable.
    fn all_faults(mut self, definition: &Definition) -> Faults {
        let unreadable = ["columns", "column", "manifest", "include", "exclude"];
        let may_scan = !definition.origin.needs_copy()
            && definition.origin != Origin::Files(Vec::new())
            && !self.faults.iter().any(|fault| fault.is_about(&unreadable));
        self.faults.sort_by_key(|fault| (fault.line.is_none(), fault.line, fault.position));
        let mut faults = Faults::from_iter(self.faults);
        if may_scan {
            let manifest = Manifest::open(definition, None).and_then(|manifest| manifest.scan().map(|_| ()));
            faults.extend(manifest.err().unwrap_or_default());
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

    fn batch(&mut self, draft: &Draft, name: &str) -> Option<BatchName> {
        let text = self.over.batch.as_ref().or(draft.batch.as_ref());
        let filled = match text {
            Some(text) => Template::parse(text).and_then(|template| template.fill(&[("name", name)])),
            None => Ok(name.to_owned()),
        };
        let named = filled.map_err(|e| e.to_string()).and_then(|text| BatchName::new(text).map_err(|e| e.to_string()));
        named.map_err(|message| self.fault("batch", message)).ok()
    }

    fn output(&mut self, draft: &Draft, names: &[(&str, &str)]) -> Option<String> {
        let (text, base) = match (&self.over.output, &draft.output) {
            (Some(text), _) => (text.as_str(), self.cwd.clone()),
            (None, Some(text)) => (text.as_str(), self.cwd.join(&self.base)),
            (None, None) => ("out/{batch}/", self.cwd.join(&self.base)),
        };
        let filled = Template::parse(text).and_then(|template| template.fill(names)).map_err(|e| e.to_string());
        let path = filled.and_then(|text| match paths::scheme(&text) {
            Some(scheme) => Err(format!("outputs go to a directory, and `{scheme}:` is none")),
            None if text.chars().any(char::is_control) => Err("has control characters".to_owned()),
            None => absolute_dir(&base).map(|base| clean(&base.join(text))).map_err(|e| io_message(&e)),
        });
        let path =
            path.and_then(|path| path.into_os_string().into_string().map_err(|_| "the path is not UTF-8".to_owned()));
        path.map_err(|message| self.fault("output", message)).ok()
    }

    /// The origin, and how it is shown.
    fn origin(&mut self, draft: &Draft, names: &[(&str, &str)], given: Option<Origin>) -> (Option<Origin>, String) {
        let (typed, typed_in) = match (&self.over.manifest, &draft.manifest) {
            (Some(text), _) => (text.clone(), PathBuf::new()),
            (None, Some(text)) => (text.clone(), self.base.clone()),
            (None, None) => {
                if !self.in_file("manifest") {
                    self.fault("manifest", "is missing: a file, a directory or glob of audio, a URL, or \"-\"");
                }
                return (None, String::new());
            }
        };
        let origin = match given {
            Some(origin) if self.over.manifest.is_none() => Ok((origin, typed)),
            _ => Template::parse(&typed).and_then(|template| template.fill(names)).map_err(|e| e.to_string()).and_then(
                |filled| {
                    let format = self.over.manifest_format.or(draft.manifest_format);
                    Origin::of_manifest(&filled, &self.cwd.join(&typed_in), format).map(|origin| (origin, filled))
                },
            ),
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
        let listing = matches!(origin, Some(Origin::Listing { .. }) | None);
        let mut set = |field: &str, patterns: Option<&Vec<String>>| {
            let patterns = patterns?;
            if !listing && !patterns.is_empty() {
                self.fault(field, "is for directories and globs; the manifest is neither");
            }
            globs(patterns).map_err(|message| self.fault(field, message)).ok()
        };
        Filters { include: set("include", include), exclude: set("exclude", exclude) }
    }

    /// A column's name or a template over columns; a plain name is a template of that one name.
    fn column(&mut self, field: &str, text: Option<&String>) -> Option<Template> {
        let text = text?;
        let template =
            if text.contains(['{', '}']) { Template::parse(text) } else { Ok(Template::of_name(text.trim())) };
        let template = template.map_err(|e| self.fault(field, e.to_string())).ok()?;
        if template.names().next().is_none_or(str::is_empty) {
            self.fault(field, "names no column");
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
