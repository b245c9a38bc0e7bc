//! Lists the objects below a prefix, page by page.

use std::{
    collections::HashSet,
    hash::{BuildHasher, Hash, RandomState},
    time::SystemTime,
};

use aws_sdk_s3::types::{EncodingType, ObjectStorageClass};
use percent_encoding::percent_decode_str;
use tokio_util::task::AbortOnDropHandle;

use super::{S3, S3Error, S3Failure, S3Kind, S3Timeouts};
use crate::domain::s3::S3Address;

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// The full key, not only the part after the prefix.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// Its ETag, without quotes; empty if the store has none.
    pub etag: String,
    /// When it was last written, if the store says so.
    pub modified: Option<SystemTime>,
    /// Whether it must be restored before it can be read.
    pub archived: bool,
}

/// The most empty pages in a row: a store skips deleted objects.
const EMPTY_PAGES: u32 = 1_000;

/// Detects a listing that never ends, although the store always names a next page.
#[derive(Debug, Default)]
pub struct Advance {
    /// Hashes of the positions so far: a listing may have many pages.
    been: HashSet<u64>,
    hasher: RandomState,
    empty: u32,
}

impl Advance {
    /// Records a page, after which the listing continues at `next`.
    ///
    /// # Errors
    /// The listing continued there before, or has been empty for too long.
    pub fn page(&mut self, next: impl Hash, is_empty: bool) -> Result<(), S3Failure> {
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        if !self.been.insert(self.hasher.hash_one(next)) {
            let message = "the store's listing goes round in a circle: it goes on where it has gone on before";
            return Err(S3Failure::new(S3Kind::Other, message));
        }
        if self.empty >= EMPTY_PAGES {
            let message =
                format!("the store's listing does not end: {EMPTY_PAGES} pages in a row have nothing in them");
            return Err(S3Failure::new(S3Kind::Other, message));
        }
        Ok(())
    }
}

/// The pages of a listing, in the order of the keys. The next page is requested while one is handled.
#[derive(Debug)]
pub struct ListPages {
    s3: S3,
    prefix: S3Address,
    timeouts: S3Timeouts,
    next: Option<AbortOnDropHandle<Result<ListPage, S3Error>>>,
    advance: Advance,
    /// The first key of the last page.
    first: Option<String>,
}

#[derive(Debug)]
struct ListPage {
    keys: Vec<ListedKey>,
    more: Option<String>,
}

impl S3 {
    /// Lists the objects whose keys begin with `prefix`'s.
    #[must_use]
    pub fn pages(&self, prefix: &S3Address, timeouts: S3Timeouts) -> ListPages {
        let mut pages = ListPages {
            s3: self.clone(),
            prefix: prefix.clone(),
            timeouts,
            next: None,
            advance: Advance::default(),
            first: None,
        };
        pages.ask(None);
        pages
    }

    async fn page(&self, prefix: &S3Address, timeouts: S3Timeouts, token: Option<String>) -> Result<ListPage, S3Error> {
        self.call("list", prefix, timeouts, |connection| {
            let request = connection
                .client
                .list_objects_v2()
                .bucket(&prefix.bucket)
                .prefix(&prefix.key)
                .max_keys(1_000)
                .encoding_type(EncodingType::Url)
                .set_continuation_token(token.clone());
            async move {
                let answer = request.send().await?;
                let encoded = answer.encoding_type() == Some(&EncodingType::Url);
                let more = rest(answer.is_truncated, answer.next_continuation_token)?;
                let keys = answer.contents.unwrap_or_default().into_iter();
                let keys = keys.map(|object| listed(object, encoded)).collect::<Result<_, _>>()?;
                Ok(ListPage { keys, more })
            }
        })
        .await
    }
}

impl ListPages {
    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// The store cannot be reached, or refuses. Nothing comes after that.
    pub async fn next(&mut self) -> Result<Option<Vec<ListedKey>>, S3Error> {
        let Some(asked) = self.next.take() else { return Ok(None) };
        let page = asked.await.expect("asking for a page does not panic")?;
        if let Some(more) = &page.more {
            self.advance.page(more, page.keys.is_empty()).map_err(|failure| self.endless(failure))?;
        }
        let first = page.keys.first().map(|listed| listed.key.clone());
        if first.is_some() && first == self.first {
            let message = "the store lists the same page again, and again says that there is more";
            return Err(self.endless(S3Failure::new(S3Kind::Other, message)));
        }
        self.first = first.or(self.first.take());
        if page.more.is_some() {
            self.ask(page.more);
        }
        Ok(Some(page.keys))
    }

    fn endless(&self, failure: S3Failure) -> S3Error {
        S3Error { action: "list", address: self.prefix.to_string(), kind: failure.kind, detail: failure.detail }
    }

    fn ask(&mut self, token: Option<String>) {
        let (s3, prefix, timeouts) = (self.s3.clone(), self.prefix.clone(), self.timeouts);
        let asking = tokio::spawn(async move { s3.page(&prefix, timeouts, token).await });
        self.next = Some(AbortOnDropHandle::new(asking));
    }
}

/// The token of the next page, if there is one. A store of the older protocol sends none, and the rest of the listing would be
/// missing silently.
fn rest(truncated: Option<bool>, token: Option<String>) -> Result<Option<String>, S3Failure> {
    match (truncated, token) {
        (Some(false), _) | (None, None) => Ok(None),
        (_, Some(token)) => Ok(Some(token)),
        (Some(true), None) => {
            let message = "the store says that its listing goes on, and not where: does it know ListObjectsV2?";
            Err(S3Failure::new(S3Kind::Other, message))
        }
    }
}

fn listed(object: aws_sdk_s3::types::Object, encoded: bool) -> Result<ListedKey, S3Failure> {
    let odd = |what: &str| S3Failure::new(S3Kind::Other, format!("the store lists an object {what}"));
    let key = object.key.ok_or_else(|| odd("without a key"))?;
    let key = if encoded { decoded(&key).ok_or_else(|| odd("whose key is no text"))? } else { key };
    let bytes = object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
    let archived = matches!(object.storage_class, Some(ObjectStorageClass::Glacier | ObjectStorageClass::DeepArchive));
    let etag = object.e_tag.unwrap_or_default().trim_matches('"').to_owned();
    let modified = object.last_modified.and_then(|at| SystemTime::try_from(at).ok());
    Ok(ListedKey { key, bytes, etag, modified, archived })
}

/// A key from a listing with `encoding-type=url`, in which a space is a `+`.
fn decoded(key: &str) -> Option<String> {
    let spaced = key.replace('+', " ");
    Some(percent_decode_str(&spaced).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_that_is_cut_is_no_whole_one() {
        let token = || Some("t".to_owned());
        assert_eq!(rest(Some(true), token()).unwrap(), token());
        assert_eq!(rest(None, token()).unwrap(), token());
        assert_eq!(rest(Some(false), token()).unwrap(), None);
        assert_eq!(rest(None, None).unwrap(), None);
        assert_eq!(rest(Some(true), None).unwrap_err().kind, S3Kind::Other);
    }

    #[test]
    fn a_listing_that_never_ends_is_left() {
        let mut advance = Advance::default();
        for n in 0..5_000 {
            advance.page(format!("token {n}"), n % 999 != 0).unwrap();
        }
        let message = advance.page("token 17", false).unwrap_err();
        assert!(message.kind == S3Kind::Other && message.detail.contains("in a circle"), "{message:?}");
        let mut advance = Advance::default();
        let message = (0..).find_map(|n| advance.page(n, true).err().map(|failure| (n + 1, failure.detail)));
        assert_eq!(message.as_ref().map(|(pages, _)| *pages), Some(EMPTY_PAGES));
        assert!(message.is_some_and(|(_, message)| message.contains("does not end")));
    }

    #[test]
    fn keys_are_decoded() {
        assert_eq!(decoded("a+b%2Bc/%E2%82%AC%0A.wav").as_deref(), Some("a b+c/€\n.wav"));
        assert_eq!(decoded("%FF"), None);
    }
}
