//! What makes a line the same line: which recording or text it has, and what it asks for. A signature that was made afresh,
//! other formats or another output are no new line, and buy nothing.

use sha2::{Digest, Sha256};
use url::Url;

use super::{
    hex::hex,
    options::TranscribeOptions,
    query::{QueryRules, is_web},
};

/// Half a SHA-256: enough to tell a ledger's lines apart, small enough to stand in each row.
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
            // The length first, so that no two lists of fields run into the same bytes.
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field);
        }
        let mut half = [0; 16];
        half.copy_from_slice(&hash.finalize()[..16]);
        Self(half)
    }
}

/// SHA-256 of all bytes of a recording: what makes a local file the same recording, wherever it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash(pub [u8; 32]);

/// How a local recording was found. A file that is found in the same way is not read again; of another one, its content
/// decides whether it is the same recording. In another folder it has to be the very file that was there: recordings of two
/// days may have the same names, sizes and times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passport {
    /// Its path, relative to the folder of the file that names it, or below the folder that was listed. A path elsewhere is
    /// absolute.
    pub path: String,
    /// Its size and the time of its last change; `None` where the file cannot be seen.
    pub seen: Option<SeenFile>,
}

/// What a directory says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenFile {
    /// Its size.
    pub bytes: u64,
    /// When its content changed last, in ns since 1970.
    pub modified_ns: i64,
    /// Its number in its file system: it stays where a folder is moved, or mounted elsewhere.
    pub inode: u64,
}

impl Passport {
    /// An identity for a line whose recording nobody has read yet. The recording's content takes its place.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let seen = self.seen.map_or((u64::MAX, 0), |seen| (seen.bytes, seen.modified_ns));
        Identity::of(&[b"file", self.path.as_bytes(), &seen.0.to_le_bytes(), &seen.1.to_le_bytes()])
    }
}

/// The identity of a recording at an address: an http(s) URL without user info, fragment, and what `rules` leave out of its
/// query; anything else as it is.
#[must_use]
pub fn source_identity(source: &str, rules: &QueryRules) -> Identity {
    Identity::of(&[b"source", address(source, rules).as_bytes()])
}

/// What [`source_identity`] goes by.
#[must_use]
pub fn address(source: &str, rules: &QueryRules) -> String {
    let Some(url) = is_web(source).then(|| Url::parse(source).ok()).flatten() else { return source.to_owned() };
    rules.identifying(url).into()
}

/// The identity of an object in an S3 store that a listing has seen: its address and its ETag.
#[must_use]
pub fn listed_identity(source: &str, etag: &str) -> Identity {
    Identity::of(&[b"listed", source.as_bytes(), etag.as_bytes()])
}

/// The identity of a text that is spoken, wherever it came from.
#[must_use]
pub fn text_identity(text: &str) -> Identity {
    Identity::of(&[b"text", text.as_bytes()])
}

/// The identity of what shapes the call. How it is sent, and what silence means, does not.
#[must_use]
pub fn options_identity(o: &TranscribeOptions) -> Identity {
    // What is sent of word times follows from the formats, too, and from the model: only what is asked for counts.
    let words = o.word_timestamps.unwrap_or(false);
    let flags = [words, o.diarize, o.redact_pii, o.redact_pci, o.emotion_detection, o.gender_detection].map(u8::from);
    let expires = [u8::from(o.expire_content != super::options::ExpireContent::No)];
    let (keywords, extra) = (o.keywords.to_string(), o.extra.canonical());
    let mut shaping: Vec<&[u8]> =
        vec![b"transcribe", o.model.as_str().as_bytes(), o.language.as_str().as_bytes(), &flags, &expires];
    // A line that asks for none of these is the same line as before there were any.
    if !o.keywords.is_empty() {
        shaping.extend([b"keywords".as_slice(), keywords.as_bytes()]);
    }
    if !o.extra.is_empty() {
        shaping.extend([b"extra".as_slice(), extra.as_bytes()]);
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
