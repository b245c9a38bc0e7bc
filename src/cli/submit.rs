//! `wavebatch submit`, and the part of `run` that is the same.

use clap::Args;

use super::{
    Context, Exit, Stop,
    drive::{Api, Drive},
    hooks::{self, HookFlags},
    reading,
    sources::Sources,
    spoken, tell,
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
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Stop> {
        let sandbox = self.sources.sandbox;
        let config = self.hooks.over(context.config(sandbox)?);
        let definition = self.sources.definition(&context.env)?.asked_at(config.origin());
        hooks::check(&definition, &config, sandbox)?;
        let api = Api::open_idle(context, &config, sandbox).await?;
        let drive = Drive::open(context, config, api, true).await?;
        let done = submit(&drive, &definition, &self.sources).await?;
        let sandbox = if sandbox { " --sandbox" } else { "" };
        context.screen.say(&format!("-> wavebatch work --batch {}{sandbox}", shell(&done.name)));
        drive.close().await;
        Ok(Exit::Success)
    }
}

/// Records the definition's lines, and tells where and how many.
pub(super) async fn submit(drive: &Drive<'_>, definition: &Definition, sources: &Sources) -> Result<Submission, Stop> {
    let screen = &drive.context.screen;
    screen.say(&tell::headline(definition, drive.environment()));
    tell::places(&drive.config, drive.fresh).iter().for_each(|fact| screen.say(fact));
    screen.say(&tell::fact("manifest", &definition.manifest));
    let options = SubmitOptions {
        reports: crate::tasks::Registry::built_in().reports().clone(),
        rebuy: sources.rebuy,
        take_over: sources.take_over,
        again: sources.again,
        update_source: sources.update_source,
        watch: reading::watch(screen),
        adopt: sources.adopt,
        rates: drive.config.rates.clone(),
        account: drive.account(),
        voice_check: sources.voice_check.unwrap_or_default(),
    };
    let submitting = async {
        let spool = drive.store.spool();
        let copy = intake::copy_manifest(definition, &spool, &drive.fetcher, tokio::io::stdin()).await?;
        let copy = copy.as_ref().map(intake::ManifestCopy::spooled);
        intake::submit(&drive.store, definition, copy, drive.environment(), &options).await
    };
    let done = drive.unless_interrupted(submitting).await??;
    let mut facts = tell::submitted(&done);
    if let Some(found) = &done.purchases {
        // The sandbox neither bills nor limits.
        let told = if drive.environment() == Environment::Sandbox { 1 } else { usize::MAX };
        facts.extend(spoken::purchases(found, &drive.config.rates).into_iter().take(told));
    }
    facts.extend(done.done.iter().map(|what| tell::fact("words", what)));
    facts.extend(tell::option_columns(&done.spec.option_columns));
    facts.push(tell::fact("outputs", &done.spec.output));
    facts.extend(done.spec.report_to.as_ref().map(|to| tell::fact("report", to)));
    facts.extend(definition.notes().iter().map(|note| tell::fact("note", note)));
    facts.iter().for_each(|fact| screen.say(fact));
    done.warnings.iter().for_each(|warning| screen.warn(warning));
    if !done.faults.is_empty() {
        screen.warn(&format!("bad lines are skipped:\n{}", done.faults));
    }
    Ok(done)
}
