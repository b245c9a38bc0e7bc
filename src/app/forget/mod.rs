//! Forgetting lines: in the ledger, in outputs and the audio cache, in reports, and at the vendor; and the receipt of it.
//!
//! The ledger has the list of what is to be removed, so each step can be done again, by whichever process comes next.

mod choose;
mod error;
mod receipt;
mod remove;
mod retain;
mod vendor;
mod verify;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

pub(in crate::app) use self::retain::keep_forgetting;
pub use self::{
    choose::{ForgetChoice, LinesOfBatch, choose_lines},
    error::ForgetError,
    retain::Retained,
    verify::{Verified, verify_receipt},
};
use super::{api::Api, error::AppError, settings::Settings};
use crate::{
    crash,
    domain::{
        cost::Rates,
        forget::{ForgetSpec, ForgottenKind, ForgottenOutputs, ForgottenState},
        job::BatchId,
    },
    report::{
        publish::{REPORT, SUMMARY, publish_at_output},
        summary::SummaryState,
        task_of,
    },
    runner::VendorLog,
    sink::Sink,
    store::{Cleaned, ForgetPlan, MarkRefused, OpenForget, Scratch, Store},
    tasks::Registry,
};

/// What forgetting works with.
pub struct Forgetter {
    store: Store,
    tasks: Registry,
    rates: Rates,
    /// The logs at the vendor, by the task's name.
    logs: BTreeMap<String, Arc<dyn VendorLog>>,
    /// Why the vendor cannot be asked.
    unasked: Option<String>,
}

/// What the user wants to be forgotten, and how.
#[derive(Debug, Clone, Default)]
pub struct ForgetOptions {
    /// Keys are replaced by their hashes.
    pub hash_key: bool,
    /// What becomes of their outputs.
    pub outputs: ForgottenOutputs,
    /// The vendor's entries stay.
    pub keep_at_vendor: bool,
    /// No receipt is written.
    pub without_receipt: bool,
    /// Where the receipt is written; `None`: a name of its own in the working directory.
    pub receipt: Option<PathBuf>,
}

/// What became of a `forget`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Jobs whose content is gone.
    pub jobs: u64,
    /// Lines that were at work, and stay.
    pub busy: u64,
    /// How many things were removed, and the like.
    pub counts: BTreeMap<(ForgottenKind, ForgottenState), u64>,
    /// Some reasons why things are still to be removed, each once.
    pub reasons: Vec<String>,
    /// Where the receipt is.
    pub receipt: Option<PathBuf>,
    /// Why it is not final yet.
    pub unfinished: Vec<String>,
}

impl Forgotten {
    /// How many things of a kind are in a state.
    #[must_use]
    pub fn count(&self, kind: ForgottenKind, state: ForgottenState) -> u64 {
        self.counts.get(&(kind, state)).copied().unwrap_or(0)
    }
}

/// How long it takes until the death of a process on a server shows.
const DEATH_SHOWS: Duration = Duration::from_secs(10);
/// The most reasons that are told.
const REASONS: usize = 5;

impl Forgetter {
    /// Of this ledger. Without an API, or of another environment, the vendor's entries stay on the list.
    #[must_use]
    pub fn new(store: &Store, settings: &Settings, api: Result<&Api, String>) -> Self {
        let mut logs = BTreeMap::new();
        if let Ok(api) = &api {
            for task in settings.tasks.makers().iter() {
                if let Some(log) = task.vendor_log(api.client(), store.clock()) {
                    logs.insert(task.name().to_string(), log);
                }
            }
        }
        let (tasks, rates) = (settings.tasks.clone(), settings.config.rates.clone());
        Self { store: store.clone(), tasks, rates, logs, unasked: api.err() }
    }

    /// What forgetting lines would remove.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn plan(&self, lines: &LinesOfBatch) -> Result<ForgetPlan, AppError> {
        Ok(self.store.plan_forget(lines.batch.id, &lines.keys, &self.at_vendor()).await?)
    }

    /// The tasks from whose logs at the vendor entries can be removed.
    fn at_vendor(&self) -> Vec<String> {
        let has_log = |name: &String| self.logs.contains_key(name) || self.unasked.is_some();
        let names =
            self.tasks.reports().iter().filter(|task| task.has_transcripts()).map(|task| task.name().to_string());
        names.filter(has_log).collect()
    }

    /// Finishes what earlier ones left.
    ///
    /// # Errors
    /// The ledger cannot be written, or a receipt.
    pub async fn resume(&self) -> Result<Vec<Forgotten>, AppError> {
        let open = self.store.open_forgets().await?;
        if open.is_empty() {
            return Ok(Vec::new());
        }
        self.at_work(async {
            let mut done = Vec::new();
            for forget in open {
                done.push(match self.take(&forget).await? {
                    true => self.work(&forget).await?,
                    false => {
                        Forgotten { unfinished: vec!["another process works on it".into()], ..Forgotten::default() }
                    }
                });
            }
            Ok(done)
        })
        .await
    }

    /// Takes a `forget` over. A process on a server that was killed counts as dead only some seconds later.
    async fn take(&self, forget: &OpenForget) -> Result<bool, AppError> {
        let began = Instant::now();
        loop {
            if self.store.take_forget(forget.id).await? {
                return Ok(true);
            }
            if self.store.file().is_some() || began.elapsed() > DEATH_SHOWS {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Does the work as a registered process.
    async fn at_work<T>(&self, work: impl Future<Output = Result<T, AppError>>) -> Result<T, AppError> {
        let enlisted = self.store.enlist_to_forget().await?;
        let done = work.await;
        if let Some(enlisted) = enlisted {
            self.store.leave(enlisted).await?;
        }
        done
    }

    /// Forgets lines. One that is at work now is left, and counted.
    ///
    /// # Errors
    /// A batch is being submitted; the ledger cannot be written, or the receipt.
    pub async fn forget(&self, lines: &[LinesOfBatch], options: &ForgetOptions) -> Result<Forgotten, AppError> {
        self.at_work(self.forget_lines(lines, options)).await
    }

    async fn forget_lines(&self, lines: &[LinesOfBatch], options: &ForgetOptions) -> Result<Forgotten, AppError> {
        let uid = Uuid::now_v7().to_string();
        let receipt = match (&options.receipt, options.without_receipt) {
            (_, true) => None,
            (Some(path), false) => Some(path.clone()),
            (None, false) => Some(PathBuf::from(format!("wavebatch-forget-{uid}.jsonl"))),
        };
        let receipt = receipt.map(|path| std::path::absolute(&path).unwrap_or(path));
        if let Some(receipt) = &receipt {
            receipt::try_out(receipt)?;
        }
        let at_vendor = if options.keep_at_vendor { Vec::new() } else { self.at_vendor() };
        let spec = ForgetSpec { hash_key: options.hash_key, outputs: options.outputs, at_vendor };
        let forget = self.store.begin_forget(uid, spec, receipt.map(|path| path.display().to_string())).await?;
        let mut busy = 0;
        for LinesOfBatch { batch, keys } in lines {
            match self.store.mark_to_forget(forget.id, batch.id, keys).await? {
                Ok(marked) => busy += marked.busy,
                Err(MarkRefused::Submitting) => {
                    // What was marked so far is forgotten: nothing of it can be taken back.
                    self.store.all_marked(forget.id).await?;
                    self.work(&forget).await?;
                    return Err(ForgetError::Submitting(batch.name.clone()).into());
                }
            }
            crash::point("forget-marked");
            self.store.finish(batch.id).await?;
        }
        self.store.all_marked(forget.id).await?;
        let done = self.work(&forget).await?;
        Ok(Forgotten { busy, ..done })
    }

    /// Does all that is left to do, and writes the receipt.
    async fn work(&self, forget: &OpenForget) -> Result<Forgotten, AppError> {
        let mut jobs = 0;
        loop {
            let some = self.store.forget_some(forget).await?;
            if some == 0 {
                break;
            }
            jobs += some;
            crash::point("forget-scrubbed");
        }
        self.store.all_marked(forget.id).await?;
        let mut done = Forgotten { jobs, ..Forgotten::default() };
        self.remove_all(forget, &mut done).await?;
        crash::point("forget-removed");
        // A report is an output: where those stay, it does.
        let changed = match forget.spec.outputs {
            ForgottenOutputs::Remove => self.store.batches_of_forget(forget.id).await?,
            ForgottenOutputs::Leave | ForgottenOutputs::Later => Vec::new(),
        };
        for batch in changed {
            if let Err(why) = self.publish_anew(batch).await {
                done.unfinished.push(why);
            }
        }
        crash::point("forget-published");
        Scratch::sweep(&self.store.spool());
        if self.store.has_open_items(forget.id).await? {
            done.unfinished.push("something is still to be removed, and is tried again".into());
        }
        if let Cleaned::Waiting(why) = self.store.clean().await? {
            done.unfinished.push(why);
        }
        crash::point("forget-cleaned");
        let path = forget.receipt.as_deref().map(Path::new);
        let is_final = done.unfinished.is_empty();
        let digest = receipt::write(&self.store, forget, path, is_final, &mut done).await?;
        done.receipt = path.map(Path::to_owned);
        crash::point("forget-written");
        match is_final {
            true => {
                self.store.end_forget(forget.id, digest).await?;
                crash::point("forget-ended");
                // The list itself had paths.
                if let Cleaned::Waiting(why) = self.store.clean().await? {
                    done.unfinished.push(why);
                }
            }
            false => self.store.note_receipt(forget.id, digest).await?,
        }
        Ok(done)
    }

    /// Writes the report and the summary of a batch again, where they were written, and removes their former versions.
    async fn publish_anew(&self, batch: BatchId) -> Result<(), String> {
        let row = self.store.batch_by_id(batch).await.map_err(|e| e.to_string())?;
        let failed = |e: &dyn std::fmt::Display| format!("the report of {} is not written anew: {e}", row.name);
        let spec = row.specification().map_err(|e| failed(&e))?;
        let task = task_of(self.tasks.reports(), spec).map_err(|e| failed(&e))?;
        let sink = Sink::open(&spec.output, &spec.sink).map_err(|e| failed(&e))?;
        if !sink.has(SUMMARY).await.map_err(|e| failed(&e))? {
            return Ok(());
        }
        let state = match (&row.finished_at, &row.pause) {
            (Some(_), _) => SummaryState::of_finished(&row),
            (None, Some(_)) => SummaryState::Paused,
            (None, None) => SummaryState::Running,
        };
        Box::pin(publish_at_output(&self.store, &row, (spec, &*task), state, &self.rates))
            .await
            .map_err(|e| failed(&e))?;
        for name in [REPORT, SUMMARY] {
            sink.erase_former(name).await.map_err(|e| failed(&e))?;
        }
        let beside = spec.report_to.is_some().then(|| sink.address(REPORT));
        for former in spec.report.former.iter().chain(beside.iter()).filter(|former| **former != spec.report_address())
        {
            remove::erase_report(former, spec).await.map_err(|e| failed(&e))?;
        }
        if let Some(address) = &spec.report_to {
            let (place, name) = Sink::open_file(address, spec.report_sink()).map_err(|e| failed(&e))?;
            place.erase_former(&name).await.map_err(|e| failed(&e))?;
        }
        Ok(())
    }
}

fn note_reason(reasons: &mut Vec<String>, why: &str) {
    if reasons.len() < REASONS && !reasons.iter().any(|known| known == why) {
        reasons.push(why.to_owned());
    }
}
