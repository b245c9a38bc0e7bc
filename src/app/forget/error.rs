//! Why nothing is forgotten.

use std::{io, path::PathBuf};

use crate::{app::choice_error::NAMED, domain::printable::visible};

/// Why nothing is forgotten, or a receipt proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// A batch is being submitted.
    #[error("the batch `{0}` is being submitted, and its manifest would bring the lines back")]
    Submitting(String),
    /// Lines are at work.
    #[error("{count} of the lines of `{batch}` {} at work now: {}", if *.count == 1 { "is" } else { "are" }, .keys.join(", "))]
    Busy {
        /// The batch.
        batch: String,
        /// How many.
        count: u64,
        /// Some of their keys.
        keys: Vec<String>,
    },
    /// The lines are in several batches, and none was named.
    #[error("lines of {} batches are meant: {}", .0.len(), .0.iter().map(|(name, lines)| format!("{name} ({lines})")).collect::<Vec<_>>().join(", "))]
    SeveralBatches(Vec<(String, usize)>),
    /// All lines of a batch are meant.
    #[error("all {lines} lines of `{batch}` are meant")]
    Everything {
        /// The batch.
        batch: String,
        /// How many lines it has.
        lines: u64,
    },
    /// Something that was named is in no line of any batch.
    #[error("no batch has {}", nowhere(.column, .values))]
    Nowhere {
        /// The column, or `key`.
        column: String,
        /// The values.
        values: Vec<String>,
    },
    /// Nothing is meant.
    #[error("no line of any batch is meant")]
    Nothing,
    /// The lines are forgotten already.
    #[error("the lines of `{0}` that are meant are forgotten already")]
    Already(String),
    /// The receipt cannot be written.
    #[error("the receipt {} cannot be written: {source}", path.display())]
    Receipt {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is something at the receipt's path.
    #[error("there is a file at {} already", .0.display())]
    ReceiptExists(PathBuf),
    /// The receipt cannot be read.
    #[error("{}: {why}", path.display())]
    NoReceipt {
        /// Its path.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

fn nowhere(column: &str, values: &[String]) -> String {
    let listed: Vec<String> = values.iter().take(NAMED).map(|value| format!("`{}`", visible(value))).collect();
    let more = values.len().saturating_sub(NAMED);
    let listed = listed.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() };
    match (column, values.len()) {
        ("key", 1) => format!("a line with the key {listed}"),
        ("key", _) => format!("a line with one of these keys: {listed}"),
        (column, 1) => format!("a line whose `{}` is {listed}", visible(column)),
        (column, _) => format!("a line whose `{}` is one of these: {listed}", visible(column)),
    }
}

impl ForgetError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Submitting(_) => {
                "let the submission end, or finish one that was cut off with the same `submit` or `run`; then forget"
            }
            Self::Busy { .. } => {
                "wait until they are finished, or end the process that works on them; nothing was done"
            }
            Self::SeveralBatches(_) => "name one batch, or say --all-batches; nothing was done",
            Self::Everything { .. } => {
                "say --everything if that is meant, or `wavebatch delete` the batch; nothing was done"
            }
            Self::Nothing | Self::Nowhere { .. } | Self::Already(_) => "nothing was done",
            Self::Receipt { .. } => "name another place with --receipt; nothing was done",
            Self::ReceiptExists(_) => "name another file with --receipt; a receipt never replaces another one",
            Self::NoReceipt { .. } => return None,
        })
    }

    /// Whether the request itself is wrong.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::SeveralBatches(_) | Self::Everything { .. } | Self::ReceiptExists(_) | Self::NoReceipt { .. }
        )
    }

    /// Whether no line is meant.
    #[must_use]
    pub const fn is_of_lines(&self) -> bool {
        matches!(self, Self::Nothing | Self::Nowhere { .. } | Self::Already(_))
    }
}
