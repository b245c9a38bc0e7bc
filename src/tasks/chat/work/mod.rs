//! One job of a chat: its request, the check of its reply, and its repairs.

mod call;
mod deliver;
mod lead;

use std::sync::Arc;

use futures::future::BoxFuture;

use self::{call::ChatCaller, lead::Lead};
use super::Chat;
use crate::{
    domain::{
        batch::BatchSpec,
        call::ErrorKind,
        chat::{
            Chat as Asking, ChatLine, Completion, Judged, MOST_REPAIRS, QuotedFrom, Repair, Reply, ReplyRules, Usage,
            merging,
        },
        job::{CallState, JobState},
        pool::Pool,
        task::{Asked, SpecError},
    },
    large::look_into,
    runner::{
        BatchTask, JobContext, Maker, Means, Next, PartContext, RunnerConfig, RunnerTask,
        one_call::{self, PartAnswer},
    },
    store::{AnswerFacts, StoreError, To},
    waves::ChatAnswer,
};

impl Maker for Chat {
    fn join(&self, _: &Means) -> Arc<dyn RunnerTask> {
        Arc::new(*self)
    }
}

impl RunnerTask for Chat {
    fn bind(&self, spec: &BatchSpec, _: &RunnerConfig) -> Result<Arc<dyn BatchTask>, SpecError> {
        let asked: Asking = spec.task.read()?;
        let rules = ReplyRules::of(&asked)
            .map_err(|message| SpecError::Shape { task: Asking::TASK, source: serde::de::Error::custom(message) })?;
        Ok(Arc::new(ChatBatch { asked, rules: Arc::new(rules), lead: Lead::default() }))
    }
}

/// What the jobs of one batch share.
#[derive(Debug)]
struct ChatBatch {
    asked: Asking,
    rules: Arc<ReplyRules>,
    lead: Lead,
}

impl BatchTask for ChatBatch {
    fn work<'a>(&'a self, on: JobContext<'a>) -> BoxFuture<'a, Result<Option<To>, StoreError>> {
        Box::pin(async move {
            let prompt = on.store().text(on.job().job).await?.unwrap_or_default();
            let line = match &on.job().overrides {
                None => ChatLine::default(),
                Some(json) => serde_json::from_str(json)
                    .map_err(|e| StoreError::Unexpected(format!("the request of `{}`: {e}", on.job().key)))?,
            };
            let job = ChatJob { on, batch: self, prompt, line };
            match job.work().await? {
                Next::Leave(to) => Ok(Some(to)),
                Next::Look | Next::Lost => Ok(None),
            }
        })
    }
}

/// The piece of a line that is asked as a whole.
const WHOLE: i64 = 0;
/// The parts of the journal that each piece has: its request, and its repairs.
const PARTS_EACH: i64 = 16;
const _: () = assert!((MOST_REPAIRS as i64) < PARTS_EACH, "a piece has a part for each repair");

/// A prompt to be answered.
struct ChatJob<'a> {
    on: JobContext<'a>,
    batch: &'a ChatBatch,
    prompt: String,
    line: ChatLine,
}

/// A reply that was judged.
struct JudgedReply {
    completion: Completion,
    judged: Judged,
    facts: AnswerFacts,
    /// Whether more than one call for it may have been billed.
    paid_again: bool,
}

impl ChatJob<'_> {
    /// Asks for the line, or for each piece of it and then for one reply of all.
    async fn work(&self) -> Result<Next, StoreError> {
        let asked = &self.batch.asked;
        let mut prompts = asked.prompts(&self.line, &self.prompt);
        if prompts.len() > 1 && self.is_answered_whole().await? {
            prompts = vec![self.prompt.clone()];
        }
        let mut all: Vec<JudgedReply> = Vec::new();
        if let [only] = prompts.as_slice() {
            return match self.converse(WHOLE, only).await? {
                Ok(replies) => deliver::deliver(self, (replies, 1)).await,
                Err(next) => Ok(next),
            };
        }
        let (count, mut results) = (prompts.len(), Vec::with_capacity(prompts.len()));
        for (prompt, piece) in prompts.iter().zip(1_i64..) {
            let mut replies = match self.converse(piece, prompt).await? {
                Ok(replies) => replies,
                Err(next) => return Ok(next),
            };
            let doubt = replies.last_mut().and_then(|last| last.judged.doubt.as_mut());
            let is_doubted = doubt.map(|(_, words)| *words = format!("part {piece} of {count}: {words}")).is_some();
            results.extend(replies.last().map(|last| match &last.judged.result {
                Reply::Text(text) => text.clone(),
                Reply::Object(object) => object.to_string(),
            }));
            all.extend(replies);
            // What cannot be right makes nothing right of the whole.
            if is_doubted {
                return deliver::deliver(self, (all, count)).await;
            }
        }
        match self.converse(i64::try_from(count).unwrap_or(i64::MAX / PARTS_EACH) + 1, &merging(&results)).await? {
            Ok(replies) => {
                all.extend(replies);
                deliver::deliver(self, (all, count)).await
            }
            Err(next) => Ok(next),
        }
    }

    fn pool(&self) -> Pool {
        self.batch.asked.endpoint.pool()
    }

    /// Whether the whole was asked and answered before it was to be cut.
    async fn is_answered_whole(&self) -> Result<bool, StoreError> {
        let part = one_call::part_of(self.on, self.pool(), WHOLE).await?;
        Ok(part.journal.calls.iter().any(|call| call.state == CallState::Answered))
    }

    /// Asks, and asks again while the reply does not fit and repairs are left. Each try has a call of its own in the journal.
    async fn converse(&self, piece: i64, prompt: &str) -> Result<Result<Vec<JudgedReply>, Next>, StoreError> {
        let mut replies: Vec<JudgedReply> = Vec::new();
        for nth in 0..=i64::from(self.batch.asked.repairs) {
            let mut part = one_call::part_of(self.on, self.pool(), piece * PARTS_EACH + nth).await?;
            part.reload().await?;
            let reply = match self.reply(&mut part, prompt, &replies).await? {
                Ok(reply) => reply,
                // A repair that cannot be had leaves the reply that there is.
                Err(Next::Leave(To::Finished(finish))) if nth > 0 && finish.state == Some(JobState::Failed) => break,
                Err(next) => return Ok(Err(next)),
            };
            let is_over = reply.judged.faults.is_empty();
            replies.push(reply);
            if is_over {
                break;
            }
        }
        Ok(Ok(replies))
    }

    /// The reply to one request: a kept one, or one that is bought now.
    async fn reply(
        &self,
        part: &mut PartContext<'_>,
        prompt: &str,
        earlier: &[JudgedReply],
    ) -> Result<Result<JudgedReply, Next>, StoreError> {
        let repairs: Vec<Repair<'_>> = earlier
            .iter()
            .map(|reply| Repair { reply: &reply.completion.text, faults: &reply.judged.faults })
            .collect();
        let body = self.batch.asked.body(&self.line, prompt, &repairs);
        let mut caller = ChatCaller::new(self, body);
        let answer = match self.turn(part, &mut caller).await? {
            Ok(answer) => answer,
            Err(next) => return Ok(Err(next)),
        };
        let (completion, facts) = match answer {
            PartAnswer::Fresh(fresh) => {
                let processing_ms = Some(fresh.processing_ms);
                let facts = AnswerFacts {
                    request_id: fresh.answer.request_id,
                    content_expiry: None,
                    processing_ms,
                    from_log: false,
                };
                (fresh.answer.completion, facts)
            }
            PartAnswer::Kept(kept) => {
                let read = kept.body.whole().map_err(|e| e.to_string()).and_then(|body| self.batch.asked.read(&body));
                match read {
                    Ok(completion) => (completion, kept.facts),
                    Err(why) => {
                        let message = format!("the kept answer does not read: {why}");
                        return Ok(Err(Next::fail(ErrorKind::UnusableAnswer, message)));
                    }
                }
            }
        };
        // Calls that were lost on the way are in the journal by now.
        if !part.journal.calls.is_empty() {
            part.reload().await?;
        }
        let judged = self.judged(completion.clone()).await;
        Ok(Ok(JudgedReply { completion, judged, facts, paid_again: part.journal.billed() > 1 }))
    }

    /// Gets the answer. Of a run's requests that begin alike, the first goes alone: the others find its beginning in the vendor's
    /// cache.
    async fn turn(
        &self,
        part: &mut PartContext<'_>,
        caller: &mut ChatCaller<'_>,
    ) -> Result<Result<PartAnswer<ChatAnswer>, Next>, StoreError> {
        let shares = self.batch.asked.shares_its_beginning(&self.line);
        if !shares || self.batch.lead.is_over() {
            return one_call::answer(caller, part).await;
        }
        let turn = tokio::select! {
            biased;
            turn = self.batch.lead.turn() => turn,
            () = self.on.drain().cancelled() => return Ok(Err(part.put_back(self.on.now()))),
        };
        let answer = one_call::answer(caller, part).await?;
        if let (Some(turn), Ok(PartAnswer::Fresh(_))) = (turn, &answer) {
            turn.done();
        }
        Ok(answer)
    }

    /// Judges a reply, away from the tasks that wait for the network.
    async fn judged(&self, completion: Completion) -> Judged {
        let source = match &self.line.source {
            Some(QuotedFrom::Prompt(start, end)) => self.prompt.get(*start..*end).unwrap_or(&self.prompt).to_owned(),
            Some(QuotedFrom::Text(text)) => text.clone(),
            None => self.prompt.clone(),
        };
        let (rules, len) = (Arc::clone(&self.batch.rules), (completion.text.len() + source.len()) as u64);
        look_into(len, move || rules.judge(&completion, &source)).await
    }
}

/// What all replies used.
fn usage_of(replies: &[JudgedReply]) -> Usage {
    let mut all = Usage::default();
    replies.iter().for_each(|reply| all += reply.completion.usage);
    all
}
