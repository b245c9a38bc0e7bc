//! Outputs that are gone from where they were written.

use super::{
    context::Context,
    error::Exit,
    words::{command, counted, grouped},
};
use crate::{
    app::{MissingFiles, missing_outputs},
    domain::environment::LedgerChoice,
    store::{BatchRow, Store},
};

/// Looks whether the outputs of a batch are where they were written, and warns of those that are not. Returns the exit
/// status for that.
pub(super) async fn look(context: &Context, store: &Store, batch: &BatchRow) -> Exit {
    let (screen, choice) = (&context.screen, context.choice());
    match missing_outputs(store, batch).await {
        Ok(None) => Exit::Success,
        Ok(Some(missing)) => {
            if screen.is_log() {
                log(batch, &missing, &choice);
            } else {
                screen.warn(&message(batch, &missing, &choice));
            }
            Exit::Lines
        }
        Err(error) => {
            screen.warn(&format!("whether the outputs of {} are there is not known: {error}", batch.name));
            Exit::Success
        }
    }
}

fn log(batch: &BatchRow, missing: &MissingFiles, choice: &LedgerChoice) {
    tracing::warn!(
        batch.name = batch.name,
        files.missing = missing.count,
        files.written = missing.of,
        files.some = missing.some.join(", "),
        outputs = missing.output,
        hint = remedies(batch, missing, choice).join("; "),
        "files that were written are not there any more"
    );
}

fn message(batch: &BatchRow, missing: &MissingFiles, choice: &LedgerChoice) -> String {
    let more = missing.count.saturating_sub(missing.some.len() as u64);
    let more = if more > 0 { format!(" and {} more", grouped(more)) } else { String::new() };
    let remedies: String = remedies(batch, missing, choice).iter().map(|remedy| format!("\n-> {remedy}")).collect();
    format!(
        "{} of {} that {} wrote are not in {} any more: {}{more}{remedies}",
        grouped(missing.count),
        counted(missing.of, "file"),
        batch.name,
        missing.output,
        missing.some.join(", "),
    )
}

/// What brings the files back: a kept answer for nothing, else another call.
fn remedies(batch: &BatchRow, missing: &MissingFiles, choice: &LedgerChoice) -> Vec<String> {
    let kept = missing.count.saturating_sub(missing.pruned);
    let these = |count: u64| match count == missing.count {
        true if count == 1 => "it".to_owned(),
        true => "them".to_owned(),
        false => format!("{} of them", grouped(count)),
    };
    let mut remedies = Vec::new();
    if kept > 0 {
        let deliver = command((choice, batch.environment), &["deliver", &batch.name]);
        remedies.push(format!("{deliver}  writes {} again from kept answers", these(kept)));
    }
    if let Some(key) = &missing.pruned_key {
        let retry = command((choice, batch.environment), &["retry", &batch.name, "--key", key]);
        let these = these(missing.pruned);
        remedies.push(format!("{retry}  pays for one again: no answer is kept for {these}"));
    }
    remedies
}
