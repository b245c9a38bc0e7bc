//! What this process uses of the machine, asked for each page. Where the system does not say, a metric is absent.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use super::described::described;
use crate::process;

#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let used = process::in_use();
        if let Some(seconds) = used.cpu_seconds {
            write(&mut encoder, "process_cpu", &ConstCounter::new(seconds))?;
        }
        for (base, number) in [
            ("process_resident_memory", used.resident_bytes),
            ("process_virtual_memory", used.virtual_bytes),
            ("process_open_fds", used.open_files),
            ("process_max_fds", used.most_open_files),
        ] {
            if let Some(number) = number {
                write(&mut encoder, base, &ConstGauge::new(i64::try_from(number).unwrap_or(i64::MAX)))?;
            }
        }
        match used.started_at {
            Some(at) => write(&mut encoder, "process_start_time", &ConstGauge::new(at)),
            None => Ok(()),
        }
    }
}

fn write(to: &mut DescriptorEncoder<'_>, base: &str, metric: &impl EncodeMetric) -> Result<(), fmt::Error> {
    let doc = described(base);
    metric.encode(to.encode_descriptor(base, doc.help(), doc.unit().as_ref(), metric.metric_type())?)
}
