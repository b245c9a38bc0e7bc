//! Writes `report.csv` and `summary.json` from the ledger.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use super::{
    csv::ReportWriter,
    format::ReportFormat,
    lines::RowContext,
    place::{base_of, report_place},
    recall::Recall,
    recalled::Recalled,
    row::{Column, FurtherColumns, LongColumns, Row},
    summary::{Summary, SummaryState},
    task::ReportTask,
    writer::RowWriter,
};
pub use super::{
    place::REPORT,
    publish_error::PublishError,
    summarize::{blank, figures_so_far, summarize},
};
use crate::{
    domain::{batch::BatchSpec, cost::Rates, environment::Environment},
    large::look_into,
    sink::{Content, Sink, SinkError},
    store::{BatchRow, ReportRow, ReportScope, RowAnswer, Scratch, Store, StoreError},
};

/// The summary's name in the sink.
pub const SUMMARY: &str = "summary.json";

pub(super) const PAGE: u32 = 1_000;
/// Rows on a page with answers: an answer with word times can have a hundred kilobytes.
pub(super) const PAGE_WITH_ANSWERS: u32 = 100;
/// The assumed minimum size of a page, in bytes: too much work for a thread that serves others.
pub(super) const PAGE_BYTES: u64 = 1 << 20;

/// What a report has, and how it is written.
#[derive(Debug, Clone, Default)]
pub struct ReportRequest {
    /// Its rows.
    pub scope: ReportScope,
    /// Its format.
    pub format: ReportFormat,
    /// Its address, if it is a file: paths of outputs may start there.
    pub at: Option<String>,
}

/// The long columns of a batch's report.
pub(super) fn long_columns(spec: &BatchSpec, task: &dyn ReportTask) -> LongColumns {
    LongColumns {
        transcript: spec.report.transcript && task.has_transcripts(),
        text: spec.report.text && task.columns().contains(&Column::Text),
    }
}

/// Writes the report and the summary of a batch beside its outputs: each of them whole, or not at all.
///
/// # Errors
/// The ledger, the spool or the sink fails.
pub async fn publish(
    store: &Store,
    batch: &BatchRow,
    (spec, task): (&BatchSpec, &dyn ReportTask),
    sink: &Sink,
    state: SummaryState,
    rates: &Rates,
) -> Result<Summary, PublishError> {
    let written = write_report(store, batch, (spec, task), sink).await;
    // A failed report does not prevent the summary.
    let left = match written {
        Err(error @ PublishError::OldReport { .. }) => Some(error),
        written => written.map(|()| None)?,
    };
    let summary = summarize(store, batch.id, (spec, task), state, rates).await?;
    put_summary(sink, &summary).await?;
    left.map_or(Ok(summary), Err)
}

/// The same at the output in the batch's specification.
///
/// # Errors
/// As of [`publish`]; the output cannot be opened.
pub async fn publish_at_output(
    store: &Store,
    batch: &BatchRow,
    of: (&BatchSpec, &dyn ReportTask),
    state: SummaryState,
    rates: &Rates,
) -> Result<Summary, PublishError> {
    let sink = Sink::open(&of.0.output, &of.0.sink)?;
    publish(store, batch, of, &sink, state, rates).await
}

async fn write_report(
    store: &Store,
    batch: &BatchRow,
    (spec, task): (&BatchSpec, &dyn ReportTask),
    sink: &Sink,
) -> Result<(), PublishError> {
    let place = report_place(spec, sink)?;
    let request = ReportRequest { at: Some(spec.report_address()), ..ReportRequest::default() };
    put_at(store, batch, (spec, task), &request, place).await
}

/// Writes the report of a batch to the object at this address, in the store that its report goes to.
///
/// # Errors
/// The ledger, the spool or the store fails.
pub async fn put_report(
    store: &Store,
    batch: &BatchRow,
    (spec, task): (&BatchSpec, &dyn ReportTask),
    request: &ReportRequest,
    address: &str,
) -> Result<(), PublishError> {
    let place = Sink::open_file(address, spec.report_sink())?;
    let request = ReportRequest { at: Some(address.to_owned()), ..request.clone() };
    put_at(store, batch, (spec, task), &request, place).await
}

async fn put_at(
    store: &Store,
    batch: &BatchRow,
    of: (&BatchSpec, &dyn ReportTask),
    request: &ReportRequest,
    place: (Sink, String),
) -> Result<(), PublishError> {
    put_file(store, place, request.format, async |file| report_to(store, batch, of, request, file).await).await
}

/// Puts the file that `write` writes; it is whole, or is not put.
pub(super) async fn put_file(
    store: &Store,
    (place, name): (Sink, String),
    format: ReportFormat,
    write: impl AsyncFnOnce(File) -> Result<File, PublishError>,
) -> Result<(), PublishError> {
    let dir = store.spool();
    let message = |source: io::Error| PublishError::Spool { dir: dir.clone(), source };
    let (scratch, file) = Scratch::create(&dir, "report.csv").map_err(message)?;
    write(file).await.map_err(|e| if let PublishError::Output(source) = e { message(source) } else { e })?;
    place.put(&name, Content::File(scratch.path().to_owned()), format.content_type()).await?;
    Ok(())
}

/// Writes a report without lines to the location in the definition, to detect a location that cannot be written before money is
/// spent. If the report is beside the outputs, the summary detects that. An existing report is left as it is, and the location
/// is tested with another name.
///
/// # Errors
/// The sink refuses it.
pub async fn put_blank_report((spec, task): (&BatchSpec, &dyn ReportTask), sink: &Sink) -> Result<(), SinkError> {
    if spec.report_to.is_none() {
        return Ok(());
    }
    let (place, name) = report_place(spec, sink)?;
    if place.has(&name).await? {
        return place.try_out(&name).await;
    }
    let own = task.batch(&spec.task).map(|asked| asked.own_columns()).unwrap_or_default();
    let further = FurtherColumns { own: &own, carried: &spec.carried };
    let header = ReportWriter::new(Vec::new(), task, further, long_columns(spec, task)).and_then(ReportWriter::finish);
    let header = header.expect("memory takes whatever is written");
    place.put(&name, Content::Bytes(header.into()), ReportFormat::default().content_type()).await.map(|_| ())
}

/// Writes a summary beside the outputs.
///
/// # Errors
/// The sink refuses it.
pub async fn put_summary(sink: &Sink, summary: &Summary) -> Result<(), SinkError> {
    sink.put(SUMMARY, Content::Bytes(summary.to_json().into()), "application/json").await.map(|_| ())
}

/// Writes the report of a batch, page by page, and returns its writer.
///
/// # Errors
/// The ledger cannot be read, or `out` fails.
pub async fn report_to<W: Write + Send + 'static>(
    store: &Store,
    batch: &BatchRow,
    (spec, task): (&BatchSpec, &dyn ReportTask),
    request: &ReportRequest,
    out: W,
) -> Result<W, PublishError> {
    let long = long_columns(spec, task);
    let unread = |e| StoreError::Unexpected(format!("the specification of `{}`: {e}", batch.name));
    let own = task.batch(&spec.task).map_err(unread)?.own_columns();
    let further = FurtherColumns { own: &own, carried: &spec.carried };
    let writer = RowWriter::new(out, request.format, task, further, long).map_err(PublishError::Output)?;
    let base = request.at.as_deref().and_then(|at| base_of(spec, at));
    Box::pin(write_all(store, batch, (spec, task), &request.scope, (long, base, writer))).await
}

/// Shows each row of a batch to `each`, with its transcript if its task has them: from kept answers, else from the outputs.
///
/// # Errors
/// The ledger or the outputs cannot be read.
pub async fn each_row(
    store: &Store,
    batch: &BatchRow,
    (spec, task): (&BatchSpec, &dyn ReportTask),
    scope: &ReportScope,
    each: impl FnMut(Row) + Send + 'static,
) -> Result<(), PublishError> {
    let writer = RowWriter::Each(io::sink(), Box::new(each));
    let long = LongColumns { transcript: task.has_transcripts(), text: false };
    // Boxed: the callers' futures are large already.
    Box::pin(write_all(store, batch, (spec, task), scope, (long, None, writer))).await.map(drop)
}

async fn write_all<W: Write + Send + 'static>(
    store: &Store,
    batch: &BatchRow,
    (spec, task): (&BatchSpec, &dyn ReportTask),
    scope: &ReportScope,
    (long, base, mut writer): (LongColumns, Option<PathBuf>, RowWriter<W>),
) -> Result<W, PublishError> {
    let unread = |e| StoreError::Unexpected(format!("the specification of `{}`: {e}", batch.name));
    let lines = RowContext {
        batch: batch.name.clone(),
        spec: spec.clone(),
        asked: task.batch(&spec.task).map_err(unread)?,
        transcripts: long.transcript,
        texts: long.text,
        base,
        sandbox: batch.environment == Environment::Sandbox,
    };
    let lines = Arc::new(lines);
    let mut recall = Recall::new(spec, store.spool());
    let transcript = long.transcript;
    let limit = if transcript || long.text { PAGE_WITH_ANSWERS } else { PAGE };
    let mut page = store.report_rows(batch.id, (0, 0), limit, transcript, scope).await?;
    while let Some(last) = page.last() {
        let after = (last.ordinal, last.job.0);
        let full = page.len() >= limit as usize;
        let writing = write_page(store, writer, &lines, &mut recall, page);
        // The next page is read while one is written.
        let reading = async {
            if full { store.report_rows(batch.id, after, limit, transcript, scope).await } else { Ok(Vec::new()) }
        };
        let (written, next) = tokio::join!(writing, reading);
        writer = written?;
        page = next?;
    }
    let finished = tokio::task::spawn_blocking(move || {
        let mut out = writer.finish()?;
        out.flush().map(|()| out)
    });
    finished.await.map_err(io::Error::other).flatten().map_err(PublishError::Output)
}

/// Rows that are built at a time if some of them have transcripts from elsewhere.
pub(super) const RECALLED_AT_A_TIME: usize = 16;

/// Writes a page. A row whose answer is stored separately is written on its own, if that answer exists.
async fn write_page<W: Write + Send + 'static>(
    store: &Store,
    mut writer: RowWriter<W>,
    lines: &Arc<RowContext>,
    recall: &mut Recall,
    page: Vec<ReportRow>,
) -> Result<RowWriter<W>, PublishError> {
    let mut together = Vec::with_capacity(page.len());
    for mut line in page {
        if lines.texts {
            line.text = store.text(line.job).await?;
        }
        if let Some(RowAnswer::Apart(call)) = line.answer {
            writer = write_rows(writer, lines, recall, std::mem::take(&mut together), 0).await?;
            line.answer = store.answer(call).await?.map(|(body, _)| RowAnswer::Here(body));
            let len = if let Some(RowAnswer::Here(body)) = &line.answer { body.len() } else { 0 };
            writer = write_rows(writer, lines, recall, vec![line], len).await?;
            continue;
        }
        together.push(line);
        if together.len() >= RECALLED_AT_A_TIME && together.iter().any(|line| lines.needs_recall(line)) {
            writer = write_rows(writer, lines, recall, std::mem::take(&mut together), 0).await?;
        }
    }
    write_rows(writer, lines, recall, together, 0).await
}

/// Writes rows whose answers came with them (the longest has `len` bytes) or are to be recalled.
async fn write_rows<W: Write + Send + 'static>(
    mut writer: RowWriter<W>,
    lines: &Arc<RowContext>,
    recall: &mut Recall,
    rows: Vec<ReportRow>,
    len: u64,
) -> Result<RowWriter<W>, PublishError> {
    if rows.is_empty() {
        return Ok(writer);
    }
    let recalled: Vec<Option<Recalled>> = recall.of(lines, &rows).await?;
    let lines = Arc::clone(lines);
    let writing = move || {
        for (line, recalled) in rows.into_iter().zip(recalled) {
            writer.write(lines.row(line, recalled))?;
        }
        Ok(writer)
    };
    look_into(len.max(PAGE_BYTES), writing).await.map_err(PublishError::Output)
}
