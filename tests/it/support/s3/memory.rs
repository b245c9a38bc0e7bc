//! The objects of the store, in memory: what `s3s` is asked for once it has understood a request.

use std::{collections::BTreeMap, convert::Infallible, ops::Bound, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use md5::{Digest, Md5};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3s::{S3, S3Request, S3Response, S3Result, dto::*, s3_error};
use sha2::Sha256;

use super::{Shared, State, Stored, Upload, Version, lock, md5_of};

#[derive(Debug)]
pub(super) struct Memory(pub(super) Shared);

impl State {
    /// Keeps a version, where its bucket does.
    fn keep_version(&mut self, bucket: &str, key: String, stored: Option<Stored>) {
        self.serial += 1;
        let id = format!("version-{}", self.serial);
        if let Some(versions) = self.versions.get_mut(bucket) {
            versions.push(Version { key, id, stored, locked: false });
        }
    }
}

impl Memory {
    fn find(&self, bucket: &str, key: &str) -> S3Result<Stored> {
        let state = lock(&self.0);
        let objects = state.buckets.get(bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        objects.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }
}

/// A body, if it is what its checksums say.
async fn whole(body: Option<StreamingBlob>, md5: Option<&str>, sha256: Option<&str>) -> S3Result<Bytes> {
    let chunks: Vec<Bytes> = match body {
        Some(body) => body.try_collect().await.map_err(|_| s3_error!(IncompleteBody))?,
        None => Vec::new(),
    };
    let body: Bytes = if chunks.len() == 1 { chunks[0].clone() } else { chunks.concat().into() };
    let wrong_md5 = md5.is_some_and(|md5| STANDARD.encode(Md5::digest(&body)) != md5);
    if wrong_md5 || sha256.is_some_and(|sha256| STANDARD.encode(Sha256::digest(&body)) != sha256) {
        return Err(s3_error!(BadDigest));
    }
    Ok(body)
}

fn blob(body: Bytes) -> StreamingBlob {
    StreamingBlob::wrap(stream::iter([Ok::<_, Infallible>(body)]))
}

/// As AWS encodes keys of a listing.
fn encoded(key: &str) -> String {
    utf8_percent_encode(key, NON_ALPHANUMERIC).to_string().replace("%2F", "/").replace("%20", "+")
}

#[async_trait::async_trait]
impl S3 for Memory {
    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let stored = self.find(&input.bucket, &input.key)?;
        let etag = format!("\"{}\"", stored.etag);
        if input.if_match.as_ref().is_some_and(|wanted| *wanted != etag) {
            return Err(s3_error!(PreconditionFailed));
        }
        if matches!(stored.storage_class.as_deref(), Some("GLACIER" | "DEEP_ARCHIVE")) {
            return Err(s3_error!(InvalidObjectState));
        }
        let total = stored.body.len();
        let (body, content_range) = match input.range {
            None => (stored.body, None),
            Some(range) => {
                let range = range.check(total as u64)?;
                let message = format!("bytes {}-{}/{total}", range.start, range.end - 1);
                (stored.body.slice(range.start as usize..range.end as usize), Some(message))
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(body.len() as i64),
            body: Some(blob(body)),
            content_range,
            content_encoding: stored.content_encoding,
            e_tag: Some(etag),
            ..Default::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let stored = self.find(&req.input.bucket, &req.input.key)?;
        let (content_length, e_tag) = (Some(stored.body.len() as i64), Some(format!("\"{}\"", stored.etag)));
        Ok(S3Response::new(HeadObjectOutput { content_length, e_tag, ..Default::default() }))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = req.input;
        let body = whole(input.body, input.content_md5.as_deref(), input.checksum_sha256.as_deref()).await?;
        let etag = md5_of(&body);
        let stored = Stored {
            etag: etag.clone(),
            body,
            content_type: req.headers.get("content-type").and_then(|v| v.to_str().ok()).map(str::to_owned),
            content_encoding: None,
            metadata: input.metadata.unwrap_or_default().into_iter().collect(),
            storage_class: input.storage_class.map(|class| class.as_str().to_owned()),
            sse: input.server_side_encryption.map(|sse| sse.as_str().to_owned()),
            modified: None,
        };
        let mut state = lock(&self.0);
        let objects = state.buckets.get_mut(&input.bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        if input.if_none_match.is_some() && objects.contains_key(&input.key) {
            return Err(s3_error!(PreconditionFailed));
        }
        objects.insert(input.key.clone(), stored.clone());
        state.keep_version(&input.bucket, input.key, Some(stored));
        let (e_tag, checksum_sha256) = (Some(format!("\"{etag}\"")), input.checksum_sha256);
        Ok(S3Response::new(PutObjectOutput { e_tag, checksum_sha256, ..Default::default() }))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let mut state = lock(&self.0);
        let objects = state.buckets.get_mut(&req.input.bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        let (bucket, key) = (req.input.bucket, req.input.key);
        match req.input.version_id {
            None => {
                objects.remove(&key);
                state.keep_version(&bucket, key, None);
            }
            Some(id) => {
                let versions = state.versions.get_mut(&bucket).ok_or_else(|| s3_error!(NoSuchVersion))?;
                if versions.iter().any(|version| version.id == id && version.locked) {
                    return Err(s3_error!(AccessDenied, "the object is locked"));
                }
                versions.retain(|version| version.id != id);
                let newest =
                    versions.iter().rfind(|version| version.key == key).and_then(|newest| newest.stored.clone());
                let objects = state.buckets.get_mut(&bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
                match newest {
                    Some(stored) => drop(objects.insert(key, stored)),
                    None => drop(objects.remove(&key)),
                }
            }
        }
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    /// Two versions a page, so that there are pages.
    async fn list_object_versions(
        &self,
        req: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let input = req.input;
        let prefix = input.prefix.unwrap_or_default();
        let state = lock(&self.0);
        let all: Vec<Version> = match state.versions.get(&input.bucket) {
            Some(versions) => versions.clone(),
            None => {
                let objects = state.buckets.get(&input.bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
                let one = |(key, stored): (&String, &Stored)| Version {
                    key: key.clone(),
                    id: "null".into(),
                    stored: Some(stored.clone()),
                    locked: false,
                };
                objects.iter().map(one).collect()
            }
        };
        let newest_of = |key: &str| all.iter().rfind(|version| version.key == key).map(|version| version.id.clone());
        // By key, and the newest first.
        let mut found: Vec<&Version> = all.iter().rev().filter(|version| version.key.starts_with(&prefix)).collect();
        found.sort_by(|one, other| one.key.cmp(&other.key));
        let after = input.key_marker.zip(input.version_id_marker);
        let from = after.and_then(|(key, id)| found.iter().position(|version| version.key == key && version.id == id));
        let from = from.map_or(0, |at| at + 1);
        let page: Vec<&Version> = found[from..].iter().take(2).copied().collect();
        let more = from + page.len() < found.len();
        let is_latest = |version: &Version| Some(newest_of(&version.key).as_deref() == Some(version.id.as_str()));
        let versions = page.iter().filter(|version| version.stored.is_some()).map(|version| ObjectVersion {
            key: Some(version.key.clone()),
            version_id: Some(version.id.clone()),
            is_latest: is_latest(version),
            ..Default::default()
        });
        let marks = page.iter().filter(|version| version.stored.is_none()).map(|version| DeleteMarkerEntry {
            key: Some(version.key.clone()),
            version_id: Some(version.id.clone()),
            is_latest: is_latest(version),
            ..Default::default()
        });
        let last = page.last().filter(|_| more);
        Ok(S3Response::new(ListObjectVersionsOutput {
            versions: Some(versions.collect()),
            delete_markers: Some(marks.collect()),
            is_truncated: Some(more),
            next_key_marker: last.map(|version| version.key.clone()),
            next_version_id_marker: last.map(|version| version.id.clone()),
            ..Default::default()
        }))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let state = lock(&self.0);
        let objects = state.buckets.get(&input.bucket).ok_or_else(|| s3_error!(NoSuchBucket))?;
        let (prefix, max) =
            (input.prefix.unwrap_or_default(), input.max_keys.unwrap_or(1_000).clamp(1, 1_000) as usize);
        let from = match &input.continuation_token {
            Some(last) => Bound::Excluded(percent_decode_str(last).decode_utf8_lossy().into_owned()),
            None => Bound::Included(prefix.clone()),
        };
        let mut found = objects.range((from, Bound::Unbounded)).take_while(|(key, _)| key.starts_with(&prefix));
        let url = input.encoding_type.is_some();
        let mut last = None;
        let listed = |(key, stored): (&String, &Stored)| Object {
            key: Some(if url { encoded(key) } else { key.clone() }),
            size: Some(stored.body.len() as i64),
            e_tag: Some(format!("\"{}\"", stored.etag)),
            last_modified: stored.modified.map(Into::into),
            storage_class: stored.storage_class.clone().map(ObjectStorageClass::from),
            ..Default::default()
        };
        let contents: Vec<Object> =
            found.by_ref().take(max).inspect(|(key, _)| last = Some(*key)).map(listed).collect();
        let more = found.next().is_some();
        Ok(S3Response::new(ListObjectsV2Output {
            is_truncated: Some(more),
            next_continuation_token: last.filter(|_| more).map(|key| encoded(key).replace('+', "%20")),
            key_count: Some(contents.len() as i32),
            contents: Some(contents),
            encoding_type: input.encoding_type,
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        let mut state = lock(&self.0);
        if !state.buckets.contains_key(&input.bucket) {
            return Err(s3_error!(NoSuchBucket));
        }
        state.serial += 1;
        let id = format!("upload-{}", state.serial);
        let like = Stored {
            content_type: req.headers.get("content-type").and_then(|v| v.to_str().ok()).map(str::to_owned),
            metadata: input.metadata.unwrap_or_default().into_iter().collect(),
            ..Stored::default()
        };
        let begun = SystemTime::now();
        let upload = Upload { bucket: input.bucket, key: input.key, like, parts: BTreeMap::new(), begun };
        state.uploads.insert(id.clone(), upload);
        Ok(S3Response::new(CreateMultipartUploadOutput { upload_id: Some(id), ..Default::default() }))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = req.input;
        let body = whole(input.body, input.content_md5.as_deref(), input.checksum_sha256.as_deref()).await?;
        let e_tag = Some(format!("\"{}\"", md5_of(&body)));
        let mut state = lock(&self.0);
        let upload = state.uploads.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.insert(input.part_number, body);
        let checksum_sha256 = input.checksum_sha256;
        Ok(S3Response::new(UploadPartOutput { e_tag, checksum_sha256, ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let mut state = lock(&self.0);
        let upload = state.uploads.remove(&req.input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let parts: Vec<Bytes> = upload.parts.into_values().collect();
        let sums: Vec<u8> = parts.iter().flat_map(Md5::digest).collect();
        let etag = format!("{}-{}", md5_of(&sums), parts.len());
        let stored = Stored { body: parts.concat().into(), etag: etag.clone(), ..upload.like };
        state.buckets.entry(upload.bucket).or_default().insert(upload.key, stored);
        let e_tag = Some(format!("\"{etag}\""));
        Ok(S3Response::new(CompleteMultipartUploadOutput { e_tag, ..Default::default() }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        lock(&self.0).uploads.remove(&req.input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let state = lock(&self.0);
        let prefix = req.input.prefix.unwrap_or_default();
        let below = state.uploads.iter().filter(|(_, u)| u.bucket == req.input.bucket && u.key.starts_with(&prefix));
        let uploads = below.map(|(id, upload)| MultipartUpload {
            upload_id: Some(id.clone()),
            key: Some(upload.key.clone()),
            initiated: Some(upload.begun.into()),
            ..Default::default()
        });
        let uploads = Some(uploads.collect());
        Ok(S3Response::new(ListMultipartUploadsOutput { uploads, is_truncated: Some(false), ..Default::default() }))
    }
}
