//! Submitting: a definition's lines become lines of the ledger.

use std::sync::Arc;

use tokio::io::AsyncRead;

use super::{error::AppError, events::Event, session::Session};
use crate::{
    definition::Definition,
    runner::intake::{self, ManifestCopy, ReadWatch, Submission, SubmitOptions, VoiceCheck},
};

/// What the user has agreed to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Consent {
    /// Finished lines may be bought again because the definition's options changed.
    pub rebuy: bool,
    /// The output may be written whoever it belongs to.
    pub take_over: bool,
    /// New lines whose outputs are there already are done.
    pub adopt: bool,
    /// A dated batch is a new one, even where the newest one has the same manifest and options.
    pub again: bool,
    /// The manifest is the batch's from now on, wherever it is and whatever it brings.
    pub update_source: bool,
    /// What becomes of voices that the account does not have.
    pub voice_check: VoiceCheck,
}

impl Session {
    /// Records a definition's lines. `stdin` is where a manifest called `-` is read from.
    ///
    /// # Errors
    /// Faults of the manifest; what the user has not agreed to; an output of another batch or ledger; a signal.
    pub async fn submit(
        &self,
        definition: &Definition,
        consent: Consent,
        stdin: impl AsyncRead + Unpin,
    ) -> Result<Submission, AppError> {
        let options = SubmitOptions {
            tasks: crate::tasks::Registry::built_in().intakes().clone(),
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
            let copy = intake::copy_manifest(definition, &spool, &self.fetcher, stdin).await?;
            let copy = copy.as_ref().map(ManifestCopy::spooled);
            intake::submit(&self.store, definition, copy, self.environment(), &options).await
        };
        Ok(self.unless_interrupted(submitting).await??)
    }

    /// Who hears how far the reading of local recordings is.
    fn read_watch(&self) -> ReadWatch {
        let events = Arc::clone(&self.events);
        ReadWatch::new(move |progress| events.event(Event::Reading(progress)))
    }

    /// Tries again those lines of a batch that failed and cost nothing; returns how many.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn retry_free(&self, submission: &Submission) -> Result<u64, AppError> {
        match submission.existed {
            true => Ok(self.store.retry_free(submission.batch).await?),
            false => Ok(0),
        }
    }
}
