//! A hearing as bytes, to be kept: a version, and then a compressed list of numbers, at most 8 kB for an hour of audio.

use std::io::{Read, Write};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};

use super::{
    error::HearError,
    hearing::{Bleed, Break, ChannelHearing, Encoding, Found, Hearing, Layout, Note, Segment, Tone, ToneKind},
};

/// What the bytes begin with: a mark and the version.
const HEAD: &[u8; 4] = b"WBH1";
/// The most bytes for an hour, and for a recording that is shorter than a quarter of one.
const HOUR: u64 = 8_000;
const LEAST: u64 = HOUR / 4;
/// What bytes may decompress to: a day of 16 channels is less.
const MOST: u64 = 16 << 20;
/// The longest text, and the most of anything in a list.
const MAX_TEXT: u64 = 1_000;
const MAX_LIST: u64 = 4_000_000;

impl Hearing {
    /// Bytes to keep. Where they would be more than 8 kB an hour, peaks are kept for longer stretches each, and then segments
    /// with short pauses between them become one.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let budget = (HOUR * self.length_ms / 3_600_000).max(LEAST) as usize;
        let mut kept = self.clone();
        let mut bytes = packed(&kept);
        let mut pause_ms = 400;
        while bytes.len() > budget
            && kept.channels.iter().any(|heard| heard.peaks.len() + heard.segments.len() + heard.tones.len() > 3)
        {
            if kept.peak_ms < self.peak_ms.saturating_mul(8) {
                kept.peak_ms *= 2;
                let coarser =
                    |peaks: &[u8]| peaks.chunks(2).map(|two| two.iter().copied().max().unwrap_or_default()).collect();
                kept.channels.iter_mut().for_each(|heard| heard.peaks = coarser(&heard.peaks));
            } else {
                kept.channels.iter_mut().for_each(|heard| coarsen(heard, pause_ms));
                pause_ms *= 2;
                kept.peak_ms = kept.peak_ms.saturating_mul(2);
                kept.channels.iter_mut().for_each(|heard| {
                    heard.peaks = heard.peaks.chunks(2).map(|two| two[0].max(two[two.len() - 1])).collect()
                });
            }
            bytes = packed(&kept);
        }
        bytes
    }

    /// What [`Hearing::to_bytes`] kept.
    ///
    /// # Errors
    /// [`HearError::Kept`]: another version wrote it, or it is damaged. It can be made again.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HearError> {
        let packed = bytes.strip_prefix(HEAD).ok_or(HearError::Kept("another version wrote it"))?;
        let mut plain = Vec::new();
        let read = DeflateDecoder::new(packed).take(MOST).read_to_end(&mut plain);
        read.map_err(|_| HearError::Kept("it cannot be decompressed"))?;
        let mut reader = Reader { bytes: &plain };
        let hearing = reader.hearing()?;
        if reader.bytes.is_empty() { Ok(hearing) } else { Err(HearError::Kept("it goes on after its end")) }
    }
}

/// Joins segments and tones with short pauses between them.
fn coarsen(heard: &mut ChannelHearing, pause_ms: u64) {
    heard.segments.dedup_by(|later, before| {
        let is_near = later.echo == before.echo && later.from_ms <= before.to_ms.saturating_add(pause_ms);
        if is_near {
            before.to_ms = before.to_ms.max(later.to_ms);
        }
        is_near
    });
    heard.tones.dedup_by(|later, before| {
        let is_near = later.kind == before.kind && later.from_ms <= before.to_ms.saturating_add(pause_ms);
        if is_near {
            before.to_ms = before.to_ms.max(later.to_ms);
        }
        is_near
    });
}

fn packed(hearing: &Hearing) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.hearing(hearing);
    let mut encoder = DeflateEncoder::new(HEAD.to_vec(), Compression::best());
    encoder.write_all(&writer.bytes).and_then(|()| encoder.finish()).expect("a vector takes all bytes")
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Seven bits a byte, the lowest first.
    fn number(&mut self, mut number: u64) {
        while number > 0x7F {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    fn text(&mut self, text: &str) {
        let mut end = text.len().min(MAX_TEXT as usize);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.number(end as u64);
        self.bytes.extend_from_slice(&text.as_bytes()[..end]);
    }

    fn real(&mut self, real: f32) {
        self.bytes.extend(real.to_le_bytes());
    }

    fn hearing(&mut self, hearing: &Hearing) {
        let Found { container, codec, rate, channels, by_ffmpeg } = &hearing.found;
        self.text(container);
        self.text(codec);
        [u64::from(*rate), u64::from(*channels), u64::from(*by_ffmpeg)]
            .into_iter()
            .for_each(|number| self.number(number));
        self.number(hearing.length_ms);
        self.number(u64::from(hearing.peak_ms));
        self.broken(hearing.broken.as_ref());
        self.number(hearing.notes.len() as u64);
        for note in &hearing.notes {
            let numbers = match note {
                Note::LooksLike { read_as, seems } => vec![0, *read_as as u64, *seems as u64],
                Note::OddSize => vec![1],
                Note::NotNumbers => vec![2],
                Note::Damage(count) => vec![3, u64::from(*count)],
            };
            numbers.into_iter().for_each(|number| self.number(number));
        }
        self.layout(&hearing.layout);
        self.number(hearing.channels.len() as u64);
        for heard in &hearing.channels {
            self.channel(heard);
        }
    }

    fn broken(&mut self, broken: Option<&Break>) {
        match broken {
            None => self.number(0),
            Some(Break::Damaged(why)) => {
                self.number(1);
                self.text(why);
            }
            Some(Break::CutShort { declared_ms }) => {
                self.number(2);
                self.number(*declared_ms);
            }
            Some(Break::Changes) => self.number(3),
            Some(Break::TooLong) => self.number(4),
            Some(Break::TooDense) => self.number(5),
            Some(Break::TooSlow) => self.number(6),
        }
    }

    fn layout(&mut self, layout: &Layout) {
        match layout {
            Layout::Mono => self.number(0),
            Layout::DualMono => self.number(1),
            Layout::OneSided { speaks } => {
                self.number(2);
                self.number(*speaks as u64);
            }
            Layout::Apart { bleed } => {
                self.number(3);
                self.number(bleed.len() as u64);
                for leak in bleed {
                    self.number(leak.from as u64);
                    self.number(leak.to as u64);
                    [leak.lag_ms, leak.level_db, leak.share].into_iter().for_each(|real| self.real(real));
                }
            }
            Layout::Silent => self.number(4),
            Layout::Many(count) => {
                self.number(5);
                self.number(u64::from(*count));
            }
        }
    }

    fn channel(&mut self, heard: &ChannelHearing) {
        self.number(heard.speech_ms);
        [heard.level_db, heard.peak_db, heard.clipped_share].into_iter().for_each(|real| self.real(real));
        // Times as differences, in pieces that are alike: they compress better.
        self.number(heard.segments.len() as u64);
        let mut at = 0;
        for segment in &heard.segments {
            self.number(segment.from_ms.saturating_sub(at) << 1 | u64::from(segment.echo));
            self.number(segment.len_ms());
            at = segment.to_ms;
        }
        self.number(heard.tones.len() as u64);
        let mut at = 0;
        for tone in &heard.tones {
            // Of different kinds they may overlap.
            self.number(tone.from_ms.saturating_sub(at) << 2 | tone.kind as u64);
            self.number(tone.to_ms.saturating_sub(tone.from_ms));
            at = tone.from_ms;
        }
        self.number(heard.peaks.len() as u64);
        self.bytes.extend(heard.peaks.chunks(2).map(|two| two[0] << 4 | two.get(1).copied().unwrap_or_default()));
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
}

const SHORT: HearError = HearError::Kept("it is cut short");
const WRONG: HearError = HearError::Kept("it has unknown values");

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], HearError> {
        let (now, rest) = self.bytes.split_at_checked(len).ok_or(SHORT)?;
        self.bytes = rest;
        Ok(now)
    }

    fn number(&mut self) -> Result<u64, HearError> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(WRONG)
    }

    fn up_to(&mut self, most: u64) -> Result<usize, HearError> {
        self.number().and_then(|number| if number <= most { Ok(number as usize) } else { Err(WRONG) })
    }

    fn text(&mut self) -> Result<String, HearError> {
        let len = self.up_to(MAX_TEXT)?;
        String::from_utf8(self.take(len)?.to_vec()).map_err(|_| WRONG)
    }

    fn real(&mut self) -> Result<f32, HearError> {
        self.take(4)?.try_into().map(f32::from_le_bytes).map_err(|_| SHORT)
    }

    fn list<T>(&mut self, mut each: impl FnMut(&mut Self) -> Result<T, HearError>) -> Result<Vec<T>, HearError> {
        let count = self.up_to(MAX_LIST)?;
        (0..count).map(|_| each(self)).collect()
    }

    fn hearing(&mut self) -> Result<Hearing, HearError> {
        let found = Found {
            container: self.text()?,
            codec: self.text()?,
            rate: self.up_to(u64::from(u32::MAX))? as u32,
            channels: self.up_to(u64::from(u16::MAX))? as u16,
            by_ffmpeg: self.up_to(1)? == 1,
        };
        let length_ms = self.number()?;
        let peak_ms = self.up_to(u64::from(u32::MAX))? as u32;
        let broken = self.broken()?;
        let notes = self.list(Self::note)?;
        let layout = self.layout()?;
        let channels = self.list(Self::channel)?;
        Ok(Hearing { found, length_ms, broken, notes, channels, layout, peak_ms })
    }

    fn broken(&mut self) -> Result<Option<Break>, HearError> {
        Ok(Some(match self.number()? {
            0 => return Ok(None),
            1 => Break::Damaged(self.text()?),
            2 => Break::CutShort { declared_ms: self.number()? },
            3 => Break::Changes,
            4 => Break::TooLong,
            5 => Break::TooDense,
            6 => Break::TooSlow,
            _ => return Err(WRONG),
        }))
    }

    fn encoding(&mut self) -> Result<Encoding, HearError> {
        use Encoding::{ALaw, G722, S16Be, S16Le, U8, ULaw};
        let all = [ULaw, ALaw, S16Le, S16Be, U8, G722];
        let number = self.number()?;
        all.into_iter().find(|encoding| *encoding as u64 == number).ok_or(WRONG)
    }

    fn note(&mut self) -> Result<Note, HearError> {
        Ok(match self.number()? {
            0 => Note::LooksLike { read_as: self.encoding()?, seems: self.encoding()? },
            1 => Note::OddSize,
            2 => Note::NotNumbers,
            3 => Note::Damage(self.up_to(u64::from(u32::MAX))? as u32),
            _ => return Err(WRONG),
        })
    }

    fn layout(&mut self) -> Result<Layout, HearError> {
        Ok(match self.number()? {
            0 => Layout::Mono,
            1 => Layout::DualMono,
            2 => Layout::OneSided { speaks: self.up_to(1)? },
            3 => Layout::Apart {
                bleed: self.list(|reader| {
                    let (from, to) = (reader.up_to(1)?, reader.up_to(1)?);
                    Ok(Bleed { from, to, lag_ms: reader.real()?, level_db: reader.real()?, share: reader.real()? })
                })?,
            },
            4 => Layout::Silent,
            5 => Layout::Many(self.up_to(u64::from(u16::MAX))? as u16),
            _ => return Err(WRONG),
        })
    }

    fn channel(&mut self) -> Result<ChannelHearing, HearError> {
        let speech_ms = self.number()?;
        let (level_db, peak_db, clipped_share) = (self.real()?, self.real()?, self.real()?);
        let mut at = 0u64;
        let segments = self.list(|reader| {
            let (begin, len) = (reader.number()?, reader.number()?);
            let from_ms = at.checked_add(begin >> 1).ok_or(WRONG)?;
            at = from_ms.checked_add(len).ok_or(WRONG)?;
            Ok(Segment { from_ms, to_ms: at, echo: begin & 1 == 1 })
        })?;
        let mut at = 0u64;
        let tones = self.list(|reader| {
            let (begin, len) = (reader.number()?, reader.number()?);
            let kind = [ToneKind::Dtmf, ToneKind::Ring, ToneKind::Music, ToneKind::Hum][(begin & 3) as usize];
            at = at.checked_add(begin >> 2).ok_or(WRONG)?;
            Ok(Tone { kind, from_ms: at, to_ms: at.checked_add(len).ok_or(WRONG)? })
        })?;
        let count = self.up_to(MAX_LIST)?;
        let halves = self.take(count.div_ceil(2))?;
        let peaks = halves.iter().flat_map(|two| [two >> 4, two & 15]).take(count).collect();
        Ok(ChannelHearing { segments, speech_ms, level_db, peak_db, clipped_share, tones, peaks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::fixtures::Random;

    /// An hour of a lively talk.
    fn hour(turn_ms: u64) -> Hearing {
        let mut random = Random::new(5);
        let channel = |random: &mut Random| {
            let mut at = 0;
            let mut segments = Vec::new();
            while at < 3_590_000 {
                let from_ms = at + 300 + random.below(turn_ms);
                let to_ms = from_ms + 400 + random.below(turn_ms);
                segments.push(Segment { from_ms, to_ms, echo: random.below(9) == 0 });
                at = to_ms;
            }
            ChannelHearing {
                speech_ms: 1_800_000,
                level_db: -23.4,
                peaks: (0..7_200).map(|_| random.below(16) as u8).collect(),
                tones: vec![
                    Tone { kind: ToneKind::Music, from_ms: 5_000, to_ms: 50_000 },
                    Tone { kind: ToneKind::Ring, from_ms: 6_000, to_ms: 7_000 },
                ],
                segments,
                ..ChannelHearing::default()
            }
        };
        Hearing {
            found: Found {
                container: "wav".into(),
                codec: "pcm_mulaw".into(),
                rate: 8_000,
                channels: 2,
                by_ffmpeg: false,
            },
            length_ms: 3_600_000,
            broken: Some(Break::Damaged("ü".repeat(700))),
            notes: vec![
                Note::LooksLike { read_as: Encoding::ULaw, seems: Encoding::ALaw },
                Note::OddSize,
                Note::NotNumbers,
                Note::Damage(7),
            ],
            channels: vec![channel(&mut random), channel(&mut random)],
            layout: Layout::Apart { bleed: vec![Bleed { from: 1, to: 0, lag_ms: 20.5, level_db: -9.0, share: 0.4 }] },
            peak_ms: 500,
        }
    }

    #[test]
    fn it_comes_back() {
        let mut hearing = hour(12_000);
        hearing.broken = Some(Break::Damaged("why".into()));
        hearing.channels.iter_mut().for_each(|heard| heard.peaks = vec![3; 99]);
        assert_eq!(Hearing::from_bytes(&hearing.to_bytes()).unwrap(), hearing);
    }

    #[test]
    fn an_hour_is_eight_kilobytes_at_most() {
        for turn_ms in [300, 2_000, 12_000] {
            let hearing = hour(turn_ms);
            let bytes = hearing.to_bytes();
            assert!(bytes.len() <= 8_000, "{turn_ms}: {}", bytes.len());
            let kept = Hearing::from_bytes(&bytes).unwrap();
            assert_eq!((kept.length_ms, kept.layout), (hearing.length_ms, hearing.layout));
        }
    }

    #[test]
    fn damaged_bytes_are_refused_without_harm() {
        let bytes = hour(12_000).to_bytes();
        let mut random = Random::new(9);
        for _ in 0..500 {
            let mut damaged = bytes.clone();
            let at = random.below(damaged.len() as u64) as usize;
            damaged[at] ^= 1 << random.below(8);
            damaged.truncate(damaged.len() - random.below(20) as usize);
            let _ = Hearing::from_bytes(&damaged);
        }
        assert!(Hearing::from_bytes(b"").is_err() && Hearing::from_bytes(b"WBH1").is_err());
        assert!(Hearing::from_bytes(b"WBH2\x03\0").is_err());
    }
}
