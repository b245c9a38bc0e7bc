//! Tags before and after the audio of containers that have no place for them.

use std::io::{Read, Seek};

use super::window::Window;

/// More tags than any real file has at one end.
const MAX_TAGS: usize = 16;

/// The length of an ID3v2 tag whose first ten bytes are these; `None` if they are not.
pub(super) fn id3v2_len(head: &[u8]) -> Option<u64> {
    let [b'I', b'D', b'3', version, _, flags, size @ ..] = head else { return None };
    let size: [u8; 4] = size.get(..4)?.try_into().ok()?;
    if *version == 0xFF || size.iter().any(|byte| byte & 0x80 != 0) {
        return None;
    }
    let footer = if flags & 0x10 == 0 { 0 } else { 10 };
    Some(10 + size.iter().fold(0, |size, byte| size << 7 | u64::from(*byte)) + footer)
}

/// Where the ID3v2 tags at the start end. `None` if that cannot be read.
pub(super) fn end_of_leading<R: Read + Seek>(window: &mut Window<'_, R>) -> Option<u64> {
    let mut at = 0;
    for _ in 0..MAX_TAGS {
        match id3v2_len(window.up_to(at, 10)?) {
            Some(len) => at = (at + len).min(window.len()),
            None => break,
        }
    }
    Some(at)
}

/// Where the tags at the end begin: ID3v1, APE, Lyrics3 and ID3v2.4 with a footer. `None` if that cannot be read.
pub(super) fn start_of_trailing<R: Read + Seek>(window: &mut Window<'_, R>) -> Option<u64> {
    let mut end = window.len();
    for _ in 0..MAX_TAGS {
        match trailing_len(window, end)? {
            Some(len) if len <= end => end -= len,
            _ => break,
        }
    }
    Some(end)
}

/// The length of the tag that ends at `end`; `None` inside if there is none.
fn trailing_len<R: Read + Seek>(window: &mut Window<'_, R>, end: u64) -> Option<Option<u64>> {
    const ID3V1: u64 = 128;
    const EXTENDED: u64 = 227;
    const FOOTER: u64 = 32;
    if let Some(at) = end.checked_sub(ID3V1)
        && window.up_to(at, 3)? == b"TAG"
    {
        let extended = at.checked_sub(EXTENDED).map(|at| Some(window.up_to(at, 4)? == b"TAG+"));
        return Some(Some(ID3V1 + if extended.unwrap_or(Some(false))? { EXTENDED } else { 0 }));
    }
    if let Some(at) = end.checked_sub(FOOTER) {
        let footer: [u8; 32] = window.bytes(at)?;
        if footer.starts_with(b"APETAGEX") {
            let word = |at: usize| u32::from_le_bytes([footer[at], footer[at + 1], footer[at + 2], footer[at + 3]]);
            let header = if word(20) >> 31 == 1 { FOOTER } else { 0 };
            return Some(Some(u64::from(word(12)).max(FOOTER) + header));
        }
    }
    if let Some(at) = end.checked_sub(15) {
        let mark: [u8; 15] = window.bytes(at)?;
        let size = std::str::from_utf8(&mark[..6]).ok().and_then(|size| size.parse::<u64>().ok());
        if let (true, Some(size)) = (mark.ends_with(b"LYRICS200"), size) {
            return Some(Some(size + 15));
        }
    }
    if let Some(at) = end.checked_sub(10) {
        let mut footer: [u8; 10] = window.bytes(at)?;
        if footer.starts_with(b"3DI") {
            footer[..3].copy_from_slice(b"ID3");
            // The size excludes header and footer.
            return Some(id3v2_len(&footer));
        }
    }
    Some(None)
}
