//! The finished lines of a batch as the manifest of another one: the columns of its manifest and of its report, with its
//! results.

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;

use super::{
    jsonl,
    lines::{RowContext, addresses},
    publish_error::PublishError,
    recall::Recall,
    row::{Column, OwnCell, Row},
    task::ReportTask,
};
use crate::{
    definition::{FedColumns, manifest::WORDS},
    domain::{batch::BatchSpec, environment::Environment, hex::unhex},
    sink::Sink,
    store::{BatchRow, FeedOrigin, FeedRow, RowAnswer, Store, StoreError},
};

/// The column of the address of the first output.
const OUTPUT: &str = "output";

/// Where a cell comes from.
#[derive(Debug, Clone, Copy)]
enum FedCell {
    Key,
    Carried(usize),
    Report(Column),
    Own(usize),
    Output,
    Words,
}

/// The columns that another batch's lines have, and where their cells come from.
#[derive(Debug, Clone)]
pub struct FeedTable {
    /// The columns.
    pub columns: FedColumns,
    cells: Vec<FedCell>,
}

impl FeedTable {
    /// The columns of a batch. A column of its manifest goes before one of its report with the same name.
    #[must_use]
    pub fn of(batch: &str, spec: &BatchSpec, task: &dyn ReportTask) -> Self {
        let own = task.batch(&spec.task).map(|asked| asked.own_columns()).unwrap_or_default();
        let carried = spec.carried.iter().enumerate().map(|(nth, name)| (name.clone(), FedCell::Carried(nth)));
        let report = task.columns().iter().map(|column| (column.to_string(), FedCell::Report(*column)));
        let own = own.into_iter().enumerate().map(|(nth, name)| (name, FedCell::Own(nth)));
        let all = [(Column::Key.to_string(), FedCell::Key)]
            .into_iter()
            .chain(carried)
            .chain([(OUTPUT.to_owned(), FedCell::Output)])
            .chain(report)
            .chain(own)
            .chain(task.has_transcripts().then(|| (WORDS.to_owned(), FedCell::Words)));
        let mut columns =
            FedColumns { batch: batch.to_owned(), definition: spec.definition.clone(), columns: Vec::new(), named: 0 };
        let mut cells = Vec::new();
        for (name, cell) in all {
            if !columns.columns.contains(&name) {
                columns.named += usize::from(matches!(cell, FedCell::Key | FedCell::Carried(_)));
                columns.columns.push(name);
                cells.push(cell);
            }
        }
        Self { columns, cells }
    }
}

/// Which of the long columns are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FeedNeeds {
    /// The transcript.
    pub transcript: bool,
    /// The text that is spoken.
    pub text: bool,
    /// The words of the transcript, with their times.
    pub words: bool,
}

impl FeedNeeds {
    /// What the columns with these names need.
    pub fn of<'a>(columns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut needs = Self::default();
        for column in columns {
            needs.transcript |= column == Column::Transcript.as_str();
            needs.text |= column == Column::Text.as_str();
            needs.words |= column == WORDS;
        }
        needs
    }
}

/// A finished line, as a line of a manifest.
#[derive(Debug, Clone)]
pub struct FedRecord {
    /// Its key there, and where it comes from.
    pub origin: FeedOrigin,
    /// Its cells, or why it has none.
    pub cells: Result<Vec<String>, String>,
    /// The SHA-256 of what is at its addresses.
    pub contents: Vec<(String, [u8; 32])>,
}

/// Reads the finished lines of a batch.
pub struct FeedReader {
    table: FeedTable,
    needs: FeedNeeds,
    lines: Arc<RowContext>,
    recall: Recall,
    sink: Sink,
    has_transcripts: bool,
}

impl FeedReader {
    /// A reader of a batch.
    ///
    /// # Errors
    /// Its specification cannot be read, or its output cannot be opened.
    pub fn open(
        store: &Store,
        batch: &BatchRow,
        (spec, task): (&BatchSpec, &dyn ReportTask),
        needs: FeedNeeds,
    ) -> Result<Self, PublishError> {
        let unread = |e| StoreError::Unexpected(format!("the specification of `{}`: {e}", batch.name));
        let lines = RowContext {
            batch: batch.name.clone(),
            spec: spec.clone(),
            asked: task.batch(&spec.task).map_err(unread)?,
            transcripts: needs.transcript && task.has_transcripts(),
            texts: needs.text,
            base: None,
            sandbox: batch.environment == Environment::Sandbox,
        };
        Ok(Self {
            table: FeedTable::of(&batch.name, spec, task),
            needs,
            lines: Arc::new(lines),
            recall: Recall::new(spec, store.spool()),
            sink: Sink::open(&spec.output, &spec.sink)?,
            has_transcripts: task.has_transcripts(),
        })
    }

    /// What all lines have.
    #[must_use]
    pub const fn columns(&self) -> &FedColumns {
        &self.table.columns
    }

    /// Whether rows must come with their answers.
    #[must_use]
    pub fn with_answers(&self) -> bool {
        self.lines.transcripts
    }

    /// The lines of these rows. One whose transcript is needed and gone has no cells.
    ///
    /// # Errors
    /// The ledger or the outputs cannot be read.
    pub async fn records(&mut self, store: &Store, rows: Vec<FeedRow>) -> Result<Vec<FedRecord>, PublishError> {
        let mut records = Vec::with_capacity(rows.len());
        for FeedRow { mut row, files, source_hash } in rows {
            if self.needs.text {
                row.text = store.text(row.job).await?;
            }
            if let Some(RowAnswer::Apart(call)) = row.answer {
                row.answer = store.answer(call).await?.map(|(body, _)| RowAnswer::Here(body));
            }
            let source = row.source.clone();
            let hashed = source.clone().zip(source_hash.and_then(|hash| hash.try_into().ok()));
            let written = files.iter().filter_map(|(path, hash)| Some((self.sink.address(path), unhex::<32>(hash)?)));
            let contents: HashMap<String, [u8; 32]> = hashed.into_iter().chain(written).collect();
            let output = addresses(row.outputs.as_deref()).into_iter().next().unwrap_or_default();
            let (job, ordinal, line) = (row.job, row.ordinal, row.line);
            let key = self.lines.asked.feed_key(&row);
            let words = match self.needs.words && self.has_transcripts {
                true => self.recall.spoken(&self.sink, &row).await?,
                false => None,
            };
            let recalled = self.recall.of(&self.lines, std::slice::from_ref(&row)).await?.pop().flatten();
            let row = self.lines.row(row, recalled);
            let cells = match row.transcript {
                None if self.lines.transcripts => Err(PRUNED.to_owned()),
                _ => Ok(self.cells(&row, (&key, source.as_deref().unwrap_or_default(), &output), words.as_deref())),
            };
            records.push(FedRecord {
                origin: FeedOrigin { key, job, ordinal, line },
                cells,
                contents: contents.into_iter().collect(),
            });
        }
        Ok(records)
    }

    fn cells(&self, row: &Row, (key, source, output): (&str, &str, &str), words: Option<&str>) -> Vec<String> {
        let cell = |cell: &FedCell| match cell {
            FedCell::Key => key.to_owned(),
            FedCell::Output => output.to_owned(),
            FedCell::Words => words.unwrap_or_default().to_owned(),
            FedCell::Carried(nth) => row.carried.get(*nth).cloned().unwrap_or_default(),
            // As it is, to be opened: the report shows it without its signature.
            FedCell::Report(Column::Source) => source.to_owned(),
            FedCell::Report(column) => text_of(jsonl::cell(row, *column)),
            FedCell::Own(nth) => text_of(jsonl::own_cell(row.own.get(*nth).unwrap_or(&OwnCell::Empty))),
        };
        self.table.cells.iter().map(cell).collect()
    }
}

/// Why a line has no cells.
const PRUNED: &str = "its transcript is not kept any more, and no output has it: `wavebatch retry` it in the batch that feeds this one, which pays for it again";

fn text_of(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}
