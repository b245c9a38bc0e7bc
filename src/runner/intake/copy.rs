//! Manifests that are not local files: they are copied to the spool, and then read twice.

use std::{io, path::Path};

use tokio::io::{AsyncRead, AsyncWriteExt};

use super::{
    IntakeError,
    manifest_copy::ManifestCopy,
    upstream::{self, Upstreams},
};
use crate::{
    definition::{
        Definition, Origin,
        manifest::{ListedObject, ListingWriter},
    },
    domain::s3::S3Address,
    media::{
        fetch::Fetcher,
        s3::{ListError, Objects},
    },
    store::Scratch,
};

/// A manifest may be larger than a recording.
const MAX_BYTES: u64 = 16 << 30;

/// Where a copy goes, and where its content comes from.
#[derive(Clone, Copy)]
pub struct CopyPlace<'a> {
    /// The folder of the copy.
    pub dir: &'a Path,
    /// Fetches from the web.
    pub fetcher: &'a Fetcher,
    /// The batches whose lines may be a manifest.
    pub upstreams: Upstreams<'a>,
}

/// Copies the manifest of `definition`, if it is on the web, in an S3 store, on standard input or another batch; for a prefix,
/// the listing is copied.
///
/// # Errors
/// The manifest cannot be read, or the folder cannot be written.
pub async fn copy_manifest(
    definition: &Definition,
    CopyPlace { dir, fetcher, upstreams }: CopyPlace<'_>,
    stdin: impl AsyncRead + Unpin,
) -> Result<Option<ManifestCopy>, IntakeError> {
    if !definition.origin.needs_copy() {
        return Ok(None);
    }
    if let Some(name) = definition.fed_by() {
        return Box::pin(upstream::snapshot(definition, name, dir, &upstreams)).await.map(Some);
    }
    let message = |source| IntakeError::Copy { dir: dir.to_owned(), source };
    let (scratch, file) = Scratch::create(dir, "manifest").map_err(message)?;
    let objects = || Objects::new(&definition.source);
    let manifest = || definition.manifest.clone();
    let fetched = match &definition.origin {
        Origin::Url(url) => {
            let fetcher = fetcher.clone().with_private_redirects(definition.private_redirects);
            fetcher.fetch(url, scratch.path(), MAX_BYTES).await.map(|_| ())
        }
        Origin::S3Object(at) => objects().fetch(at, None, scratch.path(), MAX_BYTES).await.map(|_| ()),
        Origin::S3Prefix(at) => match list(&objects(), at, file).await {
            Ok(()) => Ok(()),
            Err(ListError::Taken(source)) => return Err(message(source)),
            Err(ListError::Store(source)) => return Err(IntakeError::List { manifest: manifest(), source }),
        },
        _ => return write(file, stdin).await.map_err(message).map(|()| Some(ManifestCopy::of(scratch))),
    };
    fetched.map_err(|source| IntakeError::Fetch { manifest: manifest(), source })?;
    Ok(Some(ManifestCopy::of(scratch)))
}

/// Writes the listing of a prefix to the file, page by page.
async fn list(objects: &Objects, prefix: &S3Address, file: std::fs::File) -> Result<(), ListError> {
    let mut listing = ListingWriter::new(file);
    let listed = objects.list(prefix, |object| {
        let path = object.key.strip_prefix(&prefix.key).unwrap_or(&object.key).to_owned();
        listing.write(&ListedObject { path, bytes: object.bytes, etag: object.etag, modified: object.modified })
    });
    listed.await?;
    listing.finish().map(|_| ()).map_err(ListError::Taken)
}

async fn write(file: std::fs::File, mut from: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut file = tokio::fs::File::from_std(file);
    tokio::io::copy(&mut from, &mut file).await?;
    file.flush().await
}
