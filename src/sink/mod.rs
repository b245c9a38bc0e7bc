//! Where outputs go. Deterministic names in, receipts out; writing the same output again does no harm.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tokio::sync::mpsc;

mod bucket;
mod digest;
mod directory;
mod error;
mod multipart;
mod staged;
mod together;

pub use bucket::Bucket;
pub use directory::Directory;
pub use error::{SinkClass, SinkError};

use crate::domain::s3::SinkSettings;

/// The most bytes that are read back from a sink.
pub const MOST_READ: u64 = 16 * 1024 * 1024;

/// A place for outputs.
#[derive(Debug, Clone)]
pub enum Sink {
    /// A directory of the local machine.
    Directory(Directory),
    /// A prefix of a bucket.
    S3(Bucket),
}

/// An output to be written.
#[derive(Debug, Clone)]
pub struct Item {
    /// Relative to the sink, with `/` between folders: `2026/call-17.srt`.
    pub name: String,
    /// Its bytes.
    pub content: Content,
    /// The media type, for sinks that record one.
    pub content_type: &'static str,
}

/// Where an output's bytes are.
#[derive(Debug, Clone)]
pub enum Content {
    /// In memory.
    Bytes(Bytes),
    /// In a finished local file, which is left unchanged.
    File(PathBuf),
    /// In a finished local file that is no longer needed: the sink may move it.
    Draft(PathBuf),
}

/// The proof that an output is at its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its full address.
    pub address: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
}

/// What was removed of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    /// Whether there was anything.
    pub found: bool,
    /// How many versions went, where the bucket keeps them.
    pub versions: u64,
    /// Why older versions may still be there.
    pub left: Option<String>,
}

impl Sink {
    /// The sink at this address: a path, a `file://` URL, or `s3://bucket/prefix/`. Accesses nothing yet.
    ///
    /// # Errors
    /// [`SinkError::AddressRefused`] for an address that this version cannot write to.
    pub fn open(address: &str, settings: &SinkSettings) -> Result<Self, SinkError> {
        if is_s3(address) {
            return Bucket::open(address, settings).map(Self::S3);
        }
        Directory::open(address).map(Self::Directory)
    }

    /// The sink that contains the file at this address, and the file's name in the sink.
    ///
    /// # Errors
    /// [`SinkError::AddressRefused`] for an address that this version cannot write to, and for one that names no file.
    pub fn open_file(address: &str, settings: &SinkSettings) -> Result<(Self, String), SinkError> {
        let refused = || SinkError::AddressRefused {
            address: address.to_owned(),
            why: "it names no file; write /folder/name.csv or s3://bucket/name.csv".to_owned(),
        };
        let (folder, name) = match address.rsplit_once('/') {
            Some((folder, name)) => (format!("{folder}/"), name),
            None => (".".to_owned(), address),
        };
        // Before its last slash, `s3://name` has nothing but the scheme.
        if matches!(name, "" | "." | "..") || folder.ends_with("://") {
            return Err(refused());
        }
        Ok((Self::open(&folder, settings)?, name.to_owned()))
    }

    /// Writes one file that must stay readable: a summary or a report, which is read again and never goes to an archive.
    ///
    /// # Errors
    /// See [`SinkError::class`] for the consequence for the line and the batch.
    pub async fn put(&self, name: &str, content: Content, content_type: &'static str) -> Result<Receipt, SinkError> {
        let items = vec![Item { name: name.to_owned(), content, content_type }];
        let mut receipts = match self {
            Self::Directory(_) => self.put_all(items).await?,
            Self::S3(bucket) => bucket.at_hand().put_all(&items).await?,
        };
        Ok(receipts.pop().expect("one item has one receipt"))
    }

    /// Writes the outputs of one job. No output is visible before all of its bytes are there; the receipts are in the order of
    /// the items.
    ///
    /// # Errors
    /// The first failure; other outputs may be written by then, and are written again next time.
    pub async fn put_all(&self, items: Vec<Item>) -> Result<Vec<Receipt>, SinkError> {
        match self {
            Self::Directory(directory) => {
                let directory = directory.clone();
                blocking(move || directory.put_all(&items)).await
            }
            Self::S3(bucket) => bucket.put_all(&items).await,
        }
    }

    /// The content with this name, or `None`. Only for small files: a summary never exceeds [`MOST_READ`] bytes.
    ///
    /// # Errors
    /// It cannot be read, or is larger.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, SinkError> {
        match self {
            Self::Directory(directory) => {
                let (directory, name) = (directory.clone(), name.to_owned());
                blocking(move || directory.get(&name)).await
            }
            Self::S3(bucket) => bucket.get(name).await,
        }
    }

    /// A local file with the content that has this name, of any size; `None` if there is none. A directory returns its own
    /// file; a bucket writes it to the local file `scratch`.
    ///
    /// # Errors
    /// The content cannot be found or read, or `scratch` cannot be written.
    pub async fn fetch(&self, name: &str, scratch: &Path) -> Result<Option<PathBuf>, SinkError> {
        match self {
            Self::Directory(directory) => {
                let (directory, name) = (directory.clone(), name.to_owned());
                blocking(move || directory.find(&name)).await
            }
            Self::S3(bucket) => Ok(bucket.fetch(name, scratch).await?.then(|| scratch.to_owned())),
        }
    }

    /// Whether there is a file with this name. If access is denied, it counts as existing.
    ///
    /// # Errors
    /// This cannot be determined now.
    pub async fn has(&self, name: &str) -> Result<bool, SinkError> {
        match self {
            Self::Directory(directory) => {
                let (directory, name) = (directory.clone(), name.to_owned());
                blocking(move || directory.find(&name)).await.map(|found| found.is_some())
            }
            Self::S3(bucket) => bucket.has(name).await,
        }
    }

    /// Tests whether this name can be written, and leaves an existing file unchanged.
    ///
    /// # Errors
    /// Those of [`Self::put`].
    pub async fn try_out(&self, name: &str) -> Result<(), SinkError> {
        match self {
            Self::Directory(directory) => {
                let (directory, name) = (directory.clone(), name.to_owned());
                blocking(move || directory.try_out(&name)).await
            }
            Self::S3(bucket) => bucket.at_hand().try_out(name).await,
        }
    }

    /// Passes on the names of everything below the sink and their sizes, one by one, relative to the sink.
    ///
    /// # Errors
    /// The sink cannot be read. A sink that does not exist yet is empty.
    pub async fn list_names(&self, mut each: impl FnMut(&str, u64)) -> Result<(), SinkError> {
        match self {
            Self::Directory(directory) => {
                let (directory, (some, mut names)) = (directory.clone(), mpsc::channel::<Vec<(String, u64)>>(1));
                let walk = blocking(move || directory.names(|names| some.blocking_send(names).is_ok()));
                let take = async {
                    while let Some(names) = names.recv().await {
                        names.iter().for_each(|(name, bytes)| each(name, *bytes));
                    }
                };
                tokio::join!(walk, take).0
            }
            Self::S3(bucket) => bucket.names(each).await,
        }
    }

    /// Removes a file of the sink. One that is not there is no error.
    ///
    /// # Errors
    /// The sink refuses it.
    pub async fn remove(&self, name: &str) -> Result<(), SinkError> {
        match self {
            Self::Directory(directory) => {
                let (directory, name) = (directory.clone(), name.to_owned());
                blocking(move || directory.remove(&name)).await
            }
            Self::S3(bucket) => bucket.remove(name).await,
        }
    }

    /// Removes a file with all that is left of it: where a bucket keeps versions, all of them.
    ///
    /// # Errors
    /// The sink refuses it, as where a version is locked, or cannot be reached. Some versions may be gone.
    pub async fn erase(&self, name: &str) -> Result<Erased, SinkError> {
        match self {
            Self::Directory(directory) => {
                let (directory, name) = (directory.clone(), name.to_owned());
                blocking(move || directory.erase(&name)).await
            }
            Self::S3(bucket) => bucket.erase(name, false).await,
        }
    }

    /// Removes the former versions of a file, where a bucket keeps them. The file itself stays.
    ///
    /// # Errors
    /// As of [`Self::erase`].
    pub async fn erase_former(&self, name: &str) -> Result<Erased, SinkError> {
        match self {
            Self::Directory(_) => Ok(Erased::default()),
            Self::S3(bucket) => bucket.erase(name, true).await,
        }
    }

    /// The full address of an output, written or not.
    #[must_use]
    pub fn address(&self, name: &str) -> String {
        match self {
            Self::Directory(directory) => directory.address(name),
            Self::S3(bucket) => bucket.at(name).to_string(),
        }
    }

    /// The address of the sink itself.
    #[must_use]
    pub fn root(&self) -> String {
        match self {
            Self::Directory(directory) => directory.root(),
            Self::S3(bucket) => bucket.root(),
        }
    }

    /// Removes the unfinished files of dead processes (in a bucket, those older than a day), and returns their number.
    ///
    /// # Errors
    /// The sink cannot be read. A file that cannot be removed is left.
    pub async fn sweep(&self) -> Result<usize, SinkError> {
        match self {
            Self::Directory(directory) => {
                let directory = directory.clone();
                blocking(move || directory.sweep()).await
            }
            Self::S3(bucket) => bucket.sweep().await,
        }
    }
}

/// Whether the address is one of an S3 store.
#[must_use]
pub fn is_s3(address: &str) -> bool {
    address.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("s3://"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    let interrupted = |e| SinkError::Unavailable { address: "the output".into(), source: io::Error::other(e) };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(interrupted(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_elsewhere_is_a_sink_and_a_name() {
        let settings = SinkSettings::default();
        for (address, root, name) in [
            ("/srv/bi/report.csv", "/srv/bi/", "report.csv"),
            ("/report.csv", "/", "report.csv"),
            ("s3://acme-bi/calls/night 1.csv", "s3://acme-bi/calls/", "night 1.csv"),
            ("s3://acme-bi/night.csv", "s3://acme-bi/", "night.csv"),
        ] {
            let (sink, found) = Sink::open_file(address, &settings).unwrap();
            assert_eq!((sink.root().as_str(), found.as_str()), (root, name));
            assert_eq!(sink.address(name), address);
        }
        for address in ["", "/srv/", "s3://acme-bi", "s3://acme-bi/", "s3://acme-bi/calls/", "/srv/.."] {
            let refused = Sink::open_file(address, &settings).unwrap_err();
            assert!(matches!(refused, SinkError::AddressRefused { .. }), "{address}");
        }
    }
}
