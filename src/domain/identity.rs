//! A line's identity: its recording or text, and its options. A renewed signature, other formats or another output do not
//! make a new line, and buy nothing.

use sha2::{Digest, Sha256};
use url::Url;

use super::{
    hex::hex,
    listening::{ChannelMode, Listening},
    options::TranscribeOptions,
    query::{QueryRules, is_web},
};

/// Half a SHA-256: enough to distinguish a ledger's lines, small enough to be stored in each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity(pub [u8; 16]);

impl Identity {
    /// Lower-case hexadecimal, 32 characters.
    #[must_use]
    pub fn hex(self) -> String {
        hex(&self.0)
    }

    pub(super) fn of(fields: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for field in fields {
            // The length comes first, so that two different lists of fields never give the same bytes.
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field);
        }
        let mut half = [0; 16];
        half.copy_from_slice(&hash.finalize()[..16]);
        Self(half)
    }
}

/// SHA-256 of all bytes of a recording: identifies a local recording independently of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash(pub [u8; 32]);

/// How a local recording was found. A file with an unchanged passport is not read again. Otherwise its content decides
/// whether it is the same recording. In another folder the inode must match as well: recordings of two days may have
/// the same names, sizes and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passport {
    /// The path, relative to the folder of the file that names it, or below the listed folder. A path elsewhere is
    /// absolute.
    pub path: String,
    /// The size and the time of the last change; `None` if the file cannot be seen.
    pub seen: Option<SeenFile>,
}

/// A file's metadata from its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenFile {
    /// Its size.
    pub bytes: u64,
    /// When its content changed last, in ns since 1970.
    pub modified_ns: i64,
    /// The file's inode number: it stays the same when a folder is moved, or mounted elsewhere.
    pub inode: u64,
}

impl Passport {
    /// An identity for a line whose recording nobody has read yet. The identity of the content replaces it.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let seen = self.seen.map_or((u64::MAX, 0), |seen| (seen.bytes, seen.modified_ns));
        Identity::of(&[b"file", self.path.as_bytes(), &seen.0.to_le_bytes(), &seen.1.to_le_bytes()])
    }
}

/// The identity of a recording at an address: an http(s) URL without user info, fragment, and the query parameters that
/// `rules` exclude; any other address unchanged.
#[must_use]
pub fn source_identity(source: &str, rules: &QueryRules) -> Identity {
    Identity::of(&[b"source", address(source, rules).as_bytes()])
}

/// The text that [`source_identity`] hashes.
#[must_use]
pub fn address(source: &str, rules: &QueryRules) -> String {
    let Some(url) = is_web(source).then(|| Url::parse(source).ok()).flatten() else { return source.to_owned() };
    rules.identifying(url).into()
}

/// The identity of an object in an S3 store that was listed: its address and its ETag.
#[must_use]
pub fn listed_identity(source: &str, etag: &str) -> Identity {
    Identity::of(&[b"listed", source.as_bytes(), etag.as_bytes()])
}

/// The identity of what has this SHA-256, wherever it is.
#[must_use]
pub fn content_identity(sha256: &[u8; 32]) -> Identity {
    Identity::of(&[b"content", sha256])
}

/// The identity of a text to be synthesized, independent of its source.
#[must_use]
pub fn text_identity(text: &str) -> Identity {
    Identity::of(&[b"text", text.as_bytes()])
}

/// The identity of the options that affect the calls' results: those of a call, which channels have calls of their own, and what
/// of a recording is sent in one. The way of sending and `allow_silence` do not.
#[must_use]
pub fn options_identity(o: &TranscribeOptions, listening: &Listening) -> Identity {
    // Whether word times are sent also depends on formats and model: only the explicit option counts.
    let words = o.word_timestamps.unwrap_or(false);
    let flags = [words, o.diarize, o.redact_pii, o.redact_pci, o.emotion_detection, o.gender_detection].map(u8::from);
    let expires = [u8::from(o.expire_content != super::options::ExpireContent::No)];
    let (keywords, extra) = (o.keywords.to_string(), o.extra.canonical());
    let mut shaping: Vec<&[u8]> =
        vec![b"transcribe", o.model.as_str().as_bytes(), o.language.as_str().as_bytes(), &flags, &expires];
    // A line without these options keeps the identity that it had before the options existed.
    if !o.keywords.is_empty() {
        shaping.extend([b"keywords".as_slice(), keywords.as_bytes()]);
    }
    if !o.extra.is_empty() {
        shaping.extend([b"extra".as_slice(), extra.as_bytes()]);
    }
    if listening.channels != ChannelMode::Mix {
        shaping.extend([b"channels".as_slice(), listening.channels.as_str().as_bytes()]);
    }
    if listening.trim_silence {
        shaping.push(b"trim_silence");
    }
    let piece = listening.max_piece_ms.map(|ms| ms.to_string());
    if let Some(piece) = &piece {
        shaping.extend([b"max_piece".as_slice(), piece.as_bytes()]);
    }
    Identity::of(&shaping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_signature_is_the_same_recording() {
        let rules = QueryRules::default();
        let a = "https://b.s3.amazonaws.com/c/1.wav?X-Amz-Date=1&X-Amz-Signature=aa&leg=2";
        let b = "https://b.s3.amazonaws.com/c/1.wav?leg=2&X-Amz-Date=9&X-Amz-Signature=bb";
        assert_eq!(source_identity(a, &rules), source_identity(b, &rules));
        assert_ne!(source_identity(a, &rules), source_identity(&a.replace("leg=2", "leg=3"), &rules));
        assert_eq!(address("https://u:p@h/x?Expires=1&Signature=2", &rules), "https://h/x");
        assert_eq!(address("s3://b/x?Expires=1&Signature=2", &rules), "s3://b/x?Expires=1&Signature=2");
    }

    #[test]
    fn a_passport_is_path_size_and_time() {
        let of = |path: &str, bytes, modified_ns| {
            Passport { path: path.into(), seen: Some(SeenFile { bytes, modified_ns, inode: 1 }) }.identity()
        };
        let own = of("a.wav", 1, 1);
        for other in [of("b.wav", 1, 1), of("a.wav", 2, 1), of("a.wav", 1, 2)] {
            assert_ne!(own, other);
        }
        assert_ne!(own, Passport { path: "a.wav".into(), seen: None }.identity());
    }
}
