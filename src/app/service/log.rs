//! The log of a service.

use jiff::Timestamp;

use crate::{
    server::{BatchNews, Scheduling},
    store::BatchStatus,
};

/// Logs an event of a schedule.
pub(super) fn scheduling(event: &Scheduling) {
    let message = |at: i64| Timestamp::from_millisecond(at).map(|at| at.to_string()).unwrap_or_default();
    match event {
        Scheduling::Found { definition, file, scheduled: true } => {
            tracing::info!(definition, file = %file.display(), "schedule found");
        }
        Scheduling::Changed { definition, file, .. } => {
            tracing::info!(definition, file = %file.display(), "definition changed");
        }
        Scheduling::Broken { file, faults } => {
            tracing::error!(file = %file.display(), "a definition is broken and starts nothing: {faults}");
        }
        Scheduling::Mended { definition, file } => tracing::info!(definition, file = %file.display(), "mended"),
        Scheduling::Gone { definition: Some(definition), file } => {
            tracing::info!(definition, file = %file.display(), "definition gone: it starts nothing more");
        }
        Scheduling::Clash { definition, why, .. } => tracing::error!(definition, "{why}"),
        Scheduling::OtherContent { definition, why, .. } => tracing::warn!(definition, "{why}"),
        Scheduling::Started { definition, at, name, added, older_batch, warnings, faults, .. } => {
            let same = if *older_batch { "; it is the night before, with the same manifest and options" } else { "" };
            tracing::info!(
                definition,
                scheduled = message(*at),
                batch.name = name,
                lines_new = added,
                "batch started{same}"
            );
            warnings.iter().for_each(|warning| tracing::warn!(batch.name = name, "{warning}"));
            if !faults.is_empty() {
                tracing::warn!(batch.name = name, "bad lines are skipped:\n{faults}");
            }
        }
        Scheduling::CouldNotStart { definition, at, why, hint, .. } => {
            tracing::error!(definition, scheduled = message(*at), hint, "could not start, and is tried again: {why}");
        }
        Scheduling::Waits { definition, at, why } => {
            tracing::info!(definition, scheduled = message(*at), "waits: {why}")
        }
        Scheduling::Dropped { definition, at, why } => {
            tracing::warn!(definition, scheduled = message(*at), "let go: {why}");
        }
        Scheduling::Found { .. } | Scheduling::Gone { .. } | Scheduling::States(_) => {}
    }
}

/// Logs the status of a batch.
pub(super) fn batch(news: &BatchNews) {
    let (name, summary) = (news.batch.name.as_str(), &news.summary);
    let lines: Vec<String> =
        summary.lines.iter().filter(|(_, n)| **n > 0).map(|(status, n)| format!("{n} {status}")).collect();
    let lines = lines.join(", ");
    let report = summary.report.as_str();
    match &news.batch_status {
        BatchStatus::Finished(_) => tracing::info!(batch.name = name, lines, report, "batch finished"),
        BatchStatus::Paused(_) => {
            let reason = summary.pause_reason.as_deref().unwrap_or_default();
            match &news.batch.pause {
                Some((kind, _)) if kind.ends_by_itself() => {
                    tracing::warn!(batch.name = name, lines, reason, "batch paused; it goes on by itself");
                }
                _ => tracing::warn!(
                    batch.name = name,
                    lines,
                    reason,
                    "batch paused; one line of it is tried every 15 min"
                ),
            }
        }
        BatchStatus::WindowClosed(_) => {
            tracing::warn!(
                batch.name = name,
                lines,
                report,
                "window closed with lines left; they go on in the next one"
            );
        }
        BatchStatus::Working | BatchStatus::Over => {}
    }
}
