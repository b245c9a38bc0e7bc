//! The receipt of a `forget`: a JSON line for each forgotten job, which says what was removed, where and when, and has no
//! content. Its last line is a digest of what stands before it; the ledger keeps that, too.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{ForgetError, Forgotten, note_reason};
use crate::{
    app::error::AppError,
    domain::{
        forget::{ForgottenKind, ForgottenOutputs, ForgottenState},
        hex::hex,
        job::{BatchId, JobId},
    },
    sink::Sink,
    store::{ForgetItem, ForgottenLine, OpenForget, Store},
};

/// What the first line says it is.
pub(super) const RECEIPT: &str = "wavebatch forget";
/// The version of the form.
pub(super) const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) receipt: String,
    pub(super) version: u32,
    pub(super) id: String,
    /// The ledger's id.
    pub(super) ledger: String,
    pub(super) asked_at: String,
    pub(super) written_at: String,
    /// Whether nothing is left to do.
    #[serde(rename = "final")]
    pub(super) is_final: bool,
    pub(super) hash_key: bool,
    /// What is not covered, in words.
    pub(super) not_covered: Vec<String>,
}

/// The line of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) batch: String,
    /// The key, or its hash.
    pub(super) key: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) variant: String,
    /// The number of the job in the ledger.
    pub(super) job: i64,
    pub(super) state: String,
    pub(super) forgotten_at: Option<String>,
    pub(super) removed: Vec<Thing>,
}

/// Something that was removed, or not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Thing {
    pub(super) what: String,
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<String>,
    /// SHA-256 of the place, where the place has the key in it and keys are hashed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) where_sha256: Option<String>,
    /// SHA-256 of what was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
    pub(super) result: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
}

/// The last line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tail {
    pub(super) digest: String,
}

/// Finds out whether a receipt can be written there, before anything is removed.
pub(super) fn try_out(path: &Path) -> Result<(), ForgetError> {
    if path.exists() {
        return Err(ForgetError::ReceiptExists(path.to_owned()));
    }
    let tried = create(&partial(path)).and_then(|_| fs::remove_file(partial(path)));
    tried.map_err(|source| ForgetError::Receipt { path: path.to_owned(), source })
}

fn partial(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Writes what is hashed as it goes.
struct Hashed {
    /// `None`: nobody wants it, and only its digest and its counts are taken.
    out: Option<BufWriter<File>>,
    hash: Sha256,
}

impl Hashed {
    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.hash.update(&text);
        self.out.as_mut().map_or(Ok(()), |out| out.write_all(&text))
    }
}

/// Writes the receipt, whole or not at all, and counts what it says. Returns its digest.
pub(super) async fn write(
    store: &Store,
    forget: &OpenForget,
    path: Option<&Path>,
    is_final: bool,
    done: &mut Forgotten,
) -> Result<String, AppError> {
    let failed = |source| ForgetError::Receipt { path: path.unwrap_or(Path::new("")).to_owned(), source };
    let file = path.map(|path| create(&partial(path))).transpose().map_err(failed)?;
    let mut out = Hashed { out: file.map(BufWriter::new), hash: Sha256::new() };
    out.line(&head(store, forget, is_final)).map_err(failed)?;
    let (mut sinks, mut after) = (HashMap::new(), JobId(0));
    loop {
        let jobs = store.forgotten_jobs(forget.id, after).await?;
        let (Some(first), Some(last)) = (jobs.first(), jobs.last()) else { break };
        after = last.job;
        let mut items = store.items_of_jobs(forget.id, (first.job, last.job)).await?.into_iter().peekable();
        for job in &jobs {
            let mut removed = Vec::new();
            while let Some(item) = items.next_if(|item| item.job <= job.job) {
                if let std::collections::hash_map::Entry::Vacant(sink) = sinks.entry(item.batch) {
                    sink.insert(sink_of(store, item.batch).await?);
                }
                *done.counts.entry((item.kind, item.state)).or_default() += 1;
                if let (true, Some(why)) = (item.state.is_open() || item.state == ForgottenState::Unknown, &item.why) {
                    note_reason(&mut done.reasons, why);
                }
                removed.push(thing(&item, &sinks[&item.batch], forget.spec.hash_key));
            }
            out.line(&line(job, removed)).map_err(failed)?;
        }
    }
    let digest = hex(&out.hash.clone().finalize());
    out.line(&Tail { digest: digest.clone() }).map_err(failed)?;
    let finish = || -> io::Result<()> {
        let Some((out, path)) = out.out.zip(path) else { return Ok(()) };
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(partial(path), path)?;
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        }
    };
    finish().map_err(failed)?;
    Ok(digest)
}

async fn sink_of(store: &Store, batch: BatchId) -> Result<Sink, AppError> {
    let row = store.batch_by_id(batch).await?;
    let spec = row.specification()?;
    Ok(Sink::open(&spec.output, &spec.sink)?)
}

fn moment(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap_or_default().to_string()
}

fn head(store: &Store, forget: &OpenForget, is_final: bool) -> Head {
    let mut not_covered = vec![
        "recordings, manifests and your own copies of reports".to_owned(),
        "backups and copies of the ledger, and snapshots of its disk".to_owned(),
        "the vendor's entries are hidden there (a soft delete); what else the vendor keeps is in its terms".to_owned(),
    ];
    if store.file().is_none() {
        not_covered.push(
            "PostgreSQL: the tables are vacuumed; its write-ahead log, archives, replicas and unused parts of pages are yours"
                .to_owned(),
        );
    }
    if forget.spec.outputs != ForgottenOutputs::Remove {
        not_covered.push("outputs, which were to stay".to_owned());
    }
    Head {
        receipt: RECEIPT.to_owned(),
        version: VERSION,
        id: forget.uid.clone(),
        ledger: store.id().to_owned(),
        asked_at: moment(forget.asked_at),
        written_at: moment(store.clock().now()),
        is_final,
        hash_key: forget.spec.hash_key,
        not_covered,
    }
}

fn line(job: &ForgottenLine, removed: Vec<Thing>) -> Line {
    Line {
        batch: job.batch.clone(),
        key: job.key.clone(),
        variant: job.variant.clone(),
        job: job.job.0,
        state: job.state.as_str().to_owned(),
        forgotten_at: job.forgotten_at.map(moment),
        removed,
    }
}

fn thing(item: &ForgetItem, sink: &Sink, hash_key: bool) -> Thing {
    let place = match item.kind {
        // An output that was there before the batch is noted by its address.
        ForgottenKind::Output if item.place.starts_with('/') || item.place.contains("://") => item.place.clone(),
        ForgottenKind::Output => sink.address(&item.place),
        // What the entry of a call shows is content.
        ForgottenKind::Vendor => match serde_json::from_str::<Value>(&item.place) {
            Ok(listed) if listed.is_object() => {
                format!("call {}", listed.get("call").and_then(Value::as_str).unwrap_or_default())
            }
            _ => item.place.clone(),
        },
        _ => item.place.clone(),
    };
    let hides = hash_key && item.kind == ForgottenKind::Output;
    Thing {
        what: item.kind.as_str().to_owned(),
        where_sha256: hides.then(|| hex(&Sha256::digest(place.as_bytes()))),
        place: (!hides).then_some(place),
        sha256: item.checksum.clone(),
        bytes: item.bytes,
        result: item.state.as_str().to_owned(),
        at: item.at.map(moment),
        why: item.why.clone(),
    }
}
