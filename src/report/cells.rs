//! The cells of a table's row, as texts that are safe to open in a spreadsheet.

use std::{borrow::Cow, fmt::Display};

use ::csv::ByteRecord;
use jiff::{Timestamp, fmt::temporal::DateTimePrinter};
use serde_json::Value;

use super::{
    defuse::defuse,
    row::{Column, OwnCell, Row},
};
use crate::domain::synthesis_options::{AudioFormat, SampleRate};

/// The longest transcript that is copied into its row before it is written, in bytes.
pub(super) const LONGEST_COPIED: usize = 1 << 20;

/// A row of a table that is being put together.
#[derive(Default)]
pub(super) struct RecordCells {
    pub(super) record: ByteRecord,
    /// A reused buffer for composed cells.
    scratch: String,
}

impl RecordCells {
    /// Appends a cell of one of the report's columns. A transcript over [`LONGEST_COPIED`] is left out.
    pub(super) fn cell(&mut self, row: &Row, column: Column) {
        match column {
            Column::Batch => self.text(&row.batch),
            Column::Line => self.plain(row.line),
            Column::Key => self.text(&row.key),
            Column::OutputName => self.maybe(row.output_name.as_deref()),
            Column::Status => self.text(row.status.as_str()),
            Column::Wanted => self.text(row.wanted.as_str()),
            Column::Source => self.text(&row.source),
            Column::Outputs => self.outputs(&row.outputs),
            Column::Model => self.maybe(row.model.as_deref()),
            Column::Language => self.maybe(row.language.as_deref()),
            Column::VoiceId => self.maybe(row.voice_id.as_deref()),
            Column::OutputFormat => self.maybe(row.output_format.as_ref().map(AudioFormat::as_str)),
            Column::SampleRate => self.plain(row.sample_rate.map(SampleRate::hz)),
            Column::Characters => self.plain(row.characters),
            Column::AudioSeconds => {
                self.plain(row.audio_ms.map(seconds));
            }
            Column::Channels => self.plain(row.channels),
            Column::Parts => self.plain(row.parts),
            Column::ReusedParts => self.plain(row.reused_parts),
            Column::Tries => self.plain(Some(row.tries)),
            Column::BilledCalls => self.plain(Some(row.billed_calls)),
            Column::CostUsd => self.plain(row.cost),
            Column::RequestId => self.maybe(row.request_id.as_deref()),
            Column::SubmittedAt => self.time(row.submitted_at),
            Column::StartedAt => self.time(row.started_at),
            Column::FinishedAt => self.time(row.finished_at),
            Column::ProcessingMs => self.plain(row.processing_ms),
            Column::ErrorKind => self.maybe(row.error_kind.map(|kind| kind.as_str())),
            Column::Error => self.maybe(row.error.as_deref()),
            Column::Notes => self.text(&row.notes.iter().map(|note| note.as_str()).collect::<Vec<_>>().join(";")),
            Column::ContentExpiry => self.maybe(row.content_expiry.as_deref()),
            Column::Transcript => {
                self.maybe(row.transcript.as_deref().filter(|text| text.len() <= LONGEST_COPIED));
            }
            Column::Text => self.maybe(row.text.as_deref()),
        }
    }

    /// Appends a text, which is never a formula.
    pub(super) fn text(&mut self, cell: &str) {
        self.record.push_field(defuse(cell).as_bytes());
    }

    /// Appends a text; an empty cell for none.
    pub(super) fn maybe(&mut self, cell: Option<&str>) {
        self.text(cell.unwrap_or_default());
    }

    /// Appends one of our own numbers, which is never a formula.
    fn plain(&mut self, cell: Option<impl Display>) {
        use std::fmt::Write;
        self.scratch.clear();
        if let Some(cell) = cell {
            write!(self.scratch, "{cell}").expect("a String takes everything");
        }
        self.record.push_field(self.scratch.as_bytes());
    }

    fn time(&mut self, at: Option<i64>) {
        self.scratch.clear();
        write_time(at, &mut self.scratch);
        self.record.push_field(self.scratch.as_bytes());
    }

    fn outputs(&mut self, outputs: &[String]) {
        let json = match outputs {
            [] => Cow::Borrowed("[]"),
            some => Cow::Owned(serde_json::to_string(some).expect("strings are JSON")),
        };
        self.record.push_field(json.as_bytes());
    }

    /// Appends a cell of a task's own column.
    pub(super) fn own(&mut self, cell: &OwnCell) {
        match cell {
            OwnCell::Empty => self.maybe(None),
            OwnCell::Text(text) => self.text(text),
            OwnCell::Count(count) => self.plain(Some(count)),
            OwnCell::Ms(ms) => self.plain(Some(seconds(*ms))),
            OwnCell::Json(Value::Null) => self.maybe(None),
            OwnCell::Json(Value::String(text)) => self.text(text),
            OwnCell::Json(value) => self.plain(Some(value)),
        }
    }
}

/// Appends a time (ms since 1970) in the report's format; nothing for an unknown time.
pub(super) fn write_time(at: Option<i64>, cell: &mut String) {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    if let Some(at) = at.and_then(|ms| Timestamp::from_millisecond(ms).ok()) {
        PRINTER.print_timestamp(&at, cell).expect("a String takes everything");
    }
}

/// A duration in seconds, to the millisecond.
fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}
