//! `wavebatch status`

use clap::Args;
use serde_json::{Value, json};

use super::{
    context::{Context, LedgerFlags},
    error::{CliError, Exit},
    kept::PrunableAnswers,
    spend_limits::SpendLimits,
    words::{bytes, clock, counted, dollars, duration, grouped, moment, rfc3339, shell, table},
};
use crate::{
    app::Settings,
    domain::{
        batch::{BatchSpec, MicroUsd},
        job::JobState,
        pool::{Limits, Pool},
    },
    store::{BatchPhase, BatchRow, Counts, LedgerSizes, PoolView, Store, SynthesisCounts},
};

/// Show all batches, or how one stands
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  wavebatch status\n  wavebatch status support-calls --json")]
pub struct Status {
    /// Only this batch, in full
    #[arg(value_name = "BATCH")]
    batch: Option<String>,
    #[command(flatten)]
    ledger: LedgerFlags,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A batch and how far it is.
struct BatchView {
    row: BatchRow,
    counts: Counts,
    /// Where it speaks.
    phase: BatchPhase,
    synthesis: Option<SynthesisCounts>,
}

/// Everything there is to show.
struct StatusView {
    ledger: String,
    sizes: LedgerSizes,
    kept: PrunableAnswers,
    batches: Vec<BatchView>,
    pools: Vec<(PoolView, Limits)>,
    spend_limits: SpendLimits,
    processes: Vec<(i64, String)>,
    now: i64,
}

impl Status {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let (store, settings) = context.ledger(self.ledger.sandbox).await?;
        let rows = match &self.batch {
            Some(name) => vec![context.batch_in(&store, name).await?],
            None => store.batches().await?,
        };
        let seen = StatusView::look(&store, &settings, rows).await?;
        let screen = &context.screen;
        if self.json {
            screen.json(&format!("{:#}", seen.in_json()))?;
        } else if let ([batch], Some(_)) = (seen.batches.as_slice(), &self.batch) {
            screen.result(&(one(batch) + &seen.rest()))?;
        } else if seen.batches.is_empty() {
            screen.message(&format!("{} has no batches yet", seen.ledger));
        } else {
            screen.result(&(list(&seen.batches, screen.result_width()) + "\n" + &seen.rest()))?;
        }
        if let Some(warning) = seen.differing() {
            screen.warn(&warning);
        }
        store.close().await;
        Ok(Exit::Success)
    }
}

impl StatusView {
    async fn look(store: &Store, settings: &Settings, rows: Vec<BatchRow>) -> Result<Self, CliError> {
        let mut batches = Vec::with_capacity(rows.len());
        for row in rows {
            let counts = store.counts(row.id).await?;
            let synthesis = match settings.tasks.has_parts(row.task) {
                false => None,
                true => Some(store.synthesis_counts(row.id).await?),
            };
            let phase = row.phase(counts.unfinished(), store.clock().now());
            batches.push(BatchView { row, counts, phase, synthesis });
        }
        let mut pools = Vec::new();
        // Pools belong to an account; without a key it is not known which.
        let account = settings.account();
        for pool in Pool::ALL {
            let limits = settings.config.limits_of(*pool).limits;
            if let Some(account) = &account {
                pools.push((store.pool(account, *pool, &limits).await?, limits));
            }
        }
        Ok(Self {
            ledger: store.path().display().to_string(),
            sizes: store.sizes().await?,
            kept: PrunableAnswers::look(store).await?,
            batches,
            pools,
            spend_limits: SpendLimits::look(store, settings).await?,
            processes: store.live_settings().await?,
            now: store.clock().now(),
        })
    }

    fn rest(&self) -> String {
        let mut out = format!("ledger {}, {}", self.ledger, bytes(self.sizes.file));
        if self.sizes.free > self.sizes.file / 10 && self.sizes.free <= self.sizes.file {
            out.push_str(&format!(" ({} of it free)", bytes(self.sizes.free)));
        }
        for (size, what) in [(self.sizes.wal, "write-ahead log"), (self.sizes.spool, "spool")] {
            if size > 0 {
                out.push_str(&format!(", {what} {}", bytes(size)));
            }
        }
        out.push('\n');
        out.push_str(&self.kept.words());
        out.push_str(&self.spend_limits.words());
        for (view, limits) in &self.pools {
            if let Some(words) = pool(view, limits, self.now) {
                out.push_str(&format!("pool {} {words}\n", view.pool));
            }
        }
        if !self.processes.is_empty() {
            let pids: Vec<_> = self.processes.iter().map(|(pid, _)| pid.to_string()).collect();
            out.push_str(&format!("at work: process {}\n", pids.join(", ")));
        }
        out
    }

    fn differing(&self) -> Option<String> {
        let (first, rest) = self.processes.split_first()?;
        let other = rest.iter().find(|(_, settings)| *settings != first.1)?;
        Some(format!(
            "processes {} and {} work with different limits, and the higher ones win; start them with the same wavebatch.toml",
            first.0, other.0
        ))
    }

    fn in_json(&self) -> Value {
        let pools = self.pools.iter().map(|(view, limits)| {
            let effective = view.state.effective(limits, self.now);
            json!({
                "pool": view.pool,
                "limits": limits,
                "effective": effective,
                "in_flight": view.traffic.in_flight,
                "calls_in_last_minute": view.traffic.in_window,
                "cooldown_until": Some(view.state.cooldown_until).filter(|at| *at > self.now).and_then(rfc3339),
                "outage_since": view.state.outage_since.and_then(rfc3339),
            })
        });
        json!({
            "ledger": {
                "path": self.ledger,
                "bytes": self.sizes.file,
                "free_bytes": self.sizes.free,
                "wal_bytes": self.sizes.wal,
                "spool_bytes": self.sizes.spool,
                "answers": self.kept.in_json(),
            },
            "batches": self.batches.iter().map(batch_in_json).collect::<Vec<_>>(),
            "pools": pools.collect::<Vec<_>>(),
            "spend_limits": self.spend_limits.in_json(),
            "processes": self.processes.iter().map(|(pid, _)| *pid).collect::<Vec<_>>(),
            "processes_differ": self.differing().is_some(),
        })
    }
}

/// What holds a pool back, if something does.
fn pool(view: &PoolView, limits: &Limits, now: i64) -> Option<String> {
    let state = &view.state;
    let mut words = Vec::new();
    if let Some(since) = state.outage_since {
        words.push(format!("out of reach since {}; next probe {}", clock(since), clock(state.probe_at)));
    }
    if state.cooldown_until > now {
        words.push(format!("told to wait until {}", clock(state.cooldown_until)));
    }
    let slowed = state.effective(limits, now);
    for (now, set, unit) in [
        (slowed.requests_per_minute, limits.requests_per_minute, "requests/min"),
        (slowed.concurrency, limits.concurrency, "in flight"),
    ] {
        if let Some(now) = now.filter(|now| Some(*now) != set) {
            let set = set.map_or_else(|| "no limit".into(), |set| set.to_string());
            words.push(format!("slowed by 429s to {now} {unit} (of {set})"));
        }
    }
    (!words.is_empty()).then(|| words.join("; "))
}

/// As it is shown: with the reason of a pause.
fn state(row: &BatchRow, phase: BatchPhase) -> String {
    match (&row.pause, phase) {
        (Some((kind, _)), BatchPhase::Paused) => format!("paused ({kind})"),
        (_, phase) => phase.to_string(),
    }
}

fn list(batches: &[BatchView], width: usize) -> String {
    let rows: Vec<_> = batches
        .iter()
        .map(|BatchView { row, counts, phase, .. }| {
            vec![
                row.name.clone(),
                state(row, *phase),
                grouped(counts.total()),
                grouped(counts.of(JobState::Succeeded)),
                grouped(counts.of(JobState::Failed)),
                grouped(counts.of(JobState::Suspect)),
                grouped(counts.unfinished()),
                duration(counts.audio_ms),
                dollars(row.spent),
                moment(row.finished_at.or(row.started_at).unwrap_or(row.submitted_at)),
            ]
        })
        .collect();
    let header = ["batch", "state", "lines", "succeeded", "failed", "suspect", "left", "audio", "spend", "last"];
    table(&header, &rows, &[2, 3, 4, 5, 6, 7, 8], width)
}

fn one(BatchView { row, counts, phase, synthesis }: &BatchView) -> String {
    let mut out = format!("{}: {}\n", row.name, state(row, *phase));
    let mut fact = |name: &str, value: String| out.push_str(&format!("  {name:<10} {value}\n"));
    if *phase == BatchPhase::CutOff {
        fact("reason", "its submission was cut off: lines are missing, and it is not worked; submit it again".into());
    }
    if let Some((_, reason)) = &row.pause {
        fact("reason", super::words::printable(reason).into_owned());
    }
    let by_state: Vec<_> =
        counts.by_state.iter().filter(|(_, n)| **n > 0).map(|(state, n)| format!("{} {state}", grouped(*n))).collect();
    let what = if synthesis.is_some() { "jobs" } else { "lines" };
    fact(what, format!("{}: {}", grouped(counts.total()), by_state.join(", ")));
    fact("audio", duration(counts.audio_ms));
    synthesis.iter().for_each(|synthesis| fact("speech", synthesis_words(synthesis)));
    let limit = row.max_spend.map(|max| format!(" of at most {}", dollars(max))).unwrap_or_default();
    let reserved = if row.reserved > 0 { format!(", {} more in flight", dollars(row.reserved)) } else { String::new() };
    fact("spend", format!("{}{limit}{reserved}, at list price", dollars(row.spent)));
    if let Ok(spec) = serde_json::from_str::<BatchSpec>(&row.spec) {
        fact("manifest", spec.manifest);
        fact("outputs", spec.output);
    }
    if let Some((from, until)) = row.window.filter(|_| row.finished_at.is_none()) {
        fact("window", format!("{} to {}; a service begins no call outside it", moment(from), moment(until)));
    }
    fact("submitted", moment(row.submitted_at));
    row.started_at.into_iter().for_each(|at| fact("started", moment(at)));
    row.finished_at.into_iter().for_each(|at| fact("finished", moment(at)));
    if !counts.failures.is_empty() {
        out.push('\n');
        let rows = counts
            .failures
            .iter()
            .map(|(s, kind, n, key)| vec![grouped(*n), s.to_string(), kind.clone(), format!("e.g. {key}")]);
        out.push_str(&table(&["", "state", "kind", ""], &rows.collect::<Vec<_>>(), &[0], usize::MAX));
        let name = shell(&row.name);
        out.push_str(&format!(
            "-> wavebatch jobs {name} --state failed  tells each; wavebatch retry {name}  tries them again\n"
        ));
    }
    out.push('\n');
    out
}

/// `5,012 of 200,412 characters; 25 parts, 3 of them there already`
fn synthesis_words(synthesis: &SynthesisCounts) -> String {
    let mut words = format!("{} of {}", grouped(synthesis.there()), counted(synthesis.asked, "character"));
    if synthesis.parts > 0 {
        words.push_str(&format!("; {}", counted(synthesis.parts, "part")));
    }
    if synthesis.reused_parts > 0 {
        words.push_str(&format!(", {} of them there already", grouped(synthesis.reused_parts)));
    }
    words
}

fn batch_in_json(BatchView { row, counts, phase, synthesis }: &BatchView) -> Value {
    let spec = serde_json::from_str::<BatchSpec>(&row.spec).ok();
    let mut json = json!({
        "batch": row.name,
        "definition": row.definition,
        "task": row.task,
        "environment": row.environment,
        "window": row.window.map(|(from, until)| json!({ "from": rfc3339(from), "until": rfc3339(until) })),
        "state": phase,
        "pause": row.pause.as_ref().map(|(kind, reason)| {
            json!({ "kind": kind, "reason": reason, "until": row.pause_until.and_then(rfc3339) })
        }),
        "manifest": spec.as_ref().map(|spec| &spec.manifest),
        "outputs": spec.as_ref().map(|spec| &spec.output),
        "lines": counts.by_state.iter().map(|(state, n)| (state.to_string(), json!(n))).collect::<serde_json::Map<_, _>>(),
        "total": counts.total(),
        "failures": counts.failures.iter().map(|(state, kind, n, key)| {
            json!({ "state": state, "kind": kind, "count": n, "key": key })
        }).collect::<Vec<_>>(),
        "audio_seconds": counts.audio_ms as f64 / 1_000.0,
        "spent_usd": MicroUsd(row.spent),
        "reserved_usd": MicroUsd(row.reserved),
        "max_spend_usd": row.max_spend.map(MicroUsd),
        "submitted_at": rfc3339(row.submitted_at),
        "started_at": row.started_at.and_then(rfc3339),
        "finished_at": row.finished_at.and_then(rfc3339),
    });
    if let Some(synthesis) = synthesis {
        json["synthesis"] = json!({
            "characters": synthesis.asked,
            "characters_there": synthesis.there(),
            "parts": synthesis.parts,
            "reused_parts": synthesis.reused_parts,
        });
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pool::{PoolState, Traffic};

    fn view(state: PoolState) -> PoolView {
        PoolView { account: "a".into(), pool: Pool::Pulse, state, traffic: Traffic::default() }
    }

    #[test]
    fn a_pool_is_told_only_when_something_holds_it_back() {
        let limits = Limits { requests_per_minute: Some(25), concurrency: None };
        assert_eq!(pool(&view(PoolState::default()), &limits, 100), None);
        let slowed = PoolState {
            factor: 0.7,
            stepped_at: 100,
            limited_at: 100,
            base_in_flight: Some(10),
            ..PoolState::default()
        };
        assert_eq!(
            pool(&view(slowed), &limits, 100).unwrap(),
            "slowed by 429s to 17 requests/min (of 25); slowed by 429s to 7 in flight (of no limit)"
        );
    }

    #[test]
    fn speech_is_told_in_characters_and_parts() {
        let synthesis =
            SynthesisCounts { asked: 200_412, done: 5_000, left: 195_412, at_work: 12, parts: 25, reused_parts: 3 };
        assert_eq!(synthesis_words(&synthesis), "5,012 of 200,412 characters; 25 parts, 3 of them there already");
        assert_eq!(synthesis_words(&SynthesisCounts { asked: 1, ..SynthesisCounts::default() }), "0 of 1 character");
    }

    #[test]
    fn differing_settings_are_told() {
        let mut seen = StatusView {
            ledger: "/l.db".into(),
            sizes: LedgerSizes::default(),
            kept: PrunableAnswers::default(),
            batches: vec![],
            pools: vec![],
            spend_limits: SpendLimits::default(),
            processes: vec![(1, "a".into()), (2, "a".into())],
            now: 0,
        };
        assert_eq!(seen.differing(), None);
        seen.processes.push((3, "b".into()));
        assert!(seen.differing().unwrap().starts_with("processes 1 and 3 work with different limits"));
    }
}
