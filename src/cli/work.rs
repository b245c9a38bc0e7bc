//! `wavebatch work`, and the part of `run` that is the same.

use std::collections::HashMap;

use clap::Args;

use super::{
    callbacks::CallbackFlags,
    context::{Context, LedgerFlags},
    error::{CliError, Exit},
    messages,
    metrics_file::MetricsFlags,
    terminal::Terminal,
    words::{counted, fact},
};
use crate::{
    app::{MetricsFile, Notifications, Published, Session, limits_of},
    domain::environment::Environment,
    report::asked_of,
    runner::Order,
    store::BatchRow,
};

/// Work what is queued, to the end
///
/// Any number of processes may work one ledger; they share its limits.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch work --batch support-calls")]
pub struct Work {
    /// Only this batch; may be given more than once
    #[arg(long, value_name = "NAME")]
    batch: Vec<String>,
    #[command(flatten)]
    ledger: LedgerFlags,
    /// Print each batch's summary to stdout at the end, a JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    metrics: MetricsFlags,
    #[command(flatten)]
    callbacks: CallbackFlags,
}

impl Work {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        self.metrics.around(context, self.ledger.sandbox, async |file| self.work(context, file).await).await
    }

    async fn work(&self, context: &Context, file: Option<&MetricsFile>) -> Result<Exit, CliError> {
        let settings = self.callbacks.over(context.settings(self.ledger.sandbox)?).of_existing_ledger();
        let session = Session::open(settings, Terminal::events(&context.screen)).await?.measured_in(file);
        let batches = self.batches(context, &session).await?;
        let screen = &context.screen;
        messages::places(session.config(), false).iter().for_each(|fact| screen.message(fact));
        let exit = if batches.is_empty() {
            screen.message("nothing is left to do");
            Exit::Success
        } else {
            for row in &batches {
                let left = session.store().counts(row.id).await?.unfinished();
                screen.message(&fact("batch", format!("{}, {} left", row.name, counted(left, "line"))));
                print_outlook(context, &session, row, false).await?;
            }
            let show = Show { json: self.json, notifications: session.notifications(&[]).await, ..Show::default() };
            to_the_end(context, &session, &batches, Order::ByTurns, &show).await?
        };
        session.close().await;
        Ok(exit)
    }

    async fn batches(&self, context: &Context, session: &Session) -> Result<Vec<BatchRow>, CliError> {
        if self.batch.is_empty() {
            let found = session.unfinished().await?;
            found.left.iter().for_each(|left| context.screen.message(&fact("left", &left.why)));
            return Ok(found.batches);
        }
        let mut batches = Vec::new();
        for name in &self.batch {
            batches.push(session.workable(context.batch_in(session.store(), name).await?)?);
        }
        Ok(batches)
    }
}

/// How the end of the work is shown.
#[derive(Debug, Default)]
pub(super) struct Show {
    /// The files of definitions by their names, for the hint to run them again.
    pub(super) definitions: HashMap<String, String>,
    /// Whether to print JSON to stdout too.
    pub(super) json: bool,
    /// The recipients of notifications.
    pub(super) notifications: Notifications,
}

/// Works batches until nothing is due, and prints the status of each.
pub(super) async fn to_the_end(
    context: &Context,
    session: &Session,
    batches: &[BatchRow],
    order: Order,
    show: &Show,
) -> Result<Exit, CliError> {
    let (screen, mut worst) = (&context.screen, Exit::Success);
    let ended = |mut published: Published| {
        if show.json {
            screen.json(&serde_json::to_string(&published.summary).expect("a summary is JSON"))?;
        }
        published.summary.definition = show.definitions.get(&published.spec.definition).cloned();
        let exit = messages::after(context, published, Exit::of_signal(session.shutdown().signal()));
        // A signal goes before a pause, and a pause before the lines.
        worst = if exit.code() > worst.code() { exit } else { worst };
        Ok(())
    };
    session.run(batches, order, &show.notifications, ended).await?;
    Ok(worst)
}

/// Prints the cost of a batch's remaining lines and their least time. `costed`: the cost was printed already.
pub(super) async fn print_outlook(
    context: &Context,
    session: &Session,
    row: &BatchRow,
    costed: bool,
) -> Result<(), CliError> {
    let (spec, config) = (row.specification()?, session.config());
    let asked = asked_of(context.tasks.reports(), spec)?;
    let counts = session.store().counts(row.id).await?;
    let facts = match session.environment() {
        Environment::Sandbox => messages::sandbox_outlook(&counts),
        Environment::Live => {
            messages::outlook(&counts, (spec, &*asked), &limits_of(config, spec, &*asked), &config.rates)
        }
    };
    let skipped = usize::from(costed && session.environment() != Environment::Sandbox && !facts.is_empty());
    facts[skipped..].iter().for_each(|fact| context.screen.message(fact));
    Ok(())
}
