//! What its report has.

use wavebatch::{
    domain::{
        cost::Rates,
        pool::Pool,
        task::{SpecError, TaskSpec},
    },
    report::{
        BatchRequest, JobRequest, OwnColumn, ReportTask,
        row::{Column, OwnCell},
    },
    store::{ReportRow, Retried},
};

use super::{Echo, Echoing};

const COLUMNS: &[Column] = &[
    Column::Batch,
    Column::Line,
    Column::Key,
    Column::Status,
    Column::Outputs,
    Column::Model,
    Column::Characters,
    Column::BilledCalls,
    Column::CostUsd,
    Column::ErrorKind,
    Column::Error,
];

impl ReportTask for Echo {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn own_columns(&self) -> &'static [OwnColumn] {
        &[("times", "How often the text is said.")]
    }

    fn batch(&self, spec: &TaskSpec) -> Result<Box<dyn BatchRequest>, SpecError> {
        Ok(Box::new(spec.read::<Echoing>()?))
    }
}

impl BatchRequest for Echoing {
    fn job(&self, _: &ReportRow) -> JobRequest {
        JobRequest {
            model: Some("echo".into()),
            own: vec![OwnCell::Text(self.times.to_string())],
            ..JobRequest::default()
        }
    }

    fn pool(&self) -> Pool {
        "echo".parse().expect("a pool")
    }

    fn is_priced(&self, _: &Rates) -> bool {
        false
    }

    fn price(&self, _: &Rates) -> String {
        "nothing".into()
    }

    fn price_of_retry(&self, _: &Retried, rates: &Rates) -> String {
        self.price(rates)
    }
}
