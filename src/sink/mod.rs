//! Where outputs go. Deterministic names in, receipts out; writing the same again is no harm.

use std::{io, path::PathBuf};

use bytes::Bytes;

mod directory;
mod error;
mod staged;
mod together;

pub use directory::Directory;
pub use error::{SinkClass, SinkError};

/// A place for outputs.
#[derive(Debug, Clone)]
pub enum Sink {
    /// A directory of the local machine.
    Directory(Directory),
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
    /// The sink at this address: a path, or a `file://` URL. Touches nothing yet.
    ///
    /// # Errors
    /// [`SinkError::AddressRefused`] for what this version cannot write to.
    pub fn open(address: &str) -> Result<Self, SinkError> {
        Directory::open(address).map(Self::Directory)
    }

    /// Writes one output.
    ///
    /// # Errors
    /// See [`SinkError::class`] for what each means for the line and for the batch.
    pub async fn put(&self, name: &str, content: Content, content_type: &'static str) -> Result<Receipt, SinkError> {
        let mut receipts = self.put_all(vec![Item { name: name.to_owned(), content, content_type }]).await?;
        Ok(receipts.pop().expect("one item has one receipt"))
    }

    /// Writes the outputs of one job. None of them is visible before all of their bytes are on disk; the receipts are
    /// in the order of the items.
    ///
    /// # Errors
    /// The first that fails; others may be written by then, and are written again next time.
    pub async fn put_all(&self, items: Vec<Item>) -> Result<Vec<Receipt>, SinkError> {
        match self {
            Self::Directory(directory) => {
                let directory = directory.clone();
                blocking(move || directory.put_all(&items)).await
            }
        }
    }

    /// What stands under this name, or `None`.
    ///
    /// # Errors
    /// If that cannot be found out.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, SinkError> {
        match self {
            Self::Directory(directory) => {
                let (directory, name) = (directory.clone(), name.to_owned());
                blocking(move || directory.get(&name)).await
            }
        }
    }

    /// The full address of an output, written or not.
    #[must_use]
    pub fn address(&self, name: &str) -> String {
        match self {
            Self::Directory(directory) => directory.address(name),
        }
    }

    /// The address of the sink itself.
    #[must_use]
    pub fn root(&self) -> String {
        match self {
            Self::Directory(directory) => directory.root(),
        }
    }

    /// Removes what dead processes left half-written more than a day ago, and says how many files that were.
    ///
    /// # Errors
    /// If the sink cannot be read. A leftover that cannot be removed is left.
    pub async fn sweep(&self) -> Result<usize, SinkError> {
        match self {
            Self::Directory(directory) => {
                let directory = directory.clone();
                blocking(move || directory.sweep()).await
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    let interrupted = |e| SinkError::Unavailable { address: "the output".into(), source: io::Error::other(e) };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(interrupted(e)))
}
