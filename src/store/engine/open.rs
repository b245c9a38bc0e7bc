//! Opening a ledger, whatever engine holds it.

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicBool, AtomicI64},
};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::store::{
    Place, Store, StoreError, StoreShared,
    cache::home::ClipHome,
    engine::address::LedgerAddress,
    engine::link::Link,
    engine::opening::{Opened, Opening},
    engine::postgres,
    engine::schema::Outgrown,
    engine::sqlite,
    engine::writer,
};

impl Store {
    /// Opens a ledger. The second value is whether it was created just now.
    ///
    /// # Errors
    /// Its place cannot be used, or is on a network file system; or the ledger is damaged, locked, read-only or newer, or was
    /// copied elsewhere.
    pub async fn open(opening: Opening) -> Result<(Self, bool), StoreError> {
        let shown = opening.ledger.to_string();
        let clock = match opening.ledger {
            LedgerAddress::Server(_) if opening.server_time => Clock::of_server(),
            _ => opening.clock.clone(),
        };
        let mut shared = StoreShared {
            clock,
            timing: opening.timing,
            process: AtomicI64::new(0),
            settings: Mutex::default(),
            heartbeat_at: AtomicI64::new(0),
            tokens: AtomicI64::new(1),
            closed: CancellationToken::new(),
            hurry: CancellationToken::new(),
            hurried_since: OnceLock::new(),
            give_up: CancellationToken::new(),
            outgrown: Outgrown::of(&shown, opening.for_copy),
            enforces_windows: AtomicBool::new(false),
            probes: AtomicBool::new(false),
            woken: Notify::new(),
            trouble: Mutex::default(),
            beside_sqlite: OnceLock::new(),
            unreadable: Mutex::default(),
        };
        let (shared, link, read, place, (id, fresh)) = match &opening.ledger {
            LedgerAddress::File(path) => {
                let Opened { conn, readers, id, fresh, place } = sqlite::open(path, &opening).await?;
                let shown = place.display().to_string();
                shared.outgrown = Outgrown::of(&shown, opening.for_copy);
                (Arc::new(shared), Link::File(conn), readers, Place::File { path: place, shown }, (id, fresh))
            }
            LedgerAddress::Server(server) => {
                let shared = Arc::new(shared);
                let opened = postgres::open(server, &opening, &shared).await?;
                let Opened { conn, readers, id, fresh, place: link } = opened;
                let place = Place::Server { shown, local_files: opening.local_files.clone() };
                (shared, Link::Server(Box::new(link.connected(conn))), readers, place, (id, fresh))
            }
        };
        let (commands, inbox) = mpsc::channel(writer::BACKLOG);
        tokio::spawn(writer::run(link, inbox, Arc::clone(&shared)));
        let home = Arc::new(ClipHome::new(opening.spool));
        let store = Self { commands, read, shared, place: Arc::new(place), id: id.into(), home };
        store.find_home().await?;
        Ok((store, fresh))
    }
}
