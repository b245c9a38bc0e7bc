//! `wavebatch restore`

use std::path::PathBuf;

use clap::Args;

use super::{
    backup::{ByteBar, rows},
    context::{Context, LedgerFlags},
    error::{CliError, Exit},
    words::{bytes, counted, dollars, fact, moment},
};
use crate::{
    app::{AppError, RestoreRequest, Restored, restore},
    config::Config,
    definition::{Fault, Faults},
    domain::environment::Environment,
    shutdown::Shutdown,
};

/// Put a backup back
///
/// All of it is unpacked and checked before anything is put in its place; the ledger comes last. A ledger in use, another
/// ledger, and a newer state of the same one stay as they are. What is paid for and missing is said, with its cost.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wavebatch restore /backup/calls.tar\n  wavebatch restore /backup/calls.tar --to /srv/calls/wavebatch.db"
)]
pub struct Restore {
    /// What `wavebatch backup` made
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The place of the ledger, as --database names it [default: the ledger of the settings]
    #[arg(long, value_name = "LEDGER")]
    to: Option<String>,
    /// Give up what the ledger there knows and the backup does not: it is paid for again. That ledger is kept beside it
    #[arg(long)]
    lose_newer: bool,
    #[command(flatten)]
    ledger: LedgerFlags,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let config = context.config(self.ledger.sandbox)?;
        let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        let at =
            |text: &str| Config::ledger_at(text, &cwd).map_err(|fault| Faults::from(Fault::of_file("--to", fault)));
        let to = self.to.as_deref().map(at).transpose()?;
        let request = RestoreRequest { file: self.file.clone(), to, lose_newer: self.lose_newer };
        let shutdown = Shutdown::listen()?;
        let screen = &context.screen;
        let bar = ByteBar::new(screen, "read");
        let on = bar.on();
        let restored = tokio::select! {
            restored = restore(&config, &request, context.tasks.reports(), &on) => restored,
            () = shutdown.drain.cancelled() => Err(AppError::Interrupted(shutdown.signal())),
        };
        bar.close();
        let restored = restored?;
        if self.json {
            screen.view(&restored.view())?;
            return Ok(Exit::Success);
        }
        shown(&restored).iter().for_each(|line| screen.message(line));
        let environment = Environment::sandboxed(self.ledger.sandbox);
        let next = match &self.to {
            None => context.hint(environment, &["ledger", "check"]),
            Some(to) => context.hint(environment, &["ledger", "check", "--database", to]),
        };
        screen.message(&format!("-> {next}"));
        Ok(Exit::Success)
    }
}

fn shown(restored: &Restored) -> Vec<String> {
    let Restored { head, clips, missing, .. } = restored;
    let mut lines = vec![format!(
        "{} restored from {}, made {} by wavebatch {}",
        restored.ledger,
        restored.file.display(),
        moment(head.made_at),
        head.program
    )];
    lines.push(rows((head.batches, head.lines, head.calls)));
    for path in &restored.secrets {
        lines.push(fact("secret", path.display().to_string()));
    }
    if clips.clips > 0 {
        lines.push(fact("speech", format!("{}, {} put back", counted(clips.clips, "clip"), bytes(clips.bytes))));
    }
    if missing.needed > 0 {
        let clips = counted(missing.needed, "clip");
        let words = format!(
            "{clips} that unfinished lines have paid for; buying them again costs about {}",
            dollars(missing.needed_cost.0)
        );
        lines.push(fact("missing", words));
    }
    if missing.others > 0 {
        let words = format!(
            "{} of finished lines, bought again only if they are said again: {}",
            counted(missing.others, "clip"),
            dollars(missing.others_cost.0)
        );
        lines.push(fact("missing", words));
    }
    if let Some(path) = &restored.replaced {
        lines.push(fact("replaced", format!("the ledger that was there is now {}", path.display())));
    }
    if !restored.lost.is_nothing() {
        lines.push(fact("lost", format!("what that ledger knew: {}", restored.lost)));
    }
    lines.push(
        "-> calls that were made since the backup are not known to it: work on no other copy of this ledger".to_owned(),
    );
    lines
}
