//! The page of metrics.

use super::markdown::{code, list, table};
use crate::{
    domain::{listed::Listed, pool::Pool},
    server::{METRICS, MetricDoc, Refusal},
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
These numbers are read from the ledger, at most every 5 s. Processes on one ledger show the same numbers: take their `max`.

";

const OWN: &str = "
## Of the process
Each process counts these by itself: `sum` them.

";

pub(super) fn page() -> String {
    let row = |doc: &MetricDoc| {
        let labels: Vec<String> = doc.labels.iter().map(|label| code(label)).collect();
        [code(&doc.name()), doc.kind.to_owned(), labels.join(", "), doc.meaning.to_owned()]
    };
    let of = |ledger: bool| {
        table(["metric", "type", "labels", "meaning"], METRICS.iter().filter(|doc| doc.of_ledger == ledger).map(row))
    };
    let mut text = format!("{TEXT}{LEDGER}{}{OWN}{}\n## Labels\n\n", of(true), of(false));
    text.push_str("`state` is a status of the [report](report.md#status), `outcome` may be an [error kind](errors.md#error-kinds), `kind` is a [pause](errors.md#pauses), and `pool` is one of these (a model that this release does not know has a pool of its own name):\n\n");
    text.push_str(&list("`pool`", &Pool::LIST));
    text.push_str("\n`effect` of a callback:\n\n");
    text.push_str(&list("`effect`", &Effect::LIST));
    text.push_str("\n`reason` of a refused callback:\n\n");
    text.push_str(&list("`reason`", &Refusal::LIST));
    text
}
