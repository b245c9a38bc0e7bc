//! Writing the files of a job: only by their owner, and only what is not there already.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use sha2::{Digest, Sha256};

use super::{
    deliver::{DISK_RETRY_MS, sink_failure},
    disk,
    worker::{ActivePart, Next, jitter},
};
use crate::{
    domain::{call::ErrorKind, hex::hex},
    sink::{Content, Item},
    store::{Finish, OutputFile, Ownership, StoreError, To, Writes},
};

/// Files that stand where they should.
pub(super) struct WrittenOutputs {
    addresses: Vec<String>,
    files: Vec<OutputFile>,
    rewritten: bool,
}

impl WrittenOutputs {
    /// What the ledger keeps of them.
    pub(super) fn note(self, finish: Finish) -> Finish {
        let outputs = Some(serde_json::json!(self.addresses).to_string());
        Finish { outputs, files: self.files, rewritten: self.rewritten, ..finish }
    }
}

/// Writes the files of a job that never had any, and whose names no other job can have.
pub(super) async fn write_first<A>(
    work: &ActivePart<'_, A>,
    items: Vec<Item>,
) -> Result<Result<WrittenOutputs, Next>, StoreError> {
    let names: Vec<String> = items.iter().map(|item| item.name.clone()).collect();
    let receipts = match work.batch.sink.put_all(items).await {
        Ok(receipts) => receipts,
        Err(e) => return sink_failure(work, e).await.map(Err),
    };
    work.batch.sink_failing_since.store(0, Ordering::Relaxed);
    let (mut addresses, mut files) = (Vec::with_capacity(names.len()), Vec::with_capacity(names.len()));
    for (path, receipt) in names.into_iter().zip(receipts) {
        addresses.push(receipt.address);
        files.push(OutputFile { path, checksum: receipt.sha256 });
    }
    Ok(Ok(WrittenOutputs { addresses, files, rewritten: false }))
}

/// Writes those of a job's files that are not there already as they are to be. Where another job owns one of them, or this
/// one's output is not wanted any more, nothing is written.
pub(super) async fn write<A>(
    work: &ActivePart<'_, A>,
    items: Vec<Item>,
    writes: Writes,
) -> Result<Result<WrittenOutputs, Next>, StoreError> {
    let (items, files) = match with_checksums(items).await {
        Ok(known) => known,
        Err(e) => {
            work.shared.report_disk(format!(
                "{}; its lines are tried again every 30 s",
                disk::message(Path::new("the spool"), &e)
            ));
            return Ok(Err(put_back(work, DISK_RETRY_MS)));
        }
    };
    let job = (work.job.job, work.job.batch, work.job.token);
    let unchanged = match work.shared.store.own(job, files.clone(), writes).await? {
        Ownership::Owned(unchanged) => unchanged,
        Ownership::Dropped => return Ok(Err(put_back(work, 0))),
        // Two lines may have changed their names with each other: they must not wait in step.
        Ownership::Busy => {
            #[expect(clippy::cast_possible_truncation, reason = "at most a second")]
            let wait = 200 + (jitter() * 1_000.0) as i64;
            return Ok(Err(put_back(work, wait)));
        }
        Ownership::Taken { path, key } => {
            let message = format!("`{path}` is the output of the line `{key}`: outputs need names of their own");
            return Ok(Err(Next::fail(ErrorKind::SinkRefused, message)));
        }
        Ownership::LeaseLost => return Ok(Err(Next::Lost)),
    };
    let missing =
        items.into_iter().zip(&unchanged).filter(|(_, unchanged)| !**unchanged).map(|(item, _)| item).collect();
    if let Err(next) = write_first(work, missing).await? {
        return Ok(Err(next));
    }
    let addresses = files.iter().map(|file| work.batch.sink.address(&file.path)).collect();
    Ok(Ok(WrittenOutputs { addresses, files, rewritten: true }))
}

fn put_back<A>(work: &ActivePart<'_, A>, wait: i64) -> Next {
    Next::Leave(To::Queued { due_at: work.now() + wait, call: None, source_try: false })
}

/// The files as they are to be, by name and checksum.
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

/// Every other owner still writes its files: no two lines can have one name.
pub(super) fn always() -> Writes {
    Arc::new(|_, _| true)
}
