//! `wavebatch pause`

use clap::Args;

use super::{
    context::{BatchArgs, Context},
    error::{CliError, Exit},
    words::counted,
};
use crate::domain::retry::PauseKind;

/// Stop a batch from making calls, until `resume`
///
/// Calls in flight finish, and their answers are kept. `run` and `work` leave the batch alone.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch pause support-calls --reason 'waiting for the new contract'")]
pub struct Pause {
    #[command(flatten)]
    named: BatchArgs,
    /// Why, for those who look at `status`
    #[arg(long, value_name = "TEXT", default_value = "no reason given")]
    reason: String,
}

impl Pause {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let (store, batch) = context.batch(&self.named).await?;
        store.pause(batch.id, PauseKind::User, self.reason).await?;
        let in_flight = store.open_calls(Some(batch.id)).await?;
        let rest = if in_flight > 0 {
            format!("; {} in flight will finish", counted(in_flight, "call"))
        } else {
            String::new()
        };
        context.screen.message(&format!(
            "{} is paused{rest}. `{}` lifts it",
            batch.name,
            context.hint(batch.environment, &["resume", &batch.name])
        ));
        store.close().await;
        Ok(Exit::Success)
    }
}
