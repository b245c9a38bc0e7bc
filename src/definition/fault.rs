//! The faults of a definition or a manifest, with the place and the remedy.

use std::fmt;

use crate::domain::printable::{printable, visible};

/// The place of a fault in a file or on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A column of a manifest.
    Column(String),
    /// A field of a definition, dotted: `transcribe.model`.
    Field(String),
    /// A command line flag: `--model`.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column(name) => write!(f, "column `{}`", visible(&name)),
            Self::Field(name) | Self::Flag(name) => write!(f, "`{}`", visible(&name)),
        }
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file as the user knows it; empty for the command line.
    pub file: String,
    /// Line in the file, from 1; of a listing, the position of the file.
    pub line: Option<u64>,
    /// Whether the file is itself a line of a listing. Then its position is not shown.
    pub is_listed: bool,
    /// Character in that line, from 1 (definitions).
    pub position: Option<u64>,
    /// The field, column or flag.
    pub place: Option<Place>,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether there is only nothing to do: a manifest without lines, a prefix without recordings.
    pub empty: bool,
}

impl Fault {
    /// A fault of a file as a whole.
    #[must_use]
    pub fn of_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        let (line, position, place) = (None, None, None);
        Self { file: file.into(), line, is_listed: false, position, place, message: message.into(), empty: false }
    }

    /// A fault of one line of a manifest.
    #[must_use]
    pub fn of_line(file: &str, line: u64, column: Option<&str>, message: impl Into<String>) -> Self {
        let place = column.map(|c| Place::Column(c.to_owned()));
        Self { line: Some(line), place, ..Self::of_file(file, message) }
    }

    /// A fault of a file that is the line `number` of a listing.
    #[must_use]
    pub fn of_listed(file: &str, number: u64, column: Option<&str>, message: impl Into<String>) -> Self {
        Self { is_listed: true, ..Self::of_line(file, number, column, message) }
    }

    /// A manifest that is valid but has no lines.
    #[must_use]
    pub fn of_nothing(file: impl Into<String>, message: impl Into<String>) -> Self {
        let hint = "if that may be, say allow_empty = true (--allow-empty)";
        Self { empty: true, ..Self::of_file(file, format!("{}; {hint}", message.into())) }
    }

    /// A fault of a command line flag; `flag` has no dashes.
    #[must_use]
    pub fn of_flag(flag: &str, message: impl Into<String>) -> Self {
        Self { place: Some(Place::Flag(format!("--{flag}"))), ..Self::of_file("", message) }
    }
}

impl Fault {
    /// A fault of a definition's field without a known line.
    #[must_use]
    pub fn of_field(field: &str, message: impl Into<String>) -> Self {
        Self { place: Some(Place::Field(field.to_owned())), ..Self::of_file("", message) }
    }

    /// Whether it is a fault of this field of a definition.
    #[must_use]
    pub fn is_of_field(&self, field: &str) -> bool {
        matches!(&self.place, Some(Place::Field(name)) if name == field)
    }

    /// Whether the name of its field or flag contains one of these words.
    pub(super) fn is_about(&self, words: &[&str]) -> bool {
        match &self.place {
            Some(Place::Field(name) | Place::Flag(name)) => {
                name.split(['.', '-', '_']).any(|part| words.contains(&part))
            }
            _ => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A file's name may contain a line break, which would look like the start of another fault.
        let mut lead = printable(&self.file).into_owned();
        let line = self.line.filter(|_| !self.is_listed);
        for number in [line, self.position].into_iter().flatten() {
            lead.push_str(&format!(":{number}"));
        }
        if !lead.is_empty() {
            write!(f, "{lead}: ")?;
        }
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// All faults, up to a limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Faults {
    /// The first of them, at most [`Faults::LIMIT`].
    pub list: Vec<Fault>,
    /// The number of further faults.
    pub more: u64,
}

impl Faults {
    /// The maximum number of faults in `list`.
    pub const LIMIT: usize = 20;

    /// Adds a fault, or only counts it beyond the limit.
    pub fn push(&mut self, fault: Fault) {
        if self.list.len() < Self::LIMIT {
            self.list.push(fault);
        } else {
            self.more += 1;
        }
    }

    /// Adds all of `other` after these.
    pub fn extend(&mut self, other: Self) {
        other.list.into_iter().for_each(|fault| self.push(fault));
        self.more += other.more;
    }

    /// Adds all of `other`, then keeps the first ones by line.
    pub fn merge_by_line(&mut self, other: Self) {
        self.more += other.more;
        self.list.extend(other.list);
        self.list.sort_by_key(|fault| fault.line);
        self.more += self.list.len().saturating_sub(Self::LIMIT) as u64;
        self.list.truncate(Self::LIMIT);
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether the only fault is that there is nothing to do. Earlier work can still continue.
    #[must_use]
    pub fn is_only_empty(&self) -> bool {
        self.more == 0 && !self.list.is_empty() && self.list.iter().all(|fault| fault.empty)
    }

    /// The total number, including those that are only counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.list.len() as u64 + self.more
    }
}

impl FromIterator<Fault> for Faults {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Self {
        let mut all = Self::default();
        faults.into_iter().for_each(|fault| all.push(fault));
        all
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self { list: vec![fault], more: 0 }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.list.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        if self.more > 0 {
            write!(f, "\n… and {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_file_line_and_column() {
        let fault = Fault::of_line("calls.csv", 17, Some("language"), "`English` is not a language");
        assert_eq!(fault.to_string(), "calls.csv:17: column `language`: `English` is not a language");
        assert_eq!(Fault::of_file("calls.csv", "is empty").to_string(), "calls.csv: is empty");
        assert_eq!(Fault::of_listed("rec/a.wav", 3, None, "is wrong").to_string(), "rec/a.wav: is wrong");
        assert_eq!(Fault::of_flag("model", "is missing").to_string(), "`--model`: is missing");
        let mut field = Fault::of_file("a.toml", "wrong");
        (field.line, field.position, field.place) = (Some(3), Some(9), Some(Place::Field("run.tolerate".into())));
        assert_eq!(field.to_string(), "a.toml:3:9: `run.tolerate`: wrong");
    }

    #[test]
    fn a_files_name_forges_no_fault() {
        let fault = Fault::of_file("a\nb.csv: is empty\u{1b}[2J", "is wrong");
        assert_eq!(fault.to_string(), "a b.csv: is empty\\u{1b}[2J: is wrong");
    }

    #[test]
    fn nothing_to_do_is_told_apart() {
        let mut faults = Faults::from(Fault::of_nothing("s3://b/", "no recordings are found"));
        assert!(faults.is_only_empty() && !Faults::default().is_only_empty());
        assert!(faults.to_string().ends_with("found; if that may be, say allow_empty = true (--allow-empty)"));
        faults.push(Fault::of_file("a.toml", "wrong"));
        assert!(!faults.is_only_empty());
    }

    #[test]
    fn beyond_the_limit_they_are_counted() {
        let mut faults = Faults::default();
        (1..=25).for_each(|line| faults.push(Fault::of_line("f", line * 2, None, "x")));
        assert_eq!((faults.list.len(), faults.more, faults.total()), (20, 5, 25));
        faults.merge_by_line(Fault::of_line("f", 3, None, "y").into());
        assert_eq!((faults.list[1].line, faults.list.len(), faults.more), (Some(3), 20, 6));
        assert!(faults.to_string().ends_with("f:38: x\n… and 6 more"));
    }
}
