//! The answers of a plan become one conversation, or one transcript, and are judged call by call.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use super::answers::{CallInHand, Doubt, Verdict, lacks_words};
use crate::{
    audio::analyze::Hearing,
    domain::{
        body::Body,
        cut::SentenceRules,
        hearing::{HeardSpeech, Stretch, overlap},
        job::CallId,
        length::Length,
        listening::Roles,
        options::TranscriptFormat,
        row::Note,
        talk::Talk,
        transcript::{
            AlarmLimits, Answered, Conversation, Restored, Side, Stitched, SuspectReason, Transcript, TranscriptError,
            alarm_of_mix, letters, suspect,
        },
    },
    render::{self, CallAnswer, CaptionFacts, conversation_json, joined_json},
    sink::{Content, Item},
    tasks::transcribe::work::{
        deliver::{draft, raw_differs},
        plan::SentPart,
        speech,
    },
};

/// Joined answers, and their judgement.
pub(super) struct Joined {
    /// Why they cannot be right, by part.
    pub(super) doubts: Vec<Doubt>,
    /// Whether words of a packed recording cannot be told apart.
    pub(super) is_mixed_up: bool,
    /// Joints at which no word of both pieces is the same.
    pub(super) doubtful_joints: usize,
    pub(super) has_new_speakers: bool,
    pub(super) talk: Option<Talk>,
    pub(super) length_ms: Option<u64>,
    pub(super) channels: Option<u16>,
    pub(super) raw_differs: Option<Note>,
    pub(super) is_empty: bool,
    pub(super) has_speakers: bool,
    pub(super) words_not_asked: bool,
    pub(super) captions: CaptionFacts,
    letters: usize,
}

impl Joined {
    /// How good they are.
    pub(super) fn verdict(&self) -> Verdict {
        let lacks_words = self.doubts.first().is_some_and(|doubt| lacks_words(doubt.reason));
        Verdict { doubts: self.doubts.len(), lacks_words, letters: self.letters }
    }
}

/// Why nothing was joined.
pub(super) enum Unjoined {
    /// An answer does not read.
    Answer(i64, CallId, TranscriptError),
    /// An answer lacks the words that a format needs, and must be bought again.
    WordsLost(CallId),
    Disk(PathBuf, io::Error),
}

/// How answers are joined and rendered.
pub(super) struct Joining {
    pub(super) key: String,
    pub(super) formats: Vec<TranscriptFormat>,
    /// Where the outputs of large answers go, one for each format; if empty, they stay in memory.
    pub(super) drafts: Vec<PathBuf>,
    pub(super) roles: Roles,
    pub(super) is_by_channel: bool,
    pub(super) is_packed: bool,
    /// Length of the recording.
    pub(super) length: Length,
    pub(super) heard: Option<Hearing>,
    pub(super) limits: AlarmLimits,
    pub(super) language: String,
    pub(super) allow_silence: bool,
    pub(super) redo_lost_words: bool,
}

/// The joined answers with their files.
type JoinedOrNot = Result<(Joined, Vec<Item>), Unjoined>;

/// What the answers come to.
struct Whole {
    transcript: Transcript,
    conversation: Option<Conversation>,
}

/// A channel with its pieces, in order.
struct Channel {
    channel: Option<u16>,
    pieces: Vec<Answered>,
}

impl Joining {
    pub(super) fn join(self, mut calls: Vec<CallInHand>) -> (JoinedOrNot, Vec<CallInHand>) {
        let joined = self.joined(&mut calls);
        (joined, calls)
    }

    fn joined(&self, calls: &mut [CallInHand]) -> JoinedOrNot {
        let words_needed = self.formats.iter().any(|format| format.needs_words());
        let heard = self.heard.as_ref().map(speech::speech);
        let own = heard.as_ref().map(|heard| &heard.own);
        let (mut doubts, mut channels) = (Vec::new(), Vec::<Channel>::new());
        let (mut is_mixed_up, mut has_speakers, mut words_not_asked) = (false, false, false);
        let mut request_ids = Vec::with_capacity(calls.len());
        for call in calls.iter_mut() {
            let answer = match call.transcript.take() {
                Some(answer) => answer,
                None => Transcript::of(&call.body).map_err(|e| Unjoined::Answer(call.part, call.call, e))?,
            };
            has_speakers |= answer.has_speakers();
            words_not_asked |= words_needed && !call.words_asked && !answer.is_empty() && !answer.has_times();
            request_ids.push(call.facts.request_id.clone().or_else(|| answer.request_id.clone()));
            let by_itself = self.suspect(call, &answer, words_needed && call.words_asked);
            if by_itself == Some(SuspectReason::WordsLost) && self.redo_lost_words && call.facts.from_log {
                return Err(Unjoined::WordsLost(call.call));
            }
            let mut restored = Restored::of(answer, &call.sent.cuts);
            is_mixed_up |= self.is_packed && own.is_none_or(|own| !restored.is_sound(own));
            let of_all = call.sent.channel;
            restored.channels.iter_mut().for_each(|(channel, _)| *channel = channel.or(of_all));
            let words = by_itself.map(|reason| (reason, reason.in_words().to_owned()));
            let doubt = words.or_else(|| self.alarm(call, &restored, own?));
            doubts.extend(doubt.map(|(reason, words)| Doubt {
                part: call.part,
                reason,
                words: self.named(call, words),
            }));
            for (channel, said) in restored.channels {
                let whole = Stretch { from_ms: 0, to_ms: self.length.ms().unwrap_or(u64::MAX) };
                let covers = call.sent.cuts.covers(channel).unwrap_or(whole);
                let at = channels.iter().position(|one| one.channel == channel).unwrap_or_else(|| {
                    channels.push(Channel { channel, pieces: Vec::new() });
                    channels.len() - 1
                });
                channels[at].pieces.push(Answered { covers, said });
            }
        }
        channels.sort_by_key(|channel| channel.channel);
        let (mut doubtful_joints, mut has_new_speakers) = (0, false);
        let transcripts: Vec<(Option<u16>, Transcript)> = channels
            .into_iter()
            .map(|Channel { channel, mut pieces }| {
                if pieces.len() == 1 {
                    return (channel, pieces.remove(0).said);
                }
                let Stitched { whole, doubtful, has_new_speakers: new } = Stitched::of(&pieces);
                doubtful_joints += doubtful;
                has_new_speakers |= new;
                (channel, whole)
            })
            .collect();
        let whole = self.whole(transcripts, heard.as_ref());
        let (items, captions) = self.render(&whole, calls, &request_ids)?;
        let Whole { transcript, conversation } = whole;
        let length_ms = self.heard.as_ref().map(|heard| heard.length_ms);
        let joined = Joined {
            doubts,
            is_mixed_up,
            doubtful_joints,
            has_new_speakers,
            talk: conversation.as_ref().map(|all| Talk::of(all, own)),
            length_ms: length_ms.or(transcript.duration_ms),
            channels: self.heard.as_ref().map(|heard| heard.found.channels),
            raw_differs: self.heard.as_ref().and_then(raw_differs),
            is_empty: transcript.is_empty(),
            has_speakers,
            words_not_asked,
            captions,
            letters: letters(&transcript.text),
        };
        Ok((joined, items))
    }

    /// The whole of the channels.
    fn whole(&self, mut transcripts: Vec<(Option<u16>, Transcript)>, heard: Option<&speech::Heard>) -> Whole {
        if !self.is_by_channel {
            let (_, mut transcript) = transcripts.pop().unwrap_or_default();
            transcript.duration_ms = transcript.duration_ms.or(self.length.ms());
            return Whole { transcript, conversation: None };
        }
        let number = |channel: Option<u16>| channel.unwrap_or(1);
        let names: Vec<String> = transcripts.iter().map(|(channel, _)| self.roles.name(number(*channel))).collect();
        let sides: Vec<Side<'_>> = transcripts
            .iter()
            .zip(&names)
            .map(|((channel, transcript), name)| Side {
                name,
                channel: number(*channel),
                transcript,
                speech: heard.map_or(&[], |heard| heard.own.of_channel(number(*channel))),
                echoes: heard.map_or(&[], |heard| heard.echoes.of_channel(number(*channel))),
            })
            .collect();
        let mut conversation = Conversation::of(&sides);
        conversation.length_ms = conversation.length_ms.or(self.length.ms());
        Whole { transcript: conversation.to_transcript(), conversation: Some(conversation) }
    }

    fn render(
        &self,
        whole: &Whole,
        calls: &[CallInHand],
        request_ids: &[Option<String>],
    ) -> Result<(Vec<Item>, CaptionFacts), Unjoined> {
        let names: Vec<_> = calls.iter().map(|call| call.sent.channel.map(|at| (at, self.roles.name(at)))).collect();
        let answers: Vec<CallAnswer<'_>> = calls
            .iter()
            .zip(request_ids)
            .zip(&names)
            .map(|((call, request_id), name)| CallAnswer {
                side: name.as_ref().map(|(channel, name)| (*channel, name.as_str())),
                covers: covers(&call.sent),
                request_id: request_id.as_deref(),
                answer: &call.body,
            })
            .collect();
        let is_as_it_came = whole.conversation.is_none() && calls.len() == 1 && calls[0].sent.cuts.is_empty();
        let rules = SentenceRules::of(whole.transcript.language.as_deref().or(Some(&self.language)));
        let mut captions = CaptionFacts::default();
        let mut items = Vec::with_capacity(self.formats.len());
        for (nth, format) in self.formats.iter().enumerate() {
            let write = |out: &mut dyn Write| -> io::Result<CaptionFacts> {
                let mut out = out;
                let none = CaptionFacts::default();
                match (format, &whole.conversation) {
                    (TranscriptFormat::Json, Some(all)) => conversation_json(all, &answers, &mut out).map(|()| none),
                    (TranscriptFormat::Json, None) if !is_as_it_came => {
                        joined_json(&whole.transcript, &answers, &mut out).map(|()| none)
                    }
                    (TranscriptFormat::Json, None) => {
                        render::write(*format, &whole.transcript, &calls[0].body, rules, &mut out)
                    }
                    (other, _) => render::write(*other, &whole.transcript, &Body::from(""), rules, &mut out),
                }
            };
            let (content, facts) = match self.drafts.get(nth) {
                None => {
                    let mut file = Vec::new();
                    let facts = write(&mut file).map_err(|e| damaged(calls, e))?;
                    (Content::Bytes(file.into()), facts)
                }
                Some(path) => {
                    let facts = draft(path, |out| write(out)).map_err(|e| Unjoined::Disk(path.clone(), e))?;
                    (Content::Draft(path.clone()), facts)
                }
            };
            captions = captions.or(facts);
            let name = format!("{}.{format}", self.key);
            items.push(Item { name, content, content_type: format.content_type() });
        }
        Ok((items, captions))
    }

    /// Why an answer cannot be right by itself.
    fn suspect(&self, call: &CallInHand, answer: &Transcript, words_needed: bool) -> Option<SuspectReason> {
        let length = if call.sent.cuts.is_empty() { self.length } else { Length::Exact(call.sent.cuts.sent_ms()) };
        suspect(answer, length, self.allow_silence || self.heard.is_some(), words_needed)
    }

    /// Why an answer does not fit what was heard of what its call sent, and in words.
    fn alarm(&self, call: &CallInHand, restored: &Restored, own: &HeardSpeech) -> Option<(SuspectReason, String)> {
        restored.channels.iter().find_map(|(channel, said)| {
            let sent: Vec<_> =
                call.sent.cuts.list.iter().filter(|cut| cut.channel == *channel).map(|cut| cut.at).collect();
            let of = |speech: &[Stretch]| if sent.is_empty() { speech.to_vec() } else { overlap(speech, &sent) };
            let channels = match channel {
                Some(channel) => vec![of(own.of_channel(*channel))],
                None => own.channels.iter().map(|speech| of(speech)).collect(),
            };
            let heard = HeardSpeech { channels, length_ms: own.length_ms };
            let alarm = alarm_of_mix(said, &heard, self.limits)?;
            Some((alarm.reason, alarm.in_words()))
        })
    }

    /// The reason with the name of its side.
    fn named(&self, call: &CallInHand, words: String) -> String {
        call.sent.channel.map_or_else(|| words.clone(), |channel| format!("{}: {words}", self.roles.name(channel)))
    }
}

/// From when to when a call sent its recording; `None`: all of it.
fn covers(sent: &SentPart) -> Option<Stretch> {
    let ends = sent.cuts.channels().into_iter().filter_map(|channel| sent.cuts.covers(channel));
    ends.reduce(|one, next| Stretch { from_ms: one.from_ms.min(next.from_ms), to_ms: one.to_ms.max(next.to_ms) })
}

/// A damaged answer, as its own check would have said it.
fn damaged(calls: &[CallInHand], error: io::Error) -> Unjoined {
    let first = calls.first().expect("a plan has parts");
    Unjoined::Answer(first.part, first.call, TranscriptError::Damaged(error))
}
