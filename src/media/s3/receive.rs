//! Receives an object's bytes and writes them to the disk.

use std::time::Duration;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use tokio::time::timeout;

use super::changed;
use crate::{
    domain::{
        call::ErrorKind,
        s3::{Listed, S3Address},
        span,
    },
    media::{
        encoding::{Body, Unfit},
        fetch::FetchError,
        partial::PartialFile,
        source::SourceFailure,
        transfer::{damaged, packed},
    },
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
    /// Appends the response's body to `part`, unpacked, and checks that the file is then complete.
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
        let mut body = Body::new(answer.content_encoding(), part.len()).map_err(|name| packed(&self.shown(), &name))?;
        // Nothing can go on in the middle of what is packed.
        let etag = answer.e_tag().filter(|_| !body.is_packed());
        progress.etag = etag.map(|etag| etag.trim_matches('"').to_owned());
        progress.content_type = answer.content_type().map(str::to_owned);
        let ended = loop {
            let added = match timeout(self.idle_timeout, answer.body.next()).await {
                Ok(Some(Ok(chunk))) => body.add(&chunk, part).await,
                Ok(None) => break Ok(()),
                Ok(Some(Err(error))) => {
                    let corrupt = S3Failure::broken(&error).kind == S3Kind::Checksum;
                    if corrupt || total.is_some_and(|total| body.came() >= total) {
                        // It is unknown which of the bytes are wrong.
                        *progress = Progress::default();
                    }
                    break Err(self.cut(body.came(), total));
                }
                Err(_) => {
                    let silent = span::in_words(self.idle_timeout);
                    let message = format!("{} fell silent for {silent} after {} bytes", self.at, body.came());
                    break Err(SourceFailure::passing(ErrorKind::SourceTimedOut, message));
                }
            };
            match added {
                Ok(()) => {}
                Err(Unfit::Fetch(error)) => return Err(error),
                Err(unfit) => break Err(self.unfit(unfit, part.max())),
            }
        };
        part.settle().await?;
        ended?;
        if total.is_some_and(|total| body.came() != total) {
            return Err(self.cut(body.came(), total).into());
        }
        match body.end(part).await {
            Ok(()) => part.settle().await?,
            Err(Unfit::Fetch(error)) => return Err(error),
            // Without a length, a body that was cut looks like one that ends too early.
            Err(Unfit::Damaged(_)) if total.is_none() => return Err(self.cut(body.came(), None).into()),
            Err(unfit) => return Err(self.unfit(unfit, part.max()).into()),
        }
        if part.len() == 0 { Err(self.empty().into()) } else { Ok(()) }
    }

    fn shown(&self) -> String {
        self.at.to_string()
    }

    fn unfit(&self, unfit: Unfit, max: u64) -> SourceFailure {
        match unfit {
            Unfit::Damaged(why) => damaged(&self.shown(), &why),
            Unfit::TooLarge | Unfit::Fetch(_) => self.too_large(max),
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
