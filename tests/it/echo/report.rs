//! The report of echoes.

use wavebatch::{
    domain::{
        cost::Rates,
        pool::Pool,
        task::{SpecError, TaskSpec},
    },
    report::{AskedOfBatch, AskedOfJob, ReportTask, row::Column},
    store::{ReportRow, Retried},
};

use super::{Echo, Echoing};

impl ReportTask for Echo {
    fn columns(&self) -> &'static [Column] {
        &[Column::Batch, Column::Line, Column::Key, Column::Status, Column::Outputs]
    }

    fn own_columns(&self) -> &'static [&'static str] {
        &["times"]
    }

    fn batch(&self, spec: &TaskSpec) -> Result<Box<dyn AskedOfBatch>, SpecError> {
        Ok(Box::new(spec.read::<Echoing>()?))
    }
}

impl AskedOfBatch for Echoing {
    fn job(&self, _: &ReportRow) -> AskedOfJob {
        AskedOfJob { own: vec![self.times.to_string()], ..AskedOfJob::default() }
    }

    fn pool(&self) -> Pool {
        "echo".parse().expect("a pool")
    }

    fn price(&self, _: &Rates) -> String {
        "nothing".into()
    }

    fn price_of_retry(&self, _: &Retried, rates: &Rates) -> String {
        self.price(rates)
    }
}
