//! The page of metrics.

use super::markdown::{code, list, table};
use crate::{
    domain::{listed::Listed, pool::Pool},
    server::{METRICS, MetricDoc, MetricScope, Refusal},
    store::Effect,
};

const TEXT: &str = "# Metrics
A service (`wavebatch serve`) shows how it works at its admin address. This page lists its metrics for Prometheus and other
collectors.

| path | answer |
| --- | --- |
| `/healthz` | 200 while the process lives |
| `/readyz` | 200 if the ledger can be written, else 503 |
| `/metrics` | the metrics, as OpenMetrics text |

The address is `127.0.0.1:9464` unless `[serve] admin_listen` or `--admin-listen` says otherwise. It asks nobody for a password:
keep it to this machine or your own network. No label contains a batch, a key or an address.
";

const LEDGER: &str = "
## Of the ledger
These numbers are read from the ledger and its disks, at most every 5 s. Processes on one ledger show the same numbers: take
their `max`. A page does not wait for a disk that does not answer: what the disk last said stays.

";

const OWN: &str = "
## Of the process
Each process counts these by itself: `sum` them.

";

const PROCESS: &str = "
## Of the machine
What the process uses, by the names that Prometheus gives to every program. They are there on Linux.

";

const RUN: &str = "
## Of a run from a timer
A `run`, `work` or `deliver` from a timer serves no page. With `--metrics-file NAME.prom` (or [`metrics_file`](settings.md#top-level-of-the-file),
or `WAVEBATCH_METRICS_FILE`) it writes the metrics to a file, for the node exporter's textfile collector: whole, with a
rename, when it begins, every 15 s, and when it ends, however it ends. A killed run leaves the file as it was last written. Only the
owner writes the file, and everybody may read it. A file that cannot be written ends the command before its first call; later it is
a warning.

- Each series has the label `file`, which is `NAME`. Give each timer a file of its own.
- `process_*` is not in the file: the exporter has metrics of these names itself.
- The metrics of the ledger are absent until the ledger was open. After the end, the file keeps the numbers of the end.
- A run with `--sandbox` writes a file only if the flag names one.

These metrics are in the file alone:

";

pub(super) fn page() -> String {
    let row = |doc: &MetricDoc| {
        let labels: Vec<String> = doc.labels.iter().map(|label| code(label)).collect();
        [code(&doc.name()), doc.kind.to_owned(), labels.join(", "), doc.meaning.to_owned()]
    };
    let of = |scope| {
        table(["metric", "type", "labels", "meaning"], METRICS.iter().filter(|doc| doc.scope == scope).map(row))
    };
    let mut text = String::from(TEXT);
    for (words, scope) in [
        (LEDGER, MetricScope::Ledger),
        (OWN, MetricScope::Own),
        (PROCESS, MetricScope::Process),
        (RUN, MetricScope::Run),
    ] {
        text.push_str(words);
        text.push_str(&of(scope));
    }
    text.push_str("\n## Labels\n\n");
    text.push_str("`state` is a status of the [report](report.md#status), `outcome` may be an [error kind](errors.md#error-kinds), `kind` is a [pause](errors.md#pauses), and `pool` is one of these (a model that this release does not know has a pool of its own name):\n\n");
    text.push_str(&list("`pool`", &Pool::LIST));
    text.push_str("\n`effect` of a callback:\n\n");
    text.push_str(&list("`effect`", &Effect::LIST));
    text.push_str("\n`reason` of a refused callback:\n\n");
    text.push_str(&list("`reason`", &Refusal::LIST));
    text
}
