//! What submitting asks of a task.

use std::collections::BTreeMap;

use futures::future::BoxFuture;

use super::{Account, IntakeError, VoiceCheck};
use crate::{
    definition::{
        Definition, Scan,
        manifest::{JobDraft, ManifestLine},
    },
    domain::{
        cost::{MicroUsd, Rates},
        synthesis_options::TtsModel,
        task::TaskSpec,
    },
    report::ReportTask,
    store::{AudioCache, JobPlan, Store, StoreError},
};

/// A task whose lines can be submitted.
pub trait IntakeTask: ReportTask {
    /// Whether a line is known by what its source holds, which no hash of the manifest says: then sources are compared.
    fn has_sources(&self) -> bool;

    /// What a price in `[rates]` is for: `US dollars a minute`.
    fn price_unit(&self) -> &'static str;

    /// The endings of outputs, with their dots.
    fn output_endings(&self, definition: &Definition) -> OutputEndings;

    /// The names of a job's outputs.
    fn outputs(&self, definition: &Definition, key: &str, job: &JobDraft) -> Vec<String>;

    /// Whether lines that set nothing themselves ask for other calls than before: their answers are bought again.
    fn asks_for_other_calls(&self, before: &TaskSpec, now: &TaskSpec) -> bool {
        before != now
    }

    /// Whether what is answered looks another way than before: it is delivered again, and buys nothing.
    fn is_presented_again(&self, before: &TaskSpec, now: &TaskSpec) -> bool;

    /// Whether outputs are asked for that need word times, and were not: answers that were bought without have none for them.
    fn adds_captions(&self, _before: &TaskSpec, _now: &TaskSpec) -> bool {
        false
    }

    /// The definition, asked for where a batch of this specification was first: what that has bought goes on to be its own.
    fn at_its_origin(&self, definition: &Definition, _before: &TaskSpec) -> Definition {
        definition.clone()
    }

    /// What so much audio costs, where lines are paid for by their length.
    fn cost_of_audio(&self, _definition: &Definition, _audio_ms: u64, _rates: &Rates) -> Option<MicroUsd> {
        None
    }

    /// Counts what the jobs of a manifest would buy, where they are bought in parts. `audio_cache`: what is kept already.
    fn survey(&self, _definition: &Definition, _audio_cache: Option<AudioCache>) -> Option<Box<dyn Survey>> {
        None
    }

    /// Whether the account has what the lines ask for; what the user should know of it.
    fn check_account<'a>(&'a self, _check: AccountCheck<'a>) -> BoxFuture<'a, Result<Vec<String>, IntakeError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Puts on the account what the calls refer to, and its name there into the definition. Says what was done.
    fn prepare_account<'a>(
        &'a self,
        _store: &'a Store,
        _account: Option<&'a Account>,
        _definition: &'a mut Definition,
    ) -> BoxFuture<'a, Result<Option<String>, IntakeError>> {
        Box::pin(async { Ok(None) })
    }
}

/// What an account is checked for.
#[derive(Debug, Clone, Copy)]
pub struct AccountCheck<'a> {
    /// Where is kept what the account has told before.
    pub store: &'a Store,
    /// The account; without one nothing can be checked.
    pub account: Option<&'a Account>,
    /// The manifest, as it is shown.
    pub manifest: &'a str,
    /// What was read of it.
    pub scan: &'a Scan,
    /// What becomes of voices that the account does not have.
    pub voice_check: VoiceCheck,
}

/// How the names of a task's outputs end.
#[derive(Debug, Clone, Default)]
pub struct OutputEndings {
    /// All of them, with their dots.
    pub all: Vec<String>,
    /// Those of files that may have no bytes.
    pub may_be_empty: Vec<String>,
}

/// Counts what would be bought, line by line.
pub trait Survey: Send {
    /// Adds a line, with what submitting would do with each of its jobs.
    ///
    /// # Errors
    /// What is kept already cannot be seen.
    fn add(&mut self, line: &ManifestLine, jobs: &[JobPlan]) -> Result<(), StoreError>;

    /// What was counted.
    fn found(self: Box<Self>) -> Purchases;
}

/// Characters, by the model that speaks them.
pub type Characters = BTreeMap<TtsModel, u64>;

/// What would be bought in parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purchases {
    /// Parts of all texts, each voice and purchase counted.
    pub all_parts: u64,
    /// Characters of these.
    pub all_characters: Characters,
    /// Jobs that would be worked.
    pub jobs: u64,
    /// Parts that would be bought for them: those whose clip is neither kept nor bought for another of them.
    pub parts: u64,
    /// Characters of these.
    pub characters: Characters,
    /// Jobs that are done, and that other options ask for again.
    pub again: u64,
    /// Characters that would be bought for these.
    pub again_characters: Characters,
}

impl Purchases {
    /// What the new characters cost at list price.
    #[must_use]
    pub fn cost(&self, rates: &Rates) -> MicroUsd {
        cost(&self.characters, rates)
    }

    /// What the characters cost that are bought again.
    #[must_use]
    pub fn cost_again(&self, rates: &Rates) -> MicroUsd {
        cost(&self.again_characters, rates)
    }
}

fn cost(characters: &Characters, rates: &Rates) -> MicroUsd {
    characters.iter().map(|(model, characters)| rates.synthesis_cost(*model, *characters)).sum()
}
