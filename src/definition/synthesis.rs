//! What a synthesis batch asks for.

use super::{pronunciations::Pronunciations, template::Template};
use crate::domain::synthesis::{Synthesis, SynthesisOption};

/// What a synthesis asks for.
#[derive(Debug, Clone)]
pub struct Synthesizing {
    /// What the ledger keeps of it.
    pub synthesis: Synthesis,
    /// The column or template for the text, where it is named.
    pub text_column: Option<Template>,
    /// The column or template for the text's file, where it is named.
    pub text_file_column: Option<Template>,
    /// The options that columns may override.
    pub option_columns: Vec<SynthesisOption>,
    /// The words of the dictionary, where there is one.
    pub pronunciations: Option<Pronunciations>,
    /// What is bought for these lines is bought afresh, whatever is in the audio cache.
    pub no_reuse: bool,
}
