//! Reading a manifest on a thread of its own, so that lines are made ready while others are written.

use std::sync::{Arc, mpsc as blocking};

use tokio::sync::{mpsc, oneshot};

use super::{
    IntakeError,
    adopt::Adopt,
    chunk_writer::ChunkWriter,
    compare::Verdicts,
    scanned::{Opened, Scanned},
};
use crate::{
    definition::{Definition, Faults, Spooled},
    store::{BadSet, LineMark, LineSet},
};

/// Chunks that may be ready before anybody takes them.
const AHEAD: usize = 2;

/// Jobs for one transaction.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) good: LineSet,
    pub(super) bad: BadSet,
    /// By which the good ones are known again when all were read.
    pub(super) marks: Vec<LineMark>,
    /// No more come after it.
    pub(super) last: bool,
}

type Read = Result<Chunk, Faults>;
/// Where the chunks go, what their outputs are looked up in, and what is known of their recordings.
type ChunkRequest = (mpsc::Sender<Read>, Option<Arc<Adopt>>, Option<Arc<Verdicts>>);

/// A manifest that was read once and can be read again.
pub(super) struct Reader {
    pub(super) scan: Arc<Scanned>,
    asks: blocking::Sender<ChunkRequest>,
}

/// One more reading.
pub(super) struct Chunks {
    ready: mpsc::Receiver<Read>,
    ended: bool,
}

impl Reader {
    /// Opens the manifest and reads it for faults. The thread that does so stays until this is dropped.
    pub(super) async fn start(definition: &Definition, copy: Option<&Spooled>) -> Result<Self, IntakeError> {
        let (definition, copy) = (definition.clone(), copy.cloned());
        let (scanned, scan) = oneshot::channel();
        let (asks, asked) = blocking::channel();
        tokio::task::spawn_blocking(move || serve(&definition, copy.as_ref(), scanned, &asked));
        let scan = scan.await.map_err(|_| IntakeError::Interrupted)??;
        Ok(Self { scan, asks })
    }

    /// Begins another reading. Lines whose outputs are there say so, and so do those whose recordings were compared.
    pub(super) fn chunks(&self, adopt: Option<Arc<Adopt>>, verdicts: Option<Arc<Verdicts>>) -> Chunks {
        let (out, ready) = mpsc::channel(AHEAD);
        // If that thread has died, the channel closes before a last chunk, which is told as such.
        let _ = self.asks.send((out, adopt, verdicts));
        Chunks { ready, ended: false }
    }
}

impl Chunks {
    /// The next lines; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Chunk>, IntakeError> {
        if self.ended {
            return Ok(None);
        }
        // A closed channel is no end: the lines that would be missing must not go unnoticed.
        let chunk = self.ready.recv().await.ok_or(IntakeError::Interrupted)??;
        self.ended = chunk.last;
        Ok(Some(chunk))
    }
}

fn serve(
    definition: &Definition,
    copy: Option<&Spooled>,
    scanned: oneshot::Sender<Result<Arc<Scanned>, Faults>>,
    asked: &blocking::Receiver<ChunkRequest>,
) {
    let opened =
        Opened::open(definition, copy).and_then(|manifest| Ok((Arc::new(manifest.scan(definition)?), manifest)));
    let (scan, manifest) = match opened {
        Ok(opened) => opened,
        Err(faults) => return drop(scanned.send(Err(faults))),
    };
    if scanned.send(Ok(Arc::clone(&scan))).is_err() {
        return;
    }
    while let Ok((out, adopt, verdicts)) = asked.recv() {
        // A chunk that cannot be sent says that nobody waits for the rest.
        let mut hand_out = |chunk| out.blocking_send(Ok(chunk)).is_ok();
        if let Err(faults) = manifest.read(
            definition,
            &scan,
            (adopt.as_deref(), verdicts.as_deref()),
            &mut ChunkWriter::new(&mut hand_out),
        ) {
            let _ = out.blocking_send(Err(faults));
        }
    }
}
