//! `spool` and `[s3]`: where bought speech is kept.

use std::{io, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{
    definition::{
        fields::fields,
        read_store,
        walk::{Section, TomlWalk},
    },
    domain::{
        environment::Environment,
        home::expand,
        s3::{S3Address, S3Settings},
    },
    s3::{S3, S3Error, S3Folder, S3Kind, S3Timeouts},
    store::{ClipObject, ClipObjects, EachObject, SpoolSetting, is_of_objects},
};

fields! {
    /// Which S3 store a `spool` of `s3://…` is in. Without these, AWS's own environment and files say it.
    pub(super) S3 = "s3" {
        /// The region of the store.
        "region": "a string" (or "AWS's own settings");
        /// The address of another store than AWS. It may have a path.
        "endpoint_url": "a string" (or "AWS");
        /// The profile in AWS's files that has the credentials.
        "profile": "a string" (or "AWS's own settings");
        /// Name the bucket in the path of the address, not in its host.
        "path_style": "true or false" (or "true where there is an `endpoint_url`");
    }
}

/// The time limits of one request. Bought speech waits in memory meanwhile.
fn timeouts() -> S3Timeouts {
    S3Timeouts { answer: Duration::from_secs(10), all: Duration::from_secs(15), ..S3Timeouts::default() }
}

pub(super) fn read<'t>(walk: &mut TomlWalk<'t>, mut section: Section<'t>) -> S3Settings {
    let settings = read_store(walk, &mut section);
    walk.close(section);
    settings
}

/// The address, if it is one of a spool: of an S3 store in its one form, or a path as it is.
pub(super) fn address(text: &str) -> Result<String, String> {
    const FORM: &str = "write s3://bucket/prefix/, or the path of a folder that all machines share";
    if text.trim().is_empty() {
        return Err(format!("is empty; {FORM}"));
    }
    if !is_of_objects(text) {
        return Ok(text.to_owned());
    }
    let mut address: S3Address = text.parse().map_err(|fault| format!("`{text}` {fault}; {FORM}"))?;
    if !address.is_prefix() {
        address.key.push('/');
    }
    Ok(address.to_string())
}

/// The same with an absolute path.
pub(super) fn absolute(text: &str, base: &Path, home: Option<&Path>) -> Result<String, String> {
    let address = address(text)?;
    if is_of_objects(&address) {
        return Ok(address);
    }
    Ok(super::absolute(&base.join(expand(&address, home)?)).display().to_string())
}

/// The setting of a ledger.
pub(super) fn setting(address: Option<String>, sandbox: bool, store: S3Settings) -> SpoolSetting {
    SpoolSetting::new(address, Environment::sandboxed(sandbox), move |address| {
        let root: S3Address = address.parse().map_err(|fault| format!("{fault}"))?;
        Ok(Arc::new(S3Spool(S3Folder::new(S3::new(&store), root, timeouts()))))
    })
}

/// Bought speech in an S3 store.
#[derive(Debug)]
struct S3Spool(S3Folder);

/// An error that says what it is about; only a missing object is a kind of its own.
fn failed(error: S3Error) -> io::Error {
    match error.kind {
        S3Kind::NoKey => io::Error::new(io::ErrorKind::NotFound, error),
        _ => io::Error::other(WithHint(error)),
    }
}

/// An error with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{0}{hint}", hint = .0.hint().map(|hint| format!("; {hint}")).unwrap_or_default())]
struct WithHint(S3Error);

impl ClipObjects for S3Spool {
    fn put<'a>(&'a self, name: &'a str, content: Bytes) -> BoxFuture<'a, io::Result<bool>> {
        Box::pin(async move { self.0.put_new(name, &content).await.map_err(failed) })
    }

    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Bytes>> {
        Box::pin(async move { self.0.read(name).await.map_err(failed) })
    }

    fn list<'a>(&'a self, beginning: &'a str, each: EachObject<'a>) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let mut pages = self.0.pages(beginning);
            while let Some(page) = pages.next().await.map_err(failed)? {
                for listed in page {
                    if let Some(name) = self.0.name(&listed.key) {
                        each(ClipObject { name: name.to_owned(), bytes: listed.bytes, written: listed.modified });
                    }
                }
            }
            Ok(())
        })
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { self.0.remove(name).await.map_err(failed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_is_a_prefix_or_a_path() {
        let base = Path::new("/etc/wavebatch");
        let of = |text: &str| absolute(text, base, Some(Path::new("/home/me")));
        assert_eq!(of("S3://acme-speech/spool").unwrap(), "s3://acme-speech/spool/");
        assert_eq!(of("s3://acme-speech").unwrap(), "s3://acme-speech/");
        assert_eq!(of("/mnt/shared").unwrap(), "/mnt/shared");
        assert_eq!(of("../spool").unwrap(), "/etc/wavebatch/../spool");
        assert_eq!(of("~/spool").unwrap(), "/home/me/spool");
        for (text, word) in [("", "is empty"), ("gs://b/x", "is not an s3:// address"), ("s3:///x", "names no bucket")]
        {
            let fault = of(text).unwrap_err();
            assert!(fault.contains(word) && fault.contains("write s3://bucket/prefix/"), "{fault}");
        }
    }
}
