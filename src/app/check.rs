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
    domain::causes::in_words,
    runner::intake::{
        self, AccountNotes, CopyPlace, ExitClass, Heard, HowMany, IntakeError, IntakeTask, ListenOptions, ListenWatch,
        PartPreview, Plan, PlanOptions, PlannedBatch, ReadWatch, Upstreams, VoiceCheck,
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
}

/// What submitting would do, and what could not be checked.
#[derive(Debug)]
pub struct Checked {
    /// The plan; `None` if a remote manifest could not be reached.
    pub plan: Option<Plan>,
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
    CheckRequest { consent, analyze, planned }: CheckRequest<'_>,
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
    let new_ledger = store.is_none();
    if let Some(store) = store {
        store.close().await;
    }
    Ok(Checked { plan, heard, voices, unchecked, new_ledger })
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
    let dir = LockedFolder::create(&temp, SCRATCH).map_err(|source| IntakeError::Copy { dir: temp, source })?;
    let copy = match fetcher() {
        Ok(fetcher) => {
            let place = CopyPlace { dir: dir.path(), fetcher: &fetcher, upstreams };
            intake::copy_manifest(definition, place, stdin).await?
        }
        _ => None,
    };
    work(copy.as_ref().map(intake::ManifestCopy::spooled)).await
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
