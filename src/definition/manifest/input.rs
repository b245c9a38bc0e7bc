//! The text of a manifest: decompressed, hashed, decoded to UTF-8, without a byte order mark.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use encoding_rs::{DecoderResult, Encoding, UTF_8};
use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::super::dialect::{Dialect, TextEncoding};

const BUFFER: usize = 64 << 10;

/// A manifest's content as a stream.
pub(super) struct Input {
    reader: BufReader<Decoding>,
    /// The encoding, if it is not UTF-8.
    encoding: Option<&'static Encoding>,
}

/// Hashes the decompressed content.
struct Hashing {
    inner: Box<dyn Read>,
    hash: Sha256,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// Turns another encoding into UTF-8.
struct Decoding {
    inner: BufReader<Hashing>,
    /// `None` for UTF-8, which readers check cell by cell.
    decoder: Option<Decoder>,
}

struct Decoder {
    decoder: encoding_rs::Decoder,
    /// Decoded bytes that are not read yet, from `at`.
    out: Vec<u8>,
    at: usize,
    is_done: bool,
}

impl Read for Decoding {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(decoder) = &mut self.decoder else { return self.inner.read(buffer) };
        while decoder.at == decoder.out.len() && !decoder.is_done {
            decoder.fill(&mut self.inner)?;
        }
        let read = buffer.len().min(decoder.out.len() - decoder.at);
        buffer[..read].copy_from_slice(&decoder.out[decoder.at..decoder.at + read]);
        decoder.at += read;
        Ok(read)
    }
}

impl Decoder {
    fn of(encoding: &'static Encoding) -> Self {
        Self { decoder: encoding.new_decoder_without_bom_handling(), out: Vec::new(), at: 0, is_done: false }
    }

    fn fill(&mut self, inner: &mut BufReader<Hashing>) -> io::Result<()> {
        let bytes = inner.fill_buf()?;
        let is_last = bytes.is_empty();
        let room = self.decoder.max_utf8_buffer_length_without_replacement(bytes.len()).unwrap_or(BUFFER);
        self.out.resize(room, 0);
        self.at = 0;
        let (result, used, written) = self.decoder.decode_to_utf8_without_replacement(bytes, &mut self.out, is_last);
        self.out.truncate(written);
        inner.consume(used);
        if matches!(result, DecoderResult::Malformed(..)) {
            return Err(io::Error::other(format!("it is not {} throughout", self.decoder.encoding().name())));
        }
        self.is_done = is_last && result == DecoderResult::InputEmpty;
        Ok(())
    }
}

impl Input {
    /// Opens a file. Compression and byte order marks are detected by content, not by name.
    pub(super) fn open(path: &Path, dialect: Dialect) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut packed = BufReader::with_capacity(BUFFER, file);
        let is_gzip = packed.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let inner: Box<dyn Read> = if is_gzip { Box::new(MultiGzDecoder::new(packed)) } else { Box::new(packed) };
        let mut hash = Sha256::new();
        hash.update(dialect.said());
        let mut inner = BufReader::with_capacity(BUFFER, Hashing { inner, hash });
        let start = inner.fill_buf()?;
        if let Some(message) = no_text(start) {
            return Err(io::Error::other(message));
        }
        let said = dialect.encoding.map(|TextEncoding(encoding)| encoding);
        let encoding = match Encoding::for_bom(start) {
            Some((encoding, mark)) => {
                inner.consume(mark);
                encoding
            }
            None => match said {
                Some(encoding) => encoding,
                None => match unmarked_utf16(start) {
                    Some(message) => return Err(io::Error::other(message)),
                    None => UTF_8,
                },
            },
        };
        let encoding = Some(encoding).filter(|encoding| *encoding != UTF_8);
        let reader = BufReader::with_capacity(BUFFER, Decoding { inner, decoder: encoding.map(Decoder::of) });
        Ok(Self { reader, encoding })
    }

    /// The encoding, if it is not UTF-8.
    pub(super) fn encoding(&self) -> Option<TextEncoding> {
        self.encoding.map(TextEncoding)
    }

    /// Reads to the end and returns the hash of the whole content.
    pub(super) fn finish(mut self) -> io::Result<[u8; 32]> {
        loop {
            let rest = self.reader.fill_buf()?.len();
            if rest == 0 {
                return Ok(self.reader.into_inner().inner.into_inner().hash.finalize().into());
            }
            self.reader.consume(rest);
        }
    }

    /// Reads one line into `line`, without its line end; `false` at the end of the file. Never holds much more than
    /// `limit` bytes: the rest of a longer line is skipped, and `line` has more than `limit`.
    pub(super) fn read_line(&mut self, line: &mut Vec<u8>, limit: usize) -> io::Result<bool> {
        line.clear();
        let read = self.reader.by_ref().take(limit as u64 + 2).read_until(b'\n', line)?;
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        } else if line.len() > limit {
            self.reader.skip_until(b'\n')?;
        }
        Ok(read > 0)
    }
}

/// The message if a file is no text at all, and what to do with it.
fn no_text(start: &[u8]) -> Option<&'static str> {
    const KINDS: &[(&[u8], &str)] = &[
        (
            b"PK\x03\x04",
            "it is a workbook (.xlsx, .ods) or another zip archive; save the sheet as CSV (in Excel: \"CSV UTF-8\")",
        ),
        (b"\xd0\xcf\x11\xe0", "it is an old workbook (.xls); save the sheet as CSV (in Excel: \"CSV UTF-8\")"),
        (b"PAR1", "it is Parquet; export it as CSV or JSON Lines"),
        (b"\x28\xb5\x2f\xfd", "it is packed with zstd; unpack it, or pack it with gzip"),
        (b"BZh", "it is packed with bzip2; unpack it, or pack it with gzip"),
        (b"\xfd7zXZ\0", "it is packed with xz; unpack it, or pack it with gzip"),
        (b"SQLite format 3\0", "it is an SQLite database; export a table as CSV"),
    ];
    KINDS.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, message)| *message)
}

/// The message if a text without a byte order mark looks like UTF-16: ASCII has a zero beside every character there.
fn unmarked_utf16(start: &[u8]) -> Option<String> {
    let pairs = start.chunks_exact(2).take(8);
    let count = pairs.len();
    let zeros = |at: usize| pairs.clone().filter(|pair| pair[at] == 0 && pair[1 - at] != 0).count();
    let label = match count {
        4.. if zeros(1) == count => "utf-16le",
        4.. if zeros(0) == count => "utf-16be",
        _ => return None,
    };
    Some(format!("it looks like UTF-16 without a byte order mark; say so with --encoding {label}"))
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}
