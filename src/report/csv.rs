//! The report as CSV: UTF-8, LF, safe to open in a spreadsheet.

use std::{collections::HashSet, io};

use ::csv::{QuoteStyle, Terminator, Writer, WriterBuilder};

use super::{
    cells::{LONGEST_COPIED, RecordCells},
    defuse::defuse,
    row::{Column, FurtherColumns, LongColumns, OwnCell, Row},
    task::ReportTask,
};

pub(super) const PREFIX: &str = "manifest_";

/// Writes rows to `W`, with a buffer of its own.
pub struct ReportWriter<W: io::Write> {
    csv: Writer<W>,
    cells: RecordCells,
    columns: Vec<Column>,
    own: usize,
    carried: usize,
}

impl<W: io::Write> ReportWriter<W> {
    /// Starts a report with its header: the task's columns, then the further ones. Of the long columns it has only those that are
    /// asked for.
    ///
    /// # Errors
    /// `writer` fails.
    pub fn new(writer: W, task: &dyn ReportTask, further: FurtherColumns<'_>, long: LongColumns) -> io::Result<Self> {
        let mut csv = table_to(writer);
        csv.write_record(header(task, further, long, true)).map_err(cause)?;
        let columns = shown(task, long).collect();
        let (own, carried) = (further.own.len(), further.carried.len());
        Ok(Self { csv, cells: RecordCells::default(), columns, own, carried })
    }

    /// Appends a row. Missing carried cells are empty; those beyond the header are dropped.
    ///
    /// # Errors
    /// The writer fails.
    pub fn write(&mut self, row: &Row) -> io::Result<()> {
        self.cells.record.clear();
        for nth in 0..self.columns.len() {
            self.cells.cell(row, self.columns[nth]);
        }
        for nth in 0..self.own {
            self.cells.own(row.own.get(nth).unwrap_or(&OwnCell::Empty));
        }
        for nth in 0..self.carried {
            self.cells.maybe(row.carried.get(nth).map(String::as_str));
        }
        match row.transcript.as_deref().filter(|text| text.len() > LONGEST_COPIED) {
            Some(text) => self.write_beside(text),
            None => self.csv.write_byte_record(&self.cells.record).map_err(cause),
        }
    }

    /// Writes the record with a long transcript inserted directly, without copying it into the record.
    fn write_beside(&mut self, transcript: &str) -> io::Result<()> {
        let place = self.columns.iter().position(|column| *column == Column::Transcript);
        for (nth, cell) in self.cells.record.iter().enumerate() {
            match Some(nth) == place {
                true => self.csv.write_field(defuse(transcript).as_bytes()).map_err(cause)?,
                false => self.csv.write_field(cell).map_err(cause)?,
            }
        }
        self.csv.write_record(None::<&[u8]>).map_err(cause)
    }

    /// Ends the report and returns its writer.
    ///
    /// # Errors
    /// The rest of the buffer cannot be written.
    pub fn finish(self) -> io::Result<W> {
        self.csv.into_inner().map_err(|e| io::Error::new(e.error().kind(), e.error().to_string()))
    }
}

/// A writer of tables with the report's quotes and ends of lines.
pub(super) fn table_to<W: io::Write>(writer: W) -> Writer<W> {
    WriterBuilder::new()
        .terminator(Terminator::Any(b'\n'))
        .quote_style(QuoteStyle::Necessary)
        .buffer_capacity(256 * 1024)
        .from_writer(writer)
}

/// The task's columns that the report includes.
pub(super) fn shown(task: &dyn ReportTask, long: LongColumns) -> impl Iterator<Item = Column> {
    task.columns().iter().copied().filter(move |column| long.has(*column))
}

/// Our column names, then the manifest's: with one or more prefixes if a name is taken. `safe`: no name is a formula.
pub(super) fn header(task: &dyn ReportTask, further: FurtherColumns<'_>, long: LongColumns, safe: bool) -> Vec<String> {
    let name = |name: &String| if safe { defuse(name).into_owned() } else { name.clone() };
    let own = || further.own.iter().map(name);
    let mut taken: HashSet<String> = task.columns().iter().map(ToString::to_string).chain(own()).collect();
    // A free name stays as it is, even if another column's prefixed name would equal it.
    let names: Vec<String> = further.carried.iter().map(name).collect();
    let free: Vec<bool> = names.iter().map(|name| taken.insert(name.clone())).collect();
    let mut header: Vec<String> = shown(task, long).map(|column| column.to_string()).chain(own()).collect();
    for (mut name, free) in names.into_iter().zip(free) {
        while !free && !taken.insert(name.clone()) {
            name.insert_str(0, PREFIX);
        }
        header.push(name);
    }
    header
}

/// The writer's own error, unwrapped, so that a closed pipe can be recognized.
pub(super) fn cause(error: ::csv::Error) -> io::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{
        call::ErrorKind,
        cost::MicroUsd,
        job::Wanted,
        row::{Note, RowStatus},
        synthesis_options::{AudioFormat, SampleRate},
    };
    use crate::tasks::{Synthesize, Transcribe};

    fn row() -> Row {
        Row {
            batch: "support-calls".into(),
            line: Some(2),
            key: "2026/call-17".into(),
            output_name: None,
            status: RowStatus::Suspect,
            wanted: Wanted::Yes,
            source: "https://example.com/a.wav".into(),
            outputs: vec!["/srv/out/2026/call-17.txt".into(), "/srv/out/\"x\".srt".into()],
            model: Some("pulse".into()),
            language: Some("en".into()),
            voice_id: None,
            output_format: None,
            sample_rate: None,
            characters: None,
            audio_ms: Some(61_050),
            channels: Some(2),
            parts: None,
            reused_parts: None,
            tries: 1,
            billed_calls: 1,
            cost: Some(MicroUsd(5_088)),
            request_id: Some("36e977cf".into()),
            submitted_at: Some(1_764_000_000_000),
            started_at: Some(1_764_000_000_250),
            finished_at: Some(1_764_000_003_001),
            processing_ms: Some(2_700),
            error_kind: Some(ErrorKind::SinkRefused),
            error: Some("=cmd".into()),
            notes: vec![Note::Sandbox, Note::Stereo],
            content_expiry: Some("applied".into()),
            transcript: Some("Hello,\n\"you\"".into()),
            text: None,
            own: vec![],
            carried: vec!["+919812345678".into(), "=1+1".into()],
        }
    }

    fn written(rows: &[Row], carried: &[&str], transcript: bool) -> String {
        written_for(&Transcribe, rows, carried, transcript)
    }

    fn written_for(task: &dyn ReportTask, rows: &[Row], carried: &[&str], transcript: bool) -> String {
        let carried: Vec<String> = carried.iter().map(ToString::to_string).collect();
        let own: Vec<String> = task.own_columns().iter().map(|(name, _)| (*name).to_owned()).collect();
        let own = if rows.iter().all(|row| row.own.is_empty()) { &[] } else { &own[..] };
        let further = FurtherColumns { own, carried: &carried };
        let mut report = ReportWriter::new(Vec::new(), task, further, LongColumns { transcript, text: false }).unwrap();
        rows.iter().for_each(|row| report.write(row).unwrap());
        String::from_utf8(report.finish().unwrap()).unwrap()
    }

    #[test]
    fn columns_stand_in_the_documented_order() {
        insta::assert_snapshot!(written(&[row()], &["phone", "=evil"], true), @r#"
        batch,line,key,status,source,outputs,model,language,audio_seconds,channels,tries,billed_calls,cost_usd,request_id,submitted_at,started_at,finished_at,processing_ms,error_kind,error,notes,wanted,content_expiry,transcript,phone,'=evil
        support-calls,2,2026/call-17,suspect,https://example.com/a.wav,"[""/srv/out/2026/call-17.txt"",""/srv/out/\""x\"".srt""]",pulse,en,61.050,2,1,1,0.005088,36e977cf,2025-11-24T16:00:00.000Z,2025-11-24T16:00:00.250Z,2025-11-24T16:00:03.001Z,2700,sink_refused,'=cmd,sandbox;stereo,yes,applied,"Hello,
        ""you""",+919812345678,'=1+1
        "#);
    }

    #[test]
    fn speech_has_columns_of_its_own() {
        let spoken = Row {
            batch: "ivr".into(),
            key: "+welcome".into(),
            output_name: Some("+welcome.avery.ulaw".into()),
            status: RowStatus::Succeeded,
            outputs: vec!["/srv/out/+welcome.avery.ulaw".into()],
            model: Some("lightning_v3.1".into()),
            language: None,
            voice_id: Some("avery".into()),
            output_format: Some(AudioFormat::Ulaw),
            sample_rate: Some(SampleRate::Hz8000),
            characters: Some(312),
            channels: Some(1),
            parts: Some(2),
            reused_parts: Some(1),
            error_kind: None,
            error: None,
            notes: vec![Note::PaidAgain],
            carried: vec!["=1+1".into(), "x".into()],
            own: vec![OwnCell::Text("1 table".into())],
            ..row()
        };
        let report = written_for(&Synthesize, &[spoken], &["voice_id", "source"], true);
        insta::assert_snapshot!(report, @r#"
        batch,line,key,output_name,status,outputs,model,language,voice_id,output_format,sample_rate,characters,audio_seconds,parts,reused_parts,tries,billed_calls,cost_usd,request_id,submitted_at,started_at,finished_at,processing_ms,error_kind,error,notes,wanted,left_out,manifest_voice_id,source
        ivr,2,'+welcome,'+welcome.avery.ulaw,succeeded,"[""/srv/out/+welcome.avery.ulaw""]",lightning_v3.1,,avery,ulaw,8000,312,61.050,2,1,1,1,0.005088,36e977cf,2025-11-24T16:00:00.000Z,2025-11-24T16:00:00.250Z,2025-11-24T16:00:03.001Z,2700,,,paid_again,yes,1 table,'=1+1,x
        "#);
    }

    #[test]
    fn what_is_unknown_is_empty() {
        let empty = Row {
            line: None,
            outputs: vec![],
            model: None,
            language: None,
            audio_ms: None,
            channels: None,
            tries: 0,
            billed_calls: 0,
            cost: None,
            request_id: None,
            submitted_at: None,
            started_at: None,
            finished_at: Some(i64::MAX),
            processing_ms: None,
            error_kind: None,
            error: None,
            notes: vec![],
            content_expiry: None,
            transcript: None,
            text: None,
            carried: vec![],
            ..row()
        };
        let report = written(&[empty], &["phone"], false);
        let line = report.lines().nth(1).unwrap();
        assert_eq!(line, "support-calls,,2026/call-17,suspect,https://example.com/a.wav,[],,,,,0,0,,,,,,,,,,yes,,");
    }

    #[test]
    fn a_long_transcript_stands_where_a_short_one_would() {
        for first in ["x", "=", "\""] {
            let text = first.to_owned() + &"a\n,".repeat(LONGEST_COPIED / 3);
            assert!(text.len() >= LONGEST_COPIED);
            let long = Row { transcript: Some(text.clone() + "b"), carried: vec!["+1+1".into(), "c".into()], ..row() };
            let short = Row { transcript: Some("HERE".into()), ..long.clone() };
            let report = written(&[long, short.clone()], &["phone", "x"], true);
            let as_short = written(&[short.clone(), short], &["phone", "x"], true);
            let mut read = ::csv::ReaderBuilder::new().from_reader(report.as_bytes());
            let cell = read.records().next().unwrap().unwrap()[23].to_owned();
            assert_eq!(cell, defuse(&(text + "b")));
            let quoted = format!("\"{}\"", cell.replace('"', "\"\""));
            assert_eq!(report.replacen(&quoted, "HERE", 1), as_short);
        }
    }

    #[test]
    fn taken_names_get_a_prefix_and_another() {
        let carried = ["key", "note", "manifest_key", "note", "=a", "transcript"].map(ToOwned::to_owned);
        let names = ["manifest_manifest_key", "note", "manifest_key", "manifest_note", "'=a", "manifest_transcript"];
        let further = FurtherColumns { own: &[], carried: &carried };
        assert_eq!(header(&Transcribe, further, LongColumns::default(), true)[23..], names);
        assert_eq!(header(&Transcribe, further, LongColumns { transcript: true, text: true }, true)[24..], names);
        let own = ["note".to_owned()];
        let further = FurtherColumns { own: &own, carried: &carried };
        let names = &header(&Transcribe, further, LongColumns::default(), true)[23..];
        assert_eq!(names[..3], ["note", "manifest_manifest_key", "manifest_note"]);
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(key in any::<String>(), error in any::<String>(), carried in proptest::collection::vec("[=+@\r\n\t\",a-z0-9 -]{0,9}", 3)) {
            let one = Row { key, error: Some(error), carried, ..row() };
            let report = written(std::slice::from_ref(&one), &["a", "b", "c"], true);
            let mut reader = ::csv::ReaderBuilder::new().from_reader(report.as_bytes());
            let read: Vec<_> = reader.records().map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), 1);
            prop_assert_eq!(&read[0][2], defuse(&one.key));
            prop_assert_eq!(&read[0][19], defuse(one.error.as_deref().unwrap()));
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&read[0][5]).unwrap(), one.outputs);
            for (nth, cell) in one.carried.iter().enumerate() {
                prop_assert_eq!(&read[0][24 + nth], defuse(cell));
            }
        }
    }
}
