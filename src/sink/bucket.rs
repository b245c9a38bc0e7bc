//! A prefix of a bucket as a sink.

use std::{fs::File, io, path::Path, sync::Arc, time::Duration};

use aws_sdk_s3::{
    operation::put_object::PutObjectOutput,
    primitives::ByteStream,
    types::{ServerSideEncryption, StorageClass},
};
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use tokio::{
    io::{AsyncSeekExt, AsyncWriteExt},
    sync::Mutex,
    time::timeout,
};

use super::{Content, Erased, Item, MOST_READ, Receipt, SinkError, blocking, digest::Digests};
use crate::{
    crash,
    domain::s3::{S3Address, SinkSettings},
    s3::{S3, S3Error, S3Failure, S3Kind, S3Timeouts},
};

/// A larger output is uploaded in parts.
pub(super) const LARGE: u64 = 16 * 1024 * 1024;
/// Outputs of one job that are uploaded concurrently.
const AT_A_TIME: usize = 8;
/// The longest silence within a response.
const SILENCE: Duration = Duration::from_secs(20);

/// A prefix of a bucket. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Bucket {
    pub(super) s3: S3,
    root: S3Address,
    pub(super) settings: Arc<SinkSettings>,
    pub(super) timeouts: S3Timeouts,
}

impl Bucket {
    /// The prefix at `address`, used as a folder.
    ///
    /// # Errors
    /// [`SinkError::AddressRefused`] if the address is not valid.
    pub fn open(address: &str, settings: &SinkSettings) -> Result<Self, SinkError> {
        Self::on(S3::new(&settings.store), address, settings)
    }

    /// The same with a connection to the store that others share.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub fn on(s3: S3, address: &str, settings: &SinkSettings) -> Result<Self, SinkError> {
        let refused = |why: String| SinkError::AddressRefused { address: address.to_owned(), why };
        let mut root: S3Address = address.parse().map_err(|fault| refused(format!("it {fault}")))?;
        if !root.is_prefix() {
            root.key.push('/');
        }
        Ok(Self { s3, root, settings: Arc::new(settings.clone()), timeouts: S3Timeouts::default() })
    }

    /// Uses other time-outs than the default.
    #[must_use]
    pub fn patient(self, timeouts: S3Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    pub(super) fn root(&self) -> String {
        self.root.to_string()
    }

    pub(super) fn at(&self, name: &str) -> S3Address {
        S3Address { bucket: self.root.bucket.clone(), key: format!("{}{name}", self.root.key) }
    }

    pub(super) async fn put_all(&self, items: &[Item]) -> Result<Vec<Receipt>, SinkError> {
        crash::point("before-sink");
        // Boxed, since otherwise the compiler cannot prove that the future is `Send`.
        let puts: Vec<BoxFuture<'_, _>> = items.iter().map(|item| self.put(item).boxed()).collect();
        let receipts = stream::iter(puts).buffered(AT_A_TIME).inspect_ok(|_| crash::point("in-sink"));
        receipts.try_collect().await
    }

    async fn put(&self, item: &Item) -> Result<Receipt, SinkError> {
        let at = self.at(&item.name);
        let refused = |why: &str| SinkError::NameRefused { address: at.to_string(), why: why.to_owned() };
        if item.name.is_empty() || item.name.ends_with('/') {
            return Err(refused("it is no name of an object"));
        }
        if at.key.len() > S3Address::MAX_KEY_BYTES {
            return Err(refused("its key has over 1024 bytes"));
        }
        let digests = match &item.content {
            Content::Bytes(bytes) if bytes.len() as u64 > LARGE => return self.put_parts(&at, item).await,
            Content::Bytes(bytes) => Digests::of(bytes),
            Content::File(path) | Content::Draft(path) => {
                let path = path.clone();
                let looked = blocking(move || {
                    let unreadable = |e| unreadable(&path, e);
                    let file = File::open(&path).map_err(unreadable)?;
                    let large = file.metadata().map_err(unreadable)?.len() > LARGE;
                    if large { Ok(None) } else { Digests::of_all(file).map(Some).map_err(unreadable) }
                });
                match looked.await? {
                    Some(digests) => digests,
                    None => return self.put_parts(&at, item).await,
                }
            }
        };
        self.put_whole(&at, item, &digests).await?;
        Ok(Receipt { address: at.to_string(), bytes: digests.bytes, sha256: digests.sha256() })
    }

    /// The same location, but with a storage class that can be read without restoring.
    pub(super) fn at_hand(&self) -> Self {
        let mut settings = SinkSettings::clone(&self.settings);
        settings.storage_class.take_if(|class| matches!(class.as_str(), "GLACIER" | "DEEP_ARCHIVE"));
        Self { settings: settings.into(), ..self.clone() }
    }

    /// Writes an object with one request. If the response is lost, it is written again.
    async fn put_whole(&self, at: &S3Address, item: &Item, digests: &Digests) -> Result<(), S3Error> {
        let settings = &self.settings;
        self.s3
            .call("write", at, self.timeouts.sending(digests.bytes), |connection| async move {
                let body = match &item.content {
                    Content::Bytes(bytes) => ByteStream::from(bytes.clone()),
                    Content::File(path) | Content::Draft(path) => ByteStream::from_path(path)
                        .await
                        .map_err(|e| S3Failure::new(S3Kind::Unavailable, format!("`{}`: {e}", path.display())))?,
                };
                let put = connection
                    .client
                    .put_object()
                    .bucket(&at.bucket)
                    .key(&at.key)
                    .body(body)
                    .content_length(i64::try_from(digests.bytes).unwrap_or(i64::MAX))
                    .content_type(item.content_type)
                    .set_server_side_encryption(settings.sse.as_deref().map(ServerSideEncryption::from))
                    .set_ssekms_key_id(settings.kms_key_id.clone())
                    .set_storage_class(settings.storage_class.as_deref().map(StorageClass::from))
                    .set_metadata(metadata(settings));
                let put = match connection.checksums {
                    true => put.checksum_sha256(digests.sha256_header()),
                    false => put.content_md5(digests.md5_header()),
                };
                verify(&put.send().await?, digests)
            })
            .await
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, SinkError> {
        let at = &self.at(name);
        let read = self.s3.call("read", at, self.timeouts, |connection| async move {
            let mut answer = connection.client.get_object().bucket(&at.bucket).key(&at.key).send().await?;
            let mut content = Vec::new();
            loop {
                match timeout(SILENCE, answer.body.next()).await {
                    Ok(Some(chunk)) => content.extend_from_slice(&chunk.map_err(|e| S3Failure::broken(&e))?),
                    Ok(None) => return Ok(Some(content)),
                    Err(_) => return Err(S3Failure::new(S3Kind::TimedOut, "it fell silent within an object")),
                }
                if content.len() as u64 > MOST_READ {
                    return Ok(None);
                }
            }
        });
        match read.await {
            Ok(Some(content)) => Ok(Some(content)),
            Ok(None) => Err(SinkError::TooLarge { address: at.to_string(), most: MOST_READ }),
            Err(e) if e.kind == S3Kind::NoKey => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Copies the object with this name to the local file `to`; `false` if there is none.
    pub(super) async fn fetch(&self, name: &str, to: &Path) -> Result<bool, SinkError> {
        let Some(bytes) = self.size(name).await? else { return Ok(false) };
        let at = &self.at(name);
        let unwritable = |source| SinkError::Content { path: to.display().to_string(), source };
        let file = tokio::fs::OpenOptions::new().write(true).create(true).truncate(true).open(to).await;
        let file = &Mutex::new(file.map_err(unwritable)?);
        // A full local disk is not the store's fault.
        let full = &Mutex::new(None);
        let read = self.s3.call("read", at, self.timeouts.sending(bytes), |connection| async move {
            let mut file = file.lock().await;
            let unwritten = async |e: io::Error| {
                let message = e.to_string();
                *full.lock().await = Some(e);
                S3Failure::new(S3Kind::Other, message)
            };
            let emptied = async {
                file.set_len(0).await?;
                file.rewind().await
            };
            if let Err(e) = emptied.await {
                return Err(unwritten(e).await);
            }
            let mut answer = connection.client.get_object().bucket(&at.bucket).key(&at.key).send().await?;
            loop {
                match timeout(SILENCE, answer.body.next()).await {
                    Ok(Some(chunk)) => {
                        if let Err(e) = file.write_all(&chunk.map_err(|e| S3Failure::broken(&e))?).await {
                            return Err(unwritten(e).await);
                        }
                    }
                    Ok(None) => match file.flush().await {
                        Ok(()) => return Ok(()),
                        Err(e) => return Err(unwritten(e).await),
                    },
                    Err(_) => return Err(S3Failure::new(S3Kind::TimedOut, "it fell silent within an object")),
                }
            }
        });
        match read.await {
            Ok(()) => Ok(true),
            Err(e) if e.kind == S3Kind::NoKey => Ok(false),
            Err(e) => Err(full.lock().await.take().map_or_else(|| e.into(), unwritable)),
        }
    }

    /// The size of the object with this name, if there is one.
    async fn size(&self, name: &str) -> Result<Option<u64>, SinkError> {
        let at = &self.at(name);
        let head = self.s3.call("read", at, self.timeouts, |connection| {
            let request = connection.client.head_object().bucket(&at.bucket).key(&at.key);
            async move { Ok(request.send().await?.content_length) }
        });
        match head.await {
            Ok(bytes) => Ok(Some(bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default())),
            Err(e) if e.kind == S3Kind::NoKey => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    pub(super) async fn has(&self, name: &str) -> Result<bool, SinkError> {
        match self.size(name).await {
            Ok(found) => Ok(found.is_some()),
            // A user who may only write gets no answer to this.
            Err(SinkError::Store(e)) if e.kind == S3Kind::Denied => Ok(true),
            Err(e) => Err(e),
        }
    }

    pub(super) async fn names(&self, mut each: impl FnMut(&str, u64)) -> Result<(), SinkError> {
        let mut pages = self.s3.pages(&self.root, self.timeouts);
        while let Some(page) = pages.next().await? {
            for listed in &page {
                // A key that ends in a slash stands for a folder, and is no output.
                if let Some(name) =
                    listed.key.strip_prefix(&self.root.key).filter(|name| !name.is_empty() && !name.ends_with('/'))
                {
                    each(name, listed.bytes);
                }
            }
        }
        Ok(())
    }

    /// Removes an object. One that is not there is no error.
    pub(super) async fn remove(&self, name: &str) -> Result<(), SinkError> {
        let at = &self.at(name);
        let removed = self.s3.call("remove", at, self.timeouts, |connection| async move {
            connection.client.delete_object().bucket(&at.bucket).key(&at.key).send().await?;
            Ok(())
        });
        Ok(removed.await?)
    }

    /// Removes the versions of an object: all of them, or only the former ones. A store that keeps none has one, without a name.
    pub(super) async fn erase(&self, name: &str, only_former: bool) -> Result<Erased, SinkError> {
        let at = &self.at(name);
        let versions = match self.versions(at).await {
            Ok(versions) => versions,
            Err(e) if e.kind.is_passing() || e.kind == S3Kind::NoBucket || e.kind.is_of_credentials() => {
                return Err(e.into());
            }
            Err(e) => {
                // Without that right, or in a store without versions, the object itself is removed.
                let found = !only_former && self.has(name).await?;
                if found {
                    self.remove(name).await?;
                }
                return Ok(Erased { found, versions: 0, left: Some(e.detail) });
            }
        };
        let mut erased = Erased::default();
        let has_versions = versions.iter().any(|version| version.id.is_some());
        for version in versions.into_iter().filter(|version| !(only_former && version.is_latest)) {
            erased.found |= !version.is_marker;
            erased.versions += u64::from(has_versions);
            // Where versions were kept for a while, the one from before is named `null`.
            let id = &version.id.or_else(|| has_versions.then(|| "null".to_owned()));
            let removed = self.s3.call("remove", at, self.timeouts, |connection| async move {
                let request = connection.client.delete_object().bucket(&at.bucket).key(&at.key);
                request.set_version_id(id.clone()).send().await?;
                Ok(())
            });
            removed.await?;
        }
        Ok(erased)
    }

    /// All versions of an object, and the marks of its removals.
    async fn versions(&self, at: &S3Address) -> Result<Vec<Version>, S3Error> {
        let (mut found, mut after) = (Vec::new(), None::<(String, Option<String>)>);
        loop {
            let next = &after;
            let page = self.s3.call("list the versions of", at, self.timeouts, |connection| async move {
                let request = connection.client.list_object_versions().bucket(&at.bucket).prefix(&at.key);
                let (key, version) = next.clone().unzip();
                Ok(request.set_key_marker(key).set_version_id_marker(version.flatten()).send().await?)
            });
            let page = page.await?;
            let named = |id: Option<String>| id.filter(|id| id != "null");
            for one in page.versions.unwrap_or_default() {
                let id = named(one.version_id);
                found.push((one.key, Version { id, is_latest: one.is_latest.unwrap_or(true), is_marker: false }));
            }
            for one in page.delete_markers.unwrap_or_default() {
                let id = named(one.version_id);
                found.push((one.key, Version { id, is_latest: one.is_latest.unwrap_or(true), is_marker: true }));
            }
            // Keys come in order: behind this one are those that only begin like it.
            match page.next_key_marker.filter(|key| page.is_truncated == Some(true) && *key == at.key) {
                Some(key) => after = Some((key, page.next_version_id_marker)),
                None => break,
            }
        }
        Ok(found.into_iter().filter(|(key, _)| key.as_deref() == Some(&at.key)).map(|(_, version)| version).collect())
    }

    pub(super) fn prefix(&self) -> &S3Address {
        &self.root
    }
}

/// A version of an object.
#[derive(Debug)]
struct Version {
    /// Its name; `None` in a bucket that keeps no versions.
    id: Option<String>,
    is_latest: bool,
    /// Whether it only says that the object was removed.
    is_marker: bool,
}

/// Whether the store has the bytes that were sent, as far as its response shows.
fn verify(put: &PutObjectOutput, sent: &Digests) -> Result<(), S3Failure> {
    if let Some(sha256) = put.checksum_sha256() {
        return same("SHA-256", sha256, &sent.sha256_header());
    }
    let kms =
        matches!(put.server_side_encryption(), Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse));
    match put.e_tag().filter(|_| !kms && put.sse_customer_algorithm().is_none()).and_then(plain_md5) {
        Some(md5) => same("MD5", &md5, &sent.md5()),
        None => Ok(()),
    }
}

/// The MD5 in an ETag, if the ETag has that form.
pub(super) fn plain_md5(etag: &str) -> Option<String> {
    let etag = etag.trim_matches('"');
    (etag.len() == 32 && etag.bytes().all(|b| b.is_ascii_hexdigit())).then(|| etag.to_ascii_lowercase())
}

pub(super) fn same(what: &str, got: &str, sent: &str) -> Result<(), S3Failure> {
    if got == sent {
        return Ok(());
    }
    Err(S3Failure::new(S3Kind::Checksum, format!("the store has {what} {got} of what was sent with {sent}")))
}

pub(super) fn metadata(settings: &SinkSettings) -> Option<std::collections::HashMap<String, String>> {
    let metadata = settings.metadata.iter().map(|(name, value)| (name.clone(), value.clone()));
    (!settings.metadata.is_empty()).then(|| metadata.collect())
}

pub(super) fn unreadable(path: &Path, source: io::Error) -> SinkError {
    SinkError::Content { path: path.display().to_string(), source }
}
