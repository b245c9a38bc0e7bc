//! The base of a manifest's relative paths.

use std::{
    io,
    path::{Path, PathBuf},
};

use url::Url;

use super::super::{Definition, Origin, paths::absolute_dir};
use crate::domain::s3::S3Address;

/// The base of relative sources.
#[derive(Debug)]
pub(crate) enum Base {
    /// A directory, absolute.
    Dir(String),
    /// The URL of the manifest.
    Url(Url),
    /// The address of a manifest in a store, or a prefix.
    S3(S3Address),
}

impl Base {
    /// The base of a definition's manifest.
    pub(super) fn of(definition: &Definition) -> io::Result<Self> {
        let dir = match &definition.origin {
            Origin::Url(url) => return Ok(Self::Url(url.clone())),
            Origin::S3Prefix(address) | Origin::S3Object(address) => return Ok(Self::S3(address.clone())),
            Origin::File(path) => absolute_dir(path.parent().unwrap_or(path))?,
            Origin::Listing { root, .. } => root.clone(),
            Origin::Files(files) => shared_dir(files).unwrap_or_else(|| definition.working_dir.clone()),
            Origin::Stdin | Origin::Batch(_) => definition.working_dir.clone(),
        };
        let dir = dir.into_os_string().into_string();
        dir.map(Self::Dir).map_err(|_| io::Error::other("the manifest's path is not UTF-8"))
    }
}

/// The folder that local files share; `None` where there are none.
fn shared_dir(files: &[String]) -> Option<PathBuf> {
    let mut parents = files.iter().filter(|file| file.starts_with('/')).filter_map(|file| Path::new(file).parent());
    let first = parents.next()?;
    let shared = parents.fold(first, |shared, parent| {
        shared.ancestors().find(|above| parent.starts_with(above)).unwrap_or(Path::new("/"))
    });
    Some(shared.to_path_buf())
}
