//! From parts in the audio cache to outputs in the sink: joined as a stream, verified, captioned. Nothing here costs money.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::PathBuf,
    sync::Arc,
};

use super::{
    super::{
        deliver::{DISK_RETRY_MS, doubt},
        disk, outputs,
        recording::Leftover,
        worker::{ActivePart, Next},
    },
    part::{ClipReceipt, Ready},
    survey::SynthesisJob,
};
use crate::{
    audio::{AudioError, Joiner, sample_to_ms, verify},
    domain::{
        call::ErrorKind,
        facts::Facts,
        job::JobState,
        options::ExpireContent,
        row::Note,
        synthesis::{Rendition, Span, timed_sentences},
        transcript::SuspectReason,
    },
    render::synthesis_captions,
    sink::{Content, Item},
    store::{AudioCache, Finish, StoreError, To, Writes},
};

/// What became of joining.
struct Joined {
    spans: Vec<Option<Span>>,
    /// Nothing where the format does not tell.
    audio_ms: Option<u64>,
    /// Parts that cannot be what their text says.
    too_short: Vec<usize>,
}

/// Why nothing could be joined.
enum Unjoined {
    /// What is in the audio cache under this part's name is no such audio.
    Part(usize, AudioError),
    /// It was joined, and is not what it should be; or the disk is to blame.
    File(AudioError),
}

pub(super) async fn deliver(
    work: &ActivePart<'_, &SynthesisJob<'_>>,
    ready: Vec<Option<Ready>>,
) -> Result<Next, StoreError> {
    let (synthesis_job, shared) = (work.asked, work.shared);
    let leftover = Leftover::new(&shared.store, work.job, "joined");
    let joined = match join(synthesis_job, shared.store.audio_cache(), leftover.path.clone()).await {
        Ok(joined) => joined,
        // What cannot be read now (too many open files, for one) is not damaged.
        Err(
            Unjoined::File(ref why @ (AudioError::Write(ref error) | AudioError::Read(ref error)))
            | Unjoined::Part(_, ref why @ AudioError::Read(ref error)),
        ) if error.kind() != io::ErrorKind::NotFound => {
            let message = match why {
                AudioError::Write(_) => disk::message(&leftover.path, error),
                _ => format!("the spool cannot be read: {error}"),
            };
            shared.report_disk(format!("{message}; its lines are tried again every 30 s"));
            let due_at = work.now() + DISK_RETRY_MS;
            return Ok(Next::Leave(To::Queued { due_at, call: None, source_try: false }));
        }
        Err(Unjoined::Part(at, error)) => return spoiled(work, at, &error).await,
        Err(Unjoined::File(error)) => {
            let finish =
                synthesis_job.failed(ErrorKind::UnusableAnswer, format!("its parts do not make one file: {error}"));
            return Ok(Next::Leave(To::Finished(Box::new(finish))));
        }
    };
    // Joining takes its time: another line's outputs may stand where its own would.
    if !shared.store.holds(work.job.job, work.job.token).await? {
        return Ok(Next::Lost);
    }
    let items = items(synthesis_job, &joined, leftover.path.clone());
    let written = match outputs::write(work, items, writes(synthesis_job)).await? {
        Ok(written) => written,
        Err(next) => return Ok(next),
    };
    let paid_again = ready.iter().flatten().any(|ready| ready.billed > 1);
    let all: Vec<&ClipReceipt> = ready.iter().flatten().filter_map(|ready| ready.answer.as_ref()).collect();
    let bought = ready.iter().flatten().filter(|ready| ready.bought).count() as u64;
    let short = joined.too_short.first().map(|at| match (synthesis_job.name_of(*at), joined.too_short.len() - 1) {
        (Some(part), 0) => format!("{part}: {}", doubt(SuspectReason::TooShort)),
        (Some(part), more) => format!("{part} and {more} more: {}", doubt(SuspectReason::TooShort)),
        (None, _) => doubt(SuspectReason::TooShort).to_owned(),
    });
    let finish = Finish {
        made_by: Some(Arc::clone(&work.batch.read)),
        state: Some(if short.is_some() { JobState::Suspect } else { JobState::Succeeded }),
        error_kind: short.is_some().then(|| SuspectReason::TooShort.to_string()),
        error: short,
        facts: Facts {
            audio_ms: joined.audio_ms,
            reused_parts: Some(synthesis_job.count().saturating_sub(bought)),
            ..synthesis_job.facts()
        }
        .or(work.job.facts),
        units: Some(synthesis_job.characters),
        request_id: all.iter().find_map(|kept| kept.request_id.clone()),
        content_expiry: all.iter().find_map(|kept| kept.content_expiry.clone()),
        processing_ms: (!all.is_empty()).then(|| all.iter().map(|kept| kept.processing_ms).sum()),
        notes: notes(synthesis_job, &all, paid_again),
        doubtful: joined.too_short.iter().map(|at| super::index(*at)).collect(),
        ..Finish::default()
    };
    Ok(Next::Leave(To::Finished(Box::new(written.note(finish)))))
}

fn notes(synthesis_job: &SynthesisJob<'_>, answers: &[&ClipReceipt], paid_again: bool) -> Option<String> {
    let kept_by_vendor = |kept: &&&ClipReceipt| kept.content_expiry.as_deref() != Some("applied");
    let not_expiring =
        synthesis_job.options.expire_content != ExpireContent::No && answers.iter().any(|kept| kept_by_vendor(&kept));
    let notes: Vec<&str> = [not_expiring.then_some(Note::NotExpiring), paid_again.then_some(Note::PaidAgain)]
        .into_iter()
        .flatten()
        .map(|note| note.as_str())
        .collect();
    (!notes.is_empty()).then(|| notes.join(";"))
}

/// Whether another job of the batch, by its options, still writes a file.
fn writes(synthesis_job: &SynthesisJob<'_>) -> Writes {
    let captions = synthesis_job.synthesis.captions.clone();
    Arc::new(move |overrides, path| {
        let rendition = overrides.and_then(|json| serde_json::from_str::<Rendition>(json).ok());
        rendition.is_some_and(|rendition| rendition.files(&captions).iter().any(|file| file == path))
    })
}

/// The audio, and the captions beside it.
fn items(synthesis_job: &SynthesisJob<'_>, joined: &Joined, audio: PathBuf) -> Vec<Item> {
    let format = synthesis_job.rendition.format.format;
    let mut items = vec![Item {
        name: synthesis_job.rendition.file(),
        content: Content::Draft(audio),
        content_type: format.content_type(),
    }];
    if let Some(audio_ms) = joined.audio_ms.filter(|_| synthesis_job.rendition.captions) {
        let sentences = timed_sentences(&synthesis_job.parts, &joined.spans);
        items.extend(synthesis_job.synthesis.captions.iter().map(|caption| Item {
            name: format!("{}.{caption}", synthesis_job.rendition.name),
            content: Content::Bytes(synthesis_captions(*caption, &sentences, audio_ms)),
            content_type: caption.content_type(),
        }));
    }
    items
}

/// Joins the parts into one file, and looks at it again.
async fn join(synthesis_job: &SynthesisJob<'_>, audio_cache: AudioCache, to: PathBuf) -> Result<Joined, Unjoined> {
    struct Piece {
        path: Option<PathBuf>,
        least_ms: u64,
        pause_ms: u32,
    }
    let (bought, format, pause) =
        (synthesis_job.bought, synthesis_job.rendition.format.clone(), synthesis_job.synthesis.pause);
    let least = least_ms(synthesis_job);
    let pauses = pause.after(&synthesis_job.parts);
    let pieces: Vec<Piece> = (synthesis_job.parts.iter().zip(&synthesis_job.cache_keys).zip(pauses))
        .map(|((part, cache_key), pause_ms)| Piece {
            path: cache_key.map(|cache_key| audio_cache.path(cache_key, bought.format)),
            least_ms: least(spoken(&part.text)),
            pause_ms,
        })
        .collect();
    let joining = move || {
        let mut joiner = Joiner::new(bought.format, bought.sample_rate);
        let (mut spans, mut too_short) = (Vec::with_capacity(pieces.len()), Vec::new());
        for (at, piece) in pieces.into_iter().enumerate() {
            let span = match piece.path {
                None => None,
                Some(path) => {
                    let start = joiner.samples();
                    joiner.part(path).map_err(|e| Unjoined::Part(at, e))?;
                    let ms = |samples| sample_to_ms(samples, bought.sample_rate);
                    let span = Span { start_ms: ms(start), end_ms: ms(joiner.samples()) };
                    if !bought.format.is_opaque() && span.end_ms - span.start_ms < piece.least_ms {
                        too_short.push(at);
                    }
                    Some(span)
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
        let mut out = BufWriter::with_capacity(256 << 10, file().map_err(|e| Unjoined::File(AudioError::Write(e)))?);
        let joined = joiner.join(format.format, &mut out).map_err(Unjoined::File)?;
        drop(out);
        verify(&to, format.format, bought.sample_rate, joined.samples).map_err(Unjoined::File)?;
        let audio_ms = (!bought.format.is_opaque()).then(|| sample_to_ms(joined.samples, joined.rate));
        Ok(Joined { spans, audio_ms, too_short })
    };
    tokio::task::spawn_blocking(joining).await.expect("joining does not panic")
}

/// How long so many characters have to last at least, in ms.
fn least_ms(synthesis_job: &SynthesisJob<'_>) -> impl Fn(u64) -> u64 {
    let most = synthesis_job.synthesis.max_chars_per_second * synthesis_job.options.speed.factor();
    move |characters| {
        if most <= 0.0 {
            return 0;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a part has at most 8,000 characters"
        )]
        let ms = (characters as f64 * 1_000.0 / most) as u64;
        ms
    }
}

/// Characters that take their time. A row of dots takes none, and nothing else is allowed for: of a short prompt half
/// would pass for all of it.
fn spoken(text: &str) -> u64 {
    text.chars().filter(|c| c.is_alphanumeric() || c.is_whitespace()).count() as u64
}

/// A file of the audio cache is no audio any more: the disk has lost some of it. It is out of the way for the next `retry`.
async fn spoiled(work: &ActivePart<'_, &SynthesisJob<'_>>, at: usize, error: &AudioError) -> Result<Next, StoreError> {
    let (synthesis_job, store) = (work.asked, &work.shared.store);
    if let Some(cache_key) = synthesis_job.cache_keys[at] {
        store.audio_cache().discard(cache_key, synthesis_job.bought.format);
    }
    store.set_parts_aside(work.job.job, work.job.token, vec![super::index(at)]).await?;
    let part = synthesis_job.name_of(at).map(|part| format!("{part}: ")).unwrap_or_default();
    let message = format!("{part}its audio in the spool is damaged ({error}); `wavebatch retry` buys it again");
    Ok(Next::Leave(To::Finished(Box::new(synthesis_job.failed(ErrorKind::AnswerLost, message)))))
}
