//! Parses a manifest's source, and checks whether a file can be sent.

use std::{
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use url::Url;

use super::network;

use crate::{
    domain::{call::ErrorKind, s3::S3Address},
    io_fault::{self, IoFault},
};

/// The most bytes that the API accepts. Its documents say "250 MB" and leave open which; this is the larger reading, so that
/// nothing is withheld that the API would accept. It refuses sizes between the two at no cost (413).
pub const MAX_SOURCE_BYTES: u64 = 250 * 1024 * 1024;

/// The largest recording that is converted to one that the API takes, in bytes: a WAV has no room for more.
pub const MAX_CONVERTED_BYTES: u64 = 4 << 30;

/// Why a recording cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceFailure {
    /// Its place in the closed list.
    pub kind: ErrorKind,
    /// A message that a user can act on; without user info and query.
    pub message: String,
    /// Whether trying again later may help.
    pub transient: bool,
}

impl SourceFailure {
    /// A failure that stays, whatever the number of tries.
    pub(super) fn lasting(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), transient: false }
    }

    /// The failure for a system error of the line whose source is the file at `path`.
    #[must_use]
    pub fn of_file(path: &Path, error: &io::Error) -> Self {
        let name = path.display();
        match IoFault::of(error) {
            IoFault::Storage | IoFault::Machine => {
                let message = format!("`{name}` cannot be read: {error}; {}", io_fault::remedy(error));
                Self::passing(ErrorKind::LocalOutage, message)
            }
            IoFault::File => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                    Self::lasting(ErrorKind::SourceMissing, format!("there is no file `{name}`"))
                }
                _ => Self::lasting(ErrorKind::SourceUnreadable, format!("`{name}` cannot be read: {error}")),
            },
        }
    }

    /// A failure that may pass.
    pub(super) fn passing(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), transient: true }
    }
}

/// Where one recording is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// On a disk.
    File(PathBuf),
    /// At an http or https address.
    Http(Url),
    /// In an S3 store.
    S3(S3Address),
}

impl Source {
    /// Parses a path, a `file://` URL, an http(s) URL, or `s3://bucket/key`.
    ///
    /// # Errors
    /// The text is empty, an address of another kind, or malformed ([`ErrorKind::BadLine`]).
    pub fn parse(text: &str) -> Result<Self, SourceFailure> {
        let bad = |message: String| SourceFailure::lasting(ErrorKind::BadLine, message);
        if text.trim().is_empty() {
            return Err(bad("the source is empty".into()));
        }
        let Some(scheme) = scheme(text) else { return Ok(Self::File(text.into())) };
        let url = || Url::parse(text.trim()).map_err(|error| bad(format!("the source is not a valid URL: {error}")));
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => Ok(Self::Http(url()?)),
            "file" => {
                let path = url()?.to_file_path();
                path.map(Self::File)
                    .map_err(|()| bad("the source is a file:// URL without a path on this machine".into()))
            }
            "s3" => {
                // White space at the end of a key is a part of it.
                let at: S3Address = text.trim_start().parse().map_err(|fault| bad(format!("the source {fault}")))?;
                if at.is_prefix() {
                    return Err(bad("the source names a bucket or a prefix, not an object".into()));
                }
                Ok(Self::S3(at))
            }
            other => Err(bad(format!("`{other}://` is not a kind of source; use a path, http://, https:// or s3://"))),
        }
    }

    /// The same source, with a relative path resolved against `base`.
    #[must_use]
    pub fn below(self, base: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(base.join(path)),
            elsewhere @ (Self::Http(_) | Self::S3(_)) => elsewhere,
        }
    }

    /// Whether the vendor can probably fetch it directly: an address without user info, on a host that is not private. No name
    /// is looked up.
    #[must_use]
    pub fn is_public_http(&self) -> bool {
        let Self::Http(url) = self else { return false };
        let named = !url.username().is_empty() || url.password().is_some();
        !named && network::has_public_host(url)
    }

    /// The source in a form that may be shown: without user info, and without the query, which may contain a signature.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Http(url) => shown_url(url),
            Self::S3(at) => at.to_string(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.shown())
    }
}

/// A URL without user info, query and fragment.
pub(super) fn shown_url(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only if there is no host, and then there is no user info either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// The text before `://`, if it can be a scheme. A single letter is a drive.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.trim_start().split_once("://")?;
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (scheme.len() > 1 && scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(valid))
        .then_some(scheme)
}

/// The length in bytes of a file that can be sent. Blocks on the disk.
///
/// # Errors
/// It is missing, empty, no file, unreadable, or has over `most` bytes: waiting helps with none of these. Or this machine
/// or the file's disk is to blame ([`ErrorKind::LocalOutage`]), which may pass.
pub fn check_file(path: &Path, most: u64) -> Result<u64, SourceFailure> {
    let unreadable = |error| SourceFailure::of_file(path, &error);
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    let name = path.display();
    if meta.is_dir() {
        return Err(SourceFailure::lasting(ErrorKind::SourceUnreadable, format!("`{name}` is a directory")));
    }
    // Checked before opening: opening a pipe waits for its writer.
    if !meta.is_file() {
        return Err(SourceFailure::lasting(ErrorKind::SourceUnreadable, format!("`{name}` is not a regular file")));
    }
    if meta.len() == 0 {
        return Err(SourceFailure::lasting(ErrorKind::SourceEmpty, format!("`{name}` is empty")));
    }
    if meta.len() > most {
        let message = format!("`{name}` has {} bytes, and at most {most} can be sent", meta.len());
        return Err(SourceFailure::lasting(ErrorKind::SourceTooLarge, message));
    }
    File::open(path).map_err(unreadable)?;
    Ok(meta.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Source {
        Source::parse(text).unwrap()
    }

    #[test]
    fn paths_and_addresses() {
        assert_eq!(parse("a b/c:d.wav"), Source::File("a b/c:d.wav".into()));
        assert_eq!(parse("file:///mnt/a%20b.wav"), Source::File("/mnt/a b.wav".into()));
        assert!(matches!(parse("HTTPS://b.example/a.wav"), Source::Http(_)));
        assert_eq!(parse("a.wav").below(Path::new("/m")), Source::File("/m/a.wav".into()));
        assert_eq!(parse("/x/a.wav").below(Path::new("/m")), Source::File("/x/a.wav".into()));
        let object = parse("s3://acme-calls/2026/a b+ü.wav");
        assert_eq!(object.to_string(), "s3://acme-calls/2026/a b+ü.wav");
        assert!(matches!(object.below(Path::new("/m")), Source::S3(at) if at.key == "2026/a b+ü.wav"));
        for bad in ["s3://", "s3://b", "s3://b/p/", "s3://a b/k"] {
            assert_eq!(Source::parse(bad).unwrap_err().kind, ErrorKind::BadLine, "{bad}");
        }
        for bad in ["", "  ", "http://", "https://[b/", "ftp://b.example/a.wav", "file://elsewhere/a.wav"] {
            assert_eq!(Source::parse(bad).unwrap_err().kind, ErrorKind::BadLine, "{bad}");
        }
    }

    #[test]
    fn only_public_addresses_are_left_to_the_vendor() {
        for public in ["https://b.example/a.wav?X-Amz-Signature=1", "http://8.8.8.8/a", "https://[2606:4700::1111]/a"] {
            assert!(parse(public).is_public_http(), "{public}");
        }
        for private in [
            "a.wav",
            "https://me:pw@b.example/a.wav",
            "https://me@b.example/a.wav",
            "http://localhost:8080/a",
            "http://x.localhost/a",
            "http://nas/a",
            "http://nas.local./a",
            "http://pbx.corp.internal/a",
            "http://127.1/a",
            "http://10.0.0.1/a",
            "http://172.16.9.9/a",
            "http://192.168.1.1/a",
            "http://169.254.169.254/a",
            "http://100.64.0.1/a",
            "http://0.0.0.0/a",
            "http://[::1]/a",
            "http://[fd00::1]/a",
            "http://[fe80::1]/a",
            "http://[::ffff:10.0.0.1]/a",
            "s3://b/a.wav",
        ] {
            assert!(!parse(private).is_public_http(), "{private}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let source = parse("https://me:pw@b.example:8443/a%20b.wav?X-Amz-Signature=1#x");
        assert_eq!(source.to_string(), "https://b.example:8443/a%20b.wav");
    }

    #[test]
    fn a_file_is_given_up_only_for_its_own_fault() {
        use rustix::io::Errno;
        let of = |errno: Errno| SourceFailure::of_file(Path::new("/mnt/rec/1.wav"), &errno.into());
        for (errno, kind) in [
            (Errno::NOENT, ErrorKind::SourceMissing),
            (Errno::NOTDIR, ErrorKind::SourceMissing),
            (Errno::ISDIR, ErrorKind::SourceUnreadable),
            (Errno::ACCESS, ErrorKind::SourceUnreadable),
            (Errno::NAMETOOLONG, ErrorKind::SourceUnreadable),
            (Errno::LOOP, ErrorKind::SourceUnreadable),
        ] {
            assert_eq!((of(errno).kind, of(errno).transient), (kind, false), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO, Errno::STALE, Errno::TIMEDOUT] {
            assert_eq!((of(errno).kind, of(errno).transient), (ErrorKind::LocalOutage, true), "{errno}");
        }
        assert_eq!(
            of(Errno::STALE).message,
            "`/mnt/rec/1.wav` cannot be read: Stale file handle (os error 116); look at that disk or mount"
        );
    }

    #[test]
    fn files_are_looked_at_before_they_are_sent() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, len| {
            let path = dir.path().join(name);
            File::create(&path).unwrap().set_len(len).unwrap();
            path
        };
        assert_eq!(check_file(&file("good", 7), MAX_SOURCE_BYTES), Ok(7));
        assert_eq!(check_file(&file("largest", MAX_SOURCE_BYTES), MAX_SOURCE_BYTES), Ok(MAX_SOURCE_BYTES));
        let good = dir.path().join("good");
        for (path, kind) in [
            (file("empty", 0), ErrorKind::SourceEmpty),
            (file("large", MAX_SOURCE_BYTES + 1), ErrorKind::SourceTooLarge),
            (dir.path().to_owned(), ErrorKind::SourceUnreadable),
            ("/dev/null".into(), ErrorKind::SourceUnreadable),
            (dir.path().join("missing"), ErrorKind::SourceMissing),
            (good.join("below-a-file"), ErrorKind::SourceMissing),
        ] {
            let failure = check_file(&path, MAX_SOURCE_BYTES).unwrap_err();
            assert_eq!((failure.kind, failure.transient), (kind, false), "{failure}");
        }
    }
}
