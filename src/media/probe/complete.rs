//! Whether a compressed recording is complete: cheap reads of the one place where each container shows it.

use std::io::{self, Read, Seek, SeekFrom};

use lofty::file::FileType;

/// Whether the header's own count and the size of the file agree. `false` also if this is unknown.
pub(super) fn is_complete<R: Read + Seek>(reader: &mut R, bytes: u64, file_type: FileType) -> io::Result<bool> {
    match file_type {
        FileType::Mp4 => mp4(reader, bytes),
        FileType::Mpeg => mpeg(reader, bytes),
        FileType::Opus | FileType::Vorbis | FileType::Speex => ogg(reader, bytes),
        // FLAC's header counts samples, and only the last frame would show whether they are there.
        _ => Ok(false),
    }
}

/// The top-level boxes fill the file.
fn mp4<R: Read + Seek>(reader: &mut R, bytes: u64) -> io::Result<bool> {
    const MAX_BOXES: usize = 1024;
    let mut at = 0;
    for _ in 0..MAX_BOXES {
        if at >= bytes {
            break;
        }
        reader.seek(SeekFrom::Start(at))?;
        let mut head = [0; 16];
        reader.read_exact(&mut head[..8])?;
        let size = match u32::from_be_bytes([head[0], head[1], head[2], head[3]]) {
            0 => return Ok(false),
            1 => {
                reader.read_exact(&mut head[8..])?;
                head[8..].iter().fold(0, |n, b| n << 8 | u64::from(*b))
            }
            size => u64::from(size),
        };
        if size < 8 {
            return Ok(false);
        }
        at = at.saturating_add(size);
    }
    Ok(at == bytes)
}

/// The byte count of the Xing or Info header fits the file, apart from tags and one frame.
fn mpeg<R: Read + Seek>(reader: &mut R, bytes: u64) -> io::Result<bool> {
    const SLACK: u64 = 2048;
    let mut id3 = [0; 10];
    reader.seek(SeekFrom::Start(0))?;
    reader.read_exact(&mut id3)?;
    let start =
        if id3.starts_with(b"ID3") { 10 + id3[6..10].iter().fold(0, |n, b| n << 7 | u64::from(b & 0x7F)) } else { 0 };
    reader.seek(SeekFrom::Start(start))?;
    let mut frame = Vec::new();
    reader.take(256).read_to_end(&mut frame)?;
    let Some(at) = frame.windows(4).position(|w| w == b"Xing" || w == b"Info") else { return Ok(false) };
    let be = |at: usize| frame.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    // Flags: bit 0 a count of frames, bit 1 a count of bytes; both follow in that order.
    let (Some(3), Some(declared)) = (be(at + 4).map(|flags| flags & 3), be(at + 12)) else { return Ok(false) };
    Ok(bytes.saturating_sub(start).abs_diff(u64::from(declared)) <= SLACK)
}

/// The last page is marked as the last of its stream and ends where the file ends.
fn ogg<R: Read + Seek>(reader: &mut R, bytes: u64) -> io::Result<bool> {
    const LONGEST_PAGE: u64 = 65_307;
    reader.seek(SeekFrom::Start(bytes.saturating_sub(LONGEST_PAGE)))?;
    let mut tail = Vec::new();
    reader.take(LONGEST_PAGE).read_to_end(&mut tail)?;
    let Some(at) = tail.windows(4).rposition(|w| w == b"OggS") else { return Ok(false) };
    let page = &tail[at..];
    let (Some(flags), Some(segments)) = (page.get(5), page.get(26)) else { return Ok(false) };
    let Some(table) = page.get(27..27 + usize::from(*segments)) else { return Ok(false) };
    let len = 27 + table.len() + table.iter().map(|s| usize::from(*s)).sum::<usize>();
    Ok(flags & 4 != 0 && len == page.len())
}
