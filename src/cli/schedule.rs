//! `wavebatch schedule`

mod shown;

use std::path::PathBuf;

use clap::Args;

use super::{
    context::Context,
    error::{CliError, Exit},
};
use crate::{
    app::{find_ledger, list_schedules},
    server::{definitions_in, distinct},
};

/// List what runs when, and what its window cannot hold
///
/// Needs no key and calls no API. Lines are counted where the manifest is here, as it is now; a manifest on the network
/// is not fetched.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch schedule jobs --days 3")]
pub struct Schedule {
    /// Definitions (*.toml), or directories of them
    #[arg(value_name = "DIR|FILE", default_value = "jobs")]
    from: Vec<PathBuf>,
    /// How many days ahead; the next run is told however far it is
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=366))]
    days: u16,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Schedule {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let settings = context.settings(false)?;
        let store = find_ledger(&settings).await?;
        let listing = list_schedules(&settings, store.as_ref(), &files(&self.from)?, self.days).await?;
        if let Some(store) = store {
            store.close().await;
        }
        match self.json {
            true => context.screen.view(&listing.view())?,
            false => context.screen.result(&shown::message(&listing))?,
        }
        for (_, faults) in &listing.broken {
            context.screen.error(&CliError::from(faults.clone()).message());
        }
        Ok(if listing.broken.is_empty() { Exit::Success } else { Exit::Usage })
    }
}

/// The requested definitions, each once; for a directory, those directly in it.
fn files(from: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in from {
        let message = |e: std::io::Error| CliError::usage(format!("{}: {e}", path.display()));
        match path.metadata() {
            Ok(meta) if meta.is_dir() => files.extend(definitions_in(path).map_err(message)?),
            Ok(_) => files.push(path.clone()),
            Err(e) => return Err(message(e).hint("name the directory that the definitions are in, or their files")),
        }
    }
    Ok(distinct(files))
}
