//! `summary.json`: a batch on one page, for people and programs, and the proof of who owns the outputs beside it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    domain::{
        call::ErrorKind,
        chat::Usage,
        cost::{MicroUsd, Rates},
        documented::documented,
        options::listed,
        row::{Note, RowStatus},
        transcript::SuspectReason,
    },
    store::BatchRow,
};

/// The version of the file's format; it rises when a field changes its meaning or is removed.
pub const FORMAT: u32 = 1;

listed! {
    /// The state of a batch when its summary is written.
    SummaryState, "state" {
        /// Work continues, or the process was killed.
        Running = "running",
        /// Nothing is left to do.
        Finished = "finished",
        /// Nothing is left to do, since you cancelled it.
        Cancelled = "cancelled",
        /// No call begins: you paused it, or for a reason that no line is to blame for.
        Paused = "paused",
        /// A signal stopped the command. The same command continues.
        Interrupted = "interrupted",
        /// Its schedule's window closed with lines left. It continues in the next window.
        Waiting = "waiting",
    }
}

impl SummaryState {
    /// The state of a batch without unfinished lines.
    #[must_use]
    pub const fn of_finished(row: &BatchRow) -> Self {
        if row.cancelled_at.is_some() { Self::Cancelled } else { Self::Finished }
    }
}

listed! {
    /// The reason for an expense.
    SpendReason, "reason to spend" {
        /// The first call for a part.
        FirstCall = "first_call",
        /// A call after one that may or may not have been billed.
        AfterUnknown = "after_unknown_outcome",
        /// A call after an unusable answer, or after `wavebatch retry`.
        Retry = "retry",
    }
}

documented! {
    /// A batch on one page.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub struct Summary {
        /// The version of the format of this file.
        pub format: u32,
        /// The version of wavebatch that wrote the file.
        pub wavebatch: String,
        /// The batch's name.
        pub batch: String,
        /// The definition's path; null for a batch without a definition.
        pub definition: Option<String>,
        /// The ledger that knows the batch: its id, its path and its newest call.
        pub ledger: LedgerRef,
        /// Where the outputs are.
        pub outputs: String,
        /// Where its report is.
        pub report: String,
        /// The state of the batch.
        pub state: SummaryState,
        /// Why the batch is paused.
        pub pause_reason: Option<String>,
        /// When its first line was begun (RFC 3339).
        #[serde(with = "time")]
        pub started_at: Option<i64>,
        /// When its last line was finished (RFC 3339).
        #[serde(with = "time")]
        pub finished_at: Option<i64>,
        /// The number of lines by status. An absent status means 0.
        pub lines: BTreeMap<RowStatus, u64>,
        /// Failed lines by error kind: their number, the key of one and its message.
        pub failures: Vec<Failures>,
        /// Suspect lines by reason: their number and the key of one.
        pub suspects: Vec<Suspects>,
        /// The number of lines by note, without notes that are reasons to suspect.
        #[serde(default)]
        pub notes: BTreeMap<Note, u64>,
        /// The length of the audio of all lines that have a result.
        pub audio_seconds: f64,
        /// The characters and parts of a synthesis; absent for other tasks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub synthesis: Option<SynthesisSummary>,
        /// The tokens of a chat; absent for other tasks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tokens: Option<Usage>,
        /// The number of calls.
        pub calls: u64,
        /// The calls among them that may have been billed.
        pub billed_calls: u64,
        /// What they cost at list price: in total, by model, and by the reason for the expense.
        pub spend: Spend,
        /// What the run that just ended did. It stands in `--json` alone, not in the file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub this_run: Option<RunFigures>,
        /// The prices, in US dollars per minute of audio, per 10,000 characters or per million tokens, and their date.
        pub rates: Rates,
    }
}

/// What one run did with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunFigures {
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Calls made.
    pub calls: u64,
    /// Those of them that may have been billed.
    pub billed_calls: u64,
    /// What they cost: an estimate at list price.
    pub spend_usd: MicroUsd,
}

/// The totals of the synthesis jobs that have a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SynthesisSummary {
    /// Characters of their texts.
    pub characters: u64,
    /// Parts that the texts were cut into.
    pub parts: u64,
    /// Those of them that were reused.
    pub reused_parts: u64,
}

/// The ledger of a batch, as far as others need to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRef {
    /// Its id, created with it.
    pub id: String,
    /// Its absolute path.
    pub path: String,
    /// Its newest call. A ledger of this id that does not know that call is an older copy.
    pub newest_call: Option<String>,
}

/// Failed lines of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// Why they failed.
    pub kind: ErrorKind,
    /// Their number.
    pub count: u64,
    /// The key of one.
    pub key: String,
    /// The message of that line.
    pub error: String,
}

/// Suspect lines of one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspects {
    /// Why they are suspect.
    pub reason: SuspectReason,
    /// Their number.
    pub count: u64,
    /// The key of one.
    pub key: String,
}

/// Money, broken down in two ways.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spend {
    /// The total.
    pub total_usd: MicroUsd,
    /// By model.
    pub by_model: BTreeMap<String, MicroUsd>,
    /// By the reason for the expense.
    pub by_reason: BTreeMap<SpendReason, MicroUsd>,
}

/// Who owns the outputs: the part of `summary.json` that every version can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The batch's name.
    pub batch: String,
    /// The ledger that knows it.
    pub ledger: LedgerRef,
}

impl Owner {
    /// Reads the owner from a `summary.json` of this version or a later one; `None` if the file is no summary.
    #[must_use]
    pub fn read(summary: &[u8]) -> Option<Self> {
        serde_json::from_slice(summary).ok()
    }
}

impl Summary {
    /// How many lines have this status.
    #[must_use]
    pub fn count(&self, status: RowStatus) -> u64 {
        self.lines.get(&status).copied().unwrap_or_default()
    }

    /// How many lines there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.lines.values().sum()
    }

    /// The content of the file: indented, with a newline at its end.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("strings and numbers are JSON");
        json.push(b'\n');
        json
    }
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn rfc3339(ms: i64) -> Option<String> {
    Timestamp::from_millisecond(ms).ok().map(|at| format!("{at:.3}"))
}

mod time {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Timestamp, rfc3339};

    pub(super) fn serialize<S: Serializer>(ms: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
        ms.and_then(rfc3339).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|at| at.parse().map(Timestamp::as_millisecond).map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn summary() -> Summary {
        Summary {
            format: FORMAT,
            wavebatch: "0.1.0".into(),
            batch: "support-calls".into(),
            definition: Some("jobs/support-calls.toml".into()),
            ledger: LedgerRef { id: "L1".into(), path: "/srv/wavebatch.db".into(), newest_call: Some("019a".into()) },
            report: "/srv/out/support-calls/report.csv".into(),
            outputs: "/srv/out/support-calls".into(),
            state: SummaryState::Finished,
            pause_reason: None,
            started_at: Some(1_764_000_000_000),
            finished_at: Some(1_764_000_192_500),
            lines: BTreeMap::from([(RowStatus::Succeeded, 1204), (RowStatus::Suspect, 3), (RowStatus::Failed, 14)]),
            failures: vec![
                Failures {
                    kind: ErrorKind::SourceMissing,
                    count: 12,
                    key: "2026/call-17".into(),
                    error: "no such file: /srv/rec/call-17.wav".into(),
                },
                Failures {
                    kind: ErrorKind::UnknownOutcome,
                    count: 2,
                    key: "2026/call-40".into(),
                    error: "the connection broke\nafter the request left".into(),
                },
            ],
            suspects: vec![Suspects { reason: SuspectReason::Empty, count: 3, key: "2026/call-9".into() }],
            notes: BTreeMap::from([(Note::Stereo, 1_200), (Note::PaidAgain, 5)]),
            this_run: None,
            audio_seconds: 74_520.5,
            synthesis: None,
            tokens: None,
            calls: 1230,
            billed_calls: 1211,
            spend: Spend {
                total_usd: MicroUsd(6_235_000),
                by_model: BTreeMap::from([("pulse".into(), MicroUsd(6_235_000))]),
                by_reason: BTreeMap::from([
                    (SpendReason::FirstCall, MicroUsd(6_210_000)),
                    (SpendReason::AfterUnknown, MicroUsd(25_000)),
                ]),
            },
            rates: Rates::default(),
        }
    }

    #[test]
    fn the_file_survives_reading() {
        let json = summary().to_json();
        assert_eq!(serde_json::from_slice::<Summary>(&json).unwrap(), summary());
        insta::assert_snapshot!(String::from_utf8(json).unwrap(), @r#"
        {
          "format": 1,
          "wavebatch": "0.1.0",
          "batch": "support-calls",
          "definition": "jobs/support-calls.toml",
          "ledger": {
            "id": "L1",
            "path": "/srv/wavebatch.db",
            "newest_call": "019a"
          },
          "outputs": "/srv/out/support-calls",
          "report": "/srv/out/support-calls/report.csv",
          "state": "finished",
          "pause_reason": null,
          "started_at": "2025-11-24T16:00:00.000Z",
          "finished_at": "2025-11-24T16:03:12.500Z",
          "lines": {
            "succeeded": 1204,
            "suspect": 3,
            "failed": 14
          },
          "failures": [
            {
              "kind": "source_missing",
              "count": 12,
              "key": "2026/call-17",
              "error": "no such file: /srv/rec/call-17.wav"
            },
            {
              "kind": "unknown_outcome",
              "count": 2,
              "key": "2026/call-40",
              "error": "the connection broke\nafter the request left"
            }
          ],
          "suspects": [
            {
              "reason": "empty",
              "count": 3,
              "key": "2026/call-9"
            }
          ],
          "notes": {
            "stereo": 1200,
            "paid_again": 5
          },
          "audio_seconds": 74520.5,
          "calls": 1230,
          "billed_calls": 1211,
          "spend": {
            "total_usd": 6.235,
            "by_model": {
              "pulse": 6.235
            },
            "by_reason": {
              "first_call": 6.21,
              "after_unknown_outcome": 0.025
            }
          },
          "rates": {
            "as_of": "2026-09-07",
            "pulse": 0.005,
            "pulse-pro": 0.004,
            "pulse-live": 0.008,
            "lightning": 0.175,
            "lightning-pro": 0.195,
            "electron": {
              "input": 0.4,
              "cached": 0.1,
              "output": 1.6
            }
          }
        }
        "#);
    }

    #[test]
    fn the_owner_can_be_read_from_later_versions() {
        let later = br#"{"format":9,"batch":"b","ledger":{"id":"L","path":"/l","newest_call":null,"new":1},"state":"dreaming"}"#;
        assert_eq!(Owner::read(later).unwrap().ledger.id, "L");
        assert_eq!(Owner::read(&summary().to_json()).unwrap().batch, "support-calls");
        assert_eq!(Owner::read(b"{\"batch\":\"b\"}"), None);
    }
}
