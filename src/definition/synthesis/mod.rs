//! Definitions of synthesis batches: `[synthesize]`, beside what all definitions have.

mod build;
mod draft;
#[cfg(test)]
mod tests;

use std::path::Path;

pub(super) use self::draft::{SpeechDraft, read};
use super::{Definition, Faults, Overrides, template::Template};
use crate::domain::synthesis::{SpeechOption, Synthesis};

/// How a synthesis batch is made: everything but the manifest's lines.
#[derive(Debug, Clone)]
pub struct SpeechDefinition {
    /// What all definitions have. Its `task`, `transcribe`, `formats`, `source_column`, `option_columns` and `no_source`
    /// mean nothing here.
    pub shared: Definition,
    /// What is asked for.
    pub synthesis: Synthesis,
    /// The column or template for the text, where it is named.
    pub text_column: Option<Template>,
    /// The column or template for the text's file, where it is named.
    pub text_file_column: Option<Template>,
    /// The options that columns may override.
    pub option_columns: Vec<SpeechOption>,
}

impl SpeechDefinition {
    /// Reads a definition's file with `task = "synthesize"` and merges the command line into it.
    ///
    /// # Errors
    /// Every fault of the file and of what it and the command line ask for together.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, Faults> {
        build::from_file(path, overrides)
    }
}
