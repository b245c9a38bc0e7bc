//! `wavebatch cancel`

use clap::Args;

use super::{
    context::{BatchArgs, Context},
    error::{CliError, Exit},
    words::{counted, shell},
};

/// Take back every line that is not finished
///
/// No new call is made. Calls in flight finish, and their answers are kept. `retry` queues the lines again.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch cancel support-calls")]
pub struct Cancel {
    #[command(flatten)]
    named: BatchArgs,
}

impl Cancel {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let (store, batch) = context.batch(&self.named).await?;
        let cancelled = store.cancel(batch.id).await?;
        let (screen, name) = (&context.screen, shell(&batch.name));
        if cancelled.jobs == 0 {
            screen.message(&format!("{}: nothing to cancel, every line is finished", batch.name));
        } else {
            screen.message(&format!("{}: {} cancelled", batch.name, counted(cancelled.jobs, "line")));
            screen.message(&format!("  -> wavebatch retry {name} --state cancelled  queues them again"));
        }
        if cancelled.in_flight > 0 {
            screen.message(&format!(
                "  {} in flight will finish; what they bought is kept",
                counted(cancelled.in_flight, "call")
            ));
        }
        store.close().await;
        Ok(Exit::Success)
    }
}
