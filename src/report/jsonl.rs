//! The report as JSON, one object per row: the columns of the CSV under the same names, with their types. An empty cell of ours
//! is null.

use std::io;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    cells::write_time,
    csv::header,
    row::{Column, FurtherColumns, LongColumns, OwnCell, Row},
    task::ReportTask,
};

/// Writes rows to `W`.
pub(super) struct JsonlWriter<W: io::Write> {
    out: W,
    columns: Vec<Column>,
    /// All names: of the columns, of the task's own columns, and of the manifest's.
    names: Vec<String>,
    own: usize,
    carried: usize,
}

impl<W: io::Write> JsonlWriter<W> {
    pub(super) fn new(out: W, task: &dyn ReportTask, further: FurtherColumns<'_>, long: LongColumns) -> Self {
        let columns = super::csv::shown(task, long).collect();
        let names = header(task, further, long, false);
        Self { out, columns, names, own: further.own.len(), carried: further.carried.len() }
    }

    pub(super) fn write(&mut self, row: &Row) -> io::Result<()> {
        let text = |cells: &[String], nth: usize| Value::from(cells.get(nth).cloned().unwrap_or_default());
        let cells = self.columns.iter().map(|column| cell(row, *column));
        let cells = cells.chain((0..self.own).map(|nth| own_cell(row.own.get(nth).unwrap_or(&OwnCell::Empty))));
        let cells = cells.chain((0..self.carried).map(|nth| text(&row.carried, nth)));
        let object: Map<String, Value> = self.names.iter().cloned().zip(cells).collect();
        serde_json::to_writer(&mut self.out, &Value::Object(object))?;
        self.out.write_all(b"\n")
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}

pub(super) fn own_cell(cell: &OwnCell) -> Value {
    match cell {
        OwnCell::Empty => Value::Null,
        OwnCell::Text(text) => json!(text),
        OwnCell::Count(count) => json!(count),
        OwnCell::Ms(ms) => json!(seconds(*ms)),
        OwnCell::Json(value) => value.clone(),
    }
}

pub(super) fn cell(row: &Row, column: Column) -> Value {
    match column {
        Column::Batch => json!(row.batch),
        Column::Line => json!(row.line),
        Column::Key => json!(row.key),
        Column::OutputName => json!(row.output_name),
        Column::Status => json!(row.status),
        Column::Wanted => json!(row.wanted),
        Column::Source => json!(row.source),
        Column::Outputs => json!(row.outputs),
        Column::Model => json!(row.model),
        Column::Language => json!(row.language),
        Column::VoiceId => json!(row.voice_id),
        Column::OutputFormat => json!(row.output_format.as_ref().map(|format| format.as_str())),
        Column::SampleRate => json!(row.sample_rate.map(|rate| rate.hz())),
        Column::Characters => json!(row.characters),
        Column::AudioSeconds => json!(row.audio_ms.map(seconds)),
        Column::Channels => json!(row.channels),
        Column::Parts => json!(row.parts),
        Column::ReusedParts => json!(row.reused_parts),
        Column::Tries => json!(row.tries),
        Column::BilledCalls => json!(row.billed_calls),
        Column::CostUsd => json!(row.cost.map(|cost| cost.usd())),
        Column::RequestId => json!(row.request_id),
        Column::SubmittedAt => time(row.submitted_at),
        Column::StartedAt => time(row.started_at),
        Column::FinishedAt => time(row.finished_at),
        Column::ProcessingMs => json!(row.processing_ms),
        Column::ErrorKind => json!(row.error_kind.map(|kind| kind.as_str())),
        Column::Error => json!(row.error),
        Column::Notes => json!(row.notes),
        Column::ContentExpiry => json!(row.content_expiry),
        Column::Transcript => json!(row.transcript),
        Column::Text => json!(row.text),
    }
}

#[expect(clippy::cast_precision_loss, reason = "lengths of audio are far below 2^52 ms")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

fn time(at: Option<i64>) -> Value {
    let mut text = String::new();
    write_time(at.filter(|ms| Timestamp::from_millisecond(*ms).is_ok()), &mut text);
    if text.is_empty() { Value::Null } else { text.into() }
}
