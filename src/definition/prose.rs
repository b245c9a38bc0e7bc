//! Texts for synthesis from `.txt` and `.md` files.

mod front_matter;
mod left_out;
mod markdown;
mod residue;
mod source;
mod survey;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    str,
};

pub use self::left_out::LeftOut;
use self::left_out::letters;
use crate::{
    domain::{
        cut::{HEADING_GAP, flat, paragraphs},
        invisible::{Repairs, without_invisible},
        options::listed,
    },
    io_fault::{self, IoFault},
};

/// The longest file that is read.
pub const MAX_BYTES: u64 = 10_000_000;

/// The kind of a text file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProseKind {
    /// Every character is read aloud.
    Plain,
    /// Markup is removed, and all that a person would read aloud is the text.
    Markdown,
    /// Markup is removed as the CommonMark standard has it.
    CommonMark,
}

listed! {
    /// How Markdown files are read.
    MarkdownReading, "way of reading Markdown" {
        /// For what a person would read aloud. An open code block is a fault, and so is a file most of which is no text.
        Prose = "prose",
        /// As the CommonMark standard has it: what is indented is code, and what looks like HTML is HTML.
        CommonMark = "commonmark",
        /// As plain text: every character is read aloud.
        Text = "text",
    }
}

/// The text of a file, and a count of what was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prose {
    /// At least one, none blank.
    pub paragraphs: Vec<Paragraph>,
    /// The parts of the file that are not read aloud.
    pub left_out: LeftOut,
    /// What was done to characters that no voice speaks.
    pub repairs: Repairs,
    /// Those of [`FIELDS`] that its front matter sets.
    pub fields: Vec<(&'static str, String)>,
}

/// The fields of front matter that say how the text is spoken. A plain text has front matter only if one of them is in it.
pub const FIELDS: &[&str] = &["voice_id", "language"];

/// A paragraph, heading or list item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paragraph {
    /// Its text on one line.
    pub text: String,
    /// Whether it is a heading.
    pub heading: bool,
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
    /// A code block that is never closed: all that follows it would not be read aloud.
    #[error(
        "line {line} opens a code block that is never closed, and all after it would be code; close it, or say markdown = \"text\" in [synthesize]"
    )]
    OpenCodeBlock {
        /// From 1.
        line: u64,
    },
    /// A comment that is never closed.
    #[error("line {line} opens a comment, `<!--`, that is never closed, and all after it would be left out; close it")]
    OpenComment {
        /// From 1.
        line: u64,
    },
    /// More is left out than is read aloud.
    #[error(
        "more of it would be left out than spoken: {left_out}, with {letters} letters and digits beside {spoken} that are spoken; say in [synthesize] markdown = \"commonmark\" if that is right, or markdown = \"text\" to have every character spoken",
        letters = .left_out.letters
    )]
    MostLeftOut {
        /// What is left out.
        left_out: LeftOut,
        /// Letters and digits that are spoken.
        spoken: u64,
    },
    /// The file has nothing that can be read aloud.
    #[error("has no text{}", beside(.0))]
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

fn beside(left_out: &LeftOut) -> String {
    if left_out.is_empty() { String::new() } else { format!(" beside {left_out}") }
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

    /// The kind as which a file of this kind is read.
    #[must_use]
    pub const fn read_as(self, reading: MarkdownReading) -> Self {
        match (self, reading) {
            (Self::Plain, _) | (_, MarkdownReading::Text) => Self::Plain,
            (_, MarkdownReading::Prose) => Self::Markdown,
            (_, MarkdownReading::CommonMark) => Self::CommonMark,
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
            Self::NotUtf8 { line }
            | Self::Binary { line }
            | Self::OpenCodeBlock { line }
            | Self::OpenComment { line } => Some(*line),
            _ => None,
        }
    }
}

impl Prose {
    /// The whole text, with an empty line between paragraphs, which says whether a heading ends there. Splitting it there
    /// gives the paragraphs their numbers.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (at, paragraph) in self.paragraphs.iter().enumerate() {
            if at > 0 {
                text.push_str(if self.paragraphs[at - 1].heading { HEADING_GAP } else { "\n\n" });
            }
            text.push_str(&paragraph.text);
        }
        text
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
    let (text, repairs) = without_invisible(decode(bytes)?);
    if text.trim().is_empty() {
        return Err(ProseFault::Empty);
    }
    let (front_matter, rest) = text.split_at(front_matter::length(&text));
    let fields = front_matter::values(front_matter, FIELDS);
    let prose = match kind {
        ProseKind::Plain if fields.is_empty() => plain(&text),
        ProseKind::Plain => {
            let left_out = LeftOut { front_matter: 1, ..LeftOut::default() };
            Prose { left_out, ..plain(rest) }
        }
        ProseKind::Markdown | ProseKind::CommonMark => markdown::parse(&text, kind)?,
    };
    let prose = Prose { repairs, fields, ..prose };
    let left_out = prose.left_out;
    if prose.paragraphs.is_empty() {
        return Err(ProseFault::NoText(left_out));
    }
    let spoken = prose.paragraphs.iter().map(|paragraph| letters(&paragraph.text)).sum();
    if kind == ProseKind::Markdown && left_out.letters > spoken {
        return Err(ProseFault::MostLeftOut { left_out, spoken });
    }
    Ok(prose)
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
    Prose { paragraphs, left_out: LeftOut::default(), repairs: Repairs::default(), fields: Vec::new() }
}
