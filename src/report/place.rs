//! Where a report is.

use crate::{
    domain::batch::BatchSpec,
    sink::{Sink, SinkError},
};

/// The report's name in the sink.
pub const REPORT: &str = BatchSpec::REPORT;

/// Where the report of a batch goes: beside its outputs, or where its definition says.
pub(super) fn report_place(spec: &BatchSpec, sink: &Sink) -> Result<(Sink, String), SinkError> {
    match &spec.report_to {
        Some(address) => Sink::open_file(address, spec.report_sink()),
        None => Ok((sink.clone(), REPORT.to_owned())),
    }
}
