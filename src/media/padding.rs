//! Padding for uploads: extra bytes that a recording's container allows, so that an upload can have a distinct size. No sample,
//! no frame and no tag of the recording changes.
//!
//! | container | padding | bytes that change besides |
//! | --- | --- | --- |
//! | WAV | a `JUNK` chunk at the end of the file | the RIFF size |
//! | MP3 with an ID3v2 tag | zeros at the end of the tag | the tag's size |
//! | MP3 without one | an ID3v2 tag with a private frame and zeros, before the first frame | none |
//! | FLAC | a `PADDING` block, the last of the metadata | the last-block flag of the block before it |
//! | MP4, M4A | a `free` box at the end of the file | none |
//!
//! Any other container has no plan, nor has a file whose headers and size do not agree to the byte: how a decoder reads such a
//! file may depend on where it ends.

use std::io::{Read, Seek, SeekFrom};

use crate::{
    domain::padding::{Edit, PaddingSizes, Patch},
    media::source::MAX_SOURCE_BYTES,
};

mod flac;
mod mp3;
mod mp4;
#[cfg(test)]
mod tests;
mod wav;

/// The most extra bytes.
const MOST: u32 = 64 * 1024;

/// The two readings of the API's limit of "250 MB". No padding takes a recording over a limit that it is within: if the smaller
/// reading is right, the recording would be refused.
const LIMITS: [u64; 2] = [250_000_000, MAX_SOURCE_BYTES];

/// The most places of a recording that are read to make its plan: far more than the parts of a real container.
const READS: u32 = 1024;

/// Additional reads for a padded recording.
const EXTRA_READS: u32 = 8;

/// How one recording can be padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaddingPlan {
    len: u64,
    layout: Layout,
    sizes: PaddingSizes,
}

/// Determines whether and how a recording can be padded. Reads a few bytes at the head of each part of its container, and none
/// of its samples; the reader's position afterwards is undefined.
#[must_use]
pub fn plan<R: Read + Seek>(reader: &mut R) -> Option<PaddingPlan> {
    let mut look = SparseReader::new(reader, READS)?;
    let layout = Layout::read(&mut look)?;
    let room = LIMITS.into_iter().find(|limit| look.len <= *limit)? - look.len;
    let most = u32::try_from(room).map_or(MOST, |room| room.min(MOST));
    let sizes = PaddingSizes::new(layout.least(), most.min(layout.most()))?;
    Some(PaddingPlan { len: look.len, layout, sizes })
}

impl PaddingPlan {
    /// The sizes that the recording can be given.
    #[must_use]
    pub const fn takes(&self) -> PaddingSizes {
        self.sizes
    }

    /// The patch that makes the recording exactly `extra` bytes longer; `None` if [`Self::takes`] lacks that size.
    #[must_use]
    pub fn apply(&self, extra: u32) -> Option<Patch> {
        let edits = self.sizes.contains(extra).then(|| self.layout.pad(self.len, extra))?;
        Some(Patch::new(self.len, edits).expect("the edits are made from offsets in order, all within the recording"))
    }
}

/// The patch that removes all padding from a recording at the places where [`PaddingPlan::apply`] puts it; `None` if there is
/// none. A recording and its padded version are equal without their padding.
#[must_use]
pub fn strip<R: Read + Seek>(reader: &mut R) -> Option<Patch> {
    let mut look = SparseReader::new(reader, READS + EXTRA_READS)?;
    let edits = Layout::read(&mut look)?.strip(look.len)?;
    Some(Patch::new(look.len, edits).expect("the edits are made from offsets in order, all within the recording"))
}

/// What must be known of a container to add and remove padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Wav(wav::Layout),
    Mp3(mp3::Layout),
    Flac(flac::Layout),
    Mp4(mp4::Layout),
}

impl Layout {
    fn read<R: Read + Seek>(look: &mut SparseReader<'_, R>) -> Option<Self> {
        let head: [u8; 12] = look.bytes(0)?;
        if head.starts_with(b"RIFF") {
            wav::Layout::read(look).map(Self::Wav)
        } else if head.starts_with(b"fLaC") {
            flac::Layout::read(look).map(Self::Flac)
        } else if &head[4..8] == b"ftyp" {
            mp4::Layout::read(look).map(Self::Mp4)
        } else {
            mp3::Layout::read(look).map(Self::Mp3)
        }
    }

    const fn least(&self) -> u32 {
        match self {
            Self::Mp3(layout) => layout.least(),
            Self::Wav(_) | Self::Flac(_) | Self::Mp4(_) => 8,
        }
    }

    const fn most(&self) -> u32 {
        match self {
            Self::Mp3(layout) => layout.most(),
            Self::Wav(_) | Self::Flac(_) | Self::Mp4(_) => MOST,
        }
    }

    fn pad(&self, len: u64, extra: u32) -> Vec<Edit> {
        match self {
            Self::Wav(layout) => layout.pad(len, extra),
            Self::Mp3(layout) => layout.pad(extra),
            Self::Flac(layout) => layout.pad(extra),
            Self::Mp4(_) => mp4::pad(len, extra),
        }
    }

    fn strip(&self, len: u64) -> Option<Vec<Edit>> {
        match self {
            Self::Wav(layout) => layout.strip(len),
            Self::Mp3(layout) => layout.strip(),
            Self::Flac(layout) => layout.strip(),
            Self::Mp4(layout) => layout.strip(len),
        }
    }
}

/// A header followed by zeros, `extra` bytes in all.
fn zeros_after(header: &[u8], extra: u32) -> Vec<u8> {
    let mut padding = header.to_vec();
    padding.resize(extra as usize, 0);
    padding
}

/// A recording of which only a few places are read.
struct SparseReader<'r, R> {
    reader: &'r mut R,
    len: u64,
    /// The number of places that may still be read.
    reads: u32,
}

impl<'r, R: Read + Seek> SparseReader<'r, R> {
    fn new(reader: &'r mut R, reads: u32) -> Option<Self> {
        let len = reader.seek(SeekFrom::End(0)).ok()?;
        Some(Self { reader, len, reads })
    }

    fn seek(&mut self, at: u64) -> Option<()> {
        self.reads = self.reads.checked_sub(1)?;
        self.reader.seek(SeekFrom::Start(at)).ok().map(drop)
    }

    /// Exactly `N` bytes at `at`; `None` if there are fewer.
    fn bytes<const N: usize>(&mut self, at: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.seek(at)?;
        self.reader.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// The bytes at `at`, at most `most` of them.
    fn up_to(&mut self, at: u64, most: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.seek(at)?;
        self.reader.by_ref().take(most).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}
