//! What a line is spoken as: each of its voices in each format, and the name of each.

use super::super::{super::text::excerpt, record::Record};
use super::names::Of;
use super::plan::TextPlan;
use crate::domain::{
    key::Key,
    speech::SpeechOptions,
    synthesis::{OutputFormat, Synthesis},
};

/// One output of a line: one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Who speaks.
    pub voice_id: String,
    /// In which format.
    pub format: OutputFormat,
    /// Its name, without the ending; unique among the batch's outputs with that ending.
    pub name: String,
    /// Whether captions are written beside it: of outputs that differ in their format alone, the first has them.
    pub captions: bool,
}

impl Output {
    /// The name of its file.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}.{}", self.name, self.format.ending)
    }

    /// What tells the line's jobs apart in the ledger.
    #[must_use]
    pub fn variant(&self) -> String {
        self.format.variant(&self.voice_id)
    }
}

/// A line's outputs, by voice and format.
pub(super) fn outputs(
    synthesis: &Synthesis,
    plan: &TextPlan,
    record: &Record,
    key: &str,
    options: &SpeechOptions,
    voices: &[String],
) -> Result<Vec<Output>, String> {
    let mut outputs: Vec<Output> = Vec::with_capacity(voices.len() * synthesis.formats.len());
    for voice in voices {
        let options = SpeechOptions { voice_id: voice.clone(), ..options.clone() };
        for format in &synthesis.formats {
            let name = plan.name.text(record, key, &options, format);
            Key::check(&name).map_err(|fault| {
                let rule =
                    fault.to_string().replacen("a key", "a name", 1).replace("cannot be keys", "cannot be names");
                format!("its output would be called `{}`: {rule}", excerpt(&name))
            })?;
            let captions = !synthesis.captions.is_empty() && outputs.iter().all(|other| other.name != name);
            outputs.push(Output { voice_id: voice.clone(), format: format.clone(), name, captions });
        }
    }
    Ok(outputs)
}

/// An output and what else it is of.
pub(super) struct Named<'l> {
    pub(super) output: &'l Output,
    pub(super) key: &'l str,
    pub(super) language: Option<&'static str>,
}

/// What to add to the name to tell two outputs apart.
pub(super) fn proposal(plan: &TextPlan, one: &Named<'_>, other: &Named<'_>) -> String {
    let (a, b) = (one.output, other.output);
    let differing = [
        (Of::Key, one.key != other.key),
        (Of::VoiceId, a.voice_id != b.voice_id),
        (Of::SampleRate, a.format.sample_rate != b.format.sample_rate),
        (Of::Format, a.format.format != b.format.format),
        (Of::Language, one.language != other.language),
    ];
    match differing.iter().find(|(of, differs)| *differs && !plan.name.has(*of)) {
        Some((of, _)) => format!("add `{{{of}}}` to `name` in [synthesize]"),
        None => {
            "write something between the placeholders of `name`, so that they do not run into each other".to_owned()
        }
    }
}
