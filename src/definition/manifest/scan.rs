//! The two readings of a manifest.

use std::{
    any::Any,
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use super::super::{BadLines, Fault, Faults};
use super::{
    Columns, Emptiness, Gathered, Ignored, LineFault, LineJudge, LineName, Manifest, ManifestFormat, ManifestLine,
    Refusal, ScanDepth,
    csv::NOT_UTF8,
    keys::{Doubled, Keys},
    listing::FoundFiles,
    record::{Next, Record, Unreadable},
    repeats::{About, Repeats},
    rounded::RoundedKeys,
    rows::{Kind, Rows},
};
use crate::domain::{key::Key, open::UnlistedValues, printable::printable};

/// The fault of a line whose text is another one at the second reading.
const CONTENT_CHANGED: &str = "the file that it names changed while the manifest was read; run the same command again";

/// What the first reading found.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Good lines, including those without a source.
    pub lines: u64,
    /// The jobs of these lines.
    pub jobs: u64,
    /// Jobs without a source: nothing to do for them.
    pub without_source: u64,
    /// Bad lines; none unless they are skipped.
    pub bad: u64,
    /// The faults of the bad lines.
    pub faults: Faults,
    /// The columns and their uses.
    pub columns: Columns,
    /// What the user should know about the file and its columns.
    pub warnings: Vec<String>,
    /// SHA-256 of the manifest's whole content (decompressed), or of a listing's names and sizes (for objects, also
    /// ETags), and of all named content that the task has read.
    pub hash: [u8; 32],
    /// What a listing ignored, by extension.
    pub ignored: Ignored,
    /// Values in the definition and the lines that are in none of our lists.
    pub unlisted_values: UnlistedValues,
    /// Findings that only the task understands.
    pub findings: Arc<dyn Any + Send + Sync>,
    /// Lines whose key an earlier line has, each with that earlier line.
    doubled: HashMap<u64, LineName>,
    /// The hash of the manifest's own content.
    lines_hash: [u8; 32],
    /// The hashes of what lines name outside the manifest.
    contents: HashMap<u64, u64>,
    /// The files of a listing: later readings take the same ones.
    found: Option<Arc<FoundFiles>>,
}

/// A bad line that is skipped. In the report, its key is [`Key::of_line`] of its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Line in the file, from 1, or position in a listing.
    pub number: u64,
    /// The fault of the line.
    pub fault: String,
    /// The cells of [`Columns::carried`]; empty if the line cannot be read.
    pub carried: Vec<String>,
}

/// A line of the second reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestRow {
    /// A good one.
    Good(ManifestLine),
    /// A bad one.
    Bad(BadLine),
}

/// A reading in progress.
struct Reading<'m> {
    manifest: &'m Manifest<'m>,
    rows: Rows,
    judge: Box<dyn LineJudge + 'm>,
    record: Record,
    read: u64,
}

/// The counts of the first reading.
#[derive(Default)]
struct Tally {
    lines: u64,
    bad: u64,
    faults: Faults,
    repeats: Repeats,
    keys: Keys,
    rounded: RoundedKeys,
    names: Keys,
    /// The hashes of what lines name outside the manifest.
    contents: HashMap<u64, u64>,
}

/// All that is known at the end of a reading.
struct Finished {
    /// The hash of the manifest's own content, and that with all that its lines name.
    hashes: ([u8; 32], [u8; 32]),
    ignored: Ignored,
    gathered: Gathered,
}

/// The files of some lines of a listing; none of another manifest.
#[derive(Default)]
struct Names(HashMap<u64, String>);

impl Names {
    fn file(&self, number: u64) -> Option<&str> {
        self.0.get(&number).map(String::as_str)
    }

    fn of(&self, number: u64) -> LineName {
        self.file(number).map_or(LineName::Number(number), |file| LineName::File(file.to_owned()))
    }
}

impl Reading<'_> {
    /// Reads the next line; `None` at the end, or at the definition's limit.
    fn next(&mut self) -> Result<Option<Result<(), Unreadable>>, Faults> {
        loop {
            if self.read >= self.manifest.definition.limit.unwrap_or(u64::MAX) {
                return Ok(None);
            }
            self.read += 1;
            let (number, next) = match self.manifest.next(&mut self.rows, &mut self.record)? {
                Next::End => return Ok(None),
                Next::Line => (self.record.number, Ok(())),
                Next::Unreadable(unreadable) => (unreadable.number, Err(unreadable)),
            };
            if self.manifest.drawn.as_ref().is_none_or(|drawn| drawn.contains(&number)) {
                return Ok(Some(next));
            }
        }
    }

    /// Reads to the end of the file.
    fn finish(self) -> Result<Finished, Faults> {
        let Self { manifest, rows, judge, record, .. } = self;
        let (lines, ignored) = rows.finish().map_err(|e| manifest.io_fault(Some(record.number), &e))?;
        Ok(Finished { hashes: (lines, judge.hash(lines)), ignored, gathered: judge.gathered() })
    }
}

impl<'d> Manifest<'d> {
    /// The first reading: every fault, and the counts.
    ///
    /// # Errors
    /// The faults, unless bad lines are skipped; two outputs with the same name; a manifest without lines; a file
    /// that cannot be read to its end.
    pub fn scan(&self, depth: ScanDepth) -> Result<Scan, Faults> {
        let skip = self.definition.bad_lines == BadLines::Skip;
        let (mut tally, mut reading) = self.read_all(depth, &HashSet::new())?;
        let doubled = std::mem::take(&mut tally.keys).doubled();
        // Of lines with the same key, the later ones are bad and have no jobs.
        let later: HashSet<u64> = doubled.iter().map(|doubled| doubled.line).collect();
        if skip && !later.is_empty() {
            (tally, reading) = self.read_all(depth, &later)?;
        }
        let mut faults = std::mem::take(&mut tally.faults);
        faults.merge_by_line(std::mem::take(&mut tally.repeats).message());
        let pairs: Vec<(u64, u64)> = doubled.iter().map(|doubled| (doubled.line, doubled.first)).collect();
        let names = self.names_of(&pairs)?;
        if !doubled.is_empty() {
            faults.merge_by_line(self.doubled_keys(&doubled, &names)?);
        }
        let clashes = if skip || doubled.is_empty() { std::mem::take(&mut tally.names).doubled() } else { Vec::new() };
        if (!skip && !faults.is_empty()) || !clashes.is_empty() || doubled.iter().any(|doubled| doubled.of_bad) {
            faults.merge_by_line(self.doubled_names(&clashes, &later)?);
            return Err(faults);
        }
        let Finished { hashes: (lines_hash, hash), ignored, gathered } = reading.finish()?;
        let (lines, bad) = (tally.lines, tally.bad + doubled.len() as u64);
        if lines + bad == 0 && !self.definition.allow_empty {
            return Err(self.nothing(&ignored).into());
        }
        let Gathered { jobs, idle, unlisted_values, findings } = gathered;
        Ok(Scan {
            lines,
            jobs,
            without_source: idle,
            bad,
            faults,
            columns: self.columns().clone(),
            warnings: self
                .warnings
                .iter()
                .chain(&self.columns().warnings)
                .cloned()
                .chain(tally.rounded.warning().filter(|_| !self.definition.origin.is_listing()))
                .collect(),
            hash,
            ignored,
            unlisted_values: unlisted_values.and(self.definition.task.unlisted()),
            findings,
            doubled: doubled.iter().map(|doubled| (doubled.line, names.of(doubled.first))).collect(),
            lines_hash,
            contents: tally.contents,
            found: self.kind.found().map_err(|e| self.io_fault(None, &e))?,
        })
    }

    /// The second reading: the lines themselves. A line that names a file whose content has changed since is a bad one.
    ///
    /// # Errors
    /// The manifest can no longer be opened.
    pub fn lines<'m>(&'m self, scan: &'m Scan) -> Result<ManifestLines<'m>, Faults> {
        let rows = self.rows(scan.found.clone())?;
        Ok(ManifestLines { scan, reading: Some(self.reading_of(rows, ScanDepth::Faults)) })
    }

    fn reading(&self, depth: ScanDepth) -> Result<Reading<'_>, Faults> {
        Ok(self.reading_of(self.rows(None)?, depth))
    }

    fn reading_of(&self, rows: Rows, depth: ScanDepth) -> Reading<'_> {
        let judge = self.records.begin(depth);
        Reading { manifest: self, rows, judge, record: Record::default(), read: 0 }
    }

    /// Judges every line, and counts all lines except `without`.
    fn read_all(&self, depth: ScanDepth, without: &HashSet<u64>) -> Result<(Tally, Reading<'_>), Faults> {
        let mut reading = self.reading(depth)?;
        let mut tally = Tally::default();
        let skip = self.definition.bad_lines == BadLines::Skip;
        while let Some(next) = reading.next()? {
            let Reading { judge, record, rows, .. } = &mut reading;
            let (number, found) = match next {
                Err(unreadable) => (unreadable.number, vec![self.unreadable(unreadable)]),
                Ok(()) => match judge.judge(record) {
                    Ok(_) if without.contains(&record.number) => continue,
                    Ok(key) => {
                        tally.keys.add(&key, record.number, false);
                        tally.rounded.look(&key, record.number);
                        tally.lines += 1;
                        tally.contents.extend(judge.content().map(|content| (record.number, content)));
                        judge.gather(&mut |name| tally.names.add(name, record.number, false));
                        continue;
                    }
                    Err(Refusal::Line(found)) => (record.number, found),
                    Err(Refusal::Stop(message)) => {
                        let file = rows.file(record.number, record);
                        return Err(self.stopped(record.number, file.as_deref(), message));
                    }
                },
            };
            let file = reading.rows.file(number, &reading.record);
            for fault in found {
                let (about, fault) = (fault.about, self.line_fault(number, file.as_deref(), fault));
                if about == About::Line { tally.faults.push(fault) } else { tally.repeats.add(about, fault) }
            }
            tally.bad += 1;
            if skip {
                tally.keys.add(Key::of_line(number).as_str(), number, true);
            }
        }
        Ok((tally, reading))
    }

    /// The fault of a line; `file` is what it stands for in a listing.
    fn line_fault(&self, number: u64, file: Option<&str>, fault: LineFault) -> Fault {
        let LineFault { column, message, .. } = fault;
        match file {
            Some(file) => Fault::of_listed(self.shown(file), number, column.as_deref(), message),
            None => Fault::of_line(&self.definition.manifest, number, column.as_deref(), message),
        }
    }

    /// The path of a listed file for messages: below the working directory, relative to it.
    fn shown<'f>(&self, file: &'f str) -> &'f str {
        Path::new(file).strip_prefix(&self.definition.working_dir).ok().and_then(Path::to_str).unwrap_or(file)
    }

    /// The files that these pairs of lines stand for in a listing.
    fn names_of(&self, pairs: &[(u64, u64)]) -> Result<Names, Faults> {
        let mut names = Names::default();
        let wanted: HashSet<u64> = pairs.iter().flat_map(|(line, first)| [*line, *first]).collect();
        if !self.kind.is_of_files() || wanted.is_empty() {
            return Ok(names);
        }
        let (mut rows, mut record) = (self.rows(None)?, Record::default());
        while names.0.len() < wanted.len() {
            match rows.next(&mut record).map_err(|e| self.io_fault(None, &e))? {
                Next::Line if wanted.contains(&record.number) => {
                    names.0.insert(record.number, self.shown(record.cell(0)).to_owned());
                }
                Next::Line | Next::Unreadable(_) => {}
                Next::End => break,
            }
        }
        Ok(names)
    }

    fn stopped(&self, number: u64, file: Option<&str>, message: String) -> Faults {
        self.line_fault(number, file, LineFault::new(None, message)).into()
    }

    fn unreadable(&self, unreadable: Unreadable) -> LineFault {
        let column = unreadable.column.and_then(|index| self.columns().all.get(index).cloned());
        let hint = if unreadable.message == NOT_UTF8 && self.definition.dialect.encoding.is_none() {
            "; if a spreadsheet or a database wrote the file, name its encoding, e.g. --encoding windows-1252"
        } else {
            ""
        };
        LineFault::new(column, unreadable.message + hint)
    }

    /// The messages for duplicate keys. They need another reading: the first one kept only hashes.
    fn doubled_keys(&self, doubled: &[Doubled], names: &Names) -> Result<Faults, Faults> {
        let mut faults = Faults::default();
        let mut listed = doubled.iter().take(Faults::LIMIT).peekable();
        let mut reading = self.reading(ScanDepth::Faults)?;
        while let Some(wanted) = listed.peek()
            && let Some(next) = reading.next()?
        {
            let Reading { judge, record, .. } = &mut reading;
            let number = next.map_or_else(|unreadable| unreadable.number, |()| record.number);
            if number == wanted.line {
                let key = match wanted.of_bad {
                    true => Key::of_line(number).to_string(),
                    false => judge.judge(record).map(std::borrow::Cow::into_owned).unwrap_or_default(),
                };
                let fault = self.records.doubled_key(&key, &names.of(wanted.first));
                let fault = LineFault { column: self.columns().key.clone(), ..fault };
                faults.push(self.line_fault(number, names.file(number), fault));
                listed.next();
            }
        }
        faults.more += (doubled.len() - faults.list.len()) as u64;
        Ok(faults)
    }

    /// The messages for outputs with the same name. They need another reading: the first one kept only hashes.
    fn doubled_names(&self, clashes: &[Doubled], without: &HashSet<u64>) -> Result<Faults, Faults> {
        let mut numbers: Vec<(u64, u64)> = clashes.iter().map(|clash| (clash.line, clash.first)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.is_empty() {
            return Ok(Faults::default());
        }
        let listed = &numbers[..numbers.len().min(Faults::LIMIT)];
        let names = self.names_of(listed)?;
        let wanted = listed.iter().flat_map(|(line, first)| [*line, *first]);
        let lines = self.some_lines(&wanted.filter(|number| !without.contains(number)).collect())?;
        let mut repeats = Faults::default();
        // Outputs that clash within one line clash in all lines: one line is listed, or both of two.
        let all_within = numbers.iter().filter(|(line, first)| line == first).count();
        let listed_within = if all_within == 2 { 2 } else { 1 };
        let mut within = 0;
        for (number, first) in listed {
            let (Some(line), Some(first)) = (lines.get(number), lines.get(first)) else { continue };
            within += u64::from(line.number == first.number);
            if line.number != first.number || within <= listed_within {
                let clash = self.records.clash(line, first, &names.of(first.number));
                let file = names.file(line.number);
                let clash = clash.map(|message| self.line_fault(line.number, file, LineFault::new(None, message)));
                repeats.extend(clash.into_iter().collect());
            }
        }
        let more_within = (all_within as u64).saturating_sub(listed_within);
        let between = numbers.iter().filter(|(line, first)| line != first).count();
        let told_between = listed.iter().filter(|(line, first)| line != first).count();
        repeats.more += more_within + (between - told_between) as u64;
        Ok(repeats)
    }

    /// The good lines among `wanted`, without their texts.
    fn some_lines(&self, wanted: &HashSet<u64>) -> Result<HashMap<u64, ManifestLine>, Faults> {
        let mut lines = HashMap::new();
        let mut reading = self.reading(ScanDepth::Faults)?;
        while lines.len() < wanted.len()
            && let Some(next) = reading.next()?
        {
            let Reading { judge, record, .. } = &mut reading;
            if next.is_ok()
                && wanted.contains(&record.number)
                && let Ok(key) = judge.judge(record).map(Key::new)
                && let Ok(key) = key
            {
                let mut jobs = judge.jobs(record);
                jobs.iter_mut().for_each(|job| job.text = None);
                lines.insert(record.number, ManifestLine { number: record.number, key, jobs, carried: Vec::new() });
            }
        }
        Ok(lines)
    }

    fn nothing(&self, ignored: &Ignored) -> Fault {
        let of = match &self.kind {
            Kind::Files(lister) if !lister.is_named() => Emptiness::Listing,
            Kind::File(file) if matches!(file.format, ManifestFormat::Csv | ManifestFormat::Tsv) => Emptiness::Table,
            Kind::File(..) | Kind::Files(_) | Kind::Fed { .. } => Emptiness::File,
            Kind::Listed { .. } => Emptiness::Listing,
        };
        let mut message = self.records.nothing(of);
        if of == Emptiness::Listing && !ignored.is_empty() {
            let rest: Vec<_> = ignored.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            message.push_str(&format!(" (passed over: {})", rest.join(", ")));
        }
        Fault::of_nothing(self.definition.manifest.clone(), message)
    }
}

/// The lines of a manifest. After an `Err` there are no more.
pub struct ManifestLines<'m> {
    scan: &'m Scan,
    reading: Option<Reading<'m>>,
}

impl ManifestLines<'_> {
    /// The options that the columns of the line read last set: their names and cells.
    #[must_use]
    pub fn options(&self) -> Vec<(String, String)> {
        let Some(reading) = &self.reading else { return Vec::new() };
        let columns = reading.manifest.columns();
        let cell = |column: &String| {
            let at = columns.all.iter().position(|name| name == column)?;
            Some(reading.record.cell(at).trim()).filter(|cell| !cell.is_empty())
        };
        let set = columns.options.iter().zip(&columns.option_columns);
        set.filter_map(|(option, column)| Some((option.clone(), cell(column)?.to_owned()))).collect()
    }

    fn next_row(&mut self) -> Result<Option<ManifestRow>, Faults> {
        let Some(reading) = &mut self.reading else { return Ok(None) };
        let manifest = reading.manifest;
        let Some(next) = reading.next()? else { return self.finish().map(|()| None) };
        let Reading { judge, record, rows, .. } = reading;
        // In a listing, a fault says which file it is about.
        let told = |number, faults: &[LineFault]| match rows.file(number, record) {
            Some(file) => format!("{}: {}", printable(manifest.shown(&file)), in_words(faults)),
            None => in_words(faults),
        };
        let carried =
            || -> Vec<String> { manifest.columns().carried_at.iter().map(|at| record.cell(*at).to_owned()).collect() };
        let number = record.number;
        let faults = match next {
            Err(unreadable) => {
                let number = unreadable.number;
                let carried = vec![String::new(); manifest.columns().carried_at.len()];
                let fault = told(number, &[manifest.unreadable(unreadable)]);
                return Ok(Some(ManifestRow::Bad(BadLine { number, fault, carried })));
            }
            Ok(()) => match judge.judge(record) {
                Ok(key) => match self.scan.doubled.get(&number) {
                    None if judge.content().is_some_and(|now| self.scan.contents.get(&number) != Some(&now)) => {
                        vec![LineFault::new(None, CONTENT_CHANGED)]
                    }
                    None => {
                        let key = Key::new(key).expect("the judge has checked the key");
                        let (jobs, carried) = (judge.jobs(record), carried());
                        return Ok(Some(ManifestRow::Good(ManifestLine { number, key, jobs, carried })));
                    }
                    Some(first) => vec![manifest.records.doubled_key(&key, first)],
                },
                Err(Refusal::Line(faults)) => faults,
                Err(Refusal::Stop(message)) => {
                    let file = rows.file(number, record);
                    return Err(manifest.stopped(number, file.as_deref(), message));
                }
            },
        };
        Ok(Some(ManifestRow::Bad(BadLine { number, fault: told(number, &faults), carried: carried() })))
    }

    /// Checks at the end that the content is the same as in the first reading.
    fn finish(&mut self) -> Result<(), Faults> {
        // A limited manifest is not read to its end.
        let Some(reading) = self.reading.take().filter(|reading| reading.manifest.definition.limit.is_none()) else {
            return Ok(());
        };
        let manifest = reading.manifest;
        if reading.finish()?.hashes.0 == self.scan.lines_hash {
            return Ok(());
        }
        let message = "changed while it was read; run the same command again";
        Err(Fault::of_file(manifest.definition.manifest.clone(), message).into())
    }
}

impl Iterator for ManifestLines<'_> {
    type Item = Result<ManifestRow, Faults>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_row().transpose();
        if matches!(next, Some(Err(_))) {
            self.reading = None;
        }
        next
    }
}

fn in_words(faults: &[LineFault]) -> String {
    let tell = |fault: &LineFault| match &fault.column {
        Some(column) => format!("column `{column}`: {}", fault.message),
        None => fault.message.clone(),
    };
    faults.iter().map(tell).collect::<Vec<_>>().join("; ")
}
