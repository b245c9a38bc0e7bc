//! A preview of the texts before they are paid for.

use std::collections::BTreeMap;

use super::text_line::TextLine;
use crate::{
    definition::prose::LeftOut,
    domain::{cut, key::Key, prompts, synthesis_options::TtsModel},
    runner::intake::LineNote,
};

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct TextsPreview {
    /// Parts to be bought: the maximum number of calls, at one try each.
    pub parts: u64,
    /// Characters of these parts, by the model that synthesizes them.
    pub characters: BTreeMap<TtsModel, u64>,
    /// Text that may not be meant for synthesis, and what was done to texts.
    pub notes: Vec<LineNote>,
    /// The files of which something is left out, and what is left out.
    pub left_out: Vec<(String, LeftOut)>,
    /// Breaks between scenes, like `* * *`, in all texts.
    pub scene_breaks: u64,
}

impl TextsPreview {
    fn note(&mut self, number: u64, key: &Key, what: String) {
        self.notes.push(LineNote { number, key: key.clone(), what });
    }
}

/// Shorter texts are never much longer than the others.
const LONG: usize = 200;

/// Builds the preview, line by line.
#[derive(Debug, Default)]
pub(super) struct Looking {
    look: TextsPreview,
    lengths: Vec<usize>,
    /// Texts of over 200 characters, by their place in `lengths`.
    long: BTreeMap<usize, (u64, Key)>,
}

impl Looking {
    /// Cuts a text as it would be bought, and looks for passages that may not be meant for synthesis.
    pub(super) fn add(&mut self, line: &TextLine, part_chars: usize) {
        let Self { look, lengths, long } = self;
        let purchases = line.purchases();
        let (mut parts, mut chars) = (0, 0);
        for part in cut::parts(&line.text, part_chars, line.options.sentence_rules()).filter(cut::Part::has_words) {
            parts += 1;
            chars += part.chars() as u64;
        }
        look.parts += parts * purchases;
        *look.characters.entry(line.options.model).or_default() += chars * purchases;
        if !line.key_repairs.is_empty() {
            look.note(line.number, &line.key, format!("{} of the key", line.key_repairs));
        }
        if !line.repairs.is_empty() {
            look.note(line.number, &line.key, line.repairs.to_string());
        }
        for warning in prompts::warnings(&line.text, line.options.language) {
            look.note(line.number, &line.key, warning.to_string());
        }
        look.add_silent(line);
        if let Some(file) = line.file.as_ref().filter(|_| !line.left_out.is_empty()) {
            look.left_out.push((file.clone(), line.left_out));
        }
        let length = usize::try_from(chars).unwrap_or(usize::MAX);
        if length > LONG {
            long.insert(lengths.len(), (line.number, line.key.clone()));
        }
        lengths.push(length);
    }

    /// Completes the preview: only at the end is it known which texts are much longer than the others.
    pub(super) fn finish(self) -> TextsPreview {
        let Self { mut look, lengths, long } = self;
        let Some(found) = prompts::much_longer(&lengths) else { return look };
        for (at, (number, key)) in found.which.iter().filter_map(|at| Some((*at, long.get(at)?))) {
            let what = format!("has {} characters, and half of the texts have at most {}", lengths[at], found.median);
            look.note(*number, key, what);
        }
        look
    }
}

impl TextsPreview {
    /// Paragraphs without a word are pauses. An ornament is meant so; of others it is told.
    fn add_silent(&mut self, line: &TextLine) {
        let silent = cut::paragraphs(&line.text).filter(|paragraph| !paragraph.contains(char::is_alphanumeric));
        let (breaks, others): (Vec<_>, Vec<_>) = silent.partition(|paragraph| prompts::is_scene_break(paragraph));
        self.scene_breaks += breaks.len() as u64;
        if let [first, rest @ ..] = others.as_slice() {
            let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
            let what =
                format!("a paragraph without letters and digits is a pause: `{}`{more}", prompts::excerpt(first));
            self.note(line.number, &line.key, what);
        }
    }
}
