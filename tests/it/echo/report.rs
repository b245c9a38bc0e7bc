//! What its report has.

use wavebatch::{
    domain::task::{SpecError, TaskSpec},
    report::{AskedOfJob, AskedOfJobs, ReportTask, row::Column},
    store::ReportRow,
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

    fn own_columns(&self) -> &'static [&'static str] {
        &["times"]
    }

    fn jobs(&self, spec: &TaskSpec) -> Result<Box<dyn AskedOfJobs>, SpecError> {
        Ok(Box::new(spec.read::<Echoing>()?))
    }
}

impl AskedOfJobs for Echoing {
    fn of(&self, _: &ReportRow) -> AskedOfJob {
        AskedOfJob { model: Some("echo".into()), own: vec![self.times.to_string()], ..AskedOfJob::default() }
    }
}
