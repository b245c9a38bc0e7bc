//! `wavebatch man`

use std::{fs, path::PathBuf};

use clap::{Args, CommandFactory};

use super::{
    Cli,
    context::Context,
    error::{CliError, Exit},
};

/// Write the manual pages: one for each verb
///
/// Without a directory, the page of the program is printed. `man` reads it from a file: `wavebatch man man1 && man
/// ./man1/wavebatch-run.1`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch man ~/.local/share/man/man1")]
pub struct Man {
    /// The directory for the pages; it is made if it does not exist
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let command = Cli::command().disable_help_subcommand(true);
        let Some(dir) = self.dir else {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            context.screen.result(&String::from_utf8_lossy(&page))?;
            return Ok(Exit::Success);
        };
        let refused = |e| CliError::blocked(format!("cannot write manual pages to {}: {e}", dir.display()));
        fs::create_dir_all(&dir).map_err(refused)?;
        clap_mangen::generate_to(command, &dir).map_err(refused)?;
        context.screen.message(&format!("manual pages are in {}", dir.display()));
        Ok(Exit::Success)
    }
}
