//! `wavebatch status`

use clap::Args;

use super::{
    context::{Context, LedgerFlags},
    error::{CliError, Exit},
    kept, spend_limits,
    words::{Money, bytes, clock, command, counted, duration, grouped, moment, printable, table, token_words},
};
use crate::{
    app::{
        status,
        views::{BatchView, PoolUse, ProcessState, ProcessView, StatusView, SynthesisProgressView},
    },
    domain::{
        environment::{LedgerChoice, NamedLedger},
        job::JobState,
        process::differences_in_words,
    },
    store::BatchPhase,
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

impl Status {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let (store, settings) = context.ledger(self.ledger.sandbox).await?;
        let rows = match &self.batch {
            Some(name) => vec![context.batch_in(&store, name).await?],
            None => store.batches().await?,
        };
        let view = status(&store, &settings, rows).await?;
        let (screen, choice) = (&context.screen, context.choice());
        if self.json {
            screen.view(&view)?;
        } else if let ([batch], Some(_)) = (view.batches.as_slice(), &self.batch) {
            let rest = rest(&view, (&choice, settings.environment), screen.result_width());
            screen.result(&(one(batch, money(&view), &choice) + &rest))?;
        } else if view.batches.is_empty() {
            screen.message(&format!("{} has no batches yet", view.ledger.path));
        } else {
            let width = screen.result_width();
            screen.result(&(list(&view, width) + "\n" + &rest(&view, (&choice, settings.environment), width)))?;
        }
        if view.processes_differ {
            screen.warn(&differences_in_words(&view.differences));
        }
        store.close().await;
        Ok(Exit::Success)
    }
}

/// How the amounts are written.
fn money(view: &StatusView) -> Money {
    let batches = view.batches.iter().flat_map(|batch| [batch.spent_usd.0, batch.reserved_usd.0]);
    Money::of(batches.chain(spend_limits::amounts(&view.spend_limits)))
}

/// The text below the batches.
fn rest(view: &StatusView, named: NamedLedger<'_>, width: usize) -> String {
    let ledger = &view.ledger;
    // Much of a ledger at work is still in its write-ahead log.
    let mut out = format!("ledger {}, {}", ledger.path, bytes(ledger.bytes.saturating_add(ledger.wal_bytes)));
    if ledger.free_bytes > ledger.bytes / 10 && ledger.free_bytes <= ledger.bytes {
        out.push_str(&format!(" ({} of it free)", bytes(ledger.free_bytes)));
    }
    if ledger.spool_bytes > 0 {
        out.push_str(&format!(", spool {}", bytes(ledger.spool_bytes)));
    }
    out.push('\n');
    out.push_str(&kept::words(&ledger.answers, named));
    out.push_str(&spend_limits::words(&view.spend_limits, money(view)));
    for used in &view.pools {
        if let Some(words) = pool(used) {
            out.push_str(&format!("pool {} {words}\n", used.pool));
        }
    }
    out.push_str(&processes(&view.processes, width));
    out
}

/// The processes, and what they hold.
fn processes(processes: &[ProcessView], width: usize) -> String {
    if processes.is_empty() {
        return String::new();
    }
    let mut out = "\n".to_owned();
    let whole = processes_with(processes, true, width);
    // On a narrow screen the version is left out before something is cut off.
    let is_cut = whole.lines().any(|line| line.ends_with('…'));
    out.push_str(&if is_cut { processes_with(processes, false, width) } else { whole });
    match processes.iter().filter(|process| process.state == ProcessState::Died).count() {
        0 => {}
        1 => out.push_str("The next process at work goes on with the lines of the one that died.\n"),
        _ => out.push_str("The next process at work goes on with the lines of those that died.\n"),
    }
    out
}

fn processes_with(processes: &[ProcessView], with_version: bool, width: usize) -> String {
    let row = |process: &ProcessView| {
        let state = match process.state {
            ProcessState::AtWork => "at work",
            ProcessState::Silent => "silent",
            ProcessState::Died => "died",
        };
        let calls: Vec<_> = process.calls_in_flight.iter().map(|(pool, calls)| format!("{calls} {pool}")).collect();
        let mut cells = vec![
            process.pid.to_string(),
            state.to_owned(),
            match process.beat_age_seconds.0 / 1_000 {
                0 => "now".to_owned(),
                seconds => format!("{} ago", duration(seconds * 1_000)),
            },
            grouped(process.lines),
            if calls.is_empty() { "-".to_owned() } else { calls.join(", ") },
            process.host.clone(),
        ];
        if with_version {
            cells.insert(2, process.version.clone());
        }
        cells
    };
    let rows: Vec<_> = processes.iter().map(row).collect();
    let mut header = vec!["process", "state", "beat", "lines", "in flight", "host"];
    if with_version {
        header.insert(2, "version");
    }
    let is_right = |at: &usize| ["process", "beat", "lines"].contains(&header[*at]);
    let right: Vec<usize> = (0..header.len()).filter(is_right).collect();
    table(&header, &rows, &right, width)
}

/// Why a pool is held back, if it is.
fn pool(used: &PoolUse) -> Option<String> {
    let mut words = Vec::new();
    if let Some(since) = used.outage_since {
        words.push(format!("out of reach since {}; next probe {}", clock(since.0), clock(used.probe_at.0)));
    }
    if let Some(until) = used.cooldown_until {
        words.push(format!("told to wait until {}", clock(until.0)));
    }
    let (slowed, limits) = (used.effective, used.limits);
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

/// The state as text, with the reason of a pause.
fn state(batch: &BatchView) -> String {
    match &batch.pause {
        Some(pause) if batch.state == BatchPhase::Paused => format!("paused ({})", pause.kind),
        _ => batch.state.to_string(),
    }
}

fn list(view: &StatusView, width: usize) -> String {
    let whole = list_of(view, &[JobState::Failed, JobState::Suspect], width);
    // On a narrow screen what is nowhere is left out before what is somewhere is cut off.
    if whole.lines().any(|line| line.ends_with('…')) { list_of(view, &[], width) } else { whole }
}

/// The list with these states, and with others of which a batch has lines.
fn list_of(view: &StatusView, always: &[JobState], width: usize) -> String {
    let (batches, money) = (&view.batches, money(view));
    let of = |batch: &BatchView, state| batch.lines.get(&state).copied().unwrap_or(0);
    let is_shown = |state: &JobState| always.contains(state) || batches.iter().any(|batch| of(batch, *state) > 0);
    let bad = [JobState::Failed, JobState::Suspect, JobState::Cancelled];
    let states: Vec<JobState> =
        std::iter::once(JobState::Succeeded).chain(bad.into_iter().filter(|state| is_shown(state))).collect();
    let row = |batch: &BatchView| {
        let counts = states.iter().map(|state| grouped(of(batch, *state)));
        [batch.batch.clone(), state(batch), grouped(batch.total)]
            .into_iter()
            .chain(counts)
            .chain([
                grouped(batch.unfinished()),
                duration(batch.audio_seconds.0),
                money.words(batch.spent_usd.0),
                moment(batch.finished_at.or(batch.started_at).unwrap_or(batch.submitted_at).0),
            ])
            .collect()
    };
    let rows: Vec<Vec<String>> = batches.iter().map(row).collect();
    let header: Vec<&str> = ["batch", "state", "lines"]
        .into_iter()
        .chain(states.iter().map(|state| state.as_str()))
        .chain(["left", "audio", "spend", "last"])
        .collect();
    let right: Vec<usize> = (2..header.len() - 1).collect();
    table(&header, &rows, &right, width)
}

fn one(batch: &BatchView, money: Money, choice: &LedgerChoice) -> String {
    let mut out = format!("{}: {}\n", batch.batch, state(batch));
    let mut fact = |name: &str, value: String| out.push_str(&format!("  {name:<10} {value}\n"));
    if batch.state == BatchPhase::CutOff {
        fact("reason", "its submission was cut off: lines are missing, and it is not worked; submit it again".into());
    }
    if let Some(pause) = &batch.pause {
        fact("reason", printable(&pause.reason).into_owned());
        let of_batch = |words: &[&str]| format!("`{}`", command((choice, batch.environment), words));
        let again = of_batch(&["work", "--batch", &batch.batch]);
        fact("to go on", pause.kind.remedy(&again, &of_batch(&["resume", &batch.batch])));
    } else if let Some(fault) = &batch.unreadable {
        fact("reason", format!("its specification does not read ({})", printable(fault)));
    }
    let alive = |state: &JobState, n: u64| match state {
        JobState::Running => n.saturating_sub(batch.left_behind),
        _ => n,
    };
    let by_state = batch.lines.iter().map(|(state, n)| (alive(state, *n), state.as_str()));
    let by_state: Vec<_> = by_state
        .chain([(batch.left_behind, "left by a process that died")])
        .filter(|(n, _)| *n > 0)
        .map(|(n, state)| format!("{} {state}", grouped(n)))
        .collect();
    let what = if batch.synthesis.is_some() { "jobs" } else { "lines" };
    fact(what, format!("{}: {}", grouped(batch.total), by_state.join(", ")));
    match &batch.tokens {
        // An analysis does not say what it used.
        Some(tokens) if tokens.is_none() => {}
        Some(tokens) => fact("tokens", token_words(tokens)),
        None => fact("audio", duration(batch.audio_seconds.0)),
    }
    batch.synthesis.iter().for_each(|synthesis| fact("speech", synthesis_words(synthesis)));
    let limit = batch.max_spend_usd.map(|max| format!(" of at most {}", money.words(max.0))).unwrap_or_default();
    let reserved = match batch.reserved_usd.0 {
        reserved @ 1.. => format!(", {} more in flight", money.words(reserved)),
        _ => String::new(),
    };
    fact("spend", format!("{}{limit}{reserved}, at list price", money.words(batch.spent_usd.0)));
    for (name, place) in [("manifest", &batch.manifest), ("outputs", &batch.outputs)] {
        place.iter().for_each(|place| fact(name, place.clone()));
    }
    if let Some(window) = batch.window.filter(|_| batch.finished_at.is_none()) {
        let (from, until) = (moment(window.from.0), moment(window.until.0));
        fact("window", format!("{from} to {until}; a service begins no call outside it"));
    }
    fact("submitted", moment(batch.submitted_at.0));
    batch.started_at.into_iter().for_each(|at| fact("started", moment(at.0)));
    batch.finished_at.into_iter().for_each(|at| fact("finished", moment(at.0)));
    out.push_str(&failures(batch, (choice, batch.environment)));
    out.push('\n');
    out
}

/// The failures and their remedies.
fn failures(batch: &BatchView, ledger: NamedLedger<'_>) -> String {
    if batch.failures.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = batch
        .failures
        .iter()
        .map(|one| vec![grouped(one.count), one.state.to_string(), one.kind.clone(), format!("e.g. {}", one.key)])
        .collect();
    let message = table(&["", "state", "kind", ""], &rows, &[0], usize::MAX);
    let jobs = command(ledger, &["jobs", &batch.batch, "--state", "failed"]);
    let retry = command(ledger, &["retry", &batch.batch]);
    format!("\n{message}-> {jobs}  tells each; {retry}  tries them again\n")
}

/// `5,012 of 200,412 characters; 25 parts, 3 of them there already`
fn synthesis_words(synthesis: &SynthesisProgressView) -> String {
    let mut words =
        format!("{} of {}", grouped(synthesis.characters_there), counted(synthesis.characters, "character"));
    if synthesis.parts > 0 {
        words.push_str(&format!("; {}", counted(synthesis.parts, "part")));
    }
    if synthesis.reused_parts > 0 {
        words.push_str(&format!(", {} of them there already", grouped(synthesis.reused_parts)));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::pool::{Limits, Pool, PoolState, Traffic},
        store::PoolView,
    };

    fn used(state: PoolState, limits: Limits) -> PoolUse {
        PoolUse::of(
            &PoolView { account: "a".into(), pool: Pool::Pulse, state, traffic: Traffic::default() },
            limits,
            100,
        )
    }

    #[test]
    fn a_pool_is_told_only_when_something_holds_it_back() {
        let limits = Limits { requests_per_minute: Some(25), concurrency: None };
        assert_eq!(pool(&used(PoolState::default(), limits)), None);
        let slowed = PoolState {
            factor: 0.7,
            stepped_at: 100,
            limited_at: 100,
            base_in_flight: Some(10),
            ..PoolState::default()
        };
        assert_eq!(
            pool(&used(slowed, limits)).unwrap(),
            "slowed by 429s to 17 requests/min (of 25); slowed by 429s to 7 in flight (of no limit)"
        );
    }

    #[test]
    fn speech_is_told_in_characters_and_parts() {
        let synthesis =
            SynthesisProgressView { characters: 200_412, characters_there: 5_012, parts: 25, reused_parts: 3 };
        assert_eq!(synthesis_words(&synthesis), "5,012 of 200,412 characters; 25 parts, 3 of them there already");
        let one = SynthesisProgressView { characters: 1, characters_there: 0, parts: 0, reused_parts: 0 };
        assert_eq!(synthesis_words(&one), "0 of 1 character");
    }
}
