//! `wavebatch delete`

use std::path::PathBuf;

use clap::Args;

use super::{
    context::{BatchArgs, Context},
    error::{CliError, Exit},
    forget::{exit_of, say},
    words::counted,
};
use crate::{
    app::{Api, Choice, ForgetChoice, ForgetOptions, Forgetter, choose_lines},
    domain::forget::ForgottenOutputs,
};

/// Remove the content of a whole batch, and write a receipt
///
/// It does what `forget` does with all lines: keys, states, costs and times stay, so that nothing is paid for again and the
/// books add up. Outputs and reports stay where they are, unless --outputs takes them, too.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wavebatch delete support-calls\n  wavebatch delete support-calls --outputs --hash-key --yes"
)]
pub struct Delete {
    #[command(flatten)]
    named: BatchArgs,
    /// Remove its outputs, too, and the rows in its report
    #[arg(long)]
    outputs: bool,
    /// Replace the keys by their hashes, too, e.g. because they are telephone numbers
    #[arg(long)]
    hash_key: bool,
    /// Do it: nothing of it can be taken back
    #[arg(long)]
    yes: bool,
    /// Where the receipt is written [default: wavebatch-forget-ID.jsonl]
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
}

impl Delete {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let settings = context.settings(self.named.ledger.sandbox)?.of_existing_ledger();
        let (store, batch) = context.batch(&self.named).await?;
        let choice = ForgetChoice {
            lines: Choice { with_dropped: true, ..Choice::default() },
            batch: Some(batch.clone()),
            all_batches: false,
            everything: true,
        };
        let lines = choose_lines((&store, &context.tasks), settings.environment, &choice).await?;
        let count: usize = lines.iter().map(|lines| lines.keys.len()).sum();
        let screen = &context.screen;
        let outputs = if self.outputs { "with its outputs" } else { "without its outputs, which stay" };
        if !self.yes {
            let lines = counted(count as u64, "line");
            screen.message(&format!("{}: the content of {lines}, {outputs}", batch.name));
            screen.message("nothing was done: it cannot be taken back; --yes does it");
            store.close().await;
            return Ok(Exit::Usage);
        }
        let api = Api::open(&settings).await;
        let done = {
            let unasked = |e: &_| format!("the vendor was not asked: {e}");
            let forgetter = Forgetter::new(&store, &settings, api.as_ref().map_err(unasked));
            let options = ForgetOptions {
                hash_key: self.hash_key,
                outputs: if self.outputs { ForgottenOutputs::Remove } else { ForgottenOutputs::Leave },
                receipt: self.receipt,
                ..ForgetOptions::default()
            };
            Box::pin(forgetter.forget(&lines, &options)).await
        };
        if let Ok(api) = api {
            api.close().await;
        }
        store.close().await;
        let done = done?;
        say(context, &done);
        Ok(exit_of(context, settings.environment, &done))
    }
}
