//! A `free` box at the end of an MP4 file.

use std::io::{Read, Seek};

use super::{SparseReader, zeros_after};
use crate::domain::padding::Edit;

/// A file whose boxes fill it exactly, and in which nothing counts from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Where the `free` boxes begin that are the last of the file; its end if there are none.
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
                // An index of fragments: the random access one is found by the last bytes of the file, and a decoder takes
                // the segment one for complete only where it reaches the end of the file.
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

/// The kind of the box at `at`, and its size in bytes, its header included. A box of open size is none.
fn header<R: Read + Seek>(look: &mut SparseReader<'_, R>, at: u64) -> Option<([u8; 4], u64)> {
    let [a, b, c, d, kind @ ..]: [u8; 8] = look.bytes(at)?;
    let (size, least) = match u32::from_be_bytes([a, b, c, d]) {
        1 => (u64::from_be_bytes(look.bytes(at.checked_add(8)?)?), 16),
        size => (u64::from(size), 8),
    };
    (size >= least).then_some((kind, size))
}
