//! `wavebatch deliver`

use clap::Args;

use super::{
    Context, Exit, Stop,
    context::{Named, batch_of},
    drive::{Api, Drive},
    words::{counted, shell},
    work,
};

/// Write all outputs of a batch again from kept answers
///
/// Nothing is called and nothing bought. What was pruned is told and left as it is.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch deliver support-calls")]
pub struct Deliver {
    #[command(flatten)]
    named: Named,
}

impl Deliver {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Stop> {
        let sandbox = self.named.world.sandbox;
        let config = context.config(sandbox)?;
        let api = Api::open_idle(context, &config, sandbox).await?;
        let drive = Drive::open(context, config, api, false).await?;
        let row = batch_of(&drive.store, &self.named.batch).await?;
        let unfinished = drive.store.counts(row.id).await?.unfinished();
        let (delivered, pruned) = drive.store.redeliver(row.id).await?;
        let (screen, name) = (&context.screen, shell(&row.name));
        screen.say(&format!("{}: {} delivered again from kept answers", row.name, counted(delivered, "line")));
        if pruned > 0 {
            screen.warn(&format!(
                "the answers of {} are pruned, and their outputs stay as they are; `wavebatch retry {name} --key KEY` buys one again",
                counted(pruned, "line")
            ));
        }
        let exit = if delivered == 0 {
            Exit::Success
        } else if unfinished > 0 || row.pause.is_some() {
            // Working the batch now would make its other lines' calls too, which nobody asked for.
            screen.say(&format!(
                "the batch is not finished; its next run delivers them  -> wavebatch work --batch {name}"
            ));
            Exit::Success
        } else {
            work::to_the_end(&drive, &[row]).await?
        };
        drive.close().await;
        Ok(exit)
    }
}
