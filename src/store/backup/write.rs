//! Writing the archive of a backup.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use sha2::{Digest, Sha256};

use super::head::{CHECKSUMS, Checksum};
use crate::domain::hex::hex;

/// After how many bytes they are made durable. A disk that is given gigabytes at once makes the commits of a running batch
/// wait until it has written them.
pub(super) const DURABLE_EVERY: u64 = 16 << 20;

/// An archive that is being written.
pub(super) struct ArchiveWriter {
    tar: tar::Builder<Paced>,
    written: Vec<Checksum>,
    /// The time of all members, in seconds since 1970.
    at: u64,
}

impl ArchiveWriter {
    /// Makes the file, readable for its owner alone.
    pub(super) fn create(path: &Path, at: u64) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { tar: tar::Builder::new(Paced { file, since: 0 }), written: Vec::new(), at })
    }

    /// A member with this content.
    pub(super) fn bytes(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.member(name, content, content.len() as u64, &mut |_| ())
    }

    /// A member with the content of a file. `each` is called with the bytes of each piece.
    pub(super) fn file(&mut self, name: &str, file: &File, each: &mut dyn FnMut(u64)) -> io::Result<()> {
        let bytes = file.metadata()?.len();
        self.member(name, file, bytes, each)
    }

    fn member(&mut self, name: &str, from: impl Read, bytes: u64, each: &mut dyn FnMut(u64)) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        header.set_mtime(self.at);
        let mut hashed = Hashed { from: from.take(bytes), hash: Sha256::new(), read: 0, each };
        self.tar.append_data(&mut header, name, &mut hashed)?;
        if hashed.read != bytes {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{name} became shorter while it was copied"),
            ));
        }
        let sha256 = hex(&hashed.hash.finalize());
        self.written.push(Checksum { name: name.to_owned(), bytes, sha256 });
        Ok(())
    }

    /// Writes the checksums and the end of the archive, and makes all of it durable. Returns its length.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        let checksums = serde_json::to_vec(&self.written)?;
        self.bytes(CHECKSUMS, &checksums)?;
        let file = self.tar.into_inner()?.file;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    }
}

/// What is read, and its hash.
struct Hashed<'e, R> {
    from: R,
    hash: Sha256,
    read: u64,
    each: &'e mut dyn FnMut(u64),
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.hash.update(&into[..read]);
        self.read += read as u64;
        (self.each)(read as u64);
        Ok(read)
    }
}

/// A file that is made durable bit by bit.
struct Paced {
    file: File,
    since: u64,
}

impl Write for Paced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.since += written as u64;
        if self.since >= DURABLE_EVERY {
            self.since = 0;
            self.file.sync_data()?;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
