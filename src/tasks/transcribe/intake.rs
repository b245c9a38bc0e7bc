//! Submitting recordings.

use super::Transcribe;
use crate::{
    definition::{Definition, manifest::JobDraft},
    domain::{
        cost::{MicroUsd, Rates},
        identity::options_identity,
        options::TranscriptFormat,
        task::TaskSpec,
        transcription::Transcription,
    },
    runner::intake::{IntakeTask, OutputEndings},
};

impl IntakeTask for Transcribe {
    fn has_sources(&self) -> bool {
        true
    }

    fn price_unit(&self) -> &'static str {
        "US dollars a minute"
    }

    fn output_endings(&self, definition: &Definition) -> OutputEndings {
        OutputEndings {
            all: formats(definition).iter().map(|format| format!(".{format}")).collect(),
            may_be_empty: [TranscriptFormat::Txt, TranscriptFormat::Srt].map(|format| format!(".{format}")).into(),
        }
    }

    fn outputs(&self, definition: &Definition, key: &str, _job: &JobDraft) -> Vec<String> {
        formats(definition).iter().map(|format| format!("{key}.{format}")).collect()
    }

    fn asks_for_other_calls(&self, before: &TaskSpec, now: &TaskSpec) -> bool {
        let calls = |spec: &TaskSpec| {
            let asked = spec.read::<Transcription>().ok()?;
            Some(options_identity(&asked.options, asked.listening.channels))
        };
        calls(before) != calls(now)
    }

    fn needs_redelivery(&self, before: &TaskSpec, now: &TaskSpec) -> bool {
        let sorted = |spec: &TaskSpec| {
            let mut formats = spec.read::<Transcription>().ok()?.formats;
            formats.sort_unstable();
            Some(formats)
        };
        sorted(before).is_none_or(|before| Some(before) != sorted(now))
    }

    fn adds_captions(&self, before: &TaskSpec, now: &TaskSpec) -> bool {
        let (Ok(before), Ok(now)) = (before.read::<Transcription>(), now.read::<Transcription>()) else { return false };
        now.formats.iter().any(|format| format.needs_words() && !before.formats.contains(format))
    }

    fn cost_of_audio(&self, definition: &Definition, audio_ms: u64, rates: &Rates) -> Option<MicroUsd> {
        definition.transcribing().map(|asked| rates.cost(asked.options.model, audio_ms))
    }
}

fn formats(definition: &Definition) -> &[TranscriptFormat] {
    definition.transcribing().map_or(&[], |asked| &asked.formats)
}
