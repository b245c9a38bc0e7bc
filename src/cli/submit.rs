//! `wavebatch submit`, and the part of `run` that is the same.

use clap::Args;

use super::{
    callbacks::CallbackFlags,
    content,
    context::Context,
    error::{CliError, Exit},
    messages,
    sources::Sources,
    terminal::Terminal,
    words::fact,
};
use crate::{
    app::{Session, check_public_url, follow, in_order},
    definition::Definition,
    domain::environment::Environment,
    report::asked_of,
    runner::intake::Submission,
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
    callbacks: CallbackFlags,
}

impl Submit {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let sandbox = self.sources.sandbox;
        let settings = self.callbacks.over(context.settings(sandbox)?).without_calls();
        let definitions = self.sources.definitions(&context.env, context.tasks.definitions())?;
        let mut definitions = in_order(definitions)?;
        for definition in &mut definitions {
            *definition = definition.clone().asked_at(settings.config.origin());
            check_public_url(definition, &settings.config, sandbox)?;
        }
        let session = Session::open(settings, Terminal::events(&context.screen)).await?;
        if definitions.len() > 1 {
            session.look_ahead(&definitions).await?;
        }
        let mut to_work = vec!["work".to_owned()];
        for nth in 0..definitions.len() {
            let definition = definitions[nth].clone();
            let done = submit(context, &session, &definition, &self.sources).await?;
            definitions[nth + 1..].iter_mut().for_each(|next| follow(next, &definition, &done));
            // All lines may be done already, for example by outputs that are there; those of another batch may still come.
            if session.store().batch_by_id(done.batch).await?.fed_by.is_some()
                || session.store().counts(done.batch).await?.unfinished() > 0
            {
                to_work.extend(["--batch".to_owned(), done.name]);
            }
        }
        let next = match to_work.len() {
            1 => "nothing is left to do".to_owned(),
            _ => {
                let words: Vec<&str> = to_work.iter().map(String::as_str).collect();
                format!("-> {}", context.hint(session.environment(), &words))
            }
        };
        context.screen.message(&next);
        session.close().await;
        Ok(Exit::Success)
    }
}

/// Records the definition's lines, and prints where and how many.
pub(super) async fn submit(
    context: &Context,
    session: &Session,
    definition: &Definition,
    sources: &Sources,
) -> Result<Submission, CliError> {
    let screen = &context.screen;
    screen.message(&messages::headline(definition, &context.tasks, session.environment()));
    messages::places(session.config(), session.is_fresh()).iter().for_each(|fact| screen.message(fact));
    screen.message(&fact("manifest", &definition.manifest));
    let done = session.submit(definition, sources.consent(), tokio::io::stdin()).await?;
    let mut facts = messages::submitted(&done, (&*definition.of, &*asked_of(context.tasks.reports(), &done.spec)?));
    if let Some(found) = done.purchases.as_ref().filter(|_| done.feeder.is_none() || done.lines > 0) {
        facts.extend(content::purchases(found, definition.of.unit(), session.environment() != Environment::Sandbox));
        // The sandbox neither bills nor limits.
        facts.extend(content::cost(found).filter(|_| session.environment() != Environment::Sandbox));
    }
    facts.extend(done.content.iter().map(|(title, what)| fact(title, what)));
    facts.extend(done.done.iter().map(|what| fact("words", what)));
    facts.extend(messages::option_columns(&done.spec.option_columns));
    facts.push(fact("outputs", &done.spec.output));
    facts.extend(done.spec.report_to.as_ref().map(|to| fact("report", to)));
    facts.extend(definition.notes().iter().map(|note| fact("note", note)));
    facts.iter().for_each(|fact| screen.message(fact));
    done.warnings.iter().for_each(|warning| screen.warn(warning));
    if !done.faults.is_empty() {
        screen.warn(&format!("bad lines are skipped:\n{}", done.faults));
    }
    Ok(done)
}
