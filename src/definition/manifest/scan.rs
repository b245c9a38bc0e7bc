//! The two readings of a manifest.

use std::collections::HashMap;

use super::super::{BadLines, Fault, Faults, text::excerpt};
use super::{
    Header, Ignored, Manifest,
    judge::{Judge, JudgedLine, LineFault},
    keys::{Doubled, Keys},
    record::{Next, Record, Unreadable},
    repeats::{About, Repeats},
    rows::Rows,
};
use crate::domain::{batch::LineOverrides, key::Key, open::Strangers, s3::Listed};

/// What the first reading found.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Good lines, those without a source among them.
    pub lines: u64,
    /// Good lines without a source: nothing to do for them.
    pub without_source: u64,
    /// Bad lines; none unless they are skipped.
    pub bad: u64,
    /// What is wrong with the bad lines.
    pub faults: Faults,
    /// The columns and their uses.
    pub header: Header,
    /// SHA-256 of the manifest's whole content (unpacked), or of a listing's names and sizes (of objects, ETags too).
    pub hash: [u8; 32],
    /// What a listing passed over, by ending.
    pub ignored: Ignored,
    /// What lines ask for that is in none of our lists.
    pub strangers: Strangers,
    /// Lines whose key stands on an earlier line, and that line.
    doubled: HashMap<u64, u64>,
}

/// A good line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Line in the file, from 1, or position in a listing.
    pub number: u64,
    /// Its key, unique in the manifest.
    pub key: Key,
    /// An http(s) URL as written, an `s3://` address, or an absolute path; `None`: the line has none, and there is nothing to do.
    pub source: Option<String>,
    /// Of a local file: its path relative to the folder of the manifest, or below the folder that is listed; one that lies
    /// elsewhere is absolute.
    pub local: Option<String>,
    /// What the listing knew of its object, where it comes from one.
    pub expected: Option<Listed>,
    /// Its own options, where they differ from the definition's.
    pub overrides: Option<LineOverrides>,
    /// The cells of [`Header::carried`].
    pub carried: Vec<String>,
}

/// A bad line that is skipped. It stands in the report under [`Key::of_line`] of its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Line in the file, from 1, or position in a listing.
    pub number: u64,
    /// What is wrong with it.
    pub fault: String,
    /// The cells of [`Header::carried`], empty where the line cannot be read.
    pub carried: Vec<String>,
}

/// A line of the second reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestRow {
    /// A good one.
    Good(Box<Line>),
    /// A bad one.
    Bad(BadLine),
}

impl Manifest<'_> {
    /// The first reading: every fault, and the counts.
    ///
    /// # Errors
    /// The faults, unless bad lines are skipped; a manifest without lines; a file that cannot be read to its end.
    pub fn scan(&self) -> Result<Scan, Faults> {
        let skip = self.definition.bad_lines == BadLines::Skip;
        let mut rows = self.rows()?;
        let mut judge = Judge::new(self.asked, &self.plan, &self.base);
        let (mut record, mut keys, mut faults) = (Record::default(), Keys::default(), Faults::default());
        let mut repeats = Repeats::default();
        let (mut lines, mut bad, mut without_source) = (0, 0, 0);
        while lines + bad < self.limit() {
            let number = match self.next(&mut rows, &mut record).map_err(|e| self.io_fault(Some(record.number), &e))? {
                Next::End => break,
                Next::Line => match judge.judge(&record) {
                    Ok(judged) => {
                        keys.add(&judged.key, record.number, false);
                        lines += 1;
                        without_source += u64::from(judged.source.is_none());
                        continue;
                    }
                    Err(found) => {
                        found.into_iter().for_each(|fault| match fault.about {
                            About::Line => faults.push(self.line_fault(record.number, fault)),
                            about => repeats.add(about, self.line_fault(record.number, fault)),
                        });
                        record.number
                    }
                },
                Next::Unreadable(unreadable) => {
                    let number = unreadable.number;
                    faults.push(self.line_fault(number, self.unreadable(unreadable)));
                    number
                }
            };
            bad += 1;
            if skip {
                keys.add(Key::of_line(number).as_str(), number, true);
            }
        }
        faults.merge_by_line(repeats.message());
        let doubled = keys.doubled();
        if !doubled.is_empty() {
            faults.merge_by_line(self.doubled_faults(&doubled)?);
        }
        let clash = doubled.iter().any(|doubled| doubled.of_bad);
        if (!skip && !faults.is_empty()) || clash {
            return Err(faults);
        }
        let (hash, ignored) = rows.finish().map_err(|e| self.io_fault(Some(record.number), &e))?;
        if lines + bad == 0 && !self.definition.allow_empty {
            return Err(self.nothing(&ignored).into());
        }
        let header = self.plan.header.clone();
        let (lines, bad) = (lines - doubled.len() as u64, bad + doubled.len() as u64);
        let doubled = doubled.iter().map(|doubled| (doubled.line, doubled.first)).collect();
        let strangers = judge.strangers;
        Ok(Scan { lines, without_source, bad, faults, header, hash, ignored, strangers, doubled })
    }

    /// The second reading: the lines themselves.
    ///
    /// # Errors
    /// A manifest that can no longer be opened.
    pub fn lines<'m>(&'m self, scan: &'m Scan) -> Result<ManifestLines<'m>, Faults> {
        let judge = Judge::new(self.asked, &self.plan, &self.base);
        Ok(ManifestLines { manifest: self, scan, judge, rows: Some(self.rows()?), record: Record::default(), read: 0 })
    }

    fn limit(&self) -> u64 {
        self.definition.limit.unwrap_or(u64::MAX)
    }

    fn line_fault(&self, number: u64, fault: LineFault) -> Fault {
        Fault::of_line(&self.definition.manifest, number, fault.column.as_deref(), fault.message)
    }

    fn unreadable(&self, unreadable: Unreadable) -> LineFault {
        let column = unreadable.column.and_then(|index| self.plan.header.columns.get(index).cloned());
        LineFault::new(column, unreadable.message)
    }

    /// Tells doubled keys in words, which takes another reading: the first kept only their hashes.
    fn doubled_faults(&self, doubled: &[Doubled]) -> Result<Faults, Faults> {
        let mut faults = Faults::default();
        let mut listed = doubled.iter().take(Faults::LIMIT).peekable();
        let mut rows = self.rows()?;
        let mut judge = Judge::new(self.asked, &self.plan, &self.base);
        let mut record = Record::default();
        while let Some(next) = listed.peek() {
            let number = match self.next(&mut rows, &mut record).map_err(|e| self.io_fault(Some(record.number), &e))? {
                Next::End => break,
                Next::Unreadable(unreadable) => unreadable.number,
                Next::Line => record.number,
            };
            if number == next.line {
                let key = if next.of_bad { Ok(Key::of_line(number).to_string()) } else { key_of(&mut judge, &record) };
                let message = self.doubled_message(&key.unwrap_or_default(), next.first);
                faults.push(self.line_fault(number, LineFault::new(self.plan.header.key.clone(), message)));
                listed.next();
            }
        }
        faults.more += (doubled.len() - faults.list.len()) as u64;
        Ok(faults)
    }

    fn doubled_message(&self, key: &str, first: u64) -> String {
        let hint = match self.plan.header.key {
            Some(_) => "",
            None => "; no column is known to hold a key, so the file's name is it: name one with --key-column",
        };
        format!("the key `{}` is also that of line {first}{hint}", excerpt(key))
    }

    fn nothing(&self, ignored: &Ignored) -> Fault {
        let message = match &self.kind {
            super::Kind::File(_, super::ManifestFormat::Csv | super::ManifestFormat::Tsv) => {
                "has a header, and no lines below it".to_owned()
            }
            super::Kind::File(..) | super::Kind::Files(_) => "is empty".to_owned(),
            super::Kind::Listing { .. } | super::Kind::Listed { .. } => {
                let rest: Vec<_> = ignored.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
                let rest = if rest.is_empty() { String::new() } else { format!(" (passed over: {})", rest.join(", ")) };
                format!("no recordings are found{rest}")
            }
        };
        Fault::of_nothing(self.definition.manifest.clone(), message)
    }
}

fn key_of(judge: &mut Judge<'_>, record: &Record) -> Result<String, Vec<LineFault>> {
    judge.judge(record).map(|judged| judged.key.into_owned())
}

/// The lines of a manifest. After an `Err` there are no more.
pub struct ManifestLines<'m> {
    manifest: &'m Manifest<'m>,
    scan: &'m Scan,
    judge: Judge<'m>,
    rows: Option<Rows>,
    record: Record,
    read: u64,
}

impl ManifestLines<'_> {
    fn carried(&self) -> Vec<String> {
        self.manifest.plan.carried.iter().map(|index| self.record.cell(*index).to_owned()).collect()
    }

    fn row(&mut self) -> ManifestRow {
        let number = self.record.number;
        let carried = self.carried();
        let fault = match self.judge.judge(&self.record) {
            Ok(judged) => match self.scan.doubled.get(&number) {
                None => return ManifestRow::Good(Box::new(self.line(number, judged, carried))),
                Some(first) => message(&[LineFault::new(None, self.manifest.doubled_message(&judged.key, *first))]),
            },
            Err(faults) => message(&faults),
        };
        ManifestRow::Bad(BadLine { number, fault, carried })
    }

    fn line(&self, number: u64, judged: JudgedLine<'_>, carried: Vec<String>) -> Line {
        let key = Key::new(judged.key).expect("the judge has checked the key");
        let source = judged.source.map(|source| self.judge.resolve(&source));
        let expected = self.record.listed.clone();
        let local = source.as_deref().and_then(|source| self.judge.local(source));
        Line { number, key, source, local, expected, overrides: judged.overrides, carried }
    }

    /// At the end: the same content as in the first reading?
    fn finish(&mut self) -> Option<Result<ManifestRow, Faults>> {
        let rows = self.rows.take()?;
        let whole = self.manifest.definition.limit.is_none();
        match rows.finish() {
            Ok((hash, _)) if whole && hash != self.scan.hash => {
                let message = "changed while it was read; run the same command again";
                Some(Err(Fault::of_file(self.manifest.definition.manifest.clone(), message).into()))
            }
            Ok(_) => None,
            Err(e) => Some(Err(self.manifest.io_fault(Some(self.record.number), &e))),
        }
    }
}

impl Iterator for ManifestLines<'_> {
    type Item = Result<ManifestRow, Faults>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.read >= self.manifest.limit() {
            self.rows = None;
        }
        let next = self.manifest.next(self.rows.as_mut()?, &mut self.record);
        self.read += 1;
        match next {
            Ok(Next::Line) => Some(Ok(self.row())),
            Ok(Next::Unreadable(unreadable)) => {
                let number = unreadable.number;
                let carried = vec![String::new(); self.manifest.plan.carried.len()];
                let fault = message(&[self.manifest.unreadable(unreadable)]);
                Some(Ok(ManifestRow::Bad(BadLine { number, fault, carried })))
            }
            Ok(Next::End) => self.finish(),
            Err(e) => {
                self.rows = None;
                Some(Err(self.manifest.io_fault(Some(self.record.number), &e)))
            }
        }
    }
}

pub(super) fn message(faults: &[LineFault]) -> String {
    let tell = |fault: &LineFault| match &fault.column {
        Some(column) => format!("column `{column}`: {}", fault.message),
        None => fault.message.clone(),
    };
    faults.iter().map(tell).collect::<Vec<_>>().join("; ")
}
