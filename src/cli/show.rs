//! `wavebatch show`

use clap::Args;
use serde::Serialize;

use super::{
    context::{Context, LedgerFlags},
    error::{CliError, Exit},
    jobs::in_full,
    words::{counted, printable_lines},
};
use crate::{
    app::{spoken_text, texts, views::JobView},
    domain::{options::nearest, printable::visible},
    store::{BatchRow, Field, JobFilter, Selection, Store},
};

/// Show one line: its text, files, cost and calls, in whichever batch it is
///
/// The transcript comes from the kept answer, else from the output.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wavebatch show 2026/call-17\n  wavebatch show call-17 --batch support-calls --json"
)]
pub struct Show {
    /// The line's key
    #[arg(value_name = "KEY")]
    key: String,
    /// Only in this batch
    #[arg(long, value_name = "NAME")]
    batch: Option<String>,
    #[command(flatten)]
    ledger: LedgerFlags,
    /// One JSON object a job
    #[arg(long)]
    json: bool,
}

/// A job with its batch and its text.
#[derive(Debug, Serialize)]
struct LineView {
    /// The batch.
    batch: String,
    /// Its definition.
    definition: String,
    /// The transcript, or the text that is spoken; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The job.
    #[serde(flatten)]
    job: JobView,
}

impl Show {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let (store, _) = context.ledger(self.ledger.sandbox).await?;
        let batches = match &self.batch {
            Some(name) => vec![context.batch_in(&store, name).await?],
            None => store.batches().await?,
        };
        let mut views = Vec::new();
        // The newest batch first.
        for batch in batches.iter().rev() {
            views.extend(self.line(context, &store, batch).await?);
        }
        if views.is_empty() {
            return Err(self.unknown(&store, &batches).await?);
        }
        let screen = &context.screen;
        match self.json {
            true => screen.views(&views)?,
            false => {
                for view in &views {
                    screen.result(&message(view, screen.result_width()))?;
                }
            }
        }
        store.close().await;
        Ok(Exit::Success)
    }

    async fn line(&self, context: &Context, store: &Store, batch: &BatchRow) -> Result<Vec<LineView>, CliError> {
        let lines = Selection::of_key(self.key.as_str());
        let filter = JobFilter { lines: lines.clone(), limit: u32::MAX, with_dropped: true, ..JobFilter::default() };
        let jobs = store.jobs(batch.id, &filter).await?;
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        // The outputs of a line may speak texts in several languages; a recording has one.
        let mut transcript = match context.tasks.has_parts(batch.task) {
            true => None,
            false => texts(store, &context.tasks, batch, &lines, |_| true).await?.into_iter().next(),
        };
        let mut views = Vec::with_capacity(jobs.len());
        for job in &jobs {
            let text = match transcript.take() {
                Some(line) => Some(line.text),
                None => spoken_text(store, job.row.job).await?,
            };
            let (batch, definition) = (batch.name.clone(), batch.definition.clone());
            views.push(LineView { batch, definition, text, job: JobView::of(job) });
        }
        Ok(views)
    }

    async fn unknown(&self, store: &Store, batches: &[BatchRow]) -> Result<CliError, CliError> {
        let mut known = Vec::new();
        for batch in batches {
            known.extend(store.known_values(batch.id, &Field::Key).await?);
        }
        let near = nearest(&self.key, known.iter().map(String::as_str));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let places = match (&self.batch, batches) {
            (Some(name), _) => name.clone(),
            (None, [one]) => one.name.clone(),
            (None, several) => format!("the {} batches of this ledger", several.len()),
        };
        Ok(CliError::lines(format!("no line of {places} has the key `{}`{near}", visible(&self.key))))
    }
}

fn message(view: &LineView, width: usize) -> String {
    let mut out = format!("{}: ", view.batch);
    out.push_str(&in_full(&view.job, width));
    if let Some(text) = &view.text {
        out.push_str(&format!("\n{}\n", printable_lines(text.trim_end())));
        // What is spoken has fewer characters than the text with its breaks, and stands above.
        if view.job.rendition.as_ref().is_some_and(|own| own.characters.is_some()) {
            return out;
        }
        out.push_str(&format!("\n({})\n", counted(text.chars().count() as u64, "character")));
    }
    out
}
