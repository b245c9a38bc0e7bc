//! `wavebatch run`

use clap::Args;

use super::{
    CliError, Context, Exit,
    check::{self, CheckFlags},
    hooks::{self, HookFlags},
    messages,
    notify::{self, Notifications},
    session::{Api, Session},
    sources::Sources,
    submit::submit,
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
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        if self.dry_run {
            return check::check(context, &self.sources, CheckFlags { json: self.json, ..CheckFlags::default() }).await;
        }
        let ended = self.work(context).await;
        if let Err(stop) = &ended {
            notify::could_not_start(context, &self.sources, stop).await;
        }
        ended
    }

    async fn work(&self, context: &Context) -> Result<Exit, CliError> {
        let sandbox = self.sources.sandbox;
        let config = self.hooks.over(context.config(sandbox)?);
        let definition = self.sources.definition(&context.env)?.asked_at(config.origin());
        hooks::check(&definition, &config, sandbox)?;
        let api = Api::open(context, &config, sandbox).await?;
        let session = Session::open(context, config, api, true).await?;
        let file = self.sources.file();
        let notifications =
            Notifications::new(context, Some(&session.config), file.map(|file| (&definition, file)), sandbox);
        let show = Show { definition: file.map(str::to_owned), json: self.json, notifications };
        let done = match submit(&session, &definition, &self.sources).await {
            Ok(done) => done,
            Err(mut stop) if stop.is_nothing_found() => {
                // An empty night is no reason to leave an older one half done.
                let older = self.unfinished(&session, &definition.name, None).await?;
                if !older.is_empty() {
                    let exit = work::to_the_end(&session, &older, Order::OldestFirst, &show).await?;
                    stop.exit = if exit.code() > stop.exit.code() { exit } else { stop.exit };
                }
                return Err(stop);
            }
            Err(stop) => return Err(stop),
        };
        let batches = self.batches(&session, &done).await?;
        try_again(&session, &done).await?;
        work::print_outlook(&session, &session.store.batch_by_id(done.batch).await?, done.purchases.is_some()).await?;
        let exit = work::to_the_end(&session, &batches, Order::OldestFirst, &show).await?;
        session.close().await;
        Ok(exit)
    }

    /// What is worked: the definition's own unfinished batches, oldest first, and then this one.
    async fn batches(&self, session: &Session<'_>, done: &Submission) -> Result<Vec<BatchRow>, CliError> {
        let mut batches = self.unfinished(session, &done.spec.definition, Some(done.batch)).await?;
        let this = session.store.batch_by_id(done.batch).await?;
        // Somebody else may be submitting it as well; the work waits for that.
        if let Some((why, hint)) = work::held(&this) {
            return Err(CliError::blocked(why).hint(hint));
        }
        batches.push(this);
        Ok(batches)
    }
}

impl Run {
    /// The definition's other batches that are not finished, oldest first, unless `--only` leaves them.
    async fn unfinished(
        &self,
        session: &Session<'_>,
        definition: &str,
        but: Option<BatchId>,
    ) -> Result<Vec<BatchRow>, CliError> {
        if self.sources.file().is_none() || self.only {
            return Ok(Vec::new());
        }
        let unfinished = |row: &BatchRow| {
            Some(row.id) != but
                && row.definition == definition
                && row.environment == session.environment()
                && row.finished_at.is_none()
        };
        let screen = &session.context.screen;
        let mut batches = Vec::new();
        for row in session.store.batches().await?.into_iter().filter(unfinished) {
            match work::why_not(&row) {
                None => {
                    let name = &row.name;
                    screen
                        .message(&messages::fact("first", format!("{name}, which is not finished (--only leaves it)")));
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
async fn try_again(session: &Session<'_>, done: &Submission) -> Result<(), CliError> {
    let screen = &session.context.screen;
    if done.existed {
        let again = session.store.retry_free(done.batch).await?;
        if again > 0 {
            screen.message(&messages::fact("", format!("{} tried again for nothing", counted(again, "failed line"))));
        }
    }
    Ok(())
}
