//! How the bytes of a manifest become cells: the encoding of its text, and the delimiter between two cells.

use std::{fmt, str::FromStr};

use encoding_rs::Encoding;

use super::text::excerpt;

/// What a definition says about the bytes of its manifest; `None` is found out from the content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dialect {
    /// The delimiter between two cells of a CSV.
    pub delimiter: Option<Delimiter>,
    /// The encoding of a text without a byte order mark; without one it is UTF-8.
    pub encoding: Option<TextEncoding>,
}

impl Dialect {
    /// What of the dialect was said, as bytes: with another dialect the same content has other lines.
    pub(super) fn said(&self) -> Vec<u8> {
        let delimiter = self.delimiter.map(|Delimiter(byte)| format!("delimiter {byte}\n"));
        let encoding = self.encoding.map(|TextEncoding(encoding)| format!("encoding {}\n", encoding.name()));
        [delimiter, encoding].into_iter().flatten().collect::<String>().into_bytes()
    }
}

/// The delimiter between two cells: one ASCII character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delimiter(pub(super) u8);

impl FromStr for Delimiter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let byte = match (text, text.as_bytes()) {
            ("comma", _) => b',',
            ("semicolon", _) => b';',
            ("tab" | "\\t", _) => b'\t',
            ("pipe", _) => b'|',
            (_, [byte]) if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n ".contains(byte) => *byte,
            _ => {
                return Err(format!(
                    "`{}` cannot part cells; write one character, like \",\", \";\" or \"|\", or \"tab\"; \"auto\" finds it",
                    excerpt(text)
                ));
            }
        };
        Ok(Self(byte))
    }
}

/// `;`, `a tab`
impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'\t' => f.write_str("a tab"),
            byte => write!(f, "`{}`", char::from(byte).escape_default()),
        }
    }
}

/// The encoding of a text, by a label of the WHATWG's Encoding Standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextEncoding(pub(super) &'static Encoding);

impl FromStr for TextEncoding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let label = match text.to_ascii_lowercase().as_str() {
            "ansi" => "windows-1252".to_owned(),
            other => other.to_owned(),
        };
        Encoding::for_label_no_replacement(label.as_bytes()).map(Self).ok_or_else(|| {
            format!(
                "`{}` is not an encoding that is known here; write e.g. \"utf-8\", \"utf-16le\", \"windows-1252\" (Excel in the West), \"windows-1250\", \"shift_jis\" or \"gb18030\"; \"auto\" goes by the byte order mark, else takes UTF-8",
                excerpt(text)
            )
        })
    }
}

impl fmt::Display for TextEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

/// Reads a setting whose value `auto` says nothing.
///
/// # Errors
/// It is no such value.
pub fn unless_auto<T: FromStr<Err = String>>(text: &str) -> Result<Option<T>, String> {
    if text.eq_ignore_ascii_case("auto") { Ok(None) } else { text.parse().map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_characters_or_have_names() {
        for (text, byte) in [(",", b','), ("semicolon", b';'), ("tab", b'\t'), ("\t", b'\t'), ("|", b'|'), ("\u{1}", 1)]
        {
            assert_eq!(text.parse(), Ok(Delimiter(byte)), "{text:?}");
        }
        for bad in ["", ";;", "a", "\"", "\n", " ", "é"] {
            assert!(bad.parse::<Delimiter>().is_err(), "{bad:?}");
        }
        assert_eq!(unless_auto::<Delimiter>("auto"), Ok(None));
    }

    #[test]
    fn encodings_have_the_names_that_people_use() {
        for (text, name) in [
            ("utf-8", "UTF-8"),
            ("latin1", "windows-1252"),
            ("ISO-8859-1", "windows-1252"),
            ("CP1252", "windows-1252"),
            ("ansi", "windows-1252"),
            ("utf-16", "UTF-16LE"),
            ("sjis", "Shift_JIS"),
        ] {
            assert_eq!(text.parse::<TextEncoding>().unwrap().to_string(), name);
        }
        let fault = "cp850".parse::<TextEncoding>().unwrap_err();
        assert!(fault.starts_with("`cp850` is not an encoding") && fault.contains("windows-1252"), "{fault}");
    }
}
