//! What one line of a manifest of texts asks for, and everything that is wrong with it.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::super::{
    super::{
        paths::{clean, scheme},
        prose::{self, LeftOut, ProseFault, ProseKind},
        text::excerpt,
    },
    Base,
    judge::{LineFault, key_of},
    record::Record,
    repeats::About,
};
use super::{TextLine, Texts, outputs::outputs};
use crate::domain::{
    cut::parts,
    extra::cell_as_json,
    key::{Key, KeyFault},
    synthesis::SynthesisOverrides,
    synthesis_options::MAX_PART_CHARS,
};

/// Judges lines one by one, the same in every reading.
pub(super) struct Judge<'m> {
    texts: &'m Texts<'m>,
    /// Of the files that were read: what is in them is a part of the manifest.
    files: Option<Sha256>,
}

/// A line, or what is wrong with it.
pub(super) type JudgedText = Result<TextLine, Vec<LineFault>>;

/// A text's file cannot be read now, and no line is to blame: what stands in the way, in words.
pub(super) struct Away(pub(super) String);

/// Why a line has no text.
enum NoText {
    Line(String),
    Away(Away),
}

impl From<String> for NoText {
    fn from(message: String) -> Self {
        Self::Line(message)
    }
}

struct TextToSpeak {
    text: String,
    file: Option<String>,
    left_out: LeftOut,
}

impl<'m> Judge<'m> {
    pub(super) const fn new(texts: &'m Texts<'m>) -> Self {
        Self { texts, files: None }
    }

    /// The hash of the manifest's lines and of all texts that they name.
    pub(super) fn hash(self, lines: [u8; 32]) -> [u8; 32] {
        match self.files {
            Some(files) => Sha256::new().chain_update(lines).chain_update(files.finalize()).finalize().into(),
            None => lines,
        }
    }

    pub(super) fn judge(&mut self, record: &Record) -> Result<JudgedText, Away> {
        let mut faults = Vec::new();
        let Texts { asked, plan, .. } = self.texts;
        let synthesis = &asked.synthesis;
        let overrides = self.options(record, &mut faults);
        let options = overrides.apply(&synthesis.options);
        let voices = overrides.voice_id.as_ref().map_or_else(|| synthesis.voices.clone(), |own| vec![own.clone()]);
        if voices.is_empty() {
            faults.push(LineFault::new(Some("voice_id".into()), "is empty, and the definition names no voice either"));
        }
        let file = plan.file.as_ref().map(|rule| rule.text(record).into_owned()).filter(|file| !file.is_empty());
        let text_to_speak = self.text_to_speak(record, file.as_deref())?.map_err(|fault| faults.push(fault));
        let key = match &plan.key {
            Some(rule) => rule.text(record),
            None => key_of(file.as_deref(), record.number),
        };
        let checked = Key::new(key.as_ref()).map_err(|fault| {
            let message =
                if fault == KeyFault::Empty { fault.to_string() } else { format!("`{}`: {fault}", excerpt(&key)) };
            faults.push(LineFault::new(plan.header.key.clone(), message));
        });
        let (Ok(text_to_speak), Ok(key)) = (text_to_speak, checked) else { return Ok(Err(faults)) };
        if let Some(opaque) = synthesis.formats.iter().find(|output| output.format.is_opaque())
            && parts(&text_to_speak.text, synthesis.part_chars).count() > 1
        {
            let message = format!(
                "is spoken in several parts, and nothing is known of `{}` by which they could be joined; raise part_chars (up to {MAX_PART_CHARS}), shorten the text, or ask for a format that is known",
                opaque.format
            );
            faults.push(LineFault::new(plan.header.text.clone().or_else(|| plan.header.text_file.clone()), message));
        }
        let outputs = outputs(asked, plan, record, key.as_str(), &overrides, &voices);
        let outputs = outputs.map_err(|message| faults.push(LineFault::new(None, message)));
        let Some(outputs) = outputs.ok().filter(|_| faults.is_empty()) else { return Ok(Err(faults)) };
        let carried = plan.carried.iter().map(|at| record.cell(*at).to_owned()).collect();
        let TextToSpeak { text, file, left_out } = text_to_speak;
        Ok(Ok(TextLine { number: record.number, key, text, file, left_out, options, outputs, carried }))
    }

    fn options(&self, record: &Record, faults: &mut Vec<LineFault>) -> SynthesisOverrides {
        let mut said = SynthesisOverrides::default();
        let own = |name: String, message| LineFault { about: About::Option, ..LineFault::new(Some(name), message) };
        let mut filled = Vec::new();
        for (option, at) in &self.texts.plan.options {
            let cell = record.cell(*at).trim();
            if !cell.is_empty() {
                filled.push(*option);
                faults.extend(said.set(*option, cell).err().map(|message| own(option.to_string(), message)));
            }
        }
        for (name, at) in &self.texts.plan.extras {
            let cell = record.cell(*at).trim();
            if !cell.is_empty() {
                said.extra.body.insert(name.clone(), cell_as_json(cell));
            }
        }
        if filled.is_empty() || !faults.is_empty() {
            return said;
        }
        for fault in said.apply(&self.texts.asked.synthesis.options).faults() {
            // The voice is judged with all of them.
            if fault.field != "voice_id" {
                let column = filled.iter().find(|option| option.as_str() == fault.field).unwrap_or(&filled[0]);
                faults.push(own(column.to_string(), fault.message));
            }
        }
        said
    }

    fn text_to_speak(&mut self, record: &Record, file: Option<&str>) -> Result<Result<TextToSpeak, LineFault>, Away> {
        let header = &self.texts.plan.header;
        let text = self.texts.plan.text.as_ref().map(|rule| rule.text(record)).filter(|text| !text.is_empty());
        let column = if file.is_some() {
            header.text_file.clone()
        } else {
            header.text.clone().or_else(|| header.text_file.clone())
        };
        let fault = |message: String| Ok(Err(LineFault::new(column, message)));
        let text_to_speak = match (text, file) {
            (Some(_), Some(_)) => return fault("stands beside a text; a line has the one or the other".into()),
            (None, None) => return fault("is empty: there is nothing to be spoken".into()),
            (Some(text), None) => TextToSpeak { text: text.into_owned(), file: None, left_out: LeftOut::default() },
            (None, Some(file)) => match self.read(file) {
                Ok(text_to_speak) => text_to_speak,
                Err(NoText::Line(message)) => return fault(format!("`{}`: {message}", excerpt(file))),
                Err(NoText::Away(away)) => return Err(away),
            },
        };
        if !text_to_speak.text.chars().any(char::is_alphanumeric) {
            return fault("has neither letter nor digit: nothing would be spoken".into());
        }
        Ok(Ok(text_to_speak))
    }

    fn read(&mut self, file: &str) -> Result<TextToSpeak, NoText> {
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
        let kind = ProseKind::of_path(&path).unwrap_or(ProseKind::Plain);
        let prose = prose::read(Path::new(&path), kind).map_err(|fault| match fault {
            ProseFault::Away { .. } => NoText::Away(Away(format!("the text `{}` {fault}", excerpt(&path)))),
            fault => NoText::Line(fault.to_string()),
        })?;
        let text = prose.text();
        let files = self.files.get_or_insert_default();
        files.update((text.len() as u64).to_le_bytes());
        files.update(&text);
        Ok(TextToSpeak { text, file: Some(path), left_out: prose.left_out })
    }
}
