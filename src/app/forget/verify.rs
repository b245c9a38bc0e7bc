//! Looking again whether what a receipt says is so.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use sha2::{Digest, Sha256};

use super::{
    ForgetError, Forgetter,
    receipt::{Head, Line, RECEIPT, Tail, Thing, VERSION},
};
use crate::{
    app::error::AppError,
    domain::{
        forget::{ForgottenKind, ForgottenState},
        hex::{hex, unhex},
        identity::Identity,
        job::JobId,
    },
    sink::Sink,
    store::BatchRow,
};

/// The longest receipt, in bytes.
const LONGEST: u64 = 4 << 30;

/// What looking again has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Lines of the receipt.
    pub lines: u64,
    /// Things that were looked for.
    pub things: u64,
    /// What is not as the receipt says, one sentence each.
    pub findings: Vec<String>,
    /// What could not be looked at, or stands open in the receipt itself.
    pub open: Vec<String>,
    /// Whether the receipt says that nothing was left to do.
    pub is_final: bool,
}

/// Reads a receipt and looks whether everything is gone.
///
/// # Errors
/// It is no receipt, or was changed; it is of another ledger; the ledger cannot be read.
pub async fn verify_receipt(forgetter: &Forgetter, path: &Path) -> Result<Verified, AppError> {
    let (head, lines) = read(path)?;
    let no = |why: &str| ForgetError::NoReceipt { path: path.to_owned(), why: why.to_owned() };
    let store = &forgetter.store;
    if head.0.ledger != store.id() {
        return Err(no("is of another ledger: name that one with --database, or --sandbox").into());
    }
    match store.receipt_digest(&head.0.id).await? {
        None => return Err(no("is not known to the ledger: was it restored from an older backup?").into()),
        Some(None) => {}
        Some(Some(digest)) if digest == head.1 => {}
        Some(Some(_)) => {
            return Err(no("is not the one that the ledger knows: it was changed, or a newer one was written").into());
        }
    }
    let mut found = Verified { lines: lines.len() as u64, is_final: head.0.is_final, ..Verified::default() };
    let mut batches: HashMap<String, Option<(BatchRow, Sink)>> = HashMap::new();
    let mut listed: HashMap<String, HashSet<String>> = HashMap::new();
    let mut at_vendor: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for line in &lines {
        let about = format!("{}: {}", line.batch, line.key);
        let traces = store.traces_of(JobId(line.job)).await?;
        if traces.key.is_some() && !traces.is_forgotten {
            found.findings.push(format!("{about} is not forgotten in the ledger"));
        }
        if !traces.columns.is_empty() {
            found.findings.push(format!("{about} has content in the ledger: {}", traces.columns.join(", ")));
        }
        if !batches.contains_key(&line.batch) {
            let row = store.batch(&line.batch).await?;
            let opened = match row {
                Some(row) => {
                    let spec = row.specification()?;
                    let sink = Sink::open(&spec.output, &spec.sink)?;
                    Some((row, sink))
                }
                None => None,
            };
            batches.insert(line.batch.clone(), opened);
        }
        let place = batches[&line.batch].as_ref();
        for thing in &line.removed {
            found.things += 1;
            let (Ok(kind), Ok(state)) = (thing.what.parse::<ForgottenKind>(), thing.result.parse::<ForgottenState>())
            else {
                found.open.push(format!("{about}: `{}` is of a newer version", thing.what));
                continue;
            };
            if matches!(state, ForgottenState::Kept | ForgottenState::Unknown) || state.is_open() {
                let why = thing.why.as_deref().unwrap_or(state.as_str());
                found.open.push(format!("{about}: {} {}: {why}", thing.what, state.as_str()));
                continue;
            }
            match kind {
                ForgottenKind::Output => {
                    let Some((_, sink)) = place else { continue };
                    if is_there(sink, thing, &mut listed).await? {
                        let shown = thing.place.as_deref().unwrap_or("an output (by its hash)");
                        found.findings.push(format!("{about}: {shown} is there"));
                    }
                }
                ForgottenKind::Clip => {
                    let clip = thing.place.as_deref().and_then(unhex).map(Identity);
                    if let Some(clip) = clip
                        && store.has_clip(clip).await?
                    {
                        found.findings.push(format!("{about}: the clip {} is in the audio cache", clip.hex()));
                    }
                }
                ForgottenKind::Vendor => {
                    if let (Some((row, _)), Some(id)) = (place, &thing.place)
                        && state == ForgottenState::Removed
                    {
                        at_vendor.entry(row.task.to_string()).or_default().push((id.clone(), about.clone()));
                    }
                }
                ForgottenKind::Row | ForgottenKind::Answer | ForgottenKind::Callback | ForgottenKind::Text => {}
            }
        }
    }
    let since = batches.values().flatten().map(|(row, _)| row.submitted_at).min().unwrap_or(0);
    for (task, ids) in at_vendor {
        look_at_vendor(forgetter, (&task, &ids, since), &mut found).await;
    }
    Ok(found)
}

async fn look_at_vendor(
    forgetter: &Forgetter,
    (task, entries, since): (&str, &[(String, String)], i64),
    found: &mut Verified,
) {
    let Some(log) = forgetter.logs.get(task) else {
        let why = forgetter.unasked.as_deref().unwrap_or("it has no such log");
        found.open.push(format!("the vendor's log was not read: {why}"));
        return;
    };
    let ids: Vec<String> = entries.iter().map(|(id, _)| id.clone()).collect();
    match log.still_shows(&ids, since).await {
        Ok(shown) => {
            let shown: HashSet<String> = shown.into_iter().collect();
            for (id, about) in entries.iter().filter(|(id, _)| shown.contains(id)) {
                found.findings.push(format!("{about}: the vendor's log shows {id}"));
            }
        }
        Err(e) => found.open.push(format!("the vendor's log was not read: {e}")),
    }
}

/// Whether an output is there. One that is known by its hash alone is looked for among all.
async fn is_there(sink: &Sink, thing: &Thing, listed: &mut HashMap<String, HashSet<String>>) -> Result<bool, AppError> {
    let root = sink.address("");
    if let Some(address) = &thing.place {
        let name = address.strip_prefix(root.trim_end_matches('/')).map(|name| name.trim_start_matches('/'));
        return match name {
            Some(name) => Ok(sink.has(name).await?),
            None => Ok(false),
        };
    }
    let Some(hash) = &thing.where_sha256 else { return Ok(false) };
    if !listed.contains_key(&root) {
        let mut names = HashSet::new();
        sink.list_names(|name, _| {
            names.insert(hex(&Sha256::digest(sink.address(name).as_bytes())));
        })
        .await?;
        listed.insert(root.clone(), names);
    }
    Ok(listed[&root].contains(hash))
}

/// The receipt's first line with its digest, and its other lines.
fn read(path: &Path) -> Result<((Head, String), Vec<Line>), ForgetError> {
    let no = |why: String| ForgetError::NoReceipt { path: path.to_owned(), why };
    let file = File::open(path).map_err(|e| no(format!("cannot be read: {e}")))?;
    let mut reader = BufReader::new(file.take(LONGEST));
    let (mut hash, mut head, mut lines, mut tail) = (Sha256::new(), None, Vec::new(), None);
    let mut text = String::new();
    loop {
        text.clear();
        let read = reader.read_line(&mut text).map_err(|e| no(format!("cannot be read: {e}")))?;
        if read == 0 {
            break;
        }
        if tail.is_some() {
            return Err(no("was changed: something stands behind its digest".into()));
        }
        if let Ok(last) = serde_json::from_str::<Tail>(&text) {
            tail = Some(last.digest);
            continue;
        }
        hash.update(text.as_bytes());
        match head {
            None => {
                let first: Head = serde_json::from_str(&text).map_err(|_| no("is no receipt of `forget`".into()))?;
                if first.receipt != RECEIPT || first.version > VERSION {
                    return Err(no("is no receipt of `forget` that this version knows".into()));
                }
                head = Some(first);
            }
            Some(_) => {
                let line = serde_json::from_str(&text);
                lines.push(
                    line.map_err(|e| no(format!("was changed: line {} is no JSON of ours: {e}", lines.len() + 2)))?,
                );
            }
        }
    }
    let head = head.ok_or_else(|| no("is no receipt of `forget`".into()))?;
    let digest = hex(&hash.finalize());
    match tail {
        None => Err(no("was cut off: its digest is missing".into())),
        Some(said) if said != digest => Err(no("was changed: its digest does not fit".into())),
        Some(_) => Ok(((head, digest), lines)),
    }
}
