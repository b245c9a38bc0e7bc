//! Digests that prove that bytes arrived as they were sent.

use std::io::{self, Read};

use base64::{Engine, engine::general_purpose::STANDARD};
use md5::Md5;
use sha2::{Digest, Sha256};

use crate::domain::hex::hex;

/// Length, SHA-256 and MD5 of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digests {
    pub(super) bytes: u64,
    sha256: [u8; 32],
    md5: [u8; 16],
}

impl Digests {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, sha256: Sha256::digest(bytes).into(), md5: Md5::digest(bytes).into() }
    }

    /// The digests of everything that `from` yields.
    pub(super) fn of_all(mut from: impl Read) -> io::Result<Self> {
        let (mut sha256, mut md5, mut bytes) = (Sha256::new(), Md5::new(), 0);
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let read = from.read(&mut buffer)?;
            if read == 0 {
                return Ok(Self { bytes, sha256: sha256.finalize().into(), md5: md5.finalize().into() });
            }
            sha256.update(&buffer[..read]);
            md5.update(&buffer[..read]);
            bytes += read as u64;
        }
    }

    /// The SHA-256 in the form of S3's header.
    pub(super) fn sha256_header(&self) -> String {
        STANDARD.encode(self.sha256)
    }

    /// The MD5 in the form of `Content-MD5`.
    pub(super) fn md5_header(&self) -> String {
        STANDARD.encode(self.md5)
    }

    pub(super) fn sha256(&self) -> String {
        hex(&self.sha256)
    }

    pub(super) fn md5(&self) -> String {
        hex(&self.md5)
    }

    /// The ETag of an object with these parts, if ETags consist of MD5s.
    pub(super) fn etag_of_parts<'a>(parts: impl ExactSizeIterator<Item = &'a Self>) -> String {
        let count = parts.len();
        let mut md5 = Md5::new();
        parts.for_each(|part| md5.update(part.md5));
        format!("{}-{count}", hex(&md5.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_written_as_stores_do() {
        let abc = Digests::of(b"abc");
        assert_eq!(abc, Digests::of_all(&b"abc"[..]).unwrap());
        assert_eq!(abc.sha256(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(abc.sha256_header(), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
        assert_eq!(
            (abc.md5().as_str(), abc.md5_header().as_str()),
            ("900150983cd24fb0d6963f7d28e17f72", "kAFQmDzST7DWlj99KOF/cg==")
        );
        assert_eq!(Digests::etag_of_parts([&abc, &abc].into_iter()), "043a916d6cfeecedf5e04f0312ba762d-2");
    }
}
