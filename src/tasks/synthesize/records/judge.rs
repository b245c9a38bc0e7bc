//! What one line of a manifest of texts requests, and all its faults.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{
    Texts,
    findings::Gathering,
    outputs::outputs,
    text_line::{LineText, TextLine},
};
use crate::{
    definition::{
        NoSource, Synthesizing,
        manifest::{Base, Gathered, JobDraft, LineFault, LineJudge, Record, Refusal, ScanDepth, key_of},
        normal_forms::{NormalForms, Spelling},
        path_map::{is_windows, windows_message},
        paths::{clean, scheme},
        prose::{self, LeftOut, Prose, ProseFault, ProseKind},
        text::excerpt,
    },
    domain::{
        extra::cell_as_json,
        identity::Identity,
        invisible::{Repairs, without_invisible},
        key::{Key, KeyFault},
        pool::Pool,
        synthesis::{Rendition, SynthesisOption, SynthesisOverrides},
        synthesis_options::{MAX_PART_CHARS, SynthesisOptions, voice_id},
    },
};

/// Sets of options whose identities are cached; when the cache is full, it is cleared.
const REMEMBERED: usize = 64;

/// Judges lines one by one.
pub(super) struct TextJudge<'m> {
    texts: &'m Texts<'m>,
    /// The hash of the text files that were read: their content is a part of the manifest.
    files: Option<Sha256>,
    /// The hash of the text file that the last judged line names.
    content: Option<u64>,
    last: Last,
    identities: Vec<(SynthesisOverrides, Identity)>,
    gathering: Gathering,
    forms: NormalForms,
}

/// The line that was judged last.
enum Last {
    Bad,
    /// Without a text: nothing to do.
    Idle,
    Good(Box<TextLine>),
}

/// The options of a line, and its voices in place of all others.
#[derive(Clone)]
struct LineOptions {
    overrides: SynthesisOverrides,
    voices: Vec<String>,
}

/// Why a line has no text.
enum NoText {
    Line(String),
    Stop(String),
}

impl From<String> for NoText {
    fn from(message: String) -> Self {
        Self::Line(message)
    }
}

struct FoundText {
    /// Its place among the columns of texts.
    column: usize,
    text: String,
    file: Option<String>,
    left_out: LeftOut,
    repairs: Repairs,
    /// What the file's front matter sets.
    fields: Vec<(&'static str, String)>,
}

impl LineJudge for TextJudge<'_> {
    fn judge<'r>(&mut self, record: &'r Record) -> Result<Cow<'r, str>, Refusal> {
        let file = self.texts.columns.file.as_ref().map(|rule| rule.text(record)).filter(|file| !file.is_empty());
        let file = file.map(|file| self.texts.path_map.apply(&file).into_owned());
        let key = match &self.texts.columns.key {
            Some(rule) => rule.text(record),
            None => key_of(file.as_deref(), record.number),
        };
        let (key, key_repairs) = visible_key(key);
        (self.last, self.content) = (Last::Bad, None);
        self.last = match self.line(record, file.as_deref(), &key)? {
            Some(line) => Last::Good(Box::new(TextLine { key_repairs, ..line })),
            None => Last::Idle,
        };
        Ok(key)
    }

    fn gather(&mut self, name: &mut dyn FnMut(&str)) {
        match &self.last {
            Last::Good(line) => {
                self.gathering.add(line, self.texts);
                line.texts.iter().flat_map(|text| &text.outputs).for_each(|output| name(&output.file()));
            }
            Last::Idle => self.gathering.add_idle(),
            Last::Bad => {}
        }
    }

    fn jobs(&mut self, _record: &Record) -> Vec<JobDraft> {
        match std::mem::replace(&mut self.last, Last::Bad) {
            Last::Good(line) => line.texts.into_iter().flat_map(|text| self.jobs_of(text)).collect(),
            Last::Idle => vec![nothing_to_do()],
            Last::Bad => Vec::new(),
        }
    }

    fn content(&self) -> Option<u64> {
        self.content
    }

    fn hash(&self, lines: [u8; 32]) -> [u8; 32] {
        match &self.files {
            Some(files) => Sha256::new().chain_update(lines).chain_update(files.clone().finalize()).finalize().into(),
            None => lines,
        }
    }

    fn gathered(self: Box<Self>) -> Gathered {
        self.gathering.finish()
    }
}

impl<'m> TextJudge<'m> {
    pub(super) fn new(texts: &'m Texts<'m>, depth: ScanDepth) -> Self {
        Self {
            texts,
            files: None,
            content: None,
            last: Last::Bad,
            identities: Vec::new(),
            gathering: Gathering::new(&texts.columns, depth),
            forms: NormalForms::default(),
        }
    }

    /// The jobs of a text: one for each output.
    fn jobs_of(&mut self, text: LineText) -> Vec<JobDraft> {
        let LineText { column, text, file, outputs, .. } = text;
        let text: Arc<str> = text.into();
        let language = self.texts.columns.texts.get(column).and_then(|column| column.language);
        // The language of the definition is that of lines with one text, too: when they get further texts, they stay the same.
        let language = language.filter(|own| Some(*own) != self.texts.asked.synthesis.options.language);
        let job = |output: &Rendition| JobDraft {
            source: file.clone(),
            local: None,
            expected: None,
            variant: language.map_or_else(|| output.variant(), |language| format!("{language}|{}", output.variant())),
            overrides: Some(serde_json::to_string(output).expect("words, numbers and flags are JSON")),
            options_id: self.identity(&output.overrides, &text),
            pool: Pool::Tts,
            text: Some(Arc::clone(&text)),
        };
        outputs.iter().map(job).collect()
    }

    /// A good line; `None` if it has no text, and may have none.
    fn line(&mut self, record: &Record, file: Option<&str>, key: &str) -> Result<Option<TextLine>, Refusal> {
        let mut faults = Vec::new();
        let said = self.options(record, &mut faults);
        let found = self.found(record, file)?;
        let has_text = found.as_ref().is_ok_and(|found| !found.is_empty());
        let checked = Key::new(key);
        let texts = match found {
            Ok(found) => {
                let key = checked.as_ref().ok().map(Key::as_str);
                let texts =
                    found.into_iter().filter_map(|found| self.line_text(&said, found, (record, key), &mut faults));
                texts.collect()
            }
            Err(missing) => {
                faults.extend(missing);
                // Voices by the column's language are told of when the line has a text.
                if !self.texts.columns.has_languages() {
                    faults.extend(self.voices(&said).err());
                }
                Vec::new()
            }
        };
        let key = checked.map_err(|fault| {
            let message =
                if fault == KeyFault::Empty { fault.to_string() } else { format!("`{}`: {fault}", excerpt(key)) };
            faults.push(LineFault::new(self.texts.columns.columns.key.clone(), message));
        });
        let Some(key) = key.ok().filter(|_| faults.is_empty()) else { return Err(Refusal::Line(faults)) };
        let (number, key_repairs) = (record.number, Repairs::default());
        Ok(has_text.then_some(TextLine { number, key, key_repairs, texts }))
    }

    /// A text of a line with its options and outputs; `None` if it is faulty, or the line's key.
    fn line_text(
        &self,
        said: &LineOptions,
        found: FoundText,
        (record, key): (&Record, Option<&str>),
        faults: &mut Vec<LineFault>,
    ) -> Option<LineText> {
        let Texts { asked, columns, .. } = self.texts;
        let (mut said, before) = (said.clone(), faults.len());
        self.take_language(&mut said, found.column, faults);
        self.take_fields(&mut said, &found.fields, faults);
        match self.voices(&said) {
            Ok(voices) => said.voices = voices,
            // A line that names no voice names none in all languages.
            Err(fault) if faults.iter().any(|told| told.message == fault.message) => {}
            Err(fault) => faults.push(fault),
        }
        let LineOptions { overrides, voices } = said;
        let options = overrides.apply(&asked.synthesis.options);
        let key = key?;
        faults.extend(self.unjoinable_parts(&options, &found));
        let outputs = outputs(asked, columns, record, key, &overrides, &voices);
        let outputs = outputs.map_err(|message| faults.push(LineFault::new(None, message)));
        let mut outputs = outputs.ok().filter(|_| faults.len() == before)?;
        let FoundText { column, text, file, left_out, repairs, .. } = found;
        if !left_out.is_empty() {
            outputs.iter_mut().for_each(|output| output.left_out = Some(left_out.to_string()));
        }
        Some(LineText { column, text, file, left_out, repairs, options, outputs })
    }

    /// Sets the language that the text's column has, and checks whether the line's model speaks it.
    fn take_language(&self, said: &mut LineOptions, column: usize, faults: &mut Vec<LineFault>) {
        let Texts { asked, columns, .. } = self.texts;
        let Some(language) = columns.texts.get(column).and_then(|column| column.language) else { return };
        said.overrides.language = Some(language);
        let broken = said.overrides.apply(&asked.synthesis.options).faults().into_iter();
        let broken = broken.filter(|fault| fault.field == "language");
        faults
            .extend(broken.map(|fault| LineFault::of_option(Some(columns.texts[column].name.clone()), fault.message)));
    }

    /// Adds what a file's front matter sets and the line's columns do not.
    fn take_fields(&self, said: &mut LineOptions, fields: &[(&'static str, String)], faults: &mut Vec<LineFault>) {
        let before = faults.len();
        let mut fault = |field: &str, message: String| {
            let message = format!("the front matter's `{field}`: {message}");
            faults.push(LineFault::new(self.texts.columns.file_name.clone(), message));
        };
        for (field, value) in fields {
            let taken = match *field {
                "voice_id" if said.voices.is_empty() => voices_of(value).map(|voices| said.voices = voices),
                "language" if said.overrides.language.is_none() => said.overrides.set(SynthesisOption::Language, value),
                _ => Ok(()),
            };
            if let Err(message) = taken {
                fault(field, message);
            }
        }
        if !fields.is_empty() && faults.len() == before {
            let options = said.overrides.apply(&self.texts.asked.synthesis.options);
            let broken = options.faults().into_iter().filter(|fault| fault.field == "language");
            let file = &self.texts.columns.file_name;
            faults.extend(broken.map(|fault| LineFault::new(file.clone(), fault.message)));
        }
    }

    /// The voices of a line: its own, those of its language, or the definition's.
    fn voices(&self, said: &LineOptions) -> Result<Vec<String>, LineFault> {
        let Synthesizing { synthesis, voices_by_language, .. } = self.texts.asked;
        if !said.voices.is_empty() {
            return Ok(said.voices.clone());
        }
        let fault = |message: String| LineFault::new(Some("voice_id".into()), message);
        if voices_by_language.is_empty() {
            let none = || fault("is empty, and the definition names no voice either".into());
            return Some(synthesis.voices.clone()).filter(|voices| !voices.is_empty()).ok_or_else(none);
        }
        let known = || voices_by_language.keys().map(|language| format!("`{language}`")).collect::<Vec<_>>().join(", ");
        match said.overrides.language.or(synthesis.options.language) {
            Some(language) => voices_by_language.get(&language).cloned().ok_or_else(|| {
                fault(format!("is empty, and `voices` in [synthesize] has none for `{language}`, but for {}", known()))
            }),
            None => Err(fault(format!(
                "is empty, and the line has no language: `voices` in [synthesize] has voices for {}",
                known()
            ))),
        }
    }

    /// The fault of a text in several parts whose format cannot be joined.
    fn unjoinable_parts(&self, options: &SynthesisOptions, found: &FoundText) -> Option<LineFault> {
        let Texts { asked, columns, .. } = self.texts;
        let opaque = asked.synthesis.formats.iter().find(|output| output.format.is_opaque())?;
        if asked.synthesis.parts(options, &found.text).count() <= 1 {
            return None;
        }
        let message = format!(
            "is spoken in several parts, and nothing is known of `{}` by which they could be joined; raise part_chars (up to {MAX_PART_CHARS}), shorten the text, or ask for a format that is known",
            opaque.format
        );
        let column = columns.texts.get(found.column).map(|column| column.name.clone());
        Some(LineFault::new(column.or_else(|| columns.file_name.clone()), message))
    }

    fn identity(&mut self, overrides: &SynthesisOverrides, text: &str) -> Identity {
        let synthesis = &self.texts.asked.synthesis;
        if synthesis.dictionary.is_some() {
            return synthesis.identity_of(&overrides.apply(&synthesis.options), text);
        }
        if let Some((_, id)) = self.identities.iter().find(|(known, _)| known == overrides) {
            return *id;
        }
        let id = synthesis.identity_of(&overrides.apply(&synthesis.options), "");
        if self.identities.len() >= REMEMBERED {
            self.identities.clear();
        }
        self.identities.push((overrides.clone(), id));
        id
    }

    fn options(&self, record: &Record, faults: &mut Vec<LineFault>) -> LineOptions {
        let (mut said, mut voices) = (SynthesisOverrides::default(), Vec::new());
        let own = |name: String, message| LineFault::of_option(Some(name), message);
        let mut filled = Vec::new();
        for (option, at) in &self.texts.columns.options {
            let cell = record.cell(*at).trim();
            if !cell.is_empty() {
                filled.push(*option);
                let taken = match option {
                    SynthesisOption::VoiceId => voices_of(cell).map(|own| voices = own),
                    _ => said.set(*option, cell),
                };
                faults.extend(taken.err().map(|message| own(option.to_string(), message)));
            }
        }
        for (name, at) in &self.texts.columns.extras {
            let cell = record.cell(*at).trim();
            if !cell.is_empty() {
                said.extra.body.insert(name.clone(), cell_as_json(cell));
            }
        }
        if filled.is_empty() || !faults.is_empty() {
            return LineOptions { overrides: said, voices };
        }
        for fault in said.apply(&self.texts.asked.synthesis.options).faults() {
            // The voice is judged together with all voices.
            if fault.field != "voice_id" {
                let column = filled.iter().find(|option| option.as_str() == fault.field).unwrap_or(&filled[0]);
                faults.push(own(column.to_string(), fault.message));
            }
        }
        LineOptions { overrides: said, voices }
    }

    /// The texts of a line; none if it has none, and may have none.
    fn found(
        &mut self,
        record: &Record,
        file: Option<&str>,
    ) -> Result<Result<Vec<FoundText>, Vec<LineFault>>, Refusal> {
        let columns = &self.texts.columns;
        let texts = columns.texts.iter().enumerate().filter_map(|(at, column)| Some((at, column.text(record)?)));
        let texts: Vec<_> = texts.collect();
        let fault = |column, message: String| Ok(Err(vec![LineFault::new(column, message)]));
        let of_file = || columns.file_name.clone();
        match (file, texts.is_empty()) {
            (Some(_), false) => fault(of_file(), "stands beside a text; a line has the one or the other".into()),
            (None, true) if self.texts.asked.no_text == NoSource::Skip => Ok(Ok(Vec::new())),
            (None, true) => fault(columns.text_name(), self.nothing_to_speak()),
            (Some(file), true) => match self.read(file) {
                Ok(found) if !is_spoken(&found.text) => fault(of_file(), WITHOUT_WORDS.into()),
                Ok(found) => Ok(Ok(vec![found])),
                Err(NoText::Line(message)) => fault(of_file(), format!("`{}`: {message}", excerpt(file))),
                Err(NoText::Stop(message)) => Err(Refusal::Stop(message)),
            },
            (None, false) => {
                let (mut found, mut faults) = (Vec::new(), Vec::new());
                for (column, text) in texts {
                    let (text, repairs) = without_invisible(&text);
                    if !is_spoken(&text) {
                        let way_out =
                            if columns.has_languages() { "; if nothing is to be, leave the cell empty" } else { "" };
                        let name = columns.texts[column].name.clone();
                        faults.push(LineFault::new(Some(name), format!("{WITHOUT_WORDS}{way_out}")));
                    }
                    let (text, left_out, fields) = (text.into_owned(), LeftOut::default(), Vec::new());
                    found.push(FoundText { column, text, file: None, left_out, repairs, fields });
                }
                Ok(if faults.is_empty() { Ok(found) } else { Err(faults) })
            }
        }
    }

    /// The fault of a line without a text.
    fn nothing_to_speak(&self) -> String {
        let way_out = "to let such lines pass as skipped say no_text = \"skip\"";
        match self.texts.columns.texts.as_slice() {
            [_, _, ..] => format!("has no text in any language: there is nothing to be spoken; {way_out}"),
            _ => format!("is empty: there is nothing to be spoken; {way_out}"),
        }
    }

    fn read(&mut self, file: &str) -> Result<FoundText, NoText> {
        let is_here = |dir: &str| Path::new(dir).join(file).exists();
        if is_windows(file) && !matches!(&self.texts.base, Base::Dir(dir) if is_here(dir)) {
            return Err(windows_message(file).into());
        }
        if let Some(c) = file.chars().find(|c| c.is_control()) {
            return Err(format!("a path may not have control characters, and this one has U+{:04X}", c as u32).into());
        }
        if let Some(scheme) = scheme(file) {
            return Err(format!("texts are read from files, and not from `{scheme}:` addresses").into());
        }
        let path = match &self.texts.base {
            _ if file.starts_with('/') => file.to_owned(),
            Base::Dir(dir) => clean(&Path::new(dir).join(file)).to_string_lossy().into_owned(),
            Base::Url(_) | Base::S3(_) => {
                let message = "the manifest does not lie in a directory, and so the path has to be absolute";
                return Err(NoText::Line(message.into()));
            }
        };
        let path = match self.forms.find(Path::new(&path)) {
            Spelling::Other(other) => other.to_string_lossy().into_owned(),
            Spelling::AsWritten | Spelling::Several(_) => path,
        };
        let kind = ProseKind::of_path(&path).unwrap_or(ProseKind::Plain).read_as(self.texts.asked.markdown);
        let prose = prose::read(Path::new(&path), kind).map_err(|fault| match fault {
            ProseFault::Away { .. } => NoText::Stop(format!("the text `{}` {fault}", excerpt(&path))),
            fault => NoText::Line(fault.to_string()),
        })?;
        let text = prose.text();
        let files = self.files.get_or_insert_default();
        files.update((text.len() as u64).to_le_bytes());
        files.update(&text);
        for (field, value) in &prose.fields {
            files.update(format!("{field}: {value}\n"));
        }
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        prose.fields.iter().for_each(|field| field.hash(&mut hasher));
        self.content = Some(hasher.finish());
        let Prose { left_out, repairs, fields, .. } = prose;
        Ok(FoundText { column: 0, text, file: Some(path), left_out, repairs, fields })
    }
}

/// The fault of a text without words.
const WITHOUT_WORDS: &str = "has neither letter nor digit: nothing would be spoken";

/// Whether a text has something to be spoken.
fn is_spoken(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

/// The voices that a cell names, separated by commas, semicolons or bars.
fn voices_of(cell: &str) -> Result<Vec<String>, String> {
    let mut voices: Vec<String> = Vec::new();
    for id in cell.split([',', ';', '|']).map(str::trim).filter(|id| !id.is_empty()) {
        voice_id(id)?;
        if voices.iter().any(|other| other == id) {
            return Err(format!("`{id}` stands twice"));
        }
        voices.push(id.to_owned());
    }
    if voices.is_empty() { Err(format!("`{}` names no voice", excerpt(cell))) } else { Ok(voices) }
}

/// The job of a line without a text.
fn nothing_to_do() -> JobDraft {
    JobDraft {
        source: None,
        local: None,
        expected: None,
        variant: String::new(),
        overrides: None,
        options_id: Identity([0; 16]),
        pool: Pool::Tts,
        text: None,
    }
}

/// A key without characters that nobody sees. Control characters are a fault of it, and stay.
fn visible_key(key: Cow<'_, str>) -> (Cow<'_, str>, Repairs) {
    let (visible, repairs) = without_invisible(&key);
    if repairs.is_empty() || repairs.controls > 0 || repairs.repaired > 0 {
        return (key, Repairs::default());
    }
    (Cow::Owned(visible.into_owned()), repairs)
}
