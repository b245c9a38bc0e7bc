//! FLAC: its header counts samples, and only its last frame shows whether they are there.

use std::io::{Read, Seek};

use super::{
    Found, ms, tags,
    window::{MOST, Window},
};
use crate::domain::length::Length;

/// Bytes at the end in which the last frame is looked for, if the header does not say how long a frame can be.
const TAIL: u64 = 64 << 10;
/// More blocks of metadata than any real file has.
const MAX_BLOCKS: usize = 1024;
/// The fields of a frame's header that precede its checksum: at most this long.
const LONGEST_HEADER: usize = 16;

/// The first block of metadata.
#[derive(Debug, Clone, Copy)]
struct StreamInfo {
    /// Samples of a frame, where all have the same number.
    block: u64,
    longest_frame: u64,
    rate: u32,
    channels: u16,
    /// Samples of one channel; 0 if unknown.
    samples: u64,
}

impl StreamInfo {
    fn read<R: Read + Seek>(window: &mut Window<'_, R>) -> Option<Self> {
        let block: [u8; 22] = window.bytes(4)?;
        if block[0] & 0x7F != 0 {
            return None;
        }
        let info = &block[4..];
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        let rest = number(&info[10..18]);
        let rate = u32::try_from(rest >> 44).ok()?;
        let channels = (rest >> 41 & 7) as u16 + 1;
        let (block, longest_frame) = (number(&info[2..4]), number(&info[7..10]));
        (rate > 0).then_some(Self { block, longest_frame, rate, channels, samples: rest & 0xF_FFFF_FFFF })
    }
}

/// Reads a FLAC file.
pub(super) fn read<R: Read + Seek>(window: &mut Window<'_, R>) -> Found {
    let Some(info) = StreamInfo::read(window) else { return Found::default() };
    let last = last_frame(window, &info);
    let declared = (info.samples > 0).then_some(info.samples);
    let length = |samples, proven| Length::of(ms(samples, info.rate), proven);
    let (length, header_differs) = match (last, declared) {
        (Some(end), None) => (length(end, true), false),
        (Some(end), Some(declared)) if end.abs_diff(declared) < u64::from(info.rate) => (length(declared, true), false),
        (Some(end), Some(_)) => (length(end, false), true),
        (None, Some(declared)) => (length(declared, false), false),
        (None, None) => (Length::Unknown, false),
    };
    Found { length, channels: Some(info.channels), header_differs }
}

/// Where the audio ends, in samples, by a last frame that is whole.
fn last_frame<R: Read + Seek>(window: &mut Window<'_, R>, info: &StreamInfo) -> Option<u64> {
    let start = first_frame(window)?;
    let end = tags::start_of_trailing(window)?;
    let longest = if info.longest_frame > 0 { info.longest_frame } else { TAIL };
    let from = end.saturating_sub(longest.min(MOST as u64)).max(start);
    let tail = window.up_to(from, usize::try_from(end.checked_sub(from)?).ok()?)?;
    // The last candidate whose checksums are right is the frame: a checksum of the whole matches by chance once in 65,536.
    let candidates = (0..tail.len().saturating_sub(5)).rev();
    candidates.filter_map(|at| frame_end(&tail[at..], info)).next()
}

/// Where the blocks of metadata end.
fn first_frame<R: Read + Seek>(window: &mut Window<'_, R>) -> Option<u64> {
    let mut at = 4;
    for _ in 0..MAX_BLOCKS {
        let head = window.u32_be(at)?;
        at += 4 + u64::from(head & 0xFF_FFFF);
        if head >> 31 == 1 {
            return Some(at);
        }
    }
    None
}

/// The sample after the frame that fills `bytes`; `None` if they are not one whole frame.
fn frame_end(bytes: &[u8], info: &StreamInfo) -> Option<u64> {
    let [0xFF, second, sizes, kind, ..] = *bytes else { return None };
    if second & 0xFE != 0xF8 || kind & 1 != 0 || sizes >> 4 == 0 || sizes & 15 == 15 || kind >> 4 > 10 {
        return None;
    }
    let (number, mut at) = coded_number(&bytes[4..]).map(|(number, len)| (number, 4 + len))?;
    let mut field = |len: usize| {
        let field = bytes.get(at..at + len)?;
        at += len;
        Some(field.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    };
    let block = match sizes >> 4 {
        1 => 192,
        code @ 2..=5 => 576 << (code - 2),
        6 => field(1)? + 1,
        7 => field(2)? + 1,
        code => 256 << (code - 8),
    };
    match sizes & 15 {
        12 => drop(field(1)?),
        13 | 14 => drop(field(2)?),
        _ => {}
    }
    debug_assert!(at <= LONGEST_HEADER);
    let sums = *bytes.get(at)? == crc8(&bytes[..at]) && crc16(bytes) == 0;
    // Frames of one size are counted; else it is the number of their first sample.
    let first = if second & 1 == 0 { number.checked_mul(info.block)? } else { number };
    sums.then(|| first.saturating_add(block))
}

/// A number in the extended UTF-8 of frame headers, and its length.
fn coded_number(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let len = match first.leading_ones() {
        0 => return Some((first.into(), 1)),
        ones @ 2..=7 => ones as usize,
        _ => return None,
    };
    let start = u64::from(first) & (0x7F >> len);
    bytes
        .get(1..len)?
        .iter()
        .try_fold(start, |n, byte| (byte >> 6 == 2).then_some(n << 6 | u64::from(byte & 0x3F)))
        .map(|number| (number, len))
}

fn crc8(bytes: &[u8]) -> u8 {
    let step = |crc: u8| if crc >> 7 == 1 { crc << 1 ^ 7 } else { crc << 1 };
    bytes.iter().fold(0, |crc, byte| (0..8).fold(crc ^ byte, |crc, _| step(crc)))
}

fn crc16(bytes: &[u8]) -> u16 {
    let step = |crc: u16| if crc >> 15 == 1 { crc << 1 ^ 0x8005 } else { crc << 1 };
    bytes.iter().fold(0, |crc, byte| (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| step(crc)))
}
