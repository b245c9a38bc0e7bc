//! A `PADDING` block after the other metadata of a FLAC file.

use std::io::{Read, Seek};

use super::{SparseReader, zeros_after};
use crate::domain::padding::Edit;

const LAST: u8 = 0x80;
const STREAMINFO: u8 = 0;
const PADDING: u8 = 1;
const FORBIDDEN: u8 = 127;

/// A file with metadata blocks from its `STREAMINFO` to its first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// The last block.
    last: Block,
    /// The last block that is not `PADDING`.
    last_content: Block,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    at: u64,
    /// Flag and type, and three bytes of length.
    header: [u8; 4],
}

impl Block {
    const fn kind(self) -> u8 {
        self.header[0] & !LAST
    }

    const fn is_last(self) -> bool {
        self.header[0] & LAST != 0
    }

    const fn end(self) -> u64 {
        let [_, a, b, c] = self.header;
        self.at + 4 + u32::from_be_bytes([0, a, b, c]) as u64
    }

    /// The edit of its last-block flag.
    fn marked(self, last: bool) -> Edit {
        let mut header = self.header;
        header[0] = if last { header[0] | LAST } else { header[0] & !LAST };
        Edit::replace(self.at, &self.header, &header)
    }
}

impl Layout {
    pub(super) fn read<R: Read + Seek>(look: &mut SparseReader<'_, R>) -> Option<Self> {
        let first = Block { at: 4, header: look.bytes(4)? };
        if first.kind() != STREAMINFO || first.end() != 42 {
            return None;
        }
        let (mut last, mut last_content) = (first, first);
        while !last.is_last() {
            last = Block { at: last.end(), header: look.bytes(last.end())? };
            match last.kind() {
                STREAMINFO | FORBIDDEN => return None,
                PADDING => {}
                _ => last_content = last,
            }
        }
        is_frame(look.bytes(last.end())?).then_some(Self { last, last_content })
    }

    pub(super) fn pad(&self, extra: u32) -> Vec<Edit> {
        let [_, size @ ..] = (extra - 4).to_be_bytes();
        let [a, b, c] = size;
        vec![self.last.marked(false), Edit::insert(self.last.end(), zeros_after(&[LAST | PADDING, a, b, c], extra))]
    }

    pub(super) fn strip(&self) -> Option<Vec<Edit>> {
        let (from, end) = (self.last_content.end(), self.last.end());
        (from < end).then(|| vec![self.last_content.marked(true), Edit::remove(from, end)])
    }
}

/// Whether a frame's header begins with these bytes: a sync code and no reserved value.
const fn is_frame([a, b, c, d]: [u8; 4]) -> bool {
    let sync = a == 0xFF && b & 0xFE == 0xF8;
    let (block_size, rate) = (c >> 4, c & 15);
    let (channels, sample_size, reserved) = (d >> 4, d >> 1 & 7, d & 1);
    sync && block_size != 0 && rate != 15 && channels <= 10 && sample_size != 3 && reserved == 0
}
