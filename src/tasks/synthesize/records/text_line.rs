//! A good line of a manifest of texts, before it comes to jobs.

use crate::{
    definition::prose::LeftOut,
    domain::{key::Key, synthesis::Rendition, synthesis_options::SynthesisOptions},
};

/// A good line.
#[derive(Debug)]
pub(super) struct TextLine {
    pub(super) number: u64,
    pub(super) key: Key,
    /// What is spoken; an empty line parts two paragraphs.
    pub(super) text: String,
    /// The file that it is from: an absolute path.
    pub(super) file: Option<String>,
    /// What of the file is not spoken.
    pub(super) left_out: LeftOut,
    /// Its options, with its first voice.
    pub(super) options: SynthesisOptions,
    /// What is made of it, by voice and format.
    pub(super) outputs: Vec<Rendition>,
}

impl TextLine {
    /// How often its text is bought: by each voice, once for all formats that share a purchase.
    pub(super) fn purchases(&self) -> u64 {
        let mut bought: Vec<_> =
            self.outputs.iter().map(|output| (output.voice_id(), output.format.bought())).collect();
        bought.sort_unstable();
        bought.dedup();
        bought.len() as u64
    }
}
