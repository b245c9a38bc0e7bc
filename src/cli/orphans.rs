//! `wavebatch orphans`

use clap::Args;
use serde::Serialize;

use super::{
    context::{BatchArgs, Context},
    error::{CliError, Exit},
    words::{bytes, counted},
};
use crate::app::{orphans, remove_files};

/// List files in a batch's output that no line owns
///
/// Such files are left by lines that were renamed or removed, by other voices and formats, or by hand. Only files of the
/// kinds that the batch's lines have are listed. With --remove they are deleted.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  wavebatch orphans support-calls\n  wavebatch orphans support-calls --remove")]
pub struct Orphans {
    #[command(flatten)]
    named: BatchArgs,
    /// Delete them; the batch has to be finished
    #[arg(long)]
    remove: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// A file that no line owns.
#[derive(Debug, Serialize)]
struct OrphanView<'f> {
    /// Its name, relative to the output.
    name: &'f str,
    /// Its size.
    bytes: u64,
}

impl Orphans {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let (store, batch) = context.batch(&self.named).await?;
        let unfinished = store.counts(batch.id).await?.unfinished();
        if self.remove && unfinished > 0 {
            // A line at work may just have written a file that its row does not name yet.
            return Err(CliError::usage(format!("{} of {} are not finished", counted(unfinished, "line"), batch.name))
                .hint("remove files when the batch is finished"));
        }
        let found = orphans(&store, &batch).await?;
        let screen = &context.screen;
        match self.json {
            true => screen.views(found.files.iter().map(|(name, bytes)| OrphanView { name, bytes: *bytes }))?,
            false => {
                for (name, _) in &found.files {
                    screen.result(name)?;
                }
            }
        }
        let size = bytes(found.files.iter().map(|(_, bytes)| bytes).sum());
        let files = counted(found.files.len() as u64, "file");
        if self.remove {
            remove_files(&batch, &found.files).await?;
        }
        screen.message(&match (found.files.len(), self.remove) {
            (0, _) => format!("{}: a line owns each file in {}", batch.name, found.output),
            (_, true) => format!("{}: {files} ({size}) removed from {}", batch.name, found.output),
            (_, false) => {
                format!("{}: no line owns {files} ({size}) in {}; --remove deletes them", batch.name, found.output)
            }
        });
        if found.foreign > 0 {
            let others = counted(found.foreign, "file");
            screen.message(&format!("left alone: {others} of other kinds"));
        }
        store.close().await;
        Ok(Exit::Success)
    }
}
