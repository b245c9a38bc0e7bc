//! Containers of samples, or of blocks that are all of one size: WAV, W64, AIFF, AU, CAF. The length follows from the bytes.

use std::io::{Read, Seek};

use super::{Found, mpeg, window::Window};
use crate::{
    audio::wav::{self, Extent, Wav},
    domain::length::{Length, from_seconds},
};

/// More chunks than any real file has.
const MAX_CHUNKS: usize = 4096;
/// MPEG audio in a WAV file, layers I and II, and III.
const MPEG: [u16; 2] = [0x50, 0x55];

/// Samples in bytes: so many samples of one channel in a block of so many bytes.
#[derive(Debug, Clone, Copy)]
struct Blocks {
    bytes: u64,
    samples: u64,
    rate: f64,
}

impl Blocks {
    /// The length of this many bytes, in ms; `None` if a value is missing.
    fn ms(&self, bytes: u64) -> Option<u64> {
        let samples = u128::from(bytes) * u128::from(self.samples) / u128::from(self.bytes.max(1));
        #[expect(clippy::cast_precision_loss, reason = "a length to the millisecond")]
        from_seconds(samples as f64 / self.rate).filter(|_| self.bytes > 0 && self.rate > 0.0)
    }

    /// Bytes that change the length by less than anybody minds.
    fn slack(&self) -> u64 {
        self.bytes.max(1) * 64
    }

    /// The length of the samples from `from` on, of which `declared` bytes are declared, in a file of `len` bytes. `None` is an
    /// open size. `chunks_fill` says whether what follows them up to the end of the file is what may follow.
    fn length(
        &self,
        (from, declared): (u64, Option<u64>),
        len: u64,
        chunks_fill: impl FnOnce(u64) -> Option<bool>,
    ) -> Found {
        let left = len.saturating_sub(from);
        let (bytes, proven, header_differs) = match declared {
            None => (left, true, false),
            Some(declared) if declared > left.saturating_add(self.slack()) => (left, false, true),
            Some(declared) if declared.saturating_add(self.slack()) >= left => (declared.min(left), true, false),
            Some(declared) => match chunks_fill(from + declared) {
                Some(true) => (declared, true, false),
                Some(false) => (left, false, true),
                None => (declared, false, false),
            },
        };
        let length = self.ms(bytes).map_or(Length::Unknown, |ms| Length::of(ms, proven));
        Found { length, channels: None, header_differs }
    }
}

/// Whether chunks fill the file from `at` on; `next` says where the chunk at a place ends. `None` if that cannot be read.
fn chunks_fill<R: Read + Seek>(
    window: &mut Window<'_, R>,
    mut at: u64,
    next: impl Fn(&[u8; 24]) -> Option<u64>,
) -> Option<bool> {
    for _ in 0..MAX_CHUNKS {
        // Fewer bytes than a header has are padding.
        if at.checked_add(8).is_none_or(|least| least > window.len()) {
            return Some(at <= window.len() + 8);
        }
        let bytes = window.up_to(at, 24)?;
        let mut head = [0; 24];
        head[..bytes.len()].copy_from_slice(bytes);
        let is_name = head[..4].iter().all(|byte| matches!(byte, b' '..=b'~'));
        let Some(len) = next(&head).filter(|len| is_name && *len >= 8) else { return Some(false) };
        at = at.saturating_add(len);
    }
    Some(false)
}

/// Reads a WAV, RF64 or BW64 file, and says whether its samples are of a kind that every decoder takes; `None` if it has no
/// header that can be read.
pub(super) fn read_wav<R: Read + Seek>(reader: &mut R) -> Option<(Found, bool)> {
    let wav = wav::read(reader).ok()?;
    let header_differs = matches!(wav.extent, Extent::Exceeded | Extent::Cut);
    let channels = (wav.channels > 0).then_some(wav.channels);
    let length = if MPEG.contains(&wav.format_tag) { mpeg_length(reader, &wav) } else { wav.length() };
    let is_plain = matches!(wav.format_tag, wav::PCM | wav::FLOAT | wav::ALAW | wav::MULAW);
    Some((Found { length, channels, header_differs }, is_plain))
}

/// The length of MPEG audio in a WAV file: what the header says of it is an average.
fn mpeg_length<R: Read + Seek>(reader: &mut R, wav: &Wav) -> Length {
    let Ok(window) = Window::new(reader, super::BUDGET) else { return wav.length().unproven() };
    let mut window = window.part(wav.data_offset, wav.data_offset + wav.data_len);
    match mpeg::read_mpeg(&mut window).length {
        Length::Unknown => wav.length().unproven(),
        known if matches!(wav.extent, Extent::Agrees | Extent::Open) => known,
        known => known.unproven(),
    }
}

/// Sizes of 64 bits from here on are what writers to a pipe leave.
const LEAST_OPEN: u64 = 1 << 62;

/// Reads a Wave64 file: chunks are named by 16 bytes, and their sizes have 64 bits and count their own header.
pub(super) fn read_w64<R: Read + Seek>(window: &mut Window<'_, R>) -> Found {
    const HEADER: u64 = 24;
    let mut wav = Wav { file_len: window.len(), ..Wav::default() };
    let mut at = 40;
    for _ in 0..MAX_CHUNKS {
        let (Some(name), Some(size)) = (window.bytes::<4>(at), window.u64_le(at + 16)) else { break };
        let body = at + HEADER;
        match &name {
            b"fmt " => {
                let Some(format) = window.up_to(body, 40) else { break };
                if wav.set_format(format).is_err() {
                    break;
                }
            }
            b"data" => {
                wav.data_offset = body;
                return w64_data(window, wav, size.checked_sub(HEADER));
            }
            _ => {}
        }
        let Some(next) =
            size.checked_next_multiple_of(8).filter(|size| *size > 0).and_then(|size| at.checked_add(size))
        else {
            break;
        };
        at = next;
    }
    Found::default()
}

/// The length of the samples of a Wave64 file: as declared, if that is a size and fits the file.
fn w64_data<R: Read + Seek>(window: &mut Window<'_, R>, mut wav: Wav, declared: Option<u64>) -> Found {
    let left = window.len().saturating_sub(wav.data_offset);
    let declared = declared.filter(|declared| *declared <= LEAST_OPEN);
    let size = |head: &[u8; 24]| {
        let size = u64::from_le_bytes(head[16..].try_into().ok()?);
        size.checked_next_multiple_of(8)
    };
    let mut fill = |declared: u64| chunks_fill(window, (wav.data_offset + declared).next_multiple_of(8), size);
    (wav.extent, wav.data_len) = match declared {
        None => (Extent::Open, left),
        Some(declared) if declared > left => (Extent::Cut, left),
        Some(declared) => match fill(declared) {
            Some(true) => (Extent::Agrees, declared),
            Some(false) => (Extent::Exceeded, left),
            None => (Extent::Unseen, declared),
        },
    };
    let header_differs = matches!(wav.extent, Extent::Exceeded | Extent::Cut);
    Found { length: wav.length(), channels: (wav.channels > 0).then_some(wav.channels), header_differs }
}

/// Reads AIFF and AIFF-C.
pub(super) fn read_aiff<R: Read + Seek>(window: &mut Window<'_, R>) -> Found {
    let (mut at, mut common, mut data) = (12, None, None);
    for _ in 0..MAX_CHUNKS {
        let (Some(name), Some(size)) = (window.bytes::<4>(at), window.u32_be(at + 4)) else { break };
        match &name {
            b"COMM" => common = Common::read(window, at + 8, size),
            b"SSND" => data = window.u32_be(at + 8).map(|offset| (at + 16 + u64::from(offset), offset, size)),
            _ => {}
        }
        if common.is_some() && data.is_some() {
            break;
        }
        at += 8 + u64::from(size) + u64::from(size % 2);
    }
    let Some(common) = common else { return Found::default() };
    let found = match (data, common.blocks) {
        (Some((from, offset, size)), Some(blocks)) => {
            let size = u64::from(size);
            let open = size == 0 || size == u64::from(u32::MAX);
            let declared = (!open).then(|| size.saturating_sub(8 + u64::from(offset)));
            let size = |head: &[u8; 24]| {
                let size = u64::from(u32::from_be_bytes([head[4], head[5], head[6], head[7]]));
                Some(8 + size + size % 2)
            };
            let len = window.len();
            let found = blocks.length((from, declared), len, |end| chunks_fill(window, end + end % 2, size));
            common.judged(found, &blocks)
        }
        // The frames of an unknown codec are what they are said to be.
        _ => Found::of(common.declared_ms().map_or(Length::Unknown, Length::Estimated)),
    };
    Found { channels: Some(common.channels).filter(|n| *n > 0), ..found }
}

/// The common chunk of AIFF.
#[derive(Debug)]
struct Common {
    channels: u16,
    /// Frames of samples, or blocks of them, as declared.
    frames: u32,
    rate: f64,
    /// `None` for a codec that is not known.
    blocks: Option<Blocks>,
}

impl Common {
    fn read<R: Read + Seek>(window: &mut Window<'_, R>, at: u64, size: u32) -> Option<Self> {
        let body: [u8; 18] = window.bytes(at)?;
        let channels = u16::from_be_bytes([body[0], body[1]]);
        let frames = u32::from_be_bytes([body[2], body[3], body[4], body[5]]);
        let bits = u64::from(u16::from_be_bytes([body[6], body[7]]));
        let rate = extended(body[8..18].try_into().ok()?);
        let codec = if size >= 22 { window.bytes(at + 18)? } else { *b"NONE" };
        let all = u64::from(channels);
        let (bytes, samples) = match &codec.map(|byte| byte.to_ascii_lowercase()) {
            b"none" | b"twos" | b"sowt" | b"raw " | b"in24" | b"in32" | b"fl32" | b"fl64" | b"42ni" | b"23ni" => {
                (bits.div_ceil(8) * all, 1)
            }
            b"ulaw" | b"alaw" => (all, 1),
            b"ima4" => (34 * all, 64),
            b"gsm " | b"agsm" => (33, 160),
            _ => (0, 0),
        };
        let blocks = (bytes > 0 && rate > 0.0).then_some(Blocks { bytes, samples, rate });
        Some(Self { channels, frames, rate, blocks })
    }

    fn declared_ms(&self) -> Option<u64> {
        from_seconds(f64::from(self.frames) / self.rate).filter(|ms| *ms > 0)
    }

    /// What the bytes say, held against the number of frames.
    fn judged(&self, found: Found, blocks: &Blocks) -> Found {
        let by_frames = blocks.ms(u64::from(self.frames).saturating_mul(blocks.bytes));
        // Some writers count samples also where the blocks have several.
        let near = |other: Option<u64>| {
            other.zip(found.length.ms()).is_some_and(|(declared, ms)| declared.abs_diff(ms) <= 250)
        };
        let is_open = matches!(self.frames, 0 | u32::MAX);
        match near(by_frames) || near(self.declared_ms()) || is_open {
            true => found,
            false => Found { length: found.length.unproven(), header_differs: true, ..found },
        }
    }
}

/// An 80-bit floating point number.
#[expect(clippy::cast_precision_loss, reason = "a rate of samples")]
fn extended(bytes: [u8; 10]) -> f64 {
    let exponent = i32::from(u16::from_be_bytes([bytes[0] & 0x7F, bytes[1]])) - 16_383 - 63;
    let fraction = bytes[2..].iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    let number = fraction as f64 * f64::from(exponent).exp2();
    if number.is_finite() { number } else { 0.0 }
}

/// Reads AU.
pub(super) fn read_au<R: Read + Seek>(window: &mut Window<'_, R>) -> Found {
    let Some(head) = window.bytes::<24>(0) else { return Found::default() };
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (from, size, encoding, rate, channels) = (word(4), word(8), word(12), word(16), word(20));
    let all = u64::from(channels);
    // Bytes and samples of the smallest piece that is whole.
    let (bytes, samples) = match encoding {
        1 | 2 | 27 => (all, 1),
        3 => (2 * all, 1),
        4 => (3 * all, 1),
        5 | 6 => (4 * all, 1),
        7 => (8 * all, 1),
        23 | 24 => (all, 2),
        25 => (3 * all, 8),
        26 => (5 * all, 8),
        _ => return Found::default(),
    };
    let blocks = Blocks { bytes, samples, rate: rate.into() };
    let declared = (size != u32::MAX && size != 0).then_some(u64::from(size));
    let found = blocks.length((from.into(), declared), window.len(), |_| Some(false));
    Found { channels: u16::try_from(channels).ok().filter(|n| *n > 0), ..found }
}

/// Reads Core Audio Format.
pub(super) fn read_caf<R: Read + Seek>(window: &mut Window<'_, R>) -> Found {
    let (mut at, mut reading) = (8, Caf::default());
    for _ in 0..MAX_CHUNKS {
        let (Some(name), Some(size)) = (window.bytes::<4>(at), window.u64_be(at + 4)) else { break };
        let body = at + 12;
        if reading.take(window, &name, (body, size)).is_none() || size > i64::MAX as u64 {
            break;
        }
        let Some(next) = body.checked_add(size) else { break };
        at = next;
    }
    reading.found(window)
}

/// The chunks of a Core Audio Format file.
#[derive(Debug, Default)]
struct Caf {
    rate: f64,
    packet_bytes: u32,
    packet_samples: u32,
    channels: u32,
    /// Samples that are to be played, from the table of packets.
    valid: Option<u64>,
    /// Where the samples are, and how many bytes; `None` inside if that is open.
    data: Option<(u64, Option<u64>)>,
}

impl Caf {
    fn take<R: Read + Seek>(
        &mut self,
        window: &mut Window<'_, R>,
        name: &[u8; 4],
        (body, size): (u64, u64),
    ) -> Option<()> {
        match name {
            b"desc" => {
                self.rate = f64::from_bits(window.u64_be(body)?);
                self.packet_bytes = window.u32_be(body + 16)?;
                self.packet_samples = window.u32_be(body + 20)?;
                self.channels = window.u32_be(body + 24)?;
            }
            b"pakt" => self.valid = window.u64_be(body + 8).filter(|n| i64::try_from(*n).is_ok()),
            // Four bytes of it count edits.
            b"data" => self.data = Some((body + 4, i64::try_from(size).ok().and_then(|n| u64::try_from(n - 4).ok()))),
            _ => {}
        }
        Some(())
    }

    fn found<R: Read + Seek>(&self, window: &mut Window<'_, R>) -> Found {
        let len = window.len();
        let rate = if self.rate.is_finite() && self.rate > 0.0 { self.rate } else { 0.0 };
        let channels = u16::try_from(self.channels).ok().filter(|n| *n > 0);
        let (bytes, samples) = (u64::from(self.packet_bytes), u64::from(self.packet_samples));
        let Some((from, declared)) = self.data else { return Found { channels, ..Found::default() } };
        let blocks = Blocks { bytes, samples, rate };
        let found = if bytes > 0 && samples > 0 {
            let size = |head: &[u8; 24]| {
                let size = u64::from_be_bytes(head[4..12].try_into().ok()?);
                size.checked_add(12).filter(|_| size <= LEAST_OPEN)
            };
            blocks.length((from, declared), len, |end| chunks_fill(window, end, size))
        } else {
            let whole = declared.is_some_and(|declared| from.checked_add(declared).is_some_and(|end| end <= len));
            let one = Blocks { bytes: 1, samples: 1, rate };
            let valid = self.valid.filter(|n| *n > 0);
            Found::of(valid.and_then(|n| one.ms(n)).map_or(Length::Unknown, |ms| Length::of(ms, whole)))
        };
        Found { channels, ..found }
    }
}
