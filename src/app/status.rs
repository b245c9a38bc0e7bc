//! The status of a ledger: its batches, its kept answers, and the use of the account's limits.

use super::{
    error::AppError,
    settings::Settings,
    views::{
        AnswersView, BatchView, DifferenceView, FailureView, KeptView, LedgerView, Moment, PauseView, PoolUse,
        ProcessView, Seconds, SpendLimitView, StatusView, SynthesisProgressView, WindowView,
    },
};
use crate::{
    clock::Millis,
    domain::{
        batch::MicroUsd,
        pool::Pool,
        process::{ProcessName, differences},
    },
    store::{BatchRow, KeptAnswers, Life, Registered, Store, SynthesisCounts},
    tasks::Registry,
};

/// The status of a ledger with these batches.
///
/// # Errors
/// The ledger cannot be read.
pub async fn status(store: &Store, settings: &Settings, rows: Vec<BatchRow>) -> Result<StatusView, AppError> {
    let now = store.clock().now();
    let registered = store.registered().await?;
    let dead: Vec<_> =
        registered.iter().filter(|process| process.life == Life::Dead).map(|process| process.id).collect();
    let mut batches = Vec::with_capacity(rows.len());
    for row in rows {
        let id = row.id;
        let mut view = batch((store, &settings.tasks), row, now).await?;
        for process in &dead {
            view.left_behind += store.in_hand(id, *process).await?;
        }
        batches.push(view);
    }
    let mut pools = Vec::new();
    // Pools belong to an account, which is unknown without a key.
    if let Some(account) = settings.account() {
        for pool in Pool::ALL {
            let limits = settings.config.limits_of(*pool).limits;
            pools.push(PoolUse::of(&store.pool(&account, *pool, &limits).await?, limits, now));
        }
    }
    let ledger = LedgerView::of(store.address().to_owned(), store.sizes().await?, answers(store).await?);
    let named = |process: &Registered| {
        let name = ProcessName { host: process.host.clone(), pid: process.pid };
        (name, process.settings.clone())
    };
    let at_work: Vec<_> = registered.iter().filter(|process| process.life == Life::AtWork).map(named).collect();
    let differences = differences(&at_work);
    Ok(StatusView {
        ledger,
        batches,
        pools,
        spend_limits: spend_limits(store, settings).await?,
        processes: registered.into_iter().map(|process| ProcessView::of(process, now)).collect(),
        processes_differ: !differences.is_empty(),
        differing_settings: differences.iter().map(DifferenceView::from).collect(),
        differences,
    })
}

async fn batch((store, tasks): (&Store, &Registry), row: BatchRow, now: Millis) -> Result<BatchView, AppError> {
    let counts = store.counts(row.id).await?;
    let synthesis = match tasks.has_parts(row.task) {
        false => None,
        true => Some(synthesis(&store.synthesis_counts(row.id).await?)),
    };
    let tokens = match tasks.has_replies(row.task) {
        false => None,
        true => Some(store.reply_tokens(row.id).await?),
    };
    let (places, unreadable) = match row.spec.read() {
        Ok(spec) => (Some((spec.manifest.clone(), spec.output.clone())), None),
        Err(fault) => (None, Some(fault.to_owned())),
    };
    let (manifest, outputs) = places.unzip();
    let failures = counts.failures.iter().map(|(state, kind, count, key)| FailureView {
        state: *state,
        kind: kind.clone(),
        count: *count,
        key: key.clone(),
    });
    Ok(BatchView {
        state: row.phase(counts.unfinished(), now),
        window: row.window.map(|(from, until)| WindowView { from: Moment(from), until: Moment(until) }),
        pause: row.pause.map(|(kind, reason)| PauseView { kind, reason, until: row.pause_until.map(Moment) }),
        batch: row.name,
        definition: row.definition,
        task: row.task,
        environment: row.environment,
        manifest,
        outputs,
        unreadable,
        total: counts.total(),
        left_behind: 0,
        failures: failures.collect(),
        audio_seconds: Seconds(counts.audio_ms),
        lines: counts.by_state,
        spent_usd: MicroUsd(row.spent),
        reserved_usd: MicroUsd(row.reserved),
        max_spend_usd: row.max_spend.map(MicroUsd),
        submitted_at: Moment(row.submitted_at),
        started_at: row.started_at.map(Moment),
        finished_at: row.finished_at.map(Moment),
        synthesis,
        tokens,
    })
}

fn synthesis(counts: &SynthesisCounts) -> SynthesisProgressView {
    SynthesisProgressView {
        characters: counts.asked,
        characters_there: counts.there(),
        parts: counts.parts,
        reused_parts: counts.reused_parts,
    }
}

/// The kept answers of a ledger, and which of them can be removed.
///
/// # Errors
/// The ledger cannot be read.
pub async fn answers(store: &Store) -> Result<AnswersView, AppError> {
    let batches = store.batches().await?;
    let until = |kept: &KeptAnswers| batches.iter().find(|row| row.id == kept.batch).and_then(kept_until);
    let kept = store.kept_by_batch().await?.into_iter();
    let kept = kept.map(|kept| (until(&kept), KeptView { count: kept.answers, bytes: kept.bytes }));
    Ok(AnswersView::of(kept, store.clock().now()))
}

/// When the answers of a batch can be removed, in ms since 1970; `None` as long as it is not finished.
#[must_use]
pub fn kept_until(row: &BatchRow) -> Option<Millis> {
    // Unknown if the specification cannot be read.
    let keep = i64::try_from(row.spec.read().ok()?.run.keep_answers.as_millis()).unwrap_or(i64::MAX);
    row.finished_at.map(|at| at.saturating_add(keep))
}

/// The committed amount of each spend limit that is set. Without a key, all accounts of the ledger count.
///
/// # Errors
/// The ledger cannot be read.
pub async fn spend_limits(store: &Store, settings: &Settings) -> Result<Vec<SpendLimitView>, AppError> {
    let Some(rule) = &settings.config.spend else { return Ok(Vec::new()) };
    let uses = store.spend_uses(settings.account().as_deref(), settings.environment, rule).await?;
    Ok(uses.iter().map(|one| SpendLimitView::of(one, rule)).collect())
}
