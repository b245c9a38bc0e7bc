//! Submits a definition: its lines become lines of the ledger.

use std::sync::Arc;

use tokio::io::AsyncRead;

use super::{error::AppError, events::Event, session::Session};
use crate::{
    definition::Definition,
    runner::intake::{self, CopyPlace, ManifestCopy, ReadWatch, Submission, SubmitOptions, Upstreams, VoiceCheck},
    store::FreeRetry,
};

/// The user's consents.
#[derive(Debug, Clone, Copy, Default)]
pub struct Consent {
    /// Finished lines may be bought again because the definition's options changed.
    pub rebuy: bool,
    /// The output may be written even if it belongs to another batch or ledger.
    pub take_over: bool,
    /// New lines whose outputs already exist count as done.
    pub adopt: bool,
    /// A dated batch is a new one, even where the newest one has the same manifest and options.
    pub again: bool,
    /// The manifest replaces the batch's manifest, wherever it is and whatever it contains.
    pub update_source: bool,
    /// The treatment of voices that the account does not have.
    pub voice_check: VoiceCheck,
}

impl Session {
    /// Records a definition's lines. `stdin` is the content of a manifest called `-`.
    ///
    /// # Errors
    /// Faults of the manifest; a missing consent; an output of another batch or ledger; a signal.
    pub async fn submit(
        &self,
        definition: &Definition,
        consent: Consent,
        stdin: impl AsyncRead + Unpin,
    ) -> Result<Submission, AppError> {
        let options = SubmitOptions {
            tasks: self.settings.tasks.intakes().clone(),
            rebuy: consent.rebuy,
            take_over: consent.take_over,
            again: consent.again,
            update_source: consent.update_source,
            watch: self.read_watch(),
            adopt: consent.adopt,
            rates: self.config().rates.clone(),
            account: self.account(),
            voice_check: consent.voice_check,
        };
        let submitting = async {
            let spool = self.store.spool();
            let upstreams = Upstreams {
                store: Some(&self.store),
                tasks: self.settings.tasks.intakes(),
                environment: self.environment(),
                planned: &[],
            };
            let place = CopyPlace { dir: &spool, fetcher: &self.fetcher, upstreams };
            let copy = intake::copy_manifest(definition, place, stdin).await?;
            let copy = copy.as_ref().map(ManifestCopy::spooled);
            intake::submit(&self.store, definition, copy, self.environment(), &options).await
        };
        let done = self.unless_interrupted(submitting).await??;
        if let Some(feeder) = &done.feeder {
            self.feeding.add(Arc::clone(feeder));
        }
        Ok(done)
    }

    /// The observer of progress while local recordings are read.
    fn read_watch(&self) -> ReadWatch {
        let events = Arc::clone(&self.events);
        ReadWatch::new(move |progress| events.event(Event::Reading(progress)))
    }

    /// Retries the failed lines of a batch for which nothing is paid twice. Returns their numbers.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn retry_free(&self, submission: &Submission) -> Result<FreeRetry, AppError> {
        match submission.existed {
            true => Ok(self.store.retry_free(submission.batch).await?),
            false => Ok(FreeRetry::default()),
        }
    }
}
