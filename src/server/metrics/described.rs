//! Every metric with its type, its labels and its meaning. `/metrics` shows them as help, and the reference as a table.

use prometheus_client::registry::{Metric as Registered, Registry, Unit};

/// The beginning of all names.
pub(super) const PREFIX: &str = "wavebatch";

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct MetricDoc {
    /// Its name without prefix, unit and suffix.
    base: &'static str,
    /// Its type: `gauge`, `counter`, `histogram` or `info`.
    pub kind: &'static str,
    unit: Option<&'static str>,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says, as a sentence.
    pub meaning: &'static str,
    /// Whether the number is the ledger's, and so the same in all processes.
    pub of_ledger: bool,
}

const fn ledger(base: &'static str, labels: &'static [&'static str], meaning: &'static str) -> MetricDoc {
    MetricDoc { base, kind: "gauge", unit: None, labels, meaning, of_ledger: true }
}

const fn own(
    kind: &'static str,
    base: &'static str,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> MetricDoc {
    MetricDoc { base, kind, unit: None, labels, meaning, of_ledger: false }
}

impl MetricDoc {
    const fn in_unit(self, unit: &'static str) -> Self {
        Self { unit: Some(unit), ..self }
    }

    /// Its whole name, as a query has it.
    #[must_use]
    pub fn name(&self) -> String {
        let unit = self.unit.map(|unit| format!("_{unit}")).unwrap_or_default();
        let suffix = match self.kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        format!("{PREFIX}_{}{unit}{suffix}", self.base)
    }
}

/// Registers a metric with the unit and the help that [`METRICS`] has for it.
pub(super) fn register(to: &mut Registry, base: &str, metric: impl Registered) {
    let doc = METRICS.iter().find(|doc| doc.base == base).expect("every metric has a row in METRICS");
    let help = doc.meaning.trim_end_matches('.');
    match doc.unit {
        Some("seconds") => to.register_with_unit(base, help, Unit::Seconds, metric),
        Some(other) => to.register_with_unit(base, help, Unit::Other(other.to_owned()), metric),
        None => to.register(base, help, metric),
    }
}

/// Every metric.
pub const METRICS: &[MetricDoc] = &[
    own("info", "build", &["version"], "The version of the program."),
    ledger("ledger_up", &[], "1 if the ledger could be read for this page; else its numbers are old."),
    ledger("jobs", &["task", "state"], "Jobs of batches that are not finished."),
    ledger("lines_left", &[], "Jobs that are queued, running or awaiting."),
    ledger("oldest_due", &[], "How long the oldest job has been due that a worker could take now; 0 if none is due.")
        .in_unit("seconds"),
    ledger("batches_paused", &["kind"], "Batches that are paused: by the `user`, or why."),
    ledger("calls_open", &[], "Calls without an outcome."),
    ledger("calls_overdue", &[], "Open calls whose callback should have come by now."),
    ledger("calls_in_flight", &["pool"], "Calls that hold a slot, of all processes."),
    ledger("limit_use", &["pool", "limit"], "What is used of a limit that is set, as slowed down by 429s: 0 to 1.")
        .in_unit("ratio"),
    ledger("pool_pace", &["pool"], "What 429s have left of the pace; 1 is all of it.").in_unit("ratio"),
    ledger("spend", &[], "Spent at list price, in all batches of the ledger.").in_unit("dollars"),
    ledger("spend_limit", &["period"], "What a `day` and a `month` may cost, where `[spend]` sets a limit.")
        .in_unit("dollars"),
    ledger("spend_committed", &["period"], "Spent and reserved in this day and this month, where a limit is set.")
        .in_unit("dollars"),
    ledger("reserved", &[], "Reserved for calls without an outcome.").in_unit("dollars"),
    own(
        "counter",
        "calls",
        &["pool", "outcome"],
        "Calls that ended: `answered`, `accepted` (the answer will be posted), `unsent`, or the error kind.",
    ),
    own("counter", "rate_limited", &["pool"], "Calls that were answered with 429."),
    own("counter", "jobs_finished", &["state"], "Jobs that this process finished."),
    own(
        "counter",
        "deliveries_failed",
        &["then"],
        "Deliveries to the sink that failed, and what followed: `retried`, the batch `paused`, or the line `refused`.",
    ),
    own("gauge", "sinks_down", &[], "Batches whose sink accepts nothing just now."),
    own("counter", "callbacks", &["effect"], "Callbacks that were kept, by what they did."),
    own("counter", "callbacks_refused", &["reason"], "Callbacks that were not kept, and why."),
    own(
        "counter",
        "callbacks_overdue",
        &["pool"],
        "Callbacks that did not come in time, so that the vendor's log was asked.",
    ),
    own("histogram", "callback_delay", &[], "The time from a call's beginning to its callback.").in_unit("seconds"),
    own(
        "gauge",
        "probe_success",
        &[],
        "1 if the receiver reached itself through `public_url`. Without one the metric is absent.",
    ),
    own("gauge", "probe_last_success_timestamp", &[], "When the receiver last did so, since 1970.").in_unit("seconds"),
    own("counter", "notifications", &["result"], "Tries to send a notification: `sent` or `failed`."),
    own("gauge", "schedule_broken", &["definition"], "1 if the definition cannot be read."),
    own("gauge", "schedule_next_timestamp", &["definition"], "When the definition runs next, since 1970.")
        .in_unit("seconds"),
    own("gauge", "schedule_last_started_timestamp", &["definition"], "When a run was last started, since 1970.")
        .in_unit("seconds"),
    own("gauge", "schedule_waiting", &["definition"], "Runs that are due and could not be started yet."),
    own("gauge", "schedule_lines_left_over", &["definition"], "Lines whose window closed before they were done."),
];
