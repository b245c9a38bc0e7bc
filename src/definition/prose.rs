//! Texts for synthesis from `.txt` and `.md` files.

mod markdown;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
    str,
};

use crate::{
    domain::cut::{flat, paragraphs},
    io_fault::{self, IoFault},
};

/// The longest file that is read.
pub const MAX_BYTES: u64 = 10_000_000;

/// The kind of a text file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProseKind {
    /// Every character is read aloud.
    Plain,
    /// Markup is removed, and its text is read aloud.
    Markdown,
}

/// The text of a file, and a count of what was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prose {
    /// At least one, none blank.
    pub paragraphs: Vec<Paragraph>,
    /// The parts of the file that are not read aloud.
    pub left_out: LeftOut,
}

/// A paragraph, heading or list item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paragraph {
    /// Its text on one line.
    pub text: String,
    /// Whether it is a heading.
    pub heading: bool,
}

/// The number of parts left out, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// Tables.
    pub tables: u32,
    /// Code blocks; code inside a sentence is kept.
    pub code_blocks: u32,
    /// Images, with their alternative texts.
    pub images: u32,
    /// HTML blocks; of tags inside a sentence, only the tags are left out.
    pub html_blocks: u32,
    /// Footnotes, with their references.
    pub footnotes: u32,
    /// The YAML at the top: 0 or 1.
    pub front_matter: u32,
}

/// The reason why a file has no text.
#[derive(Debug, thiserror::Error)]
pub enum ProseFault {
    /// No such file.
    #[error("there is no such file")]
    Missing,
    /// A directory where a file should be.
    #[error("is a directory, not a text")]
    Directory,
    /// Over [`MAX_BYTES`].
    #[error("has over {} MB; split it", MAX_BYTES / 1_000_000)]
    TooBig,
    /// The file is empty or has only white space.
    #[error("is empty")]
    Empty,
    /// The file has nothing that can be read aloud.
    #[error("has no text beside {0}")]
    NoText(LeftOut),
    /// Not UTF-8, first seen in this line.
    #[error("line {line} is not UTF-8; save the file as UTF-8")]
    NotUtf8 {
        /// From 1.
        line: u64,
    },
    /// UTF-16 or UTF-32, by its byte order mark.
    #[error("is UTF-16 or UTF-32; save it as UTF-8")]
    Utf16,
    /// A NUL byte, first seen in this line: not a text file.
    #[error("line {line} has a NUL character: this is not a text file")]
    Binary {
        /// From 1.
        line: u64,
    },
    /// The file cannot be read, and the file is the cause.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// The file cannot be read now; this machine or the file's disk or mount is the cause.
    #[error("cannot be read now: {source}; {}", io_fault::remedy(.source))]
    Away {
        /// The system's error.
        source: io::Error,
    },
}

impl ProseKind {
    /// The kind that a file's extension implies; `None` for other files.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let (_, ending) = path.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "txt" | "text" => Some(Self::Plain),
            "md" | "markdown" => Some(Self::Markdown),
            _ => None,
        }
    }
}

impl From<io::Error> for ProseFault {
    fn from(error: io::Error) -> Self {
        match IoFault::of(&error) {
            _ if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            IoFault::File => Self::Unreadable(error),
            IoFault::Storage | IoFault::Machine => Self::Away { source: error },
        }
    }
}

impl ProseFault {
    /// The line of the fault, where it has one.
    #[must_use]
    pub const fn line(&self) -> Option<u64> {
        match self {
            Self::NotUtf8 { line } | Self::Binary { line } => Some(*line),
            _ => None,
        }
    }
}

impl Prose {
    /// The whole text, with an empty line between paragraphs. Splitting it there gives the paragraphs their numbers.
    #[must_use]
    pub fn text(&self) -> String {
        self.paragraphs.iter().map(|paragraph| paragraph.text.as_str()).collect::<Vec<_>>().join("\n\n")
    }
}

impl LeftOut {
    /// Whether nothing was left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// `2 tables, 1 image`
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.tables, "table", "tables"),
            (self.code_blocks, "code block", "code blocks"),
            (self.images, "image", "images"),
            (self.html_blocks, "HTML block", "HTML blocks"),
            (self.footnotes, "footnote", "footnotes"),
            (self.front_matter, "front matter", "front matters"),
        ];
        let words = counts.iter().filter(|(count, ..)| *count > 0);
        let words = words.map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }));
        f.write_str(&words.collect::<Vec<_>>().join(", "))
    }
}

/// Reads a file's text.
///
/// # Errors
/// The file cannot be read, is too big, is not a text, or has no text.
pub fn read(path: &Path, kind: ProseKind) -> Result<Prose, ProseFault> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(ProseFault::Directory);
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    parse(&bytes, kind)
}

/// Extracts the text from a file's content.
///
/// # Errors
/// The content is too big, is not a text, or has no text.
pub fn parse(bytes: &[u8], kind: ProseKind) -> Result<Prose, ProseFault> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ProseFault::TooBig);
    }
    let text = decode(bytes)?;
    if text.trim().is_empty() {
        return Err(ProseFault::Empty);
    }
    let prose = match kind {
        ProseKind::Plain => plain(text),
        ProseKind::Markdown => markdown::parse(text),
    };
    if prose.paragraphs.is_empty() { Err(ProseFault::NoText(prose.left_out)) } else { Ok(prose) }
}

fn decode(bytes: &[u8]) -> Result<&str, ProseFault> {
    // Little-endian UTF-32 begins with the mark of UTF-16; big-endian UTF-32 begins with two NULs.
    if [&[0xff, 0xfe][..], &[0xfe, 0xff], &[0, 0, 0xfe, 0xff]].iter().any(|mark| bytes.starts_with(mark)) {
        return Err(ProseFault::Utf16);
    }
    let line_of = |at: usize| bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    let text = str::from_utf8(bytes).map_err(|e| ProseFault::NotUtf8 { line: line_of(e.valid_up_to()) })?;
    match text.find('\0') {
        Some(at) => Err(ProseFault::Binary { line: line_of(at) }),
        None => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
    }
}

fn plain(text: &str) -> Prose {
    let paragraphs = paragraphs(text).map(|text| Paragraph { text: flat(text), heading: false }).collect();
    Prose { paragraphs, left_out: LeftOut::default() }
}
