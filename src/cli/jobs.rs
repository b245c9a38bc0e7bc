//! `wavebatch jobs`

use clap::Args;
use serde_json::{Value, json};

use super::{
    context::{BatchArgs, Context},
    error::{CliError, Exit},
    parts::JobParts,
    words::{clock, counted, dollars, duration, grouped, moment, rfc3339, table},
};
use crate::{
    app::spec_of,
    domain::{
        job::{JobState, Wanted},
        query::QueryRules,
        synthesis::Rendition,
        synthesis::Synthesis,
    },
    store::{BatchRow, CallRow, JobDetail, JobFilter, ReportRow, Store},
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
        // One more than is shown tells whether there are more.
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
        } else if self.json {
            let lines: String = jobs.iter().map(|job| format!("{}\n", in_json(job))).collect();
            if !lines.is_empty() {
                screen.json(&lines)?;
            }
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
        if more {
            screen.message(&format!("the first {}; --limit 0 lists all", counted(limit.into(), "line")));
        }
        store.close().await;
        Ok(Exit::Success)
    }
}

impl Jobs {
    async fn print_parts(
        &self,
        context: &Context,
        store: &Store,
        batch: &BatchRow,
        jobs: &[JobDetail],
    ) -> Result<(), CliError> {
        let screen = &context.screen;
        let spec = spec_of(batch)?;
        let asked = spec.task.read::<Synthesis>().map_err(|_| no_parts(&batch.name))?;
        let mut message = Vec::new();
        for job in jobs {
            let Some(parts) = JobParts::look(store, &asked, job).await? else { continue };
            message.push(match self.json {
                true => format!("{}\n", parts.in_json(job)),
                false => parts.in_full(job, screen.result_width()),
            });
        }
        match message.as_slice() {
            [] => screen.message(&format!("{}: no such lines", batch.name)),
            message if self.json => screen.json(&message.join(""))?,
            message => screen.result(&message.join("\n"))?,
        }
        Ok(())
    }
}

/// Only texts are cut.
pub(super) fn no_parts(batch: &str) -> CliError {
    CliError::usage(format!("{batch} is no batch of speech: its lines have no parts"))
}

fn list(jobs: &[JobDetail], width: usize) -> String {
    let rows: Vec<_> = jobs
        .iter()
        .map(|job| {
            let row = &job.row;
            vec![
                row.line.to_string(),
                row.key.clone(),
                state(row),
                row.audio_ms.map(duration).unwrap_or_default(),
                row.tries.to_string(),
                dollars(row.cost),
                what(job),
            ]
        })
        .collect();
    table(&["line", "key", "state", "audio", "tries", "cost", ""], &rows, &[0, 3, 4, 5], width)
}

/// The same of speech: a line has several.
fn synthesis_words(jobs: &[JobDetail], width: usize) -> String {
    let rows: Vec<_> = jobs
        .iter()
        .map(|job| {
            let row = &job.row;
            let own = rendition(row);
            vec![
                row.line.to_string(),
                row.key.clone(),
                own.as_ref().map(|own| own.voice_id().to_owned()).unwrap_or_default(),
                own.map(|own| format!("{} {}", own.format.format, own.format.sample_rate)).unwrap_or_default(),
                state(row),
                row.characters.map(grouped).unwrap_or_default(),
                row.audio_ms.map(duration).unwrap_or_default(),
                row.tries.to_string(),
                dollars(row.cost),
                what(job),
            ]
        })
        .collect();
    let header = ["line", "key", "voice", "format", "state", "chars", "audio", "tries", "cost", ""];
    table(&header, &rows, &[0, 5, 6, 7, 8], width)
}

fn what(JobDetail { row, due_at, .. }: &JobDetail) -> String {
    match (&row.error_kind, &row.error) {
        (Some(kind), Some(error)) => format!("{kind}: {error}"),
        (Some(kind), None) => kind.clone(),
        _ => row.notes.clone().unwrap_or_else(|| due(row.state, *due_at)),
    }
}

/// What a line of speech asks for.
fn rendition(row: &ReportRow) -> Option<Rendition> {
    row.overrides.as_deref().filter(|_| !row.variant.is_empty()).and_then(|json| serde_json::from_str(json).ok())
}

/// `312 characters in 2 parts, 1 of them there already`
fn text(row: &ReportRow) -> Option<String> {
    let parts = row.parts.map(|n| format!(" in {}", counted(n, "part"))).unwrap_or_default();
    let reused = row.reused_parts.filter(|n| *n > 0);
    let reused = reused.map(|n| format!(", {} of them there already", grouped(n))).unwrap_or_default();
    row.characters.map(|n| format!("{}{parts}{reused}", counted(n, "character")))
}

fn due(state: JobState, due_at: Option<i64>) -> String {
    match (state, due_at) {
        (JobState::Queued, Some(at)) => format!("due {}", clock(at)),
        _ => String::new(),
    }
}

fn in_full(job: &JobDetail, width: usize) -> String {
    let row = &job.row;
    let mut out = format!("{}, line {}: {}\n", row.key, row.line, state(row));
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            out.push_str(&format!("  {name:<10} {}\n", super::words::printable(&value)));
        }
    };
    let own = rendition(row);
    fact("voice", own.as_ref().map(|own| own.voice_id().to_owned()));
    fact("format", own.map(|own| own.format.to_string()));
    fact("text", text(row));
    fact("source", row.source.as_deref().map(shown));
    fact("audio", row.audio_ms.map(duration));
    fact("due", job.due_at.map(moment));
    fact("finished", row.finished_at.map(moment));
    fact("error", row.error_kind.as_ref().map(|kind| format!("{kind}: {}", row.error.as_deref().unwrap_or(""))));
    fact("notes", row.notes.clone());
    fact("cost", Some(format!("{} ({} billed, {})", dollars(row.cost), row.billed_calls, tries(row.tries))));
    for output in outputs(row) {
        fact("output", Some(output));
    }
    if !job.calls.is_empty() {
        out.push('\n');
        out.push_str(&calls(&job.calls, !row.variant.is_empty(), width));
    }
    out
}

/// A source without the query, where signatures are.
fn shown(source: &str) -> String {
    QueryRules::default().shown(source)
}

fn tries(tries: u32) -> String {
    if tries == 1 { "1 try".into() } else { format!("{tries} tries") }
}

/// Each call; of speech with its part, counted from 1.
fn calls(calls: &[CallRow], parts: bool, width: usize) -> String {
    let rows: Vec<_> = calls
        .iter()
        .map(|call| {
            let took = call.ended_at.map(|end| duration(end.saturating_sub(call.sent_at).unsigned_abs()));
            let error = call.error_kind.map(|kind| format!("{kind}: {}", call.error.as_deref().unwrap_or("")));
            let mut cells = vec![
                moment(call.sent_at),
                call.state.to_string(),
                call.why.to_string(),
                took.unwrap_or_default(),
                dollars(call.cost),
                call.status.map(|status| status.to_string()).unwrap_or_default(),
                call.request_id.clone().unwrap_or_else(|| call.id.to_string()),
                error.unwrap_or_default(),
            ];
            if parts {
                cells.insert(0, (call.part + 1).to_string());
            }
            cells
        })
        .collect();
    let header = ["part", "sent", "call", "why", "took", "cost", "http", "id", ""];
    match parts {
        true => table(&header, &rows, &[0, 4, 5], width),
        false => table(&header[1..], &rows, &[3, 4], width),
    }
}

fn outputs(row: &ReportRow) -> Vec<String> {
    row.outputs.as_deref().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// The state, and whether its output is asked for no more.
fn state(row: &ReportRow) -> String {
    match row.wanted {
        Wanted::Yes => row.state.to_string(),
        wanted => format!("{}, {wanted}", row.state),
    }
}

fn in_json(job: &JobDetail) -> Value {
    let row = &job.row;
    let mut json = json!({
        "line": row.line,
        "key": row.key,
        "state": row.state,
        "wanted": row.wanted,
        "source": row.source.as_deref().map(shown),
        "audio_seconds": row.audio_ms.map(|ms| ms as f64 / 1_000.0),
        "tries": row.tries,
        "billed_calls": row.billed_calls,
        "cost_usd": crate::domain::cost::MicroUsd(row.cost),
        "request_id": row.request_id,
        "error_kind": row.error_kind,
        "error": row.error,
        "notes": row.notes.as_deref().map(|notes| notes.split(';').collect::<Vec<_>>()).unwrap_or_default(),
        "outputs": outputs(row),
        "submitted_at": rfc3339(row.submitted_at),
        "started_at": row.started_at.and_then(rfc3339),
        "finished_at": row.finished_at.and_then(rfc3339),
        "due_at": job.due_at.and_then(rfc3339),
        "calls": job.calls.iter().map(call_in_json).collect::<Vec<_>>(),
    });
    if let Some(own) = rendition(row) {
        json["voice_id"] = json!(own.voice_id());
        json["output_format"] = json!(own.format.format);
        json["sample_rate"] = json!(own.format.sample_rate.hz());
        json["output_name"] = json!(own.file());
        json["characters"] = json!(row.characters);
        json["parts"] = json!(row.parts);
        json["reused_parts"] = json!(row.reused_parts);
        for (message, call) in json["calls"].as_array_mut().into_iter().flatten().zip(&job.calls) {
            message["part"] = json!(call.part + 1);
        }
    }
    json
}

fn call_in_json(call: &CallRow) -> Value {
    json!({
        "id": call.id.to_string(),
        "state": call.state,
        "why": call.why,
        "sent_at": rfc3339(call.sent_at),
        "ended_at": call.ended_at.and_then(rfc3339),
        "request_id": call.request_id,
        "http_status": call.status,
        "error_kind": call.error_kind,
        "error": call.error,
        "cost_usd": crate::domain::cost::MicroUsd(call.cost),
    })
}
