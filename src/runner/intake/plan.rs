//! What submitting would do, without doing it.

use std::sync::Arc;

use super::{
    IntakeError, Rebuy,
    known::{Known, good_lines},
    night::{same_night, spec_of},
    reader::Reader,
};
use crate::{
    definition::{Definition, Scan, Spooled},
    domain::{
        batch::{BatchName, BatchSpec},
        cost::{MicroUsd, Rates},
    },
    store::{Diff, Store},
};

/// What submitting would do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the ledger would keep of the definition.
    pub spec: BatchSpec,
    /// The batch's name: an older night's, where the manifest and options are its.
    pub batch: BatchName,
    /// What the reading found: columns, counts, bad lines, what a listing passed over.
    pub scan: Arc<Scan>,
    /// Whether the ledger has the batch.
    pub existed: bool,
    /// The lines against the ledger's; all new where there is no batch.
    pub diff: Diff,
    /// Lines in the ledger that are not in the manifest any more. They stay. Not counted under a limit of lines.
    pub gone: u64,
    /// What would be bought again; submitting is refused until that is said to be wanted.
    pub rebuy: Option<Rebuy>,
    /// Whether what was answered would be delivered again, in other formats or elsewhere.
    pub redelivers: bool,
    /// The lines that would be worked, and their price.
    pub estimate: Estimate,
    /// What the user should know before the start.
    pub notes: Vec<String>,
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
    /// What the rest costs.
    pub cost: MicroUsd,
}

/// Reads the manifest and holds it against the ledger, where there is one. Writes nothing.
///
/// # Errors
/// Faults of the manifest; a batch of that name from another definition, task or world; a ledger that cannot be read.
pub async fn plan(
    store: Option<&Store>,
    definition: &Definition,
    copy: Option<&Spooled>,
    world: &str,
    again: bool,
    rates: &Rates,
) -> Result<Plan, IntakeError> {
    // What is wrong with its name is told before a long manifest is read.
    find(store, definition, world).await?;
    let reader = Reader::start(definition, copy).await?;
    let scan = Arc::clone(&reader.scan);
    let older = match store {
        Some(store) if !again => same_night(store, definition, &scan, world).await?,
        _ => None,
    };
    let definition = older.as_ref().unwrap_or(definition);
    let known = find(store, definition, world).await?;
    let mut diff = Diff { new: scan.lines, idle: scan.without_source, ..Diff::default() };
    let (mut gone, mut rebuy, mut redelivers) = (0, None, false);
    if let Some((store, known)) = &known {
        diff = known.diff(store, &reader).await?;
        if definition.limit.is_none() {
            let met = diff.changed + diff.done + diff.open;
            gone = good_lines(store, &known.row).await?.saturating_sub(met);
        }
        rebuy = Some(rebuy_of(definition, &diff, rates))
            .filter(|rebuy| rebuy.lines > 0 && known.is_redefined(definition, &scan.header));
        redelivers = known.is_presented_anew(definition);
    }
    Ok(Plan {
        spec: spec_of(definition, &scan),
        batch: definition.batch.clone(),
        existed: known.is_some(),
        estimate: estimate(definition, &diff, rates),
        notes: definition.notes(),
        scan,
        diff,
        gone,
        rebuy,
        redelivers,
    })
}

async fn find<'s>(
    store: Option<&'s Store>,
    definition: &Definition,
    world: &str,
) -> Result<Option<(&'s Store, Known)>, IntakeError> {
    let Some(store) = store else { return Ok(None) };
    Ok(Known::find(store, definition, world).await?.map(|known| (store, known)))
}

/// The finished lines among the changed ones, at the price of the definition's model.
pub(super) fn rebuy_of(definition: &Definition, diff: &Diff, rates: &Rates) -> Rebuy {
    let cost = rates.cost(definition.transcribe.model, diff.rebuy_ms);
    Rebuy { lines: diff.rebuy, audio_ms: diff.rebuy_ms, cost }
}

fn estimate(definition: &Definition, diff: &Diff, rates: &Rates) -> Estimate {
    let lines = (diff.new + diff.changed + diff.open).saturating_sub(diff.idle + diff.failed);
    Estimate {
        lines,
        unknown: lines.saturating_sub(diff.known),
        audio_ms: diff.known_ms,
        cost: rates.cost(definition.transcribe.model, diff.known_ms),
    }
}
