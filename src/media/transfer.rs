//! The bytes of a fetch on their way to the disk, and what a server's answer says about them.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{
    Response, StatusCode,
    header::{CONTENT_RANGE, HeaderMap, RETRY_AFTER},
};
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncSeekExt, AsyncWriteExt},
};
use url::Url;

use super::{
    fetch::FetchError,
    source::{SourceTrouble, shown_url},
};
use crate::domain::call::ErrorKind;

/// A file that is still being fetched. It goes with this value, unless it was finished.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    path: PathBuf,
    dest: PathBuf,
    len: u64,
    max: u64,
    finished: bool,
}

impl Part {
    pub(super) async fn create(dest: &Path, max: u64) -> Result<Self, FetchError> {
        let mut path = dest.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        options.mode(0o600);
        let file = options.open(&path).await.map_err(|source| FetchError::Disk { path: path.clone(), source })?;
        Ok(Self { file, path, dest: dest.to_owned(), len: 0, max, finished: false })
    }

    /// Bytes so far.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Bytes at most.
    pub(super) const fn max(&self) -> u64 {
        self.max
    }

    fn on_disk<T>(&self, done: io::Result<T>) -> Result<T, FetchError> {
        done.map_err(|source| FetchError::Disk { path: self.path.clone(), source })
    }

    /// Forgets what there is.
    pub(super) async fn restart(&mut self) -> Result<(), FetchError> {
        if self.len > 0 {
            let emptied = self.file.set_len(0).await;
            self.on_disk(emptied)?;
            let rewound = self.file.rewind().await;
            self.on_disk(rewound)?;
            self.len = 0;
        }
        Ok(())
    }

    pub(super) async fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        let written = self.file.write_all(bytes).await;
        self.on_disk(written)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Waits until what was appended is written, so that its length can be relied on.
    pub(super) async fn settle(&mut self) -> Result<(), FetchError> {
        let flushed = self.file.flush().await;
        self.on_disk(flushed)
    }

    /// Gives the file its name.
    pub(super) async fn finish(mut self) -> Result<(), FetchError> {
        let renamed = tokio::fs::rename(&self.path, &self.dest).await;
        self.on_disk(renamed)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.finished {
            // It may be gone already, and a leftover is swept at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// How an answer's body is received.
pub(super) struct Receiving<'a> {
    pub(super) url: &'a Url,
    pub(super) idle_timeout: Duration,
    /// The length of the whole file, where the server said it.
    pub(super) expected: Option<u64>,
}

impl Receiving<'_> {
    /// Appends the answer's body to `part`, and checks that the file is then whole.
    pub(super) async fn copy(&self, mut response: Response, part: &mut Part) -> Result<(), FetchError> {
        let ended = loop {
            match response.chunk().await {
                Ok(Some(chunk)) if part.len() + chunk.len() as u64 > part.max() => {
                    break Err(too_large(self.url, part.max()));
                }
                Ok(Some(chunk)) => part.append(&chunk).await?,
                Ok(None) => break Ok(()),
                Err(error) => break Err(self.broken(&error, part.len())),
            }
        };
        part.settle().await?;
        ended?;
        match self.expected {
            Some(expected) if part.len() != expected => Err(self.cut(part.len()).into()),
            _ if part.len() == 0 => {
                let message = format!("{} is empty", shown_url(self.url));
                Err(SourceTrouble::lasting(ErrorKind::SourceEmpty, message).into())
            }
            _ => Ok(()),
        }
    }

    fn broken(&self, error: &reqwest::Error, after: u64) -> SourceTrouble {
        if error.is_timeout() {
            let url = shown_url(self.url);
            let message = format!("{url} fell silent for {:?} after {after} bytes", self.idle_timeout);
            return SourceTrouble::passing(ErrorKind::SourceTimedOut, message);
        }
        self.cut(after)
    }

    fn cut(&self, after: u64) -> SourceTrouble {
        let of = self.expected.map(|bytes| format!(" of {bytes}")).unwrap_or_default();
        let message = format!("{} was cut after {after}{of} bytes", shown_url(self.url));
        SourceTrouble::passing(ErrorKind::SourceUnavailable, message)
    }
}

pub(super) fn too_large(url: &Url, max: u64) -> SourceTrouble {
    let message = format!("{} has more than the {max} bytes that are allowed", shown_url(url));
    SourceTrouble::lasting(ErrorKind::SourceTooLarge, message)
}

/// What an answer means that brings no file.
pub(super) fn refused(url: &Url, status: StatusCode) -> SourceTrouble {
    let url = shown_url(url);
    match status.as_u16() {
        404 | 410 => SourceTrouble::lasting(ErrorKind::SourceMissing, format!("there is nothing at {url} ({status})")),
        408 | 425 | 429 | 500.. => {
            let message = format!("{url} is not available for the moment ({status})");
            SourceTrouble::passing(ErrorKind::SourceUnavailable, message)
        }
        401 | 403 => {
            let message = format!("{url} refuses access ({status}); has its signature expired?");
            SourceTrouble::lasting(ErrorKind::SourceRefused, message)
        }
        204 | 205 => SourceTrouble::lasting(ErrorKind::SourceEmpty, format!("{url} is empty ({status})")),
        _ => SourceTrouble::lasting(ErrorKind::SourceRefused, format!("{url} gives no file ({status})")),
    }
}

/// The first byte's position and the whole file's length in `Content-Range: bytes 5-9/10`.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes")?.trim_start();
    let (span, total) = range.split_once('/')?;
    let (first, _) = span.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}

/// The server's `Retry-After`, where it is in seconds: the form for short waits. Longer ones are the job's affair.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
