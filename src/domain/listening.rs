//! What is listened for in a recording before it is bought, and how its channels are transcribed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{listed::listed, options::SttModel, transcript::AlarmLimits};

listed! {
    /// How the channels of a recording are transcribed.
    ChannelMode, "way with channels" {
        /// All channels together, in one call.
        Mix = "mix",
        /// Each channel with a call of its own.
        Split = "split",
        /// The speech of all channels one after the other, in one call. Experimental.
        Packed = "packed",
        /// Split where the channels differ, else mix.
        Auto = "auto",
    }
}

listed! {
    /// Another way in which a line is tried whose answer cannot be right.
    OtherWay, "other way" {
        /// Each channel with a call of its own.
        Split = "split",
        /// The model Pulse.
        Pulse = "pulse",
        /// The model Pulse Pro.
        PulsePro = "pulse-pro",
    }
}

impl OtherWay {
    /// The model that it asks for, if it asks for one.
    #[must_use]
    pub const fn model(self) -> Option<SttModel> {
        match self {
            Self::Split => None,
            Self::Pulse => Some(SttModel::Pulse),
            Self::PulsePro => Some(SttModel::PulsePro),
        }
    }
}

listed! {
    /// What happens to a recording in which nobody speaks.
    NoSpeech, "way with silence" {
        /// It is sent like any other.
        Send = "send",
        /// It is not sent, and its outputs are empty.
        Skip = "skip",
    }
}

listed! {
    /// Whether recordings are listened to locally before they are sent.
    Analyze, "way to analyze" {
        /// Where another option needs it.
        Auto = "auto",
        /// Every recording.
        Always = "always",
        /// No recording.
        Never = "never",
    }
}

listed! {
    /// What a recording is converted to before it is sent.
    Prepare, "way to prepare" {
        /// Nothing where the API takes the file as it is, else what it takes.
        Auto = "auto",
        /// Nothing: the file is sent as it is.
        Never = "never",
        /// 16 kHz mono.
        Mono16k = "mono16k",
        /// FLAC.
        Flac = "flac",
    }
}

impl Prepare {
    /// Whether every recording is converted.
    #[must_use]
    pub const fn is_a_conversion(self) -> bool {
        matches!(self, Self::Mono16k | Self::Flac)
    }
}

/// The most channels that can have roles.
pub const CHANNELS_MOST: u16 = 16;

/// The names of the speakers, by channel, counted from 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roles(pub BTreeMap<u16, String>);

impl Roles {
    /// Whether no channel has a role.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These roles, and those of `others` for the channels that have none here.
    #[must_use]
    pub fn or(mut self, others: &Self) -> Self {
        for (channel, role) in &others.0 {
            self.0.entry(*channel).or_insert_with(|| role.clone());
        }
        self
    }

    /// The channel whose role a column of this name has: `channel_1`, in any case.
    #[must_use]
    pub fn channel_of_column(name: &str) -> Option<u16> {
        let number = name.trim().to_ascii_lowercase().strip_prefix("channel_")?.parse().ok()?;
        (1..=CHANNELS_MOST).contains(&number).then_some(number)
    }

    /// The name of this channel, counted from 1: its role, else `channel 1`. Never empty.
    #[must_use]
    pub fn name(&self, channel: u16) -> String {
        match self.0.get(&channel).map(|role| role.trim()) {
            None | Some("") => format!("channel {channel}"),
            Some(role) => role.to_owned(),
        }
    }
}

listed! {
    /// How the samples of a file without a header are written.
    RawEncoding, "raw encoding" {
        /// G.711 µ-law.
        Ulaw = "ulaw",
        /// G.711 A-law.
        Alaw = "alaw",
        /// 16-bit PCM, the low byte first.
        S16le = "s16le",
        /// 16-bit PCM, the high byte first.
        S16be = "s16be",
        /// G.722 at 64 kbit/s, decoded by ffmpeg: one channel, 16,000 samples a second.
        G722 = "g722",
    }
}

/// What a file without a header is: recorders of telephone calls write such files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawAudio {
    /// How its samples are written.
    pub encoding: RawEncoding,
    /// Samples a second of each channel.
    pub rate: u32,
    /// Its channels, interleaved.
    pub channels: u16,
}

/// What is listened for in a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listening {
    /// How its channels are transcribed.
    pub channels: ChannelMode,
    /// Who speaks on which channel.
    pub roles: Roles,
    /// What happens if nobody speaks.
    pub no_speech: NoSpeech,
    /// Whether it is listened to locally.
    pub analyze: Analyze,
    /// What it is converted to.
    pub prepare: Prepare,
    /// Whether its silences of over two seconds are cut out before it is sent.
    #[serde(skip_serializing_if = "is_false")]
    pub trim_silence: bool,
    /// The most that one call sends of it, in ms; `None`: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_piece_ms: Option<u64>,
    /// What a file without a header is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<RawAudio>,
    /// From when on an answer does not fit what was heard.
    #[serde(skip_serializing_if = "AlarmLimits::is_default")]
    pub alarms: AlarmLimits,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Default for Listening {
    fn default() -> Self {
        Self {
            channels: ChannelMode::Mix,
            roles: Roles::default(),
            no_speech: NoSpeech::Send,
            analyze: Analyze::Auto,
            prepare: Prepare::Auto,
            trim_silence: false,
            max_piece_ms: None,
            raw: None,
            alarms: AlarmLimits::default(),
        }
    }
}

impl Listening {
    /// Whether a recording must be heard before it can be sent.
    #[must_use]
    pub fn needs_hearing(&self) -> bool {
        // A file without a header that is described wrongly gives noise: whether it is speech has to be heard.
        let is_needed = self.channels != ChannelMode::Mix
            || self.no_speech == NoSpeech::Skip
            || self.trim_silence
            || self.max_piece_ms.is_some()
            || self.raw.is_some();
        self.analyze == Analyze::Always || (self.analyze == Analyze::Auto && is_needed)
    }

    /// Whether a recording that cannot be heard cannot be sent as it is asked for.
    #[must_use]
    pub fn must_be_heard(&self) -> bool {
        matches!(self.channels, ChannelMode::Split | ChannelMode::Packed) || self.max_piece_ms.is_some()
    }

    /// Whether nothing was asked for.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_channel_without_a_role_has_its_number() {
        let roles = Roles(BTreeMap::from([(1, " agent ".into()), (2, " ".into())]));
        assert_eq!([1, 2, 3].map(|channel| roles.name(channel)), ["agent", "channel 2", "channel 3"]);
        let line = Roles(BTreeMap::from([(2, "caller".into())]))
            .or(&Roles(BTreeMap::from([(1, "agent".into()), (2, "customer".into())])));
        assert_eq!([1, 2].map(|channel| line.name(channel)), ["agent", "caller"]);
        let columns = ["channel_1", "Channel_2", "channel_0", "channel_17", "channel", "channel_one", "channels"];
        let of = columns.map(Roles::channel_of_column);
        assert_eq!(of, [Some(1), Some(2), None, None, None, None, None]);
    }

    #[test]
    fn what_is_asked_for_comes_back_and_the_rest_is_default() {
        let asked: Listening =
            serde_json::from_value(json!({ "channels": "split", "roles": { "1": "agent" } })).unwrap();
        assert_eq!((asked.channels, asked.roles.name(1)), (ChannelMode::Split, "agent".into()));
        assert_eq!((asked.no_speech, asked.prepare), (NoSpeech::Send, Prepare::Auto));
        let stored = serde_json::to_string(&asked).unwrap();
        assert_eq!(serde_json::from_str::<Listening>(&stored).unwrap(), asked);
        assert!(!asked.is_default());
        assert!(serde_json::from_str::<Listening>("{}").unwrap().is_default());
        assert!(serde_json::from_str::<Listening>(r#"{"channels":"stacked"}"#).is_err());
    }
}
