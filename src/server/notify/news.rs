//! The content of a notification, as JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    clock::Millis,
    domain::{cost::MicroUsd, notice::NoticeEvent, row::RowStatus},
    report::summary::{Summary, SummaryState},
    store::{BatchRow, NewNotice, SpendNotice},
};

/// A notification about a batch. Fields may be added; none changes its meaning.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct News {
    /// What happened.
    pub event: NoticeEvent,
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// The batch's name.
    pub batch: String,
    /// Its definition's name.
    pub definition: String,
    /// Its state, if it was started.
    pub state: Option<SummaryState>,
    /// Why it paused or could not start; how close a spend limit is; for a finished batch, why its report could not
    /// be written.
    pub reason: Option<String>,
    /// Lines by status. An absent status means 0.
    pub lines: BTreeMap<RowStatus, u64>,
    /// The lines that need attention from a user.
    pub lines_left: u64,
    /// What the batch cost over all its runs: an estimate at list price.
    pub spend_usd: MicroUsd,
    /// The location of its report.
    pub report: Option<String>,
    /// The location of its summary.
    pub summary: Option<String>,
    /// Whether it belongs to the sandbox.
    pub sandbox: bool,
}

impl News {
    /// News of a batch with a summary.
    #[must_use]
    pub fn of(event: NoticeEvent, definition: &str, summary: &Summary, at: Millis) -> Self {
        let outputs = summary.outputs.trim_end_matches('/');
        Self {
            event,
            at: rfc3339(at),
            batch: summary.batch.clone(),
            definition: definition.to_owned(),
            state: Some(summary.state),
            reason: summary.pause_reason.clone(),
            lines: summary.lines.clone(),
            lines_left: left(summary),
            spend_usd: summary.spend.total_usd,
            report: Some(summary.report.clone()),
            summary: Some(format!("{outputs}/summary.json")),
            sandbox: false,
        }
    }

    /// News of a run that ended before it had a summary.
    #[must_use]
    pub fn could_not_start(definition: &str, batch: &str, reason: &str, at: Millis) -> Self {
        Self {
            event: NoticeEvent::CouldNotStart,
            at: rfc3339(at),
            batch: batch.to_owned(),
            definition: definition.to_owned(),
            state: None,
            reason: Some(reason.to_owned()),
            lines: BTreeMap::new(),
            lines_left: 0,
            spend_usd: MicroUsd(0),
            report: None,
            summary: None,
            sandbox: false,
        }
    }

    /// News of a spend limit that is close. The batch is the one whose call came close to it.
    #[must_use]
    pub fn spend_close(batch: &BatchRow, close: &SpendNotice) -> Self {
        Self {
            event: NoticeEvent::SpendClose,
            spend_usd: MicroUsd(batch.spent),
            ..Self::could_not_start(&batch.definition, &batch.name, &close.words, close.at)
        }
    }

    /// The notice for the ledger. `about` distinguishes like events of a batch; `own`: the definition names its
    /// target itself.
    #[must_use]
    pub fn notice(&self, about: impl Into<String>, own: bool) -> NewNotice {
        NewNotice {
            definition: self.definition.clone(),
            batch: self.batch.clone(),
            event: self.event,
            about: about.into(),
            own,
            body: serde_json::to_string(self).expect("strings and numbers are JSON"),
        }
    }
}

fn left(summary: &Summary) -> u64 {
    summary.lines.iter().filter(|(status, _)| !status.is_finished()).map(|(_, count)| count).sum()
}

fn rfc3339(at: Millis) -> String {
    Timestamp::from_millisecond(at).map(|at| format!("{at:.3}")).unwrap_or_default()
}
