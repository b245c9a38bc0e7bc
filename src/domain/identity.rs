//! What makes a line the same line: where its recording is, and what it asks for. A signature that was made afresh, other
//! formats or another output are no new line, and buy nothing.

use sha2::{Digest, Sha256};
use url::Url;

use super::{hex::hex, options::TranscribeOptions};

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

/// Query parameters that sign a URL or end its life: they change with every export of the same recording.
fn is_signature(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("x-amz-")
        || name.starts_with("x-goog-")
        || matches!(
            name.as_str(),
            "signature"
                | "expires"
                | "sig"
                | "se"
                | "sp"
                | "sv"
                | "sr"
                | "st"
                | "skoid"
                | "sktid"
                | "skt"
                | "ske"
                | "sks"
                | "skv"
                | "awsaccesskeyid"
                | "googleaccessid"
                | "key-pair-id"
                | "policy"
                | "token"
                | "access_token"
        )
}

/// An http(s) URL without user info, fragment and signature parameters; anything else as it is.
#[must_use]
pub fn address(source: &str) -> String {
    let Ok(mut url) = Url::parse(source) else { return source.to_owned() };
    if !matches!(url.scheme(), "http" | "https") {
        return source.to_owned();
    }
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    let kept: Vec<(String, String)> =
        url.query_pairs().filter(|(k, _)| !is_signature(k)).map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
    if kept.is_empty() {
        url.set_query(None);
    } else {
        url.query_pairs_mut().clear().extend_pairs(kept);
    }
    url.into()
}

/// The identity of a recording: its [`address`], and the file's size in bytes where there is one to see.
#[must_use]
pub fn source_identity(source: &str, bytes: Option<u64>) -> Identity {
    Identity::of(&[b"source", address(source).as_bytes(), &bytes.map_or([0xff; 8], u64::to_le_bytes)])
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
        let a = "https://b.s3.amazonaws.com/c/1.wav?X-Amz-Date=1&X-Amz-Signature=aa&leg=2";
        let b = "https://b.s3.amazonaws.com/c/1.wav?leg=2&X-Amz-Date=9&X-Amz-Signature=bb";
        assert_eq!(source_identity(a, None), source_identity(b, None));
        assert_ne!(source_identity(a, None), source_identity(&a.replace("leg=2", "leg=3"), None));
        assert_eq!(address("https://u:p@h/x?Expires=1&Signature=2"), "https://h/x");
    }

    #[test]
    fn a_file_of_another_size_is_another_recording() {
        assert_ne!(source_identity("/a.wav", Some(1)), source_identity("/a.wav", Some(2)));
        assert_ne!(source_identity("/a.wav", None), source_identity("/a.wav", Some(2)));
    }
}
