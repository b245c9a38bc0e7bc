//! `wavebatch notify`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{
    context::Context,
    error::{CliError, Exit},
    terminal::Terminal,
};
use crate::{
    app::{Tried, try_notification},
    definition::{Definition, Overrides},
};

/// Try out notifications
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch notify test jobs/nightly-calls.toml")]
pub struct NotifyVerb {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Test(Test),
}

/// Send a notification to whoever is told about batches, and say whether it arrived
///
/// With a definition, to the one that its [notify] names; else to that of wavebatch.toml.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  wavebatch notify test\n  wavebatch notify test jobs/nightly-calls.toml")]
struct Test {
    /// The definition whose recipient is meant
    #[arg(value_name = "DEFINITION")]
    definition: Option<PathBuf>,
    /// As in the sandbox, where only recipients on this machine are told
    #[arg(long)]
    sandbox: bool,
}

impl NotifyVerb {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let What::Test(test) = self.what;
        let settings = context.settings(test.sandbox)?;
        let overrides = Overrides { now: context.env.now, sandbox: test.sandbox, ..Overrides::default() };
        let load = |file: &Path| Definition::load(file, context.tasks.definitions(), &overrides);
        let definition = test.definition.as_deref().map(load).transpose()?;
        let named = definition.as_ref().zip(test.definition.as_deref());
        match try_notification(&settings, named, &Terminal::events(&context.screen)).await {
            Tried::Sent(to) => {
                context.screen.message(&format!("{to} was told"));
                Ok(Exit::Success)
            }
            Tried::Failed { to, error } => Err(CliError::blocked(format!("{to} was not told: {error}"))),
            Tried::NotHere(to) => {
                Err(CliError::usage(format!("in the sandbox nobody outside this machine is told, and {to} is"))
                    .hint("leave --sandbox out"))
            }
            Tried::Nobody => Err(CliError::usage("nobody is named who would be told").hint(
                "name them in the definition or in wavebatch.toml: [notify] url = \"https://…\" or command = \"…\"",
            )),
        }
    }
}
