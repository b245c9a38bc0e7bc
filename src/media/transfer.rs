//! Takes the body of a server's response, and interprets the response.

use std::time::Duration;

use reqwest::{
    Response, StatusCode,
    header::{CONTENT_RANGE, HeaderMap, RETRY_AFTER},
};
use url::Url;

use super::{
    encoding::{Body, Unfit},
    fetch_error::FetchError,
    partial::PartialFile,
    source::{SourceFailure, shown_url},
};
use crate::domain::{call::ErrorKind, printable::printable, span};

/// How a response's body is received.
pub(super) struct Receiving<'a> {
    pub(super) url: &'a Url,
    pub(super) idle_timeout: Duration,
    /// The length of the whole file as it is sent, if the server says it.
    pub(super) expected: Option<u64>,
}

impl Receiving<'_> {
    /// Appends the response's body to `part`, unpacked, and checks that the file is then complete.
    pub(super) async fn copy(
        &self,
        mut response: Response,
        mut body: Body,
        part: &mut PartialFile,
    ) -> Result<(), FetchError> {
        let ended = loop {
            let added = match response.chunk().await {
                Ok(Some(chunk)) => body.add(&chunk, part).await,
                Ok(None) => break Ok(()),
                Err(error) => break Err(self.broken(&error, body.came())),
            };
            match added {
                Ok(()) => {}
                Err(Unfit::Fetch(error)) => return Err(error),
                Err(unfit) => break Err(self.unfit(unfit, part.max())),
            }
        };
        part.settle().await?;
        ended?;
        if self.expected.is_some_and(|expected| body.came() != expected) {
            return Err(self.cut(body.came()).into());
        }
        match body.end(part).await {
            Ok(()) => part.settle().await?,
            Err(Unfit::Fetch(error)) => return Err(error),
            // Without a length, a body that was cut looks like one that ends too early.
            Err(Unfit::Damaged(_)) if self.expected.is_none() => return Err(self.cut(body.came()).into()),
            Err(unfit) => return Err(self.unfit(unfit, part.max()).into()),
        }
        match part.len() {
            0 => {
                let message = format!("{} is empty", shown_url(self.url));
                Err(SourceFailure::lasting(ErrorKind::SourceEmpty, message).into())
            }
            _ => Ok(()),
        }
    }

    fn unfit(&self, unfit: Unfit, max: u64) -> SourceFailure {
        match unfit {
            Unfit::Damaged(why) => damaged(&shown_url(self.url), &why),
            Unfit::TooLarge | Unfit::Fetch(_) => too_large(self.url, max),
        }
    }

    fn broken(&self, error: &reqwest::Error, after: u64) -> SourceFailure {
        if error.is_timeout() {
            let (url, silent) = (shown_url(self.url), span::in_words(self.idle_timeout));
            let message = format!("{url} fell silent for {silent} after {after} bytes");
            return SourceFailure::passing(ErrorKind::SourceTimedOut, message);
        }
        self.cut(after)
    }

    fn cut(&self, after: u64) -> SourceFailure {
        let of = self.expected.map(|bytes| format!(" of {bytes}")).unwrap_or_default();
        let message = format!("{} was cut after {after}{of} bytes", shown_url(self.url));
        SourceFailure::passing(ErrorKind::SourceUnavailable, message)
    }
}

/// The failure for a body that is not packed as its `Content-Encoding` says.
pub(super) fn damaged(source: &str, why: &str) -> SourceFailure {
    let message = format!("{source} cannot be unpacked as its Content-Encoding says: {why}");
    SourceFailure::lasting(ErrorKind::SourceUnreadable, message)
}

/// The failure for a body with a `Content-Encoding` that cannot be undone.
pub(super) fn packed(source: &str, encoding: &str) -> SourceFailure {
    let encoding = printable(encoding);
    let message = format!(
        "{source} has the Content-Encoding {encoding}, which cannot be undone; store it unpacked, or with gzip"
    );
    SourceFailure::lasting(ErrorKind::SourceUnreadable, message)
}

pub(super) fn too_large(url: &Url, max: u64) -> SourceFailure {
    let message = format!("{} has more than the {max} bytes that are allowed", shown_url(url));
    SourceFailure::lasting(ErrorKind::SourceTooLarge, message)
}

/// The failure for a response without a file.
pub(super) fn refused(url: &Url, status: StatusCode) -> SourceFailure {
    let url = shown_url(url);
    match status.as_u16() {
        404 | 410 => SourceFailure::lasting(ErrorKind::SourceMissing, format!("there is nothing at {url} ({status})")),
        408 | 425 | 429 | 500.. => {
            let message = format!("{url} is not available for the moment ({status})");
            SourceFailure::passing(ErrorKind::SourceUnavailable, message)
        }
        401 | 403 => {
            let message = format!("{url} refuses access ({status}); has its signature expired?");
            SourceFailure::lasting(ErrorKind::SourceRefused, message)
        }
        204 | 205 => SourceFailure::lasting(ErrorKind::SourceEmpty, format!("{url} is empty ({status})")),
        _ => SourceFailure::lasting(ErrorKind::SourceRefused, format!("{url} gives no file ({status})")),
    }
}

/// The first byte's position and the whole file's length in `Content-Range: bytes 5-9/10`.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes")?.trim_start();
    let (span, total) = range.split_once('/')?;
    let (first, _) = span.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}

/// The server's `Retry-After`, if it is in seconds, the form for short waits. The job handles longer ones.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
