//! One run: from the definition's file to a batch in the ledger.

use std::{error::Error, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::{SchedulerState, Scheduling, folder::Planned, moment};
use crate::{
    clock::Millis,
    definition::{Definition, Fault, Faults, Overrides},
    domain::{
        causes::in_words,
        environment::Environment,
        schedule::{MAX_MISSED, Missed},
    },
    report::words::command,
    runner::intake::{self, CopyPlace, IntakeError, ManifestCopy, Submission, SubmitOptions, Upstreams},
    store::{StoreError, TakenRun},
};

/// The wait after the first failure of a run, in ms. It doubles with each failure, up to the longest.
const FIRST_WAIT: Millis = 60_000;
const LONGEST_WAIT: Millis = 15 * 60_000;
/// The interval between checks of a run that waits, in ms.
const LOOK_AGAIN: Millis = 60_000;

/// The result of a try.
enum Tried {
    Started(Box<Submission>),
    Failed { batch: Option<String>, why: String, hint: Option<String> },
    Waits(String),
    Dropped(String),
}

impl Tried {
    fn failed(batch: Option<String>, error: &(dyn Error + 'static), hint: Option<&str>) -> Self {
        Self::Failed { batch, why: in_words(error), hint: hint.map(str::to_owned) }
    }
}

/// Starts a run that this process has taken, and holds its lease meanwhile. On `stop` it gives the lease back: the
/// run is due again, and the next submission completes a half-submitted batch.
pub(super) async fn start(
    shared: Arc<SchedulerState>,
    planned: Planned,
    run: TakenRun,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    let tried = tokio::select! {
        biased;
        () = stop.cancelled() => {
            shared.store.give_run_back(&run).await?;
            return Ok(());
        }
        lost = hold(&shared, &run) => return lost,
        tried = attempt(&shared, &planned, &run) => tried,
    };
    match tried {
        Ok(tried) => conclude(&shared, &run, tried).await,
        Err(e) => Err(e),
    }
}

/// Renews the lease until another process has it.
async fn hold(shared: &SchedulerState, run: &TakenRun) -> Result<(), StoreError> {
    let beat = Duration::from_millis(u64::try_from(shared.store.timing().beat_ms).unwrap_or(1_000));
    loop {
        tokio::time::sleep(beat).await;
        if !shared.store.renew_run(run).await? {
            return Ok(());
        }
    }
}

async fn attempt(shared: &SchedulerState, planned: &Planned, run: &TakenRun) -> Result<Tried, StoreError> {
    if let Some(why) = over(shared, planned, run) {
        return Ok(Tried::Dropped(why));
    }
    let definition = match load(shared, planned, run).await {
        Ok(definition) => definition,
        Err(faults) => {
            let batch = planned.table.batch(run.date).ok().map(|name| name.as_str().to_owned());
            return Ok(Tried::failed(batch, &faults, None));
        }
    };
    if definition.name != run.definition {
        return Ok(Tried::Waits(format!("{} was changed just now", planned.file.display())));
    }
    let name = definition.batch.as_str().to_owned();
    if let Some(why) = waits(shared, planned, run, &definition).await? {
        return Ok(Tried::Waits(why));
    }
    shared.store.run_begins(run, &name).await?;
    // If the date decides the lines, each date is a separate batch. If not, the same manifest is the same work as on the day before,
    // as with `run`.
    match submit(shared, planned.schedule.dated_lines, &definition).await {
        Ok(done) => Ok(Tried::Started(Box::new(done))),
        // The ledger is the cause, not the definition or its manifest; and the failure cannot be recorded there
        // either.
        Err(IntakeError::Store(e)) if e.is_passing() => Err(e),
        Err(e) => {
            let hint = hint(&e, planned, run);
            Ok(Tried::Failed { batch: Some(name), why: in_words(&e), hint })
        }
    }
}

/// Why a run is dropped.
fn over(shared: &SchedulerState, planned: &Planned, run: &TakenRun) -> Option<String> {
    let now = moment(shared.store.clock().now());
    let too_many = run.newer_dates as usize >= MAX_MISSED;
    match planned.schedule.missed {
        Missed::Skip if !planned.schedule.is_on_time(moment(run.at), now) => {
            Some("it could not be started on time, and missed = \"skip\"".to_owned())
        }
        Missed::Run if too_many => Some(format!("{MAX_MISSED} newer dates have come; no more are made up for")),
        _ => None,
    }
}

async fn load(shared: &SchedulerState, planned: &Planned, run: &TakenRun) -> Result<Definition, Faults> {
    let settings = &shared.settings;
    let overrides = Overrides {
        now: Some(moment(run.at)),
        output: settings.sandbox_output.clone(),
        sandbox: settings.environment == Environment::Sandbox,
        ..Overrides::default()
    };
    let (file, tasks) = (planned.file.clone(), settings.tasks.definitions().clone());
    let shown = file.display().to_string();
    let loaded = tokio::task::spawn_blocking(move || Definition::load(&file, &tasks, &overrides)).await;
    let loaded = loaded.unwrap_or_else(|_| Err(Fault::of_file(shown, "could not be read to its end").into()));
    loaded.map(|definition| definition.asked_at(settings.origin.clone()))
}

/// Why a run must wait, though there is no fault.
async fn waits(
    shared: &SchedulerState,
    planned: &Planned,
    run: &TakenRun,
    definition: &Definition,
) -> Result<Option<String>, StoreError> {
    let name = definition.batch.as_str();
    let Some(row) = shared.store.batch(name).await? else { return Ok(None) };
    if row.definition != definition.name || row.environment != shared.settings.environment {
        return Ok(None); // The submission refuses it, with a full message.
    }
    if let Some((kind, reason)) = &row.pause
        && kind.only_the_user_lifts()
    {
        let paused = kind.in_words(reason);
        let resume = command((&shared.settings.choice, row.environment), &["resume", name]);
        return Ok(Some(format!("the batch `{name}` is {paused}; `{resume}` lets it go on")));
    }
    // A half-submitted batch must be submitted again, and so must a batch that this run itself began.
    if row.finished_at.is_some()
        || row.submitting_at.is_some()
        || row.pause.is_some()
        || run.batch.as_deref() == Some(name)
    {
        return Ok(None);
    }
    let since = shared.store.last_start(name).await?.unwrap_or(row.submitted_at);
    let runs = planned.schedule.was_open_since(moment(since), moment(shared.store.clock().now()));
    Ok(runs.then(|| format!("the batch `{name}` still runs; it is started again when that is finished")))
}

/// Submits a definition. `again`: it is a new batch, even if the newest one has the same manifest and options.
pub(super) async fn submit(
    shared: &SchedulerState,
    again: bool,
    definition: &Definition,
) -> Result<Submission, IntakeError> {
    let SchedulerState { store, settings, fetcher, .. } = shared;
    let tasks = settings.tasks.intakes();
    let upstreams = Upstreams { store: Some(store), tasks, environment: settings.environment, planned: &[] };
    let place = CopyPlace { dir: &store.spool(), fetcher, upstreams };
    let copy = intake::copy_manifest(definition, place, tokio::io::empty()).await?;
    let options = SubmitOptions {
        again,
        rates: settings.rates.clone(),
        account: settings.account.clone(),
        ..SubmitOptions::of(shared.settings.tasks.intakes())
    };
    let copy = copy.as_ref().map(ManifestCopy::spooled);
    let done = intake::submit(store, definition, copy, settings.environment, &options).await?;
    if done.existed {
        store.retry_free(done.batch).await?;
    }
    Ok(done)
}

async fn conclude(shared: &SchedulerState, run: &TakenRun, tried: Tried) -> Result<(), StoreError> {
    let store = &shared.store;
    let (definition, at, now) = (run.definition.clone(), run.at, store.clock().now());
    let told_before = |why: &str| run.why.as_deref() == Some(why);
    match tried {
        Tried::Started(done) => {
            let ours = store.run_started(run, &done.name).await?;
            store.wake();
            if ours {
                shared.emit(started(run, *done));
            }
        }
        Tried::Failed { batch, why, hint } => {
            let wait = FIRST_WAIT.saturating_mul(1 << run.failures.min(10)).min(LONGEST_WAIT);
            if store.run_failed(run, now + wait, &why).await? && !told_before(&why) {
                shared.emit(Scheduling::CouldNotStart { definition, batch, at, why, hint });
            }
        }
        Tried::Waits(why) => {
            if store.run_waits(run, now + LOOK_AGAIN, &why).await? && !told_before(&why) {
                shared.emit(Scheduling::Waits { definition, at, why });
            }
        }
        Tried::Dropped(why) => {
            if store.run_dropped(run, &why).await? {
                shared.emit(Scheduling::Dropped { definition, at, why });
            }
        }
    }
    Ok(())
}

fn started(run: &TakenRun, done: Submission) -> Scheduling {
    Scheduling::Started {
        definition: run.definition.clone(),
        at: run.at,
        batch: done.batch,
        name: done.name,
        added: done.submitted.new + done.submitted.changed,
        older_batch: done.older_batch,
        warnings: done.warnings,
        faults: done.faults,
    }
}

/// A hint that suits a user who typed no command.
fn hint(error: &IntakeError, planned: &Planned, run: &TakenRun) -> Option<String> {
    let by_hand = |flag: &str| {
        let day = moment(run.at).to_zoned(planned.schedule.zone.clone()).date();
        let date = planned.schedule.date_of(day);
        format!("`wavebatch submit {} --date {date} {flag}`", planned.file.display())
    };
    match error {
        IntakeError::WouldRebuy { .. } => {
            Some(format!("take the options back; or pay for them again with {}", by_hand("--rebuy")))
        }
        IntakeError::OtherSource(_) => Some(format!(
            "give its batches a name of their own; or take this manifest for theirs with {}",
            by_hand("--update-source")
        )),
        IntakeError::OtherDefinition { .. } => {
            Some("give its batches a name of their own: `batch` or `name` in the definition".to_owned())
        }
        IntakeError::Owned { .. } | IntakeError::OlderLedger { .. } | IntakeError::ForeignSummary { .. } => {
            Some(format!("choose another `output`; or write over what is there with {}", by_hand("--take-over")))
        }
        IntakeError::Faults(faults) if faults.is_only_empty() => None,
        other => other.hint().map(str::to_owned),
    }
}
