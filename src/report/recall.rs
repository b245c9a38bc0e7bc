//! Transcripts whose answers the ledger no longer has: they come from an earlier report, else from the outputs.

use std::{
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    path::{Path, PathBuf},
};

use ::csv::{ByteRecord, Position, Reader, ReaderBuilder};
use futures::{StreamExt, stream};

use super::{
    cells::write_time,
    defuse::{defuse, undefuse},
    lines::{RowContext, addresses},
    place::{REPORT, report_place},
    publish_error::PublishError,
    recalled::{Recalled, is_adopted},
    row::Column,
};
use crate::{
    domain::{
        batch::BatchSpec,
        body::{Arrived, Arriving, Body},
        job::Wanted,
        options::TranscriptFormat,
        row::Note,
        s3::S3Address,
        transcript::{Transcript, spoken_words},
    },
    large::look_into,
    sink::{Sink, SinkClass, SinkError},
    store::{ReportRow, Scratch},
};

/// Outputs that are read concurrently.
const AT_A_TIME: usize = 8;
/// The longest output that is read, in bytes: the length of the longest answer that is kept.
const LONGEST: u64 = 512 << 20;

/// Where transcripts are looked for. Nothing is opened before the first one is missing.
pub(super) struct Recall {
    spec: BatchSpec,
    spool: PathBuf,
    /// `None` before the first lookup.
    sources: Option<Sources>,
}

struct Sources {
    outputs: Sink,
    /// The report that is about to be overwritten, then the earlier ones that stay where they are.
    published: Vec<Published>,
    unreadable: Option<Unreadable>,
}

/// An existing report that cannot be read completely.
#[derive(Clone)]
struct Unreadable {
    address: String,
    why: String,
}

impl Recall {
    pub(super) fn new(spec: &BatchSpec, spool: PathBuf) -> Self {
        Self { spec: spec.clone(), spool, sources: None }
    }

    /// What is known of each of these rows whose answer is missing.
    ///
    /// # Errors
    /// The sink cannot be reached; or an existing report may have the missing transcript, and cannot be read.
    pub(super) async fn of(
        &mut self,
        lines: &RowContext,
        rows: &[ReportRow],
    ) -> Result<Vec<Option<Recalled>>, PublishError> {
        let mut found: Vec<Option<Recalled>> = rows.iter().map(|_| None).collect();
        let missed: Vec<usize> = (0..rows.len()).filter(|nth| lines.needs_recall(&rows[*nth])).collect();
        if missed.is_empty() {
            return Ok(found);
        }
        if self.sources.is_none() {
            self.sources = Some(Sources::open(&self.spec, &self.spool).await?);
        }
        let sources = self.sources.as_mut().expect("they were opened just now");
        let sought = missed.iter().map(|nth| Sought::of(lines, &rows[*nth])).collect();
        let mut left = Vec::new();
        for (nth, there) in missed.into_iter().zip(sources.published(sought).await?) {
            match there {
                Some(RecalledRow::Whole(recalled)) => found[nth] = Some(recalled),
                Some(RecalledRow::Empty(recalled)) => left.push((nth, Some(recalled))),
                None => left.push((nth, None)),
            }
        }
        let (outputs, spool, spec) = (&sources.outputs, &self.spool, &self.spec);
        let reading = left.into_iter().map(|(nth, otherwise)| async move {
            let read = from_outputs(outputs, spool, spec, &rows[nth]).await;
            read.map(|recalled| (nth, recalled.or(otherwise)))
        });
        let mut reading = stream::iter(reading.collect::<Vec<_>>()).buffered(AT_A_TIME);
        while let Some(read) = reading.next().await {
            let (nth, recalled) = read?;
            if let (None, Some(Unreadable { address, why })) = (&recalled, sources.unreadable.clone()) {
                return Err(PublishError::OldReport { address, why });
            }
            found[nth] = recalled;
        }
        Ok(found)
    }
}

impl Recall {
    /// The words of a line's transcript with their times, as JSON: from its output in JSON, which has the times of the recording.
    ///
    /// # Errors
    /// The sink cannot be reached.
    pub(super) async fn spoken(&self, outputs: &Sink, row: &ReportRow) -> Result<Option<String>, PublishError> {
        if row.wanted == Wanted::Dropped || row.forgotten_at.is_some() {
            return Ok(None);
        }
        let name = format!("{}.{}", row.key, TranscriptFormat::Json);
        let ending = format!(".{}", TranscriptFormat::Json);
        for address in addresses(row.outputs.as_deref()).iter().filter(|address| address.ends_with(&ending)) {
            for (place, name) in places(outputs, &self.spec, address, name.clone()) {
                let Some(body) = stored(&place, &name, &self.spool).await? else { continue };
                let words = look_into(body.len(), move || {
                    let json = serde_json::from_slice(&body.whole().ok()?).ok()?;
                    spoken_words(&json).and_then(|turns| serde_json::to_string(&turns).ok())
                });
                if let Some(words) = words.await {
                    return Ok(Some(words));
                }
            }
        }
        Ok(None)
    }
}

impl Sources {
    async fn open(spec: &BatchSpec, spool: &Path) -> Result<Self, PublishError> {
        let outputs = Sink::open(&spec.output, &spec.sink)?;
        let (place, name) = report_place(spec, &outputs)?;
        let mut sources = Self { outputs, published: Vec::new(), unreadable: None };
        let address = place.address(&name);
        let beside = sources.outputs.address(REPORT);
        match open_report(&place, &name, spool).await? {
            Ok(published) => {
                sources.unreadable = published.as_ref().and_then(|published| {
                    published.damage.clone().map(|why| Unreadable { address: address.clone(), why })
                });
                sources.published.extend(published);
            }
            Err(why) => sources.unreadable = Some(Unreadable { address: address.clone(), why }),
        }
        // A former location of the report. That file stays, so its damage does no harm.
        if address != beside
            && let Ok(Some(published)) = open_report(&sources.outputs, REPORT, spool).await?
        {
            sources.published.push(published);
        }
        if let Some(former) = spec.report.former.as_ref().filter(|former| **former != beside) {
            for settings in [spec.report_sink(), &spec.sink] {
                if let Ok((place, name)) = Sink::open_file(former, settings)
                    && let Ok(Some(published)) = open_report(&place, &name, spool).await?
                {
                    sources.published.push(published);
                    break;
                }
            }
        }
        Ok(sources)
    }

    async fn published(&mut self, sought: Vec<Sought>) -> Result<Vec<Option<RecalledRow>>, PublishError> {
        let mut published = std::mem::take(&mut self.published);
        let looking = move || {
            let find = |sought: &Sought| {
                let mut empty = None;
                for report in &mut published {
                    let address = report.address.clone();
                    match report.find(sought).map_err(|e| (address, e.to_string()))? {
                        Some(RecalledRow::Empty(row)) => empty = empty.or(Some(RecalledRow::Empty(row))),
                        None => {}
                        whole => return Ok(whole),
                    }
                }
                Ok(empty)
            };
            let found: Result<Vec<_>, (String, String)> = sought.iter().map(find).collect();
            (published, found)
        };
        let (published, found) =
            tokio::task::spawn_blocking(looking).await.expect("a look into a report does not panic");
        self.published = published;
        found.map_err(|(address, why)| PublishError::OldReport { address, why })
    }
}

/// The report with this name, if there is one; or why it cannot be read.
async fn open_report(sink: &Sink, name: &str, spool: &Path) -> Result<Result<Option<Published>, String>, PublishError> {
    let message = |source: io::Error| PublishError::Spool { dir: spool.to_owned(), source };
    let (scratch, _) = Scratch::create(spool, "old-report.csv").map_err(message)?;
    match sink.fetch(name, scratch.path()).await {
        Ok(None) => Ok(Ok(None)),
        Ok(Some(path)) => {
            let address = sink.address(name);
            let indexing = move || Published::open(&path, address, scratch).map_err(|e| e.to_string());
            Ok(tokio::task::spawn_blocking(indexing).await.unwrap_or_else(|e| Err(e.to_string())))
        }
        Err(SinkError::Content { source, .. }) => Err(message(source)),
        Err(error) => Ok(Err(error.message())),
    }
}

/// A line whose transcript is looked for.
struct Sought {
    batch: String,
    key: String,
    request_id: String,
    billed_calls: String,
    finished_at: String,
    outputs: String,
    adopted: bool,
}

impl Sought {
    fn of(lines: &RowContext, row: &ReportRow) -> Self {
        let cell = |text: &str| defuse(text).into_owned();
        let outputs = addresses(row.outputs.as_deref());
        let mut finished_at = String::new();
        write_time(row.finished_at, &mut finished_at);
        Self {
            batch: cell(&lines.batch),
            key: cell(&row.key),
            request_id: cell(row.request_id.as_deref().unwrap_or_default()),
            billed_calls: row.billed_calls.to_string(),
            finished_at,
            outputs: serde_json::to_string(&outputs).expect("strings are JSON"),
            adopted: is_adopted(row),
        }
    }
}

/// What an older report has for a line.
#[derive(Debug, PartialEq, Eq)]
enum RecalledRow {
    /// With its transcript.
    Whole(Recalled),
    /// With an empty transcript that was known to be empty.
    Empty(Recalled),
}

/// A published report that is read row by row.
struct Published {
    address: String,
    reader: Reader<File>,
    columns: Columns,
    /// The hash of each row's key and the row's offset in bytes, sorted.
    index: Vec<(u64, u64)>,
    /// Why the rows after the indexed ones cannot be read.
    damage: Option<String>,
    record: ByteRecord,
    /// The local copy that is read, if there is one.
    _scratch: Scratch,
}

/// The positions of columns in a row.
struct Columns {
    key: usize,
    batch: Option<usize>,
    request_id: Option<usize>,
    billed_calls: Option<usize>,
    finished_at: Option<usize>,
    outputs: Option<usize>,
    audio_seconds: Option<usize>,
    notes: Option<usize>,
    transcript: Option<usize>,
}

impl Published {
    /// Reads the report once to index its rows. An empty file is no report.
    fn open(path: &Path, address: String, scratch: Scratch) -> io::Result<Option<Self>> {
        let meta = path.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        if meta.len() == 0 {
            return Ok(None);
        }
        let file = File::open(path)?;
        let mut reader = ReaderBuilder::new().buffer_capacity(64 << 10).from_reader(file);
        let header = reader.byte_headers().map_err(io::Error::other)?.clone();
        let place = |column: Column| header.iter().position(|name| name == column.as_str().as_bytes());
        let Some(key) = place(Column::Key) else {
            return Err(io::Error::other("it has no column `key`, and is no report of wavebatch's"));
        };
        let columns = Columns {
            key,
            batch: place(Column::Batch),
            request_id: place(Column::RequestId),
            billed_calls: place(Column::BilledCalls),
            finished_at: place(Column::FinishedAt),
            outputs: place(Column::Outputs),
            audio_seconds: place(Column::AudioSeconds),
            notes: place(Column::Notes),
            transcript: place(Column::Transcript),
        };
        let (mut index, mut record, mut damage) = (Vec::new(), ByteRecord::new(), None);
        loop {
            match reader.read_byte_record(&mut record) {
                Ok(true) => {
                    let at = record.position().map_or(0, Position::byte);
                    index.push((hash(record.get(columns.key).unwrap_or_default()), at));
                }
                Ok(false) => break,
                Err(e) => {
                    damage = Some(e.to_string());
                    break;
                }
            }
        }
        index.sort_unstable();
        index.shrink_to_fit();
        Ok(Some(Self { address, reader, columns, index, damage, record, _scratch: scratch }))
    }

    /// The row with the same key and request.
    fn find(&mut self, sought: &Sought) -> io::Result<Option<RecalledRow>> {
        let own = hash(sought.key.as_bytes());
        let from = self.index.partition_point(|(hash, _)| *hash < own);
        let places: Vec<u64> =
            self.index[from..].iter().take_while(|(hash, _)| *hash == own).map(|(_, at)| *at).collect();
        for at in places {
            let mut position = Position::new();
            position.set_byte(at);
            self.reader.seek(position).map_err(io::Error::other)?;
            if self.reader.read_byte_record(&mut self.record).map_err(io::Error::other)? && self.is_of(sought) {
                return Ok(self.row(sought));
            }
        }
        Ok(None)
    }

    fn cell(&self, place: Option<usize>) -> &str {
        let cell = place.and_then(|place| self.record.get(place)).unwrap_or_default();
        std::str::from_utf8(cell).unwrap_or_default()
    }

    /// An adopted line has no request of this ledger. If the vendor gave no id, a line that was bought again since has a later
    /// end and more billed calls; one that was only delivered again, or whose older call proved to be billed, still has one of
    /// the two unchanged.
    fn is_of(&self, sought: &Sought) -> bool {
        let columns = &self.columns;
        if self.cell(Some(columns.key)) != sought.key {
            return false;
        }
        if sought.adopted {
            return self.cell(columns.batch) == sought.batch || self.cell(columns.outputs) == sought.outputs;
        }
        if self.cell(columns.request_id) != sought.request_id {
            return false;
        }
        let is_unchanged = self.cell(columns.finished_at) == sought.finished_at
            || self.cell(columns.billed_calls) == sought.billed_calls;
        !sought.request_id.is_empty() || (self.cell(columns.batch) == sought.batch && is_unchanged)
    }

    fn row(&self, sought: &Sought) -> Option<RecalledRow> {
        let columns = &self.columns;
        columns.transcript?;
        let some = |text: &str| (!text.is_empty()).then(|| undefuse(text).to_owned());
        let recalled = Recalled {
            transcript: undefuse(self.cell(columns.transcript)).to_owned(),
            audio_ms: millis(self.cell(columns.audio_seconds)),
            request_id: some(self.cell(columns.request_id)),
        };
        if !recalled.transcript.is_empty() {
            return Some(RecalledRow::Whole(recalled));
        }
        let is_known = self.cell(columns.notes).split(';').all(|note| note != Note::AnswerPruned.as_str());
        (is_known && !sought.adopted).then_some(RecalledRow::Empty(recalled))
    }
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// `61.050` becomes 61,050.
fn millis(seconds: &str) -> Option<u64> {
    let (whole, millis) = seconds.split_once('.').filter(|(_, millis)| millis.len() == 3)?;
    whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(millis.parse().ok()?)
}

/// The transcript from the line's outputs: the answer itself, or else plain text.
async fn from_outputs(
    sink: &Sink,
    spool: &Path,
    spec: &BatchSpec,
    row: &ReportRow,
) -> Result<Option<Recalled>, PublishError> {
    // A file that is no longer requested may belong to another line by now.
    if row.wanted == Wanted::Dropped {
        return Ok(None);
    }
    let addresses = addresses(row.outputs.as_deref());
    for format in [TranscriptFormat::Json, TranscriptFormat::Txt] {
        let ending = format!(".{format}");
        for address in addresses.iter().filter(|address| address.ends_with(&ending)) {
            let name = format!("{}{ending}", row.key);
            for (place, name) in places(sink, spec, address, name) {
                if let Some(body) = stored(&place, &name, spool).await? {
                    let read = look_into(body.len(), move || read_output(format, &body)).await;
                    if read.is_some() {
                        return Ok(read);
                    }
                }
            }
        }
    }
    Ok(None)
}

/// Where an output may be: at its address, or with its name in the current output location.
fn places(sink: &Sink, spec: &BatchSpec, address: &str, name: String) -> Vec<(Sink, String)> {
    if sink.address(&name) == address {
        return vec![(sink.clone(), name)];
    }
    let elsewhere = match address.parse::<S3Address>() {
        Ok(at) => Sink::open(&format!("s3://{}/", at.bucket), &spec.sink).map(|bucket| (bucket, at.key)),
        Err(_) => Sink::open_file(address, &spec.sink),
    };
    elsewhere.into_iter().chain([(sink.clone(), name)]).collect()
}

/// The content with this name, if it can be read. A passing failure is an error.
async fn stored(sink: &Sink, name: &str, spool: &Path) -> Result<Option<Body>, PublishError> {
    let message = |source: io::Error| PublishError::Spool { dir: spool.to_owned(), source };
    let read = match sink.get(name).await {
        Err(SinkError::TooLarge { .. }) => {
            let (scratch, _) = Scratch::create(spool, "output").map_err(message)?;
            match sink.fetch(name, scratch.path()).await {
                Ok(None) => Ok(None),
                Ok(Some(path)) => {
                    let packing = move || {
                        let mut arriving = Arriving::default();
                        io::copy(&mut File::open(path)?.take(LONGEST), &mut arriving)?;
                        drop(scratch);
                        Ok(Arrived::into_body(arriving.finish()))
                    };
                    return look_into(LONGEST, packing).await.map(Some).map_err(message);
                }
                Err(e) => Err(e),
            }
        }
        read => read.map(|bytes| bytes.map(|bytes| Body::from_kept(bytes.len() as u64, false, bytes.into()))),
    };
    match read {
        Err(SinkError::Content { source, .. }) => Err(message(source)),
        Err(e) if e.class() == SinkClass::Retry => Err(e.into()),
        read => Ok(read.unwrap_or_default()),
    }
}

fn read_output(format: TranscriptFormat, body: &Body) -> Option<Recalled> {
    if format == TranscriptFormat::Json {
        let read = Transcript::of(body).ok()?;
        return Some(Recalled { transcript: read.text, audio_ms: read.duration_ms, request_id: read.request_id });
    }
    let text = String::from_utf8(body.whole().ok()?.into()).ok()?;
    let transcript = text.strip_suffix('\n').unwrap_or(&text).to_owned();
    Some(Recalled { transcript, audio_ms: None, request_id: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_they_are_written() {
        assert_eq!([millis("61.050"), millis("0.007"), millis("74520.500")], [Some(61_050), Some(7), Some(74_520_500)]);
        assert_eq!([millis(""), millis("1"), millis("1.5"), millis("x.123")], [None; 4]);
    }
}
