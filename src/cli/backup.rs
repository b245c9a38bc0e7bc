//! `wavebatch backup`

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    context::{Context, LedgerFlags},
    error::{CliError, Exit},
    screen::Screen,
    words::{bytes, counted, fact, grouped},
};
use crate::{
    app::{
        AppError, back_up, dump_command,
        views::{BackupView, ClipsView},
    },
    shutdown::Shutdown,
    store::{OnBackup, is_of_objects},
};

/// Back up the ledger into one file, also while others work on it
///
/// The file is a tar archive: the ledger as it is at one moment, the secrets of callbacks and notifications beside it, and
/// the list of bought speech. Only its owner can read it. Of a ledger on a server it has what stands outside the database,
/// and the command for the database is printed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wavebatch backup /backup/calls.tar\n  wavebatch backup /backup/calls.tar --replace --with-cache"
)]
pub struct Backup {
    /// The file to be made
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Put it in the place of an older backup of the same ledger
    #[arg(long)]
    replace: bool,
    /// Take the bought speech along, where it is in files
    #[arg(long)]
    with_cache: bool,
    #[command(flatten)]
    ledger: LedgerFlags,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let shutdown = Shutdown::listen()?;
        let (store, settings) = context.ledger(self.ledger.sandbox).await?;
        let screen = &context.screen;
        let bar = ByteBar::new(screen, "copied");
        let on = bar.on();
        let made = tokio::select! {
            made = back_up(&store, self.file.clone(), (self.replace, self.with_cache), &on) => made,
            () = shutdown.drain.cancelled() => Err(AppError::Interrupted(shutdown.signal())),
        };
        bar.close();
        let made = match made {
            Ok(made) => made,
            Err(e) => {
                // A copy of its file that goes on would hold it open.
                store.give_up();
                return Err(e.into());
            }
        };
        store.close().await;
        let dump = dump_command(&settings.config.database, &made.file);
        let view = BackupView::of(made, dump);
        match self.json {
            true => screen.view(&view)?,
            false => shown(&view, self.with_cache).iter().for_each(|line| screen.message(line)),
        }
        Ok(Exit::Success)
    }
}

fn shown(view: &BackupView, with_cache: bool) -> Vec<String> {
    let file = format!("{}, {}", view.file.display(), bytes(view.bytes));
    let mut lines = vec![match view.has_ledger {
        true => format!("{} backed up to {file}", view.ledger),
        false => format!("what stands outside {} backed up to {file}", view.ledger),
    }];
    lines.push(rows((view.batches, view.lines, view.calls)));
    if !view.secrets.is_empty() {
        let secrets: Vec<_> = view.secrets.iter().map(ToString::to_string).collect();
        lines.push(fact("secrets", secrets.join(", ")));
    }
    let amount = |of: ClipsView| format!("{}, {}", counted(of.clips, "clip"), bytes(of.bytes));
    match &view.spool {
        Some(address) if is_of_objects(address) => {
            lines.push(fact("speech", format!("stays in {address}, which needs a backup of its own")));
        }
        _ if view.clips.clips > 0 && !with_cache => {
            lines.push(fact(
                "speech",
                format!("{} are listed and not in it; --with-cache takes them along", amount(view.clips)),
            ));
        }
        _ => {}
    }
    if view.clips_inside.clips > 0 {
        lines.push(fact("speech", format!("{} in it", amount(view.clips_inside))));
    }
    if let Some(dump) = &view.dump {
        lines.push("the database is backed up by its own program:".to_owned());
        lines.push(format!("-> umask 077; {dump}"));
    }
    lines
}

/// What a ledger has: batches, lines and calls.
pub(super) fn rows((batches, lines, calls): (u64, u64, u64)) -> String {
    let batches = format!("{} batch{}", grouped(batches), if batches == 1 { "" } else { "es" });
    fact("ledger", [batches, counted(lines, "line"), counted(calls, "call")].join(", "))
}

/// A bar of bytes; nothing where no bars are drawn.
pub(super) struct ByteBar {
    bar: Option<ProgressBar>,
    screen: Screen,
    done: &'static str,
}

impl ByteBar {
    pub(super) fn new(screen: &Screen, done: &'static str) -> Self {
        let bar = screen.draws().then(|| {
            let style = ProgressStyle::with_template("{bar:32} {msg}")
                .expect("a constant template that is right")
                .progress_chars("█▉▊▋▌▍▎▏ ");
            screen.bars().add(ProgressBar::new(0).with_style(style))
        });
        Self { bar, screen: screen.clone(), done }
    }

    pub(super) fn on(&self) -> OnBackup {
        let (bar, verb) = (self.bar.clone(), self.done);
        Arc::new(move |done, all| {
            let Some(bar) = &bar else { return };
            bar.set_length(all.max(done));
            bar.set_position(done);
            bar.set_message(format!("{} of about {} {verb}", bytes(done), bytes(all.max(done))));
        })
    }

    pub(super) fn close(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
            self.screen.bars().remove(&bar);
        }
    }
}
