//! Reads a manifest on a thread of its own, so that lines are prepared while others are written.

use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};

use tokio::sync::{mpsc, oneshot};

use super::{
    IntakeError, IntakeTask,
    adopt::Adopt,
    chunk_writer::{Chunk, ChunkWriter},
    fed_facts::FedFacts,
    job_builder::JobBuilder,
    known_sources::KnownSources,
};
use crate::{
    definition::{Definition, Faults, Manifest, ManifestRow, Scan, ScanDepth, Spooled},
    store::ForgottenKeys,
};

/// Chunks that may be ready before they are taken.
const AHEAD: usize = 2;

/// What a reading must deliver.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Outputs that exist already: their lines are marked as done.
    pub(super) adopt: Option<Arc<Adopt>>,
    /// Sources that were compared: their lines carry the result.
    pub(super) sources: Option<Arc<KnownSources>>,
    /// Whether the lines are delivered with their jobs.
    pub(super) lines: bool,
}

type ReadChunk = Result<Chunk, Faults>;
type ChunkRequest = (mpsc::Sender<ReadChunk>, Wanted, Arc<ForgottenKeys>);

/// A manifest that was read once and can be read again.
pub(super) struct Reader {
    pub(super) scan: Arc<Scan>,
    /// The lines of the batch that are forgotten: a reading leaves them out.
    forgotten: Mutex<Arc<ForgottenKeys>>,
    asks: blocking::Sender<ChunkRequest>,
}

/// The chunks of one more reading.
pub(super) struct Chunks {
    ready: mpsc::Receiver<ReadChunk>,
    ended: bool,
}

impl Reader {
    /// Opens the manifest and reads it for faults. The reading thread lives until this value is dropped.
    pub(super) async fn start(
        definition: &Definition,
        copy: Option<&Spooled>,
        task: Arc<dyn IntakeTask>,
        depth: ScanDepth,
    ) -> Result<Self, IntakeError> {
        let (definition, copy) = (definition.clone(), copy.cloned());
        let (scanned, scan) = oneshot::channel();
        let (asks, asked) = blocking::channel();
        tokio::task::spawn_blocking(move || serve(&definition, copy.as_ref(), (&*task, depth), scanned, &asked));
        let scan = scan.await.map_err(|_| IntakeError::Interrupted)??;
        Ok(Self { scan, forgotten: Mutex::default(), asks })
    }

    /// Lines with these keys are left out of each later reading.
    pub(super) fn leave_out(&self, forgotten: ForgottenKeys) {
        *self.forgotten.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(forgotten);
    }

    /// Starts another reading.
    pub(super) fn chunks(&self, wanted: Wanted) -> Chunks {
        let (out, ready) = mpsc::channel(AHEAD);
        // If that thread has died, the channel closes before a last chunk, and `next` reports it.
        let forgotten = Arc::clone(&self.forgotten.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = self.asks.send((out, wanted, forgotten));
        Chunks { ready, ended: false }
    }
}

impl Chunks {
    /// The next chunk; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Chunk>, IntakeError> {
        if self.ended {
            return Ok(None);
        }
        // A closed channel is not the end: missing lines must not go unnoticed.
        let chunk = self.ready.recv().await.ok_or(IntakeError::Interrupted)??;
        self.ended = chunk.last;
        Ok(Some(chunk))
    }
}

fn serve(
    definition: &Definition,
    copy: Option<&Spooled>,
    (task, depth): (&dyn IntakeTask, ScanDepth),
    scanned: oneshot::Sender<Result<Arc<Scan>, Faults>>,
    asked: &blocking::Receiver<ChunkRequest>,
) {
    let opened = Manifest::open(definition, copy).and_then(|manifest| Ok((Arc::new(manifest.scan(depth)?), manifest)));
    let (scan, manifest) = match opened {
        Ok(opened) => opened,
        Err(faults) => return drop(scanned.send(Err(faults))),
    };
    if scanned.send(Ok(Arc::clone(&scan))).is_err() {
        return;
    }
    while let Ok((out, wanted, forgotten)) = asked.recv() {
        // A chunk that cannot be sent means that the receiver has gone.
        let mut hand_out = |chunk| out.blocking_send(Ok(chunk)).is_ok();
        let mut writer = ChunkWriter::new((wanted.lines, &forgotten), &mut hand_out);
        let known = (wanted.adopt.as_deref(), wanted.sources.as_deref());
        let fed = FedFacts(copy.and_then(|copy| copy.fed.as_deref()));
        if let Err(faults) = read(&manifest, &scan, &JobBuilder::new(definition, task, known, fed), &mut writer) {
            let _ = out.blocking_send(Err(faults));
        }
    }
}

/// Writes every line as its jobs, until the receiver has gone.
fn read(
    manifest: &Manifest<'_>,
    scan: &Scan,
    builder: &JobBuilder<'_>,
    writer: &mut ChunkWriter<'_>,
) -> Result<(), Faults> {
    for row in manifest.lines(scan)? {
        let wanted = match row? {
            ManifestRow::Good(line) => writer.good(line, builder),
            ManifestRow::Bad(line) => writer.bad(line, builder),
        };
        if !wanted {
            return Ok(());
        }
    }
    writer.end();
    Ok(())
}
