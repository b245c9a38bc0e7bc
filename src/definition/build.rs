//! Builds a definition from its file, the command line and the defaults.

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use jiff::civil::Date;

use super::{
    AdHoc, BadLines, Built, Definition, DefinitionTask, Dialect, Fault, Faults, Filters, Manifest, Origin, Overrides,
    ScanDepth, TaskDefinition,
    dates::When,
    draft::{self, Draft, Places},
    origin,
    paths::{self, absolute_dir, io_message},
    template::{Names, Template, TemplateFault},
    text::shell_word,
};
use crate::domain::{
    batch::{BatchName, RunSettings},
    feed::FeedFrom,
    task::Tasks,
};

/// A definition being built: everything except the draft.
pub struct Builder<'a> {
    /// The command line's overrides.
    pub over: &'a Overrides,
    /// The task of the definition.
    task: Arc<dyn DefinitionTask>,
    places: Places,
    /// The faults so far.
    pub faults: Vec<Fault>,
    /// The faults of other files that the definition names.
    pub others: Faults,
    /// The working directory, absolute.
    pub cwd: PathBuf,
    /// The base directory of the draft's relative paths, as typed.
    pub base: PathBuf,
    /// A date is set but unknown: nothing that it names is looked for.
    date_is_wrong: bool,
}

pub(super) fn from_file(
    path: &Path,
    tasks: &Tasks<dyn DefinitionTask>,
    over: &Overrides,
) -> Result<Definition, Faults> {
    let (mut builder, draft) = open(path, tasks, over)?;
    if !builder.in_file("task") {
        builder.fault("task", format!("is missing; e.g. task = \"{}\"", builder.task.name()));
    }
    builder.build(draft, None)
}

/// Reads a definition's file, without other files.
pub(super) fn open<'a>(
    path: &Path,
    tasks: &Tasks<dyn DefinitionTask>,
    over: &'a Overrides,
) -> Result<(Builder<'a>, Draft), Faults> {
    let shown = path.to_string_lossy().into_owned();
    let cwd = working_dir(over)?;
    let text = draft::text_of(&cwd.join(path), &shown)?;
    let (mut draft, places, faults) = draft::read(&shown, &text, tasks)?;
    draft.name.get_or_insert_with(|| paths::stem(paths::file_name(&shown)).to_owned());
    let base = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let (task, others) = (Arc::clone(&draft.task), Faults::default());
    Ok((Builder { over, task, places, faults, others, cwd, base, date_is_wrong: false }, draft))
}

pub(super) fn from_command_line(
    ad_hoc: &AdHoc,
    tasks: &Tasks<dyn DefinitionTask>,
    over: &Overrides,
) -> Result<Definition, Faults> {
    let task = tasks.named(ad_hoc.task.as_str()).map_err(|message| Fault::of_flag("task", message))?;
    let cwd = working_dir(over)?;
    let name = Origin::batch_name(&ad_hoc.sources, &cwd);
    let origin = Origin::of_sources(&ad_hoc.sources, &cwd, over.manifest_format, task.reads_texts());
    let manifest = ad_hoc.sources.first().cloned();
    let draft = Draft { name: Some(name), manifest, ..Draft::of(task) };
    let (places, base) = (Places::default(), PathBuf::new());
    let (faults, others, task) = (Vec::new(), Faults::default(), Arc::clone(task));
    let mut builder = Builder { over, task, places, faults, others, cwd, base, date_is_wrong: false };
    let origin = origin.unwrap_or_else(|message| {
        let what = if let [one] = ad_hoc.sources.as_slice() { one.as_str() } else { "" };
        builder.faults.push(Fault::of_file(what, without_name(&message, what)));
        Origin::Files(Vec::new())
    });
    builder.build(draft, Some(origin))
}

/// A message about a file that names it at its beginning, without that name: it follows the name.
fn without_name(message: &str, file: &str) -> String {
    let of = |name: &str| message.strip_prefix(&format!("`{name}`")).filter(|_| !name.is_empty());
    let rest = of(file).or_else(|| of(paths::file_name(file))).unwrap_or(message);
    rest.trim_start_matches([':', ' ']).to_owned()
}

fn working_dir(over: &Overrides) -> Result<PathBuf, Faults> {
    let given = over.working_dir.as_deref().unwrap_or(Path::new("."));
    absolute_dir(given).map_err(|e| Fault::of_file("", format!("the working directory {}", io_message(&e))).into())
}

impl Builder<'_> {
    /// Records a fault of a field, at the flag if a flag decided the field.
    pub fn fault(&mut self, field: &str, message: impl Into<String>) {
        let fault = match self.over.flag_of(field, &*self.task) {
            Some(flag) => Fault::of_flag(&flag, message),
            None if self.places.file.is_empty() => Fault::of_flag(&flag_name(field), message),
            None => self.places.fault(field, message),
        };
        self.faults.push(fault);
    }

    /// Whether the file has this field, valid or not. Then the field is not missing.
    pub fn in_file(&self, field: &str) -> bool {
        self.places.at.contains_key(field)
    }

    /// Records that a field is missing, unless it is present but wrong.
    pub fn missing(&mut self, field: &str, missing: bool, example: &str) {
        if missing && !self.in_file(field) && self.over.flag_of(field, &*self.task).is_none() {
            let hint = if self.places.file.is_empty() { String::new() } else { format!("; e.g. {example}") };
            self.fault(field, format!("is missing{hint}"));
        }
    }

    fn build(mut self, draft: Draft, origin: Option<Origin>) -> Result<Definition, Faults> {
        self.refuse_flags_of_others();
        let date = self.date(&draft);
        let Built { task, judged } = draft.own.build(&mut self, date);
        let mut definition = self.definition(draft, origin, date, task);
        if self.faults.is_empty() && self.others.is_empty() {
            return Ok(definition);
        }
        definition.bad_lines = BadLines::Fault;
        Err(self.all_faults(&definition, judged))
    }

    fn refuse_flags_of_others(&mut self) {
        let message = format!("says nothing where the task is `{}`", self.task.name());
        let foreign = self.over.foreign_to(&*self.task);
        self.faults.extend(foreign.iter().map(|name| Fault::of_flag(name, message.as_str())));
    }

    /// Sets the options given as flags.
    pub fn set_options<O: FromStr>(&mut self, table: &str, mut set: impl FnMut(O, &str) -> Result<(), String>) {
        for (name, text) in &self.over.options {
            let set = name.parse().map(|option| set(option, text));
            if let Ok(Err(message)) = set {
                self.fault(&format!("{table}.{name}"), message);
            }
        }
    }

    /// The columns that may override options: from the flag, else from the file, else all of them.
    pub fn option_columns<O: FromStr<Err: Display> + Copy>(&mut self, said: Option<Vec<O>>, all: &[O]) -> Vec<O> {
        let Some(flag) = &self.over.option_columns else { return said.unwrap_or_else(|| all.to_vec()) };
        let named = |(name, faults): (&String, &mut Vec<String>)| -> Option<O> {
            name.parse().map_err(|e: O::Err| faults.push(e.to_string())).ok()
        };
        let mut wrong = Vec::new();
        let columns = flag.iter().filter_map(|name| named((name, &mut wrong))).collect();
        wrong.into_iter().for_each(|message| self.fault("option_columns", message));
        columns
    }

    /// The columns that are said to set options: those of the flag, then those of the file. `contents` are the other columns
    /// that the task can be told; one that ends in a dot stands for all names that begin with it.
    pub fn mapped<O: FromStr<Err: Display> + Copy + PartialEq>(
        &mut self,
        said: &[(O, String)],
        contents: &[&str],
    ) -> Vec<(O, String)> {
        let mut mapped: Vec<(O, String)> = Vec::new();
        for (name, column) in &self.over.columns {
            match name.parse::<O>() {
                Ok(option) => mapped.push((option, column.clone())),
                Err(_) if name == "key" || contents.iter().any(|own| is_of(own, name)) => {}
                Err(e) => self.faults.push(Fault::of_flag("column", e.to_string())),
            }
        }
        for (option, column) in said {
            if mapped.iter().all(|(own, _)| own != option) {
                mapped.push((*option, column.clone()));
            }
        }
        mapped
    }

    /// The fields that every task has. A wrong field gets a placeholder.
    fn definition(
        &mut self,
        mut draft: Draft,
        origin: Option<Origin>,
        date: Option<Date>,
        task: Arc<dyn TaskDefinition>,
    ) -> Definition {
        let over = self.over;
        let name = draft.name.take().unwrap_or_default();
        let (batch, dated) = self.batch(&draft, &Names { name: &name, batch: None, date });
        let names = Names { name: &name, batch: Some(batch.as_ref().map_or("", BatchName::as_str)), date };
        let output = self.output(&draft, &names);
        let report_to = self.report_to(&draft, &names);
        let sink = self.sink(&draft, output.as_deref(), report_to.as_deref());
        draft.report.sink = self.report_sink(&draft, report_to.as_deref());
        let (origin, manifest) = self.origin(&draft, &names, origin);
        let is_fed = matches!(origin, Some(Origin::Batch(_)));
        self.feed(&draft, origin.as_ref(), batch.as_ref());
        let address = self.address(&draft, origin.as_ref());
        let filters = Filters { texts: self.task.reads_texts(), ..self.filters(&draft, origin.as_ref()) };
        let key_column =
            self.column("columns.key", over.key_column.as_ref().or(over.column("key")).or(draft.key.as_ref()), date);
        let run = self.run(&draft);
        let schedule = self.schedule(&draft);
        Definition {
            is_ad_hoc: self.places.file.is_empty(),
            file: Some(&self.places.file)
                .filter(|file| !file.is_empty())
                .map(|file| paths::clean(&self.cwd.join(file))),
            typed: Some(&self.places.file).filter(|file| !file.is_empty()).map(PathBuf::from),
            from: draft.from.unwrap_or(FeedFrom::Succeeded),
            of: Arc::clone(&self.task),
            task,
            manifest_format: over.manifest_format.or(draft.manifest_format),
            dialect: Dialect {
                delimiter: over.delimiter.or(draft.delimiter).flatten(),
                encoding: over.encoding.or(draft.encoding).flatten(),
            },
            bad_lines: if over.skip_bad_lines || is_fed {
                BadLines::Skip
            } else {
                draft.bad_lines.unwrap_or(BadLines::Fault)
            },
            allow_empty: over.allow_empty || is_fed || draft.allow_empty.unwrap_or(false),
            limit: over.limit,
            sample: over.sample,
            source: draft.sources.store,
            private_redirects: draft.sources.private_redirects,
            path_map: draft.sources.path_map,
            queries: draft.sources.queries,
            address,
            sink,
            report_to,
            date,
            dated,
            report: draft.report,
            schedule,
            notify: draft.notify,
            working_dir: self.cwd.clone(),
            command: over.command.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" "),
            output: output.unwrap_or_default(),
            origin: origin.unwrap_or_else(|| Origin::Files(Vec::new())),
            batch: batch.unwrap_or_else(|| BatchName::new("-").expect("a dash can name a batch")),
            name,
            manifest,
            key_column,
            run,
            filters,
        }
    }

    /// All faults together. The manifest's faults are included if the faults here leave it readable.
    fn all_faults(mut self, definition: &Definition, judged: bool) -> Faults {
        let unreadable = ["columns", "column", "manifest", "include", "exclude", "date", "timezone", "pattern", "map"];
        let may_scan = judged
            && !definition.origin.needs_copy()
            && definition.origin != Origin::Files(Vec::new())
            && !self.faults.iter().any(|fault| fault.is_about(&unreadable));
        self.faults.sort_by_key(|fault| (fault.line.is_none(), fault.line, fault.position));
        let mut faults = Faults::from_iter(self.faults);
        faults.extend(self.others);
        if may_scan {
            faults.extend(scan(definition).err().unwrap_or_default());
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

    fn date(&mut self, draft: &Draft) -> Option<Date> {
        let when = match &self.over.date {
            Some(text) => text.parse::<When>().map(Some),
            None if draft.date.is_none() && self.in_file("date") => {
                self.date_is_wrong = true;
                return None;
            }
            // A scheduled batch always has a date: that of its run.
            None if self.in_file("schedule") => Ok(draft.date.or(Some(When::Today))),
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

    /// The text of a template. A template fault is a fault of the field.
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

    /// The origin, and its text for messages.
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
                let dir = self.cwd.join(&typed_in);
                let here = draft.sources.path_map.apply(&filled);
                let origin = match self.task.reads_texts() {
                    false => Origin::of_manifest(&here, &dir, format),
                    true => Origin::of_texts(&here, &dir, format),
                };
                let named = |e| if filled == typed { e } else { format!("`{filled}`: {e}") };
                origin.map_err(named).map(|origin| (origin, filled))
            }
        };
        match origin {
            Ok((origin, typed)) => {
                if matches!(origin, Origin::Batch(_)) && self.over.batch.is_none() && self.places.file.is_empty() {
                    let message = "lines of another batch need --batch NAME, a batch of their own";
                    self.faults.push(Fault::of_flag("batch", message));
                }
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

    /// What cannot be where the lines are those of another batch, and what is for nothing else.
    fn feed(&mut self, draft: &Draft, origin: Option<&Origin>, batch: Option<&BatchName>) {
        let Some(Origin::Batch(by)) = origin else {
            if draft.from.is_some_and(|from| from != FeedFrom::Succeeded) && origin.is_some() {
                self.fault("from", "is for the lines of another batch: manifest = \"batch:NAME\"");
            }
            return;
        };
        if Some(by) == batch {
            self.fault(
                "manifest",
                format!("the batch `{by}` would be its own manifest; give this one a name of its own"),
            );
        }
        let is_named = self.over.key_column.is_some() || self.over.column("key").is_some() || draft.key.is_some();
        if is_named {
            self.fault("columns.key", format!("says nothing here: the lines have the keys that they have in `{by}`"));
        }
        for (flag, is_set) in [("limit", self.over.limit.is_some()), ("sample", self.over.sample.is_some())] {
            if is_set {
                let message = format!("is for a manifest that is whole; limit the batch that makes the lines, `{by}`");
                self.faults.push(Fault::of_flag(flag, message));
            }
        }
    }

    /// The manifest's address as written.
    fn address(&self, draft: &Draft, origin: Option<&Origin>) -> String {
        match (&self.over.manifest, &draft.manifest, origin) {
            (None, Some(typed), _) if !self.places.file.is_empty() => origin::written(typed),
            (_, _, Some(origin)) => origin.address(),
            _ => String::new(),
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
        let (include, exclude) = (set("include", include), set("exclude", exclude));
        let follow_links = draft.follow_links.unwrap_or(false);
        if follow_links && !origin.is_none_or(|origin| matches!(origin, Origin::Listing { .. })) {
            self.fault("follow_links", "is for directories and globs; the manifest is neither");
        }
        let settle = self.over.settle.or(draft.sources.settle).filter(|settle| !settle.is_zero());
        if settle.is_some() && !origin.is_none_or(Origin::is_of_files) {
            self.fault(
                "source.settle",
                "is for directories, globs, s3:// prefixes and files named one by one; the manifest is none of them",
            );
        }
        Filters { include, exclude, texts: false, follow_links, settle }
    }

    /// A column's name or a template over columns. A plain name is a template with that one name.
    pub fn column(&mut self, field: &str, text: Option<&String>, date: Option<Date>) -> Option<Template> {
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

/// Whether `name` is `own`, or begins with it where `own` ends in a dot.
fn is_of(own: &str, name: &str) -> bool {
    name == own || own.ends_with('.') && name.starts_with(own)
}

/// Reads the manifest only for its faults.
fn scan(definition: &Definition) -> Result<(), Faults> {
    Manifest::open(definition, None)?.scan(ScanDepth::Faults).map(drop)
}

fn globs(patterns: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        // A pattern without a `/` applies to the file's name, in any folder.
        let anywhere = if pattern.contains('/') { pattern.clone() } else { format!("**/{pattern}") };
        let glob = GlobBuilder::new(&anywhere).literal_separator(true).build();
        set.add(glob.map_err(|e| format!("`{pattern}` is not a pattern: {}", e.kind()))?);
    }
    set.build().map_err(|e| e.to_string())
}

fn flag_name(field: &str) -> String {
    match field.strip_prefix("columns.") {
        Some(column) => format!("{}-column", column.replace('_', "-")),
        None => field.rsplit('.').next().unwrap_or(field).replace('_', "-"),
    }
}
