//! One part's life: found, waited for, bought, or given up.

use std::io;

use super::{
    super::{
        call::{self, Attempt},
        worker::{ActivePart, Next, jitter_of},
    },
    buy::ClipCaller,
    report_spool,
    survey::SynthesisJob,
};
use crate::{
    domain::{
        batch::OnUnknown,
        call::ErrorKind,
        job::{CallId, CallRecord, Step, Why},
        retry::{self, PauseKind},
    },
    store::{Clip, End, Ended, Finish, StoreError, To},
};

/// How a part came to the audio cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ready {
    /// By a call of its own job.
    pub(super) bought: bool,
    /// How many of that job's calls for it may have been billed.
    pub(super) billed: u32,
    /// What that call came with, if it was made just now.
    pub(super) answer: Option<ClipReceipt>,
}

/// What is worth keeping of an answer beside its audio.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ClipReceipt {
    /// Length of the file.
    pub(super) bytes: u64,
    pub(super) request_id: Option<String>,
    pub(super) content_expiry: Option<String>,
    /// From intent to answer, in ms.
    pub(super) processing_ms: i64,
}

/// How far a part came.
pub(super) enum PartStage {
    /// Its clip is in the audio cache.
    Ready(Ready),
    /// To be looked at again then; at once: the job cannot go on now.
    Later(i64),
    /// Another job buys the same clip.
    Waits { call: CallId, until: i64 },
    /// It cannot be had, and so neither can the job.
    Failed(Box<Finish>),
    /// Somebody else has the job.
    Lost,
}

type PartWork<'a> = ActivePart<'a, &'a SynthesisJob<'a>>;

/// Gets a part into the audio cache. If `since` is given, only what was bought then or later will do.
pub(super) async fn get(work: &mut PartWork<'_>, at: usize, since: Option<i64>) -> Result<PartStage, StoreError> {
    let (synthesis_job, shared) = (work.asked, work.shared);
    let _turn = tokio::select! {
        biased;
        turn = work.batch.turns.take(work.job.job.0, work.part) => turn,
        () = shared.drain.cancelled() => return Ok(PartStage::Later(work.now())),
    };
    let cache_key = synthesis_job.cache_keys[at].expect("only parts that say something are asked for");
    let respects_manual_review = respects_manual_review(work);
    let speaker = |looked_at| {
        let text = &synthesis_job.parts[at];
        let characters = u32::try_from(text.chars()).unwrap_or(u32::MAX);
        let cost = shared.config.rates.synthesis_cost(synthesis_job.options.model, characters.into());
        let clip = Clip { cache_key, looked_at, characters, cost, respects_manual_review };
        ClipCaller { shared, batch: work.batch, synthesis_job, text: &text.text, clip, replaces: since.is_some() }
    };
    loop {
        // Before the look: what is bought after it, the ledger tells.
        let looked_at = work.now();
        let there = match is_there(work, at, since).await? {
            Ok(there) => there,
            // What was bought may be there all the same.
            Err(error) => return Ok(PartStage::Later(report_spool(shared, &error))),
        };
        if !there && let Some(message) = other_words(work).await? {
            shared.pause(work.batch.id, PauseKind::Dictionary, &message).await?;
            return Ok(PartStage::Later(work.now()));
        }
        let attempt = match work.journal.step(looked_at, shared.store.timing().lease_ms) {
            Step::Deliver(_) if there => return Ok(PartStage::Ready(own(work, None))),
            Step::Deliver(call) => return gone(work, at, call).await,
            step if there => return found(work, at, step).await,
            Step::PutBack { call, until } | Step::Await { call, until } => return Ok(PartStage::Waits { call, until }),
            Step::Reconcile(call) => match decide(work, &call).await? {
                Decided::Stage(stage) => return Ok(stage),
                Decided::CallAgain => call::attempt(work, &speaker(looked_at), Why::Unknown, Some(call.id)).await?,
            },
            Step::Call(why) => {
                if let Some(Next::Leave(To::Finished(finish))) = work.spent(None) {
                    return Ok(failed(work, at, *finish));
                }
                let why = if why == Why::First && work.job.generation > 0 { Why::Retry } else { why };
                call::attempt(work, &speaker(looked_at), why, None).await?
            }
        };
        let attempt = match attempt {
            Attempt::ClipOpen { call, until: None } => match adopt(work, at, since, call).await? {
                Decided::Stage(stage) => return Ok(stage),
                Decided::CallAgain => call::attempt(work, &speaker(looked_at), Why::Unknown, Some(call)).await?,
            },
            other => other,
        };
        match attempt {
            Attempt::Answered { answer, processing_ms, .. } => {
                let answer = Some(ClipReceipt { processing_ms, ..answer });
                return Ok(PartStage::Ready(own(work, answer)));
            }
            Attempt::ClipOpen { call, until: Some(until) } => return Ok(PartStage::Waits { call, until }),
            Attempt::ClipOpen { until: None, .. } | Attempt::Next(Next::Look) => work.reload().await?,
            Attempt::ClipKept => {}
            Attempt::ClipInManualReview => return Ok(manual_review(work, at)),
            Attempt::Next(Next::Lost) => return Ok(PartStage::Lost),
            Attempt::Next(Next::Leave(To::Finished(finish))) => return Ok(failed(work, at, *finish)),
            Attempt::Next(Next::Leave(
                To::Queued { due_at: due, .. } | To::Waiting { until: due, .. } | To::Awaiting { until: due, .. },
            )) => {
                return Ok(PartStage::Later(due));
            }
        }
    }
}

/// Why nothing may be bought: a dictionary is changed in its place, and another batch may have brought other words, or the
/// key be another account's. What came then would be kept as what was asked for.
async fn other_words(work: &PartWork<'_>) -> Result<Option<String>, StoreError> {
    let Some(asked) = &work.asked.synthesis.dictionary else { return Ok(None) };
    let known = work.shared.store.dictionary(&work.shared.config.account, &asked.file).await?;
    if known.is_some_and(|(id, hash)| hash == asked.hash && asked.id.as_ref() == Some(&id)) {
        return Ok(None);
    }
    let file = &asked.file;
    Ok(Some(format!(
        "the account's dictionary of {file} is not the one that the batch was submitted with; submit the batch again"
    )))
}

/// A part that its own job has bought: just now, with this answer, or before.
fn own(work: &PartWork<'_>, answer: Option<ClipReceipt>) -> Ready {
    let now = u32::from(answer.is_some());
    Ready { bought: true, billed: work.journal.billed() + now, answer }
}

/// Whether the part's clip is in the audio cache, and new enough; or why that cannot be seen now.
async fn is_there(work: &PartWork<'_>, at: usize, since: Option<i64>) -> Result<io::Result<bool>, StoreError> {
    let Some(cache_key) = work.asked.cache_keys[at] else { return Ok(Ok(false)) };
    let (audio_cache, format) = (work.shared.store.audio_cache(), work.asked.bought.format);
    let look = tokio::task::spawn_blocking(move || audio_cache.find(cache_key, format));
    match look.await.expect("looking at the audio cache does not panic") {
        Ok(None) => return Ok(Ok(false)),
        Ok(Some(_)) => {}
        Err(error) => return Ok(Err(error)),
    }
    Ok(Ok(match since {
        Some(since) => work.shared.store.bought_since(cache_key, since).await?,
        None => true,
    }))
}

/// A clip that is there without a row that says so: of an open call it is the answer, else somebody else's.
async fn found(work: &PartWork<'_>, at: usize, step: Step) -> Result<PartStage, StoreError> {
    let cache_key = work.asked.cache_keys[at].expect("only parts that say something are asked for");
    let (audio_cache, format) = (work.shared.store.audio_cache(), work.asked.bought.format);
    if let Some(open) = work.journal.calls.iter().find(|call| call.is_open() && !matches!(step, Step::PutBack { .. })) {
        let bytes = match audio_cache.find(cache_key, format) {
            Ok(bytes) => bytes.unwrap_or(0),
            Err(error) => return Ok(PartStage::Later(report_spool(work.shared, &error))),
        };
        let worked = end_found(work, open.id, bytes).await?;
        return Ok(if worked { PartStage::Ready(own(work, None)) } else { PartStage::Lost });
    }
    if !work.shared.store.reuse(work.job.job, work.job.token, vec![work.part]).await? {
        return Ok(PartStage::Lost);
    }
    // Looked at again: what was noted first cannot be pruned in between.
    match audio_cache.find(cache_key, format) {
        Ok(Some(_)) => {}
        Ok(None) => return Ok(PartStage::Later(work.now() + 1)),
        Err(error) => return Ok(PartStage::Later(report_spool(work.shared, &error))),
    }
    audio_cache.touch(cache_key, format);
    Ok(PartStage::Ready(Ready::default()))
}

/// Whether the job is still worked.
async fn end_found(work: &PartWork<'_>, call: CallId, bytes: u64) -> Result<bool, StoreError> {
    let end = End::Synthesized { bytes, found: true, request_id: None, content_expiry: None };
    let ended = Ended { call, departed_at: None, limits: work.limits(), end, pauses: None };
    let reply = work.shared.store.end(ended).await?;
    tracing::info!(job.key = work.job.key, call.id = %call, "its audio was in the spool");
    Ok(reply.worked)
}

/// What is to be done about a call of unknown outcome whose clip is not there.
enum Decided {
    Stage(PartStage),
    CallAgain,
}

async fn decide(work: &PartWork<'_>, call: &CallRecord) -> Result<Decided, StoreError> {
    let unknown_at = match call.unknown_at {
        Some(at) => at,
        None => work.shared.store.note_unknown(call.id).await?,
    };
    let at = usize::try_from(work.part).unwrap_or(usize::MAX);
    if work.batch.spec.run.on_unknown == OnUnknown::Park {
        work.give_up(call.id).await?;
        return Ok(Decided::Stage(manual_review(work, at)));
    }
    if let Some(Next::Leave(To::Finished(finish))) = work.spent(call.error_kind) {
        work.give_up(call.id).await?;
        return Ok(Decided::Stage(failed(work, at, *finish)));
    }
    // Who died while it was under way has waited already.
    let wait = match call.error_kind.filter(|_| call.counts) {
        Some(kind) => retry::wait_ms(kind, work.journal.tries(), jitter_of(call.id)),
        None => 0,
    };
    let due = work.not_before.max(unknown_at + i64::try_from(wait).unwrap_or(300_000));
    Ok(if work.now() < due { Decided::Stage(PartStage::Later(due)) } else { Decided::CallAgain })
}

/// Somebody else's call for the same clip, that nobody waits for any more.
async fn adopt(work: &PartWork<'_>, at: usize, since: Option<i64>, call: CallId) -> Result<Decided, StoreError> {
    let cache_key = work.asked.cache_keys[at].expect("only parts that say something are asked for");
    let (audio_cache, format) = (work.shared.store.audio_cache(), work.asked.bought.format);
    if since.is_none() {
        match audio_cache.find(cache_key, format) {
            Ok(Some(bytes)) => {
                end_found(work, call, bytes).await?;
                return Ok(Decided::Stage(PartStage::Later(work.now() + 1)));
            }
            Ok(None) => {}
            Err(error) => return Ok(Decided::Stage(PartStage::Later(report_spool(work.shared, &error)))),
        }
    }
    Ok(match work.batch.spec.run.on_unknown {
        OnUnknown::Retry => Decided::CallAgain,
        // The user was told, and said `retry`.
        OnUnknown::Park if work.job.generation > 0 => Decided::CallAgain,
        OnUnknown::Park => Decided::Stage(manual_review(work, at)),
    })
}

/// Whether a clip that was parked for another job is bought for none, until the user's `retry`.
fn respects_manual_review(work: &PartWork<'_>) -> bool {
    work.batch.spec.run.on_unknown == OnUnknown::Park && work.job.generation == 0
}

fn manual_review(work: &PartWork<'_>, at: usize) -> PartStage {
    let message = "the call may have been billed and nothing proves its outcome; on_unknown = \"park\" leaves it to you: `wavebatch retry` buys it again";
    failed(work, at, Finish::failed(ErrorKind::UnknownOutcome, message.into()))
}

/// It was bought, and its file is gone: somebody has removed it. That is not bought again unasked.
async fn gone(work: &PartWork<'_>, at: usize, call: CallId) -> Result<PartStage, StoreError> {
    if let Some(finish) = super::lost::pruned(work).await? {
        return Ok(PartStage::Failed(Box::new(finish)));
    }
    work.shared.store.set_aside(work.job.job, call).await?;
    let message = "its audio was bought, and is gone from the spool; `wavebatch retry` buys it again";
    Ok(failed(work, at, Finish::failed(ErrorKind::AnswerLost, message.into())))
}

/// The end of the job by one of its parts, which it names.
fn failed(work: &PartWork<'_>, at: usize, finish: Finish) -> PartStage {
    let synthesis_job = work.asked;
    let error = finish.error.map(|message| match synthesis_job.name_of(at) {
        Some(part) => format!("{part}: {message}"),
        None => message,
    });
    PartStage::Failed(Box::new(Finish {
        error,
        units: Some(synthesis_job.characters),
        facts: synthesis_job.facts().or(work.job.facts),
        ..finish
    }))
}
