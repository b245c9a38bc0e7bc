//! From a kept answer to outputs in the sink. Nothing here costs money, so it may be done as often as it takes.

use std::sync::{Arc, atomic::Ordering};

use super::{
    AfterDelivery, Event,
    recording::Recording,
    worker::{Next, Work},
};
use crate::{
    domain::{
        batch::OnLostWords,
        call::{Answer, ErrorKind},
        facts::Facts,
        job::{CallId, JobState},
        options::{ExpireContent, SttModel, TranscriptFormat},
        retry::PauseKind,
        row::Note,
        transcript::{SuspectReason, Transcript, suspect},
    },
    render::render,
    sink::{Content, Item, SinkClass, SinkError},
    store::{AnswerFacts, Finish, StoreError, To},
};

/// What is known of a recording when its answer is judged.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    audio_ms: Option<u64>,
    exact: bool,
    channels: Option<u16>,
}

/// An answer that has just come.
pub(super) async fn deliver_fresh(
    work: &Work<'_>,
    call: CallId,
    answer: Answer,
    processing_ms: i64,
    recording: &Recording,
) -> Result<Next, StoreError> {
    let known = recording
        .probe
        .map(|p| Known { audio_ms: p.audio_ms, exact: p.exact, channels: p.channels })
        .unwrap_or_default();
    let facts = AnswerFacts {
        request_id: answer.request_id,
        content_expiry: answer.content_expiry,
        processing_ms: Some(processing_ms),
        from_log: false,
    };
    deliver(work, call, &answer.body, facts, known).await
}

/// An answer from the ledger: after a crash, a sink's outage, or for other formats.
pub(super) async fn deliver_kept(work: &Work<'_>, call: CallId) -> Result<Next, StoreError> {
    let kept = match work.shared.store.answer(call).await {
        Err(StoreError::Unexpected(why)) => return unreadable(work, call, &why).await,
        kept => kept?,
    };
    let Some((body, facts)) = kept else {
        let notes = Some(Note::AnswerPruned.to_string());
        let finish = Finish { state: Some(JobState::Succeeded), notes, ..Finish::default() };
        return Ok(Next::Leave(To::Finished(Box::new(finish))));
    };
    let mut recording = Recording::new();
    // The length is worth a look at a file that is still there; nothing is fetched for it.
    let known = recording.peek(&work.job.source).await;
    let known = known.map(|p| Known { audio_ms: p.audio_ms, exact: p.exact, channels: p.channels }).unwrap_or_default();
    // Looking took its time: another line's outputs may stand where its own would.
    if !work.shared.store.holds(work.job.job, work.job.token).await? {
        return Ok(Next::Lost);
    }
    deliver(work, call, &body, facts, known).await
}

async fn deliver(
    work: &Work<'_>,
    call: CallId,
    body: &bytes::Bytes,
    facts: AnswerFacts,
    known: Known,
) -> Result<Next, StoreError> {
    let transcript = match Transcript::parse(body) {
        Ok(transcript) => transcript,
        Err(e) => return unreadable(work, call, &e.to_string()).await,
    };
    let spec = &work.batch.spec;
    let words_needed = work.asked.formats.iter().any(|f| f.needs_words());
    let reason = suspect(&transcript, known.audio_ms, known.exact, work.asked.options.allow_silence, words_needed);
    if reason == Some(SuspectReason::WordsLost) && facts.from_log && spec.run.on_lost_words == OnLostWords::Redo {
        work.shared.store.set_aside(work.job.job, call).await?;
        return Ok(Next::Look);
    }
    let items = items(&work.job.key, work.asked.formats, &transcript, body).await;
    let receipts = match work.batch.sink.put_all(items).await {
        Ok(receipts) => receipts,
        Err(e) => return sink_trouble(work, e).await,
    };
    work.batch.sink_failing_since.store(0, Ordering::Relaxed);
    if known.channels.is_some_and(|n| n > 1) && work.batch.first_stereo() {
        let told = "some recordings have several channels; the API works on one, and may mix the speakers";
        work.shared.say(Event::Warning(told.into()));
    }
    let addresses: Vec<&str> = receipts.iter().map(|r| r.address.as_str()).collect();
    let finish = Finish {
        made_by: Some(Arc::clone(&work.batch.read)),
        state: Some(if reason.is_some() { JobState::Suspect } else { JobState::Succeeded }),
        facts: Facts {
            audio_ms: transcript.duration_ms.or(known.audio_ms),
            channels: known.channels,
            ..Facts::default()
        }
        .or(work.job.facts),
        units: transcript.duration_ms.or(known.audio_ms),
        error_kind: reason.map(|r| r.to_string()),
        error: reason.map(|r| doubt(r).to_owned()),
        notes: notes(work, &transcript, &facts, known, reason),
        request_id: facts.request_id.or(transcript.request_id),
        content_expiry: facts.content_expiry,
        outputs: Some(serde_json::json!(addresses).to_string()),
        processing_ms: facts.processing_ms,
        source_try: false,
        ..Finish::default()
    };
    Ok(Next::Leave(To::Finished(Box::new(finish))))
}

/// One damaged answer is no reason to stop the others. It is set aside, so that the user's `retry` buys it again.
async fn unreadable(work: &Work<'_>, call: CallId, why: &str) -> Result<Next, StoreError> {
    work.shared.store.set_aside(work.job.job, call).await?;
    let told = format!("the kept answer of call {call} does not read ({why}); `wavebatch retry` buys it again");
    Ok(Next::fail(ErrorKind::UnusableAnswer, told))
}

/// The files of one job. A long transcript in four formats is work for a thread that may block.
async fn items(key: &str, formats: &[TranscriptFormat], transcript: &Transcript, body: &bytes::Bytes) -> Vec<Item> {
    const LARGE: usize = 64 * 1024;
    let make = {
        let (key, formats, transcript, body) = (key.to_owned(), formats.to_vec(), transcript.clone(), body.clone());
        move || {
            let item = |format: &TranscriptFormat| Item {
                name: format!("{key}.{format}"),
                content: Content::Bytes(render(*format, &transcript, &body)),
                content_type: format.content_type(),
            };
            formats.iter().map(item).collect::<Vec<_>>()
        }
    };
    if body.len() < LARGE {
        return make();
    }
    tokio::task::spawn_blocking(make).await.expect("rendering does not panic")
}

fn notes(
    work: &Work<'_>,
    transcript: &Transcript,
    facts: &AnswerFacts,
    known: Known,
    reason: Option<SuspectReason>,
) -> Option<String> {
    let o = &work.asked.options;
    let not_redacted = (o.redact_pii || o.redact_pci) && !o.language.can_redact();
    let no_speakers = o.diarize && !transcript.is_empty() && !transcript.has_speakers();
    let not_expiring = o.expire_content != ExpireContent::No && facts.content_expiry.as_deref() != Some("applied");
    let notes: Vec<Note> = [
        facts.from_log.then_some(Note::Recovered),
        reason.map(Note::from),
        known.channels.is_some_and(|n| n > 1).then_some(Note::Stereo),
        not_redacted.then_some(Note::NotRedacted),
        (no_speakers || (o.diarize && o.model == SttModel::PulsePro)).then_some(Note::NoSpeakers),
        not_expiring.then_some(Note::NotExpiring),
        (work.journal.billed() > 1).then_some(Note::PaidAgain),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!notes.is_empty()).then(|| notes.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(";"))
}

/// Why a result is suspect, in words.
pub(super) const fn doubt(reason: SuspectReason) -> &'static str {
    match reason {
        SuspectReason::Empty => {
            "the transcript is empty though there is over 2 s of audio; allow_silence = true accepts that"
        }
        SuspectReason::DurationMismatch => "the API heard another length than the file has: part of it may be missing",
        SuspectReason::TooShort => "the speech is shorter than its text can be",
        SuspectReason::WordsLost => "there are no word times, which srt and vtt need; `wavebatch retry` buys them",
    }
}

/// The answer stays; only the delivery is tried again, or the batch waits for the user.
pub(super) async fn sink_trouble<A>(work: &Work<'_, A>, error: SinkError) -> Result<Next, StoreError> {
    let told = error.told();
    // Whoever finds the batch paused has to do something about it.
    let paused = || error.hint().map_or_else(|| told.clone(), |hint| format!("{told}; {hint}"));
    let now = work.now();
    let failed = |then| work.shared.say(Event::DeliveryFailed { batch: work.batch.id, then });
    let again = |at| Next::Leave(To::Queued { due_at: at, call: None, source_try: false });
    match error.class() {
        SinkClass::Line => {
            failed(AfterDelivery::Refused);
            Ok(Next::fail(ErrorKind::SinkRefused, told))
        }
        SinkClass::Pause => {
            failed(AfterDelivery::Paused);
            work.shared.pause(work.batch.id, PauseKind::Sink, &paused()).await?;
            Ok(again(now))
        }
        SinkClass::Retry => {
            let failing = &work.batch.sink_failing_since;
            let since = match failing.compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    let told = format!("{told}; answers are kept, and deliveries are tried again");
                    work.shared.say(Event::Warning(told));
                    now
                }
                Err(since) => since,
            };
            let limit = i64::try_from(work.batch.spec.run.outage_limit.as_millis()).unwrap_or(i64::MAX);
            if now - since >= limit {
                failed(AfterDelivery::Paused);
                work.shared.pause(work.batch.id, PauseKind::Sink, &paused()).await?;
                return Ok(again(now));
            }
            failed(AfterDelivery::Retried);
            Ok(again(now + ((now - since) / 4).clamp(1_000, 30_000)))
        }
    }
}
