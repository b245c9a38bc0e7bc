//! `wavebatch check`

use clap::Args;
use jiff::{Timestamp, tz::TimeZone};

use super::{
    content::{self, WarningsShown},
    context::Context,
    error::{CliError, Exit},
    heard, messages, reading,
    sources::Sources,
    terminal::Terminal,
    words::{command, counted, dollars, duration, fact, grouped},
};
use crate::{
    app::{
        self, AppError, CheckRequest, Checked, Settings, Stages, check_public_url, in_order, limits_of,
        views::{BatchLimitView, ChainEndView, ChainView, CheckView, HeardView, PartView, PlanView},
    },
    clock::Millis,
    config::{Config, LimitOrigin},
    definition::Definition,
    domain::{batch::RunSettings, environment::NamedLedger, estimate::least_time, task::Unit},
    report::{BatchRequest, asked_of},
    runner::intake::{Estimate, HowMany, IntakeError, PartPreview, Plan, Seen, Share},
    shutdown::Shutdown,
    store::BatchPhase,
};

/// Check a batch and tell what running it would do
///
/// Needs no key, calls no API, writes nothing, and says what it could not check. A remote manifest is fetched, a prefix
/// listed, and of recordings with a known size some headers are read, to tell how long they are. With --analyze it also
/// listens to recordings, free and on this machine: how many are stereo, dual mono, one-sided or silent, how much is spoken,
/// and what they cost with all channels in one call or a call for each.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wavebatch check jobs/support-calls.toml\n  wavebatch check jobs/support-calls.toml --analyze 200"
)]
pub struct Check {
    #[command(flatten)]
    sources: Sources,
    /// Of texts, print each part: key, voice, what is paid for, number, characters, kept, new or a pause, text
    #[arg(long)]
    parts: bool,
    /// Only the parts of this key
    #[arg(long, value_name = "KEY", requires = "parts")]
    key: Option<String>,
    /// Listen to so many recordings, or to all; those that are elsewhere are fetched
    #[arg(long, value_name = "N|all", value_parser = how_many, conflicts_with = "parts")]
    analyze: Option<HowMany>,
    /// How many warnings about texts the screen shows; JSON always has all
    #[arg(long, value_name = "WHICH", default_value = "few")]
    warnings: WarningsShown,
    /// As JSON; of parts, an object a line
    #[arg(long)]
    json: bool,
}

fn how_many(text: &str) -> Result<HowMany, String> {
    match text.parse() {
        _ if text == "all" => Ok(HowMany::All),
        Ok(most @ 1..) => Ok(HowMany::AtMost(most)),
        _ => Err("write a number of recordings, e.g. 200, or all".into()),
    }
}

/// What is looked at, and the form of the output.
#[derive(Default)]
pub(super) struct CheckFlags {
    pub(super) json: bool,
    pub(super) parts: bool,
    pub(super) key: Option<String>,
    pub(super) analyze: Option<HowMany>,
    pub(super) warnings: WarningsShown,
}

impl Check {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let Self { sources, parts, key, analyze, warnings, json } = self;
        check(context, &sources, CheckFlags { json, parts, key, analyze, warnings }).await
    }
}

pub(super) async fn check(context: &Context, sources: &Sources, ask: CheckFlags) -> Result<Exit, CliError> {
    let settings = context.settings(sources.sandbox)?;
    let definitions = in_order(sources.definitions(&context.env, context.tasks.definitions())?)?;
    let (mut worst, mut before) = (Exit::Success, Stages::default());
    for (nth, definition) in definitions.into_iter().enumerate() {
        let definition = definition.asked_at(settings.config.origin());
        if ask.parts {
            return parts(context, &settings, &definition, &ask).await;
        }
        if nth > 0 && !ask.json {
            context.screen.result("")?;
        }
        let exit = Box::pin(check_one(context, (&settings, sources), (&definition, &mut before), &ask)).await?;
        worst = if exit.code() > worst.code() { exit } else { worst };
    }
    Ok(worst)
}

/// What comes of the batch that feeds a definition, and when the definition ends.
fn chain_facts(chain: &ChainView) -> Vec<String> {
    let lines = counted(chain.lines, "line");
    let calls = chain.calls.map(|calls| format!(" in {}", counted(calls, "call")));
    let cost = match (chain.cost_usd, calls) {
        (Some(cost), Some(calls)) => format!(": about {}{calls}, an estimate by its lines", dollars(cost.0)),
        (None, Some(calls)) => format!(",{calls}"),
        _ => "; their cost shows then".to_owned(),
    };
    let mut facts = vec![fact("to come", format!("{lines}, as `{}` finishes them{cost}", chain.fed_by))];
    facts.extend(chain.end.map(|end| fact("ends", ends(chain, end))));
    facts
}

/// When a definition of a chain ends, and what decides it.
fn ends(chain: &ChainView, end: ChainEndView) -> String {
    let at = match end.least_seconds {
        0 => String::new(),
        _ => format!("at {} at the earliest, ", clock_time(end.ends_at.0)),
    };
    match chain.requests_per_minute {
        Some(rate) => {
            let later = duration(end.seconds_after.saturating_mul(1_000));
            format!("{at}{later} after `{}`: {rate} requests/min bind", chain.fed_by)
        }
        None => format!("{at}soon after `{}`", chain.fed_by),
    }
}

/// A moment by the clock of this machine: `05:10`, with its day if that is not today.
fn clock_time(at: Millis) -> String {
    let zoned = |ms| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX).to_zoned(TimeZone::system());
    let at = zoned(at);
    let is_today = at.date() == Timestamp::now().to_zoned(TimeZone::system()).date();
    at.strftime(if is_today { "%H:%M" } else { "%Y-%m-%d %H:%M" }).to_string()
}

async fn check_one(
    context: &Context,
    (settings, sources): (&Settings, &Sources),
    (definition, before): (&Definition, &mut Stages),
    ask: &CheckFlags,
) -> Result<Exit, CliError> {
    let events = Terminal::events(&context.screen);
    let (planned, to_come) = (before.planned().to_vec(), before.to_come(definition));
    let request = CheckRequest { consent: sources.consent(), analyze: ask.analyze, planned: &planned, to_come };
    let checking = app::check(settings, definition, request, &events, tokio::io::stdin());
    let checked = match ask.analyze {
        None => checking.await?,
        Some(_) => {
            let task = settings.tasks.intakes().get(definition.task.task());
            if task.is_none_or(|task| task.heard_offers(definition).is_none()) {
                return Err(CliError::usage("`--analyze` is for recordings; texts are not heard"));
            }
            // Fetched recordings do not stay on this machine if it is interrupted.
            let shutdown = Shutdown::listen()?;
            tokio::select! {
                checked = checking => checked?,
                () = shutdown.drain.cancelled() => return Err(AppError::Interrupted(shutdown.signal()).into()),
            }
        }
    };
    let asked = match &checked.plan {
        Some(plan) => Some(asked_of(settings.tasks.reports(), &plan.spec)?),
        None => None,
    };
    let limits = checked.plan.as_ref().zip(asked.as_deref());
    let limits = limits.map(|(plan, asked)| limits_of(&settings.config, &plan.spec, asked));
    let now = Timestamp::now().as_millisecond();
    let chain = limits.and_then(|limits| before.add(definition, &checked, &limits, now));
    let screen = &context.screen;
    match ask.json {
        true => {
            let view = view(definition, &settings.config, (&checked, asked.as_deref()));
            screen.view(&CheckView { chain, ..view })?;
        }
        false => {
            let of_chain: Vec<String> = chain.iter().flat_map(chain_facts).collect();
            screen.result(&message((definition, &of_chain), settings, (&checked, asked.as_deref()), ask.warnings))?;
        }
    }
    let would_fail = checked.plan.as_ref().and_then(|plan| plan.seen.as_ref()).is_some_and(Seen::has_unusable);
    match checked.plan.and_then(|plan| plan.rebuy) {
        Some(rebuy) if !sources.rebuy => {
            Err(IntakeError::WouldRebuy { batch: definition.batch.to_string(), rebuy }.into())
        }
        _ if would_fail => Ok(Exit::Lines),
        _ => Ok(Exit::Success),
    }
}

/// Prints every part as it would be bought.
async fn parts(
    context: &Context,
    settings: &Settings,
    definition: &Definition,
    ask: &CheckFlags,
) -> Result<Exit, CliError> {
    check_public_url(definition, &settings.config, settings.environment.is_sandbox())?;
    let screen = &context.screen;
    let print = |part: PartPreview| match ask.json {
        true if part.is_pause => Ok(()),
        true => screen.views([PartView::from(&part)]),
        false => screen.result(&content::part(&part)),
    };
    let found = app::each_part(settings, definition, ask.key.as_deref(), tokio::io::stdin(), print).await?;
    let Some(found) = found else { return Err(CliError::usage("`--parts` is for texts; a recording is one part")) };
    match &ask.key {
        Some(key) if !found => Err(CliError::usage(format!("no line of {} has the key `{key}`", definition.manifest))),
        _ => Ok(Exit::Success),
    }
}

fn message(
    (definition, of_chain): (&Definition, &[String]),
    settings: &Settings,
    (checked, asked): (&Checked, Option<&dyn BatchRequest>),
    shown: WarningsShown,
) -> String {
    let Checked { plan, heard, voices, unchecked, new_ledger, .. } = checked;
    let (plan, config) = (plan.as_ref().zip(asked), &settings.config);
    let mut facts = vec![messages::headline(definition, &settings.tasks, settings.environment)];
    facts.extend(messages::places(config, *new_ledger));
    facts.push(fact("manifest", &definition.manifest));
    if let Some((plan, asked)) = plan {
        let gone = settings.tasks.reports().get(plan.spec.task.name).map_or("", |task| task.gone());
        facts.extend(plan_facts(plan, (&config.choice, settings.environment)));
        match definition.fed_by().filter(|_| plan.scan.lines == 0) {
            Some(by) => facts.push(fact("lines", format!("none so far: they come as `{by}` finishes them"))),
            None => facts.extend(lines(plan, asked, gone)),
        }
        facts.extend_from_slice(of_chain);
        facts.extend(messages::columns(&plan.scan.columns, definition.of.content_name()));
        facts.extend(messages::preview(&plan.preview));
        facts.extend(messages::passed_over(&plan.scan.ignored));
    }
    facts.push(fact("outputs", definition.output.as_str()));
    facts.extend(definition.report_to.as_ref().map(|to| fact("report", to)));
    facts.extend(kept_for(&definition.run).map(|words| fact("kept", words)));
    facts.extend(definition.task.facts().into_iter().map(|(title, what)| fact(title, what)));
    facts.extend(definition.notes().iter().map(|note| fact("note", note)));
    facts.extend(voices.iter().map(|warning| fact("voices", warning)));
    if let Some((plan, asked)) = plan {
        facts.extend(plan.scan.warnings.iter().map(|warning| fact("warning", warning)));
        facts.extend(plan.scan.unlisted_values.warnings().iter().map(|warning| fact("unlisted", warning)));
        facts.extend(plan.seen.iter().flat_map(sources));
        if definition.fed_by().is_none() || plan.scan.lines > 0 {
            facts.extend(cost(plan, (asked, definition.of.unit()), config));
        }
        let limits = limits_of(config, &plan.spec, asked);
        let priced = asked.is_priced(&config.rates) && limits.rate_by != LimitOrigin::Sandbox;
        let rate = limits.limits.requests_per_minute;
        facts.extend(heard.iter().flat_map(|heard| heard::facts(heard, rate, priced)));
        facts.extend(spend_limit(plan));
        facts.extend(queue(plan, asked));
        facts.extend(content::findings(&definition.manifest, &plan.findings, shown));
        if !plan.scan.faults.is_empty() {
            facts.push(format!("\nbad lines, which would be skipped:\n{}", plan.scan.faults));
        }
    }
    facts.push("\nnot checked".into());
    facts.extend(unchecked.iter().map(|what| format!("  {what}")));
    facts.join("\n")
}

/// What goes some time after the batch has finished, if the definition says so.
fn kept_for(run: &RunSettings) -> Option<String> {
    let goes = |what: &str, keep: Option<std::time::Duration>| {
        keep.map(|keep| format!("{what} {}", duration(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX))))
    };
    let said: Vec<String> = goes("content of lines in the ledger", run.keep_rows)
        .into_iter()
        .chain(goes("outputs and report", run.keep_outputs))
        .collect();
    (!said.is_empty()).then(|| format!("after the batch has finished: {}; then removed", said.join(", ")))
}

/// Why the batch cannot be worked in its state in the ledger.
fn plan_facts(plan: &Plan, ledger: NamedLedger<'_>) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some((kind, reason)) = &plan.pause {
        let resume = command(ledger, &["resume", plan.batch.as_str()]);
        let then = kind.remedy("run it again", &format!("`{resume}`"));
        facts.push(fact("batch", format!("{}; {then}", kind.in_words(reason))));
    }
    let submission = match plan.phase {
        Some(BatchPhase::Submitting) => Some("its submission is under way; nothing is worked until that is done"),
        Some(BatchPhase::CutOff) => Some("its submission was cut off; submitting it again finishes it"),
        _ => None,
    };
    facts.extend(submission.map(|words| fact("batch", words)));
    facts
}

fn lines(plan: &Plan, asked: &dyn BatchRequest, gone: &str) -> Vec<String> {
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
    let (mut facts, one) = match asked.product(plan.scan.lines, plan.scan.jobs) {
        Some(product) => (vec![fact("lines", product), fact("", parts.join(", "))], "output"),
        None if parts.is_empty() => (vec![fact("lines", messages::NO_LINES)], "line"),
        None => (vec![fact("lines", parts.join(", "))], "line"),
    };
    let mut some = |n: u64, words: &str| {
        if n > 0 {
            facts.push(fact("", format!("{}{words}", counted(n, one))));
        }
    };
    some(plan.scan.without_source, " without a source: nothing to do");
    some(plan.gone, gone);
    some(plan.redelivered, " rendered and delivered again from kept answers");
    some(plan.without_word_times, messages::WITHOUT_WORD_TIMES);
    facts.extend(reading::compared(&plan.compared, plan.readdressed.as_deref()));
    facts
}

fn cost(plan: &Plan, (asked, unit): (&dyn BatchRequest, Unit), config: &Config) -> Vec<String> {
    let estimate = &plan.estimate;
    if plan.scan.lines == 0 {
        return vec![fact("cost", messages::NO_LINES)];
    }
    if estimate.lines == 0 {
        return vec![fact("cost", "none: nothing is left to do")];
    }
    let limits = limits_of(config, &plan.spec, asked);
    if limits.rate_by == LimitOrigin::Sandbox {
        let synthesis = plan.purchases.iter().flat_map(|purchases| content::purchases(purchases, unit, false));
        let none = fact("cost", "none: the sandbox neither bills nor limits");
        return synthesis.chain([none]).chain(unproven(estimate)).chain(most(estimate, None, false)).collect();
    }
    let rates = &config.rates;
    if let Some(purchases) = &plan.purchases {
        let mut facts = content::purchases(purchases, unit, true);
        facts.extend(content::cost(purchases));
        if purchases.parts > 0 {
            facts.push(fact("time", messages::finish(purchases.parts, &limits)));
        }
        return facts;
    }
    let price = asked.price(rates);
    let (rate, time) = (limits.limits.requests_per_minute, fact("time", messages::finish(estimate.lines, &limits)));
    if !asked.is_priced(rates) {
        return [fact("cost", price)].into_iter().chain(most(estimate, rate, false)).chain([time]).collect();
    }
    let known = about(estimate);
    let cost = match (estimate.unknown, estimate.audio_ms) {
        (0, _) => format!("{known} ({price})"),
        (_, 0) => format!("{price}; how long the audio is shows as it is opened"),
        (unknown, _) => format!("{known}, and {} of unknown length ({price})", counted(unknown, "line")),
    };
    [fact("cost", cost)].into_iter().chain(unproven(estimate)).chain(most(estimate, rate, true)).chain([time]).collect()
}

/// What is bought at most where channels have calls of their own.
fn most(estimate: &Estimate, rate: Option<u32>, priced: bool) -> Option<String> {
    let most = estimate.most.filter(|most| most.calls > estimate.lines)?;
    let calls = counted(most.calls, "call");
    let known = match priced && most.audio_ms > 0 {
        true => format!("at most about {} in {calls}", dollars(most.cost.0)),
        false => format!("at most about {calls}"),
    };
    let least = match rate.map_or(0, |rate| least_time(most.calls, rate)) {
        0 => String::new(),
        ms => format!(", which take at least {}", duration(ms)),
    };
    Some(fact("", format!("{known}{least}: recordings of two channels are two calls each where both speak")))
}

/// The known part of the cost, and its margin of error.
fn about(estimate: &Estimate) -> String {
    let (cost, audio) = (dollars(estimate.cost.0), duration(estimate.audio_ms));
    let judging = match estimate.sampled {
        0 => String::new(),
        n => format!(", judging by the headers of {}", counted(n, "recording")),
    };
    // A margin below one percent is not shown.
    if estimate.give_or_take_ms * 100 <= estimate.audio_ms {
        return format!("about {cost} for {audio} of audio{judging}");
    }
    let (cost_off, audio_off) = (dollars(estimate.give_or_take.0), duration(estimate.give_or_take_ms));
    format!("about {cost} ± {cost_off} for {audio} ± {audio_off} of audio{judging}")
}

/// What was seen of the recordings.
fn sources(seen: &Seen) -> Vec<String> {
    let share = |share: &Share, what: &str| {
        let one = share.example.as_ref().map(|one| format!(", e.g. {one}")).unwrap_or_default();
        let (found, of, lines) = (share.found, share.of, counted(seen.lines, "recording"));
        let message = match of >= seen.lines {
            true => format!("{} of {lines} {what}{one}", grouped(found)),
            false => format!(
                "{} of {} that were looked at {what}: about {} of {lines}{one}",
                grouped(found),
                grouped(of),
                grouped(share.about)
            ),
        };
        (found > 0).then_some(message)
    };
    let facts = [
        ("missing", share(&seen.missing, "are not there")),
        ("unusable", share(&seen.unusable, "cannot be used")),
        ("channels", share(&seen.stereo, "have two channels or more")),
    ];
    facts.into_iter().filter_map(|(name, message)| Some(fact(name, message?))).collect()
}

/// What the batch's spend limit leaves undone.
fn spend_limit(plan: &Plan) -> Option<String> {
    let BatchLimitView { max_spend_usd, spent_usd, undone } = BatchLimitView::of(plan)?;
    let spent = match spent_usd.0 {
        0 => String::new(),
        spent => format!(", of which {} is spent", dollars(spent)),
    };
    let limit = format!("max_spend_usd is {}{spent}", dollars(max_spend_usd.0));
    match undone {
        Some(0) => None,
        Some(undone) => Some(fact("limit", format!("{limit}: about {} would be left undone", counted(undone, "line")))),
        None => Some(fact("limit", format!("{limit}; whether that is enough is not known"))),
    }
}

/// The queue before it.
fn queue(plan: &Plan, asked: &dyn BatchRequest) -> Option<String> {
    let lines = counted(plan.queued, "line");
    (plan.queued > 0).then(|| fact("queue", format!("{lines} of other batches share the limits of {}", asked.pool())))
}

/// What is said of recordings that do not prove their length.
fn unproven(estimate: &Estimate) -> Option<String> {
    let (n, sampled) = (estimate.not_exact, counted(estimate.sampled, "recording"));
    let words = match n {
        0 => return None,
        1 => format!("1 of {sampled} that were looked at does not prove its length: it is an estimate"),
        n => format!("{} of {sampled} that were looked at do not prove their length: it is an estimate", grouped(n)),
    };
    Some(fact("", words))
}

fn view<'v>(
    definition: &'v Definition,
    config: &'v Config,
    (checked, asked): (&'v Checked, Option<&dyn BatchRequest>),
) -> CheckView<'v> {
    let Checked { plan, heard, voices, unchecked, new_ledger, .. } = checked;
    let plan = plan.as_ref();
    let of_plan = |(plan, asked): (&'v Plan, &dyn BatchRequest)| {
        let priced = plan.purchases.is_some() || asked.is_priced(&config.rates);
        PlanView::of(plan, &limits_of(config, &plan.spec, asked), definition.of.unit(), priced)
    };
    CheckView {
        unlisted: plan.map(|plan| plan.scan.unlisted_values.warnings()).unwrap_or_default(),
        plan: plan.zip(asked).map(of_plan),
        heard: heard.as_ref().zip(plan.zip(asked)).map(|(heard, (plan, asked))| {
            HeardView::of(
                heard,
                limits_of(config, &plan.spec, asked).limits.requests_per_minute,
                asked.is_priced(&config.rates),
            )
        }),
        not_checked: unchecked,
        voices,
        ..CheckView::of(definition, config, *new_ledger)
    }
}
