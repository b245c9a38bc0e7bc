//! What submitting would do, without doing it.

use std::sync::Arc;

use super::{
    Amount, IntakeError, Rebuy,
    buying::{self, Purchases},
    compare::{Compared, ReadWatch},
    found::Findings,
    known::{ExistingBatch, good_jobs},
    older_batch::{older_batch, spec_of},
    reader::Reader,
    sample::measure,
    scanned::{ScanOf, Scanned, refuse_unpriced},
};
use crate::{
    definition::{
        Definition, Spooled,
        manifest::texts::{Texts, TextsPreview},
    },
    domain::{
        batch::{BatchName, BatchSpec},
        cost::{MicroUsd, Rates},
        environment::Environment,
        estimate::Guess,
        options::SttModel,
        retry::PauseKind,
    },
    store::{BatchPhase, Diff, Store},
};

/// What submitting would do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the ledger would keep of the definition.
    pub spec: BatchSpec,
    /// The batch's name: an older night's, where the manifest and options are its.
    pub batch: BatchName,
    /// What the reading found: columns, counts, bad lines, what a listing passed over.
    pub scan: Arc<Scanned>,
    /// Whether the ledger has the batch.
    pub existed: bool,
    /// Why the batch is paused, if it is: kind and words.
    pub pause: Option<(PauseKind, String)>,
    /// How it stands in the ledger, where that has it.
    pub phase: Option<BatchPhase>,
    /// The lines against the ledger's; all new where there is no batch.
    pub diff: Diff,
    /// Jobs in the ledger whose lines, voices or formats are asked for no more. They stay. Not counted under a limit of lines.
    pub gone: u64,
    /// What would be bought again; submitting is refused until that is said to be wanted.
    pub rebuy: Option<Rebuy>,
    /// What comparing its recordings with those of the ledger has found.
    pub compared: Compared,
    /// The address that its manifest had, where it would have another one.
    pub readdressed: Option<String>,
    /// Done lines that would be rendered and delivered again: in other formats, elsewhere, or under other names.
    pub redelivered: u64,
    /// Lines whose captions would share their length out, since they were bought without word times.
    pub without_word_times: u64,
    /// The lines that would be worked, and their price.
    pub estimate: Estimate,
    /// Of a synthesis, what would be bought.
    pub synthesis: Option<SynthesisPlan>,
    /// What the user should know before the start.
    pub notes: Vec<String>,
}

/// What a synthesis would buy, and what of its texts may not be meant to be spoken.
#[derive(Debug, Clone)]
pub struct SynthesisPlan {
    /// What would be bought.
    pub purchases: Purchases,
    /// What was seen in the texts.
    pub look: TextsPreview,
}

/// What the lines that are to be worked would cost at list price.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Lines that would be worked.
    pub lines: u64,
    /// Those of them whose length nobody knows yet.
    pub unknown: u64,
    /// Audio of the rest, in ms.
    pub audio_ms: u64,
    /// How far off that may be, in ms, where it was guessed by a sample.
    pub give_or_take_ms: u64,
    /// How many headers were read for that.
    pub sampled: u64,
    /// What the rest costs.
    pub cost: MicroUsd,
    /// How far off that may be.
    pub give_or_take: MicroUsd,
}

/// What the user has agreed to, and how the rest is told.
#[derive(Debug, Clone, Default)]
pub struct PlanOptions {
    /// A dated batch is a new one, even where the newest one has the same manifest and options.
    pub again: bool,
    /// The manifest is the batch's from now on, wherever it is and whatever it brings.
    pub update_source: bool,
    /// Prices.
    pub rates: Rates,
    /// Who hears how far the reading of local recordings is.
    pub watch: ReadWatch,
}

/// Reads the manifest, holds it against the ledger, where there is one, and looks into some recordings for their length.
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
    let PlanOptions { again, update_source, rates, watch } = asked;

    // What is wrong with its name is told before a long manifest is read.
    find(store, definition, environment).await?;
    let reader = Reader::start(definition, copy).await?;
    let scan = Arc::clone(&reader.scan);
    refuse_unpriced(definition, &scan, rates)?;
    let older = match store {
        Some(store) if !again => older_batch(store, definition, &reader, (environment, watch)).await?,
        _ => None,
    };
    let definition = older.as_ref().map_or(definition, |older| &older.definition);
    let known = find(store, definition, environment).await?;
    let here = known.as_ref().map(|(_, known)| known.at_its_origin(definition));
    let definition = here.as_ref().unwrap_or(definition);
    let spec = spec_of(definition, &scan);
    let found = match store {
        Some(store) => {
            let known = known.as_ref().map(|(_, known)| known);
            let verdicts = older.as_ref().and_then(|older| older.verdicts.clone());
            super::found::look(store, definition, known, (copy, &reader), (verdicts, watch)).await?
        }
        None => without_ledger(definition, copy, &scan).await?,
    };
    let (mut gone, mut rebuy, mut redelivered, mut readdressed) = (0, None, 0, None);
    let (diff, mut without_word_times) = (found.diff, 0);
    if let Some((store, known)) = &known {
        readdressed = found.refuse_others(store, definition, known, *update_source).await?;
        rebuy = found.rebuys(definition, known, &reader, rates);
        if definition.limit.is_none() {
            let met = diff.changed + diff.done + diff.open;
            gone = good_jobs(store, &known.row).await?.saturating_sub(met);
        }
        // What has changed is bought with them.
        without_word_times = known.without_word_times(store, &spec).await?.min(diff.done + gone);
        redelivered = if known.is_presented_again(&spec) { diff.done } else { diff.redelivered };
    }
    let synthesis = match found.purchases {
        Some(purchases) => Some(SynthesisPlan { purchases, look: look(definition, copy, &scan).await? }),
        None => None,
    };
    let mut estimate = estimate(definition, &diff, rates);
    if let Some(asked) = definition.transcribing()
        && let ScanOf::Recordings(scan) = &scan.of
        && estimate.unknown > 0
        && let Some((guess, measured)) = measure(definition, copy, scan).await?
    {
        add_guess(&mut estimate, guess, measured, asked.options.model, rates);
    }
    let row = known.as_ref().map(|(_, known)| &known.row);
    let phase = match &known {
        Some((store, known)) => {
            let unfinished = store.counts(known.row.id).await?.unfinished();
            Some(known.row.phase(unfinished, store.clock().now()))
        }
        None => None,
    };
    Ok(Plan {
        spec,
        batch: definition.batch.clone(),
        existed: known.is_some(),
        pause: row.and_then(|row| row.pause.clone()),
        phase,
        estimate,
        synthesis,
        notes: definition.notes(),
        scan,
        diff,
        gone,
        rebuy,
        compared: found.compared,
        readdressed,
        redelivered,
        without_word_times,
    })
}

/// What is found where nothing was ever submitted.
async fn without_ledger(
    definition: &Definition,
    copy: Option<&Spooled>,
    scan: &Arc<Scanned>,
) -> Result<Findings, IntakeError> {
    if scan.texts().is_some() {
        let (diff, purchases) = buying::look(None, None, definition, copy, scan).await?;
        return Ok(Findings { diff, purchases: Some(purchases), ..Findings::default() });
    }
    Ok(Findings { diff: Diff { new: scan.jobs, idle: scan.without_source, ..Diff::default() }, ..Findings::default() })
}

/// Looks at the texts as they would be spoken.
async fn look(
    definition: &Definition,
    copy: Option<&Spooled>,
    scan: &Arc<Scanned>,
) -> Result<TextsPreview, IntakeError> {
    let (definition, copy, scan) = (definition.clone(), copy.cloned(), Arc::clone(scan));
    let looked = tokio::task::spawn_blocking(move || match (definition.synthesizing(), scan.texts()) {
        (Some(asked), Some(scan)) => Texts::open(&definition, asked, copy.as_ref())?.look(scan),
        _ => Ok(TextsPreview::default()),
    });
    Ok(looked.await.map_err(|_| IntakeError::Interrupted)??)
}

async fn find<'s>(
    store: Option<&'s Store>,
    definition: &Definition,
    environment: Environment,
) -> Result<Option<(&'s Store, ExistingBatch)>, IntakeError> {
    let Some(store) = store else { return Ok(None) };
    Ok(ExistingBatch::find(store, definition, environment).await?.map(|known| (store, known)))
}

/// The finished lines among the changed ones, at the price of the definition's model; of texts, what is not kept of them.
pub(super) fn rebuy_of(
    definition: &Definition,
    diff: &Diff,
    purchases: Option<&Purchases>,
    rates: &Rates,
) -> Option<Rebuy> {
    let rebuy = match (definition.transcribing(), purchases) {
        (Some(asked), _) => {
            let cost = rates.cost(asked.options.model, diff.rebuy_ms);
            Rebuy { lines: diff.rebuy, amount: Amount::Audio(diff.rebuy_ms), cost }
        }
        (None, Some(found)) => {
            let characters = found.again_characters.values().sum();
            let lines = if characters > 0 { found.again } else { 0 };
            let cost = buying::cost(&found.again_characters, rates);
            Rebuy { lines, amount: Amount::Characters(characters), cost }
        }
        (None, None) => return None,
    };
    (rebuy.lines > 0).then_some(rebuy)
}

fn estimate(definition: &Definition, diff: &Diff, rates: &Rates) -> Estimate {
    let lines = buying::works(diff).saturating_sub(diff.idle);
    let Some(asked) = definition.transcribing() else { return Estimate { lines, ..Estimate::default() } };
    Estimate {
        lines,
        unknown: lines.saturating_sub(diff.known),
        audio_ms: diff.known_ms,
        cost: rates.cost(asked.options.model, diff.known_ms),
        ..Estimate::default()
    }
}

/// Adds what a sample tells of the lines whose length nobody knows: their share of all that have a size.
fn add_guess(estimate: &mut Estimate, guess: Guess, measured: u64, model: SttModel, rates: &Rates) {
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
        cost: rates.cost(model, estimate.audio_ms + audio_ms),
        give_or_take: rates.cost(model, give_or_take_ms),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_speaks_for_the_lines_that_are_not_known() {
        let guess = Guess { audio_ms: 600_000, give_or_take_ms: 60_000, sampled: 100 };
        let mut estimate = Estimate { lines: 6, unknown: 5, audio_ms: 60_000, ..Estimate::default() };
        add_guess(&mut estimate, guess, 10, SttModel::Pulse, &Rates::default());
        assert_eq!((estimate.audio_ms, estimate.give_or_take_ms, estimate.unknown), (360_000, 30_000, 0));
        assert_eq!((estimate.cost, estimate.give_or_take), (MicroUsd(30_000), MicroUsd(2_500)));
        let mut some = Estimate { lines: 20, unknown: 20, ..Estimate::default() };
        add_guess(&mut some, guess, 10, SttModel::Pulse, &Rates::default());
        assert_eq!((some.audio_ms, some.unknown), (600_000, 10), "ten have no size to go by");
    }
}
