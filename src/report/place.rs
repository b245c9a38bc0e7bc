//! The location of a report.

use std::path::{Component, Path, PathBuf};

use crate::{
    domain::batch::{BatchSpec, OutputPaths},
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

/// The folder that a report's paths start at, if they are to be relative to the report and it is a local file.
pub(super) fn base_of(spec: &BatchSpec, report: &str) -> Option<PathBuf> {
    let is_relative = spec.report.paths == OutputPaths::Relative;
    Path::new(report).parent().filter(|folder| is_relative && folder.is_absolute()).map(Path::to_owned)
}

/// A local file as it is named from a folder; an address that is no local path stays as it is.
pub(super) fn from_folder(folder: &Path, address: &str) -> String {
    let file = Path::new(address);
    if !file.is_absolute() {
        return address.to_owned();
    }
    let (mut above, mut below) = (folder.components().peekable(), file.components().peekable());
    while above.peek().is_some() && above.peek() == below.peek() {
        above.next();
        below.next();
    }
    let path: PathBuf = above.map(|_| Component::ParentDir).chain(below).collect();
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_from_the_reports_folder() {
        for (folder, address, named) in [
            ("/srv/out/calls", "/srv/out/calls/a.json", "a.json"),
            ("/srv/out/calls", "/srv/out/calls/2026/a.json", "2026/a.json"),
            ("/srv/reports", "/srv/out/calls/a.json", "../out/calls/a.json"),
            ("/", "/srv/a.json", "srv/a.json"),
            ("/srv/out", "/srv/outer/a.json", "../outer/a.json"),
            ("/srv/out", "s3://bucket/a.json", "s3://bucket/a.json"),
        ] {
            assert_eq!(from_folder(Path::new(folder), address), named, "{folder}");
        }
    }
}
