//! What the ledger knows of a batch with this name, and what has changed since.

use std::sync::Arc;

use serde_json::Value;

use super::{
    IntakeError, IntakeTask,
    compare::{Readdress, readdress},
    error::OtherSource,
};
use crate::{
    definition::{Columns, Definition},
    domain::{batch::BatchSpec, environment::Environment, printable::printable, task::TaskName},
    store::{BatchRow, Diff, Resubmission, Store, StoreError},
};

/// A batch that exists.
pub(super) struct ExistingBatch {
    pub(super) row: BatchRow,
    pub(super) spec: BatchSpec,
    task: Arc<dyn IntakeTask>,
}

impl ExistingBatch {
    /// The batch with this name, if there is one; it must have the same definition, task and environment. A batch of the
    /// command line is `taken_over` under the name that its sources have now.
    pub(super) async fn find(
        store: &Store,
        (definition, task): (&Definition, &Arc<dyn IntakeTask>),
        environment: Environment,
        taken_over: bool,
    ) -> Result<Option<Self>, IntakeError> {
        let Some(row) = store.batch(definition.batch.as_str()).await? else { return Ok(None) };
        let spec = row.specification()?.clone();
        let batch = row.name.clone();
        let named = |name: &str| format!("the definition `{name}`");
        let may_be_renamed = definition.is_ad_hoc && is_from_command_line(&spec.address);
        if row.definition != definition.name && !(may_be_renamed && taken_over) {
            return Err(IntakeError::OtherDefinition {
                batch,
                may_be_renamed,
                theirs: named(&row.definition),
                ours: named(&definition.name),
            });
        }
        if spec.task.name != definition.task.task() {
            let of = |task: TaskName| format!("the task `{task}`");
            return Err(IntakeError::OtherDefinition {
                batch,
                may_be_renamed: false,
                theirs: of(spec.task.name),
                ours: of(definition.task.task()),
            });
        }
        if row.environment != environment {
            return Err(IntakeError::OtherEnvironment { batch, theirs: row.environment, ours: environment });
        }
        Ok(Some(Self { row, spec, task: Arc::clone(task) }))
    }

    /// The definition with the origin at which the batch was first made: what the batch bought there stays its own.
    pub(super) fn at_its_origin(&self, definition: &Definition) -> Definition {
        self.task.at_its_origin(definition, &self.spec.task)
    }

    /// Whether the definition, and not the manifest's lines, requires other calls than before.
    pub(super) fn is_redefined(&self, spec: &BatchSpec, columns: &Columns) -> bool {
        // A column that still exists and is no option any more, or existed before and is an option now.
        let dropped = |option: &String| columns.all.contains(option) && !spec.option_columns.contains(option);
        let taken = |option: &String| self.spec.carried.contains(option);
        self.task.asks_for_other_calls(&self.spec.task, &spec.task)
            || self.spec.option_columns.iter().any(dropped)
            || spec.option_columns.iter().any(taken)
    }

    /// What requires other calls than before, as text.
    pub(super) fn changes(&self, spec: &BatchSpec, columns: &Columns) -> Vec<String> {
        let (before, now) = (&self.spec.task, &spec.task);
        let changes = before.changes(now);
        let mut matter: Vec<_> =
            changes.iter().filter(|change| self.task.asks_for_other_calls(before, &change.only)).collect();
        if matter.is_empty() && self.task.asks_for_other_calls(before, now) {
            matter = changes.iter().collect();
        }
        let value = |name: &str, value: &Value| match self.task.option_in_words(name, value) {
            Some(words) => format!("`{}`", printable(&words)),
            None => "none".to_owned(),
        };
        let mut options: Vec<String> = Vec::new();
        for change in matter {
            let words = self.task.change_in_words(change, before, now).unwrap_or_else(|| {
                let (from, to) = (value(&change.name, &change.before), value(&change.name, &change.now));
                format!("`{}` from {from} to {to}", change.name)
            });
            if !options.contains(&words) {
                options.push(words);
            }
        }
        let is_column = |option: &&String| columns.all.contains(*option) && !spec.option_columns.contains(*option);
        let dropped = self.spec.option_columns.iter().filter(is_column);
        let taken = spec.option_columns.iter().filter(|option| self.spec.carried.contains(*option));
        options
            .into_iter()
            .chain(dropped.map(|column| format!("the column `{}` sets no option any more", printable(column))))
            .chain(taken.map(|column| format!("the column `{}` sets an option now", printable(column))))
            .collect()
    }

    /// Whether answered lines must be rendered again or delivered elsewhere.
    pub(super) fn needs_redelivery(&self, spec: &BatchSpec) -> bool {
        self.task.needs_redelivery(&self.spec.task, &spec.task) || self.spec.output != spec.output
    }

    /// Lines whose captions would have estimated times: their answers are kept, and were bought without word times.
    pub(super) async fn without_word_times(&self, store: &Store, spec: &BatchSpec) -> Result<u64, StoreError> {
        match self.task.adds_captions(&self.spec.task, &spec.task) {
            true => store.without_word_times(self.row.id).await,
            false => Ok(0),
        }
    }

    /// The report's former path, if it has another one now.
    pub(super) fn former_report(&self, spec: &BatchSpec) -> Option<String> {
        let before = self.spec.report_address();
        if before == spec.report_address() { self.spec.report.former.clone() } else { Some(before) }
    }

    /// What a new specification means for the existing lines.
    pub(super) fn again(&self, spec: &BatchSpec) -> Resubmission {
        let place = |name: &String| self.spec.carried.iter().position(|old| old == name);
        let moved = self.spec.carried != spec.carried;
        Resubmission {
            redeliver: self.needs_redelivery(spec),
            elsewhere: self.spec.output != spec.output,
            carried: moved.then(|| spec.carried.iter().map(place).collect()),
        }
    }

    /// Judges whether this manifest is the batch's, by its address and by what `diff` says of its lines. Returns the batch's
    /// former address if the address changes.
    pub(super) async fn readdressed(
        &self,
        store: &Store,
        definition: &Definition,
        diff: &Diff,
        agreed: bool,
    ) -> Result<Option<String>, IntakeError> {
        let lines = good_jobs(store, &self.row).await?;
        match readdress(&self.spec.address, &definition.address, diff, lines, agreed) {
            Readdress::No => Ok(None),
            Readdress::Renewed => Ok(Some(self.spec.address.clone())),
            Readdress::Other { clashes } => Err(IntakeError::OtherSource(Box::new(OtherSource {
                batch: self.row.name.clone(),
                before: self.spec.address.clone(),
                now: definition.address.clone(),
                clashes,
                same: diff.same_source.saturating_sub(diff.unproven),
                new: diff.new,
            }))),
        }
    }
}

/// Whether an address is absolute, as those of all sources on the command line are; definitions mostly have relative ones.
fn is_from_command_line(address: &str) -> bool {
    address.starts_with('/') || address.contains("://")
}

/// Jobs in the ledger whose lines were once good, whatever their state, but those that are forgotten.
pub(super) async fn good_jobs(store: &Store, row: &BatchRow) -> Result<u64, StoreError> {
    let (counts, forgotten) = (store.counts(row.id).await?, Box::pin(store.forgotten_good_jobs(row.id)).await?);
    let bad: u64 = counts.failures.iter().filter(|t| t.1 == "bad_line").map(|t| t.2).sum();
    Ok(counts.total().saturating_sub(bad + forgotten))
}
