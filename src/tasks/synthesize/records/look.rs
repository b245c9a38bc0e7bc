//! A preview of the texts before they are paid for.

use std::collections::BTreeMap;

use super::{
    columns::TextColumns,
    text_line::{LineText, TextLine},
};
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
    fn note(&mut self, place: &Place, what: String) {
        let Place { number, key, column } = place;
        let what = column.iter().map(|column| format!("{column}: ")).chain([what]).collect();
        self.notes.push(LineNote { number: *number, key: key.clone(), what });
    }
}

/// Shorter texts are never much longer than the others.
const LONG: usize = 200;

/// Builds the preview, line by line.
#[derive(Debug, Default)]
pub(super) struct Looking {
    look: TextsPreview,
    /// The lengths of the texts by their column: one language is longer than another.
    lengths: BTreeMap<usize, Lengths>,
}

/// The lengths of the texts of a column.
#[derive(Debug, Default)]
struct Lengths {
    all: Vec<usize>,
    /// Texts of over 200 characters, by their place in `all`.
    long: BTreeMap<usize, Place>,
}

/// Where a text stands.
#[derive(Debug)]
struct Place {
    number: u64,
    key: Key,
    /// The column, where a line has a text in each language.
    column: Option<String>,
}

impl Place {
    fn of(line: &TextLine, text: &LineText, columns: &TextColumns) -> Self {
        let column = columns.texts.get(text.column).filter(|_| columns.has_languages());
        Self { number: line.number, key: line.key.clone(), column: column.map(|column| column.name.clone()) }
    }
}

impl Looking {
    /// Looks at each text of a line.
    pub(super) fn add(&mut self, line: &TextLine, columns: &TextColumns, part_chars: usize) {
        if !line.key_repairs.is_empty() {
            let place = Place { number: line.number, key: line.key.clone(), column: None };
            self.look.note(&place, format!("{} of the key", line.key_repairs));
        }
        line.texts.iter().for_each(|text| self.add_text(text, Place::of(line, text, columns), part_chars));
    }

    /// Cuts a text as it would be bought, and looks for passages that may not be meant for synthesis.
    fn add_text(&mut self, text: &LineText, place: Place, part_chars: usize) {
        let Self { look, lengths } = self;
        let purchases = text.purchases();
        let (mut parts, mut chars) = (0, 0);
        for part in cut::parts(&text.text, part_chars, text.options.sentence_rules()).filter(cut::Part::has_words) {
            parts += 1;
            chars += part.chars() as u64;
        }
        look.parts += parts * purchases;
        *look.characters.entry(text.options.model).or_default() += chars * purchases;
        if !text.repairs.is_empty() {
            look.note(&place, text.repairs.to_string());
        }
        for warning in prompts::warnings(&text.text, text.options.language) {
            look.note(&place, warning.to_string());
        }
        look.add_silent(&text.text, &place);
        if let Some(file) = text.file.as_ref().filter(|_| !text.left_out.is_empty()) {
            look.left_out.push((file.clone(), text.left_out));
        }
        let lengths = lengths.entry(text.column).or_default();
        let length = usize::try_from(chars).unwrap_or(usize::MAX);
        if length > LONG {
            lengths.long.insert(lengths.all.len(), place);
        }
        lengths.all.push(length);
    }

    /// Completes the preview: only at the end is it known which texts are much longer than the others.
    pub(super) fn finish(self) -> TextsPreview {
        let Self { mut look, lengths } = self;
        for Lengths { all, long } in lengths.values() {
            let Some(found) = prompts::much_longer(all) else { continue };
            for (at, place) in found.which.iter().filter_map(|at| Some((*at, long.get(at)?))) {
                let what = format!("has {} characters, and half of the texts have at most {}", all[at], found.median);
                look.note(place, what);
            }
        }
        look
    }
}

impl TextsPreview {
    /// Paragraphs without a word are pauses. An ornament is meant so; of others it is told.
    fn add_silent(&mut self, text: &str, place: &Place) {
        let silent = cut::paragraphs(text).filter(|paragraph| !paragraph.contains(char::is_alphanumeric));
        let (breaks, others): (Vec<_>, Vec<_>) = silent.partition(|paragraph| prompts::is_scene_break(paragraph));
        self.scene_breaks += breaks.len() as u64;
        if let [first, rest @ ..] = others.as_slice() {
            let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
            let what =
                format!("a paragraph without letters and digits is a pause: `{}`{more}", prompts::excerpt(first));
            self.note(place, what);
        }
    }
}
