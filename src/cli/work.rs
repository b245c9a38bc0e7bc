//! `wavebatch work`, and the part of `run` that is the same.

use clap::Args;

use super::{
    CliError, Context, Exit,
    context::LedgerFlags,
    hooks::HookFlags,
    messages,
    notify::Notifications,
    session::{Api, Session, spec_of},
    words::{counted, shell},
};
use crate::{
    domain::{environment::Environment, job::BatchId},
    report::summary::SummaryState,
    runner::{Order, RunEnd},
    store::{BatchRow, BatchStatus},
    tasks::synthesize,
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
    hooks: HookFlags,
}

impl Work {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let config = self.hooks.over(context.config(self.ledger.sandbox)?);
        let api = Api::open(context, &config, self.ledger.sandbox).await?;
        let session = Session::open(context, config, api, false).await?;
        let batches = self.batches(&session).await?;
        let screen = &context.screen;
        messages::places(&session.config, false).iter().for_each(|fact| screen.message(fact));
        let exit = if batches.is_empty() {
            screen.message("nothing is left to do");
            Exit::Success
        } else {
            for row in &batches {
                let left = session.store.counts(row.id).await?.unfinished();
                screen.message(&messages::fact("batch", format!("{}, {} left", row.name, counted(left, "line"))));
                print_outlook(&session, row, false).await?;
            }
            let notifications = Notifications::new(context, Some(&session.config), None, self.ledger.sandbox);
            let show = Show { json: self.json, notifications, ..Show::default() };
            to_the_end(&session, &batches, Order::ByTurns, &show).await?
        };
        session.close().await;
        Ok(exit)
    }

    async fn batches(&self, session: &Session<'_>) -> Result<Vec<BatchRow>, CliError> {
        if self.batch.is_empty() {
            let rows = session.store.batches().await?.into_iter();
            let workable = |row: &BatchRow| row.environment == session.environment() && row.finished_at.is_none();
            let (mut workable, mut left) = (rows.filter(workable).collect::<Vec<_>>(), Vec::new());
            workable.retain(|row| match why_not(row) {
                None => true,
                Some(why) => {
                    left.push(why);
                    false
                }
            });
            left.iter().for_each(|why| session.context.screen.message(&messages::fact("left", why.0.as_str())));
            return Ok(workable);
        }
        let mut batches = Vec::new();
        for name in &self.batch {
            let row = session.context.batch_in(&session.store, name).await?;
            if row.environment != session.environment() {
                let hint =
                    if row.environment == Environment::Sandbox { "add --sandbox" } else { "leave --sandbox out" };
                return Err(
                    CliError::usage(format!("the batch `{name}` belongs to {}", row.environment.in_words())).hint(hint)
                );
            }
            if let Some((why, hint)) = why_not(&row) {
                return Err(CliError::blocked(why).hint(hint));
            }
            batches.push(row);
        }
        Ok(batches)
    }
}

/// Why a batch cannot be worked, and what to do.
pub(super) fn why_not(row: &BatchRow) -> Option<(String, String)> {
    let name = &row.name;
    let half = row.submitting_at.is_some().then(|| {
        let why = format!(
            "the batch `{name}` is being submitted, or its submission was cut off: it is not worked until it is whole"
        );
        (why, "submit it again: that finishes it".into())
    });
    held(row).or(half)
}

/// Why only the user lets the batch go on, if so, and how.
pub(super) fn held(row: &BatchRow) -> Option<(String, String)> {
    let (kind, reason) = row.pause.as_ref().filter(|(kind, _)| kind.only_the_user_lifts())?;
    let why = format!("the batch `{}` is {}", row.name, kind.in_words(reason));
    Some((why, format!("wavebatch resume {}", shell(&row.name))))
}

/// How the end is shown.
#[derive(Debug, Default)]
pub(super) struct Show {
    /// The definition's file, which the user would run again.
    pub(super) definition: Option<String>,
    /// Also as JSON, to stdout.
    pub(super) json: bool,
    /// Who else is told.
    pub(super) notifications: Notifications,
}

/// Works batches until nothing is due, then writes and tells how each stands.
pub(super) async fn to_the_end(
    session: &Session<'_>,
    batches: &[BatchRow],
    order: Order,
    show: &Show,
) -> Result<Exit, CliError> {
    let screen = &session.context.screen;
    let mut left = 0;
    let place = (session.account_name(), session.environment());
    for lifted in session.store.lift_spend_pauses(place, session.config.spend.clone(), true).await? {
        screen.message(&format!("{} was {} and goes on", lifted.name, lifted.kind.in_words(&lifted.reason)));
    }
    for row in batches {
        if session.store.resume(row.id, false).await?
            && let Some((kind, reason)) = &row.pause
        {
            screen.message(&format!("{} was {} and goes on", row.name, kind.in_words(reason)));
        }
        synthesize::renew_dictionary(&session.store, session.account().as_ref(), row).await?;
        left += session.store.counts(row.id).await?.unfinished();
    }
    let ids: Vec<BatchId> = batches.iter().map(|row| row.id).collect();
    let end = if left == 0 {
        screen.message("nothing was left to do");
        for id in &ids {
            session.store.finish(*id).await?;
        }
        RunEnd::Done
    } else {
        session.work(&ids, order).await?
    };
    show.notifications.spend_limits(session).await;
    let mut worst = Exit::Success;
    for row in batches {
        let exit = finish(session, row.id, end, show).await?;
        // A signal outweighs a pause, and a pause the lines.
        worst = if exit.code() > worst.code() { exit } else { worst };
    }
    show.notifications.flush(&session.store, &session.shutdown).await;
    Ok(worst)
}

async fn finish(session: &Session<'_>, batch: BatchId, end: RunEnd, show: &Show) -> Result<Exit, CliError> {
    let row = session.store.batch_by_id(batch).await?;
    let unfinished = session.store.counts(batch).await?.unfinished();
    let state = messages::state_of(end, row.pause.is_some(), unfinished);
    let mut published = session.publish(batch, state).await?;
    let screen = &session.context.screen;
    if show.json {
        screen.json(&serde_json::to_string(&published.summary).expect("a summary is JSON"))?;
    }
    show.notifications.ended(session, &row, &published).await;
    if published.failed.is_none() {
        // A service that comes later has nothing to add.
        let batch_status = match (state, row.pause.is_some(), session.store.batch_by_id(batch).await?) {
            (SummaryState::Finished, _, row) => row.finished_at.map(BatchStatus::Finished),
            (SummaryState::Paused, true, row) => row.paused_at.map(BatchStatus::Paused),
            _ => None,
        };
        if let Some(batch_status) = batch_status {
            session.store.set_reported(batch, &batch_status).await?;
        }
    }
    published.summary.definition.clone_from(&show.definition);
    Ok(messages::after(screen, &published, Exit::of_signal(&session.shutdown)))
}

/// Tells what is left of a batch, how long it takes at least, and what it costs, unless that was told.
pub(super) async fn print_outlook(session: &Session<'_>, row: &BatchRow, costed: bool) -> Result<(), CliError> {
    let spec = spec_of(&row.name, &row.spec)?;
    let counts = session.store.counts(row.id).await?;
    let limits = messages::limits_of(&session.config, &spec);
    let facts = match session.environment() {
        Environment::Sandbox => messages::sandbox_outlook(&counts),
        Environment::Live => messages::outlook(&counts, &spec, &limits, &session.config.rates),
    };
    let message = usize::from(costed && session.environment() != Environment::Sandbox && !facts.is_empty());
    facts[message..].iter().for_each(|fact| session.context.screen.message(fact));
    Ok(())
}
