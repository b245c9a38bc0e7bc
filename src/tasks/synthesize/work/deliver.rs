//! Makes outputs in the sink from clips in the audio cache: joined as a stream, verified, captioned. Nothing here costs money.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::PathBuf,
    sync::Arc,
};

use super::{
    SynthesisJob,
    survey::{KeptClip, Ready, Script},
    wait_for_cache,
};
use crate::{
    audio::{AudioError, Joiner, Source, measure_decoded, sample_to_ms, verify},
    domain::{
        call::ErrorKind,
        facts::Facts,
        job::JobState,
        options::ExpireContent,
        row::Note,
        synthesis::{CaptionFormat, Doubt, HeardPart, Pace, Rendition, Span, SpokenWord, Transport, timed_sentences},
        synthesis_options::AudioFormat,
    },
    render::{CaptionFacts, synthesis_captions},
    runner::{Leftover, Next, disk, outputs},
    sink::{Content, Item},
    store::{ClipSource, Finish, StoreError, Writes},
};

/// The result of joining.
struct Joined {
    spans: Vec<Option<Span>>,
    /// The words that came with each part's audio.
    words: Vec<Vec<SpokenWord>>,
    /// `None` if the format does not show it.
    audio_ms: Option<u64>,
    /// Parts that cannot be right.
    doubts: Vec<Doubt>,
}

/// Why nothing could be joined.
enum JoinFailure {
    /// This part's clip is not valid audio.
    Part(usize, AudioError),
    /// The joined file is not what it should be, or the disk failed.
    File(AudioError),
}

/// Joins the parts, and writes the outputs.
pub(super) async fn deliver(job: SynthesisJob<'_>, ready: Vec<Option<Ready>>) -> Result<Next, StoreError> {
    let (script, on) = (job.script, job.on);
    let leftover = Leftover::new(on, "joined");
    let sources = match on.store().audio_cache().sources(&script.cache_keys, script.bought.format).await {
        Ok(sources) => sources,
        Err(error) => {
            return wait_for_cache(on, &error).map_or(Err(error), |due| Ok(Next::again_at(due)));
        }
    };
    let joined = match join(script, sources, leftover.path.clone()).await {
        Ok(joined) => joined,
        // A clip that cannot be read now (too many open files, for example) is not damaged.
        Err(
            JoinFailure::File(ref why @ (AudioError::Write(ref error) | AudioError::Read(ref error)))
            | JoinFailure::Part(_, ref why @ AudioError::Read(ref error)),
        ) if error.kind() != io::ErrorKind::NotFound => {
            let message = match why {
                AudioError::Write(_) => disk::message(&leftover.path, error),
                _ => format!("the spool cannot be read: {error}"),
            };
            return Ok(Next::again_at(on.wait_for_machine(&message)));
        }
        Err(JoinFailure::Part(at, error)) => return damaged(job, at, &error).await,
        Err(JoinFailure::File(error)) => {
            let finish = script.failed(ErrorKind::UnusableAnswer, format!("its parts do not make one file: {error}"));
            return Ok(Next::finish(finish));
        }
    };
    // Joining is slow: another line's outputs may be at this job's paths by now.
    if !on.is_held().await? {
        return Ok(Next::Lost);
    }
    let (items, captions) = items(script, &joined, leftover.path.clone(), &on.config().word_voices);
    let written = match outputs::write(on, items, writes(script)).await? {
        Ok(written) => written,
        Err(next) => return Ok(next),
    };
    let paid_again = ready.iter().flatten().any(|ready| ready.billed > 1);
    let all: Vec<&KeptClip> = ready.iter().flatten().filter_map(|ready| ready.answer.as_ref()).collect();
    let bought = ready.iter().flatten().filter(|ready| ready.bought).count() as u64;
    let finish = Finish {
        made_by: Some(on.spec_json()),
        state: Some(if joined.doubts.is_empty() { JobState::Succeeded } else { JobState::Suspect }),
        error_kind: joined.doubts.first().map(|doubt| doubt.reason.to_string()),
        error: doubts_in_words(script, &joined),
        facts: Facts {
            audio_ms: joined.audio_ms,
            reused_parts: Some(script.count().saturating_sub(bought)),
            ..script.facts()
        }
        .or(on.job().facts.clone()),
        units: Some(script.characters),
        request_id: all.iter().find_map(|kept| kept.request_id.clone()),
        content_expiry: all.iter().find_map(|kept| kept.content_expiry.clone()),
        processing_ms: (!all.is_empty()).then(|| all.iter().map(|kept| kept.processing_ms).sum()),
        notes: notes(script, (&all, &captions), paid_again),
        doubtful: joined.doubts.iter().map(|doubt| super::index(doubt.part)).collect(),
        ..Finish::default()
    };
    Ok(Next::finish(written.note(finish)))
}

/// The first doubt with its part and its time in the output, and the parts of the others.
fn doubts_in_words(script: &Script<'_>, joined: &Joined) -> Option<String> {
    const SHOWN: usize = 5;
    let (first, others) = joined.doubts.split_first()?;
    let start_ms = joined.spans.get(first.part).copied().flatten().map_or(0, |span| span.start_ms);
    let mut message = script.name_of(first.part).map(|part| format!("{part}: ")).unwrap_or_default();
    let place = clock_time(start_ms + first.at_ms);
    message.push_str(&format!("{} at {place}: {}", first.reason.in_words(), first.detail));
    if !others.is_empty() {
        let named = others.iter().take(SHOWN).map(|doubt| format!("part {} ({})", doubt.part + 1, doubt.reason));
        let beyond = if others.len() > SHOWN { ", …" } else { "" };
        let named = named.collect::<Vec<_>>().join(", ");
        message.push_str(&format!("; and {} more: {named}{beyond}", others.len()));
    }
    Some(message)
}

/// `0:01:02.3`
fn clock_time(ms: u64) -> String {
    let (seconds, tenths) = (ms / 1_000, ms % 1_000 / 100);
    format!("{}:{:02}:{:02}.{tenths}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// What should be known about the captions that were written.
#[derive(Default)]
struct Captioned {
    facts: CaptionFacts,
    /// Times of words were wanted, and some are estimated.
    has_estimates: bool,
}

fn notes(script: &Script<'_>, (answers, captions): (&[&KeptClip], &Captioned), paid_again: bool) -> Option<String> {
    let kept_by_vendor = |kept: &&&KeptClip| kept.content_expiry.as_deref() != Some("applied");
    let not_expiring =
        script.options.expire_content != ExpireContent::No && answers.iter().any(|kept| kept_by_vendor(&kept));
    let notes = [
        not_expiring.then_some(Note::NotExpiring),
        paid_again.then_some(Note::PaidAgain),
        captions.has_estimates.then_some(Note::WordsEstimated),
        (captions.facts.fast_cues > 0).then_some(Note::FastCaptions),
    ];
    let notes: Vec<&str> = notes.into_iter().flatten().map(|note| note.as_str()).collect();
    (!notes.is_empty()).then(|| notes.join(";"))
}

/// Whether another job of the batch still writes a file, judged by its options.
fn writes(script: &Script<'_>) -> Writes {
    let captions = script.synthesis.captions.clone();
    Arc::new(move |overrides, path| {
        let rendition = overrides.and_then(|json| serde_json::from_str::<Rendition>(json).ok());
        rendition.is_some_and(|rendition| rendition.files(&captions).iter().any(|file| file == path))
    })
}

/// The audio and its captions, and what should be known about these. `word_voices` also send the times of their words.
fn items(script: &Script<'_>, joined: &Joined, audio: PathBuf, word_voices: &[String]) -> (Vec<Item>, Captioned) {
    let format = script.rendition.format.format;
    let mut captioned = Captioned::default();
    let mut items = vec![Item {
        name: script.rendition.file(),
        content: Content::Draft(audio),
        content_type: format.content_type(),
    }];
    if let Some(audio_ms) = joined.audio_ms.filter(|_| script.rendition.captions) {
        let sentences = timed_sentences(&script.parts, &joined.spans, &joined.words);
        let rules = script.options.sentence_rules();
        let wants_words = script.synthesis.captions.contains(&CaptionFormat::Words)
            || script.synthesis.transport_of(&script.options, script.bought, word_voices) == Transport::Ws;
        captioned.has_estimates = wants_words && sentences.iter().any(|sentence| !sentence.is_measured);
        for file in script.synthesis.captions.iter().flat_map(|caption| caption.files()) {
            let (content, own) = synthesis_captions(*file, &sentences, audio_ms, rules);
            captioned.facts = captioned.facts.or(own);
            let name = script.rendition.caption(*file);
            items.push(Item { name, content: Content::Bytes(content), content_type: file.content_type() });
        }
    }
    (items, captioned)
}

/// Joins the parts into one file, and verifies the file.
async fn join(script: &Script<'_>, sources: Vec<Option<ClipSource>>, to: PathBuf) -> Result<Joined, JoinFailure> {
    struct Piece {
        source: Option<ClipSource>,
        pace: Pace,
        pause_ms: u32,
    }
    let (bought, format, pause) = (script.bought, script.rendition.format.clone(), script.synthesis.pause);
    let (checks, options) = (script.synthesis.checks, &script.options);
    let language = options.language.map(|language| language.to_string());
    let most = script.synthesis.max_chars_per_second;
    let pauses = pause.after(&script.parts);
    let pieces: Vec<Piece> = (script.parts.iter().zip(sources).zip(pauses))
        .map(|((part, source), pause_ms)| Piece {
            source,
            pace: Pace::of(&part.text, language.as_deref(), options.speed.factor(), most),
            pause_ms,
        })
        .collect();
    let joining = move || {
        let mut joiner = Joiner::new(bought.format, bought.sample_rate);
        let mut spans = Vec::with_capacity(pieces.len());
        let mut words = Vec::with_capacity(pieces.len());
        for (at, piece) in pieces.iter().enumerate() {
            let span = match piece.source.clone() {
                None => {
                    words.push(Vec::new());
                    None
                }
                Some(source) => {
                    words.push(source.words().map_err(|e| JoinFailure::Part(at, AudioError::Read(e)))?);
                    let start = joiner.samples();
                    joiner.part(source).map_err(|e| JoinFailure::Part(at, e))?;
                    let ms = |samples| sample_to_ms(samples, bought.sample_rate);
                    Some(Span { start_ms: ms(start), end_ms: ms(joiner.samples()) })
                }
            };
            spans.push(span);
            joiner.pause(piece.pause_ms);
        }
        let file = || -> io::Result<File> {
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder)?;
            }
            File::create(&to)
        };
        let mut out = BufWriter::with_capacity(256 << 10, file().map_err(|e| JoinFailure::File(AudioError::Write(e)))?);
        let (joined, measured) = joiner.join_measured(format.format, &mut out).map_err(JoinFailure::File)?;
        drop(out);
        verify(&to, format.format, bought.sample_rate, joined.samples).map_err(JoinFailure::File)?;
        let audio_ms = (!bought.format.is_opaque()).then(|| sample_to_ms(joined.samples, joined.rate));
        let mut measured = measured.into_iter();
        let heard = |(piece, span): (&Piece, &Option<Span>)| {
            let (source, span) = (piece.source.as_ref()?, (*span)?);
            let of_samples = measured.next().flatten();
            let measured = match bought.format {
                AudioFormat::Mp3 => source.open().ok().and_then(|reader| measure_decoded(reader, bought.sample_rate)),
                _ => of_samples,
            };
            let known = !bought.format.is_opaque();
            known.then_some(HeardPart { ms: span.end_ms - span.start_ms, pace: piece.pace, measured })
        };
        let heard: Vec<_> = pieces.iter().zip(&spans).map(heard).collect();
        Ok(Joined { spans, words, audio_ms, doubts: checks.judge(&heard) })
    };
    tokio::task::spawn_blocking(joining).await.expect("joining does not panic")
}

/// Handles a clip that is no longer valid audio because the disk lost a part of it. It is set aside for the next `retry`.
async fn damaged(job: SynthesisJob<'_>, at: usize, error: &AudioError) -> Result<Next, StoreError> {
    let (script, store, claimed) = (job.script, job.on.store(), job.on.job());
    if let Some(cache_key) = script.cache_keys[at] {
        // If it cannot be moved now, it is found damaged again.
        let _ = store.audio_cache().discard(cache_key, script.bought.format).await;
    }
    store.set_parts_aside(claimed.job, claimed.token, vec![super::index(at)]).await?;
    let part = script.name_of(at).map(|part| format!("{part}: ")).unwrap_or_default();
    let message = format!("{part}its audio in the spool is damaged ({error}); `wavebatch retry` buys it again");
    Ok(Next::finish(script.failed(ErrorKind::AnswerLost, message)))
}
