//! `wavebatch run`

use clap::Args;

use super::{
    Context, Exit, Stop,
    check::{self, Ask},
    drive::{Api, Drive},
    hooks::{self, HookFlags},
    sources::Sources,
    submit::submit,
    tell,
    told::{self, Tells},
    words::counted,
    work::{self, Show},
};
use crate::{
    domain::job::BatchId,
    runner::{Order, intake::Submission},
    store::BatchRow,
};

/// Submit a batch and work it to the end
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wavebatch run jobs/demo-calls.toml --sandbox
  wavebatch run calls.csv --task transcribe --model pulse --language en
  wavebatch run rec/*.wav --task transcribe --model pulse-pro --language en --formats json,srt
  wavebatch run prompts.csv --task synthesize --model lightning_v3.1 --voice-id avery,liam --formats wav,ulaw

The same command goes on where the last one stopped.")]
pub struct Run {
    #[command(flatten)]
    sources: Sources,
    /// Leave the definition's other unfinished batches alone
    #[arg(long, help_heading = "Batch")]
    only: bool,
    /// Check and tell, do nothing (as `wavebatch check`)
    #[arg(long)]
    dry_run: bool,
    /// Print the summary to stdout at the end, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    hooks: HookFlags,
}

impl Run {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Stop> {
        if self.dry_run {
            return check::check(context, &self.sources, Ask { json: self.json, ..Ask::default() }).await;
        }
        let ended = self.work(context).await;
        if let Err(stop) = &ended {
            told::could_not_start(context, &self.sources, stop).await;
        }
        ended
    }

    async fn work(&self, context: &Context) -> Result<Exit, Stop> {
        let sandbox = self.sources.sandbox;
        let config = self.hooks.over(context.config(sandbox)?);
        let definition = self.sources.definition(&context.env)?.asked_at(config.origin());
        hooks::check(&definition, &config, sandbox)?;
        let api = Api::open(context, &config, sandbox).await?;
        let drive = Drive::open(context, config, api, true).await?;
        let file = self.sources.file();
        let tells = Tells::new(context, Some(&drive.config), file.map(|file| (&definition, file)), sandbox);
        let show = Show { definition: file.map(str::to_owned), json: self.json, tells };
        let done = match submit(&drive, &definition, &self.sources).await {
            Ok(done) => done,
            Err(mut stop) if stop.is_nothing_found() => {
                // An empty night is no reason to leave an older one half done.
                let older = self.unfinished(&drive, &definition.name, None).await?;
                if !older.is_empty() {
                    let exit = work::to_the_end(&drive, &older, Order::OldestFirst, &show).await?;
                    stop.exit = if exit.code() > stop.exit.code() { exit } else { stop.exit };
                }
                return Err(stop);
            }
            Err(stop) => return Err(stop),
        };
        let batches = self.batches(&drive, &done).await?;
        try_again(&drive, &done).await?;
        work::tell_outlook(&drive, &drive.store.batch_by_id(done.batch).await?, done.purchases.is_some()).await?;
        let exit = work::to_the_end(&drive, &batches, Order::OldestFirst, &show).await?;
        drive.close().await;
        Ok(exit)
    }

    /// What is worked: the definition's own unfinished batches, oldest first, and then this one.
    async fn batches(&self, drive: &Drive<'_>, done: &Submission) -> Result<Vec<BatchRow>, Stop> {
        let mut batches = self.unfinished(drive, &done.spec.definition, Some(done.batch)).await?;
        let this = drive.store.batch_by_id(done.batch).await?;
        // Somebody else may be submitting it as well; the work waits for that.
        if let Some((why, hint)) = work::held(&this) {
            return Err(Stop::blocked(why).hint(hint));
        }
        batches.push(this);
        Ok(batches)
    }
}

impl Run {
    /// The definition's other batches that are not finished, oldest first, unless `--only` leaves them.
    async fn unfinished(
        &self,
        drive: &Drive<'_>,
        definition: &str,
        but: Option<BatchId>,
    ) -> Result<Vec<BatchRow>, Stop> {
        if self.sources.file().is_none() || self.only {
            return Ok(Vec::new());
        }
        let unfinished = |row: &BatchRow| {
            Some(row.id) != but
                && row.definition == definition
                && row.environment == drive.environment()
                && row.finished_at.is_none()
        };
        let screen = &drive.context.screen;
        let mut batches = Vec::new();
        for row in drive.store.batches().await?.into_iter().filter(unfinished) {
            match work::why_not(&row) {
                None => {
                    let name = &row.name;
                    screen.say(&tell::fact("first", format!("{name}, which is not finished (--only leaves it)")));
                    batches.push(row);
                }
                // Lines that never came to the ledger would be missed by nobody.
                Some((why, hint)) => screen.warn(&format!("{why}\nhint: {hint}")),
            }
        }
        Ok(batches)
    }
}

/// Tries again what costs nothing.
async fn try_again(drive: &Drive<'_>, done: &Submission) -> Result<(), Stop> {
    let screen = &drive.context.screen;
    if done.existed {
        let again = drive.store.retry_free(done.batch).await?;
        if again > 0 {
            screen.say(&tell::fact("", format!("{} tried again for nothing", counted(again, "failed line"))));
        }
    }
    Ok(())
}
