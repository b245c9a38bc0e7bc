//! What submitting a definition would do, without a key, a call, or a trace.

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
    runner::intake::{self, ExitClass, IntakeError, Plan, PlanOptions, ReadWatch, VoiceCheck},
    store::Store,
    tasks::synthesize::{self, Judgement, PartLine, RequestedVoices, TextFindings},
    temp_lock::LockedFolder,
};

/// How the folder begins that a manifest which is no file is copied to.
const SCRATCH: &str = "wavebatch-check-";

/// What submitting would do, and what nobody could look at.
#[derive(Debug)]
pub struct Checked {
    /// What it would do; `None` where a remote manifest could not be reached.
    pub plan: Option<Plan>,
    /// What is told of the voices.
    pub voices: Vec<String>,
    /// What was not looked at.
    pub unchecked: Vec<String>,
    /// Whether there is no ledger yet.
    pub new_ledger: bool,
}

/// Holds a definition against the ledger, where there is one. `stdin` is where a manifest called `-` is read from.
///
/// # Errors
/// Faults of the manifest and of the voices; a ledger that cannot be read.
pub async fn check(
    settings: &Settings,
    definition: &Definition,
    consent: Consent,
    events: &Events,
    stdin: impl AsyncRead + Unpin,
) -> Result<Checked, AppError> {
    check_public_url(definition, &settings.config, settings.is_sandbox())?;
    let store = find_ledger(settings).await?;
    let mut unchecked = unchecked(definition, settings);
    let watch = Arc::clone(events);
    let asked = PlanOptions {
        tasks: crate::tasks::Registry::built_in().intakes().clone(),
        again: consent.again,
        update_source: consent.update_source,
        rates: settings.config.rates.clone(),
        watch: ReadWatch::new(move |progress| watch.event(Event::Reading(progress))),
    };
    let planning = async |copy: Option<&Spooled>| {
        intake::plan(store.as_ref(), definition, copy, settings.environment, &asked).await
    };
    let plan = match with_copy(definition, stdin, planning).await {
        Ok(plan) => Some(plan),
        // Without a network a remote manifest is what cannot be checked.
        Err(e @ IntakeError::Fetch { .. }) if e.exit_class() == ExitClass::CouldNotRun => {
            unchecked.insert(0, format!("the manifest: {}", in_words(&e)));
            None
        }
        Err(e) => return Err(e.into()),
    };
    let judged = match plan.as_ref().and_then(|plan| TextFindings::of(&plan.scan)) {
        Some(found) => judge(settings, store.as_ref(), &definition.manifest, &found.voices),
        None => Some(Judgement::default()),
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
    Ok(Checked { plan, voices, unchecked, new_ledger })
}

/// Gives every part of a definition's texts to `each`, as it would be bought; of one key, if that is named. Returns
/// whether there was one.
///
/// # Errors
/// Faults of the manifest; a ledger that cannot be read; `each` fails, which ends it.
pub async fn each_part(
    settings: &Settings,
    definition: &Definition,
    key: Option<&str>,
    stdin: impl AsyncRead + Unpin,
    mut each: impl FnMut(PartLine) -> std::io::Result<()>,
) -> Result<bool, AppError> {
    check_public_url(definition, &settings.config, settings.is_sandbox())?;
    let store = find_ledger(settings).await?;
    let (mut found, mut broken) = (false, None);
    let reading = async |copy: Option<&Spooled>| {
        let mut parts = synthesize::parts(store.as_ref(), definition, copy, key);
        while let Some(part) = parts.recv().await {
            found = true;
            if let Err(e) = each(part?) {
                broken = Some(e);
                break;
            }
        }
        Ok(())
    };
    with_copy(definition, stdin, reading).await?;
    broken.map_or(Ok(found), |e| Err(e.into()))
}

/// Brings the manifest here where it is not, for as long as `work` takes.
async fn with_copy<T>(
    definition: &Definition,
    stdin: impl AsyncRead + Unpin,
    work: impl AsyncFnOnce(Option<&Spooled>) -> Result<T, IntakeError>,
) -> Result<T, IntakeError> {
    let temp = std::env::temp_dir();
    LockedFolder::sweep(&temp, SCRATCH);
    if !definition.origin.needs_copy() {
        return work(None).await;
    }
    // No ledger, no spool; and what is only looked at belongs to neither.
    let dir = LockedFolder::create(&temp, SCRATCH).map_err(|source| IntakeError::Copy { dir: temp, source })?;
    let copy = match fetcher() {
        Ok(fetcher) => intake::copy_manifest(definition, dir.path(), &fetcher, stdin).await?,
        _ => None,
    };
    work(copy.as_ref().map(intake::ManifestCopy::spooled)).await
}

/// Holds the voices against those that the account is remembered to have; nothing if that is not known.
fn judge(
    settings: &Settings,
    store: Option<&Store>,
    manifest: &str,
    requested_voices: &RequestedVoices,
) -> Option<Judgement> {
    let voices = synthesize::remembered(store?, &settings.account()?)?;
    Some(synthesize::judge(manifest, requested_voices, &voices))
}

fn unchecked(definition: &Definition, settings: &Settings) -> Vec<String> {
    let mut unchecked = Vec::new();
    if definition.transcribing().is_some() {
        unchecked.push("the recordings: whether they are there, are audio, and how long they are".to_owned());
    }
    if !settings.is_sandbox() {
        unchecked.push(match settings.env.key {
            Some(_) => "the key: whether the API accepts it".into(),
            None => format!("the key: {KEY} is not set"),
        });
    }
    unchecked.push("the output: whether it can be written, and is this batch's".into());
    unchecked
}
