//! `wavebatch ledger`

use std::{path::PathBuf, sync::Arc};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    context::{Context, LedgerFlags},
    error::{CliError, Exit},
    screen::Screen,
    words::{bytes, counted, fact, grouped, printable, shell, table},
};
use crate::{
    app::{AppError, CopyRequest, LedgerCopied, Reopened, copy_ledger, reopen_ledger, views::LedgerCheckView},
    config::Config,
    definition::{Fault, Faults},
    domain::environment::Environment,
    shutdown::Shutdown,
    store::{CopyEnd, CopyProgress, CopyStep, LOCAL_FILES, LedgerAddress, OnCopy},
};

/// Move a ledger to another place, or check that it is whole
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch ledger copy wavebatch.db postgres://wavebatch@db/wavebatch")]
pub struct Ledger {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(Check),
    Copy(Copy),
    Reopen(Reopen),
}

/// Check that a ledger is whole
///
/// The engine's own checks, what rows must have in common (money, calls, answers, owners of files), and bought speech
/// against rows. It changes nothing, and works while others work. Exit status 1 where something is found.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch ledger check --database wavebatch.db")]
struct Check {
    #[command(flatten)]
    ledger: LedgerFlags,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Move a ledger from a file to PostgreSQL, or back, or to another file or database
///
/// All batches, lines, calls, answers and bought speech go along; nothing is paid for again there. The ledger says from
/// then on that it was moved, and is not worked any more. Nobody may work on either meanwhile. A copying that was cut off
/// goes on with the same command.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wavebatch ledger copy wavebatch.db postgres://wavebatch@db/wavebatch\n  wavebatch ledger copy postgres://wavebatch@db/wavebatch back.db"
)]
struct Copy {
    /// The ledger, as --database names it
    #[arg(value_name = "FROM")]
    from: String,
    /// An empty database, or a file that is not there yet
    #[arg(value_name = "TO")]
    to: String,
    /// Leave FROM in use: for a trial. Only one of the two may be worked, or lines are paid for twice
    #[arg(long)]
    keep_source: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Take a ledger back into use that was moved, or whose copying was given up
///
/// What was done at the new place since is not known here, and would be paid for again: remove the copy first.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch ledger reopen --database wavebatch.db --yes")]
struct Reopen {
    #[command(flatten)]
    ledger: LedgerFlags,
    /// Nothing was done at the new place that is needed here
    #[arg(long)]
    yes: bool,
}

impl Ledger {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        match self.verb {
            Verb::Check(verb) => verb.run(context).await,
            Verb::Copy(verb) => verb.run(context).await,
            Verb::Reopen(verb) => verb.run(context).await,
        }
    }
}

impl Check {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let (store, _) = context.ledger(self.ledger.sandbox).await?;
        let rows = store.check_rows().await?;
        let spool = store.check_spool(context.tasks.reports()).await?;
        let view = LedgerCheckView::of(store.address(), rows, spool);
        store.close().await;
        match self.json {
            true => context.screen.view(&view)?,
            false => context.screen.result(&checked(&view))?,
        }
        Ok(if view.is_whole { Exit::Success } else { Exit::Lines })
    }
}

fn checked(view: &LedgerCheckView) -> String {
    let mut lines = match view.findings.len() {
        0 => vec![format!("{} is whole", view.ledger)],
        n => vec![format!("{}: {}", view.ledger, counted(n as u64, "finding"))],
    };
    for found in &view.findings {
        let times = if found.count > 1 { format!(" ({} times)", grouped(found.count)) } else { String::new() };
        lines.push(format!("  {}{times}", found.what));
        lines.extend(found.places.iter().map(|place| format!("    {}", printable(place))));
        let more = found.count.saturating_sub(found.places.len() as u64);
        if more > 0 {
            lines.push(format!("    and {} more", grouped(more)));
        }
        lines.push(format!("    -> {}", found.remedy));
    }
    if let Some(place) = view.spool.as_ref().filter(|_| view.clips + view.unsent_clips > 0) {
        let mut words = vec![format!("{} in {place}", counted(view.clips, "clip"))];
        if view.unknown_clips > 0 {
            words.push(format!("{} without a row, which do no harm", grouped(view.unknown_clips)));
        }
        if view.unsent_clips > 0 {
            words.push(format!("{} wait on this machine for the store", grouped(view.unsent_clips)));
        }
        lines.push(fact("speech", words.join("; ")));
    }
    lines.join("\n")
}

impl Copy {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let config = context.config(false)?;
        let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        let at =
            |name, text: &str| Config::ledger_at(text, &cwd).map_err(|fault| Faults::from(Fault::of_file(name, fault)));
        let (from, to) = (at("FROM", &self.from)?, at("TO", &self.to)?);
        let request = CopyRequest { from, to, local_files: cwd.join(LOCAL_FILES), keep_source: self.keep_source };
        let shutdown = Shutdown::listen()?;
        let screen = &context.screen;
        let bar = Bar::new(screen);
        let on = bar.on();
        let copied = tokio::select! {
            copied = copy_ledger(&config, &request, &on) => copied,
            () = shutdown.drain.cancelled() => Err(AppError::Interrupted(shutdown.signal())),
        };
        bar.close();
        let copied = copied?;
        match self.json {
            true => screen.view(&copied.view())?,
            false => shown(screen, &copied, &request.to, &self.to)?,
        }
        Ok(Exit::Success)
    }
}

impl Reopen {
    async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let config = context.config(self.ledger.sandbox)?;
        let (ledger, reopened) = reopen_ledger(&config, self.yes).await?;
        let message = match reopened {
            Reopened::NotAgreed(mark) => {
                let again = context.hint(Environment::sandboxed(self.ledger.sandbox), &["ledger", "reopen", "--yes"]);
                let why =
                    format!("what was done at {} is not known to {ledger}, and would be paid for again", mark.with);
                let hint = format!("if nothing was done there, or it is removed: `{again}`");
                return Err(CliError::usage(why).hint(hint));
            }
            Reopened::WasInUse => format!("{ledger} is in use; there was nothing to do"),
            Reopened::Again(mark) if mark.end == CopyEnd::Moved => {
                format!("{ledger} is in use again; do not work on {} any more", mark.with)
            }
            Reopened::Again(mark) => {
                format!("{ledger} is in use again; the unfinished copy at {} can be removed", mark.with)
            }
        };
        context.screen.message(&message);
        Ok(Exit::Success)
    }
}

fn shown(screen: &Screen, copied: &LedgerCopied, to: &LedgerAddress, to_given: &str) -> Result<(), CliError> {
    let rows: u64 = copied.tables.iter().map(|table| table.rows).sum();
    let with_rows: Vec<Vec<String>> = copied
        .tables
        .iter()
        .filter(|table| table.rows > 0)
        .map(|table| vec![table.table.to_owned(), grouped(table.rows)])
        .collect();
    if !with_rows.is_empty() {
        screen.result(&table(&["table", "rows"], &with_rows, &[1], screen.result_width()))?;
    }
    let done = if copied.source_kept { "copied" } else { "moved" };
    screen.message(&format!("{} {done} to {}", copied.from, copied.to));
    screen.message(&fact("rows", format!("{}, compared by SHA-256 of each table", grouped(rows))));
    if copied.speech.clips > 0 {
        let amount = format!("{}, {}", counted(copied.speech.clips, "clip"), bytes(copied.speech.bytes));
        screen.message(&fact("speech", amount));
    }
    for path in &copied.secrets {
        screen.message(&fact("secret", path.display().to_string()));
    }
    if copied.source_kept {
        screen.message(
            "-> work on one of the two only: what the other one does is not known to it, and is paid for twice",
        );
    } else {
        let name = match to {
            LedgerAddress::Server(_) => copied.to.clone(),
            LedgerAddress::File(_) => to_given.to_owned(),
        };
        screen.message(&format!("-> export WAVEBATCH_DATABASE={}", shell(&name)));
    }
    Ok(())
}

/// The bar of a copying; nothing where no bars are drawn.
struct Bar(Option<ProgressBar>, Screen);

impl Bar {
    fn new(screen: &Screen) -> Self {
        let bar = screen.draws().then(|| {
            let style = ProgressStyle::with_template("{bar:32} {msg}")
                .expect("a constant template that is right")
                .progress_chars("█▉▊▋▌▍▎▏ ");
            screen.bars().add(ProgressBar::new(0).with_style(style))
        });
        Self(bar, screen.clone())
    }

    fn on(&self) -> OnCopy {
        let bar = self.0.clone();
        Arc::new(move |progress: CopyProgress| {
            let Some(bar) = &bar else { return };
            let CopyProgress { step, done, all } = progress;
            let (done_shown, all_shown) = (grouped(done), grouped(all));
            bar.set_length(all);
            bar.set_position(done);
            bar.set_message(match step {
                CopyStep::Rows => format!("{done_shown} of {all_shown} rows copied"),
                CopyStep::Compare => format!("{done_shown} of {all_shown} rows compared"),
                CopyStep::Speech => format!("{done_shown} of {all_shown} clips copied"),
            });
        })
    }

    fn close(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
            self.1.bars().remove(&bar);
        }
    }
}
