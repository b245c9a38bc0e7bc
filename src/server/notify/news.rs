//! The content of a notification, as JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    clock::Millis,
    domain::{cost::MicroUsd, documented::documented, notice::NoticeEvent, printable::printable, row::RowStatus},
    report::{
        summary::{Summary, SummaryState},
        words::{counted, grouped},
    },
    store::{BatchRow, NewNotice, SpendNotice},
};

documented! {
    /// A notification about a batch. Fields may be added; none changes its meaning.
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub struct News {
        /// The news in one sentence, in the field that chat services show.
        pub text: String,
        /// What happened: one of the events above.
        pub event: NoticeEvent,
        /// When it happened: RFC 3339 in UTC.
        pub at: String,
        /// The batch's name.
        pub batch: String,
        /// Its definition's name.
        pub definition: String,
        /// The state of the batch (see [report](report.md#state)); null if it was not started.
        pub state: Option<SummaryState>,
        /// Why it paused or could not start; how close a spend limit is; for a finished batch, why its report could not
        /// be written.
        pub reason: Option<String>,
        /// The number of lines by status. An absent status means 0.
        pub lines: BTreeMap<RowStatus, u64>,
        /// The number of lines that are not finished.
        pub lines_left: u64,
        /// What the batch cost over all its runs: an estimate at list price.
        pub spend_usd: MicroUsd,
        /// Where its report is; null if there is none.
        pub report: Option<String>,
        /// Where its `summary.json` is; null if there is none.
        pub summary: Option<String>,
        /// Whether the batch belongs to the sandbox.
        pub sandbox: bool,
    }
}

impl News {
    /// News of a batch with a summary.
    #[must_use]
    pub fn of(event: NoticeEvent, definition: &str, summary: &Summary, at: Millis) -> Self {
        let outputs = summary.outputs.trim_end_matches('/');
        Self {
            text: String::new(),
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
            text: String::new(),
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

    /// A notification that only shows that notifications arrive.
    #[must_use]
    pub fn test(definition: &str, at: Millis) -> Self {
        Self { event: NoticeEvent::Test, reason: None, ..Self::could_not_start(definition, definition, "", at) }
    }

    /// The news in one sentence, without line breaks.
    fn sentence(&self) -> String {
        let some = self.lines.iter().filter(|(_, count)| **count > 0);
        let lines: Vec<String> = some.map(|(status, count)| format!("{} {status}", grouped(*count))).collect();
        let lines = if lines.is_empty() { "no lines".to_owned() } else { lines.join(", ") };
        let reason = self.reason.as_deref().map(|reason| reason.split('\n').collect::<Vec<_>>().join("; "));
        let because = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let batch = &self.batch;
        let sentence = match self.event {
            NoticeEvent::Finished if self.state == Some(SummaryState::Cancelled) => {
                format!("{batch} was cancelled: {lines}")
            }
            NoticeEvent::Finished => {
                let fault = reason.map(|reason| format!("; {reason}")).unwrap_or_default();
                format!("{batch} is finished: {lines}; about ${}{fault}", self.spend_usd)
            }
            NoticeEvent::Paused => format!("{batch} is paused{because} ({lines})"),
            NoticeEvent::CouldNotStart => format!("{batch} could not start{because}"),
            NoticeEvent::WindowClosed => {
                format!("the window of {batch} closed with {} left ({lines})", counted(self.lines_left, "line"))
            }
            NoticeEvent::SpendClose => reason.unwrap_or_else(|| format!("a spend limit is close, by {batch}")),
            NoticeEvent::Test => format!("a test: notifications of {batch} arrive here"),
        };
        let sandbox = if self.sandbox { " (sandbox)" } else { "" };
        printable(&format!("wavebatch: {sentence}{sandbox}")).into_owned()
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
            body: serde_json::to_string(&Self { text: self.sentence(), ..self.clone() })
                .expect("strings and numbers are JSON"),
        }
    }
}

fn left(summary: &Summary) -> u64 {
    summary.lines.iter().filter(|(status, _)| !status.is_finished()).map(|(_, count)| count).sum()
}

fn rfc3339(at: Millis) -> String {
    Timestamp::from_millisecond(at).map(|at| format!("{at:.3}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_news_is_one_sentence() {
        let mut news = News::could_not_start("nightly", "nightly-20", "error: no key\nhint: export it", 0);
        assert_eq!(news.sentence(), "wavebatch: nightly-20 could not start: error: no key; hint: export it");
        news.event = NoticeEvent::Finished;
        news.reason = None;
        news.lines = BTreeMap::from([(RowStatus::Succeeded, 1_204), (RowStatus::Failed, 3), (RowStatus::Queued, 0)]);
        news.spend_usd = MicroUsd(6_240_000);
        news.sandbox = true;
        assert_eq!(
            news.sentence(),
            "wavebatch: nightly-20 is finished: 1,204 succeeded, 3 failed; about $6.240000 (sandbox)"
        );
        let body: serde_json::Value = serde_json::from_str(&news.notice("", false).body).unwrap();
        assert_eq!(body["text"], news.sentence());
        assert_eq!(News::test("nightly", 0).sentence(), "wavebatch: a test: notifications of nightly arrive here");
    }
}
