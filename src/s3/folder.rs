//! Objects below a prefix that are written once, and never changed.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use md5::{Digest, Md5};
use tokio::time::timeout;

use super::{ListPages, S3, S3Error, S3Failure, S3Kind, S3Timeouts};
use crate::domain::s3::S3Address;

/// The longest silence within an object.
const SILENCE: Duration = Duration::from_secs(20);

/// A prefix whose objects are written once.
#[derive(Debug, Clone)]
pub struct S3Folder {
    s3: S3,
    root: S3Address,
    timeouts: S3Timeouts,
}

impl S3Folder {
    /// The objects whose keys begin with `root`'s, which ends in `/` or is empty.
    #[must_use]
    pub const fn new(s3: S3, root: S3Address, timeouts: S3Timeouts) -> Self {
        Self { s3, root, timeouts }
    }

    /// The address of an object.
    #[must_use]
    pub fn at(&self, name: &str) -> S3Address {
        S3Address { bucket: self.root.bucket.clone(), key: format!("{}{name}", self.root.key) }
    }

    /// The part of a key after the prefix.
    #[must_use]
    pub fn name<'k>(&self, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(&self.root.key)
    }

    /// Writes an object, unless there is one: then the value is `false`. If the answer to a write is lost, the next try finds
    /// what the first has written.
    ///
    /// # Errors
    /// The store cannot be reached, or refuses.
    pub async fn put_new(&self, name: &str, content: &Bytes) -> Result<bool, S3Error> {
        let at = &self.at(name);
        let md5 = STANDARD.encode(Md5::digest(content));
        let put = self.s3.call("write", at, self.timeouts.sending(content.len() as u64), |connection| {
            let put = connection
                .client
                .put_object()
                .bucket(&at.bucket)
                .key(&at.key)
                .if_none_match("*")
                .content_length(i64::try_from(content.len()).unwrap_or(i64::MAX))
                .body(ByteStream::from(content.clone()));
            // With checksums, the client sends one of its own.
            let put = if connection.checksums { put } else { put.content_md5(&md5) };
            async move {
                put.send().await?;
                Ok(())
            }
        });
        match put.await {
            Ok(()) => Ok(true),
            Err(e) if e.kind == S3Kind::Changed => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The content of an object.
    ///
    /// # Errors
    /// There is no such object; the store cannot be reached, or refuses.
    pub async fn read(&self, name: &str) -> Result<Bytes, S3Error> {
        let at = &self.at(name);
        self.s3
            .call("read", at, self.timeouts, |connection| async move {
                let mut answer = connection.client.get_object().bucket(&at.bucket).key(&at.key).send().await?;
                let mut content = BytesMut::new();
                loop {
                    match timeout(SILENCE, answer.body.next()).await {
                        Ok(Some(chunk)) => content.extend_from_slice(&chunk.map_err(|e| S3Failure::broken(&e))?),
                        Ok(None) => return Ok(content.freeze()),
                        Err(_) => return Err(S3Failure::new(S3Kind::TimedOut, "it fell silent within an object")),
                    }
                }
            })
            .await
    }

    /// Lists the objects whose names begin like this.
    #[must_use]
    pub fn pages(&self, beginning: &str) -> ListPages {
        self.s3.pages(&self.at(beginning), self.timeouts)
    }

    /// Removes an object. One that is not there is no error.
    ///
    /// # Errors
    /// The store cannot be reached, or refuses.
    pub async fn remove(&self, name: &str) -> Result<(), S3Error> {
        let at = &self.at(name);
        let removed = self.s3.call("remove", at, self.timeouts, |connection| async move {
            connection.client.delete_object().bucket(&at.bucket).key(&at.key).send().await?;
            Ok(())
        });
        removed.await
    }
}
