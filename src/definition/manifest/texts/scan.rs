//! The two readings of a manifest of texts.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::{
    super::{BadLines, prose::LeftOut, text::excerpt},
    BadLine, Fault, Faults, Ignored, Kind,
    judge::LineFault,
    keys::{Doubled, Keys},
    record::{Next, Record, Unreadable},
    repeats::{About, Repeats},
    rows::Rows,
    scan::message,
};
use super::{
    RequestedVoices, TextHeader, Texts,
    judge::{Away, Judge, JudgedText},
    outputs::{NamedOutput, proposal},
};
use crate::domain::{
    cost::{MicroUsd, Rates},
    cut::{flat, paragraphs},
    key::Key,
    open::Strangers,
    synthesis::Rendition,
    synthesis_options::{SynthesisOptions, TtsLanguage, TtsModel},
};

/// What the first reading found.
#[derive(Debug, Clone)]
pub struct TextScan {
    /// Good lines.
    pub lines: u64,
    /// Bad lines; none unless they are skipped.
    pub bad: u64,
    /// Lines × voices × formats: the jobs.
    pub outputs: u64,
    /// Characters to be spoken, each voice and purchase counted.
    pub characters: BTreeMap<TtsModel, u64>,
    /// Who speaks.
    pub requested_voices: RequestedVoices,
    /// What is wrong with the bad lines.
    pub faults: Faults,
    /// The columns and their uses.
    pub header: TextHeader,
    /// SHA-256 of the manifest's whole content, and of the texts that it names.
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
pub struct TextLine {
    /// Line in the file, from 1, or position in a listing.
    pub number: u64,
    /// Its key, unique in the manifest.
    pub key: Key,
    /// What is spoken; an empty line parts two paragraphs.
    pub text: String,
    /// The file that it is from: an absolute path.
    pub file: Option<String>,
    /// What of the file is not spoken.
    pub left_out: LeftOut,
    /// Its options, with its first voice.
    pub options: SynthesisOptions,
    /// What is made of it, by voice and format.
    pub outputs: Vec<Rendition>,
    /// The cells of [`TextHeader::carried`].
    pub carried: Vec<String>,
}

/// A line of the second reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextRow {
    /// A good one.
    Good(Box<TextLine>),
    /// A bad one.
    Bad(BadLine),
}

impl TextScan {
    /// What all of it costs at list price.
    #[must_use]
    pub fn cost(&self, rates: &Rates) -> MicroUsd {
        self.characters.iter().map(|(model, characters)| rates.synthesis_cost(*model, *characters)).sum()
    }
}

impl TextLine {
    /// How often its text is bought: by each voice, once for all formats that share a purchase.
    #[must_use]
    pub fn purchases(&self) -> u64 {
        let mut bought: Vec<_> =
            self.outputs.iter().map(|output| (output.voice_id(), output.format.bought())).collect();
        bought.sort_unstable();
        bought.dedup();
        bought.len() as u64
    }

    /// The length of its text as it is bought, but for the spaces where it is cut.
    #[must_use]
    pub fn chars(&self) -> u64 {
        paragraphs(&self.text).map(|paragraph| flat(paragraph).chars().count() as u64).sum()
    }

    fn named<'l>(&'l self, output: &'l Rendition) -> NamedOutput<'l> {
        NamedOutput {
            output,
            key: self.key.as_str(),
            language: self.options.language.as_ref().map(TtsLanguage::as_str),
        }
    }
}

/// What the first reading counts.
#[derive(Default)]
struct Tally {
    lines: u64,
    bad: u64,
    outputs: u64,
    characters: BTreeMap<TtsModel, u64>,
    requested_voices: RequestedVoices,
    strangers: Strangers,
    keys: Keys,
    names: Keys,
    faults: Faults,
    repeats: Repeats,
}

impl Tally {
    fn add(&mut self, line: &TextLine, voices: &[String]) {
        self.lines += 1;
        self.requested_voices.add(line, voices);
        self.strangers.extend(line.options.unlisted());
        self.outputs += line.outputs.len() as u64;
        *self.characters.entry(line.options.model).or_default() += line.chars() * line.purchases();
        line.outputs.iter().for_each(|output| self.names.add(&output.file(), line.number, false));
    }
}

impl<'d> Texts<'d> {
    /// The first reading: every fault, and the counts.
    ///
    /// # Errors
    /// The faults, unless bad lines are skipped; two outputs with one name; a manifest without lines; a file that cannot
    /// be read to its end.
    pub fn scan(&self) -> Result<TextScan, Faults> {
        let shared = self.definition;
        let skip = shared.bad_lines == BadLines::Skip;
        let (tally, hash, ignored) = self.read_all(&HashSet::new())?;
        let doubled = tally.keys.doubled();
        // Of a key that stands twice the later lines are bad, and make no outputs.
        let bad_keys: HashSet<u64> = doubled.iter().map(|doubled| doubled.line).collect();
        let mut counted = if skip && !bad_keys.is_empty() {
            self.read_all(&bad_keys)?.0
        } else {
            Tally { keys: Keys::default(), ..tally }
        };
        let mut faults = std::mem::take(&mut counted.faults);
        faults.merge_by_line(std::mem::take(&mut counted.repeats).message());
        if !doubled.is_empty() {
            faults.merge_by_line(self.doubled_keys(&doubled));
        }
        let clashes =
            if skip || doubled.is_empty() { std::mem::take(&mut counted.names).doubled() } else { Vec::new() };
        if (!skip && !faults.is_empty()) || !clashes.is_empty() || doubled.iter().any(|doubled| doubled.of_bad) {
            faults.merge_by_line(self.doubled_names(&clashes, &bad_keys)?);
            return Err(faults);
        }
        let Tally { lines, outputs, characters, requested_voices, strangers, .. } = counted;
        let bad = counted.bad + doubled.len() as u64;
        if lines + bad == 0 && !shared.allow_empty {
            return Err(self.nothing(&ignored).into());
        }
        let header = self.plan.header.clone();
        let doubled = doubled.iter().map(|doubled| (doubled.line, doubled.first)).collect();
        Ok(TextScan {
            lines,
            bad,
            outputs,
            characters,
            requested_voices,
            faults,
            header,
            hash,
            ignored,
            strangers,
            doubled,
        })
    }

    /// The second reading: the lines themselves.
    ///
    /// # Errors
    /// A manifest that can no longer be opened.
    pub fn lines<'m>(&'m self, scan: &'m TextScan) -> Result<TextLines<'m>, Faults> {
        Ok(TextLines { scan, reading: Some(self.reading()?) })
    }

    fn reading(&self) -> Result<TextsPass<'_>, Faults> {
        let rows = self.kind.rows(&self.plan.header.columns).map_err(|e| self.io_fault(0, &e))?;
        Ok(TextsPass { texts: self, rows, judge: Judge::new(self), record: Record::default(), read: 0 })
    }

    fn read_all(&self, without: &HashSet<u64>) -> Result<(Tally, [u8; 32], Ignored), Faults> {
        let mut reading = self.reading()?;
        let mut tally = Tally::default();
        let skip = self.definition.bad_lines == BadLines::Skip;
        while let Some((number, read)) = reading.next()? {
            let found = match read {
                Ok(_) if without.contains(&number) => continue,
                Ok(line) => {
                    tally.keys.add(line.key.as_str(), number, false);
                    tally.add(&line, &self.asked.synthesis.voices);
                    continue;
                }
                Err(found) => found,
            };
            for fault in found {
                let (about, fault) = (fault.about, self.line_fault(number, fault));
                if about == About::Line { tally.faults.push(fault) } else { tally.repeats.add(about, fault) }
            }
            tally.bad += 1;
            if skip {
                tally.keys.add(Key::of_line(number).as_str(), number, true);
            }
        }
        let (hash, ignored) = reading.finish()?;
        Ok((tally, hash, ignored))
    }

    fn doubled_keys(&self, doubled: &[Doubled]) -> Faults {
        let tell = |doubled: &Doubled| self.line_fault(doubled.line, self.doubled_fault(doubled.first));
        doubled.iter().map(tell).collect()
    }

    fn doubled_fault(&self, first: u64) -> LineFault {
        LineFault::new(self.plan.header.key.clone(), format!("the key is also that of line {first}"))
    }

    /// Tells outputs of one name in words, which takes another reading: the first kept only their hashes.
    fn doubled_names(&self, clashes: &[Doubled], without: &HashSet<u64>) -> Result<Faults, Faults> {
        let mut numbers: Vec<(u64, u64)> = clashes.iter().map(|clash| (clash.line, clash.first)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.is_empty() {
            return Ok(Faults::default());
        }
        let message = &numbers[..numbers.len().min(Faults::LIMIT)];
        let wanted: HashSet<u64> = message.iter().flat_map(|(line, first)| [*line, *first]).collect();
        let mut lines = HashMap::new();
        let mut reading = self.reading()?;
        while let Some((number, read)) = reading.next()?.filter(|_| lines.len() < wanted.len()) {
            if let Some(mut line) = read.ok().filter(|_| wanted.contains(&number) && !without.contains(&number)) {
                line.text.clear();
                lines.insert(number, line);
            }
        }
        let mut repeats = Faults::default();
        // Voices and formats that clash in one line do so in all: one line is told.
        let mut within = 0;
        for (number, first) in message {
            let (Some(line), Some(first)) = (lines.get(number), lines.get(first)) else { continue };
            within += u64::from(line.number == first.number);
            if line.number != first.number || within == 1 {
                repeats.extend(self.clash(line, first).into_iter().collect());
            }
        }
        let more_within = numbers.iter().filter(|(line, first)| line == first).count().saturating_sub(1) as u64;
        let between = numbers.iter().filter(|(line, first)| line != first).count();
        let told_between = message.iter().filter(|(line, first)| line != first).count();
        repeats.more += more_within + (between - told_between) as u64;
        Ok(repeats)
    }

    fn clash(&self, line: &TextLine, first: &TextLine) -> Option<Fault> {
        let (at, other) = line.outputs.iter().enumerate().find_map(|(at, output)| {
            let before = if line.number == first.number { &first.outputs[..at] } else { &first.outputs[..] };
            before.iter().find(|other| other.file() == output.file()).map(|other| (at, other))
        })?;
        let output = &line.outputs[at];
        let shown = |output: &Rendition| format!("{} in {}", output.voice_id(), output.format);
        let proposal = proposal(&self.plan, &line.named(output), &first.named(other));
        let message = format!(
            "`{}` would be the name of two outputs: {}, and {} of line {}; {proposal}",
            excerpt(&output.file()),
            shown(output),
            shown(other),
            first.number
        );
        Some(self.line_fault(line.number, LineFault::new(None, message)))
    }

    fn line_fault(&self, number: u64, fault: LineFault) -> Fault {
        Fault::of_line(&self.definition.manifest, number, fault.column.as_deref(), fault.message)
    }

    fn unreadable(&self, unreadable: Unreadable) -> LineFault {
        let column = unreadable.column.and_then(|at| self.plan.header.columns.get(at).cloned());
        LineFault::new(column, unreadable.message)
    }

    fn io_fault(&self, after: u64, error: &std::io::Error) -> Faults {
        let place = if after > 0 { format!("after line {after}: ") } else { String::new() };
        let message = match error.kind() {
            std::io::ErrorKind::Other => error.to_string(),
            _ => super::io_message(error),
        };
        Fault::of_file(self.definition.manifest.clone(), place + &message).into()
    }

    fn nothing(&self, ignored: &Ignored) -> Fault {
        let rest: Vec<_> = ignored.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let rest = if rest.is_empty() { String::new() } else { format!(" (passed over: {})", rest.join(", ")) };
        let message = match &self.kind {
            Kind::Listing { .. } => format!("no texts are found{rest}"),
            _ => "has no lines".to_owned(),
        };
        Fault::of_nothing(self.definition.manifest.clone(), message)
    }
}

/// One reading from the beginning to the end.
struct TextsPass<'m> {
    texts: &'m Texts<'m>,
    rows: Rows,
    judge: Judge<'m>,
    record: Record,
    read: u64,
}

impl TextsPass<'_> {
    /// The next line, with its number.
    fn next(&mut self) -> Result<Option<(u64, JudgedText)>, Faults> {
        if self.read >= self.texts.definition.limit.unwrap_or(u64::MAX) {
            return Ok(None);
        }
        self.read += 1;
        let next = self.rows.next(&mut self.record).map_err(|e| self.texts.io_fault(self.record.number, &e))?;
        Ok(match next {
            Next::End => None,
            Next::Line => {
                let number = self.record.number;
                let judged = self.judge.judge(&self.record).map_err(|Away(message)| {
                    Faults::from(Fault::of_line(&self.texts.definition.manifest, number, None, message))
                })?;
                Some((number, judged))
            }
            Next::Unreadable(unreadable) => Some((unreadable.number, Err(vec![self.texts.unreadable(unreadable)]))),
        })
    }

    fn finish(self) -> Result<([u8; 32], Ignored), Faults> {
        let Self { texts, rows, judge, record, .. } = self;
        let (lines, ignored) = rows.finish().map_err(|e| texts.io_fault(record.number, &e))?;
        Ok((judge.hash(lines), ignored))
    }
}

/// The lines of a manifest. After an `Err` there are no more.
pub struct TextLines<'m> {
    scan: &'m TextScan,
    reading: Option<TextsPass<'m>>,
}

impl Iterator for TextLines<'_> {
    type Item = Result<TextRow, Faults>;

    fn next(&mut self) -> Option<Self::Item> {
        let reading = self.reading.as_mut()?;
        let texts = reading.texts;
        let bad =
            |number, faults: &[LineFault], carried| TextRow::Bad(BadLine { number, fault: message(faults), carried });
        match reading.next() {
            Ok(Some((number, Ok(line)))) => Some(Ok(match self.scan.doubled.get(&number) {
                Some(first) => bad(number, &[texts.doubled_fault(*first)], line.carried),
                None => TextRow::Good(Box::new(line)),
            })),
            Ok(Some((number, Err(faults)))) => {
                let carried = texts.plan.carried.iter().map(|at| reading.record.cell(*at).to_owned()).collect();
                Some(Ok(bad(number, &faults, carried)))
            }
            Ok(None) => {
                let whole = texts.definition.limit.is_none();
                match self.reading.take()?.finish() {
                    Ok((hash, _)) if whole && hash != self.scan.hash => {
                        let message = "changed while it was read; run the same command again";
                        Some(Err(Fault::of_file(texts.definition.manifest.clone(), message).into()))
                    }
                    Ok(_) => None,
                    Err(faults) => Some(Err(faults)),
                }
            }
            Err(faults) => {
                self.reading = None;
                Some(Err(faults))
            }
        }
    }
}
