//! A look at the texts before they are paid for.

use std::collections::BTreeMap;

use super::super::{super::prose::LeftOut, Faults};
use super::{TextRow, TextScan, Texts};
use crate::domain::{cut, key::Key, prompts, synthesis_options::TtsModel};

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct TextsPreview {
    /// Parts to be bought: the most calls that will be made, each tried once.
    pub parts: u64,
    /// Characters of these parts, by the model that speaks them.
    pub characters: BTreeMap<TtsModel, u64>,
    /// What may not be meant to be spoken, at most [`TextsPreview::LIMIT`].
    pub notes: Vec<Note>,
    /// How many more there are.
    pub more: u64,
    /// The files of which something is left out, at most [`TextsPreview::LIMIT`], and what.
    pub left_out: Vec<(String, LeftOut)>,
    /// How many more such files there are.
    pub more_left_out: u64,
}

/// Something about a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Its line, or position in a listing.
    pub number: u64,
    /// Its key.
    pub key: Key,
    /// What was seen.
    pub what: String,
}

impl TextsPreview {
    /// How many lines are told one by one.
    pub const LIMIT: usize = 20;

    fn note(&mut self, number: u64, key: &Key, what: String) {
        if self.notes.len() < Self::LIMIT {
            self.notes.push(Note { number, key: key.clone(), what });
        } else {
            self.more += 1;
        }
    }
}

impl Texts<'_> {
    /// Cuts every text as it would be bought, and looks for what may not be meant to be spoken.
    ///
    /// # Errors
    /// A manifest that can no longer be read.
    pub fn look(&self, scan: &TextScan) -> Result<TextsPreview, Faults> {
        let mut look = TextsPreview::default();
        let mut lengths = Vec::new();
        // The longest so far: of those that are much longer than others, no more are told.
        let mut longest: Vec<(usize, u64, Key)> = Vec::new();
        for row in self.lines(scan)? {
            let TextRow::Good(line) = row? else { continue };
            let purchases = line.purchases();
            let (mut parts, mut chars) = (0, 0);
            for part in cut::parts(&line.text, self.asked.synthesis.part_chars).filter(cut::Part::has_words) {
                parts += 1;
                chars += part.chars() as u64;
            }
            look.parts += parts * purchases;
            *look.characters.entry(line.options.model).or_default() += chars * purchases;
            for warning in prompts::warnings(&line.text, line.options.language) {
                look.note(line.number, &line.key, warning.to_string());
            }
            if let Some(file) = line.file.filter(|_| !line.left_out.is_empty()) {
                if look.left_out.len() < TextsPreview::LIMIT {
                    look.left_out.push((file, line.left_out));
                } else {
                    look.more_left_out += 1;
                }
            }
            let length = usize::try_from(chars).unwrap_or(usize::MAX);
            lengths.push(length);
            longest.push((length, line.number, line.key));
            longest.sort_unstable_by_key(|(length, ..)| std::cmp::Reverse(*length));
            longest.truncate(TextsPreview::LIMIT);
        }
        if let Some(found) = prompts::much_longer(&lengths) {
            let count = found.which.len();
            longest.truncate(count);
            longest.sort_unstable_by_key(|(_, number, _)| *number);
            for (length, number, key) in &longest {
                let median = found.median;
                look.note(
                    *number,
                    key,
                    format!("has {length} characters, and half of the texts have at most {median}"),
                );
            }
            look.more += (count - longest.len()) as u64;
        }
        Ok(look)
    }
}
