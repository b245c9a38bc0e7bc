//! `wavebatch resume`

use clap::Args;

use super::{
    context::{BatchArgs, Context},
    error::{CliError, Exit},
};

/// Lift a pause, the user's or wavebatch's own
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch resume support-calls && wavebatch work --batch support-calls")]
pub struct Resume {
    #[command(flatten)]
    named: BatchArgs,
}

impl Resume {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let (store, batch) = context.batch(&self.named).await?;
        let lifted = store.resume(batch.id, true).await?;
        let name = &batch.name;
        context.screen.message(&match batch.pause {
            Some((kind, reason)) if lifted && kind.ends_by_itself() => format!(
                "{name} is open again (it was paused: {kind}, {reason}); as long as the limit holds, its next call pauses it again"
            ),
            Some((kind, reason)) if lifted => format!("{name} is open again (it was paused: {kind}, {reason})"),
            _ => format!("{name} was not paused"),
        });
        store.close().await;
        Ok(Exit::Success)
    }
}
