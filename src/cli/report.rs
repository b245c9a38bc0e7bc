//! `wavebatch report`

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    context::{Context, LedgerFlags},
    error::{CliError, Exit},
    lines::LineFlags,
    missing,
    screen::Data,
    sources::is_definition,
};
use crate::{
    app::{AppError, ChainBatch, ChainError, SANDBOX_OUTPUT, chain_of, publish_batch},
    definition::{Definition, Overrides},
    domain::{batch::BatchSpec, cost::Rates, environment::Environment},
    report::{
        ReportTask,
        format::{ReportFormat, ReportLayout},
        publish::{PublishError, ReportRequest, put_report, report_to, summarize},
        summary::SummaryState,
        task_of,
        wide::{WideStage, put_wide, wide_to},
    },
    sink::is_s3,
    store::{BatchRow, ReportScope, Store},
};

/// Write the report of a batch, and show its summary
///
/// Without -o the report goes beside the outputs, as at the end of a run. The ending of FILE says how it is written: .csv,
/// .jsonl, .csv.gz or .jsonl.gz.
///
/// With --wide it is one table of a chain, to stdout or to FILE: a row for each line of the first batch, with the columns of
/// its manifest once, and the report of each batch beside it.
#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("to").args(["output", "wide"]).multiple(true),
    after_help = "Examples:\n  wavebatch report support-calls -o calls.csv\n  wavebatch report support-calls -o failed.jsonl.gz --state failed,suspect\n  wavebatch report support-calls -o - | head\n  wavebatch report support-calls --json\n  wavebatch report scorecard --wide -o wide.csv"
)]
pub struct Report {
    /// The batch's name, or its definition (*.toml); with --wide the last of a chain, or all of them
    #[arg(value_name = "BATCH", required = true)]
    batches: Vec<String>,
    #[command(flatten)]
    ledger: LedgerFlags,
    /// Write it there: a file, or s3://bucket/key; - is stdout
    #[arg(short, long, visible_alias = "report", value_name = "FILE", conflicts_with = "json")]
    output: Option<PathBuf>,
    /// How it is written: csv or jsonl [default: by the ending of FILE; on stdout csv]
    #[arg(long, value_name = "FORMAT", requires = "to", value_parser = layout)]
    format: Option<ReportLayout>,
    #[command(flatten)]
    lines: LineFlags,
    /// Also rows of outputs in voices, formats or languages that are not asked for any more
    #[arg(long, requires = "to")]
    with_dropped: bool,
    /// All batches of a chain side by side: a row for each line of the first one, by which lines are chosen, too
    #[arg(long, conflicts_with = "json")]
    wide: bool,
    /// Print summary.json, and write nothing
    #[arg(long)]
    json: bool,
}

impl Report {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let format = self.file_format()?;
        if self.batches.len() > 1 && !self.wide {
            return Err(CliError::usage("a report is of one batch").hint("--wide puts several of a chain side by side"));
        }
        let (store, settings) = context.ledger(self.ledger.sandbox).await?;
        let mut rows = Vec::with_capacity(self.batches.len());
        for batch in &self.batches {
            let name = self.name_of(context, &store, batch).await?;
            rows.push(context.batch_in(&store, &name).await?);
        }
        let exit = match (self.wide, rows.as_slice()) {
            (true, _) => self.wide(context, &store, (rows, format)).await?,
            (false, [row, ..]) => self.one(context, (&store, &settings.config.rates), row, format).await?,
            (false, []) => unreachable!("a batch is required"),
        };
        store.close().await;
        Ok(exit)
    }

    async fn one(
        &self,
        context: &Context,
        (store, rates): (&Store, &Rates),
        row: &BatchRow,
        format: ReportFormat,
    ) -> Result<Exit, CliError> {
        let lines = self.lines.shown(context, store, row, self.with_dropped).await?;
        let exit = lines.exit();
        let state = state(store, row).await?;
        match &self.output {
            _ if self.json => {
                let spec = row.specification()?;
                let task = task_of(context.tasks.reports(), spec)?;
                let summary = summarize(store, row.id, (spec, &*task), state, rates).await?;
                context.screen.json(&String::from_utf8_lossy(&summary.to_json()))?;
            }
            Some(file) => {
                let scope = ReportScope { lines: lines.lines, with_dropped: self.with_dropped };
                let request = ReportRequest { scope, format, at: absolute(file) };
                let spec = row.specification()?;
                let task = task_of(context.tasks.reports(), spec)?;
                write(context, store, &Contents::Batch(row, spec, &*task), file, &request).await?;
            }
            None => beside(context, store, rates, row, state).await?,
        }
        let missing = missing::look(context, store, row).await;
        Ok(if exit == Exit::Success { missing } else { exit })
    }

    async fn wide(
        &self,
        context: &Context,
        store: &Store,
        (rows, format): (Vec<BatchRow>, ReportFormat),
    ) -> Result<Exit, CliError> {
        let chain = chain_of(store, rows).await.map_err(|fault| no_chain(context, fault, self.ledger.sandbox))?;
        let (first, _) = &chain[0];
        let lines = self.lines.shown(context, store, first, self.with_dropped).await?;
        let exit = lines.exit();
        let stages: Result<Vec<WideStage<'_>>, CliError> = chain.iter().map(|one| stage_of(context, one)).collect();
        let stdout = PathBuf::from("-");
        let file = self.output.as_ref().unwrap_or(&stdout);
        let scope = ReportScope { lines: lines.lines, with_dropped: self.with_dropped };
        let request = ReportRequest { scope, format, at: absolute(file) };
        write(context, store, &Contents::Chain(&stages?), file, &request).await?;
        Ok(exit)
    }

    /// The name of a batch that is named itself, or by its definition: that of its date, else the newest.
    async fn name_of(&self, context: &Context, store: &Store, named: &str) -> Result<String, CliError> {
        if !is_definition(named) {
            return Ok(named.to_owned());
        }
        let sandbox = self.ledger.sandbox;
        let output = sandbox.then(|| SANDBOX_OUTPUT.to_owned());
        let overrides = Overrides { now: context.env.now, output, sandbox, ..Overrides::default() };
        let definition = Definition::load(Path::new(named), context.tasks.definitions(), &overrides)?;
        let name = definition.batch.to_string();
        if store.batch(&name).await?.is_some() {
            return Ok(name);
        }
        let of_it = store.batches().await?.into_iter().filter(|row| row.definition == definition.name);
        Ok(of_it.max_by_key(|row| (row.submitted_at, row.id.0)).map_or(name, |row| row.name))
    }

    /// The format of the file, before anything is opened.
    fn file_format(&self) -> Result<ReportFormat, CliError> {
        let stdout = PathBuf::from("-");
        let Some(file) = self.output.as_ref().or(self.wide.then_some(&stdout)) else {
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

/// What a report has.
enum Contents<'a> {
    /// The lines of a batch.
    Batch(&'a BatchRow, &'a BatchSpec, &'a dyn ReportTask),
    /// The lines of the first batch, with what the others made of them.
    Chain(&'a [WideStage<'a>]),
}

impl Contents<'_> {
    /// Whose report it is.
    fn name(&self) -> &str {
        match self {
            Self::Batch(row, ..) => &row.name,
            Self::Chain(stages) => stages.last().map_or("", |last| &last.batch.name),
        }
    }

    async fn put(&self, store: &Store, request: &ReportRequest, address: &str) -> Result<(), PublishError> {
        match self {
            Self::Batch(row, spec, task) => put_report(store, row, (spec, *task), request, address).await,
            Self::Chain(stages) => put_wide(store, stages, request, address).await,
        }
    }

    async fn write_to<W: Write + Send + 'static>(
        &self,
        store: &Store,
        request: &ReportRequest,
        out: W,
    ) -> Result<W, PublishError> {
        match self {
            Self::Batch(row, spec, task) => report_to(store, row, (spec, *task), request, out).await,
            Self::Chain(stages) => Box::pin(wide_to(store, stages, request, out)).await,
        }
    }
}

fn stage_of<'a>(context: &Context, (batch, by): &'a ChainBatch) -> Result<WideStage<'a>, CliError> {
    let spec = batch.specification()?;
    Ok(WideStage { batch, spec, task: task_of(context.tasks.reports(), spec)?, by: *by })
}

fn no_chain(context: &Context, fault: ChainError, sandbox: bool) -> CliError {
    let message = fault.to_string();
    match fault {
        ChainError::Store(error) => error.into(),
        ChainError::Apart(..) => CliError::usage(message).hint("--wide is for batches that begin with the same one"),
        ChainError::Alone { fed, .. } => CliError::usage(message).hint(match fed.as_slice() {
            [] => "--wide is for batches whose manifest is `batch:NAME`".to_owned(),
            fed => {
                let words: Vec<&str> = ["report"].into_iter().chain(fed.iter().map(String::as_str)).collect();
                let words: Vec<&str> = words.into_iter().chain(["--wide"]).collect();
                context.hint(Environment::sandboxed(sandbox), &words)
            }
        }),
    }
}

async fn write(
    context: &Context,
    store: &Store,
    contents: &Contents<'_>,
    file: &Path,
    request: &ReportRequest,
) -> Result<(), CliError> {
    if let Some(address) = file.to_str().filter(|address| is_s3(address)) {
        contents.put(store, request, address).await?;
        context.screen.message(&format!("{}: written to {address}", contents.name()));
        return Ok(());
    }
    if file.as_os_str() == "-" {
        contents.write_to(store, request, BufWriter::new(Data::to(io::stdout()))).await?;
        return Ok(());
    }
    let message = |e: io::Error| CliError::blocked(format!("{} cannot be written: {e}", file.display()));
    // Files are replaced atomically. Anything else (a pipe, /dev/stdout) cannot be replaced and is written to
    // directly.
    if std::fs::metadata(file).is_ok_and(|meta| !meta.is_file()) {
        contents.write_to(store, request, BufWriter::new(Data::to(File::create(file).map_err(message)?))).await?;
        return Ok(());
    }
    let mut name = file.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".tmp-{}", std::process::id()));
    let temporary = file.with_file_name(name);
    let out = BufWriter::new(File::create(&temporary).map_err(message)?);
    let written =
        contents.write_to(store, request, out).await.map_err(|e| CliError::from(AppError::from(e))).and_then(|out| {
            out.into_inner().map_err(|e| e.into_error()).and_then(|f| f.sync_all()).map_err(message)?;
            std::fs::rename(&temporary, file).map_err(message)
        });
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    context.screen.message(&format!("{}: written to {}", contents.name(), file.display()));
    Ok(())
}

/// The absolute path of a file; `None` for stdout and for an object.
fn absolute(file: &Path) -> Option<String> {
    let is_file = file.as_os_str() != "-" && !file.to_str().is_some_and(is_s3);
    Some(std::path::absolute(file).ok().filter(|_| is_file)?.to_string_lossy().into_owned())
}
