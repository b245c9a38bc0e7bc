//! The formats of a report. The ending of its file decides.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};

use crate::domain::printable::visible;

/// How rows are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReportLayout {
    /// A table with a header.
    #[default]
    Csv,
    /// One JSON object on each line.
    Jsonl,
}

/// The format of a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportFormat {
    /// How rows are written.
    pub layout: ReportLayout,
    /// Whether the file is compressed with gzip.
    pub gzip: bool,
}

impl ReportFormat {
    /// The endings of report files.
    pub const ENDINGS: &'static str = "`.csv`, `.jsonl`, `.csv.gz` and `.jsonl.gz`";

    /// The format of a file with this name, in any case.
    ///
    /// # Errors
    /// The ending is none of a report's; the message names those.
    pub fn of_name(name: &str) -> Result<Self, String> {
        let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
        let lower = file.to_lowercase();
        let (inner, gzip) = match lower.strip_suffix(".gz") {
            Some(inner) => (inner, true),
            None => (lower.as_str(), false),
        };
        let layout = match inner.rsplit_once('.') {
            Some((_, "csv")) => ReportLayout::Csv,
            Some((_, "jsonl" | "ndjson")) => ReportLayout::Jsonl,
            Some((_, ending)) => {
                let ending = if gzip { format!("{ending}.gz") } else { ending.to_owned() };
                return Err(format!(
                    "a report cannot be written as `.{}`; the endings are {}",
                    visible(&ending),
                    Self::ENDINGS
                ));
            }
            None => return Err(format!("its ending says how the report is written: {}", Self::ENDINGS)),
        };
        Ok(Self { layout, gzip })
    }

    /// The media type of the file.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match (self.gzip, self.layout) {
            (true, _) => "application/gzip",
            (false, ReportLayout::Csv) => "text/csv; charset=utf-8",
            (false, ReportLayout::Jsonl) => "application/x-ndjson",
        }
    }
}

/// Where a report's bytes go: as they are, or compressed.
pub(super) enum Packing<W: Write> {
    Plain(W),
    Gzip(Box<GzEncoder<W>>),
}

impl<W: Write> Packing<W> {
    pub(super) fn new(out: W, gzip: bool) -> Self {
        if gzip { Self::Gzip(Box::new(GzEncoder::new(out, Compression::default()))) } else { Self::Plain(out) }
    }

    /// Ends the compression, and returns the writer.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(packed) => packed.finish(),
        }
    }
}

impl<W: Write> Write for Packing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(packed) => packed.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.flush(),
            Self::Gzip(packed) => packed.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_decides() {
        let format = |name| ReportFormat::of_name(name).map(|format| (format.layout, format.gzip));
        assert_eq!(format("calls.csv"), Ok((ReportLayout::Csv, false)));
        assert_eq!(format("s3://b/a.x/Calls.CSV.gz"), Ok((ReportLayout::Csv, true)));
        assert_eq!(format("calls.jsonl"), Ok((ReportLayout::Jsonl, false)));
        assert_eq!(format("calls.ndjson.GZ"), Ok((ReportLayout::Jsonl, true)));
        for name in
            ["calls.json", "calls.parquet", "calls.xlsx", "calls.tsv", "calls.csv.zst", "calls.gz", "a.csv/calls"]
        {
            let fault = format(name).unwrap_err();
            assert!(fault.contains("`.csv`, `.jsonl`, `.csv.gz` and `.jsonl.gz`"), "{name}: {fault}");
        }
        assert!(format("calls.parquet").unwrap_err().contains("as `.parquet`"));
    }
}
