//! The bytes of a manifest: decompressed, hashed, without a byte order mark.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

const BUFFER: usize = 64 << 10;

/// A manifest's content as a stream.
pub(super) struct Input {
    reader: BufReader<Hashing>,
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

impl Input {
    /// Opens a file. Compression is detected by content, not by name.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut packed = BufReader::with_capacity(BUFFER, file);
        let is_gzip = packed.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let inner: Box<dyn Read> = if is_gzip { Box::new(MultiGzDecoder::new(packed)) } else { Box::new(packed) };
        let mut reader = BufReader::with_capacity(BUFFER, Hashing { inner, hash: Sha256::new() });
        let start = reader.fill_buf()?;
        if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
            return Err(io::Error::other("it is UTF-16; save it as UTF-8"));
        }
        if start.starts_with(b"\xef\xbb\xbf") {
            reader.consume(3);
        }
        Ok(Self { reader })
    }

    /// Reads to the end and returns the hash of the whole content.
    pub(super) fn finish(mut self) -> io::Result<[u8; 32]> {
        loop {
            let rest = self.reader.fill_buf()?.len();
            if rest == 0 {
                return Ok(self.reader.into_inner().hash.finalize().into());
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
