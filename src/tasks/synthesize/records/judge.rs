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
        manifest::{Base, Gathered, JobDraft, LineFault, LineJudge, Record, Refusal, ScanDepth, key_of},
        normal_forms::{NormalForms, Spelling},
        path_map::{is_windows, windows_message},
        paths::{clean, scheme},
        prose::{self, LeftOut, ProseFault, ProseKind},
        text::excerpt,
    },
    domain::{
        cut::parts,
        extra::cell_as_json,
        identity::Identity,
        key::{Key, KeyFault},
        pool::Pool,
        synthesis::{Rendition, SynthesisOverrides},
        synthesis_options::MAX_PART_CHARS,
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
    /// The last judged line, if it is a good one.
    line: Option<TextLine>,
    identities: Vec<(SynthesisOverrides, Identity)>,
    gathering: Gathering,
    forms: NormalForms,
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
}

impl LineJudge for TextJudge<'_> {
    fn judge<'r>(&mut self, record: &'r Record) -> Result<Cow<'r, str>, Refusal> {
        let file = self.texts.columns.file.as_ref().map(|rule| rule.text(record)).filter(|file| !file.is_empty());
        let file = file.map(|file| self.texts.path_map.apply(&file).into_owned());
        let key = match &self.texts.columns.key {
            Some(rule) => rule.text(record),
            None => key_of(file.as_deref(), record.number),
        };
        (self.line, self.content) = (None, None);
        self.line = Some(self.line(record, file.as_deref(), &key)?);
        Ok(key)
    }

    fn gather(&mut self, name: &mut dyn FnMut(&str)) {
        if let Some(line) = &self.line {
            self.gathering.add(line, &self.texts.asked.synthesis);
            line.outputs.iter().for_each(|output| name(&output.file()));
        }
    }

    fn jobs(&mut self, _record: &Record) -> Vec<JobDraft> {
        let Some(TextLine { text, file, outputs, .. }) = self.line.take() else { return Vec::new() };
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
            line: None,
            identities: Vec::new(),
            gathering: Gathering::new(depth),
            forms: NormalForms::default(),
        }
    }

    fn line(&mut self, record: &Record, file: Option<&str>, key: &str) -> Result<TextLine, Refusal> {
        let mut faults = Vec::new();
        let Texts { asked, columns, .. } = self.texts;
        let synthesis = &asked.synthesis;
        let overrides = self.options(record, &mut faults);
        let options = overrides.apply(&synthesis.options);
        let voices = overrides.voice_id.as_ref().map_or_else(|| synthesis.voices.clone(), |own| vec![own.clone()]);
        if voices.is_empty() {
            faults.push(LineFault::new(Some("voice_id".into()), "is empty, and the definition names no voice either"));
        }
        let found = self.text(record, file)?.map_err(|fault| faults.push(fault));
        let checked = Key::new(key).map_err(|fault| {
            let message =
                if fault == KeyFault::Empty { fault.to_string() } else { format!("`{}`: {fault}", excerpt(key)) };
            faults.push(LineFault::new(columns.columns.key.clone(), message));
        });
        let (Ok(found), Ok(key)) = (found, checked) else { return Err(Refusal::Line(faults)) };
        faults.extend(self.unjoinable_parts(&found.text));
        let outputs = outputs(asked, columns, record, key.as_str(), &overrides, &voices);
        let outputs = outputs.map_err(|message| faults.push(LineFault::new(None, message)));
        let Some(outputs) = outputs.ok().filter(|_| faults.is_empty()) else { return Err(Refusal::Line(faults)) };
        let FoundText { text, file, left_out } = found;
        Ok(TextLine { number: record.number, key, text, file, left_out, options, outputs })
    }

    /// The fault of a text in several parts whose format cannot be joined.
    fn unjoinable_parts(&self, text: &str) -> Option<LineFault> {
        let Texts { asked, columns, .. } = self.texts;
        let opaque = asked.synthesis.formats.iter().find(|output| output.format.is_opaque())?;
        if parts(text, asked.synthesis.part_chars).count() <= 1 {
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

    fn options(&self, record: &Record, faults: &mut Vec<LineFault>) -> SynthesisOverrides {
        let mut said = SynthesisOverrides::default();
        let own = |name: String, message| LineFault::of_option(Some(name), message);
        let mut filled = Vec::new();
        for (option, at) in &self.texts.columns.options {
            let cell = record.cell(*at).trim();
            if !cell.is_empty() {
                filled.push(*option);
                faults.extend(said.set(*option, cell).err().map(|message| own(option.to_string(), message)));
            }
        }
        for (name, at) in &self.texts.columns.extras {
            let cell = record.cell(*at).trim();
            if !cell.is_empty() {
                said.extra.body.insert(name.clone(), cell_as_json(cell));
            }
        }
        if filled.is_empty() || !faults.is_empty() {
            return said;
        }
        for fault in said.apply(&self.texts.asked.synthesis.options).faults() {
            // The voice is judged together with all voices.
            if fault.field != "voice_id" {
                let column = filled.iter().find(|option| option.as_str() == fault.field).unwrap_or(&filled[0]);
                faults.push(own(column.to_string(), fault.message));
            }
        }
        said
    }

    fn text(&mut self, record: &Record, file: Option<&str>) -> Result<Result<FoundText, LineFault>, Refusal> {
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
            (None, None) => return fault("is empty: there is nothing to be spoken".into()),
            (Some(text), None) => FoundText { text: text.into_owned(), file: None, left_out: LeftOut::default() },
            (None, Some(file)) => match self.read(file) {
                Ok(found) => found,
                Err(NoText::Line(message)) => return fault(format!("`{}`: {message}", excerpt(file))),
                Err(NoText::Stop(message)) => return Err(Refusal::Stop(message)),
            },
        };
        if !found.text.chars().any(char::is_alphanumeric) {
            return fault("has neither letter nor digit: nothing would be spoken".into());
        }
        Ok(Ok(found))
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
        let kind = ProseKind::of_path(&path).unwrap_or(ProseKind::Plain);
        let prose = prose::read(Path::new(&path), kind).map_err(|fault| match fault {
            ProseFault::Away { .. } => NoText::Stop(format!("the text `{}` {fault}", excerpt(&path))),
            fault => NoText::Line(fault.to_string()),
        })?;
        let text = prose.text();
        let files = self.files.get_or_insert_default();
        files.update((text.len() as u64).to_le_bytes());
        files.update(&text);
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        self.content = Some(hasher.finish());
        Ok(FoundText { text, file: Some(path), left_out: prose.left_out })
    }
}
