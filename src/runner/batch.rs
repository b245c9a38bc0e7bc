//! What workers need to know of a batch, as it was last submitted.

use std::sync::{Arc, atomic::AtomicI64};

use super::{disk::LocalOutage, store_outage::StoreOutage};
use crate::{
    domain::{batch::BatchSpec, job::BatchId, retry::PauseKind},
    media::s3::Objects,
    sink::Sink,
    store::{Store, StoreError},
};

/// Concurrent calls where neither the definition nor the account sets a number.
pub const DEFAULT_CONCURRENCY: u32 = 16;

/// One batch, as its workers see it.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) id: BatchId,
    pub(super) name: String,
    pub(super) spec: BatchSpec,
    /// The specification as the ledger stores it.
    pub(super) read: Arc<str>,
    pub(super) sink: Sink,
    /// The store of its S3 sources.
    pub(super) objects: Objects,
    /// Whether that store is down.
    pub(super) store_outage: StoreOutage,
    /// Whether this machine prevents the sources from being read.
    pub(super) local_outage: LocalOutage,
    /// Since when the sink has refused every write; 0 = it works.
    pub(super) sink_failing_since: AtomicI64,
}

/// Why a batch cannot be worked. The fault lies with no line and with no other batch.
#[derive(Debug, Clone)]
pub(super) struct Unworkable {
    pub(super) kind: PauseKind,
    /// The reason as text.
    pub(super) reason: String,
}

impl Unworkable {
    pub(super) fn by_spec(reason: String) -> Self {
        Self { kind: PauseKind::Specification, reason }
    }
}

impl Batch {
    /// Reads a batch, and opens its sink.
    pub(super) async fn open(store: &Store, id: BatchId) -> Result<Result<Self, Unworkable>, StoreError> {
        let row = match store.batch_by_id(id).await {
            Ok(row) => row,
            Err(e) if e.is_fatal() || e.is_passing() => return Err(e),
            Err(e) => return Ok(Err(Unworkable::by_spec(e.reason()))),
        };
        let spec = match row.spec.read() {
            Ok(spec) => spec.clone(),
            Err(fault) => {
                return Ok(Err(Unworkable::by_spec(format!(
                    "its specification does not read ({fault}); a newer wavebatch may have submitted it: work it with that one, or submit it again"
                ))));
            }
        };
        let sink = match Sink::open(&spec.output, &spec.sink) {
            Ok(sink) => sink,
            Err(e) => return Ok(Err(Unworkable { kind: PauseKind::Sink, reason: e.message() })),
        };
        Ok(Ok(Self {
            id,
            objects: Objects::new(&spec.source),
            store_outage: StoreOutage::default(),
            local_outage: LocalOutage::default(),
            name: row.name,
            spec,
            read: Arc::clone(row.spec.json()),
            sink,
            sink_failing_since: AtomicI64::new(0),
        }))
    }

    /// The number of concurrent calls.
    pub(super) fn concurrency(&self) -> u32 {
        self.spec.run.concurrency.unwrap_or(DEFAULT_CONCURRENCY).max(1)
    }
}
