//! A ledger in one file: made while others work on it, and put back from it.
//!
//! The file is a tar archive, so that any `tar` can look into it. Its first member says what it is ([`BackupHead`]), its last
//! one has the checksum of each member. A file that was cut off has no last member; one that was changed has other checksums.
//! Of a ledger on a server it holds only what stands outside the database.

mod error;
mod head;
mod make;
mod read;
mod restore;
mod write;

pub use error::{BackupError, Loss};
pub use head::{BackupHead, OnBackup};
pub use make::{BackedUp, BackupRequest};
pub use read::Backup;
pub use restore::Replaced;

#[cfg(test)]
mod tests;
