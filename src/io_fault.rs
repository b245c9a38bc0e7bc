//! The cause of an error of the operating system: the requested file, its storage, or this machine.

use std::{error::Error, fs::File, io};

use rustix::io::Errno;

/// The cause of an error. It decides what is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoFault {
    /// The file or its name: it does not exist, is not a file, or may not be read. Waiting does not help.
    File,
    /// The disk or mount of the file: a server that does not answer, a cable, a bad sector. Other files on it fail
    /// too, and the fault may pass.
    Storage,
    /// This machine or this process: no more open files, memory or disk space. The next request fails too, whatever
    /// its file.
    Machine,
}

impl IoFault {
    /// The cause of `error`. An unknown error counts as storage: a file is given up only for a known cause.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(errno) => Self::of_errno(errno),
            None => match error.kind() {
                io::ErrorKind::OutOfMemory | io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Machine,
                io::ErrorKind::TimedOut | io::ErrorKind::StaleNetworkFileHandle => Self::Storage,
                // Made by a library from the content that it read.
                _ => Self::File,
            },
        }
    }

    fn of_errno(errno: Errno) -> Self {
        match errno {
            Errno::MFILE
            | Errno::NFILE
            | Errno::NOMEM
            | Errno::NOBUFS
            | Errno::NOSPC
            | Errno::DQUOT
            | Errno::ADDRNOTAVAIL => Self::Machine,
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::ISDIR
            | Errno::ACCESS
            | Errno::PERM
            | Errno::NAMETOOLONG
            | Errno::LOOP
            | Errno::INVAL
            | Errno::ILSEQ
            | Errno::FBIG
            | Errno::OVERFLOW
            | Errno::OPNOTSUPP
            | Errno::NOSYS => Self::File,
            _ => Self::Storage,
        }
    }
}

/// The remedy for an error that is not the file's, as the end of a sentence.
#[must_use]
pub fn remedy(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => "raise the limit of open files (`ulimit -n`, LimitNOFILE=)",
        Some(Errno::NFILE) => "close programs, or raise the machine's limit of open files (fs.file-max)",
        Some(Errno::NOMEM | Errno::NOBUFS) => "this machine is out of memory",
        Some(Errno::ADDRNOTAVAIL) => "this machine is out of ports for connections",
        Some(Errno::NOSPC | Errno::DQUOT) => "make room there",
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => "make it writable for this user",
        _ => match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there",
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "make it writable for this user",
            _ => "look at that disk or mount",
        },
    }
}

/// The resource that this machine lacks, if that is why a connection failed: a message with what to do. The sources
/// of `error` are searched too.
#[must_use]
pub fn shortage(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(cause) = next {
        let io = cause.downcast_ref::<io::Error>();
        if let Some(io) = io
            && IoFault::of(io) == IoFault::Machine
        {
            return Some(format!("{io}; {}", remedy(io)));
        }
        // A resolver that cannot open a file reports only an unknown name.
        if cause.to_string() == "dns error"
            && let Some(lacking) = no_more_files()
        {
            return Some(lacking);
        }
        next = match io.and_then(io::Error::get_ref) {
            Some(within) => Some(within),
            None => cause.source(),
        };
    }
    None
}

/// The reason why no further file can be opened, if that is the machine's fault.
fn no_more_files() -> Option<String> {
    let error = File::open("/").err()?;
    (IoFault::of(&error) == IoFault::Machine).then(|| format!("{error}; {}", remedy(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_the_files_fault() {
        let of = |errno: Errno| IoFault::of(&errno.into());
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::NOSPC, Errno::DQUOT] {
            assert_eq!(of(errno), IoFault::Machine, "{errno}");
        }
        for errno in [Errno::NOENT, Errno::NOTDIR, Errno::ISDIR, Errno::ACCESS, Errno::PERM, Errno::NAMETOOLONG] {
            assert_eq!(of(errno), IoFault::File, "{errno}");
        }
        for errno in [Errno::LOOP, Errno::INVAL, Errno::OVERFLOW] {
            assert_eq!(of(errno), IoFault::File, "{errno}");
        }
        for errno in [
            Errno::IO,
            Errno::STALE,
            Errno::TIMEDOUT,
            Errno::HOSTDOWN,
            Errno::HOSTUNREACH,
            Errno::NETDOWN,
            Errno::NETUNREACH,
            Errno::NOTCONN,
            Errno::CONNRESET,
            Errno::CONNABORTED,
            Errno::CONNREFUSED,
            Errno::NODEV,
            Errno::NXIO,
            Errno::BUSY,
            Errno::AGAIN,
            Errno::INTR,
            Errno::PIPE,
        ] {
            assert_eq!(of(errno), IoFault::Storage, "{errno}");
        }
    }

    #[test]
    fn an_error_without_a_number_is_told_by_its_kind() {
        let of = |kind: io::ErrorKind| IoFault::of(&io::Error::new(kind, "words"));
        assert_eq!(of(io::ErrorKind::OutOfMemory), IoFault::Machine);
        assert_eq!(of(io::ErrorKind::StorageFull), IoFault::Machine);
        assert_eq!(of(io::ErrorKind::TimedOut), IoFault::Storage);
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::InvalidInput, io::ErrorKind::UnexpectedEof] {
            assert_eq!(of(kind), IoFault::File, "{kind}");
        }
    }

    #[test]
    fn a_shortage_is_found_behind_other_errors() {
        #[derive(Debug, thiserror::Error)]
        #[error("error sending request")]
        struct Sending(#[source] io::Error);
        let behind = |errno: Errno| shortage(&Sending(io::Error::other(io::Error::from(errno))));
        let message = behind(Errno::MFILE).expect("a shortage");
        assert!(message.contains("Too many open files") && message.contains("ulimit -n"), "{message}");
        assert!(behind(Errno::NFILE).is_some() && behind(Errno::NOMEM).is_some());
        assert_eq!(behind(Errno::CONNREFUSED), None);
        assert_eq!(behind(Errno::NETUNREACH), None, "without a network it is the API that is out of reach");
        assert_eq!(shortage(&Sending(io::Error::other("dns error"))), None, "there are files left");
    }
}
