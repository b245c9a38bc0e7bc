//! What submitting would do, without doing it.

use std::sync::Arc;

use super::{
    ContentFindings, IntakeError, IntakeTask, Purchases, Rebuy,
    compare::{Compared, ReadWatch},
    known::good_jobs,
    preview::{PreviewLine, preview},
    resolved::{Resolved, Resolving},
    sample::{Seen, measure},
    task::Sent,
};
use crate::{
    definition::{Definition, Scan, ScanDepth, Spooled},
    domain::{
        batch::{BatchName, BatchSpec},
        cost::{MicroUsd, Rates},
        environment::Environment,
        estimate::{CallBound, Guess},
        retry::PauseKind,
        task::Tasks,
    },
    store::{BatchPhase, Diff, Store},
};

/// What submitting would do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the ledger would keep of the definition.
    pub spec: BatchSpec,
    /// The batch's name; an older dated batch's name, if the manifest and options are that batch's.
    pub batch: BatchName,
    /// What the reading found: columns, counts, bad lines, and what a listing skipped.
    pub scan: Arc<Scan>,
    /// Whether the ledger has the batch.
    pub existed: bool,
    /// Why the batch is paused, if it is: kind and message.
    pub pause: Option<(PauseKind, String)>,
    /// Its phase in the ledger, if the ledger has it.
    pub phase: Option<BatchPhase>,
    /// The lines compared with the ledger's; all are new if there is no batch.
    pub diff: Diff,
    /// Jobs in the ledger whose lines, voices, formats or languages are no longer requested. They stay. Not counted under a limit of
    /// lines.
    pub gone: u64,
    /// What would be bought again; submitting is refused until the user agrees to it.
    pub rebuy: Option<Rebuy>,
    /// The result of comparing its recordings with those in the ledger.
    pub compared: Compared,
    /// The former address of its manifest, if the address would change.
    pub readdressed: Option<String>,
    /// Finished lines that would be rendered and delivered again: in other formats, elsewhere, or under other names.
    pub redelivered: u64,
    /// Lines whose captions would have estimated times, since they were bought without word times.
    pub without_word_times: u64,
    /// The lines that would be worked, and their price.
    pub estimate: Estimate,
    /// What was seen of its recordings, if some were looked at.
    pub seen: Option<Seen>,
    /// Lines of other batches that are queued on the same pool.
    pub queued: u64,
    /// What the batch has cost so far, with what is reserved for calls in flight.
    pub spent: MicroUsd,
    /// What would be bought, if the task buys in parts.
    pub purchases: Option<Purchases>,
    /// What its content shows.
    pub findings: ContentFindings,
    /// The first lines, as they would be worked.
    pub preview: Vec<PreviewLine>,
    /// What the user should know before the start.
    pub notes: Vec<String>,
}

/// What the lines that are to be worked would cost at list price.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Lines that would be worked.
    pub lines: u64,
    /// Those of them whose length is unknown.
    pub unknown: u64,
    /// Audio of the other lines, in ms.
    pub audio_ms: u64,
    /// The uncertainty of that, in ms, if it was estimated from a sample.
    pub give_or_take_ms: u64,
    /// The number of headers read for the sample.
    pub sampled: u64,
    /// The number of those recordings that do not prove their length.
    pub not_exact: u64,
    /// The cost of these other lines.
    pub cost: MicroUsd,
    /// The uncertainty of the cost.
    pub give_or_take: MicroUsd,
    /// What all lines make at most, if a recording may be several calls.
    pub most: Option<MostCalls>,
}

/// What lines make at most where a recording with several channels may be several calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MostCalls {
    /// Calls.
    pub calls: u64,
    /// Their audio, of the lines whose length is known, in ms.
    pub audio_ms: u64,
    /// The cost of that audio.
    pub cost: MicroUsd,
}

impl Estimate {
    /// The calls of all lines, at most.
    #[must_use]
    pub fn most_calls(&self) -> u64 {
        self.most.map_or(self.lines, |most| most.calls)
    }
}

/// What the user has agreed to, and how the plan is made.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// The known tasks.
    pub tasks: Tasks<dyn IntakeTask>,
    /// A dated batch is a new one, even if the newest one has the same manifest and options.
    pub again: bool,
    /// The manifest becomes the batch's, whatever its address and its lines.
    pub update_source: bool,
    /// Whether some recordings are looked at, to tell which are missing and how long they are.
    pub measure: bool,
    /// Prices.
    pub rates: Rates,
    /// Receives the progress of reading local recordings.
    pub watch: ReadWatch,
}

impl PlanOptions {
    /// Options for these tasks, with nothing agreed to by the user.
    #[must_use]
    pub fn of(tasks: &Tasks<dyn IntakeTask>) -> Self {
        let (rates, watch) = (Rates::default(), ReadWatch::default());
        Self { tasks: tasks.clone(), again: false, update_source: false, measure: true, rates, watch }
    }
}

/// Reads the manifest, compares it with the ledger if there is one, and measures some recordings to estimate their length.
/// Writes nothing.
///
/// # Errors
/// Faults of the manifest; a batch of that name from another definition, task or environment; a ledger that cannot be read.
pub async fn plan(
    store: Option<&Store>,
    definition: &Definition,
    copy: Option<&Spooled>,
    environment: Environment,
    asked: &PlanOptions,
) -> Result<Plan, IntakeError> {
    let PlanOptions { tasks, again, update_source, measure: may_measure, rates, watch } = asked;
    let how = Resolving {
        tasks,
        environment,
        again: *again,
        update_source: *update_source,
        rates,
        watch,
        depth: ScanDepth::Look,
    };
    let resolved = Resolved::resolve(store, definition, copy, &how).await?;
    let found = resolved.look(store, &how).await?;
    let (spec, diff) = (resolved.spec(), found.diff);
    let preview = preview(&resolved, copy).await?;
    let Resolved { definition, task, reader, known, .. } = resolved;
    let mut estimate = estimate((&definition, &*task), &diff, rates);
    let mut seen = None;
    let most_sent = |channels, length_ms| task.most_sent(&definition, channels, length_ms);
    let is_bounded = most_sent(2, LONG_MS) != Sent { calls: 1, audio_ms: LONG_MS };
    let cost = |audio_ms| task.cost_of_audio(&definition, audio_ms, rates).unwrap_or_default();
    let is_asked = estimate.unknown > 0 || (estimate.lines > 0 && is_bounded);
    if *may_measure && is_asked && task.cost_of_audio(&definition, 0, rates).is_some() {
        let looked = measure(&definition, copy, &reader.scan, most_sent).await?;
        if let Some(guess) = looked.guess.filter(|_| estimate.unknown > 0) {
            add_guess(&mut estimate, (guess, looked.measured), cost);
        }
        seen = Some(looked);
    }
    if is_bounded && estimate.lines > 0 {
        // Without a sample, recordings are as long as the average, and each may have two channels.
        let usual_ms = estimate.audio_ms / (estimate.lines.saturating_sub(estimate.unknown)).max(1);
        let mut of_two = CallBound::default();
        let Sent { calls, audio_ms } = most_sent(2, usual_ms);
        of_two.add(Some(usual_ms).filter(|ms| *ms > 0), (calls, audio_ms));
        let sample = seen.as_ref().map(|seen| seen.calls);
        estimate.most = Some(most(&estimate, sample.filter(|sample| sample.recordings > 0).unwrap_or(of_two), cost));
    }
    let queued = match (store, task.batch(&spec.task)) {
        (Some(store), Ok(asked)) => {
            let own = known.as_ref().map(|known| known.row.id);
            store.queued_elsewhere(environment, asked.pool(), own.as_slice()).await?
        }
        _ => 0,
    };
    let mut plan = Plan {
        spec,
        batch: definition.batch.clone(),
        existed: known.is_some(),
        pause: None,
        phase: None,
        estimate,
        seen,
        queued,
        spent: MicroUsd(0),
        purchases: found.purchases,
        findings: task.findings(&reader.scan),
        preview,
        notes: definition.notes(),
        scan: reader.scan,
        diff,
        gone: 0,
        rebuy: found.rebuy,
        compared: found.compared,
        readdressed: found.readdressed,
        redelivered: 0,
        without_word_times: 0,
    };
    if let Some((store, known)) = store.zip(known) {
        if !definition.is_partial() {
            let met = diff.changed + diff.done + diff.open;
            plan.gone = good_jobs(store, &known.row).await?.saturating_sub(met);
        }
        // Changed lines are bought with word times.
        plan.without_word_times = known.without_word_times(store, &plan.spec).await?.min(diff.done + plan.gone);
        plan.redelivered = if known.needs_redelivery(&plan.spec) { diff.done } else { diff.redelivered };
        let unfinished = store.counts(known.row.id).await?.unfinished();
        plan.phase = Some(known.row.phase(unfinished, store.clock().now()));
        plan.spent = MicroUsd(known.row.spent + known.row.reserved);
        plan.pause = known.row.pause;
    }
    Ok(plan)
}

/// A recording that is longer than any piece, in ms.
const LONG_MS: u64 = 24 * 3_600_000;

/// Jobs that would be worked.
const fn works(diff: &Diff) -> u64 {
    (diff.new + diff.changed + diff.open).saturating_sub(diff.failed)
}

fn estimate((definition, task): (&Definition, &dyn IntakeTask), diff: &Diff, rates: &Rates) -> Estimate {
    let lines = works(diff).saturating_sub(diff.idle);
    let Some(cost) = task.cost_of_audio(definition, diff.known_ms, rates) else {
        return Estimate { lines, ..Estimate::default() };
    };
    let unknown = lines.saturating_sub(diff.known);
    Estimate { lines, unknown, audio_ms: diff.known_ms, cost, ..Estimate::default() }
}

/// Adds the estimate from a sample for the lines of unknown length: their share of all `measured` lines that have a size.
fn add_guess(estimate: &mut Estimate, (guess, measured): (Guess, u64), cost: impl Fn(u64) -> MicroUsd) {
    let share = |ms: u64| {
        let part = u128::from(ms) * u128::from(estimate.unknown.min(measured)) / u128::from(measured.max(1));
        u64::try_from(part).unwrap_or(u64::MAX)
    };
    let (audio_ms, give_or_take_ms) = (share(guess.audio_ms), share(guess.give_or_take_ms));
    *estimate = Estimate {
        lines: estimate.lines,
        unknown: estimate.unknown.saturating_sub(measured),
        audio_ms: estimate.audio_ms + audio_ms,
        give_or_take_ms,
        sampled: guess.sampled,
        not_exact: guess.not_exact,
        cost: cost(estimate.audio_ms + audio_ms),
        give_or_take: cost(give_or_take_ms),
        most: None,
    };
}

/// What the lines make at most, by a bound for some recordings.
fn most(estimate: &Estimate, bound: CallBound, cost: impl Fn(u64) -> MicroUsd) -> MostCalls {
    let audio_ms = bound.audio_of(estimate.audio_ms);
    MostCalls { calls: bound.calls_of(estimate.lines), audio_ms, cost: cost(audio_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::options::SttModel;

    #[test]
    fn a_sample_speaks_for_the_lines_that_are_not_known() {
        let guess = Guess { audio_ms: 600_000, give_or_take_ms: 60_000, sampled: 100, not_exact: 0 };
        let mut estimate = Estimate { lines: 6, unknown: 5, audio_ms: 60_000, ..Estimate::default() };
        let cost = |ms| Rates::default().cost(SttModel::Pulse, ms);
        add_guess(&mut estimate, (guess, 10), cost);
        assert_eq!((estimate.audio_ms, estimate.give_or_take_ms, estimate.unknown), (360_000, 30_000, 0));
        assert_eq!((estimate.cost, estimate.give_or_take), (MicroUsd(30_000), MicroUsd(2_500)));
        let mut some = Estimate { lines: 20, unknown: 20, ..Estimate::default() };
        add_guess(&mut some, (guess, 10), cost);
        assert_eq!((some.audio_ms, some.unknown), (600_000, 10), "ten have no size to go by");
    }

    #[test]
    fn channels_with_calls_of_their_own_bound_the_cost() {
        let estimate = Estimate { lines: 10, audio_ms: 600_000, ..Estimate::default() };
        let cost = |ms| Rates::default().cost(SttModel::Pulse, ms);
        let half = CallBound { recordings: 2, calls: 3, audio_ms: 100_000, sent_ms: 120_000 };
        let bound = most(&estimate, half, cost);
        assert_eq!(bound, MostCalls { calls: 15, audio_ms: 720_000, cost: MicroUsd(60_000) });
        let unseen = most(&estimate, CallBound { recordings: 1, calls: 2, ..CallBound::default() }, cost);
        assert_eq!((unseen.calls, unseen.audio_ms), (20, 1_200_000), "each may have two");
        let bounded = Estimate { most: Some(bound), ..estimate };
        assert_eq!((bounded.most_calls(), estimate.most_calls()), (15, 10));
    }
}
