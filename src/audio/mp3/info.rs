//! The first frame of many files: not audio, but a header of the whole file inside a silent frame.

use super::Header;

/// The contents of such a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// Frames of audio in the file, if it is given; some writers count this frame too.
    pub frames: Option<u64>,
    /// Length of the frame itself, in bytes.
    pub frame_len: usize,
}

/// The header (Xing, Info with or without LAME's own, VBRI) in `frame`, if there is one.
#[must_use]
pub fn of(header: Header, frame: &[u8]) -> Option<Info> {
    let number = |at: usize| Some(u64::from(u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?)));
    let begins = |at: usize, id: &[u8]| frame.get(at..).is_some_and(|rest| rest.starts_with(id));
    // Writers differ on whether a checksum shifts it.
    let frame_len = header.frame_len();
    for at in [header.main_data_offset(), header.main_data_offset() - (header.side_offset() - Header::LEN)] {
        if begins(at, b"Xing") || begins(at, b"Info") {
            let has_frames = number(at + 4).is_some_and(|flags| flags & 1 == 1);
            return Some(Info { frames: number(at + 8).filter(|n| has_frames && *n > 0), frame_len });
        }
    }
    // VBRI is where the side information of MPEG-1 stereo would end, in every frame.
    begins(36, b"VBRI").then(|| Info { frames: number(36 + 14).filter(|n| *n > 0), frame_len })
}

/// A frame with such a header: without it a player estimates the length from the first bit rate, which is wrong if bit rates
/// vary. `frames` and `bytes` are those of the audio that follows.
#[must_use]
pub fn frame(like: Header, frames: u64, bytes: u64) -> Vec<u8> {
    let header = like.silent(16);
    let mut frame = header.silent_frame();
    let number = |n: u64| u32::try_from(n).unwrap_or(0).to_be_bytes();
    let all = number(bytes + frame.len() as u64);
    let has = 1 | if all == [0; 4] { 0 } else { 2 };
    let fields = [*b"Xing", [0, 0, 0, has], number(frames), all].concat();
    let at = header.main_data_offset();
    frame[at..at + fields.len()].copy_from_slice(&fields);
    frame
}

/// Whether `frame`, not the first of its file, is certainly such a frame: it needs no data, and has that header.
pub(super) fn is_alone(header: Header, frame: &[u8]) -> bool {
    frame[header.side_offset()..header.main_data_offset()].iter().all(|byte| *byte == 0) && of(header, frame).is_some()
}
