//! A part of a job that is bought by exactly one call: its life from claim to answer; and jobs that have one such part. What
//! happens depends on the journal alone; [`PartCall`] and [`OneCall`] hold what differs from task to task.

use std::future::{Future, ready};

use super::{
    call::{self, Attempt, Caller},
    job::{JobContext, Next, PartContext},
    reconcile::{self, Reconciled},
};
use crate::{
    domain::{
        body::Body,
        call::CallFailure,
        job::{CallId, CallRecord, JobState, Journal, Step, Why},
        pool::Pool,
        retry::PauseKind,
        row::Note,
    },
    store::{AnswerFacts, Finish, StoreError, To},
};

/// The outcome of preparing what a call sends.
#[derive(Debug)]
pub enum Prepared {
    /// It can be sent.
    Ready,
    /// The source is to blame.
    CallFailure {
        /// Why.
        failure: CallFailure,
        /// Whether another try may help.
        transient: bool,
    },
    /// This machine, or one of its disks or mounts, is to blame, not a line.
    Machine(String),
    /// The store of the sources rejects our credentials: every line would fail.
    Refused(String),
}

/// An answer that has just come.
#[derive(Debug)]
pub struct FreshAnswer<A> {
    /// Its call.
    pub call: CallId,
    /// The answer itself.
    pub answer: A,
    /// Time from intent to answer, in ms.
    pub processing_ms: i64,
}

/// An answer that is stored in the ledger.
#[derive(Debug)]
pub struct KeptAnswer {
    /// Its call.
    pub call: CallId,
    /// The answer, byte for byte.
    pub body: Body,
    /// What else is known of it.
    pub facts: AnswerFacts,
}

/// An answer to the call of a part.
#[derive(Debug)]
pub enum PartAnswer<A> {
    /// It has just come.
    Fresh(FreshAnswer<A>),
    /// It was there already.
    Kept(KeptAnswer),
}

/// What is bought by exactly one call.
pub trait PartCall: Caller + Send {
    /// The pool of its call.
    fn pool(&self) -> Pool;

    /// Prepares what is sent. It is called once, before the first call; a drain ends the wait for it.
    fn prepare(&mut self) -> impl Future<Output = Prepared> + Send {
        ready(Prepared::Ready)
    }

    /// Looks for the outcome of a call whose outcome is unknown. If nothing shows it, `on_unknown` decides.
    fn look(
        &mut self,
        part: &PartContext<'_>,
        call: &CallRecord,
    ) -> impl Future<Output = Result<Reconciled, StoreError>> + Send {
        reconcile::by_policy(part, call)
    }
}

/// A job with exactly one call.
pub trait OneCall: PartCall {
    /// Makes outputs from an answer that has just come.
    fn deliver(
        &mut self,
        part: &PartContext<'_>,
        fresh: FreshAnswer<Self::Answer>,
    ) -> impl Future<Output = Result<Next, StoreError>> + Send;

    /// The same for an answer from the ledger: after a crash, a sink's outage, or for other outputs. Some outputs may exist
    /// already.
    fn deliver_kept(
        &mut self,
        part: &PartContext<'_>,
        kept: KeptAnswer,
    ) -> impl Future<Output = Result<Next, StoreError>> + Send;
}

/// Moves a job to its next state. `None`: its lease is lost.
///
/// # Errors
/// The ledger cannot be read or written.
pub async fn work<T: OneCall>(mut task: T, on: JobContext<'_>) -> Result<Option<To>, StoreError> {
    let mut part = part_of(on, task.pool(), 0).await?;
    loop {
        let next = match answer(&mut task, &mut part).await? {
            Ok(PartAnswer::Fresh(fresh)) => task.deliver(&part, fresh).await?,
            Ok(PartAnswer::Kept(kept)) => task.deliver_kept(&part, kept).await?,
            Err(next) => next,
        };
        match next {
            Next::Look => part.reload().await?,
            Next::Leave(to) => return Ok(Some(to)),
            Next::Lost => return Ok(None),
        }
    }
}

/// A part with its calls so far.
///
/// # Errors
/// The ledger cannot be read.
pub async fn part_of(on: JobContext<'_>, pool: Pool, part: i64) -> Result<PartContext<'_>, StoreError> {
    let mut part = PartContext::new(on, pool, part, Journal::default());
    if on.job().has_calls {
        part.reload().await?;
    }
    Ok(part)
}

/// Gets the answer to the call of a part: a kept one, or one that is bought now. The inner error is what follows if there is
/// none now: never [`Next::Look`].
///
/// # Errors
/// The ledger cannot be read or written.
pub async fn answer<T: PartCall>(
    task: &mut T,
    part: &mut PartContext<'_>,
) -> Result<Result<PartAnswer<T::Answer>, Next>, StoreError> {
    let mut steps = Steps { task, part, is_ready: false };
    loop {
        match steps.next().await? {
            Stage::Answer(answer) => return Ok(Ok(answer)),
            Stage::Next(Next::Look) => steps.part.reload().await?,
            Stage::Next(next) => return Ok(Err(next)),
        }
    }
}

/// Waits for what a call sends, or for what is to be known before there is a call. `Some`: it cannot be had now.
///
/// # Errors
/// The ledger cannot be read or written.
pub async fn prepare(
    part: &mut PartContext<'_>,
    replaces: Option<&CallRecord>,
    preparing: impl Future<Output = Prepared>,
) -> Result<Option<Next>, StoreError> {
    let on = part.on;
    if let Some(message) = on.sources_unread_too_long() {
        on.pause(PauseKind::Source, &message).await?;
        return Ok(Some(part.put_back(on.now())));
    }
    let prepared = tokio::select! {
        biased;
        prepared = preparing => prepared,
        // A download may take many minutes, and interrupting it loses nothing.
        () = on.drain().cancelled() => return Ok(Some(part.put_back(on.now()))),
    };
    match prepared {
        Prepared::Ready => Ok(None),
        Prepared::CallFailure { failure, transient } => {
            part.source_failed(failure, transient, replaces).await.map(Some)
        }
        Prepared::Machine(message) => {
            on.note_source_unread(&message);
            Ok(Some(part.put_back(on.wait_for_machine(&message))))
        }
        Prepared::Refused(message) => {
            on.pause(PauseKind::Source, &message).await?;
            Ok(Some(part.put_back(on.now())))
        }
    }
}

struct Steps<'a, 'p, T> {
    task: &'a mut T,
    part: &'a mut PartContext<'p>,
    /// Whether it can be sent.
    is_ready: bool,
}

/// What a step comes to.
enum Stage<A> {
    Answer(PartAnswer<A>),
    Next(Next),
}

impl<T: PartCall> Steps<'_, '_, T> {
    async fn next(&mut self) -> Result<Stage<T::Answer>, StoreError> {
        let next = match self.part.step(self.part.now()) {
            Step::Deliver(call) => return self.kept(call).await,
            Step::Await { call, until } => Next::Leave(To::Awaiting { call, until }),
            Step::PutBack { call, until } => Next::Leave(To::Waiting { call, until }),
            Step::Reconcile(call) => return self.reconcile(&call).await,
            Step::Call(why) => match self.part.spent(None) {
                Some(end) => Next::finish(end),
                None => return self.call(why, None).await,
            },
        };
        Ok(Stage::Next(next))
    }

    async fn kept(&mut self, call: CallId) -> Result<Stage<T::Answer>, StoreError> {
        Ok(match self.part.on.store().answer(call).await? {
            Some((body, facts)) => Stage::Answer(PartAnswer::Kept(KeptAnswer { call, body, facts })),
            None => {
                let notes = Some(Note::AnswerPruned.to_string());
                Stage::Next(Next::finish(Finish { state: Some(JobState::Succeeded), notes, ..Finish::default() }))
            }
        })
    }

    async fn reconcile(&mut self, call: &CallRecord) -> Result<Stage<T::Answer>, StoreError> {
        let next = match self.task.look(self.part, call).await? {
            Reconciled::Answered => Next::Look,
            Reconciled::Left => Next::Lost,
            Reconciled::Later(at) => Next::again_at(at.max(self.part.not_before())),
            Reconciled::CallAgain => {
                if let Some(end) = self.part.spent(call.error_kind) {
                    self.part.give_up(call.id).await?;
                    return Ok(Stage::Next(Next::finish(end)));
                }
                let at = self.part.call_again_at(call);
                if self.part.now() >= at {
                    return self.call(Why::Unknown, Some(call)).await;
                }
                Next::again_at(at)
            }
            Reconciled::ManualReview => {
                self.part.give_up(call.id).await?;
                Next::finish(reconcile::manual_review())
            }
        };
        Ok(Stage::Next(next))
    }

    async fn call(&mut self, why: Why, replaces: Option<&CallRecord>) -> Result<Stage<T::Answer>, StoreError> {
        if !self.is_ready {
            if let Some(next) = prepare(self.part, replaces, self.task.prepare()).await? {
                return Ok(Stage::Next(next));
            }
            self.is_ready = true;
        }
        let attempt = call::attempt(self.part, &*self.task, why, replaces.map(|call| call.id)).await?;
        Ok(match attempt {
            Attempt::Answered { call, answer, processing_ms } => {
                Stage::Answer(PartAnswer::Fresh(FreshAnswer { call, answer, processing_ms }))
            }
            Attempt::Next(next) => Stage::Next(next),
            Attempt::SameOpen { .. } | Attempt::SameKept | Attempt::SameInManualReview => Stage::Next(Next::Look),
        })
    }
}
