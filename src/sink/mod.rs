//! Where outputs go. Deterministic names in, receipts out; writing the same again is no harm.

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

/// One output to be.
#[derive(Debug, Clone)]
pub struct Item {
    /// Relative to the sink, with `/` between folders: `2026/call-17.srt`.
    pub name: String,
    /// What goes in.
    pub content: Content,
    /// The media type, for sinks that record one.
    pub content_type: &'static str,
}

/// Where an output's bytes are.
#[derive(Debug, Clone)]
pub enum Content {
    /// In memory.
    Bytes(Bytes),
    /// In a finished local file, which stays as it is.
    File(PathBuf),
    /// In a finished local file that nobody needs any more: the sink may take it.
    Draft(PathBuf),
}

/// The proof that an output is where it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Where it is, in full.
    pub address: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
}

impl Sink {
    /// The sink at this address: a path, a `file://` URL, or `s3://bucket/prefix/`. Touches nothing yet.
    ///
    /// # Errors
    /// [`SinkError::AddressRefused`] for what this version cannot write to.
    pub fn open(address: &str, settings: &SinkSettings) -> Result<Self, SinkError> {
        if is_s3(address) {
            return Bucket::open(address, settings).map(Self::S3);
        }
        Directory::open(address).map(Self::Directory)
    }

    /// The sink in which one file at this address is, and the file's name in it.
    ///
    /// # Errors
    /// [`SinkError::AddressRefused`] for what this version cannot write to, and for an address that names no file.
    pub fn open_file(address: &str, settings: &SinkSettings) -> Result<(Self, String), SinkError> {
        let refused = || SinkError::AddressRefused {
            address: address.to_owned(),
            why: "it names no file; write /folder/name.csv or s3://bucket/name.csv".to_owned(),
        };
        let (folder, name) = match address.rsplit_once('/') {
            Some((folder, name)) => (format!("{folder}/"), name),
            None => (".".to_owned(), address),
        };
        // `s3://name` has nothing before its last slash but the scheme.
        if matches!(name, "" | "." | "..") || folder.ends_with("://") {
            return Err(refused());
        }
        Ok((Self::open(&folder, settings)?, name.to_owned()))
    }

    /// Writes one file that stays at hand: a summary or a report, which are read again, and never go to an archive.
    ///
    /// # Errors
    /// See [`SinkError::class`] for what each means for the line and for the batch.
    pub async fn put(&self, name: &str, content: Content, content_type: &'static str) -> Result<Receipt, SinkError> {
        let items = vec![Item { name: name.to_owned(), content, content_type }];
        let mut receipts = match self {
            Self::Directory(_) => self.put_all(items).await?,
            Self::S3(bucket) => bucket.at_hand().put_all(&items).await?,
        };
        Ok(receipts.pop().expect("one item has one receipt"))
    }

    /// Writes the outputs of one job. None of them is visible before all of its bytes are there; the receipts are in
    /// the order of the items.
    ///
    /// # Errors
    /// The first that fails; others may be written by then, and are written again next time.
    pub async fn put_all(&self, items: Vec<Item>) -> Result<Vec<Receipt>, SinkError> {
        match self {
            Self::Directory(directory) => {
                let directory = directory.clone();
                blocking(move || directory.put_all(&items)).await
            }
            Self::S3(bucket) => bucket.put_all(&items).await,
        }
    }

    /// What stands under this name, or `None`. For what is small by nature: over [`MOST_READ`] bytes are no summary.
    ///
    /// # Errors
    /// If that cannot be found out, or is larger.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, SinkError> {
        match self {
            Self::Directory(directory) => {
                let (directory, name) = (directory.clone(), name.to_owned());
                blocking(move || directory.get(&name)).await
            }
            Self::S3(bucket) => bucket.get(name).await,
        }
    }

    /// The local file that has what stands under this name, of any size; `None` where nothing does. Of a directory it is
    /// its own; of a bucket it is `scratch`, a local file that is written over.
    ///
    /// # Errors
    /// That cannot be found out or read, or `scratch` cannot be written.
    pub async fn fetch(&self, name: &str, scratch: &Path) -> Result<Option<PathBuf>, SinkError> {
        match self {
            Self::Directory(directory) => {
                let (directory, name) = (directory.clone(), name.to_owned());
                blocking(move || directory.find(&name)).await
            }
            Self::S3(bucket) => Ok(bucket.fetch(name, scratch).await?.then(|| scratch.to_owned())),
        }
    }

    /// Whether anything stands under this name, as far as one may look: what may be there is.
    ///
    /// # Errors
    /// That cannot be found out now.
    pub async fn has(&self, name: &str) -> Result<bool, SinkError> {
        match self {
            Self::Directory(directory) => {
                let (directory, name) = (directory.clone(), name.to_owned());
                blocking(move || directory.find(&name)).await.map(|found| found.is_some())
            }
            Self::S3(bucket) => bucket.has(name).await,
        }
    }

    /// Finds out whether this name can be written, and leaves what stands there as it is.
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

    /// The names of everything below the sink and their sizes, one after the other, relative to it.
    ///
    /// # Errors
    /// If the sink cannot be read. One that is not there yet is empty.
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

    /// Removes what dead processes left half-written (of a bucket, more than a day ago), and says how much that was.
    ///
    /// # Errors
    /// If the sink cannot be read. A leftover that cannot be removed is left.
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
