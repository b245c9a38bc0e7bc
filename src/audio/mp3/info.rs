//! The first frame of many files: no audio, but a header of the whole file inside a silent frame.

use super::Header;

/// What such a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// Frames of audio in the file, if it says; some writers count this frame too.
    pub frames: Option<u64>,
}

/// The header (Xing, Info with or without LAME's own, VBRI) in `frame`, if it is one.
#[must_use]
pub fn of(header: Header, frame: &[u8]) -> Option<Info> {
    let number = |at: usize| Some(u64::from(u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?)));
    let begins = |at: usize, id: &[u8]| frame.get(at..).is_some_and(|rest| rest.starts_with(id));
    // Writers do not agree on whether a checksum moves it.
    for at in [header.main_data_offset(), header.main_data_offset() - (header.side_offset() - Header::LEN)] {
        if begins(at, b"Xing") || begins(at, b"Info") {
            let has_frames = number(at + 4).is_some_and(|flags| flags & 1 == 1);
            return Some(Info { frames: number(at + 8).filter(|n| has_frames && *n > 0) });
        }
    }
    // VBRI stands where the side information of MPEG-1 stereo would end, whatever the frame.
    begins(36, b"VBRI").then(|| Info { frames: number(36 + 14).filter(|n| *n > 0) })
}

/// Whether `frame`, not the first of its file, is such a frame beyond doubt: it asks for no data, and has that header.
pub(super) fn is_alone(header: Header, frame: &[u8]) -> bool {
    frame[header.side_offset()..header.main_data_offset()].iter().all(|byte| *byte == 0) && of(header, frame).is_some()
}
