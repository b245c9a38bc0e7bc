//! `wavebatch jobs`

use clap::Args;

use super::{
    context::{BatchArgs, Context},
    error::{CliError, Exit},
    parts,
    words::{clock, counted, dollars, duration, grouped, moment, printable, table},
};
use crate::{
    app::{
        AppError, JobParts,
        views::{CallView, JobView, RenditionView},
    },
    domain::job::{JobState, Wanted},
    report::asked_of,
    store::{BatchRow, JobDetail, JobFilter, Store},
};

/// List the lines of a batch; with --key, one with its calls
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wavebatch jobs support-calls --state failed\n  wavebatch jobs support-calls --key 2026/call-17\n  wavebatch jobs audiobook --key chapter-1 --parts"
)]
pub struct Jobs {
    #[command(flatten)]
    named: BatchArgs,
    /// Only lines in this state: queued, running, awaiting, succeeded, suspect, failed, skipped or cancelled
    #[arg(long, value_name = "STATE")]
    state: Option<JobState>,
    /// Only the line with this key, with all its calls
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The parts that its text was cut into, instead of its calls: when each is heard, and whether it is bought
    #[arg(long, requires = "key")]
    parts: bool,
    /// At most so many; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
    /// Also outputs in voices or formats that are not asked for any more
    #[arg(long)]
    with_dropped: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Jobs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let (store, batch) = context.batch(&self.named).await?;
        let limit = if self.limit == 0 { u32::MAX } else { self.limit };
        // One job more than the limit shows whether there are more.
        let filter = JobFilter {
            state: self.state,
            key: self.key.clone(),
            limit: limit.saturating_add(1),
            with_dropped: self.with_dropped,
        };
        let mut jobs = store.jobs(batch.id, &filter).await?;
        let more = jobs.len() > limit as usize;
        jobs.truncate(limit as usize);
        let screen = &context.screen;
        if self.parts {
            self.print_parts(context, &store, &batch, &jobs).await?;
            return self.end(context, store, more, limit).await;
        }
        let jobs: Vec<_> = jobs.iter().map(JobView::of).collect();
        if self.json {
            screen.views(&jobs)?;
        } else if jobs.is_empty() {
            screen.message(&format!("{}: no such lines", batch.name));
        } else if self.key.is_some() {
            for job in &jobs {
                screen.result(&in_full(job, screen.result_width()))?;
            }
        } else {
            screen.result(&match context.tasks.has_parts(batch.task) {
                false => list(&jobs, screen.result_width()),
                true => synthesis_words(&jobs, screen.result_width()),
            })?;
        }
        self.end(context, store, more, limit).await
    }

    async fn end(&self, context: &Context, store: Store, more: bool, limit: u32) -> Result<Exit, CliError> {
        if more {
            context.screen.message(&format!("the first {}; --limit 0 lists all", counted(limit.into(), "line")));
        }
        store.close().await;
        Ok(Exit::Success)
    }

    async fn print_parts(
        &self,
        context: &Context,
        store: &Store,
        batch: &BatchRow,
        jobs: &[JobDetail],
    ) -> Result<(), CliError> {
        let screen = &context.screen;
        let spec = batch.specification()?;
        if !context.tasks.has_parts(batch.task) {
            return Err(AppError::NoParts(batch.name.clone()).into());
        }
        let asked = asked_of(context.tasks.reports(), spec)?;
        let rates = context.config(self.named.ledger.sandbox)?.rates;
        let mut found = Vec::new();
        for job in jobs {
            found.extend(JobParts::look(store, &*asked, &rates, job).await?.map(|parts| parts.view(job)));
        }
        match found.as_slice() {
            [] => screen.message(&format!("{}: no such lines", batch.name)),
            found if self.json => screen.views(found)?,
            found => {
                let width = screen.result_width();
                screen.result(&found.iter().map(|view| parts::in_full(view, width)).collect::<Vec<_>>().join("\n"))?;
            }
        }
        Ok(())
    }
}

fn list(jobs: &[JobView], width: usize) -> String {
    let row = |job: &JobView| {
        vec![
            job.line.to_string(),
            job.key.clone(),
            state(job),
            job.audio_seconds.map(|length| duration(length.0)).unwrap_or_default(),
            job.tries.to_string(),
            dollars(job.cost_usd.0),
            what(job),
        ]
    };
    let rows: Vec<_> = jobs.iter().map(row).collect();
    table(&["line", "key", "state", "audio", "tries", "cost", ""], &rows, &[0, 3, 4, 5], width)
}

/// The list for synthesis jobs: a line has several.
fn synthesis_words(jobs: &[JobView], width: usize) -> String {
    let row = |job: &JobView| {
        let own = job.rendition.as_ref();
        vec![
            job.line.to_string(),
            job.key.clone(),
            own.map(|own| own.voice_id.clone()).unwrap_or_default(),
            own.map(|own| format!("{} {}", own.output_format, own.sample_rate)).unwrap_or_default(),
            state(job),
            own.and_then(|own| own.characters).map(grouped).unwrap_or_default(),
            job.audio_seconds.map(|length| duration(length.0)).unwrap_or_default(),
            job.tries.to_string(),
            dollars(job.cost_usd.0),
            what(job),
        ]
    };
    let rows: Vec<_> = jobs.iter().map(row).collect();
    let header = ["line", "key", "voice", "format", "state", "chars", "audio", "tries", "cost", ""];
    table(&header, &rows, &[0, 5, 6, 7, 8], width)
}

fn what(job: &JobView) -> String {
    match (&job.error_kind, &job.error) {
        (Some(kind), Some(error)) => format!("{kind}: {error}"),
        (Some(kind), None) => kind.clone(),
        _ if !job.notes.is_empty() => job.notes.join(";"),
        _ => job
            .due_at
            .filter(|_| job.state == JobState::Queued)
            .map(|at| format!("due {}", clock(at.0)))
            .unwrap_or_default(),
    }
}

/// `312 characters in 2 parts, 1 of them there already`
fn text(own: &RenditionView) -> Option<String> {
    let parts = own.parts.map(|n| format!(" in {}", counted(n, "part"))).unwrap_or_default();
    let reused = own.reused_parts.filter(|n| *n > 0);
    let reused = reused.map(|n| format!(", {} of them there already", grouped(n))).unwrap_or_default();
    own.characters.map(|n| format!("{}{parts}{reused}", counted(n, "character")))
}

fn in_full(job: &JobView, width: usize) -> String {
    let mut out = format!("{}, line {}: {}\n", job.key, job.line, state(job));
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            out.push_str(&format!("  {name:<10} {}\n", printable(&value)));
        }
    };
    let own = job.rendition.as_ref();
    fact("voice", own.map(|own| own.voice_id.clone()));
    fact("format", own.map(|own| format!("{} at {} Hz", own.output_format, own.sample_rate)));
    fact("text", own.and_then(text));
    fact("source", job.source.clone());
    fact("audio", job.audio_seconds.map(|length| duration(length.0)));
    fact("due", job.due_at.map(|at| moment(at.0)));
    fact("finished", job.finished_at.map(|at| moment(at.0)));
    fact("error", job.error_kind.as_ref().map(|kind| format!("{kind}: {}", job.error.as_deref().unwrap_or(""))));
    fact("notes", Some(job.notes.join(";")));
    let cost = dollars(job.cost_usd.0);
    fact("cost", Some(format!("{cost} ({} billed, {})", job.billed_calls, tries(job.tries))));
    job.outputs.iter().for_each(|output| fact("output", Some(output.clone())));
    if !job.calls.is_empty() {
        out.push('\n');
        out.push_str(&calls(&job.calls, own.is_some(), width));
    }
    out
}

fn tries(tries: u32) -> String {
    if tries == 1 { "1 try".into() } else { format!("{tries} tries") }
}

/// The calls, one per row; for a synthesis with the part, counted from 1.
fn calls(calls: &[CallView], parts: bool, width: usize) -> String {
    let row = |call: &CallView| {
        let took = call.ended_at.map(|end| duration(end.0.saturating_sub(call.sent_at.0).unsigned_abs()));
        let error = call.error_kind.map(|kind| format!("{kind}: {}", call.error.as_deref().unwrap_or("")));
        let cells = [
            moment(call.sent_at.0),
            call.state.to_string(),
            call.why.to_string(),
            took.unwrap_or_default(),
            dollars(call.cost_usd.0),
            call.http_status.map(|status| status.to_string()).unwrap_or_default(),
            call.request_id.clone().unwrap_or_else(|| call.id.clone()),
            error.unwrap_or_default(),
        ];
        call.part.map(|part| part.to_string()).into_iter().chain(cells).collect::<Vec<_>>()
    };
    let rows: Vec<_> = calls.iter().map(row).collect();
    let header = ["part", "sent", "call", "why", "took", "cost", "http", "id", ""];
    match parts {
        true => table(&header, &rows, &[0, 4, 5], width),
        false => table(&header[1..], &rows, &[3, 4], width),
    }
}

/// The state, and whether its output is no longer wanted.
fn state(job: &JobView) -> String {
    match job.wanted {
        Wanted::Yes => job.state.to_string(),
        wanted => format!("{}, {wanted}", job.state),
    }
}
