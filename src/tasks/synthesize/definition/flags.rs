//! The command-line flags that only a synthesis has.

use crate::{definition::TaskFlags, domain::synthesis::CaptionFormat};

pub(super) const VOICE_ID: &str = "voice-id";
pub(super) const NAME: &str = "name";
pub(super) const PART_CHARS: &str = "part-chars";
pub(super) const CAPTIONS: &str = "captions";
pub(super) const PRONUNCIATIONS: &str = "pronunciations";
pub(super) const TEXT_COLUMN: &str = "text-column";
pub(super) const NO_REUSE: &str = "no-reuse";

/// All of them.
pub(super) const NAMES: &[&str] = &[VOICE_ID, NAME, PART_CHARS, CAPTIONS, PRONUNCIATIONS, TEXT_COLUMN, NO_REUSE];

/// The values of these flags.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SynthesisFlags {
    /// `--voice-id`: one or more, which replace the definition's.
    pub voices: Option<Vec<String>>,
    /// `--name`: the names of the outputs.
    pub name: Option<String>,
    /// `--part-chars`
    pub part_chars: Option<u32>,
    /// `--captions`
    pub captions: Option<Vec<CaptionFormat>>,
    /// `--pronunciations`: a file.
    pub pronunciations: Option<String>,
    /// `--text-column`: a column's name, or a template over columns.
    pub text_column: Option<String>,
    /// `--no-reuse`: clips in the audio cache are not reused.
    pub no_reuse: bool,
}

impl From<SynthesisFlags> for TaskFlags {
    fn from(said: SynthesisFlags) -> Self {
        let one = |text: Option<String>| text.map(|text| vec![text]);
        let captions = said.captions.map(|all| all.iter().map(ToString::to_string).collect());
        let flags = [
            (VOICE_ID, said.voices),
            (NAME, one(said.name)),
            (PART_CHARS, one(said.part_chars.map(|chars| chars.to_string()))),
            (CAPTIONS, captions),
            (PRONUNCIATIONS, one(said.pronunciations)),
            (TEXT_COLUMN, one(said.text_column)),
            (NO_REUSE, said.no_reuse.then(Vec::new)),
        ];
        flags.into_iter().filter_map(|(name, values)| Some((name, values?))).collect()
    }
}
