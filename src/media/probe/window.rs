//! A recording that is read at a few places: bounded in bytes and memory, whatever the recording says.

use std::io::{self, Read, Seek, SeekFrom};

/// Bytes that are read together, since headers often lie close to each other.
const CHUNK: usize = 1024;
/// The most bytes that are read at one place.
pub(super) const MOST: usize = 256 << 10;

/// A recording or a part of it. Places are in bytes from its start.
pub(super) struct Window<'r, R> {
    reader: &'r mut R,
    start: u64,
    len: u64,
    buffer: Vec<u8>,
    /// The place of the buffer's first byte.
    at: u64,
    /// Bytes that may still be read.
    budget: u64,
}

impl<'r, R: Read + Seek> Window<'r, R> {
    /// The whole recording, of which at most `budget` bytes are read.
    pub(super) fn new(reader: &'r mut R, budget: u64) -> io::Result<Self> {
        let len = reader.seek(SeekFrom::End(0))?;
        Ok(Self { reader, start: 0, len, buffer: Vec::new(), at: 0, budget })
    }

    /// Only the bytes from `from` to `to`, or as many of them as there are.
    pub(super) fn part(self, from: u64, to: u64) -> Self {
        let to = to.min(self.len);
        let from = from.min(to);
        Self { start: self.start + from, len: to - from, buffer: Vec::new(), at: 0, ..self }
    }

    /// Its length, in bytes.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// The bytes at `at`: `wanted` of them, or fewer if it ends before. `None` if they cannot be read, or too many were read
    /// already.
    pub(super) fn up_to(&mut self, at: u64, wanted: usize) -> Option<&[u8]> {
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let wanted = wanted.min(MOST).min(left);
        let kept = at.checked_sub(self.at).and_then(|from| usize::try_from(from).ok());
        let kept = kept.filter(|from| from.checked_add(wanted).is_some_and(|end| end <= self.buffer.len()));
        let from = match kept {
            Some(from) => from,
            None => {
                self.fill(at, wanted.max(CHUNK).min(left), wanted)?;
                0
            }
        };
        self.buffer.get(from..from + wanted)
    }

    /// Reads up to `most` bytes at `at` into the buffer, and at least `least`.
    fn fill(&mut self, at: u64, most: usize, least: usize) -> Option<()> {
        self.buffer.clear();
        self.at = at;
        self.budget = self.budget.checked_sub(most as u64)?;
        self.reader.seek(SeekFrom::Start(self.start.checked_add(at)?)).ok()?;
        // What was read before an error counts.
        let read = self.reader.by_ref().take(most as u64).read_to_end(&mut self.buffer);
        (read.is_ok() || self.buffer.len() >= least).then_some(()).filter(|()| self.buffer.len() >= least)
    }

    /// Exactly `N` bytes at `at`.
    pub(super) fn bytes<const N: usize>(&mut self, at: u64) -> Option<[u8; N]> {
        self.up_to(at, N)?.try_into().ok()
    }

    /// Whether these bytes are at `at`.
    pub(super) fn has(&mut self, at: u64, bytes: &[u8]) -> bool {
        self.up_to(at, bytes.len()).is_some_and(|there| there == bytes)
    }

    pub(super) fn u32_be(&mut self, at: u64) -> Option<u32> {
        self.bytes(at).map(u32::from_be_bytes)
    }

    pub(super) fn u64_be(&mut self, at: u64) -> Option<u64> {
        self.bytes(at).map(u64::from_be_bytes)
    }

    pub(super) fn u64_le(&mut self, at: u64) -> Option<u64> {
        self.bytes(at).map(u64::from_le_bytes)
    }
}
