//! One line of a manifest in any format: its cells, in one buffer that is used again for every line.

use std::ops::Range;

use crate::domain::s3::Listed;

/// The most bytes that one line may have.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// A JSON value that is no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonValue {
    /// `true` or `false`.
    Bool,
    /// A list or an object.
    Nested,
}

impl JsonValue {
    /// The fault of such a cell where a text is needed.
    pub(super) const fn fault(self) -> &'static str {
        match self {
            Self::Bool => "is true or false, and a text is needed",
            Self::Nested => "is a list or an object, and a text is needed",
        }
    }
}

/// The cells of one line.
#[derive(Debug, Default)]
pub struct Record {
    /// Line in the file, from 1, or position in a listing.
    pub(crate) number: u64,
    /// The data about the object in the store's listing.
    pub(crate) listed: Option<Listed>,
    /// The cells that are JSON values other than texts, numbers and null, by index.
    pub(super) values: Vec<(usize, JsonValue)>,
    /// The file's name does not match `name_pattern`.
    pub(crate) unmatched: bool,
    text: String,
    ends: Vec<usize>,
}

impl Record {
    /// Empties the record for the line `number`.
    pub(crate) fn start(&mut self, number: u64) {
        self.number = number;
        self.listed = None;
        self.unmatched = false;
        self.values.clear();
        self.text.clear();
        self.ends.clear();
    }

    /// Adds a cell.
    pub(crate) fn push(&mut self, cell: &str) {
        self.text.push_str(cell);
        self.ends.push(self.text.len());
    }

    /// Adds a cell that is a concatenation of texts.
    pub(crate) fn push_all(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.text.push_str(part));
        self.ends.push(self.text.len());
    }

    /// Leaves out the cells from `width` on.
    pub(super) fn truncate(&mut self, width: usize) {
        if width < self.ends.len() {
            self.ends.truncate(width);
            self.text.truncate(self.ends.last().copied().unwrap_or(0));
        }
    }

    /// The number of cells.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    fn range(&self, index: usize) -> Range<usize> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        start..self.ends[index]
    }

    /// A cell; empty past the last one.
    #[must_use]
    pub fn cell(&self, index: usize) -> &str {
        if index < self.ends.len() { &self.text[self.range(index)] } else { "" }
    }

    /// All cells, in order.
    pub(crate) fn cells(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.cell(index))
    }

    /// Whether all cells are empty.
    pub(super) fn is_blank(&self) -> bool {
        self.text.is_empty()
    }

    /// Takes cells as bytes from a reader, without copying them.
    ///
    /// # Errors
    /// The first cell that is not UTF-8.
    pub(super) fn adopt(&mut self, bytes: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<(), usize> {
        std::mem::swap(&mut self.ends, ends);
        let mut own = std::mem::take(&mut self.text).into_bytes();
        own.clear();
        let found = std::mem::replace(bytes, own);
        match String::from_utf8(found) {
            // Two cells that each end inside a character could together be valid UTF-8.
            Ok(text) if self.ends.iter().all(|end| text.is_char_boundary(*end)) => {
                self.text = text;
                Ok(())
            }
            Ok(text) => {
                let cut = self.ends.iter().position(|end| !text.is_char_boundary(*end)).unwrap_or(0);
                self.ends.clear();
                Err(cut)
            }
            Err(e) => {
                let at = e.utf8_error().valid_up_to();
                let cell = self.ends.iter().position(|end| at < *end).unwrap_or(0);
                self.ends.clear();
                Err(cell)
            }
        }
    }
}

/// A line that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// Its line.
    pub(super) number: u64,
    /// The column, if the fault is in one.
    pub(super) column: Option<usize>,
    /// What is wrong with it.
    pub(super) message: String,
}

/// The result of reading on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The record holds a line.
    Line,
    /// There is a line, but it cannot be read.
    Unreadable(Unreadable),
    /// No more lines.
    End,
}

impl Next {
    pub(super) fn unreadable(number: u64, column: Option<usize>, message: impl Into<String>) -> Self {
        Self::Unreadable(Unreadable { number, column, message: message.into() })
    }

    pub(super) fn too_long(number: u64) -> Self {
        Self::unreadable(number, None, "has over 1 MiB")
    }
}
