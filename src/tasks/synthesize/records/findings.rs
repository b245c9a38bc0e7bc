//! What the first reading collects about the texts.

use std::sync::Arc;

use serde_json::json;

use super::{
    look::{Looking, TextsPreview},
    requested_voices::RequestedVoices,
    text_line::TextLine,
};
use crate::{
    definition::{
        manifest::{Gathered, Scan, ScanDepth},
        prose::LeftOut,
    },
    domain::{open::UnlistedValues, synthesis::Synthesis},
    report::words::counted,
    runner::intake::ContentFindings,
};

/// The findings for a manifest of texts.
#[derive(Debug, Clone, Default)]
pub struct TextFindings {
    /// The requested voices.
    pub voices: RequestedVoices,
    /// What was noticed in the texts, if the reading looked for it.
    pub look: Option<TextsPreview>,
    /// How many files have something that is not spoken, and what it is.
    pub left_out: (u64, LeftOut),
    /// How many texts had characters taken out or repaired.
    pub repaired: u64,
}

impl TextFindings {
    /// The findings of a reading, if it read texts.
    #[must_use]
    pub fn of(scan: &Scan) -> Option<&Self> {
        scan.findings.downcast_ref()
    }

    /// What `check` shows of the texts, if the reading looked at them.
    pub(in crate::tasks::synthesize) fn shown(&self) -> ContentFindings {
        let Some(look) = &self.look else { return ContentFindings::default() };
        let breaks = look.scene_breaks;
        let breaks_in_words = format!("{}: a longer pause each", counted(breaks, "scene break"));
        ContentFindings {
            facts: (breaks > 0).then_some(("pauses", breaks_in_words)).into_iter().collect(),
            fields: [("scene_breaks".to_owned(), json!(breaks))].into_iter().collect(),
            notes: look.notes.clone(),
            left_out: look.left_out.iter().map(|(file, what)| (file.clone(), what.to_string())).collect(),
        }
    }

    /// What is not bought as it stands in the texts, in words.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        let (files, left_out) = &self.left_out;
        let mut changes = Vec::new();
        if *files > 0 {
            let of = if *files == 1 { "a file".to_owned() } else { format!("{files} files") };
            changes.push(format!("of {of}, this is not spoken: {left_out}; `wavebatch check` lists it"));
        }
        if self.repaired > 0 {
            let of = if self.repaired == 1 { "a text".to_owned() } else { format!("{} texts", self.repaired) };
            changes.push(format!(
                "of {of}, characters that no voice speaks are taken out or put right; `wavebatch check` lists them"
            ));
        }
        changes
    }
}

/// Collects the findings, line by line.
#[derive(Debug)]
pub(super) struct Gathering {
    jobs: u64,
    idle: u64,
    unlisted_values: UnlistedValues,
    voices: RequestedVoices,
    looking: Option<Looking>,
    left_out: (u64, LeftOut),
    repaired: u64,
}

impl Gathering {
    pub(super) fn new(depth: ScanDepth) -> Self {
        let looking = (depth == ScanDepth::Look).then(Looking::default);
        Self {
            jobs: 0,
            idle: 0,
            unlisted_values: UnlistedValues::default(),
            voices: RequestedVoices::default(),
            looking,
            left_out: (0, LeftOut::default()),
            repaired: 0,
        }
    }

    pub(super) fn add(&mut self, line: &TextLine, asked: &Synthesis) {
        self.jobs += line.outputs.len() as u64;
        self.voices.add(line, &asked.voices);
        self.unlisted_values.extend(line.options.unlisted());
        if !line.left_out.is_empty() {
            self.left_out.0 += 1;
            self.left_out.1 += line.left_out;
        }
        self.repaired += u64::from(!line.repairs.is_empty() || !line.key_repairs.is_empty());
        if let Some(looking) = &mut self.looking {
            looking.add(line, asked.part_chars);
        }
    }

    /// A line without a text.
    pub(super) fn add_idle(&mut self) {
        self.jobs += 1;
        self.idle += 1;
    }

    pub(super) fn finish(self) -> Gathered {
        let findings = TextFindings {
            voices: self.voices,
            look: self.looking.map(Looking::finish),
            left_out: self.left_out,
            repaired: self.repaired,
        };
        Gathered {
            jobs: self.jobs,
            idle: self.idle,
            unlisted_values: self.unlisted_values,
            findings: Arc::new(findings),
        }
    }
}
