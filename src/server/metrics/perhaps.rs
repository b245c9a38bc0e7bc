//! A metric that is absent until its value is known.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::MetricType,
};

use super::ledger::Float;

#[derive(Debug, Clone, Default)]
pub(super) struct OptionalGauge {
    known: Arc<AtomicBool>,
    number: Float,
}

impl OptionalGauge {
    pub(super) fn set(&self, number: f64) {
        self.number.set(number);
        self.known.store(true, Ordering::Release);
    }

    #[cfg(test)]
    pub(super) fn get(&self) -> Option<f64> {
        self.known.load(Ordering::Acquire).then(|| self.number.get())
    }
}

impl EncodeMetric for OptionalGauge {
    fn encode(&self, encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        self.number.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn is_empty(&self) -> bool {
        !self.known.load(Ordering::Acquire)
    }
}
