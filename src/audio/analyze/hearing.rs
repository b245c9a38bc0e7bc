//! What was heard in a recording.

use std::{fmt, path::PathBuf, time::Duration};

/// How a file is read.
#[derive(Debug, Clone, Default)]
pub struct HearSettings {
    /// What a file without a header is; a file with one is read by its header all the same.
    pub raw: Option<RawFormat>,
    /// The ffmpeg to use; `None`: the one on PATH.
    pub ffmpeg: Option<PathBuf>,
    /// What ends a pass early.
    pub limits: Limits,
}

/// What ends a pass early, told by [`Break`].
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest recording, in ms.
    pub audio_ms: u64,
    /// The longest time to spend on one.
    pub wall: Duration,
    /// Milliseconds of audio that a byte of the file may decode to, once a recording is longer than ten minutes.
    pub ms_per_byte: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { audio_ms: 24 * 3_600_000, wall: Duration::from_secs(1_800), ms_per_byte: 50 }
    }
}

/// How the samples of a file without a header are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// G.711 µ-law.
    ULaw,
    /// G.711 A-law.
    ALaw,
    /// 16 bits, the lower byte first.
    S16Le,
    /// 16 bits, the higher byte first.
    S16Be,
    /// Eight bits without a sign.
    U8,
    /// G.722 at 64 kbit/s; by ffmpeg.
    G722,
}

/// What a file without a header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawFormat {
    /// How its samples are coded.
    pub encoding: Encoding,
    /// Samples a second; of G.722 always 16,000.
    pub rate: u32,
    /// Number of channels.
    pub channels: u16,
}

/// What a file really is, whatever its name says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The container: `wav`, `mp3`, `ogg`, `mp4`, `raw`, …
    pub container: String,
    /// The codec: `pcm_s16le`, `pcm_mulaw`, `mp3`, `opus`, …
    pub codec: String,
    /// Samples a second.
    pub rate: u32,
    /// Number of channels.
    pub channels: u16,
    /// Whether ffmpeg decoded it.
    pub by_ffmpeg: bool,
}

/// Why a recording was not decoded to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Break {
    /// It is damaged: what the decoder says.
    Damaged(String),
    /// It ends before its header says that it does, in ms.
    CutShort {
        /// How long its header says that it is.
        declared_ms: u64,
    },
    /// Its rate or number of channels changes.
    Changes,
    /// It is longer than [`Limits::audio_ms`].
    TooLong,
    /// It decodes to far more than its bytes can hold of anybody's voice; see [`Limits::ms_per_byte`].
    TooDense,
    /// The time for one recording is over.
    TooSlow,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(why) => write!(f, "it is damaged there ({why})"),
            Self::CutShort { declared_ms } => write!(f, "its header declares {declared_ms} ms"),
            Self::Changes => f.write_str("its rate or number of channels changes there"),
            Self::TooLong => f.write_str("it is longer than a recording may be"),
            Self::TooDense => f.write_str("it decodes to far more audio than its size can hold"),
            Self::TooSlow => f.write_str("decoding it takes too long"),
        }
    }
}

/// Something odd that does not stop the pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// It is read as the first encoding, and sounds as if it were the second one.
    LooksLike {
        /// What it is read as.
        read_as: Encoding,
        /// What it seems to be.
        seems: Encoding,
    },
    /// The size of a file without a header is no whole number of frames.
    OddSize,
    /// Some samples are no numbers; they count as silence.
    NotNumbers,
    /// So many damaged packets were passed over, with silence in their place.
    Damage(u32),
}

/// A stretch of speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    /// Its begin, in ms.
    pub from_ms: u64,
    /// Its end, in ms.
    pub to_ms: u64,
    /// Whether it is the other side's voice, leaked into this channel.
    pub echo: bool,
}

impl Segment {
    /// Its length, in ms.
    #[must_use]
    pub const fn len_ms(&self) -> u64 {
        self.to_ms.saturating_sub(self.from_ms)
    }
}

/// What a sound without speech is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ToneKind {
    /// Keys of a telephone.
    Dtmf,
    /// Ring, busy or dial tones, beeps.
    Ring,
    /// Music.
    Music,
    /// The mains.
    Hum,
}

/// A sound without speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tone {
    /// What it is.
    pub kind: ToneKind,
    /// Its begin, in ms.
    pub from_ms: u64,
    /// Its end, in ms.
    pub to_ms: u64,
}

/// What was heard in one channel.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChannelHearing {
    /// Speech, in order, echoes of the other side among it and marked.
    pub segments: Vec<Segment>,
    /// How long is spoken, without echoes, in ms.
    pub speech_ms: u64,
    /// The level of what is spoken, or of all if nothing is, in dB below full scale.
    pub level_db: f32,
    /// The greatest sample, in dB below full scale.
    pub peak_db: f32,
    /// The share of samples that are cut off.
    pub clipped_share: f32,
    /// Sounds that are no speech.
    pub tones: Vec<Tone>,
    /// The greatest sample of each half second (see [`Hearing::peak_ms`]), in steps of 3 dB: 15 is full scale, 0 silence.
    pub peaks: Vec<u8>,
}

/// One side's voice in the other side's channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bleed {
    /// The channel of the voice, from 0 on.
    pub from: usize,
    /// The channel into which it leaks.
    pub to: usize,
    /// How much later it is there, in ms.
    pub lag_ms: f32,
    /// How much louder it is there, in dB: below 0.
    pub level_db: f32,
    /// The share of the windows with that voice in which it was found.
    pub share: f32,
}

/// How the channels of a recording belong together.
#[derive(Debug, Clone, PartialEq)]
pub enum Layout {
    /// One channel.
    Mono,
    /// Two channels with the same sound.
    DualMono,
    /// Two channels of which one speaks.
    OneSided {
        /// The one that speaks, from 0 on.
        speaks: usize,
    },
    /// Two channels with a voice of their own each; at most one leak in each direction.
    Apart {
        /// Leaks.
        bleed: Vec<Bleed>,
    },
    /// Nobody speaks.
    Silent,
    /// More channels than two.
    Many(u16),
}

/// What was heard in a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Hearing {
    /// What the file is.
    pub found: Found,
    /// How much was decoded, in ms.
    pub length_ms: u64,
    /// Why it was not decoded to its end; `None` if it was.
    pub broken: Option<Break>,
    /// What is odd.
    pub notes: Vec<Note>,
    /// Each channel.
    pub channels: Vec<ChannelHearing>,
    /// How the channels belong together.
    pub layout: Layout,
    /// How long each of [`ChannelHearing::peaks`] is, in ms.
    pub peak_ms: u32,
}

impl Hearing {
    /// Whether it was decoded to its end.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.broken.is_none()
    }

    /// The channel's segments that are the other side's voice.
    #[must_use]
    pub fn echoes(&self, channel: usize) -> Vec<Segment> {
        let segments = self.channels.get(channel).map(|heard| heard.segments.as_slice()).unwrap_or_default();
        segments.iter().filter(|segment| segment.echo).copied().collect()
    }

    /// How long any channel speaks, overlaps counted once, in ms.
    #[must_use]
    pub fn speech_ms(&self) -> u64 {
        self.speech().iter().map(Segment::len_ms).sum()
    }

    /// Where any channel speaks, without echoes, in order and apart.
    #[must_use]
    pub fn speech(&self) -> Vec<Segment> {
        let own =
            |heard: &ChannelHearing| heard.segments.iter().filter(|segment| !segment.echo).copied().collect::<Vec<_>>();
        let mut all: Vec<Segment> = self.channels.iter().flat_map(own).collect();
        all.sort_unstable();
        let mut joined: Vec<Segment> = Vec::with_capacity(all.len());
        for segment in all {
            match joined.last_mut() {
                Some(last) if last.to_ms >= segment.from_ms => last.to_ms = last.to_ms.max(segment.to_ms),
                _ => joined.push(segment),
            }
        }
        joined
    }
}
