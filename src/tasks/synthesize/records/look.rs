//! A preview of the texts before they are paid for.

use std::collections::BTreeMap;

use super::text_line::TextLine;
use crate::{
    definition::prose::LeftOut,
    domain::{cut, key::Key, prompts, synthesis_options::TtsModel},
};

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct TextsPreview {
    /// Parts to be bought: the maximum number of calls, at one try each.
    pub parts: u64,
    /// Characters of these parts, by the model that synthesizes them.
    pub characters: BTreeMap<TtsModel, u64>,
    /// Text that may not be meant for synthesis, at most [`TextsPreview::LIMIT`] notes.
    pub notes: Vec<TextNote>,
    /// How many more notes there are.
    pub more: u64,
    /// The files of which something is left out, at most [`TextsPreview::LIMIT`], and what is left out.
    pub left_out: Vec<(String, LeftOut)>,
    /// How many more such files there are.
    pub more_left_out: u64,
}

/// A note about a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextNote {
    /// Its line, or position in a listing.
    pub number: u64,
    /// Its key.
    pub key: Key,
    /// The note itself.
    pub what: String,
}

impl TextsPreview {
    /// How many lines are listed individually.
    pub const LIMIT: usize = 20;

    fn note(&mut self, number: u64, key: &Key, what: String) {
        if self.notes.len() < Self::LIMIT {
            self.notes.push(TextNote { number, key: key.clone(), what });
        } else {
            self.more += 1;
        }
    }
}

/// Builds the preview, line by line.
#[derive(Debug, Default)]
pub(super) struct Looking {
    look: TextsPreview,
    lengths: Vec<usize>,
    /// The longest texts so far, at most as many as are listed.
    longest: Vec<(usize, u64, Key)>,
}

impl Looking {
    /// Cuts a text as it would be bought, and looks for passages that may not be meant for synthesis.
    pub(super) fn add(&mut self, line: &TextLine, part_chars: usize) {
        let Self { look, lengths, longest } = self;
        let purchases = line.purchases();
        let (mut parts, mut chars) = (0, 0);
        for part in cut::parts(&line.text, part_chars, line.options.sentence_rules()).filter(cut::Part::has_words) {
            parts += 1;
            chars += part.chars() as u64;
        }
        look.parts += parts * purchases;
        *look.characters.entry(line.options.model).or_default() += chars * purchases;
        for warning in prompts::warnings(&line.text, line.options.language) {
            look.note(line.number, &line.key, warning.to_string());
        }
        if let Some(file) = line.file.as_ref().filter(|_| !line.left_out.is_empty()) {
            if look.left_out.len() < TextsPreview::LIMIT {
                look.left_out.push((file.clone(), line.left_out));
            } else {
                look.more_left_out += 1;
            }
        }
        let length = usize::try_from(chars).unwrap_or(usize::MAX);
        lengths.push(length);
        longest.push((length, line.number, line.key.clone()));
        longest.sort_unstable_by_key(|(length, ..)| std::cmp::Reverse(*length));
        longest.truncate(TextsPreview::LIMIT);
    }

    /// Completes the preview: only at the end is it known which texts are much longer than the others.
    pub(super) fn finish(self) -> TextsPreview {
        let Self { mut look, lengths, mut longest } = self;
        let Some(found) = prompts::much_longer(&lengths) else { return look };
        let (count, median) = (found.which.len(), found.median);
        longest.truncate(count);
        longest.sort_unstable_by_key(|(_, number, _)| *number);
        for (length, number, key) in &longest {
            let what = format!("has {length} characters, and half of the texts have at most {median}");
            look.note(*number, key, what);
        }
        look.more += (count - longest.len()) as u64;
        look
    }
}
