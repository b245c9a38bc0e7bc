//! Works batches to their end.

use std::{
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc::unbounded_channel, time::timeout};

use super::{
    callbacks::Callbacks,
    error::{AppError, NotWorkable},
    events::{Event, Events, Watched},
    notify::Notifications,
    publish::{Published, WaitsFor, publish_batch},
    session::Session,
};
use crate::{
    domain::{cost::MicroUsd, environment::LedgerChoice, job::BatchId},
    report::{
        publish::{PublishError, figures_so_far},
        summary::{RunFigures, SummaryState},
        words::command,
    },
    runner::{Order, RunEnd, intake::renew_account},
    shutdown::Shutdown,
    store::{BatchRow, BatchStatus},
};

/// The time for observers to handle the last events of a run.
const WATCH_TIME: Duration = Duration::from_secs(2);

/// The batches found: the workable ones, and why the others are not.
#[derive(Debug, Default)]
pub struct Workable {
    /// The workable batches, oldest first.
    pub batches: Vec<BatchRow>,
    /// Why the others are not workable.
    pub left: Vec<NotWorkable>,
}

impl Workable {
    fn of(rows: impl Iterator<Item = BatchRow>, choice: &LedgerChoice) -> Self {
        let mut found = Self::default();
        for row in rows {
            match why_not(&row, choice) {
                None => found.batches.push(row),
                Some(why) => found.left.push(why),
            }
        }
        found
    }
}

impl Session {
    /// All batches of this environment that are not finished.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn unfinished(&self) -> Result<Workable, AppError> {
        let rows = self.store.batches().await?.into_iter();
        let rows = rows.filter(|row| row.environment == self.environment() && row.finished_at.is_none());
        Ok(Workable::of(rows, &self.config().choice))
    }

    /// A definition's unfinished batches, except one.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn unfinished_of(&self, definition: &str, but: Option<BatchId>) -> Result<Workable, AppError> {
        let mut found = self.store.batches().await?;
        found.retain(|row| {
            Some(row.id) != but
                && row.definition == definition
                && row.environment == self.environment()
                && row.finished_at.is_none()
        });
        Ok(Workable::of(found.into_iter(), &self.config().choice))
    }

    /// Checks a batch that the user asked to work.
    ///
    /// # Errors
    /// It belongs to the other environment; only the user can resume it; it is not completely submitted.
    pub fn workable(&self, row: BatchRow) -> Result<BatchRow, AppError> {
        if row.environment != self.environment() {
            return Err(AppError::OtherEnvironment { batch: row.name, environment: row.environment });
        }
        match why_not(&row, &self.config().choice) {
            Some(why) => Err(AppError::NotWorkable(why)),
            None => Ok(row),
        }
    }

    /// Works batches until nothing is due. Then writes each batch's report and posts notifications. `ended` is called
    /// for each batch as it is written.
    ///
    /// # Errors
    /// The ledger fails; a second signal comes while a report is written; `ended` fails.
    pub async fn run(
        &self,
        batches: &[BatchRow],
        order: Order,
        notifications: &Notifications,
        mut ended: impl FnMut(Published) -> io::Result<()>,
    ) -> Result<(), AppError> {
        let mut before = HashMap::new();
        for row in batches {
            // Refused before its first call: what it buys must outlive this machine.
            if self.settings.tasks.intakes().get(row.task).is_some_and(|task| task.has_parts()) {
                self.store.audio_cache().try_out().await?;
            }
            before.insert(row.id, figures_so_far(&self.store, row.id).await?);
        }
        let began = Instant::now();
        let left = self.lift_pauses(batches).await?;
        let ids: Vec<BatchId> = batches.iter().map(|row| row.id).collect();
        let end = if left == 0 && self.all_end(&ids).await? {
            self.say(Event::NoUnfinishedLines);
            RunEnd::Done
        } else {
            self.work(&ids, order).await?
        };
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        notifications.note_spend_limits(self).await;
        for id in ids {
            let concluded = self.conclude(id, end, notifications).await;
            let mut published = concluded.map_err(|error| self.unless_given_up(end, error))?;
            let (now, before) = (&published.summary, before.get(&id).copied().unwrap_or_default());
            published.summary.this_run = Some(RunFigures {
                took_ms,
                calls: now.calls.saturating_sub(before.calls),
                billed_calls: now.billed_calls.saturating_sub(before.billed_calls),
                spend_usd: MicroUsd(now.spend.total_usd.0.saturating_sub(before.spend_usd.0)),
            });
            ended(published)?;
        }
        notifications.flush(&self.store, &self.shutdown).await;
        if !self.shutdown.drain.is_cancelled() {
            Box::pin(self.forget_what_is_due()).await;
        }
        Ok(())
    }

    /// Marks batches as finished that have nothing due. Returns whether none of them waits for lines of another one.
    async fn all_end(&self, batches: &[BatchId]) -> Result<bool, AppError> {
        let mut all = true;
        for id in batches {
            let has_ended = self.store.finish(*id).await?;
            all &= has_ended || self.store.feed_place(*id).await?.is_none();
        }
        Ok(all)
    }

    /// Resumes paused batches, and returns the number of lines left in all of them.
    async fn lift_pauses(&self, batches: &[BatchRow]) -> Result<u64, AppError> {
        let place = (self.account_name(), self.environment());
        for lifted in self.store.lift_spend_pauses(place, self.config().spend.clone(), true).await? {
            self.say(Event::Resumed { batch: lifted.name, kind: lifted.kind, reason: lifted.reason });
        }
        let mut left = 0;
        for row in batches {
            if self.store.resume(row.id, false).await?
                && let Some((kind, reason)) = row.pause.clone()
            {
                self.say(Event::Resumed { batch: row.name.clone(), kind, reason });
            }
            renew_account(self.settings.tasks.intakes(), &self.store, self.account().as_ref(), row).await?;
            left += self.store.counts(row.id).await?.unfinished();
        }
        Ok(left)
    }

    /// Works these batches to their end, or until they are paused or a signal comes.
    async fn work(&self, batches: &[BatchId], order: Order) -> Result<RunEnd, AppError> {
        let callbacks = Callbacks::of_work(self, batches).await?;
        let (events, heard) = unbounded_channel();
        let watched = Watched {
            store: self.store.clone(),
            account: self.account_name().to_owned(),
            environment: self.environment(),
            limits: self.config().pool_limits(),
            batches: batches.to_vec(),
            tasks: self.settings.tasks.clone(),
        };
        let heard = match &self.metrics_file {
            Some(file) => file.counted(heard),
            None => heard,
        };
        let watching = tokio::spawn(Arc::clone(&self.events).follow(watched, heard));
        let runner = self.runner(callbacks.webhook.clone(), events).in_order(order);
        let draining = tokio::spawn(say_draining(Arc::clone(&self.events), self.shutdown.clone()));
        let end = runner.run(batches, self.shutdown.drain.clone(), self.shutdown.abort.clone()).await;
        // The observer ends when the last sender is dropped.
        drop(runner);
        let _ = timeout(WATCH_TIME, watching).await;
        draining.abort();
        callbacks.close().await;
        Ok(end?)
    }

    /// Who was interrupted and waited for its ledger in vain is still that: interrupted. It was logged what it left.
    fn unless_given_up(&self, end: RunEnd, error: AppError) -> AppError {
        let is_out_of_reach = match &error {
            AppError::Store(e) | AppError::Publish(PublishError::Store(e)) => e.is_passing(),
            _ => false,
        };
        let is_interrupted = end == RunEnd::Interrupted && self.store.has_given_up();
        if is_interrupted && is_out_of_reach { self.interrupted() } else { error }
    }

    /// Writes a batch's report after the work, and posts notifications.
    async fn conclude(
        &self,
        batch: BatchId,
        end: RunEnd,
        notifications: &Notifications,
    ) -> Result<Published, AppError> {
        let row = self.store.batch_by_id(batch).await?;
        let unfinished = self.store.counts(batch).await?.unfinished();
        let waits_for = self.waits_for(&row, unfinished).await?;
        // A line that is still to come is not finished.
        let left = unfinished + u64::from(waits_for.is_some());
        let state = match state_of(end, row.pause.is_some(), left) {
            SummaryState::Finished => SummaryState::of_finished(&row),
            state => state,
        };
        let published = tokio::select! {
            published = publish_batch(&self.store, (&self.config().rates, self.settings.tasks.reports()), batch, state) => published?,
            // This report follows from the signal that ended the work; one more signal ends it too.
            () = self.shutdown.next() => return Err(self.interrupted()),
        };
        let published = Published { waits_for: waits_for.filter(|_| end != RunEnd::Interrupted), ..published };
        notifications.note_end(self, &row, &published).await;
        if published.failed.is_none() {
            // A service that starts later must not report the same again.
            let batch_status = match (state, row.pause.is_some(), self.store.batch_by_id(batch).await?) {
                (SummaryState::Finished | SummaryState::Cancelled, _, row) => {
                    row.finished_at.map(BatchStatus::Finished)
                }
                (SummaryState::Paused, true, row) => row.paused_at.map(BatchStatus::Paused),
                _ => None,
            };
            if let Some(batch_status) = batch_status {
                self.store.set_reported(batch, &batch_status).await?;
            }
        }
        Ok(published)
    }
}

impl Session {
    /// The batch whose lines a batch waits for, once its own are done.
    async fn waits_for(&self, row: &BatchRow, unfinished: u64) -> Result<Option<WaitsFor>, AppError> {
        let Some(by) = row.fed_by.filter(|_| row.finished_at.is_none() && unfinished == 0) else { return Ok(None) };
        let by = self.store.batch_by_id(by).await?;
        let is_held = user_pause(&by, &self.config().choice).is_some();
        Ok(Some(WaitsFor { batch: by.name, is_held }))
    }
}

async fn say_draining(events: Events, shutdown: Shutdown) {
    shutdown.drain.cancelled().await;
    events.event(Event::Draining);
    shutdown.abort.cancelled().await;
    events.event(Event::Leaving);
}

/// Why a batch cannot be worked, and what to do.
fn why_not(row: &BatchRow, choice: &LedgerChoice) -> Option<NotWorkable> {
    let half = || {
        let name = &row.name;
        row.submitting_at.is_some().then(|| NotWorkable {
            why: format!(
                "the batch `{name}` is being submitted, or its submission was cut off: it is not worked until it is whole"
            ),
            hint: "submit it again: that finishes it".into(),
        })
    };
    user_pause(row, choice).or_else(half)
}

/// The reason and the hint, if only the user can resume the batch.
#[must_use]
pub fn user_pause(row: &BatchRow, choice: &LedgerChoice) -> Option<NotWorkable> {
    let (kind, reason) = row.pause.as_ref().filter(|(kind, _)| kind.only_the_user_lifts())?;
    let why = format!("the batch `{}` is {}", row.name, kind.in_words(reason));
    Some(NotWorkable { why, hint: command((choice, row.environment), &["resume", &row.name]) })
}

/// The summary's state for the end of a run.
fn state_of(end: RunEnd, paused: bool, unfinished: u64) -> SummaryState {
    match end {
        _ if paused => SummaryState::Paused,
        RunEnd::Interrupted if unfinished > 0 => SummaryState::Interrupted,
        _ if unfinished > 0 => SummaryState::Running,
        RunEnd::Done | RunEnd::Paused | RunEnd::Interrupted => SummaryState::Finished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_read_by_what_is_left() {
        assert_eq!(state_of(RunEnd::Done, false, 0), SummaryState::Finished);
        assert_eq!(state_of(RunEnd::Interrupted, false, 0), SummaryState::Finished, "the last one was in flight");
        assert_eq!(state_of(RunEnd::Interrupted, false, 3), SummaryState::Interrupted);
        assert_eq!(state_of(RunEnd::Paused, true, 3), SummaryState::Paused);
        assert_eq!(state_of(RunEnd::Paused, false, 0), SummaryState::Finished, "another batch was paused");
    }
}
