//! `wavebatch jobs`

use clap::Args;

use super::{
    context::{BatchArgs, Context},
    error::{CliError, Exit},
    lines::LineFlags,
    parts::{self, spoken_by},
    words::{clock, counted, dollars, duration, grouped, moment, printable, table},
};
use crate::{
    app::{
        AppError, JobParts,
        views::{CallView, JobView, RenditionView},
    },
    domain::job::{JobState, Wanted},
    report::asked_of,
    store::{BatchRow, JobDetail, JobFilter, Selection, Store},
};

/// How many jobs are listed on the screen if nothing else is said.
const SHOWN: u32 = 100;
/// How many jobs are read at a time for JSON.
const PAGE: u32 = 500;

/// List the lines of a batch; with --key, one with its calls
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wavebatch jobs support-calls --state failed,suspect --where agent=bob\n  wavebatch jobs support-calls --key 2026/call-17\n  wavebatch jobs audiobook --key chapter-1 --parts"
)]
pub struct Jobs {
    #[command(flatten)]
    named: BatchArgs,
    #[command(flatten)]
    lines: LineFlags,
    /// The parts that its text was cut into, instead of its calls: when each is heard, and whether it is paid for
    #[arg(long, requires = "keys")]
    parts: bool,
    /// At most so many; 0 for all [default: 100, with --json or --key all]
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
    /// Also outputs in voices, formats or languages that are not asked for any more
    #[arg(long)]
    with_dropped: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Jobs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let (store, batch) = context.batch(&self.named).await?;
        let lines = self.lines.shown(context, &store, &batch, self.with_dropped).await?;
        let limit = match self.limit {
            Some(0) => u32::MAX,
            Some(limit) => limit,
            None if self.json || lines.lines.names_keys() => u32::MAX,
            None => SHOWN,
        };
        let more = match self.json && !self.parts {
            true => self.print_json(context, &store, &batch, &lines.lines, limit).await?,
            false => self.print(context, &store, &batch, &lines.lines, limit).await?,
        };
        if more {
            context.screen.message(&format!("the first {}; --limit 0 lists all", counted(limit.into(), "line")));
        }
        store.close().await;
        Ok(lines.exit())
    }

    /// Prints the jobs as text, or their parts. Returns whether there are more.
    async fn print(
        &self,
        context: &Context,
        store: &Store,
        batch: &BatchRow,
        lines: &Selection,
        limit: u32,
    ) -> Result<bool, CliError> {
        // One job more than the limit shows whether there are more.
        let mut jobs = store.jobs(batch.id, &self.filter(lines, limit.saturating_add(1))).await?;
        let more = jobs.len() > limit as usize;
        jobs.truncate(limit as usize);
        if self.parts {
            self.print_parts(context, store, batch, &jobs).await?;
            return Ok(more);
        }
        let screen = &context.screen;
        let jobs: Vec<_> = jobs.iter().map(JobView::of).collect();
        if jobs.is_empty() {
            screen.message(&format!("{}: it has no lines", batch.name));
        } else if lines.names_keys() {
            for job in &jobs {
                screen.result(&in_full(job, screen.result_width()))?;
            }
        } else {
            screen.result(&match context.tasks.has_parts(batch.task) {
                false => list(&jobs, screen.result_width()),
                true => synthesis_words(&jobs, screen.result_width()),
            })?;
        }
        Ok(more)
    }

    /// Prints the jobs as JSON, some at a time. Returns whether there are more.
    async fn print_json(
        &self,
        context: &Context,
        store: &Store,
        batch: &BatchRow,
        lines: &Selection,
        limit: u32,
    ) -> Result<bool, CliError> {
        let (mut filter, mut left) = (self.filter(lines, PAGE), limit);
        loop {
            let page = store.jobs(batch.id, &filter).await?;
            let wanted = &page[..page.len().min(left as usize)];
            context.screen.views(wanted.iter().map(JobView::of))?;
            let Some(last) = page.last().filter(|_| page.len() == PAGE as usize || wanted.len() < page.len()) else {
                return Ok(false);
            };
            left -= u32::try_from(wanted.len()).unwrap_or(left);
            filter.after = (last.row.ordinal, last.row.job.0);
            if left == 0 {
                filter.limit = 1;
                return Ok(wanted.len() < page.len() || !store.jobs(batch.id, &filter).await?.is_empty());
            }
        }
    }

    fn filter(&self, lines: &Selection, limit: u32) -> JobFilter {
        JobFilter { lines: lines.clone(), limit, with_dropped: self.with_dropped, ..JobFilter::default() }
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
            [] => screen.message(&format!("{}: these lines have no parts", batch.name)),
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
            own.map(voice).unwrap_or_default(),
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

fn voice(own: &RenditionView) -> String {
    spoken_by(&own.voice_id, own.language)
}

/// `312 characters in 2 parts, 1 of them there already`
fn text(own: &RenditionView) -> Option<String> {
    let parts = own.parts.map(|n| format!(" in {}", counted(n, "part"))).unwrap_or_default();
    let reused = own.reused_parts.filter(|n| *n > 0);
    let reused = reused.map(|n| format!(", {} of them there already", grouped(n))).unwrap_or_default();
    own.characters.map(|n| format!("{}{parts}{reused}", counted(n, "character")))
}

pub(super) fn in_full(job: &JobView, width: usize) -> String {
    let mut out = format!("{}, line {}: {}\n", job.key, job.line, state(job));
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            out.push_str(&format!("  {name:<10} {}\n", printable(&value)));
        }
    };
    let own = job.rendition.as_ref();
    fact("voice", own.map(voice));
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
        let last = job.calls.iter().filter_map(|call| call.part.and_then(|part| u64::try_from(part).ok())).max();
        if own.and_then(|own| own.parts).is_some_and(|parts| last > Some(parts)) {
            out.push_str(
                "(a pause between two parts, as `* * *`, is numbered too; `wavebatch jobs --parts` shows all)\n",
            );
        }
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
