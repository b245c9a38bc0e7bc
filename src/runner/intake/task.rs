//! What submitting needs from a task.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::{Account, IntakeError, VoiceCheck};
use crate::{
    audio::analyze::{Hearing, RawFormat},
    definition::{
        Definition, Faults, Scan, Spooled,
        manifest::{JobDraft, ManifestLine},
    },
    domain::{
        cost::{MicroUsd, Rates},
        key::Key,
        task::{SpecChange, TaskSpec, Tasks},
    },
    report::ReportTask,
    store::{BatchRow, JobPlan, KeptClips, Store, StoreError},
};

/// A task whose lines can be submitted.
pub trait IntakeTask: ReportTask {
    /// Whether the content of its source identifies a line, which no hash of the manifest covers: then sources are compared.
    fn has_sources(&self) -> bool;

    /// The unit of a model's price in `[rates]`: `US dollars a minute`.
    fn price_unit(&self, model: &str) -> &'static str;

    /// What a definition buys at a price that nobody knows, beside models that are in no list: its name in `[rates]`.
    fn unpriced<'d>(&self, _definition: &'d Definition, _rates: &Rates) -> Option<&'d str> {
        None
    }

    /// The lines of `wavebatch.toml` that set the price of a model that is not known, as an example.
    fn price_line(&self, model: &str) -> String {
        format!("[rates]\n  \"{model}\" = 0.005")
    }

    /// The endings of outputs, with their dots.
    fn output_endings(&self, definition: &Definition) -> OutputEndings;

    /// The names of a job's outputs.
    fn outputs(&self, definition: &Definition, key: &str, job: &JobDraft) -> Vec<String>;

    /// Whether lines without options of their own need other calls than before: their answers are bought again.
    fn asks_for_other_calls(&self, before: &TaskSpec, now: &TaskSpec) -> bool {
        before != now
    }

    /// Whether lines are made and bought in the same way by both.
    fn makes_same_lines(&self, before: &TaskSpec, now: &TaskSpec) -> bool {
        before == now
    }

    /// The value of an option as a definition writes it, from its stored form; `None` if it is not set.
    fn option_in_words(&self, _name: &str, value: &Value) -> Option<String> {
        match value {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// A change as text where its stored values would tell the user nothing, as a hash; `None` for all others.
    fn change_in_words(&self, _change: &SpecChange, _before: &TaskSpec, _now: &TaskSpec) -> Option<String> {
        None
    }

    /// Whether answered lines are presented in another way than before: they are delivered again, and nothing is bought.
    fn needs_redelivery(&self, before: &TaskSpec, now: &TaskSpec) -> bool;

    /// Whether outputs that need word times are requested now, and were not before: answers bought without word times have
    /// none.
    fn adds_captions(&self, _before: &TaskSpec, _now: &TaskSpec) -> bool {
        false
    }

    /// The definition with the origin at which a batch of this specification was first made: what it bought there stays its
    /// own.
    fn at_its_origin(&self, definition: &Definition, _before: &TaskSpec) -> Definition {
        definition.clone()
    }

    /// The cost of this much audio, if lines are priced by length.
    fn cost_of_audio(&self, _definition: &Definition, _audio_ms: u64, _rates: &Rates) -> Option<MicroUsd> {
        None
    }

    /// The most that buys a recording with so many channels, of this length in ms. 0: its length is not known.
    fn most_sent(&self, _definition: &Definition, _channels: u16, length_ms: u64) -> Sent {
        Sent { calls: 1, audio_ms: length_ms }
    }

    /// How much audio is bought at most where so much was bought before, if the new specification may buy more of a recording.
    fn most_again(&self, _before: &TaskSpec, _now: &TaskSpec, _audio_ms: u64) -> Option<u64> {
        None
    }

    /// What is bought of recordings, by what is heard in them; `None` if lines are no recordings.
    fn heard_offers(&self, _definition: &Definition) -> Option<Box<dyn HeardOffers>> {
        None
    }

    /// Counts what the jobs of a manifest would buy, if the task buys in parts. `audio_cache`: what is kept already.
    fn survey(
        &self,
        _definition: &Definition,
        _audio_cache: Option<KeptClips>,
        _rates: &Rates,
    ) -> Option<Box<dyn Survey>> {
        None
    }

    /// Lists each part of a manifest's jobs as it would be bought, of all lines or of one key; `None` if a line is one part.
    fn parts(
        &self,
        _definition: &Definition,
        _copy: Option<&Spooled>,
        _key: Option<&str>,
        _audio_cache: Option<KeptClips>,
    ) -> Option<Parts> {
        None
    }

    /// What the user should know about the content of a manifest before it is paid for: as far as the reading looked.
    fn findings(&self, _scan: &Scan) -> ContentFindings {
        ContentFindings::default()
    }

    /// The options of a job that no column of options sets, since they belong to its content: name and value.
    fn options_of_content(&self, _definition: &Definition, _job: &JobDraft) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Compares what the lines need with what the ledger remembers of the account, without a call. `None`: it remembers
    /// nothing that could tell. `sandbox`: the account is the sandbox's.
    fn recall_account(
        &self,
        _known: Option<(&Store, &str)>,
        (_manifest, _sandbox): (&str, bool),
        _scan: &Scan,
    ) -> Option<AccountNotes> {
        Some(AccountNotes::default())
    }

    /// Checks whether the account has what the lines need. Returns what the user should know about it.
    fn check_account<'a>(&'a self, _check: AccountCheck<'a>) -> BoxFuture<'a, Result<Vec<String>, IntakeError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Puts on the account what the calls refer to, and its id there into the definition. Returns what was done.
    fn prepare_account<'a>(
        &'a self,
        _store: &'a Store,
        _account: Option<&'a Account>,
        _definition: &'a mut Definition,
    ) -> BoxFuture<'a, Result<Option<String>, IntakeError>> {
        Box::pin(async { Ok(None) })
    }

    /// Prepares the account again for a batch that another process submitted: some accounts forget what was put on them.
    ///
    /// # Errors
    /// The account refuses, or the ledger cannot be written.
    fn renew_account<'a>(
        &'a self,
        _store: &'a Store,
        _account: Option<&'a Account>,
        _batch: &'a BatchRow,
    ) -> BoxFuture<'a, Result<(), IntakeError>> {
        Box::pin(async { Ok(()) })
    }
}

/// Lets the task of a batch prepare the account again. A batch of an unknown task is left alone.
///
/// # Errors
/// The account refuses, or the ledger cannot be written.
pub async fn renew_account(
    tasks: &Tasks<dyn IntakeTask>,
    store: &Store,
    account: Option<&Account>,
    batch: &BatchRow,
) -> Result<(), IntakeError> {
    match tasks.get(batch.task) {
        Some(task) => task.renew_account(store, account, batch).await,
        None => Ok(()),
    }
}

/// The input of a check of an account.
#[derive(Debug, Clone, Copy)]
pub struct AccountCheck<'a> {
    /// Where earlier answers of the account are kept.
    pub store: &'a Store,
    /// The account; without one the check is skipped.
    pub account: Option<&'a Account>,
    /// The manifest, as it is shown.
    pub manifest: &'a str,
    /// What was read from it.
    pub scan: &'a Scan,
    /// Whether the account is the sandbox's.
    pub sandbox: bool,
    /// How voices are treated that the account lacks.
    pub voice_check: VoiceCheck,
}

/// The extensions of a task's outputs.
#[derive(Debug, Clone, Default)]
pub struct OutputEndings {
    /// All of them, with their dots.
    pub all: Vec<String>,
    /// Those of files that may have no bytes.
    pub may_be_empty: Vec<String>,
}

/// What is bought of recordings, by what is heard in them.
pub trait HeardOffers: Send + Sync {
    /// What a recording without a header is.
    fn raw(&self) -> Option<RawFormat>;

    /// Whether recordings in which nobody speaks are not bought.
    fn skips_silence(&self) -> bool;

    /// What would be bought of a recording in which this was heard.
    fn offer(&self, heard: &Hearing) -> HeardOffer;
}

/// What would be bought of one recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeardOffer {
    /// What each way of buying it buys, by the way's name; for all recordings the same ways in the same order.
    pub ways: Vec<(&'static str, Sent)>,
    /// What is not bought of it if silence is skipped.
    pub silence: Sent,
}

/// What is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Calls.
    pub calls: u64,
    /// Audio in these calls, in ms.
    pub audio_ms: u64,
}

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.audio_ms += other.audio_ms;
    }
}

/// Counts what would be bought, line by line.
pub trait Survey: Send {
    /// Adds a line, with what submitting would do with each of its jobs.
    ///
    /// # Errors
    /// The kept audio cannot be read.
    fn add(&mut self, line: &ManifestLine, jobs: &[JobPlan]) -> Result<(), StoreError>;

    /// What was counted.
    fn found(self: Box<Self>) -> Purchases;
}

/// Units of a task, by the model that they are paid for.
pub type UnitsByModel = BTreeMap<String, u64>;

/// What would be bought in parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purchases {
    /// Parts of all jobs. Those of one line that are alike count once.
    pub all_parts: u64,
    /// Units of these parts.
    pub all_units: UnitsByModel,
    /// Jobs that would be worked.
    pub jobs: u64,
    /// Parts that would be bought for them: those whose clip is neither kept nor bought for another of these jobs.
    pub parts: u64,
    /// Units of these parts.
    pub units: UnitsByModel,
    /// The same for each group of jobs that the task distinguishes, as by language; none where all are of one group.
    pub groups: Vec<PurchaseGroup>,
    /// How long the audio of all jobs is, in ms, by the usual pace of their languages; `None` if no audio comes of them.
    pub all_audio_ms: Option<u64>,
    /// Their cost at list price; `None` if one of their models has no price.
    pub cost: Option<MicroUsd>,
    /// The list prices of their models, in words.
    pub prices: Vec<String>,
    /// Finished jobs that would be bought again because the options changed.
    pub again: u64,
    /// Units that would be bought for these jobs.
    pub again_units: u64,
    /// What of their cost is known.
    pub again_cost: MicroUsd,
    /// A title and the numbers of parts in words, where a task does not count characters in parts.
    pub in_words: Option<(&'static str, String)>,
}

/// What would be bought for a group of jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PurchaseGroup {
    /// What its jobs have in common, e.g. their language.
    pub name: String,
    /// Jobs that would be worked.
    pub jobs: u64,
    /// Parts of all jobs.
    pub all_parts: u64,
    /// Units of these parts.
    pub all_units: u64,
    /// Parts that would be bought.
    pub parts: u64,
    /// Units of these parts.
    pub units: u64,
    /// Their cost at list price; `None` if one of their models has no price.
    pub cost: Option<MicroUsd>,
}

/// A part as it would be bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartPreview {
    /// Its line.
    pub line: u64,
    /// Its key.
    pub key: String,
    /// Its number in the line, from 1.
    pub number: u64,
    /// What is asked for, in words: `avery wav at 24000 Hz`.
    pub asked: String,
    /// The same by field, for programs.
    pub fields: Map<String, Value>,
    /// Its length, in units of the task.
    pub units: u64,
    /// Whether it has no words: it is a pause, counted and not paid for.
    pub is_pause: bool,
    /// Whether its answer is kept already.
    pub kept: bool,
    /// The text that is sent.
    pub text: String,
}

/// Parts, as they are read.
pub type Parts = mpsc::Receiver<Result<PartPreview, IntakeError>>;

/// What the user should know about the content of a manifest before it is paid for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentFindings {
    /// What is true of the whole: a title and a sentence each.
    pub facts: Vec<(&'static str, String)>,
    /// The same by field, for programs.
    pub fields: Map<String, Value>,
    /// Notes about single lines.
    pub notes: Vec<LineNote>,
    /// The files of which something is left out, and what is left out.
    pub left_out: Vec<(String, String)>,
}

/// A note about a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineNote {
    /// Its line, or position in a listing.
    pub number: u64,
    /// Its key.
    pub key: Key,
    /// The note itself.
    pub what: String,
}

/// The result of comparing what lines need with what an account has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountNotes {
    /// What the account lacks.
    pub faults: Faults,
    /// What may not be intended.
    pub warnings: Vec<String>,
}

impl AccountNotes {
    /// The same with its faults as warnings.
    #[must_use]
    pub fn lenient(mut self) -> Self {
        let faults = std::mem::take(&mut self.faults);
        self.warnings.splice(..0, faults.to_string().lines().map(str::to_owned));
        self
    }
}
