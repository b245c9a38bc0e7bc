//! Submitting recordings.

use super::{Transcribe, work};
use crate::{
    audio::analyze::{Hearing, RawFormat},
    definition::{Definition, manifest::JobDraft},
    domain::{
        cost::{MicroUsd, Rates},
        identity::options_identity,
        listening::{ChannelMode, Listening, NoSpeech},
        options::TranscriptFormat,
        task::TaskSpec,
        transcription::Transcription,
    },
    runner::intake::{HeardOffer, HeardOffers, IntakeTask, OutputEndings, Sent},
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
            Some(options_identity(&asked.options, &asked.listening))
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

    fn most_calls(&self, definition: &Definition, channels: u16) -> u64 {
        let mode = definition.transcribing().map_or(ChannelMode::Mix, |asked| asked.listening.channels);
        if mode == ChannelMode::Mix { 1 } else { u64::from(channels).max(1) }
    }

    fn heard_offers(&self, definition: &Definition) -> Option<Box<dyn HeardOffers>> {
        definition.transcribing().map(|asked| Box::new(Offers(asked.listening.clone())) as Box<dyn HeardOffers>)
    }
}

/// What is bought of recordings that were heard, by what a definition asks for.
struct Offers(Listening);

impl Offers {
    fn sent(&self, heard: &Hearing, channels: ChannelMode, no_speech: NoSpeech) -> Sent {
        let (calls, audio_ms) = work::calls_of(heard, &Listening { channels, no_speech, ..self.0.clone() });
        Sent { calls, audio_ms }
    }
}

impl HeardOffers for Offers {
    fn raw(&self) -> Option<RawFormat> {
        self.0.raw.map(work::raw)
    }

    fn skips_silence(&self) -> bool {
        self.0.no_speech == NoSpeech::Skip
    }

    fn offer(&self, heard: &Hearing) -> HeardOffer {
        let ways = [ChannelMode::Mix, ChannelMode::Split];
        let with = |no_speech| self.sent(heard, ChannelMode::Mix, no_speech);
        let (sent, skipped) = (with(NoSpeech::Send), with(NoSpeech::Skip));
        HeardOffer {
            ways: ways.map(|way| (way.as_str(), self.sent(heard, way, self.0.no_speech))).into(),
            silence: Sent { calls: sent.calls - skipped.calls, audio_ms: sent.audio_ms - skipped.audio_ms },
        }
    }
}

fn formats(definition: &Definition) -> &[TranscriptFormat] {
    definition.transcribing().map_or(&[], |asked| &asked.formats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::analyze::{ChannelHearing, Found, Layout};

    fn heard(layout: Layout, speech: &[u64]) -> Hearing {
        let channel = |speech_ms: &u64| ChannelHearing { speech_ms: *speech_ms, ..ChannelHearing::default() };
        Hearing {
            found: Found::default(),
            length_ms: 10_000,
            broken: None,
            notes: Vec::new(),
            channels: speech.iter().map(channel).collect(),
            layout,
            peak_ms: 500,
        }
    }

    #[test]
    fn what_is_heard_decides_what_is_bought() {
        let send = Offers(Listening::default());
        let sent = |calls| Sent { calls, audio_ms: calls * 10_000 };
        let offer = |mix, split, silence| HeardOffer {
            ways: vec![("mix", sent(mix)), ("split", sent(split))],
            silence: sent(silence),
        };
        assert_eq!(send.offer(&heard(Layout::Mono, &[4_000])), offer(1, 1, 0));
        assert_eq!(send.offer(&heard(Layout::Apart { bleed: vec![] }, &[4_000, 3_000])), offer(1, 2, 0));
        assert_eq!(send.offer(&heard(Layout::DualMono, &[4_000, 4_000])), offer(1, 1, 0));
        assert_eq!(send.offer(&heard(Layout::OneSided { speaks: 1 }, &[0, 4_000])), offer(1, 1, 0));
        let silent = heard(Layout::Silent, &[0, 0]);
        assert_eq!(send.offer(&silent), offer(1, 1, 1), "it is bought, and need not be");
        let skip = Offers(Listening { no_speech: NoSpeech::Skip, ..Listening::default() });
        assert_eq!(skip.offer(&silent), offer(0, 0, 1));
        assert!(skip.skips_silence() && !send.skips_silence());
    }
}
