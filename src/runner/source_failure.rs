//! A source that cannot be had: its line's failure, or its store's.

use super::{
    events::Event,
    job::{Next, PartInHand, jitter},
    store_outage::FetchOutage,
};
use crate::{
    domain::{
        call::{CallFailure, ErrorKind},
        job::{CallRecord, JobState},
        retry::{self, PauseKind},
    },
    media::source::Source,
    store::{Finish, JobFilter, StoreError, To},
};

impl PartInHand<'_> {
    /// What follows from a source that cannot be had. `transient`: another try may help; `replaces`: the open call that was
    /// to be given up for the next one.
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

    /// When the store of the sources is down, or forbids line after line, no line is to blame: they wait for it with their
    /// tries untouched; too long, and the batch pauses.
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
        // Who is forbidden one after the other has to do something, and not to wait.
        if !transient || now - since >= on.outage_limit_ms() {
            on.pause(PauseKind::Source, &failure.message).await?;
            return Ok(Some(self.put_back(now)));
        }
        Ok(Some(self.put_back(now + ((now - since) / 4).clamp(1_000, 30_000))))
    }

    /// Whether the store gives what it gave before, so that what it forbids is forbidden for itself: an object that is
    /// not there, to who may not list.
    async fn store_still_gives(&self) -> Result<bool, StoreError> {
        let (on, outage) = (self.on, &self.on.batch.store_outage);
        let given = match outage.given() {
            Some(at) => Some(at),
            None => {
                let done = JobFilter { state: Some(JobState::Succeeded), limit: 1, ..JobFilter::default() };
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
