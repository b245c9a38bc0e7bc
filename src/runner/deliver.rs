//! From a kept answer to outputs in the sink. Nothing here costs money, so it may be done as often as it takes.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use super::{
    AfterDelivery, Event, disk, outputs,
    recording::{Leftover, Recording},
    worker::{ActivePart, Next},
};
use crate::{
    domain::{
        batch::OnLostWords,
        body::Body,
        call::{Answer, ErrorKind},
        facts::Facts,
        job::{CallId, JobState},
        options::{ExpireContent, SttModel, TranscriptFormat},
        retry::PauseKind,
        row::Note,
        transcript::{SuspectReason, Transcript, TranscriptError, suspect},
    },
    large::look_into,
    render::{self, render},
    sink::{Content, Item, SinkClass, SinkError},
    store::{AnswerFacts, Finish, StoreError, To},
};

/// How soon a disk that is full is tried again, in ms.
pub(super) const DISK_RETRY_MS: i64 = 30_000;

/// What is known of a recording when its answer is judged.
#[derive(Debug, Clone, Copy, Default)]
struct RecordingFacts {
    audio_ms: Option<u64>,
    exact: bool,
    channels: Option<u16>,
}

/// An answer that has just come.
pub(super) async fn deliver_fresh(
    work: &ActivePart<'_>,
    call: CallId,
    answer: Answer,
    processing_ms: i64,
    recording: &Recording,
) -> Result<Next, StoreError> {
    let known = recording
        .probe
        .map(|p| RecordingFacts { audio_ms: p.audio_ms, exact: p.exact, channels: p.channels })
        .unwrap_or_default();
    let facts = AnswerFacts {
        request_id: answer.request_id,
        content_expiry: answer.content_expiry,
        processing_ms: Some(processing_ms),
        from_log: false,
    };
    deliver(work, call, (answer.body, answer.transcript), facts, known, false).await
}

/// An answer from the ledger: after a crash, a sink's outage, or for other formats.
pub(super) async fn deliver_kept(work: &ActivePart<'_>, call: CallId) -> Result<Next, StoreError> {
    let Some((body, facts)) = work.shared.store.answer(call).await? else {
        let notes = Some(Note::AnswerPruned.to_string());
        let finish = Finish { state: Some(JobState::Succeeded), notes, ..Finish::default() };
        return Ok(Next::Leave(To::Finished(Box::new(finish))));
    };
    let mut recording = Recording::new();
    // The length is worth a look at a file that is still there; nothing is fetched for it.
    let known = recording.peek(&work.job.source).await;
    let known = known
        .map(|p| RecordingFacts { audio_ms: p.audio_ms, exact: p.exact, channels: p.channels })
        .unwrap_or_default();
    // Looking took its time: another line's outputs may stand where its own would.
    if !work.shared.store.holds(work.job.job, work.job.token).await? {
        return Ok(Next::Lost);
    }
    deliver(work, call, (body, None), facts, known, true).await
}

/// Writes the outputs of an answer. Its transcript is given where it was read before. `again`: they may be there.
async fn deliver(
    work: &ActivePart<'_>,
    call: CallId,
    (body, transcript): (Body, Option<Transcript>),
    facts: AnswerFacts,
    known: RecordingFacts,
    again: bool,
) -> Result<Next, StoreError> {
    let spec = &work.batch.spec;
    let formats = work.asked.formats;
    // What is large is written to the spool: in memory its outputs would be larger still.
    let leftovers: Vec<_> = match body.is_large() {
        true => formats.iter().map(|format| Leftover::new(&work.shared.store, work.job, format.as_str())).collect(),
        false => Vec::new(),
    };
    let (is_large, len) = (body.is_large(), body.len());
    let order = Order {
        key: work.job.key.clone(),
        formats: formats.to_vec(),
        drafts: leftovers.iter().map(|leftover| leftover.path.clone()).collect(),
        known,
        allow_silence: work.asked.options.allow_silence,
        words_asked: words_asked(work, call),
        redo_lost_words: facts.from_log && spec.run.on_lost_words == OnLostWords::Redo,
    };
    let (heard, items) = match look_into(len, move || order.render(&body, transcript)).await {
        Ok(Rendered::All(heard, items)) => (heard, items),
        Ok(Rendered::WordsLost) => {
            work.shared.store.set_aside(work.job.job, call).await?;
            return Ok(Next::Look);
        }
        Err(Unrendered::Answer(e)) => return unreadable(work, call, &e).await,
        Err(Unrendered::Disk(path, e)) => {
            let message = disk::message(&path, &e);
            work.shared.report_disk(format!("{message}; its lines are tried again every 30 s"));
            let due_at = work.now() + DISK_RETRY_MS;
            return Ok(Next::Leave(To::Queued { due_at, call: None, source_try: false }));
        }
    };
    // What is large may have waited: another line's outputs may stand where its own would.
    if is_large && !work.shared.store.holds(work.job.job, work.job.token).await? {
        return Ok(Next::Lost);
    }
    let written = if again {
        outputs::write(work, items, outputs::always()).await?
    } else {
        outputs::write_first(work, items).await?
    };
    let written = match written {
        Ok(written) => written,
        Err(next) => return Ok(next),
    };
    if known.channels.is_some_and(|n| n > 1) && work.batch.first_stereo() {
        let message = "some recordings have several channels; the API works on one, and may mix the speakers";
        work.shared.emit(Event::Warning(message.into()));
    }
    let finish = Finish {
        made_by: Some(Arc::clone(&work.batch.read)),
        state: Some(if heard.doubt.is_some() { JobState::Suspect } else { JobState::Succeeded }),
        facts: Facts { audio_ms: heard.audio_ms.or(known.audio_ms), channels: known.channels, ..Facts::default() }
            .or(work.job.facts),
        units: heard.audio_ms.or(known.audio_ms),
        error_kind: heard.doubt.map(|r| r.to_string()),
        error: heard.doubt.map(|r| doubt(r).to_owned()),
        notes: notes(work, &heard, &facts, known),
        request_id: facts.request_id.or(heard.request_id),
        content_expiry: facts.content_expiry,
        processing_ms: facts.processing_ms,
        source_try: false,
        ..Finish::default()
    };
    Ok(Next::Leave(To::Finished(Box::new(written.note(finish)))))
}

/// Whether the call asked for word times. One that is not in the journal yet was made with the options of now.
fn words_asked(work: &ActivePart<'_>, call: CallId) -> bool {
    let made = work.journal.calls.iter().find(|made| made.id == call);
    made.map_or_else(
        || work.asked.options.sends_word_timestamps(work.asked.formats),
        |made| made.request.flags.word_timestamps,
    )
}

/// One damaged answer is no reason to stop the others. It is set aside, so that the user's `retry` buys it again.
async fn unreadable(work: &ActivePart<'_>, call: CallId, error: &TranscriptError) -> Result<Next, StoreError> {
    work.shared.store.set_aside(work.job.job, call).await?;
    let message = format!("the kept answer of call {call} does not read ({error}); `wavebatch retry` buys it again");
    Ok(Next::fail(ErrorKind::UnusableAnswer, message))
}

/// What is to be made of an answer.
struct Order {
    key: String,
    formats: Vec<TranscriptFormat>,
    /// Where the outputs of a large answer go, one for each format; none: they stay in memory.
    drafts: Vec<PathBuf>,
    known: RecordingFacts,
    allow_silence: bool,
    /// Whether its call asked for word times.
    words_asked: bool,
    redo_lost_words: bool,
}

/// What became of it.
enum Rendered {
    /// What is told of it, and the files of its job.
    All(JudgedAnswer, Vec<Item>),
    /// It lacks the words that a format needs, and is to be bought again.
    WordsLost,
}

/// Why nothing became of it.
enum Unrendered {
    Answer(TranscriptError),
    Disk(PathBuf, io::Error),
}

/// What is told of an answer.
struct JudgedAnswer {
    doubt: Option<SuspectReason>,
    audio_ms: Option<u64>,
    request_id: Option<String>,
    is_empty: bool,
    has_speakers: bool,
    /// Captions were asked for only after it was bought without word times.
    words_not_asked: bool,
}

impl Order {
    fn render(self, body: &Body, transcript: Option<Transcript>) -> Result<Rendered, Unrendered> {
        let transcript = match transcript {
            Some(transcript) => transcript,
            None => Transcript::of(body).map_err(Unrendered::Answer)?,
        };
        let words_needed = self.formats.iter().any(|f| f.needs_words());
        let known = self.known;
        let doubt =
            suspect(&transcript, known.audio_ms, known.exact, self.allow_silence, words_needed && self.words_asked);
        if doubt == Some(SuspectReason::WordsLost) && self.redo_lost_words {
            return Ok(Rendered::WordsLost);
        }
        let mut items = Vec::with_capacity(self.formats.len());
        for (nth, format) in self.formats.iter().enumerate() {
            let content = match self.drafts.get(nth) {
                None => {
                    let file = render(*format, &transcript, body);
                    Content::Bytes(file.map_err(|e| Unrendered::Answer(TranscriptError::Damaged(e)))?)
                }
                Some(path) => {
                    draft(path, *format, &transcript, body).map_err(|e| Unrendered::Disk(path.clone(), e))?;
                    Content::Draft(path.clone())
                }
            };
            let name = format!("{}.{format}", self.key);
            items.push(Item { name, content, content_type: format.content_type() });
        }
        let heard = JudgedAnswer {
            doubt,
            audio_ms: transcript.duration_ms,
            is_empty: transcript.is_empty(),
            has_speakers: transcript.has_speakers(),
            words_not_asked: words_needed && !self.words_asked && !transcript.is_empty() && !transcript.has_times(),
            request_id: transcript.request_id,
        };
        Ok(Rendered::All(heard, items))
    }
}

/// Writes one output of a large answer to the spool.
fn draft(path: &Path, format: TranscriptFormat, transcript: &Transcript, body: &Body) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = BufWriter::with_capacity(256 << 10, File::create(path)?);
    render::write(format, transcript, body, &mut file)?;
    file.flush()
}

fn notes(work: &ActivePart<'_>, heard: &JudgedAnswer, facts: &AnswerFacts, known: RecordingFacts) -> Option<String> {
    let o = &work.asked.options;
    let not_redacted = (o.redact_pii || o.redact_pci) && !o.language.can_redact();
    let no_speakers = o.diarize && !heard.is_empty && !heard.has_speakers;
    let not_expiring = o.expire_content != ExpireContent::No && facts.content_expiry.as_deref() != Some("applied");
    let notes: Vec<Note> = [
        facts.from_log.then_some(Note::Recovered),
        heard.doubt.map(Note::from),
        heard.words_not_asked.then_some(Note::WordsNotAsked),
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
pub(super) async fn sink_failure<A>(work: &ActivePart<'_, A>, error: SinkError) -> Result<Next, StoreError> {
    let message = error.message();
    // Whoever finds the batch paused has to do something about it.
    let paused = || error.hint().map_or_else(|| message.clone(), |hint| format!("{message}; {hint}"));
    let now = work.now();
    let failed = |then| work.shared.emit(Event::DeliveryFailed { batch: work.batch.id, then });
    let again = |at| Next::Leave(To::Queued { due_at: at, call: None, source_try: false });
    match error.class() {
        SinkClass::Line => {
            failed(AfterDelivery::Refused);
            Ok(Next::fail(ErrorKind::SinkRefused, message))
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
                    let message = format!("{message}; answers are kept, and deliveries are tried again");
                    work.shared.emit(Event::Warning(message));
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
