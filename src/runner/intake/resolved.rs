//! What is determined before anything is written or bought: the batch of a definition, and how its lines compare with the
//! ledger.

use std::sync::Arc;

use super::{
    Amount, IntakeError, IntakeTask, Purchases, Rebuy,
    compare::{Compared, ReadWatch, compare, count_new},
    dated_batch::{DatedBatch, same_dated_batch, spec_of},
    known::ExistingBatch,
    known_sources::KnownSources,
    reader::Reader,
};
use crate::{
    definition::{Definition, Fault, Faults, Scan, ScanDepth, Spooled},
    domain::{
        batch::BatchSpec,
        cost::Rates,
        environment::Environment,
        task::{TaskSpec, Tasks},
    },
    store::{Diff, ForgottenKeys, Store, StoreError},
};

/// A definition whose manifest was read to its end, and its batch.
pub(super) struct Resolved {
    /// The definition, under the name of its batch, and with the batch's origin.
    pub(super) definition: Definition,
    pub(super) task: Arc<dyn IntakeTask>,
    pub(super) reader: Reader,
    /// Whether it is an older dated batch under that batch's name.
    pub(super) is_older: bool,
    /// The batch in the ledger, if it exists.
    pub(super) known: Option<ExistingBatch>,
    /// The comparison made to determine that.
    sources: Option<Arc<KnownSources>>,
}

/// How it is to be resolved.
pub(super) struct Resolving<'a> {
    pub(super) tasks: &'a Tasks<dyn IntakeTask>,
    pub(super) environment: Environment,
    /// A dated batch is a new one, even if the newest one has the same manifest and options.
    pub(super) again: bool,
    /// The manifest is the batch's from now on, wherever it is.
    pub(super) update_source: bool,
    pub(super) rates: &'a Rates,
    pub(super) watch: &'a ReadWatch,
    pub(super) depth: ScanDepth,
}

/// How the lines compare with the ledger.
#[derive(Debug, Default)]
pub(super) struct JobPlan {
    /// The lines compared with the ledger's; all are new if there is no batch.
    pub(super) diff: Diff,
    /// What would be bought, if the task buys in parts.
    pub(super) purchases: Option<Purchases>,
    /// The result of comparing sources.
    pub(super) compared: Compared,
    /// The same result by line, for the next reading.
    pub(super) sources: Option<Arc<KnownSources>>,
    /// The batch's former address, if its address changes.
    pub(super) readdressed: Option<String>,
    /// What would be bought again because the definition's options changed.
    pub(super) rebuy: Option<Rebuy>,
}

impl Resolved {
    /// Reads the manifest, and finds its batch.
    pub(super) async fn resolve(
        store: Option<&Store>,
        definition: &Definition,
        copy: Option<&Spooled>,
        how: &Resolving<'_>,
    ) -> Result<Self, IntakeError> {
        let task = task_of(how.tasks, definition)?;
        // A fault in its name is reported before a long manifest is read.
        let known = find(store, (definition, &task), how).await?;
        let reader = Reader::start(definition, copy, Arc::clone(&task), how.depth).await?;
        refuse_unpriced((definition, &*task), &reader.scan, how.rates)?;
        let older = match store.filter(|_| !how.again) {
            Some(store) => same_dated_batch(store, (definition, &*task), &reader, (how.environment, how.watch)).await?,
            None => None,
        };
        let is_older = older.is_some();
        let (definition, known, sources) = match older {
            Some(DatedBatch { definition, sources }) => {
                let known = find(store, (&definition, &task), how).await?;
                (definition, known, sources)
            }
            None => (definition.clone(), known, None),
        };
        reader.leave_out(match store.zip(known.as_ref()) {
            // Boxed: the callers' futures are large already.
            Some((store, known)) => Box::pin(store.forgotten_keys(known.row.id)).await?,
            None => ForgottenKeys::default(),
        });
        let definition = known.as_ref().map_or_else(|| definition.clone(), |known| known.at_its_origin(&definition));
        Ok(Self { definition, task, reader, is_older, known, sources })
    }

    /// What the ledger would keep of the definition.
    pub(super) fn spec(&self) -> BatchSpec {
        spec_of(&self.definition, &self.reader.scan)
    }

    /// Compares every line of the manifest with the ledger. Local files are read if nothing else decides.
    ///
    /// A manifest of other sources than the batch's is refused, unless the user has agreed to them.
    pub(super) async fn look(&self, store: Option<&Store>, how: &Resolving<'_>) -> Result<JobPlan, IntakeError> {
        let agreed = how.update_source;
        let kept = match store.filter(|_| self.task.has_parts()) {
            Some(store) => Some(store.audio_cache().snapshot().await?),
            None => None,
        };
        let survey = || self.task.survey(&self.definition, kept.clone(), how.rates);
        let Some((store, known)) = store.zip(self.known.as_ref()) else {
            let scan = &self.reader.scan;
            let purchases = match survey() {
                Some(survey) => Some(count_new(&self.reader, survey).await?),
                None => None,
            };
            let diff = Diff { new: scan.jobs, idle: scan.without_source, ..Diff::default() };
            return Ok(JobPlan { diff, purchases, ..JobPlan::default() });
        };
        let batch = (store, known.row.id);
        let sources = self.sources.clone();
        let found = compare(batch, &self.definition, (&self.reader, sources), how.watch, survey).await?;
        let readdressed = known.readdressed(store, &self.definition, &found.diff, agreed).await?;
        if let Some((parameters, lines)) = found.parameters.filter(|_| !agreed) {
            return Err(IntakeError::OtherParameters { batch: known.row.name.clone(), parameters, lines });
        }
        let before = known.row.specification().ok().map(|spec| spec.task.clone());
        let rebuy = self.rebuy((&found.diff, before.as_ref()), found.purchases.as_ref(), how.rates);
        Ok(JobPlan {
            diff: found.diff,
            compared: if self.task.has_sources() { found.message } else { Compared::default() },
            sources: Some(found.sources),
            readdressed,
            rebuy: rebuy
                .filter(|_| known.is_redefined(&self.spec(), &self.reader.scan.columns))
                .map(|rebuy| Rebuy { changes: known.changes(&self.spec(), &self.reader.scan.columns), ..rebuy }),
            purchases: found.purchases,
        })
    }

    /// The finished lines among the changed ones, at the price of the definition's model; if the task buys in parts, the parts
    /// that are not kept.
    fn rebuy(
        &self,
        (diff, before): (&Diff, Option<&TaskSpec>),
        purchases: Option<&Purchases>,
        rates: &Rates,
    ) -> Option<Rebuy> {
        let now = self.spec().task;
        let most = before.and_then(|before| self.task.most_again(before, &now, diff.rebuy_ms));
        let audio_ms = most.unwrap_or(diff.rebuy_ms);
        let rebuy = match (self.task.cost_of_audio(&self.definition, audio_ms, rates), purchases) {
            (Some(cost), _) => {
                let amount = if most.is_some() { Amount::AudioAtMost(audio_ms) } else { Amount::Audio(audio_ms) };
                Rebuy { lines: diff.rebuy, amount, cost, changes: Vec::new() }
            }
            (None, Some(found)) => {
                let lines = if found.again_units > 0 { found.again } else { 0 };
                Rebuy {
                    lines,
                    amount: Amount::Characters(found.again_units),
                    cost: found.again_cost,
                    changes: Vec::new(),
                }
            }
            (None, None) => return None,
        };
        (rebuy.lines > 0).then_some(rebuy)
    }
}

/// The task of a definition, in its submitting role.
fn task_of(tasks: &Tasks<dyn IntakeTask>, definition: &Definition) -> Result<Arc<dyn IntakeTask>, IntakeError> {
    let name = definition.task.task();
    let unknown = || StoreError::Unexpected(format!("this release has no task `{name}`"));
    Ok(tasks.get(name).cloned().ok_or_else(unknown)?)
}

async fn find(
    store: Option<&Store>,
    asked: (&Definition, &Arc<dyn IntakeTask>),
    how: &Resolving<'_>,
) -> Result<Option<ExistingBatch>, IntakeError> {
    match store {
        Some(store) => ExistingBatch::find(store, asked, how.environment, how.update_source).await,
        None => Ok(None),
    }
}

/// Refuses a spend limit that could not be enforced because the price of a model is unknown.
fn refuse_unpriced(
    (definition, task): (&Definition, &dyn IntakeTask),
    scan: &Scan,
    rates: &Rates,
) -> Result<(), Faults> {
    let limit = match definition.run.max_spend_usd {
        Some(_) => "run.max_spend_usd",
        None if rates.are_limited => "spend",
        None => return Ok(()),
    };
    let unpriced = scan
        .unlisted_values
        .of("model")
        .filter(|model| !rates.models.contains_key(*model) && !rates.chat.contains_key(*model))
        .chain(task.unpriced(definition, rates));
    let faults: Vec<Fault> = unpriced
        .map(|model| {
            let message = format!(
                "cannot be kept: the price of `{model}` is not known. Write it into wavebatch.toml, in {}:\n  {}",
                task.price_unit(model),
                task.price_line(model)
            );
            Fault::of_field(limit, message)
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(Faults::from_iter(faults)) }
}
