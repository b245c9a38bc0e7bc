//! Why no lines are chosen.

use std::fmt;

use crate::domain::{options::NotListed, printable::visible};

/// How many values one message names.
pub(super) const NAMED: usize = 5;

/// Values that were named and are in no line of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownValues {
    pub(super) batch: String,
    pub(super) column: String,
    pub(super) values: Vec<String>,
    pub(super) named: usize,
    pub(super) near: Option<String>,
}

/// `calls: 2 of 5 keys are in no line: `a`, `b`; did you mean `c`?`
impl fmt::Display for UnknownValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batch, column, values, named, near } = self;
        let listed: Vec<String> = values.iter().take(NAMED).map(|value| format!("`{}`", visible(&value))).collect();
        let more = values.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let listed = format!("{}{more}", listed.join(", "));
        match (column.as_str(), named) {
            ("key", 1) => write!(f, "{batch} has no line with the key {listed}")?,
            ("key", named) => write!(f, "{batch}: {} of {named} keys are in no line: {listed}", values.len())?,
            (column, 1) => write!(f, "{batch} has no line whose `{column}` is {listed}")?,
            (column, _) => write!(f, "{batch} has no line whose `{column}` is one of these: {listed}")?,
        }
        near.as_ref().map_or(Ok(()), |near| write!(f, "; did you mean `{}`?", visible(&near)))
    }
}

/// Why no lines are chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// There is no such column.
    #[error("{batch}: no line has a `{}`{near}", visible(&column))]
    NoColumn {
        /// The batch.
        batch: String,
        /// The name.
        column: String,
        /// The nearest name, or all of them.
        near: String,
    },
    /// The value is not in a list of ours.
    #[error("{batch}: {fault}{elsewhere}")]
    NotListed {
        /// The batch.
        batch: String,
        /// What is wrong.
        fault: NotListed,
        /// How to name the manifest's column of the same name, if there is one.
        elsewhere: String,
    },
    /// Something that was named is in no line.
    #[error("{0}")]
    Unknown(UnknownValues),
    /// No line meets all conditions.
    #[error("{batch}: no line {conditions}")]
    NoLine {
        /// The batch.
        batch: String,
        /// The conditions as text.
        conditions: String,
    },
}
