//! Hearing a recording, and making what is sent instead of it. Both decode the whole file, beside the calls.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::Semaphore;

use super::{TranscriptionJob, plan::SentPart, recording::not_fetched};
use crate::{
    audio::analyze::{self, Break, Encoding, HearError, HearSettings, Hearing, Limits, RawFormat, Target, convert},
    domain::{
        call::{CallFailure, ErrorKind},
        cuts::Cuts,
        hearing::Stretch,
        identity::ContentHash,
        listening::{Prepare, RawAudio, RawEncoding},
    },
    media::{
        content::hash_file,
        probe::Probe,
        source::{MAX_SOURCE_BYTES, SourceFailure},
    },
    runner::{Leftover, disk, one_call::Prepared},
    store::StoreError,
};

/// The form of hearings that this release keeps. A newer one changes no plan that is frozen.
const VERSION: u32 = 1;
/// A recording that gives so much less than was planned of it is another one by now, in ms.
const CHANGED_MS: u64 = 100;
/// Bytes of a WAV of what is sent, per ms.
const WAV_BYTES_PER_MS: u64 = 32;

/// How many recordings are decoded at once by one process: each takes a core.
pub(super) fn decoders() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)))
}

/// Why a recording was not heard.
pub(super) enum NotHeard {
    /// It cannot be had now, or at all.
    Source(Prepared),
    /// It is there, and cannot be decoded: why.
    Undecodable(String),
    /// The ledger cannot be read or written.
    Ledger(StoreError),
    /// Another worker has the job.
    Lost,
}

impl From<StoreError> for NotHeard {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error)
    }
}

/// What is heard in the recording of a job; from the ledger if it was heard before.
pub(super) async fn hear(job: &mut TranscriptionJob<'_>) -> Result<Hearing, NotHeard> {
    let on = job.on;
    if let Some(kept) = kept(job).await? {
        return Ok(kept);
    }
    let fetched = async {
        job.recording.get(on, &job.options, (false, job.asked.listening.prepare)).await?;
        job.recording.file(on).await
    };
    let path = fetched.await.map_err(|e| NotHeard::Source(not_fetched(e)))?;
    let content = match job.recording.content() {
        Some((_, hash)) => hash,
        None => {
            hash_of(path.clone()).await.map_err(|e| NotHeard::Source(Prepared::Machine(disk::message(&path, &e))))?
        }
    };
    let known = on.store().hearing_of(content, VERSION).await?.and_then(|body| Hearing::from_bytes(&body).ok());
    let heard = match known {
        Some(heard) => heard,
        None => {
            let heard = path.clone();
            decode(job, &path, move |settings, stop| analyze::hear(&heard, settings, stop)).await?
        }
    };
    let lease = (on.job().job, on.job().token);
    if !on.store().keep_hearing(lease, content, (VERSION, heard.to_bytes())).await? {
        return Err(NotHeard::Lost);
    }
    Ok(heard)
}

/// What was heard before.
pub(super) async fn kept(job: &TranscriptionJob<'_>) -> Result<Option<Hearing>, StoreError> {
    let body = job.on.store().hearing(job.on.job().job, VERSION).await?;
    Ok(body.and_then(|body| Hearing::from_bytes(&body).ok()))
}

async fn hash_of(path: PathBuf) -> io::Result<ContentHash> {
    let hashed = tokio::task::spawn_blocking(move || hash_file(&path, |_| ()));
    match hashed.await.expect("reading a file does not panic") {
        Ok((_, hash)) => Ok(hash),
        Err(e) => Err(io::Error::other(e.to_string())),
    }
}

/// Decodes beside the calls, when it is this one's turn. A drain ends it.
async fn decode<T: Send + 'static>(
    job: &TranscriptionJob<'_>,
    path: &Path,
    work: impl FnOnce(&HearSettings, &dyn Fn() -> bool) -> Result<T, HearError> + Send + 'static,
) -> Result<T, NotHeard> {
    let turn = Arc::clone(&job.kept.decoders).acquire_owned().await.expect("nobody closes it");
    let settings = settings(job);
    let drain = job.on.drain().clone();
    let decoded = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work(&settings, &|| drain.is_cancelled())
    });
    decoded.await.expect("decoding does not panic").map_err(|e| not_decoded(path, e))
}

fn settings(job: &TranscriptionJob<'_>) -> HearSettings {
    HearSettings {
        raw: job.asked.listening.raw.map(raw),
        ffmpeg: job.on.config().ffmpeg.clone(),
        limits: Limits::default(),
    }
}

/// What a file without a header is, as the decoder takes it.
pub(in crate::tasks::transcribe) const fn raw(raw: RawAudio) -> RawFormat {
    let encoding = match raw.encoding {
        RawEncoding::Ulaw => Encoding::ULaw,
        RawEncoding::Alaw => Encoding::ALaw,
        RawEncoding::S16le => Encoding::S16Le,
        RawEncoding::S16be => Encoding::S16Be,
        RawEncoding::G722 => Encoding::G722,
    };
    RawFormat { encoding, rate: raw.rate, channels: raw.channels }
}

fn not_decoded(path: &Path, error: HearError) -> NotHeard {
    match error {
        HearError::Write(e) => {
            NotHeard::Source(Prepared::Machine(format!("a converted recording cannot be written ({e})")))
        }
        HearError::Read(e) => NotHeard::Source(not_fetched(SourceFailure::of_file(path, &e).into())),
        HearError::Stopped => NotHeard::Source(Prepared::Machine("the program is ending".into())),
        other => NotHeard::Undecodable(other.to_string()),
    }
}

/// What is sent instead of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conversion {
    /// The stretches of it; if empty, all of it.
    cuts: Cuts,
    target: Target,
    /// Whether the recording itself may be sent if it cannot be made.
    is_optional: bool,
}

impl Conversion {
    /// What has to be made of a recording; `None`: it is sent as it is. `is_listed`: whether the API lists its format. `bytes`:
    /// its size.
    /// A live session takes samples alone.
    pub(super) fn of(
        sent: Option<&SentPart>,
        (prepare, is_live): (Prepare, bool),
        (is_listed, bytes): (bool, u64),
        length_ms: Option<u64>,
    ) -> Option<Self> {
        let cuts = match sent {
            Some(SentPart { channel: Some(channel), cuts, .. }) if cuts.is_empty() => {
                Cuts::of_channel(Some(*channel), [Stretch { from_ms: 0, to_ms: u64::MAX }])
            }
            Some(sent) => sent.cuts.clone(),
            None => Cuts::default(),
        };
        let is_cut = !cuts.is_empty();
        let length = sent.map(SentPart::sent_ms).filter(|ms| *ms > 0).or(length_ms);
        let is_long = length.is_some_and(|ms| ms.saturating_mul(WAV_BYTES_PER_MS) > MAX_SOURCE_BYTES / 10 * 9);
        let is_packed = (prepare == Prepare::Flac || is_long) && !is_live;
        let target = if is_packed { Target::Flac16k } else { Target::Wav16k };
        let is_large = bytes > MAX_SOURCE_BYTES;
        let is_needed = match prepare {
            _ if is_live => true,
            Prepare::Mono16k | Prepare::Flac => true,
            Prepare::Auto => !is_listed || is_large,
            Prepare::Never => false,
        };
        let is_optional = !is_cut && !is_live && prepare == Prepare::Auto && !is_large;
        (is_cut || is_needed).then_some(Self { cuts, target, is_optional })
    }
}

/// Makes what is sent instead of the recording, if something is.
pub(super) async fn make(job: &mut TranscriptionJob<'_>) -> Result<(), NotHeard> {
    let on = job.on;
    let Some(probe) = job.recording.probe() else { return Ok(()) };
    let sent = job.sent.as_ref();
    let known = (probe.is_listed, probe.bytes);
    let Some(wanted) = Conversion::of(sent, (job.asked.listening.prepare, job.is_live()), known, probe.length.ms())
    else {
        return Ok(());
    };
    // The file of the part before has the same name.
    job.recording.send_as_it_is();
    let source = job.recording.file(on).await.map_err(|e| NotHeard::Source(not_fetched(e)))?;
    let ending = if wanted.target == Target::Flac16k { "flac" } else { "wav" };
    let made = Leftover::new(on, &format!("sent.{ending}"));
    let path = made.path.clone();
    let (heard, cuts) = (source.clone(), wanted.cuts.clone());
    let planned_ms = sent.filter(|sent| !sent.cuts.is_empty()).map(SentPart::sent_ms);
    let converted = decode(job, &source, move |settings, stop| {
        path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(HearError::Write)?;
        let mut out = File::create(&path).map_err(HearError::Write)?;
        let converted = convert(&heard, settings, &cuts, wanted.target, &mut out, stop)?;
        match converted.broken {
            // The header of a file that is cut says more than there is: what there is, is the recording.
            None | Some(Break::CutShort { .. }) => Ok(converted.length_ms),
            Some(why) => Err(HearError::Broken { at_ms: converted.length_ms, why }),
        }
    });
    match converted.await {
        // Its words would be put back to wrong times.
        Ok(length_ms) if planned_ms.is_some_and(|planned| planned.abs_diff(length_ms) > CHANGED_MS) => {
            let message = "the recording is not as long as it was when it was heard";
            let failure = CallFailure::new(ErrorKind::SourceChanged, message);
            Err(NotHeard::Source(Prepared::CallFailure { failure, transient: true }))
        }
        Ok(_) => job.recording.send_instead(made).await.map_err(|e| NotHeard::Source(not_fetched(e))),
        // The API may read more than this program does.
        Err(NotHeard::Undecodable(why)) if wanted.is_optional => {
            tracing::info!(job.key = on.job().key, "a recording is sent as it is, since it cannot be converted: {why}");
            Ok(())
        }
        Err(other) => Err(other),
    }
}

/// The failure of a recording that has to be decoded and cannot be.
pub(super) fn undecodable(why: &str, probe: Option<Probe>) -> Prepared {
    let large = probe.map(|probe| probe.bytes).filter(|bytes| *bytes > MAX_SOURCE_BYTES);
    let (kind, message) = match large {
        Some(bytes) => (
            ErrorKind::SourceTooLarge,
            format!(
                "it has {bytes} bytes, the API takes at most {MAX_SOURCE_BYTES}, and it cannot be converted: {why}"
            ),
        ),
        None => (ErrorKind::SourceNotAudio, format!("the recording cannot be split or converted: {why}")),
    };
    Prepared::CallFailure { failure: CallFailure::new(kind, message), transient: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_lists_is_sent_as_it_is() {
        let of = |prepare, is_listed, bytes, ms| Conversion::of(None, (prepare, false), (is_listed, bytes), ms);
        assert_eq!(of(Prepare::Auto, true, 1_000, Some(60_000)), None);
        assert_eq!(of(Prepare::Never, false, 1_000, None), None);
        let made = of(Prepare::Auto, false, 1_000, Some(60_000)).unwrap();
        assert_eq!((made.target, made.is_optional), (Target::Wav16k, true));
        let large = of(Prepare::Auto, true, MAX_SOURCE_BYTES + 1, Some(3 * 3_600_000)).unwrap();
        assert_eq!((large.target, large.is_optional), (Target::Flac16k, false), "it cannot be sent as it is");
        for (prepare, target) in [(Prepare::Mono16k, Target::Wav16k), (Prepare::Flac, Target::Flac16k)] {
            let made = of(prepare, true, 1_000, None).unwrap();
            assert_eq!((made.target, made.is_optional), (target, false), "{prepare}");
        }
    }
}
