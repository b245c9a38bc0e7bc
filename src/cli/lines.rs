//! The flags that choose lines of a batch, in every verb that takes some of them.

use std::{
    fs,
    io::{self, Read},
};

use clap::Args;

use super::{
    context::Context,
    error::{CliError, Exit},
};
use crate::{
    app::Choice,
    domain::job::JobState,
    report::asked_of,
    store::{BatchRow, Selection, Store},
};

/// The longest list of keys, in bytes.
const LONGEST_LIST: u64 = 256 << 20;

/// Which lines are meant.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct LineFlags {
    /// Only the line with this key; may be repeated
    #[arg(long = "key", value_name = "KEY", help_heading = "Which lines")]
    pub(super) keys: Vec<String>,
    /// Only the lines with the keys in this file, one on each line; - is stdin
    #[arg(long, value_name = "FILE", help_heading = "Which lines")]
    pub(super) keys_from: Option<String>,
    /// Only lines with this value in a column of the manifest, or in state, note, error_kind, source, language, model, …;
    /// may be repeated: values of one column widen the choice, other columns narrow it
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = cell, help_heading = "Which lines")]
    pub(super) cells: Vec<(String, String)>,
    /// Only lines in these states: queued, running, awaiting, succeeded, suspect, failed, skipped, cancelled
    #[arg(long = "state", value_name = "LIST", value_delimiter = ',', value_parser = state, help_heading = "Which lines")]
    pub(super) states: Vec<JobState>,
}

/// Lines that were chosen, and what was named in vain.
pub(super) struct Lines {
    pub(super) lines: Selection,
    /// The message about what was named and is in no line.
    pub(super) unknown: Option<String>,
}

impl LineFlags {
    /// Whether all lines are meant.
    pub(super) fn is_all(&self) -> bool {
        self.keys.is_empty() && self.keys_from.is_none() && self.cells.is_empty() && self.states.is_empty()
    }

    /// The lines for a verb that shows them. What was named in vain is warned of.
    pub(super) async fn shown(
        &self,
        context: &Context,
        store: &Store,
        batch: &BatchRow,
        with_dropped: bool,
    ) -> Result<Lines, CliError> {
        let lines = self.find(context, store, batch, with_dropped).await?;
        if let Some(unknown) = &lines.unknown {
            context.screen.warn(unknown);
        }
        Ok(lines)
    }

    /// The lines for a verb that changes them. If something was named in vain, none is changed.
    pub(super) async fn changed(
        &self,
        context: &Context,
        store: &Store,
        batch: &BatchRow,
    ) -> Result<Selection, CliError> {
        let lines = self.find(context, store, batch, false).await?;
        match lines.unknown {
            None => Ok(lines.lines),
            Some(unknown) => Err(CliError::lines(unknown).hint("nothing was done; leave those out, or correct them")),
        }
    }

    /// What they say, without those that are not wanted any more.
    pub(super) fn choice(&self) -> Result<Choice, CliError> {
        let mut keys = self.keys.clone();
        if let Some(file) = &self.keys_from {
            keys.extend(keys_of(file)?);
        }
        Ok(Choice { keys, states: self.states.clone(), cells: self.cells.clone(), with_dropped: false })
    }

    async fn find(
        &self,
        context: &Context,
        store: &Store,
        batch: &BatchRow,
        with_dropped: bool,
    ) -> Result<Lines, CliError> {
        let choice = Choice { with_dropped, ..self.choice()? };
        if choice.is_all() {
            return Ok(Lines { lines: Selection::default(), unknown: None });
        }
        let asked = asked_of(context.tasks.reports(), batch.specification()?)?;
        let found = choice.find(store, batch, &*asked).await?;
        Ok(Lines { lines: found.lines, unknown: found.unknown.map(|unknown| unknown.to_string()) })
    }
}

impl Lines {
    /// The exit status of a verb that showed the lines.
    pub(super) const fn exit(&self) -> Exit {
        if self.unknown.is_some() { Exit::Lines } else { Exit::Success }
    }
}

/// `agent=bob`
fn cell(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((column, value)) if !column.trim().is_empty() => Ok((column.trim().to_owned(), value.to_owned())),
        _ => Err("is not COLUMN=VALUE, e.g. --where agent=bob".into()),
    }
}

/// A state that a line can be seen in.
fn state(text: &str) -> Result<JobState, String> {
    let shown: Vec<&str> =
        JobState::NAMES.iter().copied().filter(|name| *name != JobState::Superseded.as_str()).collect();
    match text.trim().parse() {
        Ok(JobState::Superseded) => Err(format!("`superseded` lines are not listed; known: {}", shown.join(", "))),
        Ok(state) => Ok(state),
        Err(fault) => Err(format!("{fault}")),
    }
}

/// The keys in a file, one on each line.
fn keys_of(file: &str) -> Result<Vec<String>, CliError> {
    let fault = |what: String| CliError::usage(format!("--keys-from {file}: {what}"));
    let unread = |e: io::Error| fault(format!("cannot be read: {e}"));
    let mut bytes = Vec::new();
    match file {
        "-" => io::stdin().lock().take(LONGEST_LIST + 1).read_to_end(&mut bytes).map_err(unread)?,
        path => fs::File::open(path).map_err(unread)?.take(LONGEST_LIST + 1).read_to_end(&mut bytes).map_err(unread)?,
    };
    if bytes.len() as u64 > LONGEST_LIST {
        return Err(fault("is longer than 256 MB".into()));
    }
    let text = String::from_utf8(bytes).map_err(|_| fault("is not UTF-8".into()))?;
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<String> = lines.map(str::to_owned).collect();
    // Without keys all lines would be meant.
    if keys.is_empty() { Err(fault("has no key".into())) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_a_column_and_a_value() {
        assert_eq!(cell("agent=bob"), Ok(("agent".into(), "bob".into())));
        assert_eq!(cell(" agent =a=b"), Ok(("agent".into(), "a=b".into())));
        assert_eq!(cell("agent="), Ok(("agent".into(), String::new())), "an empty cell");
        assert!(cell("agent").is_err() && cell("=bob").is_err());
    }

    #[test]
    fn a_list_of_keys_is_read_as_people_write_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.txt");
        let read = |text: &[u8]| {
            fs::write(&file, text).unwrap();
            keys_of(file.to_str().unwrap()).map_err(|e| e.message())
        };
        assert_eq!(read("\u{feff}a\r\n\r\n b,c \nd".as_bytes()), Ok(vec!["a".into(), "b,c".into(), "d".into()]));
        assert!(read(b"\n \n").unwrap_err().ends_with("has no key"), "and not all lines");
        assert!(read(b"\xff").unwrap_err().ends_with("is not UTF-8"));
    }
}
