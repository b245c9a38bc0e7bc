//! What is sent of a recording, decided from what was heard in it, before its first call.

use serde::{Deserialize, Serialize};

use super::speech::speech;
use crate::{
    audio::analyze::{Hearing, Layout},
    domain::{
        cuts::{Cuts, PACKED_PIECE_MS, trimmed},
        hearing::{Stretch, total_ms, union},
        listening::{ChannelMode, Listening, NoSpeech, OtherWay},
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
    /// What is sent of the recording; if empty, all of it.
    #[serde(default, skip_serializing_if = "Cuts::is_empty")]
    pub(super) cuts: Cuts,
    /// The other way in which this is tried (`retry --with`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) way: Option<OtherWay>,
}

/// A part whose recording is sent whole.
const WHOLE: u32 = 1;
/// A part that has cuts or another way: a release that does not know them would send something else.
const CUT: u32 = 2;
/// The numbers of a round of plans: the first one's parts have numbers below it.
const ROUND: i64 = 1_000_000;
/// The most of a recording that is converted for one call, in ms: as 16-bit samples it has 230 MB, whatever is in it.
const MADE_MOST_MS: u64 = 2 * 3_600_000;

/// A recording's plan: what its calls send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The parts by number. In the first round, the number of a channel's part is that of the channel, counted from 0, if each
    /// channel is sent in one piece.
    pub(super) parts: Vec<(i64, SentPart)>,
    /// Whether nothing is sent: nobody speaks.
    pub(super) is_skipped: bool,
}

/// The plans of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plans {
    /// What counts: the newest that was made because of the definition, or of an answer.
    pub(super) own: Plan,
    /// The one that the user asked for, since the answers of the first cannot be right.
    pub(super) other: Option<Plan>,
    /// How many there are.
    rounds: i64,
}

/// A channel, or all of them, of which something is sent.
struct Stream {
    channel: Option<u16>,
    note: Option<Note>,
}

impl Plan {
    /// The plan for a recording in which this was heard. `is_made`: whether it is converted even if it is sent whole.
    pub(super) fn of(heard: &Hearing, asked: &Listening, is_made: bool) -> Self {
        let is_silent = heard.layout == Layout::Silent && heard.is_complete();
        if is_silent && asked.no_speech == NoSpeech::Skip {
            let sent = SentPart { note: Some(Note::NoSpeech), ..SentPart::whole(heard) };
            return Self { parts: vec![(0, sent)], is_skipped: true };
        }
        let streams = streams(heard, asked.channels);
        let spoken: Vec<u16> = streams.iter().filter_map(|stream| stream.channel).collect();
        // What ends too early may have more to say.
        if asked.channels == ChannelMode::Packed && spoken.len() > 1 && heard.is_complete() {
            return Self::packed(heard, asked, &spoken);
        }
        let mut parts = Vec::with_capacity(streams.len());
        for stream in streams {
            let is_made = is_made || stream.channel.is_some();
            let calls = calls_of(heard, asked, &stream, is_made);
            let first = match (calls.len(), stream.channel) {
                (1, Some(channel)) => i64::from(channel) - 1,
                // Pieces of several channels do not share numbers with channels that are sent in one.
                (_, Some(channel)) => i64::from(channel) * 1_000,
                (_, None) => 0,
            };
            parts.extend((first..).zip(calls));
        }
        Self { parts, is_skipped: false }
    }

    fn packed(heard: &Hearing, asked: &Listening, spoken: &[u16]) -> Self {
        let speech = speech(heard);
        let channels = spoken.iter().map(|channel| (*channel, speech.own.of_channel(*channel)));
        let most = asked.max_piece_ms.map_or(PACKED_PIECE_MS, |ms| ms.min(PACKED_PIECE_MS));
        let calls = Cuts::packed(channels, heard.length_ms).split(most).into_iter();
        let part = |cuts| SentPart { v: CUT, note: Some(Note::Packed), cuts, ..SentPart::whole(heard) };
        Self { parts: (0..).zip(calls.map(part)).collect(), is_skipped: false }
    }

    /// The same with this reason, where there is none yet.
    pub(super) fn because(mut self, note: Note) -> Self {
        if let Some((_, first)) = self.parts.first_mut() {
            first.note = Some(note);
        }
        self
    }

    /// The same, tried another way.
    pub(super) fn tried(mut self, way: OtherWay) -> Self {
        for (_, sent) in &mut self.parts {
            (sent.way, sent.v) = (Some(way), CUT);
        }
        self
    }

    /// The whole of a recording that cannot be heard.
    pub(super) fn unheard() -> Self {
        Self { parts: vec![(0, SentPart { note: Some(Note::NotHeard), ..SentPart::EMPTY })], is_skipped: false }
    }

    /// The whole of a recording whose calls were made before it was planned.
    pub(super) fn unplanned() -> Self {
        Self { parts: vec![(0, SentPart::EMPTY)], is_skipped: false }
    }

    /// As the ledger keeps it.
    pub(super) fn frozen(&self) -> Vec<FrozenPart> {
        let frozen = |(part, sent): &(i64, SentPart)| FrozenPart {
            part: *part,
            units: sent.sent_ms(),
            is_skipped: self.is_skipped,
            plan: serde_json::to_string(sent).expect("numbers and names are JSON"),
        };
        self.parts.iter().map(frozen).collect()
    }

    /// How much audio its calls carry, in ms.
    pub(super) fn sent_ms(&self) -> u64 {
        self.parts.iter().map(|(_, sent)| sent.sent_ms()).sum()
    }

    /// Length of the recording when it was heard, in ms; `None` if it was not.
    pub(super) fn length_ms(&self) -> Option<u64> {
        self.parts.first().map(|(_, sent)| sent.length_ms).filter(|ms| *ms > 0)
    }

    /// Whether the recording is sent as it is and as the definition says, or not at all.
    pub(super) fn is_whole(&self) -> bool {
        self.parts.iter().all(|(_, sent)| sent.channel.is_none() && sent.cuts.is_empty() && sent.way.is_none())
    }

    /// Whether its words are those of channels that are told apart.
    pub(super) fn is_by_channel(&self) -> bool {
        self.is_packed() || self.parts.iter().any(|(_, sent)| sent.channel.is_some())
    }

    /// Whether a call sends several channels one after the other.
    pub(super) fn is_packed(&self) -> bool {
        self.note() == Some(Note::Packed)
    }

    /// What the report says of it.
    pub(super) fn note(&self) -> Option<Note> {
        self.parts.first().and_then(|(_, sent)| sent.note)
    }

    /// What else the report says of it.
    pub(super) fn cut_notes(&self) -> impl Iterator<Item = Note> {
        let streams = || self.parts.chunk_by(|(_, one), (_, next)| one.channel == next.channel);
        let is_stitched = self.parts.len() > streams().count();
        let is_trimmed = !self.is_packed() && streams().any(is_trimmed);
        [is_stitched.then_some(Note::Stitched), is_trimmed.then_some(Note::Trimmed)].into_iter().flatten()
    }
}

/// Whether the calls for a channel leave something of it out.
fn is_trimmed(calls: &[(i64, SentPart)]) -> bool {
    let sent = union(calls.iter().flat_map(|(_, sent)| sent.cuts.list.iter().map(|cut| cut.at)));
    let length_ms = calls.first().map_or(0, |(_, sent)| sent.length_ms);
    !sent.is_empty() && total_ms(&sent) < length_ms
}

/// The calls for a channel, or for all of them together.
fn calls_of(heard: &Hearing, asked: &Listening, stream: &Stream, is_made: bool) -> Vec<SentPart> {
    let speech = speech(heard).own;
    let spoken = stream.channel.map_or_else(|| speech.of_all(), |channel| speech.of_channel(channel).to_vec());
    let trimmed = asked.trim_silence.then(|| trimmed(&spoken, heard.length_ms)).flatten();
    let is_made = is_made || trimmed.is_some();
    let is_trimmed = trimmed.is_some();
    let kept = trimmed.unwrap_or_else(|| vec![Stretch { from_ms: 0, to_ms: heard.length_ms }]);
    let most = asked.max_piece_ms.unwrap_or(u64::MAX).min(if is_made { MADE_MOST_MS } else { u64::MAX });
    let calls = Cuts::of_channel(stream.channel, kept).split(most);
    let whole = SentPart { channel: stream.channel, note: stream.note, ..SentPart::whole(heard) };
    if calls.len() < 2 && !is_trimmed {
        return vec![whole];
    }
    calls.into_iter().map(|cuts| SentPart { v: CUT, cuts, ..whole.clone() }).collect()
}

/// What has calls of its own.
fn streams(heard: &Hearing, mode: ChannelMode) -> Vec<Stream> {
    let whole = |note| vec![Stream { channel: None, note }];
    if mode == ChannelMode::Mix {
        return whole(None);
    }
    let speaks = |at: &usize| heard.channels[*at].speech_ms > 0;
    let spoken: Vec<usize> = match heard.layout {
        Layout::Mono => return whole((mode != ChannelMode::Auto).then_some(Note::OneChannel)),
        Layout::DualMono => return whole(Some(Note::DualMono)),
        Layout::Silent => return whole(None),
        Layout::OneSided { speaks } => vec![speaks],
        Layout::Apart { .. } | Layout::Many(_) => (0..heard.channels.len()).filter(speaks).collect(),
    };
    let note = (spoken.len() == 1).then_some(Note::OneSide);
    let stream = |at: usize| Stream { channel: Some(u16::try_from(at + 1).unwrap_or(u16::MAX)), note };
    spoken.into_iter().map(stream).collect()
}

impl Plans {
    /// The first plan.
    pub(super) const fn first(own: Plan) -> Self {
        Self { own, other: None, rounds: 1 }
    }

    /// The plans that the ledger has; `None` if it has none. The inner error says what this release cannot read.
    pub(super) fn thawed(frozen: &[FrozenPart]) -> Option<Result<Self, String>> {
        if frozen.is_empty() {
            return None;
        }
        let mut plans: Vec<Plan> = Vec::new();
        let mut last = -1;
        for part in frozen {
            let sent = match SentPart::thawed(part) {
                Ok(sent) => sent,
                Err(why) => return Some(Err(why)),
            };
            let round = part.part.div_euclid(ROUND);
            if round != last {
                plans.push(Plan { parts: Vec::new(), is_skipped: part.is_skipped });
                last = round;
            }
            plans.last_mut().expect("it was pushed").parts.push((part.part, sent));
        }
        let mut newest = |is_other: bool| {
            let at = plans.iter().rposition(|plan| plan.way().is_some() == is_other)?;
            Some(plans.swap_remove(at))
        };
        let other = newest(true);
        // A line that was bought before it was planned has an own plan that nobody froze.
        let own = newest(false).unwrap_or_else(Plan::unplanned);
        Some(Ok(Self { own, other, rounds: last + 1 }))
    }

    /// This plan with the numbers of the next round, and the first number of that.
    pub(super) fn next(&self, mut plan: Plan) -> (Plan, i64) {
        let from = self.rounds.max(1) * ROUND;
        for (part, _) in &mut plan.parts {
            *part += from;
        }
        (plan, from)
    }

    /// With a plan that takes the place of the one before, or is tried beside it.
    pub(super) fn with(mut self, plan: Plan) -> Self {
        self.rounds += 1;
        if plan.way().is_some() {
            self.other = Some(plan)
        } else {
            self.own = plan
        }
        self
    }
}

impl Plan {
    fn way(&self) -> Option<OtherWay> {
        self.parts.first().and_then(|(_, sent)| sent.way)
    }
}

impl SentPart {
    const EMPTY: Self = Self {
        v: WHOLE,
        channel: None,
        length_ms: 0,
        note: None,
        cuts: Cuts { list: Vec::new(), gap_ms: 0 },
        way: None,
    };

    fn whole(heard: &Hearing) -> Self {
        Self { length_ms: heard.length_ms, ..Self::EMPTY }
    }

    fn thawed(part: &FrozenPart) -> Result<Self, String> {
        let sent: Self = serde_json::from_str(&part.plan).map_err(|e| e.to_string())?;
        if (WHOLE..=CUT).contains(&sent.v) { Ok(sent) } else { Err(format!("it is of version {}", sent.v)) }
    }

    /// How much audio its call carries, in ms.
    pub(super) fn sent_ms(&self) -> u64 {
        if self.cuts.is_empty() { self.length_ms } else { self.cuts.sent_ms() }
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
            let plan = Plan::of(&apart, &asked(mode, NoSpeech::Send), false);
            assert_eq!((channels(&plan), plan.note()), (vec![(0, Some(1)), (1, Some(2))], None));
        }
        assert!(Plan::of(&apart, &asked(ChannelMode::Mix, NoSpeech::Skip), false).is_whole());
        let three = heard(Layout::Many(3), &[4_000, 0, 5_000]);
        let plan = Plan::of(&three, &asked(ChannelMode::Split, NoSpeech::Send), false);
        assert_eq!(channels(&plan), [(0, Some(1)), (2, Some(3))], "a channel that says nothing is not bought");
    }

    #[test]
    fn nothing_is_bought_twice_for_two_equal_channels_or_a_silent_one() {
        let split = asked(ChannelMode::Split, NoSpeech::Send);
        let plan = Plan::of(&heard(Layout::DualMono, &[4_000, 4_000]), &split, false);
        assert_eq!((channels(&plan), plan.note()), (vec![(0, None)], Some(Note::DualMono)));
        let plan = Plan::of(&heard(Layout::OneSided { speaks: 1 }, &[0, 4_000]), &split, false);
        assert_eq!((channels(&plan), plan.note()), (vec![(1, Some(2))], Some(Note::OneSide)));
        let plan = Plan::of(&heard(Layout::Mono, &[4_000]), &split, false);
        assert_eq!((channels(&plan), plan.note()), (vec![(0, None)], Some(Note::OneChannel)));
        let auto = Plan::of(&heard(Layout::Mono, &[4_000]), &asked(ChannelMode::Auto, NoSpeech::Send), false);
        assert_eq!(auto.note(), None);
    }

    #[test]
    fn silence_is_left_only_if_it_was_heard_to_the_end() {
        let skip = asked(ChannelMode::Auto, NoSpeech::Skip);
        let silent = heard(Layout::Silent, &[0, 0]);
        let plan = Plan::of(&silent, &skip, false);
        assert_eq!((plan.is_skipped, plan.note()), (true, Some(Note::NoSpeech)));
        assert!(!Plan::of(&silent, &asked(ChannelMode::Auto, NoSpeech::Send), false).is_skipped);
        let broken = Hearing { broken: Some(crate::audio::analyze::Break::TooSlow), ..silent };
        assert!(!Plan::of(&broken, &skip, false).is_skipped);
    }

    #[test]
    fn a_plan_comes_back_as_it_was_frozen() {
        let split = asked(ChannelMode::Split, NoSpeech::Skip);
        for heard in [heard(Layout::Apart { bleed: vec![] }, &[1_000, 2_000]), heard(Layout::Silent, &[0, 0])] {
            let plan = Plan::of(&heard, &split, false);
            assert_eq!(Plans::thawed(&plan.frozen()), Some(Ok(Plans::first(plan))));
        }
        assert_eq!(Plans::thawed(&[]), None);
        let newer = FrozenPart { part: 0, units: 0, is_skipped: false, plan: r#"{"v":3,"length_ms":1}"#.into() };
        assert!(Plans::thawed(&[newer]).unwrap().is_err());
        let first = Plan::of(&heard(Layout::Mono, &[1_000]), &asked(ChannelMode::Mix, NoSpeech::Send), false);
        assert_eq!(first.frozen()[0].plan, r#"{"v":1,"length_ms":10000}"#, "as releases before this one read it");
    }

    #[test]
    fn a_later_plan_takes_the_place_of_a_packed_one_or_is_tried_beside_another() {
        let apart = heard(Layout::Apart { bleed: vec![] }, &[4_000, 5_000]);
        let packed = Plan::of(&apart, &asked(ChannelMode::Packed, NoSpeech::Send), false);
        assert_eq!((channels(&packed), packed.note()), (vec![(0, None)], Some(Note::Packed)));
        let sent = &packed.parts[0].1.cuts;
        assert_eq!((sent.channels(), packed.frozen()[0].units), (vec![Some(1), Some(2)], 4_150 + 1_000 + 5_150));

        let plans = Plans::first(packed.clone());
        let split = Plan::of(&apart, &asked(ChannelMode::Split, NoSpeech::Send), false).because(Note::PackedInVain);
        let (split, from) = plans.next(split);
        assert_eq!((from, channels(&split)), (ROUND, vec![(ROUND, Some(1)), (ROUND + 1, Some(2))]));
        let plans = plans.with(split.clone());
        let frozen = [packed.frozen(), split.frozen()].concat();
        assert_eq!(Plans::thawed(&frozen), Some(Ok(plans.clone())));
        assert_eq!((plans.own.note(), plans.other.is_none()), (Some(Note::PackedInVain), true));

        let other = Plan::of(&apart, &asked(ChannelMode::Mix, NoSpeech::Send), false).tried(OtherWay::PulsePro);
        let (other, from) = plans.next(other);
        assert_eq!(
            (from, other.is_whole()),
            (2 * ROUND, false),
            "another model is no whole recording as it was asked for"
        );
        let plans = plans.with(other.clone());
        assert_eq!(Plans::thawed(&[frozen, other.frozen()].concat()), Some(Ok(plans.clone())));
        assert_eq!((&plans.own, &plans.other), (&split, &Some(other.clone())));
        let alone = Plans::thawed(&other.frozen()).unwrap().unwrap();
        assert_eq!(
            (alone.own, alone.other),
            (Plan::unplanned(), Some(other)),
            "what was bought before was not planned"
        );
    }

    #[test]
    fn long_recordings_are_sent_in_pieces() {
        let long = Hearing { length_ms: 25 * 60_000, ..heard(Layout::Mono, &[20 * 60_000]) };
        let mix = Listening { max_piece_ms: Some(600_000), ..Listening::default() };
        let plan = Plan::of(&long, &mix, false);
        let lengths: Vec<_> = plan.parts.iter().map(|(_, sent)| sent.cuts.sent_ms()).collect();
        assert_eq!((lengths, plan.is_whole()), (vec![501_334, 501_334, 501_332], false));
        assert_eq!(plan.cut_notes().collect::<Vec<_>>(), [Note::Stitched]);
        assert!(Plan::of(&long, &Listening::default(), false).is_whole());

        let night = Hearing { length_ms: 5 * 3_600_000, ..heard(Layout::Apart { bleed: vec![] }, &[4_000, 5_000]) };
        let split = asked(ChannelMode::Split, NoSpeech::Send);
        let parts = channels(&Plan::of(&night, &split, false));
        let (one, two) = (Some(1), Some(2));
        assert_eq!(parts, [(1_000, one), (1_001, one), (1_002, one), (2_000, two), (2_001, two), (2_002, two)]);
        assert!(Plan::of(&night, &Listening::default(), false).is_whole(), "the API takes a file of any length");
        assert_eq!(Plan::of(&night, &Listening::default(), true).parts.len(), 3, "what is made of it has to fit");
    }

    #[test]
    fn silence_is_cut_out_on_request() {
        let trim = Listening { trim_silence: true, ..Listening::default() };
        let plan = Plan::of(&heard(Layout::Mono, &[4_000]), &trim, false);
        let (sent, notes) = (&plan.parts[0].1, plan.cut_notes().collect::<Vec<_>>());
        assert_eq!((sent.cuts.sent_ms(), plan.frozen()[0].units, sent.length_ms), (4_500, 4_500, 10_000));
        assert_eq!(notes, [Note::Trimmed]);
        let silent = Plan::of(&heard(Layout::Silent, &[0]), &trim, false);
        assert!(silent.is_whole(), "there is nothing to keep");
        assert!(Plan::of(&heard(Layout::Mono, &[9_500]), &trim, false).is_whole());
    }
}
