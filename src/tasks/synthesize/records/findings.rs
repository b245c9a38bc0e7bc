//! What the first reading collects about the texts.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    Texts,
    columns::TextColumns,
    languages::TextColumn,
    look::{Looking, TextsPreview},
    requested_voices::RequestedVoices,
    text_line::TextLine,
};
use crate::{
    definition::{
        manifest::{Gathered, Scan, ScanDepth},
        prose::LeftOut,
    },
    domain::{open::UnlistedValues, synthesis_options::TtsLanguage},
    report::words::{counted, grouped},
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
    /// The texts in each language, where a line has one in each.
    pub languages: Vec<LanguageTexts>,
}

/// The texts of a manifest in one language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LanguageTexts {
    /// The language.
    pub language: TtsLanguage,
    /// The column or template of the texts.
    pub column: String,
    /// Lines with a text in this language.
    pub texts: u64,
    /// Lines that have texts, and none in this language: nothing is spoken for them.
    pub empty: u64,
}

impl LanguageTexts {
    fn of(columns: &TextColumns) -> Vec<Self> {
        let of = |column: &TextColumn| {
            Some(Self { language: column.language?, column: column.name.clone(), texts: 0, empty: 0 })
        };
        columns.texts.iter().filter_map(of).collect()
    }

    /// `hi: 38 texts, 2 cells are empty`
    fn in_words(&self) -> String {
        let empty = match self.empty {
            0 => String::new(),
            1 => ", and 1 cell is empty".to_owned(),
            n => format!(", and {} cells are empty", grouped(n)),
        };
        format!("{}: {}{empty}", self.language, counted(self.texts, "text"))
    }
}

impl TextFindings {
    /// The findings of a reading, if it read texts.
    #[must_use]
    pub fn of(scan: &Scan) -> Option<&Self> {
        scan.findings.downcast_ref()
    }

    /// What is shown of the texts: how many each language has, and if the reading looked at them, what it noticed.
    pub(in crate::tasks::synthesize) fn shown(&self) -> ContentFindings {
        let titles = std::iter::once("texts").chain(std::iter::repeat(""));
        let texts = titles.zip(self.languages.iter().map(LanguageTexts::in_words));
        let Some(look) = &self.look else {
            return ContentFindings { facts: texts.collect(), ..ContentFindings::default() };
        };
        let breaks = look.scene_breaks;
        let breaks_in_words = format!("{}: a longer pause each", counted(breaks, "scene break"));
        let mut fields: Map<String, Value> = [("scene_breaks".to_owned(), json!(breaks))].into_iter().collect();
        if !self.languages.is_empty() {
            fields.insert("texts".to_owned(), json!(self.languages));
        }
        ContentFindings {
            facts: texts.chain((breaks > 0).then_some(("pauses", breaks_in_words))).collect(),
            fields,
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
    languages: Vec<LanguageTexts>,
}

impl Gathering {
    pub(super) fn new(columns: &TextColumns, depth: ScanDepth) -> Self {
        let looking = (depth == ScanDepth::Look).then(Looking::default);
        Self {
            jobs: 0,
            idle: 0,
            unlisted_values: UnlistedValues::default(),
            voices: RequestedVoices::default(),
            looking,
            left_out: (0, LeftOut::default()),
            repaired: 0,
            languages: LanguageTexts::of(columns),
        }
    }

    pub(super) fn add(&mut self, line: &TextLine, of: &Texts<'_>) {
        let Texts { asked, columns, .. } = of;
        for text in &line.texts {
            self.jobs += text.outputs.len() as u64;
            self.voices.add(line.number, text, asked);
            self.unlisted_values.extend(text.options.unlisted());
            if !text.left_out.is_empty() {
                self.left_out.0 += 1;
                self.left_out.1 += text.left_out;
            }
            self.repaired += u64::from(!text.repairs.is_empty());
        }
        let is_key_alone = line.texts.iter().all(|text| text.repairs.is_empty());
        self.repaired += u64::from(is_key_alone && !line.key_repairs.is_empty());
        for (at, language) in self.languages.iter_mut().enumerate() {
            let has_text = line.texts.iter().any(|text| text.column == at);
            language.texts += u64::from(has_text);
            language.empty += u64::from(!has_text);
        }
        if let Some(looking) = &mut self.looking {
            looking.add(line, columns, asked.synthesis.part_chars);
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
            languages: self.languages,
        };
        Gathered {
            jobs: self.jobs,
            idle: self.idle,
            unlisted_values: self.unlisted_values,
            findings: Arc::new(findings),
        }
    }
}
