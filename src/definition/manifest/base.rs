//! Where the relative paths of a manifest begin.

use std::{
    io,
    path::{Path, PathBuf},
};

use url::Url;

use super::super::{Definition, Origin, paths::absolute_dir};
use crate::domain::s3::S3Address;

/// Where relative sources begin.
#[derive(Debug)]
pub(crate) enum Base {
    /// In a directory, absolute.
    Dir(String),
    /// At the address of the manifest that names them.
    Url(Url),
    /// At that of a manifest in a store, or at a prefix.
    S3(S3Address),
}

impl Base {
    /// That of a definition's manifest.
    pub(super) fn of(definition: &Definition) -> io::Result<Self> {
        let dir = match &definition.origin {
            Origin::Url(url) => return Ok(Self::Url(url.clone())),
            Origin::S3Prefix(address) | Origin::S3Object(address) => return Ok(Self::S3(address.clone())),
            Origin::File(path) => absolute_dir(path.parent().unwrap_or(path))?,
            Origin::Listing { root, .. } => root.clone(),
            Origin::Files(files) => shared_dir(files).unwrap_or_else(|| definition.working_dir.clone()),
            Origin::Stdin => definition.working_dir.clone(),
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
