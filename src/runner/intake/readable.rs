//! Whether the S3 sources can be read, found out before the first call.

use super::{IntakeError, reader::Reader, scanned::ScanOf};
use crate::{
    definition::{Definition, Faults, Manifest, ManifestRow, Spooled},
    domain::s3::S3Address,
    media::{s3::Objects, source::Source},
    s3::S3Kind,
};

/// Objects that are tried: one may be missing, and be denied for that alone.
const TRIED: usize = 3;
/// Lines that are looked through for them.
const LOOKED_AT: usize = 1_000;

/// Tries the first objects of a manifest. Denied are only those who are denied all of them.
pub(super) async fn check(definition: &Definition, copy: Option<&Spooled>, reader: &Reader) -> Result<(), IntakeError> {
    let found = {
        let ScanOf::Recordings(scan) = &reader.scan.of else { return Ok(()) };
        let (definition, copy, scan) = (definition.clone(), copy.cloned(), scan.clone());
        let first = move || -> Result<Vec<S3Address>, Faults> {
            let Some(asked) = definition.transcribing() else { return Ok(Vec::new()) };
            let manifest = Manifest::open(&definition, asked, copy.as_ref())?;
            let mut found = Vec::new();
            for row in manifest.lines(&scan)?.take(LOOKED_AT) {
                let ManifestRow::Good(line) = row? else { continue };
                if let Some(Ok(Source::S3(at))) = line.source.as_deref().map(Source::parse) {
                    found.push(at);
                }
                if found.len() == TRIED {
                    break;
                }
            }
            Ok(found)
        };
        tokio::task::spawn_blocking(first).await.map_err(|_| IntakeError::Interrupted)??
    };
    let objects = Objects::new(&definition.source);
    let mut denied = None;
    for at in &found {
        match objects.try_reading(at).await {
            Ok(()) => return Ok(()),
            Err(e) if e.kind == S3Kind::Denied => denied = Some(e),
            Err(e) => return Err(IntakeError::Sources(e)),
        }
    }
    denied.map_or(Ok(()), |e| Err(IntakeError::Sources(e)))
}
