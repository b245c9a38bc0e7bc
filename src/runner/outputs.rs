//! Writes the files of a job: only if the job owns them, and only those that do not exist already.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use sha2::{Digest, Sha256};

use super::{
    disk,
    events::{AfterDelivery, Event},
    job::{JobContext, Next, jitter},
};
use crate::{
    domain::{call::ErrorKind, hex::hex, retry::PauseKind},
    sink::{Content, Item, SinkClass, SinkError},
    store::{Finish, OutputFile, Ownership, StoreError, Writes},
};

/// Files that exist at their final paths.
#[derive(Debug)]
pub struct WrittenOutputs {
    addresses: Vec<String>,
    files: Vec<OutputFile>,
    rewritten: bool,
}

impl WrittenOutputs {
    /// The record of them that the ledger keeps.
    #[must_use]
    pub fn note(self, finish: Finish) -> Finish {
        let outputs = Some(serde_json::json!(self.addresses).to_string());
        Finish { outputs, files: self.files, rewritten: self.rewritten, ..finish }
    }
}

/// Writes the files of a job that has had none so far, and whose names no other job can have.
///
/// # Errors
/// The ledger cannot be read or written. If the sink refuses the files, the inner result says why.
pub async fn write_first(on: JobContext<'_>, items: Vec<Item>) -> Result<Result<WrittenOutputs, Next>, StoreError> {
    let names: Vec<String> = items.iter().map(|item| item.name.clone()).collect();
    let receipts = match on.batch.sink.put_all(items).await {
        Ok(receipts) => receipts,
        Err(e) => return sink_failed(on, e).await.map(Err),
    };
    on.batch.sink_failing_since.store(0, Ordering::Relaxed);
    let (mut addresses, mut files) = (Vec::with_capacity(names.len()), Vec::with_capacity(names.len()));
    for (path, receipt) in names.into_iter().zip(receipts) {
        addresses.push(receipt.address);
        files.push(OutputFile { path, checksum: receipt.sha256 });
    }
    Ok(Ok(WrittenOutputs { addresses, files, rewritten: false }))
}

/// Writes those of a job's files that do not exist yet with the right content. If another job owns one of them, or this job's
/// output is no longer wanted, nothing is written. `writes`: whether another job of the batch still writes a file.
///
/// # Errors
/// The ledger cannot be read or written. If the sink refuses the files, the inner result says why.
pub async fn write(
    on: JobContext<'_>,
    items: Vec<Item>,
    writes: Writes,
) -> Result<Result<WrittenOutputs, Next>, StoreError> {
    let (items, files) = match with_checksums(items).await {
        Ok(known) => known,
        Err(e) => {
            let due_at = on.wait_for_machine(&disk::message(Path::new("the spool"), &e));
            return Ok(Err(Next::again_at(due_at)));
        }
    };
    let job = (on.job().job, on.job().batch, on.job().token);
    let unchanged = match on.store().own(job, files.clone(), writes).await? {
        Ownership::Owned(unchanged) => unchanged,
        Ownership::Dropped => return Ok(Err(Next::again_at(on.now()))),
        // Two lines may have swapped their names: they must not wait in lockstep.
        Ownership::Busy => {
            #[expect(clippy::cast_possible_truncation, reason = "at most a second")]
            let wait = 200 + (jitter() * 1_000.0) as i64;
            return Ok(Err(Next::again_at(on.now() + wait)));
        }
        Ownership::Taken { path, key } => {
            let message = format!("`{path}` is the output of the line `{key}`: outputs need names of their own");
            return Ok(Err(Next::fail(ErrorKind::SinkRefused, message)));
        }
        Ownership::LeaseLost => return Ok(Err(Next::Lost)),
    };
    let missing =
        items.into_iter().zip(&unchanged).filter(|(_, unchanged)| !**unchanged).map(|(item, _)| item).collect();
    if let Err(next) = write_first(on, missing).await? {
        return Ok(Err(next));
    }
    let addresses = files.iter().map(|file| on.batch.sink.address(&file.path)).collect();
    Ok(Ok(WrittenOutputs { addresses, files, rewritten: true }))
}

/// The files with their final names and checksums.
async fn with_checksums(items: Vec<Item>) -> io::Result<(Vec<Item>, Vec<OutputFile>)> {
    let hashing = move || {
        let hashed = |item: &Item| {
            let checksum = match &item.content {
                Content::Bytes(bytes) => hex(&Sha256::digest(bytes)),
                Content::File(path) | Content::Draft(path) => {
                    let mut hasher = Sha256::new();
                    let (mut file, mut buffer) = (File::open(path)?, vec![0; 128 << 10]);
                    loop {
                        match file.read(&mut buffer)? {
                            0 => break,
                            read => hasher.update(&buffer[..read]),
                        }
                    }
                    hex(&hasher.finalize())
                }
            };
            Ok(OutputFile { path: item.name.clone(), checksum })
        };
        let files = items.iter().map(hashed).collect::<io::Result<Vec<_>>>()?;
        Ok((items, files))
    };
    tokio::task::spawn_blocking(hashing).await.map_err(io::Error::other)?
}

/// For every owner: it still writes its files, since no two lines can have one name.
#[must_use]
pub fn always() -> Writes {
    Arc::new(|_, _| true)
}

/// Keeps the answer; only the delivery is tried again, or the batch waits for the user.
async fn sink_failed(on: JobContext<'_>, error: SinkError) -> Result<Next, StoreError> {
    let message = error.message();
    // A user who finds the batch paused has to act.
    let paused = || error.hint().map_or_else(|| message.clone(), |hint| format!("{message}; {hint}"));
    let now = on.now();
    let failed = |then| on.emit(Event::DeliveryFailed { batch: on.batch.id, then });
    match error.class() {
        SinkClass::Line => {
            failed(AfterDelivery::Refused);
            Ok(Next::fail(ErrorKind::SinkRefused, message))
        }
        SinkClass::Pause => {
            failed(AfterDelivery::Paused);
            on.pause(PauseKind::Sink, &paused()).await?;
            Ok(Next::again_at(now))
        }
        SinkClass::Retry => {
            let failing = &on.batch.sink_failing_since;
            let since = match failing.compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    let message = format!("{message}; answers are kept, and deliveries are tried again");
                    on.emit(Event::Warning(message));
                    now
                }
                Err(since) => since,
            };
            let limit = on.outage_limit_ms();
            if now - since >= limit {
                failed(AfterDelivery::Paused);
                on.pause(PauseKind::Sink, &paused()).await?;
                return Ok(Next::again_at(now));
            }
            failed(AfterDelivery::Retried);
            Ok(Next::again_at(now + ((now - since) / 4).clamp(1_000, 30_000)))
        }
    }
}
