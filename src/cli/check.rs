//! `wavebatch check`

use clap::Args;
use serde_json::{Value, json};

use super::{
    Context, Exit, Stop,
    drive::fetcher,
    sources::Sources,
    tell::{self, stt},
    words::{counted, dollars, duration, grouped},
};
use crate::{
    config::{Config, KEY, SetBy},
    definition::Definition,
    runner::intake::{self, Estimate, ExitClass, IntakeError, Plan},
    store::{Store, StoreError},
};

/// Check a batch and tell what running it would do
///
/// Needs no key, calls no API, writes nothing, and says what it could not check. A remote manifest is fetched, a prefix
/// listed, and of recordings with a known size some headers are read, to tell how long they are.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch check jobs/support-calls.toml")]
pub struct Check {
    #[command(flatten)]
    sources: Sources,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// How the answer is wanted.
pub(super) struct Ask {
    pub(super) json: bool,
}

impl Check {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Stop> {
        check(context, &self.sources, Ask { json: self.json }).await
    }
}

pub(super) async fn check(context: &Context, sources: &Sources, ask: Ask) -> Result<Exit, Stop> {
    let config = context.config(sources.sandbox)?;
    let definition = sources.definition(&context.env)?;
    let world = if sources.sandbox { "sandbox" } else { "waves" };
    let store = match Store::open(config.opening(false)).await {
        Ok((store, _)) => Some(store),
        Err(StoreError::Missing(_)) => None,
        Err(e) => return Err(Stop::of_ledger(e, &config.database)),
    };
    let mut unchecked = unchecked(context, sources.sandbox);
    let plan = plan(&definition, store.as_ref(), world, sources.again, &config).await;
    let plan = match plan {
        Ok(plan) => Some(plan),
        // Without a network a remote manifest is what cannot be checked.
        Err(e @ IntakeError::Fetch { .. }) if e.exit_class() == ExitClass::CouldNotRun => {
            unchecked.insert(0, format!("the manifest: {:#}", anyhow::Error::from(e)));
            None
        }
        Err(e) => return Err(e.into()),
    };
    let screen = &context.screen;
    if ask.json {
        let value = in_json(&definition, &config, store.is_none(), plan.as_ref(), &unchecked);
        screen.result(&format!("{value:#}"))?;
    } else {
        screen.result(&told(&definition, &config, store.is_none(), plan.as_ref(), &unchecked, world))?;
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

async fn plan(
    definition: &Definition,
    store: Option<&Store>,
    world: &str,
    again: bool,
    config: &Config,
) -> Result<Plan, IntakeError> {
    // No ledger, no spool; and what is only looked at belongs to neither.
    let dir = std::env::temp_dir().join(format!("wavebatch-check-{}", std::process::id()));
    let needs_copy = definition.origin.needs_copy();
    let planning = async {
        let copy = match fetcher() {
            Ok(fetcher) if needs_copy => intake::copy_manifest(definition, &dir, &fetcher, tokio::io::stdin()).await?,
            _ => None,
        };
        let spooled = copy.as_ref().map(intake::ManifestCopy::spooled);
        intake::plan(store, definition, spooled, world, again, &config.rates).await
    };
    let plan = planning.await;
    if needs_copy {
        let _ = std::fs::remove_dir(&dir);
    }
    plan
}

fn unchecked(context: &Context, sandbox: bool) -> Vec<String> {
    let mut unchecked = vec!["the recordings: whether they are there, are audio, and how long they are".to_owned()];
    if !sandbox {
        unchecked.push(match context.env.key {
            Some(_) => "the key: whether the API accepts it".into(),
            None => format!("the key: {KEY} is not set"),
        });
    }
    unchecked.push("the output: whether it can be written, and is this batch's".into());
    unchecked
}

fn told(
    definition: &Definition,
    config: &Config,
    fresh: bool,
    plan: Option<&Plan>,
    unchecked: &[String],
    world: &str,
) -> String {
    let mut facts = vec![tell::headline(definition, world)];
    facts.extend(tell::places(config, fresh));
    facts.push(tell::fact("manifest", &definition.manifest));
    if let Some(plan) = plan {
        facts.extend(lines(plan));
        facts.extend(tell::option_columns(&plan.spec.option_columns));
        facts.extend(tell::passed_over(&plan.scan.ignored));
    }
    facts.push(tell::fact("outputs", definition.output.as_str()));
    facts.extend(definition.report_to.as_ref().map(|to| tell::fact("report", to)));
    facts.extend(definition.notes().iter().map(|note| tell::fact("note", note)));
    if let Some(plan) = plan {
        facts.extend(cost(plan, config));
        if !plan.scan.faults.is_empty() {
            facts.push(format!("\nbad lines, which would be skipped:\n{}", plan.scan.faults));
        }
    }
    facts.push("\nnot checked".into());
    facts.extend(unchecked.iter().map(|what| format!("  {what}")));
    facts.join("\n")
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
    let mut facts = vec![tell::fact("lines", parts.join(", "))];
    let mut some = |n: u64, words: &str| {
        if n > 0 {
            facts.push(tell::fact("", format!("{}{words}", counted(n, "line"))));
        }
    };
    some(plan.scan.without_source, " without a source: nothing to do");
    some(plan.gone, " of the batch are not in the manifest any more; they stay");
    if plan.redelivers {
        facts.push(tell::fact("", "what is done is rendered and delivered again from kept answers"));
    }
    facts
}

fn cost(plan: &Plan, config: &Config) -> Vec<String> {
    let (estimate, model) = (&plan.estimate, stt(&plan.spec));
    if estimate.lines == 0 {
        return vec![tell::fact("cost", "none: nothing is left to do")];
    }
    let limits = tell::limits_of(config, &plan.spec);
    if limits.rate_by == SetBy::Sandbox {
        return vec![tell::fact("cost", "none: the sandbox neither bills nor limits")];
    }
    let rates = &config.rates;
    let price = format!("{} a minute by {model}, list price of {}", dollars(rates.per_minute(model).0), rates.as_of);
    let known = about(estimate);
    let cost = match (estimate.unknown, estimate.audio_ms) {
        (0, _) => format!("{known} ({price})"),
        (_, 0) => format!("{price}; how long the audio is shows as it is opened"),
        (unknown, _) => format!("{known}, and {} of unknown length ({price})", counted(unknown, "line")),
    };
    vec![tell::fact("cost", cost), tell::fact("time", tell::finish(estimate.lines, &limits))]
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
    let plan = plan.map(|plan| {
        let limits = tell::limits_of(config, &plan.spec);
        let least =
            limits.limits.requests_per_minute.map(|rate| super::progress::least_time(plan.estimate.lines, rate));
        json!({
            "existed": plan.existed,
            "lines": plan.scan.lines,
            "new": plan.diff.new,
            "changed": plan.diff.changed,
            "done": plan.diff.done,
            "open": plan.diff.open,
            "bad": plan.scan.bad,
            "without_source": plan.scan.without_source,
            "gone": plan.gone,
            "option_columns": plan.spec.option_columns,
            "bad_lines": plan.scan.faults.list.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "rebuy": plan.rebuy.map(|rebuy| json!({ "lines": rebuy.lines, "cost_usd": rebuy.cost })),
            "estimate": {
                "lines": plan.estimate.lines,
                "of_unknown_length": plan.estimate.unknown,
                "audio_seconds": plan.estimate.audio_ms as f64 / 1_000.0,
                "audio_seconds_give_or_take": plan.estimate.give_or_take_ms as f64 / 1_000.0,
                "headers_read": plan.estimate.sampled,
                "cost_usd": plan.estimate.cost,
                "cost_usd_give_or_take": plan.estimate.give_or_take,
                "least_seconds": least.map(|ms| ms / 1_000),
                "requests_per_minute": limits.limits.requests_per_minute,
                "limit_set_by": limits.rate_by.to_string(),
            },
        })
    });
    json!({
        "batch": definition.batch,
        "task": definition.task,
        "model": definition.transcribe.model,
        "ledger": { "path": config.database, "new": fresh },
        "settings": config.file,
        "manifest": definition.manifest,
        "outputs": definition.output,
        "report": definition.report_to,
        "notes": definition.notes(),
        "plan": plan,
        "not_checked": unchecked,
    })
}
