//! `wavebatch deliver`

use clap::Args;

use super::{
    context::{BatchArgs, Context},
    error::{CliError, Exit},
    lines::LineFlags,
    metrics_file::MetricsFlags,
    terminal::Terminal,
    words::counted,
    work,
};
use crate::{
    app::{MetricsFile, Session},
    runner::Order,
};

/// Write outputs of a batch again from kept answers
///
/// Nothing is called and nothing paid for; the batch has to be finished. What was pruned is told and left as it is.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wavebatch deliver support-calls\n  wavebatch deliver support-calls --keys-from keys.txt"
)]
pub struct Deliver {
    #[command(flatten)]
    named: BatchArgs,
    #[command(flatten)]
    lines: LineFlags,
    #[command(flatten)]
    metrics: MetricsFlags,
}

impl Deliver {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        self.metrics.around(context, self.named.ledger.sandbox, async |file| self.deliver(context, file).await).await
    }

    async fn deliver(&self, context: &Context, file: Option<&MetricsFile>) -> Result<Exit, CliError> {
        let settings = context.settings(self.named.ledger.sandbox)?.without_calls().of_existing_ledger();
        let session = Session::open(settings, Terminal::events(&context.screen)).await?.measured_in(file);
        let row = context.batch_in(session.store(), &self.named.batch).await?;
        let screen = &context.screen;
        let command_of = |words: &[&str]| context.hint(row.environment, words);
        let unfinished = session.store().counts(row.id).await?.unfinished();
        if unfinished > 0 {
            // Working the batch now would also make the calls of other lines, which was not requested.
            return Err(CliError::usage(format!("{} of {} are not finished", counted(unfinished, "line"), row.name))
                .hint(format!(
                    "finish them with `{}`, or take them back with `{}`",
                    command_of(&["work", "--batch", &row.name]),
                    command_of(&["cancel", &row.name])
                )));
        }
        let lines = self.lines.changed(context, session.store(), &row).await?;
        let (delivered, pruned) = match lines.is_all() {
            true => session.store().redeliver(row.id).await?,
            false => session.store().redeliver_selected(row.id, &lines).await?,
        };
        screen.message(&format!("{}: {} delivered again from kept answers", row.name, counted(delivered, "line")));
        if pruned > 0 {
            screen.warn(&format!(
                "the answers of {} are pruned, and their outputs stay as they are; `{}` pays for one again",
                counted(pruned, "line"),
                command_of(&["retry", &row.name, "--key", "KEY"])
            ));
        }
        let exit = match delivered {
            0 => Exit::Success,
            _ => work::to_the_end(context, &session, &[row], Order::ByTurns, &work::Show::default()).await?,
        };
        session.close().await;
        Ok(exit)
    }
}
