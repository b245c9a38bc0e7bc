//! `wavebatch completions`

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{
    Cli,
    context::Context,
    error::{CliError, Exit},
};

/// Print the completions of a shell
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch completions bash > ~/.local/share/bash-completion/completions/wavebatch")]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "wavebatch", &mut script);
        context.screen.result(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Success)
    }
}
