//! Large outputs: uploaded in parts, a few at a time, with nothing left behind after a failure.

use std::{
    fs::File,
    io::{self, Cursor, Read},
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, ServerSideEncryption, StorageClass},
};
use bytes::Bytes;
use futures::{TryStreamExt, stream::FuturesUnordered};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::{
    Bucket, Content, Item, Receipt, SinkError, blocking,
    bucket::{LARGE, metadata, plain_md5, same, unreadable},
    digest::Digests,
};
use crate::{
    domain::{hex::hex, s3::S3Address},
    s3::{Advance, S3, S3Error, S3Failure, S3Kind, S3Timeouts},
};

/// Parts of one output that are uploaded concurrently, each of them in memory.
const AT_A_TIME: usize = 3;
/// The most parts that any store allows.
const MAX_PARTS: u64 = 10_000;
const MIB: u64 = 1024 * 1024;
/// An upload younger than this may still be in progress.
const LEFTOVER_AGE: Duration = Duration::from_hours(24);

/// An output that is read part by part.
struct PartReader {
    from: Box<dyn Read + Send>,
    path: std::path::PathBuf,
    part_size: u64,
    whole: Sha256,
    bytes: u64,
}

/// A part that was uploaded.
struct Arrived {
    number: i32,
    etag: Option<String>,
    digests: Digests,
}

/// An upload. Dropping it aborts it, unless it was completed.
struct Upload {
    s3: S3,
    at: S3Address,
    timeouts: S3Timeouts,
    id: String,
    over: bool,
}

impl Bucket {
    /// Writes an object in parts. It is visible only when all of them are uploaded.
    pub(super) async fn put_parts(&self, at: &S3Address, item: &Item) -> Result<Receipt, SinkError> {
        let reading = PartReader::open(&item.content).await?;
        let mut upload = self.begin(at, item).await?;
        match upload.put(reading).await {
            Ok((bytes, sha256)) => Ok(Receipt { address: at.to_string(), bytes, sha256 }),
            Err(error) => {
                // If aborting fails too, a later sweep does it.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    /// Starts an upload and aborts it.
    pub(super) async fn try_out(&self, name: &str) -> Result<(), SinkError> {
        let nothing = Item {
            name: name.to_owned(),
            content: Content::Bytes(Bytes::new()),
            content_type: "application/octet-stream",
        };
        let mut upload = self.begin(&self.at(name), &nothing).await?;
        // If aborting fails, a later sweep does it.
        let _ = upload.abort().await;
        Ok(())
    }

    async fn begin(&self, at: &S3Address, item: &Item) -> Result<Upload, S3Error> {
        let settings = &self.settings;
        let id = self.s3.call("write", at, self.timeouts, |connection| async move {
            let create = connection
                .client
                .create_multipart_upload()
                .bucket(&at.bucket)
                .key(&at.key)
                .content_type(item.content_type)
                .set_checksum_algorithm(connection.checksums.then_some(ChecksumAlgorithm::Sha256))
                .set_server_side_encryption(settings.sse.as_deref().map(ServerSideEncryption::from))
                .set_ssekms_key_id(settings.kms_key_id.clone())
                .set_storage_class(settings.storage_class.as_deref().map(StorageClass::from))
                .set_metadata(metadata(settings));
            let odd = || S3Failure::new(S3Kind::Other, "the store gave an upload without an id");
            create.send().await?.upload_id.ok_or_else(odd)
        });
        let id = id.await?;
        Ok(Upload { s3: self.s3.clone(), at: at.clone(), timeouts: self.timeouts, id, over: false })
    }

    pub(super) async fn sweep(&self) -> Result<usize, SinkError> {
        let (prefix, mut from, mut removed) = (self.prefix(), (None, None), 0);
        let mut advance = Advance::default();
        loop {
            let listed = self.s3.call("list uploads of", prefix, self.timeouts, |connection| {
                let (key, id) = from.clone();
                let list = connection.client.list_multipart_uploads().bucket(&prefix.bucket).prefix(&prefix.key);
                let request = list.set_key_marker(key).set_upload_id_marker(id);
                async move { Ok(request.send().await?) }
            });
            let listed = match listed.await {
                // Not every store supports this, and not everybody who may write may list uploads.
                Err(e) if matches!(e.kind, S3Kind::Denied | S3Kind::Other) => return Ok(removed),
                listed => listed?,
            };
            for leftover in listed.uploads() {
                let begun = leftover.initiated().and_then(|at| SystemTime::try_from(*at).ok());
                let old = begun.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > LEFTOVER_AGE);
                if let (true, Some(key), Some(id)) = (old, leftover.key(), leftover.upload_id()) {
                    let at = S3Address { bucket: prefix.bucket.clone(), key: key.to_owned() };
                    let s3 = self.s3.clone();
                    let mut upload = Upload { s3, at, timeouts: self.timeouts, id: id.to_owned(), over: false };
                    removed += usize::from(upload.abort().await.is_ok());
                }
            }
            if listed.is_truncated() != Some(true) {
                return Ok(removed);
            }
            let is_empty = listed.uploads().is_empty();
            from = (listed.next_key_marker, listed.next_upload_id_marker);
            // The rest is found next time, if the store lists it then.
            if let Err(failure) = advance.page(&from, is_empty) {
                tracing::debug!(output = %prefix, error = failure.detail, "unfinished uploads are left");
                return Ok(removed);
            }
        }
    }
}

impl Upload {
    /// Uploads everything that is read; returns its length and SHA-256.
    async fn put(&mut self, mut reading: PartReader) -> Result<(u64, String), SinkError> {
        let (mut on_the_way, mut arrived) = (FuturesUnordered::new(), Vec::new());
        let mut number = 0;
        loop {
            let (rest, part) = reading.next().await?;
            reading = rest;
            let Some((content, digests)) = part else { break };
            number += 1;
            on_the_way.push(self.put_part(number, content, digests));
            if on_the_way.len() == AT_A_TIME {
                arrived.extend(on_the_way.try_next().await?);
            }
        }
        while let Some(part) = on_the_way.try_next().await? {
            arrived.push(part);
        }
        drop(on_the_way);
        arrived.sort_by_key(|part| part.number);
        self.complete(&arrived).await?;
        self.over = true;
        Ok((reading.bytes, hex(&reading.whole.finalize())))
    }

    async fn put_part(&self, number: i32, content: Bytes, digests: Digests) -> Result<Arrived, S3Error> {
        let (at, timeouts) = (&self.at, self.timeouts.sending(digests.bytes));
        let sent = &digests;
        let etag = self.s3.call("write", at, timeouts, |connection| {
            let put = connection
                .client
                .upload_part()
                .bucket(&at.bucket)
                .key(&at.key)
                .upload_id(&self.id)
                .part_number(number)
                .body(ByteStream::from(content.clone()));
            async move {
                let put = match connection.checksums {
                    true => put.checksum_sha256(sent.sha256_header()),
                    false => put.content_md5(sent.md5_header()),
                };
                let answer = put.send().await?;
                use ServerSideEncryption::{AwsKms, AwsKmsDsse};
                let kms = matches!(answer.server_side_encryption(), Some(AwsKms | AwsKmsDsse));
                match (answer.checksum_sha256(), answer.e_tag().filter(|_| !kms).and_then(plain_md5)) {
                    (Some(sha256), _) => same("SHA-256", sha256, &sent.sha256_header())?,
                    (None, Some(md5)) => same("MD5", &md5, &sent.md5())?,
                    (None, None) => {}
                }
                Ok(answer.e_tag)
            }
        });
        let etag = etag.await?;
        Ok(Arrived { number, etag, digests })
    }

    /// Makes an object from the parts. If the response is lost, the store is asked whether the object exists.
    async fn complete(&self, arrived: &[Arrived]) -> Result<(), S3Error> {
        let at = &self.at;
        let completed = self.s3.call("write", at, self.timeouts, |connection| {
            let parts = arrived.iter().map(|part| {
                let sha256 = connection.checksums.then(|| part.digests.sha256_header());
                let known = CompletedPart::builder().part_number(part.number).set_e_tag(part.etag.clone());
                known.set_checksum_sha256(sha256).build()
            });
            let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
            let complete = connection.client.complete_multipart_upload().bucket(&at.bucket).key(&at.key);
            let request = complete.upload_id(&self.id).multipart_upload(parts);
            async move {
                request.send().await?;
                Ok(())
            }
        });
        match completed.await {
            Err(e) if e.is_passing() && self.is_there(arrived).await => Ok(()),
            completed => completed,
        }
    }

    /// Whether the object consists of these parts, if ETags show it.
    async fn is_there(&self, arrived: &[Arrived]) -> bool {
        let at = &self.at;
        let expected = Digests::etag_of_parts(arrived.iter().map(|part| &part.digests));
        let head = self.s3.call("read", at, self.timeouts, |connection| {
            let request = connection.client.head_object().bucket(&at.bucket).key(&at.key);
            async move { Ok(request.send().await?.e_tag) }
        });
        matches!(head.await, Ok(Some(etag)) if etag.trim_matches('"') == expected)
    }

    async fn abort(&mut self) -> Result<(), S3Error> {
        self.over = true;
        abort(self.s3.clone(), self.at.clone(), self.timeouts, self.id.clone()).await
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (false, Ok(runtime)) = (self.over, Handle::try_current()) {
            let aborting = abort(self.s3.clone(), self.at.clone(), self.timeouts, self.id.clone());
            runtime.spawn(async move {
                let _ = aborting.await;
            });
        }
    }
}

async fn abort(s3: S3, at: S3Address, timeouts: S3Timeouts, id: String) -> Result<(), S3Error> {
    let aborted = s3.call("abort an upload to", &at, timeouts, |connection| {
        let request = connection.client.abort_multipart_upload().bucket(&at.bucket).key(&at.key).upload_id(&id);
        async move {
            request.send().await?;
            Ok(())
        }
    });
    aborted.await
}

impl PartReader {
    async fn open(content: &Content) -> Result<Self, SinkError> {
        let (from, path, bytes): (Box<dyn Read + Send>, _, _) = match content {
            Content::Bytes(bytes) => {
                (Box::new(Cursor::new(bytes.clone())), std::path::PathBuf::new(), bytes.len() as u64)
            }
            Content::File(path) | Content::Draft(path) => {
                let path = path.clone();
                let opened = blocking(move || {
                    let file = File::open(&path).map_err(|e| unreadable(&path, e))?;
                    let bytes = file.metadata().map_err(|e| unreadable(&path, e))?.len();
                    Ok((file, path, bytes))
                });
                let (file, path, bytes) = opened.await?;
                (Box::new(file), path, bytes)
            }
        };
        Ok(Self { from, path, part_size: part_size(bytes), whole: Sha256::new(), bytes: 0 })
    }

    /// The next part, `None` after the last one.
    async fn next(mut self) -> Result<(Self, Option<(Bytes, Digests)>), SinkError> {
        blocking(move || {
            let mut part = Vec::with_capacity(usize::try_from(self.part_size).unwrap_or_default());
            let read: io::Result<usize> = self.from.by_ref().take(self.part_size).read_to_end(&mut part);
            read.map_err(|e| unreadable(&self.path, e))?;
            if part.is_empty() {
                return Ok((self, None));
            }
            self.whole.update(&part);
            self.bytes += part.len() as u64;
            let digests = Digests::of(&part);
            Ok((self, Some((part.into(), digests))))
        })
        .await
    }
}

/// 16 MiB, or more if that would exceed 10,000 parts.
fn part_size(bytes: u64) -> u64 {
    bytes.div_ceil(MAX_PARTS).next_multiple_of(MIB).max(LARGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_never_too_many() {
        assert_eq!(part_size(40 * MIB), LARGE);
        assert_eq!(part_size(LARGE * MAX_PARTS), LARGE);
        assert_eq!(part_size(LARGE * MAX_PARTS + 1), LARGE + MIB);
        assert!((1_u64 << 42).div_ceil(part_size(1 << 42)) <= MAX_PARTS);
    }
}
