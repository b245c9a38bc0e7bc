//! Makes outputs in the sink from a kept answer. Nothing here costs money, so it may be repeated.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use super::{TranscriptionJob, plan::Plan, recording::Recording, speech};
use crate::{
    audio::analyze::{self, Hearing},
    domain::{
        batch::OnLostWords,
        body::Body,
        call::{Answer, ErrorKind},
        cut::SentenceRules,
        facts::Facts,
        hearing::HeardSpeech,
        job::{CallId, JobState, RequestFingerprint},
        length::Length,
        options::{ExpireContent, SttModel, TranscribeOptions, TranscriptFormat},
        row::Note,
        transcript::{AlarmLimits, SuspectReason, Transcript, TranscriptError, alarm_of_mix, suspect},
    },
    large::look_into,
    media::probe::Probe,
    render::{self, CaptionFacts, render},
    runner::{
        Event, Leftover, Next, PartContext, disk,
        one_call::{FreshAnswer, KeptAnswer},
        outputs,
    },
    sink::{Content, Item},
    store::{AnswerFacts, Finish, StoreError},
};

/// What is known of a recording when its answer is judged.
#[derive(Debug, Clone, Copy, Default)]
struct RecordingFacts {
    length: Length,
    /// Whether the recording was looked at, and does not prove its length.
    unproven: bool,
    header_differs: bool,
    channels: Option<u16>,
}

impl RecordingFacts {
    fn of(probe: Option<Probe>) -> Self {
        let Some(Probe { length, header_differs, channels, .. }) = probe else { return Self::default() };
        Self { length, unproven: !length.is_exact(), header_differs, channels }
    }

    /// With the length that was known when its call was made: the file may be another one by now.
    fn as_sent(self, request: &RequestFingerprint) -> Self {
        let length = match (request.audio_ms, request.estimated_ms) {
            (Some(ms), _) => Length::Exact(ms),
            (None, Some(ms)) => Length::Estimated(ms),
            (None, None) => return self,
        };
        Self { length, unproven: !length.is_exact(), ..self }
    }
}

/// An answer whose outputs are to be written.
struct AnswerInHand {
    call: CallId,
    body: Body,
    /// The parsed answer, if it was parsed before.
    transcript: Option<Transcript>,
    facts: AnswerFacts,
    known: RecordingFacts,
    /// Outputs may exist already.
    again: bool,
}

/// An answer that has just come.
pub(super) async fn deliver_fresh(
    job: &TranscriptionJob<'_>,
    part: &PartContext<'_>,
    fresh: FreshAnswer<Answer>,
) -> Result<Next, StoreError> {
    let FreshAnswer { call, answer, processing_ms } = fresh;
    let facts = AnswerFacts {
        request_id: answer.request_id,
        content_expiry: answer.content_expiry,
        processing_ms: Some(processing_ms),
        from_log: false,
    };
    let known = RecordingFacts::of(job.recording.probe());
    // What was made of the recording has the length of what was decoded, whatever the recording proves.
    let known = if job.recording.is_converted() {
        RecordingFacts { length: job.recording.length(), unproven: false, ..known }
    } else {
        known
    };
    let answer = AnswerInHand { call, body: answer.body, transcript: answer.transcript, facts, known, again: false };
    deliver(job, part, answer).await
}

/// An answer from the ledger: after a crash, a sink's outage, or for other formats.
pub(super) async fn deliver_kept(
    job: &TranscriptionJob<'_>,
    part: &PartContext<'_>,
    kept: KeptAnswer,
) -> Result<Next, StoreError> {
    // A file that still exists is probed; nothing is fetched for it.
    let known = RecordingFacts::of(Recording::new().peek(&part.on.job().source).await);
    let made = part.journal.calls.iter().find(|made| made.id == kept.call);
    let known = made.map_or(known, |made| known.as_sent(&made.request));
    // Probing is slow.
    if !part.on.is_held().await? {
        return Ok(Next::Lost);
    }
    let KeptAnswer { call, body, facts } = kept;
    deliver(job, part, AnswerInHand { call, body, transcript: None, facts, known, again: true }).await
}

/// Writes the outputs of an answer.
async fn deliver(job: &TranscriptionJob<'_>, part: &PartContext<'_>, answer: AnswerInHand) -> Result<Next, StoreError> {
    let on = part.on;
    let AnswerInHand { call, body, transcript, facts, known, again } = answer;
    let formats = &job.asked.formats;
    // Large outputs are written to the spool: in memory they would be larger than the answer.
    let leftovers: Vec<_> = match body.is_large() {
        true => formats.iter().map(|format| Leftover::new(on, format.as_str())).collect(),
        false => Vec::new(),
    };
    let (is_large, len) = (body.is_large(), body.len());
    let rendering = Rendering {
        key: on.job().key.clone(),
        formats: formats.clone(),
        drafts: leftovers.iter().map(|leftover| leftover.path.clone()).collect(),
        known,
        allow_silence: job.options.allow_silence,
        speech: job.heard.as_ref().map(|heard| speech::speech(heard).own),
        limits: job.asked.listening.alarms,
        language: job.options.language.as_str().to_owned(),
        words_asked: words_asked(job, part, call),
        redo_lost_words: facts.from_log && on.run().on_lost_words == OnLostWords::Redo,
    };
    let (heard, items) = match look_into(len, move || rendering.render(&body, transcript)).await {
        Ok(Rendered::All(heard, items)) => (heard, items),
        Ok(Rendered::WordsLost) => {
            on.store().set_aside(on.job().job, call).await?;
            return Ok(Next::Look);
        }
        Err(Unrendered::Answer(e)) => return unreadable(part, call, &e).await,
        Err(Unrendered::Disk(path, e)) => {
            return Ok(Next::again_at(on.wait_for_machine(&disk::message(&path, &e))));
        }
    };
    // A large answer may have waited.
    if is_large && !on.is_held().await? {
        return Ok(Next::Lost);
    }
    let written = if again {
        outputs::write(on, items, outputs::always()).await?
    } else {
        outputs::write_first(on, items).await?
    };
    let written = match written {
        Ok(written) => written,
        Err(next) => return Ok(next),
    };
    if known.channels.is_some_and(|n| n > 1)
        && job.sent.is_none()
        && !job.batch.stereo_warned.swap(true, Ordering::Relaxed)
    {
        let message = "some recordings have several channels; the API works on one, and may mix the speakers";
        on.emit(Event::Warning(message.into()));
    }
    Ok(Next::finish(written.note(finish(job, part, (heard, facts), known))))
}

fn finish(
    job: &TranscriptionJob<'_>,
    part: &PartContext<'_>,
    (heard, facts): (JudgedAnswer, AnswerFacts),
    known: RecordingFacts,
) -> Finish {
    Finish {
        made_by: Some(part.on.spec_json()),
        state: Some(if heard.doubt.is_some() { JobState::Suspect } else { JobState::Succeeded }),
        facts: Facts { audio_ms: heard.audio_ms.or(known.length.ms()), channels: known.channels, ..Facts::default() }
            .or(part.on.job().facts.clone()),
        units: heard.audio_ms.or(known.length.ms()),
        error_kind: heard.doubt.as_ref().map(|(reason, _)| reason.to_string()),
        error: heard.doubt.as_ref().map(|(_, words)| words.clone()),
        notes: notes(job, part, (&heard, &facts), known),
        request_id: facts.request_id.or(heard.request_id),
        content_expiry: facts.content_expiry,
        processing_ms: facts.processing_ms,
        source_try: false,
        ..Finish::default()
    }
}

/// Whether the call requested word times. A call that is not in the journal yet was made with the current options.
pub(super) fn words_asked(job: &TranscriptionJob<'_>, part: &PartContext<'_>, call: CallId) -> bool {
    let made = part.journal.calls.iter().find(|made| made.id == call);
    made.map_or_else(|| job.word_timestamps(), |made| made.request.flags.word_timestamps)
}

/// Why an answer cannot be right, and in words: by itself, or because it does not fit the speech that was heard. Where nobody
/// speaks, a transcript without words is right.
pub(super) fn doubt(
    (transcript, length): (&Transcript, Length),
    (speech, limits): (Option<&HeardSpeech>, AlarmLimits),
    (allow_silence, words_needed): (bool, bool),
) -> Option<(SuspectReason, String)> {
    let by_itself = suspect(transcript, length, allow_silence || speech.is_some(), words_needed);
    let by_itself = by_itself.map(|reason| (reason, reason.in_words().to_owned()));
    by_itself.or_else(|| {
        let alarm = alarm_of_mix(transcript, speech?, limits)?;
        Some((alarm.reason, alarm.in_words()))
    })
}

/// Writes the outputs of a recording in which nobody speaks: empty ones, for which nothing is bought.
pub(super) async fn deliver_silence(job: &TranscriptionJob<'_>, plan: &Plan) -> Result<Next, StoreError> {
    let on = job.on;
    let length_ms = plan.parts.first().map(|(_, sent)| sent.length_ms);
    let silent = Transcript { duration_ms: length_ms, ..Transcript::default() };
    let answer = silent_answer(length_ms);
    let rules = SentenceRules::of(Some(job.options.language.as_str()));
    let item = |format: &TranscriptFormat| {
        let (file, _) = render(*format, &silent, &answer, rules).expect("what is made here is not damaged");
        let name = format!("{}.{format}", on.job().key);
        Item { name, content: Content::Bytes(file), content_type: format.content_type() }
    };
    let items = job.asked.formats.iter().map(item).collect();
    let written = match outputs::write(on, items, outputs::always()).await? {
        Ok(written) => written,
        Err(next) => return Ok(next),
    };
    Ok(Next::finish(written.note(Finish {
        made_by: Some(on.spec_json()),
        state: Some(JobState::Succeeded),
        facts: Facts { audio_ms: length_ms, ..Facts::default() }.or(on.job().facts.clone()),
        units: Some(0),
        notes: plan.note().map(|note| note.to_string()),
        ..Finish::default()
    })))
}

/// The JSON file of a recording in which nobody speaks, in the shape of the API's answers.
fn silent_answer(length_ms: Option<u64>) -> Body {
    #[expect(clippy::cast_precision_loss, reason = "a length to the millisecond")]
    let duration = length_ms.map(|ms| ms as f64 / 1_000.0);
    let answer = serde_json::json!({
        "status": "success", "transcription": "", "words": [], "utterances": [],
        "metadata": { "duration": duration }, "no_speech": true,
    });
    Body::from(answer.to_string())
}

/// The note of a file without a header that sounds as if it had another encoding than it is said to have.
pub(super) fn raw_differs(heard: &Hearing) -> Option<Note> {
    let differs = heard.notes.iter().any(|note| matches!(note, analyze::Note::LooksLike { .. }));
    differs.then_some(Note::RawDiffers)
}

/// Handles a damaged answer without stopping the others. It is set aside, so that the user's `retry` buys it again.
pub(super) async fn unreadable(
    part: &PartContext<'_>,
    call: CallId,
    error: &TranscriptError,
) -> Result<Next, StoreError> {
    part.on.store().set_aside(part.on.job().job, call).await?;
    let message =
        format!("the kept answer of call {call} does not read ({error}); `wavebatch retry` pays for it again");
    Ok(Next::fail(ErrorKind::UnusableAnswer, message))
}

/// How an answer is rendered.
struct Rendering {
    key: String,
    formats: Vec<TranscriptFormat>,
    /// Where the outputs of a large answer go, one for each format; if empty, they stay in memory.
    drafts: Vec<PathBuf>,
    known: RecordingFacts,
    allow_silence: bool,
    /// When somebody speaks in the recording, if it was heard.
    speech: Option<HeardSpeech>,
    limits: AlarmLimits,
    /// The language that was asked for, which may be a group of them.
    language: String,
    /// Whether its call requested word times.
    words_asked: bool,
    redo_lost_words: bool,
}

/// The result of rendering.
enum Rendered {
    /// The judgement of the answer, and the files of its job.
    All(JudgedAnswer, Vec<Item>),
    /// It lacks the words that a format needs, and must be bought again.
    WordsLost,
}

/// Why nothing was rendered.
enum Unrendered {
    Answer(TranscriptError),
    Disk(PathBuf, io::Error),
}

/// The judgement of an answer.
struct JudgedAnswer {
    /// Why it cannot be right, and in words.
    doubt: Option<(SuspectReason, String)>,
    audio_ms: Option<u64>,
    request_id: Option<String>,
    is_empty: bool,
    has_speakers: bool,
    /// Captions were requested only after it was bought without word times.
    words_not_asked: bool,
    captions: CaptionFacts,
}

impl Rendering {
    fn render(self, body: &Body, transcript: Option<Transcript>) -> Result<Rendered, Unrendered> {
        let transcript = match transcript {
            Some(transcript) => transcript,
            None => Transcript::of(body).map_err(Unrendered::Answer)?,
        };
        let words_needed = self.formats.iter().any(|f| f.needs_words());
        let doubt = doubt(
            (&transcript, self.known.length),
            (self.speech.as_ref(), self.limits),
            (self.allow_silence, words_needed && self.words_asked),
        );
        if self.redo_lost_words && doubt.as_ref().is_some_and(|(reason, _)| *reason == SuspectReason::WordsLost) {
            return Ok(Rendered::WordsLost);
        }
        let rules = SentenceRules::of(transcript.language.as_deref().or(Some(&self.language)));
        let mut captions = CaptionFacts::default();
        let mut items = Vec::with_capacity(self.formats.len());
        for (nth, format) in self.formats.iter().enumerate() {
            let content = match self.drafts.get(nth) {
                None => {
                    let file = render(*format, &transcript, body, rules);
                    let (file, facts) = file.map_err(|e| Unrendered::Answer(TranscriptError::Damaged(e)))?;
                    captions = captions.or(facts);
                    Content::Bytes(file)
                }
                Some(path) => {
                    let facts = draft(path, |out| render::write(*format, &transcript, body, rules, out));
                    captions = captions.or(facts.map_err(|e| Unrendered::Disk(path.clone(), e))?);
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
            captions,
        };
        Ok(Rendered::All(heard, items))
    }
}

/// Writes one output of a large answer to the spool.
pub(super) fn draft(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<CaptionFacts>,
) -> io::Result<CaptionFacts> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = BufWriter::with_capacity(256 << 10, File::create(path)?);
    let facts = write(&mut file)?;
    file.flush()?;
    Ok(facts)
}

fn notes(
    job: &TranscriptionJob<'_>,
    part: &PartContext<'_>,
    (heard, facts): (&JudgedAnswer, &AnswerFacts),
    known: RecordingFacts,
) -> Option<String> {
    let common = Common {
        from_log: facts.from_log,
        words_not_asked: heard.words_not_asked,
        captions: heard.captions,
        is_empty: heard.is_empty,
        has_speakers: heard.has_speakers,
        is_expiring: facts.content_expiry.as_deref() == Some("applied"),
        paid_again: part.journal.billed() > 1,
    };
    let own = [
        heard.doubt.as_ref().map(|(reason, _)| Note::from(*reason)),
        job.sent.as_ref().and_then(|sent| sent.note),
        job.heard.as_ref().and_then(raw_differs),
        (job.recording.is_converted() && !job.is_live()).then_some(Note::Converted),
        known.unproven.then_some(Note::LengthNotExact),
        known.header_differs.then_some(Note::HeaderDiffers),
        (known.channels.is_some_and(|n| n > 1) && job.sent.is_none()).then_some(Note::Stereo),
    ];
    common.notes(&job.options, own.into_iter().flatten())
}

/// What every answer is noted for, whether it is one or several.
pub(super) struct Common {
    pub(super) from_log: bool,
    pub(super) words_not_asked: bool,
    pub(super) captions: CaptionFacts,
    pub(super) is_empty: bool,
    pub(super) has_speakers: bool,
    pub(super) is_expiring: bool,
    pub(super) paid_again: bool,
}

impl Common {
    /// These notes after the `own` ones, each once.
    pub(super) fn notes(&self, o: &TranscribeOptions, own: impl Iterator<Item = Note>) -> Option<String> {
        let not_redacted = (o.redact_pii || o.redact_pci) && !o.language.can_redact();
        let no_speakers = o.diarize && !self.is_empty && !self.has_speakers;
        let common = [
            self.words_not_asked.then_some(Note::WordsNotAsked),
            (self.captions.mended_times > 0).then_some(Note::TimesMended),
            (self.captions.fast_cues > 0).then_some(Note::FastCaptions),
            not_redacted.then_some(Note::NotRedacted),
            (no_speakers || (o.diarize && o.model == SttModel::PulsePro)).then_some(Note::NoSpeakers),
            (o.expire_content != ExpireContent::No && !self.is_expiring).then_some(Note::NotExpiring),
            self.paid_again.then_some(Note::PaidAgain),
        ];
        let first = self.from_log.then_some(Note::Recovered);
        let mut names: Vec<&str> = Vec::new();
        for note in first.into_iter().chain(own).chain(common.into_iter().flatten()) {
            if !names.contains(&note.as_str()) {
                names.push(note.as_str());
            }
        }
        (!names.is_empty()).then(|| names.join(";"))
    }
}
