//! A job with exactly one call: its life between claim and settling. What happens depends on its journal alone; [`OneCall`]
//! holds what differs from task to task.

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

/// A job with exactly one call.
pub trait OneCall: Caller + Send {
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
pub async fn work<T: OneCall>(task: T, on: JobContext<'_>) -> Result<Option<To>, StoreError> {
    let mut part = PartContext::new(on, task.pool(), 0, Journal::default());
    if on.job().has_calls {
        part.reload().await?;
    }
    let mut steps = Steps { task, part, is_ready: false };
    loop {
        match steps.next().await? {
            Next::Look => steps.part.reload().await?,
            Next::Leave(to) => return Ok(Some(to)),
            Next::Lost => return Ok(None),
        }
    }
}

struct Steps<'a, T> {
    task: T,
    part: PartContext<'a>,
    /// Whether it can be sent.
    is_ready: bool,
}

impl<T: OneCall> Steps<'_, T> {
    async fn next(&mut self) -> Result<Next, StoreError> {
        match self.part.step(self.part.now()) {
            Step::Deliver(call) => self.deliver_kept(call).await,
            Step::Await { call, until } => Ok(Next::Leave(To::Awaiting { call, until })),
            Step::PutBack { call, until } => Ok(Next::Leave(To::Waiting { call, until })),
            Step::Reconcile(call) => self.reconcile(&call).await,
            Step::Call(why) => match self.part.spent(None) {
                Some(end) => Ok(Next::finish(end)),
                None => self.call(why, None).await,
            },
        }
    }

    async fn deliver_kept(&mut self, call: CallId) -> Result<Next, StoreError> {
        match self.part.on.store().answer(call).await? {
            Some((body, facts)) => self.task.deliver_kept(&self.part, KeptAnswer { call, body, facts }).await,
            None => {
                let notes = Some(Note::AnswerPruned.to_string());
                Ok(Next::finish(Finish { state: Some(JobState::Succeeded), notes, ..Finish::default() }))
            }
        }
    }

    async fn reconcile(&mut self, call: &CallRecord) -> Result<Next, StoreError> {
        match self.task.look(&self.part, call).await? {
            Reconciled::Answered => Ok(Next::Look),
            Reconciled::Left => Ok(Next::Lost),
            Reconciled::Later(at) => Ok(Next::again_at(at.max(self.part.not_before()))),
            Reconciled::CallAgain => {
                if let Some(end) = self.part.spent(call.error_kind) {
                    self.part.give_up(call.id).await?;
                    return Ok(Next::finish(end));
                }
                let at = self.part.call_again_at(call);
                if self.part.now() < at {
                    return Ok(Next::again_at(at));
                }
                self.call(Why::Unknown, Some(call)).await
            }
            Reconciled::ManualReview => {
                self.part.give_up(call.id).await?;
                Ok(Next::finish(reconcile::manual_review()))
            }
        }
    }

    async fn call(&mut self, why: Why, replaces: Option<&CallRecord>) -> Result<Next, StoreError> {
        if let Some(next) = self.prepare(replaces).await? {
            return Ok(next);
        }
        match call::attempt(&mut self.part, &self.task, why, replaces.map(|call| call.id)).await? {
            Attempt::Answered { call, answer, processing_ms } => {
                self.task.deliver(&self.part, FreshAnswer { call, answer, processing_ms }).await
            }
            Attempt::Next(next) => Ok(next),
            Attempt::SameOpen { .. } | Attempt::SameKept | Attempt::SameInManualReview => Ok(Next::Look),
        }
    }

    /// Prepares what is sent. `Some`: it cannot be sent now.
    async fn prepare(&mut self, replaces: Option<&CallRecord>) -> Result<Option<Next>, StoreError> {
        if self.is_ready {
            return Ok(None);
        }
        let on = self.part.on;
        if let Some(message) = on.sources_unread_too_long() {
            on.pause(PauseKind::Source, &message).await?;
            return Ok(Some(self.part.put_back(on.now())));
        }
        let prepared = tokio::select! {
            biased;
            prepared = self.task.prepare() => prepared,
            // A download may take many minutes, and interrupting it loses nothing.
            () = on.drain().cancelled() => return Ok(Some(self.part.put_back(on.now()))),
        };
        match prepared {
            Prepared::Ready => {
                self.is_ready = true;
                Ok(None)
            }
            Prepared::CallFailure { failure, transient } => {
                self.part.source_failed(failure, transient, replaces).await.map(Some)
            }
            Prepared::Machine(message) => {
                on.note_source_unread(&message);
                Ok(Some(self.part.put_back(on.wait_for_machine(&message))))
            }
            Prepared::Refused(message) => {
                on.pause(PauseKind::Source, &message).await?;
                Ok(Some(self.part.put_back(on.now())))
            }
        }
    }
}
