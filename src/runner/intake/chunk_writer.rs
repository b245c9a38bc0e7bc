//! Collects the jobs of a manifest into chunks, each for one statement.

use super::job_builder::JobBuilder;
use crate::{
    definition::{BadLine, ManifestLine},
    store::{BadSet, ForgottenKeys, LineHash, LineSet, NewJob},
};

/// Jobs in a chunk.
const CHUNK: u64 = 5_000;
/// Bytes of text in a chunk: a chunk holds few long texts.
const CHUNK_TEXT: usize = 4 << 20;

/// Jobs for one transaction.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) good: LineSet,
    pub(super) bad: BadSet,
    /// The marks that identify the good lines after all lines were read.
    pub(super) marks: Vec<LineHash>,
    /// The good lines themselves, where they are wanted.
    pub(super) lines: Vec<ManifestLine>,
    /// Lines that are forgotten, and stand in none of the above.
    pub(super) forgotten: u64,
    /// Whether this is the last chunk.
    pub(super) last: bool,
}

/// Writes chunks, and hands each out when it is full. The jobs of a line are in one chunk.
pub(super) struct ChunkWriter<'a> {
    chunk: Chunk,
    /// Whether the lines are kept with their jobs.
    keeps_lines: bool,
    forgotten: &'a ForgottenKeys,
    /// The number of jobs in the chunk, which gives each job its place.
    place: u64,
    text: usize,
    bytes: usize,
    hand_out: &'a mut dyn FnMut(Chunk) -> bool,
}

impl<'a> ChunkWriter<'a> {
    /// `hand_out` returns whether it wants more.
    pub(super) fn new(
        (keeps_lines, forgotten): (bool, &'a ForgottenKeys),
        hand_out: &'a mut dyn FnMut(Chunk) -> bool,
    ) -> Self {
        Self { chunk: Chunk::default(), keeps_lines, forgotten, place: 0, text: 0, bytes: 0, hand_out }
    }

    /// Adds a line's jobs. False: no more are wanted.
    pub(super) fn good(&mut self, line: ManifestLine, builder: &JobBuilder<'_>) -> bool {
        if self.forgotten.has(line.key.as_str()) {
            self.chunk.forgotten += 1;
            return true;
        }
        if self.keeps_lines {
            self.chunk.lines.push(line.clone());
        }
        builder.jobs(line, &mut |job| self.add(job));
        self.next()
    }

    /// Adds a bad line. False: no more are wanted.
    pub(super) fn bad(&mut self, line: BadLine, builder: &JobBuilder<'_>) -> bool {
        let bad = builder.bad(line);
        if bad.key.as_ref().is_some_and(|key| self.forgotten.has(key)) {
            self.chunk.forgotten += 1;
            return true;
        }
        self.chunk.bad.push(&bad, self.place);
        self.place += 1;
        self.next()
    }

    /// Hands out the rest as the last chunk.
    pub(super) fn end(&mut self) {
        let chunk = std::mem::take(&mut self.chunk);
        (self.hand_out)(Chunk { last: true, ..chunk });
    }

    fn add(&mut self, job: &NewJob) {
        self.chunk.good.push(job, self.place);
        let variant = job.synthesis.as_ref().map_or("", |synthesis| synthesis.variant.as_str());
        self.chunk.marks.push(LineHash::of(&job.key, variant));
        // At most four bytes a character; a line's jobs share its text, which makes the chunk smaller.
        self.text += job
            .synthesis
            .as_ref()
            .map_or(0, |synthesis| usize::try_from(synthesis.text.characters()).unwrap_or(usize::MAX));
        self.place += 1;
    }

    fn next(&mut self) -> bool {
        if self.place < CHUNK && self.text < CHUNK_TEXT {
            return true;
        }
        self.bytes = self.chunk.good.bytes().max(self.bytes);
        (self.place, self.text) = (0, 0);
        let next = Chunk { good: LineSet::with_capacity(self.bytes), ..Chunk::default() };
        (self.hand_out)(std::mem::replace(&mut self.chunk, next))
    }
}
