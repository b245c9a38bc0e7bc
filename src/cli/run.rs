//! `wavebatch run`

use clap::Args;

use super::{
    Context, Exit, Stop,
    check::{self, Ask},
    drive::{Api, Drive},
    sources::Sources,
    submit::submit,
    tell,
    words::{counted, shell},
    work,
};
use crate::{
    domain::{job::BatchId, retry::PauseKind},
    runner::intake::Submission,
    store::BatchRow,
};

/// Submit a batch and work it to the end
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  wavebatch run jobs/demo-calls.toml --sandbox
  wavebatch run calls.csv --task transcribe --model pulse --language en
  wavebatch run rec/*.wav --task transcribe --model pulse-pro --language en --formats json,srt

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
}

impl Run {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Stop> {
        if self.dry_run {
            return check::check(context, &self.sources, Ask { json: false }).await;
        }
        let sandbox = self.sources.sandbox;
        let config = context.config(sandbox)?;
        let definition = self.sources.definition()?;
        let api = Api::open(context, &config, sandbox).await?;
        let drive = Drive::open(context, config, api, true).await?;
        let done = submit(&drive, &definition, &self.sources).await?;
        let batches = self.batches(&drive, &done).await?;
        prepare(&drive, &done).await?;
        let exit = work::to_the_end(&drive, &batches).await?;
        drive.close().await;
        Ok(exit)
    }

    /// What is worked: the definition's own unfinished batches, oldest first, and then this one.
    async fn batches(&self, drive: &Drive<'_>, done: &Submission) -> Result<Vec<BatchRow>, Stop> {
        let mut batches = Vec::new();
        if self.sources.file().is_some() && !self.only {
            let unfinished = |row: &BatchRow| {
                row.id != done.batch
                    && row.definition == done.spec.definition
                    && row.world == drive.world()
                    && row.finished_at.is_none()
                    && row.state != "submitting"
                    && !work::is_paused_by_user(row)
            };
            batches.extend(drive.store.batches().await?.into_iter().filter(unfinished));
        }
        for row in &batches {
            let name = &row.name;
            drive.context.screen.say(&tell::fact("first", format!("{name}, which is not finished (--only leaves it)")));
        }
        let this = drive.store.batch_by_id(done.batch).await?;
        if let Some((PauseKind::User, reason)) = &this.pause {
            return Err(Stop::blocked(format!("the batch `{}` is paused by you: {reason}", this.name))
                .hint(format!("wavebatch resume {}", shell(&this.name))));
        }
        batches.push(this);
        Ok(batches)
    }
}

/// Tries again what costs nothing, and tells what is ahead.
async fn prepare(drive: &Drive<'_>, done: &Submission) -> Result<(), Stop> {
    let screen = &drive.context.screen;
    if done.existed {
        let again = drive.store.retry_free(done.batch).await?;
        if again > 0 {
            screen.say(&tell::fact("", format!("{} tried again for nothing", counted(again, "failed line"))));
        }
    }
    tell_outlook(drive, done.batch, done).await
}

async fn tell_outlook(drive: &Drive<'_>, batch: BatchId, done: &Submission) -> Result<(), Stop> {
    let counts = drive.store.counts(batch).await?;
    let limits = tell::limits_of(&drive.config, &done.spec);
    let facts = tell::outlook(&counts, &done.spec, &limits, &drive.config.rates);
    facts.iter().for_each(|fact| drive.context.screen.say(fact));
    Ok(())
}
