//! Addresses in an S3 store, and the settings of a store.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// `s3://bucket/key`; the key may be empty, or a prefix that ends in `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct S3Address {
    /// The bucket's name.
    pub bucket: String,
    /// The object's key, or a prefix of keys, as the store has it: a `/` at its start, `//` and `..` are parts of it. Not
    /// percent-encoded.
    pub key: String,
}

/// Why a text is not an address in an S3 store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum S3AddressFault {
    /// It begins with another scheme.
    #[error("is not an s3:// address")]
    Scheme,
    /// `s3:///key`
    #[error("names no bucket; write s3://bucket/key")]
    NoBucket,
    /// A bucket name that no store allows.
    #[error("`{0}` cannot name a bucket: use letters, digits, `-`, `.` and `_`")]
    Bucket(String),
    /// Control characters in the key.
    #[error("has control characters")]
    Control,
    /// A key over 1,024 bytes: no store accepts it.
    #[error("has a key of over 1024 bytes")]
    TooLong,
}

impl S3Address {
    /// The longest key of any store, in bytes.
    pub const MAX_KEY_BYTES: usize = 1_024;

    /// The address of `name` below this prefix.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        let slash = if self.key.is_empty() || self.key.ends_with('/') { "" } else { "/" };
        Self { bucket: self.bucket.clone(), key: format!("{}{slash}{name}", self.key) }
    }

    /// Whether the address names many objects: a bucket, or a prefix that ends in `/`.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        self.key.is_empty() || self.key.ends_with('/')
    }
}

impl FromStr for S3Address {
    type Err = S3AddressFault;
    fn from_str(text: &str) -> Result<Self, S3AddressFault> {
        let rest = match text.split_at_checked(5) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("s3://") => rest,
            _ => return Err(S3AddressFault::Scheme),
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(S3AddressFault::NoBucket);
        }
        if !bucket.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
            return Err(S3AddressFault::Bucket(bucket.to_owned()));
        }
        if key.chars().any(char::is_control) {
            return Err(S3AddressFault::Control);
        }
        if key.len() > Self::MAX_KEY_BYTES {
            return Err(S3AddressFault::TooLong);
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl fmt::Display for S3Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// A definition's `[source]`, and the same part of `[sink]`: the store, and the identity used there. Missing settings come
/// from AWS's own variables and files. No setting is a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct S3Settings {
    /// The store's region.
    pub region: Option<String>,
    /// The http(s) address of a store other than AWS.
    pub endpoint_url: Option<String>,
    /// The profile in AWS's files whose credentials are used.
    pub profile: Option<String>,
    /// Whether the bucket is in the path instead of the host name; by default if an endpoint is set.
    pub path_style: Option<bool>,
}

/// A definition's `[sink]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SinkSettings {
    /// The store, and the identity used there.
    #[serde(flatten)]
    pub store: S3Settings,
    /// Server-side encryption: `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub sse: Option<String>,
    /// The key of `aws:kms`; the bucket's own by default.
    pub kms_key_id: Option<String>,
    /// `STANDARD_IA`, `INTELLIGENT_TIERING`, …
    pub storage_class: Option<String>,
    /// Metadata for every object.
    pub metadata: BTreeMap<String, String>,
}

/// An object's properties in a listing. A fetch that finds other ones fails its line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Listed {
    /// Its size.
    pub bytes: u64,
    /// Its ETag, without quotes.
    pub etag: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let at: S3Address = "s3://acme-calls/2026/11/20/a b.wav".parse().unwrap();
        assert_eq!((at.bucket.as_str(), at.key.as_str()), ("acme-calls", "2026/11/20/a b.wav"));
        assert_eq!(at.to_string(), "s3://acme-calls/2026/11/20/a b.wav");
        let bucket: S3Address = "S3://b".parse().unwrap();
        assert!(bucket.is_prefix() && !at.is_prefix());
        assert_eq!(bucket.join("x/y").to_string(), "s3://b/x/y");
        assert_eq!("s3://b/out".parse::<S3Address>().unwrap().join("y").key, "out/y");
        for (text, key) in
            [("s3://b//1.wav", "/1.wav"), ("s3://b///", "//"), ("s3://b/a//../b%2F+ .wav", "a//../b%2F+ .wav")]
        {
            let at: S3Address = text.parse().unwrap();
            assert_eq!((at.key.as_str(), at.to_string().as_str()), (key, text));
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, fault) in [
            ("https://b/k", S3AddressFault::Scheme),
            ("s3:", S3AddressFault::Scheme),
            ("s3:///k", S3AddressFault::NoBucket),
            ("s3://a b/k", S3AddressFault::Bucket("a b".into())),
            ("s3://b/a\nb", S3AddressFault::Control),
        ] {
            assert_eq!(text.parse::<S3Address>(), Err(fault), "{text}");
        }
        assert_eq!(format!("s3://b/{}", "x".repeat(1_025)).parse::<S3Address>(), Err(S3AddressFault::TooLong));
    }

    #[test]
    fn a_ledger_without_settings_has_the_defaults() {
        let settings: SinkSettings = serde_json::from_str("{}").unwrap();
        assert_eq!(settings, SinkSettings::default());
        let said = SinkSettings { sse: Some("aws:kms".into()), ..SinkSettings::default() };
        assert_eq!(serde_json::from_str::<SinkSettings>(&serde_json::to_string(&said).unwrap()).unwrap(), said);
    }
}
