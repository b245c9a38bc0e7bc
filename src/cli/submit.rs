//! `wavebatch submit`, and the part of `run` that is the same.

use clap::Args;

use super::{
    CliError, Context, Exit,
    hooks::{self, HookFlags},
    messages, reading,
    session::{Api, Session},
    sources::Sources,
    synthesis,
    words::shell,
};
use crate::{
    definition::Definition,
    domain::environment::Environment,
    runner::intake::{self, Submission, SubmitOptions},
};

/// Record a batch in the ledger without working it
///
/// Submitting the same again adds only what is new.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch submit jobs/support-calls.toml && wavebatch work")]
pub struct Submit {
    #[command(flatten)]
    sources: Sources,
    #[command(flatten)]
    hooks: HookFlags,
}

impl Submit {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let sandbox = self.sources.sandbox;
        let config = self.hooks.over(context.config(sandbox)?);
        let definition = self.sources.definition(&context.env)?.asked_at(config.origin());
        hooks::check(&definition, &config, sandbox)?;
        let api = Api::open_idle(context, &config, sandbox).await?;
        let session = Session::open(context, config, api, true).await?;
        let done = submit(&session, &definition, &self.sources).await?;
        let sandbox = if sandbox { " --sandbox" } else { "" };
        context.screen.message(&format!("-> wavebatch work --batch {}{sandbox}", shell(&done.name)));
        session.close().await;
        Ok(Exit::Success)
    }
}

/// Records the definition's lines, and tells where and how many.
pub(super) async fn submit(
    session: &Session<'_>,
    definition: &Definition,
    sources: &Sources,
) -> Result<Submission, CliError> {
    let screen = &session.context.screen;
    screen.message(&messages::headline(definition, session.environment()));
    messages::places(&session.config, session.fresh).iter().for_each(|fact| screen.message(fact));
    screen.message(&messages::fact("manifest", &definition.manifest));
    let options = SubmitOptions {
        rebuy: sources.rebuy,
        take_over: sources.take_over,
        again: sources.again,
        update_source: sources.update_source,
        watch: reading::watch(screen),
        adopt: sources.adopt,
        rates: session.config.rates.clone(),
        account: session.account(),
        voice_check: sources.voice_check.unwrap_or_default(),
    };
    let submitting = async {
        let spool = session.store.spool();
        let copy = intake::copy_manifest(definition, &spool, &session.fetcher, tokio::io::stdin()).await?;
        let copy = copy.as_ref().map(intake::ManifestCopy::spooled);
        intake::submit(&session.store, definition, copy, session.environment(), &options).await
    };
    let done = session.unless_interrupted(submitting).await??;
    let mut facts = messages::submitted(&done);
    if let Some(found) = &done.purchases {
        // The sandbox neither bills nor limits.
        let message = if session.environment() == Environment::Sandbox { 1 } else { usize::MAX };
        facts.extend(synthesis::purchases(found, &session.config.rates).into_iter().take(message));
    }
    facts.extend(done.done.iter().map(|what| messages::fact("words", what)));
    facts.extend(messages::option_columns(&done.spec.option_columns));
    facts.push(messages::fact("outputs", &done.spec.output));
    facts.extend(done.spec.report_to.as_ref().map(|to| messages::fact("report", to)));
    facts.extend(definition.notes().iter().map(|note| messages::fact("note", note)));
    facts.iter().for_each(|fact| screen.message(fact));
    done.warnings.iter().for_each(|warning| screen.warn(warning));
    if !done.faults.is_empty() {
        screen.warn(&format!("bad lines are skipped:\n{}", done.faults));
    }
    Ok(done)
}
