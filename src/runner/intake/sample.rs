//! Estimates the length of a manifest's recordings before anything is bought, from their sizes and some of their headers.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, stream};

use super::IntakeError;
use crate::{
    definition::{Definition, Faults, Manifest, ManifestRow, Scan, Spooled},
    domain::{
        estimate::{Guess, Sampled, guess},
        s3::S3Address,
    },
    media::{
        probe::{Probe, probe, probe_ends, tail_len},
        s3::Objects,
        source::Source,
    },
};

/// Recordings whose headers are read.
const MOST: usize = 100;
/// Headers that are read concurrently.
const AT_ONCE: usize = 16;
/// Bytes read of an object's start.
const HEAD: u64 = 64 << 10;
/// The longest time that an estimate may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The recordings whose size is known without opening them.
#[derive(Debug, Default)]
struct KnownSizes {
    lines: u64,
    bytes: u64,
    picked: Vec<(String, u64)>,
}

/// Estimates the length of the recordings whose size is known, and counts them. `None` if there is no estimate.
pub(super) async fn measure(
    definition: &Definition,
    copy: Option<&Spooled>,
    scan: &Arc<Scan>,
) -> Result<Option<(Guess, u64)>, IntakeError> {
    let sizes = {
        let (definition, copy, scan) = (definition.clone(), copy.cloned(), Arc::clone(scan));
        let looked = tokio::task::spawn_blocking(move || sizes(&definition, copy.as_ref(), &scan));
        looked.await.map_err(|_| IntakeError::Interrupted)??
    };
    let objects = Objects::new(&definition.source);
    let seen = Mutex::new(Vec::with_capacity(sizes.picked.len()));
    let look = stream::iter(sizes.picked).for_each_concurrent(AT_ONCE, |(source, bytes)| {
        let (objects, seen) = (&objects, &seen);
        async move {
            let found = look_at(objects, &source, bytes).await.map(|probe| probe.length).unwrap_or_default();
            let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            seen.extend(found.ms().map(|audio_ms| Sampled { bytes, audio_ms, is_exact: found.is_exact() }));
        }
    });
    // What was not read in time only makes the estimate less certain.
    let _ = tokio::time::timeout(TIMEOUT, look).await;
    let seen = seen.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok(guess(&seen, sizes.bytes, sizes.lines).map(|guess| (guess, sizes.lines)))
}

/// Adds up the sizes, and picks recordings evenly over the manifest: neighbours are often alike.
fn sizes(definition: &Definition, copy: Option<&Spooled>, scan: &Scan) -> Result<KnownSizes, Faults> {
    let manifest = Manifest::open(definition, copy)?;
    let every = scan.lines.div_ceil(MOST as u64).max(1);
    let mut sizes = KnownSizes::default();
    for row in manifest.lines(scan)? {
        let ManifestRow::Good(line) = row? else { continue };
        for job in line.jobs {
            let Some(source) = job.source else { continue };
            let local = || fs::metadata(&source).ok().filter(|_| source.starts_with('/')).map(|meta| meta.len());
            let Some(bytes) = job.expected.map(|listed| listed.bytes).or_else(local) else { continue };
            if sizes.lines.is_multiple_of(every) && sizes.picked.len() < MOST {
                sizes.picked.push((source, bytes));
            }
            sizes.lines += 1;
            sizes.bytes += bytes;
        }
    }
    Ok(sizes)
}

async fn look_at(objects: &Objects, source: &str, bytes: u64) -> Option<Probe> {
    match Source::parse(source).ok()? {
        Source::File(path) => tokio::task::spawn_blocking(move || probe(Path::new(&path)).ok()).await.ok().flatten(),
        Source::S3(at) => look_at_object(objects, &at, bytes).await,
        Source::Http(_) => None,
    }
}

async fn look_at_object(objects: &Objects, at: &S3Address, bytes: u64) -> Option<Probe> {
    let head = objects.fetch_start(at, HEAD).await.ok()?;
    let tail = match tail_len(&head, bytes) {
        0 => Vec::new(),
        wanted => objects.fetch_end(at, wanted).await.ok()?,
    };
    Some(probe_ends(&head, &tail, bytes))
}
