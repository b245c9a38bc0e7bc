//! Checks whether the S3 sources can be read, before the first call.

use std::sync::Arc;

use super::{IntakeError, reader::Reader};
use crate::{
    definition::{Definition, Faults, Manifest, ManifestRow, Spooled},
    domain::s3::S3Address,
    media::{s3::Objects, source::Source},
    s3::S3Kind,
};

/// Objects that are tried: one may be missing, and be denied for that reason alone.
const TRIED: usize = 3;
/// Lines that are searched for such objects.
const MAX_EXAMINED: usize = 1_000;

/// Tries the first objects of a manifest. Access counts as denied only if it is denied for all of them.
pub(super) async fn check(definition: &Definition, copy: Option<&Spooled>, reader: &Reader) -> Result<(), IntakeError> {
    let found = {
        let (definition, copy, scan) = (definition.clone(), copy.cloned(), Arc::clone(&reader.scan));
        let first = move || -> Result<Vec<S3Address>, Faults> {
            let manifest = Manifest::open(&definition, copy.as_ref())?;
            let mut found = Vec::new();
            for row in manifest.lines(&scan)?.take(MAX_EXAMINED) {
                let ManifestRow::Good(line) = row? else { continue };
                let sources = line.jobs.iter().filter_map(|job| job.source.as_deref());
                found.extend(sources.filter_map(|source| match Source::parse(source) {
                    Ok(Source::S3(at)) => Some(at),
                    _ => None,
                }));
                if found.len() >= TRIED {
                    break;
                }
            }
            found.truncate(TRIED);
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
