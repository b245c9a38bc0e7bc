//! The location of a report.

use crate::{
    domain::batch::BatchSpec,
    sink::{Sink, SinkError},
};

/// The report's name in the sink.
pub const REPORT: &str = BatchSpec::REPORT;

/// The report's location: beside its batch's outputs, or where the definition says.
pub(super) fn report_place(spec: &BatchSpec, sink: &Sink) -> Result<(Sink, String), SinkError> {
    match &spec.report_to {
        Some(address) => Sink::open_file(address, spec.report_sink()),
        None => Ok((sink.clone(), REPORT.to_owned())),
    }
}
