//! Names of lines and of their outputs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A line's key: unique in its manifest, and the name of its outputs (`{key}.json`; `/` makes folders).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

/// Why a text cannot be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The text is empty.
    #[error("a key may not be empty")]
    Empty,
    /// Over 512 bytes.
    #[error("a key may have at most {max} bytes, and this one has {0}", max = Key::MAX_BYTES)]
    TooLong(usize),
    /// Over 200 bytes between two `/`.
    #[error("a key may have at most {max} bytes between two `/`, and this one has {0}", max = Key::MAX_SEGMENT_BYTES)]
    SegmentTooLong(usize),
    /// It begins with `/`.
    #[error("a key may not begin with `/`: it names files below the output")]
    Absolute,
    /// A `.` or `..` between two `/`.
    #[error("a key may not have `.` or `..` in its path: it names files below the output")]
    Traversal,
    /// `//`, or a `/` at the end.
    #[error("a key may not have `//` in it, nor end with `/`")]
    EmptySegment,
    /// A line break, a tab, a NUL, …
    #[error("a key may not have control characters, and this one has U+{:04X}", *.0 as u32)]
    Control(char),
    /// A backslash separates folders on other systems.
    #[error("a key may not have `\\` in it; folders are made by `/`")]
    Backslash,
    /// `summary` and `report` are files of the batch itself.
    #[error("`summary` and `report` are the batch's own files and cannot be keys")]
    Reserved,
}

impl Key {
    /// The longest key, in bytes.
    pub const MAX_BYTES: usize = 512;
    /// The longest segment between two `/`, in bytes: file systems allow 255, less an ending and a temporary suffix.
    pub const MAX_SEGMENT_BYTES: usize = 200;

    /// Takes `text` as a key.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, KeyFault> {
        let text = text.into();
        Self::check(&text)?;
        Ok(Self(text))
    }

    /// The default key of a line without one: `line-000123`.
    #[must_use]
    pub fn of_line(number: u64) -> Self {
        Self(format!("line-{number:06}"))
    }

    /// Whether `text` is a valid key.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn check(text: &str) -> Result<(), KeyFault> {
        if text.is_empty() {
            return Err(KeyFault::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(KeyFault::TooLong(text.len()));
        }
        if text.starts_with('/') {
            return Err(KeyFault::Absolute);
        }
        if let Some(c) = text.chars().find(|c| c.is_control()) {
            return Err(KeyFault::Control(c));
        }
        if text.contains('\\') {
            return Err(KeyFault::Backslash);
        }
        for segment in text.split('/') {
            match segment {
                "" => return Err(KeyFault::EmptySegment),
                "." | ".." => return Err(KeyFault::Traversal),
                long if long.len() > Self::MAX_SEGMENT_BYTES => return Err(KeyFault::SegmentTooLong(long.len())),
                _ => {}
            }
        }
        // Ignoring case: on some file systems `Summary.json` is the same file.
        if text.eq_ignore_ascii_case("summary") || text.eq_ignore_ascii_case("report") {
            return Err(KeyFault::Reserved);
        }
        Ok(())
    }

    /// The key as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Key {
    type Error = KeyFault;
    fn try_from(text: String) -> Result<Self, KeyFault> {
        Self::new(text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_keys() {
        for key in ["1001", "2026/08/a call", "a..b", "ümläut", "a/summary", ".hidden", "reports"] {
            assert_eq!(Key::new(key).unwrap().as_str(), key);
        }
        assert_eq!(Key::of_line(123).to_string(), "line-000123");
        assert!(Key::new("x".repeat(200)).is_ok());
    }

    #[test]
    fn what_would_leave_the_output_or_break_a_name_is_refused() {
        let long = "x".repeat(201);
        let deep = "abcdefghi/".repeat(52);
        for (text, fault) in [
            ("", KeyFault::Empty),
            ("/etc/passwd", KeyFault::Absolute),
            ("..", KeyFault::Traversal),
            ("a/../b", KeyFault::Traversal),
            ("./a", KeyFault::Traversal),
            ("a//b", KeyFault::EmptySegment),
            ("a/", KeyFault::EmptySegment),
            ("a\nb", KeyFault::Control('\n')),
            ("a\0", KeyFault::Control('\0')),
            ("a\\b", KeyFault::Backslash),
            ("summary", KeyFault::Reserved),
            ("Report", KeyFault::Reserved),
            (&long, KeyFault::SegmentTooLong(201)),
            (&deep, KeyFault::TooLong(520)),
        ] {
            assert_eq!(Key::new(text), Err(fault), "{text:?}");
        }
        assert_eq!(
            KeyFault::Control('\t').to_string(),
            "a key may not have control characters, and this one has U+0009"
        );
    }

    #[test]
    fn the_ledger_gives_back_what_it_took() {
        let key = Key::new("a/b").unwrap();
        assert_eq!(serde_json::to_string(&key).unwrap(), "\"a/b\"");
        assert!(serde_json::from_str::<Key>("\"../b\"").is_err());
    }
}
