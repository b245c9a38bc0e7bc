//! From parts on the shelf to outputs in the sink: joined as a stream, verified, captioned. Nothing here costs money.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::PathBuf,
    sync::Arc,
};

use super::{
    part::{Kept, Ready},
    survey::Speech,
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
    render::speech_captions,
    runner::{
        deliver::{DISK_RETRY_MS, doubt},
        disk, outputs,
        worker::{Next, Work},
    },
    sink::{Content, Item},
    store::{Finish, Shelf, StoreError, To, Writes},
    tasks::transcribe::work::recording::Leftover,
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
    /// What is on the shelf under this part's name is no such audio.
    Part(usize, AudioError),
    /// It was joined, and is not what it should be; or the disk is to blame.
    File(AudioError),
}

pub(crate) async fn deliver(work: &Work<'_, &Speech<'_>>, ready: Vec<Option<Ready>>) -> Result<Next, StoreError> {
    let (speech, shared) = (work.asked, work.shared);
    let leftover = Leftover::new(&shared.store, work.job, "joined");
    let joined = match join(speech, shared.store.shelf(), leftover.path.clone()).await {
        Ok(joined) => joined,
        // What cannot be read now (too many open files, for one) is not damaged.
        Err(
            Unjoined::File(ref why @ (AudioError::Write(ref error) | AudioError::Read(ref error)))
            | Unjoined::Part(_, ref why @ AudioError::Read(ref error)),
        ) if error.kind() != io::ErrorKind::NotFound => {
            let told = match why {
                AudioError::Write(_) => disk::told(&leftover.path, error),
                _ => format!("the spool cannot be read: {error}"),
            };
            shared.say_of_disk(format!("{told}; its lines are tried again every 30 s"));
            let due_at = work.now() + DISK_RETRY_MS;
            return Ok(Next::Leave(To::Queued { due_at, call: None, source_try: false }));
        }
        Err(Unjoined::Part(at, error)) => return spoiled(work, at, &error).await,
        Err(Unjoined::File(error)) => {
            let finish = speech.failed(ErrorKind::UnusableAnswer, format!("its parts do not make one file: {error}"));
            return Ok(Next::Leave(To::Finished(Box::new(finish))));
        }
    };
    // Joining takes its time: another line's outputs may stand where its own would.
    if !shared.store.holds(work.job.job, work.job.token).await? {
        return Ok(Next::Lost);
    }
    let items = items(speech, &joined, leftover.path.clone());
    let written = match outputs::write(work, items, writes(speech)).await? {
        Ok(written) => written,
        Err(next) => return Ok(next),
    };
    let paid_again = ready.iter().flatten().any(|ready| ready.billed > 1);
    let all: Vec<&Kept> = ready.iter().flatten().filter_map(|ready| ready.answer.as_ref()).collect();
    let bought = ready.iter().flatten().filter(|ready| ready.bought).count() as u64;
    let short = joined.too_short.first().map(|at| match (speech.name_of(*at), joined.too_short.len() - 1) {
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
            reused_parts: Some(speech.count().saturating_sub(bought)),
            ..speech.facts()
        }
        .or(work.job.facts),
        units: Some(speech.characters),
        request_id: all.iter().find_map(|kept| kept.request_id.clone()),
        content_expiry: all.iter().find_map(|kept| kept.content_expiry.clone()),
        processing_ms: (!all.is_empty()).then(|| all.iter().map(|kept| kept.processing_ms).sum()),
        notes: notes(speech, &all, paid_again),
        doubtful: joined.too_short.iter().map(|at| super::index(*at)).collect(),
        ..Finish::default()
    };
    Ok(Next::Leave(To::Finished(Box::new(written.note(finish)))))
}

fn notes(speech: &Speech<'_>, answers: &[&Kept], paid_again: bool) -> Option<String> {
    let kept_by_vendor = |kept: &&&Kept| kept.content_expiry.as_deref() != Some("applied");
    let not_expiring =
        speech.options.expire_content != ExpireContent::No && answers.iter().any(|kept| kept_by_vendor(&kept));
    let notes: Vec<&str> = [not_expiring.then_some(Note::NotExpiring), paid_again.then_some(Note::PaidAgain)]
        .into_iter()
        .flatten()
        .map(|note| note.as_str())
        .collect();
    (!notes.is_empty()).then(|| notes.join(";"))
}

/// Whether another job of the batch, by its options, still writes a file.
fn writes(speech: &Speech<'_>) -> Writes {
    let captions = speech.synthesis.captions.clone();
    Arc::new(move |overrides, path| {
        let rendition = overrides.and_then(|json| serde_json::from_str::<Rendition>(json).ok());
        rendition.is_some_and(|rendition| rendition.files(&captions).iter().any(|file| file == path))
    })
}

/// The audio, and the captions beside it.
fn items(speech: &Speech<'_>, joined: &Joined, audio: PathBuf) -> Vec<Item> {
    let format = speech.rendition.format.format;
    let mut items = vec![Item {
        name: speech.rendition.file(),
        content: Content::Draft(audio),
        content_type: format.content_type(),
    }];
    if let Some(audio_ms) = joined.audio_ms.filter(|_| speech.rendition.captions) {
        let sentences = timed_sentences(&speech.parts, &joined.spans);
        items.extend(speech.synthesis.captions.iter().map(|caption| Item {
            name: format!("{}.{caption}", speech.rendition.name),
            content: Content::Bytes(speech_captions(*caption, &sentences, audio_ms)),
            content_type: caption.content_type(),
        }));
    }
    items
}

/// Joins the parts into one file, and looks at it again.
async fn join(speech: &Speech<'_>, shelf: Shelf, to: PathBuf) -> Result<Joined, Unjoined> {
    struct Piece {
        path: Option<PathBuf>,
        least_ms: u64,
        pause_ms: u32,
    }
    let (bought, format, pause) = (speech.bought, speech.rendition.format.clone(), speech.synthesis.pause);
    let least = least_ms(speech);
    let pauses = pause.after(&speech.parts);
    let pieces: Vec<Piece> = (speech.parts.iter().zip(&speech.sounds).zip(pauses))
        .map(|((part, sound), pause_ms)| Piece {
            path: sound.map(|sound| shelf.path(sound, bought.format)),
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
fn least_ms(speech: &Speech<'_>) -> impl Fn(u64) -> u64 {
    let most = speech.synthesis.max_chars_per_second * speech.options.speed.factor();
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

/// A file of the shelf is no audio any more: the disk has lost some of it. It is out of the way for the next `retry`.
async fn spoiled(work: &Work<'_, &Speech<'_>>, at: usize, error: &AudioError) -> Result<Next, StoreError> {
    let (speech, store) = (work.asked, &work.shared.store);
    if let Some(sound) = speech.sounds[at] {
        store.shelf().discard(sound, speech.bought.format);
    }
    store.set_parts_aside(work.job.job, work.job.token, vec![super::index(at)]).await?;
    let part = speech.name_of(at).map(|part| format!("{part}: ")).unwrap_or_default();
    let told = format!("{part}its audio in the spool is damaged ({error}); `wavebatch retry` buys it again");
    Ok(Next::Leave(To::Finished(Box::new(speech.failed(ErrorKind::AnswerLost, told)))))
}
