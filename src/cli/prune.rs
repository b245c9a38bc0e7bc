//! `wavebatch prune`

use std::time::Duration;

use clap::Args;

use super::{
    context::{Context, LedgerFlags},
    error::{CliError, Exit},
    kept,
    words::{bytes, counted},
};
use crate::{
    app::{Forgetter, answers, kept_until},
    definition::text,
    store::{BatchRow, Pruned},
};

/// Take kept answers out of the ledger
///
/// It also carries out `keep_rows` and `keep_outputs` of each batch. /// Rows and receipts stay, so nothing is paid for again; but what is pruned has to be paid for to be delivered again.
/// Answers of batches that are not finished stay. Speech is kept as files: `wavebatch spool prune` is for those.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch prune support-calls --older-than 2d")]
pub struct Prune {
    /// Only this batch
    #[arg(value_name = "BATCH")]
    batch: Option<String>,
    #[command(flatten)]
    ledger: LedgerFlags,
    /// Of batches that finished so long ago, e.g. 14d; 0s for all that are finished [default: each batch's keep_answers]
    #[arg(long, value_name = "TIME", value_parser = text::duration)]
    older_than: Option<Duration>,
}

impl Prune {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let (store, settings) = context.ledger(self.ledger.sandbox).await?;
        let environment = settings.environment;
        let batch = match &self.batch {
            Some(name) => Some(context.batch_in(&store, name).await?),
            None => None,
        };
        let now = store.clock().now();
        let rows = match &batch {
            Some(row) => vec![row.clone()],
            None => store.batches().await?,
        };
        let mut pruned = Pruned::default();
        for (row, at) in rows.iter().filter_map(|row| Some((row, row.finished_at?))) {
            if self.goes_at(row, at).is_some_and(|goes_at| goes_at <= now) {
                let one = store.prune(Some(row.id), at.saturating_add(1)).await?;
                pruned.answers += one.answers;
                pruned.callbacks += one.callbacks;
                pruned.bytes += one.bytes;
                pruned.texts += one.texts;
            }
        }
        store.shrink().await?;
        let screen = &context.screen;
        let forgetter = Forgetter::new(&store, &settings, Err("`prune` asks nobody".to_owned()));
        let retained = Box::pin(forgetter.retain(environment, self.batch.as_deref())).await?;
        if retained.jobs > 0 {
            screen.message(&format!(
                "{} past keep_rows: their content is gone from the ledger",
                counted(retained.jobs, "job")
            ));
        }
        if retained.outputs > 0 {
            screen.message(&format!(
                "{} past keep_outputs removed, and the reports with them",
                counted(retained.outputs, "output")
            ));
        }
        for why in &retained.failed {
            screen.warn(why);
        }
        drop(forgetter);
        if pruned.texts > 0 {
            screen.message(&format!("{} of changed lines pruned", counted(pruned.texts, "text")));
        }
        if batch.as_ref().is_some_and(|row| context.tasks.has_parts(row.task)) {
            let trim = context.hint(environment, &["spool", "prune"]);
            screen.message(&format!("speech is kept in the spool, not in the ledger: `{trim}` trims it"));
        } else if pruned.answers + pruned.callbacks == 0 {
            screen.message("no answers to prune");
            if let Some(row) = batch.filter(|row| row.finished_at.is_none()) {
                screen.message(&format!("{} is not finished; its answers stay until it is", row.name));
            }
        } else {
            let posted = match pruned.callbacks {
                0 => String::new(),
                n => format!(" and {}", counted(n, "other callback")),
            };
            let answers = counted(pruned.answers, "answer");
            screen.message(&format!("{answers}{posted} pruned, {} given back", bytes(pruned.bytes)));
        }
        let kept = kept::words(&answers(&store).await?, (&context.choice(), environment));
        if !kept.is_empty() {
            screen.message(&kept);
        }
        store.close().await;
        Ok(Exit::Success)
    }

    /// When the answers of a batch that finished `at` can be removed.
    fn goes_at(&self, row: &BatchRow, at: i64) -> Option<i64> {
        match self.older_than {
            Some(age) => Some(at.saturating_add(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))),
            None => kept_until(row),
        }
    }
}
