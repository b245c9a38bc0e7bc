//! What is sent of a recording, decided from what was heard in it, before its first call.

use serde::{Deserialize, Serialize};

use crate::{
    audio::analyze::{Hearing, Layout},
    domain::{
        listening::{ChannelMode, Listening, NoSpeech},
        row::Note,
    },
    store::FrozenPart,
};

/// What one call sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SentPart {
    /// The form of this plan.
    v: u32,
    /// The channel, counted from 1; `None`: all of them, as the file has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) channel: Option<u16>,
    /// Length of the recording when it was heard, in ms.
    pub(super) length_ms: u64,
    /// Why it is not sent, or not as the definition asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<Note>,
}

const VERSION: u32 = 1;

/// A recording's plan: what its calls send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The parts by number. The number of a channel's part is that of the channel, counted from 0.
    pub(super) parts: Vec<(i64, SentPart)>,
    /// Whether nothing is sent: nobody speaks.
    pub(super) is_skipped: bool,
}

impl Plan {
    /// The plan for a recording in which this was heard.
    pub(super) fn of(heard: &Hearing, asked: &Listening) -> Self {
        let is_silent = heard.layout == Layout::Silent && heard.is_complete();
        if is_silent && asked.no_speech == NoSpeech::Skip {
            return Self { is_skipped: true, ..Self::whole(heard, Some(Note::NoSpeech)) };
        }
        if asked.channels == ChannelMode::Mix {
            return Self::whole(heard, None);
        }
        let speaks = |at: &usize| heard.channels[*at].speech_ms > 0;
        let spoken: Vec<usize> = match heard.layout {
            Layout::Mono => {
                return Self::whole(heard, (asked.channels == ChannelMode::Split).then_some(Note::OneChannel));
            }
            Layout::DualMono => return Self::whole(heard, Some(Note::DualMono)),
            Layout::Silent => return Self::whole(heard, None),
            Layout::OneSided { speaks } => vec![speaks],
            Layout::Apart { .. } | Layout::Many(_) => (0..heard.channels.len()).filter(speaks).collect(),
        };
        let note = (spoken.len() == 1).then_some(Note::OneSide);
        let part = |at: usize| {
            let channel = u16::try_from(at + 1).unwrap_or(u16::MAX);
            (i64::from(channel) - 1, SentPart { channel: Some(channel), note, ..SentPart::whole(heard) })
        };
        Self { parts: spoken.into_iter().map(part).collect(), is_skipped: false }
    }

    fn whole(heard: &Hearing, note: Option<Note>) -> Self {
        Self { parts: vec![(0, SentPart { note, ..SentPart::whole(heard) })], is_skipped: false }
    }

    /// The whole of a recording that cannot be heard.
    pub(super) fn unheard() -> Self {
        let sent = SentPart { v: VERSION, channel: None, length_ms: 0, note: Some(Note::NotHeard) };
        Self { parts: vec![(0, sent)], is_skipped: false }
    }

    /// The whole of a recording whose calls were made before it was planned.
    pub(super) fn unplanned() -> Self {
        Self { parts: vec![(0, SentPart { v: VERSION, channel: None, length_ms: 0, note: None })], is_skipped: false }
    }

    /// As the ledger keeps it.
    pub(super) fn frozen(&self) -> Vec<FrozenPart> {
        let frozen = |(part, sent): &(i64, SentPart)| FrozenPart {
            part: *part,
            units: sent.length_ms,
            is_skipped: self.is_skipped,
            plan: serde_json::to_string(sent).expect("numbers and names are JSON"),
        };
        self.parts.iter().map(frozen).collect()
    }

    /// The plan that the ledger has; `None` if it has none. The inner error says what this release cannot read.
    pub(super) fn thawed(frozen: &[FrozenPart]) -> Option<Result<Self, String>> {
        let first = frozen.first()?;
        let read = |part: &FrozenPart| {
            let sent: SentPart = serde_json::from_str(&part.plan).map_err(|e| e.to_string())?;
            if sent.v == VERSION { Ok((part.part, sent)) } else { Err(format!("it is of version {}", sent.v)) }
        };
        let parts: Result<Vec<_>, String> = frozen.iter().map(read).collect();
        Some(parts.map(|parts| Self { parts, is_skipped: first.is_skipped }))
    }

    /// Whether the recording is sent as it is, or not at all.
    pub(super) fn is_whole(&self) -> bool {
        self.parts.iter().all(|(_, sent)| sent.channel.is_none())
    }

    /// What the report says of it.
    pub(super) fn note(&self) -> Option<Note> {
        self.parts.first().and_then(|(_, sent)| sent.note)
    }
}

impl SentPart {
    const fn whole(heard: &Hearing) -> Self {
        Self { v: VERSION, channel: None, length_ms: heard.length_ms, note: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::analyze::{ChannelHearing, Found, Segment};

    /// A recording of 10 s in which each channel speaks for so long.
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

    fn asked(channels: ChannelMode, no_speech: NoSpeech) -> Listening {
        Listening { channels, no_speech, ..Listening::default() }
    }

    fn channels(plan: &Plan) -> Vec<(i64, Option<u16>)> {
        plan.parts.iter().map(|(part, sent)| (*part, sent.channel)).collect()
    }

    #[test]
    fn channels_that_differ_have_a_call_each() {
        let apart = heard(Layout::Apart { bleed: vec![] }, &[4_000, 5_000]);
        for mode in [ChannelMode::Split, ChannelMode::Auto] {
            let plan = Plan::of(&apart, &asked(mode, NoSpeech::Send));
            assert_eq!((channels(&plan), plan.note()), (vec![(0, Some(1)), (1, Some(2))], None));
        }
        assert!(Plan::of(&apart, &asked(ChannelMode::Mix, NoSpeech::Skip)).is_whole());
        let three = heard(Layout::Many(3), &[4_000, 0, 5_000]);
        let plan = Plan::of(&three, &asked(ChannelMode::Split, NoSpeech::Send));
        assert_eq!(channels(&plan), [(0, Some(1)), (2, Some(3))], "a channel that says nothing is not bought");
    }

    #[test]
    fn nothing_is_bought_twice_for_two_equal_channels_or_a_silent_one() {
        let split = asked(ChannelMode::Split, NoSpeech::Send);
        let plan = Plan::of(&heard(Layout::DualMono, &[4_000, 4_000]), &split);
        assert_eq!((channels(&plan), plan.note()), (vec![(0, None)], Some(Note::DualMono)));
        let plan = Plan::of(&heard(Layout::OneSided { speaks: 1 }, &[0, 4_000]), &split);
        assert_eq!((channels(&plan), plan.note()), (vec![(1, Some(2))], Some(Note::OneSide)));
        let plan = Plan::of(&heard(Layout::Mono, &[4_000]), &split);
        assert_eq!((channels(&plan), plan.note()), (vec![(0, None)], Some(Note::OneChannel)));
        let auto = Plan::of(&heard(Layout::Mono, &[4_000]), &asked(ChannelMode::Auto, NoSpeech::Send));
        assert_eq!(auto.note(), None);
    }

    #[test]
    fn silence_is_left_only_if_it_was_heard_to_the_end() {
        let skip = asked(ChannelMode::Auto, NoSpeech::Skip);
        let silent = heard(Layout::Silent, &[0, 0]);
        let plan = Plan::of(&silent, &skip);
        assert_eq!((plan.is_skipped, plan.note()), (true, Some(Note::NoSpeech)));
        assert!(!Plan::of(&silent, &asked(ChannelMode::Auto, NoSpeech::Send)).is_skipped);
        let broken = Hearing { broken: Some(crate::audio::analyze::Break::TooSlow), ..silent };
        assert!(!Plan::of(&broken, &skip).is_skipped);
    }

    #[test]
    fn a_plan_comes_back_as_it_was_frozen() {
        let split = asked(ChannelMode::Split, NoSpeech::Skip);
        for heard in [heard(Layout::Apart { bleed: vec![] }, &[1_000, 2_000]), heard(Layout::Silent, &[0, 0])] {
            let plan = Plan::of(&heard, &split);
            assert_eq!(Plan::thawed(&plan.frozen()), Some(Ok(plan)));
        }
        assert_eq!(Plan::thawed(&[]), None);
        let newer = FrozenPart { part: 0, units: 0, is_skipped: false, plan: r#"{"v":2,"length_ms":1}"#.into() };
        assert!(Plan::thawed(&[newer]).unwrap().is_err());
    }
}
