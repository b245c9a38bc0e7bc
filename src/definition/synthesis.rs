//! The settings of a synthesis batch.

use std::collections::BTreeMap;

use super::{policy::NoSource, pronunciations::Pronunciations, prose::MarkdownReading, template::Template};
use crate::domain::{
    synthesis::{Synthesis, SynthesisOption},
    synthesis_options::TtsLanguage,
};

/// The settings of a synthesis.
#[derive(Debug, Clone)]
pub struct Synthesizing {
    /// The part of the settings that the ledger keeps.
    pub synthesis: Synthesis,
    /// The column or template of the text, if named.
    pub text_column: Option<Template>,
    /// The column or template of the text's file, if named.
    pub text_file_column: Option<Template>,
    /// The column or template of the text in each language; empty: a line has one text.
    pub text_columns: BTreeMap<TtsLanguage, Template>,
    /// The options that columns may override.
    pub option_columns: Vec<SynthesisOption>,
    /// The columns that set options under other names.
    pub mapped: Vec<(SynthesisOption, String)>,
    /// The words of the dictionary, if there is one.
    pub pronunciations: Option<Pronunciations>,
    /// The voices of a line without its own, by its language; then `synthesis` has none.
    pub voices_by_language: BTreeMap<TtsLanguage, Vec<String>>,
    /// The policy for lines without a text.
    pub no_text: NoSource,
    /// How Markdown files are read.
    pub markdown: MarkdownReading,
    /// Every part is bought again, even if the audio cache has it.
    pub no_reuse: bool,
}
