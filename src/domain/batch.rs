//! A batch as the ledger stores it: what was requested, and under which limits it runs.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    options::listed,
    query::QueryRules,
    s3::{S3Settings, SinkSettings},
    share,
    task::TaskSpec,
};
use crate::domain::printable::visible;

pub use super::{
    cost::MicroUsd,
    overrides::{LineOption, LineOverrides},
};

/// The name under which a batch is stored and resumed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BatchName(String);

/// Why a text cannot name a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot name a batch: {reason}", visible(.name))]
pub struct BatchNameFault {
    /// The text as given.
    pub name: String,
    /// The rule that the text breaks.
    pub reason: &'static str,
}

impl BatchName {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Takes `name` as a batch's name. The name is also a folder of the output, so it must be a valid folder name.
    ///
    /// # Errors
    /// The rule that `name` breaks.
    pub fn new(name: impl Into<String>) -> Result<Self, BatchNameFault> {
        let name = name.into();
        let reason = if name.is_empty() {
            "it is empty"
        } else if name.len() > Self::MAX_BYTES {
            "it has over 128 bytes"
        } else if name.chars().any(char::is_control) {
            "it has control characters"
        } else if name.contains(['/', '\\']) {
            "it has a `/` or `\\`"
        } else if name == "." || name.contains("..") {
            "it would be read as a path (`.`, `..`)"
        } else if name.trim() != name {
            "it begins or ends with a space"
        } else {
            return Ok(Self(name));
        };
        Err(BatchNameFault { name, reason })
    }

    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BatchName {
    type Error = BatchNameFault;
    fn try_from(name: String) -> Result<Self, BatchNameFault> {
        Self::new(name)
    }
}

impl std::str::FromStr for BatchName {
    type Err = BatchNameFault;
    fn from_str(name: &str) -> Result<Self, BatchNameFault> {
        Self::new(name)
    }
}

impl From<BatchName> for String {
    fn from(name: BatchName) -> Self {
        name.0
    }
}

impl fmt::Display for BatchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What stands before the name of a batch whose finished lines are a manifest.
pub const BATCH: &str = "batch:";

/// What a batch requests: one definition × one manifest, without the lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchSpec {
    /// The definition's name.
    pub definition: String,
    /// What is done with each line, and how.
    #[serde(flatten)]
    pub task: TaskSpec,
    /// The manifest as it is shown to the user.
    pub manifest: String,
    /// The manifest's address as written, by which the batch recognizes the manifest; empty if the address is unknown.
    #[serde(default)]
    pub address: String,
    /// Where outputs go: an absolute directory, or `s3://bucket/prefix`.
    pub output: String,
    /// How it runs.
    pub run: RunSettings,
    /// What the report contains.
    pub report: ReportSettings,
    /// The manifest's columns carried into the report, in their order.
    pub carried: Vec<String>,
    /// The manifest's columns that override options.
    pub option_columns: Vec<String>,
    /// The S3 store that holds the sources.
    #[serde(default)]
    pub source: S3Settings,
    /// Whether servers on the internet may redirect into private networks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private_redirects: bool,
    /// Which query parameters identify recordings, and which are shown.
    #[serde(default)]
    pub queries: QueryRules,
    /// The store that takes the outputs, and how it stores them.
    #[serde(default)]
    pub sink: SinkSettings,
    /// Where the report goes, if not next to the outputs: an absolute path or `s3://bucket/key`.
    #[serde(default)]
    pub report_to: Option<String>,
    /// Whether the batch's name contains a date. If so, the same manifest on the next day is still the same batch.
    #[serde(default)]
    pub dated: bool,
    /// The manifest's content or listing at the last submission, as SHA-256 in hex.
    #[serde(default)]
    pub manifest_hash: Option<String>,
}

listed! {
    /// What happens to a call that may have been billed, if nothing proves it.
    OnUnknown, "policy for unknown outcomes" {
        /// Call again, and maybe pay twice.
        Retry = "retry",
        /// Fail the line. `wavebatch retry` calls again.
        Park = "park",
    }
}

listed! {
    /// What happens if a transcript was recovered without the word times that a format needs.
    OnLostWords, "policy for lost words" {
        /// Keep the transcript, and mark the line suspect.
        Accept = "accept",
        /// Call again for the word times.
        Redo = "redo",
    }
}

/// A definition's `[run]`: limits and policies. No field changes a call's request, so a change never causes a purchase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunSettings {
    /// Calls in flight; the account's pool may allow fewer.
    pub concurrency: Option<u32>,
    /// Calls started in a minute; the account's pool may allow fewer.
    pub requests_per_minute: Option<u32>,
    /// The weight of the definition, where several wait for calls of the same pool: 1 to 100.
    pub priority: u32,
    /// Tries of one part before its line fails.
    pub max_tries: u32,
    /// Billed calls of one part before its line fails.
    pub max_billed_calls: u32,
    /// The policy for a call of which nothing proves whether it was billed.
    pub on_unknown: OnUnknown,
    /// The policy for a recovered transcript without word times.
    pub on_lost_words: OnLostWords,
    /// What the batch may cost over all its runs.
    pub max_spend_usd: Option<MicroUsd>,
    /// Share (0–1) of failed or suspect lines with which the exit status is still 0.
    pub tolerate: f64,
    /// A call's time-out, if it does not follow from the audio's length.
    #[serde(with = "optional_millis")]
    pub call_timeout: Option<Duration>,
    /// The wait before the vendor's log decides, if it does not follow from the audio's length.
    #[serde(with = "optional_millis")]
    pub unknown_grace: Option<Duration>,
    /// How long an outage may last before the batch pauses.
    #[serde(with = "millis")]
    pub outage_limit: Duration,
    /// Whether the batch pauses when over half of its finished lines failed or are suspect.
    pub pause_on_failures: bool,
    /// How long answers stay in the ledger after the batch has finished.
    #[serde(with = "millis")]
    pub keep_answers: Duration,
    /// How long the content of its lines stays in the ledger after the batch has finished; `None`: as long as the ledger.
    #[serde(with = "optional_millis")]
    pub keep_rows: Option<Duration>,
    /// How long its outputs stay after the batch has finished; `None`: wavebatch removes none.
    #[serde(with = "optional_millis")]
    pub keep_outputs: Option<Duration>,
    /// Whether uploads of recordings get unique sizes, if their containers allow padding.
    pub mark_uploads: bool,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            concurrency: None,
            requests_per_minute: None,
            priority: share::DEFAULT_PRIORITY,
            max_tries: 6,
            max_billed_calls: 4,
            on_unknown: OnUnknown::Retry,
            on_lost_words: OnLostWords::Accept,
            max_spend_usd: None,
            tolerate: 0.0,
            call_timeout: None,
            unknown_grace: None,
            outage_limit: Duration::from_secs(2 * 3600),
            pause_on_failures: true,
            keep_answers: Duration::from_secs(14 * 86_400),
            keep_rows: None,
            keep_outputs: None,
            mark_uploads: true,
        }
    }
}

listed! {
    /// How a report writes the paths of outputs.
    OutputPaths, "way to write paths" {
        /// As they are.
        Absolute = "absolute",
        /// From the report's folder, if both are on this machine: they stay right where the folder moves as a whole.
        Relative = "relative",
    }
}

impl OutputPaths {
    const fn is_absolute(&self) -> bool {
        matches!(self, Self::Absolute)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A definition's `[report]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportSettings {
    /// Whether the report contains the transcripts.
    pub transcript: bool,
    /// Whether the report contains the texts that are spoken.
    #[serde(skip_serializing_if = "is_false")]
    pub text: bool,
    /// How the report writes the paths of local outputs.
    #[serde(skip_serializing_if = "OutputPaths::is_absolute")]
    pub paths: OutputPaths,
    /// The store that takes the report, and how it stores it, if the report goes to a store of its own; `None`: the same store
    /// as the outputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<SinkSettings>,
    /// The previous address of the report, if it was another one: that file may have transcripts that exist nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub former: Option<String>,
}

impl BatchSpec {
    /// The report's file name next to the outputs.
    pub const REPORT: &str = "report.csv";

    /// The address of the report.
    #[must_use]
    pub fn report_address(&self) -> String {
        let beside = || format!("{}/{}", self.output.trim_end_matches('/'), Self::REPORT);
        self.report_to.clone().unwrap_or_else(beside)
    }

    /// The store that takes the report, if its address is set, and how it stores it.
    #[must_use]
    pub fn report_sink(&self) -> &SinkSettings {
        self.report.sink.as_ref().unwrap_or(&self.sink)
    }
}

impl Default for ReportSettings {
    fn default() -> Self {
        Self { transcript: true, text: false, paths: OutputPaths::Absolute, sink: None, former: None }
    }
}

/// A duration as whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        u64::deserialize(d).map(Duration::from_millis)
    }
}

/// A duration as whole milliseconds, or null.
mod optional_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::millis::serialize(duration, s),
            None => s.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(d)?.map(Duration::from_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_name_can_name_a_folder() {
        for good in ["support-calls", "calls 2026-08", "a.b", "ünder"] {
            assert_eq!(BatchName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a..b", "a/b", "a\\b", "a\nb", " a", &"x".repeat(129)] {
            assert!(BatchName::new(bad).is_err(), "{bad:?}");
        }
        assert!(serde_json::from_str::<BatchName>("\"a/b\"").is_err());
    }

    #[test]
    fn settings_survive_the_ledger_and_times_are_milliseconds() {
        let run = RunSettings { call_timeout: Some(Duration::from_secs(90)), ..RunSettings::default() };
        let json = serde_json::to_value(&run).unwrap();
        assert_eq!(json["call_timeout"], 90_000);
        assert_eq!(json["outage_limit"], 7_200_000);
        assert_eq!(serde_json::from_value::<RunSettings>(json).unwrap(), run);
        // A row written before a setting existed gets the setting's default.
        assert_eq!(serde_json::from_str::<RunSettings>("{}").unwrap(), RunSettings::default());
    }
}
