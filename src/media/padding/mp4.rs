//! A `free` box at the end of an MP4 file.

use std::io::{Read, Seek};

use super::{SparseReader, zeros_after};
use crate::domain::padding::Edit;

/// A file that its boxes fill exactly, and in which no position is counted from the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Where the final `free` boxes begin; the end of the file if there are none.
    free: u64,
}

impl Layout {
    pub(super) fn read<R: Read + Seek>(look: &mut SparseReader<'_, R>) -> Option<Self> {
        let (mut at, mut free) = (0, 0);
        let mut has_movie = false;
        while at < look.len {
            let (kind, size) = header(look, at)?;
            match &kind {
                b"ftyp" if at == 0 => {}
                _ if at == 0 => return None,
                b"moov" if has_movie => return None,
                b"moov" => has_movie = true,
                // An index of fragments: the random access index is found by the last bytes of the file, and a decoder takes
                // the segment index for complete only if it reaches the end of the file.
                b"mfra" | b"sidx" | b"ssix" | b"styp" => return None,
                _ => {}
            }
            at = at.checked_add(size).filter(|end| *end <= look.len)?;
            if &kind != b"free" {
                free = at;
            }
        }
        has_movie.then_some(Self { free })
    }

    pub(super) fn strip(&self, len: u64) -> Option<Vec<Edit>> {
        (self.free < len).then(|| vec![Edit::remove(self.free, len)])
    }
}

pub(super) fn pad(len: u64, extra: u32) -> Vec<Edit> {
    let header = [extra.to_be_bytes(), *b"free"].concat();
    vec![Edit::insert(len, zeros_after(&header, extra))]
}

/// The type of the box at `at`, and its size in bytes with its header. `None` for a box of open size.
fn header<R: Read + Seek>(look: &mut SparseReader<'_, R>, at: u64) -> Option<([u8; 4], u64)> {
    let [a, b, c, d, kind @ ..]: [u8; 8] = look.bytes(at)?;
    let (size, least) = match u32::from_be_bytes([a, b, c, d]) {
        1 => (u64::from_be_bytes(look.bytes(at.checked_add(8)?)?), 16),
        size => (u64::from(size), 8),
    };
    (size >= least).then_some((kind, size))
}
