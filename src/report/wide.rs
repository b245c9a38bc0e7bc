//! All stages of a chain of batches side by side: a table with a row for each line of the first one.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Write},
    ops::Range,
    sync::Arc,
};

use ::csv::Writer;
use serde_json::{Map, Value};

use super::{
    cells::RecordCells,
    csv::{PREFIX, cause, shown, table_to},
    defuse::defuse,
    format::{Packing, ReportFormat, ReportLayout},
    jsonl,
    lines::RowContext,
    place::base_of,
    publish::{PAGE, PAGE_BYTES, PAGE_WITH_ANSWERS, RECALLED_AT_A_TIME, ReportRequest, long_columns, put_file},
    publish_error::PublishError,
    recall::Recall,
    recalled::Recalled,
    row::{Column, LongColumns, OwnCell, Row},
    task::{BatchRequest, ReportTask},
};
use crate::{
    domain::{
        batch::BatchSpec,
        environment::Environment,
        job::{BatchId, JobId},
    },
    large::look_into,
    sink::Sink,
    store::{BatchRow, ReportRow, RowAnswer, Store, StoreError},
};

/// A batch of a chain.
#[derive(Debug, Clone)]
pub struct WideStage<'a> {
    /// The batch.
    pub batch: &'a BatchRow,
    /// Its specification.
    pub spec: &'a BatchSpec,
    /// Its task.
    pub task: Arc<dyn ReportTask>,
    /// The place of the batch that feeds it, which is before it; the first one has none.
    pub by: Option<usize>,
}

/// A cell of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WideCell {
    Report(Column),
    Own(usize),
    Carried(usize),
}

/// A column: its name, the stage, and the cell there.
type WideColumn = (String, usize, WideCell);

/// The columns of a stage.
struct StageColumns {
    /// The name of its definition.
    name: String,
    report: Vec<Column>,
    own: Vec<String>,
}

/// The columns of all stages: line, key and the manifest's columns once, then each stage's report. Names that two of them have
/// begin with the name of the definition.
fn columns_of(carried: &[String], stages: &[StageColumns]) -> Vec<WideColumn> {
    let mut columns: Vec<WideColumn> = [Column::Line, Column::Key]
        .into_iter()
        .filter(|column| stages[0].report.contains(column))
        .map(|column| (column.to_string(), 0, WideCell::Report(column)))
        .collect();
    let mut taken: HashSet<String> = columns.iter().map(|(name, ..)| name.clone()).collect();
    for (nth, name) in carried.iter().enumerate() {
        columns.push((free(name.clone(), PREFIX, &mut taken), 0, WideCell::Carried(nth)));
    }
    let is_left = |stage: usize, column: Column| match column {
        Column::Line => false,
        Column::Key => stage > 0,
        _ => true,
    };
    let mut rest: Vec<WideColumn> = Vec::new();
    for (stage, of) in stages.iter().enumerate() {
        let report = of.report.iter().filter(|column| is_left(stage, **column));
        rest.extend(report.map(|column| (column.to_string(), stage, WideCell::Report(*column))));
        rest.extend(of.own.iter().enumerate().map(|(nth, name)| (name.clone(), stage, WideCell::Own(nth))));
    }
    let mut times: HashMap<String, usize> = HashMap::new();
    for (name, ..) in &rest {
        *times.entry(name.clone()).or_default() += 1;
    }
    for (name, stage, cell) in rest {
        let prefix = format!("{}.", stages[stage].name);
        let name = if times[&name] > 1 { format!("{prefix}{name}") } else { name };
        columns.push((free(name, &prefix, &mut taken), stage, cell));
    }
    columns
}

/// The name, with the prefix as often as it takes until it is free; it is taken then.
fn free(mut name: String, prefix: &str, taken: &mut HashSet<String>) -> String {
    while !taken.insert(name.clone()) {
        name.insert_str(0, prefix);
    }
    name
}

/// The rows that a line of the first stage has: one, or one for each output where a later stage makes several of it. `made`: of
/// each stage the jobs, with the job that each is made of. A row has a job of each stage, by its place; none where there is none.
fn rows_of(by: &[Option<usize>], made: &[Vec<(JobId, JobId)>]) -> Vec<Vec<Option<usize>>> {
    let mut rows: Vec<Vec<Option<usize>>> = vec![Vec::new()];
    for (stage, by) in by.iter().enumerate() {
        let mut longer = Vec::with_capacity(rows.len());
        for row in rows {
            let of = by.map(|by| row[by].map(|nth: usize| made[by][nth].0));
            let here = (0..made[stage].len()).filter(|nth| match of {
                None => true,
                Some(of) => of == Some(made[stage][*nth].1),
            });
            let before = longer.len();
            longer.extend(here.map(|nth| row.iter().copied().chain([Some(nth)]).collect()));
            if longer.len() == before {
                longer.push(row.into_iter().chain([None]).collect());
            }
        }
        rows = longer;
    }
    rows
}

/// Writes rows of all stages.
struct WideWriter<W: Write> {
    columns: Vec<WideColumn>,
    cells: RecordCells,
    out: WideOut<W>,
}

enum WideOut<W: Write> {
    Csv(Box<Writer<Packing<W>>>),
    Jsonl(Packing<W>),
}

impl<W: Write> WideWriter<W> {
    fn new(out: W, format: ReportFormat, columns: Vec<WideColumn>) -> io::Result<Self> {
        let out = Packing::new(out, format.gzip);
        let out = match format.layout {
            ReportLayout::Csv => {
                let mut csv = table_to(out);
                csv.write_record(columns.iter().map(|(name, ..)| defuse(name).into_owned())).map_err(cause)?;
                WideOut::Csv(Box::new(csv))
            }
            ReportLayout::Jsonl => WideOut::Jsonl(out),
        };
        Ok(Self { columns, cells: RecordCells::default(), out })
    }

    /// Appends a row; `rows` has one of each stage.
    fn write(&mut self, rows: &[Option<&Row>]) -> io::Result<()> {
        match &mut self.out {
            WideOut::Csv(csv) => {
                self.cells.record.clear();
                for (_, stage, cell) in &self.columns {
                    match (rows[*stage], cell) {
                        (None, _) => self.cells.maybe(None),
                        (Some(row), WideCell::Report(Column::Transcript)) => {
                            self.cells.maybe(row.transcript.as_deref());
                        }
                        (Some(row), WideCell::Report(column)) => self.cells.cell(row, *column),
                        (Some(row), WideCell::Own(nth)) => self.cells.own(row.own.get(*nth).unwrap_or(&OwnCell::Empty)),
                        (Some(row), WideCell::Carried(nth)) => {
                            self.cells.maybe(row.carried.get(*nth).map(String::as_str));
                        }
                    }
                }
                csv.write_byte_record(&self.cells.record).map_err(cause)
            }
            WideOut::Jsonl(out) => {
                let cell = |(name, stage, cell): &WideColumn| {
                    let value = match (rows[*stage], cell) {
                        (None, _) => Value::Null,
                        (Some(row), WideCell::Report(column)) => jsonl::cell(row, *column),
                        (Some(row), WideCell::Own(nth)) => {
                            jsonl::own_cell(row.own.get(*nth).unwrap_or(&OwnCell::Empty))
                        }
                        (Some(row), WideCell::Carried(nth)) => {
                            row.carried.get(*nth).cloned().unwrap_or_default().into()
                        }
                    };
                    (name.clone(), value)
                };
                let object: Map<String, Value> = self.columns.iter().map(cell).collect();
                serde_json::to_writer(&mut *out, &Value::Object(object))?;
                out.write_all(b"\n")
            }
        }
    }

    fn finish(self) -> io::Result<W> {
        let mut out = match self.out {
            WideOut::Csv(csv) => {
                csv.into_inner().map_err(|e| io::Error::new(e.error().kind(), e.error().to_string()))?
            }
            WideOut::Jsonl(out) => out,
        };
        out.flush()?;
        out.finish()
    }
}

/// What rows of a stage are read and made with.
struct Stage {
    batch: BatchId,
    by: Option<usize>,
    long: LongColumns,
    lines: Arc<RowContext>,
    recall: Recall,
}

/// The place of a row's line on the page, its job, and the job that this is made of.
type RowPlace = (usize, JobId, JobId);

/// A job of a page.
struct PageRow {
    /// The place of its line on the page.
    line: usize,
    /// The job that it is made of; of the first stage, itself.
    of: JobId,
    row: ReportRow,
}

/// Writes the table, page by page, and returns its writer. Lines are chosen in the first stage.
///
/// # Errors
/// The ledger cannot be read, or `out` fails.
pub async fn wide_to<W: Write + Send + 'static>(
    store: &Store,
    stages: &[WideStage<'_>],
    request: &ReportRequest,
    out: W,
) -> Result<W, PublishError> {
    let (mut of, mut columns) = (Vec::with_capacity(stages.len()), Vec::with_capacity(stages.len()));
    for stage in stages {
        let (opened, has) = open(store, stage, request)?;
        of.push(opened);
        columns.push(has);
    }
    let columns = columns_of(&stages[0].spec.carried, &columns);
    let mut writer = WideWriter::new(out, request.format, columns).map_err(PublishError::Output)?;
    let with_long = of.iter().any(|stage| stage.long.transcript || stage.long.text);
    let limit = if with_long { PAGE_WITH_ANSWERS } else { PAGE };
    let mut after = (0, 0);
    loop {
        let first = store.report_rows(of[0].batch, after, limit, of[0].long.transcript, &request.scope).await?;
        let Some(last) = first.last() else { break };
        after = (last.ordinal, last.job.0);
        let is_full = first.len() >= limit as usize;
        let page = page_of(store, &of, first, request.scope.with_dropped).await?;
        writer = write_page(store, writer, &mut of, page).await?;
        if !is_full {
            break;
        }
    }
    tokio::task::spawn_blocking(move || writer.finish())
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(PublishError::Output)
}

/// Writes the table to the object at this address, in the store that the last stage's report goes to.
///
/// # Errors
/// The ledger, the spool or the store fails.
pub async fn put_wide(
    store: &Store,
    stages: &[WideStage<'_>],
    request: &ReportRequest,
    address: &str,
) -> Result<(), PublishError> {
    let last = stages.last().expect("a chain has stages");
    let place = Sink::open_file(address, last.spec.report_sink())?;
    let request = ReportRequest { at: Some(address.to_owned()), ..request.clone() };
    put_file(store, place, request.format, async |file: File| wide_to(store, stages, &request, file).await).await
}

fn open(store: &Store, stage: &WideStage<'_>, request: &ReportRequest) -> Result<(Stage, StageColumns), PublishError> {
    let WideStage { batch, spec, task, by } = stage;
    let unread = |e| StoreError::Unexpected(format!("the specification of `{}`: {e}", batch.name));
    let asked: Box<dyn BatchRequest> = task.batch(&spec.task).map_err(unread)?;
    let long = long_columns(spec, &**task);
    let columns = StageColumns {
        name: batch.definition.clone(),
        report: shown(&**task, long).collect(),
        own: asked.own_columns(),
    };
    let lines = RowContext {
        batch: batch.name.clone(),
        spec: (*spec).clone(),
        asked,
        transcripts: long.transcript,
        texts: long.text,
        base: request.at.as_deref().and_then(|at| base_of(spec, at)),
        sandbox: batch.environment == Environment::Sandbox,
    };
    let stage =
        Stage { batch: batch.id, by: *by, long, lines: Arc::new(lines), recall: Recall::new(spec, store.spool()) };
    Ok((stage, columns))
}

/// The rows of all stages of these lines of the first one, each in the order of the lines.
async fn page_of(
    store: &Store,
    stages: &[Stage],
    first: Vec<ReportRow>,
    with_dropped: bool,
) -> Result<Vec<Vec<PageRow>>, StoreError> {
    let mut page: Vec<Vec<PageRow>> = Vec::with_capacity(stages.len());
    page.push(first.into_iter().enumerate().map(|(line, row)| PageRow { line, of: row.job, row }).collect());
    for stage in &stages[1..] {
        let above = &page[stage.by.expect("only the first stage is fed by none")];
        let lines: HashMap<JobId, usize> = above.iter().map(|one| (one.row.job, one.line)).collect();
        let jobs: Vec<JobId> = above.iter().map(|one| one.row.job).collect();
        let made = store.report_made_of(stage.batch, &jobs, stage.long.transcript, with_dropped).await?;
        let placed = |(of, row): (JobId, ReportRow)| PageRow { line: lines[&of], of, row };
        let mut here: Vec<PageRow> = made.into_iter().map(placed).collect();
        here.sort_by_key(|one| one.line);
        page.push(here);
    }
    Ok(page)
}

/// Writes a page: some lines at a time, and one that has an answer stored apart on its own.
async fn write_page<W: Write + Send + 'static>(
    store: &Store,
    mut writer: WideWriter<W>,
    stages: &mut [Stage],
    mut page: Vec<Vec<PageRow>>,
) -> Result<WideWriter<W>, PublishError> {
    let (lines, mut from) = (page[0].len(), 0);
    let apart: HashSet<usize> = page
        .iter()
        .flatten()
        .filter(|one| matches!(one.row.answer, Some(RowAnswer::Apart(_))))
        .map(|one| one.line)
        .collect();
    while from < lines {
        let most = (from + RECALLED_AT_A_TIME).min(lines);
        let to = (from..most).find(|line| apart.contains(line)).map_or(most, |line| line.max(from + 1));
        let mut some: Vec<Vec<PageRow>> = Vec::with_capacity(page.len());
        for of in &mut page {
            let n = of.partition_point(|one| one.line < to);
            some.push(of.drain(..n).collect());
        }
        writer = write_lines(store, writer, stages, (from..to, some)).await?;
        from = to;
    }
    Ok(writer)
}

async fn write_lines<W: Write + Send + 'static>(
    store: &Store,
    mut writer: WideWriter<W>,
    stages: &mut [Stage],
    (lines, rows): (Range<usize>, Vec<Vec<PageRow>>),
) -> Result<WideWriter<W>, PublishError> {
    let (mut len, mut whole) = (0, Vec::with_capacity(rows.len()));
    for (stage, of) in stages.iter_mut().zip(rows) {
        let (mut places, mut here) = (Vec::with_capacity(of.len()), Vec::with_capacity(of.len()));
        for PageRow { line, of, mut row } in of {
            if stage.long.text {
                row.text = store.text(row.job).await?;
            }
            if let Some(RowAnswer::Apart(call)) = row.answer {
                row.answer = store.answer(call).await?.map(|(body, _)| RowAnswer::Here(body));
                len += if let Some(RowAnswer::Here(body)) = &row.answer { body.len() } else { 0 };
            }
            places.push((line, row.job, of));
            here.push(row);
        }
        let recalled: Vec<Option<Recalled>> = stage.recall.of(&stage.lines, &here).await?;
        whole.push((Arc::clone(&stage.lines), places, here, recalled));
    }
    let by: Vec<Option<usize>> = stages.iter().map(|stage| stage.by).collect();
    let writing = move || {
        let of: Vec<(Vec<RowPlace>, Vec<Row>)> = whole
            .into_iter()
            .map(|(lines, places, here, recalled)| {
                let rows = here.into_iter().zip(recalled).map(|(row, recalled)| lines.row(row, recalled)).collect();
                (places, rows)
            })
            .collect();
        let mut at = vec![0; of.len()];
        for line in lines {
            let from = at.clone();
            let mut made = Vec::with_capacity(of.len());
            for (stage, (places, _)) in of.iter().enumerate() {
                let here = places[from[stage]..].iter().take_while(|place| place.0 == line);
                made.push(here.map(|(_, job, of)| (*job, *of)).collect::<Vec<_>>());
                at[stage] += made[stage].len();
            }
            for row in rows_of(&by, &made) {
                let row = row.iter().enumerate().map(|(stage, nth)| nth.map(|nth| &of[stage].1[from[stage] + nth]));
                writer.write(&row.collect::<Vec<_>>())?;
            }
        }
        Ok(writer)
    };
    look_into(len.max(PAGE_BYTES), writing).await.map_err(PublishError::Output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, report: &[Column], own: &[&str]) -> StageColumns {
        StageColumns {
            name: name.to_owned(),
            report: report.to_vec(),
            own: own.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn names(carried: &[&str], stages: &[StageColumns]) -> String {
        let carried: Vec<String> = carried.iter().map(|name| (*name).to_owned()).collect();
        columns_of(&carried, stages).into_iter().map(|(name, ..)| name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn names_that_two_stages_have_begin_with_the_definition() {
        use Column::{Key, Line, Status, Transcript};
        let stages = [
            stage("calls", &[Line, Key, Status, Transcript], &["channel_1"]),
            stage("card", &[Line, Key, Status], &["reason", "channel_1"]),
        ];
        assert_eq!(
            names(&["agent"], &stages),
            "line key agent calls.status transcript calls.channel_1 card.key card.status reason card.channel_1"
        );
    }

    #[test]
    fn no_two_columns_have_one_name() {
        use Column::{Key, Line, Status};
        let stages = [stage("a", &[Line, Key, Status], &["x"]), stage("a", &[Line, Key, Status], &[])];
        let all = names(&["status", "key", "a.status", "x"], &stages);
        assert_eq!(all, "line key status manifest_key a.status x a.a.status a.x a.key a.a.a.status");
        let some: HashSet<&str> = all.split(' ').collect();
        assert_eq!(some.len(), all.split(' ').count());
    }

    #[test]
    fn a_line_has_a_row_for_each_output_that_is_made_of_it() {
        let job = |made: &[(i64, i64)]| made.iter().map(|(job, of)| (JobId(*job), JobId(*of))).collect::<Vec<_>>();
        let rows = |by: &[Option<usize>], made: &[&[(i64, i64)]]| {
            rows_of(by, &made.iter().map(|made| job(made)).collect::<Vec<_>>())
        };
        let chain = [None, Some(0), Some(1)];
        assert_eq!(rows(&chain, &[&[(1, 1)], &[(2, 1)], &[(3, 2)]]), [[Some(0), Some(0), Some(0)]]);
        assert_eq!(rows(&chain, &[&[(1, 1)], &[(2, 1)], &[]]), [[Some(0), Some(0), None]]);
        assert_eq!(rows(&chain, &[&[(1, 1)], &[], &[]]), [[Some(0), None, None]]);
        let voices: &[&[(i64, i64)]] = &[&[(1, 1)], &[(2, 1), (3, 1)], &[(4, 3)]];
        assert_eq!(rows(&chain, voices), [[Some(0), Some(0), None], [Some(0), Some(1), Some(0)]]);
        let two_of_one = [None, Some(0), Some(0)];
        assert_eq!(rows(&two_of_one, &[&[(1, 1)], &[(2, 1)], &[(3, 1)]]), [[Some(0), Some(0), Some(0)]]);
    }
}
