//! What the first reading collects about the texts.

use std::sync::Arc;

use super::{
    look::{Looking, TextsPreview},
    requested_voices::RequestedVoices,
    text_line::TextLine,
};
use crate::{
    definition::manifest::{Gathered, Scan, ScanDepth},
    domain::{open::UnlistedValues, synthesis::Synthesis},
};

/// The findings for a manifest of texts.
#[derive(Debug, Clone, Default)]
pub struct TextFindings {
    /// The requested voices.
    pub voices: RequestedVoices,
    /// What was noticed in the texts, if the reading looked for it.
    pub look: Option<TextsPreview>,
}

impl TextFindings {
    /// The findings of a reading, if it read texts.
    #[must_use]
    pub fn of(scan: &Scan) -> Option<&Self> {
        scan.findings.downcast_ref()
    }
}

/// Collects the findings, line by line.
#[derive(Debug)]
pub(super) struct Gathering {
    jobs: u64,
    unlisted_values: UnlistedValues,
    voices: RequestedVoices,
    looking: Option<Looking>,
}

impl Gathering {
    pub(super) fn new(depth: ScanDepth) -> Self {
        let looking = (depth == ScanDepth::Look).then(Looking::default);
        Self { jobs: 0, unlisted_values: UnlistedValues::default(), voices: RequestedVoices::default(), looking }
    }

    pub(super) fn add(&mut self, line: &TextLine, asked: &Synthesis) {
        self.jobs += line.outputs.len() as u64;
        self.voices.add(line, &asked.voices);
        self.unlisted_values.extend(line.options.unlisted());
        if let Some(looking) = &mut self.looking {
            looking.add(line, asked.part_chars);
        }
    }

    pub(super) fn finish(self) -> Gathered {
        let findings = TextFindings { voices: self.voices, look: self.looking.map(Looking::finish) };
        Gathered { jobs: self.jobs, idle: 0, unlisted_values: self.unlisted_values, findings: Arc::new(findings) }
    }
}
