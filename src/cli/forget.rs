//! `wavebatch forget`

use std::path::PathBuf;

use clap::Args;

use super::{
    context::{Context, LedgerFlags},
    error::{CliError, Exit},
    lines::LineFlags,
    words::{bytes, counted, printable},
};
use crate::{
    app::{
        Api, AppError, Choice, ForgetChoice, ForgetOptions, Forgetter, Forgotten, LinesOfBatch, Settings, choose_lines,
        verify_receipt,
    },
    domain::{
        environment::Environment,
        forget::{ForgottenKind, ForgottenState},
    },
    store::{ForgetPlan, Store},
};

/// Remove the content of lines everywhere, and write a receipt
///
/// Their outputs, kept answers, texts, cells and addresses go, from the ledger, the audio cache, reports and the vendor's
/// log. Their key, state, cost and times stay, so that nothing is paid for again and the books add up: a manifest that
/// still has such a line brings nothing back. Say --dry-run first. Without a batch, the lines are looked for in all.
/// What cannot be removed now is told, and tried again by the next `forget`, `run` or `serve`; `forget` alone does only that.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wavebatch forget support-calls --key 1005-refund --dry-run\n  wavebatch forget --where customer=4711 --all-batches --hash-key --yes\n  wavebatch forget --verify wavebatch-forget-0192….jsonl"
)]
pub struct Forget {
    /// Only lines of this batch
    #[arg(value_name = "BATCH")]
    batch: Option<String>,
    #[command(flatten)]
    ledger: LedgerFlags,
    #[command(flatten)]
    lines: LineFlags,
    /// Lines of several batches may be meant
    #[arg(long, conflicts_with = "batch")]
    all_batches: bool,
    /// All lines of a batch may be meant
    #[arg(long)]
    everything: bool,
    /// Replace the keys by their hashes, too, e.g. because they are telephone numbers
    #[arg(long)]
    hash_key: bool,
    /// Say what would go, and do nothing
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it: nothing of it can be taken back
    #[arg(long)]
    yes: bool,
    /// Where the receipt is written [default: wavebatch-forget-ID.jsonl]
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Look again whether all is gone that this receipt says is gone
    #[arg(long, value_name = "RECEIPT", conflicts_with_all = ["batch", "keys", "keys_from", "cells", "states", "dry_run", "yes", "hash_key", "receipt"])]
    verify: Option<PathBuf>,
}

impl Forget {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let settings = context.settings(self.ledger.sandbox)?.of_existing_ledger();
        let (store, _) = context.ledger(self.ledger.sandbox).await?;
        let api = Api::open(&settings).await;
        let exit = {
            let unasked = |e: &AppError| format!("the vendor was not asked: {e}");
            let forgetter = Forgetter::new(&store, &settings, api.as_ref().map_err(unasked));
            match &self.verify {
                Some(receipt) => verify(context, &forgetter, receipt).await,
                None => self.forget(context, (&store, &settings), &forgetter).await,
            }
        };
        if let Ok(api) = api {
            api.close().await;
        }
        store.close().await;
        exit
    }

    async fn forget(
        &self,
        context: &Context,
        (store, settings): (&Store, &Settings),
        forgetter: &Forgetter,
    ) -> Result<Exit, CliError> {
        let screen = &context.screen;
        let environment = settings.environment;
        if self.lines.is_all() && self.batch.is_none() {
            if self.dry_run || self.yes || self.everything {
                return Err(CliError::usage("it is not said which lines are meant")
                    .hint("name them with --key, --keys-from, --where or --state"));
            }
            return goes_on(context, forgetter).await;
        }
        let batch = match &self.batch {
            Some(name) => Some(context.batch_in(store, name).await?),
            None => None,
        };
        let choice = ForgetChoice {
            lines: Choice { with_dropped: true, ..self.lines.choice()? },
            batch,
            all_batches: self.all_batches,
            everything: self.everything,
        };
        let lines = choose_lines((store, &context.tasks), environment, &choice).await?;
        for lines in &lines {
            let plan = forgetter.plan(lines).await?;
            screen.message(&planned(lines, &plan, self.hash_key));
        }
        if !self.yes {
            let how = if self.dry_run { "nothing was done" } else { "nothing was done: it cannot be taken back" };
            screen.message(&format!("{how}; --yes does it"));
            return Ok(if self.dry_run { Exit::Success } else { Exit::Usage });
        }
        // What an earlier one left comes first.
        for done in forgetter.resume().await? {
            say(context, &done);
        }
        let options =
            ForgetOptions { hash_key: self.hash_key, receipt: self.receipt.clone(), ..ForgetOptions::default() };
        let done = Box::pin(forgetter.forget(&lines, &options)).await?;
        say(context, &done);
        Ok(exit_of(context, environment, &done))
    }
}

/// Finishes what was left.
async fn goes_on(context: &Context, forgetter: &Forgetter) -> Result<Exit, CliError> {
    let left = forgetter.resume().await?;
    if left.is_empty() {
        context.screen.message("nothing is left to be forgotten");
        return Ok(Exit::Success);
    }
    for done in &left {
        say(context, done);
    }
    Ok(if left.iter().all(|done| done.unfinished.is_empty()) { Exit::Success } else { Exit::Blocked })
}

/// What would go, of one batch.
fn planned(lines: &LinesOfBatch, plan: &ForgetPlan, hash_key: bool) -> String {
    let mut text = format!("{}: {}", lines.batch.name, counted(plan.lines, "line"));
    if plan.jobs > plan.lines {
        text.push_str(&format!(", with voices, formats and former versions {}", counted(plan.jobs, "job")));
    }
    let mut fact = |name: &str, words: String| text.push_str(&format!("\n  {name:<9} {words}"));
    if plan.unfinished > 0 {
        fact("waiting", format!("{} are not finished, and are cancelled", counted(plan.unfinished, "job")));
    }
    fact(
        "ledger",
        match hash_key {
            true => "their cells; keys become hashes; states, costs and times stay".into(),
            false => "their cells; keys, states, costs and times stay".into(),
        },
    );
    if plan.answers.0 + plan.callbacks.0 > 0 {
        let size = bytes(plan.answers.1 + plan.callbacks.1);
        let (answers, posted) = (counted(plan.answers.0, "kept answer"), counted(plan.callbacks.0, "other callback"));
        fact("answers", format!("{answers}, {posted}, {size} as stored"));
    }
    fact(
        "outputs",
        format!("{} in {}, and their rows in report and summary", counted(plan.outputs, "file"), place(lines)),
    );
    if plan.clips + plan.shared_clips > 0 {
        let shared = match plan.shared_clips {
            0 => String::new(),
            n => format!("; {} that other lines speak, too, stay", counted(n, "clip")),
        };
        fact("speech", format!("{} in the audio cache{shared}", counted(plan.clips, "clip")));
    }
    if plan.known_calls + plan.unknown_calls > 0 {
        let of = |n: u64, words: &str| (n > 0).then(|| format!("{} {words}", counted(n, "call")));
        let known = of(plan.known_calls, "by the vendor's id");
        let unknown = of(plan.unknown_calls, "without an id, to be looked for");
        let all: Vec<String> = known.into_iter().chain(unknown).collect();
        fact("vendor", format!("in its log: {}", all.join("; ")));
    }
    text
}

fn place(lines: &LinesOfBatch) -> String {
    lines.batch.specification().map_or_else(|_| "the output".into(), |spec| spec.output.clone())
}

pub(super) fn say(context: &Context, done: &Forgotten) {
    use ForgottenKind::{Clip, Output, Vendor};
    use ForgottenState::{Absent, Kept, Refused, Removed, Unknown};
    let screen = &context.screen;
    let lines = done.counts.get(&(ForgottenKind::Row, Removed)).copied().unwrap_or(0);
    screen.message(&format!("{} forgotten", counted(lines, "job")));
    for (kind, one) in [(Output, "output"), (Clip, "clip"), (Vendor, "call")] {
        let mut words = Vec::new();
        for (state, said) in [
            (Removed, "removed"),
            (Absent, "gone already"),
            (Kept, "kept, since another line uses it"),
            (Unknown, "not found: nobody knows whether the vendor has it"),
            (Refused, "refused, and tried again"),
        ] {
            let n = done.count(kind, state);
            if n > 0 {
                words.push(format!("{} {said}", counted(n, one)));
            }
        }
        if !words.is_empty() {
            screen.message(&format!("  {}", words.join("; ")));
        }
    }
    for why in &done.reasons {
        screen.warn(&printable(why));
    }
    for why in &done.unfinished {
        screen.warn(&printable(why));
    }
    if done.busy > 0 {
        screen.warn(&format!(
            "{} came to work meanwhile, and stay: forget them when they are finished",
            counted(done.busy, "line")
        ));
    }
    if let Some(receipt) = &done.receipt {
        let how = if done.unfinished.is_empty() { "receipt" } else { "receipt (not final yet)" };
        screen.message(&format!("{how}  {}", receipt.display()));
    }
}

pub(super) fn exit_of(context: &Context, environment: Environment, done: &Forgotten) -> Exit {
    if done.unfinished.is_empty() && done.busy == 0 {
        return Exit::Success;
    }
    let again = context.hint(environment, &["forget"]);
    context.screen.message(&format!("  -> {again} tries what is left again"));
    Exit::Blocked
}

async fn verify(context: &Context, forgetter: &Forgetter, receipt: &std::path::Path) -> Result<Exit, CliError> {
    let found = verify_receipt(forgetter, receipt).await?;
    let screen = &context.screen;
    for finding in &found.findings {
        screen.result(&printable(finding))?;
    }
    for open in &found.open {
        screen.warn(&printable(open));
    }
    let looked = format!("{} of {} looked for again", counted(found.things, "thing"), counted(found.lines, "job"));
    if !found.is_final {
        screen.warn("the receipt was not final: something was still to be removed");
    }
    screen.message(&match found.findings.len() as u64 {
        0 => format!("{looked}; nothing of it is there"),
        n => format!("{looked}; {} not as the receipt says", counted(n, "thing")),
    });
    Ok(if found.findings.is_empty() { Exit::Success } else { Exit::Lines })
}
