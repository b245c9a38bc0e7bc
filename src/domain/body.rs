//! Bodies of answers, stored as raw DEFLATE: a packed transcript takes a fraction of its bytes in memory and in the ledger.

use std::io::{self, BufRead, BufReader, Read, Write};

use bytes::{Bytes, BytesMut};
use flate2::{Compression, bufread::DeflateDecoder, write::DeflateEncoder};

/// A body of at least this many bytes is large: it is packed while it arrives, and read as a stream.
pub const LARGE: u64 = 4 << 20;

/// A shorter body is stored unpacked: packing would cost more than it saves.
const PACK_FROM: usize = 1_024;

/// The compression of a large body: each of its bytes is in memory several times when the body is written to the ledger.
const OF_LARGE: Compression = Compression::new(3);

/// How many bytes of a packed body are unpacked at a time.
const PIECE: usize = 64 << 10;

/// A stored body. It is packed where it is created, because the ledger's writer has no time for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Length as received.
    len: u64,
    packed: bool,
    kept: Bytes,
}

impl Body {
    /// A body that was stored before: its length as received, whether it is packed, and its bytes.
    #[must_use]
    pub const fn from_kept(len: u64, packed: bool, kept: Bytes) -> Self {
        Self { len, packed, kept }
    }

    /// The length as received, in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether the body has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the body is too large to be unpacked in memory.
    #[must_use]
    pub const fn is_large(&self) -> bool {
        self.len >= LARGE
    }

    /// The stored bytes, and whether they are packed.
    #[must_use]
    pub fn kept(&self) -> (&[u8], bool) {
        (&self.kept, self.packed)
    }

    /// The body as received, as a stream. An error means that the stored bytes are damaged.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        match self.packed {
            false => Reader::Whole(&self.kept),
            true => Reader::Packed(Box::new(BufReader::with_capacity(PIECE, DeflateDecoder::new(&self.kept[..])))),
        }
    }

    /// The body as received, in memory.
    ///
    /// # Errors
    /// The stored bytes are damaged.
    pub fn whole(&self) -> io::Result<Bytes> {
        if !self.packed {
            return Ok(self.kept.clone());
        }
        let mut whole = Vec::with_capacity(usize::try_from(self.len).unwrap_or(0));
        self.reader().read_to_end(&mut whole)?;
        Ok(whole.into())
    }
}

/// Packs the bytes if that saves space.
impl From<&[u8]> for Body {
    fn from(body: &[u8]) -> Self {
        match pack(body) {
            Some(packed) => Self::from_kept(body.len() as u64, true, packed.into()),
            None => Self::from_kept(body.len() as u64, false, Bytes::copy_from_slice(body)),
        }
    }
}

impl From<Bytes> for Body {
    fn from(body: Bytes) -> Self {
        match pack(&body) {
            Some(packed) => Self::from_kept(body.len() as u64, true, packed.into()),
            None => Self::from_kept(body.len() as u64, false, body),
        }
    }
}

impl From<String> for Body {
    fn from(body: String) -> Self {
        Bytes::from(body).into()
    }
}

impl From<&str> for Body {
    fn from(body: &str) -> Self {
        body.as_bytes().into()
    }
}

/// The body in raw DEFLATE; `None` if it is too short for packing to save space.
#[must_use]
pub fn pack(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < PACK_FROM {
        return None;
    }
    let mut encoder = DeflateEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).ok()
}

/// A reader of a body.
#[derive(Debug)]
pub enum Reader<'b> {
    /// The body was never packed.
    Whole(&'b [u8]),
    /// The body is unpacked while it is read.
    Packed(Box<BufReader<DeflateDecoder<&'b [u8]>>>),
}

impl Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Whole(left) => left.read(buf),
            Self::Packed(packed) => packed.read(buf),
        }
    }
}

impl BufRead for Reader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Whole(left) => left.fill_buf(),
            Self::Packed(packed) => packed.fill_buf(),
        }
    }

    fn consume(&mut self, amount: usize) {
        match self {
            Self::Whole(left) => left.consume(amount),
            Self::Packed(packed) => packed.consume(amount),
        }
    }
}

/// A body that is arriving. Up to [`LARGE`] its bytes are kept as they are; beyond that they are packed at once, so that
/// many large bodies can arrive at the same time.
#[derive(Debug, Default)]
pub struct Arriving {
    len: u64,
    start: BytesMut,
    packer: Option<Box<DeflateEncoder<Vec<u8>>>>,
}

/// A body that has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrived {
    /// As received: the body is not large.
    Whole(Bytes),
    /// Packed: the body is large.
    Packed(Body),
}

impl Arriving {
    /// Adds the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.len += piece.len() as u64;
        if self.packer.is_none() {
            if self.len < LARGE {
                return self.start.extend_from_slice(piece);
            }
            let mut packer = DeflateEncoder::new(Vec::new(), OF_LARGE);
            packer.write_all(&std::mem::take(&mut self.start)).expect("memory takes what it is given");
            self.packer = Some(Box::new(packer));
        }
        if let Some(packer) = &mut self.packer {
            packer.write_all(piece).expect("memory takes what it is given");
        }
    }

    /// How many bytes have arrived.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte has arrived.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes of memory the body takes up now.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.packer.as_ref().map_or(self.start.len(), |packer| packer.get_ref().len())
    }

    /// Everything that has arrived.
    #[must_use]
    pub fn finish(self) -> Arrived {
        match self.packer {
            None => Arrived::Whole(self.start.freeze()),
            Some(packer) => {
                let packed = packer.finish().expect("memory takes what it is given");
                Arrived::Packed(Body::from_kept(self.len, true, packed.into()))
            }
        }
    }
}

impl Write for Arriving {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.push(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Arrived {
    /// The body in its stored form.
    #[must_use]
    pub fn into_body(self) -> Body {
        match self {
            Self::Whole(bytes) => bytes.into(),
            Self::Packed(body) => body,
        }
    }

    /// The length as received, in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Packed(body) => body.len(),
        }
    }

    /// Whether the body has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The body as a stream.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        match self {
            Self::Whole(bytes) => Reader::Whole(bytes),
            Self::Packed(body) => body.reader(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that do not compress well, the same each time.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        (0..len).map(|_| next()).collect()
    }

    fn arrived(body: &[u8], by: usize) -> Arrived {
        let mut arriving = Arriving::default();
        body.chunks(by).for_each(|piece| arriving.push(piece));
        assert_eq!(arriving.len(), body.len() as u64);
        arriving.finish()
    }

    #[test]
    fn what_is_kept_is_what_came() {
        for len in [0, 1, PACK_FROM - 1, PACK_FROM, 3 * PIECE + 7] {
            for body in [vec![b'a'; len], noise(len)] {
                let kept = Body::from(&body[..]);
                assert_eq!((kept.len(), kept.is_empty()), (len as u64, len == 0));
                assert_eq!(kept.kept().1, len >= PACK_FROM);
                assert_eq!(kept.whole().unwrap(), body);
                let (bytes, packed) = kept.kept();
                let again = Body::from_kept(len as u64, packed, Bytes::copy_from_slice(bytes));
                let mut read = Vec::new();
                again.reader().read_to_end(&mut read).unwrap();
                assert_eq!(read, body);
                assert_eq!(Body::from(Bytes::from(body)), kept);
            }
        }
    }

    #[test]
    fn a_large_body_is_packed_while_it_arrives() {
        let large = usize::try_from(LARGE).unwrap();
        for len in [0, 1, large - 1] {
            assert_eq!(arrived(&vec![b'a'; len], 100_000), Arrived::Whole(vec![b'a'; len].into()));
        }
        for len in [large, large + 1] {
            let body = vec![b'a'; len];
            for by in [len, 100_000] {
                let Arrived::Packed(kept) = arrived(&body, by) else { panic!("{len} is large") };
                assert!(kept.is_large() && kept.kept().0.len() < len / 100);
                assert_eq!(kept.whole().unwrap(), body);
            }
        }
    }

    #[test]
    fn damage_is_an_error() {
        let (kept, packed) = {
            let body = Body::from(&noise(10_000)[..]);
            (Bytes::copy_from_slice(body.kept().0), body.kept().1)
        };
        let cut = Body::from_kept(10_000, packed, kept.slice(..kept.len() / 2));
        assert!(cut.whole().is_err());
    }
}
