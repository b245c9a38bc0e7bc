//! `wavebatch work`, and the part of `run` that is the same.

use clap::Args;

use super::{
    Context, Exit, Stop,
    context::World,
    drive::{Api, Drive, spec_of},
    hooks::HookFlags,
    tell,
    told::Tells,
    words::{counted, shell},
};
use crate::{
    domain::{environment::Environment, job::BatchId},
    report::summary::SummaryState,
    runner::{Order, RunEnd},
    store::{BatchRow, Standing},
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
    world: World,
    /// Print each batch's summary to stdout at the end, a JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    hooks: HookFlags,
}

impl Work {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Stop> {
        let config = self.hooks.over(context.config(self.world.sandbox)?);
        let api = Api::open(context, &config, self.world.sandbox).await?;
        let drive = Drive::open(context, config, api, false).await?;
        let batches = self.batches(&drive).await?;
        let screen = &context.screen;
        tell::places(&drive.config, false).iter().for_each(|fact| screen.say(fact));
        let exit = if batches.is_empty() {
            screen.say("nothing is left to do");
            Exit::Success
        } else {
            for row in &batches {
                let left = drive.store.counts(row.id).await?.unfinished();
                screen.say(&tell::fact("batch", format!("{}, {} left", row.name, counted(left, "line"))));
                tell_outlook(&drive, row, false).await?;
            }
            let tells = Tells::new(context, Some(&drive.config), None, self.world.sandbox);
            let show = Show { json: self.json, tells, ..Show::default() };
            to_the_end(&drive, &batches, Order::ByTurns, &show).await?
        };
        drive.close().await;
        Ok(exit)
    }

    async fn batches(&self, drive: &Drive<'_>) -> Result<Vec<BatchRow>, Stop> {
        if self.batch.is_empty() {
            let rows = drive.store.batches().await?.into_iter();
            let workable = |row: &BatchRow| row.environment == drive.environment() && row.finished_at.is_none();
            let (mut workable, mut left) = (rows.filter(workable).collect::<Vec<_>>(), Vec::new());
            workable.retain(|row| match why_not(row) {
                None => true,
                Some(why) => {
                    left.push(why);
                    false
                }
            });
            left.iter().for_each(|why| drive.context.screen.say(&tell::fact("left", why.0.as_str())));
            return Ok(workable);
        }
        let mut batches = Vec::new();
        for name in &self.batch {
            let row = drive.context.batch_in(&drive.store, name).await?;
            if row.environment != drive.environment() {
                let hint =
                    if row.environment == Environment::Sandbox { "add --sandbox" } else { "leave --sandbox out" };
                return Err(
                    Stop::usage(format!("the batch `{name}` belongs to {}", row.environment.in_words())).hint(hint)
                );
            }
            if let Some((why, hint)) = why_not(&row) {
                return Err(Stop::blocked(why).hint(hint));
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
    pub(super) tells: Tells,
}

/// Works batches until nothing is due, then writes and tells how each stands.
pub(super) async fn to_the_end(
    drive: &Drive<'_>,
    batches: &[BatchRow],
    order: Order,
    show: &Show,
) -> Result<Exit, Stop> {
    let screen = &drive.context.screen;
    let mut left = 0;
    let place = (drive.account_name(), drive.environment());
    for lifted in drive.store.lift_spend_pauses(place, drive.config.spend.clone(), true).await? {
        screen.say(&format!("{} was {} and goes on", lifted.name, lifted.kind.in_words(&lifted.reason)));
    }
    for row in batches {
        if drive.store.resume(row.id, false).await?
            && let Some((kind, reason)) = &row.pause
        {
            screen.say(&format!("{} was {} and goes on", row.name, kind.in_words(reason)));
        }
        synthesize::renew_dictionary(&drive.store, drive.account().as_ref(), row).await?;
        left += drive.store.counts(row.id).await?.unfinished();
    }
    let ids: Vec<BatchId> = batches.iter().map(|row| row.id).collect();
    let end = if left == 0 {
        screen.say("nothing was left to do");
        for id in &ids {
            drive.store.finish(*id).await?;
        }
        RunEnd::Done
    } else {
        drive.work(&ids, order).await?
    };
    show.tells.spend_limits(drive).await;
    let mut worst = Exit::Success;
    for row in batches {
        let exit = finish(drive, row.id, end, show).await?;
        // A signal outweighs a pause, and a pause the lines.
        worst = if exit.code() > worst.code() { exit } else { worst };
    }
    show.tells.flush(&drive.store, &drive.shutdown).await;
    Ok(worst)
}

async fn finish(drive: &Drive<'_>, batch: BatchId, end: RunEnd, show: &Show) -> Result<Exit, Stop> {
    let row = drive.store.batch_by_id(batch).await?;
    let unfinished = drive.store.counts(batch).await?.unfinished();
    let state = tell::state_of(end, row.pause.is_some(), unfinished);
    let mut published = drive.publish(batch, state).await?;
    let screen = &drive.context.screen;
    if show.json {
        screen.json(&serde_json::to_string(&published.summary).expect("a summary is JSON"))?;
    }
    show.tells.ended(drive, &row, &published).await;
    if published.failed.is_none() {
        // A service that comes later has nothing to add.
        let standing = match (state, row.pause.is_some(), drive.store.batch_by_id(batch).await?) {
            (SummaryState::Finished, _, row) => row.finished_at.map(Standing::Finished),
            (SummaryState::Paused, true, row) => row.paused_at.map(Standing::Paused),
            _ => None,
        };
        if let Some(standing) = standing {
            drive.store.told(batch, &standing).await?;
        }
    }
    published.summary.definition.clone_from(&show.definition);
    Ok(tell::after(screen, &published, Exit::of_signal(&drive.shutdown)))
}

/// Tells what is left of a batch, how long it takes at least, and what it costs, unless that was told.
pub(super) async fn tell_outlook(drive: &Drive<'_>, row: &BatchRow, costed: bool) -> Result<(), Stop> {
    let spec = spec_of(&row.name, &row.spec)?;
    let counts = drive.store.counts(row.id).await?;
    let limits = tell::limits_of(&drive.config, &spec);
    let facts = match drive.environment() {
        Environment::Sandbox => tell::sandbox_outlook(&counts),
        Environment::Live => tell::outlook(&counts, &spec, &limits, &drive.config.rates),
    };
    let told = usize::from(costed && drive.environment() != Environment::Sandbox && !facts.is_empty());
    facts[told..].iter().for_each(|fact| drive.context.screen.say(fact));
    Ok(())
}
