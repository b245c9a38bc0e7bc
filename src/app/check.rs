//! Checks what submitting a definition would do, without a key and without calls; nothing is left behind.

use std::sync::Arc;

use tokio::io::AsyncRead;

use super::{
    api::fetcher,
    callbacks::check_public_url,
    error::AppError,
    events::{Event, Events},
    ledger::find_ledger,
    settings::Settings,
    submit::Consent,
};
use crate::{
    config::KEY,
    definition::{Definition, Spooled},
    domain::{batch::BatchName, causes::in_words, job::JobState},
    runner::intake::{
        self, AccountNotes, CopyPlace, ExitClass, Heard, HowMany, IntakeError, IntakeTask, ListenOptions, ListenWatch,
        PartPreview, Plan, PlanOptions, PlannedBatch, ReadWatch, ToCome, Upcoming, Upstreams, VoiceCheck,
    },
    store::Store,
    temp_lock::LockedFolder,
};

/// The prefix of the folder for copies of remote manifests.
const SCRATCH: &str = "wavebatch-check-";

/// What the user has agreed to, and how much is looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckRequest<'a> {
    /// What submitting may do.
    pub consent: Consent,
    /// How many recordings are listened to; `None`: none.
    pub analyze: Option<HowMany>,
    /// Batches that are to be submitted before.
    pub planned: &'a [PlannedBatch],
    /// The lines that these will finish for it, if one of them feeds it.
    pub to_come: Option<ToCome>,
}

/// What submitting would do, and what could not be checked.
#[derive(Debug)]
pub struct Checked {
    /// The plan; `None` if a remote manifest could not be reached.
    pub plan: Option<Plan>,
    /// Lines that are still to come from the batch that feeds it.
    pub to_come: Option<ToCome>,
    /// What those make; `None` if that cannot be told.
    pub upcoming: Option<Upcoming>,
    /// What was heard in recordings; `None` if none was listened to, or the lines are no recordings.
    pub heard: Option<Heard>,
    /// Notes about the voices.
    pub voices: Vec<String>,
    /// What was not checked.
    pub unchecked: Vec<String>,
    /// Whether there is no ledger yet.
    pub new_ledger: bool,
}

/// Compares a definition with the ledger, if there is one. `stdin` is the content of a manifest called `-`.
///
/// # Errors
/// Faults of the manifest and of the voices; a ledger that cannot be read.
pub async fn check(
    settings: &Settings,
    definition: &Definition,
    CheckRequest { consent, analyze, planned, to_come }: CheckRequest<'_>,
    events: &Events,
    stdin: impl AsyncRead + Unpin,
) -> Result<Checked, AppError> {
    check_public_url(definition, &settings.config, settings.is_sandbox())?;
    let store = find_ledger(settings).await?;
    let watch = Arc::clone(events);
    let asked = PlanOptions {
        tasks: settings.tasks.intakes().clone(),
        again: consent.again,
        update_source: consent.update_source,
        measure: true,
        rates: settings.config.rates.clone(),
        watch: ReadWatch::new(move |progress| watch.event(Event::Reading(progress))),
    };
    let planning = async |copy: Option<&Spooled>| {
        let plan = intake::plan(store.as_ref(), definition, copy, settings.environment, &asked).await?;
        let heard = match analyze {
            Some(how_many) => listen(settings, (definition, copy), &plan, (how_many, events)).await?,
            None => None,
        };
        Ok((plan, heard))
    };
    let (plan, heard, not_fetched) =
        match with_copy(definition, upstreams(settings, store.as_ref(), planned), stdin, planning).await {
            Ok((plan, heard)) => (Some(plan), heard, None),
            // Without a network, a remote manifest cannot be checked.
            Err(e @ IntakeError::Fetch { .. }) if e.exit_class() == ExitClass::CouldNotRun => {
                (None, None, Some(format!("the manifest: {}", in_words(&e))))
            }
            Err(e) => return Err(e.into()),
        };
    let seen = plan.as_ref().and_then(|plan| plan.seen.as_ref());
    let mut unchecked: Vec<String> = not_fetched.into_iter().collect();
    let is_whole = seen.is_some_and(intake::Seen::is_whole) || heard.as_ref().is_some_and(Heard::is_whole);
    unchecked.extend(unchecked_of(definition, settings, is_whole));
    let judged = match &plan {
        Some(plan) => recall_account(settings, store.as_ref(), definition, plan),
        None => Some(AccountNotes::default()),
    };
    let lenient = consent.voice_check == VoiceCheck::Warn;
    let voices = match judged.map(|judged| if lenient { judged.lenient() } else { judged }) {
        Some(judged) if !judged.faults.is_empty() => return Err(IntakeError::Voices(judged.faults).into()),
        Some(judged) => judged.warnings,
        None => {
            unchecked.push("the voices: whether the account has them; `submit` asks it".into());
            Vec::new()
        }
    };
    let to_come = match (&store, definition.fed_by()) {
        (Some(store), Some(by)) if to_come.is_none() => lines_to_come(store, by).await?,
        _ => to_come,
    };
    let upcoming = match to_come {
        Some(to_come) if plan.is_some() => {
            let dir = scratch()?;
            let upstreams = upstreams(settings, store.as_ref(), planned);
            intake::upcoming(definition, to_come, (dir.path(), &upstreams), &asked).await?
        }
        _ => None,
    };
    let new_ledger = store.is_none();
    if let Some(store) = store {
        store.close().await;
    }
    Ok(Checked { plan, to_come, upcoming, heard, voices, unchecked, new_ledger })
}

/// The lines that a batch of the ledger has not finished yet, judged by those that it has.
async fn lines_to_come(store: &Store, by: &BatchName) -> Result<Option<ToCome>, AppError> {
    let Some(row) = store.batch(by.as_str()).await? else { return Ok(None) };
    let counts = store.counts(row.id).await?;
    let (lines, done) = (counts.unfinished(), counts.of(JobState::Succeeded) + counts.of(JobState::Suspect));
    let like = ToCome::of_audio(done, Some(counts.audio_ms).filter(|_| done > 0));
    Ok((lines > 0).then_some(ToCome { lines, ..like }))
}

/// Listens to recordings of a manifest. Those that are elsewhere are copied to a folder that goes afterwards.
async fn listen(
    settings: &Settings,
    (definition, copy): (&Definition, Option<&Spooled>),
    plan: &Plan,
    (how_many, events): (HowMany, &Events),
) -> Result<Option<Heard>, IntakeError> {
    let Some(task) = task_of(settings, definition) else { return Ok(None) };
    let (temp, events) = (std::env::temp_dir(), Arc::clone(events));
    let folder = LockedFolder::create(&temp, SCRATCH);
    let folder = folder.map_err(|source| IntakeError::CopyRecording { dir: temp, source })?;
    let options = ListenOptions {
        how_many,
        ffmpeg: settings.config.ffmpeg.clone(),
        rates: settings.config.rates.clone(),
        folder: folder.path().to_owned(),
        watch: ListenWatch::new(move |progress| events.event(Event::Listening(progress))),
    };
    intake::listen((definition, &*task), copy, &plan.scan, &options).await
}

/// Calls `each` for every part of a definition's lines, as it would be bought; only for one key, if given. Returns whether
/// there was a part; `None` if the task has no parts.
///
/// # Errors
/// Faults of the manifest; a ledger that cannot be read; an error of `each`, which ends the loop.
pub async fn each_part(
    settings: &Settings,
    definition: &Definition,
    key: Option<&str>,
    stdin: impl AsyncRead + Unpin,
    mut each: impl FnMut(PartPreview) -> std::io::Result<()>,
) -> Result<Option<bool>, AppError> {
    check_public_url(definition, &settings.config, settings.is_sandbox())?;
    let Some(task) = task_of(settings, definition).filter(|task| task.has_parts()) else { return Ok(None) };
    let store = find_ledger(settings).await?;
    let (mut found, mut broken) = (false, None);
    let reading = async |copy: Option<&Spooled>| {
        let kept = match &store {
            Some(store) => Some(store.audio_cache().snapshot().await?),
            None => None,
        };
        let Some(mut parts) = task.parts(definition, copy, key, kept) else { return Ok(()) };
        while let Some(part) = parts.recv().await {
            found = true;
            if let Err(e) = each(part?) {
                broken = Some(e);
                break;
            }
        }
        Ok(())
    };
    with_copy(definition, upstreams(settings, store.as_ref(), &[]), stdin, reading).await?;
    broken.map_or(Ok(Some(found)), |e| Err(e.into()))
}

/// The batches whose lines may be a manifest.
pub(super) fn upstreams<'a>(
    settings: &'a Settings,
    store: Option<&'a Store>,
    planned: &'a [PlannedBatch],
) -> Upstreams<'a> {
    Upstreams { store, tasks: settings.tasks.intakes(), environment: settings.environment, planned }
}

/// Copies a remote manifest here, for the time of `work`.
pub(super) async fn with_copy<T>(
    definition: &Definition,
    upstreams: Upstreams<'_>,
    stdin: impl AsyncRead + Unpin,
    work: impl AsyncFnOnce(Option<&Spooled>) -> Result<T, IntakeError>,
) -> Result<T, IntakeError> {
    let temp = std::env::temp_dir();
    LockedFolder::sweep(&temp, SCRATCH);
    if !definition.origin.needs_copy() {
        return work(None).await;
    }
    // There may be no ledger and no spool, and a check must not write to them.
    let dir = scratch()?;
    let copy = match fetcher() {
        Ok(fetcher) => {
            let place = CopyPlace { dir: dir.path(), fetcher: &fetcher, upstreams };
            intake::copy_manifest(definition, place, stdin).await?
        }
        _ => None,
    };
    work(copy.as_ref().map(intake::ManifestCopy::spooled)).await
}

/// A folder for what is looked at, which goes with its handle.
fn scratch() -> Result<LockedFolder, IntakeError> {
    let temp = std::env::temp_dir();
    LockedFolder::create(&temp, SCRATCH).map_err(|source| IntakeError::Copy { dir: temp, source })
}

fn task_of(settings: &Settings, definition: &Definition) -> Option<Arc<dyn IntakeTask>> {
    settings.tasks.intakes().get(definition.task.task()).cloned()
}

/// Compares what the lines need with what the ledger remembers of the account; `None` if it remembers nothing that could
/// tell.
fn recall_account(
    settings: &Settings,
    store: Option<&Store>,
    definition: &Definition,
    plan: &Plan,
) -> Option<AccountNotes> {
    let account = settings.account();
    let known = store.zip(account.as_deref());
    task_of(settings, definition)?.recall_account(known, (&definition.manifest, settings.is_sandbox()), &plan.scan)
}

fn unchecked_of(definition: &Definition, settings: &Settings, seen_whole: bool) -> Vec<String> {
    let of_lines = definition.task.unchecked().filter(|_| !seen_whole);
    let mut unchecked: Vec<String> = of_lines.map(str::to_owned).into_iter().collect();
    if !settings.is_sandbox() {
        unchecked.push(match (&settings.env.key, &settings.env.key_fault) {
            (Some(_), _) => "the key: whether the API accepts it".into(),
            (None, Some(fault)) => format!("the key: {fault}"),
            (None, None) => format!("the key: {KEY} is not set"),
        });
    }
    unchecked.push("the output: whether it can be written, and is this batch's".into());
    unchecked
}
