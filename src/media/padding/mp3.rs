//! Zeros at the end of the ID3v2 tag before an MP3 file, or a new tag if there is none.

use std::io::{Read, Seek};

use super::{SparseReader, zeros_after};
use crate::{audio::mp3::Header, domain::padding::Edit};

/// The length of a tag's header, and that of its frames of versions 2.3 and 2.4.
const HEADER: u64 = 10;
/// The longest padding of a tag, in bytes.
const MAX_PADDING: u32 = 256 * 1024;
/// The only flag that does not change how a tag is read.
const EXPERIMENTAL: u8 = 0x20;
/// Frames of a tag that can hold file positions, which would become wrong.
const POSITIONS: [&[u8]; 3] = [b"ASPI", b"CHAP", b"SEEK"];
/// The number of audio frames that must follow each other, if the file has as many.
const FRAMES: usize = 4;
/// Bytes for this many frames: a layer III frame has at most 1441 bytes.
const WINDOW: u64 = 8 * 1024;

/// A new tag's frame: a tag has at least one. It is private (`PRIV`), with its owner and no data.
const FRAME: &[u8; 20] = b"PRIV\0\0\0\x0a\0\0wavebatch\0";

/// A file of MPEG frames, and the tag before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Tagged(Tag),
    Untagged,
}

/// An ID3v2 tag at the start of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    /// Its size as written.
    size: [u8; 4],
    /// The end of its last frame.
    frames_end: u64,
    /// The end of the tag.
    end: u64,
    /// Whether it is the tag that padding added to an untagged file.
    is_new: bool,
}

impl Layout {
    pub(super) fn read<R: Read + Seek>(look: &mut SparseReader<'_, R>) -> Option<Self> {
        let head: [u8; 10] = look.bytes(0)?;
        let layout = if head.starts_with(b"ID3") { Self::Tagged(Tag::read(look, head)?) } else { Self::Untagged };
        let audio = match layout {
            Self::Tagged(tag) => tag.end,
            Self::Untagged => 0,
        };
        (begins_with_frames(look, audio)? && !has_tag_at_end(look)?).then_some(layout)
    }

    pub(super) const fn least(&self) -> u32 {
        match self {
            Self::Tagged(_) => 8,
            Self::Untagged => HEADER as u32 + FRAME.len() as u32,
        }
    }

    pub(super) const fn most(&self) -> u32 {
        match self {
            Self::Tagged(tag) => MAX_PADDING.saturating_sub((tag.end - tag.frames_end) as u32),
            Self::Untagged => MAX_PADDING,
        }
    }

    pub(super) fn pad(&self, extra: u32) -> Vec<Edit> {
        match self {
            Self::Tagged(tag) => {
                let size = syncsafe(tag.end - HEADER + u64::from(extra));
                vec![Edit::replace(6, &tag.size, &size), Edit::insert(tag.end, zeros_after(&[], extra))]
            }
            Self::Untagged => {
                let size = syncsafe(u64::from(extra) - HEADER);
                let tag = [b"ID3\x03\0\0".as_slice(), &size, FRAME].concat();
                vec![Edit::insert(0, zeros_after(&tag, extra))]
            }
        }
    }

    pub(super) fn strip(&self) -> Option<Vec<Edit>> {
        match self {
            Self::Tagged(tag) if tag.is_new => Some(vec![Edit::remove(0, tag.end)]),
            Self::Tagged(tag) if tag.frames_end < tag.end => {
                let size = syncsafe(tag.frames_end - HEADER);
                Some(vec![Edit::replace(6, &tag.size, &size), Edit::remove(tag.frames_end, tag.end)])
            }
            Self::Tagged(_) | Self::Untagged => None,
        }
    }
}

impl Tag {
    /// The tag with this header, if frames and zeros fill it, and only its size depends on their length. It has no extended
    /// header, which can contain a checksum and the padding's length, and no footer, which forbids padding. With
    /// unsynchronisation, the frames' lengths differ from those in the file.
    fn read<R: Read + Seek>(look: &mut SparseReader<'_, R>, head: [u8; 10]) -> Option<Self> {
        let [b'I', b'D', b'3', version @ 2..=4, 0, flags, size @ ..] = head else { return None };
        let known = if version == 2 { 0 } else { EXPERIMENTAL };
        if flags & !known != 0 {
            return None;
        }
        let end = HEADER + u64::from(from_syncsafe(size)?);
        if end > look.len {
            return None;
        }
        let frames_end = frames_end(look, version, end)?;
        let padding = end - frames_end;
        if padding > u64::from(MAX_PADDING) || look.up_to(frames_end, padding)?.iter().any(|byte| *byte != 0) {
            return None;
        }
        let ours = HEADER + FRAME.len() as u64;
        let is_new = (version, flags, frames_end) == (3, 0, ours) && look.bytes(HEADER)? == *FRAME;
        Some(Self { size, frames_end, end, is_new })
    }
}

/// The end of a tag's last frame: the end of the tag, or the start of the padding.
fn frames_end<R: Read + Seek>(look: &mut SparseReader<'_, R>, version: u8, end: u64) -> Option<u64> {
    let mut at = HEADER;
    loop {
        let head = look.up_to(at, HEADER.min(end - at))?;
        if head.first().is_none_or(|byte| *byte == 0) {
            return Some(at);
        }
        let (header, len) = match (version, head.as_slice()) {
            (2, [_, _, _, a, b, c, ..]) => (6, u32::from_be_bytes([0, *a, *b, *c])),
            (3, [_, _, _, _, a, b, c, d, _, _]) => (HEADER, u32::from_be_bytes([*a, *b, *c, *d])),
            (4, [_, _, _, _, a, b, c, d, _, _]) => (HEADER, from_syncsafe([*a, *b, *c, *d])?),
            _ => return None,
        };
        let id = &head[..if version == 2 { 3 } else { 4 }];
        let is_name = id.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        at += header + u64::from(len);
        if !is_name || at > end || POSITIONS.contains(&id) {
            return None;
        }
    }
}

/// Whether audio frames begin at `at`: [`FRAMES`] of them, or as many as there are up to the end of the audio.
fn begins_with_frames<R: Read + Seek>(look: &mut SparseReader<'_, R>, at: u64) -> Option<bool> {
    let window = look.up_to(at, WINDOW)?;
    let Some(kind) = Header::parse(&window) else { return Some(false) };
    let mut from = 0;
    for _ in 0..FRAMES {
        let rest = window.get(from..).unwrap_or_default();
        let Some(header) = Header::parse(rest).filter(|header| header.is_like(kind)) else {
            let at_end = from as u64 == look.len - at;
            return Some(from > 0 && (at_end || rest.starts_with(b"TAG") || rest.starts_with(b"APETAGEX")));
        };
        from += header.frame_len();
    }
    Some(from as u64 <= look.len - at)
}

/// Whether an ID3v2 tag ends the file, before an ID3v1 tag or without one: a file has one such tag.
fn has_tag_at_end<R: Read + Seek>(look: &mut SparseReader<'_, R>) -> Option<bool> {
    const ID3V1: u64 = 128;
    for after in [0, ID3V1] {
        let Some(at) = look.len.checked_sub(after + HEADER) else { continue };
        if look.bytes::<10>(at)?.starts_with(b"3DI") {
            return Some(true);
        }
    }
    Some(false)
}

/// A number below 2²⁸ in four bytes of seven bits. If the file is within the API's limit, its tag is shorter than that.
fn syncsafe(number: u64) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (number >> shift & 0x7F) as u8)
}

fn from_syncsafe(bytes: [u8; 4]) -> Option<u32> {
    bytes.iter().all(|byte| *byte < 0x80).then(|| bytes.iter().fold(0, |number, byte| number << 7 | u32::from(*byte)))
}
