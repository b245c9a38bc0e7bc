//! A recording whose channels are transcribed one by one: each side is a part of the job, and its answers become one conversation.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use super::{
    TranscriptionJob,
    deliver::{doubt, draft, raw_differs, unreadable, words_asked},
    hear,
    plan::Plan,
};
use crate::{
    audio::analyze::Hearing,
    domain::{
        batch::OnLostWords,
        body::Body,
        call::Answer,
        cut::SentenceRules,
        facts::Facts,
        hearing::HeardSpeech,
        job::{CallId, JobState},
        length::Length,
        options::{ExpireContent, SttModel, TranscriptFormat},
        row::Note,
        talk::Talk,
        transcript::{AlarmLimits, Conversation, Side, SuspectReason, Transcript, TranscriptError},
    },
    large::look_into,
    render::{self, CaptionFacts, ChannelAnswer, conversation_json},
    runner::{
        Leftover, Next, disk,
        one_call::{self, PartAnswer, PartCall, part_of},
        outputs,
    },
    sink::{Content, Item},
    store::{AnswerFacts, Finish, StoreError, To},
};

/// The answer for one side.
struct SideAnswer {
    part: i64,
    channel: u16,
    call: CallId,
    body: Body,
    /// The parsed answer, if it was parsed before.
    transcript: Option<Transcript>,
    facts: AnswerFacts,
    words_asked: bool,
    /// Whether more than one call for it may have been billed.
    paid_again: bool,
}

/// Moves a job whose channels have calls of their own to its next state; `None` if its lease is lost.
pub(super) async fn work(mut job: TranscriptionJob<'_>, plan: &Plan) -> Result<Option<To>, StoreError> {
    loop {
        let next = match buy_all(&mut job, plan).await? {
            Ok(answers) => deliver(&mut job, plan, answers).await?,
            Err(next) => next,
        };
        match next {
            Next::Look => {}
            Next::Leave(to) => return Ok(Some(to)),
            Next::Lost => return Ok(None),
        }
    }
}

/// Gets the answers of all sides, one after the other: the account's other calls are those of other lines.
async fn buy_all(job: &mut TranscriptionJob<'_>, plan: &Plan) -> Result<Result<Vec<SideAnswer>, Next>, StoreError> {
    let mut answers = Vec::with_capacity(plan.parts.len());
    for (number, sent) in &plan.parts {
        job.sent = Some(sent.clone());
        job.recording.send_as_it_is();
        let mut part = part_of(job.on, job.pool(), *number).await?;
        part.reload().await?;
        let answer = match one_call::answer(job, &mut part).await? {
            Ok(answer) => answer,
            Err(next) => return Ok(Err(next)),
        };
        let (call, body, transcript, facts) = match answer {
            PartAnswer::Kept(kept) => (kept.call, kept.body, None, kept.facts),
            PartAnswer::Fresh(fresh) => {
                let processing_ms = Some(fresh.processing_ms);
                let Answer { body, transcript, request_id, content_expiry, .. } = fresh.answer;
                let facts = AnswerFacts { request_id, content_expiry, processing_ms, from_log: false };
                (fresh.call, body, transcript, facts)
            }
        };
        answers.push(SideAnswer {
            part: *number,
            channel: sent.channel.unwrap_or(1),
            words_asked: words_asked(job, &part, call),
            paid_again: part.journal.billed() > 1,
            call,
            body,
            transcript,
            facts,
        });
    }
    Ok(Ok(answers))
}

/// Writes the outputs of a conversation.
async fn deliver(job: &mut TranscriptionJob<'_>, plan: &Plan, answers: Vec<SideAnswer>) -> Result<Next, StoreError> {
    let on = job.on;
    let heard = match job.heard.take() {
        Some(heard) => Some(heard),
        None => hear::kept(job).await?,
    };
    let formats = &job.asked.formats;
    let is_large = answers.iter().any(|side| side.body.is_large());
    let leftovers: Vec<_> = match is_large {
        true => formats.iter().map(|format| Leftover::new(on, format.as_str())).collect(),
        false => Vec::new(),
    };
    let len = answers.iter().map(|side| side.body.len()).sum();
    let length_ms = plan.parts.first().map_or(0, |(_, sent)| sent.length_ms);
    let rendering = SidesRendering {
        key: on.job().key.clone(),
        formats: formats.clone(),
        drafts: leftovers.iter().map(|leftover| leftover.path.clone()).collect(),
        names: answers.iter().map(|side| job.roles.name(side.channel)).collect(),
        length: if length_ms > 0 { Length::Exact(length_ms) } else { Length::Unknown },
        heard,
        limits: job.asked.listening.alarms,
        language: job.options.language.as_str().to_owned(),
        allow_silence: job.options.allow_silence,
        redo_lost_words: on.run().on_lost_words == OnLostWords::Redo,
    };
    let (judged, answers) = look_into(len, move || rendering.render(answers)).await;
    let (heard, items) = match judged {
        Ok(all) => all,
        Err(Unrendered::WordsLost(call)) => {
            on.store().set_aside(on.job().job, call).await?;
            return Ok(Next::Look);
        }
        Err(Unrendered::Answer(part, call, e)) => {
            let part = part_of(on, job.pool(), part).await?;
            return unreadable(&part, call, &e).await;
        }
        Err(Unrendered::Disk(path, e)) => return Ok(Next::again_at(on.wait_for_machine(&disk::message(&path, &e)))),
    };
    if !on.is_held().await? {
        return Ok(Next::Lost);
    }
    let written = match outputs::write(on, items, outputs::always()).await? {
        Ok(written) => written,
        Err(next) => return Ok(next),
    };
    Ok(Next::finish(written.note(finish(job, plan, heard, &answers))))
}

/// The judgement of a conversation.
struct Judged {
    /// Why sides are suspect: their parts, the reasons, and what is said of the first.
    doubts: Vec<(i64, SuspectReason, String)>,
    talk: Talk,
    length_ms: Option<u64>,
    channels: Option<u16>,
    raw_differs: Option<Note>,
    is_empty: bool,
    has_speakers: bool,
    words_not_asked: bool,
    captions: CaptionFacts,
}

/// Why nothing was rendered.
enum Unrendered {
    /// A side's answer does not read.
    Answer(i64, CallId, TranscriptError),
    /// A side's answer lacks the words that a format needs, and must be bought again.
    WordsLost(CallId),
    Disk(PathBuf, io::Error),
}

/// How a conversation is rendered.
struct SidesRendering {
    key: String,
    formats: Vec<TranscriptFormat>,
    /// Where the outputs of large answers go, one for each format; if empty, they stay in memory.
    drafts: Vec<PathBuf>,
    names: Vec<String>,
    length: Length,
    heard: Option<Hearing>,
    limits: AlarmLimits,
    language: String,
    allow_silence: bool,
    redo_lost_words: bool,
}

type Rendered = (Result<(Judged, Vec<Item>), Unrendered>, Vec<SideAnswer>);

impl SidesRendering {
    fn render(self, mut answers: Vec<SideAnswer>) -> Rendered {
        let rendered = self.rendered(&mut answers);
        (rendered, answers)
    }

    fn rendered(&self, answers: &mut [SideAnswer]) -> Result<(Judged, Vec<Item>), Unrendered> {
        let mut transcripts = Vec::with_capacity(answers.len());
        for side in answers.iter_mut() {
            let transcript = match side.transcript.take() {
                Some(transcript) => transcript,
                None => Transcript::of(&side.body).map_err(|e| Unrendered::Answer(side.part, side.call, e))?,
            };
            transcripts.push(transcript);
        }
        let heard = self.heard.as_ref().map(hear::speech);
        let sides: Vec<Side<'_>> = answers
            .iter()
            .zip(&transcripts)
            .zip(&self.names)
            .map(|((side, transcript), name)| Side {
                name,
                channel: side.channel,
                transcript,
                speech: heard.as_ref().map_or(&[], |heard| heard.own.of_channel(side.channel)),
                echoes: heard.as_ref().map_or(&[], |heard| heard.echoes.of_channel(side.channel)),
            })
            .collect();
        let mut doubts = Vec::new();
        let words_needed = self.formats.iter().any(|f| f.needs_words());
        for (answer, side) in answers.iter().zip(&sides) {
            if let Some((reason, words)) = self.doubt(answer, side, words_needed) {
                if reason == SuspectReason::WordsLost && self.redo_lost_words && answer.facts.from_log {
                    return Err(Unrendered::WordsLost(answer.call));
                }
                doubts.push((answer.part, reason, format!("{}: {words}", side.name)));
            }
        }
        let conversation = Conversation::of(&sides);
        let whole = conversation.to_transcript();
        let rules = SentenceRules::of(whole.language.as_deref().or(Some(&self.language)));
        let channel_answers: Vec<ChannelAnswer<'_>> = answers
            .iter()
            .zip(&sides)
            .map(|(answer, side)| ChannelAnswer {
                channel: side.channel,
                role: side.name,
                request_id: answer.facts.request_id.as_deref().or(side.transcript.request_id.as_deref()),
                answer: &answer.body,
            })
            .collect();
        let mut captions = CaptionFacts::default();
        let mut items = Vec::with_capacity(self.formats.len());
        for (nth, format) in self.formats.iter().enumerate() {
            let write = |out: &mut dyn Write| -> io::Result<CaptionFacts> {
                let mut out = out;
                match format {
                    TranscriptFormat::Json => {
                        conversation_json(&conversation, &channel_answers, &mut out).map(|()| CaptionFacts::default())
                    }
                    other => render::write(*other, &whole, &Body::from(""), rules, &mut out),
                }
            };
            let (content, facts) = match self.drafts.get(nth) {
                None => {
                    let mut file = Vec::new();
                    let facts = write(&mut file).map_err(|e| self.damaged(answers, e))?;
                    (Content::Bytes(file.into()), facts)
                }
                Some(path) => {
                    let facts = draft(path, |out| write(out)).map_err(|e| Unrendered::Disk(path.clone(), e))?;
                    (Content::Draft(path.clone()), facts)
                }
            };
            captions = captions.or(facts);
            let name = format!("{}.{format}", self.key);
            items.push(Item { name, content, content_type: format.content_type() });
        }
        let judged = Judged {
            doubts,
            talk: Talk::of(&conversation, heard.as_ref().map(|heard| &heard.own)),
            length_ms: self.heard.as_ref().map(|heard| heard.length_ms).or(conversation.length_ms),
            channels: self.heard.as_ref().map(|heard| heard.found.channels),
            raw_differs: self.heard.as_ref().and_then(raw_differs),
            is_empty: whole.is_empty(),
            has_speakers: transcripts.iter().any(Transcript::has_speakers),
            words_not_asked: words_needed
                && answers
                    .iter()
                    .zip(&transcripts)
                    .any(|(answer, t)| !answer.words_asked && !t.is_empty() && !t.has_times()),
            captions,
        };
        Ok((judged, items))
    }

    /// A damaged answer, as its own check would have said it.
    fn damaged(&self, answers: &[SideAnswer], error: io::Error) -> Unrendered {
        let first = answers.first().expect("a plan has parts");
        Unrendered::Answer(first.part, first.call, TranscriptError::Damaged(error))
    }

    /// Why the answer of a side cannot be right, and in words.
    fn doubt(&self, answer: &SideAnswer, side: &Side<'_>, words_needed: bool) -> Option<(SuspectReason, String)> {
        let speech = self
            .heard
            .as_ref()
            .map(|heard| HeardSpeech { channels: vec![side.speech.to_vec()], length_ms: heard.length_ms });
        doubt(
            (side.transcript, self.length),
            (speech.as_ref(), self.limits),
            (self.allow_silence, words_needed && answer.words_asked),
        )
    }
}

fn finish(job: &TranscriptionJob<'_>, plan: &Plan, judged: Judged, answers: &[SideAnswer]) -> Finish {
    let bought_ms: u64 = plan.parts.iter().map(|(_, sent)| sent.length_ms).sum();
    let joined = |of: fn(&AnswerFacts) -> Option<&str>| {
        let mut all: Vec<&str> = answers.iter().filter_map(|side| of(&side.facts)).collect();
        all.dedup();
        (!all.is_empty()).then(|| all.join(";"))
    };
    let first = judged.doubts.first();
    Finish {
        made_by: Some(job.on.spec_json()),
        state: Some(if first.is_some() { JobState::Suspect } else { JobState::Succeeded }),
        units: Some(bought_ms).filter(|ms| *ms > 0),
        error_kind: first.map(|(_, reason, _)| reason.to_string()),
        error: first.map(|(_, _, words)| words.clone()),
        notes: notes(job, plan, &judged, answers),
        request_id: joined(|facts| facts.request_id.as_deref()),
        content_expiry: joined(|facts| facts.content_expiry.as_deref()),
        processing_ms: answers.iter().map(|side| side.facts.processing_ms).sum::<Option<i64>>(),
        doubtful: judged.doubts.iter().map(|(part, ..)| *part).collect(),
        facts: Facts {
            audio_ms: judged.length_ms,
            channels: judged.channels,
            talk: Some(judged.talk),
            channels_note: plan.note().map(|note| note.to_string()),
            ..Facts::default()
        }
        .or(job.on.job().facts.clone()),
        ..Finish::default()
    }
}

fn notes(job: &TranscriptionJob<'_>, plan: &Plan, judged: &Judged, answers: &[SideAnswer]) -> Option<String> {
    let o = &job.options;
    let is_applied = |side: &SideAnswer| side.facts.content_expiry.as_deref() == Some("applied");
    let no_speakers = o.diarize && !judged.is_empty && !judged.has_speakers;
    let notes: Vec<Note> = [
        answers.iter().any(|side| side.facts.from_log).then_some(Note::Recovered),
        plan.note(),
        judged.raw_differs,
        judged.words_not_asked.then_some(Note::WordsNotAsked),
        (judged.captions.mended_times > 0).then_some(Note::TimesMended),
        (judged.captions.fast_cues > 0).then_some(Note::FastCaptions),
        ((o.redact_pii || o.redact_pci) && !o.language.can_redact()).then_some(Note::NotRedacted),
        (no_speakers || (o.diarize && o.model == SttModel::PulsePro)).then_some(Note::NoSpeakers),
        (o.expire_content != ExpireContent::No && !answers.iter().all(is_applied)).then_some(Note::NotExpiring),
        answers.iter().any(|side| side.paid_again).then_some(Note::PaidAgain),
    ]
    .into_iter()
    .flatten()
    .chain(judged.doubts.iter().map(|(_, reason, _)| Note::from(*reason)))
    .collect();
    let mut names: Vec<&str> = notes.iter().map(|n| n.as_str()).collect();
    names.dedup();
    (!names.is_empty()).then(|| names.join(";"))
}
