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
    app::{
        AppError, MetricsFile, NotStarted, Session, check_public_url, could_not_start, follow, in_order, user_pause,
    },
    definition::Definition,
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
  wavebatch run calls.toml scorecard.toml
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
        let Some(file) = self.sources.files().first() else { return };
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
        let definitions = self.sources.definitions(&context.env, context.tasks.definitions())?;
        let mut definitions = in_order(definitions)?;
        for definition in &mut definitions {
            *definition = definition.clone().asked_at(settings.config.origin());
            check_public_url(definition, &settings.config, sandbox)?;
        }
        let session = Session::open(settings, Terminal::events(&context.screen)).await?.measured_in(file);
        let is_chain = definitions.len() > 1;
        if is_chain {
            session.look_ahead(&definitions).await?;
        }
        let files: Vec<(&Definition, &Path)> =
            definitions.iter().filter_map(|definition| Some((definition, definition.typed.as_deref()?))).collect();
        let show = Show {
            notifications: session.notifications(&files).await,
            definitions: files
                .iter()
                .map(|(of, file)| (of.name.clone(), file.to_string_lossy().into_owned()))
                .collect(),
            json: self.json,
        };
        // In a chain, what one finishes is the work of the next.
        let order = if is_chain { Order::ByTurns } else { Order::OldestFirst };
        let (mut batches, mut submitted): (Vec<BatchRow>, Vec<Submission>) = (Vec::new(), Vec::new());
        for nth in 0..definitions.len() {
            if nth > 0 {
                context.screen.message("");
            }
            let definition = definitions[nth].clone();
            let done = match submit(context, &session, &definition, &self.sources).await {
                Ok(done) => done,
                Err(mut error) if error.is_nothing_found() => {
                    // An empty manifest must not leave an older batch unfinished.
                    let older = self.unfinished(context, &session, &definition.name, None).await?;
                    if !older.is_empty() {
                        let exit = work::to_the_end(context, &session, &older, order, &show).await?;
                        error.exit = if exit.code() > error.exit.code() { exit } else { error.exit };
                    }
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
            definitions[nth + 1..].iter_mut().for_each(|next| follow(next, &definition, &done));
            batches.extend(self.batches(context, &session, &done).await?);
            self.begin(context, &session, &done).await?;
            submitted.push(done);
        }
        let mut exit = work::to_the_end(context, &session, &batches, order, &show).await?;
        for done in submitted.iter().filter(|done| done.existed) {
            if exit == Exit::Success {
                let this = session.store().batch_by_id(done.batch).await?;
                exit = missing::look(context, session.store(), &this).await;
            }
        }
        session.close().await;
        Ok(exit)
    }

    /// Tries again what costs nothing, and prints what the rest will cost.
    async fn begin(&self, context: &Context, session: &Session, done: &Submission) -> Result<(), CliError> {
        let again = session.retry_free(done).await?;
        if again.deliveries > 0 {
            let lines = counted(again.deliveries, "failed line");
            context.screen.message(&fact("", format!("{lines} delivered again for nothing")));
        }
        if again.sources > 0 {
            let lines = counted(again.sources, "failed line");
            context.screen.message(&fact("", format!("{lines} tried again, whose source had failed")));
        }
        let this = session.store().batch_by_id(done.batch).await?;
        work::print_outlook(context, session, &this, done.purchases.is_some()).await
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
        if self.sources.files().is_empty() || self.only {
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
