//! `wavebatch retry`

mod part;

use clap::Args;

use self::part::{PartRetry, Which};
use super::{
    context::{BatchArgs, Context},
    error::{CliError, Exit},
    lines::LineFlags,
    parts::Moment,
    words::{counted, grouped},
};
use crate::{
    app::AppError,
    domain::{cost::Rates, job::JobState, task::Task},
    report::{BatchRequest, asked_of, task_of},
    store::{BatchRow, Chosen, JobDetail, JobFilter, Retried, Selection, Store},
};

/// Queue failed, suspect and cancelled lines again, with their tries reset
///
/// Says first how many and what they cost. A kept answer is delivered, not paid for again, unless the line is suspect. A
/// line that succeeded is paid for again only with --key or --keys-from. With --part or --at one sentence of a text is spoken again, by all
/// voices and in all formats of the line, and its audio joined again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wavebatch retry support-calls --state suspect && wavebatch work --batch support-calls\n  wavebatch retry support-calls --state suspect --with split\n  wavebatch retry support-calls --where agent=bob --dry-run\n  wavebatch retry audiobook --key chapter-1 --at 00:12:34"
)]
pub struct Retry {
    #[command(flatten)]
    named: BatchArgs,
    #[command(flatten)]
    lines: LineFlags,
    /// Only this part of the line's text, as `jobs --parts` numbers them
    #[arg(long, value_name = "N", requires = "keys", value_parser = clap::value_parser!(u32).range(1..))]
    part: Option<u32>,
    /// Only the part that is heard at this moment of its audio, e.g. 00:12:34, 12:34 or 754.2
    #[arg(long, value_name = "TIME", requires = "keys", conflicts_with = "part")]
    at: Option<Moment>,
    /// Try suspect lines another way, once: split, pulse or pulse-pro. The better answer is kept
    #[arg(long = "with", value_name = "WAY", conflicts_with_all = ["part", "at"])]
    other_way: Option<String>,
    /// Say it, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Retry {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        self.check_flags()?;
        let rates = context.config(self.named.ledger.sandbox)?.rates;
        let (store, batch) = context.batch(&self.named).await?;
        let spec = batch.specification()?;
        let (task, asked) = (task_of(context.tasks.reports(), spec)?, asked_of(context.tasks.reports(), spec)?);
        let mut chosen = Chosen::of(batch.id, self.lines.changed(context, &store, &batch).await?);
        let again = self.again(&store, &batch, &chosen.lines, (&*task, &*asked, &rates)).await?;
        chosen.part = again.as_ref().map(|again| again.part);
        chosen.other_way.clone_from(&self.other_way);
        let mut plan = store.plan_retry(&chosen).await?;
        let otherwise = match &self.other_way {
            Some(name) => {
                let (way, price) = asked
                    .other_way(name, &plan, &rates)
                    .map_err(|message| CliError::usage(format!("--with {name}: {message}")))?;
                chosen.other_way = Some(way);
                Some(other_way(&batch.name, name, &plan, &price, &rates))
            }
            None => None,
        };
        if task.has_parts() && chosen.lines.names_keys() {
            // The ledger does not know which jobs share clips; for a few lines this can be computed.
            plan.units = part::characters(&store, &*asked, &rates, &jobs(&store, &batch, &chosen.lines).await?).await?;
        }
        let screen = &context.screen;
        screen.message(&match (otherwise, &again, self.lines.keys.first()) {
            (Some(message), ..) => message,
            (_, Some(again), Some(key)) if plan.jobs > 0 => again.message(&batch.name, key, &rates),
            _ => message(&batch.name, (&*task, &*asked), &plan, &rates),
        });
        if plan.jobs > 0 && plan.joined > 0 {
            let others = counted(plan.joined, "other output");
            screen.message(&format!("{others} with the same words: joined again from what is there, for nothing"));
        }
        if plan.jobs > 0 && !self.dry_run {
            store.retry(chosen).await?;
            let work = context.hint(batch.environment, &["work", "--batch", &batch.name]);
            screen.message(&format!("queued  -> {work}"));
        }
        store.close().await;
        Ok(Exit::Success)
    }

    /// The requested part, if there is one.
    async fn again(
        &self,
        store: &Store,
        batch: &BatchRow,
        lines: &Selection,
        (task, asked, rates): (&dyn Task, &dyn BatchRequest, &Rates),
    ) -> Result<Option<PartRetry>, CliError> {
        let Some(which) = self.part.map(Which::Numbered).or(self.at.map(Which::AtMoment)) else { return Ok(None) };
        if !task.has_parts() {
            return Err(AppError::NoParts(batch.name.clone()).into());
        }
        let jobs = jobs(store, batch, lines).await?;
        PartRetry::look(store, (asked, rates), which, &jobs).await.and_then(|again| {
            // Without this error the whole line would be bought.
            again.map(Some).ok_or_else(|| {
                CliError::usage(format!(
                    "{}: the line is not finished; no part of it can be spoken again yet",
                    batch.name
                ))
            })
        })
    }

    fn check_flags(&self) -> Result<(), CliError> {
        if (self.part.is_some() || self.at.is_some()) && (self.lines.keys.len() != 1 || self.lines.keys_from.is_some())
        {
            return Err(CliError::usage("one part is spoken again of one line").hint("name it with one --key"));
        }
        if self.other_way.is_some() && self.lines.states.iter().any(|state| *state != JobState::Suspect) {
            return Err(CliError::usage("only suspect lines are tried another way").hint("write --state suspect"));
        }
        let by_key = !self.lines.keys.is_empty() || self.lines.keys_from.is_some();
        match self.lines.states.iter().find(|state| !is_retried(**state, by_key)) {
            None => Ok(()),
            Some(JobState::Succeeded) => {
                Err(CliError::usage("lines that succeeded are paid for again only by their keys")
                    .hint("name them with --key or --keys-from"))
            }
            Some(other) => Err(CliError::usage(format!("lines that are {other} cannot be retried"))
                .hint("--state takes failed, suspect or cancelled")),
        }
    }
}

/// The jobs of these lines that can be retried.
async fn jobs(store: &Store, batch: &BatchRow, lines: &Selection) -> Result<Vec<JobDetail>, CliError> {
    let filter = JobFilter { lines: lines.clone(), limit: u32::MAX, ..JobFilter::default() };
    let mut jobs = store.jobs(batch.id, &filter).await?;
    jobs.retain(|job| is_retried(job.row.state, lines.names_keys()));
    Ok(jobs)
}

/// Whether lines in this state can be retried. A succeeded line can only be retried by its key.
const fn is_retried(state: JobState, by_key: bool) -> bool {
    match state {
        JobState::Failed | JobState::Suspect | JobState::Cancelled => true,
        JobState::Succeeded => by_key,
        _ => false,
    }
}

fn message(batch: &str, (task, asked): (&dyn Task, &dyn BatchRequest), plan: &Retried, rates: &Rates) -> String {
    if plan.jobs == 0 {
        return format!("{batch}: nothing to retry");
    }
    let one = if task.has_parts() { "job" } else { "line" };
    let bought = plan.jobs - plan.deliveries;
    let mut parts = Vec::new();
    if plan.deliveries > 0 {
        parts.push(format!("{} delivered from kept answers, for nothing", counted(plan.deliveries, one)));
    }
    if bought > 0 {
        let price = asked.price_of_retry(plan, rates);
        let first = match plan.first {
            0 => String::new(),
            all if all == bought => ", for the first time".to_owned(),
            some => format!(", {} of them for the first time", grouped(some)),
        };
        parts.push(format!("{} to be paid for{first}, {price} (list price of {})", counted(bought, one), rates.as_of));
    }
    format!("{batch}: {}", parts.join("; "))
}

fn other_way(batch: &str, way: &str, plan: &Retried, price: &str, rates: &Rates) -> String {
    match plan.jobs {
        0 => format!("{batch}: no suspect line that was not tried another way before"),
        jobs => format!(
            "{batch}: {} to be tried with {way}, {price} (list price of {}); the better answer of each is kept",
            counted(jobs, "suspect line"),
            rates.as_of
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        report::ReportTask,
        tasks::{Synthesize, Transcribe},
    };

    fn spec(task: &str, asked: serde_json::Value) -> crate::domain::batch::BatchSpec {
        serde_json::from_value(serde_json::json!({
            "definition": "d", "task": task, "asked": asked, "manifest": "m", "output": "/o",
            "run": {}, "report": {}, "carried": [], "option_columns": [],
        }))
        .unwrap()
    }

    #[test]
    fn the_cost_is_said_first() {
        let spec = spec(
            "transcribe",
            serde_json::json!({ "formats": ["json"], "options": { "model": "pulse", "language": "en", "word_timestamps": false, "diarize": false,
                "redact_pii": false, "redact_pci": false, "redact": "strict", "emotion_detection": false,
                "gender_detection": false, "expire_content": "false", "allow_silence": false, "send": "auto" } }),
        );
        let asked = Transcribe.batch(&spec.task).unwrap();
        let message = |jobs, deliveries, units, unknown| {
            message(
                "b",
                (&Transcribe, &*asked),
                &Retried { jobs, deliveries, units, unknown, ..Retried::default() },
                &Rates::default(),
            )
        };
        assert_eq!(message(0, 0, 0, 0), "b: nothing to retry");
        assert_eq!(message(2, 2, 0, 0), "b: 2 lines delivered from kept answers, for nothing");
        assert_eq!(
            message(3, 1, 600_000, 1),
            "b: 1 line delivered from kept answers, for nothing; 2 lines to be paid for, about $0.05 for 10 min 0 s of audio, and 1 line of unknown length (list price of 2026-09-07)"
        );
        let priced = |first| {
            let plan = Retried { jobs: 2, first, units: 60_000, ..Retried::default() };
            super::message("b", (&Transcribe, &*asked), &plan, &Rates::default())
        };
        assert!(priced(1).starts_with("b: 2 lines to be paid for, 1 of them for the first time, about"));
        assert!(priced(2).starts_with("b: 2 lines to be paid for, for the first time, about"));
        assert_eq!(
            message(1, 0, 0, 1),
            "b: 1 line to be paid for, at $0.005 a minute, of unknown length (list price of 2026-09-07)"
        );
    }

    #[test]
    fn speech_costs_by_its_characters() {
        let spec = spec(
            "synthesize",
            serde_json::json!({
                "options": { "model": "lightning_v3.1", "voice_id": "avery", "language": null, "speed": 1000,
                    "number_pronunciation_language": null, "math_notation": false, "expire_content": "false" },
                "voices": ["avery"], "formats": [], "name": "{key}", "part_chars": 250,
                "pause": { "sentence_ms": 0, "paragraph_ms": 600 }, "max_chars_per_second": 25.0, "captions": [],
                "dictionary": null, "transport": "auto",
            }),
        );
        let asked = Synthesize.batch(&spec.task).unwrap();
        let plan = Retried { jobs: 5, deliveries: 1, units: 12_345, ..Retried::default() };
        assert_eq!(
            message("b", (&Synthesize, &*asked), &plan, &Rates::default()),
            "b: 1 job delivered from kept answers, for nothing; 4 jobs to be paid for, about $0.22 for 12,345 characters (list price of 2026-09-07)"
        );
    }
}
