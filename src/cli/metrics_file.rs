//! The flag for a file of metrics, and what happens around a verb that has it.

use std::path::PathBuf;

use clap::Args;

use super::{
    context::Context,
    error::{CliError, Exit},
    terminal::Terminal,
};
use crate::{
    app::{AppError, MetricsFile},
    config::metrics_file,
};

/// Where the metrics of a run go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Monitoring")]
pub struct MetricsFlags {
    /// Write metrics to NAME.prom every 15 s and at the end, for the node exporter's textfile collector
    #[arg(long, value_name = "FILE", value_parser = metrics_file)]
    metrics_file: Option<PathBuf>,
}

impl MetricsFlags {
    /// Does a verb's work, and writes its metrics meanwhile and at its end, if a file is named for them. The work gets the
    /// file to count in.
    pub(super) async fn around(
        &self,
        context: &Context,
        sandbox: bool,
        work: impl AsyncFnOnce(Option<&MetricsFile>) -> Result<Exit, CliError>,
    ) -> Result<Exit, CliError> {
        let Some(path) = self.path(context, sandbox)? else { return work(None).await };
        let file = MetricsFile::begin(path, Terminal::events(&context.screen)).await.map_err(AppError::from)?;
        let done = work(Some(&file)).await;
        if let Err(error) = file.end(Exit::of(&done).code()).await {
            context.screen.warn(&error.to_string());
        }
        done
    }

    /// The file, which a flag names, or the environment, or the settings. The sandbox has nothing to say to a monitor that
    /// was not asked for on its command line.
    fn path(&self, context: &Context, sandbox: bool) -> Result<Option<PathBuf>, CliError> {
        let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        if let Some(path) = &self.metrics_file {
            return Ok(Some(cwd.join(path)));
        }
        if sandbox {
            return Ok(None);
        }
        if let Some(path) = context.env.metrics_path(&cwd)? {
            return Ok(Some(path));
        }
        // The work itself reports settings that cannot be read.
        Ok(context.config(sandbox).ok().and_then(|config| config.metrics_file))
    }
}
