//! Receives an object's bytes and writes them to the disk.

use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use tokio::time::timeout;

use super::changed;
use crate::{
    domain::{
        call::ErrorKind,
        s3::{Listed, S3Address},
    },
    media::{fetch::FetchError, source::SourceFailure, transfer::PartialFile},
    s3::{S3Failure, S3Kind},
};

/// What a fetch keeps from one try to the next.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Identifies the unchanged object in the store.
    pub(super) etag: Option<String>,
    pub(super) content_type: Option<String>,
}

/// How a response's body is received.
pub(super) struct Receiving<'a> {
    pub(super) at: &'a S3Address,
    pub(super) expected: Option<&'a Listed>,
    pub(super) idle_timeout: Duration,
}

impl Receiving<'_> {
    /// Appends the response's body to `part`, and checks that the file is then complete.
    pub(super) async fn copy(
        &self,
        mut answer: GetObjectOutput,
        part: &mut PartialFile,
        progress: &mut Progress,
    ) -> Result<(), FetchError> {
        let after = first_byte(answer.content_range()).unwrap_or(0);
        if after != part.len() {
            // The store sent something else than the requested rest: only a body from the beginning is usable.
            part.restart().await?;
            if after != 0 {
                *progress = Progress::default();
                return Err(self.cut(0, None).into());
            }
        }
        let total = answer.content_length().and_then(|bytes| u64::try_from(bytes).ok()).map(|bytes| bytes + after);
        self.check(total, answer.e_tag(), part.max())?;
        progress.etag = answer.e_tag().map(|etag| etag.trim_matches('"').to_owned());
        progress.content_type = answer.content_type().map(str::to_owned);
        let ended = loop {
            match timeout(self.idle_timeout, answer.body.next()).await {
                Ok(Some(Ok(chunk))) if part.len() + chunk.len() as u64 > part.max() => {
                    break Err(self.too_large(part.max()));
                }
                Ok(Some(Ok(chunk))) => part.append(&chunk).await?,
                Ok(None) => break Ok(()),
                Ok(Some(Err(error))) => {
                    let corrupt = S3Failure::broken(&error).kind == S3Kind::Checksum;
                    if corrupt || total.is_some_and(|total| part.len() >= total) {
                        // It is unknown which of the bytes are wrong.
                        *progress = Progress::default();
                    }
                    break Err(self.cut(part.len(), total));
                }
                Err(_) => {
                    let message =
                        format!("{} fell silent for {:?} after {} bytes", self.at, self.idle_timeout, part.len());
                    break Err(SourceFailure::passing(ErrorKind::SourceTimedOut, message));
                }
            }
        };
        part.settle().await?;
        ended?;
        match total {
            Some(total) if part.len() != total => Err(self.cut(part.len(), Some(total)).into()),
            _ if part.len() == 0 => Err(self.empty().into()),
            _ => Ok(()),
        }
    }

    /// What can be checked before the body is read.
    fn check(&self, total: Option<u64>, etag: Option<&str>, max: u64) -> Result<(), SourceFailure> {
        if let Some(listed) = self.expected {
            let other_etag = etag.is_some_and(|etag| !listed.etag.is_empty() && etag.trim_matches('"') != listed.etag);
            if other_etag || total.is_some_and(|total| total != listed.bytes) {
                return Err(changed(self.at));
            }
        }
        match total {
            Some(0) => Err(self.empty()),
            Some(total) if total > max => Err(self.too_large(max)),
            _ => Ok(()),
        }
    }

    fn empty(&self) -> SourceFailure {
        SourceFailure::lasting(ErrorKind::SourceEmpty, format!("{} is empty", self.at))
    }

    fn too_large(&self, max: u64) -> SourceFailure {
        let message = format!("{} has more than the {max} bytes that are allowed", self.at);
        SourceFailure::lasting(ErrorKind::SourceTooLarge, message)
    }

    fn cut(&self, after: u64, total: Option<u64>) -> SourceFailure {
        let of = total.map(|bytes| format!(" of {bytes}")).unwrap_or_default();
        let message = format!("{} was cut after {after}{of} bytes", self.at);
        SourceFailure::passing(ErrorKind::SourceUnavailable, message)
    }
}

/// The position of the first byte in `bytes 5-9/10`.
fn first_byte(range: Option<&str>) -> Option<u64> {
    range?.trim().strip_prefix("bytes")?.trim_start().split_once('-')?.0.parse().ok()
}
