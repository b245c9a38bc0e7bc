//! A batch's summary, counted in the ledger.

use std::collections::BTreeMap;

use super::{
    lines::status,
    summary::{
        FORMAT, Failures, LedgerRef, RunFigures, Spend, SpendReason, Summary, SummaryState, Suspects, SynthesisSummary,
    },
};
use crate::{
    domain::{
        batch::BatchSpec,
        call::ErrorKind,
        chat::Usage,
        cost::{MicroUsd, Rates},
        job::{BatchId, JobState, Why},
        row::Note,
        task::Task,
    },
    store::{Counts, Spending, Store, StoreError},
};

/// The summary of a batch. Uses only short queries, and reads no page of lines.
///
/// # Errors
/// The ledger cannot be read, or has no such batch.
pub async fn summarize(
    store: &Store,
    batch: BatchId,
    of: (&BatchSpec, &dyn Task),
    state: SummaryState,
    rates: &Rates,
) -> Result<Summary, StoreError> {
    let row = store.batch_by_id(batch).await?;
    let counts = store.counts(batch).await?;
    let spending = store.spending(batch).await?;
    let mut summary = blank(store, &row.name, of, state, rates);
    summary.ledger.newest_call = store.newest_call(batch).await?.map(|call| call.to_string());
    summary.pause_reason = row.pause.map(|(_, reason)| reason);
    summary.started_at = row.started_at;
    summary.finished_at = row.finished_at;
    summary.lines = counts.by_state.iter().map(|(state, count)| (status(*state), *count)).collect();
    summary.notes = notes(store.note_counts(batch).await?);
    summary.audio_seconds = counts.audio_ms as f64 / 1_000.0;
    if summary.synthesis.is_some() {
        let spoken = store.synthesis_counts(batch).await?;
        summary.synthesis =
            Some(SynthesisSummary { characters: spoken.done, parts: spoken.parts, reused_parts: spoken.reused_parts });
    }
    if summary.tokens.is_some() {
        summary.tokens = Some(store.reply_tokens(batch).await?);
    }
    summary.calls = spending.iter().map(|s| s.calls).sum();
    summary.billed_calls = spending.iter().map(|s| s.billed).sum();
    summary.spend = spend(&spending);
    failures(store, batch, counts, &mut summary).await?;
    Ok(summary)
}

/// The summary of a batch that has no lines yet.
#[must_use]
pub fn blank(
    store: &Store,
    batch: &str,
    (spec, task): (&BatchSpec, &dyn Task),
    state: SummaryState,
    rates: &Rates,
) -> Summary {
    let ledger = LedgerRef { id: store.id().to_owned(), path: store.address().to_owned(), newest_call: None };
    Summary {
        format: FORMAT,
        wavebatch: env!("CARGO_PKG_VERSION").to_owned(),
        batch: batch.to_owned(),
        definition: Some(spec.definition.clone()),
        ledger,
        outputs: spec.output.clone(),
        report: spec.report_address(),
        state,
        pause_reason: None,
        started_at: None,
        finished_at: None,
        lines: BTreeMap::new(),
        failures: Vec::new(),
        suspects: Vec::new(),
        notes: BTreeMap::new(),
        audio_seconds: 0.0,
        synthesis: task.has_parts().then(SynthesisSummary::default),
        tokens: task.has_replies().then(Usage::default),
        calls: 0,
        billed_calls: 0,
        spend: Spend::default(),
        this_run: None,
        rates: rates.clone(),
    }
}

/// The lines with each note. Notes that make a line suspect are among the reasons.
fn notes(joined: Vec<(String, u64)>) -> BTreeMap<Note, u64> {
    let mut notes = BTreeMap::new();
    for (text, count) in joined {
        for note in text.split(';').filter_map(|note| note.parse::<Note>().ok()) {
            *notes.entry(note).or_default() += count;
        }
    }
    notes
}

/// What all calls of a batch were so far, to tell what a run adds to it.
///
/// # Errors
/// The ledger cannot be read.
pub async fn figures_so_far(store: &Store, batch: BatchId) -> Result<RunFigures, StoreError> {
    let spending = store.spending(batch).await?;
    Ok(RunFigures {
        took_ms: 0,
        calls: spending.iter().map(|s| s.calls).sum(),
        billed_calls: spending.iter().map(|s| s.billed).sum(),
        spend_usd: MicroUsd(spending.iter().map(|s| s.cost).sum()),
    })
}

fn spend(spending: &[Spending]) -> Spend {
    let mut spend = Spend::default();
    for one in spending.iter().filter(|one| one.cost != 0) {
        let cost = MicroUsd(one.cost);
        let reason = match one.why {
            Why::First => SpendReason::FirstCall,
            Why::Unknown => SpendReason::AfterUnknown,
            Why::Retry => SpendReason::Retry,
        };
        let add = |sum: &mut MicroUsd| *sum = sum.saturating_add(cost);
        add(&mut spend.total_usd);
        add(spend.by_model.entry(one.model.clone()).or_default());
        add(spend.by_reason.entry(reason).or_default());
    }
    spend
}

async fn failures(store: &Store, batch: BatchId, counts: Counts, summary: &mut Summary) -> Result<(), StoreError> {
    let unexpected = |kind: &str| StoreError::Unexpected(format!("error_kind = {kind}"));
    for (state, kind, count, key) in counts.failures {
        if state == JobState::Failed {
            let known: ErrorKind = kind.parse().map_err(|_| unexpected(&kind))?;
            let error = store.error_of(batch, &key, known).await?.unwrap_or_default();
            summary.failures.push(Failures { kind: known, count, key, error });
        } else if let Ok(reason) = kind.parse() {
            summary.suspects.push(Suspects { reason, count, key });
        }
    }
    Ok(())
}
