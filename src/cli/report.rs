//! `wavebatch report`

use std::{
    fs::File,
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    context::{BatchArgs, Context},
    error::{CliError, Exit},
    lines::LineFlags,
    missing,
    screen::Data,
};
use crate::{
    app::{AppError, publish_batch},
    domain::cost::Rates,
    report::{
        format::{ReportFormat, ReportLayout},
        publish::{ReportRequest, put_report, report_to, summarize},
        summary::SummaryState,
        task_of,
    },
    sink::is_s3,
    store::{BatchRow, ReportScope, Store},
};

/// Write the report of a batch, and show its summary
///
/// Without -o the report goes beside the outputs, as at the end of a run. The ending of FILE says how it is written: .csv,
/// .jsonl, .csv.gz or .jsonl.gz.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wavebatch report support-calls -o calls.csv\n  wavebatch report support-calls -o failed.jsonl.gz --state failed,suspect\n  wavebatch report support-calls -o - | head\n  wavebatch report support-calls --json"
)]
pub struct Report {
    #[command(flatten)]
    named: BatchArgs,
    /// Write it there: a file, or s3://bucket/key; - is stdout
    #[arg(short, long, visible_alias = "report", value_name = "FILE", conflicts_with = "json")]
    output: Option<PathBuf>,
    /// How it is written: csv or jsonl [default: by the ending of FILE; on stdout csv]
    #[arg(long, value_name = "FORMAT", requires = "output", value_parser = layout)]
    format: Option<ReportLayout>,
    #[command(flatten)]
    lines: LineFlags,
    /// Also rows of outputs in voices, formats or languages that are not asked for any more
    #[arg(long, requires = "output")]
    with_dropped: bool,
    /// Print summary.json, and write nothing
    #[arg(long)]
    json: bool,
}

impl Report {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let format = self.file_format()?;
        let (store, settings) = context.ledger(self.named.ledger.sandbox).await?;
        let row = context.batch_in(&store, &self.named.batch).await?;
        let lines = self.lines.shown(context, &store, &row, self.with_dropped).await?;
        let exit = lines.exit();
        let state = state(&store, &row).await?;
        match &self.output {
            _ if self.json => {
                let spec = row.specification()?;
                let task = task_of(context.tasks.reports(), spec)?;
                let summary = summarize(&store, row.id, (spec, &*task), state, &settings.config.rates).await?;
                context.screen.json(&String::from_utf8_lossy(&summary.to_json()))?;
            }
            Some(file) => {
                let scope = ReportScope { lines: lines.lines, with_dropped: self.with_dropped };
                write(context, &store, &row, file, &ReportRequest { scope, format, at: absolute(file) }).await?;
            }
            None => beside(context, &store, &settings.config.rates, &row, state).await?,
        }
        let missing = missing::look(context, &store, &row).await;
        store.close().await;
        Ok(if exit == Exit::Success { missing } else { exit })
    }

    /// The format of the file, before anything is opened.
    fn file_format(&self) -> Result<ReportFormat, CliError> {
        let Some(file) = &self.output else {
            return match self.lines.is_all() {
                true => Ok(ReportFormat::default()),
                false => Err(CliError::usage("the report beside the outputs has all lines")
                    .hint("name a file for the report of some: -o FILE, or -o - for stdout")),
            };
        };
        // A pipe or a device has no ending.
        let streams =
            file.as_os_str() == "-" || std::fs::metadata(file).is_ok_and(|meta| !meta.is_file() && !meta.is_dir());
        let named = ReportFormat::of_name(&file.to_string_lossy());
        match (self.format, streams) {
            (None, true) => Ok(ReportFormat::default()),
            (Some(layout), true) => Ok(ReportFormat { layout, gzip: false }),
            (None, false) => named.map_err(|fault| CliError::usage(format!("{}: {fault}", file.display()))),
            (Some(layout), false) => {
                let gzip = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
                Ok(ReportFormat { layout, gzip })
            }
        }
    }
}

/// `csv`, `jsonl`
fn layout(text: &str) -> Result<ReportLayout, String> {
    match text {
        "csv" => Ok(ReportLayout::Csv),
        "jsonl" => Ok(ReportLayout::Jsonl),
        _ => Err("a report is written as csv or jsonl".into()),
    }
}

async fn state(store: &Store, row: &BatchRow) -> Result<SummaryState, CliError> {
    Ok(if row.pause.is_some() {
        SummaryState::Paused
    } else if store.counts(row.id).await?.unfinished() > 0 {
        SummaryState::Running
    } else {
        SummaryState::of_finished(row)
    })
}

async fn beside(
    context: &Context,
    store: &Store,
    rates: &Rates,
    row: &BatchRow,
    state: SummaryState,
) -> Result<(), CliError> {
    let published = publish_batch(store, (rates, context.tasks.reports()), row.id, state).await?;
    if let Some(error) = published.failed {
        return Err(error.into());
    }
    let (screen, choice) = (&context.screen, context.choice());
    screen.result(&published.summary.to_table(screen.result_width().min(200), (&choice, row.environment)))?;
    screen.message(&format!("  report    {}", published.summary.report));
    Ok(())
}

async fn write(
    context: &Context,
    store: &Store,
    row: &BatchRow,
    file: &PathBuf,
    request: &ReportRequest,
) -> Result<(), CliError> {
    let spec = row.specification()?;
    let task = task_of(context.tasks.reports(), spec)?;
    let of = (spec, &*task);
    if let Some(address) = file.to_str().filter(|address| is_s3(address)) {
        put_report(store, row, of, request, address).await?;
        context.screen.message(&format!("{}: written to {address}", row.name));
        return Ok(());
    }
    if file.as_os_str() == "-" {
        report_to(store, row, of, request, BufWriter::new(Data::to(io::stdout()))).await?;
        return Ok(());
    }
    let message = |e: io::Error| CliError::blocked(format!("{} cannot be written: {e}", file.display()));
    // Files are replaced atomically. Anything else (a pipe, /dev/stdout) cannot be replaced and is written to
    // directly.
    if std::fs::metadata(file).is_ok_and(|meta| !meta.is_file()) {
        report_to(store, row, of, request, BufWriter::new(Data::to(File::create(file).map_err(message)?))).await?;
        return Ok(());
    }
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".tmp-{}", std::process::id()));
    let temporary = file.with_file_name(name);
    let out = BufWriter::new(File::create(&temporary).map_err(message)?);
    let written =
        report_to(store, row, of, request, out).await.map_err(|e| CliError::from(AppError::from(e))).and_then(|out| {
            out.into_inner().map_err(|e| e.into_error()).and_then(|f| f.sync_all()).map_err(message)?;
            std::fs::rename(&temporary, file).map_err(message)
        });
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    context.screen.message(&format!("{}: written to {}", row.name, file.display()));
    Ok(())
}

/// The absolute path of a file; `None` for stdout and for an object.
fn absolute(file: &Path) -> Option<String> {
    let is_file = file.as_os_str() != "-" && !file.to_str().is_some_and(is_s3);
    Some(std::path::absolute(file).ok().filter(|_| is_file)?.to_string_lossy().into_owned())
}
