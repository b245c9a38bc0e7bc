//! MPEG audio of layers I to III and ADTS, with and without a header of the whole file (Xing, Info, VBRI).

use std::io::{Read, Seek};

use super::{
    Found,
    frames::{Codec, Frame, Walked, first, walk},
    ms, tags,
    window::Window,
};
use crate::domain::length::Length;

/// Bytes by which the header's count may differ from the file's: some writers do not count its own frame. Beyond that, the frames
/// are counted.
const SLACK: u64 = 512;

const MPEG: Codec =
    Codec { header: 10, read: |head| Header::parse(head).and_then(|header| header.frame()), has_sync: true };
const ADTS: Codec = Codec { header: 10, read: adts_frame, has_sync: true };

/// The header of a frame of MPEG audio.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    bytes: [u8; 4],
}

impl Header {
    /// The header at the start of `bytes`; `None` if a value is impossible, so that samples do not match by chance.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let header = Self { bytes: bytes.get(..4)?.try_into().ok()? };
        let [first, b, c, d] = header.bytes;
        let sync = first == 0xFF && b & 0xE0 == 0xE0;
        let valid = header.version() != 1 && header.layer() != 0 && !matches!(c >> 4, 0 | 15) && c >> 2 & 3 != 3;
        (sync && valid && d & 3 != 2).then_some(header)
    }

    /// 3 is MPEG-1, 2 is MPEG-2, 0 is MPEG-2.5.
    const fn version(self) -> u8 {
        self.bytes[1] >> 3 & 3
    }

    /// 3 is layer I, 2 is II, 1 is III.
    const fn layer(self) -> u8 {
        self.bytes[1] >> 1 & 3
    }

    fn rate(self) -> u32 {
        let rate = [44_100, 48_000, 32_000][usize::from(self.bytes[2] >> 2 & 3)];
        rate >> match self.version() {
            3 => 0,
            2 => 1,
            _ => 2,
        }
    }

    pub(super) const fn channels(self) -> u16 {
        if self.bytes[3] >> 6 == 3 { 1 } else { 2 }
    }

    fn kbits(self) -> u32 {
        const LAYER_1: [u32; 15] = [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
        const LAYER_2: [u32; 15] = [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
        const LAYER_3: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
        const HALF_1: [u32; 15] = [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
        const HALF_2: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
        let table = match (self.version(), self.layer()) {
            (3, 3) => LAYER_1,
            (3, 2) => LAYER_2,
            (3, _) => LAYER_3,
            (_, 3) => HALF_1,
            _ => HALF_2,
        };
        table[usize::from(self.bytes[2] >> 4)]
    }

    fn frame(self) -> Option<Frame> {
        let samples: u32 = match (self.layer(), self.version()) {
            (3, _) => 384,
            (1, 0 | 2) => 576,
            _ => 1152,
        };
        let slot = if self.layer() == 3 { 4 } else { 1 };
        let padding = u32::from(self.bytes[2] >> 1 & 1);
        let len = (samples / 8 / slot * self.kbits() * 1_000 / self.rate() + padding) * slot;
        let stream = u32::from(self.bytes[1] & 0x1E) << 8 | u32::from(self.bytes[2] & 0x0C);
        (len > 4).then_some(Frame { len: len.into(), samples: samples.into(), rate: self.rate(), stream })
    }

    /// Where the header of the whole file would be in its first frame.
    const fn xing_at(self) -> u64 {
        match (self.version(), self.channels()) {
            (3, 1) | (0 | 2, 2) => 21,
            (3, _) => 36,
            _ => 13,
        }
    }
}

/// Whether these bytes are the header of an ADTS frame.
pub(super) fn is_adts(head: &[u8]) -> bool {
    adts_frame(head).is_some()
}

fn adts_frame(head: &[u8]) -> Option<Frame> {
    const RATES: [u32; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
    let [0xFF, b, c, d, e, f, g, ..] = *head else { return None };
    if b & 0xF6 != 0xF0 {
        return None;
    }
    let rate = *RATES.get(usize::from(c >> 2 & 15))?;
    let len = u64::from(d & 3) << 11 | u64::from(e) << 3 | u64::from(f) >> 5;
    let stream = u32::from(b) << 16 | u32::from(c & 0xFD) << 8 | u32::from(d & 0xC0);
    (len >= 7).then_some(Frame { len, samples: 1024 * (u64::from(g & 3) + 1), rate, stream })
}

/// The header of a whole file, in its first frame.
#[derive(Debug, Clone, Copy)]
struct Whole {
    /// Frames of audio after it, if they are counted.
    frames: Option<u64>,
    /// Bytes from the first frame to the last.
    bytes: Option<u64>,
    /// Samples that a decoder adds before and after the audio.
    added: u64,
    /// The length of its own frame.
    len: u64,
}

/// Reads MPEG audio.
pub(super) fn read_mpeg<R: Read + Seek>(window: &mut Window<'_, R>) -> Found {
    read(window, &MPEG).unwrap_or_default()
}

/// Reads ADTS (AAC without a container).
pub(super) fn read_adts<R: Read + Seek>(window: &mut Window<'_, R>) -> Found {
    let end = tags::start_of_trailing(window).unwrap_or(window.len());
    let Some(walked) = walk(window, &ADTS, (0, end)) else { return Found::default() };
    Found::of(walked.length(0, end))
}

fn read<R: Read + Seek>(window: &mut Window<'_, R>, codec: &Codec) -> Option<Found> {
    let end = tags::start_of_trailing(window).unwrap_or(window.len());
    let first = first(window, codec, (0, end))?;
    let header = Header::parse(window.up_to(first, 4)?)?;
    let frame = header.frame()?;
    let found = |length, header_differs| Found { length, channels: Some(header.channels()), header_differs };
    let Some(whole) = whole(window, header, (first, frame)) else {
        let walked = walk(window, codec, (first, end))?;
        return Some(found(walked.length(first, end), false));
    };
    let samples = whole.frames.map(|frames| (frames * frame.samples).saturating_sub(whole.added));
    let declared = samples.map(|samples| ms(samples, frame.rate));
    if let Some(declared) = declared
        && whole.bytes.is_some_and(|bytes| (end - first).abs_diff(bytes) <= SLACK)
    {
        return Some(found(Length::Exact(declared), false));
    }
    // The file has another size than its header says, or the header says none: the frames decide.
    let Some(walked) = walk(window, codec, (first + whole.len, end)) else {
        return Some(found(declared.map_or(Length::Unknown, Length::Estimated), false));
    };
    let channels = Some(header.channels());
    Some(Found { channels, ..judged(&walked, whole, (declared, first + whole.len, end)) })
}

/// What the frames say of a file whose header of the whole does not fit its size.
fn judged(walked: &Walked, whole: Whole, (declared, start, end): (Option<u64>, u64, u64)) -> Found {
    let Some((declared, frames)) = declared.zip(whole.frames) else { return Found::of(walked.length(start, end)) };
    if !walked.whole {
        let trusted = whole.bytes.is_none();
        return Found::of(if trusted { Length::Estimated(declared) } else { walked.length(start, end) });
    }
    // Some writers count the header's own frame.
    if walked.frames.abs_diff(frames) <= 1 {
        return Found::of(Length::Exact(declared));
    }
    Found { length: Length::Estimated(walked.seen_ms()), channels: None, header_differs: true }
}

/// The header of the whole file in the frame at `first`, if there is one.
fn whole<R: Read + Seek>(window: &mut Window<'_, R>, header: Header, (first, frame): (u64, Frame)) -> Option<Whole> {
    // A checksum shifts the header for some writers.
    for at in [header.xing_at(), header.xing_at() + 2].map(|at| first + at) {
        let id: [u8; 4] = window.bytes(at)?;
        if matches!(&id, b"Xing" | b"Info") {
            return xing(window, at, frame.len);
        }
    }
    if window.has(first + 36, b"VBRI") {
        let bytes = window.u32_be(first + 36 + 10).map(u64::from);
        let frames = window.u32_be(first + 36 + 14).filter(|n| *n > 0).map(u64::from);
        return Some(Whole { frames, bytes, added: 0, len: frame.len });
    }
    None
}

fn xing<R: Read + Seek>(window: &mut Window<'_, R>, at: u64, len: u64) -> Option<Whole> {
    let flags = window.u32_be(at + 4)?;
    let mut next = at + 8;
    let mut field = |bit: u32, size: u64| {
        let at = next;
        next += if flags & bit == 0 { 0 } else { size };
        (flags & bit != 0).then_some(at)
    };
    let (frames_at, bytes_at) = (field(1, 4), field(2, 4));
    let (_, _) = (field(4, 100), field(8, 4));
    let frames = frames_at.and_then(|at| window.u32_be(at)).filter(|n| *n > 0).map(u64::from);
    let bytes = bytes_at.and_then(|at| window.u32_be(at)).filter(|bytes| *bytes > 0).map(u64::from);
    let encoder: Option<[u8; 24]> = window.bytes(next);
    let delays =
        |e: [u8; 24]| (u64::from(e[21]) << 4 | u64::from(e[22]) >> 4) + (u64::from(e[22] & 15) << 8 | u64::from(e[23]));
    let named = |e: &[u8; 24]| e.starts_with(b"LAME") || e.starts_with(b"Lavc") || e.starts_with(b"Lavf");
    Some(Whole { frames, bytes, added: encoder.filter(named).map_or(0, delays), len })
}
