//! A manifest of either kind, and what its first reading found.

use super::{
    adopt::Adopt, chunk_writer::ChunkWriter, compare::Verdicts, job_builder::JobBuilder, synthesis::SynthesisJobBuilder,
};
use crate::{
    definition::{
        Columns, Definition, Fault, Faults, Manifest, ManifestRow, Scan, Spooled,
        manifest::{
            Ignored,
            texts::{TextRow, TextScan, Texts},
        },
    },
    domain::{cost::Rates, open::Strangers, transcription::Transcription},
};

/// What the first reading of a manifest found, whatever its lines are.
#[derive(Debug, Clone)]
pub struct Scanned {
    /// Good lines, those without a source among them.
    pub lines: u64,
    /// The jobs that they come to: one a line, and of texts one for each voice and format.
    pub jobs: u64,
    /// Good lines without a source: nothing to do for them.
    pub without_source: u64,
    /// Bad lines; none unless they are skipped.
    pub bad: u64,
    /// What is wrong with the bad lines.
    pub faults: Faults,
    /// The columns and their uses.
    pub columns: Columns,
    /// SHA-256 of all that the manifest says.
    pub hash: [u8; 32],
    /// What a listing passed over, by ending.
    pub ignored: Ignored,
    /// What definition and lines ask for that is in none of our lists.
    pub strangers: Strangers,
    /// The finding itself.
    pub of: ScanOf,
}

/// The finding of a manifest of one kind.
#[derive(Debug, Clone)]
pub enum ScanOf {
    /// Of recordings.
    Recordings(Scan),
    /// Of texts.
    Texts(TextScan),
}

impl Scanned {
    /// That of a manifest of texts.
    #[must_use]
    pub const fn texts(&self) -> Option<&TextScan> {
        match &self.of {
            ScanOf::Recordings(_) => None,
            ScanOf::Texts(scan) => Some(scan),
        }
    }
}

/// Refuses a spend limit that could not be kept, since nobody has told what a model costs.
pub(super) fn refuse_unpriced(definition: &Definition, scan: &Scanned, rates: &Rates) -> Result<(), Faults> {
    let limit = match definition.run.max_spend_usd {
        Some(_) => "run.max_spend_usd",
        None if rates.are_limited => "spend",
        None => return Ok(()),
    };
    let unit = match definition.task.task() {
        Transcription::TASK => "US dollars a minute",
        _ => "US dollars per 10,000 characters",
    };
    let unpriced = scan.strangers.of("model").filter(|model| !rates.models.contains_key(*model));
    let faults: Vec<Fault> = unpriced
        .map(|model| {
            let message = format!(
                "cannot be kept: the price of `{model}` is not known. Write it into wavebatch.toml, in {unit}:\n  [rates]\n  \"{model}\" = 0.005"
            );
            Fault::of_field(limit, message)
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(Faults::from_iter(faults)) }
}

/// A manifest whose columns are known.
pub(super) enum Opened<'d> {
    Recordings(Manifest<'d>),
    Texts(Texts<'d>),
}

impl<'d> Opened<'d> {
    pub(super) fn open(definition: &'d Definition, copy: Option<&Spooled>) -> Result<Self, Faults> {
        match (definition.transcribing(), definition.synthesizing()) {
            (Some(asked), _) => Manifest::open(definition, asked, copy).map(Self::Recordings),
            (_, Some(asked)) => Texts::open(definition, asked, copy).map(Self::Texts),
            (None, None) => unreachable!("there are two tasks"),
        }
    }

    /// The first reading.
    pub(super) fn scan(&self, definition: &Definition) -> Result<Scanned, Faults> {
        Ok(match self {
            Self::Recordings(manifest) => {
                let scan = manifest.scan()?;
                Scanned {
                    lines: scan.lines,
                    jobs: scan.lines,
                    without_source: scan.without_source,
                    bad: scan.bad,
                    faults: scan.faults.clone(),
                    columns: (&scan.header).into(),
                    hash: scan.hash,
                    ignored: scan.ignored.clone(),
                    strangers: scan.strangers.clone().and(definition.task.unlisted()),
                    of: ScanOf::Recordings(scan),
                }
            }
            Self::Texts(texts) => {
                let scan = texts.scan()?;
                Scanned {
                    lines: scan.lines,
                    jobs: scan.outputs,
                    without_source: 0,
                    bad: scan.bad,
                    faults: scan.faults.clone(),
                    columns: (&scan.header).into(),
                    hash: scan.hash,
                    ignored: scan.ignored.clone(),
                    strangers: scan.strangers.clone().and(definition.task.unlisted()),
                    of: ScanOf::Texts(scan),
                }
            }
        })
    }

    /// Another reading: every line as its jobs, until nobody takes them.
    pub(super) fn read(
        &self,
        definition: &Definition,
        scan: &Scanned,
        known: (Option<&Adopt>, Option<&Verdicts>),
        writer: &mut ChunkWriter<'_>,
    ) -> Result<(), Faults> {
        match (self, &scan.of) {
            (Self::Recordings(manifest), ScanOf::Recordings(scan)) => {
                let asked = definition.transcribing().expect("a manifest is opened and read by one definition");
                let (adopt, verdicts) = known;
                let mut builder = JobBuilder::new(&asked.options, &definition.queries, verdicts);
                for row in manifest.lines(scan)? {
                    let taken = match row? {
                        ManifestRow::Good(line) => writer.good(&builder.good(*line, adopt)),
                        ManifestRow::Bad(line) => writer.bad(&JobBuilder::bad(line)),
                    };
                    if !taken {
                        return Ok(());
                    }
                }
            }
            (Self::Texts(texts), ScanOf::Texts(scan)) => {
                let asked = definition.synthesizing().expect("a manifest is opened and read by one definition");
                let mut builder = SynthesisJobBuilder::new(&asked.synthesis);
                for row in texts.lines(scan)? {
                    let taken = match row? {
                        TextRow::Good(line) => builder.good(*line, known.0).all(|job| writer.good(&job)),
                        TextRow::Bad(line) => writer.bad(&JobBuilder::bad(line)),
                    };
                    if !taken {
                        return Ok(());
                    }
                }
            }
            _ => unreachable!("a manifest is opened, read and scanned by one definition"),
        }
        writer.end();
        Ok(())
    }
}
