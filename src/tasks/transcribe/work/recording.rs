//! The recording of a job in a form that can be sent: a URL as it is, a file that was probed, or what is made of one.

use std::{
    fs::File,
    io::{self, Cursor},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use url::Url;

use crate::{
    domain::{
        call::{CallFailure, ErrorKind},
        identity::{ContentHash, SeenFile},
        length::Length,
        listening::Prepare,
        options::{SendMode, SttModel, TranscribeOptions},
        s3::S3Address,
    },
    media::{
        content::{ContentError, Stamp, hash_file},
        fetch::FetchError,
        padding::{self, PaddingPlan},
        probe::{self, Kind, Probe},
        source::{MAX_CONVERTED_BYTES, MAX_SOURCE_BYTES, Source, SourceFailure, check_file},
    },
    runner::{JobContext, Leftover, disk, one_call::Prepared},
    waves::SttBody,
};

/// A recording of up to this size is read into memory when it is probed: 64 KiB.
const SMALL: u64 = 64 * 1024;

/// How long a presigned URL is valid.
const SIGNED_FOR: Duration = Duration::from_secs(3_600);

/// A local file and its content when it was read.
#[derive(Debug, Clone)]
pub(super) struct LocalContent {
    path: PathBuf,
    /// Identifies the unchanged file.
    stamp: Stamp,
    hash: ContentHash,
}

impl LocalContent {
    /// Whether the file is unchanged.
    async fn stays(&self) -> bool {
        let path = self.path.clone();
        let now =
            tokio::task::spawn_blocking(move || Stamp::at(&path)).await.expect("looking at a file does not panic");
        now == Some(self.stamp)
    }

    /// What to record after it was sent, if the file has changed: it may have been sent partly in its old and partly in its new
    /// form.
    async fn changed(&self) -> Option<(SeenFile, Option<ContentHash>)> {
        if self.stays().await {
            return None;
        }
        let path = self.path.clone();
        let hashed = tokio::task::spawn_blocking(move || hash_file(&path, |_| ())).await;
        Some(match hashed.expect("reading a file does not panic") {
            Ok((stamp, hash)) if hash == self.hash => (stamp.seen, Some(hash)),
            _ => (self.stamp.seen, None),
        })
    }
}

/// What can be sent.
#[derive(Debug, Clone)]
struct Sendable {
    body: SttBody,
    /// What it is; `None` of a URL, which nobody has opened.
    probe: Option<Probe>,
    padding: Option<PaddingPlan>,
}

/// The recording of a job. Dropping it removes its copies in the spool.
#[derive(Debug)]
pub(super) struct Recording {
    /// The recording as it is.
    source: Option<Sendable>,
    /// What is sent instead of it, and its file.
    made: Option<(Sendable, Leftover)>,
    /// What a file that is only looked at is.
    peeked: Option<Probe>,
    /// The content of a local file, as it was probed.
    content: Option<LocalContent>,
    _copies: Vec<Leftover>,
    /// The largest file that is taken, in bytes.
    most: u64,
}

impl Recording {
    pub(super) fn new() -> Self {
        let (source, made, peeked, content, copies) = Default::default();
        Self { source, made, peeked, content, _copies: copies, most: MAX_SOURCE_BYTES }
    }

    /// What is sent, with this many bytes of padding. `None` before [`Prepared::Ready`], and if [`Self::padding`] has no such
    /// size: then nothing may be sent, since the vendor's log would show another size.
    pub(super) fn body_with(&self, extra: Option<u32>) -> Option<SttBody> {
        let ready = self.sent()?.body.clone();
        let Some(extra) = extra else { return Some(ready) };
        let patch = self.padding()?.apply(extra)?;
        match ready {
            SttBody::File { path, len, content_type, .. } => {
                Some(SttBody::File { path, len, content_type, patch: Some(patch) })
            }
            SttBody::Bytes { content, content_type } => {
                Some(SttBody::Bytes { content: patch.apply(0, content)?, content_type })
            }
            SttBody::Url(_) => None,
        }
    }

    /// How it can be padded, if it can.
    pub(super) fn padding(&self) -> Option<&PaddingPlan> {
        self.sent()?.padding.as_ref()
    }

    /// What is sent.
    fn sent(&self) -> Option<&Sendable> {
        self.made.as_ref().map(|(made, _)| made).or(self.source.as_ref())
    }

    /// What the recording is, whatever is sent instead of it.
    pub(super) fn probe(&self) -> Option<Probe> {
        self.source.as_ref().and_then(|source| source.probe).or(self.peeked)
    }

    /// Whether something else is sent instead of it.
    pub(super) const fn is_converted(&self) -> bool {
        self.made.is_some()
    }

    /// The size that the vendor will see, in bytes; unknown if the vendor fetches a URL itself.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.bytes_with(None)
    }

    /// The size that the vendor will see with this much padding, in bytes.
    pub(super) fn bytes_with(&self, extra: Option<u32>) -> Option<u64> {
        let len = match &self.sent()?.body {
            SttBody::File { len, .. } => *len,
            SttBody::Bytes { content, .. } => content.len() as u64,
            SttBody::Url(_) => return None,
        };
        Some(len + u64::from(extra.unwrap_or_default()))
    }

    /// The length of what is sent.
    pub(super) fn length(&self) -> Length {
        self.sent().and_then(|sent| sent.probe).or(self.peeked).map(|probe| probe.length).unwrap_or_default()
    }

    /// The content of a local file, and how the file was found.
    pub(super) fn content(&self) -> Option<(SeenFile, ContentHash)> {
        self.content.as_ref().map(|content| (content.stamp.seen, content.hash))
    }

    /// Whether a local file is unchanged since it was probed. Other recordings are copies of our own.
    pub(super) async fn stays(&self) -> bool {
        match &self.content {
            Some(content) => content.stays().await,
            None => true,
        }
    }

    /// What to record of a local file that changed since it was probed; `None` as its content: it is unknown what was sent.
    pub(super) async fn changed(&self) -> Option<(SeenFile, Option<ContentHash>)> {
        self.content.as_ref()?.changed().await
    }

    /// Gets the recording as it is: to this machine, or its URL where the vendor fetches it itself, if that `may_be_url`.
    pub(super) async fn get(
        &mut self,
        on: JobContext<'_>,
        options: &TranscribeOptions,
        (may_be_url, prepare): (bool, Prepare),
    ) -> Result<(), FetchError> {
        // What is larger than the API takes is converted.
        self.most = if prepare == Prepare::Never { MAX_SOURCE_BYTES } else { MAX_CONVERTED_BYTES };
        if self.source.as_ref().is_some_and(|source| may_be_url || !matches!(source.body, SttBody::Url(_))) {
            return Ok(());
        }
        match Source::parse(&on.job().source)? {
            Source::Http(url) if may_be_url && is_sent_as_url(on, options, &url) => self.take_url(url),
            Source::File(path) => self.look_into(path).await?,
            Source::S3(at) if may_be_url && options.send == SendMode::Url => self.take_url(presign(on, &at).await?),
            remote @ (Source::Http(_) | Source::S3(_)) => match self.fetch(on, &remote).await? {
                (_, Some(content)) => {
                    let padding = padding::plan(&mut Cursor::new(&content));
                    self.take(content.len() as u64, probe::probe_bytes(&content), padding, Ok(content))?;
                }
                (path, None) => self.look_at(path).await?,
            },
        }
        Ok(())
    }

    fn take_url(&mut self, url: Url) {
        self.source = Some(Sendable { body: SttBody::Url(url), probe: None, padding: None });
    }

    /// Where it is as a file, for what reads files. One in memory is written to the spool first.
    pub(super) async fn file(&mut self, on: JobContext<'_>) -> Result<PathBuf, FetchError> {
        let content = match self.source.as_ref().map(|source| &source.body) {
            Some(SttBody::File { path, .. }) => return Ok(path.clone()),
            Some(SttBody::Bytes { content, .. }) => content.clone(),
            Some(SttBody::Url(_)) | None => unreachable!("it was fetched before"),
        };
        if let Some(content) = &self.content {
            return Ok(content.path.clone());
        }
        let copy = Leftover::new(on, "heard");
        let path = copy.path.clone();
        let written = tokio::task::spawn_blocking({
            let path = path.clone();
            move || {
                path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                std::fs::write(&path, &content)
            }
        });
        written.await.expect("writing a file does not panic").map_err(|source| FetchError::Disk { path, source })?;
        self._copies.push(copy);
        Ok(self._copies.last().expect("it was pushed").path.clone())
    }

    /// Takes what was made of it, which is sent instead.
    pub(super) async fn send_instead(&mut self, made: Leftover) -> Result<(), FetchError> {
        let path = made.path.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let len = check_file(&path, MAX_SOURCE_BYTES)?;
            let (probe, file) = open(&path).map_err(|e| SourceFailure::of_file(&path, &e))?;
            let body = SttBody::File { path, len, content_type: probe.content_type.to_owned(), patch: None };
            Ok::<_, SourceFailure>(Sendable { body, probe: Some(probe), padding: padding::plan(&mut &file) })
        });
        self.made = Some((looked.await.expect("looking at a file does not panic")?, made));
        Ok(())
    }

    /// Sends it as it is from now on.
    pub(super) fn send_as_it_is(&mut self) {
        self.made = None;
    }

    /// Probes a local file without sending it; `None` if there is none.
    pub(super) async fn peek(&mut self, source: &str) -> Option<Probe> {
        let Ok(Source::File(path)) = Source::parse(source) else { return None };
        self.look_at(path).await.ok()?;
        self.peeked = self.source.take().and_then(|source| source.probe);
        self.peeked
    }

    /// Downloads it to the spool, a small one into memory.
    async fn fetch(&mut self, on: JobContext<'_>, from: &Source) -> Result<(PathBuf, Option<Bytes>), FetchError> {
        let copy = Leftover::new(on, "audio");
        let path = copy.path.clone();
        let fetched = match from {
            Source::Http(url) => {
                let fetcher = on.fetcher().clone().with_private_redirects(on.spec().private_redirects);
                fetcher.fetch_or_keep(url, &path, MAX_SOURCE_BYTES).await?
            }
            Source::S3(at) => {
                let expected = on.job().expected.as_ref();
                let fetched = on.objects().fetch_or_keep(at, expected, &path, self.most).await?;
                on.store_gave(at);
                fetched
            }
            Source::File(path) => return Ok((path.clone(), None)),
        };
        if fetched.content.is_none() {
            self._copies.push(copy);
        }
        Ok((path, fetched.content))
    }

    /// Probes a local file, and reads it to hash its content.
    async fn look_into(&mut self, path: PathBuf) -> Result<(), SourceFailure> {
        let (file, most) = (path.clone(), self.most);
        let hashed = tokio::task::spawn_blocking(move || {
            check_file(&file, most)?;
            hash_file(&file, |_| ()).map_err(|e| match e {
                ContentError::Io(e) => SourceFailure::of_file(&file, &e),
                ContentError::Changed => SourceFailure {
                    kind: ErrorKind::SourceChanged,
                    message: format!("`{}` {e}: it is still being written", file.display()),
                    transient: true,
                },
            })
        });
        let (stamp, hash) = hashed.await.expect("reading a file does not panic")?;
        self.look_at(path.clone()).await?;
        let content = LocalContent { path, stamp, hash };
        // The probed file must be the file that was read.
        if !content.stays().await || self.bytes() != Some(stamp.seen.bytes) {
            self.source = None;
            return Err(SourceFailure {
                kind: ErrorKind::SourceChanged,
                message: format!("`{}` changed while it was read", content.path.display()),
                transient: true,
            });
        }
        self.content = Some(content);
        Ok(())
    }

    async fn look_at(&mut self, path: PathBuf) -> Result<(), SourceFailure> {
        let most = self.most;
        let looked = tokio::task::spawn_blocking(move || {
            let len = check_file(&path, most)?;
            let (probe, file) = open(&path).map_err(|e| SourceFailure::of_file(&path, &e))?;
            let content = (len <= SMALL).then(|| std::fs::read(&path).ok()).flatten();
            let content = content.filter(|c| c.len() as u64 == len);
            let padding = match &content {
                Some(content) => padding::plan(&mut Cursor::new(content)),
                // Without a buffer: only a few bytes are read at each place.
                None => padding::plan(&mut &file),
            };
            Ok((path, len, probe, padding, content))
        });
        let (path, len, probe, padding, content) = looked.await.expect("looking at a file does not panic")?;
        self.take(len, probe, padding, content.map(Bytes::from).ok_or(path))
    }

    /// Takes a probed recording: in memory, or a file.
    fn take(
        &mut self,
        len: u64,
        probe: Probe,
        padding: Option<PaddingPlan>,
        content: Result<Bytes, PathBuf>,
    ) -> Result<(), SourceFailure> {
        if let Kind::NotAudio(what) = probe.kind {
            return Err(SourceFailure {
                kind: ErrorKind::SourceNotAudio,
                message: format!("the source is {what}, not audio"),
                transient: false,
            });
        }
        let content_type = probe.content_type.to_owned();
        let body = match content {
            Ok(content) => SttBody::Bytes { content, content_type },
            Err(path) => SttBody::File { path, len, content_type, patch: None },
        };
        self.source = Some(Sendable { body, probe: Some(probe), padding });
        Ok(())
    }
}

/// Opens a file, and probes it.
fn open(path: &Path) -> io::Result<(Probe, File)> {
    let file = File::open(path)?;
    let probe = probe::probe_reader(&mut &file)?;
    Ok((probe, file))
}

/// Signs an object's address for this try alone, for long enough that the vendor's queue does not outlast it.
async fn presign(on: JobContext<'_>, at: &S3Address) -> Result<Url, FetchError> {
    on.objects().look(at, on.job().expected.as_ref()).await?;
    on.store_gave(at);
    on.objects().presign(at, SIGNED_FOR).await
}

/// What follows if a recording cannot be had.
pub(super) fn not_fetched(error: FetchError) -> Prepared {
    match error {
        FetchError::Source(t) if t.kind == ErrorKind::LocalOutage => Prepared::Machine(t.message),
        FetchError::Source(t) => {
            Prepared::CallFailure { transient: t.transient, failure: CallFailure::new(t.kind, t.message) }
        }
        FetchError::Credentials(message) => Prepared::Refused(message),
        FetchError::Disk { path, source } => Prepared::Machine(disk::message(&path, &source)),
    }
}

/// Whether the vendor fetches the recording itself.
fn is_sent_as_url(on: JobContext<'_>, options: &TranscribeOptions, url: &Url) -> bool {
    match options.send {
        SendMode::Bytes => false,
        SendMode::Url => !matches!(options.model, SttModel::PulsePro | SttModel::PulseLive),
        // With a spend limit, each recording is measured before it is paid for.
        SendMode::Auto => {
            options.model == SttModel::Pulse
                && on.run().max_spend_usd.is_none()
                && on.config().spend.is_none()
                && Source::Http(url.clone()).is_public_http()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::audio::wav;

    /// A probed recording, and its file.
    async fn looked_at(content: &[u8]) -> (Recording, tempfile::NamedTempFile) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        let mut recording = Recording::new();
        recording.look_at(file.path().to_owned()).await.unwrap();
        (recording, file)
    }

    #[tokio::test]
    async fn it_can_be_padded_from_memory_and_from_a_file() {
        for samples in [1_000, 100_000] {
            let content = wav::pcm16(1, 8000, None, &vec![7; samples]);
            let (recording, _file) = looked_at(&content).await;
            let plan = *recording.padding().unwrap();
            assert_eq!(Some(plan), padding::plan(&mut Cursor::new(&content)));
            for extra in [8, 100, 65_536] {
                let patch = plan.apply(extra).unwrap();
                assert_eq!(recording.bytes_with(Some(extra)), Some(patch.len()));
                match recording.body_with(Some(extra)).unwrap() {
                    SttBody::Bytes { content: sent, .. } => {
                        assert!(content.len() as u64 <= SMALL);
                        assert_eq!(Some(sent), patch.apply(0, content.clone().into()));
                    }
                    SttBody::File { len, patch: sent, .. } => {
                        assert_eq!((len, sent), (content.len() as u64, Some(patch)));
                        assert!(len > SMALL);
                    }
                    SttBody::Url(_) => panic!("a file"),
                }
            }
            assert!(recording.body_with(Some(9)).is_none());
            assert_eq!(recording.bytes(), Some(content.len() as u64));
            let is_as_it_is = match recording.body_with(None).expect("it is ready") {
                SttBody::Bytes { content: sent, .. } => sent == content,
                SttBody::File { patch, .. } => patch.is_none(),
                SttBody::Url(_) => false,
            };
            assert!(is_as_it_is);
        }
    }

    #[tokio::test]
    async fn what_has_no_room_is_sent_as_it_is_or_not_at_all() {
        let mut lies = wav::pcm16(1, 8000, None, &[7; 1_000]);
        lies.push(0);
        for content in [lies, vec![0x55; 100_000]] {
            let (recording, _file) = looked_at(&content).await;
            assert!(recording.padding().is_none() && recording.body_with(Some(8)).is_none());
            assert!(recording.body_with(None).is_some());
        }
        let nothing = Recording::new();
        assert!(nothing.body_with(None).is_none() && nothing.bytes_with(Some(8)).is_none());
    }
}
