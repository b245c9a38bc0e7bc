//! Undoes the `Content-Encoding` of a download while it arrives.

use std::io::{self, Write};

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::{fetch_error::FetchError, partial::PartialFile};

/// Packed bytes that are unpacked at a time: they become about a thousand times as many at the most.
const PIECE: usize = 1024;

/// Why the rest of a body cannot be taken.
pub(super) enum Unfit {
    /// It has more bytes than are allowed, once it is unpacked.
    TooLarge,
    /// It is not what its `Content-Encoding` says.
    Damaged(String),
    /// It cannot be written.
    Fetch(FetchError),
}

impl From<FetchError> for Unfit {
    fn from(error: FetchError) -> Self {
        Self::Fetch(error)
    }
}

/// A body of one response, on its way into a file.
pub(super) struct Body {
    packing: Packing,
    /// The bytes that came, packed as they are.
    came: u64,
}

/// How a body is packed.
enum Packing {
    Plain,
    /// By gzip, if it begins like that.
    MaybeGzip(Vec<u8>),
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// By deflate, in the container of zlib or without one.
    MaybeZlib(Vec<u8>),
    Zlib(ZlibDecoder<Vec<u8>>),
    Deflate(DeflateDecoder<Vec<u8>>),
}

impl Body {
    /// A body after the `before` bytes that an earlier response brought, with this `Content-Encoding`.
    ///
    /// # Errors
    /// The encoding cannot be undone; its name.
    pub(super) fn new(encoding: Option<&str>, before: u64) -> Result<Self, String> {
        let mut packing = Packing::Plain;
        for name in encoding.unwrap_or_default().split(',').map(|name| name.trim().to_ascii_lowercase()) {
            let next = match name.as_str() {
                "gzip" | "x-gzip" => Packing::MaybeGzip(Vec::new()),
                "deflate" => Packing::MaybeZlib(Vec::new()),
                "br" | "zstd" | "compress" | "x-compress" => return Err(name),
                // Stores keep any text here (`aws-chunked`, `utf-8`, `base64`), and send the bytes as they are.
                _ => continue,
            };
            if !matches!(packing, Packing::Plain) {
                return Err(encoding.unwrap_or_default().to_owned());
            }
            packing = next;
        }
        let came = if matches!(packing, Packing::Plain) { before } else { 0 };
        Ok(Self { packing, came })
    }

    /// Whether it has to be unpacked, so that no later response can go on in the middle of it.
    pub(super) const fn is_packed(&self) -> bool {
        !matches!(self.packing, Packing::Plain)
    }

    /// The bytes that came so far, as they were sent.
    pub(super) const fn came(&self) -> u64 {
        self.came
    }

    /// Adds bytes as they come.
    pub(super) async fn add(&mut self, bytes: &[u8], to: &mut PartialFile) -> Result<(), Unfit> {
        self.came += bytes.len() as u64;
        if !self.is_packed() {
            return append(bytes, to).await;
        }
        for piece in bytes.chunks(PIECE) {
            let unpacked = self.packing.add(piece).map_err(|e| Unfit::Damaged(e.to_string()))?;
            append(&unpacked, to).await?;
        }
        Ok(())
    }

    /// Adds what is left when all bytes have come.
    pub(super) async fn end(&mut self, to: &mut PartialFile) -> Result<(), Unfit> {
        let rest = self.packing.end().map_err(|e| Unfit::Damaged(e.to_string()))?;
        append(&rest, to).await
    }
}

async fn append(bytes: &[u8], to: &mut PartialFile) -> Result<(), Unfit> {
    if to.len() + bytes.len() as u64 > to.max() {
        return Err(Unfit::TooLarge);
    }
    Ok(to.append(bytes).await?)
}

impl Packing {
    /// The bytes that this piece unpacks to.
    fn add(&mut self, piece: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(piece.to_vec()),
            Self::Gzip(decoder) => unpack(&mut **decoder, piece, MultiGzDecoder::get_mut),
            Self::Zlib(decoder) => unpack(decoder, piece, ZlibDecoder::get_mut),
            Self::Deflate(decoder) => unpack(decoder, piece, DeflateDecoder::get_mut),
            Self::MaybeGzip(start) | Self::MaybeZlib(start) => {
                start.extend_from_slice(piece);
                if start.len() < 2 { Ok(Vec::new()) } else { self.decide() }
            }
        }
    }

    /// Decides by the first two bytes: a name in a header may be wrong.
    fn decide(&mut self) -> io::Result<Vec<u8>> {
        let (start, packing) = match self {
            Self::MaybeGzip(start) => {
                let is_gzip = start.starts_with(&[0x1f, 0x8b]);
                let packing = if is_gzip { Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))) } else { Self::Plain };
                (std::mem::take(start), packing)
            }
            Self::MaybeZlib(start) => {
                let is_zlib =
                    matches!(start[..], [a, b, ..] if a & 0x0f == 8 && (u16::from(a) << 8 | u16::from(b)) % 31 == 0);
                let packing = match is_zlib {
                    true => Self::Zlib(ZlibDecoder::new(Vec::new())),
                    false => Self::Deflate(DeflateDecoder::new(Vec::new())),
                };
                (std::mem::take(start), packing)
            }
            _ => return Ok(Vec::new()),
        };
        *self = packing;
        self.add(&start)
    }

    /// The rest at the end of the body.
    fn end(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(Vec::new()),
            Self::MaybeGzip(start) | Self::MaybeZlib(start) => Ok(std::mem::take(start)),
            Self::Gzip(decoder) => decoder.try_finish().map(|()| std::mem::take(decoder.get_mut())),
            Self::Zlib(decoder) => decoder.try_finish().map(|()| std::mem::take(decoder.get_mut())),
            Self::Deflate(decoder) => decoder.try_finish().map(|()| std::mem::take(decoder.get_mut())),
        }
    }
}

fn unpack<D: Write>(decoder: &mut D, piece: &[u8], out: impl Fn(&mut D) -> &mut Vec<u8>) -> io::Result<Vec<u8>> {
    decoder.write_all(piece)?;
    decoder.flush()?;
    Ok(std::mem::take(out(decoder)))
}

#[cfg(test)]
mod tests {
    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use super::*;

    fn wav() -> Vec<u8> {
        let samples = (0..100_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8);
        b"RIFF....WAVE".iter().copied().chain(samples).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    async fn take(encoding: &str, sent: &[u8], pieces: usize, max: u64) -> Result<Vec<u8>, String> {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("a");
        let mut part = PartialFile::create(&dest, max, 0).await.unwrap();
        let said = |unfit| match unfit {
            Unfit::TooLarge => "too large".to_owned(),
            Unfit::Damaged(why) => format!("damaged: {why}"),
            Unfit::Fetch(e) => e.to_string(),
        };
        let mut body = Body::new(Some(encoding), 0)?;
        for piece in sent.chunks(pieces) {
            body.add(piece, &mut part).await.map_err(said)?;
        }
        body.end(&mut part).await.map_err(said)?;
        assert_eq!(body.came(), sent.len() as u64);
        part.settle().await.unwrap();
        part.finish().await.unwrap();
        Ok(std::fs::read(dest).unwrap())
    }

    #[tokio::test]
    async fn what_is_packed_is_unpacked_as_it_comes() {
        let wav = wav();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(&wav).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(&wav).unwrap();
        let halves = [gzip(&wav[..500]), gzip(&wav[500..])].concat();
        for (encoding, sent) in [
            ("gzip", gzip(&wav)),
            ("X-GZIP", halves),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", raw.finish().unwrap()),
            ("aws-chunked, gzip", gzip(&wav)),
            ("identity", wav.clone()),
            ("utf-8", wav.clone()),
            ("", wav.clone()),
            // The header is wrong.
            ("gzip", wav.clone()),
        ] {
            for pieces in [7, 4_096, 1_000_000] {
                assert!(take(encoding, &sent, pieces, 1_000_000).await.unwrap() == wav, "{encoding} by {pieces}");
            }
        }
        let short = &wav[..1_000];
        assert!(take("gzip", &gzip(short), 1, 1_000_000).await.unwrap() == short, "byte by byte");
        assert_eq!(take("gzip", b"", 9, 10).await.unwrap(), b"");
        assert_eq!(take("gzip", b"R", 9, 10).await.unwrap(), b"R");
    }

    #[tokio::test]
    async fn what_is_cut_damaged_or_a_bomb_is_refused() {
        let packed = gzip(&wav());
        let cut = take("gzip", &packed[..packed.len() / 2], 4_096, 1_000_000).await.unwrap_err();
        assert!(cut.starts_with("damaged"), "{cut}");
        let mut damaged = packed.clone();
        damaged[packed.len() / 2] ^= 0xff;
        assert!(take("gzip", &damaged, 4_096, 1_000_000).await.unwrap_err().starts_with("damaged"));
        let bomb = gzip(&vec![0; 200_000_000]);
        assert!(bomb.len() < 1_000_000);
        assert_eq!(take("gzip", &bomb, 1_000_000, 1_000_000).await, Err("too large".into()));
        for encoding in ["br", "gzip, br", "zstd", "gzip, gzip", "deflate,gzip"] {
            assert!(take(encoding, b"x", 9, 9).await.is_err(), "{encoding}");
        }
    }
}
