//! AMR, narrow and wide band, as files of frames.

use std::io::{Read, Seek};

use super::{
    Found,
    frames::{Codec, Frame, walk},
    window::Window,
};

/// Bytes of a frame by its type, with its header; 0 if there is no such type.
const NARROW: [u8; 16] = [13, 14, 16, 18, 20, 21, 27, 32, 6, 7, 6, 6, 0, 0, 0, 1];
const WIDE: [u8; 16] = [18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1];
/// Of 20 ms.
const FRAME_SAMPLES: u64 = 160;

fn frame(head: &[u8], sizes: [u8; 16]) -> Option<Frame> {
    let head = *head.first()?;
    let len = sizes[usize::from(head >> 3 & 15)];
    // The other bits are 0.
    (head & 0x83 == 0 && len > 0).then_some(Frame { len: len.into(), samples: FRAME_SAMPLES, rate: 8_000, stream: 0 })
}

/// The start of such a file, and what its frames are.
const KINDS: [(&[u8], Codec); 2] = [
    (b"#!AMR-WB\n", Codec { header: 1, read: |head| frame(head, WIDE), has_sync: false }),
    (b"#!AMR\n", Codec { header: 1, read: |head| frame(head, NARROW), has_sync: false }),
];

/// Whether a recording begins like an AMR file.
pub(super) fn is_amr(head: &[u8]) -> bool {
    KINDS.iter().any(|(magic, _)| head.starts_with(magic))
}

/// Reads an AMR file of one channel.
pub(super) fn read<R: Read + Seek>(window: &mut Window<'_, R>) -> Found {
    let Some((magic, codec)) = KINDS.iter().find(|(magic, _)| window.has(0, magic)) else { return Found::default() };
    let (start, end) = (magic.len() as u64, window.len());
    let Some(walked) = walk(window, codec, (start, end)) else { return Found::default() };
    Found { length: walked.length(start, end), channels: Some(1), header_differs: false }
}
