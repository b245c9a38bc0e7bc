//! `wavebatch check`

use crate::domain::synthesis::Synthesis;
use clap::Args;
use serde_json::{Value, json};

use super::{
    CliError, Context, Exit,
    context::SANDBOX_ACCOUNT,
    hooks,
    messages::{self, stt},
    reading,
    session::fetcher,
    sources::Sources,
    synthesis,
    words::{counted, dollars, duration, grouped, shell},
};
use crate::{
    config::{Config, KEY, SetBy},
    definition::{Definition, Spooled},
    domain::environment::Environment,
    runner::intake::{self, Estimate, ExitClass, IntakeError, Plan, PlanOptions, VoiceCheck},
    store::{BatchPhase, Store, StoreError},
    tasks::synthesize::{self, Judgement, RequestedVoices, TextFindings},
    temp_lock::LockedFolder,
    waves::account,
};

/// How the folder begins that a manifest which is no file is copied to.
const SCRATCH: &str = "wavebatch-check-";

/// Check a batch and tell what running it would do
///
/// Needs no key, calls no API, writes nothing, and says what it could not check. A remote manifest is fetched, a prefix
/// listed, and of recordings with a known size some headers are read, to tell how long they are.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch check jobs/support-calls.toml")]
pub struct Check {
    #[command(flatten)]
    sources: Sources,
    /// Of texts, print each part as it would be bought: key, voice, what is bought, number, characters, kept or new, text
    #[arg(long)]
    parts: bool,
    /// Only the parts of this key
    #[arg(long, value_name = "KEY", requires = "parts")]
    key: Option<String>,
    /// As JSON; of parts, an object a line
    #[arg(long)]
    json: bool,
}

/// How the answer is wanted.
#[derive(Default)]
pub(super) struct CheckFlags {
    pub(super) json: bool,
    pub(super) parts: bool,
    pub(super) key: Option<String>,
}

impl Check {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        check(context, &self.sources, CheckFlags { json: self.json, parts: self.parts, key: self.key }).await
    }
}

pub(super) async fn check(context: &Context, sources: &Sources, ask: CheckFlags) -> Result<Exit, CliError> {
    let config = context.config(sources.sandbox)?;
    let definition = sources.definition(&context.env)?.asked_at(config.origin());
    hooks::check(&definition, &config, sources.sandbox)?;
    let environment = Environment::sandboxed(sources.sandbox);
    let store = match Store::open(config.opening(false)).await {
        Ok((store, _)) => Some(store),
        Err(StoreError::Missing(_)) => None,
        Err(e) => return Err(CliError::of_ledger(e, &config.database)),
    };
    if ask.parts {
        return parts(context, &definition, store.as_ref(), &ask).await;
    }
    let mut unchecked = unchecked(context, &definition, sources.sandbox);
    let asked = PlanOptions {
        again: sources.again,
        update_source: sources.update_source,
        rates: config.rates.clone(),
        watch: reading::watch(&context.screen),
    };
    let planning =
        async |copy: Option<&Spooled>| intake::plan(store.as_ref(), &definition, copy, environment, &asked).await;
    let plan = with_copy(&definition, planning).await;
    let plan = match plan {
        Ok(plan) => Some(plan),
        // Without a network a remote manifest is what cannot be checked.
        Err(e @ IntakeError::Fetch { .. }) if e.exit_class() == ExitClass::CouldNotRun => {
            unchecked.insert(0, format!("the manifest: {:#}", anyhow::Error::from(e)));
            None
        }
        Err(e) => return Err(e.into()),
    };
    let voices = match plan.as_ref().and_then(|plan| TextFindings::of(&plan.scan)) {
        Some(found) => voices(context, &config, sources.sandbox, store.as_ref(), &definition.manifest, &found.voices),
        None => Some(Judgement::default()),
    };
    let lenient = sources.voice_check == Some(VoiceCheck::Warn);
    let voices = voices.map(|judged| if lenient { judged.lenient() } else { judged });
    let voices = match voices {
        Some(judged) if !judged.faults.is_empty() => return Err(IntakeError::Voices(judged.faults).into()),
        Some(judged) => judged.warnings,
        None => {
            unchecked.push("the voices: whether the account has them; `submit` asks it".into());
            Vec::new()
        }
    };
    let screen = &context.screen;
    if ask.json {
        let mut value = in_json(&definition, &config, store.is_none(), plan.as_ref(), &unchecked);
        value["voices"] = json!(voices);
        screen.json(&format!("{value:#}"))?;
    } else {
        let warned = voices.iter().map(|warning| messages::fact("voices", warning)).collect();
        screen.result(&message(
            &definition,
            &config,
            store.is_none(),
            plan.as_ref(),
            &unchecked,
            (environment, warned),
        ))?;
    }
    if let Some(store) = store {
        store.close().await;
    }
    match plan.and_then(|plan| plan.rebuy) {
        Some(rebuy) if !sources.rebuy => {
            Err(IntakeError::WouldRebuy { batch: definition.batch.to_string(), rebuy }.into())
        }
        _ => Ok(Exit::Success),
    }
}

/// Brings the manifest here where it is not, for as long as `work` takes.
async fn with_copy<T>(
    definition: &Definition,
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
        Ok(fetcher) => intake::copy_manifest(definition, dir.path(), &fetcher, tokio::io::stdin()).await?,
        _ => None,
    };
    work(copy.as_ref().map(intake::ManifestCopy::spooled)).await
}

/// Prints every part as it would be bought.
async fn parts(
    context: &Context,
    definition: &Definition,
    store: Option<&Store>,
    ask: &CheckFlags,
) -> Result<Exit, CliError> {
    if definition.synthesizing().is_none() {
        return Err(CliError::usage("`--parts` is for texts; a recording is one part"));
    }
    let mut found = false;
    let mut broken = None;
    let printing = async |copy: Option<&Spooled>| {
        let mut parts = synthesize::parts(store, definition, copy, ask.key.as_deref());
        while let Some(part) = parts.recv().await {
            let part = part?;
            found = true;
            let screen = &context.screen;
            let message = match ask.json {
                true => screen.json(&synthesis::part_in_json(&part).to_string()),
                false => screen.result(&synthesis::part(&part)),
            };
            if let Err(e) = message {
                broken = Some(e);
                break;
            }
        }
        Ok(())
    };
    with_copy(definition, printing).await?;
    match (broken, &ask.key) {
        (Some(e), _) => Err(e.into()),
        (None, Some(key)) if !found => {
            Err(CliError::usage(format!("no line of {} has the key `{key}`", definition.manifest)))
        }
        _ => Ok(Exit::Success),
    }
}

/// Holds the voices against those that the account is remembered to have; nothing if that is not known.
fn voices(
    context: &Context,
    config: &Config,
    sandbox: bool,
    store: Option<&Store>,
    manifest: &str,
    requested: &RequestedVoices,
) -> Option<Judgement> {
    let account = match (&context.env.key, sandbox) {
        (_, true) => SANDBOX_ACCOUNT.to_owned(),
        (Some(key), false) => account(&config.base_url, key),
        (None, false) => return None,
    };
    let voices = synthesize::remembered(store?, &account)?;
    Some(synthesize::judge(manifest, requested, &voices))
}

fn unchecked(context: &Context, definition: &Definition, sandbox: bool) -> Vec<String> {
    let mut unchecked = Vec::new();
    if definition.transcribing().is_some() {
        unchecked.push("the recordings: whether they are there, are audio, and how long they are".to_owned());
    }
    if !sandbox {
        unchecked.push(match context.env.key {
            Some(_) => "the key: whether the API accepts it".into(),
            None => format!("the key: {KEY} is not set"),
        });
    }
    unchecked.push("the output: whether it can be written, and is this batch's".into());
    unchecked
}

fn message(
    definition: &Definition,
    config: &Config,
    fresh: bool,
    plan: Option<&Plan>,
    unchecked: &[String],
    (environment, voices): (Environment, Vec<String>),
) -> String {
    let mut facts = vec![messages::headline(definition, environment)];
    facts.extend(messages::places(config, fresh));
    facts.push(messages::fact("manifest", &definition.manifest));
    if let Some(plan) = plan {
        facts.extend(plan_facts(plan));
        facts.extend(lines(plan));
        facts.extend(messages::option_columns(&plan.spec.option_columns));
        facts.extend(messages::passed_over(&plan.scan.ignored));
    }
    facts.push(messages::fact("outputs", definition.output.as_str()));
    facts.extend(definition.report_to.as_ref().map(|to| messages::fact("report", to)));
    facts.extend(synthesis::pronunciations(definition));
    facts.extend(definition.notes().iter().map(|note| messages::fact("note", note)));
    facts.extend(voices);
    if let Some(plan) = plan {
        facts.extend(plan.scan.strangers.warnings().iter().map(|warning| messages::fact("unlisted", warning)));
        facts.extend(cost(plan, config));
        let look = TextFindings::of(&plan.scan).and_then(|found| found.look.as_ref());
        facts.extend(look.iter().flat_map(|look| synthesis::look(&definition.manifest, look)));
        if !plan.scan.faults.is_empty() {
            facts.push(format!("\nbad lines, which would be skipped:\n{}", plan.scan.faults));
        }
    }
    facts.push("\nnot checked".into());
    facts.extend(unchecked.iter().map(|what| format!("  {what}")));
    facts.join("\n")
}

/// What keeps the batch from being worked as it stands in the ledger.
fn plan_facts(plan: &Plan) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some((kind, reason)) = &plan.pause {
        let then = match kind.only_the_user_lifts() {
            true => format!("`wavebatch resume {}` lets it go on", shell(plan.batch.as_str())),
            false => "running it again lets it go on".to_owned(),
        };
        facts.push(messages::fact("batch", format!("{}; {then}", kind.in_words(reason))));
    }
    let submission = match plan.phase {
        Some(BatchPhase::Submitting) => Some("its submission is under way; nothing is worked until that is done"),
        Some(BatchPhase::CutOff) => Some("its submission was cut off; submitting it again finishes it"),
        _ => None,
    };
    facts.extend(submission.map(|words| messages::fact("batch", words)));
    facts
}

fn lines(plan: &Plan) -> Vec<String> {
    let diff = &plan.diff;
    let parts = [
        (diff.new, "new"),
        (diff.changed, "changed"),
        (diff.done, "done"),
        (diff.open, "not done"),
        (plan.scan.bad, "bad"),
    ];
    let parts: Vec<_> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", grouped(*n))).collect();
    let (mut facts, one) = match plan.spec.task.read::<Synthesis>().ok() {
        Some(asked) => {
            let product = synthesis::product(plan.scan.lines, plan.scan.jobs, &asked);
            (vec![messages::fact("lines", product), messages::fact("", parts.join(", "))], "output")
        }
        None => (vec![messages::fact("lines", parts.join(", "))], "line"),
    };
    let mut some = |n: u64, words: &str| {
        if n > 0 {
            facts.push(messages::fact("", format!("{}{words}", counted(n, one))));
        }
    };
    some(plan.scan.without_source, " without a source: nothing to do");
    some(plan.gone, messages::gone(&plan.spec));
    some(plan.redelivered, " rendered and delivered again from kept answers");
    some(plan.without_word_times, messages::WITHOUT_WORD_TIMES);
    facts.extend(reading::compared(&plan.compared, plan.readdressed.as_deref()));
    facts
}

fn cost(plan: &Plan, config: &Config) -> Vec<String> {
    let (estimate, model) = (&plan.estimate, stt(&plan.spec));
    if estimate.lines == 0 {
        return vec![messages::fact("cost", "none: nothing is left to do")];
    }
    let limits = messages::limits_of(config, &plan.spec);
    if limits.rate_by == SetBy::Sandbox {
        let synthesis = plan
            .purchases
            .iter()
            .flat_map(|purchases| synthesis::purchases(purchases, &config.rates).into_iter().take(1));
        return synthesis.chain([messages::fact("cost", "none: the sandbox neither bills nor limits")]).collect();
    }
    let rates = &config.rates;
    if let Some(purchases) = &plan.purchases {
        let mut facts = synthesis::purchases(purchases, rates);
        if purchases.parts > 0 {
            facts.push(messages::fact("time", messages::finish(purchases.parts, &limits)));
        }
        return facts;
    }
    let price = messages::price(model, rates);
    if rates.known_per_minute(model).is_none() {
        return vec![messages::fact("cost", price), messages::fact("time", messages::finish(estimate.lines, &limits))];
    }
    let known = about(estimate);
    let cost = match (estimate.unknown, estimate.audio_ms) {
        (0, _) => format!("{known} ({price})"),
        (_, 0) => format!("{price}; how long the audio is shows as it is opened"),
        (unknown, _) => format!("{known}, and {} of unknown length ({price})", counted(unknown, "line")),
    };
    vec![messages::fact("cost", cost), messages::fact("time", messages::finish(estimate.lines, &limits))]
}

/// The known part of the cost, and how far off it may be.
fn about(estimate: &Estimate) -> String {
    let (cost, audio) = (dollars(estimate.cost.0), duration(estimate.audio_ms));
    let judging = match estimate.sampled {
        0 => String::new(),
        n => format!(", judging by {}", counted(n, "recording's header")),
    };
    // Within a hundredth it is no news.
    if estimate.give_or_take_ms * 100 <= estimate.audio_ms {
        return format!("about {cost} for {audio} of audio{judging}");
    }
    let (cost_off, audio_off) = (dollars(estimate.give_or_take.0), duration(estimate.give_or_take_ms));
    format!("about {cost} ± {cost_off} for {audio} ± {audio_off} of audio{judging}")
}

fn in_json(definition: &Definition, config: &Config, fresh: bool, plan: Option<&Plan>, unchecked: &[String]) -> Value {
    let unlisted = plan.map(|plan| plan.scan.strangers.warnings()).unwrap_or_default();
    let plan = plan.map(|plan| {
        let limits = messages::limits_of(config, &plan.spec);
        let priced = plan.purchases.is_some() || config.rates.known_per_minute(stt(&plan.spec)).is_some();
        let calls = plan.purchases.as_ref().map_or(plan.estimate.lines, |purchases| purchases.parts);
        let least = limits.limits.requests_per_minute.map(|rate| super::progress::least_time(calls, rate));
        json!({
            "existed": plan.existed,
            "pause": plan.pause.as_ref().map(|(kind, reason)| json!({ "kind": kind, "reason": reason })),
            "state": plan.phase,
            "lines": plan.scan.lines,
            "jobs": plan.scan.jobs,
            "new": plan.diff.new,
            "changed": plan.diff.changed,
            "done": plan.diff.done,
            "open": plan.diff.open,
            "bad": plan.scan.bad,
            "without_source": plan.scan.without_source,
            "gone": plan.gone,
            "recordings": reading::in_json(&plan.compared, plan.readdressed.as_deref()),
            "without_word_times": plan.without_word_times,
            "option_columns": plan.spec.option_columns,
            "bad_lines": plan.scan.faults.list.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "rebuy": plan.rebuy.map(|rebuy| json!({ "lines": rebuy.lines, "cost_usd": rebuy.cost })),
            "synthesis": synthesis::plan_in_json(plan, &config.rates),
            "estimate": {
                "lines": plan.estimate.lines,
                "of_unknown_length": plan.estimate.unknown,
                "audio_seconds": plan.estimate.audio_ms as f64 / 1_000.0,
                "audio_seconds_give_or_take": plan.estimate.give_or_take_ms as f64 / 1_000.0,
                "headers_read": plan.estimate.sampled,
                "cost_usd": Some(plan.estimate.cost).filter(|_| priced),
                "cost_usd_give_or_take": Some(plan.estimate.give_or_take).filter(|_| priced),
                "least_seconds": least.map(|ms| ms / 1_000),
                "requests_per_minute": limits.limits.requests_per_minute,
                "limit_set_by": limits.rate_by.to_string(),
            },
        })
    });
    json!({
        "batch": definition.batch,
        "task": definition.task.task(),
        "model": definition.task.model(),
        "ledger": { "path": config.database, "new": fresh },
        "settings": config.file,
        "manifest": definition.manifest,
        "outputs": definition.output,
        "report": definition.report_to,
        "notes": definition.notes(),
        "unlisted": unlisted,
        "plan": plan,
        "not_checked": unchecked,
    })
}
