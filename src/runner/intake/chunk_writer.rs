//! Jobs of a manifest put into sets, each for one statement.

use super::reader::Chunk;
use crate::store::{BadJob, LineMark, LineSet, NewJob};

/// Jobs a set.
const CHUNK: u64 = 5_000;
/// Bytes of text a set: of long texts there are few.
const CHUNK_TEXT: usize = 4 << 20;

/// Writes sets, and hands each out when it is full.
pub(super) struct ChunkWriter<'a> {
    chunk: Chunk,
    /// Jobs in it: each has its place.
    place: u64,
    text: usize,
    bytes: usize,
    hand_out: &'a mut dyn FnMut(Chunk) -> bool,
}

impl<'a> ChunkWriter<'a> {
    /// `hand_out` says whether it wants more.
    pub(super) fn new(hand_out: &'a mut dyn FnMut(Chunk) -> bool) -> Self {
        Self { chunk: Chunk::default(), place: 0, text: 0, bytes: 0, hand_out }
    }

    /// Adds a job. False: no more are wanted.
    pub(super) fn good(&mut self, job: &NewJob) -> bool {
        self.chunk.good.push(job, self.place);
        let variant = job.synthesis.as_ref().map_or("", |synthesis| synthesis.variant.as_str());
        self.chunk.marks.push(LineMark::of(&job.key, variant));
        // At most four bytes a character; that a line's jobs share its text makes the set the smaller.
        self.text += job
            .synthesis
            .as_ref()
            .map_or(0, |synthesis| usize::try_from(synthesis.text.characters()).unwrap_or(usize::MAX));
        self.next()
    }

    /// Adds a bad line. False: no more are wanted.
    pub(super) fn bad(&mut self, job: &BadJob) -> bool {
        self.chunk.bad.push(job, self.place);
        self.next()
    }

    /// Hands out what is left, as the last.
    pub(super) fn end(&mut self) {
        let chunk = std::mem::take(&mut self.chunk);
        (self.hand_out)(Chunk { last: true, ..chunk });
    }

    fn next(&mut self) -> bool {
        self.place += 1;
        if self.place < CHUNK && self.text < CHUNK_TEXT {
            return true;
        }
        self.bytes = self.chunk.good.bytes().max(self.bytes);
        (self.place, self.text) = (0, 0);
        let next = Chunk { good: LineSet::with_capacity(self.bytes), ..Chunk::default() };
        (self.hand_out)(std::mem::replace(&mut self.chunk, next))
    }
}
