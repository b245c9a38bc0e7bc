//! A good line of a manifest of texts, before it becomes jobs.

use crate::{
    definition::prose::LeftOut,
    domain::{invisible::Repairs, key::Key, synthesis::Rendition, synthesis_options::SynthesisOptions},
};

/// A good line: its texts, at least one.
#[derive(Debug)]
pub(super) struct TextLine {
    pub(super) number: u64,
    pub(super) key: Key,
    /// What was done to characters of the key that nobody sees.
    pub(super) key_repairs: Repairs,
    /// Its texts: one, or one for each language in which it has one.
    pub(super) texts: Vec<LineText>,
}

/// A text of a line.
#[derive(Debug)]
pub(super) struct LineText {
    /// Its place among the columns of texts; that of a file is the first.
    pub(super) column: usize,
    /// The text to synthesize; an empty line separates two paragraphs.
    pub(super) text: String,
    /// The file that it comes from: an absolute path.
    pub(super) file: Option<String>,
    /// The passages of the file that are left out.
    pub(super) left_out: LeftOut,
    /// What was done to characters of the text that no voice speaks.
    pub(super) repairs: Repairs,
    /// Its options, with its first voice.
    pub(super) options: SynthesisOptions,
    /// The outputs, by voice and format.
    pub(super) outputs: Vec<Rendition>,
}

impl LineText {
    /// How often it is bought: once for each voice and for all formats that share a purchase.
    pub(super) fn purchases(&self) -> u64 {
        let mut bought: Vec<_> =
            self.outputs.iter().map(|output| (output.voice_id(), output.format.bought())).collect();
        bought.sort_unstable();
        bought.dedup();
        bought.len() as u64
    }
}
