//! Outputs that are gone from where they were written.

use super::{
    error::Exit,
    screen::Screen,
    words::{counted, grouped, shell},
};
use crate::{
    app::{MissingFiles, missing_outputs},
    store::{BatchRow, Store},
};

/// Looks whether the outputs of a batch are where they were written, and warns of those that are not. Returns the exit
/// status for that.
pub(super) async fn look(screen: &Screen, store: &Store, batch: &BatchRow, sandbox: bool) -> Exit {
    match missing_outputs(store, batch).await {
        Ok(None) => Exit::Success,
        Ok(Some(missing)) => {
            if screen.is_log() {
                log(&batch.name, &missing);
            } else {
                screen.warn(&message(&batch.name, &missing, sandbox));
            }
            Exit::Lines
        }
        Err(error) => {
            screen.warn(&format!("whether the outputs of {} are there is not known: {error}", batch.name));
            Exit::Success
        }
    }
}

fn log(batch: &str, missing: &MissingFiles) {
    tracing::warn!(
        batch.name = batch,
        files.missing = missing.count,
        files.written = missing.of,
        files.some = missing.some.join(", "),
        outputs = missing.output,
        hint = format!("wavebatch deliver {}", shell(batch)),
        "files that were written are not there any more"
    );
}

fn message(batch: &str, missing: &MissingFiles, sandbox: bool) -> String {
    let more = missing.count.saturating_sub(missing.some.len() as u64);
    let more = if more > 0 { format!(" and {} more", grouped(more)) } else { String::new() };
    let flag = if sandbox { " --sandbox" } else { "" };
    format!(
        "{} of {} that {batch} wrote are not in {} any more: {}{more}\n-> wavebatch deliver {}{flag}  writes them again from kept answers",
        grouped(missing.count),
        counted(missing.of, "file"),
        missing.output,
        missing.some.join(", "),
        shell(batch)
    )
}
