//! A `JUNK` chunk at the end of a RIFF/WAVE file.

use std::io::{Read, Seek};

use super::{SparseReader, zeros_after};
use crate::{
    audio::wav::{ALAW, FLOAT, MULAW, PCM, is_chunk_name},
    domain::padding::Edit,
};

/// Formats whose decoders take their samples from the `data` chunk. Decoders of a whole stream in a WAV file (MP3, AC-3)
/// may take all of the file for that stream.
const FORMATS: [u16; 7] = [PCM, FLOAT, ALAW, MULAW, MS_ADPCM, IMA_ADPCM, GSM];
const MS_ADPCM: u16 = 0x0002;
const IMA_ADPCM: u16 = 0x0011;
const GSM: u16 = 0x0031;
/// The format is in the sub-format, 24 bytes into the chunk.
const EXTENSIBLE: u16 = 0xFFFE;

/// A file that its chunks, with their padding bytes, fill exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Where the final `JUNK` chunks begin; the end of the file if there are none.
    junk: u64,
}

impl Layout {
    pub(super) fn read<R: Read + Seek>(look: &mut SparseReader<'_, R>) -> Option<Self> {
        let head: [u8; 12] = look.bytes(0)?;
        if &head[8..] != b"WAVE" || head[4..8] != riff_size(look.len)? {
            return None;
        }
        let (mut at, mut junk) = (12, 12);
        // The length of a block of samples, in bytes.
        let mut block = None;
        let mut has_data = false;
        while at < look.len {
            let [a, b, c, d, size @ ..]: [u8; 8] = look.bytes(at)?;
            let size = u64::from(u32::from_le_bytes(size));
            let id = [a, b, c, d];
            match &id {
                b"fmt " if block.is_some() => return None,
                b"fmt " => block = Some(block_len(&look.up_to(at + 8, size.min(26))?)?),
                // If there are two `data` chunks, a decoder may play one or both; an empty one may mean "to the end of the
                // file".
                b"data" if has_data || size == 0 || !is_whole(size, block?) => return None,
                b"data" => has_data = true,
                // How much of the file is samples is open then.
                _ if has_data && !is_chunk_name(&id) => return None,
                _ => {}
            }
            at += 8 + size + size % 2;
            if at > look.len {
                return None;
            }
            if !(has_data && &id == b"JUNK") {
                junk = at;
            }
        }
        has_data.then_some(Self { junk })
    }

    pub(super) fn pad(&self, len: u64, extra: u32) -> Vec<Edit> {
        let chunk = [*b"JUNK", (extra - 8).to_le_bytes()].concat();
        vec![resized(len, len + u64::from(extra)), Edit::insert(len, zeros_after(&chunk, extra))]
    }

    pub(super) fn strip(&self, len: u64) -> Option<Vec<Edit>> {
        (self.junk < len).then(|| vec![resized(len, self.junk), Edit::remove(self.junk, len)])
    }
}

/// Whether this many bytes of samples are whole blocks, both with and without their padding byte: some decoders count that byte
/// as a sample, and read a started block to its full length.
const fn is_whole(size: u64, block: u64) -> bool {
    size.is_multiple_of(block) && (size + size % 2).is_multiple_of(block)
}

/// The length of a block in bytes, from the start of a `fmt` chunk; `None` if the format is not one of [`FORMATS`].
fn block_len(chunk: &[u8]) -> Option<u64> {
    let number = |at: usize| chunk.get(at..at + 2).map(|number| u16::from_le_bytes([number[0], number[1]]));
    let format = if number(0)? == EXTENSIBLE { number(24)? } else { number(0)? };
    let block = number(12).filter(|block| *block > 0)?;
    FORMATS.contains(&format).then_some(block.into())
}

/// The edit of the RIFF size of a file that grows or shrinks from `len` to `now` bytes.
fn resized(len: u64, now: u64) -> Edit {
    let [was, now] = [len, now].map(|len| riff_size(len).expect("a recording is far from 4 GiB"));
    Edit::replace(4, &was, &now)
}

/// The RIFF size of a file of `len` bytes.
fn riff_size(len: u64) -> Option<[u8; 4]> {
    u32::try_from(len.checked_sub(8)?).ok().map(u32::to_le_bytes)
}
