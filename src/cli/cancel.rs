//! `wavebatch cancel`

use clap::Args;

use super::{
    context::{BatchArgs, Context},
    error::{CliError, Exit},
    lines::LineFlags,
    words::counted,
};

/// Take back lines that are not finished: all of them, or those that are chosen
///
/// No new call is made. Calls in flight finish, and their answers are kept. `retry` queues the lines again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wavebatch cancel support-calls\n  wavebatch cancel support-calls --where agent=bob"
)]
pub struct Cancel {
    #[command(flatten)]
    named: BatchArgs,
    #[command(flatten)]
    lines: LineFlags,
}

impl Cancel {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let (store, batch) = context.batch(&self.named).await?;
        let lines = self.lines.changed(context, &store, &batch).await?;
        let cancelled = match lines.is_all() {
            true => store.cancel(batch.id).await?,
            false => store.cancel_selected(batch.id, &lines).await?,
        };
        let screen = &context.screen;
        if cancelled.jobs == 0 {
            screen.message(&format!(
                "{}: nothing to cancel, {} is finished",
                batch.name,
                if lines.is_all() { "every line" } else { "each of these lines" }
            ));
        } else {
            screen.message(&format!("{}: {} cancelled", batch.name, counted(cancelled.jobs, "line")));
            let again = context.hint(batch.environment, &["retry", &batch.name, "--state", "cancelled"]);
            screen.message(&format!("  -> {again}  queues them again"));
        }
        if cancelled.in_flight > 0 {
            screen.message(&format!(
                "  {} in flight will finish; their answers are kept",
                counted(cancelled.in_flight, "call")
            ));
        }
        store.close().await;
        Ok(Exit::Success)
    }
}
