//! Metrics from the disks of the ledger and of its spool. A disk that does not answer keeps no page waiting: its numbers
//! stay as they are.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::{metrics::family::Family, registry::Registry};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use super::{described::register, labels::OfDisk, ledger::Float, perhaps::OptionalGauge};
use crate::store::LedgerPlaces;

/// How long a page waits for the disks. A look that takes longer goes on by itself, for a later page.
const WAIT: Duration = Duration::from_millis(250);
/// How long a count of the spool's files is reused: it looks at each of them.
const SPOOL_FRESH: Duration = Duration::from_secs(300);

#[derive(Debug, Clone)]
pub(super) struct DiskGauges {
    ledger: OptionalGauge,
    spool: OptionalGauge,
    free: Family<OfDisk, Float>,
    size: Family<OfDisk, Float>,
    /// One look at a time: looks must not pile up while a disk is stuck.
    looking: Arc<Semaphore>,
    counting: Arc<Semaphore>,
    counted_at: Arc<Mutex<Option<Instant>>>,
}

impl Default for DiskGauges {
    fn default() -> Self {
        let turn = || Arc::new(Semaphore::new(1));
        Self {
            ledger: OptionalGauge::default(),
            spool: OptionalGauge::default(),
            free: Family::default(),
            size: Family::default(),
            looking: turn(),
            counting: turn(),
            counted_at: Arc::default(),
        }
    }
}

impl DiskGauges {
    pub(super) fn register(&self, to: &mut Registry) {
        register(to, "ledger", self.ledger.clone());
        register(to, "spool", self.spool.clone());
        register(to, "disk_free", self.free.clone());
        register(to, "disk_size", self.size.clone());
    }

    /// Looks at the disks again, unless an earlier look has not come back yet.
    pub(super) async fn look(&self, places: &LedgerPlaces) {
        self.look_by(places, Self::set_spaces).await;
    }

    async fn look_by(&self, places: &LedgerPlaces, set_spaces: fn(&Self, &LedgerPlaces)) {
        let spaces = self.in_turn(&self.looking, places, set_spaces);
        let count = async {
            if self.is_count_due() {
                self.in_turn(&self.counting, places, Self::set_spool).await;
            }
        };
        let _ = timeout(WAIT, async { tokio::join!(spaces, count) }).await;
    }

    /// The next look counts the spool's files, however young the last count is.
    pub(super) fn forget_count(&self) {
        *self.counted_at.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_count_due(&self) -> bool {
        let counted_at = *self.counted_at.lock().unwrap_or_else(PoisonError::into_inner);
        counted_at.is_none_or(|at| at.elapsed() >= SPOOL_FRESH)
    }

    async fn in_turn(&self, turn: &Arc<Semaphore>, places: &LedgerPlaces, look: fn(&Self, &LedgerPlaces)) {
        let Ok(turn) = Arc::clone(turn).try_acquire_owned() else { return };
        let (this, places) = (self.clone(), places.clone());
        let _ = spawn_blocking(move || {
            look(&this, &places);
            drop(turn);
        })
        .await;
    }

    fn set_spaces(&self, places: &LedgerPlaces) {
        if let Ok(Some(bytes)) = places.ledger_bytes() {
            self.set_ledger(bytes);
        }
        let spool = places.spool_disk().map(Some);
        for (disk, space) in [("ledger", places.ledger_disk()), ("spool", spool)] {
            if let Ok(Some(space)) = space {
                self.free.get_or_create(&OfDisk { disk }).set(float(space.free));
                self.size.get_or_create(&OfDisk { disk }).set(float(space.size));
            }
        }
    }

    /// The ledger has this many bytes.
    pub(super) fn set_ledger(&self, bytes: u64) {
        self.ledger.set(float(bytes));
    }

    fn set_spool(&self, places: &LedgerPlaces) {
        self.spool.set(float(places.spool_bytes()));
        *self.counted_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to nine petabytes")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use std::{fs, thread};

    use super::*;
    use crate::store::{Opening, Store};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_disk_that_does_not_answer_keeps_no_page_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(Opening { create: true, ..Opening::new(dir.path().join("l.db")) }).await.unwrap();
        let (disk, places) = (DiskGauges::default(), store.places());
        // As a network file system without its server.
        let stuck = |disk: &DiskGauges, places: &LedgerPlaces| {
            thread::sleep(Duration::from_secs(1));
            disk.set_spaces(places);
        };
        let began = Instant::now();
        disk.look_by(&places, stuck).await;
        assert!((WAIT..WAIT * 3).contains(&began.elapsed()), "{:?}", began.elapsed());
        let began = Instant::now();
        disk.look(&places).await;
        assert!(began.elapsed() < WAIT / 2, "the look that is under way is not waited for again");
        assert_eq!(
            (disk.ledger.get(), disk.spool.get()),
            (None, Some(0.0)),
            "nothing is known of the one that is stuck"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
        let free = |name: &'static str| disk.free.get_or_create(&OfDisk { disk: name }).get();
        assert!(free("ledger") > 0.0 && (free("ledger") - free("spool")).abs() < 1e9, "the spool is to be on its disk");
        store.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_spool_is_counted_anew_when_that_is_due() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(Opening { create: true, ..Opening::new(dir.path().join("l.db")) }).await.unwrap();
        let (disk, places) = (DiskGauges::default(), store.places());
        disk.look(&places).await;
        assert_eq!(disk.spool.get(), Some(0.0));
        fs::create_dir_all(store.spool().join("speech/ab")).unwrap();
        fs::write(store.spool().join("speech/ab/abcd.pcm"), [0; 1_000]).unwrap();
        disk.look(&places).await;
        assert_eq!(disk.spool.get(), Some(0.0), "the last count is young");
        disk.forget_count();
        disk.look(&places).await;
        assert_eq!(disk.spool.get(), Some(1_000.0));
        let bytes = fs::metadata(store.file().unwrap()).unwrap().len();
        assert!(disk.ledger.get().unwrap() >= f64::from(u32::try_from(bytes).unwrap()));
        store.close().await;
    }
}
