//! A folder here that cannot be written: no line's fault, and told with what to do about it.

use std::{io, path::Path};

/// Where it happened, what the system said, and what helps.
pub(super) fn told(path: &Path, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "make it writable for this user",
        _ => "look at that disk",
    };
    format!("{} cannot be written ({error}); {remedy}", path.display())
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn the_remedy_fits_what_the_system_said() {
        let said = |errno: Errno| told(Path::new("/spool"), &errno.into());
        assert!(said(Errno::NOSPC).starts_with("/spool cannot be written (No space left on device"));
        for (errno, remedy) in [
            (Errno::NOSPC, "make room there"),
            (Errno::DQUOT, "make room there"),
            (Errno::ROFS, "make it writable for this user"),
            (Errno::IO, "look at that disk"),
        ] {
            assert!(said(errno).ends_with(remedy), "{}", said(errno));
        }
    }
}
