//! `wavebatch run`

use std::path::Path;

use clap::Args;

use super::{
    callbacks::CallbackFlags,
    check::{self, CheckFlags},
    context::Context,
    error::{CliError, Exit},
    metrics_file::MetricsFlags,
    missing,
    sources::Sources,
    submit::submit,
    terminal::Terminal,
    words::{counted, fact},
    work::{self, Show},
};
use crate::{
    app::{AppError, MetricsFile, NotStarted, Session, check_public_url, could_not_start, user_pause},
    domain::{environment::Environment, job::BatchId},
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
    metrics: MetricsFlags,
    #[command(flatten)]
    callbacks: CallbackFlags,
}

impl Run {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        if self.dry_run {
            return check::check(context, &self.sources, CheckFlags { json: self.json, ..CheckFlags::default() }).await;
        }
        let sandbox = self.sources.sandbox;
        let ended = self.metrics.around(context, sandbox, async |file| self.work(context, file).await).await;
        if let Err(error) = &ended {
            self.notify_not_started(context, error).await;
        }
        ended
    }

    /// Notifies that a definition's run ended with an error.
    async fn notify_not_started(&self, context: &Context, error: &CliError) {
        let Some(file) = self.sources.file() else { return };
        if matches!(error.exit, Exit::Interrupted | Exit::Terminated | Exit::HungUp) || error.is_closed_pipe() {
            return;
        }
        let config = context.config(self.sources.sandbox).ok();
        let definition = self.sources.definition(&context.env, context.tasks.definitions()).ok();
        let message = error.message();
        let run = NotStarted {
            config: config.as_ref(),
            env: &context.env,
            environment: Environment::sandboxed(self.sources.sandbox),
            file: Path::new(file),
            definition: definition.as_ref(),
            reason: message.strip_prefix("error: ").unwrap_or(&message),
        };
        could_not_start(run, &Terminal::events(&context.screen)).await;
    }

    async fn work(&self, context: &Context, file: Option<&MetricsFile>) -> Result<Exit, CliError> {
        let sandbox = self.sources.sandbox;
        let settings = self.callbacks.over(context.settings(sandbox)?);
        let definition =
            self.sources.definition(&context.env, context.tasks.definitions())?.asked_at(settings.config.origin());
        check_public_url(&definition, &settings.config, sandbox)?;
        let session = Session::open(settings, Terminal::events(&context.screen)).await?.measured_in(file);
        let source = self.sources.file();
        let notifications = session.notifications(source.map(|file| (&definition, Path::new(file)))).await;
        let show = Show { definition: source.map(str::to_owned), json: self.json, notifications };
        let done = match submit(context, &session, &definition, &self.sources).await {
            Ok(done) => done,
            Err(mut error) if error.is_nothing_found() => {
                // An empty manifest must not leave an older batch unfinished.
                let older = self.unfinished(context, &session, &definition.name, None).await?;
                if !older.is_empty() {
                    let exit = work::to_the_end(context, &session, &older, Order::OldestFirst, &show).await?;
                    error.exit = if exit.code() > error.exit.code() { exit } else { error.exit };
                }
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        let batches = self.batches(context, &session, &done).await?;
        let again = session.retry_free(&done).await?;
        if again.deliveries > 0 {
            let lines = counted(again.deliveries, "failed line");
            context.screen.message(&fact("", format!("{lines} delivered again for nothing")));
        }
        if again.sources > 0 {
            let lines = counted(again.sources, "failed line");
            context.screen.message(&fact("", format!("{lines} tried again, whose source had failed")));
        }
        let this = session.store().batch_by_id(done.batch).await?;
        work::print_outlook(context, &session, &this, done.purchases.is_some()).await?;
        let mut exit = work::to_the_end(context, &session, &batches, Order::OldestFirst, &show).await?;
        if done.existed && exit == Exit::Success {
            exit = missing::look(context, session.store(), &this).await;
        }
        session.close().await;
        Ok(exit)
    }

    /// The batches to work: the definition's other unfinished batches, oldest first, then this one.
    async fn batches(
        &self,
        context: &Context,
        session: &Session,
        done: &Submission,
    ) -> Result<Vec<BatchRow>, CliError> {
        let mut batches = self.unfinished(context, session, &done.spec.definition, Some(done.batch)).await?;
        let this = session.store().batch_by_id(done.batch).await?;
        // Another process may be submitting it too; the work waits for that.
        if let Some(paused) = user_pause(&this, &session.config().choice) {
            return Err(AppError::NotWorkable(paused).into());
        }
        batches.push(this);
        Ok(batches)
    }

    /// The definition's other unfinished batches, oldest first; none with `--only`.
    async fn unfinished(
        &self,
        context: &Context,
        session: &Session,
        definition: &str,
        but: Option<BatchId>,
    ) -> Result<Vec<BatchRow>, CliError> {
        if self.sources.file().is_none() || self.only {
            return Ok(Vec::new());
        }
        let screen = &context.screen;
        let found = session.unfinished_of(definition, but).await?;
        for row in &found.batches {
            screen.message(&fact("first", format!("{}, which is not finished (--only leaves it)", row.name)));
        }
        // A user would not notice lines that are missing in the ledger, so these batches are named.
        found.left.iter().for_each(|left| screen.warn(&format!("{}\nhint: {}", left.why, left.hint)));
        Ok(found.batches)
    }
}
