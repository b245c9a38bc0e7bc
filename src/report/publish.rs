//! From the ledger to `report.csv` and `summary.json`.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

pub use super::summarize::{blank, summarize};
use super::{
    csv::ReportWriter,
    lines::Lines,
    summary::{Summary, SummaryState},
};
use crate::{
    domain::{batch::BatchSpec, cost::Rates, environment::Environment},
    large::look_into,
    sink::{Content, Sink, SinkError},
    store::{BatchRow, ReportRow, RowAnswer, Scratch, Store, StoreError},
};

/// The report's name in the sink.
pub const REPORT: &str = "report.csv";
/// The summary's name in the sink.
pub const SUMMARY: &str = "summary.json";

const CSV: &str = "text/csv; charset=utf-8";
const PAGE: u32 = 1_000;
/// Answers with their words can have a hundred kilobytes each.
const PAGE_WITH_ANSWERS: u32 = 100;
/// What a page comes to at least: too much for a thread that serves others.
const PAGE_BYTES: u64 = 1 << 20;

/// Why a report or a summary could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The ledger cannot tell.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sink does not take it.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The file in the spool cannot be written.
    #[error("the report cannot be written in {}", dir.display())]
    Spool {
        /// The spool.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Where the user wants it, it cannot be written.
    #[error("the report cannot be written")]
    Output(#[source] io::Error),
}

/// Writes the report and the summary of a batch beside its outputs: each of them whole, or not at all.
///
/// # Errors
/// The ledger, the spool or the sink fails.
pub async fn publish(
    store: &Store,
    batch: &BatchRow,
    spec: &BatchSpec,
    sink: &Sink,
    state: SummaryState,
    rates: &Rates,
) -> Result<Summary, PublishError> {
    let dir = store.spool();
    let told = |source: io::Error| PublishError::Spool { dir: dir.clone(), source };
    let (scratch, file) = Scratch::create(&dir, "report.csv").map_err(told)?;
    let written: Result<File, PublishError> = report_to(store, batch, spec, false, file).await;
    written.map_err(|e| if let PublishError::Output(source) = e { told(source) } else { e })?;
    let (place, name) = report_place(spec, sink)?;
    place.put(&name, Content::File(scratch.path().to_owned()), CSV).await?;
    let summary = summarize(store, batch.id, spec, state, rates).await?;
    put_summary(sink, &summary).await?;
    Ok(summary)
}

/// Where the report of a batch goes: beside its outputs, or where its definition says.
fn report_place(spec: &BatchSpec, sink: &Sink) -> Result<(Sink, String), SinkError> {
    match &spec.report_to {
        Some(address) => Sink::open_file(address, &spec.sink),
        None => Ok((sink.clone(), REPORT.to_owned())),
    }
}

/// Writes a report without lines where the definition wants it, which is how a place that cannot be written is found
/// before money is spent. Beside the outputs the summary finds it.
///
/// # Errors
/// The sink does not take it.
pub async fn put_blank_report(spec: &BatchSpec, sink: &Sink) -> Result<(), SinkError> {
    if spec.report_to.is_none() {
        return Ok(());
    }
    let (place, name) = report_place(spec, sink)?;
    let header = ReportWriter::new(Vec::new(), spec.task.task(), &spec.carried, spec.report.transcript)
        .and_then(ReportWriter::finish);
    let header = header.expect("memory takes whatever is written");
    place.put(&name, Content::Bytes(header.into()), CSV).await.map(|_| ())
}

/// Writes a summary beside the outputs.
///
/// # Errors
/// The sink does not take it.
pub async fn put_summary(sink: &Sink, summary: &Summary) -> Result<(), SinkError> {
    sink.put(SUMMARY, Content::Bytes(summary.to_json().into()), "application/json").await.map(|_| ())
}

/// Writes the report of a batch, page by page, and gives back what it was written to.
///
/// # Errors
/// The ledger cannot be read, or `out` fails.
pub async fn report_to<W: Write + Send + 'static>(
    store: &Store,
    batch: &BatchRow,
    spec: &BatchSpec,
    with_dropped: bool,
    out: W,
) -> Result<W, PublishError> {
    let transcript = spec.report.transcript && spec.task.transcription().is_some();
    let lines =
        Lines { batch: batch.name.clone(), spec: spec.clone(), sandbox: batch.environment == Environment::Sandbox };
    let lines = Arc::new(lines);
    let mut writer =
        ReportWriter::new(out, spec.task.task(), &spec.carried, transcript).map_err(PublishError::Output)?;
    let limit = if transcript { PAGE_WITH_ANSWERS } else { PAGE };
    let mut page = store.report_rows(batch.id, (0, 0), limit, (transcript, with_dropped)).await?;
    while let Some(last) = page.last() {
        let after = (last.ordinal, last.job.0);
        let full = page.len() >= limit as usize;
        let writing = write_page(store, writer, &lines, page);
        // While a page is written, the next is read.
        let reading = async {
            if full {
                store.report_rows(batch.id, after, limit, (transcript, with_dropped)).await
            } else {
                Ok(Vec::new())
            }
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

/// Writes a page. A row whose answer is apart is written by itself, when that is there.
async fn write_page<W: Write + Send + 'static>(
    store: &Store,
    mut writer: ReportWriter<W>,
    lines: &Arc<Lines>,
    page: Vec<ReportRow>,
) -> Result<ReportWriter<W>, PublishError> {
    let mut together = Vec::with_capacity(page.len());
    for mut line in page {
        let Some(RowAnswer::Apart(call)) = line.answer else {
            together.push(line);
            continue;
        };
        writer = write_rows(writer, lines, std::mem::take(&mut together), 0).await?;
        line.answer = store.answer(call).await?.map(|(body, _)| RowAnswer::Here(body));
        let len = if let Some(RowAnswer::Here(body)) = &line.answer { body.len() } else { 0 };
        writer = write_rows(writer, lines, vec![line], len).await?;
    }
    write_rows(writer, lines, together, 0).await
}

/// Writes rows whose answers came with them, the longest of which has `len` bytes.
async fn write_rows<W: Write + Send + 'static>(
    mut writer: ReportWriter<W>,
    lines: &Arc<Lines>,
    rows: Vec<ReportRow>,
    len: u64,
) -> Result<ReportWriter<W>, PublishError> {
    if rows.is_empty() {
        return Ok(writer);
    }
    let lines = Arc::clone(lines);
    let writing = move || {
        for line in rows {
            writer.write(&lines.row(line))?;
        }
        Ok(writer)
    };
    look_into(len.max(PAGE_BYTES), writing).await.map_err(PublishError::Output)
}
