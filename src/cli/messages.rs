//! Messages to the user before and after the work.

use super::{
    context::Context,
    error::{CliError, Exit},
    reading,
    words::{command, counted, dollars, duration, fact, grouped},
};
use crate::{
    app::Published,
    config::{Config, PoolLimits},
    definition::{Columns, Definition, manifest::Ignored},
    domain::{
        batch::{BATCH, BatchSpec},
        cost::Rates,
        environment::Environment,
        estimate::least_time,
        job::JobState,
        row::RowStatus,
        task::Task,
    },
    report::{
        BatchRequest, Rest,
        summary::{Summary, SummaryState},
    },
    runner::{
        DEFAULT_CONCURRENCY,
        intake::{PreviewLine, Submission},
    },
    store::Counts,
    tasks::Registry,
};

/// The locations of the ledger and the settings, and the API if it is not the vendor's own.
pub(super) fn places(config: &Config, fresh: bool) -> Vec<String> {
    let new = if fresh { " (new)" } else { "" };
    let mut facts = vec![fact("ledger", format!("{}{new}", config.database))];
    facts.extend(config.file.as_ref().map(|file| fact("settings", file.display().to_string())));
    facts.extend(config.origin().filter(|_| !config.is_of_sandbox()).map(|origin| fact("api", origin)));
    facts
}

/// The columns that override options.
pub(super) fn option_columns(columns: &[String]) -> Option<String> {
    let how = "set options of their lines (--option-columns '' turns that off)";
    (!columns.is_empty()).then(|| fact("columns", format!("{} {how}", columns.join(", "))))
}

/// What each column of a manifest is. `content` is what the task works on: `source`, `text`.
pub(super) fn columns(columns: &Columns, content: &str) -> Vec<String> {
    let key = columns.key.iter().map(|key| format!("key: {key}"));
    let by_language = columns.by_language.iter().map(|(language, column)| format!("{content} in {language}: {column}"));
    let only = columns.content.iter().filter(|_| columns.by_language.is_empty());
    let content = by_language.chain(only.map(|column| format!("{content}: {column}")));
    let set = columns.options.iter().zip(&columns.option_columns);
    let options = set.map(|(option, column)| match option == column {
        true => option.clone(),
        false => format!("{option}: {column}"),
    });
    let uses: Vec<_> = key.chain(content).chain(options).collect();
    let carried =
        (!columns.carried.is_empty()).then(|| format!("carried into the report: {}", columns.carried.join(", ")));
    let mut facts = vec![fact("columns", uses.join(", "))];
    facts.extend(carried.map(|carried| fact("", carried)));
    facts
}

/// The first lines, as they would be worked.
pub(super) fn preview(lines: &[PreviewLine]) -> Vec<String> {
    let shown = |line: &PreviewLine| {
        let content = line.source.clone().or(line.text.as_ref().map(|text| format!("\"{text}\"")));
        let set: Vec<_> = line.options.iter().map(|(option, cell)| format!("{option}={cell}")).collect();
        let set = if set.is_empty() { String::new() } else { format!(" [{}]", set.join(", ")) };
        let outputs = match line.outputs.as_slice() {
            [] => String::new(),
            [first] => format!(" -> {first}"),
            [first, rest @ ..] => format!(" -> {first} and {}", counted(rest.len() as u64, "more output")),
        };
        let content = content.unwrap_or_else(|| "nothing to do".into());
        format!("{}: {content}{set}{outputs}", line.key)
    };
    let names = std::iter::once("e.g.").chain(std::iter::repeat(""));
    lines.iter().map(shown).zip(names).map(|(line, name)| fact(name, line)).collect()
}

/// The entries that a listing ignored.
pub(super) fn passed_over(ignored: &Ignored) -> Option<String> {
    let ignored: Vec<_> = ignored.iter().map(|(kind, n)| format!("{} {kind}", grouped(*n))).collect();
    (!ignored.is_empty()).then(|| fact("ignored", ignored.join(", ")))
}

/// For lines whose captions have no word times.
pub(super) const WITHOUT_WORD_TIMES: &str =
    " bought without word times: their captions share the length out; `retry --key` pays for one again with them";

/// For a manifest without lines.
pub(super) const NO_LINES: &str = "none: there is nothing to do";

/// The result of a submission.
pub(super) fn submitted(done: &Submission, (task, asked): (&dyn Task, &dyn BatchRequest)) -> Vec<String> {
    let s = &done.submitted;
    let mut parts = Vec::new();
    for (n, what) in [(s.new, "new"), (s.changed, "changed"), (s.same, "there already"), (done.bad, "bad")] {
        if n > 0 {
            parts.push(format!("{} {what}", grouped(n)));
        }
    }
    let is_fed = done.feeder.is_some();
    if parts.is_empty() {
        parts.push(if is_fed { "none so far" } else { NO_LINES }.into());
    }
    let mut facts = Vec::new();
    let one = if task.has_parts() { "output" } else { "line" };
    if done.older_batch {
        let message = format!("{}: it has this manifest and these options (--again makes a new batch)", done.name);
        facts.push(fact("goes on", message));
    }
    let product = asked.product(done.lines, s.new + s.changed + s.same).filter(|_| !is_fed);
    match product {
        Some(product) => {
            facts.push(fact("lines", product));
            facts.push(fact("", parts.join(", ")));
        }
        None => facts.push(fact("lines", parts.join(", "))),
    }
    if is_fed {
        facts.push(fact(
            "",
            format!("more come as the batch `{}` finishes them", done.spec.manifest.trim_start_matches(BATCH)),
        ));
    }
    facts.extend(passed_over(&done.ignored));
    facts.extend(reading::compared(&done.compared, done.readdressed.as_deref()));
    let mut some = |n: u64, words: &str| {
        if n > 0 {
            facts.push(fact("", format!("{}{words}", counted(n, one))));
        }
    };
    some(done.adopted, " whose outputs were there already: done");
    some(done.without_source, " without a source: nothing to do");
    some(done.forgotten, " of the manifest forgotten (`wavebatch forget`); they stay so, and nothing is paid for");
    some(done.gone, " of the batch not in the manifest any more; kept in its report");
    some(
        done.dropped,
        " in voices, formats or languages that are not asked for any more; `report --with-dropped` shows them",
    );
    some(done.redelivered, " rendered and delivered again from kept answers");
    some(done.without_word_times, WITHOUT_WORD_TIMES);
    some(done.pruned, " need other formats, and their answers are pruned; `retry --key` pays for one again");
    facts
}

/// The remaining work, its cost, and its least time.
pub(super) fn outlook(
    counts: &Counts,
    (spec, asked): (&BatchSpec, &dyn BatchRequest),
    limits: &PoolLimits,
    rates: &Rates,
) -> Vec<String> {
    let left = counts.unfinished();
    if left == 0 {
        return Vec::new();
    }
    let done = counts.of(JobState::Succeeded) + counts.of(JobState::Suspect);
    let rest = Rest { jobs: left, done, audio_ms: counts.audio_ms };
    let mut facts = vec![fact("cost", asked.price_of_rest(&rest, rates))];
    facts.extend(spec.run.max_spend_usd.map(|most| fact("", format!("at most {} over all runs", dollars(most.0)))));
    facts.push(fact("time", finish(left, limits)));
    facts
}

/// The remaining work in the sandbox.
pub(super) fn sandbox_outlook(counts: &Counts) -> Vec<String> {
    if counts.unfinished() == 0 { Vec::new() } else { vec![fact("cost", "none: the sandbox neither bills nor limits")] }
}

/// The least time, and the limit that decides it.
pub(super) fn finish(calls: u64, limits: &PoolLimits) -> String {
    let at_once = match limits.limits.concurrency {
        // What both limits come from is named once, behind the rate.
        Some(n) if limits.concurrency_by == limits.rate_by => format!("{n} calls in flight"),
        Some(n) => format!("{n} calls in flight ({})", limits.concurrency_by),
        None => format!("{DEFAULT_CONCURRENCY} calls in flight"),
    };
    match limits.limits.requests_per_minute {
        Some(rate) => {
            let least = match least_time(calls, rate) {
                0 => "within the first minute's requests".to_owned(),
                ms => format!("at least {}", duration(ms)),
            };
            format!("{least}: {rate} requests/min ({})", limits.rate_by)
        }
        None => format!("as fast as {at_once} go; no limit of requests/min ({})", limits.rate_by),
    }
}

/// The first line about a definition.
pub(super) fn headline(definition: &Definition, tasks: &Registry, environment: Environment) -> String {
    let task = definition.task.task();
    let invented = tasks.reports().get(task).filter(|_| environment.is_sandbox()).map(|task| task.invented());
    let sandbox = invented.map(|what| format!(" in the sandbox: nothing is sent, {what}")).unwrap_or_default();
    format!("{}: {task} by {}{sandbox}", definition.batch, definition.task.model())
}

/// Writes the end of the work on a batch to a log for machines: one record for the batch, one for each kind of failure.
fn log(summary: &Summary) {
    let name = summary.batch.as_str();
    for failures in &summary.failures {
        let (count, key, error) = (failures.count, failures.key.as_str(), failures.error.as_str());
        tracing::warn!(batch.name = name, kind = %failures.kind, lines = count, job.key = key, error, "lines failed");
    }
    for suspects in &summary.suspects {
        let (count, key) = (suspects.count, suspects.key.as_str());
        tracing::warn!(batch.name = name, kind = %suspects.reason, lines = count, job.key = key, "lines are suspect");
    }
    let run = summary.this_run.unwrap_or_default();
    tracing::info!(
        batch.name = name,
        batch.state = %summary.state,
        lines.total = summary.total(),
        lines.succeeded = summary.count(RowStatus::Succeeded),
        lines.suspect = summary.count(RowStatus::Suspect),
        lines.failed = summary.count(RowStatus::Failed),
        lines.cancelled = summary.count(RowStatus::Cancelled),
        audio_seconds = summary.audio_seconds,
        run.took_ms = run.took_ms,
        run.calls = run.calls,
        run.billed_calls = run.billed_calls,
        run.spend_usd = run.spend_usd.usd(),
        calls = summary.calls,
        billed_calls = summary.billed_calls,
        spend_usd = summary.spend.total_usd.usd(),
        outputs = summary.outputs,
        report = summary.report,
        "batch done"
    );
}

/// Prints the status of a batch after the work. Returns the exit status.
pub(super) fn after(context: &Context, published: Published, interrupted: Exit) -> Exit {
    let (screen, choice) = (&context.screen, context.choice());
    let Published { summary, spec, sandbox, pause, waits_for, failed } = published;
    let (unpublished, ledger) = (failed.is_some(), (&choice, Environment::sandboxed(sandbox)));
    if screen.is_log() {
        log(&summary);
    } else {
        screen.message(&format!("\n{}", summary.to_table(screen.width(), ledger)));
    }
    match failed {
        None if screen.is_log() => {}
        None => {
            let outputs = summary.outputs.trim_end_matches('/');
            match summary.report.strip_prefix(outputs) {
                Some(name) if name.starts_with('/') => {
                    screen.message(&fact("report", format!("{}, summary.json", summary.report)));
                }
                _ => {
                    screen.message(&fact("report", &summary.report));
                    screen.message(&fact("summary", format!("{outputs}/summary.json")));
                }
            }
        }
        Some(error) => screen.error(&CliError::from(error).message()),
    }
    if sandbox && !screen.is_log() {
        screen.message(&fact("note", "the sandbox is free; the spend is what the API would have asked"));
    }
    match summary.state {
        SummaryState::Paused => {
            // Not shortened: the user must act on it.
            screen.message(&fact("paused", summary.pause_reason.as_deref().unwrap_or_default()));
            screen.message(&match pause {
                Some(kind) if kind.only_the_user_lifts() => {
                    format!("-> {}", command(ledger, &["resume", &summary.batch]))
                }
                Some(kind) if kind.ends_by_itself() => {
                    "-> the same command goes on once the limit is raised, or then".to_owned()
                }
                Some(kind) => format!("-> {}", kind.remedy("the same command goes on", "")),
                None => "-> mend that, and the same command goes on".to_owned(),
            });
            Exit::Blocked
        }
        SummaryState::Interrupted => {
            screen.message("-> the same command goes on");
            interrupted
        }
        SummaryState::Running if let Some(by) = &waits_for => {
            let why = "is not finished, and no process works it";
            screen.message(&fact("waits", format!("for lines of the batch `{}`, which {why}", by.batch)));
            let next = match by.is_held {
                true => vec!["resume", &by.batch],
                false => vec!["work", "--batch", &by.batch, "--batch", &summary.batch],
            };
            screen.message(&format!("-> {}", command(ledger, &next)));
            Exit::Blocked
        }
        SummaryState::Running | SummaryState::Waiting => Exit::Success,
        SummaryState::Finished | SummaryState::Cancelled if unpublished => Exit::Blocked,
        SummaryState::Finished | SummaryState::Cancelled => {
            let bad = [RowStatus::Failed, RowStatus::Suspect, RowStatus::Cancelled].map(|s| summary.count(s));
            Exit::of_lines(bad.iter().sum(), summary.total(), spec.run.tolerate)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::LimitOrigin,
        domain::{cost::RATES_AS_OF, pool::Limits},
    };
    use crate::{report::ReportTask, tasks::Transcribe};

    fn limits(rate: Option<u32>, concurrency: Option<u32>) -> PoolLimits {
        PoolLimits {
            limits: Limits { requests_per_minute: rate, concurrency },
            rate_by: LimitOrigin::Preset(crate::config::Plan::Standard),
            concurrency_by: LimitOrigin::Definition,
        }
    }

    #[test]
    fn the_binding_limit_is_named() {
        let preset = "(preset standard; change it in wavebatch.toml [limits])";
        assert_eq!(finish(1_000, &limits(Some(25), None)), format!("at least 39 min 0 s: 25 requests/min {preset}"));
        assert_eq!(
            finish(20, &limits(Some(25), None)),
            format!("within the first minute's requests: 25 requests/min {preset}")
        );
        assert_eq!(
            finish(20, &limits(None, Some(4))),
            format!("as fast as 4 calls in flight (the definition's [run]) go; no limit of requests/min {preset}")
        );
        let alike =
            PoolLimits { concurrency_by: LimitOrigin::Preset(crate::config::Plan::Standard), ..limits(None, Some(4)) };
        assert_eq!(finish(20, &alike), format!("as fast as 4 calls in flight go; no limit of requests/min {preset}"));
    }

    #[test]
    fn the_cost_is_judged_by_what_is_done() {
        let mut spec = serde_json::json!({
            "definition": "d", "task": "transcribe", "manifest": "m", "output": "/o",
            "asked": { "formats": ["json"], "options": { "model": "pulse", "language": "en", "word_timestamps": false, "diarize": false,
                "redact_pii": false, "redact_pci": false, "redact": "strict", "emotion_detection": false,
                "gender_detection": false, "expire_content": "false", "allow_silence": false, "send": "auto" } },
            "run": {}, "report": {}, "carried": [], "option_columns": [],
        });
        spec["asked"]["listening"] = serde_json::json!({ "channels": "split" });
        let split: BatchSpec = serde_json::from_value(spec.clone()).unwrap();
        spec["asked"]["listening"] = serde_json::json!({});
        let spec: BatchSpec = serde_json::from_value(spec).unwrap();
        let asked = Transcribe.batch(&spec.task).unwrap();
        let message = |counts: &Counts| outlook(counts, (&spec, &*asked), &limits(None, None), &Rates::default());
        let mut counts = Counts::default();
        assert!(message(&counts).is_empty());
        counts.by_state.insert(JobState::Queued, 10);
        assert!(message(&counts)[0].contains("how long the audio is shows as it is opened"));
        counts.by_state.insert(JobState::Succeeded, 2);
        counts.audio_ms = 120_000;
        let price = format!("$0.005 a minute by pulse, list price of {RATES_AS_OF}");
        assert_eq!(
            message(&counts)[0],
            fact("cost", format!("about $0.05 for 10 min 0 s of audio, judging by the 2 done ({price})"))
        );
        let asked = Transcribe.batch(&split.task).unwrap();
        let rest = Rest { jobs: 10, done: 0, audio_ms: 0 };
        let said = asked.price_of_rest(&rest, &Rates::default());
        assert!(said.ends_with("; a recording of two channels is two calls where both speak"), "{said}");
    }
}
