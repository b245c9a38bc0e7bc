//! The failures of a sink, by what they mean.

use std::io::{self, ErrorKind as Io};

use rustix::io::Errno;

use crate::{
    io_fault::{IoFault, remedy},
    s3::{S3Error, S3Kind},
};

/// Why an output could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// No sink of this version has such an address.
    #[error("cannot write outputs to `{address}`: {why}")]
    AddressRefused {
        /// The address as given.
        address: String,
        /// What is wrong with it, and what would be valid.
        why: String,
    },
    /// The sink can never accept this name.
    #[error("`{address}` cannot be written: {why}; give the line another key")]
    NameRefused {
        /// The output's address.
        address: String,
        /// The reason.
        why: String,
    },
    /// The sink's path is not a folder.
    #[error("`{address}` is not a folder; remove it, or choose another `output`")]
    NotAFolder {
        /// The sink's address.
        address: String,
    },
    /// The content to be read back is larger than anything that was written there.
    #[error(
        "`{address}` has over {most} bytes, and is nothing that wavebatch wrote; remove it, or choose another `output`"
    )]
    TooLarge {
        /// Its address.
        address: String,
        /// The most bytes that are read.
        most: u64,
    },
    /// Not permitted, or read-only.
    #[error("`{address}` may not be written; change its permissions, or choose another `output`")]
    Denied {
        /// The output's address.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// No room left, or the quota is used up.
    #[error("no room left for `{address}`; free some, nothing is lost meanwhile")]
    Full {
        /// The output's address.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// The sink has disappeared and cannot be created again.
    #[error("`{address}` has gone while it was written to; put it back, or choose another `output`")]
    Missing {
        /// The output's address.
        address: String,
    },
    /// Any other failure; it may pass.
    #[error("`{address}` cannot be reached now, and is tried again later")]
    Unavailable {
        /// The output's address.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// An S3 store refuses the output, or does not return it.
    #[error(transparent)]
    Store(#[from] S3Error),
    /// The local file to be written there cannot be read.
    #[error("`{path}`, which should go to the output, cannot be read")]
    Content {
        /// The local file.
        path: String,
        /// The system's error.
        source: io::Error,
    },
}

/// The consequence of a [`SinkError`] for the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkClass {
    /// Final for this line; other lines are not affected.
    Line,
    /// Every line fails until somebody changes something: pause the batch.
    Pause,
    /// May pass on its own: deliver again later, and pause only after the outage limit.
    Retry,
}

impl SinkError {
    /// The consequence for the work.
    #[must_use]
    pub const fn class(&self) -> SinkClass {
        match self {
            Self::NameRefused { .. } => SinkClass::Line,
            Self::AddressRefused { .. }
            | Self::NotAFolder { .. }
            | Self::TooLarge { .. }
            | Self::Denied { .. }
            | Self::Missing { .. } => SinkClass::Pause,
            Self::Store(e) => match e.kind {
                S3Kind::BadName => SinkClass::Line,
                S3Kind::NoCredentials
                | S3Kind::BadCredentials
                | S3Kind::Denied
                | S3Kind::NoBucket
                | S3Kind::WrongRegion
                | S3Kind::Archived
                | S3Kind::Other => SinkClass::Pause,
                S3Kind::Throttled
                | S3Kind::Unavailable
                | S3Kind::TimedOut
                | S3Kind::LocalOutage
                | S3Kind::Checksum
                | S3Kind::Changed
                | S3Kind::PastEnd
                | S3Kind::NoKey => SinkClass::Retry,
            },
            Self::Full { .. } | Self::Unavailable { .. } | Self::Content { .. } => SinkClass::Retry,
        }
    }

    /// What a user can do about it, if the message does not say it.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Store(e) => e.hint(),
            _ => None,
        }
    }

    /// The message with the system's error, for errors that are stored as text.
    #[must_use]
    pub fn message(&self) -> String {
        match (self, std::error::Error::source(self)) {
            (Self::Unavailable { source, .. } | Self::Content { source, .. }, _)
                if IoFault::of(source) == IoFault::Machine =>
            {
                format!("{self}: {source}; {}", remedy(source))
            }
            (_, Some(source)) => format!("{self}: {source}"),
            (_, None) => self.to_string(),
        }
    }

    /// The error for an I/O failure at one output's name or bytes.
    pub(super) fn of_output(address: String, source: io::Error) -> Self {
        let refused = |why: &str| Self::NameRefused { address: address.clone(), why: why.to_owned() };
        match (Errno::from_io_error(&source), source.kind()) {
            (Some(Errno::NAMETOOLONG), _) => refused("its name is too long"),
            (Some(Errno::ISDIR | Errno::NOTEMPTY), _) => refused("a folder has that name"),
            (Some(Errno::NOTDIR | Errno::EXIST), _) => refused("a file stands where a folder is needed"),
            (Some(Errno::LOOP), _) => refused("its path is a circle of links"),
            (Some(Errno::INVAL | Errno::ILSEQ), _) | (_, Io::InvalidFilename | Io::InvalidInput) => {
                refused("the file system does not take such a name")
            }
            _ => Self::of_sink(address, source),
        }
    }

    /// The error for an I/O failure of the sink as a whole: never the fault of one line.
    pub(super) fn of_sink(address: String, source: io::Error) -> Self {
        match Errno::from_io_error(&source) {
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Self::Denied { address, source },
            Some(Errno::NOSPC | Errno::DQUOT) => Self::Full { address, source },
            Some(Errno::NOTDIR | Errno::EXIST) => Self::NotAFolder { address },
            Some(Errno::NOENT) => Self::Missing { address },
            Some(Errno::NAMETOOLONG | Errno::LOOP | Errno::INVAL | Errno::ILSEQ) => {
                Self::AddressRefused { address, why: source.to_string() }
            }
            _ => Self::Unavailable { address, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_lacks_is_told_with_what_to_do() {
        let message = SinkError::of_output("out/a".into(), Errno::MFILE.into()).message();
        let words = "`out/a` cannot be reached now, and is tried again later: Too many open files (os error 24); raise the limit of open files";
        assert!(message.starts_with(words), "{message}");
    }

    #[test]
    fn errors_are_sorted_by_what_they_mean() {
        let class = |errno: Errno| SinkError::of_output("out/a".into(), errno.into()).class();
        for errno in [Errno::NAMETOOLONG, Errno::ISDIR, Errno::NOTDIR, Errno::LOOP, Errno::INVAL] {
            assert_eq!(class(errno), SinkClass::Line, "{errno:?}");
            assert_ne!(SinkError::of_sink("out".into(), errno.into()).class(), SinkClass::Line, "{errno:?}");
        }
        for errno in [Errno::ACCESS, Errno::PERM, Errno::ROFS, Errno::NOENT] {
            assert_eq!(class(errno), SinkClass::Pause, "{errno:?}");
        }
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::IO, Errno::MFILE] {
            assert_eq!(class(errno), SinkClass::Retry, "{errno:?}");
        }
    }
}
