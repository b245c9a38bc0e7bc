//! What one line of a manifest of texts requests, and all its faults.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::{Texts, findings::Gathering, outputs::outputs, text_line::TextLine};
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
                self.gathering.add(line, &self.texts.asked.synthesis);
                line.outputs.iter().for_each(|output| name(&output.file()));
            }
            Last::Idle => self.gathering.add_idle(),
            Last::Bad => {}
        }
    }

    fn jobs(&mut self, _record: &Record) -> Vec<JobDraft> {
        let TextLine { text, file, outputs, .. } = match std::mem::replace(&mut self.last, Last::Bad) {
            Last::Good(line) => *line,
            Last::Idle => return vec![nothing_to_do()],
            Last::Bad => return Vec::new(),
        };
        let text: Arc<str> = text.into();
        let job = |output: &Rendition| JobDraft {
            source: file.clone(),
            local: None,
            expected: None,
            variant: output.variant(),
            overrides: Some(serde_json::to_string(output).expect("words, numbers and flags are JSON")),
            options_id: self.identity(&output.overrides, &text),
            pool: Pool::Tts,
            text: Some(Arc::clone(&text)),
        };
        outputs.iter().map(job).collect()
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
            gathering: Gathering::new(depth),
            forms: NormalForms::default(),
        }
    }

    /// A good line; `None` if it has no text, and may have none.
    fn line(&mut self, record: &Record, file: Option<&str>, key: &str) -> Result<Option<TextLine>, Refusal> {
        let mut faults = Vec::new();
        let Texts { asked, columns, .. } = self.texts;
        let mut said = self.options(record, &mut faults);
        let found = self.text(record, file)?.map_err(|fault| faults.push(fault));
        if let Ok(Some(found)) = &found {
            self.take_fields(&mut said, &found.fields, &mut faults);
        }
        if !matches!(found, Ok(None)) {
            let voices = self.voices(&said).map_err(|fault| faults.push(fault));
            said.voices = voices.unwrap_or_default();
        }
        let LineOptions { overrides, voices } = said;
        let options = overrides.apply(&asked.synthesis.options);
        let checked = Key::new(key).map_err(|fault| {
            let message =
                if fault == KeyFault::Empty { fault.to_string() } else { format!("`{}`: {fault}", excerpt(key)) };
            faults.push(LineFault::new(columns.columns.key.clone(), message));
        });
        let (Ok(found), Ok(key)) = (found, checked) else { return Err(Refusal::Line(faults)) };
        let Some(found) = found else {
            return if faults.is_empty() { Ok(None) } else { Err(Refusal::Line(faults)) };
        };
        faults.extend(self.unjoinable_parts(&options, &found.text));
        let outputs = outputs(asked, columns, record, key.as_str(), &overrides, &voices);
        let outputs = outputs.map_err(|message| faults.push(LineFault::new(None, message)));
        let Some(mut outputs) = outputs.ok().filter(|_| faults.is_empty()) else { return Err(Refusal::Line(faults)) };
        let FoundText { text, file, left_out, repairs, .. } = found;
        if !left_out.is_empty() {
            outputs.iter_mut().for_each(|output| output.left_out = Some(left_out.to_string()));
        }
        let (number, key_repairs) = (record.number, Repairs::default());
        Ok(Some(TextLine { number, key, text, file, left_out, repairs, key_repairs, options, outputs }))
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
    fn unjoinable_parts(&self, options: &SynthesisOptions, text: &str) -> Option<LineFault> {
        let Texts { asked, columns, .. } = self.texts;
        let opaque = asked.synthesis.formats.iter().find(|output| output.format.is_opaque())?;
        if asked.synthesis.parts(options, text).count() <= 1 {
            return None;
        }
        let message = format!(
            "is spoken in several parts, and nothing is known of `{}` by which they could be joined; raise part_chars (up to {MAX_PART_CHARS}), shorten the text, or ask for a format that is known",
            opaque.format
        );
        Some(LineFault::new(columns.text_name.clone().or_else(|| columns.file_name.clone()), message))
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

    /// The text of a line; `None` if it has none, and may have none.
    fn text(&mut self, record: &Record, file: Option<&str>) -> Result<Result<Option<FoundText>, LineFault>, Refusal> {
        let columns = &self.texts.columns;
        let text = columns.text.as_ref().map(|rule| rule.text(record)).filter(|text| !text.is_empty());
        let column = if file.is_some() {
            columns.file_name.clone()
        } else {
            columns.text_name.clone().or_else(|| columns.file_name.clone())
        };
        let fault = |message: String| Ok(Err(LineFault::new(column, message)));
        let found = match (text, file) {
            (Some(_), Some(_)) => return fault("stands beside a text; a line has the one or the other".into()),
            (None, None) if self.texts.asked.no_text == NoSource::Skip => return Ok(Ok(None)),
            (None, None) => {
                return fault(
                    "is empty: there is nothing to be spoken; to let such lines pass as skipped say no_text = \"skip\""
                        .into(),
                );
            }
            (Some(text), None) => {
                let (text, repairs) = without_invisible(&text);
                let (left_out, fields) = (LeftOut::default(), Vec::new());
                FoundText { text: text.into_owned(), file: None, left_out, repairs, fields }
            }
            (None, Some(file)) => match self.read(file) {
                Ok(found) => found,
                Err(NoText::Line(message)) => return fault(format!("`{}`: {message}", excerpt(file))),
                Err(NoText::Stop(message)) => return Err(Refusal::Stop(message)),
            },
        };
        if !found.text.chars().any(char::is_alphanumeric) {
            return fault("has neither letter nor digit: nothing would be spoken".into());
        }
        Ok(Ok(Some(found)))
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
        Ok(FoundText { text, file: Some(path), left_out, repairs, fields })
    }
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
