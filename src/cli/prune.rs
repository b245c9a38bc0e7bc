//! `wavebatch prune`

use std::time::Duration;

use clap::Args;

use super::{
    Exit, Stop,
    context::{Context, World, batch_of},
    words::{bytes, counted},
};
use crate::definition::text;

/// Take kept answers out of the ledger
///
/// Rows and receipts stay, so nothing is bought again; but what is pruned can be delivered again only by buying it.
/// Answers of batches that are not finished stay.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch prune support-calls --older-than 2d")]
pub struct Prune {
    /// Only this batch
    #[arg(value_name = "BATCH")]
    batch: Option<String>,
    #[command(flatten)]
    world: World,
    /// Of batches that finished so long ago, e.g. 14d; 0s for all that are finished
    #[arg(long, value_name = "TIME", value_parser = text::duration, default_value = "14d")]
    older_than: Duration,
}

impl Prune {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Stop> {
        let (store, _) = context.ledger(self.world.sandbox).await?;
        let batch = match &self.batch {
            Some(name) => Some(batch_of(&store, name).await?),
            None => None,
        };
        let age = i64::try_from(self.older_than.as_millis()).unwrap_or(i64::MAX);
        // One more, since what finished in this very millisecond is finished too.
        let before = store.clock().now().saturating_sub(age).saturating_add(1);
        let pruned = store.prune(batch.as_ref().map(|row| row.id), before).await?;
        store.shrink().await?;
        let screen = &context.screen;
        if pruned.answers == 0 {
            screen.say("no answers to prune");
            if let Some(row) = batch.filter(|row| row.finished_at.is_none()) {
                screen.say(&format!("{} is not finished; its answers stay until it is", row.name));
            }
        } else {
            screen.say(&format!("{} pruned, {} given back", counted(pruned.answers, "answer"), bytes(pruned.bytes)));
        }
        store.close().await;
        Ok(Exit::Success)
    }
}
