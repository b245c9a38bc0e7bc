//! Manifests that are no files: brought to the spool before they are read, twice.

use std::{io, path::Path};

use tokio::io::{AsyncRead, AsyncWriteExt};

use super::IntakeError;
use crate::{
    definition::{Definition, Origin, Spooled},
    media::fetch::Fetcher,
    store::Scratch,
};

/// A manifest may be larger than a recording.
const MAX_BYTES: u64 = 16 << 30;

/// The copy of a manifest. It goes with this value.
#[derive(Debug)]
pub struct ManifestCopy {
    spooled: Spooled,
    _scratch: Scratch,
}

impl ManifestCopy {
    /// The copy, for [`plan`](super::plan) and [`submit`](super::submit).
    #[must_use]
    pub const fn spooled(&self) -> &Spooled {
        &self.spooled
    }
}

/// Brings the manifest of `definition` to the folder `dir`, if it is on the web or on standard input.
///
/// # Errors
/// It cannot be had, or the folder cannot be written.
pub async fn copy_manifest(
    definition: &Definition,
    dir: &Path,
    fetcher: &Fetcher,
    stdin: impl AsyncRead + Unpin,
) -> Result<Option<ManifestCopy>, IntakeError> {
    if !definition.origin.needs_copy() {
        return Ok(None);
    }
    let told = |source| IntakeError::Copy { dir: dir.to_owned(), source };
    let (scratch, file) = Scratch::create(dir, "manifest").map_err(told)?;
    if let Origin::Url(url) = &definition.origin {
        let fetched = fetcher.fetch(url, scratch.path(), MAX_BYTES).await;
        let manifest = definition.manifest.clone();
        fetched.map_err(|source| IntakeError::Fetch { manifest, source })?;
    } else {
        write(file, stdin).await.map_err(told)?;
    }
    let spooled = Spooled { path: scratch.path().to_owned() };
    Ok(Some(ManifestCopy { spooled, _scratch: scratch }))
}

async fn write(file: std::fs::File, mut from: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut file = tokio::fs::File::from_std(file);
    tokio::io::copy(&mut from, &mut file).await?;
    file.flush().await
}
