//! Manifests of texts to be spoken: tables with a text or its file in a column, plain lines, and files found. Read twice,
//! as those of recordings are.

mod judge;
mod look;
mod names;
mod outputs;
mod plan;
mod requested_voices;
mod scan;
#[cfg(test)]
mod tests;

use std::io;

use self::plan::TextPlan;
pub use self::{
    look::{Note, TextsPreview},
    plan::TextHeader,
    requested_voices::{RequestedVoice, RequestedVoices, VoiceUse},
    scan::{TextLine, TextLines, TextRow, TextScan},
};
use super::{Base, Fault, Faults, Kind, ManifestFormat, Spooled, base_of, columns_of, io_message, kind_of};
use crate::definition::{Definition, Synthesizing};

/// The columns that files found have.
const OF_FILES: [&str; 2] = ["text_file", "key"];
/// The one column of plain lines.
const OF_LINES: &str = "text";

/// A manifest of texts whose columns are known.
#[derive(Debug)]
pub struct Texts<'d> {
    definition: &'d Definition,
    asked: &'d Synthesizing,
    kind: Kind,
    base: Base,
    plan: TextPlan,
}

impl<'d> Texts<'d> {
    /// Opens the manifest of a definition that asks for this, and finds out what its columns are for. `copy` is where the
    /// caller has brought it, where [`Origin::needs_copy`](crate::definition::Origin::needs_copy).
    ///
    /// # Errors
    /// A manifest that is missing, empty, without header, or without a column for the text.
    ///
    /// # Panics
    /// If a copy is needed and none is given.
    pub fn open(definition: &'d Definition, asked: &'d Synthesizing, copy: Option<&Spooled>) -> Result<Self, Faults> {
        let message = |e: &io::Error| Faults::from(Fault::of_file(definition.manifest.clone(), io_message(e)));
        let kind = kind_of(definition, copy);
        let base = base_of(definition).map_err(|e| message(&e))?;
        let columns = match &kind {
            Kind::File(path, ManifestFormat::Lines) => {
                path.metadata().map_err(|e| message(&e))?;
                vec![OF_LINES.to_owned()]
            }
            Kind::File(..) => match columns_of(definition, &kind) {
                // Then there is nothing to be read by them.
                Err(faults) if faults.is_only_empty() && definition.allow_empty => vec![OF_LINES.to_owned()],
                columns => columns?,
            },
            _ => OF_FILES.map(str::to_owned).to_vec(),
        };
        let plan = TextPlan::of(definition, asked, kind.is_of_files(), columns)?;
        Ok(Self { definition, asked, kind, base, plan })
    }

    /// The columns and their uses.
    #[must_use]
    pub fn header(&self) -> &TextHeader {
        &self.plan.header
    }
}
