//! Submitting recordings.

use super::{Transcribe, work};
use crate::{
    audio::analyze::{Hearing, RawFormat},
    definition::{Definition, manifest::JobDraft},
    domain::{
        cost::{MicroUsd, Rates},
        cuts::pieces,
        hearing::{Stretch, total_ms},
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

    fn price_unit(&self, _model: &str) -> &'static str {
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

    fn most_sent(&self, definition: &Definition, channels: u16, length_ms: u64) -> Sent {
        most_sent(
            &definition.transcribing().map(|asked| asked.listening.clone()).unwrap_or_default(),
            channels,
            length_ms,
        )
    }

    fn most_again(&self, before: &TaskSpec, now: &TaskSpec, audio_ms: u64) -> Option<u64> {
        let listening = |spec: &TaskSpec| spec.read::<Transcription>().ok().map(|asked| asked.listening);
        let most = |spec| listening(spec).map(|asked| most_sent(&asked, 2, audio_ms).audio_ms);
        let (before, now) = (most(before)?, most(now)?);
        (now > before).then_some(now)
    }

    fn heard_offers(&self, definition: &Definition) -> Option<Box<dyn HeardOffers>> {
        definition.transcribing().map(|asked| Box::new(Offers(asked.listening.clone())) as Box<dyn HeardOffers>)
    }
}

/// The most that buys a recording.
fn most_sent(asked: &Listening, channels: u16, length_ms: u64) -> Sent {
    let channels = match asked.channels {
        ChannelMode::Mix => 1,
        ChannelMode::Split | ChannelMode::Packed | ChannelMode::Auto => u64::from(channels).max(1),
    };
    let pieces = asked
        .max_piece_ms
        .map_or_else(|| vec![Stretch { from_ms: 0, to_ms: length_ms }], |most| pieces(length_ms, most));
    Sent { calls: channels * pieces.len() as u64, audio_ms: channels.saturating_mul(total_ms(&pieces)) }
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
        let ways = [ChannelMode::Mix, ChannelMode::Split, ChannelMode::Packed];
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
    use crate::audio::analyze::{ChannelHearing, Found, Layout, Segment};

    fn heard(layout: Layout, speech: &[u64]) -> Hearing {
        let channel = |speech_ms: &u64| ChannelHearing {
            segments: vec![Segment { from_ms: 0, to_ms: *speech_ms, echo: false }],
            speech_ms: *speech_ms,
            ..ChannelHearing::default()
        };
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
        let packed = std::cell::Cell::new(None);
        let offer = |mix, split, silence| HeardOffer {
            ways: vec![
                ("mix", sent(mix)),
                ("split", sent(split)),
                ("packed", packed.take().unwrap_or_else(|| sent(split))),
            ],
            silence: sent(silence),
        };
        assert_eq!(send.offer(&heard(Layout::Mono, &[4_000])), offer(1, 1, 0));
        // Two sides, 150 ms before and after the speech of each, and a second between them.
        packed.set(Some(Sent { calls: 1, audio_ms: 4_150 + 3_150 + 1_000 }));
        assert_eq!(send.offer(&heard(Layout::Apart { bleed: vec![] }, &[4_000, 3_000])), offer(1, 2, 0));
        assert_eq!(send.offer(&heard(Layout::DualMono, &[4_000, 4_000])), offer(1, 1, 0));
        assert_eq!(send.offer(&heard(Layout::OneSided { speaks: 1 }, &[0, 4_000])), offer(1, 1, 0));
        let silent = heard(Layout::Silent, &[0, 0]);
        assert_eq!(send.offer(&silent), offer(1, 1, 1), "it is bought, and need not be");
        let skip = Offers(Listening { no_speech: NoSpeech::Skip, ..Listening::default() });
        assert_eq!(skip.offer(&silent), offer(0, 0, 1));
        assert!(skip.skips_silence() && !send.skips_silence());
    }

    #[test]
    fn a_recording_costs_at_most_what_its_channels_and_pieces_carry() {
        let most = |channels, piece, length_ms| {
            let asked = Listening { channels, max_piece_ms: piece, ..Listening::default() };
            let Sent { calls, audio_ms } = most_sent(&asked, 2, length_ms);
            (calls, audio_ms)
        };
        assert_eq!(most(ChannelMode::Mix, None, 90_000), (1, 90_000));
        assert_eq!(most(ChannelMode::Split, None, 90_000), (2, 180_000));
        assert_eq!(most(ChannelMode::Mix, Some(60_000), 90_000), (2, 92_000));
        assert_eq!(most(ChannelMode::Auto, Some(60_000), 90_000), (4, 184_000));
        assert_eq!(most(ChannelMode::Mix, Some(60_000), 0), (1, 0));
    }
}
