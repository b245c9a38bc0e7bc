//! Turns a report back into its rows, by the README's description of its columns.

use csv::{ReaderBuilder, StringRecord};
use jiff::Timestamp;

use super::super::{
    defuse::defuse,
    row::{Column, Row},
    task::ReportTask,
};
use crate::domain::{cost::MicroUsd, row::RowStatus};

/// A cell without the apostrophe that escapes it.
pub(super) fn plain(cell: &str) -> String {
    let bare = cell.strip_prefix('\'').filter(|rest| defuse(rest) != *rest);
    bare.unwrap_or(cell).to_owned()
}

/// The rows of a report whose last columns are the manifest's.
pub(super) fn back(report: &[u8], carried: usize) -> Vec<Row> {
    let mut reader = ReaderBuilder::new().from_reader(report);
    let header = reader.headers().unwrap().clone();
    assert!(header.iter().all(|name| header.iter().filter(|other| *other == name).count() == 1), "{header:?}");
    reader.records().map(|record| row(&header, &record.unwrap(), carried)).collect()
}

fn row(header: &StringRecord, record: &StringRecord, carried: usize) -> Row {
    let own = header.len() - carried;
    let cell = |column: Column| {
        let at = header.iter().take(own).position(|name| name == column.as_str())?;
        Some(plain(&record[at])).filter(|cell| !cell.is_empty())
    };
    let number = |column| cell(column).map(|cell| cell.parse::<u64>().unwrap());
    let moment = |column| cell(column).map(|cell| cell.parse::<Timestamp>().unwrap().as_millisecond());
    let small = |column| u32::try_from(number(column).unwrap()).unwrap();
    Row {
        batch: cell(Column::Batch).unwrap(),
        line: number(Column::Line),
        key: cell(Column::Key).unwrap(),
        output_name: cell(Column::OutputName),
        status: cell(Column::Status).unwrap().parse::<RowStatus>().unwrap(),
        wanted: cell(Column::Wanted).unwrap().parse().unwrap(),
        source: cell(Column::Source).unwrap_or_default(),
        outputs: serde_json::from_str(&cell(Column::Outputs).unwrap()).unwrap(),
        model: cell(Column::Model),
        language: cell(Column::Language),
        voice_id: cell(Column::VoiceId),
        output_format: cell(Column::OutputFormat).map(|cell| cell.parse().unwrap()),
        sample_rate: cell(Column::SampleRate).map(|cell| cell.parse().unwrap()),
        characters: number(Column::Characters),
        audio_ms: cell(Column::AudioSeconds).map(|cell| thousands(&cell, 3)),
        channels: cell(Column::Channels).map(|cell| cell.parse().unwrap()),
        parts: number(Column::Parts),
        reused_parts: number(Column::ReusedParts),
        tries: small(Column::Tries),
        billed_calls: small(Column::BilledCalls),
        cost: cell(Column::CostUsd).map(|cell| MicroUsd(i64::try_from(thousands(&cell, 6)).unwrap())),
        request_id: cell(Column::RequestId),
        submitted_at: moment(Column::SubmittedAt),
        started_at: moment(Column::StartedAt),
        finished_at: moment(Column::FinishedAt),
        processing_ms: number(Column::ProcessingMs),
        error_kind: cell(Column::ErrorKind).map(|cell| cell.parse().unwrap()),
        error: cell(Column::Error),
        notes: cell(Column::Notes)
            .map(|cell| cell.split(';').map(|note| note.parse().unwrap()).collect())
            .unwrap_or_default(),
        content_expiry: cell(Column::ContentExpiry),
        transcript: cell(Column::Transcript),
        text: None,
        own: Vec::new(),
        carried: record.iter().skip(own).map(plain).collect(),
    }
}

/// A number with this many decimals, without its point.
fn thousands(cell: &str, decimals: usize) -> u64 {
    let (whole, fraction) = cell.split_once('.').unwrap();
    assert_eq!(fraction.len(), decimals);
    format!("{whole}{fraction}").parse().unwrap()
}

/// The row with only the fields that the task's columns show.
pub(super) fn seen_by(row: Row, task: &dyn ReportTask, transcript: bool) -> Row {
    match task.has_parts() {
        false => Row {
            output_name: None,
            voice_id: None,
            output_format: None,
            sample_rate: None,
            characters: None,
            parts: None,
            reused_parts: None,
            transcript: row.transcript.filter(|_| transcript),
            ..row
        },
        true => Row { source: String::new(), channels: None, content_expiry: None, transcript: None, ..row },
    }
}
