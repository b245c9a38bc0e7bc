//! Writes rows in the format of the report.

use std::io::{self, Write};

use super::{
    csv::ReportWriter,
    format::{Packing, ReportFormat, ReportLayout},
    jsonl::JsonlWriter,
    row::{FurtherColumns, LongColumns, Row},
    task::ReportTask,
};

/// The writer of a report.
pub(super) enum RowWriter<W: Write> {
    Csv(Box<ReportWriter<Packing<W>>>),
    Jsonl(JsonlWriter<Packing<W>>),
    /// Rows are only shown to somebody.
    Each(W, Box<dyn FnMut(Row) + Send>),
}

impl<W: Write> RowWriter<W> {
    pub(super) fn new(
        out: W,
        format: ReportFormat,
        task: &dyn ReportTask,
        further: FurtherColumns<'_>,
        long: LongColumns,
    ) -> io::Result<Self> {
        let out = Packing::new(out, format.gzip);
        Ok(match format.layout {
            ReportLayout::Csv => Self::Csv(Box::new(ReportWriter::new(out, task, further, long)?)),
            ReportLayout::Jsonl => Self::Jsonl(JsonlWriter::new(out, task, further, long)),
        })
    }

    pub(super) fn write(&mut self, row: Row) -> io::Result<()> {
        match self {
            Self::Csv(writer) => writer.write(&row),
            Self::Jsonl(writer) => writer.write(&row),
            Self::Each(_, each) => {
                each(row);
                Ok(())
            }
        }
    }

    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Csv(writer) => writer.finish()?.finish(),
            Self::Jsonl(writer) => writer.finish()?.finish(),
            Self::Each(out, _) => Ok(out),
        }
    }
}
