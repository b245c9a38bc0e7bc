//! Recordings and manifests in an S3 store: listing, downloading and presigning them.

use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use aws_sdk_s3::presigning::PresigningConfig;
use tokio::time::timeout;
use url::Url;

use super::{
    encoding::Body,
    fetch::{FetchError, FetchSettings, Fetched},
    partial::{PartialFile, SMALL},
    source::SourceFailure,
};
use crate::{
    domain::{
        call::ErrorKind,
        s3::{Listed, S3Address, S3Settings},
        span,
    },
    pace::Pace,
    s3::{S3, S3Error, S3Failure, S3Kind, S3Timeouts},
};

pub use crate::s3::ListedKey;

mod receive;

use receive::{Progress, Receiving};

/// The objects of a store. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Objects {
    s3: S3,
    settings: FetchSettings,
}

/// Why a listing ended early.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The store is to blame.
    #[error(transparent)]
    Store(#[from] S3Error),
    /// The receiver of the keys failed.
    #[error("the listing could not be taken in")]
    Taken(#[source] io::Error),
}

impl Objects {
    /// The store with these settings. Nothing is looked up before the first call.
    #[must_use]
    pub fn new(settings: &S3Settings) -> Self {
        Self::on(S3::new(settings))
    }

    /// The objects of a store whose connection others share.
    #[must_use]
    pub fn on(s3: S3) -> Self {
        Self { s3, settings: FetchSettings::default() }
    }

    /// Uses other time-outs than the default.
    #[must_use]
    pub fn patient(self, settings: FetchSettings) -> Self {
        Self { settings, ..self }
    }

    /// Passes every object below `prefix` to `each`, in the order of the keys, and returns their number. The next page of 1,000
    /// is requested while one is handled; at most two are in memory.
    ///
    /// # Errors
    /// The store cannot be reached, or refuses; or `each` failed.
    pub async fn list(
        &self,
        prefix: &S3Address,
        mut each: impl FnMut(ListedKey) -> io::Result<()>,
    ) -> Result<u64, ListError> {
        let mut pages = self.s3.pages(prefix, S3Timeouts { pace: self.settings.pace, ..S3Timeouts::default() });
        let mut count = 0;
        while let Some(page) = pages.next().await? {
            for key in page {
                each(key).map_err(ListError::Taken)?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Downloads an object to the file `dest`, which appears complete or not at all, and is readable by its owner alone; like
    /// [`super::fetch::Fetcher::fetch`]. An interrupted transfer is resumed if the object is unchanged.
    ///
    /// # Errors
    /// The object cannot be read, differs from the listing's `expected`, is empty, or is larger than `max_bytes`; the
    /// credentials are rejected; or `dest` cannot be written. No file is left.
    pub async fn fetch(
        &self,
        at: &S3Address,
        expected: Option<&Listed>,
        dest: &Path,
        max_bytes: u64,
    ) -> Result<Fetched, FetchError> {
        self.fetch_into(at, expected, PartialFile::create(dest, max_bytes, 0).await?).await
    }

    /// The same, but up to 64 KiB stay in memory, and only more is written to the file `dest`.
    ///
    /// # Errors
    /// As of [`Objects::fetch`].
    pub async fn fetch_or_keep(
        &self,
        at: &S3Address,
        expected: Option<&Listed>,
        dest: &Path,
        max_bytes: u64,
    ) -> Result<Fetched, FetchError> {
        self.fetch_into(at, expected, PartialFile::create(dest, max_bytes, SMALL).await?).await
    }

    async fn fetch_into(
        &self,
        at: &S3Address,
        expected: Option<&Listed>,
        mut part: PartialFile,
    ) -> Result<Fetched, FetchError> {
        let mut progress = Progress::default();
        match timeout(self.settings.whole_timeout, self.try_all(at, expected, &mut part, &mut progress)).await {
            Ok(fetched) => fetched?,
            Err(_) => {
                let message = format!("{at} did not arrive within {}", span::in_words(self.settings.whole_timeout));
                return Err(SourceFailure::passing(ErrorKind::SourceTimedOut, message).into());
            }
        }
        let bytes = part.len();
        Ok(Fetched { bytes, content_type: progress.content_type, content: part.finish().await? })
    }

    async fn try_all(
        &self,
        at: &S3Address,
        expected: Option<&Listed>,
        part: &mut PartialFile,
        progress: &mut Progress,
    ) -> Result<(), FetchError> {
        let (mut waits, begun) = (self.settings.pace.waits(), Instant::now());
        loop {
            let failure = match self.try_once(at, expected, part, progress).await {
                Ok(()) => return Ok(()),
                Err(FetchError::Source(failure)) if failure.transient => failure,
                Err(error) => return Err(error),
            };
            let Some(wait) = waits.next().filter(|_| !self.s3.is_hopeless(begun)) else { return Err(failure.into()) };
            tokio::time::sleep(wait).await;
        }
    }

    /// Makes one request, and appends the body to `part`.
    async fn try_once(
        &self,
        at: &S3Address,
        expected: Option<&Listed>,
        part: &mut PartialFile,
        progress: &mut Progress,
    ) -> Result<(), FetchError> {
        let resume = progress.etag.clone().filter(|_| part.len() > 0);
        if resume.is_none() {
            part.restart().await?;
        }
        let resuming = resume.is_some();
        let listed = expected.map(|listed| listed.etag.clone()).filter(|etag| !etag.is_empty());
        let same = resume.or(listed).map(|etag| format!("\"{etag}\""));
        let range = resuming.then(|| format!("bytes={}-", part.len()));
        let answer = self.s3.call("read", at, self.once(), |connection| {
            let get = connection.client.get_object().bucket(&at.bucket).key(&at.key);
            let request = get.set_if_match(same.clone()).set_range(range.clone());
            async move { Ok(request.send().await?) }
        });
        let answer = match answer.await {
            // A changed object is a fault only if a listing named another one.
            Err(e) if resuming && matches!(e.kind, S3Kind::Changed | S3Kind::PastEnd) && expected.is_none() => {
                return Err(start_again(at, progress));
            }
            Err(e) if e.kind == S3Kind::PastEnd => return Err(changed(at).into()),
            answer => answer.map_err(|e| failure_of(at, e))?,
        };
        Receiving { at, expected, idle_timeout: self.settings.idle_timeout }.copy(answer, part, progress).await
    }

    /// Whether objects of this bucket can be read, tested with one of them, existing or not.
    ///
    /// # Errors
    /// Why none of them can be read: no bucket, no permission, no credentials, or no response.
    pub async fn try_reading(&self, at: &S3Address) -> Result<(), S3Error> {
        let timeouts =
            S3Timeouts { pace: self.settings.pace, answer: self.settings.idle_timeout, ..S3Timeouts::default() };
        let tried = self.s3.call("read", at, timeouts, |connection| {
            let request = connection.client.get_object().bucket(&at.bucket).key(&at.key).range("bytes=0-0");
            async move { request.send().await.map(|_| ()).map_err(S3Failure::from) }
        });
        match tried.await {
            Err(e) if matches!(e.kind, S3Kind::NoKey | S3Kind::Archived | S3Kind::PastEnd | S3Kind::BadName) => Ok(()),
            tried => tried,
        }
    }

    /// The first `bytes` of an object, or all of it if it is shorter; none of one that is packed.
    ///
    /// # Errors
    /// The object cannot be read, or the credentials are rejected.
    pub async fn fetch_start(&self, at: &S3Address, bytes: u64) -> Result<(Vec<u8>, Option<u64>), FetchError> {
        self.fetch_range(at, format!("bytes=0-{}", bytes.saturating_sub(1)), bytes).await
    }

    /// The last `bytes` of an object, or all of it if it is shorter; none of one that is packed.
    ///
    /// # Errors
    /// The object cannot be read, or the credentials are rejected.
    pub async fn fetch_end(&self, at: &S3Address, bytes: u64) -> Result<Vec<u8>, FetchError> {
        self.fetch_range(at, format!("bytes=-{bytes}"), bytes).await.map(|(end, _)| end)
    }

    /// A range, and the size of the whole object if the store says it.
    async fn fetch_range(
        &self,
        at: &S3Address,
        range: String,
        bytes: u64,
    ) -> Result<(Vec<u8>, Option<u64>), FetchError> {
        let idle = self.settings.idle_timeout;
        let timeouts = S3Timeouts { pace: self.settings.pace, answer: idle, ..S3Timeouts::default() };
        let start = self.s3.call("read", at, timeouts, |connection| {
            let request = connection.client.get_object().bucket(&at.bucket).key(&at.key).range(&range);
            async move {
                let mut answer = request.send().await?;
                let total = match answer.content_range() {
                    Some(range) => range.rsplit('/').next().and_then(|total| total.parse().ok()),
                    None => answer.content_length().and_then(|length| u64::try_from(length).ok()),
                };
                let mut start = Vec::new();
                if Body::new(answer.content_encoding(), 0).map_or(true, |body| body.is_packed()) {
                    return Ok((start, None));
                }
                while let Some(chunk) = answer.body.next().await {
                    start.extend_from_slice(&chunk.map_err(|e| S3Failure::broken(&e))?);
                    // A store without range requests sends everything.
                    if start.len() as u64 >= bytes {
                        break;
                    }
                }
                start.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
                Ok((start, total))
            }
        });
        match start.await {
            Err(e) if e.kind == S3Kind::PastEnd => Ok((Vec::new(), Some(0))),
            start => start.map_err(|e| failure_of(at, e)),
        }
    }

    /// Checks that the object exists, can be read, and matches the listing's `expected`, before the vendor gets a presigned URL
    /// and could not say what is wrong.
    ///
    /// # Errors
    /// As of [`Objects::fetch`].
    pub async fn look(&self, at: &S3Address, expected: Option<&Listed>) -> Result<(), FetchError> {
        let timeouts =
            S3Timeouts { pace: self.settings.pace, answer: self.settings.idle_timeout, ..S3Timeouts::default() };
        let same =
            expected.map(|listed| &listed.etag).filter(|etag| !etag.is_empty()).map(|etag| format!("\"{etag}\""));
        let looked = self.s3.call("read", at, timeouts, |connection| {
            let get = connection.client.get_object().bucket(&at.bucket).key(&at.key).range("bytes=0-0");
            let request = get.set_if_match(same.clone());
            async move { request.send().await.map(|_| ()).map_err(S3Failure::from) }
        });
        match looked.await {
            Err(e) if e.kind == S3Kind::PastEnd => {
                Err(SourceFailure::lasting(ErrorKind::SourceEmpty, format!("{at} is empty")).into())
            }
            looked => looked.map_err(|e| failure_of(at, e)),
        }
    }

    /// A URL at which anybody can read the object for this time, but at most for seven days, and no longer than the credentials
    /// are valid. Whether the object exists and the region is right is not checked here: [`Objects::look`] checks both.
    ///
    /// # Errors
    /// The credentials are rejected.
    pub async fn presign(&self, at: &S3Address, valid: Duration) -> Result<Url, FetchError> {
        const LONGEST: Duration = Duration::from_secs(7 * 24 * 3_600);
        let valid = PresigningConfig::expires_in(valid.min(LONGEST)).expect("seven days are allowed");
        let signed = self.s3.call("sign an address of", at, self.once(), |connection| {
            let request = connection.client.get_object().bucket(&at.bucket).key(&at.key);
            let valid = valid.clone();
            async move { Ok(request.presigned(valid).await?) }
        });
        let signed = signed.await.map_err(|e| failure_of(at, e))?;
        let refused = |why: String| SourceFailure::lasting(ErrorKind::SourceRefused, why);
        let url: Url = signed.uri().parse().map_err(|e| refused(format!("{at} has no address: {e}")))?;
        // Whoever reads a URL takes `.` and `..` in its path as steps, and would ask for another object.
        if url.path() != path_of(signed.uri()) {
            let message = format!("{at} has `.` or `..` in its path, which no URL can have; use send = \"bytes\"");
            return Err(refused(message).into());
        }
        Ok(url)
    }

    /// The limits of one try: the loop around it knows what has arrived already.
    fn once(&self) -> S3Timeouts {
        S3Timeouts {
            answer: self.settings.idle_timeout,
            pace: Pace { tries: 1, ..Pace::default() },
            ..S3Timeouts::default()
        }
    }
}

/// The path of a URL as it is written.
fn path_of(url: &str) -> &str {
    let after = url.split_once("://").map_or(url, |(_, after)| after);
    let path = after.find('/').map_or("/", |slash| &after[slash..]);
    path.split('?').next().unwrap_or(path)
}

/// Handles an object that changed in the store: drops the progress, and returns a failure that is tried again.
fn start_again(at: &S3Address, progress: &mut Progress) -> FetchError {
    *progress = Progress::default();
    let message = format!("{at} changed while it was fetched");
    SourceFailure::passing(ErrorKind::SourceUnavailable, message).into()
}

fn changed(at: &S3Address) -> SourceFailure {
    let message = format!("{at} is not the object that was listed; list again to take it as it is now");
    SourceFailure::lasting(ErrorKind::SourceChanged, message)
}

/// The consequence of a store's error for the line whose source it is.
fn failure_of(at: &S3Address, error: S3Error) -> FetchError {
    let message = error.to_string();
    let lasting = |kind| SourceFailure::lasting(kind, message.clone());
    match error.kind {
        S3Kind::NoCredentials | S3Kind::BadCredentials | S3Kind::WrongRegion => {
            return FetchError::Credentials(message);
        }
        S3Kind::NoKey => SourceFailure::lasting(ErrorKind::SourceMissing, format!("there is no object {at}")),
        S3Kind::NoBucket => lasting(ErrorKind::SourceMissing),
        S3Kind::Changed => changed(at),
        S3Kind::Archived => {
            let message = format!("{at} is archived; restore it first");
            SourceFailure::lasting(ErrorKind::SourceArchived, message)
        }
        S3Kind::TimedOut => SourceFailure::passing(ErrorKind::SourceTimedOut, message),
        S3Kind::LocalOutage => SourceFailure::passing(ErrorKind::LocalOutage, message),
        S3Kind::Throttled | S3Kind::Unavailable | S3Kind::Checksum => {
            SourceFailure::passing(ErrorKind::SourceUnavailable, message)
        }
        S3Kind::Denied | S3Kind::PastEnd | S3Kind::BadName | S3Kind::Other => lasting(ErrorKind::SourceRefused),
    }
    .into()
}
