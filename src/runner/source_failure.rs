//! A source that cannot be read: the failure of its line, or of its store.

use super::{
    events::Event,
    job::{Next, PartContext, jitter},
    store_outage::FetchOutage,
};
use crate::{
    domain::{
        call::{CallFailure, ErrorKind},
        job::{CallRecord, JobState},
        retry::{self, PauseKind},
    },
    media::source::Source,
    store::{Finish, JobFilter, Selection, StoreError, To},
};

impl PartContext<'_> {
    /// What follows from a source that cannot be read. `transient`: another try may help; `replaces`: the open call that the
    /// next one was to replace.
    pub(super) async fn source_failed(
        &self,
        failure: CallFailure,
        transient: bool,
        replaces: Option<&CallRecord>,
    ) -> Result<Next, StoreError> {
        if (transient || failure.kind == ErrorKind::SourceRefused)
            && let Some(next) = self.store_is_down(&failure, transient).await?
        {
            return Ok(next);
        }
        let mut used = self.used();
        used.tries += 1;
        let verdict = retry::verdict(&failure, used, self.on.run().max_tries, jitter());
        match verdict {
            retry::RetryDecision::Later(wait) if transient => {
                let due_at = self.now() + i64::try_from(wait).unwrap_or(30_000);
                let call = replaces.is_none().then_some(self.pool);
                Ok(Next::Leave(To::Queued { due_at, call, source_try: true }))
            }
            _ => {
                if let Some(open) = replaces {
                    self.give_up(open.id).await?;
                }
                Ok(Next::finish(Finish { source_try: true, ..Finish::failed(failure.kind, failure.message) }))
            }
        }
    }

    /// If the store of the sources is down, or denies access line after line, no line is to blame: the lines wait for it
    /// without using up tries; after too long, the batch pauses.
    async fn store_is_down(&self, failure: &CallFailure, transient: bool) -> Result<Option<Next>, StoreError> {
        let on = self.on;
        if !matches!(Source::parse(&on.job().source), Ok(Source::S3(_))) {
            return Ok(None);
        }
        let now = self.now();
        let FetchOutage::Down { since, first } = on.batch.store_outage.failed(on.job().job, now) else {
            return Ok(None);
        };
        if first && transient {
            let message = format!("{}; recordings wait for the store, and use up no tries", failure.message);
            on.emit(Event::Warning(message));
        }
        if !transient && self.store_still_gives().await? {
            return Ok(None);
        }
        // If access is denied for line after line, the user has to act, and waiting does not help.
        if !transient || now - since >= on.outage_limit_ms() {
            on.pause(PauseKind::Source, &failure.message).await?;
            return Ok(Some(self.put_back(now)));
        }
        Ok(Some(self.put_back(now + ((now - since) / 4).clamp(1_000, 30_000))))
    }

    /// Whether the store still returns what it returned before, so that the denial concerns the object alone: a missing object
    /// is denied to a user who may not list.
    async fn store_still_gives(&self) -> Result<bool, StoreError> {
        let (on, outage) = (self.on, &self.on.batch.store_outage);
        let given = match outage.given() {
            Some(at) => Some(at),
            None => {
                let done =
                    JobFilter { lines: Selection::of_states(&[JobState::Succeeded]), limit: 1, ..JobFilter::default() };
                let done = on.store().jobs(on.batch.id, &done).await?;
                done.first().and_then(|job| job.row.source.as_deref()?.parse().ok())
            }
        };
        let Some(at) = given else { return Ok(false) };
        let gives = on.batch.objects.look(&at, None).await.is_ok();
        if gives {
            outage.works(&at);
        }
        Ok(gives)
    }
}
