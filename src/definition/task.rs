//! What only one of the tasks is asked for.

use regex::Regex;

use super::{Synthesizing, policy::NoSource, template::Template, text::ticked};
use crate::domain::{
    batch::LineOption,
    keywords::INVENTING_WEIGHT,
    open::Unlisted,
    options::{SttModel, TranscribeOptions, TranscriptFormat, WebhookMode},
    synthesis::Synthesis,
    task::TaskName,
    task::TaskSpec,
    transcription::Transcription,
};

/// A task, and how it is done.
#[derive(Debug, Clone)]
pub enum TaskDefinition {
    /// Recordings become transcripts.
    Transcribe(Box<Transcribing>),
    /// Texts become speech.
    Synthesize(Box<Synthesizing>),
}

/// What a transcription asks for.
#[derive(Debug, Clone)]
pub struct Transcribing {
    /// The options of every line that does not say otherwise.
    pub options: TranscribeOptions,
    /// The files to write for each line, none twice.
    pub formats: Vec<TranscriptFormat>,
    /// Whether answers are waited for.
    pub webhook: WebhookMode,
    /// The column or template for the source, where it is named.
    pub source_column: Option<Template>,
    /// The options that columns may override.
    pub option_columns: Vec<LineOption>,
    /// What happens to lines without a source.
    pub no_source: NoSource,
    /// What makes columns of the recordings' file names.
    pub(super) name_pattern: Option<Regex>,
}

impl TaskDefinition {
    /// Its name.
    #[must_use]
    pub const fn task(&self) -> TaskName {
        match self {
            Self::Transcribe(_) => Transcription::TASK,
            Self::Synthesize(_) => Synthesis::TASK,
        }
    }

    /// The model of every line that does not say otherwise.
    #[must_use]
    pub fn model(&self) -> &str {
        match self {
            Self::Transcribe(asked) => asked.options.model.as_str(),
            Self::Synthesize(asked) => asked.synthesis.options.model.as_str(),
        }
    }

    /// What it asks for that is in none of our lists.
    #[must_use]
    pub fn unlisted(&self) -> Vec<Unlisted> {
        match self {
            Self::Transcribe(asked) => asked.options.unlisted().collect(),
            Self::Synthesize(asked) => asked.synthesis.unlisted().collect(),
        }
    }

    /// What the ledger keeps of it.
    pub(super) fn spec(&self) -> TaskSpec {
        match self {
            Self::Transcribe(asked) => {
                let (options, formats) = (asked.options.clone(), asked.formats.clone());
                TaskSpec::of(&Transcription { options, formats, webhook: asked.webhook })
            }
            Self::Synthesize(asked) => TaskSpec::of(&asked.synthesis),
        }
    }

    /// The templates that read a line's cells: what they make may depend on the date.
    #[must_use]
    pub fn templates(&self) -> Vec<Template> {
        match self {
            Self::Transcribe(asked) => asked.source_column.iter().cloned().collect(),
            Self::Synthesize(asked) => {
                let columns = [&asked.text_column, &asked.text_file_column].into_iter().flatten().cloned();
                columns.chain(Template::parse(&asked.synthesis.name).ok()).collect()
            }
        }
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let asked = match self {
            Self::Transcribe(asked) => asked,
            Self::Synthesize(asked) => return asked.synthesis.purchases_in_words().into_iter().collect(),
        };
        let mut notes = Vec::new();
        let captions: Vec<_> = asked.formats.iter().filter(|f| f.needs_words()).map(|f| f.as_str()).collect();
        if !captions.is_empty() && asked.options.word_timestamps == Some(false) {
            notes.push(format!("word_timestamps is on: {} cannot be made without", captions.join(" and ")));
        }
        if asked.options.diarize && asked.options.word_timestamps == Some(false) && captions.is_empty() {
            notes.push("word_timestamps is on: diarize gives nothing without".to_owned());
        }
        if asked.options.diarize && asked.options.model == SttModel::PulsePro {
            notes.push("`pulse-pro` gives no speakers on the wire: diarize will have no effect".to_owned());
        }
        let inventing = ticked(&asked.options.keywords.inventing().collect::<Vec<_>>());
        if !inventing.is_empty() {
            notes.push(format!(
                "keywords with a weight above {INVENTING_WEIGHT} are heard where nobody said them: {inventing}"
            ));
        }
        notes
    }
}
