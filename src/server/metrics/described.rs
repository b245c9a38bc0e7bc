//! Every metric with its type, its labels and its meaning. `/metrics` shows them as help, and the reference as a table.

use prometheus_client::registry::{Metric as Registered, Registry, Unit};

/// The beginning of all names, except those that Prometheus gives to every program.
pub(super) const PREFIX: &str = "wavebatch";

/// What a metric is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricScope {
    /// The ledger, so that the number is the same in all processes.
    Ledger,
    /// What this process did.
    Own,
    /// What this process uses of the machine, by the names that Prometheus gives to every program.
    Process,
    /// A run that writes its metrics to a file; only there.
    Run,
}

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
    /// What it is about.
    pub scope: MetricScope,
}

const fn ledger(base: &'static str, labels: &'static [&'static str], meaning: &'static str) -> MetricDoc {
    MetricDoc { base, kind: "gauge", unit: None, labels, meaning, scope: MetricScope::Ledger }
}

const fn own(
    kind: &'static str,
    base: &'static str,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> MetricDoc {
    MetricDoc { base, kind, unit: None, labels, meaning, scope: MetricScope::Own }
}

const fn of_process(kind: &'static str, base: &'static str, meaning: &'static str) -> MetricDoc {
    MetricDoc { base, kind, unit: None, labels: &[], meaning, scope: MetricScope::Process }
}

const fn of_run(base: &'static str, meaning: &'static str) -> MetricDoc {
    MetricDoc { base, kind: "gauge", unit: None, labels: &[], meaning, scope: MetricScope::Run }
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
        let prefix = if self.scope == MetricScope::Process { "" } else { "wavebatch_" };
        format!("{prefix}{}{unit}{suffix}", self.base)
    }

    /// Its help, as pages have it.
    pub(super) fn help(&self) -> &'static str {
        self.meaning.trim_end_matches('.')
    }

    /// Its unit, as pages have it.
    pub(super) fn unit(&self) -> Option<Unit> {
        Some(match self.unit? {
            "seconds" => Unit::Seconds,
            "bytes" => Unit::Bytes,
            other => Unit::Other(other.to_owned()),
        })
    }
}

/// The row of a metric.
pub(super) fn described(base: &str) -> &'static MetricDoc {
    METRICS.iter().find(|doc| doc.base == base).expect("every metric has a row in METRICS")
}

/// Registers a metric with the unit and the help that [`METRICS`] has for it.
pub(super) fn register(to: &mut Registry, base: &str, metric: impl Registered) {
    let doc = described(base);
    match doc.unit() {
        Some(unit) => to.register_with_unit(base, doc.help(), unit, metric),
        None => to.register(base, doc.help(), metric),
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
    ledger(
        "processes",
        &["state"],
        "Processes that registered for work: `at_work`; `silent`: without a heartbeat for a lease; `died`: the next one goes on with its lines.",
    ),
    ledger(
        "settings_differing",
        &[],
        "Settings, such as limits, that processes at work have with different values.",
    ),
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
    ledger(
        "spend_today",
        &[],
        "Spent by the account since midnight, at list price, whether a limit is set or not. Midnight is that of `[spend]` where it sets a limit, else that of UTC.",
    )
    .in_unit("dollars"),
    ledger("ledger", &[], "The ledger's file and the write-ahead log beside it; on a server, its tables and indexes.").in_unit("bytes"),
    ledger("spool", &[], "All files of the spool. They are counted at most every 5 minutes.").in_unit("bytes"),
    ledger("disk_free", &["disk"], "What can still be written to the file system of the `ledger` and to that of the `spool`. A ledger on a server has none here.")
        .in_unit("bytes"),
    ledger("disk_size", &["disk"], "The size of these file systems.").in_unit("bytes"),
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
    own("gauge", "schedule_broken", &["definition"], "1 if the definition starts nothing: it cannot be read, its name clashes, or another content of it is in force."),
    own("gauge", "schedule_next_timestamp", &["definition"], "When the definition runs next, since 1970.")
        .in_unit("seconds"),
    own("gauge", "schedule_last_started_timestamp", &["definition"], "When a run was last started, since 1970.")
        .in_unit("seconds"),
    own("gauge", "schedule_waiting", &["definition"], "Runs that are due and could not be started yet."),
    own("gauge", "schedule_lines_left_over", &["definition"], "Lines whose window closed before they were done."),
    of_process("counter", "process_cpu", "Processor time of the process.").in_unit("seconds"),
    of_process("gauge", "process_resident_memory", "Memory that the process holds.").in_unit("bytes"),
    of_process("gauge", "process_virtual_memory", "Address space that the process holds.").in_unit("bytes"),
    of_process("gauge", "process_open_fds", "Open files, sockets and pipes of the process."),
    of_process("gauge", "process_max_fds", "The most of them that it may have."),
    of_process("gauge", "process_start_time", "When the process started, since 1970.").in_unit("seconds"),
    of_run("run_started_timestamp", "When the run began, since 1970.").in_unit("seconds"),
    of_run("run_written_timestamp", "When the file was written, since 1970: every 15 s while the run lasts.")
        .in_unit("seconds"),
    of_run("run_ended_timestamp", "When the run ended, since 1970. While it lasts, this and the next two are absent.")
        .in_unit("seconds"),
    of_run("run_exit_status", "The exit status of the run."),
    of_run("run_success", "1 if the exit status is 0, else 0."),
];
