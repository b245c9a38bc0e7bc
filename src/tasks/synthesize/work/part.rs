//! One part's life: its clip is found, waited for, bought, or given up.

use super::{
    SynthesisJob,
    call::PartCaller,
    lost,
    survey::{KeptClip, Ready},
    turns::Turn,
    wait_for_cache,
};
use crate::{
    domain::{
        batch::OnUnknown,
        call::ErrorKind,
        identity::Identity,
        job::{CallId, CallRecord, Step, Why},
        retry::{self, PauseKind},
    },
    runner::{Attempt, Next, PartContext, attempt, jitter_of, reconcile},
    store::{self, Clip, End, Finish, StoreError, To},
};

/// Why a part's clip is not in the audio cache.
pub(super) enum NotReady {
    /// Look again at this time; if that is now, the job cannot continue at the moment.
    Later(i64),
    /// Another job is buying the same clip.
    Waits { call: CallId, until: i64 },
    /// It cannot be bought, so the job fails.
    Failed(Box<Finish>),
    /// Another worker has the job.
    Lost,
    /// The ledger cannot be read or written.
    Ledger(StoreError),
}

impl From<StoreError> for NotReady {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error)
    }
}

/// A part with words.
pub(super) struct PartJob<'a> {
    pub(super) of: SynthesisJob<'a>,
    pub(super) part: PartContext<'a>,
    /// Its place in the script.
    pub(super) at: usize,
    /// The key of its clip.
    pub(super) cache_key: Identity,
    /// If given, only a clip that was bought at this time or later is accepted.
    pub(super) since: Option<i64>,
}

impl<'a> PartJob<'a> {
    /// Gets its clip into the audio cache.
    pub(super) async fn get(&mut self) -> Result<Ready, NotReady> {
        let _turn = self.turn().await?;
        loop {
            // Taken before the cache is read: the ledger shows what is bought after it.
            let looked_at = self.part.now();
            let is_kept = self.is_kept().await?;
            if !is_kept {
                self.check_dictionary().await?;
            }
            let (why, replaces) = match self.part.step(looked_at) {
                Step::Deliver(_) if is_kept => return Ok(self.own(None)),
                Step::Deliver(call) => return Err(self.gone(call).await?),
                step if is_kept => return self.found(step).await,
                Step::PutBack { call, until } | Step::Await { call, until } => {
                    return Err(NotReady::Waits { call, until });
                }
                Step::Reconcile(call) => {
                    self.may_follow(&call).await?;
                    (Why::Unknown, Some(call.id))
                }
                Step::Call(why) => {
                    self.may_begin()?;
                    (why, None)
                }
            };
            if let Some(ready) = self.buy(looked_at, why, replaces).await? {
                return Ok(ready);
            }
        }
    }

    /// Waits for a turn at the API. A drain ends the wait.
    async fn turn(&self) -> Result<Turn, NotReady> {
        let on = self.part.on;
        tokio::select! {
            biased;
            turn = self.of.batch.turns.take(on.job().job.0, self.part.part) => Ok(turn),
            () = on.drain().cancelled() => Err(NotReady::Later(on.now())),
        }
    }

    /// Whether its clip is in the audio cache, and new enough.
    async fn is_kept(&self) -> Result<bool, NotReady> {
        let has_open = self.part.journal.calls.iter().any(CallRecord::is_open);
        let found = if has_open { self.unrecorded().await? } else { self.recorded().await? };
        Ok(match (found, self.since) {
            (None, _) => false,
            (Some(kept), Some(since)) if !kept.is_unrecorded => {
                self.part.on.store().bought_since(self.cache_key, since).await?
            }
            (Some(_), _) => true,
        })
    }

    /// Its clip, if the audio cache has it and the ledger may know it.
    async fn recorded(&self) -> Result<Option<store::KeptClip>, NotReady> {
        let audio_cache = self.part.on.store().audio_cache();
        audio_cache.get(self.cache_key, self.of.script.bought.format).await.map_err(|error| self.unseen(error))
    }

    /// The same while a call for it is open: it may have been kept just before its process died.
    async fn unrecorded(&self) -> Result<Option<store::KeptClip>, NotReady> {
        let audio_cache = self.part.on.store().audio_cache();
        let found = audio_cache.get_unrecorded(self.cache_key, self.of.script.bought.format).await;
        found.map_err(|error| self.unseen(error))
    }

    /// A clip that cannot be read now may still be there.
    fn unseen(&self, error: StoreError) -> NotReady {
        wait_for_cache(self.part.on, &error).map_or(NotReady::Ledger(error), NotReady::Later)
    }

    /// Makes sure that the dictionary is still the requested one. A dictionary is changed in place: another batch may have put
    /// other words, or the key may be another account's. Such a clip would be cached under the wrong key, so nothing is bought.
    async fn check_dictionary(&self) -> Result<(), NotReady> {
        let on = self.part.on;
        let Some(asked) = &self.of.script.synthesis.dictionary else { return Ok(()) };
        let known = on.store().dictionary(&on.config().account, &asked.file).await?;
        if known.is_some_and(|(id, hash)| hash == asked.hash && asked.id.as_ref() == Some(&id)) {
            return Ok(());
        }
        let file = &asked.file;
        let message = format!(
            "the account's dictionary of {file} is not the one that the batch was submitted with; submit the batch again"
        );
        on.pause(PauseKind::Dictionary, &message).await?;
        Err(NotReady::Later(on.now()))
    }

    /// Whether a call may be made if none is open.
    fn may_begin(&self) -> Result<(), NotReady> {
        self.part.spent(None).map_or(Ok(()), |end| Err(self.failed(end)))
    }

    /// Whether a call may follow one of unknown outcome whose clip is not in the cache.
    async fn may_follow(&self, call: &CallRecord) -> Result<(), NotReady> {
        let unknown_at = self.part.unknown_since(call).await?;
        if self.part.on.run().on_unknown == OnUnknown::Park {
            self.part.give_up(call.id).await?;
            return Err(self.failed(reconcile::manual_review()));
        }
        if let Some(end) = self.part.spent(call.error_kind) {
            self.part.give_up(call.id).await?;
            return Err(self.failed(end));
        }
        // If the process died during the call, the time has passed already.
        let wait = match call.error_kind.filter(|_| call.counts) {
            Some(kind) => retry::wait_ms(kind, self.part.journal.tries(), jitter_of(call.id)),
            None => 0,
        };
        let due = self.part.not_before().max(unknown_at + i64::try_from(wait).unwrap_or(300_000));
        if self.part.now() < due { Err(NotReady::Later(due)) } else { Ok(()) }
    }

    /// Makes a call. `None`: look again.
    async fn buy(&mut self, looked_at: i64, why: Why, replaces: Option<CallId>) -> Result<Option<Ready>, NotReady> {
        let caller = self.caller(looked_at);
        let mut attempted = attempt(&mut self.part, &caller, why, replaces).await?;
        if let Attempt::SameOpen { call, until: None } = attempted {
            self.adopt(call).await?;
            attempted = attempt(&mut self.part, &caller, Why::Unknown, Some(call)).await?;
        }
        match attempted {
            Attempt::Answered { answer, processing_ms, .. } => {
                Ok(Some(self.own(Some(KeptClip { processing_ms, ..answer }))))
            }
            Attempt::SameOpen { call, until: Some(until) } => Err(NotReady::Waits { call, until }),
            Attempt::SameOpen { until: None, .. } | Attempt::Next(Next::Look) => {
                self.part.reload().await?;
                Ok(None)
            }
            Attempt::SameKept => Ok(None),
            Attempt::SameInManualReview => Err(self.failed(reconcile::manual_review())),
            Attempt::Next(Next::Lost) => Err(NotReady::Lost),
            Attempt::Next(Next::Leave(to)) => Err(match to {
                To::Finished(finish) => self.failed(*finish),
                To::Queued { due_at: due, .. } | To::Waiting { until: due, .. } | To::Awaiting { until: due, .. } => {
                    NotReady::Later(due)
                }
            }),
        }
    }

    fn caller(&self, looked_at: i64) -> PartCaller<'a> {
        let SynthesisJob { on, batch, script } = self.of;
        let text = &script.parts[self.at];
        let characters = u32::try_from(text.chars()).unwrap_or(u32::MAX);
        let clip = Clip {
            cache_key: self.cache_key,
            looked_at,
            characters,
            cost: on.config().rates.synthesis_cost(script.options.model, characters.into()),
            // A clip in manual review for another job is bought for no job until the user's `retry`.
            respects_manual_review: on.run().on_unknown == OnUnknown::Park && on.job().generation == 0,
        };
        PartCaller { on, batch, script, text: &text.text, clip, replaces: self.since.is_some() }
    }

    /// A clip that its own job bought: just now, with this answer, or before.
    fn own(&self, answer: Option<KeptClip>) -> Ready {
        let now = u32::from(answer.is_some());
        Ready { bought: true, billed: self.part.journal.billed() + now, answer }
    }

    /// Handles a clip in the cache without a row that records it: it answers an open call of this job, or another job bought
    /// it.
    async fn found(&self, step: Step) -> Result<Ready, NotReady> {
        let store = self.part.on.store();
        let open = self.part.journal.calls.iter().find(|call| call.is_open());
        if let Some(open) = open.filter(|_| !matches!(step, Step::PutBack { .. })) {
            let Some(kept) = self.unrecorded().await? else { return Err(NotReady::Later(self.part.now() + 1)) };
            return if self.end_found(open.id, kept).await? { Ok(self.own(None)) } else { Err(NotReady::Lost) };
        }
        let job = self.part.on.job();
        if !store.reuse(job.job, job.token, vec![self.part.part]).await? {
            return Err(NotReady::Lost);
        }
        // Read again: a clip whose use is recorded first cannot be pruned in between.
        let found = store.audio_cache().find(vec![self.cache_key], self.of.script.bought.format).await;
        if found.map_err(|error| self.unseen(error))?.is_empty() {
            return Err(NotReady::Later(self.part.now() + 1));
        }
        Ok(Ready::default())
    }

    /// Records a found clip as the call's answer. Returns whether the job is still worked.
    async fn end_found(&self, call: CallId, kept: store::KeptClip) -> Result<bool, StoreError> {
        let object = kept.take.map(|take| (self.cache_key, take));
        let end = End::Synthesized { object, bytes: kept.bytes, found: true, request_id: None, content_expiry: None };
        let worked = self.part.end(call, end).await?;
        tracing::info!(job.key = self.part.on.job().key, call.id = %call, "its audio was in the spool");
        Ok(worked)
    }

    /// Whether a call may replace another job's for the same clip that nobody waits for any more.
    async fn adopt(&self, call: CallId) -> Result<(), NotReady> {
        if self.since.is_none()
            && let Some(kept) = self.unrecorded().await?
        {
            self.end_found(call, kept).await?;
            return Err(NotReady::Later(self.part.now() + 1));
        }
        match self.part.on.run().on_unknown {
            OnUnknown::Retry => Ok(()),
            // The user saw the message, and requested `retry`.
            OnUnknown::Park if self.part.on.job().generation > 0 => Ok(()),
            OnUnknown::Park => Err(self.failed(reconcile::manual_review())),
        }
    }

    /// The clip was bought, and somebody has removed its file. It is not bought again without the user's request.
    async fn gone(&self, call: CallId) -> Result<NotReady, StoreError> {
        if let Some(finish) = lost::pruned(self.of).await? {
            return Ok(NotReady::Failed(Box::new(finish)));
        }
        self.part.on.store().set_aside(self.part.on.job().job, call).await?;
        let message = "its audio was bought, and is gone from the spool; `wavebatch retry` buys it again";
        Ok(self.failed(Finish::failed(ErrorKind::AnswerLost, message.into())))
    }

    /// The end of the job because of one of its parts, which the message names.
    fn failed(&self, finish: Finish) -> NotReady {
        let script = self.of.script;
        let error = finish.error.map(|message| match script.name_of(self.at) {
            Some(part) => format!("{part}: {message}"),
            None => message,
        });
        NotReady::Failed(Box::new(Finish {
            error,
            units: Some(script.characters),
            facts: script.facts().or(self.part.on.job().facts.clone()),
            ..finish
        }))
    }
}
